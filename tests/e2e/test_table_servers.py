"""Names of tables' servers that the system's resolver takes long to find."""
import subprocess
import time

import pytest
from harness import PATIENCE
from harness.dns import Dns
from harness.namespace import Namespace
from test_sql_tables import BOXES, write

LATE = 'looking up its name takes too long'


@pytest.mark.gatepost_only
def test_names_that_take_long(request, tmp_path):
    """The system's resolver has a time limit of its own, here one and a half minutes; a lookup has another."""
    server = 'hosts = slow.test\nuser = mail\npassword = secret\ndbname = mail\n' + BOXES
    tables = {'pgsql:host': server, 'mysql:host': server, 'pgsql:uri': server.replace('slow.test', 'postgresql://mail:secret@slow.test/mail'),
              'ldap:host': 'server_host = slow.test\ntimeout = 1\nsearch_base = dc=test\n'}
    conf = str(tmp_path)
    write(conf, 'main.cf', 'compatibility_level = 3.6\n')
    with Namespace(more='echo "nameserver 127.0.0.1\noptions timeout:30 attempts:3" > /etc/resolv.conf') as namespace, \
            Dns(('127.0.0.1', 53), 'slow.test DROP\n', inside=namespace.inside):
        begun = time.monotonic()
        running = []
        for name, text in tables.items():
            spec = f'{name.partition(":")[0]}:{write(conf, name + ".cf", text)}'
            running.append(subprocess.Popen([*namespace.prefix, request.config.getoption('--gatepost'), 'map', '-c', conf, '-q', 'alice@virt.test', spec],
                                            stderr=subprocess.PIPE, text=True))
        for process in running:
            _, said = process.communicate(timeout=120)
            assert process.returncode == 1 and LATE in said, said
        assert time.monotonic() - begun < 30 * PATIENCE
