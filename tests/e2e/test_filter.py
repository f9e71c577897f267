"""Our own filter: as faithful as the specification asks of one."""
import re

import pytest
from harness.client import Client
from harness.instance import AFTER
from harness.peer import CLOSE, HANG, until

pytestmark = pytest.mark.gatepost_only

QUEUED = '~250 2.0.0 Ok: queued as [0-9A-F]{6,}'
E = '451 4.3.0 Error: queue file write error'
STRANGER = 'NAME=spike.up.test ADDR=192.0.2.66 PORT=4711'


@pytest.fixture(scope='module')
def mta(sut):
    proxy = '-o smtpd_proxy_filter=127.0.0.1:{whole}'
    with sut(services={
            'direct': proxy, 'adjust': proxy + ' -o smtpd_proxy_options=speed_adjust',
            'overunix': '-o smtpd_proxy_filter=unix:public/gate',
            'whole': 'filter -o filter_nexthop=127.0.0.1:{after}',
            'lone': 'filter -o filter_nexthop=127.0.0.1:{next}',
            'brief': 'filter -o filter_nexthop=inet:127.0.0.1:{next} -o filter_timeout=1',
            'choosy': 'filter -o filter_nexthop=127.0.0.1:{next} -o filter_authorized_hosts=127.0.0.1',
            'after': AFTER},
            master='gate unix n - n - - filter -o filter_nexthop=127.0.0.1:{after}\n') as mta:
        yield mta


@pytest.mark.parametrize('service', ['direct', 'adjust', 'overunix'])
def test_whole_way(mta, service):
    mark = mta.log.mark()
    with mta.session(service, helo=None, xclient=STRANGER) as client:
        client.cmd('EHLO client.example', 250)
        qid = client.message('Subject: x\n\n.dot\n..two\n\xe4\n', wanted=QUEUED).rpartition(' ')[2]
        client.quit()
    message = mta.maildir('alice').wait_for(qid.encode())
    assert message.endswith('\n\n.dot\n..two\n\xe4\n'.encode())
    assert message.count(b'\nReceived: ') == 2
    mta.log.wait(rf'{qid}: client=localhost\[127\.0\.0\.1\], orig_client=spike\.up\.test\[192\.0\.2\.66\]', mark, 'smtpd')
    mta.log.wait_text(f'proxy-accept: END-OF-MESSAGE: 250 2.0.0 Ok: queued as {qid}; from=<a@b.example> to=<alice@virt.test> '
                      'proto=ESMTP helo=<client.example>', mark, 'smtpd')


@pytest.mark.parametrize('service', ['direct', 'adjust'])
def test_refused_behind(mta, service):
    """What the after-filter server refuses the client hears, word for word."""
    with mta.session(service) as client:
        content = 'Received: x\n' * 60 + 'Subject: x\n\nb\n'
        client.message(content, wanted='554 5.4.0 Error: too many hops')
        client.message(wanted=QUEUED)


def test_dialogue(mta):
    """Line for line."""
    offer = '250-next.test\n250-PIPELINING\n250-SIZE 12345\n250-ETRN\n250-STARTTLS\n250-AUTH PLAIN\n' \
            '250-XFORWARD NAME ADDR\n250-ENHANCEDSTATUSCODES\n250-8BITMIME\n250-DSN\n250-SMTPUTF8\n250 CHUNKING'
    script = {'EHLO': offer, 'XFORWARD': '250 2.0.0 xf', 'MAIL': '250 2.1.0 mail', 'RCPT': ['250 2.1.5 rcpt', '450-4.2.1 not\n450 4.2.1 now'],
              'DATA': '354 data', '.': '250-2.0.0 it\n250 2.0.0 is queued'}
    with mta.sink('next', script) as sink, mta.connect('lone') as client:
        client.expect(220)
        shown = client.cmd('EHLO front.test', 250)
        for keyword in ('PIPELINING', 'SIZE 12345', 'XFORWARD NAME ADDR', 'ENHANCEDSTATUSCODES', '8BITMIME', 'DSN', 'SMTPUTF8'):
            assert keyword in [line[4:] for line in shown.lines]
        for keyword in ('STARTTLS', 'AUTH PLAIN', 'CHUNKING', 'ETRN'):
            assert keyword not in [line[4:] for line in shown.lines], shown
        lines = ['XFORWARD NAME=x ADDR=192.0.2.1', 'mail  FROM:<A@b.example>  SIZE=10', 'RCPT to:<"al ice"@virt.test> NOTIFY=NEVER', 'rcpt TO:<b@x>',
                 'data']
        client.cmd(lines[0], '250 2.0.0 xf')
        client.cmd(lines[1], '250 2.1.0 mail')
        client.cmd(lines[2], '250 2.1.5 rcpt')
        client.cmd(lines[3], '450-4.2.1 not\n450 4.2.1 now')
        client.cmd(lines[4], '354 data')
        client.send(b'Subject: x\r\n\r\n..\r\n\xff\0 \r\n' + b'l' * 5000 + b'\r\n.\r\n')
        client.expect('250-2.0.0 it\n250 2.0.0 is queued')
        client.cmd('QUIT', 221)
        talk = sink.wait(1)
    assert [line.decode() for line in talk.commands] == ['EHLO front.test'] + lines + ['QUIT']
    assert talk.content == b'Subject: x\r\n\r\n..\r\n\xff\0 \r\n' + b'l' * 5000 + b'\r\n'


@pytest.mark.parametrize('stage, answer', [('MAIL', '550 5.7.1 no'), ('RCPT', '451 4.7.1 no'), ('DATA', '452 4.3.1 no'),
                                           ('.', '554 5.7.1 no'), ('.', '451-4.3.0 a\n451 4.3.0 b')])
def test_refusals(mta, stage, answer):
    with mta.sink('next', {stage: answer}), mta.connect('lone') as client:
        client.expect(220)
        client.cmd('EHLO front.test', 250)
        client.cmd('MAIL FROM:<a@b.example>', answer if stage == 'MAIL' else 250)
        if stage != 'MAIL':
            client.cmd('RCPT TO:<alice@virt.test>', answer if stage == 'RCPT' else 250)
        if stage in ('DATA', '.'):
            client.cmd('DATA', answer if stage == 'DATA' else 354)
        if stage == '.':
            client.send(b'x\r\n.\r\n')
            client.expect(answer)
        client.cmd('RSET', 250)


@pytest.mark.parametrize('stage, answer', [('connect', CLOSE), ('connect', '554 no'), ('connect', HANG), ('EHLO', CLOSE), ('EHLO', HANG), ('MAIL', CLOSE), ('MAIL', HANG),
                                           ('RCPT', CLOSE), ('RCPT', HANG), ('DATA', CLOSE), ('DATA', HANG), ('DATA', '250 what'),
                                           ('content', CLOSE), ('.', CLOSE), ('.', HANG)])
def test_next_hop_fails(mta, stage, answer):
    """A next hop that fails is a temporary no, never a yes, and never an endless wait."""
    with mta.sink('next', {stage: answer}), mta.connect('brief') as client:
        replies = [client.reply()]
        for line in ('EHLO front.test', 'MAIL FROM:<a@b.example>', 'RCPT TO:<alice@virt.test>', 'DATA'):
            replies.append(client.cmd(line))
        if replies[-1].code == 354:
            client.send(b'x\r\n' * 100 + b'.\r\n')
            replies.append(client.reply())
        assert replies[-1][0] == '4', replies


def test_next_hop_is_called_again(mta):
    """One message is lost to a next hop that dies; the next one of the same session is not."""
    with mta.connect('brief') as client:
        client.reply()
        for answer, verdict in ((CLOSE, '451 4.3.0 Error: queue file write error'), ('250 2.0.0 fine', '250 2.0.0 fine')):
            with mta.sink('next', {'.': answer}):
                if answer is CLOSE:
                    client.cmd('EHLO front.test', 250)
                for line, code in (('MAIL FROM:<a@b.example>', 250), ('RCPT TO:<alice@virt.test>', 250), ('DATA', 354)):
                    client.cmd(line, code)
                client.send(b'x\r\n.\r\n')
                client.expect(verdict)


def test_next_hop_down(mta):
    mark = mta.log.mark()
    with mta.connect('lone') as client:
        reply = client.reply()
        if reply.code == 220:
            reply = client.cmd('EHLO front.test')
            if reply.code == 250:
                reply = client.cmd('MAIL FROM:<a@b.example>')
        assert reply[0] == '4', reply
    mta.log.wait(rf'warning: .*connect to .*127\.0\.0\.1:{mta.port("next")}: Connection refused', mark, 'filter')


def test_client_leaves(mta):
    """Never a dot for a message that was not whole."""
    for how in ('close', 'reset', 'half_close'):
        with mta.sink('next') as sink, mta.connect('lone') as client:
            client.expect(220)
            for line in ('EHLO front.test', 'MAIL FROM:<a@b.example>', 'RCPT TO:<alice@virt.test>', 'DATA'):
                client.cmd(line)
            client.send(b'Subject: x\r\n\r\nhalf')
            getattr(client, how)()
            assert sink.wait(1).messages == []


def test_rset_and_next_message(mta):
    with mta.sink('next') as sink, mta.connect('lone') as client:
        client.expect(220)
        client.cmd('EHLO front.test', 250)
        for i in range(3):
            client.cmd('MAIL FROM:<a@b.example>', 250)
            client.cmd('RCPT TO:<alice@virt.test>', 250)
            client.cmd('RSET', 250)
            client.cmd('MAIL FROM:<a@b.example>', 250)
            client.cmd('RCPT TO:<alice@virt.test>', 250)
            client.cmd('DATA', 354)
            client.send(b'message %d\r\n.\r\n' % i)
            client.expect(250)
        client.cmd('QUIT', 221)
        assert sink.wait(1).messages == [b'message %d\r\n' % i for i in range(3)] and len(sink.connections) == 1


def test_strangers_are_refused(mta):
    mark = mta.log.mark()
    with mta.connect('choosy', source='127.0.0.2') as client:
        assert client.reply()[0] in '45'
        client.expect_close()
    mta.log.wait(r'.*127\.0\.0\.2.*', mark, 'filter')
    with mta.sink('next'), mta.connect('choosy') as client:
        client.expect(220)
    with Client(mta.dir + '/queue/public/gate') as client:  # who may open the socket may speak
        client.expect(220)


@pytest.mark.parametrize('end', [b'\n.\n', b'\r.\r', b'\r.\n', b'\n.\r', b'\n.\r\n', b'\r\n.\n', b'\r.\r\n', b'\r\n.\r', b'\r\n.\0\r\n', b'\r\n\0.\r\n'],
                         ids=repr)
def test_malformed_end(mta, end):
    """A filter that is reached directly makes no two messages of one either, and passes on canonical lines."""
    smuggled = b'MAIL FROM:<evil@b.example>\r\nRCPT TO:<bob@virt.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nevil\r\n'
    with mta.sink('next') as sink, mta.connect('lone') as client:
        client.expect(220)
        for line in ('EHLO front.test', 'MAIL FROM:<a@b.example>', 'RCPT TO:<alice@virt.test>', 'DATA'):
            client.cmd(line)
        client.send(b'Subject: x\r\n\r\nbody' + end + smuggled + b'.\r\n')
        client.expect(250)
        client.cmd('QUIT', 221)
        talk = sink.wait(1)
    assert talk.content.endswith(smuggled) and talk.verbs.count('MAIL') == 1
    assert not re.search(rb'(?<!\r)\n|\r(?!\n)', talk.content), talk.content
    assert not re.search(rb'^\.(?!\.)', talk.content, re.M), talk.content


def test_big_through_all_stages(mta):
    body = ''.join(f'{i:07d} ' + 'x' * 60 + '\n' for i in range(60000))
    for service in ('direct', 'adjust'):
        with mta.session(service) as client:
            qid = client.message('Subject: big\n\n' + body, to='bob@virt.test', wanted=QUEUED).rpartition(' ')[2]
        assert mta.maildir('bob').wait_for(qid.encode()).endswith(b'\n\n' + body.encode())


def test_many_at_once(mta):
    clients = [mta.session('direct') for _ in range(20)]
    for client in clients:
        client.envelope('a@b.example', 'carol@virt.test')
    for i, client in enumerate(clients):
        client.cmd('DATA', 354)
        client.send(b'Subject: flock %d\r\n\r\nx\r\n.\r\n' % i)
    for client in clients:
        client.expect(QUEUED)
        client.quit()
    until(lambda: len([m for m in mta.maildir('carol').messages() if b'\nSubject: flock ' in m]) == 20, 'all messages')
