"""A network and a file system view of their own: port 25 may be used, and /etc may be written. Needs root."""
import contextlib
import ctypes
import os
import shutil
import subprocess
import tempfile

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)

SCRIPT = """
set -e
ip link set lo up
mount --make-rprivate /
mkdir -p {dir}/etc
mount -t tmpfs -o mode=755 tmpfs {dir}/etc
cp -a /etc/. {dir}/etc/
mount --bind {dir}/etc /etc
{more}
echo ready
exec sleep 3600
"""


class Namespace:
    def __init__(self, more=''):
        self.more = more

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix='gp-', dir='/tmp')
        os.chmod(self.dir, 0o755)
        self.holder = subprocess.Popen(['unshare', '--net', '--mount', 'sh', '-c', SCRIPT.format(dir=self.dir, more=self.more)],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert self.holder.stdout.readline() == 'ready\n', 'no namespace'
        self.prefix = ('nsenter', '-t', str(self.holder.pid), '-n', '-m')
        return self

    def __exit__(self, *_):
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    @contextlib.contextmanager
    def inside(self):
        """Sockets that this thread makes meanwhile are in the namespace, for good."""
        with open('/proc/self/ns/net') as outer, open(f'/proc/{self.holder.pid}/ns/net') as inner:
            self._enter(inner)
            try:
                yield
            finally:
                self._enter(outer)

    @staticmethod
    def _enter(file):
        if LIBC.setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), 'setns')
