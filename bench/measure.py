"""What a measurement reads: processor time and memory of a tree of processes, and what the kernel holds for them."""
import os
import socket
import time

TICKS = os.sysconf('SC_CLK_TCK')


def _stat(pid):
    """Fields of /proc/PID/stat from the state on (field 3 is index 0), or None."""
    try:
        with open(f'/proc/{pid}/stat') as f:
            return f.read().rpartition(')')[2].split()
    except OSError:
        return None


def tree(root):
    """The pids of root and everything below it."""
    children = {}
    for entry in os.listdir('/proc'):
        if entry.isdigit():
            stat = _stat(entry)
            if stat:
                children.setdefault(int(stat[1]), []).append(int(entry))
    pids, more = [], [root]
    while more:
        pid = more.pop()
        pids.append(pid)
        more += children.get(pid, [])
    return pids


def cpu_seconds(root):
    """Processor time of the tree, user and system, with that of children that ended and were waited for."""
    ticks = 0
    for pid in tree(root):
        stat = _stat(pid)
        if stat:
            ticks += sum(int(field) for field in stat[11:15])
    return ticks / TICKS


def pss_kb(root):
    """Proportional set size of the tree: shared pages are divided by how many share them."""
    total = 0
    for pid in tree(root):
        try:
            with open(f'/proc/{pid}/smaps_rollup') as f:
                total += sum(int(line.split()[1]) for line in f if line.startswith('Pss:'))
        except OSError:
            pass
    return total


def kernel_kb():
    """What the kernel holds for all processes together: slabs, stacks, page tables, socket buffers' pages."""
    total = 0
    with open('/proc/meminfo') as f:
        for line in f:
            name, value = line.split()[:2]
            if name in ('SUnreclaim:', 'KernelStack:', 'PageTables:'):
                total += int(value)
    return total


def settled(read, tolerance):
    """A value once two readings half a second apart agree; the last one after five seconds."""
    last = read()
    for _ in range(10):
        time.sleep(0.5)
        value = read()
        if abs(value - last) <= tolerance:
            return value
        last = value
    return last


class IdleSessions:
    """Connections that have greeted and now say nothing."""

    def __init__(self):
        self.sockets = []

    def open(self, host, port, count):
        for _ in range(count):
            connection = socket.create_connection((host, port), timeout=30)
            self.sockets.append(connection)
            self._read_reply(connection)
            self.greet(connection)

    def greet(self, connection):
        self.ask(connection, b'EHLO client.example.test\r\n')

    def ask(self, connection, command):
        connection.sendall(command)
        self._read_reply(connection)

    @staticmethod
    def _read_reply(connection):
        data = b''
        while not data.endswith(b'\n') or data.rstrip(b'\r\n').rpartition(b'\n')[2][3:4] == b'-':
            more = connection.recv(4096)
            if not more:
                raise RuntimeError('the server closed an idle session')
            data += more

    def close(self):
        for connection in self.sockets:
            connection.close()
        self.sockets = []


def kernel_kb_of_client_side(count):
    """What the kernel holds for one end of a connection here: half of what a pair costs, both ends ours and idle."""
    listener = socket.create_server(('127.0.0.1', 0), backlog=128)
    pairs = []
    before = settled(kernel_kb, 200)
    try:
        for _ in range(count):
            pairs.append(socket.create_connection(listener.getsockname()))
            pairs.append(listener.accept()[0])
        return max(0, settled(kernel_kb, 200) - before) / (2 * count)
    finally:
        for connection in pairs:
            connection.close()
        listener.close()
