"""Authentication servers that hang, close, or say what they should not: their clients are told to come again in bounded time,
nobody is let in for it, and other clients do not notice."""
import contextlib
import os
import socket
import time

import pytest
from harness import PATIENCE
from harness.client import matches
from harness.peer import serve_each, until

pytestmark = [pytest.mark.gatepost_only, pytest.mark.slow]
GREETING = b'VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\tx\nDONE\n'
LATER = '~454 4.7.0 Temporary authentication failure: .*'
AUTH = 'AUTH PLAIN AGEAYg=='
BOUND = 15 * PATIENCE  # an authentication server has 10 s for an answer


class AuthServer:
    """One that greets, then says to each line of a client what `answer` is; None: hangs up."""

    def __init__(self, path, greeting=GREETING, answer=None, stays=True):
        self.greeting, self.answer, self.stays = greeting, answer, stays
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        os.chmod(path, 0o666)
        self.listener.listen(64)
        serve_each(self.listener, lambda connection: self.serve(connection))  # which a test may exchange

    def serve(self, connection):
        with contextlib.suppress(OSError), connection, connection.makefile('rb') as lines:
            connection.sendall(self.greeting)
            for line in lines:
                if line.startswith((b'AUTH', b'CONT')) and not self.say(connection, line.rstrip(b'\n').split(b'\t')):
                    return

    def say(self, connection, words):
        if self.answer is None:
            return False
        connection.sendall(self.answer.replace(b'ID', words[1]))
        return self.stays


# what it says to AUTH, and what the client hears
ANSWERS = {
    'closes': (None, LATER),
    'hangs': (b'', LATER),
    'garbage': (b'\xff\x00\x01garbage\r\n', LATER),
    'megabytes': (b'x' * 1000000, LATER),
    'lines': (b'NOTHING\tof\tthis\n' * 50000, LATER),
    'half': (b'OK\tID\tuser=a', LATER),
    'stranger': (b'OK\t4711\tuser=a\n', LATER),
    'nobody': (b'OK\tID\n', LATER),
    'empty': (b'OK\tID\tuser=\n', LATER),
    'no_number': (b'OK\t\tuser=a\n', LATER),
    'no_base64': (b'CONT\tID\tx*y\n', LATER),
    'greets': (GREETING, LATER),
    'contrary': (b'FAIL\tID\tuser=a\nOK\tID\tuser=a\n', '535 5.7.8 Error: authentication failed: (reason unavailable)'),
    'good': (b'OK\tID\tuser=a\n', '235 2.7.0 Authentication successful'),
}
GREETINGS = {'mute': b'', 'other_version': GREETING.replace(b'VERSION\t1', b'VERSION\t2'), 'no_version': GREETING.partition(b'\n')[2],
             'no_greeting': b'OK\t1\tuser=a\n' + GREETING, 'no_end': b'VERSION\t1\t1\n' + b'MECH\tPLAIN\n' * 1000}
MAIN = '''
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
'''
CYRUS = '-o smtpd_sasl_type=cyrus -o smtpd_sasl_path='
MUX = {'deaf': b'', 'closing': None, 'babbling': b'\xff\xffOOOOOOOO', 'short': b'\0\2O', 'torn': b'\0\2O'}


@pytest.fixture(scope='module')
def mta(sut):
    services = {name: f'-o smtpd_sasl_path={{dir}}/{name}.sock' for name in ('restarted', 'halfway', *ANSWERS, *GREETINGS)}
    services |= {name: CYRUS + name for name in ('gone', *MUX)}
    mta = sut(MAIN, services=services)
    servers = [AuthServer(f'{mta.dir}/{name}.sock', answer=answer) for name, (answer, _) in ANSWERS.items()]
    servers += [AuthServer(f'{mta.dir}/{name}.sock', greeting, b'OK\tID\tuser=a\n') for name, greeting in GREETINGS.items()]
    servers.append(AuthServer(f'{mta.dir}/halfway.sock', answer=b'OK\tID\tuser=a', stays=False))
    os.mkdir(f'{mta.dir}/conf/sasl')
    os.chmod(f'{mta.dir}/conf/sasl', 0o755)
    for name in ('gone', *MUX):
        with open(f'{mta.dir}/conf/sasl/{name}.conf', 'w') as file:
            file.write(f'pwcheck_method: saslauthd\nsaslauthd_path: {mta.dir}/{name}.mux\nmech_list: PLAIN LOGIN\n')
    for name, answer in MUX.items():
        servers.append(Mux(f'{mta.dir}/{name}.mux', answer, name != 'torn'))
    with mta:
        yield mta
    for server in servers:
        server.listener.close()


class Mux(AuthServer):
    """Like saslauthd, but for what it says."""

    def __init__(self, path, answer, stays):
        super().__init__(path, b'', answer, stays)

    def serve(self, connection):
        with contextlib.suppress(OSError), connection:
            connection.recv(8192)
            if self.answer is not None:
                connection.sendall(self.answer)
                while self.stays and connection.recv(8192):
                    pass


def hear(clients, began):
    """What each hears, and that none waits long."""
    heard = {name: client.reply() for name, client in clients.items()}
    assert time.monotonic() - began < BOUND
    return heard


def check(heard, wanted):
    assert [(name, str(reply)) for name, reply in heard.items() if not matches(reply, wanted[name])] == []


def ask(mta, names, line, helo='c.example'):
    clients = {name: mta.session(name, helo=helo) for name in names}
    for client in clients.values():
        client.send(line)
    return clients


def test_all_at_once(mta):
    """As some take their ten seconds. More clients wait for saslauthd than may wait at once."""
    began = time.monotonic()
    clients = ask(mta, (*ANSWERS, 'halfway'), AUTH)
    muxes = ask(mta, ('gone', *MUX), AUTH)
    strangers = ask(mta, GREETINGS, 'EHLO c.example', helo=None)
    crowd = [ask(mta, ('deaf',), AUTH)['deaf'] for _ in range(40)]
    for name in 'stranger', 'deaf', 'good':  # beside those that wait
        with mta.session(name) as client:
            client.cmd(AUTH, 235) if name == 'good' else None
            client.message(wanted='~250 .*')
    assert time.monotonic() - began < 9 * PATIENCE
    check(hear(clients, began), {name: reply for name, (_, reply) in ANSWERS.items()} | {'halfway': LATER})
    check(hear(muxes, began), {name: LATER for name in muxes})
    check(hear(dict(enumerate(crowd)), began), {name: LATER for name in range(len(crowd))})
    assert {name: 'AUTH' in reply for name, reply in hear(strangers, began).items()} == {name: False for name in GREETINGS}
    began = time.monotonic()
    for client in strangers.values():
        client.send(AUTH)
    check(hear(strangers, began), {name: LATER for name in strangers})
    for client in (*muxes.values(), *crowd):
        client.cmd('NOOP', 250)
        client.close()
    for name, client in (clients | strangers).items():  # who was not let in is not in, and the session goes on
        client.cmd('AUTH NONE', 503 if name == 'good' else '~(454|535) .*')
        client.message(wanted='~250 .*')
        client.close()


def test_restart(mta):
    """Between a challenge and its response: that exchange fails for now, the next one finds the new server."""
    path = f'{mta.dir}/restarted.sock'
    server = AuthServer(path, answer=b'CONT\tID\t\n')
    connections = []
    serve = server.serve
    server.serve = lambda connection: (connections.append(connection), serve(connection))
    with mta.session('restarted') as client:
        client.cmd('AUTH LOGIN', '334 ')
        server.listener.close()
        os.unlink(path)
        for connection in connections:
            connection.shutdown(socket.SHUT_RDWR)
        client.cmd('YQ==', LATER)
        server = AuthServer(path, answer=b'OK\tID\tuser=a\n')
        until(lambda: client.cmd(AUTH).code == 235, 'a login')
        server.listener.close()


def test_end(mta):
    """Who waits for saslauthd does not hold up the end of the service."""
    with mta.session('deaf') as client:
        client.send(AUTH)
        began = time.monotonic()
        mta.stop()
        assert time.monotonic() - began < BOUND
