"""submission and submissions with the options that Debian's master.cf has for them: AUTH within TLS alone."""
import json
import os
import smtplib
import subprocess

import pytest
from harness.dovecot import Dovecot

PASSWORD = 'Geheim-Kennwort-4711'
COMMON = ('-o smtpd_sasl_auth_enable=yes -o smtpd_reject_unlisted_recipient=no -o smtpd_client_restrictions= -o smtpd_helo_restrictions= '
          '-o smtpd_sender_restrictions= -o smtpd_relay_restrictions= '
          '-o smtpd_recipient_restrictions=permit_sasl_authenticated,reject -o milter_macro_daemon_name=ORIGINATING')
SERVICES = {'submission': '-o syslog_name=postfix/submission -o smtpd_tls_security_level=encrypt -o smtpd_tls_auth_only=yes ' + COMMON,
            'submissions': '-o syslog_name=postfix/submissions -o smtpd_tls_wrappermode=yes ' + COMMON}
NO_TLS = '530 5.7.0 Must issue a STARTTLS command first'


@pytest.fixture(scope='module')
def mta(sut, ports, authority):
    if os.geteuid() != 0:
        pytest.skip('Dovecot is started as root')
    with Dovecot(ports.take(), {'alice': PASSWORD}) as dovecot, sut(f'''
smtpd_sasl_type = dovecot
smtpd_sasl_path = {dovecot.socket}
smtpd_tls_chain_files = {authority.path("server.chain")}
smtpd_sasl_authenticated_header = yes
smtpd_tls_received_header = yes
''', services=SERVICES) as mta:
        yield mta


def connect(mta, service, context):
    port = mta.port(service)
    if service == 'submissions':
        return smtplib.SMTP_SSL('localhost', port, context=context)
    client = smtplib.SMTP('localhost', port)
    client.ehlo()
    assert not client.has_extn('auth') and client.has_extn('starttls')
    client.starttls(context=context)
    return client


@pytest.mark.parametrize('service', SERVICES)
def test_mail_of_a_user(mta, authority, service):
    mark = mta.log.mark()
    count = len(mta.maildir('alice').files())
    with connect(mta, service, authority.client_context(check=True)) as client:
        code, text = client.docmd('MAIL', 'FROM:<a@b.example>')
        assert code == 250, text
        assert client.docmd('RCPT', 'TO:<alice@virt.test>') == (554, b'5.7.1 <alice@virt.test>: Recipient address rejected: Access denied')
        client.rset()
        client.login('alice', PASSWORD)
        client.sendmail('a@b.example', ['alice@virt.test'], 'Subject: x\r\n\r\nx\r\n')
    mta.maildir('alice').wait(count + 1)
    for message in mta.maildir('alice').messages():
        assert b'(Authenticated sender: alice)\n' in message and b' with ESMTPSA id ' in message, message
    assert mta.log.wait(r'[0-9A-F]+: client=localhost\[\S+\], sasl_method=\w+, sasl_username=alice', mark)
    assert any(line.tag == f'postfix/{service}/smtpd' for line in mta.log.lines(mark))


def nodemailer(mta, authority, service, password):
    """What node says."""
    options = {'host': 'localhost', 'port': mta.port(service), 'secure': service == 'submissions', 'requireTLS': True,
               'auth': {'user': 'alice', 'pass': password}}
    message = {'from': 'a@b.example', 'to': 'alice@virt.test', 'subject': 'x', 'text': '.one\n\n..two\n'}
    program = f"""
const options = {json.dumps(options)};
options.tls = {{ca: require('fs').readFileSync({json.dumps(str(authority.path("ca.pem")))})}};
require('nodemailer').createTransport(options).sendMail({json.dumps(message)}).then(
    (info) => console.log(info.response), (error) => console.log(error.code, error.response));
"""
    done = subprocess.run(['node', '-e', program], capture_output=True, text=True, timeout=40,
                          env={**os.environ, 'NODE_PATH': '/usr/share/nodejs'})  # Debian's modules, whoever's node it is
    return done.stdout + done.stderr


@pytest.mark.parametrize('service', SERVICES)
def test_nodemailer(mta, authority, service):
    count = len(mta.maildir('alice').files())
    assert nodemailer(mta, authority, service, PASSWORD).startswith('250 2.0.0 Ok: queued as ')
    assert nodemailer(mta, authority, service, 'wrong').startswith('EAUTH 535 5.7.8 Error: authentication failed')
    mta.maildir('alice').wait(count + 1)
    assert any(b'\n.one\n\n..two\n' in message for message in mta.maildir('alice').messages())


def test_nothing_before_tls(mta):
    with mta.session('submission') as client:
        client.talk(('AUTH PLAIN AGFsaWNlAHg=', NO_TLS), ('MAIL FROM:<a@b.example>', NO_TLS))
