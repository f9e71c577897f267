"""A scripted policy server."""
import socket

from .peer import CLOSE, HANG, _Server


class _Connection:
    def __init__(self, server, sock):
        self.server = server
        self.sock = sock
        self.done = False
        self.number = len(server.connections)

    def _request(self):
        data = b''
        while not data.endswith(b'\n\n'):
            octet = self.sock.recv(4096)
            if not octet:
                return None
            data += octet
        return dict(line.split('=', 1) for line in data.decode('utf-8', 'surrogateescape').splitlines() if line)

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def serve(self):
        with self.sock:
            while (request := self._request()) is not None:
                self.server.requests.append((self.number, request))
                answer = self.server.answer(request)
                if answer is CLOSE:
                    return
                if answer is HANG:
                    while self.sock.recv(4096):
                        pass
                    return
                last = isinstance(answer, tuple)  # (octets, CLOSE)
                octets = answer[0] if last else answer
                self.sock.sendall(octets if isinstance(octets, bytes) else f'action={octets}\n\n'.encode())
                if last:
                    return


class Policy(_Server):
    """answer(request as a dict) is an action, octets to send, CLOSE or HANG, or (either, CLOSE). requests: pairs of the
    connection's number and the request."""

    def __init__(self, address, answer=lambda request: 'DUNNO'):
        self.requests = []
        self.answer = answer
        super().__init__(address)

    def _connection(self, sock):
        return _Connection(self, sock)
