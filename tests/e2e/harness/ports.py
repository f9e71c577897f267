"""Loopback ports for one test process: a block of its own, below the kernel's ephemeral ports, held by a lock file."""
import fcntl
import itertools
import os
import socket

BLOCK = 200
BLOCKS = range(20000, 32000, BLOCK)


class Ports:
    def __init__(self):
        for base in BLOCKS:
            self._lock = self._open(f'/tmp/gatepost-test-ports-{base}')
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(self._lock)
                continue
            self._cycle = itertools.cycle(range(base, base + BLOCK))
            return
        raise RuntimeError('no free block of ports')

    @staticmethod
    def _open(path):
        """Whoever made the file: the next user may not write it, but reading is enough for a lock."""
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def take(self):
        for _ in range(BLOCK):
            port = next(self._cycle)
            with socket.socket() as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    sock.bind(('0.0.0.0', port))
                except OSError:
                    continue
                return port
        raise RuntimeError('no free port in this block')
