"""Systems under test: an instance in a temporary directory, of gatepost or of real Postfix, from the same configuration."""
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

from . import PATIENCE
from .client import Client
from .log import Log
from .maildir import Maildir
from .peer import Relay, Sink, until

MAIN = """\
compatibility_level = 3.6
queue_directory = {dir}/queue
data_directory = {dir}/data
maillog_file = {dir}/mail.log
maillog_file_prefixes = {dir}
mail_name = Conform
myhostname = mx.gate.test
mydomain = gate.test
mydestination = $myhostname, localhost
inet_interfaces = loopback-only
mynetworks = 127.0.0.1/32
alias_maps =
alias_database =
virtual_mailbox_domains = virt.test
virtual_mailbox_maps = inline:{{alice@virt.test=alice/, bob@virt.test=bob/, carol@virt.test=carol/}}
virtual_mailbox_base = {dir}/vmail
virtual_minimum_uid = 1
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{uid}
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
smtpd_authorized_xclient_hosts = 127.0.0.1
smtpd_forbid_bare_newline = normalize
smtpd_forbid_unauth_pipelining = yes
"""

MASTER = """\
cleanup    unix  n       -       n       -       0       cleanup
qmgr       unix  n       -       n       300     1       qmgr
tlsmgr     unix  -       -       n       1000?   1       tlsmgr
rewrite    unix  -       -       n       -       -       trivial-rewrite
bounce     unix  -       -       n       -       0       bounce
defer      unix  -       -       n       -       0       bounce
trace      unix  -       -       n       -       0       bounce
verify     unix  -       -       n       -       1       verify
flush      unix  n       -       n       1000?   0       flush
proxymap   unix  -       -       n       -       -       proxymap
smtp       unix  -       -       n       -       -       smtp
relay      unix  -       -       n       -       -       smtp
showq      unix  n       -       n       -       -       showq
error      unix  -       -       n       -       -       error
retry      unix  -       -       n       -       -       error
discard    unix  -       -       n       -       -       discard
local      unix  -       n       n       -       -       local
virtual    unix  -       n       n       -       -       virtual
anvil      unix  -       -       n       -       1       anvil
postlog    unix-dgram n  -       n       -       1       postlogd
"""

# The specification's after-filter server: all its options.
AFTER = ('-o smtpd_authorized_xforward_hosts=127.0.0.0/8 -o smtpd_client_restrictions= -o smtpd_helo_restrictions= '
         '-o smtpd_sender_restrictions= -o smtpd_relay_restrictions= '
         '-o smtpd_recipient_restrictions=permit_mynetworks,reject -o smtpd_data_restrictions= -o mynetworks=127.0.0.0/8 '
         '-o receive_override_options=no_unknown_recipient_checks')


class _PortNames(dict):
    def __init__(self, ports):
        super().__init__()
        self._ports = ports

    def __missing__(self, name):
        self[name] = self._ports.take()
        return self[name]


class Instance:
    """One configured instance.

    main      text or dict of main.cf settings, over MAIN
    services  name to the options of an smtpd on a port of its own, or to (maxproc, options), or to (maxproc, command and
              options) when it does not start with '-'. A name is this harness's; {NAME} in options and settings is the
              port of that name, {dir} the instance's directory
    master    further lines of master.cf, verbatim; the last line of an identity wins
    """

    newer = True  # has what later releases than 3.7 brought
    xclient_offer = 'XCLIENT NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT'
    sandbox = ''  # further settings
    prefix = ()  # words before every command: to run it in a namespace

    def __init__(self, ports, main='', services=None, master='', base=MASTER):
        # the directory's path is short: unix sockets have 107 octets
        self.dir = tempfile.mkdtemp(prefix='gp-', dir='/tmp')
        os.chmod(self.dir, 0o755)
        self.ports = _PortNames(ports)
        self.log = Log(self.dir + '/mail.log')
        self.uid = 5000 if os.geteuid() == 0 else os.geteuid()
        self.names = {}
        for sub in ('conf', 'queue', 'data', 'vmail'):
            os.mkdir(f'{self.dir}/{sub}')
            os.chmod(f'{self.dir}/{sub}', 0o755)
        if os.geteuid() == 0:
            os.chown(self.dir + '/vmail', self.uid, self.uid)
            shutil.chown(self.dir + '/data', self.owner())
        settings = {}
        for text in (MAIN.format(dir=self.dir, uid=self.uid) + self.sandbox, main if isinstance(main, str) else
                     ''.join(f'{name} = {value}\n' for name, value in main.items())):
            for line in text.splitlines():
                settings[line.partition('=')[0].strip()] = line
        self.settings = self.fill(''.join(line + '\n' for line in settings.values()), keep=main)
        lines = []
        for name, spec in (services or {}).items():
            maxproc, rest = spec if isinstance(spec, tuple) else ('-', spec)
            command = '' if rest.split()[:1] and not rest.startswith('-') else 'smtpd '
            self.names[name] = self.ports[name]
            lines.append(f'127.0.0.1:{self.ports[name]} inet n - n - {maxproc} {command}{self.fill(rest)}\n')
        self.write('master.cf', base + ''.join(lines) + self.fill(master))
        self.write('main.cf', self.settings)

    def fill(self, text, keep=None):
        """{name} and {dir}; other braces stay."""
        out, rest = '', text
        while '{' in rest:
            before, _, rest = rest.partition('{')
            name, brace, after = rest.partition('}')
            out += before
            if brace and name == 'dir':
                out, rest = out + self.dir, after
            elif brace and name.isidentifier() and not before.endswith('$'):
                out, rest = out + str(self.ports[name]), after
            else:
                out += '{'
        return out + rest

    def write(self, name, text):
        with open(f'{self.dir}/conf/{name}', 'w') as file:
            file.write(text)
        os.chmod(f'{self.dir}/conf/{name}', 0o644)

    def port(self, name):
        return self.ports[name]

    def connect(self, name, source=None, timeout=15):
        return Client(('127.0.0.1', self.ports[name]), source, timeout)

    def session(self, name, helo='client.example', xclient=None, source=None):
        """A client that has been greeted and has said EHLO; xclient: 'NAME=.. ADDR=..' to be somebody else first."""
        client = self.connect(name, source)
        client.expect(220)
        if xclient:
            client.cmd('XCLIENT ' + xclient, 220)
        if helo:
            client.cmd('EHLO ' + helo, 250)
        return client

    STRANGER = 'NAME=spike.up.test ADDR=192.0.2.66 PORT=4711'

    def sink(self, name, script=None):
        return Sink(('127.0.0.1', self.ports[name]), script)

    def relay(self, name, nexthop, verdict=None):
        return Relay(('127.0.0.1', self.ports[name]), ('127.0.0.1', self.ports[nexthop]), verdict)

    def maildir(self, user):
        return Maildir(f'{self.dir}/vmail/{user}')

    def start(self):
        done = self.try_start()
        if done.returncode != 0:
            raise AssertionError(f'{self.name} did not start:\n{done.stdout}{done.stderr}\n{self.log_text()}')
        return self

    def log_text(self):
        try:
            with open(self.log.path, errors='replace') as file:
                return file.read()
        except FileNotFoundError:
            return ''

    def restart(self, main=None, master=None):
        """Stops, changes files (whole text), starts."""
        self.stop()
        if main is not None:
            self.write('main.cf', main)
        if master is not None:
            self.write('master.cf', master)
        return self.start()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()
        if not os.environ.get('GATEPOST_TEST_KEEP'):
            shutil.rmtree(self.dir, ignore_errors=True)

    def master_pid(self):
        try:
            with open(self.dir + '/queue/pid/master.pid') as file:
                return int(file.read())
        except (FileNotFoundError, ValueError):
            return None

    def kill(self, number, pid=None):
        try:
            os.kill(pid or self.master_pid(), number)
        except ProcessLookupError:
            pass


class Postfix(Instance):
    name = 'postfix'
    newer = False

    @staticmethod
    def owner():
        return 'postfix'

    def run(self, *args, timeout=30, program='postfix'):
        return subprocess.run([*self.prefix, program, '-c', self.dir + '/conf', *args], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=timeout * PATIENCE)

    def try_start(self):
        return self.run('start')

    def stop(self):
        pid = self.master_pid()
        if pid and not self.run('status').returncode:
            self.kill(signal.SIGTERM, pid)
            until(lambda: self.run('status').returncode, 'postfix stopped')

    def reload(self):
        self.run('reload')

    def mailq(self):
        return self.run('-p', program='postqueue').stdout

    def flush(self):
        self.run('-f', program='postqueue')


class Gatepost(Instance):
    name = 'gatepost'
    # Services end when they make a system call that nobody foresaw.
    sandbox = 'service_sandbox = allow-list\n'
    program = None  # set by the command line
    proc = None

    @staticmethod
    def owner():
        for user in ('gatepost', 'postfix'):
            try:
                return pwd.getpwnam(user).pw_name
            except KeyError:
                continue
        raise AssertionError('neither a user gatepost nor postfix')

    def run(self, *args, timeout=30, env=None):
        return subprocess.run([*self.prefix, self.program, '-c', self.dir + '/conf', *args], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=timeout * PATIENCE, env=env)

    def try_start(self):
        return self.run('start')

    def stop(self):
        pid = self.master_pid()
        if pid is None:
            return
        done = self.run('stop')
        alive = lambda: os.path.exists(f'/proc/{pid}') and open(f'/proc/{pid}/stat').read().split(') ')[1][0] != 'Z'
        until(lambda: not alive(), f'gatepost stopped: {done.stderr}')

    def reload(self):
        done = self.run('reload')
        assert done.returncode == 0, done.stderr

    def mailq(self):
        return subprocess.run([os.path.join(os.path.dirname(self.program), 'mailq'), '-C', self.dir + '/conf'],
                              capture_output=True, text=True, timeout=30).stdout

    def flush(self):
        done = self.run('flush')
        assert done.returncode == 0, done.stderr


def sanitized(program):
    """Built with sanitizers, which need /proc and make system calls of their own."""
    with open(program, 'rb') as file:
        text = file.read()
    return b'__asan_init' in text or b'__tsan_init' in text


def wait_port(port, timeout=10, host='127.0.0.1'):
    end = time.monotonic() + timeout * PATIENCE
    while True:
        try:
            return Client((host, port)).close()
        except ConnectionRefusedError:
            assert time.monotonic() < end, f'nobody listens on {port}'
            time.sleep(0.02)
