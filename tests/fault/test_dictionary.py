"""Guessing recipients, 200 clients at once: each runs into the error limits, none of it comes to the filter, and others are
served meanwhile."""
import select
import time

import pytest
from harness import PATIENCE

pytestmark = [pytest.mark.gatepost_only, pytest.mark.slow]
CLIENTS = 200
GUESSES = 50
HARD_LIMIT = 20
SLOTS = 2
PROXY = f'-o smtpd_proxy_filter=127.0.0.1:{{filter}} -o smtpd_proxy_concurrency_limit={SLOTS} -o smtpd_proxy_wait_time=2s '
TOO_MANY = b'421 4.7.0 mx.gate.test Error: too many errors'


@pytest.fixture(scope='module')
def mta(gatepost):
    with gatepost('smtpd_peername_lookup = no\nsmtpd_client_connection_count_limit = 0\n', services={
            'direct': ('0', PROXY), 'adjust': ('0', PROXY + '-o smtpd_proxy_options=speed_adjust'),
            'rated': ('0', PROXY + '-o smtpd_client_recipient_rate_limit=30')}) as mta:
        yield mta


def guess(number):
    """All of it at once: who guesses does not wait for answers."""
    lines = ['MAIL FROM:<a@b.example>'] + [f'RCPT TO:<user{number}.{i}@virt.test>' for i in range(GUESSES)]
    return ''.join(line + '\r\n' for line in lines).encode()


def attack(mta, service, source):
    clients = {}
    for number in range(CLIENTS):
        client = mta.connect(service, source=source(number))
        client.expect(220)
        client.cmd('EHLO guess.example', 250)
        clients[client.sock] = client
    for number, client in enumerate(clients.values()):
        client.send(guess(number))
    return clients


def read_more(clients, seconds):
    """Takes what has come; leaves those in clients whose session goes on."""
    for sock in select.select(list(clients), [], [], seconds)[0]:
        try:
            data = sock.recv(65536)
        except ConnectionResetError:  # it had sent more than was read
            data = b''
        clients[sock].buffer += data
        if not data:
            del clients[sock]


def withstand(mta, service, source):
    """Runs the attack to its end, and somebody else's mail beside it. What each attacker was told."""
    with mta.sink('filter') as sink:
        clients = attack(mta, service, source)
        all_of_them, served = list(clients.values()), 0
        deadline = time.monotonic() + 60 * PATIENCE
        while clients:
            assert time.monotonic() < deadline, f'{len(clients)} attackers are still there'
            begun = time.monotonic()
            with mta.session(service) as client:
                client.message(wanted='250 2.0.0 filter took it')
                client.quit()
            assert time.monotonic() - begun < 10 * PATIENCE
            served += 1
            read_more(clients, 0.2)
        assert served > 3  # or it was over too soon to hinder anybody
        assert len(sink.connections) == served  # nobody else's reached the filter
    for client in all_of_them:
        client.close()
    return [client.buffer.split(b'\r\n')[:-1] for client in all_of_them]


@pytest.mark.parametrize('service', ['direct', 'adjust'])
def test_error_limits(mta, service):
    mark = mta.log.mark()
    for lines in withstand(mta, service, lambda number: f'127.0.0.{2 + number % 100}'):
        refused = lines[1:-1]
        assert lines[0] == b'250 2.1.0 Ok' and lines[-1] == TOO_MANY and len(refused) == HARD_LIMIT, lines
        assert all(line.startswith(b'550 5.1.1 <user') and b'User unknown in virtual mailbox table' in line for line in refused), lines
    texts = mta.log.texts(mark, 'smtpd')
    assert sum(text.startswith('too many errors after RCPT from unknown[127.0.0.') for text in texts) == CLIENTS
    assert not [text for text in texts if 'no filter slot is free' in text]


def test_from_one_address(mta):
    """The rate of recipients ends it sooner: of all that its clients name, that many are looked at."""
    told = withstand(mta, 'rated', lambda number: '127.0.0.200')
    looked_at = sum(line.startswith(b'550 5.1.1 ') for lines in told for line in lines)
    turned_away = sum(line == b'450 4.7.1 Error: too many recipients from 127.0.0.200' for lines in told for line in lines)
    assert looked_at == 30 and turned_away == CLIENTS * HARD_LIMIT - 30
