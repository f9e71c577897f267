"""Servers of lookup tables: socketmap_table(5), tcp_table(5), and a private slapd for ldap_table(5)."""
import threading

import os
import shutil
import socket
import subprocess
import tempfile
from urllib.parse import unquote

from .peer import CLOSE, DEAF, HANG, _Server, until


class _Connection:
    def __init__(self, sock, server):
        self.sock, self.server = sock, server
        self.file = sock.makefile('rb')
        self.done = False

    def close(self):
        try:
            self.sock.shutdown(2)
        except OSError:
            pass
        self.sock.close()

    def serve(self):
        try:
            while True:
                request = self.read()
                if request is None:
                    return
                self.server.requests.append(request)
                answer = self.server.answer(request)
                if answer in (HANG, DEAF):
                    self.file.read()
                    return
                if answer is CLOSE:
                    return
                self.sock.sendall(answer)
                if self.server.once:
                    return
        finally:
            self.close()


class _TableServer(_Server):
    """data: key to value. faults: key to what is sent instead of an answer: octets, HANG or CLOSE. once: a connection is
    closed after its first answer."""

    def __init__(self, address, data, faults=None, once=False):
        self.data, self.faults, self.once = data, faults or {}, once
        self.requests = []
        super().__init__(address)


class SocketmapServer(_TableServer):
    """requests: 'NAME KEY'."""

    class _connection_class(_Connection):
        def read(self):
            digits = b''
            while (octet := self.file.read(1)) not in (b':', b''):
                digits += octet
            if not octet:
                return None
            payload = self.file.read(int(digits) + 1)
            assert payload.endswith(b',')
            return payload[:-1].decode()

    def _connection(self, sock):
        return self._connection_class(sock, self)

    @staticmethod
    def netstring(text):
        text = text if isinstance(text, bytes) else text.encode()
        return b'%d:%b,' % (len(text), text)

    def answer(self, request):
        key = request.partition(' ')[2]
        if key in self.faults:
            return self.faults[key]
        return self.netstring('OK ' + self.data[key] if key in self.data else 'NOTFOUND ')


class TcpTableServer(_TableServer):
    """requests: 'get KEY' as it came."""

    class _connection_class(_Connection):
        def read(self):
            line = self.file.readline()
            return line[:-1].decode() if line else None

    def _connection(self, sock):
        return self._connection_class(sock, self)

    @staticmethod
    def quote(text):
        return ''.join(chr(c) if 33 <= c < 127 and c != 37 else f'%{c:02X}' for c in text.encode())

    def answer(self, request):
        key = unquote(request.partition(' ')[2])
        if key in self.faults:
            return self.faults[key]
        if key in self.data:
            return f'200 {self.quote(self.data[key])}\n'.encode()
        return b'500 not found\n'


SLAPD_CONF = """\
modulepath /usr/lib/ldap
moduleload back_mdb
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
attributetype ( 1.3.6.1.4.1.10098.1.1.12.33 NAME 'mailacceptinggeneralid' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.3.6.1.4.1.10098.1.1.12.34 NAME 'maildrop' EQUALITY caseIgnoreMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
attributetype ( 1.3.6.1.4.1.10098.1.1.12.35 NAME 'memberdn' EQUALITY distinguishedNameMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.12 )
attributetype ( 1.3.6.1.4.1.10098.1.1.12.36 NAME 'memberurl' EQUALITY caseExactMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
objectclass ( 1.3.6.1.4.1.10098.1.2.1.19.9 NAME 'mailthing' SUP top STRUCTURAL MUST cn
  MAY ( mailacceptinggeneralid $ maildrop $ memberdn $ memberurl $ mail $ userPassword ) )
pidfile {dir}/slapd.pid
argsfile {dir}/slapd.args
allow bind_v2
{tls}
database mdb
maxsize 10485760
suffix "dc=gate,dc=test"
rootdn "cn=admin,dc=gate,dc=test"
rootpw secret
directory {dir}/db
access to dn.subtree="ou=private,dc=gate,dc=test" by dn.exact="cn=reader,dc=gate,dc=test" read by anonymous auth by * none
access to attrs=userPassword by anonymous auth by * none
access to * by * read
"""


class Slapd:
    """Debian's slapd on a port of ours, and on one for ldaps if tls is a port, from an LDIF text. It can be stopped and
    started."""

    def __init__(self, port, ldif, tls=None):
        self.dir = tempfile.mkdtemp(prefix='slapd-', dir='/tmp')
        self.port, self.tls_port, self.proc = port, tls, None
        os.mkdir(self.dir + '/db')
        self.tls = ''
        if tls:
            subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '30', '-subj', '/CN=localhost',
                            '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', self.dir + '/key.pem', '-out',
                            self.dir + '/cert.pem'], check=True, capture_output=True)
            self.tls = f'TLSCertificateFile {self.dir}/cert.pem\nTLSCertificateKeyFile {self.dir}/key.pem\n'
        with open(self.dir + '/slapd.conf', 'w') as file:
            file.write(SLAPD_CONF.replace('{dir}', self.dir).replace('{tls}', self.tls))
        with open(self.dir + '/all.ldif', 'w') as file:
            file.write(ldif)
        done = subprocess.run(['/usr/sbin/slapadd', '-f', self.dir + '/slapd.conf', '-l', self.dir + '/all.ldif'],
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        self.start()

    @property
    def certificate(self):
        return self.dir + '/cert.pem'

    @property
    def socket(self):
        """As part of an ldapi: URL."""
        return (self.dir + '/ldapi').replace('/', '%2F')

    def start(self):
        urls = f'ldap://127.0.0.1:{self.port} ldapi://{self.socket}'
        if self.tls:
            urls += f' ldaps://127.0.0.1:{self.tls_port}'
        self.proc = subprocess.Popen(['/usr/sbin/slapd', '-f', self.dir + '/slapd.conf', '-h', urls, '-d', '0'],
                                     stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self._answers, 'slapd answers')
        return self

    def _answers(self):
        assert self.proc.poll() is None, 'slapd ended'
        try:
            socket.create_connection(('127.0.0.1', self.port), 1).close()
        except OSError:
            return False
        return True

    def stop(self):
        if self.proc:
            self.proc.terminate()
            self.proc.wait(20)
            self.proc = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


class Rude(_Server):
    """Whoever connects gets these octets at his first one, and then HANG, CLOSE, or the same again
    and again (FLOOD)."""

    FLOOD = 'FLOOD'

    def __init__(self, address, octets, then):
        self.octets, self.then = octets, then
        super().__init__(address)

    def _connection(self, sock):
        return _RudeConnection(sock, self)


class _RudeConnection(_Connection):
    def serve(self):
        try:
            self.sock.recv(1)
            self.sock.sendall(self.server.octets)
            while self.server.then == Rude.FLOOD:
                self.sock.sendall(self.server.octets)
            if self.server.then is HANG:
                self.file.read()
        finally:
            self.close()
