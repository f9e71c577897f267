"""AUTH with Cyrus SASL: its database of users (sasldb2), and saslauthd."""
import base64
import hashlib
import hmac
import os
import shutil
import smtplib
import subprocess

import pytest
from harness.cyrus import Cyrus
from harness.instance import sanitized
from harness.memory import held, processes

HOST = 'mx.gate.test'
USERS = {'alice': 'Geheim-Kennwort-4711', 'bob@other.test': 'xyzzy'}
LOGINS = {'carol': 'Mein-Anmeldewort-1234'}
ALL = 'SCRAM-SHA-256 DIGEST-MD5 CRAM-MD5 PLAIN LOGIN'
FAILED = '535 5.7.8 Error: authentication failed: '
DONE = '235 2.7.0 Authentication successful'
MAIN = '''
mynetworks = 192.0.2.1
smtpd_sasl_auth_enable = yes
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
smtpd_sasl_authenticated_header = yes
smtpd_soft_error_limit = 100
smtpd_hard_error_limit = 100
'''
SERVICES = {'smtp': '', 'daemon': '-o smtpd_sasl_path=saslauthd', 'noplain': '-o smtpd_sasl_security_options=noanonymous,noplaintext',
            'mutual': '-o smtpd_sasl_security_options=mutual_auth', 'few': '-o smtpd_sasl_mechanism_filter=plain,cram-md5',
            'realm': '-o smtpd_sasl_local_domain=other.test'}


def b64(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def plain(user, password, act_as=''):
    return b64(f'{act_as}\0{user}\0{password}')


ALICE = plain('alice', USERS['alice'])
CAROL = plain('carol', LOGINS['carol'])


@pytest.fixture(scope='module')
def cyrus(sut, ports):
    if os.geteuid() != 0:
        pytest.skip('the mail system runs as another user')
    with Cyrus(ports.take(), HOST, USERS, LOGINS, sut.kind.owner()) as cyrus:
        yield cyrus


@pytest.fixture(scope='module')
def mta(sut, cyrus):
    with cyrus.configure(sut(MAIN, services=SERVICES)) as mta:
        yield mta


# Lines of NAME.conf, and what check says of them. A name in capitals is that of a service in a chroot.
DOUBTS = {
    'good': ('pwcheck_method: auxprop saslauthd\nsasldb_path: {good}\nsaslauthd_path: {mux}\nmech_list: plain LOGIN EXTERNAL\n', []),
    'method': ('pwcheck_method: saslauth\nmech_list: PLAIN\n', ['pwcheck_method: there is no method "saslauth"']),
    'away': ('pwcheck_method: saslauthd\nsaslauthd_path: {root}/absent\nmech_list: PLAIN\n',
             ['saslauthd_path: saslauthd cannot be asked at {root}/absent: No such file or directory']),
    'locked': ('pwcheck_method: saslauthd\nsaslauthd_path: {root}/locked/mux\nmech_list: PLAIN\n',
               ['saslauthd_path: saslauthd cannot be asked at {root}/locked/mux: Permission denied']),
    'private': ('pwcheck_method: auxprop\nsasldb_path: {root}/locked/users\nmech_list: PLAIN\n',
                ['sasldb_path: users cannot be read in {root}/locked/users: Permission denied']),
    'words': ('pwcheck_method: saslauthd\nsaslauthd_path: {mux}\nmech_list: PLAIN NOSUCH\n', ['mech_list: no plugin has a mechanism "NOSUCH"']),
    'nothing': ('pwcheck_method: saslauthd\nsaslauthd_path: {mux}\nmech_list: NOSUCH\n',
                ['mech_list: no plugin has a mechanism "NOSUCH"', 'there is no mechanism to offer']),
    'OUTSIDE': ('pwcheck_method: auxprop\nsasldb_path: {good}\nmech_list: PLAIN\n', ['sasldb_path: users cannot be read in {good}: No such file or directory']),
}


@pytest.mark.gatepost_only
def test_check_doubts(gatepost, cyrus):
    lines = ''.join(f'127.0.0.1:{{{name}}} inet n - {"y" if name.isupper() else "n"} - - smtpd -o smtpd_sasl_path={name}\n' for name in DOUBTS)
    mta = cyrus.configure(gatepost('smtpd_sasl_auth_enable = yes\n', base='', master=lines))
    try:
        os.mkdir(mta.dir + '/locked', 0o700)
        for name in 'users', 'mux':
            shutil.copy(cyrus.database, f'{mta.dir}/locked/{name}')
        texts = {'good': cyrus.database, 'mux': cyrus.directory + '/mux', 'root': mta.dir}
        for name, (conf, _) in DOUBTS.items():
            with open(f'{mta.dir}/conf/sasl/{name}.conf', 'w') as file:
                file.write(conf.format(**texts))
        done = mta.run('check')
        assert done.returncode == 0
        for name, (_, said) in DOUBTS.items():
            told = [line.partition(f'warning: {name}.conf: ')[2] for line in done.stderr.splitlines() if f' {name}.conf: ' in line]
            if not (name.isupper() and sanitized(mta.program)):  # which stays outside
                assert told == [text.format(**texts) for text in said], done.stderr
        with open(f'{mta.dir}/conf/sasl/good.conf', 'w') as file:
            file.write('this is no line\n')
        done = mta.run('check')
        assert done.returncode != 0 and ': fatal: ' in done.stderr and 'SASL per-process initialization failed' in done.stderr, done.stderr
    finally:
        mta.__exit__()


@pytest.mark.parametrize('service, names', [
    ('smtp', ALL), ('daemon', 'PLAIN LOGIN'), ('noplain', 'SCRAM-SHA-256 DIGEST-MD5 CRAM-MD5'), ('few', 'CRAM-MD5 PLAIN'),
    ('mutual', 'SCRAM-SHA-256 DIGEST-MD5')])
def test_what_is_offered(mta, service, names):
    with mta.session(service, helo=None) as client:
        offered = [line[4:] for line in client.cmd('EHLO c.example', 250).split('\n') if 'AUTH' in line]
    assert [set(line.split()) for line in offered] == [{'AUTH', *names.split()}]


def test_plain(mta):
    """Of the database and of saslauthd; then the client may relay, and is named."""
    for service, response, user in ('smtp', ALICE, 'alice'), ('daemon', CAROL, 'carol'), ('realm', plain('bob', 'xyzzy'), 'bob@other.test'):
        mark = mta.log.mark()
        for steps in [(f'AUTH plain {response}', DONE)], [('AUTH PLAIN', '334 '), (response, DONE)]:
            with mta.session(service) as client:
                client.talk(*steps, ('AUTH LOGIN', '503 5.5.1 Error: already authenticated'),
                            ('MAIL FROM:<a@b.example> AUTH=<>', 250), ('RCPT TO:<x@far.example>', 250), ('RSET', 250))
                client.message(wanted='~250 .*')
                client.quit()
        for method in 'plain', 'PLAIN':
            assert mta.log.wait(rf'.*: client=localhost\[127\.0\.0\.1\], sasl_method={method}, sasl_username={user}', mark)


def test_other_mechanisms(mta):
    password = USERS['alice']
    with mta.session('smtp') as client:
        client.talk(('AUTH LOGIN', '334 VXNlcm5hbWU6'), (b64('alice'), '334 UGFzc3dvcmQ6'), (b64(password), DONE))
    with mta.session('smtp') as client:
        challenge = base64.b64decode(client.cmd('AUTH CRAM-MD5', 334)[4:])
        client.cmd(b64('alice ' + hmac.new(password.encode(), challenge, hashlib.md5).hexdigest()), DONE)
    with mta.session('smtp') as client:
        client.talk(('AUTH CRAM-MD5', 334), (b64('alice ' + '0' * 32), FAILED + 'authentication failure'))
    for auth in ('plain', 'login', 'cram-md5', 'digest-md5', 'scram-sha-256'):
        subprocess.run(['msmtp', '--host=127.0.0.1', f'--port={mta.port("smtp")}', f'--auth={auth}', '--user=alice', '--passwordeval',
                        f'echo {password}', '--from=a@b.example', '--tls=off', '--file=/dev/null', 'alice@virt.test'],
                       input=b'Subject: x\n\nbody\n', check=True)
    with smtplib.SMTP('127.0.0.1', mta.port('daemon')) as client:
        client.login('carol', LOGINS['carol'])


def test_refusals(mta):
    """In Postfix's words: they are the library's."""
    mark = mta.log.mark()
    bad = FAILED + 'bad protocol / cancel'
    short = FAILED + 'another step is needed in authentication'
    with mta.session('smtp') as client:
        client.talk(('AUTH', '501 5.5.4 Syntax: AUTH mechanism'), ('AUTH NONE', FAILED + 'no mechanism available'),
                    ('AUTH EXTERNAL', FAILED + 'no mechanism available'),
                    ('AUTH PLAIN a*b', short), ('AUTH PLAIN AGE', short), ('AUTH PLAIN AGE=x', bad), ('AUTH PLAIN AAAA', bad),
                    ('AUTH PLAIN', '334 '), ('', bad), ('AUTH PLAIN =', short),
                    ('AUTH LOGIN', 334), ('AAAA', 334), ('AAAA', 454),
                    ('AUTH LOGIN', 334), ('*', '501 5.7.0 Authentication aborted'), ('AUTH LOGIN', 334), ('a*b', short),
                    ('AUTH PLAIN ' + plain('alice', 'wrong'), FAILED + 'authentication failure'),
                    ('AUTH PLAIN ' + plain('nobody', 'wrong'), FAILED + 'authentication failure'),
                    ('AUTH PLAIN ' + plain('alice', USERS['alice'], 'bob'), FAILED + 'authentication failure'),
                    ('AUTH DIGEST-MD5', 334), (b64('garbage'), FAILED + 'authentication failure'),
                    ('AUTH SCRAM-SHA-256', '334 '), (b64('garbage'), bad),
                    ('AUTH LOGIN', 334), ('x' * 12000, bad), ('AUTH LOGIN', 334), ('x' * 12500, '500 5.5.6 SASL response limit exceeded'),
                    ('MAIL FROM:<a@b.example>', 250), (f'AUTH PLAIN {ALICE}', '503 5.5.1 Error: MAIL transaction in progress'))
    with mta.session('daemon') as client:
        client.talk(('AUTH PLAIN ' + plain('carol', 'wrong'), FAILED + 'authentication failure'),
                    ('AUTH PLAIN ' + plain('carol', 'x' * 300), FAILED + 'authentication failure'),
                    ('AUTH LOGIN', 334), (b64('carol'), 334), (b64('wrong'), FAILED + 'authentication failure'), (f'AUTH PLAIN {CAROL}', DONE))
    with mta.session('noplain') as client:
        client.cmd(f'AUTH PLAIN {ALICE}', FAILED + 'encryption needed to use mechanism')
    with mta.session('few') as client:
        client.cmd('AUTH LOGIN', FAILED + 'no mechanism available' if mta.newer else None)
    failed = r'warning: localhost\[127\.0\.0\.1\]: SASL '
    for line in ('PLAIN authentication failed: authentication failure, sasl_username=alice',
                 r'NONE authentication failed: no mechanism available, sasl_username=\(unavailable\)', 'LOGIN authentication aborted'):
        assert mta.log.wait(failed + line, mark)
    for line in ('Password verification failed', "Couldn't find mech NONE"):
        assert mta.log.wait('warning: SASL authentication failure: ' + line, mark)


def test_fail2ban(mta):
    """The stock filter of Postfix finds who guesses."""
    wrong = plain('alice', 'wrong')
    for octet, steps in (81, [(f'AUTH PLAIN {wrong}', 535)] * 3), (82, [('AUTH LOGIN', 334), ('YQ==', 334), ('YQ==', 535)]), \
            (83, [(f'AUTH PLAIN {ALICE}', 235)]), (84, [('AUTH NONE', 535), ('AUTH LOGIN', 334), ('*', 501)]):
        with mta.session('smtp', xclient=f'NAME=h.up.test ADDR=192.0.2.{octet}') as client:
            client.talk(*steps)
            client.quit()
    for mode in 'auth', 'aggressive':
        found = subprocess.run(['fail2ban-regex', '-o', '<ip>', mta.log.path, f'/etc/fail2ban/filter.d/postfix.conf[mode={mode}]'],
                               capture_output=True, text=True, check=True).stdout.split()
        assert [found.count(f'192.0.2.{octet}') for octet in (81, 82, 83, 84)] == [3, 1, 0, 0]


def test_no_password_stays(mta, sut):
    """Neither in the log nor in memory, with saslauthd; of the database's pages, which hold passwords, see below."""
    if not sut.newer:
        pytest.skip('Postfix overwrites nothing')
    password, other = LOGINS['carol'], 'Ganz-falsches-Wort-0815'
    texts = [password, CAROL, b64(password), other, b64(other), plain('carol', other)]
    clients = [mta.session('daemon') for _ in range(4)]
    clients[0].cmd(f'AUTH PLAIN {CAROL}', 235)
    clients[1].talk(('AUTH LOGIN', 334), (b64('carol'), 334), (b64(password), 235))
    clients[2].cmd(f'AUTH PLAIN {plain("carol", other)}', 535)
    clients[3].talk(('AUTH PLAIN', 334), (plain('carol', other), 535))
    wanted = [text.rstrip('=').encode() for text in texts]
    assert {pid: found for pid in processes(mta) if (found := held(pid, wanted))} == {}
    assert [text for text in texts if text.rstrip('=') in mta.log_text()] == []
    for client in clients:
        client.close()
    with mta.session('smtp') as client:
        client.cmd(f'AUTH PLAIN {ALICE}', 235)
        wanted = [text.rstrip('=').encode() for text in (ALICE, USERS['alice'])]
        assert {pid: found for pid in processes(mta) if (found := held(pid, wanted))} == {}
