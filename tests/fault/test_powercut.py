"""A power cut at any point: what was acknowledged is delivered once and whole, whatever part of the rest survived. To a next
hop it may go twice only if the cut came between its 250 and the sync of that result."""
import copy
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import zlib

import pytest
from harness.client import dot_stuff
from harness.instance import AFTER, MASTER, wait_port
from harness.peer import until
from nexthop import subject
from powercut import Some, State, everything, nothing, undone, write_tree
from processes import gone
from shim import SYNC_FILE, Shim

pytestmark = pytest.mark.gatepost_only
QUICK = ('minimal_backoff_time = 1s\nmaximal_backoff_time = 1s\nqueue_run_delay = 1s\ntransport_retry_time = 1s\n'
         'transport_maps = inline:{next.test=smtp:[127.0.0.1]:{next}}\n')
# What recovers needs nobody who takes new mail.
RECOVERY = ''.join(line + '\n' for line in MASTER.splitlines() if line.split()[0] in ('qmgr', 'virtual', 'smtp'))
USERS = ('alice', 'bob', 'carol')
HERE = os.path.dirname(os.path.abspath(__file__))
REFUSAL = b'queue file write error'
SENTINEL = 'ABCDEF12345'
HELD = 100  # numbers from here on are kept on hold
UNSYNCED = 50  # numbers from here on meet a disk that does not sync files


def body(number):
    """Each message's own; some are larger than a buffer, one than all of them."""
    size = (10, 3000, 40000, 200, 200000)[number % 5]
    line = f'message {number} ' + 'x' * 50 + '\n'
    return line * (size // len(line) + 1) + f'end of {number}\n'


def places(number):
    """Where a message ends up, once each."""
    return ('hold',) if number >= HELD else USERS[:1 + number % 3] + (('next',) if number % 2 else ())


def recipients(number):
    return [f'{user}@next.test' if user == 'next' else f'{user}@virt.test'
            for user in (places(number) if number < HELD else USERS)]


class Work:
    """Sends messages and knows what was said of each."""

    def __init__(self):
        self.ids = {}         # queue id to message number, of those that got 250
        self.refused = []     # numbers of those that got another answer, in their order
        self.broken_off = []  # numbers of those that did not come to their end

    def send(self, client, number):
        client.envelope('', *recipients(number))
        client.cmd('DATA', 354)
        client.sock.sendall(dot_stuff(f'Subject: {number}\n\n{body(number)}'))
        reply = client.reply()
        if reply.code == 250:
            self.ids[reply.rpartition(' ')[2]] = number
        else:
            self.refused.append(number)

    def break_off(self, client, number):
        """Sent, but not to its end."""
        client.envelope('', 'alice@virt.test')
        client.cmd('DATA', 354)
        client.send(f'Subject: {number}\r\n\r\n'.encode() + b'never to be seen\r\n' * 3000)
        client.reset()
        self.broken_off.append(number)


def spooled(mta):
    """Files of messages under way."""
    return [name for _, _, names in os.walk(mta.dir + '/queue/gatepost/spool') for name in names]


def record(gatepost, shim, messages):
    """Runs the real servers under load. The disk as it was at first, the calls, and what was said of which message."""
    work = Work()
    mta = gatepost(QUICK, services={'after': AFTER, 'hold': AFTER.replace(
        'smtpd_client_restrictions=', 'smtpd_client_restrictions=check_client_access,static:HOLD')})
    mta.prefix = shim.prefix
    roots = [mta.dir + '/queue', mta.dir + '/vmail']
    state = State(roots)
    shim.record(mark='queue')  # both "queued as" and "queue file write error"
    with mta:
        def client(numbers):
            with mta.session('after') as session:
                for number in numbers:
                    work.send(session, number)

        threads = [threading.Thread(target=client, args=(range(first, messages, 3),)) for first in range(3)]
        for thread in threads:
            thread.start()
        with mta.session('hold') as session:
            work.send(session, HELD)
        work.break_off(mta.session('after'), messages)
        for thread in threads:
            thread.join()
        for qid, number in work.ids.items():
            if 'next' in places(number):  # nobody listens yet
                mta.log.wait(rf'{qid}: to=<next@next\.test>, .*, status=deferred .*', program='smtp')
        nexthop = subprocess.Popen([*shim.prefix, sys.executable, HERE + '/nexthop.py', str(mta.port('next'))])
        try:
            wait_port(mta.port('next'))
            until(lambda: not spooled(mta), 'all but what is held is delivered', 30)
        finally:
            nexthop.terminate()
            nexthop.wait()
        with mta.session('after') as session:
            shim.fail(SYNC_FILE, mta.dir + '/queue/gatepost/spool/')
            for number in range(UNSYNCED, UNSYNCED + 2):
                work.send(session, number)
            shim.fail(0, '')
        mta.stop()
        calls = shim.calls()
        assert len(work.ids) == messages + 1 and len(work.refused) == 2
        return state, roots, calls, work


class Recovery:
    """Starts on what a power cut left, and looks what becomes of it."""

    def __init__(self, gatepost):
        self.mta = gatepost(QUICK, base=RECOVERY)
        self.nexthop = self.mta.sink('next')
        # Many small disks one after the other: in memory, where there is such a place.
        self.memory = tempfile.mkdtemp(prefix='gp-', dir='/dev/shm' if os.access('/dev/shm', os.W_OK) else '/tmp')
        os.chmod(self.memory, 0o755)
        for name in ('queue', 'vmail'):
            os.rmdir(f'{self.mta.dir}/{name}')
            os.mkdir(f'{self.memory}/{name}', 0o755)
            if name == 'vmail' and os.geteuid() == 0:
                os.chown(f'{self.memory}/{name}', self.mta.uid, self.mta.uid)
            os.symlink(f'{self.memory}/{name}', f'{self.mta.dir}/{name}')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.mta.__exit__(None, None, None)
        self.nexthop.close()
        shutil.rmtree(self.memory)

    def make_disk(self, queue, mail):
        owner = pwd.getpwnam(self.mta.owner()) if os.geteuid() == 0 else None
        for name, tree, user in (('queue', queue, owner and (owner.pw_uid, owner.pw_gid)),
                                 ('vmail', mail, owner and (self.mta.uid, self.mta.uid))):
            path = f'{self.mta.dir}/{name}'
            for old in os.listdir(path):
                shutil.rmtree(f'{path}/{old}') if os.path.isdir(f'{path}/{old}') else os.unlink(f'{path}/{old}')
            write_tree(tree, path, user)
        # What is removed by the scan of the queue, which comes after all else that recovers.
        shard = f'{self.mta.dir}/queue/gatepost/spool/{zlib.crc32(SENTINEL.encode()) % 256:02x}'
        os.makedirs(shard, exist_ok=True)
        open(f'{shard}/{SENTINEL}', 'w').close()
        for path in (f'{shard}/{SENTINEL}', shard, os.path.dirname(shard), os.path.dirname(os.path.dirname(shard))) if owner else ():
            os.chown(path, owner.pw_uid, owner.pw_gid)

    def run(self):
        """Until all is delivered that ever will be."""
        self.mta.start()
        try:
            until(lambda: not spooled(self.mta), 'an empty queue', 30)
        finally:
            master = self.mta.master_pid()
            self.mta.kill(signal.SIGTERM, master)
            until(lambda: gone(master), 'stopped')

    def delivered(self):
        """(user, "hold" or "next", number of the message) of every file in a Maildir and in hold/, and of what the next hop got
        since it was asked last; each is whole."""
        found = []
        talks, self.nexthop.connections = self.nexthop.connections, []
        for content in (content for talk in talks for content in talk.messages):
            number = subject(content)
            assert content.decode().replace('\r\n', '\n').endswith('\n\n' + body(number)), f'damaged: {content[:500]!r}'
            found.append(('next', number))
        for user in USERS:
            for message in self.mta.maildir(user).messages():
                head, _, content = message.partition(b'\n\n')
                match = re.search(rb'\nSubject: (\d+)\n', head)
                assert match and content.decode() == body(int(match[1])), f'damaged: {message[:500]!r}'
                number = int(match[1])
                found.append((user, number))
        hold = self.mta.dir + '/queue/gatepost/hold'
        for name in os.listdir(hold):
            with open(f'{hold}/{name}') as file:
                content = file.read()
            number = int(re.search(r'\nSubject: (\d+)\n', content)[1])
            assert '\n\n' + body(number) in content, f'damaged: {content[:500]}'
            found.append(('hold', number))
        return found


class Said:
    """What had been said to whom in these calls. due: (place, number) of what was acknowledged; refused: numbers; passed: numbers
    that the next hop has taken; noted: those of them whose result is synced."""

    def __init__(self, calls, work):
        self.due, self.passed, self.noted, refusals = set(), set(), set(), 0
        results = {}  # of the next hop, by the inode that they were written to
        for call in calls:
            passed = {int(number) for number in re.findall(rb'NEXTHOP(\d+)', call.data)}
            if call.kind == 'mark':
                refusals += REFUSAL in call.data
                self.passed |= passed
                for qid in re.findall(rb'queued as (\w+)', call.data):
                    if not qid.startswith(b'NEXTHOP'):
                        self.due |= {(place, work.ids[qid.decode()]) for place in places(work.ids[qid.decode()])}
            elif call.kind == 'write':
                results.setdefault(call.inode, set()).update(passed)
            elif call.kind == 'sync':
                self.noted |= results.pop(call.inode, set())
        self.refused = work.refused[:refusals] + work.broken_off

    def check(self, found):
        assert len(found) == len(set(found)), f'twice: {sorted(found)}'
        lost = self.due - set(found) - {('next', number) for number in self.passed}
        assert not lost, f'lost: {lost}'
        wrong = [number for _, number in found if number in self.refused]
        assert not wrong, f'delivered although it was refused: {wrong}'
        again = [number for place, number in found if place == 'next' and number in self.noted]
        assert not again, f'passed on twice: {again}'


def cuts(calls, changing, wanted):
    """Numbers of calls after which to cut, of those that change something: from a few while the directories are made, to the
    whole way of all messages. wanted: how many, evenly over it, beside those where a message was refused; None: all."""
    made = max(i for i, call in enumerate(calls) if call.kind == 'mkdir' and len(call.name) == 2)
    early = [i for i in changing if i <= made]
    late = [i for i in changing if i > made]
    if wanted:
        late = late[::max(1, len(late) // wanted)] + [i for i in late if REFUSAL in calls[i].data]
    return early[::len(early) // 4] + late


@pytest.mark.slow
def test_power_cut(gatepost):
    check(gatepost, 'quick', 4, 16)


@pytest.mark.long
@pytest.mark.parametrize('seed', range(4))
def test_power_cut_everywhere(gatepost, seed):
    check(gatepost, seed, 4, None)


def check(gatepost, seed, messages, wanted):
    with Shim() as shim:
        state, (queue, mail), calls, work = record(gatepost, shim, messages)
    said = Said(calls, work)
    assert {(place, number) for number in work.ids.values() for place in places(number)} == said.due
    assert said.passed == said.noted == {number for place, number in said.due if place == 'next'}
    assert said.refused == [UNSYNCED, UNSYNCED + 1, messages]
    trial = copy.deepcopy(state)
    changing = [i for i, call in enumerate(calls) if trial.apply(call)]
    chosen = set(cuts(calls, changing, wanted))
    kinds = {calls[i].kind for i in changing}
    assert {'create', 'mkdir', 'write', 'sync', 'rename', 'unlink', 'mark'} <= kinds, kinds
    seen = set()
    with Recovery(gatepost) as recovery:
        for i, call in enumerate(calls):
            state.apply(call)
            if i not in chosen:
                continue
            for survival in (nothing, everything, undone, Some(f'{seed}/{i}')):
                trees = state.tree(queue, survival), state.tree(mail, survival)
                said = Said(calls[:i + 1], work)
                looks = hash(str((trees, sorted(said.due), sorted(said.noted), said.refused)))
                if looks in seen:
                    continue
                seen.add(looks)
                where = f'after call {i} of {len(calls)}, {call.kind} {call.name}, {type(survival).__name__}'
                try:
                    recovery.make_disk(*trees)
                    recovery.run()
                    said.check(recovery.delivered())
                except AssertionError as error:
                    raise AssertionError(f'{where}: {error}\n{recovery.mta.log_text()[-3000:]}') from None
    print(f'{len(calls)} calls, {len(seen)} states')
