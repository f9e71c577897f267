"""The master: starting, stopping, reloading, what it does about services that die, and what keeps it from starting."""
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest
from harness.client import Client, Closed
from harness.instance import Gatepost
from harness.log import Log
from harness.peer import until

pytestmark = pytest.mark.gatepost_only
root_only = pytest.mark.skipif(os.geteuid() != 0, reason='needs root')


def status_of(pid):
    """Parent and state of a process, or None."""
    try:
        with open(f'/proc/{pid}/stat') as file:
            fields = file.read().rpartition(') ')[2].split()
        return int(fields[1]), fields[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


def services(mta, identity=None):
    """The processes of services: pid to what the master told them, oldest first."""
    found = {}
    for pid in sorted(int(name) for name in os.listdir('/proc') if name.isdigit()):
        status = status_of(pid)
        if status is None or status[0] != mta.master_pid() or status[1] == 'Z':
            continue
        try:
            with open(f'/proc/{pid}/cmdline') as file:
                words = file.read().split('\0')
        except (FileNotFoundError, ProcessLookupError):
            continue
        told = dict(word.partition('=')[::2] for word in words[2:])
        if 'identity' in told and identity in (None, told['identity']): # one that begins or ends has no words
            found[pid] = told
    return found


def service(mta, name):
    """The newest process of the harness's service."""
    found = services(mta, f'inet/127.0.0.1:{mta.port(name)}') or services(mta, f'inet/[127.0.0.1]:{mta.port(name)}')
    return list(found)[-1] if found else None


def gone(pid):
    status = status_of(pid)
    return status is None or status[1] == 'Z'


def listening(port):
    try:
        socket.create_connection(('127.0.0.1', port), 5).close()
        return True
    except ConnectionRefusedError:
        return False


FRONT = {'front': '-o smtpd_recipient_restrictions=permit_mynetworks,reject'}


@pytest.fixture
def mta(gatepost):
    with gatepost(services=FRONT) as mta:
        yield mta


# ---- Commands, their exit status and what they say


def test_commands_say_what_they_do(gatepost):
    mta = gatepost(services=FRONT)
    try:
        for command in ('stop', 'abort', 'reload', 'flush'):
            done = mta.run(command)
            assert (done.returncode, done.stdout) == (1, '')
            assert done.stderr == 'postfix/postfix-script: fatal: the Postfix mail system is not running\n'
        done = mta.run('status')
        assert done.returncode == 1
        assert done.stderr == 'postfix/postfix-script: the Postfix mail system is not running\n'

        mark = mta.log.mark()
        done = mta.run('start')
        assert done.returncode == 0
        assert 'postfix/postfix-script: starting the Postfix mail system\n' in done.stderr
        assert 'fatal' not in done.stderr and 'error' not in done.stderr
        assert listening(mta.port('front'))  # when it returns, clients are served
        with mta.session('front'):
            pass
        mta.log.wait_text('starting the Postfix mail system', mark, 'postfix-script')
        mta.log.wait(r'daemon started -- version \S+, configuration ' + re.escape(mta.dir) + '/conf', mark, 'master')

        done = mta.run('status')
        assert done.returncode == 0
        assert done.stderr == f'postfix/postfix-script: the Postfix mail system is running: PID: {mta.master_pid()}\n'
        done = mta.run('start')
        assert done.returncode == 1
        assert done.stderr == 'postfix/postfix-script: fatal: the Postfix mail system is already running\n'
        assert mta.run('flush').returncode == 0

        pid, children = mta.master_pid(), list(services(mta))
        assert children
        mark = mta.log.mark()
        done = mta.run('stop')
        assert done.returncode == 0
        assert done.stderr.startswith('postfix/postfix-script: stopping the Postfix mail system\n')
        assert all(gone(each) for each in children)  # when it returns, nothing is left
        until(lambda: gone(pid), 'the master ended')
        assert not listening(mta.port('front'))
        mta.log.wait_text('terminating on signal 15', mark, 'master')
        assert mta.run('status').returncode == 1
    finally:
        mta.__exit__(None, None, None)


@pytest.mark.parametrize('words', [['frobnicate'], ['start', 'frobnicate'], []])
def test_unknown_command(gatepost, words):
    mta = gatepost()
    try:
        done = mta.run(*words)
        assert done.returncode == 1
        assert 'Usage: gatepost start (or stop, ' in done.stderr
        assert not words or "fatal: unknown command: 'frobnicate'. Usage: " in done.stderr
    finally:
        mta.__exit__(None, None, None)


def test_configuration_directory_from_environment(gatepost):
    mta = gatepost()
    try:
        done = subprocess.run([mta.program, 'status'], capture_output=True, text=True,
                              env={**os.environ, 'MAIL_CONFIG': mta.dir + '/conf'})
        assert (done.returncode, done.stderr) == (1, 'postfix/postfix-script: the Postfix mail system is not running\n')
    finally:
        mta.__exit__(None, None, None)


def test_bad_value_does_not_keep_it_from_stopping(mta):
    mta.write('main.cf', mta.settings + 'smtpd_timeout = never\n')
    assert mta.run('status').returncode == 0
    assert mta.run('flush').returncode == 0
    assert mta.run('stop').returncode == 0
    assert mta.run('status').returncode == 1


def test_abort(mta):
    pids = [mta.master_pid(), *services(mta)]
    with mta.session('front') as client:
        done = mta.run('abort')
        assert done.returncode == 0 and 'aborting the Postfix mail system' in done.stderr
        until(lambda: all(gone(pid) for pid in pids), 'all ended')
        with pytest.raises((Closed, ConnectionResetError, BrokenPipeError)):
            client.cmd('NOOP', 421) # some are still told
            client.cmd('NOOP')


def test_stop_does_not_wait_for_idle_clients(mta):
    with mta.session('front'):
        begin = time.monotonic()
        assert mta.run('stop').returncode == 0
        assert time.monotonic() - begin < 8


def test_stop_leaves_nobody_without_a_word(mta):
    with mta.session('front') as client:
        client.envelope()
        client.cmd('DATA', 354)
        client.send(b'Subject: unfinished\r\n')
        stopping = subprocess.Popen([mta.program, '-c', mta.dir + '/conf', 'stop'], stderr=subprocess.DEVNULL)
        client.expect('421 4.3.2 mx.gate.test Service shutting down')
        assert stopping.wait(10) == 0


def test_start_in_the_foreground(gatepost):
    mta = gatepost(main='maillog_file = /dev/stdout\nmaillog_file_prefixes = /dev/stdout', services=FRONT)
    try:
        proc = subprocess.Popen([mta.program, '-c', mta.dir + '/conf', 'start-fg'], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
        text = ''
        for line in proc.stdout:
            text += line
            if 'daemon started' in line:
                break
        assert re.search(r'^\w{3} [ \d]\d \d\d:\d\d:\d\d mx postfix/master\[\d+\]: daemon started', text, re.M), text
        assert mta.run('status').returncode == 0
        with mta.session('front'):
            os.killpg(proc.pid, signal.SIGINT)  # as Ctrl-C does: to every process of the terminal
            assert proc.wait(10) == 0
        assert 'killed by signal' not in proc.stdout.read()
    finally:
        proc.kill()
        mta.__exit__(None, None, None)


@root_only
def test_process_one_of_a_container(gatepost):
    mta = gatepost(main='maillog_file = /dev/stdout\nmaillog_file_prefixes = /dev/stdout', services=FRONT)
    try:
        with open(mta.dir + '/out', 'w') as out:
            proc = subprocess.Popen(['unshare', '--pid', '--fork', '--mount-proc', '--kill-child', mta.program, '-c',
                                     mta.dir + '/conf', 'start-fg'], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        log = Log(mta.dir + '/out')
        log.wait('daemon started .*', program='master')
        assert log.lines()[-1].number == 1 or any(line.number == 1 for line in log.lines())
        with mta.session('front'):
            pass
        child, = open(f'/proc/{proc.pid}/task/{proc.pid}/children').read().split()
        os.kill(int(child), signal.SIGTERM)
        assert proc.wait(10) == 0
    finally:
        proc.kill()
        os.unlink(mta.dir + '/queue/pid/master.pid')  # not our process 1
        mta.__exit__(None, None, None)


def test_output_of_start_ends(gatepost):
    """Whoever reads start's output to its end does not wait for the mail system to end."""
    mta = gatepost(services=FRONT)
    try:
        proc = subprocess.Popen([mta.program, '-c', mta.dir + '/conf', 'start'], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        proc.communicate(timeout=20)
        assert proc.returncode == 0
    finally:
        mta.__exit__(None, None, None)


# ---- Services that die


def test_killed_service_is_back_at_once(mta):
    for _ in range(3):
        mark = mta.log.mark()
        old = service(mta, 'front')
        os.kill(old, signal.SIGKILL)
        with mta.session('front', source=None):  # its listener is the master's: nobody is turned away meanwhile
            pass
        assert service(mta, 'front') != old
        mta.log.wait(rf'warning: process \S+/smtpd pid {old} killed by signal 9', mark, 'master')
    assert not [text for text in mta.log.texts() if 'throttling' in text]


def test_service_that_does_not_start_is_throttled(gatepost):
    with gatepost(main='service_throttle_time = 2s', services=FRONT) as mta:
        good = mta.settings
        mta.write('main.cf', good + 'smtpd_timeout = never\n')
        mark = mta.log.mark()
        os.kill(service(mta, 'front'), signal.SIGKILL)
        mta.log.wait(r'fatal: .*smtpd_timeout.*', mark, 'smtpd')
        mta.log.wait(r'warning: process \S+/smtpd pid \d+ exit status 1', mark, 'master')
        mta.log.wait(r'warning: \S+/smtpd: bad command startup -- throttling', mark, 'master')
        began = time.monotonic()
        mta.write('main.cf', good)
        until(lambda: service(mta, 'front'), 'started again')
        assert time.monotonic() - began > 1
        with mta.session('front'):
            pass
        assert len([text for text in mta.log.texts(mark, 'master') if 'throttling' in text]) == 1
        assert mta.run('status').returncode == 0


def test_crash_of_the_master(gatepost):
    """What it leaves does not keep the next one from starting, and its processes end without it."""
    with gatepost(services=FRONT) as mta:
        old = [mta.master_pid(), *services(mta)]
        os.kill(old[0], signal.SIGKILL)
        until(lambda: gone(old[0]), 'the master died')
        assert mta.run('status').returncode == 1
        mta.start()
        with mta.session('front'):
            pass
        until(lambda: all(gone(pid) for pid in old), 'the old processes ended')
        assert mta.run('status').returncode == 0


# ---- Reload


def test_reload_drops_no_session(mta):
    old_session = mta.session('front')
    old = service(mta, 'front')
    old_session.cmd('MAIL FROM:<a@b.example>', 250)
    mark = mta.log.mark()
    done = mta.run('reload')
    assert done.returncode == 0 and 'refreshing the Postfix mail system' in done.stderr
    mta.log.wait(r'reload -- version \S+, configuration ' + re.escape(mta.dir) + '/conf', mark, 'master')
    mta.log.wait_text('reload-complete: generation=2', mark, 'master')
    assert service(mta, 'front') != old
    with mta.session('front'):
        old_session.cmd('RCPT TO:<alice@virt.test>', 250)
    old_session.cmd('DATA', 354)
    old_session.sock.sendall(b'Subject: old session\r\n\r\nbody\r\n.\r\n')
    old_session.expect(250)
    old_session.cmd('NOOP', 250)
    assert not gone(old)
    old_session.quit()
    until(lambda: gone(old), 'the old process ended after its last session')
    assert b'old session' in mta.maildir('alice').wait_for(b'Subject: old session')


def test_reload_under_load(mta):
    """Sessions that come while one generation takes over from another are all served."""
    stop = time.monotonic() + 4
    count = reloads = 0
    pending = None
    while time.monotonic() < stop:
        with mta.session('front') as client:
            client.cmd('NOOP', 250)
            client.quit()
        count += 1
        if pending is None or (pending.poll() is not None and count % 20 == 0):
            assert pending is None or pending.returncode == 0
            pending = subprocess.Popen([mta.program, '-c', mta.dir + '/conf', 'reload'], stderr=subprocess.DEVNULL)
            reloads += 1
    assert pending.wait(10) == 0
    assert reloads >= 2 and count > 40

    def generations():
        told = services(mta).get(service(mta, 'front'))
        return len(services(mta, told['identity'])) if told else 0

    until(lambda: generations() == 1, 'one generation is left')


def holds_listener(pid, port):
    """Whether that process may still accept clients of the port."""
    with open('/proc/net/tcp') as file:
        inodes = {fields[9] for fields in map(str.split, file) if fields[1].endswith(f':{port:04X}') and fields[3] == '0A'}
    found = set()
    try:
        for name in os.listdir(f'/proc/{pid}/fd'):
            found.add(os.readlink(f'/proc/{pid}/fd/{name}'))
    except FileNotFoundError:
        pass
    return bool(found & {f'socket:[{inode}]' for inode in inodes})


def test_the_third_generation_hurries_the_first(mta):
    session = mta.session('front')
    first = service(mta, 'front')
    assert holds_listener(first, mta.port('front'))
    second = None
    for number in (2, 3):
        mta.run('reload')
        mta.log.wait_text(f'reload-complete: generation={number}', program='master')
        until(lambda: not holds_listener(first, mta.port('front')), 'the first generation accepts no more')
        second = second or mta.session('front')
    session.expect(421)
    second.cmd('NOOP', 250)
    second.close()


def test_reload_takes_new_and_removed_services(mta):
    mark = mta.log.mark()
    with open(mta.dir + '/conf/master.cf') as file:
        before = file.read()
    extra = mta.port('extra')
    mta.write('master.cf', before.replace(f'127.0.0.1:{mta.port("front")} ', f'127.0.0.1:{extra} '))
    session = mta.session('front')
    assert mta.run('reload').returncode == 0
    until(lambda: listening(extra), 'the new service')
    until(lambda: not listening(mta.port('front')), 'the removed service is gone')
    session.cmd('NOOP', 250)
    session.quit()
    assert not [text for text in mta.log.texts(mark, 'master') if text.startswith(('error', 'fatal')) or 'smtpd' in text]


BAD_RELOADS = [
    ('main.cf', 'smtpd_timeout = never\n', 'smtpd_timeout'),
    ('main.cf', 'no equals sign\n', "missing '=' after attribute name"),
    ('main.cf', 'queue_directory = /elsewhere\n', 'queue_directory changed'),
    ('master.cf', 'foo inet\n', 'missing'),
    ('master.cf', '127.0.0.1:{busy} inet n - n - - smtpd\n', 'bind 127.0.0.1 port'),
]


@pytest.mark.parametrize('name,text,wanted', BAD_RELOADS)
def test_bad_reload_changes_nothing(mta, name, text, wanted):
    with socket.create_server(('127.0.0.1', 0)) as busy, mta.session('front') as session:
        pids = services(mta)
        with open(f'{mta.dir}/conf/{name}') as file:
            before = file.read()
        mark = mta.log.mark()
        mta.write(name, before + text.replace('{busy}', str(busy.getsockname()[1])))
        if 'queue_directory' in text:  # a command would look for the master there
            done = None
            mta.kill(signal.SIGHUP)
        else:
            done = mta.run('reload')
        # What the command can see it says; what only the master meets is in the log.
        if done is None or done.returncode == 0:
            mta.log.wait(r'error: reload: .*' + re.escape(wanted) + '.* -- the running configuration stays', mark, 'master')
        else:
            assert 'fatal: ' in done.stderr and wanted in done.stderr
            mta.log.wait('fatal: .*' + re.escape(wanted) + '.*', mark, 'postfix-script')
        session.cmd('NOOP', 250)
        with mta.session('front'):
            pass
        assert services(mta).keys() == pids.keys()
        mta.write(name, before)
        mta.run('reload')  # and the next one is as good as any
        mta.log.wait(r'reload-complete: generation=\d+', mark, 'master')


# ---- What keeps it from starting

BAD_STARTS = [
    ('main.cf', 'foo bar\n', "main.cf, line %d: missing '=' after attribute name: \"foo bar\""),
    ('main.cf', '= bar\n', 'main.cf, line %d: missing attribute name: "= bar"'),
    ('main.cf', 'smtpd_helo_required = maybe\n', 'bad boolean configuration: smtpd_helo_required = maybe'),
    ('main.cf', 'smtpd_recipient_limit = 10k\n', 'bad numerical configuration: smtpd_recipient_limit = 10k'),
    ('main.cf', 'smtpd_timeout = 5x\n', 'parameter smtpd_timeout: bad time value or unit: 5x'),
    ('main.cf', 'smtpd_proxy_options = fast\n', 'unknown smtpd_proxy_options value "fast" in "fast"'),
    ('main.cf', 'smtpd_forbid_bare_newline = perhaps\n', "bad parameter value: 'smtpd_forbid_bare_newline = perhaps'"),
    ('main.cf', 'myhostname = not a name\n', 'myhostname'),
    ('main.cf', 'mynetworks = ${foo\n', 'macro processing error'),
    ('main.cf', 'maillog_file = /elsewhere/mail.log\n', "maillog_file '/elsewhere/mail.log' lies in none of"),
    ('main.cf', 'queue_directory = {dir}/conf/main.cf/queue\n', 'make directory'),
    ('main.cf', 'mail_owner = nobody-of-that-name\n', 'mail_owner: unknown user: nobody-of-that-name'),
    ('main.cf', 'mail_owner = root\n', 'mail_owner: user root must not be root'),
    ('master.cf', 'foo\n', 'missing "transport type" field'),
    ('master.cf', 'foo tcp n - n - - smtpd\n', 'bad transport type: tcp'),
    ('master.cf', '24080 inet - - n - - smtpd\n', 'inet service cannot be private'),
    ('master.cf', 'foo unix maybe - n - - smtpd\n', 'bad value: "maybe"'),
    ('master.cf', '127.0.0.1:24080 inet n - n - - smtpd -o x\n', 'missing \'=\' after attribute name'),
    ('master.cf', '127.0.0.1:24080 inet n - n - - smtpd -o smtpd_timeout=soon\n', 'smtpd_timeout'),
    ('master.cf', '127.0.0.1:24080 inet n - n - - smtpd word\n', 'unexpected command-line argument: word'),
    ('master.cf', '127.0.0.1:24080 inet n - n - - postscreen\n', 'there is no postscreen here: let smtpd listen there'),
    ('master.cf', 'tlsproxy unix - - n - 0 tlsproxy\n', 'there is no tlsproxy here'),
    ('master.cf', 'dnsblog unix - - n - 0 dnsblog\n', 'there is no dnsblog here'),
    ('master.cf', '127.0.0.1:24080 inet n - n - - qmqpd\n', 'there is no qmqpd here'),
    ('master.cf', 'foo unix - - n - - frobnicate\n', 'unknown program: frobnicate'),
    ('master.cf', 'second unix n - n 300 1 qmgr\n', 'a second queue manager'),
    ('master.cf', '127.0.0.1:24080 inet n n n - - virtual\n', 'cannot serve an endpoint of this type'),
    ('master.cf', '127.0.0.1:24080 inet n - n - - smtpd -o smtpd_relay_restrictions= -o smtpd_recipient_restrictions=permit\n',
     'specify at least one working instance of'),
]


@pytest.mark.parametrize('name,text,wanted', BAD_STARTS, ids=[f'{name}-{text.strip()[:40]}' for name, text, _ in BAD_STARTS])
def test_bad_configuration_starts_nothing(gatepost, name, text, wanted):
    if 'mail_owner' in text and os.geteuid() != 0:
        pytest.skip('mail_owner is for root')
    mta = gatepost(services=FRONT)
    try:
        with open(f'{mta.dir}/conf/{name}') as file:
            before = file.read()
        mta.write(name, before + mta.fill(text))
        wanted = wanted.replace('%d', str(before.count('\n') + 1))
        done = mta.run('start')
        assert done.returncode == 1
        assert 'fatal: ' in done.stderr and wanted in done.stderr, done.stderr
        assert not listening(mta.port('front'))
        assert mta.run('status').returncode == 1
        if 'maillog' not in wanted:  # where the log is was to be found out
            assert [text for text in mta.log.texts() if wanted in text], mta.log_text()
    finally:
        mta.__exit__(None, None, None)


@pytest.mark.parametrize('line,wanted', [
    ('{a} smtpd -o smtpd_relay_restrictions= -o smtpd_recipient_restrictions=permit', 'specify at least one working instance of'),
    ('{a} smtpd -o smtpd_proxy_filter=127.0.0.1:', 'smtpd_proxy_filter: '),
    ('{a} smtpd -o smtpd_milters=inet:127.0.0.1:1', 'smtpd_milters'),
    ('{a} filter', 'filter_nexthop is empty'),
    ('{a} filter -o filter_nexthop=127.0.0.1:', 'filter_nexthop: '),
])
def test_check_finds_what_start_would(gatepost, line, wanted):
    mta = gatepost(services=FRONT)
    try:
        with open(f'{mta.dir}/conf/master.cf') as file:
            before = file.read()
        mta.write('master.cf', before + line.replace('{a}', f'127.0.0.1:{mta.port("more")} inet n - n - -') + '\n')
        for command in ('check', 'start'):
            done = mta.run(command)
            said = done.stderr + mta.log_text()
            assert done.returncode == 1 and 'fatal: ' in done.stderr and wanted in said, (command, said)
        assert mta.run('status').returncode == 1
    finally:
        mta.__exit__(None, None, None)


def test_check_says_how_many_sessions_fit(gatepost):
    mta = gatepost(base='', master='127.0.0.1:{front} inet n - n - 0 smtpd\n')
    try:
        done = mta.run('check')
        assert done.returncode == 0 and re.search(r'line 1: \d+ sessions fit into the limit of \d+ descriptors', done.stderr), done.stderr
    finally:
        mta.__exit__(None, None, None)


@pytest.mark.parametrize('name', ['main.cf', 'master.cf'])
def test_missing_file(gatepost, name):
    mta = gatepost()
    try:
        os.unlink(f'{mta.dir}/conf/{name}')
        done = mta.run('start')
        assert done.returncode == 1
        assert f'fatal: open {mta.dir}/conf/{name}: No such file or directory' in done.stderr
    finally:
        mta.__exit__(None, None, None)


def test_port_in_use(gatepost):
    mta = gatepost(services={'one': '', 'two': ''})
    try:
        with socket.create_server(('127.0.0.1', mta.port('two'))):
            done = mta.run('start')
            wanted = f'fatal: bind 127.0.0.1 port {mta.port("two")}: Address already in use'
            assert done.returncode == 1 and wanted in done.stderr
            assert wanted in mta.log.texts(program='master')
            assert not listening(mta.port('one'))
        assert mta.run('start').returncode == 0  # nothing was left behind
    finally:
        mta.__exit__(None, None, None)


# ---- Beside Postfix


@root_only
def test_lock_is_postfix_s(gatepost, postfix):
    real = postfix()
    ours = gatepost(services=FRONT)
    try:
        ours.write('main.cf', real.settings.replace(real.dir + '/mail.log', ours.dir + '/mail.log')
                   .replace(f'maillog_file_prefixes = {real.dir}', f'maillog_file_prefixes = {ours.dir}'))
        real.start()
        for command, wanted in (('start', 'the Postfix mail system is already running'),
                                ('reload', 'is not gatepost'), ('stop', 'is not gatepost')):
            done = ours.run(command)
            assert done.returncode == 1 and wanted in done.stderr
        assert real.run('status').returncode == 0
        real.stop()
        ours.start()
        done = real.run('start')
        assert done.returncode == 1
        assert real.run('status').returncode == 0  # it takes ours for its own
        assert ours.run('stop').returncode == 0
    finally:
        ours.__exit__(None, None, None)
        real.__exit__(None, None, None)


def test_mail_of_postfix_is_counted(gatepost):
    mta = gatepost()
    try:
        for path in ('deferred/A/ABC1', 'deferred/B/BCD2', 'incoming/CDE3', 'maildrop/DEF4', 'bounce/nothing'):
            os.makedirs(os.path.dirname(f'{mta.dir}/queue/{path}'), exist_ok=True)
            open(f'{mta.dir}/queue/{path}', 'w').close()
        mta.start()
        mta.log.wait_text(f'warning: {mta.dir}/queue holds 4 messages of Postfix, which only Postfix delivers', 0, 'master')
        assert os.path.exists(mta.dir + '/queue/deferred/A/ABC1')
    finally:
        mta.__exit__(None, None, None)


STOCK = '/usr/share/postfix/master.cf.dist'


@root_only
@pytest.mark.skipif(not os.path.exists(STOCK), reason='Postfix is not installed')
def test_stock_master_cf_starts(gatepost):
    """On port 25, in a network of its own."""
    mta = gatepost()
    try:
        shutil.copy(STOCK, mta.dir + '/conf/master.cf')
        script = f'''
            ip link set lo up
            {mta.program} -c {mta.dir}/conf start || exit 1
            printf 'QUIT\\r\\n' | timeout 5 bash -c 'exec 3<>/dev/tcp/127.0.0.1/25; read -r line <&3; echo "$line"; cat >&3'
            {mta.program} -c {mta.dir}/conf stop
        '''
        done = subprocess.run(['unshare', '--net', 'sh', '-c', script], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert '220 mx.gate.test ESMTP' in done.stdout
        for program in ('local', 'lmtp', 'pipe', 'bounce'):
            assert f'master.cf: program {program} is not available yet' in done.stderr
        assert 'uucp, ifmail, bsmtp, scalemail-backend, mailman' in done.stderr
        assert 'chroot' not in done.stderr
    finally:
        mta.__exit__(None, None, None)


# ---- The log


def test_logrotate(mta):
    with mta.session('front'):
        pass
    done = mta.run('logrotate')
    assert done.returncode == 0, done.stderr
    rotated, = [name for name in os.listdir(mta.dir) if name.startswith('mail.log.')]
    assert re.fullmatch(r'mail\.log\.\d{8}-\d{6}\.gz', rotated)
    text = subprocess.run(['zcat', f'{mta.dir}/{rotated}'], capture_output=True, text=True).stdout
    assert 'daemon started' in text and 'connect from' in text
    with mta.session('front') as client:
        client.quit()
    mta.log.wait('disconnect from .*', 0, 'smtpd')
    assert 'daemon started' not in mta.log_text()


def test_log_file_is_private(mta):
    assert os.stat(mta.log.path).st_mode & 0o777 == 0o600


@root_only
def test_syslog(gatepost):
    """A datagram socket takes the place of /dev/log, in a mount namespace."""
    mta = gatepost(main='maillog_file =\nsyslog_name = postfix-out', services=FRONT)
    dev = mta.dir + '/dev'
    try:
        os.mkdir(dev)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
            log.bind(dev + '/log')
            os.chmod(dev + '/log', 0o666)
            log.settimeout(10)
            script = f'''
                for name in null zero full random urandom; do
                    touch {dev}/$name; mount --bind /dev/$name {dev}/$name
                done
                mount --rbind {dev} /dev
                exec {mta.program} -c {mta.dir}/conf start-fg
            '''
            proc = subprocess.Popen(['unshare', '--mount', 'sh', '-c', script], stdin=subprocess.DEVNULL)
            try:
                seen = []
                while not seen or b'daemon started' not in seen[-1]:
                    seen.append(log.recv(4096))
                # facility mail, priority info: 2 * 8 + 6
                assert re.fullmatch(rb'<22>\w{3} [ \d]\d \d\d:\d\d:\d\d postfix-out/master\[\d+\]: daemon started -- .*',
                                    seen[-1]), seen[-1]
                with mta.session('front') as client:
                    client.quit()
                while b'disconnect from' not in seen[-1]:
                    seen.append(log.recv(4096))
                assert b' postfix-out/smtpd[' in seen[-1]
            finally:
                proc.terminate()
                try:
                    assert proc.wait(10) == 0
                finally:
                    proc.kill()
    finally:
        mta.__exit__(None, None, None)


# ---- check


def test_check(gatepost):
    base = '127.0.0.1:{front} inet n - n - - smtpd\nvirtual unix - n n - - virtual\nqmgr unix n - n 300 1 qmgr\n'
    mta = gatepost(base='', master=base)
    mta.settings = re.sub('(?m)^(alias_|compat).*\n', '', mta.settings) + 'local_recipient_maps =\n'  # Postfix needs these, and we say that we do not
    mta.write('main.cf', mta.settings)
    try:
        shutil.rmtree(mta.dir + '/queue')
        done = mta.run('check')
        assert (done.returncode, done.stderr) == (0, ''), done.stderr
        assert all(line.startswith('protection of ') for line in done.stdout.splitlines()), done.stdout
        assert os.path.isdir(mta.dir + '/queue/private')  # made
        os.chmod(mta.dir + '/queue', 0o777)
        done = mta.run('check')
        assert done.returncode == 0
        assert done.stderr == f'postfix/postfix-script: warning: group or other writable: {mta.dir}/queue\n'
        os.chmod(mta.dir + '/queue', 0o755)
        mta.write('main.cf', mta.settings + 'smtpd_timeout = never\n')
        done = mta.run('check')
        assert done.returncode == 1 and 'fatal: ' in done.stderr and 'smtpd_timeout' in done.stderr
    finally:
        mta.__exit__(None, None, None)


@pytest.mark.parametrize('line,wanted', [
    ('{port} inet n - n - - filter -o filter_nexthop=127.0.0.1:1', 'filter listens on 0.0.0.0, beyond loopback'),
    ('{port} inet n - n - - smtpd -o smtpd_authorized_xforward_hosts=127.0.0.0/8',
     'smtpd with smtpd_authorized_xforward_hosts listens on 0.0.0.0, beyond loopback'),
    ('{port} inet n - n - - smtpd', None),
    ('127.0.0.1:{port} inet n - n - - filter -o filter_nexthop=127.0.0.1:1', None),
])
def test_what_strangers_must_not_reach(gatepost, line, wanted):
    mta = gatepost(main='inet_interfaces = all\ninet_protocols = ipv4', master=line + '\n')
    try:
        for command in ('check', 'start'):
            done = mta.run(command)
            assert done.returncode == 0, done.stderr
            assert (wanted in done.stderr) if wanted else 'beyond loopback' not in done.stderr
    finally:
        mta.__exit__(None, None, None)


@pytest.mark.parametrize('front,after,wanted', [
    (20, 20, None), (20, 19, '20 may come'), (0, 19, 'any number of may come'), (20, 0, None),
    ('20 smtpd -o smtpd_proxy_concurrency_limit=5', 5, None), ('5 smtpd -o smtpd_proxy_concurrency_limit=6', 5, '6 may come')])
def test_room_behind_the_filter(gatepost, front, after, wanted):
    front = front if isinstance(front, str) else f'{front} smtpd'
    mta = gatepost(master=f'127.0.0.1:{{front}} inet n - n - {front} -o smtpd_proxy_filter=127.0.0.1:1\n'
                          f'127.0.0.1:{{after}} inet n - n - {after} smtpd -o smtpd_authorized_xforward_hosts=127.0.0.0/8\n')
    try:
        done = mta.run('check')
        assert done.returncode == 0
        assert (wanted in done.stderr) if wanted else 'may come' not in done.stderr
    finally:
        mta.__exit__(None, None, None)


# ---- Who it runs as


@root_only
def test_services_are_not_root(mta):
    uid = str(__import__('pwd').getpwnam(Gatepost.owner()).pw_uid)
    for pid, told in services(mta).items():
        if told.get('unprivileged'):
            with open(f'/proc/{pid}/status') as file:
                fields = dict(line.split(':', 1) for line in file if ':' in line)
            assert fields['Uid'].split() == [uid] * 4, told
            assert fields['NoNewPrivs'].strip() == '1'
    assert any(told['command'] == 'smtpd' for told in services(mta).values())
