"""Programs that inspect mail and hang, die, write without end, eat memory or leave processes behind, while their runner or filter
is killed or reloaded and hundreds of clients send: each client gets its answers, what got 250 went through once, nothing is left."""
import os
import random
import re
import signal
import threading
import time

import pytest
from crowd import as_before, send_all
from harness import PATIENCE
from harness.instance import AFTER
from harness.peer import until
from processes import processes

pytestmark = [pytest.mark.gatepost_only, pytest.mark.slow]
# Does what the message's Do: header says; builtins alone find it, so that it is one process.
PROGRAM = ('while read -r name value; do case $name in Do:) do=$value;; \'\') break;; esac; done; '
           'case $do in hang) exec sleep 1000.{filter};; die) kill -9 $$;; cry) exec yes {filter} >&2;; flood) exec yes {filter};; '
           'eat) while :; do x=$x$x-------; done;; fork) sleep 1000.{filter} & (setsid sleep 1000.{filter} &) ;; '
           'deaf) exec <&- >&- 2>&-; sleep 1000.{filter};; job) bash -c "set -m; sleep 1000.{filter} &";; reject) echo no >&2; exit 69;; esac; exit 0')
ACCEPTED = ('fork', 'job', 'nothing')
FAILED = ('hang', 'die', 'cry', 'flood', 'eat', 'deaf')
INSPECTORS = ('-o { filter_inspectors = { command: argv=/bin/sh -c {%s}, stdout=text, timeout=%ds, memory_limit=100M, '
              'cpu_limit=1, concurrency_limit=100 } }' % (PROGRAM.replace('$', '$$'), 4 * PATIENCE))


@pytest.fixture(scope='module')
def mta(gatepost):
    proxy = '-o smtpd_proxy_filter=127.0.0.1:{filter} -o smtpd_proxy_wait_time=60s '
    with gatepost('smtpd_client_connection_count_limit = 0\nservice_throttle_time = 1s\n', services={
            'direct': ('0', proxy), 'adjust': ('0', proxy + '-o smtpd_proxy_options=speed_adjust -o smtpd_proxy_concurrency_limit=20'),
            'filter': ('0', 'filter -o filter_nexthop=127.0.0.1:{after} ' + INSPECTORS), 'after': ('0', AFTER)}) as mta:
        yield mta


class Disturber(threading.Thread):
    def __init__(self, mta, how, chance):
        super().__init__()
        self.mta, self.how, self.chance = mta, how, chance
        self.times = []  # (from, to)
        self.ending = False

    def run(self):
        while not self.ending:
            time.sleep((1 + self.chance.random()) * PATIENCE)
            began = time.monotonic()
            if self.how == 'reload':
                self.mta.reload()
            else:
                found = [process.pid for process in processes(self.mta) if process.service == self.how]
                if not found:
                    continue
                self.mta.kill(signal.SIGKILL, self.chance.choice(found))
            self.times.append((began, time.monotonic()))


def programs(mta):
    """What runs of them, wherever it hangs in the tree of processes."""
    ours = (f'sleep\0001000.{mta.port("filter")}\0', f'yes\0{mta.port("filter")}\0')
    found = []
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open(f'/proc/{pid}/cmdline', errors='replace') as file:
                found += [int(pid)] if file.read() in ours else []
        except OSError:
            pass
    return found


@pytest.mark.parametrize('service', ['direct', 'adjust'])
@pytest.mark.parametrize('how', [None, 'reload', 'runner', 'filter'])
def test_programs(mta, long, service, how):
    chance = random.Random(os.environ.get('GATEPOST_TEST_SEED', f'{service} {how}'))
    count = 500 if long else 100
    kinds = chance.choices((*ACCEPTED, *FAILED, 'reject'), [10] * 3 + [5, 5, 1, 1, 2, 5] + [5], k=count)  # some cost a second each
    kinds[:10] = [*ACCEPTED, *FAILED, 'reject']
    mark = mta.log.mark()
    disturber = Disturber(mta, how, chance)
    if how:
        disturber.start()
    try:
        every = send_all(mta, service, count, 10 if long else 3, headers=lambda i: f'Do: {kinds[i]}\n')
    finally:
        disturber.ending = True
        if how:
            disturber.join()
    until(lambda: mta.mailq() == 'Mail queue is empty\n', 'an empty queue', 30)
    found = [int(re.search(rb'\nSubject: (\d+)\n', message)[1]) for message in mta.maildir('alice').messages()]
    assert len(found) == len(set(found)), 'delivered twice'
    for sent, kind in zip(every, kinds):
        wanted = 250 if kind in ACCEPTED else 550 if kind == 'reject' else 451
        assert sent.code == wanted or disturber.times and sent.code in (421, 451), (kind, sent)
        if sent.code == 250:
            assert sent.number in found, f'lost: {sent}'
        elif sent.number in found:
            assert kind in ACCEPTED and sent.dot_at and \
                any(first <= sent.ended_at and sent.dot_at <= last for first, last in disturber.times), (kind, sent)
    assert bool(how) == bool(disturber.times)
    codes = [sent.code for sent in every]
    assert 250 in codes
    print(f'{service}, {how} {len(disturber.times)} times: {codes.count(250)} got 250, {codes.count(451)} got 451')
    if how in (None, 'reload'):  # each failure has its line
        reasons = {match[1] for text in mta.log.texts(mark, 'filter') if
                   (match := re.search(r'not inspected: /bin/sh: (no answer in time|killed by signal|exit status)', text))}
        assert reasons == {'no answer in time', 'killed by signal', 'exit status'}
    as_before(mta, service)
    if how == 'runner':  # who starts them was killed, and they with it; not what they had started
        for pid in programs(mta):
            mta.kill(signal.SIGKILL, pid)
    until(lambda: not programs(mta), 'nothing of the programs is left')
