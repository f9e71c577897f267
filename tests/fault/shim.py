"""The library that stands between programs under test and the system (shim.c): records their calls, makes calls fail."""
import errno
import mmap
import os
import shutil
import struct
import subprocess
import tempfile
from typing import NamedTuple

HERE = os.path.dirname(os.path.abspath(__file__))
HEADER = struct.Struct('iIIIII256s64sQQ')
CALLS = 12  # where the header says which calls fail; with what, how often, and below which path come next
RECORD = struct.Struct('IIQQQqIIII')
KINDS = [None, 'create', 'mkdir', 'write', 'truncate', 'sync', 'rename', 'link', 'unlink', 'mark']
WRITE, SYNC, CREATE, SYNC_FILE = 1, 2, 4, 8  # calls that may fail; SYNC_FILE: directories can still be synced


class Call(NamedTuple):
    """One recorded call. Files and directories are named by inode; an inode's number may come again after its end."""
    kind: str
    inode: int       # of the file; 0 where there is none
    directory: int   # that name lies in
    name: str
    directory2: int  # rename: where it went
    name2: str
    offset: int      # write: where; truncate: the new size
    data: bytes      # write: octets; mark: what was sent
    pid: int


class Shim:
    """with Shim() as shim: a prefix of words that puts programs (and all that they start) behind it, then .record(), .fail()."""

    def __init__(self, size=64 << 20):
        self.dir = tempfile.mkdtemp(prefix='gp-shim-', dir='/tmp')
        os.chmod(self.dir, 0o755)
        self.library = self.dir + '/shim.so'
        subprocess.run(['cc', '-Wall', '-Wextra', '-Werror', '-O1', '-shared', '-fPIC', '-o', self.library, HERE + '/shim.c', '-ldl'],
                       check=True)
        self.path = self.dir + '/shared'
        with open(self.path, 'wb') as file:
            file.truncate(size)
        os.chmod(self.path, 0o666)
        with open(self.path, 'r+b') as file:
            self.map = mmap.mmap(file.fileno(), size)
        self._write(0, 0, 0, '', '', HEADER.size)
        # the sanitizers' own libraries want to be first otherwise
        asan = os.environ.get('ASAN_OPTIONS', '') + ':verify_asan_link_order=0'
        self.prefix = ('env', f'GATEPOST_FAULT_SHIM={self.path}', f'LD_PRELOAD={self.library}', f'ASAN_OPTIONS={asan.strip(":")}')

    def _write(self, recording, calls, error, below, mark, used):
        self.map[:HEADER.size] = HEADER.pack(0, recording, 0, calls, error, 0, below.encode(), mark.encode(), len(self.map), used)

    def record(self, mark=''):
        """From now on. What is sent over sockets is recorded where it holds the mark."""
        self._write(1, 0, 0, '', mark, HEADER.size)

    def calls(self):
        """Ends recording; all calls in their order."""
        header = HEADER.unpack_from(self.map)
        assert not header[2], 'the record was too small'
        used, at, found = header[-1], HEADER.size, []
        self._write(0, 0, 0, '', '', HEADER.size)
        while at < used:
            length, kind, directory, directory2, inode, offset, name, name2, data, pid = RECORD.unpack_from(self.map, at)
            rest = self.map[at + RECORD.size:at + RECORD.size + name + name2 + data]
            found.append(Call(KINDS[kind], inode, directory, rest[:name].decode(), directory2, rest[name:name + name2].decode(), offset,
                              rest[name + name2:], pid))
            at += length
        return found

    def fail(self, calls, below, error=errno.EIO):
        """Makes WRITE, SYNC, CREATE, SYNC_FILE calls fail on files whose path begins with below; 0: none any more. What is
        recorded goes on being recorded; a call that failed is not."""
        struct.pack_into('I', self.map, CALLS, 0)
        struct.pack_into('II256s', self.map, CALLS + 4, error, 0, below.encode())
        struct.pack_into('I', self.map, CALLS, calls)

    @property
    def failed(self):
        """How many calls were made to fail since fail()."""
        return HEADER.unpack_from(self.map)[5]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.map.close()
        shutil.rmtree(self.dir, ignore_errors=True)
