"""How much of messages is held in memory."""
import os
import re

import pytest
from harness.instance import AFTER

pytestmark = pytest.mark.gatepost_only
QUEUED = '~250 2.0.0 Ok: queued as [0-9A-F]{6,}'
INSPECTED = 'filter -o filter_nexthop=127.0.0.1:{after} -o { filter_inspectors = { command: argv=/bin/true } } '


@pytest.fixture(scope='module')
def mta(sut):
    adjust = '-o smtpd_proxy_options=speed_adjust -o smtpd_proxy_filter=127.0.0.1:'
    with sut(main='message_size_limit = 200000000\nvirtual_mailbox_limit = 0\nqueue_minfree = 0\n', services={
            'small': adjust + '{after} -o smtpd_content_memory_limit=100000',
            'small_filter': '-o smtpd_proxy_filter=127.0.0.1:{inspected_small}',
            'adjust': adjust + '{inspected}', 'direct': '-o smtpd_proxy_filter=127.0.0.1:{inspected}',
            'inspected': INSPECTED, 'inspected_small': INSPECTED + '-o filter_content_memory_limit=100000',
            'after': AFTER}) as mta:
        yield mta


@pytest.mark.parametrize('service, limit', [('small', 'smtpd_content_memory_limit'), ('small_filter', 'filter_content_memory_limit')])
def test_limit(mta, service, limit):
    """What finds no room in memory goes to disk, and through unchanged; the log says why, once."""
    mark = mta.log.mark()
    clients = []
    for i in range(8):
        client = mta.session(service)
        client.envelope()
        client.cmd('DATA', 354)
        client.send(f'Subject: {i}\r\n\r\n'.encode() + f'line of {i}\r\n'.encode() * 5000)
        clients.append(client)
    for client in clients:
        client.send(b'.\r\n')
    ids = [client.expect(QUEUED).rpartition(' ')[2] for client in clients]
    for i, qid in enumerate(ids):
        assert mta.maildir('alice').wait_for(qid.encode()).endswith(b'\n\n' + f'line of {i}\n'.encode() * 5000)
    warnings = [text for text in mta.log.texts(mark) if 'held in memory' in text]
    assert len(warnings) == 1 and warnings[0].startswith(f'warning: {limit} = 100000: ')
    mta.maildir('alice').clear()


def peaks(mta):
    """Process to the most memory that it ever had, in kB."""
    found = {}
    with open(f'/proc/{mta.master_pid()}/task/{mta.master_pid()}/children') as file:
        pids = file.read().split()
    for pid in pids:
        with open(f'/proc/{pid}/status') as file:
            found[pid] = int(re.search(r'VmHWM:\s+(\d+) kB', file.read())[1])
    return found


@pytest.mark.slow
@pytest.mark.skipif('ASAN_OPTIONS' in os.environ, reason='the sanitizers keep what was freed')
@pytest.mark.parametrize('service', ['direct', 'adjust'])
def test_a_large_message(mta, service):
    """100 MB pass through every process in the memory of 1 MB."""
    def send(megabytes):
        with mta.session(service) as client:
            client.sock.settimeout(300)
            client.envelope()
            client.cmd('DATA', 354)
            client.send(b'Subject: large\r\n\r\n')
            for _ in range(megabytes):
                client.send((b'x' * 998 + b'\r\n') * 1000)
            client.send(b'.\r\n')
            qid = client.expect(QUEUED).rpartition(' ')[2]
        mta.log.wait(f'{qid}: removed', timeout=60)
        mta.maildir('alice').clear()

    for _ in range(3):
        send(1)
    before = peaks(mta)
    send(100)
    after = peaks(mta)
    assert all(after[pid] - before[pid] < 2000 for pid in before), (before, after)
