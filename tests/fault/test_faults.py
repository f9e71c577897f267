"""Everything is killed at once, or one server in the middle of its work."""
import os
import re
import signal
import time

import pytest
from harness.client import Closed
from harness.instance import AFTER
from harness.peer import until
from processes import kill, kill_all, processes

pytestmark = pytest.mark.gatepost_only
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


def test_stopped_agent_is_given_up(gatepost):
    """The log names it, other mail goes on, and what it does when it goes on is not done twice."""
    with gatepost(main='transport_maps = inline:{next.test=smtp:[127.0.0.1]:{next}}\nrelay_domains = next.test\nminimal_backoff_time = 1s\n'
                       'maximal_backoff_time = 1s\nqueue_run_delay = 1s\ndaemon_timeout = 2s\n', services={'in': ''}) as mta:
        mark = mta.log.mark()
        stopped = [process.pid for process in processes(mta) if process.service == 'smtp']
        assert stopped
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            with mta.session('in') as client:
                qid = client.message(to='x@next.test', wanted=QUEUED).rpartition(' ')[2]
                client.message('Subject: 1\n\nbody\n', wanted=QUEUED)
            mta.maildir('alice').wait(1)
            mta.log.wait(rf'warning: {qid}: timeout receiving delivery status from transport: smtp', mark, 'qmgr')
            assert f'{qid}' in mta.mailq()
        finally:
            sink = mta.sink('next')
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        mta.log.wait(rf'{qid}: to=<x@next\.test>.*status=sent .*', mark, timeout=20)
        mta.log.wait(rf'{qid}: removed', mark, timeout=20)
        assert len([text for text in mta.log.texts(mark, 'smtp') if text.startswith(f'{qid}: to=')]) == 1
        assert sum(len(talk.messages) for talk in sink.connections) == 1


def test_killed_server_leaves_its_counts(gatepost):
    """A client does not get its time unit anew because a process died."""
    with gatepost('smtpd_peername_lookup = no\n', services={'in': '-o smtpd_client_connection_rate_limit=2'}) as mta:
        for _ in range(2):
            mta.session('in', source='127.0.0.2').quit()
        victims = [process.pid for process in processes(mta) if process.service == 'in']
        assert victims, processes(mta)
        kill(mta, victims)
        with mta.connect('in', source='127.0.0.2') as client:
            client.expect('421 4.7.0 mx.gate.test Error: too many connections from 127.0.0.2')


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
