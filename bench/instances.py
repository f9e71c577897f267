"""Private mail systems for the measurements: Postfix and gatepost with the same configuration, a null filter, a pass-through filter.

Everything lives in one temporary directory and on loopback ports; every process is stopped by its own pid or its own stop command.
"""
import os
import shutil
import signal
import socket
import subprocess
import time

HOST = '127.0.0.1'
SINK_PORT = 23150

# In front of the whole-path measurement's after-filter server stands HAProxy; the accept measurement has a queue of its own that nothing
# delivers from, so that only the intake is measured.
MAIN = """\
compatibility_level = 3.6
queue_directory = {dir}/queue
data_directory = {dir}/data
maillog_file = {dir}/mail.log
maillog_file_prefixes = {dir}
mail_owner = postfix
myhostname = mx.example.test
mydomain = example.test
mydestination =
inet_interfaces = loopback-only
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
local_recipient_maps =
virtual_mailbox_domains = example.test
virtual_mailbox_maps = static:all/
virtual_mailbox_base = {dir}/vmail
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
relay_domains = relay.test
relay_recipient_maps = inline:{{known@relay.test=here}}
smtpd_peername_lookup = no
in_flow_delay = 0
"""

SERVICES = """\
cleanup    unix  n       -       n       -       0       cleanup
rewrite    unix  -       -       n       -       -       trivial-rewrite
bounce     unix  -       -       n       -       0       bounce
defer      unix  -       -       n       -       0       bounce
trace      unix  -       -       n       -       0       bounce
proxymap   unix  -       -       n       -       -       proxymap
error      unix  -       -       n       -       -       error
retry      unix  -       -       n       -       -       error
virtual    unix  -       n       n       -       -       virtual
anvil      unix  -       -       n       -       1       anvil
postlog    unix-dgram n  -       n       -       1       postlogd
"""

QUEUE_MANAGER = 'qmgr       unix  n       -       n       300     1       qmgr\n'


def wait_for_greeting(port, seconds, process):
    """Until an SMTP server answers there, itself or through a pass-through filter."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with socket.create_connection((HOST, port), timeout=seconds) as connection:
                if connection.recv(3) == b'220':
                    return
        except OSError:
            pass
        if process.poll() is not None:
            raise RuntimeError(f'{process.args[0]} ended with status {process.returncode}')
        if time.monotonic() > deadline:
            raise RuntimeError(f'no greeting on port {port} after {seconds} s')
        time.sleep(0.05)


def end(process):
    """Stops a process that we started, and waits for it."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class System:
    """One mail system: an instance that does everything, and one without a queue manager for the accept measurement."""

    def __init__(self, name, command, top, first_port, idle_sessions):
        self.name = name
        self.command = command
        self.top = os.path.join(top, name)
        (self.front, self.idle, self.path, self.relay, self.after, self.accept, self.checks, self.kept, self.filter, self.listed,
         self.waiting, self.tlspath, self.idletls, self.plain, self.wrapped) = range(first_port, first_port + 15)
        self.unknown = self.front
        self.ours = os.path.basename(command) != 'postfix'
        if not self.ours:
            self.kept = self.path
        self.idle_sessions = idle_sessions
        self.processes = {}
        self.haproxy = None
        self.deaf = []

    def start(self):
        os.mkdir(self.top)
        os.chmod(self.top, 0o755)
        self._start_instance('all', (
            f'{HOST}:{self.front} inet n - n - 100 smtpd -o smtpd_proxy_filter={HOST}:{SINK_PORT}\n'
            f'{HOST}:{self.idle} inet n - n - {self.idle_sessions + 10} smtpd'
            f' -o smtpd_client_connection_count_limit=0 -o smtpd_timeout=600s\n'
            f'{HOST}:{self.path} inet n - n - 100 smtpd -o smtpd_proxy_filter={HOST}:{self.relay}\n'
            f'{HOST}:{self.after} inet n - n - 100 smtpd -o smtpd_authorized_xforward_hosts=127.0.0.0/8\n'
            f'{HOST}:{self.listed} inet n - n - 100 smtpd -o smtpd_client_restrictions=reject_rbl_client,bl.test\n'
            f'{HOST}:{self.waiting} inet n - n - 1000 smtpd -o smtpd_client_restrictions=reject_rbl_client,slow.test\n'
            + self._tls_services() + self._kept_services() + QUEUE_MANAGER + SERVICES), self.front)
        self._start_instance('accept', (
            f'{HOST}:{self.accept} inet n - n - 100 smtpd -o smtpd_authorized_xforward_hosts=127.0.0.0/8\n'
            + SERVICES), self.accept)
        self._start_instance('checks', self._checks_service() + SERVICES, self.checks)
        if self.name == 'postfix':
            self._start_deaf_queue_manager()
        self._start_haproxy()

    def _start_deaf_queue_manager(self):
        """Takes the wake-up calls of Postfix's cleanup; without it each message would log a warning, which is no part of accepting it."""
        for part in ('accept', 'checks'):
            path = os.path.join(self.top, f'{part}/queue/public/qmgr')
            os.mkfifo(path)
            os.chmod(path, 0o622)
            self.deaf.append(os.open(path, os.O_RDWR | os.O_NONBLOCK))

    def _kept_services(self):
        """Our filter in the middle, with connections that are kept and commands that go together."""
        if not self.ours:
            return ''
        return (f'{HOST}:{self.kept} inet n - n - 100 smtpd -o smtpd_proxy_filter={HOST}:{self.filter} -o smtpd_proxy_options=speed_adjust\n'
                f'    -o smtpd_proxy_connection_reuse=yes -o smtpd_proxy_pipelining=yes\n'
                f'{HOST}:{self.filter} inet n - n - 100 filter -o filter_nexthop={HOST}:{self.after}\n')

    def _tls_services(self):
        tls = f'-o smtpd_tls_security_level=may -o smtpd_tls_chain_files={os.path.dirname(self.top)}/tls.chain'
        return (f'{HOST}:{self.tlspath} inet n - n - 100 smtpd {tls} -o smtpd_proxy_filter={HOST}:{self.relay}\n'
                f'{HOST}:{self.idletls} inet n - n - {self.idle_sessions + 10} smtpd {tls}'
                f' -o smtpd_client_connection_count_limit=0 -o smtpd_timeout=600s\n'
                f'{HOST}:{self.plain} inet n - n - 100 smtpd\n'
                f'{HOST}:{self.wrapped} inet n - n - 100 smtpd {tls} -o smtpd_tls_wrappermode=yes\n'
                f'tlsmgr     unix  -       -       n       1000?   1       tlsmgr\n')

    def _checks_service(self):
        """header_checks and body_checks with the patterns of checks.py: cleanup's, and those of our filter in front of the null filter."""
        tables = [f'{name}=pcre:{os.path.dirname(self.top)}/{name}' for name in ('header_checks', 'body_checks')]
        if not self.ours:
            options = ' '.join(f'-o {table}' for table in tables)
            return (f'{HOST}:{self.checks} inet n - n - 100 smtpd -o cleanup_service_name=checked\n'
                    f'checked unix n - n - 0 cleanup {options}\n')
        return (f'{HOST}:{self.checks} inet n - n - 100 filter -o filter_nexthop={HOST}:{SINK_PORT}\n'
                f'    -o {{ filter_inspectors = {{ checks: {", ".join(tables)} }} }}\n')

    def _start_instance(self, part, master, port):
        top = os.path.join(self.top, part)
        for sub in ('', 'conf', 'queue', 'data', 'vmail'):
            os.mkdir(os.path.join(top, sub))
            os.chmod(os.path.join(top, sub), 0o755)
        uid, gid = os.getuid(), os.getgid()
        if uid == 0:
            uid = gid = 5000
            shutil.chown(os.path.join(top, 'data'), 'postfix')
            os.chown(os.path.join(top, 'vmail'), uid, gid)
        conf = os.path.join(top, 'conf')
        with open(os.path.join(conf, 'main.cf'), 'w') as f:
            f.write(MAIN.format(dir=top, uid=uid, gid=gid))
        with open(os.path.join(conf, 'master.cf'), 'w') as f:
            f.write(master)
        with open(os.path.join(top, 'output'), 'w') as output:
            process = subprocess.Popen([self.command, '-c', conf, 'start-fg'], stdin=subprocess.DEVNULL,
                                       stdout=output, stderr=output, start_new_session=True)
        self.processes[part] = process
        try:
            wait_for_greeting(port, 20, process)
        except RuntimeError as why:
            with open(os.path.join(top, 'output'), errors='replace') as f:
                raise RuntimeError(f'{self.name} did not start: {why}\n{f.read()[-2000:]}') from None

    def _start_haproxy(self):
        path = os.path.join(self.top, 'haproxy.cfg')
        with open(path, 'w') as f:
            f.write('global\n    maxconn 2000\n    nbthread 1\n'
                    'defaults\n    mode tcp\n    timeout connect 10s\n    timeout client 300s\n    timeout server 300s\n'
                    f'listen filter\n    bind {HOST}:{self.relay}\n    server after {HOST}:{self.after}\n')
        self.haproxy = subprocess.Popen(['haproxy', '-db', '-q', '-f', path], stdin=subprocess.DEVNULL)
        wait_for_greeting(self.relay, 10, self.haproxy)

    def root_pid(self, part):
        """The process whose tree is the system's."""
        return self.processes[part].pid

    def delivered(self):
        """How many messages lie in the Maildir."""
        try:
            return len(os.listdir(os.path.join(self.top, 'all/vmail/all/new')))
        except FileNotFoundError:
            return 0

    def empty_maildir(self):
        shutil.rmtree(os.path.join(self.top, 'all/vmail/all'), ignore_errors=True)

    def log_tail(self):
        lines = []
        for part in self.processes:
            try:
                with open(os.path.join(self.top, part, 'mail.log'), errors='replace') as f:
                    lines += [line for line in f if ' warning: ' in line or ' error: ' in line
                              or ' fatal: ' in line or ' panic: ' in line][-5:]
            except FileNotFoundError:
                pass
        return ''.join(lines)

    def stop(self):
        for part, process in self.processes.items():
            if process.poll() is None:
                subprocess.run([self.command, '-c', os.path.join(self.top, part, 'conf'), 'stop'],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               timeout=30, check=False)
            end(process)
        if self.haproxy:
            end(self.haproxy)
        for fd in self.deaf:
            os.close(fd)


NGINX = """\
load_module modules/ngx_mail_module.so;
daemon off;
user nobody nogroup;
pid {top}/pid;
error_log {top}/error.log warn;
worker_processes auto;
events {{
    worker_connections 4000;
}}
http {{
    access_log off;
    server {{
        listen {host}:{ask};
        location / {{
            add_header Auth-Status OK;
            add_header Auth-Server {host};
            add_header Auth-Port {sink};
            return 200;
        }}
    }}
}}
mail {{
    server_name mx.example.test;
    auth_http {host}:{ask}/;
    proxy_pass_error_message on;
    server {{
        listen {host}:{front};
        protocol smtp;
        smtp_auth none;
        xclient off;
    }}
}}
"""


class Nginx:
    """nginx's mail proxy in front of the null filter: no mail system, it passes through what the client says. It insists on asking a web server
    where to; its own one answers."""
    name = 'nginx'

    def __init__(self, top, first_port):
        self.top = os.path.join(top, self.name)
        self.front, self.ask = first_port, first_port + 1
        self.process = None

    def start(self):
        os.mkdir(self.top)
        path = os.path.join(self.top, 'nginx.conf')
        with open(path, 'w') as f:
            f.write(NGINX.format(top=self.top, host=HOST, ask=self.ask, front=self.front, sink=SINK_PORT))
        self.process = subprocess.Popen(['nginx', '-e', f'{self.top}/error.log', '-p', '/usr/share/nginx', '-c', path],
                                        stdin=subprocess.DEVNULL)
        wait_for_greeting(self.front, 10, self.process)

    def root_pid(self, part):
        return self.process.pid

    def log_tail(self):
        try:
            with open(os.path.join(self.top, 'error.log'), errors='replace') as f:
                return ''.join(f.readlines()[-5:])
        except FileNotFoundError:
            return ''

    def stop(self):
        if self.process:
            end(self.process)


def start_sink():
    """The null filter: takes everything."""
    user = ['-u', 'nobody'] if os.getuid() == 0 else []
    sink = subprocess.Popen(['smtp-sink', *user, f'{HOST}:{SINK_PORT}', '1000'], stdin=subprocess.DEVNULL)
    wait_for_greeting(SINK_PORT, 10, sink)
    return sink
