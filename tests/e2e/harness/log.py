"""A mail log as it grows."""
import re
import time
from typing import NamedTuple

from . import PATIENCE

LINE = re.compile(r'(?P<stamp>\w{3} [ \d]\d \d\d:\d\d:\d\d(?:\.\d+)?) (?P<host>\S+) (?P<tag>[^\s\[]+)\[(?P<number>\d+)\]: '
                  r'(?P<text>.*)')


class Line(NamedTuple):
    program: str
    number: int
    text: str
    tag: str
    host: str


class Log:
    def __init__(self, path):
        self.path = path

    def _read(self, offset=0):
        try:
            with open(self.path, 'rb') as file:
                file.seek(offset)
                return file.read()
        except FileNotFoundError:
            return b''

    def mark(self):
        """A place to look from, later."""
        return len(self._read())

    def lines(self, since=0):
        """Whole lines that have the log's shape."""
        data = self._read(since)
        found = []
        for raw in data[:data.rfind(b'\n') + 1].splitlines():
            match = LINE.fullmatch(raw.decode('utf-8', 'replace'))
            if match:
                found.append(Line(match['tag'].rpartition('/')[2], int(match['number']), match['text'], match['tag'],
                                  match['host']))
        return found

    def texts(self, since=0, program=None):
        return [line.text for line in self.lines(since) if program in (None, line.program)]

    def find(self, pattern, since=0, program=None):
        """The first line whose whole text matches pattern; a match object, or None."""
        for line in self.lines(since):
            match = re.fullmatch(pattern, line.text) if program in (None, line.program) else None
            if match:
                return match
        return None

    def wait(self, pattern, since=0, program=None, timeout=10):
        """Waits for a line whose whole text matches pattern."""
        end = time.monotonic() + timeout * PATIENCE
        while True:
            match = self.find(pattern, since, program)
            if match:
                return match
            if time.monotonic() > end:
                shown = '\n'.join(f'{line.program}[{line.number}]: {line.text}' for line in self.lines(since))
                raise AssertionError(f'no log line {pattern!r} among:\n{shown}')
            time.sleep(0.01)

    def wait_text(self, text, since=0, program=None, timeout=10):
        return self.wait(re.escape(text), since, program, timeout)
