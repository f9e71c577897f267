"""What reaches the filter: XFORWARD, commands as typed, content in canonical form."""
import re

import pytest
from harness.instance import AFTER

TAKEN = '250 2.0.0 filter took it'
STRANGER = 'NAME=spike.up.test ADDR=192.0.2.66 PORT=4711'


@pytest.fixture(scope='module')
def mta(sut):
    proxy = '-o smtpd_proxy_filter=127.0.0.1:{filter}'
    adjust = proxy + ' -o smtpd_proxy_options=speed_adjust'
    with sut(services={
            'direct': proxy, 'adjust': adjust,
            'chain': '-o smtpd_proxy_filter=127.0.0.1:{chainfilter}',
            'ehlo': proxy + ' -o smtpd_proxy_ehlo=other.gate.test',
            'port': '-o smtpd_proxy_filter={filter}', 'colon': '-o smtpd_proxy_filter=:{filter}',
            'inet': '-o smtpd_proxy_filter=inet:127.0.0.1:{filter}', 'host': '-o smtpd_proxy_filter=localhost:{filter}',
            'xforward': proxy + ' -o smtpd_authorized_xforward_hosts=127.0.0.0/8',
            'whole': '-o smtpd_proxy_filter=127.0.0.1:{relay}', 'whole_adjust':
                '-o smtpd_proxy_filter=127.0.0.1:{relay} -o smtpd_proxy_options=speed_adjust',
            'after': AFTER,
            'no': proxy + ' -o smtpd_forbid_bare_newline=no', 'no_adjust': adjust + ' -o smtpd_forbid_bare_newline=no',
            'small': proxy + ' -o message_size_limit=1000', 'small_adjust': adjust + ' -o message_size_limit=1000',
            'reject': proxy + ' -o smtpd_forbid_bare_newline=reject',
            'reject_adjust': adjust + ' -o smtpd_forbid_bare_newline=reject',
            'code521': proxy + ' -o smtpd_forbid_bare_newline=reject -o smtpd_forbid_bare_newline_reject_code=521',
            }, master='127.0.0.1:{access} inet n - n - - smtpd -o smtpd_proxy_filter=127.0.0.1:{filter}\n'
                      '  -o { smtpd_recipient_restrictions = check_recipient_access inline:{'
                      '{alice@virt.test = PREPEND X-A: one} {bob@virt.test = HOLD} {carol@virt.test = REDIRECT x@virt.test}} }\n'
                      ) as mta:
        yield mta


# --- XFORWARD -----------------------------------------------------------------------------------------------------------

def xforward(mta, offer, service='direct', helo='EHLO client.example', xclient=None):
    with mta.sink('filter', {'EHLO': offer}) as sink, mta.session(service, helo=None, xclient=xclient) as client:
        if helo:
            client.cmd(helo, 250)
        client.message(wanted=TAKEN)
        client.quit()
        return client, sink.wait(1)


ALL = '250-f\n250 XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT'


@pytest.mark.parametrize('offer, wanted', [
    (ALL, 'NAME=localhost ADDR=127.0.0.1 PORT={port} HELO=client.example IDENT=[UNAVAILABLE] PROTO=ESMTP SOURCE=LOCAL'),
    ('250-f\n250 XFORWARD', None),
    ('250 f', None),
    ('250-f\n250 xforward name addr', 'NAME=localhost ADDR=127.0.0.1'),
    ('250-f\n250-SIZE\n250-XFORWARD WHAT EVER HELO\n250 DSN', 'HELO=client.example'),
    ('250-f\n250 XFORWARDX NAME', None),
    ('250-f\n250 SIZE XFORWARD NAME', None),
    ('250-f\n250 XFORWARD SOURCE PROTO', 'PROTO=ESMTP SOURCE=LOCAL'),
    ('250 XFORWARD NAME', 'NAME=localhost'),
    (b'250-f\r\nXFORWARD NAME\r\n250 x\r\n', None),  # no code: the word stands in its place
    (b'250-f\r\nabc XFORWARD NAME\r\n250_XFORWARD ADDR\r\n250 x\r\n', 'NAME=localhost'),
])
def test_xforward_offer(mta, offer, wanted):
    client, talk = xforward(mta, offer)
    wanted = ['XFORWARD ' + wanted.format(port=client.port)] if wanted else []
    assert talk.command('XFORWARD') == wanted
    assert talk.verbs == ['EHLO'] + ['XFORWARD'] * len(wanted) + ['MAIL', 'RCPT', 'DATA', 'QUIT']


@pytest.mark.parametrize('xclient, helo, wanted', [
    ('NAME=[UNAVAILABLE] ADDR=192.0.2.9 PORT=1', 'EHLO c', 'NAME=[UNAVAILABLE] ADDR=192.0.2.9 PORT=1 HELO=c'),
    ('NAME=[TEMPUNAVAIL] ADDR=192.0.2.9 PORT=1', 'EHLO c', 'NAME=[UNAVAILABLE] ADDR=192.0.2.9 PORT=1 HELO=c'),
    ('NAME=six.test ADDR=IPv6:2001:db8::1 PORT=2', 'EHLO c', 'NAME=six.test ADDR=IPv6:2001:db8::1 PORT=2 HELO=c'),
    ('NAME=six.test ADDR=IPv6:::ffff:192.0.2.9 PORT=2', 'EHLO c', 'NAME=six.test ADDR=192.0.2.9 PORT=2 HELO=c'),
    ('NAME=a.test ADDR=192.0.2.9 PORT=3', 'EHLO a+b=c', 'NAME=a.test ADDR=192.0.2.9 PORT=3 HELO=a+2Bb=c'),
    ('NAME=a.test ADDR=192.0.2.9 PORT=3', 'EHLO x<y>(z)"@;\\\\ w', 'NAME=a.test ADDR=192.0.2.9 PORT=3 HELO=x?y??z????????w'),
    ('NAME=a.test ADDR=192.0.2.9 PORT=3', 'EHLO [192.0.2.9]', 'NAME=a.test ADDR=192.0.2.9 PORT=3 HELO=[192.0.2.9]'),
    ('NAME=a.test ADDR=192.0.2.9 PORT=3', None, 'NAME=a.test ADDR=192.0.2.9 PORT=3 HELO=[UNAVAILABLE]'),
])
def test_xforward_values(mta, xclient, helo, wanted):
    _, talk = xforward(mta, ALL, helo=helo, xclient=xclient)
    proto = 'ESMTP' if helo else 'SMTP'
    line, = talk.command('XFORWARD')
    if '?' in wanted:
        head, _, tail = line.partition('HELO=')
        assert re.fullmatch(r'x\?y\?\??z[?]+w IDENT=.*', tail), line
    else:
        assert line == f'XFORWARD {wanted} IDENT=[UNAVAILABLE] PROTO={proto} SOURCE=LOCAL'


def test_xclient_without_port(mta):
    """The port stays the connection's."""
    client, talk = xforward(mta, '250 XFORWARD ADDR PORT', xclient='ADDR=192.0.2.9')
    assert talk.command('XFORWARD') == [f'XFORWARD ADDR=192.0.2.9 PORT={client.port}']


def test_authenticated(mta):
    """Who XCLIENT says is logged in: the header and the log show it, XFORWARD does not."""
    mark = mta.log.mark()
    _, talk = xforward(mta, ALL, xclient='LOGIN=joe')
    assert ' PROTO=ESMTP ' in talk.command('XFORWARD')[0]
    assert b'\r\n\tby mx.gate.test (Conform) with ESMTPA\r\n' in talk.raw
    mta.log.wait_text('NOQUEUE: client=localhost[127.0.0.1], sasl_method=XCLIENT, sasl_username=joe', mark, 'smtpd')
    mta.log.wait_text('proxy-accept: END-OF-MESSAGE: 250 2.0.0 filter took it; from=<a@b.example> to=<alice@virt.test> '
                      'proto=ESMTP helo=<client.example> sasl_username=<joe>', mark, 'smtpd')


def test_xforward_helo_is_smtp(mta):
    _, talk = xforward(mta, ALL, helo='HELO client.example')
    assert talk.command('XFORWARD')[0].endswith(' HELO=client.example IDENT=[UNAVAILABLE] PROTO=SMTP SOURCE=LOCAL')
    assert b'\r\n\tby mx.gate.test (Conform) with SMTP\r\n' in talk.raw


def test_xforward_from_a_stranger(mta):
    """SOURCE is REMOTE for who really comes from an address that is not ours."""
    with mta.sink('filter') as sink, mta.connect('direct', source='127.0.0.3') as client:
        client.expect(220)
        client.cmd('EHLO far.example', 250)
        client.message(wanted=TAKEN)
        client.quit()
        line, = sink.wait(1).command('XFORWARD')
    assert re.fullmatch(rf'XFORWARD NAME=\S+ ADDR=127\.0\.0\.3 PORT={client.port} HELO=far\.example IDENT=\[UNAVAILABLE\] '
                        r'PROTO=ESMTP SOURCE=REMOTE', line), line


def test_xforward_is_split(mta):
    """More than one command where one would be too long."""
    helo = 'h' * 440 + '.example'
    client, talk = xforward(mta, ALL, helo='EHLO ' + helo)
    lines = talk.command('XFORWARD')
    assert lines == [f'XFORWARD NAME=localhost ADDR=127.0.0.1 PORT={client.port}', f'XFORWARD HELO={helo} IDENT=[UNAVAILABLE]',
                     'XFORWARD PROTO=ESMTP SOURCE=LOCAL'] or max(map(len, lines)) <= 510, lines
    assert ' '.join(line.removeprefix('XFORWARD ') for line in lines) == (
        f'NAME=localhost ADDR=127.0.0.1 PORT={client.port} HELO={helo} IDENT=[UNAVAILABLE] PROTO=ESMTP SOURCE=LOCAL')


def test_xforward_received_is_passed_on(mta):
    """A before-filter server in the middle passes on what it was told, and adds no Received header."""
    mark = mta.log.mark()
    with mta.sink('filter') as sink, mta.session('xforward') as client:
        client.cmd('XFORWARD NAME=up.test ADDR=192.0.2.1 PORT=77 HELO=up PROTO=SMTP IDENT=0AB1C2 SOURCE=REMOTE', '250 2.0.0 Ok')
        client.message(wanted=TAKEN)
        client.message(wanted=TAKEN)
        client.quit()
        sink.wait(2)
        first, second = sink.connections
    assert first.command('XFORWARD') == ['XFORWARD NAME=up.test ADDR=192.0.2.1 PORT=77 HELO=up IDENT=0AB1C2 PROTO=SMTP '
                                         'SOURCE=REMOTE']
    assert first.content == b'Subject: x\r\n\r\nbody\r\n'
    assert 'NAME=localhost' in second.command('XFORWARD')[0] and second.content.startswith(b'Received: from client.example')
    mta.log.wait_text('NOQUEUE: client=localhost[127.0.0.1], orig_queue_id=0AB1C2, orig_client=up.test[192.0.2.1]', mark, 'smtpd')


@pytest.mark.parametrize('service', ['port', 'colon', 'inet', 'host'])
def test_endpoint_forms(mta, service):
    with mta.sink('filter') as sink, mta.session(service) as client:
        client.message(wanted=TAKEN)
        assert sink.wait(1).command('EHLO') == ['EHLO mx.gate.test']


def test_proxy_ehlo(mta):
    with mta.sink('filter') as sink, mta.session('ehlo') as client:
        client.message(wanted=TAKEN)
        assert sink.wait(1).command('EHLO') == ['EHLO other.gate.test']


@pytest.mark.parametrize('said, client, wanted', [
    ('IDENT=0AB1C2', True, 'IDENT=0AB1C2 PROTO=ESMTP SOURCE=LOCAL'),
    ('SOURCE=REMOTE', True, 'IDENT=[UNAVAILABLE] PROTO=ESMTP SOURCE=REMOTE'),
    ('PORT=77', False, 'PORT=77 HELO=[UNAVAILABLE] IDENT=[UNAVAILABLE] PROTO=[UNAVAILABLE] SOURCE=LOCAL'),
    ('HELO=up', False, 'PORT=[UNAVAILABLE] HELO=up IDENT=[UNAVAILABLE] PROTO=[UNAVAILABLE] SOURCE=LOCAL'),
])
def test_xforward_received_in_part(mta, said, client, wanted):
    """The client is the one that was named, or ours; what was not said of it is not made up from ours."""
    with mta.sink('filter') as sink, mta.session('xforward') as session:
        session.cmd('XFORWARD ' + said, '250 2.0.0 Ok')
        session.message(wanted=TAKEN)
        session.quit()
        line, = sink.wait(1).command('XFORWARD')
    whose = f'NAME=localhost ADDR=127.0.0.1 PORT={session.port} HELO=client.example' if client else 'NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE]'
    assert line == f'XFORWARD {whose} {wanted}'


# --- commands -------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('service', ['direct', 'adjust'])
@pytest.mark.parametrize('mail, rcpt, data', [
    ('mail from:<a@b.example>', 'rcpt to:<alice@virt.test>', 'data'),
    ('MAIL FROM:  <A@B.example>', 'RCPT  TO:<ALICE@virt.test>', 'Data'),
    ('MAIL FROM:a@b.example', 'RCPT TO:alice@virt.test', 'DATA'),
    ('MAIL FROM:<>', 'RCPT TO:<@x.test,@y.test:alice@virt.test>', 'DATA'),
    ('MAIL FROM:<"a b"@b.example> SIZE=1000 BODY=8BITMIME', 'RCPT TO:<alice@virt.test> NOTIFY=NEVER ORCPT=rfc822;alice@virt.test',
     'DATA'),
    ('MAIL FROM:<a@b.example>  RET=HDRS   ENVID=xyz', 'RCPT TO:<"alice"@virt.test>', 'DATA'),
    ('MAIL FROM:<a@b.example> AUTH=<>', 'RCPT TO:<alice@virt.test> notify=success,failure', 'DATA'),
    ('MAIL FROM:<ä@b.example> SMTPUTF8', 'RCPT TO:<alice@virt.test>', 'DATA'),
    ('MAIL FROM:<a@b.example> ', 'RCPT TO:<alice@virt.test>\t', 'DATA '),
    (' MAIL FROM:<a@b.example>', '\tRCPT TO:<alice@virt.test>', 'DATA'),
])
def test_commands_as_typed(mta, service, mail, rcpt, data):
    with mta.sink('filter') as sink, mta.session(service) as client:
        client.talk((mail, '250 2.1.0 Ok'), (rcpt, '250 2.1.5 Ok'), (data, 354))
        client.send(b'x\r\n.\r\n')
        client.expect(TAKEN)
        client.quit()
        talk = sink.wait(1)
    assert [line.decode() for line in talk.commands[2:5]] == [mail, rcpt, data]


def test_only_own_commands(mta):
    """Nothing else is forwarded."""
    with mta.sink('filter') as sink, mta.session('direct') as client:
        client.cmd('MAIL FROM:<a@b.example>', 250)
        client.cmd('RCPT TO:<alice@virt.test>', 250)
        client.talk(('NOOP', 250), ('VRFY alice@virt.test', 252), ('FOO', 500), ('ETRN virt.test', 503),
                    ('RCPT TO:<nobody@virt.test>', 550), ('RCPT TO:<x@elsewhere.test>', None))
        client.content(wanted=TAKEN)
        client.quit()
        assert [verb for verb in sink.wait(1).verbs if verb not in ('RCPT',)] == ['EHLO', 'XFORWARD', 'MAIL', 'DATA', 'QUIT']


def test_one_at_a_time(mta):
    """No pipelining to the filter, though it offers it: no command before the reply to the last."""
    talked = []

    def slow(connection):
        connection.sock.settimeout(0.1)
        try:
            more = connection.sock.recv(1, 2)  # MSG_PEEK
            talked.append(more)
        except TimeoutError:
            pass
        connection.sock.settimeout(None)
        return '250-f\n250-PIPELINING\n250 XFORWARD NAME' if connection.verbs[-1] == 'EHLO' else '250 ok'

    with mta.sink('filter', {'EHLO': slow, 'MAIL': slow, 'RCPT': slow, 'XFORWARD': slow}) as sink, \
            mta.session('direct') as client:
        client.send(b'MAIL FROM:<a@b.example>\r\nRCPT TO:<alice@virt.test>\r\nRCPT TO:<bob@virt.test>\r\nDATA\r\n')
        for wanted in ('250 2.1.0 Ok', '250 2.1.5 Ok', '250 2.1.5 Ok', '354 End data with <CR><LF>.<CR><LF>'):
            client.expect(wanted)
        client.send(b'x\r\n.\r\nQUIT\r\n')
        client.expect(TAKEN)
        client.expect('221 2.0.0 Bye')
        sink.wait(1)
    assert talked == []


# --- content --------------------------------------------------------------------------------------------------------------

def received(mta, service, octets, wanted=TAKEN, xclient=None):
    """The content at the filter, without our Received header."""
    with mta.sink('filter') as sink, mta.session(service, xclient=xclient) as client:
        if xclient:
            client.cmd('EHLO client.example', 250)
        client.envelope()
        client.raw_content(octets, wanted)
        client.quit()
        talk = sink.wait(1)
        assert len(sink.connections) == 1
    head = re.match(rb'Received: [^\n]*\n(\t[^\n]*\n)*', talk.content)
    assert head, talk.content
    return talk.content[head.end():]


CONTENT = [
    (b'', b''),
    (b'\r\n', b'\r\n'),
    (b'Subject: x\r\n\r\nbody\r\n', None),
    (b'Subject: x\r\n\r\n..\r\n...\r\n..a\r\n', None),
    (b'X: \xe4\xf6\xfc\xff\r\n\r\n\x80\x00\x01\x7f\r\n', None),
    (b'no header at all\r\n', None),
    (b' starts with blank\r\n', b'\r\n starts with blank\r\n'),
    (b'\tstarts with tab\r\nSubject: x\r\n', b'\r\n\tstarts with tab\r\nSubject: x\r\n'),
    (b'From joe Mon Jan 1\r\nSubject: x\r\n\r\nFrom body\r\n', b'X-Mailbox-Line: From joe Mon Jan 1\r\nSubject: x\r\n\r\nFrom body\r\n'),
    (b'>>From joe\r\nSubject: x\r\n', b'X-Mailbox-Line: >>From joe\r\nSubject: x\r\n'),
    (b'From: joe\r\n', None),
    (b'Subject: x\r\nFrom joe\r\n\r\n', None),
    (b'Subject: ' + b's' * 3000 + b'\r\n\r\n' + b'l' * 100000 + b'\r\nshort\r\n', None),
    (b'l' * 2048 + b'\r\n' + b'm' * 2047 + b'\r\n' + b'n' * 2049 + b'\r\n', None),
    (b'x: ' + b'p' * 2043 + b'\r\n..q' + b'r' * 5000 + b'\r\n', None),
    (b'trailing blanks   \t\r\n\r\n  \r\n', None),
]


@pytest.mark.parametrize('service', ['direct', 'adjust'])
@pytest.mark.parametrize('sent, wanted', CONTENT, ids=range(len(CONTENT)))
def test_content(mta, service, sent, wanted):
    got = received(mta, service, sent + b'.\r\n')
    wanted = sent if wanted is None else wanted
    if not mta.newer and b'\0' in sent:
        return
    assert got == wanted


@pytest.mark.gatepost_only
@pytest.mark.parametrize('service', ['direct', 'adjust'])
def test_long_line_with_dot_at_a_piece(mta, service):
    """A dot that happens to begin a piece of a long line is no dot at the start of a line."""
    for n in (2046, 2047, 2048, 2049, 4095, 4096, 4097, 8191, 8192, 65535, 65536):
        sent = b'x' * n + b'.\r\n' + b'y' * n + b'..z\r\n'
        assert received(mta, service, sent + b'.\r\n') == sent


@pytest.mark.parametrize('service', ['direct', 'adjust'])
def test_octet_by_octet(mta, service):
    with mta.sink('filter') as sink, mta.session(service) as client:
        client.envelope()
        client.cmd('DATA', 354)
        client.send_slowly(b'S: x\r\n\r\n..dot\r\n.\r\n', 0.005)
        client.expect(TAKEN)
        client.quit()
        assert sink.wait(1).content.endswith(b'S: x\r\n\r\n..dot\r\n')


@pytest.mark.parametrize('service', ['direct', 'adjust'])
def test_big(mta, service):
    body = b'Subject: big\r\n\r\n' + b''.join(b'%07d ' % i + b'x' * 60 + b'\r\n' for i in range(100000))
    assert received(mta, service, body + b'.\r\n') == body


@pytest.mark.gatepost_only
@pytest.mark.parametrize('service', ['direct', 'adjust'])
@pytest.mark.parametrize('sent, wanted', [
    (b'a\rb\r\n', b'a b\r\n'), (b'a\r\n\ra\r\n', b'a\r\n a\r\n'), (b'a\r\r\n', b'a \r\n'), (b'a\r\n\r.\r\n', b'a\r\n .\r\n'),
    (b'a\nb\r\n', b'a\r\nb\r\n'), (b'a\n\nb\r\n', b'a\r\n\r\nb\r\n'), (b'a\r\n\r\r\nb\r\n', b'a\r\n \r\nb\r\n')])
def test_stray_cr_lf(mta, service, sent, wanted):
    """What goes on is canonical, whatever came: no CR and no LF outside a line end."""
    assert received(mta, service, sent + b'.\r\n', xclient=STRANGER) == wanted


@pytest.mark.gatepost_only
@pytest.mark.parametrize('service', ['direct', 'adjust'])
def test_dot_that_is_not_stuffed(mta, service):
    mark = mta.log.mark()
    assert received(mta, service, b'a\r\n.b\r\n.\r\n') == b'a\r\n..b\r\n'
    mta.log.wait_text("warning: prepending '.' to malformed line: '.b'", mark, 'smtpd')


ENDS = [b'\n.\n', b'\r.\r', b'\r.\n', b'\n.\r', b'\n.\r\n', b'\r\n.\n', b'\r.\r\n', b'\r\n.\r', b'\r\n.\0\r\n', b'\r\n\0.\r\n']


@pytest.mark.parametrize('end', ENDS, ids=[repr(end) for end in ENDS])
@pytest.mark.parametrize('service', ['direct', 'adjust', 'reject', 'reject_adjust'])
def test_malformed_end(mta, service, end):
    """Only CRLF.CRLF ends data: no malformed end makes two messages of one."""
    smuggled = b'MAIL FROM:<evil@b.example>\r\nRCPT TO:<bob@virt.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nevil\r\n'
    with mta.sink('filter') as sink, mta.session(service, helo=None, xclient=STRANGER) as client:
        client.cmd('EHLO client.example', 250)
        client.envelope()
        client.cmd('DATA', 354)
        client.send(b'Subject: x\r\n\r\nbody' + end + smuggled + b'.\r\n')
        bare = re.search(rb'(?<!\r)\n', end) is not None
        client.expect('550 5.5.2 mx.gate.test Error: bare <LF> received' if bare and service.startswith('reject') else TAKEN)
        client.quit()
        if bare and service == 'reject_adjust':
            assert sink.connections == []
            return
        talk = sink.wait(1)
        assert len(sink.connections) == 1
        if bare and service == 'reject':
            assert talk.messages == []
            return
        assert talk.content.endswith(smuggled) and talk.verbs.count('MAIL') == 1
        if mta.newer:
            assert not re.search(rb'(?<!\r)\n|\r(?!\n)', talk.content), talk.content
            # nor does any line begin with a dot that is not stuffed
            assert not re.search(rb'^\.(?!\.)', talk.content, re.M), talk.content


@pytest.mark.parametrize('end', ENDS, ids=[repr(end) for end in ENDS])
@pytest.mark.parametrize('service', ['whole', 'whole_adjust'])
def test_malformed_end_behind_the_filter(mta, service, end):
    smuggled = b'MAIL FROM:<evil@b.example>\r\nRCPT TO:<bob@virt.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nevil\r\n'
    mta.maildir('alice').clear()
    with mta.relay('relay', 'after') as relay, mta.session(service, helo=None, xclient=STRANGER) as client:
        client.cmd('EHLO client.example', 250)
        client.envelope()
        client.cmd('DATA', 354)
        client.send(b'Subject: x\r\n\r\nbody' + end + smuggled + b'.\r\n')
        client.expect(250)
        client.quit()
        relay.wait(1)
    message, = mta.maildir('alice').wait(1)
    assert b'MAIL FROM:<evil@b.example>\n' in message and mta.maildir('bob').messages() == []
    if mta.newer:
        assert b'\r' not in message


@pytest.mark.parametrize('service, wanted', [('direct', b'a\r\nb\r\nc\r\n'), ('adjust', b'a\r\nb\r\nc\r\n')])
def test_normalize_drops_malformed_dots(mta, service, wanted):
    """A line '.' with a bare LF at either end is not there at all."""
    assert received(mta, service, b'a\n.\nb\n.\r\nc\r\n.\r\n', xclient=STRANGER) == wanted


@pytest.mark.parametrize('service', ['no', 'no_adjust'])
def test_bare_newline_allowed(mta, service):
    with mta.sink('filter') as sink, mta.session(service, helo=None, xclient=STRANGER) as client:
        client.send(b'EHLO client.example\n')
        client.expect(250)
        client.envelope()
        client.cmd('DATA', 354)
        client.send(b'Subject: x\n\nbody\n.\n')
        client.expect(TAKEN)
        assert sink.wait(1).content.endswith(b'Subject: x\r\n\r\nbody\r\n')


def test_bare_newline_excluded(mta):
    """Clients of mynetworks may."""
    with mta.sink('filter'), mta.session('reject') as client:
        client.envelope()
        client.raw_content(b'Subject: x\n\nbody\n.\n', TAKEN)


def test_bare_newline_in_a_command(mta):
    mark = mta.log.mark()
    with mta.session('reject', helo=None, xclient=STRANGER) as client:
        client.cmd('EHLO client.example', 250)
        client.send(b'NOOP\n')
        client.expect('550 5.5.2 mx.gate.test Error: bare <LF> received')
        client.expect_close()
    mta.log.wait(r'NOQUEUE: reject: \w+ from spike\.up\.test\[192\.0\.2\.66\]: 550 5\.5\.2 bare <LF> received; proto=ESMTP '
                 r'helo=<client\.example>|NOQUEUE: reject: \w+ from spike\.up\.test\[192\.0\.2\.66\]: .*bare <LF> received; .*', mark,
                 'smtpd')


def test_bare_newline_in_content(mta):
    """The answer comes after the end of data, and the session goes on."""
    with mta.sink('filter'), mta.session('reject', helo=None, xclient=STRANGER) as client:
        client.cmd('EHLO client.example', 250)
        client.envelope()
        client.raw_content(b'Subject: x\r\n\r\nbo\ndy\r\n.\r\n', '550 5.5.2 mx.gate.test Error: bare <LF> received')
        client.message(wanted=TAKEN)


def test_bare_newline_521(mta):
    with mta.sink('filter'), mta.session('code521', helo=None, xclient=STRANGER) as client:
        client.cmd('EHLO client.example', 250)
        client.envelope()
        client.raw_content(b'bo\ndy\r\n.\r\n', '521 5.5.2 mx.gate.test Error: bare <LF> received')
        client.expect_close()


# --- Received, PREPEND, actions that need a queue ------------------------------------------------------------------------

def test_received_several_recipients(mta):
    for service in ('direct', 'adjust'):
        with mta.sink('filter') as sink, mta.session(service) as client:
            client.message(to=['alice@virt.test', 'bob@virt.test'], wanted=TAKEN)
            client.quit()
            content = sink.wait(1).content
        assert re.match(rb'Received: from client\.example \(localhost \[127\.0\.0\.1\]\)\r\n'
                        rb'\tby mx\.gate\.test \(Conform\) with ESMTP;\r\n\t\w{3}, [ \d]\d \w{3} \d{4} [\d:]{8} [+-]\d{4} \(\w+\)\r\n'
                        rb'Subject', content), content


def test_received_counts_accepted(mta):
    """for <..> is for the recipients that the filter accepted."""
    with mta.sink('filter', {'RCPT TO:<bob@virt.test>': '550 no'}) as sink, mta.session('direct') as client:
        client.cmd('MAIL FROM:<a@b.example>', 250)
        client.cmd('RCPT TO:<bob@virt.test>', 550)
        client.cmd('RCPT TO:<alice@virt.test>', 250)
        client.content(wanted=TAKEN)
        client.quit()
        assert b'\r\n\tfor <alice@virt.test>; ' in sink.wait(1).content


def test_received_without_helo(mta):
    with mta.sink('filter') as sink, mta.session('direct', helo=None, xclient='NAME=[UNAVAILABLE] ADDR=192.0.2.5') as client:
        client.message(wanted=TAKEN)
        client.quit()
        assert sink.wait(1).content.startswith(b'Received: from unknown (unknown [192.0.2.5])\r\n\tby mx.gate.test (Conform) with SMTP')


def test_received_ipv6(mta):
    with mta.sink('filter') as sink, mta.session('direct', helo=None, xclient='NAME=six.test ADDR=IPv6:2001:db8::1') as client:
        client.cmd('EHLO c', 250)
        client.message(wanted=TAKEN)
        client.quit()
        assert sink.wait(1).content.startswith(b'Received: from c (six.test [IPv6:2001:db8::1])\r\n')


def test_received_utf8(mta):
    with mta.sink('filter') as sink, mta.session('direct') as client:
        client.cmd('MAIL FROM:<ä@b.example> SMTPUTF8', 250)
        client.cmd('RCPT TO:<alice@virt.test>', 250)
        client.content(wanted=TAKEN)
        client.quit()
        assert b'(Conform) with UTF8SMTP\r\n' in sink.wait(1).content


def test_prepend_above_received(mta):
    with mta.sink('filter') as sink, mta.session('access') as client:
        client.message(wanted=TAKEN)
        client.quit()
        assert sink.wait(1).content.startswith(b'X-A: one\r\nReceived: from client.example')


@pytest.mark.parametrize('user, action', [('bob', 'HOLD'), ('carol', 'REDIRECT')])
def test_actions_without_a_queue(mta, user, action):
    mark = mta.log.mark()
    with mta.sink('filter') as sink, mta.session('access') as client:
        client.message(to=f'{user}@virt.test', wanted=TAKEN)
        client.quit()
        assert sink.wait(1).content.endswith(b'body\r\n')
    mta.log.wait(r'warning: access table inline:.*: with smtpd_proxy_filter specified, action ' + action + ' is unavailable', mark,
                 'smtpd')


# --- BDAT -----------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('service', ['direct', 'adjust'])
def test_bdat(mta, service):
    with mta.sink('filter') as sink, mta.session(service) as client:
        client.envelope()
        client.send(b'BDAT 12\r\nSubject: x\r\n')
        client.expect('250 2.0.0 Ok: 12 bytes')
        client.send(b'BDAT 7\r\n\r\n.dot\n')
        client.expect(250)
        client.send(b'BDAT 3 LAST\r\nend')
        client.expect(TAKEN)
        client.quit()
        talk = sink.wait(1)
    assert talk.content.endswith(b'\r\nSubject: x\r\n\r\n..dot\r\nend\r\n'), talk.content
    assert talk.verbs == ['EHLO', 'XFORWARD', 'MAIL', 'RCPT', 'DATA', 'QUIT'] and b'\r\nDATA\r\n' in talk.raw


@pytest.mark.parametrize('service', ['direct', 'adjust'])
def test_bdat_lines_across_chunks(mta, service):
    with mta.sink('filter') as sink, mta.session(service) as client:
        client.envelope()
        for chunk in (b'Sub', b'ject: x\r', b'\n\r\n', b'.', b'\r\n.', b'.\r\n', b'a' * 5000):
            client.send(b'BDAT %d\r\n' % len(chunk) + chunk)
            client.expect(250)
        client.send(b'BDAT 0 LAST\r\n')
        client.expect(TAKEN)
        client.quit()
        assert sink.wait(1).content.endswith(b'\r\nSubject: x\r\n\r\n..\r\n...\r\n' + b'a' * 5000 + b'\r\n')


def test_bdat_pipelined(mta):
    with mta.sink('filter') as sink, mta.session('direct') as client:
        client.send(b'MAIL FROM:<a@b.example>\r\nRCPT TO:<alice@virt.test>\r\nBDAT 6\r\nbody\r\nBDAT 4 LAST\r\nmoreQUIT\r\n')
        for wanted in ('250 2.1.0 Ok', '250 2.1.5 Ok', 250, TAKEN, '221 2.0.0 Bye'):
            client.expect(wanted)
        assert sink.wait(1).content.endswith(b'\r\nbody\r\nmore\r\n')


def test_bdat_refused_by_the_filter(mta):
    with mta.sink('filter', {'.': '554 5.7.1 no'}), mta.session('direct') as client:
        client.envelope()
        client.send(b'BDAT 4 LAST\r\nbody')
        client.expect('554 5.7.1 no')
    with mta.sink('filter', {'DATA': '451 4.3.0 busy'}), mta.session('direct') as client:
        client.envelope()
        client.send(b'BDAT 4\r\nbody')
        client.expect('451 4.3.0 busy')
        client.send(b'BDAT 4\r\nbody')
        client.expect('551 5.0.0 Discarded 4 bytes after earlier error')
        client.send(b'BDAT 4 LAST\r\nbody')
        client.expect('551 5.0.0 Discarded 4 bytes after earlier error')
        client.cmd('NOOP', 250)


@pytest.mark.parametrize('service, contacted', [('small', True), ('small_adjust', False)])
def test_bdat_too_big(mta, service, contacted):
    """A first chunk over the limit: the filter hears DATA before, but no content."""
    mark = mta.log.mark()
    with mta.sink('filter') as sink, mta.session(service) as client:
        client.envelope()
        client.send(b'BDAT 1001 LAST\r\n' + b'x' * 1001)
        client.expect('552 5.3.4 Chunk exceeds message size limit')
        client.cmd('NOOP', 250)
        if contacted:
            assert sink.wait(1).raw.endswith(b'\r\nDATA\r\nQUIT\r\n')
        else:
            assert not sink.connections
    mta.log.wait_text('warning: NOQUEUE: BDAT request from localhost[127.0.0.1] exceeds message size limit', mark, 'smtpd')


def test_bdat_null(mta):
    mark = mta.log.mark()
    with mta.sink('filter'), mta.session('direct') as client:
        client.envelope()
        client.cmd('BDAT 0', '551 5.7.1 Null BDAT request')
    mta.log.wait_text('warning: NOQUEUE: null BDAT request from localhost[127.0.0.1]', mark, 'smtpd')


def test_bdat_client_leaves(mta):
    """The log counts the octets of the unfinished line, too."""
    mark = mta.log.mark()
    with mta.sink('filter'), mta.session('direct') as client:
        client.envelope()
        client.send(b'BDAT 6\r\nbody\r\nBDAT 100\r\nabc')
        client.expect(250)
        client.close()
    mta.log.wait_text('lost connection after BDAT (9 bytes) from localhost[127.0.0.1]', mark, 'smtpd')


def test_bdat_aborted(mta):
    with mta.sink('filter') as sink, mta.session('direct') as client:
        client.envelope()
        client.send(b'BDAT 6\r\nbody\r\n')
        client.expect(250)
        client.cmd('RSET', 250)
        talk = sink.wait(1)
        assert talk.messages == [] and talk.raw.endswith(b'body\r\nQUIT\r\n')
