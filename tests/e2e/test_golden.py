"""The specification's configuration, on high ports, around a faithful filter: to the byte, dialogue and log."""
import re

import pytest
from harness.instance import AFTER
from harness.maildir import parse

DATE = r'[A-Z][a-z]{2}, [ \d]\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4} \(\w+\)'
QID = '[0-9A-F]{6,}'


@pytest.fixture(scope='module', params=['direct', 'speed_adjust'])
def mta(request, sut):
    mode = '' if request.param == 'direct' else ' -o smtpd_proxy_options=speed_adjust'
    with sut(services={
            'before': ('20', '-o smtpd_proxy_filter=127.0.0.1:{filter} -o smtpd_client_connection_count_limit=10' + mode),
            'after': AFTER}) as mta:
        mta.mode = request.param
        yield mta


EHLO = ['250-mx.gate.test', '250-PIPELINING', '250-SIZE 10240000', '250-VRFY', '250-ETRN', '250-ENHANCEDSTATUSCODES',
        '250-8BITMIME', '250-DSN', '250-SMTPUTF8', '250 CHUNKING']


def test_golden(mta):
    mark = mta.log.mark()
    with mta.relay('filter', 'after') as relay, mta.connect('before') as client:
        client.expect('220 mx.gate.test ESMTP Conform')
        client.cmd('EHLO client.example', EHLO[:5] + ['250-' + mta.xclient_offer] + EHLO[5:])
        client.cmd('MAIL FROM:<a@b.example>', '250 2.1.0 Ok')
        assert relay.connections == []
        client.cmd('RCPT TO:<alice@virt.test>', '250 2.1.5 Ok')
        assert len(relay.connections) == (1 if mta.mode == 'direct' else 0)
        client.cmd('DATA', '354 End data with <CR><LF>.<CR><LF>')
        client.sock.sendall(b'Subject: x\r\n\r\nbody\r\n.\r\n')
        queued = client.expect(f'~250 2.0.0 Ok: queued as {QID}')
        qid = queued.rpartition(' ')[2]
        client.quit()
        talk = relay.wait(1)
    head = (rb'EHLO mx.gate.test\r\n'
            rb'XFORWARD NAME=localhost ADDR=127.0.0.1 PORT=%d HELO=client.example IDENT=\[UNAVAILABLE\] PROTO=ESMTP '
            rb'SOURCE=LOCAL\r\n'
            rb'MAIL FROM:<a@b.example>\r\nRCPT TO:<alice@virt.test>\r\nDATA\r\n' % client.port)
    content = (rb'Received: from client.example \(localhost \[127.0.0.1\]\)\r\n'
               rb'\tby mx.gate.test \(Conform\) with ESMTP\r\n'
               rb'\tfor <alice@virt.test>; ' + DATE.encode() + rb'\r\n'
               rb'Subject: x\r\n\r\nbody\r\n\.\r\nQUIT\r\n')
    assert re.fullmatch(head + content, talk.front), talk.front
    keywords = '\r\n'.join(EHLO[:5] + ['250-' + mta.xclient_offer, '250-XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT'] + EHLO[5:])
    wanted = ('220 mx.gate.test ESMTP Conform\r\n' + keywords + '\r\n250 2.0.0 Ok\r\n250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n'
              '354 End data with <CR><LF>.<CR><LF>\r\n' + queued + '\r\n')
    assert talk.back.decode().startswith(wanted), talk.back

    stored = mta.maildir('alice').wait_for(qid.encode())
    headers, body = parse(stored)
    assert body == b'body\n'
    assert [name for name, _ in headers] == ['Return-Path', 'X-Original-To', 'Delivered-To', 'Received', 'Received', 'Subject',
                                             'Message-Id', 'Date', 'From']
    assert headers[0][1] == '<a@b.example>' and headers[1][1] == headers[2][1] == 'alice@virt.test'
    assert re.fullmatch(rf'from mx\.gate\.test \(localhost \[127\.0\.0\.1\]\)\n\tby mx\.gate\.test \(Conform\) with ESMTP id '
                        rf'{qid}\n\tfor <alice@virt\.test>; {DATE}', headers[3][1]), headers[3]
    assert re.fullmatch(rf'<\d{{14}}\.{qid}@mx\.gate\.test>', headers[6][1])
    assert re.fullmatch(DATE, headers[7][1]) and headers[8][1] == 'a@b.example'

    mta.log.wait_text(f'{qid}: removed', mark, 'qmgr')
    wait = mta.log.wait
    wait(r'disconnect from localhost\[127\.0\.0\.1\] ehlo=1 xforward=1 mail=1 rcpt=1 data=1 quit=1 commands=6', mark, 'smtpd')
    wait(r'disconnect from localhost\[127\.0\.0\.1\] ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5', mark, 'smtpd')
    lines = mta.log.lines(mark)
    texts = [line.text for line in lines]
    front = next(line.number for line in lines if line.text.startswith('NOQUEUE: client='))
    back = next(line.number for line in lines if line.text.startswith(f'{qid}: client='))
    assert front != back
    assert [line.text for line in lines if line.number == front and line.program == 'smtpd'] == [
        'connect from localhost[127.0.0.1]',
        'NOQUEUE: client=localhost[127.0.0.1]',
        f'proxy-accept: END-OF-MESSAGE: 250 2.0.0 Ok: queued as {qid}; from=<a@b.example> to=<alice@virt.test> proto=ESMTP '
        'helo=<client.example>',
        'disconnect from localhost[127.0.0.1] ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5']
    assert [line.text for line in lines if line.number == back and line.program == 'smtpd'] == [
        'connect from localhost[127.0.0.1]',
        f'{qid}: client=localhost[127.0.0.1], orig_client=localhost[127.0.0.1]',
        'disconnect from localhost[127.0.0.1] ehlo=1 xforward=1 mail=1 rcpt=1 data=1 quit=1 commands=6']
    assert [line.text for line in lines if line.program == 'cleanup'] == [f'{qid}: message-id={headers[6][1]}']
    qmgr = [line.text for line in lines if line.program == 'qmgr']
    # The size is that of the content with CRLF ends: what was stored without the three headers of the delivery.
    size = re.fullmatch(rf'{qid}: from=<a@b\.example>, size=(\d+), nrcpt=1 \(queue active\)', qmgr[0])
    assert size and qmgr[1:] == [f'{qid}: removed'], qmgr
    content = stored[stored.index(b'Received:'):]
    assert int(size[1]) == len(content) + content.count(b'\n')
    delivered, = [line.text for line in lines if line.program == 'virtual']
    assert re.fullmatch(rf'{qid}: to=<alice@virt\.test>, relay=virtual, delay=[\d.]+, delays=[\d.]+/[\d.]+/[\d.]+/[\d.]+, '
                        r'dsn=2\.0\.0, status=sent \(delivered to maildir\)', delivered), delivered
    assert {line.tag.rpartition('/')[0] for line in lines} == {'postfix'}
    assert {line.host for line in lines} == {'mx'}
    assert not [text for text in texts if text.startswith(('warning', 'error', 'fatal'))]


def test_remote_client(mta):
    """A client with another address and name: only the middle changes."""
    mark = mta.log.mark()
    with mta.relay('filter', 'after') as relay, mta.session('before', helo=None, xclient=mta.STRANGER) as client:
        client.cmd('EHLO client.example', 250)
        client.message(wanted=250)
        client.quit()
        talk = relay.wait(1)
    assert (b'\r\nXFORWARD NAME=spike.up.test ADDR=192.0.2.66 PORT=4711 HELO=client.example IDENT=[UNAVAILABLE] PROTO=ESMTP '
            b'SOURCE=LOCAL\r\n') in talk.front  # by the address that the connection really comes from
    assert b'Received: from client.example (spike.up.test [192.0.2.66])\r\n' in talk.front
    mta.log.wait(rf'{QID}: client=localhost\[127\.0\.0\.1\], orig_client=spike\.up\.test\[192\.0\.2\.66\]', mark, 'smtpd')
    mta.log.wait_text('NOQUEUE: client=spike.up.test[192.0.2.66]', mark, 'smtpd')


def test_rejected_by_faithful_filter(mta):
    """The filter's no is the client's reply, and nothing is queued."""
    for code in ('554 5.7.1 no such thing', '451 4.7.1 not now'):
        mark = mta.log.mark()
        with mta.relay('filter', 'after', verdict=lambda content: code) as relay, mta.session('before') as client:
            client.message(sender='refused@b.example', wanted=code)
            client.quit()
            relay.wait(1)
        mta.log.wait_text(f'proxy-reject: END-OF-MESSAGE: {code}; from=<refused@b.example> to=<alice@virt.test> proto=ESMTP '
                          'helo=<client.example>', mark, 'smtpd')
        mta.log.wait(rf'({QID}: )?lost connection after DATA \(0 bytes\) from localhost\[127\.0\.0\.1\]', mark, 'smtpd')
        assert not [text for text in mta.log.texts(mark, 'qmgr') if 'from=<refused@b.example>' in text]


def test_many_messages_in_one_session(mta):
    """A connection to the filter for each."""
    with mta.relay('filter', 'after') as relay, mta.session('before') as client:
        for i in range(5):
            client.message(f'Subject: number {i}\n\nsession of many\n', wanted=250)
        client.quit()
        relay.wait(5)
        assert len(relay.connections) == 5
    for i in range(5):
        assert b'session of many' in mta.maildir('alice').wait_for(b'Subject: number %d\n' % i)
