"""Very many clients that say nothing, or next to nothing: they cost a place each, and others are served."""
import resource
import time

import pytest
from harness import PATIENCE
from harness.instance import AFTER
from harness.peer import until
from processes import processes

pytestmark = [pytest.mark.gatepost_only, pytest.mark.slow]
BUSY = '451 4.3.2 Error: try again later'
QUEUED = '~250 2.0.0 Ok: queued as [0-9A-F]{6,}'
PROXY = '-o smtpd_proxy_filter=127.0.0.1:{filter} '
SERVERS = {
    'adjust': ('0', PROXY + '-o smtpd_proxy_options=speed_adjust -o smtpd_proxy_concurrency_limit=2'),
    'direct': ('0', PROXY + '-o smtpd_proxy_concurrency_limit=5000'),
    'limited': ('0', PROXY + '-o smtpd_proxy_concurrency_limit=5 -o smtpd_proxy_wait_time=2s'),
    'filter': ('0', 'filter -o filter_nexthop=127.0.0.1:{after}'),
    'after': ('0', AFTER),
}


@pytest.fixture(scope='module', autouse=True)
def descriptors():
    """As many as this process may have; the servers inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope='module')
def mta(gatepost, descriptors):
    with gatepost('smtpd_client_connection_count_limit = 0\nsmtpd_peername_lookup = no\n', services=SERVERS) as mta:
        yield mta


def crowd(mta, service, count, what):
    """That many clients from several addresses; what(client) takes each where it shall stop."""
    clients = []
    try:
        for i in range(count):
            clients.append(mta.connect(service, source=f'127.0.0.{2 + i % 100}'))
        for client in clients:
            what(client)
    except BaseException:
        leave(clients)
        raise
    return clients


def leave(clients):
    for client in clients:
        client.close()


def served(mta, service):
    """Somebody else's mail, in bearable time."""
    began = time.monotonic()
    with mta.session(service) as client:
        client.message('Subject: somebody else\n\nbody\n', wanted=QUEUED)
    assert time.monotonic() - began < 10 * PATIENCE


def silent(client):
    client.expect(220)


def in_command(client):
    client.expect(220)
    client.send(b'E')


def in_data(client):
    client.expect(220)
    client.cmd('EHLO slow.example', 250)
    client.envelope()
    client.cmd('DATA', 354)
    client.send(b'S')


def in_bdat(client):
    client.expect(220)
    client.cmd('EHLO slow.example', 250)
    client.envelope()
    client.send(b'BDAT 60 LAST\r\nS')


ENDS = {  # what was left to send, but its first byte, and the answer to all of it
    in_command: (b'HLO slow.example\r\n', 250),
    in_data: (b'ubject: slow\r\n\r\nbody\r\n.\r\n', QUEUED),
    in_bdat: (b'ubject: slow\r\n\r\n'.ljust(58, b'x') + b'\n', QUEUED),
}


def test_silent(mta, long):
    for service in ('adjust', 'direct') if long else ('direct',):
        clients = crowd(mta, service, 15000 if long else 1000, silent)  # which need a descriptor each here, too: of 20,000
        try:
            served(mta, service)
            for client in (clients[0], clients[len(clients) // 2], clients[-1]):
                client.cmd('NOOP', 250)
        finally:
            leave(clients)


@pytest.mark.parametrize('service', ['adjust', 'direct'])
@pytest.mark.parametrize('where', [in_command, in_data, in_bdat])
def test_a_byte_a_minute(mta, long, service, where):
    rest, answer = ENDS[where]
    clients = crowd(mta, service, 2000 if long else 200, where)
    try:
        served(mta, service)
        for client in clients:
            client.send(rest[:1])
        served(mta, service)
        threads = [int(line.split()[1]) for process in processes(mta) if process.service == service
                   for line in open(f'/proc/{process.pid}/status') if line.startswith('Threads:')]
        assert threads and max(threads) < 100, threads  # they hold none
        for client in clients[::len(clients) // 50]:
            client.send(rest[1:])
        for client in clients[::len(clients) // 50]:
            client.expect(answer)
    finally:
        leave(clients)


def test_direct_mode_with_a_limit(mta):
    """Slow clients have all slots: who waits is told in time, and the log says what would help."""
    mark = mta.log.mark()
    slow = crowd(mta, 'limited', 5, in_data)
    waiting = [mta.session('limited') for _ in range(50)]
    try:
        began = time.monotonic()
        for client in waiting:
            client.cmd('MAIL FROM:<a@b.example>', 250)
            client.send('RCPT TO:<alice@virt.test>')
        for client in waiting:
            client.expect(BUSY)
        assert time.monotonic() - began < 12 * PATIENCE
        mta.log.wait('warning: proxy .*: no filter slot is free, .*smtpd_proxy_options = speed_adjust.*', mark, 'smtpd')
        for client in slow:
            client.send(ENDS[in_data][0])
            client.expect(QUEUED)
        until(lambda: waiting[0].cmd('RCPT TO:<alice@virt.test>').code == 250, 'a slot is free')
    finally:
        leave(slow + waiting)
