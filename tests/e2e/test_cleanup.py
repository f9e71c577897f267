"""Address mapping and headers on the way into the queue."""
import pytest
from harness.instance import AFTER
from harness.maildir import parse

QUEUED = '~250 2.0.0 Ok: queued as [0-9A-F]{6,}'


@pytest.fixture(scope='module')
def mta(sut):
    with sut(main="""
canonical_maps = inline:{{old@virt.test=alice@virt.test}, {@olddom.test=new@virt.test}}
sender_canonical_maps = inline:{{s@b.example=renamed@b.example}}
recipient_canonical_maps = inline:{{r@virt.test=bob@virt.test}, {"q r"@virt.test=bob@virt.test}}
recipient_bcc_maps = inline:{{bob@virt.test=carol@virt.test}}
sender_bcc_maps = inline:{{bcc@b.example=carol@virt.test}}
undisclosed_recipients_header = To: undisclosed-recipients:;
masquerade_domains = masq.test
""", services={'in': '', 'forwarded': AFTER, 'raw': '-o receive_override_options=no_address_mappings'}) as mta:
        yield mta


def deliver(mta, user, content='Subject: x\n\nbody\n', sender='a@b.example', to=None, service='in'):
    with mta.session(service) as client:
        qid = client.message(content, sender, to or f'{user}@virt.test', QUEUED).rpartition(' ')[2]
    headers, _ = parse(mta.maildir(user).wait_for(qid.encode()))
    return qid, headers


def test_sender_canonical(mta):
    mark = mta.log.mark()
    qid, headers = deliver(mta, 'alice', sender='s@b.example', content='From: S <s@b.example>\nTo: s@b.example\n\nb\n')
    assert headers[0] == ('Return-Path', '<renamed@b.example>')
    assert dict(headers)['From'] == 'S <renamed@b.example>' and dict(headers)['To'] == 's@b.example'
    mta.log.wait(rf'{qid}: from=<renamed@b\.example>, .*', mark, 'qmgr')


def test_recipient_canonical(mta):
    mark = mta.log.mark()
    qid, headers = deliver(mta, 'bob', to='r@virt.test', content='From: r@virt.test\nTo: r@virt.test\n\nb\n')
    assert dict(headers)['Delivered-To'] == 'bob@virt.test' and dict(headers)['X-Original-To'] == 'r@virt.test'
    assert dict(headers)['From'] == 'r@virt.test' and dict(headers)['To'] == 'bob@virt.test'
    mta.log.wait(rf'{qid}: to=<bob@virt\.test>, orig_to=<r@virt\.test>, relay=virtual, .*', mark)


def test_keys_are_quoted_as_people_write_them(mta):
    _, headers = deliver(mta, 'bob', to='"q r"@virt.test')
    assert dict(headers)['Delivered-To'] == 'bob@virt.test' and dict(headers)['X-Original-To'] == '"q r"@virt.test'


def test_canonical(mta):
    _, headers = deliver(mta, 'alice', to='old@virt.test', sender='x@olddom.test', content='Cc: any@olddom.test, "O" <old@virt.test>\n\nb\n')
    assert headers[0][1] == '<new@virt.test>' and dict(headers)['Cc'] == 'new@virt.test, "O" <alice@virt.test>'


# A header as sent, as stored for a local client, as stored for a remote one.
HEADERS = [
    ('Subject : x', 'Subject: x', 'Subject: x'),
    ('X-Other \t:x', 'X-Other:x', 'X-Other:x'),
    ('To:a@b.example,c@d.example', 'To:a@b.example,c@d.example', 'To:a@b.example,c@d.example'),
    ('To:a', 'To: a@mx.gate.test', 'To:a'),
    ('To: a,b@c.example;d', 'To: a@mx.gate.test, b@c.example;, d@mx.gate.test', 'To: a,b@c.example;d'),
    ('To: (one) a (two), "B, B"<b>', 'To: a@mx.gate.test (one) (two), "B, B" <b@mx.gate.test>', 'To: (one) a (two), "B, B"<b>'),
    ('To: <@r.example,@s.example:a@b.example>', 'To: <a@b.example>', 'To: <@r.example,@s.example:a@b.example>'),
    ('Cc: a b,\n c\n d', 'Cc: a@mx.gate.test, b@mx.gate.test, c@mx.gate.test, d@mx.gate.test', 'Cc: a b,\n c\n d'),
    ('Cc: a!b, c%d, e@f.', 'Cc: b@a, c@d, e@f', 'Cc: a!b, c%d, e@f.'),
    ('Cc: a, g:;, h: b, c;', 'Cc: a@mx.gate.test, g: ;, h: b@mx.gate.test, c@mx.gate.test;', 'Cc: a, g:;, h: b, c;'),
    ('Cc: ' + ', '.join('x' * 22 for _ in range(4)),
     'Cc: ' + ',\n\t'.join('x' * 22 + '@mx.gate.test' for _ in range(4)), 'Cc: ' + ', '.join('x' * 22 for _ in range(4))),
    ('Reply-To: ' + ', '.join('abcdefgh' for _ in range(6)),
     'Reply-To: abcdefgh@mx.gate.test, abcdefgh@mx.gate.test,\n\tabcdefgh@mx.gate.test, abcdefgh@mx.gate.test, abcdefgh@mx.gate.test,'
     '\n\tabcdefgh@mx.gate.test', 'Reply-To: ' + ', '.join('abcdefgh' for _ in range(6))),
]


@pytest.mark.parametrize('sent, local, remote', HEADERS, ids=range(len(HEADERS)))
def test_header_forms(mta, sent, local, remote):
    for source, wanted in (('LOCAL', local), ('REMOTE', remote)):
        with mta.session('forwarded') as client:
            client.cmd(f'XFORWARD ADDR=192.0.2.1 SOURCE={source}', 250)
            qid = client.message(f'X-Before: x\n{sent}\nX-After: x\n\nb\n', to='alice@virt.test', wanted=QUEUED).rpartition(' ')[2]
        stored = mta.maildir('alice').wait_for(qid.encode()).decode()
        assert stored.partition('X-Before: x\n')[2].partition('\nX-After')[0] == wanted


@pytest.mark.parametrize('to, sender', [('bob', 'a@b.example'), ('alice', 'bcc@b.example')])
def test_bcc(mta, to, sender):
    qid, _ = deliver(mta, to, sender=sender)
    headers, _ = parse(mta.maildir('carol').wait_for(qid.encode()))
    assert dict(headers)['Delivered-To'] == 'carol@virt.test'


def test_no_address_mappings(mta):
    _, headers = deliver(mta, 'alice', sender='s@b.example', service='raw')
    assert headers[0] == ('Return-Path', '<s@b.example>')


def test_undisclosed(mta):
    assert dict(deliver(mta, 'alice')[1])['To'] == 'undisclosed-recipients:;'
    headers = deliver(mta, 'alice', content='Cc: alice@virt.test\n\nb\n')[1]
    assert 'To' not in dict(headers)


def test_masquerade(mta):
    _, headers = deliver(mta, 'alice', sender='a@host.masq.test', content='From: a@host.masq.test\nTo: b@host.masq.test\n\nb\n')
    assert headers[0][1] == '<a@masq.test>' and dict(headers)['From'] == 'a@masq.test' and dict(headers)['To'] == 'b@masq.test'


@pytest.fixture(scope='module')
def other(sut):
    """Other settings of the same things."""
    with sut(main="""
always_bcc = carol@virt.test
enable_original_recipient = no
always_add_missing_headers = yes
smtpd_recipient_limit = 1200
virtual_alias_maps = inline:{{list@virt.test=alice@virt.test, bob@virt.test}, {c1@virt.test=c2@virt.test}, {c2@virt.test=c3@virt.test},
    {c3@virt.test=c4@virt.test}, {c4@virt.test=alice@virt.test}, {big@virt.test=a@x b@x c@x d@x}}
virtual_alias_recursion_limit = 3
virtual_alias_expansion_limit = 3
recipient_delimiter = +
""", services={'in': AFTER}) as mta:
        yield mta


def test_original_recipient_is_not_kept(other):
    mark = other.log.mark()
    qid, headers = deliver(other, 'alice', to='list@virt.test')
    assert [name for name, _ in headers[:3]] == ['Return-Path', 'Delivered-To', 'Received']
    other.log.wait(rf'{qid}: to=<bob@virt\.test>, orig_to=<list@virt\.test>, relay=virtual, .*status=sent .*', mark)
    other.maildir('bob').wait_for(qid.encode())
    other.log.wait(rf'{qid}: to=<carol@virt\.test>, relay=virtual, .*status=sent .*', mark)  # always_bcc
    other.log.wait(rf'{qid}: from=<a@b\.example>, size=\d+, nrcpt=3 \(queue active\)', mark, 'qmgr')


def test_a_copy_for_who_has_it_anyway(other):
    mark = other.log.mark()
    qid, _ = deliver(other, 'carol')
    other.log.wait(rf'{qid}: from=<a@b\.example>, size=\d+, nrcpt=1 \(queue active\)', mark, 'qmgr')


def test_missing_headers_of_strangers(other):
    with other.session('in') as client:
        client.cmd('XFORWARD ADDR=192.0.2.1 SOURCE=REMOTE', 250)
        qid = client.message('Subject: x\nTo: jim\n\nb\n', wanted=QUEUED).rpartition(' ')[2]
    headers, _ = parse(other.maildir('alice').wait_for(qid.encode()))
    assert [name for name, _ in headers[3:]] == ['Subject', 'To', 'Message-Id', 'Date', 'From'] and dict(headers)['To'] == 'jim'


@pytest.mark.parametrize('to', ['c1@virt.test', 'big@virt.test'])
def test_alias_limits(other, to):
    with other.session('in') as client:
        client.message(to=to, wanted='~451 4\\.[36]\\.0 .*')


def test_a_thousand_recipients(other):
    """Each once, also who is named twice."""
    mark = other.log.mark()
    with other.session('in') as client:
        client.cmd('MAIL FROM:<>', 250)
        users = [f'alice+{i}' for i in range(1000)] + ['alice+0', 'ALICE+999']
        client.send(b''.join(b'RCPT TO:<%s@virt.test>\r\n' % user.encode() for user in users))
        for _ in users:
            client.expect('250 2.1.5 Ok')
        qid = client.content('Subject: many\n\nb\n', QUEUED).rpartition(' ')[2]
    other.log.wait(rf'{qid}: from=<>, size=\d+, nrcpt=1001 \(queue active\)', mark, 'qmgr')
    other.log.wait(rf'{qid}: removed', mark, 'qmgr', timeout=40)
    found = [m for m in other.maildir('alice').messages() if qid.encode() in m]
    assert len(found) == 1000 and len({m.partition(b'Delivered-To: ')[2].partition(b'\n')[0] for m in found}) == 1000
