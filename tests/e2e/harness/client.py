"""A client that sends exactly what it is told and shows exactly what comes back."""
import re
import socket
import time

from . import PATIENCE


class Reply(str):
    """A reply's lines joined by newlines, without CRLF."""

    @property
    def code(self):
        return int(self[:3])

    @property
    def lines(self):
        return self.split('\n')


class Closed(Exception):
    """The server closed the connection where a reply was awaited."""


def matches(reply, wanted):
    """wanted: None (anything), a number (the code), '~REGEX' (whole text), a list (of lines), or the exact text."""
    if wanted is None:
        return True
    if isinstance(wanted, int):
        return reply[:3] == str(wanted)
    if isinstance(wanted, (list, tuple)):
        return reply.split('\n') == list(wanted)
    if wanted.startswith('~'):
        return re.fullmatch(wanted[1:], reply, re.S) is not None
    return reply == wanted


def dot_stuff(content):
    """Content with CRLF line ends, as it goes over the wire, with the final dot."""
    if isinstance(content, str):
        content = content.encode()
    content = content.replace(b'\r\n', b'\n').replace(b'\n', b'\r\n')
    if content and not content.endswith(b'\r\n'):
        content += b'\r\n'
    return re.sub(rb'^\.', b'..', content, flags=re.M) + b'.\r\n'


class Client:
    def __init__(self, address, source=None, timeout=15):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET6 if ':' in address[0] else socket.AF_INET
        self.sock = socket.socket(family)
        self.timeout = timeout * PATIENCE
        self.sock.settimeout(self.timeout)
        if source:
            self.sock.bind((source, 0))
        self.sock.connect(address)
        if family != socket.AF_UNIX:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.port = self.sock.getsockname()[1]
        self.buffer = b''

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def reset(self):
        """Closes with a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
        self.sock.close()

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def send(self, data):
        """Octets as they are; text gets CRLF."""
        self.sock.sendall(data if isinstance(data, bytes) else data.encode() + b'\r\n')

    def send_slowly(self, data, pause=0.01):
        for i in range(len(data)):
            self.sock.sendall(data[i:i + 1])
            time.sleep(pause)

    def line(self):
        while b'\n' not in self.buffer:
            data = self.sock.recv(65536)
            if not data:
                raise Closed(self.buffer)
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b'\n')
        assert line.endswith(b'\r'), f'reply line without CRLF: {line!r}'
        return line[:-1].decode('utf-8', 'surrogateescape')

    def reply(self):
        lines = []
        while True:
            lines.append(self.line())
            assert re.match(r'\d\d\d([ -]|$)', lines[-1]), f'not a reply line: {lines[-1]!r}'
            if lines[-1][3:4] != '-':
                return Reply('\n'.join(lines))

    def expect(self, wanted):
        reply = self.reply()
        assert matches(reply, wanted), f'wanted {wanted!r}, got {str(reply)!r}'
        return reply

    def cmd(self, line, wanted=None):
        self.send(line)
        reply = self.reply()
        assert matches(reply, wanted), f'{line!r}: wanted {wanted!r}, got {str(reply)!r}'
        return reply

    def talk(self, *steps):
        """(line, wanted reply) pairs, one after the other. The last reply."""
        reply = None
        for line, wanted in steps:
            reply = self.cmd(line, wanted)
        return reply

    def envelope(self, sender='a@b.example', *recipients):
        self.cmd(f'MAIL FROM:<{sender}>', '250 2.1.0 Ok')
        for recipient in recipients or ('alice@virt.test',):
            self.cmd(f'RCPT TO:<{recipient}>', '250 2.1.5 Ok')

    def content(self, content='Subject: x\n\nbody\n', wanted=None):
        """DATA, then content (LF or CRLF ends; dots are stuffed here)."""
        self.cmd('DATA', '354 End data with <CR><LF>.<CR><LF>')
        self.sock.sendall(dot_stuff(content))
        return self.expect(wanted)

    def raw_content(self, octets, wanted=None):
        self.cmd('DATA', '354 End data with <CR><LF>.<CR><LF>')
        self.sock.sendall(octets)
        return self.expect(wanted)

    def message(self, content='Subject: x\n\nbody\n', sender='a@b.example', to=('alice@virt.test',), wanted=None):
        """One whole transaction."""
        self.envelope(sender, *([to] if isinstance(to, str) else to))
        return self.content(content, wanted)

    def quit(self):
        self.cmd('QUIT', '221 2.0.0 Bye')
        self.expect_close()

    def expect_close(self):
        """No reply any more, just the end (a reset counts: the server may have left input unread)."""
        try:
            rest = self.buffer + self.sock.recv(65536)
        except ConnectionResetError:
            rest = self.buffer
        assert rest == b'', f'wanted the end, got {rest!r}'

    def expect_silence(self, seconds):
        """Nothing comes for a while."""
        assert self.buffer == b'', f'wanted silence, got {self.buffer!r}'
        self.sock.settimeout(seconds)
        try:
            data = self.sock.recv(65536)
        except TimeoutError:
            return
        finally:
            self.sock.settimeout(self.timeout)
        raise AssertionError(f'wanted silence, got {data!r}')

    def rest(self):
        """All that comes until the server closes."""
        data = self.buffer
        try:
            while chunk := self.sock.recv(65536):
                data += chunk
        except ConnectionResetError:
            pass
        return data
