"""Filters that nobody here wrote, from Debian packages: each on a port, giving mail back to another."""
import os
import shutil
import signal
import subprocess
import tempfile

from .instance import wait_port
from .peer import until


class Daemon:
    """Started with words, stopped by signal; its directory goes with it."""

    def __init__(self, port, out):
        self.port, self.out = port, out
        self.dir = tempfile.mkdtemp(prefix='gp-', dir='/tmp')
        os.chmod(self.dir, 0o755)

    def write(self, name, text):
        path = f'{self.dir}/{name}'
        with open(path, 'w') as file:
            file.write(text)
        return path

    def __enter__(self):
        self.log = open(self.dir + '/output', 'w')
        self.proc = subprocess.Popen(self.words(), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, cwd=self.dir,
                                     start_new_session=True)
        try:
            until(lambda: self.proc.poll() is not None or self.listens(), 'the filter listens', 60)
            assert self.proc.poll() is None or self.listens(), open(self.dir + '/output').read()
        except AssertionError:
            self.__exit__()
            raise
        return self

    def listens(self):
        try:
            wait_port(self.port, 0)
            return True
        except AssertionError:
            return False

    def __exit__(self, *_):
        try:
            os.killpg(self.proc.pid, signal.SIGTERM)
            self.proc.wait(10)
        except ProcessLookupError:
            pass
        except subprocess.TimeoutExpired:
            os.killpg(self.proc.pid, signal.SIGKILL)
            self.proc.wait(10)
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)


class Proxsmtp(Daemon):
    """Runs a command over the content; one that fails is a refusal with the last line it wrote."""

    def words(self):
        command = self.write('command', '#!/bin/sh\nfile=$(mktemp)\ncat > "$file"\n'
                             'if grep -q EVIL "$file"; then echo "550 5.7.1 Content Rejected" >&2; rm "$file"; exit 1; fi\n'
                             'sed "1i X-Proxsmtp: seen" "$file"; rm "$file"\n')
        os.chmod(command, 0o755)
        conf = self.write('proxsmtpd.conf', f'OutAddress: 127.0.0.1:{self.out}\nListen: 127.0.0.1:{self.port}\nFilterType: pipe\n'
                          f'FilterCommand: {command}\nTempDirectory: {self.dir}\nHeader: X-Filtered: by proxsmtp\n')
        return ['/usr/sbin/proxsmtpd', '-d', '3', '-f', conf]


class Spampd(Daemon):
    """SpamAssassin in an SMTP proxy; local tests only."""

    def words(self):
        rules = self.write('local.cf', 'use_bayes 0\nuse_txrep 0\nskip_rbl_checks 1\nuse_razor2 0\nuse_pyzor 0\ndns_available no\n')
        home = self.dir + '/home'
        os.mkdir(home)
        user = 'spampd' if os.geteuid() == 0 else str(os.geteuid())
        shutil.chown(home, user) if os.geteuid() == 0 else None
        # Perl's taint checks trip over a home directory from the command line, and syslog needs a daemon: without both.
        with open('/usr/sbin/spampd') as file:
            text = file.read().replace('perl -T', 'perl', 1).replace("'Sys::Syslog'", f"'{self.dir}/home/log'", 1)
        program = self.write('spampd', text)
        return ['perl', program, '--nodetach', f'--host=127.0.0.1:{self.port}', f'--relayhost=127.0.0.1:{self.out}', '--children=2',
                '--maxsize=500', '--tagall', '--local-only', f'--saconfig={rules}', f'--homedir={home}', f'--pid={self.dir}/pid',
                *(['--user=spampd', '--group=spampd'] if os.geteuid() == 0 else [])]


class Amavis(Daemon):
    """No virus scanner, no SpamAssassin: banned file names and its own dialogue are what is tried here."""

    def words(self):
        for sub in ('home', 'tmp', 'db'):
            os.mkdir(f'{self.dir}/{sub}')
            shutil.chown(f'{self.dir}/{sub}', 'amavis', 'amavis')
        conf = self.write('amavisd.conf', f"""use strict;
$max_servers = 2;
$daemon_user = 'amavis';
$daemon_group = 'amavis';
$mydomain = 'gate.test';
$myhostname = 'amavis.gate.test';
$MYHOME = '{self.dir}/home';
$TEMPBASE = '{self.dir}/tmp';
$QUARANTINEDIR = undef;
$db_home = '{self.dir}/db';
$enable_db = 0;
$enable_zmq = 0;
$pid_file = '{self.dir}/home/pid';
$lock_file = '{self.dir}/home/lock';
$log_level = 1;
$do_syslog = 0;
$logfile = '{self.dir}/home/log';
@bypass_virus_checks_maps = (1);
@bypass_spam_checks_maps = (1);
$inet_socket_port = {self.port};
$inet_socket_bind = '127.0.0.1';
@inet_acl = qw(127.0.0.1);
$forward_method = 'smtp:[127.0.0.1]:{self.out}';
$notify_method = $forward_method;
$final_banned_destiny = D_REJECT;
$banned_quarantine_to = undef;
$banned_admin = undef;
$banned_filename_re = new_RE(qr'\\.(exe|vbs)$'i);
@local_domains_maps = (['.virt.test']);
1;
""")
        return ['/usr/sbin/amavisd', '-c', conf, 'foreground']


class Spamd(Daemon):
    """What spamc talks to; local tests only."""

    def words(self):
        settings = ('use_bayes 0', 'use_txrep 0', 'skip_rbl_checks 1', 'use_razor2 0', 'use_pyzor 0', 'dns_available no')
        return ['spamd', f'--listen=127.0.0.1:{self.port}', '--max-children=1', '--local', '--nouser-config', '--username=nobody',
                f'--pidfile={self.dir}/pid', '--syslog=stderr', *(f'--cf={setting}' for setting in settings)]


class Clamd(Daemon):
    """A signature database of one: EICAR's."""

    EICAR = r'X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*'

    def words(self):
        os.mkdir(self.dir + '/db')
        os.chmod(self.dir + '/db', 0o755)
        self.write('db/test.ndb', f'Test.Eicar:0:*:{self.EICAR.encode().hex()}\n')
        self.socket = self.dir + '/socket'
        self.conf = self.write('clamd.conf', f'LocalSocket {self.socket}\nLocalSocketMode 666\nTCPSocket {self.port}\nTCPAddr 127.0.0.1\n'
                               f'DatabaseDirectory {self.dir}/db\nForeground yes\nLogFile {self.dir}/log\nUser clamav\n')
        if os.geteuid() == 0:
            shutil.chown(self.dir, 'clamav')
        return ['clamd', '-c', self.conf]
