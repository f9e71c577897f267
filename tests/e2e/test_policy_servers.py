"""Policy servers that nobody here wrote: Debian's postgrey and policyd-spf."""
import os
import pwd
import shutil
import subprocess
import tempfile
import threading

import pytest
from harness.instance import wait_port

ASKS = '-o { smtpd_recipient_restrictions = check_policy_service inet:127.0.0.1:{policy} }'
GREY = 'NAME=mail.grey.example ADDR=192.0.2.7 REVERSE_NAME=mail.grey.example'


@pytest.fixture
def mta(sut):
    with sut(services={'smtp': ASKS}) as mta:
        yield mta


@pytest.fixture
def postgrey(mta):
    if os.geteuid() != 0:
        pytest.skip('postgrey changes its user: needs root')
    if not shutil.which('postgrey'):
        pytest.skip('needs postgrey')
    with tempfile.TemporaryDirectory(prefix='gp-grey-', dir='/tmp') as directory:
        user = pwd.getpwnam('postgrey')
        os.chown(directory, user.pw_uid, user.pw_gid)
        daemon = subprocess.Popen(['postgrey', f'--inet=127.0.0.1:{mta.port("policy")}', f'--dbdir={directory}', '--delay=2',
                                   '--greylist-text=Greylisted for %s seconds', '--hostname=mx.gate.test'],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_port(mta.port('policy'))
            yield daemon
        finally:
            daemon.terminate()
            daemon.wait(10)


def attempt(mta, recipient='alice@virt.test'):
    with mta.session('smtp', xclient=GREY) as client:
        client.cmd('MAIL FROM:<a@grey.example>', 250)
        return client.cmd(f'RCPT TO:<{recipient}>')


def test_postgrey(mta, postgrey):
    """Deferred first, taken two seconds later."""
    reply = attempt(mta)
    assert reply == '450 4.2.0 <alice@virt.test>: Recipient address rejected: Greylisted for 2 seconds', reply
    assert attempt(mta, 'bob@virt.test').code == 450
    for _ in range(50):
        threading.Event().wait(0.2)
        if attempt(mta).code == 250:
            break
    with mta.session('smtp', xclient=GREY) as client:
        client.message(sender='a@grey.example', wanted='~250 2.0.0 Ok: queued as .*')


SPF = """\
policyd-spf  unix  -       n       n       -       0       spawn
    user=policyd-spf argv=/usr/bin/policyd-spf
"""


def test_policyd_spf(sut):
    """Run by spawn, as its documentation has it."""
    if os.geteuid() != 0 or not shutil.which('policyd-spf'):
        pytest.skip('needs postfix-policyd-spf-python, and root')
    lists = '-o { smtpd_recipient_restrictions = check_policy_service unix:private/policyd-spf }'
    with sut('policyd-spf_time_limit = 3600\n', {'smtp': lists}, SPF) as mta:
        with mta.session('smtp') as client:
            for _ in range(2):
                client.message(to=['alice@virt.test', 'bob@virt.test'], wanted='~250 2.0.0 Ok: queued as .*')
        assert not [text for text in mta.log.texts() if text.startswith('warning: ') and 'policyd' in text]
