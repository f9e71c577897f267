"""The after-filter server, cleanup, queue, delivery."""
import json
import os
import re
import stat
import subprocess
import time

import pytest
from harness.instance import AFTER
from harness.maildir import parse
from harness.peer import CLOSE, HANG, until

QID = '[0-9A-F]{6,}'
QUEUED = f'~250 2.0.0 Ok: queued as {QID}'
DATE = r'[A-Z][a-z]{2}, [ \d]\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4} \(\w+\)'


@pytest.fixture(scope='module')
def mta(sut):
    with sut(main="""
virtual_alias_maps = inline:{{list@virt.test=alice@virt.test, bob@virt.test}, {a1@virt.test=a2@virt.test}, {a2@virt.test=carol@virt.test},
    {@aliased.test=bob@virt.test}, {twice@virt.test=bob@virt.test, bob@virt.test}, {out@virt.test=x@next.test}}
virtual_alias_domains = aliased.test
transport_maps = inline:{{next.test=smtp:[127.0.0.1]:{next}}, {down.test=smtp:[127.0.0.1]:{nobody}}, {gone.test=discard:silently},
    {bad.test=error:5.7.1 not for you}, {wait.test=retry:4.4.4 wait for it}, {.sub.test=smtp:[127.0.0.1]:{next}}}
relay_domains = next.test, down.test, gone.test, wait.test, a.sub.test
recipient_delimiter = +
hopcount_limit = 10
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
""", services={'after': AFTER, 'plain': '', 'long': '-o enable_long_queue_ids=yes',
               'raw': '-o receive_override_options=no_address_mappings'}) as mta:
        yield mta


def deliver(mta, user='alice', service='after', content='Subject: x\n\nbody\n', sender='a@b.example', xforward=None, to=None):
    """Sends a message; (id, headers, body, whole) of what was delivered."""
    with mta.session(service) as client:
        if xforward:
            client.cmd('XFORWARD ' + xforward, '250 2.0.0 Ok')
        client.envelope(sender, to or f'{user}@virt.test')
        qid = client.content(content, QUEUED).rpartition(' ')[2]
        client.quit()
    stored = mta.maildir(user).wait_for(qid.encode())
    return (qid, *parse(stored), stored)


def names(headers):
    return [name for name, _ in headers]


# --- XFORWARD ---------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('line, wanted', [
    ('XFORWARD NAME=spike.up.test ADDR=192.0.2.66', '250 2.0.0 Ok'), ('xforward name=x', '250 2.0.0 Ok'),
    ('XFORWARD ADDR=IPv6:2001:db8::1', '250 2.0.0 Ok'), ('XFORWARD NAME=[UNAVAILABLE] ADDR=[unavailable]', '250 2.0.0 Ok'),
    ('XFORWARD HELO=a+20b PROTO=SMTP SOURCE=LOCAL IDENT=ABC PORT=65535', '250 2.0.0 Ok'), ('XFORWARD SOURCE=remote', '250 2.0.0 Ok'),
    ('XFORWARD', '501 5.5.4 Syntax: XFORWARD attribute=value...'), ('XFORWARD NAME', '501 5.5.4 Error: attribute=value expected'),
    ('XFORWARD =x', '501 5.5.4 Bad XFORWARD attribute name: '),
    ('XFORWARD NAME=', '501 5.5.4 Error: attribute=value expected'),
    ('XFORWARD HELO=' + 'x' * 256, '501 5.5.4 Error: attribute value too long'), ('XFORWARD HELO=' + 'x' * 255, '250 2.0.0 Ok'),
    ('XFORWARD NAME=-x', '501 5.5.4 Bad NAME syntax: -x'), ('XFORWARD ADDR=x', '501 5.5.4 Bad ADDR syntax: x'),
    ('XFORWARD ADDR=2001:db8::1', '501 5.5.4 Bad ADDR syntax: 2001:db8::1'), ('XFORWARD PORT=x', '501 5.5.4 Bad PORT syntax: x'),
    ('XFORWARD PORT=123456', '501 5.5.4 Bad PORT syntax: 123456'),
    ('XFORWARD PROTO=' + 'x' * 65, '501 5.5.4 Bad PROTO syntax: ' + 'x' * 65), ('XFORWARD SOURCE=x', '501 5.5.4 Bad SOURCE syntax: x'),
    ('XFORWARD FOO=x', '501 5.5.4 Bad XFORWARD attribute name: FOO'),
])
def test_xforward_command(mta, line, wanted):
    with mta.session('after') as client:
        client.cmd(line, wanted)
        client.cmd('NOOP', 250)
    with mta.session('after', helo=None) as client:
        client.cmd(line, wanted)


def test_xforward_when(mta):
    with mta.session('after') as client:
        client.envelope()
        client.cmd('XFORWARD NAME=x', '503 5.5.1 Error: MAIL transaction in progress')
    with mta.session('plain') as client:
        client.cmd('XFORWARD NAME=x', '550 5.7.0 Error: insufficient authorization')


@pytest.mark.parametrize('xforward, logged', [
    (('NAME=spike.up.test ADDR=192.0.2.66 IDENT=0AB1C2',), ', orig_queue_id=0AB1C2, orig_client=spike.up.test[192.0.2.66]'),
    (('NAME=spike.up.test', 'ADDR=IPv6:2001:db8::1'), ', orig_client=spike.up.test[2001:db8::1]'),
    (('ADDR=192.0.2.66',), ', orig_client=unknown[192.0.2.66]'),
    (('NAME=spike.up.test',), ', orig_client=spike.up.test'),
    (('HELO=x',), ', orig_client=unknown'),
    (('NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE]',), ', orig_client=unknown'),
    ((), ''),
])
def test_xforward_logged(mta, xforward, logged):
    mark = mta.log.mark()
    with mta.session('after') as client:
        for line in xforward:
            client.cmd('XFORWARD ' + line, 250)
        client.message(wanted=QUEUED)
        mta.log.wait(rf'{QID}: client=localhost\[127\.0\.0\.1\]{re.escape(logged)}', mark, 'smtpd')
        mark = mta.log.mark()
        client.message(wanted=QUEUED)  # for one message only
        mta.log.wait(rf'{QID}: client=localhost\[127\.0\.0\.1\]', mark, 'smtpd')


@pytest.mark.parametrize('reset', ['RSET', 'EHLO again', 'HELO again'])
def test_xforward_is_forgotten(mta, reset):
    mark = mta.log.mark()
    with mta.session('after') as client:
        client.cmd('XFORWARD NAME=gone.test ADDR=192.0.2.1', 250)
        client.cmd(reset, 250)
        client.message(wanted=QUEUED)
    mta.log.wait(rf'{QID}: client=localhost\[127\.0\.0\.1\]', mark, 'smtpd')


def test_received_shows_the_real_client(mta):
    _, headers, _, _ = deliver(mta, xforward='NAME=spike.up.test ADDR=192.0.2.66 HELO=spike PROTO=SMTP SOURCE=LOCAL')
    assert headers[3][1].startswith('from client.example (localhost [127.0.0.1])\n\tby mx.gate.test (Conform) with ESMTP id ')


# --- headers ----------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('source, added', [('REMOTE', []), ('LOCAL', ['Message-Id', 'Date', 'From']),
                                           (None, ['Message-Id', 'Date', 'From'])])
def test_missing_headers(mta, source, added):
    qid, headers, body, _ = deliver(mta, xforward=source and f'ADDR=192.0.2.1 SOURCE={source}')
    assert names(headers) == ['Return-Path', 'X-Original-To', 'Delivered-To', 'Received', 'Subject'] + added and body == b'body\n'
    if added:
        assert re.fullmatch(rf'<\d{{14}}\.{qid}@mx\.gate\.test>', headers[5][1])
        assert re.fullmatch(DATE, headers[6][1]) and headers[7][1] == 'a@b.example'


@pytest.mark.parametrize('content, wanted', [
    ('Message-ID: <1@x>\nDate: now\nFrom: me@x.test\n\nb\n', ['Message-ID', 'Date', 'From']),
    ('message-id: <1@x>\n\nb\n', ['message-id', 'Date', 'From']),
    ('FROM: me@x.test\nTo: you@x.test\n\nb\n', ['FROM', 'To', 'Message-Id', 'Date']),
    ('Bcc: secret@x.test\nSubject: x\nContent-Length: 5\nReturn-Path: <evil@x>\n\nb\n', ['Subject', 'Message-Id', 'Date', 'From']),
    ('Resent-From: r@x.test\nDate: now\nFrom: f@x.test\n\nb\n', ['Resent-From', 'Date', 'From', 'Resent-Message-Id', 'Resent-Date']),
    ('no header\n\nb\n', ['Message-Id', 'Date', 'From']),
    ('\nonly body\n', ['Message-Id', 'Date', 'From']),
    ('', ['Message-Id', 'Date', 'From']),
])
def test_headers(mta, content, wanted):
    _, headers, _, stored = deliver(mta, content=content)
    assert names(headers)[4:] == wanted, stored


def test_null_sender(mta):
    _, headers, _, _ = deliver(mta, sender='')
    assert headers[0] == ('Return-Path', '<>') and headers[-1] == ('From', 'MAILER-DAEMON')


def test_address_completion(mta):
    _, headers, _, _ = deliver(mta, sender='joe', content='From: joe\nTo: alice@virt.test, jim (Jim), "x y" <bob>\n\nb\n')
    assert headers[0][1] == '<joe@mx.gate.test>'
    assert dict(headers)['From'] == 'joe@mx.gate.test'
    assert dict(headers)['To'] == 'alice@virt.test, jim@mx.gate.test (Jim), "x y" <bob@mx.gate.test>'


def test_remote_headers_are_left_alone(mta):
    _, headers, _, _ = deliver(mta, sender='joe@x.test', content='From: joe\nTo: jim\n\nb\n', xforward='ADDR=192.0.2.1 SOURCE=REMOTE')
    assert dict(headers)['From'] == 'joe' and dict(headers)['To'] == 'jim'


CONTENTS = [
    (b'Subject: x\r\n\r\n..\r\n..a\r\n...\r\n', b'Subject: x\n', b'.\n.a\n..\n'),
    (b'Subject: \xe4\r\nX: ' + b'h' * 3000 + b'\r\n\r\n' + b'l' * 100000 + b'\r\n\xff\x01\r\n', None, b'l' * 100000 + b'\n\xff\x01\n'),
    (b'Subject: x\r\n\r\nno line end\r\n\r\n\r\n', None, b'no line end\n\n\n'),
    (b'Subject: x\r\n folded\r\n\tmore\r\n\r\n  body\r\n', b'Subject: x\n folded\n\tmore\n', b'  body\n'),
    (b'Subject: x\r\n\r\nFrom the start\r\n', None, b'From the start\n'),
    (b'Subject: x\r\n\r\nstray \r here\r\n', None, b'stray   here\n'),
]


@pytest.mark.parametrize('sent, header, body', CONTENTS, ids=range(len(CONTENTS)))
def test_content(mta, sent, header, body):
    with mta.session('after') as client:
        client.cmd('XFORWARD ADDR=192.0.2.1 SOURCE=REMOTE', 250)
        client.envelope()
        qid = client.raw_content(sent + b'.\r\n', QUEUED).rpartition(' ')[2]
    stored = mta.maildir('alice').wait_for(qid.encode())
    assert stored.partition(b'\n\n')[2] == body
    if header:
        assert stored.partition(b'\n\n')[0].endswith(b'\n' + header.rstrip(b'\n'))


def test_hops(mta):
    mark = mta.log.mark()
    with mta.session('after') as client:
        client.message('Received: x\n' * 8 + 'Subject: x\n\nb\n', wanted=QUEUED)
        client.message('Received: x\n' * 10 + 'Subject: x\n\nb\n', wanted='554 5.4.0 Error: too many hops')
        client.message(wanted=QUEUED)
    mta.log.wait(rf'warning: {QID}: message rejected: hopcount exceeded', mark, 'cleanup')


def test_message_id_logged(mta):
    mark = mta.log.mark()
    deliver(mta, content='Message-ID:   <my.id@x.test>\nSubject: x\n\nb\n')
    mta.log.wait(rf'{QID}: message-id=<my\.id@x\.test>', mark, 'cleanup')
    mark = mta.log.mark()
    deliver(mta, xforward='ADDR=192.0.2.1 SOURCE=REMOTE')
    mta.log.wait(rf'{QID}: message-id=<>', mark, 'cleanup')


# --- ids, maildir -----------------------------------------------------------------------------------------------------------

def test_queue_ids(mta):
    with mta.session('after') as client:
        ids = [client.message(wanted=QUEUED).rpartition(' ')[2] for _ in range(20)]
    assert len(set(ids)) == 20 and all(re.fullmatch('[0-9A-F]{6,}', qid) for qid in ids)


@pytest.mark.gatepost_only  # there it is a setting of cleanup, another process
def test_long_queue_ids(mta):
    """Letters and digits without vowels."""
    with mta.session('long') as client:
        qid = client.message(wanted=250).rpartition(' ')[2]
    assert re.fullmatch(r'[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{10,}z[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-y]+', qid), qid


def test_maildir(mta):
    deliver(mta, user='carol')
    path = mta.dir + '/vmail/carol'
    for sub in ('new', 'cur', 'tmp'):
        info = os.stat(f'{path}/{sub}')
        assert stat.S_IMODE(info.st_mode) == 0o700 and info.st_uid == mta.uid
    assert os.listdir(path + '/tmp') == []
    for name in mta.maildir('carol').files():
        info = os.stat(name)
        assert stat.S_IMODE(info.st_mode) == 0o600 and info.st_uid == mta.uid
        assert re.fullmatch(r'\d+\.\S+\.\S+', os.path.basename(name)), name


def test_delivery_line(mta):
    mark = mta.log.mark()
    qid, *_ = deliver(mta)
    mta.log.wait(rf'{qid}: to=<alice@virt\.test>, relay=virtual, delay=[\d.]+, delays=[\d.]+/[\d.]+/[\d.]+/[\d.]+, dsn=2\.0\.0, '
                 r'status=sent \(delivered to maildir\)', mark, 'virtual')
    mta.log.wait(rf'{qid}: removed', mark, 'qmgr')


def test_extension(mta):
    _, headers, _, _ = deliver(mta, to='alice+ext@virt.test')
    assert headers[1][1] == headers[2][1] == 'alice+ext@virt.test'


# --- aliases ----------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('address, to', [('list@virt.test', ['alice', 'bob']), ('a1@virt.test', ['carol']),
                                         ('whoever@aliased.test', ['bob']), ('twice@virt.test', ['bob']),
                                         ('LIST@virt.test', ['alice', 'bob'])])
def test_alias(mta, address, to):
    mark = mta.log.mark()
    with mta.session('plain') as client:
        qid = client.message(to=address, wanted=QUEUED).rpartition(' ')[2]
    for user in to:
        headers, _ = parse(mta.maildir(user).wait_for(qid.encode()))
        assert headers[1][1] == address and headers[2][1] == f'{user}@virt.test'
        mta.log.wait(rf'{qid}: to=<{user}@virt\.test>, orig_to=<{address}>, relay=virtual, .*status=sent \(delivered to maildir\)', mark)
    mta.log.wait(rf'{qid}: from=<a@b\.example>, size=\d+, nrcpt={len(to)} \(queue active\)', mark, 'qmgr')


def test_no_address_mappings(mta):
    """The list is then what it says: a mailbox that is not there."""
    mark = mta.log.mark()
    with mta.session('raw') as client:
        client.cmd('MAIL FROM:<>', 250)
        client.cmd('RCPT TO:<list@virt.test>', 250)
        qid = client.content(wanted=QUEUED).rpartition(' ')[2]
    mta.log.wait(rf'{qid}: to=<list@virt\.test>, relay=virtual, .*, dsn=5\.1\.1, status=bounced \(unknown user: "list@virt\.test"\)', mark,
                 'virtual')


def test_same_recipient_twice(mta):
    with mta.session('after') as client:
        qid = client.message(to=['bob@virt.test'] * 3, wanted=QUEUED).rpartition(' ')[2]
        after = client.message('Subject: fence\n\n.\n', to='bob@virt.test', wanted=QUEUED).rpartition(' ')[2]
    mta.maildir('bob').wait_for(qid.encode())
    mta.maildir('bob').wait_for(after.encode())
    assert len([m for m in mta.maildir('bob').messages() if qid.encode() in m]) == 1


# --- routing and the smtp client --------------------------------------------------------------------------------------------

def test_relay(mta):
    mark = mta.log.mark()
    with mta.sink('next', {'EHLO': '250-next.test\n250-SIZE 100000\n250-8BITMIME\n250 PIPELINING', '.': '250 2.0.0 taken it'}) as sink:
        with mta.session('plain') as client:
            qid = client.message('Subject: x\n\n.dot\n\xe4\n', to='x@next.test', wanted=QUEUED).rpartition(' ')[2]
        mta.log.wait(rf'{qid}: to=<x@next\.test>, relay=127\.0\.0\.1\[127\.0\.0\.1\]:{mta.port("next")}, delay=[\d.]+, '
                     r'delays=[\d.]+/[\d.]+/[\d.]+/[\d.]+, dsn=2\.0\.0, status=sent \(250 2\.0\.0 taken it\)', mark, 'smtp')
        mta.log.wait(rf'{qid}: removed', mark, 'qmgr')
        talk = sink.wait(1)
    assert talk.commands[0] == b'EHLO mx.gate.test'
    assert talk.command('MAIL')[0].startswith('MAIL FROM:<a@b.example>') and talk.command('RCPT')[0].startswith('RCPT TO:<x@next.test>')
    assert talk.content.endswith('\r\n..dot\r\n\xe4\r\n'.encode()) and talk.content.startswith(b'Received: from client.example')


def test_alias_to_elsewhere(mta):
    mark = mta.log.mark()
    with mta.sink('next') as sink:
        with mta.session('plain') as client:
            qid = client.message(to='out@virt.test', wanted=QUEUED).rpartition(' ')[2]
        mta.log.wait(rf'{qid}: to=<x@next\.test>, orig_to=<out@virt\.test>, relay=.*status=sent \(250 2\.0\.0 filter took it\)', mark, 'smtp')
        sink.close()


def test_subdomain_transport(mta):
    mark = mta.log.mark()
    with mta.sink('next'), mta.session('plain') as client:
        qid = client.message(to='x@a.sub.test', wanted=QUEUED).rpartition(' ')[2]
        mta.log.wait(rf'{qid}: to=<x@a\.sub\.test>, relay=127\.0\.0\.1\[127\.0\.0\.1\]:\d+, .*status=sent .*', mark, 'smtp')


def test_discard(mta):
    mark = mta.log.mark()
    with mta.session('plain') as client:
        qid = client.message(to='x@gone.test', wanted=QUEUED).rpartition(' ')[2]
    mta.log.wait(rf'{qid}: to=<x@gone\.test>, relay=none, delay=[\d.]+, delays=[\d.]+/[\d.]+/[\d.]+/[\d.]+, dsn=2\.0\.0, status=sent '
                 r'\(silently\)', mark, 'discard')
    mta.log.wait(rf'{qid}: removed', mark, 'qmgr')


def test_error_transport_rejects_at_rcpt(mta):
    with mta.session('plain') as client:
        client.cmd('MAIL FROM:<a@b.example>', 250)
        client.cmd('RCPT TO:<x@bad.test>', '~550 5\\.(7\\.1|1\\.1) <x@bad.test>: Recipient address rejected: not for you')
        client.cmd('RCPT TO:<x@wait.test>', '~450 4\\.(4\\.4|1\\.1) <x@wait.test>: Recipient address rejected: wait for it')


# A next hop's verdicts: script, dsn, status, text.
NEXTHOP = [
    ({'RCPT': '550 5.1.1 nobody'}, '5.1.1', 'bounced',
     r'host 127\.0\.0\.1\[127\.0\.0\.1\] said: 550 5\.1\.1 nobody \(in reply to RCPT TO command\)'),
    ({'RCPT': '450 4.2.1 later'}, '4.2.1', 'deferred',
     r'host 127\.0\.0\.1\[127\.0\.0\.1\] said: 450 4\.2\.1 later \(in reply to RCPT TO command\)'),
    ({'MAIL': '451 4.3.0 no'}, '4.3.0', 'deferred',
     r'host 127\.0\.0\.1\[127\.0\.0\.1\] said: 451 4\.3\.0 no \(in reply to MAIL FROM command\)'),
    ({'DATA': '452 4.3.1 full'}, '4.3.1', 'deferred',
     r'host 127\.0\.0\.1\[127\.0\.0\.1\] said: 452 4\.3\.1 full \(in reply to DATA command\)'),
    ({'.': '554-5.7.1 spam\n554 5.7.1 really'}, '5.7.1', 'bounced',
     r'host 127\.0\.0\.1\[127\.0\.0\.1\] said: 554-5\.7\.1 spam 554 5\.7\.1 really \(in reply to end of DATA command\)'),
    ({'connect': '554 5.7.1 go away'}, '4.0.0|5.7.1|4.7.1', 'deferred',
     r'host 127\.0\.0\.1\[127\.0\.0\.1\] refused to talk to me: 554 5\.7\.1 go away'),
    ({'connect': '421 busy'}, '4.0.0', 'deferred', r'host 127\.0\.0\.1\[127\.0\.0\.1\] refused to talk to me: 421 busy'),
    ({'RCPT': CLOSE}, '4.4.2', 'deferred', r'lost connection with 127\.0\.0\.1\[127\.0\.0\.1\] while sending RCPT TO'),
    ({'.': CLOSE}, '4.4.2', 'deferred', r'lost connection with 127\.0\.0\.1\[127\.0\.0\.1\] while sending (end of data -- message may be '
                                        r'sent more than once|message body)'),
]


@pytest.mark.parametrize('script, dsn, status, text', NEXTHOP, ids=range(len(NEXTHOP)))
def test_nexthop(mta, script, dsn, status, text):
    """And what was deferred gets through when the next hop is well again."""
    mark = mta.log.mark()
    with mta.sink('next', {'EHLO': '250 next.test', **script}) as sink:
        with mta.session('plain') as client:
            client.cmd('MAIL FROM:<>', 250)
            client.cmd('RCPT TO:<x@next.test>', 250)
            qid = client.content(wanted=QUEUED).rpartition(' ')[2]
        dsn = dsn.replace('.', r'\.')
        mta.log.wait(rf'{qid}: to=<x@next\.test>, relay=[^,]+, delay=[\d.]+, delays=[\d.]+/[\d.]+/[\d.]+/[\d.]+, dsn=({dsn}), '
                     rf'status={status} \({text}\)', mark, 'smtp')
        if status == 'deferred':
            sink.script.clear()
            sink.script.update({'.': '250 2.0.0 at last'})
            until(lambda: mta.flush() or mta.log.find(rf'{qid}: to=<x@next\.test>, .*status=sent \(250 2\.0\.0 at last\)', mark),
                  'a second attempt')
            mta.log.wait(rf'{qid}: removed', mark, 'qmgr')


PIPELINING = {'EHLO': '250-next.test\n250 PIPELINING'}
PLAIN = {'EHLO': '250 next.test'}
SAID = r'host 127\.0\.0\.1\[127\.0\.0\.1\] said: '
# A next hop's script, the commands it sees, dsn, status, text.
DIALOGUES = [
    ({**PIPELINING, '.': '250 2.0.0 taken'}, ['EHLO', 'MAIL', 'RCPT', 'DATA', 'QUIT'], '2.0.0', 'sent', r'250 2\.0\.0 taken'),
    ({**PIPELINING, 'RCPT': '550 5.1.1 no'}, ['EHLO', 'MAIL', 'RCPT', 'DATA', 'QUIT'], '5.1.1', 'bounced',
     SAID + r'550 5\.1\.1 no \(in reply to RCPT TO command\)'),
    ({**PIPELINING, 'MAIL': '550 5.7.1 no'}, ['EHLO', 'MAIL', 'RCPT', 'DATA', 'QUIT'], '5.7.1', 'bounced',
     SAID + r'550 5\.7\.1 no \(in reply to MAIL FROM command\)'),
    ({**PIPELINING, 'DATA': '554 5.5.1 no'}, ['EHLO', 'MAIL', 'RCPT', 'DATA', 'RSET', 'QUIT'], '5.5.1', 'bounced',
     SAID + r'554 5\.5\.1 no \(in reply to DATA command\)'),
    ({**PLAIN, 'RCPT': '550 5.1.1 no'}, ['EHLO', 'MAIL', 'RCPT', 'RSET', 'QUIT'], '5.1.1', 'bounced',
     SAID + r'550 5\.1\.1 no \(in reply to RCPT TO command\)'),
    ({**PLAIN, 'MAIL': '550 5.7.1 no'}, ['EHLO', 'MAIL', 'RSET', 'QUIT'], '5.7.1', 'bounced',
     SAID + r'550 5\.7\.1 no \(in reply to MAIL FROM command\)'),
    ({**PLAIN, 'DATA': '250 2.0.0 what'}, ['EHLO', 'MAIL', 'RCPT', 'DATA', 'RSET', 'QUIT'], '5.5.0', 'bounced',
     'Protocol error: ' + SAID + r'250 2\.0\.0 what \(in reply to DATA command\)'),
    ({**PLAIN, '.': '354 go on'}, ['EHLO', 'MAIL', 'RCPT', 'DATA', 'QUIT'], '5.5.0', 'bounced',
     SAID + r'354 go on \(in reply to end of DATA command\)'),
    ({**PLAIN, 'DATA': CLOSE}, ['EHLO', 'MAIL', 'RCPT', 'DATA'], '4.4.2', 'deferred',
     r'lost connection with 127\.0\.0\.1\[127\.0\.0\.1\] while sending DATA command'),
    ({**PLAIN, 'EHLO': CLOSE}, ['EHLO'], '4.4.2', 'deferred',
     r'lost connection with 127\.0\.0\.1\[127\.0\.0\.1\] while performing the EHLO handshake'),
]


@pytest.mark.parametrize('script, commands, dsn, status, text', DIALOGUES, ids=range(len(DIALOGUES)))
def test_dialogue(mta, script, commands, dsn, status, text):
    mark = mta.log.mark()
    with mta.sink('next', script) as sink:
        with mta.session('plain') as client:
            client.cmd('MAIL FROM:<>', 250)
            client.cmd('RCPT TO:<x@next.test>', 250)
            qid = client.content(wanted=QUEUED).rpartition(' ')[2]
        mta.log.wait(rf'{qid}: to=<x@next\.test>, relay=127\.0\.0\.1\[127\.0\.0\.1\]:\d+, delay=[\d.]+, '
                     rf'delays=[\d.]+/[\d.]+/[\d.]+/[\d.]+, dsn={re.escape(dsn)}, status={status} \({text}\)', mark, 'smtp')
        talk = sink.wait(1)
        until(lambda: len(talk.commands) >= len(commands), 'the end of the dialogue')
        assert talk.verbs == commands
        if status == 'deferred':
            sink.script.clear()
            until(lambda: mta.flush() or mta.log.find(rf'{qid}: to=<x@next\.test>, .*status=sent .*', mark), 'a second attempt')


def test_long_lines_are_broken(mta):
    mark = mta.log.mark()
    with mta.sink('next') as sink:
        with mta.session('plain') as client:
            qid = client.message('Subject: x\n\n' + 'y' * 2000 + '\n', to='x@next.test', wanted=QUEUED).rpartition(' ')[2]
        mta.log.wait(rf'{qid}: breaking line > 998 bytes with <CR><LF>SPACE', mark, 'smtp')
        mta.log.wait(rf'{qid}: removed', mark, 'qmgr')
        assert sink.wait(1).content.endswith(b'\r\n\r\n' + b'y' * 998 + b'\r\n ' + b'y' * 997 + b'\r\n ' + b'y' * 5 + b'\r\n')


def test_failed_connection_is_logged(mta):
    mark = mta.log.mark()
    with mta.session('plain') as client:
        qid = client.message(to='logged@down.test', wanted=QUEUED).rpartition(' ')[2]
    mta.log.wait(rf'connect to 127\.0\.0\.1\[127\.0\.0\.1\]:{mta.port("nobody")}: Connection refused', mark, 'smtp')
    mta.log.wait(rf'{qid}: to=<logged@down\.test>, relay=none, .*, status=deferred .*', mark)
    with mta.sink('nobody'):
        until(lambda: mta.flush() or mta.log.find(rf'{qid}: removed', mark, 'qmgr'), 'a second attempt')


def test_deferred_in_mailq(mta):
    mark = mta.log.mark()
    port = mta.port('nobody')
    with mta.session('plain') as client:
        client.cmd('MAIL FROM:<a@b.example>', 250)
        for user in ('one', 'two'):
            client.cmd(f'RCPT TO:<{user}@down.test>', 250)
        qid = client.content(wanted=QUEUED).rpartition(' ')[2]
    mta.log.wait(rf'{qid}: to=<one@down\.test>, relay=none, delay=[\d.]+, delays=[\d.]+/[\d.]+/[\d.]+/[\d.]+, dsn=4\.4\.1, status=deferred '
                 rf'\(connect to 127\.0\.0\.1\[127\.0\.0\.1\]:{port}: Connection refused\)', mark, 'smtp')
    mta.log.wait(rf'{qid}: to=<two@down\.test>.*status=deferred.*', mark)
    shown = until(lambda: (text := mta.mailq()) and f'{qid} ' in text and 'two@down.test' in text and 'refused' in text and text, 'mailq')
    lines = shown.splitlines()
    assert lines[0] == '-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------'
    first = next(i for i, line in enumerate(lines) if line.startswith(qid))
    assert re.fullmatch(rf'{qid:<11}[ *]?\s*\d+ \w{{3}} \w{{3}} [ \d]\d \d\d:\d\d:\d\d  a@b\.example', lines[first]), lines[first]
    assert lines[first].index('a@b.example') == 41
    reason = f'(connect to 127.0.0.1[127.0.0.1]:{port}: Connection refused)'
    assert lines[first + 1] == f'{reason:>78}'
    assert sorted(lines[first + 2:first + 4]) == [' ' * 41 + 'one@down.test', ' ' * 41 + 'two@down.test']
    assert lines[first + 4] == ''
    assert re.fullmatch(r'-- \d+ Kbytes in \d+ Requests?\.', lines[-1])
    # delivered at last, although nobody says flush: the back-off is one second here
    with mta.sink('nobody', {'.': '250 2.0.0 at last'}):
        for user in ('one', 'two'):
            mta.log.wait(rf'{qid}: to=<{user}@down\.test>, .*status=sent \(250 2\.0\.0 at last\)', mark, 'smtp', timeout=20)
    mta.log.wait(rf'{qid}: removed', mark, 'qmgr')


def test_some_recipients_deferred(mta):
    """Who has it does not get it again."""
    mark = mta.log.mark()
    with mta.sink('next', {'RCPT TO:<bad@next.test>': '450 4.2.1 not now'}) as sink:
        with mta.session('plain') as client:
            client.cmd('MAIL FROM:<a@b.example>', 250)
            for address in ('alice@virt.test', 'good@next.test', 'bad@next.test'):
                client.cmd(f'RCPT TO:<{address}>', 250)
            qid = client.content(wanted=QUEUED).rpartition(' ')[2]
        mta.log.wait(rf'{qid}: to=<bad@next\.test>.*status=deferred.*', mark)
        mta.log.wait(rf'{qid}: to=<alice@virt\.test>.*status=sent.*', mark)
        sink.script.clear()
        until(lambda: mta.flush() or mta.log.find(rf'{qid}: to=<bad@next\.test>, .*status=sent .*', mark), 'a second attempt')
        mta.log.wait(rf'{qid}: removed', mark, 'qmgr')
        good = [line for talk in sink.connections for line in talk.command('RCPT TO:<good@next.test>') if talk.messages]
    assert len(good) == 1
    assert len([m for m in mta.maildir('alice').messages() if qid.encode() in m]) == 1


def postqueue(mta, *words):
    program = 'postqueue' if mta.name == 'postfix' else os.path.join(os.path.dirname(mta.program), 'postqueue')
    return subprocess.run([program, '-c', mta.dir + '/conf', *words], capture_output=True, text=True, timeout=30)


def in_json(mta, qid):
    """The message as `postqueue -j` shows it."""
    done = postqueue(mta, '-j')
    assert done.returncode == 0, done.stderr
    found = [message for line in done.stdout.splitlines() if (message := json.loads(line))['queue_id'] == qid]
    assert len(found) < 2
    return found[0] if found else None


def test_postqueue_json(mta):
    mark = mta.log.mark()
    before = int(time.time())
    with mta.session('plain') as client:
        client.cmd('MAIL FROM:<>', 250)
        client.cmd('RCPT TO:<"a b"@down.test>', 250)
        client.cmd('RCPT TO:<json@down.test>', 250)
        qid = client.content(wanted=QUEUED).rpartition(' ')[2]
    for user in (r'json', r'"a b"'):
        mta.log.wait(rf'{qid}: to=<{user}@down\.test>.*status=deferred.*', mark)
    shown = until(lambda: (message := in_json(mta, qid)) and message['queue_name'] == 'deferred' and message, 'a deferred message')
    assert list(shown) == ['queue_name', 'queue_id', 'arrival_time', 'message_size', 'forced_expire', 'sender', 'recipients']
    assert before <= shown['arrival_time'] <= time.time() and shown['message_size'] > 100
    assert shown['forced_expire'] is False and shown['sender'] == 'MAILER-DAEMON'
    reason = f'connect to 127.0.0.1[127.0.0.1]:{mta.port("nobody")}: Connection refused'
    for recipient in shown['recipients']:
        assert list(recipient) == ['address', 'delay_reason']
        assert recipient['delay_reason'] in (reason, 'delivery temporarily suspended: ' + reason)
    assert sorted(recipient['address'] for recipient in shown['recipients']) == ['"a b"@down.test', 'json@down.test']
    with mta.sink('nobody'):
        until(lambda: mta.flush() or mta.log.find(rf'{qid}: removed', mark, 'qmgr'), 'delivery')
    assert in_json(mta, qid) is None


def test_postqueue_one(mta):
    """-i tries one message now; a name that no message has is no error, one that no message can have is."""
    mark = mta.log.mark()
    for name in ('ABC', 'X' * 20, 'a_b'):
        assert postqueue(mta, '-i', name).returncode == 0
    for name in ('../x', 'A/B', 'a b'):
        done = postqueue(mta, '-i', name)
        assert done.returncode == 69 and f'fatal: Cannot flush queue ID - invalid name: "{name}"' in done.stderr
    with mta.session('plain') as client:
        qid = client.message(to='one@down.test', wanted=QUEUED).rpartition(' ')[2]
    mta.log.wait(rf'{qid}: to=<one@down\.test>.*status=deferred.*', mark)
    with mta.sink('nobody'):
        until(lambda: postqueue(mta, '-i', qid).returncode == 0 and mta.log.find(rf'{qid}: removed', mark, 'qmgr'), 'delivery')


def test_mailq_empty(sut):
    with sut() as mta:
        assert mta.mailq() == 'Mail queue is empty\n'


def test_many_messages_per_connection(mta):
    """Pipelined, as a good filter sends them."""
    with mta.session('after') as client:
        for i in range(20):
            client.send(b'XFORWARD NAME=up.test ADDR=192.0.2.%d\r\n' % i)
            client.expect('250 2.0.0 Ok')
            client.send(b'MAIL FROM:<a@b.example>\r\nRCPT TO:<alice@virt.test>\r\nDATA\r\n')
            for wanted in (250, 250, 354):
                client.expect(wanted)
            client.send(b'Subject: batch %d\r\n\r\nx\r\n.\r\n' % i)
            client.expect(QUEUED)
    for i in range(20):
        mta.maildir('alice').wait_for(b'Subject: batch %d\n' % i)


@pytest.mark.gatepost_only
def test_xforward_pipelined_with_the_rest(mta):
    with mta.session('after') as client:
        client.send(b'XFORWARD NAME=up.test ADDR=192.0.2.9\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<alice@virt.test>\r\nDATA\r\n')
        for wanted in (250, 250, 250, 354):
            client.expect(wanted)
        client.send(b'x\r\n.\r\n')
        client.expect(QUEUED)


def test_unknown_recipients(mta):
    """Refused by what would deliver them, unless the server was told not to look."""
    with mta.session('plain') as client:
        client.cmd('MAIL FROM:<a@b.example>', 250)
        client.cmd('RCPT TO:<nobody@virt.test>', '550 5.1.1 <nobody@virt.test>: Recipient address rejected: User unknown in virtual mailbox '
                                                 'table')
    with mta.session('after') as client:
        client.cmd('MAIL FROM:<>', 250)
        client.cmd('RCPT TO:<nobody@virt.test>', '250 2.1.5 Ok')


def test_after_filter_server_is_for_mynetworks(mta):
    mark = mta.log.mark()
    with mta.connect('after', source='127.0.0.1') as client:
        client.expect(220)
        client.cmd('XCLIENT ADDR=192.0.2.3 NAME=far.test', 220)
        client.cmd('EHLO x', 250)
        client.cmd('MAIL FROM:<a@b.example>', 250)
        client.cmd('RCPT TO:<alice@virt.test>', '554 5.7.1 <alice@virt.test>: Recipient address rejected: Access denied')
    mta.log.wait_text('NOQUEUE: reject: RCPT from far.test[192.0.2.3]: 554 5.7.1 <alice@virt.test>: Recipient address rejected: Access '
                      'denied; from=<a@b.example> to=<alice@virt.test> proto=ESMTP helo=<x>', mark, 'smtpd')


@pytest.mark.gatepost_only
def test_failed_for_good_is_kept_on_hold(mta):
    """Until bounces exist."""
    mark = mta.log.mark()
    with mta.session('after') as client:
        qid = client.message(to='nobody@virt.test', wanted=QUEUED).rpartition(' ')[2]
    mta.log.wait(rf'{qid}: to=<nobody@virt\.test>, relay=virtual, .*, dsn=5\.1\.1, status=bounced \(unknown user: "nobody@virt\.test"\)', mark)
    shown = until(lambda: f'{qid}!' in (text := mta.mailq()) and text, 'the message on hold').splitlines()
    first = next(i for i, line in enumerate(shown) if line.startswith(f'{qid}!'))
    reason = '(unknown user: "nobody@virt.test")'
    assert shown[first + 1:first + 4] == [f'{reason:>78}', ' ' * 41 + 'nobody@virt.test', '']
    held = in_json(mta, qid)
    assert held['queue_name'] == 'hold' and held['recipients'] == [{'address': 'nobody@virt.test', 'bounce_reason': reason[1:-1]}]


def test_active_in_mailq(mta):
    mark = mta.log.mark()
    with mta.sink('next', {'connect': HANG}) as sink:
        with mta.session('plain') as client:
            qid = client.message(to='x@next.test', wanted=QUEUED).rpartition(' ')[2]
        sink.wait_open()
        assert re.search(rf'^{qid}\*', mta.mailq(), re.M) and in_json(mta, qid)['queue_name'] == 'active'
    mta.log.wait(rf'{qid}: to=<x@next\.test>.*status=deferred.*', mark)
    with mta.sink('next'):
        until(lambda: mta.flush() or mta.log.find(rf'{qid}: removed', mark, 'qmgr'), 'delivery')


@pytest.mark.gatepost_only
def test_local_class_waits_for_its_transport(mta):
    with mta.session('plain') as client:
        client.cmd('MAIL FROM:<a@b.example>', 250)
        client.cmd('RCPT TO:<root@mx.gate.test>', '~450 4\\.3\\.0 .*')
