"""Service processes as they run: without privileges, and fenced in. What each role cannot do is tried by protection_test."""
import errno
import os
import re
import subprocess

import pytest

from harness.instance import sanitized
from harness.peer import until

pytestmark = pytest.mark.gatepost_only

ROLES = ['smtpd', 'filter', 'spawn', 'qmgr', 'smtp', 'error', 'discard', 'virtual']
SERVICES = {'front': '-o smtpd_proxy_filter=127.0.0.1:{middle}', 'middle': 'filter -o filter_nexthop=127.0.0.1:{after}', 'after': ''}
SPAWN = 'run unix - n n - 0 spawn user=nobody argv=/bin/cat\n'

# Whoever is asked for a connection makes a call that no service needs. The kernel's Landlock is what the environment says: a version,
# or below zero what its calls fail with.
LIBRARY = r'''
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/personality.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
long syscall(long number, ...)
{
    long (*real)(long number, ...) = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    int landlock = atoi(getenv("LANDLOCK") ? getenv("LANDLOCK") : "0");
    long words[6];
    va_list args;
    va_start(args, number);
    for (int i = 0; i < 6; i++)
        words[i] = va_arg(args, long);
    va_end(args);
    if (number >= 444 && number <= 446 && landlock < 0) {
        errno = -landlock;
        return -1;
    }
    if (number == 444 && words[2] == 1 && landlock > 0)
        return landlock;
    return real(number, words[0], words[1], words[2], words[3], words[4], words[5]);
}
int accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
    syscall(SYS_personality, 0xffffffff);
    return (int)syscall(SYS_accept4, fd, address, len, flags);
}
'''


def processes(mta):
    """Of all service processes: (name, fields of /proc/PID/status, limits)."""
    found, pids = [], [mta.master_pid()]
    while pids:
        pid = pids.pop()
        try:
            with open(f'/proc/{pid}/task/{pid}/children') as file:
                pids += [int(word) for word in file.read().split()]
            with open(f'/proc/{pid}/status') as file:
                fields = dict(line.rstrip('\n').split(':\t', 1) for line in file if ':\t' in line)
            with open(f'/proc/{pid}/limits') as file:
                limits = file.read()
        except FileNotFoundError:
            continue
        found.append((fields['Name'], fields, limits))
    return found


def deliver(mta, name='after'):
    with mta.session(name) as client:
        client.cmd('MAIL FROM:<a@b.example>', 250)
        client.cmd('RCPT TO:<alice@virt.test>', 250)
        client.cmd('DATA', 354)
        client.send(b'Subject: x\r\n\r\nb\r\n.\r\n')
        client.expect(250)
    until(lambda: mta.maildir('alice').messages(), 'delivered')


@pytest.mark.parametrize('mode', ['allow-list', 'off'])
def test_services_have_no_privileges(gatepost, mode):
    if os.geteuid() != 0:
        pytest.skip('only root has privileges to give up')
    with gatepost(main=f'service_sandbox = {mode}', services=SERVICES, master=SPAWN) as mta:
        deliver(mta, 'front')
        seen = set()
        for name, fields, limits in processes(mta):
            stays_root = fields['Uid'].split()[0] == '0'
            if name in ROLES and not (name == 'virtual' and stays_root):
                seen.add(name)
                assert not stays_root and len(set(fields['Uid'].split())) == 1, (name, fields['Uid'])
                for which in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'):
                    assert int(fields[which], 16) == 0, (name, which, fields[which])
                assert re.search(r'Max core file size +0 +0 ', limits), (name, limits)
                assert fields['NoNewPrivs'] == '1', name
                assert fields['Seccomp'] == ('0' if mode == 'off' else '2'), (name, fields['Seccomp'])
        assert seen == set(ROLES), seen


@pytest.fixture(scope='module')
def library(tmp_path_factory):
    source = tmp_path_factory.mktemp('sandbox') / 'call.c'
    source.write_text(LIBRARY)
    made = f'{source}.so'
    subprocess.run(['cc', '-D_GNU_SOURCE', '-shared', '-fPIC', '-o', made, source], check=True)
    for directory in (source.parent, source.parent.parent, source.parent.parent.parent):
        os.chmod(directory, 0o755)
    return made


@pytest.mark.parametrize('mode', ['allow-list', 'deny-list'])
def test_a_call_that_is_not_foreseen(gatepost, library, mode):
    mta = gatepost(main=f'service_sandbox = {mode}', services={'in': ''}, base='')
    if sanitized(mta.program):
        mta.__exit__()
        pytest.skip('the sanitizers make calls of their own')
    mta.prefix = ('env', f'LD_PRELOAD={library}')
    with mta, mta.connect('in') as client:
        if mode == 'deny-list':  # it fails, and nothing else
            client.expect(220)
        else:
            mta.log.wait(r'warning: process \S*/smtpd pid \d+ killed by signal 31: system call not allowed: personality '
                         r'\(service_sandbox\)', program='master')


def test_check_tells_what_protects(gatepost):
    mta = gatepost(services={'in': '', 'open': '-o service_sandbox=off'})
    try:
        done = mta.run('check')
        lines = done.stdout.splitlines()
        assert done.returncode == 0 and len(lines) == 2, done.stdout
        assert lines[0].startswith('protection of qmgr smtp ') and 'seccomp allow-list' in lines[0], lines
        assert f'protection of 127.0.0.1:{mta.port("open")}: user ' in lines[1] and 'no seccomp, no Landlock' in lines[1], lines
    finally:
        mta.__exit__()


@pytest.mark.parametrize('version, warning, told', [
    (-errno.ENOSYS, 'this kernel has no Landlock', 'no Landlock'), (-errno.EOPNOTSUPP, 'this kernel has no Landlock', 'no Landlock'),
    (2, "this kernel's Landlock (2) cannot forbid: truncating files, TCP ports", 'Landlock 2 (files)')])
def test_kernels_with_less(gatepost, library, version, warning, told):
    mta = gatepost(main='service_sandbox = deny-list', services={'in': ''}, base='')
    if sanitized(mta.program):
        mta.__exit__()
        pytest.skip('the sanitizers are not fenced in')
    mta.prefix = ('env', f'LD_PRELOAD={library}', f'LANDLOCK={version}')
    try:
        check, start = mta.run('check'), mta.try_start()
        assert check.returncode == 0 and f', {told}\n' in check.stdout, check.stdout
        for done in (check, start):
            assert f'warning: service_sandbox: {warning}' in done.stderr, done.stderr
        with mta.connect('in') as client:
            client.expect(220)
    finally:
        mta.__exit__()
