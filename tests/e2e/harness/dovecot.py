"""Dovecot's authentication service, with users of its own."""
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile

from .peer import until

CONF = '''
base_dir = {dir}/run
state_dir = {dir}/state
log_path = {dir}/log
protocols =
ssl = no
default_internal_user = nobody
default_internal_group = nogroup
default_login_user = nobody
disable_plaintext_auth = no
auth_mechanisms = plain login scram-sha-256
auth_failure_delay = 0
passdb {{
  driver = passwd-file
  args = scheme=plain username_format=%u {dir}/users
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home=/
}}
service auth {{
  unix_listener {dir}/auth {{
    mode = 0666
  }}
{more}
  inet_listener {{
    address = 127.0.0.1
    port = {port}
  }}
}}
service stats {{
  chroot =
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
'''


class Dovecot:
    def __init__(self, port, users, listeners=()):
        self.port = port
        self.directory = tempfile.mkdtemp(prefix='dovecot-')
        os.chmod(self.directory, 0o755)
        self.socket = f'{self.directory}/auth'
        with open(f'{self.directory}/users', 'w') as file:
            file.writelines(f'{user}:{{plain}}{password}\n' for user, password in users.items())
        os.chown(f'{self.directory}/users', pwd.getpwnam('nobody').pw_uid, -1)
        os.chmod(f'{self.directory}/users', 0o644)
        with open(f'{self.directory}/dovecot.conf', 'w') as file:
            file.write(CONF.format(dir=self.directory, port=port, more=''.join(
                f'  unix_listener {path} {{\n    mode = 0666\n  }}\n' for path in listeners)))
        self.process = None

    def answers(self):
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(self.socket) == 0

    def start(self):
        self.process = subprocess.Popen(['dovecot', '-F', '-c', f'{self.directory}/dovecot.conf'], stderr=subprocess.DEVNULL)
        assert until(self.answers), open(f'{self.directory}/log').read()

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20)
            self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
