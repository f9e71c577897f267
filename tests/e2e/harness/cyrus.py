"""What Cyrus SASL works with: a database of users, and saslauthd, which here asks an IMAP server of ours."""
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile

from .peer import serve_each, until


class Imap:
    """LOGIN, for saslauthd -a rimap."""

    def __init__(self, port, users):
        self.users = users
        self.listener = socket.create_server(('127.0.0.1', port))
        serve_each(self.listener, self.serve)

    def serve(self, connection):
        with contextlib.suppress(OSError), connection, connection.makefile('rwb') as stream:
            stream.write(b'* OK ready\r\n')
            stream.flush()
            for line in stream:
                tag, command, *rest = line.decode().split(None, 2)
                user, _, password = rest[0].strip().partition(' ') if rest else ('', '', '')
                good = command == 'LOGIN' and password and self.users.get(user.strip('"')) == password.strip('"')
                stream.write(f'{tag} {"OK" if good or command == "LOGOUT" else "NO"} said\r\n'.encode())
                stream.flush()

    def close(self):
        self.listener.close()


class Cyrus:
    """users: of the database, in the realm host; logins: of saslauthd. owner: who reads the database."""

    def __init__(self, port, host, users, logins, owner):
        self.port = port
        self.logins = logins
        self.directory = tempfile.mkdtemp(prefix='cyrus-', dir='/tmp')
        os.chmod(self.directory, 0o755)
        self.database = f'{self.directory}/sasldb2'
        for user, password in users.items():
            name, _, realm = user.partition('@')
            subprocess.run(['saslpasswd2', '-p', '-c', '-f', self.database, '-u', realm or host, name], input=password.encode(), check=True)
        shutil.chown(self.database, owner)
        self.process = self.imap = None

    def configure(self, mta, database=None, socket=None):
        """smtpd.conf: the database; saslauthd.conf: that. Where these are for the mail system, if not where they are."""
        directory = f'{mta.dir}/conf/sasl'
        os.mkdir(directory)
        os.chmod(directory, 0o755)
        with open(f'{directory}/smtpd.conf', 'w') as file:
            file.write(f'pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {database or self.database}\n'
                       'mech_list: PLAIN LOGIN CRAM-MD5 DIGEST-MD5 SCRAM-SHA-256\n')
        with open(f'{directory}/saslauthd.conf', 'w') as file:
            file.write(f'pwcheck_method: saslauthd\nsaslauthd_path: {socket or f"{self.directory}/mux"}\nmech_list: PLAIN LOGIN\n')
        return mta

    def answers(self):
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(f'{self.directory}/mux') == 0

    def start(self):
        self.imap = Imap(self.port, self.logins)
        self.process = subprocess.Popen(['saslauthd', '-d', '-a', 'rimap', '-O', f'127.0.0.1/{self.port}', '-m', self.directory, '-n', '2'],
                                        stderr=subprocess.DEVNULL, start_new_session=True)
        until(self.answers, 'saslauthd answers')

    def signal(self, number):
        os.killpg(self.process.pid, number)

    def stop(self):
        if self.process:
            self.signal(signal.SIGTERM)
            self.process.wait(20)
            self.process = None
            self.imap.close()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
