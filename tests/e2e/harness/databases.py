"""Private PostgreSQL and MariaDB servers, each in a directory of its own, on a loopback port and a path."""
import contextlib
import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile

from . import PATIENCE
from .peer import until

SCHEMA = """\
CREATE TABLE mailboxes (address VARCHAR(200), path VARCHAR(200));
INSERT INTO mailboxes VALUES ('alice@virt.test', 'alice/'), ('bob@virt.test', 'bob/'), ('o''neil@virt.test', 'oneil/');
CREATE TABLE answers (k VARCHAR(200), v VARCHAR(200), w VARCHAR(200));
INSERT INTO answers VALUES ('one', '1', 'x'), ('two', '2', 'x'), ('two', '22', 'y'), ('empty', '', ''), ('null', NULL, NULL),
 ('joe@a.example.com', 'box@store.test', 'x'), ('it''s', 'quote', 'x'), ('back\\\\slash', 'slash', 'x'), ('b\u00fccher', 'b\u00fcch', 'x');
CREATE TABLE access (address VARCHAR(200), action VARCHAR(200));
INSERT INTO access VALUES ('spam@bad.test', 'REJECT not you'), ('sub.bad.test', '450 4.7.9 wait');
"""
# That MySQL reads a backslash in a literal as an escape is doubled away in SCHEMA; PostgreSQL and SQLite do not.
PLAIN_SCHEMA = SCHEMA.replace('\\\\', '\\')


class _Database:
    account = 'nobody'

    def __init__(self, port):
        self.port = port
        self.dir = tempfile.mkdtemp(prefix='gp-db-', dir='/tmp')
        self.data = self.dir + '/data'
        self.process = None
        self.options = []  # of the server
        self.rights = {}
        if os.geteuid() == 0:
            owner = pwd.getpwnam(self.account)
            self.rights = {'user': owner.pw_uid, 'group': owner.pw_gid, 'extra_groups': []}
            os.chown(self.dir, owner.pw_uid, owner.pw_gid)
        os.chmod(self.dir, 0o755)
        try:
            self.make()
            self.start()
            self.load()
        except BaseException:
            self.remove()
            raise

    def run(self, *command, **kwargs):
        done = subprocess.run(command, cwd=self.dir, capture_output=True, text=True, timeout=120 * PATIENCE, **self.rights, **kwargs)
        assert done.returncode == 0, f'{command}: {done.stdout}{done.stderr}'
        return done.stdout

    def start(self):
        log = open(self.dir + '/log', 'a')
        self.process = subprocess.Popen(self.command(), cwd=self.dir, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self.rights)
        log.close()
        until(lambda: self.process.poll() is not None or self.answers(), 'the database', 60)
        assert self.process.poll() is None, open(self.dir + '/log').read()

    def stop(self):
        if self.process:
            self.process.send_signal(self.signal)
            self.process.wait(60 * PATIENCE)
            self.process = None

    @contextlib.contextmanager
    def restarted(self, options, **files):
        """With other options for a while, and files of its own in its directory."""
        for name, source in files.items():
            shutil.copyfile(source, f'{self.dir}/{name}')
            if self.rights:
                os.chown(f'{self.dir}/{name}', self.rights['user'], self.rights['group'])
            os.chmod(f'{self.dir}/{name}', 0o600)
        self.stop()
        self.options = [option.replace('{dir}', self.dir) for option in options]
        self.start()
        try:
            yield self
        finally:
            self.stop()
            self.options = []
            self.start()

    def remove(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()


class Postgres(_Database):
    account = 'postgres'
    signal = signal.SIGINT  # ends the sessions of clients

    def make(self):
        self.bin = sorted(glob.glob('/usr/lib/postgresql/*/bin'))[-1]
        self.run(self.bin + '/initdb', '-D', self.data, '-U', 'root', '-A', 'trust', '-E', 'UTF8', '--locale=C.UTF-8', '--no-sync')
        with open(self.data + '/pg_hba.conf', 'w') as file:
            file.write('local all root trust\nlocal all mail md5\nhost all root 127.0.0.1/32 trust\nhost all mail 127.0.0.1/32 scram-sha-256\n'
                       'hostssl all safe 127.0.0.1/32 scram-sha-256\nhostssl all known 127.0.0.1/32 scram-sha-256 clientcert=verify-ca\n')

    def command(self):
        return [self.bin + '/postgres', '-D', self.data, '-c', 'listen_addresses=127.0.0.1', '-c', f'port={self.port}',
                '-c', f'unix_socket_directories={self.dir}', '-c', 'fsync=off', '-c', 'autovacuum=off', *self.options]

    def answers(self):
        return subprocess.run([self.bin + '/pg_isready', '-q', '-h', '127.0.0.1', '-p', str(self.port)]).returncode == 0

    def load(self):
        for user in ('mail', 'safe', 'known'):
            self.sql(f"CREATE USER {user} PASSWORD 'secret'")
        self.sql('CREATE DATABASE mail')
        self.sql(PLAIN_SCHEMA + 'GRANT SELECT ON mailboxes, answers, access TO mail, safe, known;', 'mail')

    def sql(self, text, database='postgres'):
        return self.run(self.bin + '/psql', '-qtA', '-v', 'ON_ERROR_STOP=1', '-h', self.dir, '-p', str(self.port), '-U', 'root',
                        '-d', database, input=text)

    def parameters(self):
        return f'hosts = inet:127.0.0.1:{self.port}\nuser = mail\npassword = secret\ndbname = mail\n'

    def path_parameters(self):
        """libpq takes the directory of the socket; its name has the port, which Postfix's syntax has no place for."""
        return f'hosts = postgresql://mail:secret@/mail?host={self.dir}&port={self.port}\ndbname = mail\n'


class Mariadb(_Database):
    signal = signal.SIGTERM

    def make(self):
        self.run('mariadb-install-db', '--no-defaults', f'--datadir={self.data}', '--auth-root-authentication-method=normal',
                 '--skip-test-db')

    def command(self):
        return ['mariadbd', '--no-defaults', f'--datadir={self.data}', f'--socket={self.dir}/sock', f'--port={self.port}',
                '--bind-address=127.0.0.1', f'--pid-file={self.dir}/pid', '--innodb-flush-log-at-trx-commit=0',
                '--innodb-buffer-pool-size=8M', '--skip-name-resolve', '--character-set-server=utf8mb4', *self.options]

    def answers(self):
        return subprocess.run(['mariadb', '--no-defaults', '-u', 'root', '-S', self.dir + '/sock', '-e', 'SELECT 1'],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0

    def load(self):
        self.sql("CREATE DATABASE mail; CREATE USER mail IDENTIFIED BY 'secret'; GRANT SELECT, EXECUTE ON mail.* TO mail;"
                 "CREATE USER safe IDENTIFIED BY 'secret' REQUIRE SSL; GRANT SELECT ON mail.* TO safe;"
                 "CREATE USER known IDENTIFIED BY 'secret' REQUIRE X509; GRANT SELECT ON mail.* TO known;")
        self.sql(SCHEMA + "DELIMITER //\nCREATE PROCEDURE look(IN p VARCHAR(200)) BEGIN SELECT v FROM answers WHERE k = p; END//\n"
                 "CREATE PROCEDURE twice(IN p VARCHAR(200)) BEGIN SELECT 1; SELECT 2; END//\n"
                 "CREATE PROCEDURE mute(IN p VARCHAR(200)) BEGIN SET @x = p; END//\n", 'mail')

    def sql(self, text, database='mysql'):
        return self.run('mariadb', '--no-defaults', '-N', '-B', '--default-character-set=utf8mb4', '-u', 'root', '-S', self.dir + '/sock',
                        database, input=text)

    def parameters(self):
        return f'hosts = inet:127.0.0.1:{self.port}\nuser = mail\npassword = secret\ndbname = mail\n'

    def path_parameters(self):
        return f'hosts = unix:{self.dir}/sock\nuser = mail\npassword = secret\ndbname = mail\n'
