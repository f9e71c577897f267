"""nexthop.py PORT: a next hop in a process of its own, so that what it says can be recorded in one order with what others do.
It takes every message, and calls it by its subject: "queued as NEXTHOP<subject>"."""
import os
import re
import signal
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + '/../e2e')
from harness.peer import Sink  # noqa: E402


def subject(content):
    return int(re.search(rb'^Subject: (\d+)\r$', content, re.MULTILINE)[1])


if __name__ == '__main__':
    with Sink(('127.0.0.1', int(sys.argv[1])), {'.': lambda talk: f'250 2.0.0 Ok: queued as NEXTHOP{subject(talk.messages[-1])}'}):
        signal.sigwait([signal.SIGTERM])
