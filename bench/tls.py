"""TLS: what handshakes cost, beside OpenSSL's own server with the same key; sessions that have said nothing since; clients that send mail."""
import os
import ssl
import subprocess

import instances
import measure

HERE = os.path.dirname(os.path.realpath(__file__))
HANDSHAKES = 1500
WANTED_KB = 30
_program = None


def prepare(top):
    """Compiles the client, makes a key and its certificate."""
    global _program
    _program = os.path.join(top, 'tls_clients')
    subprocess.run(['cc', '-O2', '-o', _program, os.path.join(HERE, 'tls_clients.c'), '-lssl', '-lcrypto', '-lpthread'], check=True)
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '9',
                    '-subj', '/CN=mx.example.test', '-keyout', f'{top}/tls.key', '-out', f'{top}/tls.pem'], check=True, capture_output=True)
    with open(f'{top}/tls.chain', 'w') as chain:
        for name in ('tls.key', 'tls.pem'):
            with open(f'{top}/{name}') as part:
                chain.write(part.read())


def ask(port, kind, count, clients):
    done = subprocess.run([_program, str(port), kind, str(count), str(clients)], capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)


class Openssl:
    """openssl s_server."""
    name = 'openssl'

    def __init__(self, top, port):
        self.port = port
        self.process = subprocess.Popen(['openssl', 's_server', '-accept', f'{instances.HOST}:{port}', '-quiet', '-key', f'{top}/tls.key', '-cert',
                                         f'{top}/tls.pem', '-num_tickets', '1'], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)

    def stop(self):
        self.process.stdin.close()
        instances.end(self.process)


def _cost(root, port, kind, count, clients):
    """Milliseconds of processor time for each."""
    ask(port, kind, count // 10 + 1, clients)
    before = measure.cpu_seconds(root)
    ask(port, kind, count, clients)
    return (measure.cpu_seconds(root) - before) / count * 1000


def handshakes(systems, top, port, rounds, count):
    """{system name: [(full, resumed), ...]}, in ms. Of mail systems what the same session costs without TLS is taken off."""
    figures = {name: [] for name in ['openssl'] + [system.name for system in systems]}
    server = Openssl(top, port)
    try:
        measure.settled(lambda: server.process.poll() is None, 0)
        for _ in range(rounds):
            figures['openssl'].append(tuple(_cost(server.process.pid, port, kind, count, 1) for kind in ('bare', 'bare-resumed')))
            for system in systems:
                root = system.root_pid('all')
                plain = _cost(root, system.plain, 'plain', count, 4)
                figures[system.name].append(tuple(_cost(root, system.wrapped, kind, count, 4) - plain for kind in ('full', 'resumed')))
    finally:
        server.stop()
    return figures


def print_handshakes(figures, spread):
    print(f'\n{"TLS handshake, TLSv1.3, P-256":30} {"system":9} {"full, ms":>26} {"resumed, ms":>26}')
    for name, runs in figures.items():
        print(f'{"processor time of one":30} {name:9} {spread([run[0] for run in runs]):>26} {spread([run[1] for run in runs]):>26}')


def print_memory(figures):
    print(f'\n{"memory of one idle TLS session":30} {"system":9} {"processes kB":>14} {"kernel kB":>12} {"together kB":>13}')
    for name, (pss, kernel, count) in figures.items():
        print(f'{f"{count} sessions":30} {name:9} {pss:14.1f} {kernel:12.1f} {pss + kernel:13.1f}')
    if 'gatepost' in figures:
        together = sum(figures['gatepost'][:2])
        print(f'{"":30} {"":9} wanted of gatepost: {WANTED_KB} kB: {"met" if together <= WANTED_KB else "NOT met"}')


class IdleSessions(measure.IdleSessions):
    """Connections that have said STARTTLS, shaken hands, and greeted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def greet(self, connection):
        super().greet(connection)
        self.ask(connection, b'STARTTLS\r\n')
        self.sockets[-1] = connection = self.context.wrap_socket(connection)
        super().greet(connection)
