"""What a crowd of clients and a large message cost: time by the arithmetic of slots, memory that neither makes grow."""
import base64
import os
import time

import pytest
from crowd import send_all
from harness import PATIENCE
from harness.instance import AFTER
from harness.peer import until
from processes import processes

pytestmark = [pytest.mark.gatepost_only, pytest.mark.slow]

KEEPS_FREED = 'ASAN_OPTIONS' in os.environ

def peaks(mta):
    """The most memory of each service's processes since their start or forget_peaks(), in kB."""
    found = {}
    for process in processes(mta):
        try:
            with open(f'/proc/{process.pid}/status') as file:
                peak = next((int(line.split()[1]) for line in file if line.startswith('VmHWM:')), 0)
        except (FileNotFoundError, ProcessLookupError):
            continue
        found[process.service] = max(peak, found.get(process.service, 0))
    return found


def forget_peaks(mta):
    for process in processes(mta):
        with open(f'/proc/{process.pid}/clear_refs', 'w') as file:
            file.write('5')


def test_a_slow_filter(gatepost, long):
    """All are served, in the time that it takes, and the second crowd needs no more memory than the first."""
    clients, slots, seconds = (500, 20, 1) if long else (100, 10, 0.2)
    arithmetic = clients / slots * seconds
    patience = arithmetic + 15 * PATIENCE
    front = (f'-o smtpd_proxy_filter=127.0.0.1:{{filter}} -o smtpd_proxy_options=speed_adjust -o smtpd_proxy_wait_time={patience:.0f}s '
             f'-o smtpd_proxy_concurrency_limit={slots}')

    def verdict(_):
        time.sleep(seconds)
        return '250 took it'

    with gatepost('smtpd_client_connection_count_limit = 0\n', services={'front': ('0', front)}) as mta:
        with mta.sink('filter', {'.': verdict}) as sink:
            waits, memory = [], []
            for _ in range(2):
                every = send_all(mta, 'front', clients, 0, body=('x' * 70 + '\n') * 50)
                assert {sent.code for sent in every} == {250}
                waits.append(max(sent.ended_at - sent.dot_at for sent in every))
                memory.append(peaks(mta)['front'])
            assert len(sink.connections) == 2 * clients
    print(f'{clients} clients, {slots} slots of {seconds} s: waited {arithmetic} s by the arithmetic, {waits} at most; {memory} kB')
    assert arithmetic - seconds <= waits[0] and max(waits) < patience
    assert KEEPS_FREED or memory[1] - memory[0] < 2048 * PATIENCE


def attached(size):
    """A message with an attachment, as it goes over the wire, but for the final dot."""
    line = base64.b64encode(bytes(range(57))) + b'\r\n'
    return (b'Subject: large\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n'
            b'Content-Type: application/octet-stream; name=x\r\nContent-Transfer-Encoding: base64\r\n\r\n' +
            line * (size // len(line)) + b'--b--\r\n')


@pytest.mark.skipif(KEEPS_FREED, reason='peak memory is the sanitizer\'s')
def test_a_large_message(gatepost, long):
    """Each process on its way needs no more memory for it than for a small one."""
    proxy = '-o smtpd_proxy_timeout=300s -o smtpd_proxy_filter='
    inspectors = ('{ checks: header_checks=inline:{{x=INFO}}, attachment_types=inline:{{x=INFO}} }, '
                  '{ command: argv=/bin/cat, stdout=message }, { command: argv=/bin/true --x=${file}, directory={dir}/copies }')
    mta = gatepost('message_size_limit = 0\nvirtual_mailbox_limit = 0\nfilter_deadline = 280s\nfilter_timeout = 300s\n', services={
        'direct': proxy + '127.0.0.1:{plain}', 'plain': 'filter -o filter_nexthop=127.0.0.1:{after}',
        'adjust': proxy + '127.0.0.1:{inspecting} -o smtpd_proxy_options=speed_adjust',
        'inspecting': f'filter -o filter_nexthop=127.0.0.1:{{after}} -o {{ filter_inspectors = {inspectors} }}', 'after': AFTER})
    os.mkdir(mta.dir + '/copies')
    os.chmod(mta.dir + '/copies', 0o777)
    with mta:
        def send(content):
            for service in ('direct', 'adjust'):
                with mta.connect(service, timeout=250) as client:
                    client.expect(220)
                    client.cmd('EHLO x', 250)
                    client.envelope()
                    client.raw_content(content + b'.\r\n', 250)
            maildir = mta.maildir('alice')
            for message in maildir.wait(2, timeout=60):
                assert message.endswith(content.replace(b'\r\n', b'\n')[80:])
            until(lambda: mta.mailq() == 'Mail queue is empty\n', 'an empty queue', 30)
            maildir.clear()
            return peaks(mta)

        small = attached(1 << 20)
        send(small)  # what is made once is made
        forget_peaks(mta)
        before = send(small)
        forget_peaks(mta)
        after = send(attached((100 if long else 20) << 20))
    print(before, after)
    assert {'direct', 'plain', 'adjust', 'inspecting', 'after', 'qmgr', 'runner'} <= before.keys() & after.keys()
    grown = {name: after[name] - before[name] for name in before.keys() & after.keys() if after[name] - before[name] > 3072 * PATIENCE}
    assert not grown, grown
