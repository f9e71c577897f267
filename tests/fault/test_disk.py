"""Disks that are full, fail, or may not be written: 4xx, nothing lost, nothing twice, and as before when it is mended."""
import os
import pwd
import re
import subprocess

import pytest
from harness.instance import AFTER
from harness.maildir import Maildir
from harness.namespace import Namespace
from harness.peer import until
from shim import CREATE, SYNC, WRITE, Shim

pytestmark = pytest.mark.gatepost_only
root_only = pytest.mark.skipif(os.geteuid() != 0, reason='needs root')
QUEUED = '~250 2.0.0 Ok: queued as [0-9A-F]{6,}'
FAILED = '451 4.3.0 Error: queue file write error'
QUICK = 'minimal_backoff_time = 1s\nmaximal_backoff_time = 1s\nqueue_run_delay = 1s\ntransport_retry_time = 1s\n'
ADJUST = '-o smtpd_proxy_filter=127.0.0.1:{after} -o smtpd_proxy_options=speed_adjust'
LARGE = ('x' * 70 + '\n') * 10000  # goes to a file in speed_adjust, and through every buffer


def subjects(maildir):
    return sorted(int(re.search(rb'\nSubject: (\d+)\n', message)[1]) for message in maildir.messages())


class Mounted:
    """An instance with file systems of its own on some of its directories."""

    def __init__(self, mta, mounts):
        self.mta = mta
        script = ''.join(f'mkdir -p {mta.dir}/{path}\nmount -t tmpfs -o {options} tmpfs {mta.dir}/{path}\n' for path, options in mounts.items())
        self.namespace = Namespace(script)

    def __enter__(self):
        self.namespace.__enter__()
        self.mta.prefix = self.namespace.prefix
        self.root = f'/proc/{self.namespace.holder.pid}/root'
        self.mta.master_pid = self._master_pid
        self.mta.start()
        return self

    def __exit__(self, *_):
        self.mta.__exit__(None, None, None)
        self.namespace.__exit__(None, None, None)

    def _master_pid(self):
        try:
            with open(f'{self.root}{self.mta.dir}/queue/pid/master.pid') as file:
                return int(file.read())
        except (FileNotFoundError, ValueError):
            return None

    def session(self, service='after'):
        with self.namespace.inside():
            return self.mta.session(service)

    def maildir(self, user):
        return Maildir(f'{self.root}{self.mta.dir}/vmail/{user}')

    def run(self, *words):
        return subprocess.run([*self.namespace.prefix, *words], capture_output=True)

    def remount(self, path, how):
        """The kernel may refuse while somebody has a file open for writing."""
        until(lambda: self.run('mount', '-o', 'remount,' + how, f'{self.mta.dir}/{path}').returncode == 0, f'{path} is {how}')

    def fill(self, path, leave=0):
        """All but this many kB."""
        name = f'{self.mta.dir}/{path}/filler'
        self.run('dd', 'if=/dev/zero', 'of=' + name, 'bs=4k')
        with open(self.root + name, 'r+b') as file:
            file.truncate(max(0, os.path.getsize(self.root + name) - leave * 1024))

    def unfill(self, path):
        os.unlink(f'{self.root}{self.mta.dir}/{path}/filler')


def owned(mta):
    return f'size=4m,mode=700,uid={mta.uid},gid={mta.uid}'


@root_only
def test_full_queue(gatepost):
    mta = gatepost('message_size_limit = 1000000\n', services={'after': AFTER, 'before': ADJUST})
    with Mounted(mta, {'queue': 'size=4m,mode=755'}) as disk:
        with disk.session() as client:
            client.message('Subject: 1\n\nfits\n', wanted=QUEUED)
        disk.maildir('alice').wait(1)
        for service in ('after', 'before'):
            mark = mta.log.mark()
            with disk.session(service) as client:
                client.cmd('MAIL FROM:<a@b.example>', 250)
                client.cmd('RCPT TO:<alice@virt.test>', 250)
                disk.fill('queue')
                client.content('Subject: 2\n\n' + LARGE, wanted=FAILED)
                client.cmd('NOOP', 250)
                client.cmd('MAIL FROM:<a@b.example>', '452 4.3.1 Insufficient system storage')
            if service == 'before':
                mta.log.wait('warning: proxy speed-adjust log I/O error: No space left on device', mark)
            disk.unfill('queue')
            with disk.session(service) as client:
                qid = client.message('Subject: 3\n\n' + LARGE, wanted=QUEUED).rpartition(' ')[2]
            mta.log.wait_text(f'{qid}: removed') # its room is free again before the disk is filled again
        assert subjects(disk.maildir('alice')) == [1, 3, 3]


@root_only
def test_full_mail_disk(gatepost):
    mta = gatepost(QUICK, services={'after': AFTER})
    with Mounted(mta, {'vmail': owned(mta)}) as disk:
        disk.fill('vmail', leave=100)
        with disk.session() as client:
            qid = client.message('Subject: 1\n\n' + LARGE, to=('alice@virt.test', 'bob@virt.test'), wanted=QUEUED).rpartition(' ')[2]
            mta.log.wait(rf'{qid}: to=<alice@virt\.test>, .*, dsn=4\.3\.0, status=deferred \(.*No space left on device\)', program='virtual')
        assert not disk.maildir('alice').messages()
        disk.unfill('vmail')
        mta.log.wait_text(f'{qid}: removed', timeout=30)
        for user in ('alice', 'bob'):
            assert subjects(disk.maildir(user)) == [1]
            assert not os.listdir(disk.maildir(user).path + '/tmp')


@root_only
def test_queue_read_only(gatepost):
    mta = gatepost(QUICK, services={'after': AFTER, 'before': ADJUST})
    owner = pwd.getpwnam(mta.owner())
    os.mkdir(mta.dir + '/queue/gatepost')
    os.chown(mta.dir + '/queue/gatepost', owner.pw_uid, owner.pw_gid)
    with Mounted(mta, {'queue/gatepost/spool': f'mode=700,uid={owner.pw_uid},gid={owner.pw_gid}', 'vmail': owned(mta)}) as disk:
        with open(f'{disk.root}{mta.dir}/vmail/alice', 'w'):
            pass  # in the Maildir's place
        with disk.session() as client:
            qid = client.message('Subject: 1\n\nwaits\n', wanted=QUEUED).rpartition(' ')[2]
        mta.log.wait(rf'{qid}: to=<alice@virt\.test>, .*status=deferred .*', program='virtual')
        disk.remount('queue/gatepost/spool', 'ro')
        os.unlink(f'{disk.root}{mta.dir}/vmail/alice')
        for service in ('after', 'before'):
            with disk.session(service) as client:
                mark = mta.log.mark()
                if service == 'before':
                    client.message('Subject: 2\n\nrefused\n', wanted=FAILED)
                else:
                    client.cmd('MAIL FROM:<a@b.example>', 250)
                    client.cmd('RCPT TO:<alice@virt.test>', FAILED)
                client.cmd('NOOP', 250)
                mta.log.wait('.*Read-only file system.*', mark)
        mta.log.wait(rf'.*{qid}.*Read-only file system.*', mark, 'qmgr', timeout=20)  # what waits is looked at, and left alone
        disk.remount('queue/gatepost/spool', 'rw')
        mta.log.wait_text(f'{qid}: removed', timeout=30)
        with disk.session() as client:
            client.message('Subject: 3\n\nagain\n', wanted=QUEUED)
        disk.maildir('alice').wait(2)
        assert subjects(disk.maildir('alice')) == [1, 3]


@root_only
def test_mail_disk_read_only(gatepost):
    mta = gatepost(QUICK, services={'after': AFTER})
    with Mounted(mta, {'vmail': owned(mta)}) as disk:
        with disk.session() as client:
            client.message('Subject: 1\n\nbody\n', wanted=QUEUED)
            disk.maildir('alice').wait(1)
            disk.remount('vmail', 'ro')
            qid = client.message('Subject: 2\n\nbody\n', to=('alice@virt.test', 'bob@virt.test'), wanted=QUEUED).rpartition(' ')[2]
        for user in ('alice', 'bob'):
            mta.log.wait(rf'{qid}: to=<{user}@virt\.test>, .*, dsn=4\.2\.0, status=deferred \(.*Read-only file system\)', program='virtual')
        disk.remount('vmail', 'rw')
        mta.log.wait_text(f'{qid}: removed', timeout=30)
        assert subjects(disk.maildir('alice')) == [1, 2] and subjects(disk.maildir('bob')) == [2]


# ---- EIO


@pytest.fixture(scope='module')
def failing(gatepost):
    """An instance behind the shim."""
    with Shim() as shim:
        mta = gatepost(QUICK + 'transport_maps = inline:{next.test=smtp:[127.0.0.1]:{next}}\n',
                       services={'after': AFTER, 'before': ADJUST})
        mta.prefix = shim.prefix
        with mta:
            yield mta, shim


@pytest.fixture
def mta(failing):
    mta, shim = failing
    mta.shim = shim
    yield mta
    shim.fail(0, '')
    for user in ('alice', 'bob'):
        mta.maildir(user).clear()


CALLS = pytest.mark.parametrize('calls', [WRITE, SYNC, CREATE], ids=['write', 'sync', 'create'])


@CALLS
@pytest.mark.parametrize('text', ['small\n', LARGE], ids=['small', 'large'])
def test_queue_fails(mta, calls, text):
    """A message whose write or sync failed was not taken, and is never delivered."""
    with mta.session('after') as client:
        for number in range(3):
            if calls == CREATE:  # the file is made for the first recipient
                client.cmd('MAIL FROM:<a@b.example>', 250)
                mta.shim.fail(calls, mta.dir + '/queue/gatepost/spool/')
                client.cmd('RCPT TO:<alice@virt.test>', FAILED)
                client.cmd('RSET', 250)
            else:
                client.envelope()
                mta.shim.fail(calls, mta.dir + '/queue/gatepost/spool/')
                client.content(f'Subject: {number}\n\n{text}', wanted=FAILED)
            assert mta.shim.failed
            mta.shim.fail(0, '')
            client.cmd('NOOP', 250)
        client.message('Subject: 3\n\n' + text, wanted=QUEUED)
    mta.maildir('alice').wait(1)
    until(lambda: mta.mailq() == 'Mail queue is empty\n', 'an empty queue')
    assert subjects(mta.maildir('alice')) == [3]


@pytest.mark.parametrize('calls', [WRITE, CREATE], ids=['write', 'create'])
def test_content_fails(mta, calls):
    """speed_adjust: a large message lies in a file meanwhile."""
    mark = mta.log.mark()
    with mta.session('before') as client:
        client.envelope()
        mta.shim.fail(calls, mta.dir + '/queue/gatepost')
        client.content('Subject: 1\n\n' + LARGE, wanted=FAILED)
        mta.shim.fail(0, '')
        mta.log.wait('warning: proxy speed-adjust log I/O error: Input/output error', mark)
        client.message('Subject: 2\n\n' + LARGE, wanted=QUEUED)
    mta.maildir('alice').wait(1)
    assert subjects(mta.maildir('alice')) == [2]


@CALLS
def test_maildir_fails(mta, calls):
    """Deferred, and delivered once when it is mended."""
    mta.shim.fail(calls, mta.dir + '/vmail')
    with mta.session('after') as client:
        qid = client.message('Subject: 1\n\n' + LARGE, to=('alice@virt.test', 'bob@virt.test'), wanted=QUEUED).rpartition(' ')[2]
    for user in ('alice', 'bob'):
        mta.log.wait(rf'{qid}: to=<{user}@virt\.test>, .*, dsn=4\.2\.0, status=deferred \(.*Input/output error\)', program='virtual')
        assert not mta.maildir(user).files()
    mta.shim.fail(0, '')
    mta.log.wait_text(f'{qid}: removed', timeout=30)
    assert subjects(mta.maildir('alice')) == [1] and subjects(mta.maildir('bob')) == [1]


@pytest.mark.parametrize('calls', [WRITE, SYNC], ids=['write', 'sync'])
def test_results_fail(mta, calls):
    """What became of a recipient cannot be written into the message's file: it is not tried again all the same."""
    with open(mta.dir + '/vmail/alice/new/blocked', 'w'):
        pass
    os.rename(mta.dir + '/vmail/alice', mta.dir + '/vmail/aside')
    with open(mta.dir + '/vmail/alice', 'w'):
        pass
    with mta.session('after') as client:
        client.envelope('a@b.example', 'alice@virt.test', 'x@next.test')
        qid = client.content('Subject: 1\n\nbody\n', wanted=QUEUED).rpartition(' ')[2]
    mta.log.wait(rf'{qid}: to=<x@next\.test>, .*, status=deferred .*', program='smtp')  # nobody listens
    mta.shim.fail(calls, mta.dir + '/queue/gatepost/spool/')
    with mta.sink('next') as sink:
        mta.log.wait(rf'{qid}: to=<x@next\.test>, .*, status=sent .*', program='smtp', timeout=20)
        until(lambda: mta.shim.failed, 'a failure')
        os.unlink(mta.dir + '/vmail/alice')
        os.rename(mta.dir + '/vmail/aside', mta.dir + '/vmail/alice')
        os.unlink(mta.dir + '/vmail/alice/new/blocked')
        mta.shim.fail(0, '')
        mta.log.wait_text(f'{qid}: removed', timeout=40)
        assert len([talk for talk in sink.connections if talk.messages]) == 1
    assert subjects(mta.maildir('alice')) == [1]


@root_only
def test_queue_directory_not_writable(gatepost):
    """Nothing is promised that cannot be kept."""
    with gatepost(services={'after': AFTER}) as mta:
        spool = mta.dir + '/queue/gatepost'
        found = [path for path, _, _ in os.walk(spool)]
        for path in found:
            os.chown(path, 0, 0)
            os.chmod(path, 0o500)
        mark = mta.log.mark()
        with mta.session('after') as client:
            client.cmd('MAIL FROM:<a@b.example>', 250)
            reply = client.cmd('RCPT TO:<alice@virt.test>')
            if reply.code == 250:
                reply = client.cmd('DATA')
                if reply.code == 354:
                    client.send(b'Subject: 1\r\n\r\nbody\r\n.\r\n')
                    reply = client.reply()
            assert reply.code == 451, reply
            client.cmd('RSET', 250)
        mta.log.wait(r'warning: .*Permission denied.*|error: .*Permission denied.*', mark)


def test_maildir_not_writable(gatepost):
    """Deferred, and delivered when it is mended."""
    with gatepost(QUICK, services={'after': AFTER}) as mta:
        with open(mta.dir + '/vmail/alice', 'w'):
            pass
        mark = mta.log.mark()
        with mta.session('after') as client:
            qid = client.message('Subject: 1\n\nbody\n', wanted=QUEUED).rpartition(' ')[2]
        mta.log.wait(rf'{qid}: to=<alice@virt\.test>, relay=virtual, .*, dsn=4\.2\.0, status=deferred \(maildir delivery failed: .*\)', mark,
                     'virtual')
        os.unlink(mta.dir + '/vmail/alice')
        mta.log.wait(rf'{qid}: to=<alice@virt\.test>, relay=virtual, .*, dsn=2\.0\.0, status=sent \(delivered to maildir\)', mark, 'virtual',
                     timeout=20)
        mta.log.wait_text(f'{qid}: removed', mark)
