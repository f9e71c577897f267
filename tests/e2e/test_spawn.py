"""spawn: a program for each connection, its input, output and errors the connection."""
import os
import re
import socket
import time

import pytest
from harness import PATIENCE
from harness.instance import wait_port
from harness.peer import until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='changing the user needs root')


def line(name, command, kind='unix', private='-', maxproc=0, user='nobody'):
    return f'{name} {kind} {private} n n - {maxproc} spawn user={user} argv={command}\n'


def start(sut, *lines, main=''):
    return sut(main, master=''.join(lines))


def connect(address):
    sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    sock.settimeout(15 * PATIENCE)
    sock.connect(address)
    return sock


def rest(sock):
    """All until the program has ended."""
    data = b''
    with sock:
        while chunk := sock.recv(4096):
            data += chunk
    return data.decode()


def alive(pid):
    try:
        return open(f'/proc/{pid}/stat').read().rpartition(') ')[2][0] != 'Z'
    except FileNotFoundError:
        return False


def test_tcp_and_unix(sut):
    """Everywhere a program of one's own, as the user that was named, with little else of ours."""
    show = '/bin/sh -c { read x; echo $x:$(id -un):$(id -gn):$PWD; echo err >&2; ls -l /proc/self/fd | wc -l; env }'
    with start(sut, line('private1', show), line('public1', show, private='n'), line('127.0.0.1:{tcp}', show, 'inet', 'n'),
               line('grouped', show, user='nobody:daemon')) as mta:
        wait_port(mta.port('tcp'))
        for address, group in ((mta.dir + '/queue/private/private1', 'nogroup'), (mta.dir + '/queue/public/public1', 'nogroup'),
                               (('127.0.0.1', mta.port('tcp')), 'nogroup'), (mta.dir + '/queue/private/grouped', 'daemon')):
            sock = connect(address)
            sock.sendall(b'hello\n')
            lines = rest(sock).splitlines()
            assert lines[0] == f'hello:nobody:{group}:{mta.dir}/queue'
            assert lines[1] == 'err'
            names = {text.partition('=')[0] for text in lines[3:]}
            assert 'PATH' in names and not {'HOME', 'USER', 'GATEPOST'} & names, names


def test_exit_status(sut):
    with start(sut, line('fails', '/bin/sh -c { exit 3 }'), line('dies', '/bin/sh -c { kill -9 $$ }')) as mta:
        rest(connect(mta.dir + '/queue/private/fails'))
        mta.log.wait_text('warning: command /bin/sh exit status 3')
        if sut.newer:  # Postfix's master.cf has no `$$`
            rest(connect(mta.dir + '/queue/private/dies'))
            mta.log.wait_text('warning: command /bin/sh killed by signal 9')


@pytest.mark.gatepost_only  # Postfix kills the program alone
def test_time_limit(sut):
    """A program that takes too long is killed, with all that it started."""
    command = '/bin/sh -c { sleep 100 & echo $!; wait }'
    with start(sut, line('slow', command), main='slow_time_limit = 1\n') as mta:
        begun = time.monotonic()
        sock = connect(mta.dir + '/queue/private/slow')
        child = int(sock.makefile().readline())
        assert alive(child)
        rest(sock)
        assert time.monotonic() - begun < 10 * PATIENCE
        mta.log.wait('warning: /bin/sh: .*command time limit exceeded')
        until(lambda: not alive(child), 'the child is gone')


def test_limit(sut):
    """maxproc programs at once; who is next is served when one ends."""
    with start(sut, line('cat', '/bin/cat', maxproc=2)) as mta:
        socks = [connect(mta.dir + '/queue/private/cat') for _ in range(3)]
        for sock in socks:
            sock.sendall(b'x')
        assert socks[0].recv(1) == socks[1].recv(1) == b'x'
        socks[2].settimeout(0.5)
        with pytest.raises(TimeoutError):
            socks[2].recv(1)
        socks[0].close()
        socks[2].settimeout(15 * PATIENCE)
        assert socks[2].recv(1) == b'x'
        for sock in socks[1:]:
            sock.close()


@pytest.mark.gatepost_only
def test_nothing_is_left(sut):
    """Neither by a program that leaves its group, nor by the end of the mail system."""
    stray = '/bin/sh -c { setsid sleep 300 & echo $!; sleep 1 }'
    with start(sut, line('stray', stray), line('stays', '/bin/sh -c { echo $$; exec sleep 300 }')) as mta:
        sock = connect(mta.dir + '/queue/private/stray')
        left = int(sock.makefile().readline())
        rest(sock)
        until(lambda: not alive(left), 'the stray is gone')
        stays = int(connect(mta.dir + '/queue/private/stays').makefile().readline())
        assert alive(stays)
        mta.stop()
        until(lambda: not alive(stays), 'the last program is gone')


@pytest.mark.gatepost_only
@pytest.mark.parametrize('words, error', [
    ('argv=/bin/cat', 'missing user= attribute'),
    ('user=nobody', 'missing argv= attribute'),
    ('user=root argv=/bin/cat', 'request to deliver as root'),
    ('user=nosuchuser argv=/bin/cat', 'unknown user name: nosuchuser'),
    ('user=nobody flags=R argv=/bin/cat', 'unknown attribute name: flags=R'),
    ('user=nobody argv=/nonexistent', 'argv=: there is no program /nonexistent'),
])
def test_bad_line(sut, words, error):
    mta = sut(master=f'bad unix - n n - 0 spawn {words}\n')
    try:
        done = mta.run('check')
        assert done.returncode and re.search(f'fatal: .*line \\d+: {re.escape(error)}', done.stderr), done.stderr
        assert mta.run('start').returncode
        assert error in mta.log_text()
    finally:
        mta.stop()
        mta.__exit__()
