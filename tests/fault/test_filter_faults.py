"""A filter that is killed, hangs, or comes back in the middle of any command, while hundreds of clients send: each gets its
answers, what got 250 went through once, and afterwards all is as before."""
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
from harness.peer import CLOSE, HANG, RESET, until
from processes import processes

pytestmark = [pytest.mark.gatepost_only, pytest.mark.slow]
LIMIT = 20  # filter slots
PROXY = (f'-o smtpd_proxy_filter=127.0.0.1:{{filter}} -o smtpd_proxy_concurrency_limit={LIMIT} -o smtpd_proxy_timeout=2s '
         '-o smtpd_proxy_wait_time=60s ')
KEPT = '-o smtpd_proxy_connection_reuse=yes -o smtpd_proxy_connection_reuse_limit=4 -o smtpd_proxy_pipelining=yes '
FRONTS = {'direct': ('0', PROXY), 'adjust': ('0', PROXY + '-o smtpd_proxy_options=speed_adjust'),
          'direct_kept': ('0', PROXY + KEPT), 'adjust_kept': ('0', PROXY + KEPT + '-o smtpd_proxy_options=speed_adjust')}
SETTINGS = 'smtpd_client_connection_count_limit = 0\nservice_throttle_time = 1s\n'


# ---- ours, with the after-filter server behind it


class Disturber(threading.Thread):
    """Does something to the filter's process, again and again."""

    def __init__(self, mta, how, chance):
        super().__init__()
        self.mta, self.how, self.chance = mta, how, chance
        self.times = []  # (from, to)
        self.ending = False

    def run(self):
        while not self.ending:
            time.sleep(self.chance.random() * 0.5 * PATIENCE)  # it needs time to start
            pids = [process.pid for process in processes(self.mta) if process.service == 'filter']
            began = time.monotonic()
            if not pids:
                continue
            if self.how == 'killed':
                self.mta.kill(signal.SIGKILL, pids[0])
                time.sleep(0.1)
            else:
                self.mta.kill(signal.SIGSTOP, pids[0])
                time.sleep(self.chance.choice((0.2, 3)))  # shorter than smtpd_proxy_timeout, and longer
                self.mta.kill(signal.SIGCONT, pids[0])
            self.times.append((began, time.monotonic()))


@pytest.fixture(scope='module')
def ours(gatepost):
    with gatepost(SETTINGS, services={**FRONTS, 'filter': ('0', 'filter -o filter_nexthop=127.0.0.1:{after}'), 'after': ('0', AFTER)}) as mta:
        yield mta


@pytest.mark.parametrize('how', ['killed', 'hung'])
@pytest.mark.parametrize('service', list(FRONTS))
def test_our_filter(ours, long, service, how):
    maildir = ours.maildir('alice')
    disturber = Disturber(ours, how, random.Random(os.environ.get('GATEPOST_TEST_SEED', how + service)))
    disturber.start()
    try:
        every = send_all(ours, service, 500 if long else 200, 10 if long else 2)
    finally:
        disturber.ending = True
        disturber.join()
    until(lambda: ours.mailq() == 'Mail queue is empty\n', 'an empty queue', 30)
    found = [int(re.search(rb'\nSubject: (\d+)\n', message)[1]) for message in maildir.messages()]
    found = [number for number in found if number >= every[0].number]
    assert len(found) == len(set(found)), 'delivered twice'
    for sent in every:
        assert sent.code in (250, 451), sent
        if sent.code == 250:
            assert sent.number in found, f'lost: {sent}'
        elif sent.number in found:
            assert sent.dot_at and any(first <= sent.ended_at and sent.dot_at <= last for first, last in disturber.times), \
                f'delivered without a 250, and nothing happened: {sent}'
    codes = [sent.code for sent in every]
    print(f'{service}, {how} {len(disturber.times)} times: {codes.count(250)} got 250, {codes.count(451)} got 451, '
          f'of these {len(found) - codes.count(250)} were delivered')
    assert disturber.times and 250 in codes
    as_before(ours, service)


# ---- scripted: it fails at one command of the dialogue, another one in each connection

STAGES = {'connect': '220 filter.test ESMTP', 'EHLO': '250-filter.test\n250-PIPELINING\n250 XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT',
          'RSET': '250 fine', 'XFORWARD': '250 fine', 'MAIL': '250 fine', 'RCPT': '250 fine', 'DATA': '354 go on', 'content': None, '.': '250 took it'}


class Fates:
    """What happens to each connection: (stage, how), or nothing."""

    def __init__(self, chance):
        self.chance, self.lock = chance, threading.Lock()
        self.off = False

    def script(self):
        return {stage: lambda connection, stage=stage: self.answer(connection, stage) for stage in STAGES}

    def answer(self, connection, stage):
        if stage == 'connect':
            with self.lock:
                bad = not self.off and self.chance.random() < 0.5
                connection.fate = (self.chance.choice(list(STAGES)), self.chance.choice((CLOSE, RESET, HANG))) if bad else (None, None)
        return connection.fate[1] if connection.fate[0] == stage else STAGES[stage]


@pytest.fixture(scope='module')
def fronts(gatepost):
    """inspector: the filter that fails is the last inspector of ours."""
    ours = ('filter -o filter_nexthop=127.0.0.1:{after} -o filter_timeout=2s '
            '-o { filter_inspectors = { smtp: 127.0.0.1:{filter}, timeout=1s } }')
    with gatepost(SETTINGS, services={**FRONTS, 'inspector': ('0', PROXY.replace('{filter}', '{ours}')), 'ours': ('0', ours),
                                      'after': ('0', AFTER)}) as mta:
        yield mta


@pytest.mark.parametrize('service', [*FRONTS, 'inspector'])
def test_scripted_filter(fronts, long, service):
    fates = Fates(random.Random(os.environ.get('GATEPOST_TEST_SEED', service)))
    with fronts.sink('filter', fates.script()) as sink:
        every = send_all(fronts, service, 500 if long else 200, 5 if long else 1)
        taken, doubtful = [], []
        for talk in sink.connections:
            for message in talk.messages:
                number = int(re.search(rb'^Subject: (\d+)\r\n', message, re.M)[1])
                (doubtful if talk.fate[0] in ('content', '.') else taken).append(number)  # mute since then
        assert sorted(taken) == [sent.number for sent in every if sent.code == 250]
        assert {sent.code for sent in every} == {250, 451}
        assert {talk.fate[0] for talk in sink.connections} == {None, *STAGES}
        assert {sent.number for sent in every if sent.number in doubtful and sent.code == 451} == set(doubtful)
        assert len([talk for talk in sink.connections if not talk.done]) <= LIMIT
        fates.off = True
        as_before(fronts, service)
