"""XCLIENT, as in XCLIENT_README: a peer that may, says who its client is."""
import socketserver
import threading

import pytest

GREETING = '220 mx.gate.test ESMTP Conform'
DENIED = '550 5.7.0 Error: insufficient authorization'


class Table(socketserver.StreamRequestHandler):
    """A tcp_table(5) that has 192.0.2.66 only."""

    def handle(self):
        for line in self.rfile:
            self.wfile.write(b'200 OK\n' if line.strip() == b'get 192.0.2.66' else b'500 no\n')


@pytest.fixture(scope='module')
def table():
    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(('127.0.0.1', 0), Table) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f'tcp:127.0.0.1:{server.server_address[1]}'
        server.shutdown()


@pytest.fixture(scope='module')
def mta(sut, table):
    with sut('smtpd_client_port_logging = yes\nsmtpd_error_sleep_time = 0\nsmtpd_soft_error_limit = 1000\nsmtpd_hard_error_limit = 1000\n', services={
            'in': '-o smtpd_authorized_xforward_hosts=127.0.0.1',
            'nodelay': '-o smtpd_delay_reject=no -o smtpd_client_restrictions=check_client_access,inline:{{192.0.2.66=REJECT}}',
            'helo': '-o smtpd_helo_required=yes',
            'after': '-o smtpd_authorized_xclient_hosts=127.0.0.1,192.0.2.66',
            'asked': f'-o smtpd_authorized_xclient_hosts=127.0.0.1,{table} -o smtpd_delay_reject=no '
                     f'-o smtpd_client_restrictions=check_client_access,{table} -o smtpd_client_event_limit_exceptions={table}',
            'login': '-o smtpd_relay_restrictions=permit_sasl_authenticated,reject -o virtual_transport=discard',
            'keyword': '-o smtpd_discard_ehlo_keywords=xclient,silent-discard'}) as mta:
        yield mta


def greeted(mta, service='in', source=None):
    client = mta.connect(service, source)
    client.expect(GREETING)
    return client


def shown(mta, client, service='in'):
    """Who the server takes it for: of the line that a rejected recipient leaves."""
    mark = mta.log.mark()
    client.cmd('MAIL FROM:<a@b.example>', 250)
    client.cmd('RCPT TO:<x@elsewhere.test>', '~[45].*')
    client.cmd('RSET', 250)
    match = mta.log.wait(r'NOQUEUE: reject: RCPT from (\S+): \d\d\d .*; from=<a@b.example> to=<x@elsewhere.test> (proto=.*)', mark, 'smtpd')
    return match[1] + ' ' + match[2]


@pytest.mark.parametrize('attributes, wanted', [
    ('NAME=spike.up.test ADDR=192.0.2.66 PORT=4711', 'spike.up.test[192.0.2.66]:4711 proto=SMTP'),
    ('name=spike.up.test addr=192.0.2.66 port=4711', 'spike.up.test[192.0.2.66]:4711 proto=SMTP'),
    ('NAME=a+2Eb.test ADDR=192.0.2.66 PORT=1', 'a.b.test[192.0.2.66]:1 proto=SMTP'),
    ('ADDR=192.0.2.66 PORT=1 HELO=there', 'localhost[192.0.2.66]:1 proto=SMTP helo=<there>'),
    ('ADDR=192.0.2.66 PORT=1 HELO=a+20b+3Cc@d+3E', 'localhost[192.0.2.66]:1 proto=SMTP helo=<a?b?c?d?>'),
    ('ADDR=192.0.2.66 PORT=1 PROTO=ESMTP', 'localhost[192.0.2.66]:1 proto=ESMTP'),
    ('ADDR=192.0.2.66 PORT=1 PROTO=esmtp', 'localhost[192.0.2.66]:1 proto=ESMTP'),
    ('ADDR=192.0.2.66 PORT=1 PROTO=SMTP', 'localhost[192.0.2.66]:1 proto=SMTP'),
    ('ADDR=192.0.2.66 PORT=1 HELO=[UNAVAILABLE]', 'localhost[192.0.2.66]:1 proto=SMTP'),
    ('NAME=[UNAVAILABLE] ADDR=192.0.2.66 PORT=1', 'unknown[192.0.2.66]:1 proto=SMTP'),
    ('NAME=[TEMPUNAVAIL] ADDR=192.0.2.66 PORT=1', 'unknown[192.0.2.66]:1 proto=SMTP'),
    ('NAME=[unavailable] ADDR=192.0.2.66 PORT=1', 'unknown[192.0.2.66]:1 proto=SMTP'),
    ('ADDR=[UNAVAILABLE] PORT=[UNAVAILABLE]', 'localhost[unknown]:unknown proto=SMTP'),
    ('ADDR=IPv6:2001:db8::1 PORT=1', 'localhost[2001:db8::1]:1 proto=SMTP'),
    ('ADDR=ipv6:2001:DB8::1 PORT=1', 'localhost[2001:db8::1]:1 proto=SMTP'),
    ('ADDR=192.0.2.66 PORT=1 DESTADDR=198.51.100.1 DESTPORT=25', 'localhost[192.0.2.66]:1 proto=SMTP'),
    ('ADDR=192.0.2.66 PORT=1 DESTADDR=[UNAVAILABLE] DESTPORT=[UNAVAILABLE]', 'localhost[192.0.2.66]:1 proto=SMTP'),
    ('ADDR=192.0.2.66 PORT=1 REVERSE_NAME=rev.test', 'localhost[192.0.2.66]:1 proto=SMTP'),
    ('ADDR=192.0.2.66 PORT=1 ADDR=192.0.2.67', 'localhost[192.0.2.67]:1 proto=SMTP'),
])
def test_attributes(mta, attributes, wanted):
    with greeted(mta) as client:
        client.cmd('XCLIENT ' + attributes, GREETING)
        assert shown(mta, client) == wanted


EXPECTED, TOO_LONG = '501 5.5.4 Error: attribute=value expected', '501 5.5.4 Error: attribute value too long'


def bad(name, value):
    return f'{name}={value}', f'501 5.5.4 Bad {name} syntax: {value}'


@pytest.mark.parametrize('attributes, reply', [
    ('', '501 5.5.4 Syntax: XCLIENT attribute=value...'),
    ('ADDR', EXPECTED), ('ADDR=', EXPECTED), ('PORT=', EXPECTED), ('PROTO=', EXPECTED), ('NAME=', EXPECTED), ('HELO=', EXPECTED),
    ('LOGIN=', EXPECTED), ('NAME=' + 'x' * 300, TOO_LONG), ('HELO=' + 'x' * 256, TOO_LONG), ('LOGIN=' + 'x' * 300, TOO_LONG),
    ('FOO=bar', '501 5.5.4 Bad XCLIENT attribute name: FOO'), ('SOURCE=LOCAL', '501 5.5.4 Bad XCLIENT attribute name: SOURCE'),
    ('IDENT=1', '501 5.5.4 Bad XCLIENT attribute name: IDENT'),
    bad('ADDR', '1.2.3'), bad('ADDR', '2001:db8::1'), bad('ADDR', 'IPv6:192.0.2.1'), bad('ADDR', '[TEMPUNAVAIL]'),
    bad('PORT', 'x'), bad('DESTADDR', 'x'), bad('DESTPORT', 'x'), bad('PROTO', 'QMQP'), bad('PROTO', '[UNAVAILABLE]'),
    ('ADDR=1+20+3Cx;', '501 5.5.4 Bad ADDR syntax: 1??x?'), ('DESTADDR=1;x', '501 5.5.4 Bad DESTADDR syntax: 1?x'),
    bad('PROTO', 'a;b'),
    bad('NAME', '-a.test'), bad('NAME', 'a..b'), bad('REVERSE_NAME', 'a..b'),
    ('HELO=' + 'x' * 255, GREETING), ('HELO=a+2', GREETING), ('HELO=a+zz', GREETING), ('HELO=[TEMPUNAVAIL]', GREETING), ('PORT=0', GREETING),
])
def test_syntax(mta, attributes, reply):
    with greeted(mta) as client:
        client.cmd('XCLIENT ' + attributes, reply)


def test_twice(mta):
    """The address that was named may no more, if it may not by itself."""
    with greeted(mta) as client:
        assert 'XCLIENT' in client.cmd('EHLO a', 250)
        client.cmd('XCLIENT ' + mta.STRANGER, GREETING)
        assert 'XCLIENT' not in client.cmd('EHLO a', 250)
        client.cmd('XCLIENT ADDR=192.0.2.67', DENIED)
    with greeted(mta, 'after') as client:
        client.cmd('XCLIENT ADDR=192.0.2.66 PORT=1 NAME=a.test', GREETING)
        assert 'XCLIENT' in client.cmd('EHLO a', 250)
        client.cmd('XCLIENT ADDR=192.0.2.67', GREETING)
        assert shown(mta, client) == 'a.test[192.0.2.67]:1 proto=SMTP'
        client.cmd('XCLIENT ADDR=192.0.2.68', DENIED)


def test_lists_in_a_table_that_is_asked(mta):
    """What another system must say first changes nothing."""
    with greeted(mta, 'asked') as client:
        client.cmd('XCLIENT ADDR=192.0.2.66 PORT=1 NAME=a.test', GREETING)
        assert shown(mta, client) == 'a.test[192.0.2.66]:1 proto=SMTP'
        client.cmd('XCLIENT ADDR=192.0.2.67', GREETING)
        assert shown(mta, client) == 'a.test[192.0.2.67]:1 proto=SMTP'
        client.cmd('XCLIENT ADDR=192.0.2.68', DENIED)


def test_xforward_stays(mta):
    """Who may use XFORWARD is asked once, when it connects."""
    with greeted(mta) as client:
        client.cmd('XCLIENT ' + mta.STRANGER, GREETING)
        assert 'XFORWARD' in client.cmd('EHLO a', 250)
        client.cmd('XFORWARD NAME=a', '250 2.0.0 Ok')
    with greeted(mta, source='127.0.0.2') as client:
        client.cmd('XFORWARD NAME=a', DENIED)


def test_in_a_transaction(mta):
    with greeted(mta) as client:
        client.cmd('MAIL FROM:<a@b.example>', 250)
        client.cmd('XCLIENT ADDR=192.0.2.67', '503 5.5.1 Error: MAIL transaction in progress')


def test_helo_is_forgotten(mta):
    with greeted(mta, 'helo') as client:
        client.cmd('EHLO client.example', 250)
        client.cmd('XCLIENT ADDR=192.0.2.67', GREETING)
        client.cmd('MAIL FROM:<a@b.example>', '503 5.5.1 Error: send HELO/EHLO first')
        client.cmd('HELO again', 250)
        client.cmd('XCLIENT HELO=there', DENIED)
    with greeted(mta, 'helo') as client:
        client.cmd('XCLIENT ADDR=192.0.2.67 HELO=there', GREETING)
        client.cmd('MAIL FROM:<a@b.example>', 250)


def test_restrictions_of_the_client(mta):
    """Without delay they are asked anew, for the new client; and then no more but QUIT."""
    with greeted(mta, 'nodelay') as client:
        client.cmd('XCLIENT ADDR=192.0.2.66 NAME=x.test PORT=1', '554 5.7.1 <x.test[192.0.2.66]:1>: Client host rejected: Access denied')
        client.cmd('EHLO a', '503 5.7.0 Error: access denied for x.test[192.0.2.66]:1')
        client.quit()
    with greeted(mta, 'nodelay') as client:
        client.cmd('XCLIENT ADDR=192.0.2.67', GREETING)


@pytest.mark.parametrize('attributes', ['LOGIN=joe', 'LOGIN=[UNAVAILABLE]', 'NAME=a.test'])
def test_login(mta, attributes):
    """It permits nothing where smtpd_sasl_auth_enable does not say so. (What is logged: test_proxy_content.py.)"""
    with greeted(mta, 'login') as client:
        client.cmd('XCLIENT ADDR=192.0.2.66 ' + attributes, GREETING)
        client.cmd('MAIL FROM:<a@b.example>', 250)
        client.cmd('RCPT TO:<alice@virt.test>', 554)


def test_keyword_discarded(mta):
    """Not announced, but there."""
    with greeted(mta, 'keyword') as client:
        assert 'XCLIENT' not in client.cmd('EHLO a', 250)
        client.cmd('XCLIENT ADDR=192.0.2.66', None)


@pytest.mark.parametrize('attributes', ['ADDR=192.0.2.66', 'ADDR=192.0.2.66 DESTADDR=198.51.100.1'])
def test_local_header_rewrite_clients(mta, attributes):
    """For permit_inet_interfaces it is still who connected: what is missing in the header is added."""
    with greeted(mta) as client:
        client.cmd('XCLIENT ' + attributes, GREETING)
        client.message(f'Subject: {attributes}\n\nbody\n', wanted=250)
    message = mta.maildir('alice').wait_for(f'Subject: {attributes}\n'.encode())
    assert b'\nMessage-Id: <' in message, message


def test_strangers(mta):
    with greeted(mta, source='127.0.0.2') as client:
        assert 'XCLIENT' not in client.cmd('EHLO a', 250)
        client.cmd('XCLIENT FOO', DENIED)
        client.cmd('XCLIENT', '501 5.5.4 Syntax: XCLIENT attribute=value...')


def test_counts(mta):
    """XCLIENT does not count as a success: the session began anew."""
    mark = mta.log.mark()
    with greeted(mta) as client:
        client.cmd('EHLO a', 250)
        client.cmd('XCLIENT ADDR=192.0.2.66 NAME=a.test PORT=1', GREETING)
        client.cmd('EHLO a', 250)
        client.quit()
    mta.log.wait_text('disconnect from a.test[192.0.2.66]:1 ehlo=2 xclient=0/1 quit=1 commands=3/4', mark, 'smtpd')
