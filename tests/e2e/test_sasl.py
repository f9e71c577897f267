"""AUTH: Dovecot's authentication service behind it, with its mechanisms and users; real clients in front."""
import base64
import os
import re
import smtplib
import subprocess

import pytest
from harness.dovecot import Dovecot
from harness.memory import held, processes
from harness.peer import until

USERS = {'alice': 'Geheim-Kennwort-4711', 'bob': 'x'}
QUEUED = '~250 2.0.0 Ok: queued as [0-9A-F]+'
NOT_ENABLED = '503 5.5.1 Error: authentication not enabled'
FAILED = '535 5.7.8 Error: authentication failed: '
MAIN = '''
mynetworks = 192.0.2.1
smtpd_sasl_type = dovecot
smtpd_sasl_path = {path}
smtpd_sasl_auth_enable = yes
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
smtpd_sasl_authenticated_header = yes
smtpd_soft_error_limit = 100
smtpd_hard_error_limit = 100
'''
SERVICES = {'smtp': '', 'noplain': '-o smtpd_sasl_security_options=noanonymous,noplaintext', 'tls': '-o smtpd_tls_auth_only=yes',
            'must': '-o smtpd_tls_security_level=encrypt', 'off': '-o smtpd_sasl_auth_enable=no', 'old': '-o broken_sasl_auth_clients=yes',
            'exempt': '-o smtpd_sasl_exceptions_networks=127.0.0.0/8', 'silent': '-o smtpd_discard_ehlo_keywords=auth',
            'owners': '-o { smtpd_sender_login_maps = inline:{{alice@b.example=alice}} } '
                      '-o { smtpd_sender_restrictions = check_sasl_access inline:{bob=REJECT}, '
                      'reject_sender_login_mismatch }',
            'few': '-o smtpd_sasl_mechanism_filter=plain', 'inet': '-o smtpd_sasl_path=inet:127.0.0.1:{auth}',
            }


def b64(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def plain(user, password):
    return b64(f'\0{user}\0{password}')


ALICE = plain('alice', USERS['alice'])


@pytest.fixture(scope='module')
def dovecot(ports):
    if os.geteuid() != 0:
        pytest.skip('Dovecot is started as root')
    with Dovecot(ports.take(), USERS) as server:
        yield server


@pytest.fixture(scope='module')
def mta(sut, dovecot):
    services = {name: options.replace('{auth}', str(dovecot.port)) for name, options in SERVICES.items()}
    with sut(MAIN.replace('{path}', dovecot.socket), services=services) as mta:
        yield mta


def offered(mta, service):
    with mta.session(service, helo=None) as client:
        return [line[4:] for line in client.cmd('EHLO c.example', 250).split('\n') if 'AUTH' in line]


@pytest.mark.parametrize('service, lines', [
    ('smtp', ['AUTH PLAIN LOGIN SCRAM-SHA-256']), ('inet', ['AUTH PLAIN LOGIN SCRAM-SHA-256']), ('tls', []), ('must', []), ('off', []),
    ('old', ['AUTH PLAIN LOGIN SCRAM-SHA-256', 'AUTH=PLAIN LOGIN SCRAM-SHA-256']), ('noplain', ['AUTH SCRAM-SHA-256']),
    ('exempt', []), ('silent', []), ('few', ['AUTH PLAIN'])])
def test_what_is_offered(mta, service, lines):
    assert offered(mta, service) == lines


def test_plain(mta):
    """With the response at once and after a challenge; then the client may relay, and is named."""
    mark = mta.log.mark()
    for steps in ([(f'AUTH PLAIN {ALICE}', '235 2.7.0 Authentication successful')],
                  [('AUTH plain', '334 '), (ALICE, '235 2.7.0 Authentication successful')]):
        with mta.session('smtp') as client:
            client.talk(('MAIL FROM:<a@b.example>', 250), ('RCPT TO:<x@far.example>', '~[45]54 .*'), ('RSET', 250), *steps,
                        ('AUTH LOGIN', '503 5.5.1 Error: already authenticated'), ('RSET', 250), ('EHLO c.example', 250),
                        ('AUTH LOGIN', '503 5.5.1 Error: already authenticated'),
                        ('MAIL FROM:<a@b.example> AUTH=<>', 250), ('RCPT TO:<x@far.example>', 250), ('RSET', 250))
            client.message(wanted=QUEUED)
            client.quit()
    assert mta.log.wait(r'.*: client=localhost\[127\.0\.0\.1\], sasl_method=PLAIN, sasl_username=alice', mark)


def test_owners(mta):
    """Who may use which sender address."""
    with mta.session('owners') as client:
        client.talk(('MAIL FROM:<alice@b.example>', 250),
                    ('RCPT TO:<alice@virt.test>', '553 5.7.1 <alice@b.example>: Sender address rejected: not logged in'), ('RSET', 250),
                    ('MAIL FROM:<other@b.example>', 250), ('RCPT TO:<alice@virt.test>', 250), ('RSET', 250),
                    (f'AUTH PLAIN {ALICE}', 235), ('MAIL FROM:<alice@b.example>', 250), ('RCPT TO:<alice@virt.test>', 250), ('RSET', 250),
                    ('MAIL FROM:<other@b.example>', 250),
                    ('RCPT TO:<alice@virt.test>', '553 5.7.1 <other@b.example>: Sender address rejected: not owned by user alice'))


def test_sender_of_auth(mta):
    """AUTH= of MAIL is logged as it came, whoever says it; no login is made of it."""
    for steps, words in ([], ''), ([(f'AUTH PLAIN {ALICE}', 235)], ', sasl_method=PLAIN, sasl_username=alice'):
        mark = mta.log.mark()
        with mta.session('smtp') as client:
            client.talk(*steps, ('MAIL FROM:<a@b.example> AUTH=joe+40x.example', 250), ('RCPT TO:<alice@virt.test>', 250),
                        ('RSET', 250), ('MAIL FROM:<a@b.example> AUTH=<>', 250), ('RCPT TO:<alice@virt.test>', 250), ('RSET', 250),
                        ('MAIL FROM:<a@b.example> AUTH=joe', 250), ('RCPT TO:<x@far.example>', 250 if steps else '~[45]54 .*'))
        for more in ', sasl_sender=joe+40x.example', '':
            assert mta.log.wait(rf'[0-9A-F]+: client=localhost\[127\.0\.0\.1\]{re.escape(words + more)}', mark)


def test_login(mta):
    with mta.session('smtp') as client:
        client.talk(('AUTH LOGIN', '334 VXNlcm5hbWU6'), (b64('alice'), '334 UGFzc3dvcmQ6'),
                    (b64(USERS['alice']), '235 2.7.0 Authentication successful'))


def test_refusals(mta):
    mark = mta.log.mark()
    with mta.session('smtp') as client:
        client.talk(('AUTH', '501 5.5.4 Syntax: AUTH mechanism'), (f'AUTH PLAIN {ALICE} x', '501 5.5.4 Syntax: AUTH mechanism'),
                    ('AUTH NONE', FAILED + 'Invalid authentication mechanism'),
                    ('AUTH PLAIN a*b', FAILED + 'Invalid base64 data in initial response'),
                    ('AUTH LOGIN', 334), ('AGE', FAILED + 'Invalid base64 data in continued response'),
                    ('AUTH LOGIN', 334), ('*', '501 5.7.0 Authentication aborted'),
                    ('AUTH LOGIN', 334), ('QUIT' + 'x' * 13000, '500 5.5.6 SASL response limit exceeded'),
                    ('AUTH LOGIN', 334), ('x' * 12284, FAILED + '(reason unavailable)'),
                    ('AUTH LOGIN', 334), (b64('u' * 200), 334), (b64('no'), 535))
    with mta.session('smtp') as client:
        client.talk(('AUTH PLAIN ' + plain('alice', 'wrong'), '~535 5.7.8 Error: authentication failed: .*'),
                    ('AUTH PLAIN =', FAILED + '(reason unavailable)'), ('AUTH PLAIN AAAA', FAILED + '(reason unavailable)'), ('MAIL FROM:<a@b.example>', 250),
                    (f'AUTH PLAIN {ALICE}', '503 5.5.1 Error: MAIL transaction in progress'))
    for service in ('tls', 'off', 'silent'):
        with mta.session(service) as client:
            client.cmd(f'AUTH PLAIN {ALICE}', NOT_ENABLED)
    with mta.session('noplain') as client:
        client.cmd(f'AUTH PLAIN {ALICE}', 535)
    failed = r'warning: localhost\[127\.0\.0\.1\]: SASL (PLAIN|LOGIN) authentication failed: .*, sasl_username='
    for user in 'alice', '', 'u' * 100:
        assert mta.log.wait(failed + user, mark)


def test_real_clients(mta):
    port = mta.port('smtp')
    for mechanism in ('PLAIN', 'LOGIN'):
        subprocess.run(['swaks', '--server', f'127.0.0.1:{port}', '--from', 'a@b.example', '--to', 'alice@virt.test', '--auth', mechanism,
                        '--auth-user', 'alice', '--auth-password', USERS['alice'], '--helo', 'c.example'], check=True, stdout=subprocess.DEVNULL)
    for auth in ('plain', 'login', 'scram-sha-256'):
        subprocess.run(['msmtp', '--host=127.0.0.1', f'--port={port}', f'--auth={auth}', '--user=alice', '--passwordeval',
                        f'echo {USERS["alice"]}', '--from=a@b.example', '--tls=off', '--file=/dev/null', 'alice@virt.test'],
                       input=b'Subject: x\n\nbody\n', check=True)
    subprocess.run(['curl', '-sS', f'smtp://127.0.0.1:{port}', '--mail-from', 'a@b.example', '--mail-rcpt', 'alice@virt.test', '--user',
                    f'alice:{USERS["alice"]}', '-T', '-'], input=b'Subject: x\n\nbody\n', check=True)
    with smtplib.SMTP('127.0.0.1', port) as client:
        client.login('alice', USERS['alice'])
    with smtplib.SMTP('127.0.0.1', port) as client, pytest.raises(smtplib.SMTPAuthenticationError):
        client.login('alice', 'wrong')


def test_server_that_is_away(sut, ports):
    """EHLO goes on without AUTH; one that authenticates all the same is told to come again; it mends itself."""
    if not sut.newer:
        pytest.skip('Postfix ends its session')
    with Dovecot(ports.take(), USERS) as dovecot:
        dovecot.stop()
        with sut(MAIN.replace('{path}', f'inet:127.0.0.1:{dovecot.port}'), services={'smtp': ''}) as mta:
            mark = mta.log.mark()
            assert offered(mta, 'smtp') == []
            with mta.session('smtp') as client:
                client.cmd(f'AUTH PLAIN {ALICE}', '454 4.7.0 Temporary authentication failure: '
                           "Can't connect to authentication server")
                dovecot.start()
                assert until(lambda: offered(mta, 'smtp') != [])
                client.cmd(f'AUTH PLAIN {ALICE}', 235)
            assert mta.log.wait('.*AUTH is not offered: .*', mark)


def test_no_password_stays(mta, sut):
    """Neither in the log nor in memory: not when it came in pieces, behind other commands, or was refused."""
    if not sut.newer:
        pytest.skip('Postfix overwrites nothing')
    password, other = USERS['alice'], 'Ganz-falsches-Wort-0815'
    texts = [password, ALICE, b64(password), other, b64(other), plain('alice', other)]
    clients = [mta.session('smtp') for _ in range(6)]
    clients[0].cmd(f'AUTH PLAIN {ALICE}', 235)
    clients[1].talk(('AUTH LOGIN', 334), (b64('alice'), 334), (b64(password), 235))
    clients[2].cmd(f'AUTH PLAIN {plain("alice", other)}', 535)
    clients[3].send(f'RSET\r\nRSET\r\nAUTH PLAIN {ALICE}\r\nNOOP\r\n'.encode())
    clients[3].expect(250)
    clients[3].expect(250)
    clients[3].expect(235)
    clients[4].send_slowly(f'AUTH PLAIN {plain("alice", other)}\r\n'.encode())
    clients[4].expect(535)
    clients[5].talk(('AUTH PLAIN', 334), (plain('alice', other), 535), (f'AUTH PLAIN {ALICE} x', 501),
                    (' AUTH PLAIN ' + ALICE, 235), (b64(password) + 'x' * 3000, 500))
    wanted = [text.rstrip('=').encode() for text in texts]
    assert {pid: found for pid in processes(mta) if (found := held(pid, wanted))} == {}
    assert [text for text in texts if text.rstrip('=') in mta.log_text()] == []
    for client in clients:
        client.close()
    assert {pid: found for pid in processes(mta) if (found := held(pid, wanted))} == {}
