"""Peers of the system under test: a scripted filter that records every octet, and a faithful pass-through filter."""
import contextlib
import os
import re
import socket
import threading
import time

from . import PATIENCE


class _Word:
    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return self.name


CLOSE = _Word('CLOSE')  # hang up instead of answering
RESET = _Word('RESET')  # the same with a TCP reset
HANG = _Word('HANG')    # read on, but never answer again
DEAF = _Word('DEAF')    # neither answer nor read any more


def serve_each(listener, serve):
    """Calls serve(socket) in a thread of its own for each connection, until the listener is closed."""
    def accept():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


class _Server:
    def __init__(self, address, backlog=128):
        if isinstance(address, str):
            if os.path.exists(address):
                os.unlink(address)
            self.listener = socket.socket(socket.AF_UNIX)
        else:
            self.listener = socket.socket(socket.AF_INET6 if ':' in address[0] else socket.AF_INET)
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(address)
        if isinstance(address, str):
            os.chmod(address, 0o666)
        self.listener.listen(backlog)
        self.connections = []
        self._changed = threading.Condition()
        self._closing = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            if self._closing:
                sock.close()
                return
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = self._connection(sock)
            with self._changed:
                self.connections.append(connection)
                self._changed.notify_all()
            threading.Thread(target=self._run, args=(connection,), daemon=True).start()

    def _run(self, connection):
        try:
            connection.serve()
        except (OSError, ValueError):  # ValueError: closed under a read
            pass
        finally:
            with self._changed:
                connection.done = True
                self._changed.notify_all()

    def wait(self, count=1, timeout=15):
        """Waits until that many connections have ended; returns the last of them."""
        with self._changed:
            ended = self._changed.wait_for(lambda: sum(c.done for c in self.connections) >= count, timeout * PATIENCE)
        assert ended, f'{count} connections wanted, {self.connections}'
        return self.connections[count - 1]

    def wait_open(self, count=1, timeout=15):
        """Waits until that many connections were made; returns the last of them."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.connections) >= count, timeout * PATIENCE), 'no connection came'
        return self.connections[count - 1]

    def close(self):
        self._closing = True
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        for connection in list(self.connections):
            connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Connection:
    """One connection to a Sink. raw: all octets received. commands: the lines outside content, without CRLF.
    messages: the contents, with CRLF, dots stuffed, without the final dot line; an unended one is in partial."""

    def __init__(self, sock, script, lock):
        self.sock, self.script, self.lock = sock, script, lock
        self.file = sock.makefile('rb')
        self._raw = bytearray()
        self.commands = []
        self.messages = []
        self._partial = bytearray()
        self.in_content = False
        self.mute = False
        self.done = False

    def __repr__(self):
        return f'<connection {"done" if self.done else "open"} {self.raw!r}>'

    @property
    def raw(self):
        return bytes(self._raw)

    @property
    def partial(self):
        return bytes(self._partial)

    @property
    def verbs(self):
        return [re.split(rb'[ :]', line)[0].upper().decode('latin-1') for line in self.commands]

    def command(self, verb):
        """The commands that begin with this, in any letter case, as text."""
        return [line.decode('utf-8', 'surrogateescape') for line in self.commands if line.upper().startswith(verb.upper().encode())]

    @property
    def content(self):
        assert len(self.messages) == 1, self.messages
        return self.messages[0]

    def _answer_for(self, line):
        verb = re.split(rb'[ :]', line)[0].upper().decode('latin-1')
        for key in (line.decode('latin-1'), verb):
            if key in self.script:
                return self._next(key)
        return {'EHLO': '250-filter.test\n250 XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT', 'DATA': '354 go on',
                'QUIT': '221 bye'}.get(verb, '250 2.0.0 fine')

    def _next(self, key):
        """A list's entries are used up over all connections; the last one stays."""
        answer = self.script[key]
        with self.lock:
            if isinstance(answer, list):
                answer = answer.pop(0) if len(answer) > 1 else answer[0]
        return answer

    def say(self, answer):
        """False: the connection ends."""
        if callable(answer):
            answer = answer(self)
        if answer is CLOSE or answer is RESET:
            if answer is RESET:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
                self.sock.close()
                self.file.close()
            else:
                self.close()
            return False
        if answer is HANG:
            self.mute = True
        if self.mute or answer is None:
            return True
        if answer is DEAF:
            self.stopped = threading.Event()
            self.stopped.wait(60)
            return False
        if isinstance(answer, str):
            answer = '\r\n'.join(answer.split('\n')).encode() + b'\r\n'
        self.sock.sendall(answer)
        return True

    def serve(self):
        if not self.say(self._next('connect') if 'connect' in self.script else '220 filter.test ESMTP'):
            return
        while True:
            line = self.file.readline(1 << 20)
            self._raw += line
            if not line:
                return
            if self.in_content:
                if line == b'.\r\n':
                    self.in_content = False
                    self.messages.append(self.partial)
                    self._partial.clear()
                    if not self.say(self._next('.') if '.' in self.script else '250 2.0.0 filter took it'):
                        return
                else:
                    self._partial += line
                    if 'content' in self.script and not self.say(self._next('content')):
                        return
                continue
            command = line.rstrip(b'\r\n')
            self.commands.append(command)
            answer = self._answer_for(command)
            if callable(answer):
                answer = answer(self)
            if command.strip().upper() == b'DATA' and isinstance(answer, str) and answer.startswith('354'):
                self.in_content = True
            if not self.say(answer):
                return

    def close(self):
        if hasattr(self, 'stopped'):
            self.stopped.set()
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()
        self.file.close()  # it holds the descriptor, too


class Sink(_Server):
    """An SMTP server that does what its script says. The script maps 'connect', a verb, a whole line, 'content' (every line of
    it) or '.' to an answer: text (CRLF added, lines at newlines), octets, CLOSE, RESET, HANG, DEAF, None (nothing), a function
    of the connection, or a list of those, one after the other. What is not in it is accepted."""

    def __init__(self, address, script=None):
        self.script = script or {}
        self._lock = threading.Lock()
        super().__init__(address)

    def _connection(self, sock):
        return Connection(sock, self.script, self._lock)


class RelayConnection:
    """front, back: the octets that went in each direction over the filter's front connection (what the before-filter server
    sent and got). A relay makes no octet itself but its verdict."""

    def __init__(self, sock, nexthop, verdict, enter):
        self.sock, self.nexthop, self.verdict, self.enter = sock, nexthop, verdict, enter
        self.front = b''
        self.back = b''
        self.done = False
        self.up = None

    def _reply(self, upstream):
        reply = b''
        while True:
            line = upstream.readline(65536)
            reply += line
            if line[3:4] != b'-':
                return reply

    def _answer(self, data):
        self.back += data
        self.sock.sendall(data)

    def serve(self):
        with self.enter():
            self.up = socket.create_connection(self.nexthop, timeout=30)
        self.up.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        upstream, client = self.up.makefile('rb'), self.sock.makefile('rb')
        try:
            self._answer(self._reply(upstream))
            while line := client.readline(65536):
                self.front += line
                self.up.sendall(line)
                reply = self._reply(upstream)
                self._answer(reply)
                if line.upper().startswith(b'DATA') and reply.startswith(b'354'):
                    if not self._content(client, upstream):
                        return
                if line.upper().startswith(b'QUIT'):
                    return
        finally:
            self.close()

    def _content(self, client, upstream):
        content = b''
        while True:
            line = client.readline(1 << 20)
            self.front += line
            if not line:
                return False
            if line == b'.\r\n':
                break
            content += line
        no = self.verdict(content) if self.verdict else None
        if no:
            self.up.close()
            self._answer(no.encode() + b'\r\n')
            return False
        self.up.sendall(content + b'.\r\n')
        self._answer(self._reply(upstream))
        return True

    def close(self):
        for sock in (self.sock, self.up):
            if sock:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                sock.close()


class Relay(_Server):
    """A filter that passes everything on to nexthop and back. verdict(content) may return a reply instead."""

    enter = staticmethod(contextlib.nullcontext)  # where the connection to nexthop is made: a namespace's inside()

    def __init__(self, address, nexthop, verdict=None):
        self.nexthop, self.verdict = nexthop, verdict
        super().__init__(address)

    def _connection(self, sock):
        return RelayConnection(sock, self.nexthop, self.verdict, self.enter)


def until(condition, what='condition', timeout=10):
    """Polls; the value once it is true."""
    end = time.monotonic() + timeout * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f'not in time: {what}'
        time.sleep(0.01)
