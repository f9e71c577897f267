"""Clients of TLS that stop, drip and lie: nobody else notices."""
import hmac
import os
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../e2e'))
from harness import PATIENCE  # noqa: E402
from harness.instance import sanitized  # noqa: E402
from harness.tls import connect_tls, starttls  # noqa: E402

pytestmark = pytest.mark.gatepost_only
HERE = os.path.dirname(os.path.abspath(__file__))
HELLO_BEGUN = b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'


@pytest.fixture(scope='module')
def mta(gatepost, authority):
    may = f'-o smtpd_tls_security_level=may -o smtpd_tls_chain_files={authority.path("server.chain")} ' \
          '-o smtpd_client_connection_count_limit=0 -o smtpd_tls_loglevel=1'
    with gatepost(services={'may': may, 'wrapped': f'{may} -o smtpd_tls_wrappermode=yes',
                            'short': f'{may} -o smtpd_tls_wrappermode=yes -o smtpd_starttls_timeout=3s',
                            'null': f'{may} -o smtpd_tls_wrappermode=yes -o smtpd_tls_mandatory_ciphers=null'}) as mta:
        yield mta


@pytest.fixture(scope='module')
def tls_client(tmp_path_factory):
    made = str(tmp_path_factory.mktemp('client') / 'tls_client')
    subprocess.run(['cc', '-o', made, f'{HERE}/tls_client.c', '-lssl', '-lcrypto'], check=True)
    return lambda *words: subprocess.run([made, *map(str, words)], check=True, capture_output=True, text=True, timeout=60).stdout


def server_pid(mta, service):
    port = str(mta.port(service))
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open(f'/proc/{pid}/cmdline', 'rb') as file:
                words = file.read().split(b'\0')
        except OSError:
            continue
        if b'command=smtpd' in words and any(word.endswith(b':' + port.encode()) for word in words if word.startswith(b'identity=')):
            if any(mta.dir.encode() in word for word in words):
                return pid
    raise AssertionError('no such process')


def threads(pid):
    return len(os.listdir(f'/proc/{pid}/task'))


def cpu_seconds(pid):
    with open(f'/proc/{pid}/stat') as file:
        fields = file.read().rpartition(')')[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf('SC_CLK_TCK')


def memory_kb(pid):
    with open(f'/proc/{pid}/smaps_rollup') as file:
        return sum(int(line.split()[1]) for line in file if line.startswith('Pss:'))


def is_served(mta, authority, service):
    with connect_tls(mta, service, authority.client_context()) as client:
        client.expect(220)
        client.cmd('EHLO x', 250)
        client.message(wanted=250)
        client.quit()


def stopped_clients(mta, service, count):
    clients = []
    for number in range(count):
        client = socket.create_connection(('127.0.0.1', mta.port(service)))
        client.sendall(HELLO_BEGUN[:number % len(HELLO_BEGUN) + 1])
        clients.append(client)
    return clients


def serve_beside_stopped(mta, authority, service, count):
    pid = server_pid(mta, service)
    is_served(mta, authority, service)
    before, memory = threads(pid), memory_kb(pid)
    clients = stopped_clients(mta, service, count)
    begun = time.monotonic()
    for _ in range(5):
        is_served(mta, authority, service)
    assert time.monotonic() - begun < 20 * PATIENCE
    assert threads(pid) <= before + 6
    each = (memory_kb(pid) - memory) / count
    print(f'{each:.1f} kB for each of {count} handshakes that stopped')
    assert sanitized(mta.program) or each < 60
    return clients


def test_clients_that_stop_in_a_handshake(mta, authority):
    mark = mta.log.mark()
    clients = serve_beside_stopped(mta, authority, 'short', 90) # of the line's 100
    for client in clients: # the deadline ends them all
        client.settimeout(10 * PATIENCE)
        assert client.recv(1000) == b''
        client.close()
    mta.log.wait_text('SSL_accept error from localhost[127.0.0.1]: Connection timed out', mark)


@pytest.mark.long
def test_very_many_clients_that_stop_in_a_handshake(gatepost, authority):
    wrapped = f'-o smtpd_tls_wrappermode=yes -o smtpd_tls_chain_files={authority.path("server.chain")} -o smtpd_client_connection_count_limit=0'
    with gatepost('default_process_limit = 6000\n', services={'wrapped': wrapped}) as mta:
        for client in serve_beside_stopped(mta, authority, 'wrapped', 5000):
            client.close()


def test_handshakes_and_lost_connections_at_once(mta, authority):
    """Some break off anywhere in the handshake, some end without a word inside; mail of the others is taken."""
    failures = []

    def break_off(number):
        client = mta.session('may')
        client.cmd('STARTTLS', 220)
        client.send(os.urandom(number * 7 % 300 + 1) if number % 2 else HELLO_BEGUN)
        client.reset() if number % 3 else client.close()

    def speak(number):
        try:
            with mta.session('may') as client:
                starttls(client, authority.client_context())
                client.cmd('EHLO x', 250)
                client.message(wanted=250)
                client.reset() if number % 3 == 0 else client.quit()
        except Exception as error:
            failures.append(error)

    tasks = [threading.Thread(target=speak if number % 2 else break_off, args=(number,)) for number in range(40)]
    for task in tasks:
        task.start()
    for task in tasks:
        task.join(60)
    assert failures == []
    with mta.session('may') as client:
        client.cmd('NOOP', 250)


# --- one octet after another ----------------------------------------------------------------------------------------------------

def drip(client, octets, pause):
    for at in range(len(octets)):
        client.sendall(octets[at:at + 1])
        time.sleep(pause)


def test_a_hello_octet_by_octet(mta, authority):
    """As slowly as it likes, but not longer than it may."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = authority.client_context().wrap_bio(incoming, outgoing, server_hostname='localhost')
    with socket.create_connection(('127.0.0.1', mta.port('wrapped')), timeout=10 * PATIENCE) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def until_done(call):
            while True:
                try:
                    return call()
                except ssl.SSLWantReadError:
                    drip(client, outgoing.read(), 0.0005)
                    incoming.write(client.recv(4096))

        until_done(tls.do_handshake)
        drip(client, outgoing.read(), 0.0005)
        assert until_done(lambda: tls.read(100)).startswith(b'220 ')
    begun = time.monotonic()
    with socket.create_connection(('127.0.0.1', mta.port('short'))) as client:
        with pytest.raises(OSError):
            drip(client, HELLO_BEGUN[:4] + b'\1' * 100000, 0.1)
    assert 1 < time.monotonic() - begun < 10 * PATIENCE


# --- messages of the protocol, without a word -------------------------------------------------------------------------------------

class NullCipher:
    """The client's side of TLS 1.2 without encryption, where records can be made by hand."""

    def __init__(self, address, keylog):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers('ECDHE-ECDSA-NULL-SHA:@SECLEVEL=0')
        context.keylog_filename = keylog
        self.sock = socket.create_connection(address, timeout=10 * PATIENCE)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing)
        heard, shaken = b'', False
        while not shaken:
            try:
                tls.do_handshake()
                shaken = True
            except ssl.SSLWantReadError:
                pass
            self.sock.sendall(outgoing.read())
            if not shaken:
                octets = self.sock.recv(16384)
                heard += octets
                incoming.write(octets)
        with open(keylog) as file:
            client_random, master = [bytes.fromhex(word) for word in file.read().split()[-2:]]
        seed = b'key expansion' + heard[11:43] + client_random # the server's, in its hello
        self.key = hmac.digest(master, hmac.digest(master, seed, 'sha256') + seed, 'sha256')[:20] # of our MAC
        self.number = 1 # of records, after Finished
        self.heard = heard

    def hear(self, words):
        while words not in self.heard:
            octets = self.sock.recv(4096)
            assert octets, self.heard
            self.heard += octets

    def record(self, kind, content):
        begin = bytes((kind, 3, 3))
        mac = hmac.digest(self.key, self.number.to_bytes(8, 'big') + begin + len(content).to_bytes(2, 'big') + content, 'sha1')
        self.number += 1
        return begin + (len(content) + len(mac)).to_bytes(2, 'big') + content + mac


def test_a_thousand_renegotiations(mta, authority, tmp_path):
    hello = b'\x01\0\0\x2b\3\3' + bytes(32) + b'\0\0\2\0\x3b\1\0\0\0'
    client = NullCipher(('127.0.0.1', mta.port('null')), str(tmp_path / 'keys'))
    client.hear(b'220 ')
    client.sock.sendall(client.record(23, b'NOOP\r\n')) # it is understood
    client.hear(b'250 2.0.0 Ok')
    mark = mta.log.mark()
    client.sock.sendall(client.record(22, hello))
    assert b'\x15\3\3\0\x16\1\x64' in client.sock.recv(4096) # a warning: no_renegotiation
    with pytest.raises(OSError):
        for _ in range(1000):
            client.sock.sendall(client.record(22, hello))
            time.sleep(0.001)
    mta.log.wait_text('warning: localhost[127.0.0.1]: too many TLS messages without data', mark)
    is_served(mta, authority, 'wrapped')


def test_key_updates_without_end(mta, authority, tls_client):
    mark, pid = mta.log.mark(), server_pid(mta, 'wrapped')
    before = cpu_seconds(pid)
    tls_client(mta.port('wrapped'), 'updates', 1000000) # until the connection ends
    mta.log.wait_text('warning: localhost[127.0.0.1]: too many TLS messages without data', mark)
    assert cpu_seconds(pid) - before < 1 * PATIENCE
    is_served(mta, authority, 'wrapped')


def test_early_data_is_never_run(mta, tls_client):
    said = tls_client(mta.port('wrapped'), 'early', 'EHLO early\r\nMAIL FROM:<early@b.example>\r\nNOOP\r\n')
    assert said.splitlines()[1] == 'resumed rejected', said
    assert [line[:4] for line in said.splitlines()[2:]] == ['220 ', '221 '], said
