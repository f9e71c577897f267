"""The processes of an instance: who they are, and killing them."""
import os
import signal
import time
from typing import NamedTuple

from harness.peer import until


class Process(NamedTuple):
    pid: int
    # "master", "qmgr", "virtual" (its children, too), the harness's name of an smtpd or filter; "runner" and "program": what
    # starts command inspectors, and these
    service: str
    age: float    # seconds


def _children(pid):
    try:
        with open(f'/proc/{pid}/task/{pid}/children') as file:
            return [int(word) for word in file.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _stat(pid):
    """Fields of stat from the third on; the state is the first of them. None: gone."""
    try:
        with open(f'/proc/{pid}/stat') as file:
            return file.read().rpartition(') ')[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def gone(pid):
    stat = _stat(pid)
    return not stat or stat[0] in 'ZX'


def _age(stat):
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(stat[19]) / os.sysconf('SC_CLK_TCK')


def _process(mta, pid, parent):
    stat = _stat(pid)
    if not stat or stat[0] in 'ZX':
        return None
    if parent and parent.service in ('runner', 'program'):
        return Process(pid, 'program', _age(stat))
    with open(f'/proc/{pid}/comm') as file:
        if file.read() == 'runner\n':
            return Process(pid, 'runner', _age(stat))
    with open(f'/proc/{pid}/cmdline') as file:
        words = file.read().split('\0')
    if parent and '--service' not in words:
        return None  # just forked: the master's own arguments still
    name = next((word.partition('=')[2] for word in words if word.startswith('name=')), None)
    ports = {f'127.0.0.1:{mta.port(service)}': service for service in mta.names}
    return Process(pid, ports.get(name, name) if parent else 'master', _age(stat))


def processes(mta, master=None):
    """The master and all below it, in that order."""
    found, todo = [], [(master or mta.master_pid(), None)]
    for pid, parent in todo:
        try:
            process = _process(mta, pid, parent)
        except (FileNotFoundError, ProcessLookupError):
            continue
        if process:
            found.append(process)
            todo += ((child, process) for child in _children(pid))
    return found


def kill(mta, pids):
    for pid in pids:
        mta.kill(signal.SIGKILL, pid)
    until(lambda: all(gone(pid) for pid in pids), 'all killed')


def kill_all(mta):
    kill(mta, [process.pid for process in processes(mta)])
