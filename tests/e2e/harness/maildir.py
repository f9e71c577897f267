"""Delivered mail."""
import os

from .peer import until


class Maildir:
    def __init__(self, path):
        self.path = path

    def files(self):
        try:
            return sorted(os.path.join(self.path, 'new', name) for name in os.listdir(os.path.join(self.path, 'new')))
        except FileNotFoundError:
            return []

    def messages(self):
        return [open(name, 'rb').read() for name in self.files()]

    def wait(self, count=1, timeout=15):
        """Waits for that many messages; all of them."""
        until(lambda: len(self.files()) >= count, f'{count} messages in {self.path}', timeout)
        return self.messages()

    def wait_for(self, octets, timeout=15):
        """The message that holds these octets."""
        return until(lambda: next((m for m in self.messages() if octets in m), None), f'{octets!r} in {self.path}', timeout)

    def clear(self):
        for name in self.files():
            os.unlink(name)


def parse(message):
    """(list of (name, value as it stands), body) of a message with LF ends."""
    head, _, body = message.partition(b'\n\n')
    head = head.removesuffix(b'\n')
    headers = []
    for line in head.decode('utf-8', 'surrogateescape').split('\n'):
        if line[:1] in (' ', '\t'):
            headers[-1] = (headers[-1][0], headers[-1][1] + '\n' + line)
        else:
            name, _, value = line.partition(':')
            headers.append((name, value.lstrip()))
    return headers, body
