"""The quarantine when the power fails at any point, and when the disk does: what was said to be stored is there, whole."""
import copy
import json
import os
import pwd
import shutil
import subprocess
import tempfile

import pytest
from harness.instance import Gatepost
from powercut import Some, State, everything, nothing, write_tree
from shim import CREATE, SYNC, WRITE, Shim

pytestmark = pytest.mark.gatepost_only
CONTENT = b'Subject: x\n\n' + b'a line of the message\n' * 4000  # more than a buffer


class Store:
    """A quarantine in a directory of its own, of the mail owner, and who works on it."""

    def __init__(self, prefix=(), parent='/tmp'):
        self.prefix = prefix
        self.dir = tempfile.mkdtemp(prefix='gp-', dir=parent)
        os.chmod(self.dir, 0o755)
        self.user = pwd.getpwnam(Gatepost.owner()) if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        self.owner = (self.user.pw_uid, self.user.pw_gid)
        for sub in ('data', 'conf'):
            os.mkdir(f'{self.dir}/{sub}')
            os.chown(f'{self.dir}/{sub}', *self.owner)
        with open(self.dir + '/conf/main.cf', 'w') as file:
            file.write(f'data_directory = {self.dir}/data\nqueue_directory = {self.dir}\nmail_owner = {self.user.pw_name}\n')

    def put(self, count=1):
        """(process, ids): one process stores so many."""
        program = os.path.dirname(Gatepost.program) + '/src/quarantine/quarantine_put'
        who = {'user': self.owner[0], 'group': self.owner[1], 'extra_groups': []} if os.geteuid() == 0 else {}
        with open(self.dir + '/said', 'wb') as said:
            done = subprocess.run([*self.prefix, program, self.dir + '/data/quarantine', 'recipient=a@b.test', f'count={count}'], input=CONTENT,
                                  stdout=said, timeout=60, **who)
        with open(self.dir + '/said') as said:
            return done.returncode, said.read().splitlines()

    def run(self, *args):
        done = subprocess.run([Gatepost.program, '-c', self.dir + '/conf', 'quarantine', *args], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done
        return done.stdout

    def check(self, wanted):
        """Rows: those wanted and perhaps others, each with its whole content."""
        rows = {json.loads(line)['id'] for line in self.run('list', '--json').splitlines()}
        assert wanted <= rows, 'lost'
        for row in rows:
            with open(f'{self.dir}/data/quarantine/content/{row}', 'rb') as file:
                assert file.read() == CONTENT
        return rows

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.dir, ignore_errors=True)


@pytest.mark.slow
def test_power_cut(long):
    memory = '/dev/shm' if os.access('/dev/shm', os.W_OK) else '/tmp'  # what came after the cut need not be slow
    with Shim() as shim, Store(shim.prefix) as store, Store(parent=memory) as after:
        state = State([store.dir + '/data'])
        shim.record()
        status, ids = store.put(6 if long else 2)
        assert status == 0
        calls, promised = shim.calls(), set()
        for number, call in enumerate(calls):
            if not state.apply(copy.copy(call)) and call.kind == 'write':
                promised |= {word for word in call.data.decode(errors='replace').split() if word in ids}
            for survival in (nothing, everything, Some(number), Some(-number)) if long else (nothing, Some(number)):
                shutil.rmtree(after.dir + '/data')
                os.mkdir(after.dir + '/data')
                os.chown(after.dir + '/data', *after.owner)
                write_tree(state.tree(store.dir + '/data', survival), after.dir + '/data', after.owner)
                assert after.check(promised) <= set(ids)
        assert promised == set(ids) and len(calls) > 40


@pytest.mark.parametrize('calls', [WRITE, SYNC, CREATE], ids=['write', 'sync', 'create'])
def test_failing_disk(calls):
    """An error and no message, or half of one; and as before when the disk is well again."""
    with Shim() as shim, Store(shim.prefix) as store:
        status, first = store.put()
        assert status == 0
        shim.fail(calls, store.dir + '/data/quarantine')
        status, said = store.put()
        assert status == 1 and shim.failed > 0, said
        shim.fail(0, '')
        assert store.check(set(first)) == set(first)
        status, second = store.put()
        assert status == 0
        assert store.check(set(second)) == set(first + second)
        assert len(os.listdir(store.dir + '/data/quarantine/content')) <= 3
