"""kill -9 of any process at any moment under load. Every message that got 250 is delivered, once, or where the filter's verdict
puts it; none that got 5xx is; any other only if its end of data had been sent and somebody on its way died before the reply."""
import json
import os
import random
import re
import threading
import time

import pytest
from harness import PATIENCE
from harness.client import Closed, dot_stuff
from harness.instance import AFTER
from harness.peer import until
from processes import gone, kill, processes

pytestmark = pytest.mark.gatepost_only
SETTINGS = ('minimal_backoff_time = 1s\nmaximal_backoff_time = 1s\nqueue_run_delay = 1s\ntransport_retry_time = 1s\n'
            'service_throttle_time = 1s\nsmtpd_client_connection_count_limit = 0\n')
SERVERS = {'before': '-o smtpd_proxy_filter=127.0.0.1:{filter}',
           'adjust': '-o smtpd_proxy_filter=127.0.0.1:{filter} -o smtpd_proxy_options=speed_adjust',
           'filter': 'filter -o filter_nexthop=127.0.0.1:{after}',
           'after': AFTER + ' -o message_size_limit=5000'}
# What a message's Fate: asks for is done by checks or by a program, which builtins make: it dies as one, or not at all.
FATES = {'checks-reject': 550, 'checks-quarantine': 250, 'checks-discard': 250, 'checks-tempfail': 451,
         'reject': 550, 'quarantine': 250, 'discard': 250, 'tempfail': 451}
HEADER_CHECKS = ('/^Fate: checks-reject$/ REJECT\n/^Fate: checks-quarantine$/ QUARANTINE\n/^Fate: checks-discard$/ DISCARD\n'
                 '/^Fate: checks-tempfail$/ REJECT 4.7.1 later\n')
PROGRAM = ('while read -r name value; do case $name in Fate:) fate=$value;; \'\') break;; esac; done; '
           '[ "$fate" != slow ] || sleep 0.1; '
           'case $fate in reject) exit 69;; quarantine) exit 98;; discard) exit 99;; tempfail) exit 75;; esac; exit 0')
INSPECTORS = (' -o { filter_inspectors = { checks: header_checks=pcre:{dir}/conf/headers }, '
              '{ command: argv=/bin/sh -c {%s}, exit=98:quarantine, directory={dir}/copies } }' % PROGRAM.replace('$', '$$'))
ON_THE_WAY = ('filter', 'after', 'master')  # who can lose a reply; besides the server that the client talks to
USERS = ('alice', 'bob', 'carol')
YOUNG = 10 * PATIENCE  # seconds after which every service surely has said ready


class Sent:
    """A message: what the client knows of it."""

    def __init__(self, number, service, users):
        self.number, self.service, self.users = number, service, users
        self.fate = None      # what inspectors are asked to do
        self.dot_at = None    # when its final dot was sent
        self.ended_at = None  # when there was a reply, or the connection was lost
        self.code = None      # None: no reply


class Load:
    """Clients that send all the time, and connect again when they lose their connection."""

    def __init__(self, mta, seed, fates):
        self.mta, self.seed, self.fates = mta, seed, fates
        self.sent, self.lock = [], threading.Lock()
        self.stopping = False
        self.failures = []
        self.threads = [threading.Thread(target=self._run, args=(i,)) for i in range(6)]
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join()
        if self.failures:
            raise self.failures[0]

    def _run(self, index):
        chance = random.Random(f'{self.seed}/{index}')
        service = ('before', 'adjust')[index % 2]
        try:
            while not self.stopping:
                try:
                    with self.mta.session(service) as client:
                        for _ in range(chance.randrange(1, 20)):
                            if self.stopping:
                                break
                            self._message(client, service, chance)
                except (Closed, OSError):
                    time.sleep(0.02)
                except AssertionError as error:
                    if not re.search(r"got '4\d\d ", str(error)):  # 421 when told to stop
                        raise
        except Exception as error:  # noqa: told to the main thread
            self.failures.append(error)

    def _message(self, client, service, chance):
        with self.lock:
            sent = Sent(len(self.sent), service, USERS[:chance.randrange(1, 4)])
            self.sent.append(sent)
        too_large = chance.random() < 0.1
        if self.fates and chance.random() < 0.3:
            sent.fate = chance.choice(self.fates)
        try:
            for line in ('MAIL FROM:<>', *(f'RCPT TO:<{user}@virt.test>' for user in sent.users), 'DATA'):
                reply = client.cmd(line)
                if reply.code not in (250, 354):
                    sent.code = reply.code
                    client.cmd('RSET')
                    return
            fate = f'Fate: {sent.fate}\n' if sent.fate else ''
            octets = dot_stuff(f'Subject: {sent.number}\n{fate}\n' + (f'body of {sent.number}\n' * (500 if too_large else 5)))
            client.send(octets[:-5])
            if chance.random() < 0.2:
                time.sleep(chance.random() * 0.05)
            sent.dot_at = time.monotonic()
            client.send(octets[-5:])
            reply = client.reply()
            sent.code = reply.code
            assert sent.code in (451, 421, FATES.get(sent.fate, 552 if too_large else 250)), (sent.__dict__, reply)
        finally:
            sent.ended_at = time.monotonic()


def witness(mta, service):
    def connect():
        try:
            return mta.session(service)
        except (Closed, OSError):
            return None
    return until(connect, f'{service} serves', 30)


class Killer:
    def __init__(self, mta, seed):
        self.mta, self.chance = mta, random.Random(seed)
        self.deaths = []  # (from, to, service): when it ended
        self.ages = {}    # of those killed, by pid
        self.witnesses = {service: witness(mta, service) for service in SERVERS}

    def strike(self):
        found = processes(self.mta)
        others = [process for process in found if process.service != 'master']
        if not others:
            return
        victim = self.chance.choice(others) if self.chance.random() < 0.95 else found[0]
        self.ages[victim.pid] = victim.age
        began = time.monotonic()
        kill(self.mta, [victim.pid])
        if victim.service == 'master':
            self._without_master([process.pid for process in others])
        self.deaths.append((began, time.monotonic(), victim.service))
        if victim.service != 'master':
            self._replaced(victim)

    def _without_master(self, orphans):
        """They stop accepting at once; the next start takes over while they end."""
        began = time.monotonic()
        self.mta.start()
        for service, client in self.witnesses.items():
            client.close()
            self.witnesses[service] = witness(self.mta, service)
        until(lambda: all(gone(pid) for pid in orphans), 'the services end without a master', 20)
        assert time.monotonic() - began < 30 * PATIENCE

    def _replaced(self, victim):
        if victim.service == 'program':
            return
        if victim.service == 'runner':  # takes its filter with it, whose clients are told so
            until(lambda: any(process.service == 'runner' and process.pid != victim.pid for process in processes(self.mta)),
                  'another runner', 20)
        if victim.service not in ('virtual', 'runner'):  # it has children, made when they are needed
            until(lambda: any(process.service == victim.service for process in processes(self.mta)), f'{victim.service} is back', 20)
        for service, client in self.witnesses.items():
            if service == victim.service or (service, victim.service) == ('filter', 'runner'):
                assert client.rest() == b'' or victim.service == 'runner'
                client.close()
                self.witnesses[service] = witness(self.mta, service)
            else:  # lives on
                client.cmd('NOOP', '250 2.0.0 Ok')

    def close(self):
        for client in self.witnesses.values():
            client.close()

    def between(self, begin, end, service):
        """Whose death can explain that a reply was lost in this time."""
        return [name for first, last, name in self.deaths if first <= end and begin <= last and name in (*ON_THE_WAY, service)]


def check_throttling(mta, killer):
    """Only who died before it was ready waits for its restart."""
    before = None
    for text in mta.log.texts(program='master'):
        if 'throttling' in text:
            pid = int(re.search(r'pid (\d+) ', before)[1])
            assert killer.ages[pid] < YOUNG, (text, before, killer.ages[pid])
        before = text


def wait_for_empty_queue(mta):
    try:
        until(lambda: mta.mailq() == 'Mail queue is empty\n', 'an empty queue', 60)
    except AssertionError as late:
        left = mta.mailq()
        lines = [f'{line.program}[{line.number}]: {line.text}' for line in mta.log.lines()]
        ids = re.findall(r'^(\w+)[*!]? ', left, re.M)
        told = [line for line in lines if any(f' {id}: ' in line for id in ids)]
        raise AssertionError('\n'.join([f'{late}, but', left, 'of these the log says', *told, 'and at its end', *lines[-60:],
                                        *map(str, processes(mta))])) from None


def quarantined(mta):
    """Number of message: how often it is there."""
    found = {}
    for line in mta.run('quarantine', 'list', '--json').stdout.splitlines():
        with open(f'{mta.dir}/data/quarantine/content/{json.loads(line)["id"]}', 'rb') as file:
            number = int(re.search(rb'^Subject: (\d+)$', file.read(), re.M)[1])
        found[number] = found.get(number, 0) + 1
    return found


def check(gatepost, kills, seed, inspectors=False):
    services = {**SERVERS, 'filter': SERVERS['filter'] + INSPECTORS} if inspectors else SERVERS
    mta = gatepost(SETTINGS, services=services)
    if inspectors:
        mta.write('headers', HEADER_CHECKS)
        os.mkdir(mta.dir + '/copies')
        os.chmod(mta.dir + '/copies', 0o777)
    with mta:
        killer, load = Killer(mta, seed), Load(mta, seed, [*FATES, 'slow'] if inspectors else [])
        try:
            while len(killer.ages) < kills:
                time.sleep(killer.chance.random() * 0.2)
                killer.strike()
        finally:
            load.stop()
            killer.close()
        wait_for_empty_queue(mta)
        delivered = {}
        for user in USERS:
            for message in mta.maildir(user).messages():
                number = int(re.search(rb'\nSubject: (\d+)\n', message)[1])
                assert message.endswith(f'body of {number}\n'.encode() * 5), message
                delivered[number, user] = delivered.get((number, user), 0) + 1
        kept = quarantined(mta)
        check_throttling(mta, killer)
    twice = [found for found, count in delivered.items() if count > 1]
    assert not twice, f'delivered twice: {twice}'
    explained = []
    for sent in load.sent:
        count = sum((sent.number, user) in delivered for user in sent.users)
        if sent.fate in FATES:
            assert count == 0, f'delivered whatever the filter said: {sent.__dict__}'
            count = kept.pop(sent.number, 0)
        if sent.code == 250:
            wanted = 0 if 'discard' in str(sent.fate) else 1 if sent.fate in FATES else len(sent.users)
            assert count == wanted, f'lost, or there more than once: {count}, {sent.__dict__}'
        elif count:
            assert sent.fate not in FATES or 'quarantine' in sent.fate, f'kept although it was refused: {sent.__dict__}'
            assert sent.code in (None, 451, 421) and sent.dot_at, f'delivered although it was refused: {sent.__dict__}'
            why = killer.between(sent.dot_at, sent.ended_at, sent.service)
            assert why, f'delivered without a 250, and nobody died: {sent.__dict__}'
            explained.append(f'{sent.number} got {sent.code or "no reply"}: {why[0]} was killed after its final dot')
    assert not kept, f'in quarantine although nobody asked for it: {kept}'
    codes = [sent.code for sent in load.sent]
    print(f'{len(killer.ages)} kills; ' + ', '.join(f'{codes.count(code)} got {code}' for code in sorted(set(codes), key=str)) +
          f'; delivered without a 250: {len(explained)}', *explained, sep='\n  ')
    assert codes.count(250) > kills and codes.count(552) > 0
    answered = {(str(sent.fate).removeprefix('checks-'), sent.code) for sent in load.sent}
    assert not inspectors or answered >= {('reject', 550), ('quarantine', 250), ('discard', 250), ('tempfail', 451)}, answered


@pytest.mark.slow
def test_kill_any(gatepost):
    check(gatepost, 20, os.environ.get('GATEPOST_TEST_SEED', 'quick'))


@pytest.mark.slow
def test_kill_any_with_inspectors(gatepost):
    check(gatepost, 20, os.environ.get('GATEPOST_TEST_SEED', 'quick'), inspectors=True)


@pytest.mark.long
@pytest.mark.parametrize('inspectors', [False, True])
@pytest.mark.parametrize('seed', range(5))
def test_kill_any_of_500(gatepost, seed, inspectors):
    check(gatepost, 100, seed, inspectors)


def test_master_killed(gatepost):
    """Its services notice, take nobody new, finish what they are at, and are gone soon; the next start need not wait for them."""
    with gatepost(SETTINGS, services={'after': AFTER}) as mta:
        with mta.session('after') as busy, mta.session('after') as idle:
            busy.envelope()
            busy.cmd('DATA', 354)
            busy.send(b'Subject: 1\r\n\r\n')
            master, *services = [process.pid for process in processes(mta)]
            kill(mta, [master])

            def refused():
                try:
                    mta.connect('after').close()
                    return False
                except ConnectionRefusedError:
                    return True

            until(refused, 'nobody new')
            busy.send(b'body\r\n.\r\n')
            busy.expect('~250 2.0.0 Ok: queued as .*')
            idle.sock.settimeout(10 * PATIENCE)
            rest = idle.rest()
            assert rest == b'' or rest.startswith(b'421 '), rest
            until(lambda: all(gone(pid) for pid in services), 'the services end without a master', 15)
            mta.start()
            mta.maildir('alice').wait(1)
        with mta.session('after') as client:
            client.message('Subject: 2\n\nbody\n', wanted=250)
        mta.maildir('alice').wait(2)
        assert len(mta.maildir('alice').files()) == 2
