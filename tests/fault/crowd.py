"""Hundreds of clients at once, each with one message, in one thread."""
import asyncio
import itertools
import re
import time

from harness import PATIENCE
from harness.client import dot_stuff
from harness.peer import until


class Sent:
    """What one client knows of its message."""

    def __init__(self, number):
        self.number = number
        self.dot_at = None    # when its final dot was sent
        self.ended_at = None  # when it had its last answer
        self.code = None      # the last answer's

    def __repr__(self):
        return str(self.__dict__)


async def send(port, sent, content):
    reader, writer = await asyncio.open_connection('127.0.0.1', port)

    async def answer(line=None):
        if line:
            writer.write(line)
        while True:
            text = await reader.readline()
            assert re.match(rb'\d\d\d[ -]', text), f'{sent}: {text!r} to {(line or b"connecting")[:40]!r}'
            if text[3:4] == b' ':
                return int(text[:3])

    try:
        await answer()
        for line in (b'EHLO x\r\n', b'MAIL FROM:<a@b.example>\r\n', b'RCPT TO:<alice@virt.test>\r\n', b'DATA\r\n'):
            sent.code = await answer(line)
            if sent.code not in (250, 354):
                return
        octets = dot_stuff(f'Subject: {sent.number}\n' + content)
        writer.write(octets[:20])
        await asyncio.sleep(0.01 * (sent.number % 7))
        sent.dot_at = time.monotonic()
        sent.code = await answer(octets[20:])
        if sent.code != 421:
            await answer(b'QUIT\r\n')
    finally:
        sent.ended_at = time.monotonic()
        writer.close()


numbers = itertools.count()


def send_all(mta, service, count, seconds, headers=lambda i: '', body='body\n'):
    """So many clients, over some time; each gets its answers. headers: of the i-th of them, besides its Subject."""
    async def later(i, sent):
        await asyncio.sleep(seconds * i / count)
        await send(mta.port(service), sent, f'{headers(i)}\n{body}')

    async def run():
        every = [Sent(next(numbers)) for _ in range(count)]
        await asyncio.wait_for(asyncio.gather(*(later(i, sent) for i, sent in enumerate(every))), 100 * PATIENCE)
        return every

    return asyncio.run(run())


def as_before(mta, service):
    """Every slot is free, and works. There are 20 of them."""
    def round_trip():
        return all(sent.code == 250 for sent in send_all(mta, service, 40, 0))
    until(round_trip, 'all is as before', 20)
