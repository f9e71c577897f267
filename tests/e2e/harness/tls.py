"""Certificates, and clients inside TLS."""
import os
import ssl
import subprocess

from .client import Client


def openssl(*args, cwd, text=None):
    return subprocess.run(['openssl', *args], cwd=cwd, input=text, check=True, capture_output=True, text=True).stdout


class Authority:
    """An authority in a directory of its own, one of pytest's: ca.pem, and for each name NAME.key, NAME.pem and both as NAME.chain."""

    def __init__(self, directory, name='Test CA'):
        self.directory = str(directory)
        for part in (directory, *directory.parents[:2]):
            part.chmod(0o755)  # services read there that run as others
        self.make_root(name)

    def path(self, name):
        return os.path.join(self.directory, name)

    def _key(self, kind):
        return ['-newkey', 'rsa:2048'] if kind == 'rsa' else ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1']

    def make_root(self, name):
        openssl('req', '-x509', *self._key('ec'), '-nodes', '-days', '30', '-subj', f'/CN={name}', '-keyout', 'ca.key', '-out', 'ca.pem',
                '-addext', 'basicConstraints=critical,CA:TRUE', cwd=self.directory)

    def issue(self, name, kind='ec', days=30, common_name=None, also='DNS:localhost'):
        common_name = common_name or f'{name}.example'
        openssl('req', *self._key(kind), '-nodes', '-subj', f'/CN={common_name}', '-keyout', f'{name}.key', '-out', f'{name}.csr',
                cwd=self.directory)
        with open(self.path(f'{name}.ext'), 'w') as file:
            file.write(f'subjectAltName=DNS:{common_name},{also}\n')
        openssl('x509', '-req', '-in', f'{name}.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', str(days),
                '-extfile', f'{name}.ext', '-out', f'{name}.pem', cwd=self.directory)
        with open(self.path(f'{name}.chain'), 'w') as file:
            for part in (f'{name}.key', f'{name}.pem'):
                with open(self.path(part)) as source:
                    file.write(source.read())
        return self.path(f'{name}.chain')

    def fingerprints(self, name):
        """(of the certificate, of its key), sha256."""
        cert = openssl('x509', '-in', f'{name}.pem', '-noout', '-fingerprint', '-sha256', cwd=self.directory).strip().partition('=')[2]
        key = subprocess.run(['sh', '-c', f'openssl x509 -in {name}.pem -noout -pubkey | openssl pkey -pubin -outform DER | '
                              'openssl dgst -sha256 -c'], check=True, capture_output=True, text=True, cwd=self.directory).stdout
        return cert, key.strip().rpartition(' ')[2].upper()

    def client_context(self, own=None, version=None, check=False):
        context = ssl.create_default_context(cafile=self.path('ca.pem'))
        context.check_hostname = check
        context.verify_mode = ssl.CERT_REQUIRED if check else ssl.CERT_NONE
        context.minimum_version = version or ssl.TLSVersion.TLSv1
        if version:
            context.maximum_version = version
        if own:
            context.load_cert_chain(self.path(f'{own}.pem'), self.path(f'{own}.key'))
        return context


def secure(client, context, server_name='localhost', session=None):
    """Puts a connected Client inside TLS."""
    client.sock = context.wrap_socket(client.sock, server_hostname=server_name, session=session)
    return client


def starttls(client, context, **kwargs):
    client.cmd('STARTTLS', '220 2.0.0 Ready to start TLS')
    return secure(client, context, **kwargs)


def connect_tls(mta, service, context, **kwargs):
    """To a port where TLS comes first."""
    return secure(Client(('127.0.0.1', mta.port(service))), context, **kwargs)


def start_server(chain, reply=b'220 go on\r\n'):
    """For a Sink's script: says reply, and goes on inside TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)

    def start(connection):
        connection.sock.sendall(reply)
        connection.sock = context.wrap_socket(connection.sock, server_side=True)
        connection.file = connection.sock.makefile('rb')
    return start


def is_secure(connection):
    return isinstance(connection.sock, ssl.SSLSocket)
