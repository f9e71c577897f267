"""What breaks under a mail server: disks that are full or fail, processes that are killed. No acknowledged message is lost, none
that was refused is delivered, and nothing comes twice."""
import os
import re
import subprocess
import time

import pytest
from harness.client import Closed
from harness.instance import AFTER
from harness.namespace import Namespace
from harness.peer import until
from processes import kill, kill_all, processes

pytestmark = pytest.mark.gatepost_only
root_only = pytest.mark.skipif(os.geteuid() != 0, reason='needs root')
QUEUED = '~250 2.0.0 Ok: queued as [0-9A-F]{6,}'


def subjects(mta, user):
    return sorted(int(re.search(rb'\nSubject: (\d+)\n', m)[1]) for m in mta.maildir(user).messages())


def test_kill_keeps_what_was_acknowledged(gatepost, long):
    """All processes are killed at any moment under load, again and again."""
    taken, number = [], 0
    with gatepost(services={'after': AFTER}) as mta:
        for round_number in range(10 if long else 3):
            client = mta.session('after')
            end = time.monotonic() + 0.3 + 0.13 * round_number
            try:
                while time.monotonic() < end:
                    client.message(f'Subject: {number}\n\nbody\n', sender='', wanted=QUEUED)
                    taken.append(number)
                    number += 1
                kill_all(mta)
            except (Closed, OSError):
                pass
            number += 1  # what was under way may or may not have got through
            client.close()
            mta.start()
        until(lambda: set(taken) <= set(subjects(mta, 'alice')), 'all that was acknowledged', 30)
        until(lambda: mta.mailq() == 'Mail queue is empty\n', 'an empty queue', 30)
        found = subjects(mta, 'alice')
        assert len(found) == len(set(found)), 'delivered twice'


def test_kill_in_the_middle_of_a_message(gatepost):
    """What was not whole is removed at the next start and never delivered."""
    with gatepost(services={'after': AFTER}) as mta:
        with mta.session('after') as client:
            client.envelope()
            client.cmd('DATA', 354)
            client.send(b'Subject: 1\r\n\r\n' + b'x' * 100000 + b'\r\n')
            client.expect_silence(0.2)
            kill_all(mta)
        mta.start()
        with mta.session('after') as client:
            client.message('Subject: 2\n\nbody\n', wanted=QUEUED)
        mta.maildir('alice').wait(1)
        assert subjects(mta, 'alice') == [2]
        files = [name for _, _, names in os.walk(mta.dir + '/queue/gatepost/spool') for name in names]
        until(lambda: not [name for _, _, names in os.walk(mta.dir + '/queue/gatepost/spool') for name in names], f'an empty spool {files}')


def test_deferred_survives(gatepost):
    with gatepost(main='transport_maps = inline:{next.test=smtp:[127.0.0.1]:{next}}\nrelay_domains = next.test\nminimal_backoff_time = 1s\n'
                       'maximal_backoff_time = 1s\nqueue_run_delay = 1s\n', services={'in': ''}) as mta:
        mark = mta.log.mark()
        with mta.session('in') as client:
            qid = client.message(to='x@next.test', wanted=QUEUED).rpartition(' ')[2]
        mta.log.wait(rf'{qid}: to=<x@next\.test>.*status=deferred .*', mark)
        kill_all(mta)
        mta.start()
        assert f'{qid}' in mta.mailq()
        with mta.sink('next') as sink:
            mta.log.wait(rf'{qid}: to=<x@next\.test>.*status=sent .*', mark, timeout=20)
            mta.log.wait(rf'{qid}: removed', mark)
            assert [talk for talk in sink.connections if talk.messages]


@root_only
def test_full_disk(gatepost):
    """4xx, and as before when there is room again."""
    mta = gatepost(services={'after': AFTER})
    more = f'mount -t tmpfs -o size=4m,mode=755 tmpfs {mta.dir}/queue'
    with Namespace(more) as namespace:
        mta.prefix = namespace.prefix
        mta.master_pid = lambda: int(subprocess.run([*namespace.prefix, 'cat', mta.dir + '/queue/pid/master.pid'], capture_output=True,
                                                    text=True).stdout or 0) or None

        def connect():
            with namespace.inside():
                client = mta.session('after')
            return client

        with mta:
            with connect() as client:
                client.cmd('MAIL FROM:<a@b.example>', '452 4.3.1 Insufficient system storage')
            mta.write('main.cf', mta.settings + 'message_size_limit = 1000000\n')
            mta.reload()
            # for a moment both generations accept
            until(lambda: all(connect().cmd('MAIL FROM:<a@b.example>').code == 250 for _ in range(5)), 'the new limit')
            with connect() as client:
                client.message('Subject: 1\n\nfits\n', wanted=QUEUED)
            mta.maildir('alice').wait(1)
            subprocess.run([*namespace.prefix, 'dd', 'if=/dev/zero', f'of={mta.dir}/queue/filler', 'bs=1k', 'count=900'], capture_output=True)
            with connect() as client:
                client.cmd('MAIL FROM:<a@b.example>', 250)
                client.cmd('RCPT TO:<alice@virt.test>', 250)
                subprocess.run([*namespace.prefix, 'dd', 'if=/dev/zero', f'of={mta.dir}/queue/filler2', 'bs=1k'], capture_output=True)
                client.content('Subject: 2\n\n' + ('x' * 70 + '\n') * 10000, wanted='451 4.3.0 Error: queue file write error')
                client.cmd('NOOP', 250)
            subprocess.run([*namespace.prefix, 'rm', f'{mta.dir}/queue/filler', f'{mta.dir}/queue/filler2'], check=True)
            with connect() as client:
                client.message('Subject: 3\n\nagain\n', wanted=QUEUED)
            mta.maildir('alice').wait(2)
            assert subjects(mta, 'alice') == [1, 3]


@root_only
def test_failing_sync(gatepost):
    """A message whose sync failed was not taken, and is never delivered."""
    with gatepost(services={'after': AFTER}) as mta:
        words = ['strace', '-f', '-o', mta.dir + '/trace', '-e', 'trace=fsync,fdatasync', '-e', 'inject=fsync,fdatasync:error=EIO']
        for process in processes(mta)[1:]:
            words += ['-p', str(process.pid)]
        tracer = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until(lambda: all(traced(process.pid) for process in processes(mta)[1:]), 'all are traced')
            with mta.session('after') as client:
                client.message('Subject: 1\n\nbody\n', wanted='451 4.3.0 Error: queue file write error')
                client.cmd('NOOP', 250)
            with open(mta.dir + '/trace') as file:
                assert 'EIO (Input/output error) (INJECTED)' in file.read()
        finally:
            tracer.terminate()
            tracer.wait(10)
        with mta.session('after') as client:
            client.message('Subject: 2\n\nbody\n', wanted=QUEUED)
        mta.maildir('alice').wait(1)
        assert subjects(mta, 'alice') == [2]


def traced(pid):
    """All threads of a process."""
    for thread in os.listdir(f'/proc/{pid}/task'):
        with open(f'/proc/{pid}/task/{thread}/status') as file:
            if '\nTracerPid:\t0\n' in file.read():
                return False
    return True


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
    with gatepost(main='minimal_backoff_time = 1s\nmaximal_backoff_time = 1s\nqueue_run_delay = 1s\n', services={'after': AFTER}) as mta:
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


@pytest.mark.parametrize('service', ['before', 'after'])
def test_killed_server_is_replaced(gatepost, service):
    """Its sessions end, new ones are served, and the limits forget the dead."""
    with gatepost('smtpd_client_event_limit_exceptions =\nsmtpd_client_connection_count_limit = 3\n',
                  services={'before': '-o smtpd_proxy_filter=127.0.0.1:{after}', 'after': AFTER}) as mta:
        for _ in range(3):
            clients = [mta.session(service) for _ in range(3)]
            victims = [process.pid for process in processes(mta) if process.service == service]
            assert victims, processes(mta)
            kill(mta, victims)
            for client in clients:
                client.expect_close()

            def served():
                try:
                    with mta.session('before') as client:
                        client.message(wanted=QUEUED)
                    return True
                except (Closed, OSError):
                    return False

            until(served, 'a new process')
