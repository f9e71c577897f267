"""Clients of TLS that stop, drip and lie: nobody else notices."""
import os
import socket
import sys
import threading
import time

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../e2e'))
from harness.tls import Authority, connect_tls, starttls  # noqa: E402

pytestmark = pytest.mark.gatepost_only
HELLO_BEGUN = b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'


@pytest.fixture(scope='module')
def authority(tmp_path_factory):
    directory = tmp_path_factory.mktemp('certificates')
    authority = Authority(directory)
    authority.issue('server')
    return authority


@pytest.fixture(scope='module')
def mta(gatepost, authority):
    may = f'-o smtpd_tls_security_level=may -o smtpd_tls_chain_files={authority.path("server.chain")} ' \
          '-o smtpd_client_connection_count_limit=0 -o smtpd_tls_loglevel=1'
    with gatepost(services={'may': may, 'wrapped': f'{may} -o smtpd_tls_wrappermode=yes'}) as mta:
        yield mta


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


def stopped_clients(mta, count):
    clients = []
    for number in range(count):
        client = socket.create_connection(('127.0.0.1', mta.port('wrapped')))
        client.sendall(HELLO_BEGUN[:number % len(HELLO_BEGUN) + 1])
        clients.append(client)
    return clients


def serve_beside_stopped(mta, authority, count):
    pid = server_pid(mta, 'wrapped')
    before = threads(pid)
    clients = stopped_clients(mta, count)
    begun = time.monotonic()
    for _ in range(5):
        with connect_tls(mta, 'wrapped', authority.client_context()) as client:
            client.expect(220)
            client.cmd('EHLO x', 250)
            client.message(wanted=250)
            client.quit()
    assert time.monotonic() - begun < 20
    assert threads(pid) <= before + 6
    for client in clients:
        client.close()


def test_clients_that_stop_in_a_handshake(mta, authority):
    serve_beside_stopped(mta, authority, 90) # of the line's 100


@pytest.mark.long
def test_very_many_clients_that_stop_in_a_handshake(gatepost, authority):
    wrapped = f'-o smtpd_tls_wrappermode=yes -o smtpd_tls_chain_files={authority.path("server.chain")} -o smtpd_client_connection_count_limit=0'
    with gatepost('default_process_limit = 6000\n', services={'wrapped': wrapped}) as mta:
        serve_beside_stopped(mta, authority, 5000)


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
