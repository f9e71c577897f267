"""Mail that is refused at RCPT, for an unknown recipient or by a DNS list, and sessions that wait for such a list. Names are asked of a server of
our own, which resolv.conf names in a namespace of ours."""
import os
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, os.path.join(HERE, '../tests/e2e'))
from harness.dns import Dns  # noqa: E402

# What RCPT gets, and for which recipient.
REPLIES = {'unknown': (550, 'nobody@relay.test'), 'listed': (554, 'known@relay.test')}
WAITING = 500  # sessions, each of an address of its own: 127.0.2.1 and so on
LIST_TAKES = 5  # seconds
SERVED = 5000  # sessions of the clients beside them
ZONE = f"""\
1.0.0.127.bl.test A 127.0.0.2
1.0.0.127.bl.test TXT listed
*.2.0.127.slow.test after={LIST_TAKES} NXDOMAIN
*.3.0.127.slow.test after={LIST_TAKES} NXDOMAIN
*.slow.test NXDOMAIN
"""
ENTERED = 'GATEPOST_BENCH_ENTERED'
_program = None
_dns = None


def enter_namespace():
    """Begins anew in a network and a file system view of our own. Not without root, and then there is no DNS."""
    if os.getuid() == 0 and ENTERED not in os.environ:
        os.execvpe('unshare', ['unshare', '--net', '--mount', sys.executable, *sys.argv], os.environ | {ENTERED: 'yes'})


def prepare(top):
    """Compiles the client, starts the DNS server; both stay until the end."""
    global _program, _dns
    _program = os.path.join(top, 'recipients')
    subprocess.run(['cc', '-O2', '-o', _program, os.path.join(HERE, 'recipients.c'), '-lpthread'], check=True)
    if ENTERED not in os.environ:
        return
    subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)
    subprocess.run(['mount', '--make-rprivate', '/'], check=True)
    path = os.path.join(top, 'resolv.conf')
    with open(path, 'w') as file:
        file.write('nameserver 127.0.0.1\n')
    subprocess.run(['mount', '--bind', path, '/etc/resolv.conf'], check=True)
    _dns = Dns(('127.0.0.1', 53), ZONE)
    _dns.__enter__()


def _ask(port, recipient, code, sessions, clients):
    done = subprocess.run([_program, str(port), recipient, str(code), str(sessions), str(clients)], capture_output=True, text=True,
                          timeout=120, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return [float(word) for word in done.stdout.split()]


def ask(port, stage, sessions, clients):
    code, recipient = REPLIES[stage]
    _ask(port, recipient, code, sessions, clients)


def _wait_in_line(port):
    """Sessions that are at RCPT, whose reply comes when the list has answered."""
    found = []
    for number in range(WAITING):
        session = socket.create_connection(('127.0.0.1', port), timeout=60, source_address=(f'127.0.{2 + number // 250}.{1 + number % 250}', 0))
        found.append(session)
    for command in (b'EHLO client.test\r\n', b'MAIL FROM:<a@client.test>\r\n', None):
        for session in found:
            session.recv(4096)
            if command:
                session.sendall(command)
    for session in found:
        session.sendall(b'RCPT TO:<known@relay.test>\r\n')
    return found


def _await_questions(before):
    """Until the list has been asked about every session that waits: what asking costs is no part of what waiting costs."""
    deadline = time.monotonic() + LIST_TAKES / 2
    while len({name for name, _ in _dns.questions[before:] if name.endswith('.0.127.slow.test')}) < WAITING:
        if time.monotonic() > deadline:
            raise RuntimeError('the list has not been asked about all sessions')
        time.sleep(0.01)


def beside_waiting(port):
    """99th percentiles of the time that RCPT takes, in milliseconds: of 50 clients alone, and beside 500 that wait for a list."""
    recipient = REPLIES['listed'][1]
    _ask(port, recipient, 250, 200, 50)
    idle = _ask(port, recipient, 250, SERVED, 50)[1]
    before = len(_dns.questions)
    waiting = _wait_in_line(port)
    since = time.monotonic()
    _await_questions(before)
    busy = _ask(port, recipient, 250, SERVED, 50)[1]
    if time.monotonic() - since > LIST_TAKES:
        raise RuntimeError('the clients took longer than the list')
    for session in waiting:
        if not session.recv(4096).startswith(b'250'):
            raise RuntimeError('a session that waited for the list was refused')
        session.close()
    return idle, busy
