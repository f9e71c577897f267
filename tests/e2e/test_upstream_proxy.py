"""smtpd_upstream_proxy_protocol: a proxy in front of the server says who its client is."""
import re
import ssl
import subprocess
import time

import pytest
from harness import PATIENCE
from harness.instance import wait_port
from harness.peer import until
from harness.tls import secure, starttls

GREETING = '220 mx.gate.test ESMTP Conform'
REFUSED = '421 4.3.0 mx.gate.test Server local error'
HAPROXY = '-o smtpd_upstream_proxy_protocol=haproxy'

V1 = b'PROXY TCP4 192.0.2.1 198.51.100.1 1111 25\r\n'
SIGNATURE = b'\r\n\r\n\0\r\nQUIT\n'
V2 = b'\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x09\xc6\x33\x64\x01\x04\xd2\0\x19'
V2_SIX = (b'\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01'
          b'\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\x04\xd2\0\x19')
ADDRESSES = V2[16:]
LOCAL = b'\r\n\r\n\0\r\nQUIT\n\x20\0\0\0'


def v1(rest):
    return b'PROXY ' + rest + b'\r\n'


def v2(command, family, body):
    return SIGNATURE + bytes([command, family]) + len(body).to_bytes(2, 'big') + body


@pytest.fixture(scope='module')
def mta(sut, authority):
    tls = f'{HAPROXY} -o smtpd_tls_chain_files={authority.path("server.chain")} -o smtpd_tls_security_level=may -o smtpd_tls_loglevel=1'
    with sut('smtpd_peername_lookup = no\nsmtpd_client_port_logging = yes\nsmtpd_error_sleep_time = 0\n', services={
            'in': ('400', f'{HAPROXY} -o smtpd_upstream_proxy_timeout=20 -o virtual_transport=discard'),
            'quick': f'{HAPROXY} -o smtpd_upstream_proxy_timeout=1',
            'named': f'{HAPROXY} -o smtpd_peername_lookup=yes -o smtpd_client_port_logging=no',
            'limited': f'{HAPROXY} -o smtpd_client_connection_rate_limit=1',
            'early': f'{HAPROXY} -o smtpd_forbid_unauth_pipelining=yes',
            'tls': tls, 'wrapped': f'{tls} -o smtpd_tls_wrappermode=yes',
            'some': f'{HAPROXY} -o smtpd_upstream_proxy_hosts=127.0.0.0/30', 'direct': ''}) as mta:
        yield mta


def session(mta, header, service='in', source=None):
    """A client behind a proxy, greeted."""
    client = mta.connect(service, source)
    client.send(header)
    client.expect(GREETING)
    return client


@pytest.mark.parametrize('header, shown', [
    (V1, '192.0.2.1]:1111'),
    (V1.replace(b'\r', b''), '192.0.2.1]:1111'),
    (v1(b'tcp4  192.0.2.1 198.51.100.1 0 25 and more'), '192.0.2.1]:0'),
    (v1(b'TCP6 2001:DB8:0::1 2001:db8::2 1111 25'), '2001:db8::1]:1111'),
    (v1(b'TCP6 ::ffff:192.0.2.3 ::ffff:192.0.2.2 1111 25'), '192.0.2.3]:1111'),
    (V2, '192.0.2.9]:1234'),
    (V2_SIX, '2001:db8::1]:1234'),
    (v2(0x21, 0x11, ADDRESSES + b'\x20\0\x05hello\xff\xff\xff'), '192.0.2.9]:1234'),
    (v2(0x21, 0x11, ADDRESSES + bytes(508)), '192.0.2.9]:1234'),
])
def test_header(mta, header, shown):
    """From then on it is that client's session: in the log, and for what it may."""
    mark = mta.log.mark()
    with session(mta, header) as client:
        client.cmd('EHLO client.example', 250)
        client.cmd('MAIL FROM:<a@b.example>', 250)
        client.cmd('RCPT TO:<x@elsewhere.test>', '554 5.7.1 <x@elsewhere.test>: Relay access denied')
        client.quit()
    mta.log.wait_text(f'connect from unknown[{shown}', mark, 'smtpd')
    mta.log.wait_text(f'NOQUEUE: reject: RCPT from unknown[{shown}: 554 5.7.1 <x@elsewhere.test>: Relay access denied; '
                      'from=<a@b.example> to=<x@elsewhere.test> proto=ESMTP helo=<client.example>', mark, 'smtpd')
    mta.log.wait_text(f'disconnect from unknown[{shown} ehlo=1 mail=1 rcpt=0/1 quit=1 commands=3/4', mark, 'smtpd')


class OneWrite:
    """A socket inside TLS whose first flight goes out behind prefix, in one write."""

    def __init__(self, sock, context, prefix):
        self.sock, self.incoming, self.outgoing = sock, ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname='localhost')
        self.prefix = prefix
        self.run(self.tls.do_handshake)

    def run(self, step, *args):
        while True:
            try:
                done = step(*args)
            except ssl.SSLWantReadError:
                done = None
            out = self.prefix + self.outgoing.read()
            self.prefix = b''
            if out:
                self.sock.sendall(out)
            if done is not None or step == self.tls.do_handshake and self.tls.version():
                return done
            self.incoming.write(self.sock.recv(65536))

    def recv(self, size):
        return self.run(self.tls.read, size)

    def sendall(self, data):
        self.run(self.tls.write, data)

    def close(self):
        self.sock.close()


@pytest.mark.parametrize('way', ['starttls', 'wrapped', 'in one write'])
@pytest.mark.parametrize('header, shown', [(V1, '192.0.2.1]:1111'), (V2_SIX, '2001:db8::1]:1234')])
def test_tls(mta, authority, way, header, shown):
    """The header is before TLS, which is with the client behind it."""
    mark, context = mta.log.mark(), authority.client_context(check=True)
    with mta.connect('tls' if way == 'starttls' else 'wrapped') as client:
        if way == 'in one write':
            client.sock = OneWrite(client.sock, context, header)
        else:
            client.send(header)
        if way == 'wrapped':
            secure(client, context)
        client.expect(GREETING)
        if way == 'starttls':
            client.cmd('EHLO client.example', 250)
            starttls(client, context)
        assert 'STARTTLS' not in client.cmd('EHLO client.example', 250)
        client.cmd('MAIL FROM:<a@b.example>', 250)
        client.cmd('RCPT TO:<x@elsewhere.test>', '554 5.7.1 <x@elsewhere.test>: Relay access denied')
        client.cmd('QUIT', 221)
    mta.log.wait(rf'Anonymous TLS connection established from unknown\[{re.escape(shown)}: TLSv1.*', mark, 'smtpd')
    mta.log.wait_text(f'NOQUEUE: reject: RCPT from unknown[{shown}: 554 5.7.1 <x@elsewhere.test>: Relay access denied; '
                      'from=<a@b.example> to=<x@elsewhere.test> proto=ESMTP helo=<client.example>', mark, 'smtpd')


@pytest.mark.parametrize('header', [LOCAL, v2(0x20, 0x11, ADDRESSES)])
def test_local(mta, header):
    """The proxy speaks for itself."""
    mark = mta.log.mark()
    with session(mta, header) as client:
        client.quit()
        mta.log.wait_text(f'connect from unknown[127.0.0.1]:{client.port}', mark, 'smtpd')


BAD = [
    (v1(b'TCP4 2001:db8::1 2001:db8::2 1111 25'), 'bad or missing client address'),
    (v1(b'TCP4 192.0.2.300 198.51.100.1 1111 25'), 'bad or missing client address'),
    (v1(b'TCP4'), 'bad or missing client address'),
    (v1(b'TCP4 ' + b'1' * 300), 'bad or missing client address'),
    (v1(b'TCP4 192.0.2.3 198.51.100 1111 25'), 'bad or missing server address'),
    (v1(b'TCP4 192.0.2.1 198.51.100.1'), 'bad or missing client port'),
    (v1(b'TCP4 192.0.2.1 198.51.100.1 65536 25'), 'bad or missing client port'),
    (v1(b'TCP4 192.0.2.1 198.51.100.1 00025 25'), 'bad or missing client port'),
    (v1(b'TCP4 192.0.2.1 198.51.100.1 1111'), 'bad or missing server port'),
    (v1(b'UNKNOWN'), 'bad or missing protocol type'),
    (v1(b'UNKNOWN ff:: ff:: 1 2'), 'bad or missing protocol type'),
    (v1(b'UDP4 192.0.2.1 198.51.100.1 1111 25'), 'bad or missing protocol type'),
    (b'PROXY\r\n', 'short protocol header'),
    (b'EHLO foo\r\n', 'short protocol header'),
    (b'\x01\xff\x80 foo\r\n', 'short protocol header'),
    (b'EHLO client.example\r\n', 'unrecognized protocol header'),
    (V1.lower(), 'unrecognized protocol header'),
    (b'x' * 600 + b'\r\n', 'unrecognized protocol header'),
    (SIGNATURE[:-2] + b'X\n\x21\x11\0\0', 'unrecognized protocol header'),
    (v2(0x11, 0x11, ADDRESSES), 'unrecognized protocol version'),
    (v2(0x22, 0x11, ADDRESSES), 'bad command in proxy header'),
    (v2(0x21, 0, b''), 'unsupported network protocol'),
    (v2(0x21, 0x12, ADDRESSES), 'unsupported network protocol'),
    (v2(0x21, 0x31, bytes(216)), 'unsupported network protocol'),
    (v2(0x21, 0x11, b'xxxx'), 'short address field'),
    (v2(0x21, 0x21, ADDRESSES), 'short address field'),
    (v2(0x21, 0x11, ADDRESSES + bytes(1000)), 'short version 2 protocol header'),
    (v2(0x21, 0x11, ADDRESSES + bytes(65000)), 'short version 2 protocol header'),
]


def hung_up(mta, client, mark, warning):
    """It is told no more than that, and the log names who connected."""
    try:
        client.expect(REFUSED)
        client.expect_close()
    except ConnectionResetError:
        pass  # what the server had not read took the reply with it
    mta.log.wait(r'warning: haproxy read: ' + warning, mark, 'smtpd')
    mta.log.wait_text(f'connect from unknown[127.0.0.1]:{client.port}', mark, 'smtpd')
    mta.log.wait_text(f'disconnect from unknown[127.0.0.1]:{client.port} commands=0/0', mark, 'smtpd')


@pytest.mark.parametrize('header, why', BAD)
def test_bad_header(mta, header, why):
    mark = mta.log.mark()
    with mta.connect('in') as client:
        client.send(header)
        hung_up(mta, client, mark, re.escape(why) + ': .*')


def test_bad_header_in_the_log(mta):
    """As one line that shows what came."""
    mark = mta.log.mark()
    with mta.connect('in') as client:
        client.send(b'\x01\xffProxy TCP4\r\nfoo\t\r\n')
        hung_up(mta, client, mark, re.escape(r'unrecognized protocol header: \001\377Proxy TCP4\r\nfoo\t\r\n'))


@pytest.mark.parametrize('data, why', [(b'', 'EOF'), (V1[:20], 'missing protocol header terminator: PROXY TCP4 192.0.2.1'),
                                       (V2[:20], 'short version 2 protocol header: .*'), (b'PROXY T', 'missing protocol header terminator: PROXY T'), (b'PROXY', 'short protocol header: PROXY')])
def test_cut_short(mta, data, why):
    mark = mta.log.mark()
    with mta.connect('in') as client:
        client.send(data)
        try:
            client.half_close()
        except OSError:
            pass  # it has already been refused: Postfix does not wait for the rest
        hung_up(mta, client, mark, why)


def test_silence(mta):
    mark = mta.log.mark()
    with mta.connect('quick') as client:
        hung_up(mta, client, mark, 'timeout error')


@pytest.mark.gatepost_only
@pytest.mark.parametrize('header', [V1, V2])
def test_in_pieces(mta, header):
    """TCP may cut a header anywhere; Postfix takes one read for all of it."""
    with mta.connect('in') as client:
        client.send_slowly(header, 0.005)
        client.expect(GREETING)
        client.cmd('EHLO client.example', 250)


@pytest.mark.gatepost_only
def test_time_is_for_the_whole_header(mta):
    mark = mta.log.mark()
    with mta.connect('quick') as client:
        begun = time.monotonic()
        try:
            for octet in V1[:-2] + b' ' * 400:
                client.sock.sendall(bytes([octet]))
                time.sleep(0.05)
        except OSError:
            pass
        assert time.monotonic() - begun < 10 * PATIENCE
    mta.log.wait_text('warning: haproxy read: timeout error', mark, 'smtpd')


@pytest.mark.gatepost_only
def test_who_is_silent_holds_nobody_up(mta):
    silent = [mta.connect('in') for _ in range(200)]
    silent[0].send(V1[:10])
    with session(mta, V2) as client:
        client.message(wanted=250)
        client.quit()
    for client in silent:
        client.close()


def test_the_client_may_what_its_address_may(mta):
    """Whoever connected: mynetworks holds 127.0.0.1."""
    with session(mta, v1(b'TCP4 127.0.0.1 127.0.0.1 1111 25'), source='127.0.0.9') as client:
        client.cmd('MAIL FROM:<a@b.example>', 250)
        client.cmd('RCPT TO:<x@elsewhere.test>', 250)


def test_name_lookup(mta):
    mark = mta.log.mark()
    with session(mta, v1(b'TCP4 127.0.0.1 127.0.0.1 1111 25'), 'named', source='127.0.0.9') as client:
        client.quit()
    mta.log.wait_text('connect from localhost[127.0.0.1]', mark, 'smtpd')


def test_limits_count_the_client(mta):
    mark = mta.log.mark()
    for _ in range(2):
        with session(mta, v1(b'TCP4 127.0.0.1 127.0.0.1 1111 25'), 'limited') as client:
            client.quit()
    with session(mta, V1, 'limited') as client:
        client.quit()
    with mta.connect('limited') as client:
        client.send(V1)
        client.expect('421 4.7.0 mx.gate.test Error: too many connections from 192.0.2.1')
    mta.log.wait_text(f'warning: Connection rate limit exceeded: 2 from unknown[192.0.2.1]:1111 for service 127.0.0.1:{mta.port("limited")}',
                      mark, 'smtpd')
    with session(mta, V2, 'limited') as client:
        client.quit()


def test_xclient_behind_it(mta):
    """The address from the header decides who may."""
    mark = mta.log.mark()
    with session(mta, v1(b'TCP4 127.0.0.1 127.0.0.1 1111 25'), source='127.0.0.9') as client:
        client.cmd('XCLIENT ' + mta.STRANGER, GREETING)
        client.cmd('MAIL FROM:<a@b.example>', 250)
        client.cmd('RCPT TO:<x@elsewhere.test>', 554)
    mta.log.wait_text('NOQUEUE: reject: RCPT from spike.up.test[192.0.2.66]:4711: 554 5.7.1 <x@elsewhere.test>: Relay access denied; '
                      'from=<a@b.example> to=<x@elsewhere.test> proto=SMTP', mark, 'smtpd')
    with session(mta, V1) as client:
        client.cmd('XCLIENT ' + mta.STRANGER, '550 5.7.0 Error: insufficient authorization')


def test_early_talker(mta):
    mark = mta.log.mark()
    with mta.connect('early') as client:
        client.send(V1 + b'EHLO client.example\r\n')
        client.expect('554 5.5.0 Error: SMTP protocol synchronization')
        client.expect_close()
    mta.log.wait_text('improper command pipelining after CONNECT from unknown[192.0.2.1]:1111: EHLO client.example\\r\\n', mark, 'smtpd')


def test_only_enabled_families(sut):
    with sut('inet_protocols = ipv4\nsmtpd_peername_lookup = no\nsmtpd_client_port_logging = yes\n', services={'in': HAPROXY}) as mta:
        with session(mta, V1):
            pass
        for header, why in ((v1(b'TCP6 2001:db8::1 2001:db8::2 1111 25'), 'bad or missing protocol type'), (V2_SIX, '(Postfix )?IPv6 support is disabled')):
            mark = mta.log.mark()
            with mta.connect('in') as client:
                client.send(header)
                hung_up(mta, client, mark, why + ': .*')


# --- smtpd_upstream_proxy_hosts ------------------------------------------------------------------------------------------------

@pytest.mark.gatepost_only
def test_strangers(mta):
    """Who is not in the list is not believed, and not served."""
    for source in ('127.0.0.1', '127.0.0.3'):
        session(mta, V1, 'some', source=source).quit()
    for header in (V1, V2, b''):
        mark = mta.log.mark()
        with mta.connect('some', source='127.0.0.4') as client:
            client.send(header)
            try:
                client.expect(REFUSED)
                client.expect_close()
            except ConnectionResetError:
                pass
            mta.log.wait_text('warning: haproxy read: [127.0.0.4] is not in smtpd_upstream_proxy_hosts', mark, 'smtpd')
            mta.log.wait_text(f'disconnect from unknown[127.0.0.4]:{client.port} commands=0/0', mark, 'smtpd')


@pytest.mark.gatepost_only
def test_anybody_is_warned_of(gatepost):
    mta = gatepost(services={'open': HAPROXY, 'closed': f'{HAPROXY} -o smtpd_upstream_proxy_hosts=127.0.0.1', 'none': ''})
    with mta:
        done = mta.run('check')
        assert done.returncode == 0
        warned = [line for line in (done.stderr + done.stdout).splitlines() if 'smtpd_upstream' in line]
        assert len(warned) == 1 and 'master.cf: line ' in warned[0] and 'smtpd_upstream_proxy_hosts is empty' in warned[0], warned
        assert any('smtpd_upstream_proxy_hosts is empty' in text for text in mta.log.texts())


@pytest.mark.gatepost_only
def test_unknown_protocol(gatepost):
    mta = gatepost(services={'in': '-o smtpd_upstream_proxy_protocol=nginx'})
    try:
        done = mta.try_start()
        assert done.returncode != 0 and 'unsupported smtpd_upstream_proxy_protocol value: nginx' in done.stderr + mta.log_text()
    finally:
        mta.__exit__()


# --- a real proxy --------------------------------------------------------------------------------------------------------------

@pytest.fixture(scope='module')
def haproxy(mta, ports, tmp_path_factory):
    """Two of its listeners, one for each version; that of version 2 looks whether the server is well."""
    listeners = {'v1': ports.take(), 'v2': ports.take()}
    path = tmp_path_factory.mktemp('haproxy') / 'haproxy.cfg'
    server = f'server in 127.0.0.1:{mta.port("in")}'
    path.write_text('global\n    maxconn 200\n    nbthread 1\n'
                    'defaults\n    mode tcp\n    timeout connect 10s\n    timeout client 60s\n    timeout server 60s\n'
                    f'listen v1\n    bind 127.0.0.1:{listeners["v1"]}\n    {server} send-proxy\n'
                    f'listen v2\n    bind 127.0.0.1:{listeners["v2"]}\n    option smtpchk EHLO check.example\n'
                    f'    {server} send-proxy-v2 check check-send-proxy inter 300ms fall 1 rise 1\n')
    process = subprocess.Popen(['haproxy', '-db', '-q', '-f', str(path)], stdin=subprocess.DEVNULL)
    try:
        for name, port in listeners.items():
            wait_port(port)
            mta.ports[name] = port
        yield
    finally:
        process.terminate()
        process.wait()


@pytest.mark.parametrize('version', ['v1', 'v2'])
def test_haproxy(mta, haproxy, version):
    mark = mta.log.mark()
    with mta.connect(version, source='127.0.0.7') as client:
        client.expect(GREETING)
        client.cmd('EHLO client.example', 250)
        client.message(wanted=250)
        client.quit()
        mta.log.wait_text(f'connect from unknown[127.0.0.7]:{client.port}', mark, 'smtpd')
    mta.log.wait(rf'[0-9A-F]+: client=unknown\[127\.0\.0\.7\]:{client.port}', mark, 'smtpd')


def test_haproxy_health_checks(mta, haproxy):
    """They say LOCAL, and find the server well."""
    mark = mta.log.mark()
    mta.log.wait(r'disconnect from unknown\[127\.0\.0\.1\]:\d+ ehlo=1 quit=1 commands=2', mark, 'smtpd')
    until(lambda: served(mta), 'the server is up')


def served(mta):
    with mta.connect('v2') as client:
        return client.sock.recv(4096).startswith(b'220 ')
