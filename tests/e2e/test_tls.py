"""TLS of the server, as in TLS_README and FORWARD_SECRECY_README."""
import os
import re
import smtplib
import ssl
import subprocess

import pytest
from harness.client import Client
from harness.maildir import parse
from harness.tls import Authority, connect_tls, openssl, secure, starttls

ESTABLISHED = r'(\w+) TLS connection established from localhost\[127\.0\.0\.1\](.*): (TLSv1\S*) with cipher (\S+) \((\d+)/(\d+) bits\)(.*)'


@pytest.fixture(scope='module')
def authority(authority):
    for name, kind in (('server', 'rsa'), ('ec', 'ec'), ('other', 'ec'), ('client', 'ec'), ('known', 'ec')):
        authority.issue(name, kind)
    stranger = authority.path('stranger')
    openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '9', '-subj', '/CN=a stranger',
            '-keyout', f'{stranger}.key', '-out', f'{stranger}.pem', cwd=authority.directory)
    return authority


@pytest.fixture(scope='module')
def mta(sut, authority):
    known = authority.fingerprints('known')[1]
    certificates = f'-o smtpd_tls_chain_files={authority.path("server.chain")},{authority.path("ec.chain")} ' \
                   f'-o smtpd_tls_CAfile={authority.path("ca.pem")} -o smtpd_tls_fingerprint_digest=sha256 -o smtpd_tls_loglevel=1'
    may = f'{certificates} -o smtpd_tls_security_level=may'
    with sut(f"""
smtpd_tls_received_header = yes
smtpd_error_sleep_time = 0
relay_clientcerts = inline:{{{{{known}=x}}}}
tls_server_sni_maps = inline:{{{{other.example={authority.path('other.chain')}}}}}
""", services={
            'may': may, 'none': '', 'verbose': may + ' -o smtpd_tls_loglevel=2',
            'encrypt': f'{may} -o smtpd_tls_security_level=encrypt',
            'wrapped': f'{may} -o smtpd_tls_wrappermode=yes',
            'ask': f'{may} -o smtpd_tls_ask_ccert=yes -o smtpd_relay_restrictions=permit_tls_clientcerts,reject',
            'all': f'{may} -o smtpd_tls_ask_ccert=yes -o smtpd_relay_restrictions=permit_tls_all_clientcerts,reject',
            'require': f'{may} -o smtpd_tls_security_level=encrypt -o smtpd_tls_req_ccert=yes',
            'require_wrapped': f'{may} -o smtpd_tls_wrappermode=yes -o smtpd_tls_req_ccert=yes',
            'plain': f'{may} -o smtpd_recipient_restrictions=reject_plaintext_session',
            'modern': f'{may} -o smtpd_tls_protocols=>=TLSv1.3',
            'hidden': f'{may} -o smtpd_discard_ehlo_keywords=starttls,silent-discard',
            'helo': f'{may} -o smtpd_helo_required=yes',
            'rate': f'{may} -o smtpd_client_new_tls_session_rate_limit=2 -o smtpd_client_event_limit_exceptions= -o smtpd_authorized_xclient_hosts=',
            'quick': f'{may} -o smtpd_starttls_timeout=1s',
            'bare': '-o smtpd_tls_security_level=may', 'bare_encrypt': '-o smtpd_tls_security_level=encrypt -o smtpd_tls_ask_ccert=yes',
            'xclient': f'{may} -o smtpd_authorized_xclient_hosts=127.0.0.1'}) as mta:
        yield mta


def offered(reply):
    return any(line[4:] == 'STARTTLS' for line in reply.lines)


@pytest.mark.parametrize('service, mail', [('bare', '250 2.1.0 Ok'), ('bare_encrypt', '530 5.7.0 Must issue a STARTTLS command first')])
def test_without_a_certificate_starttls_is_a_temporary_error(mta, service, mail):
    with mta.connect(service) as client:
        client.expect(220)
        assert offered(client.cmd('EHLO client.example', 250))
        client.cmd('STARTTLS', '454 4.7.0 TLS not available due to local problem')
        client.cmd('MAIL FROM:<a@b.example>', mail)
        client.quit()
    mta.log.wait("warning: No server certs available. TLS won't be enabled")


# --- the command ---------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('version', [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_mail_inside_tls(mta, authority, version):
    mark = mta.log.mark()
    with mta.connect('may') as client:
        client.expect(220)
        assert offered(client.cmd('EHLO before.example', 250))
        starttls(client, authority.client_context(version=version, check=True))
        assert not offered(client.cmd('EHLO client.example', 250))
        client.cmd('STARTTLS', '554 5.5.1 Error: TLS already active')
        qid = client.message(wanted=250).rpartition(' ')[2]
        client.quit()
    line = mta.log.wait(ESTABLISHED, mark, 'smtpd')
    assert line[1] == 'Anonymous' and line[2] == ''
    headers, _ = parse(mta.maildir('alice').wait_for(qid.encode()))
    received = dict(headers)['Received']
    signatures = line[7] and f'\n\t{line[7]}'
    assert f'(using {line[3]} with cipher {line[4]} ({line[5]}/{line[6]} bits){signatures})\n\t(No client certificate requested)\n\tby ' in received
    assert ' with ESMTPS id ' in received
    mta.log.wait_text('disconnect from localhost[127.0.0.1] ehlo=2 starttls=1/2 mail=1 rcpt=1 data=1 quit=1 commands=7/8', mark)


@pytest.mark.parametrize('service, line, wanted', [
    ('may', 'STARTTLS x', '501 5.5.4 Syntax: STARTTLS'), ('none', 'STARTTLS', '502 5.5.1 Error: command not implemented'),
    ('hidden', 'STARTTLS', '502 5.5.1 Error: command not implemented'), ('encrypt', 'starttls', '220 2.0.0 Ready to start TLS'),
    ('encrypt', 'MAIL FROM:<a@b.example>', '530 5.7.0 Must issue a STARTTLS command first'),
    ('encrypt', 'RSET', '530 5.7.0 Must issue a STARTTLS command first'), ('encrypt', 'NOOP', 250), ('encrypt', 'HELO x', 250),
    ('encrypt', 'FOO', '500 5.5.2 Error: command not recognized'), ('encrypt', 'QUIT', 221),
])
def test_command(mta, service, line, wanted):
    with mta.session(service) as client:
        client.cmd(line, wanted)


def test_offer(mta):
    for service, wanted in (('may', True), ('encrypt', True), ('none', False), ('hidden', False)):
        with mta.connect(service) as client:
            client.expect(220)
            assert offered(client.cmd('EHLO x', 250)) == wanted


def test_state_before_tls_is_forgotten(mta, authority):
    with mta.session('helo') as client:
        client.cmd('MAIL FROM:<a@b.example>', 250)
        starttls(client, authority.client_context())
        client.cmd('RCPT TO:<alice@virt.test>', '503 5.5.1 Error: need MAIL command')
        client.cmd('MAIL FROM:<a@b.example>', '503 5.5.1 Error: send HELO/EHLO first')
    with mta.session('may') as client: # and without smtpd_helo_required nobody has to say it again
        starttls(client, authority.client_context())
        client.cmd('MAIL FROM:<a@b.example>', 250)


@pytest.mark.parametrize('behind', [
    b'MAIL FROM:<injected@b.example>\r\n', b'RSET\r\nNOOP', b'QUIT\r\n', b'AUTH PLAIN AGEAYg==\r\n',
    pytest.param(b'NOOP\r\n' * 5000, marks=pytest.mark.gatepost_only)])  # Postfix drops what one read gave, and the rest is no TLS
def test_plaintext_behind_starttls_is_not_run(mta, authority, behind):
    with mta.session('may') as client:
        client.send(b'STARTTLS\r\n' + behind)
        client.expect('220 2.0.0 Ready to start TLS')
        secure(client, authority.client_context())
        client.cmd('EHLO inside.example', '~250-mx.*')
        client.cmd('RCPT TO:<alice@virt.test>', '503 5.5.1 Error: need MAIL command')
        client.quit()
        client.expect_close()


# --- wrapper mode ------------------------------------------------------------------------------------------------------------

def test_wrapper_mode(mta, authority):
    mark = mta.log.mark()
    with connect_tls(mta, 'wrapped', authority.client_context(check=True)) as client:
        client.expect(220)
        assert not offered(client.cmd('EHLO x', 250))
        client.message(wanted=250)
        client.quit()
    mta.log.wait_text('disconnect from localhost[127.0.0.1] ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5', mark)


@pytest.mark.parametrize('said, reason', [
    (b'EHLO x\r\n', r'wrong version number'), (b'GET / HTTP/1.0\r\n\r\n', r'http request'), (b'\0' * 300, None),
    (b'\x80\x2e\x01\x03\x01' + b'\1' * 60, None)])
def test_what_is_no_tls(mta, said, reason):
    for service, after in (('wrapped', 'CONNECT'), ('may', 'STARTTLS')):
        mark = mta.log.mark()
        with Client(('127.0.0.1', mta.port(service))) as client:
            if service == 'may':
                client.expect(220)
                client.cmd('EHLO x', 250)
                client.cmd('STARTTLS', 220)
            client.send(said)
            client.rest() # an alert, or a reset
        mta.log.wait(r'SSL_accept error from localhost\[127\.0\.0\.1\]: -1', mark, 'smtpd')
        if reason:
            mta.log.wait(r'warning: TLS library problem: error:\w+:SSL routines::' + reason + ':.*', mark, 'smtpd')
        mta.log.wait_text(f'lost connection after {after} from localhost[127.0.0.1]', mark)
        counts = 'ehlo=1 starttls=0/1 commands=1/2' if service == 'may' else 'commands=0/0'
        mta.log.wait_text(f'disconnect from localhost[127.0.0.1] {counts}', mark)


def test_half_a_hello(mta):
    mark = mta.log.mark()
    with Client(('127.0.0.1', mta.port('wrapped'))) as client:
        client.send(b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03')
    mta.log.wait_text('SSL_accept error from localhost[127.0.0.1]: lost connection', mark)
    mark = mta.log.mark()
    with mta.session('quick') as client:
        client.cmd('STARTTLS', 220)
        client.send(b'\x16\x03\x01\x02\x00')
        client.expect_close()
    mta.log.wait_text('SSL_accept error from localhost[127.0.0.1]: Connection timed out', mark)
    mta.log.wait_text('lost connection after STARTTLS from localhost[127.0.0.1]', mark)


# --- versions, certificates ---------------------------------------------------------------------------------------------------

def test_protocols(mta, authority):
    with mta.session('modern') as client:
        starttls(client, authority.client_context(version=ssl.TLSVersion.TLSv1_3))
        client.quit()
    mark = mta.log.mark()
    with mta.session('modern') as client:
        client.cmd('STARTTLS', 220)
        with pytest.raises((ssl.SSLError, OSError)):
            secure(client, authority.client_context(version=ssl.TLSVersion.TLSv1_2))
    mta.log.wait(r'warning: TLS library problem: error:\w+:SSL routines::unsupported protocol:.*', mark, 'smtpd')


@pytest.mark.parametrize('name, got', [('other.example', 'other'), ('Other.Example', 'other'), ('unknown.example', 'ec'), (None, 'ec'),
                                       ('-bad.example', 'ec')])
def test_server_names(mta, authority, name, got):
    mark = mta.log.mark()
    with mta.session('may') as client:
        starttls(client, authority.client_context(), server_name=name)
        served = client.sock.getpeercert(True)
        client.quit()
    with open(authority.path(f'{got}.pem')) as file:
        assert served == ssl.PEM_cert_to_DER_cert(file.read())
    assert mta.log.wait(ESTABLISHED, mark, 'smtpd')[2] == (f' to {name}' if got == 'other' else '')
    from_here = 'from localhost[127.0.0.1]'
    said = {'unknown.example': f'TLS SNI unknown.example {from_here} not matched, using default chain',
            '-bad.example': f'warning: TLS SNI {from_here} is invalid: -bad.example'}.get(name)
    assert [text for text in mta.log.texts(mark) if 'SNI' in text] == ([said] if said else [])


@pytest.mark.parametrize('own, trust, issuer', [('client', 'Trusted', 'Test CA'), ('stranger', 'Untrusted', 'a stranger'), (None, 'Anonymous', None)])
def test_client_certificates(mta, authority, own, trust, issuer):
    mark = mta.log.mark()
    with mta.session('all') as client:
        starttls(client, authority.client_context(own=own))
        client.cmd('EHLO x', 250)
        if trust != 'Trusted':
            client.cmd('MAIL FROM:<a@b.example>', 250)
            client.cmd('RCPT TO:<alice@virt.test>', '~554 5.7.1 <alice@virt.test>: .*')
            assert mta.log.wait(ESTABLISHED, mark, 'smtpd')[1] == trust
            return
        qid = client.message(wanted=250).rpartition(' ')[2]
        client.quit()
    line = mta.log.wait(ESTABLISHED, mark, 'smtpd')
    assert line[1] == trust and 'client-signature ECDSA (prime256v1) client-digest SHA256' in line[7]
    headers, _ = parse(mta.maildir('alice').wait_for(qid.encode()))
    signatures = re.sub(r'( client-signature)', r'\n\t\1', line[7])
    assert f'bits)\n\t{signatures})\n\t(Client CN "{own}.example", Issuer "{issuer}" (verified OK))\n\tby ' in dict(headers)['Received']


def test_relaying_by_fingerprint(mta, authority):
    for own, code in (('known', 250), ('client', 554), (None, 554)):
        with mta.session('ask') as client:
            starttls(client, authority.client_context(own=own))
            client.cmd('MAIL FROM:<a@b.example>', 250)
            client.cmd('RCPT TO:<alice@virt.test>', code)


def test_required_certificates(mta, authority):
    failed = 'certificate verification failed for localhost[127.0.0.1]: self-signed certificate'
    for own, why in ((None, 'No client certificate presented'), ('stranger', 'Client certificate not trusted')):
        mark = mta.log.mark()
        with mta.session('require') as client:
            starttls(client, authority.client_context(own=own))
            client.cmd('EHLO x', f'~421 4.7.1 \\S+ Error: {why}')
            client.expect_close()
        with connect_tls(mta, 'require_wrapped', authority.client_context(own=own)) as client:
            client.expect(f'~421 4.7.1 \\S+ Error: {why}')
        assert not own or mta.log.wait_text(failed, mark)
        mta.log.wait_text(f'NOQUEUE: abort: TLS from localhost[127.0.0.1]: {why}', mark)
        mta.log.wait_text('disconnect from localhost[127.0.0.1] ehlo=1 starttls=1 commands=2', mark)
    with mta.session('require') as client:
        starttls(client, authority.client_context(own='client'))
        client.cmd('EHLO x', 250)
        client.message(wanted=250)


def test_plaintext_sessions_can_be_refused(mta, authority):
    with mta.session('plain') as client:
        client.cmd('MAIL FROM:<a@b.example>', 250)
        client.cmd('RCPT TO:<alice@virt.test>', '450 4.7.1 Session encryption is required')
        starttls(client, authority.client_context())
        client.envelope()


def test_xclient_keeps_tls(mta, authority):
    with mta.session('xclient') as client:
        starttls(client, authority.client_context())
        client.cmd('XCLIENT NAME=a.example ADDR=192.0.2.3', 220)
        assert not offered(client.cmd('EHLO x', 250))
        client.cmd('STARTTLS', '554 5.5.1 Error: TLS already active')


@pytest.mark.parametrize('version', [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_are_resumed(mta, authority, version):
    context, session, reused = authority.client_context(version=version), None, []
    for _ in range(3):
        with mta.session('may') as client:
            starttls(client, context, session=session)
            client.cmd('NOOP', 250)
            reused.append(client.sock.session_reused)
            session = client.sock.session
            client.quit()
    assert reused == [False, True, True]


def test_rate_of_new_sessions(mta, authority):
    mark = mta.log.mark()
    for wanted in (None, None, r'421 4.7.0 \S+ Error: too many new TLS sessions from localhost\[127.0.0.1\]'):
        with mta.session('rate') as client:
            starttls(client, authority.client_context())
            if wanted:
                client.expect(f'~{wanted}')
            else:
                client.cmd('EHLO x', 250)
    mta.log.wait(r'warning: New TLS session rate limit exceeded: 3 from localhost\[127\.0\.0\.1\] for service .*', mark)
    with mta.session('rate') as client:
        client.cmd('STARTTLS', '454 4.7.0 Error: too many new TLS sessions from localhost[127.0.0.1]')


def test_verbose_log(mta, authority):
    mark = mta.log.mark()
    with mta.session('verbose') as client:
        starttls(client, authority.client_context())
        client.quit()
    for line in ('setting up TLS connection from localhost[127.0.0.1]', 'SSL_accept:SSLv3/TLS read client hello',
                 'SSL_accept:SSLv3/TLS read finished', 'SSL_accept:SSLv3/TLS write session ticket'):
        mta.log.wait_text(line, mark)


def test_renegotiation_is_refused(mta, authority):
    process = subprocess.Popen(['openssl', 's_client', '-connect', f'127.0.0.1:{mta.port("may")}', '-starttls', 'smtp', '-crlf', '-tls1_2'],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    next(line for line in process.stdout if line.startswith('250 '))
    for said in ('NOOP', 'R'):
        process.stdin.write(said + '\n')
        process.stdin.flush()
        next(line for line in process.stdout if line.startswith('250 2.0.0 Ok' if said == 'NOOP' else 'RENEGOTIATING'))
    process.stdin.close()
    assert 'no renegotiation' in process.stdout.read()
    process.wait(10)
    with mta.session('may') as client:
        client.cmd('NOOP', 250)


# --- other clients ------------------------------------------------------------------------------------------------------------

MESSAGE = 'From: a@b.example\nTo: alice@virt.test\nSubject: from {}\n\nhello\n'


def test_smtplib(mta, authority):
    with smtplib.SMTP('localhost', mta.port('may')) as client:
        client.starttls(context=authority.client_context(check=True))
        client.sendmail('a@b.example', ['alice@virt.test'], MESSAGE.format('smtplib'))
    with smtplib.SMTP_SSL('localhost', mta.port('wrapped'), context=authority.client_context(check=True)) as client:
        client.sendmail('a@b.example', ['alice@virt.test'], MESSAGE.format('smtplib wrapped'))
    mta.maildir('alice').wait_for(b'from smtplib wrapped')


@pytest.mark.parametrize('name, command', [
    ('curl', 'curl -sS --ssl-reqd --cacert {ca} --mail-from a@b.example --mail-rcpt alice@virt.test -T - smtp://localhost:{may}'),
    ('curls', 'curl -sS --cacert {ca} --mail-from a@b.example --mail-rcpt alice@virt.test -T - smtps://localhost:{wrapped}'),
    ('swaks', 'swaks --tls --tls-verify --tls-ca-path {ca} --server localhost:{may} -f a@b.example -t alice@virt.test -d -'),
    ('swaksc', 'swaks --tls-on-connect --server localhost:{wrapped} -f a@b.example -t alice@virt.test -d -'),
    ('msmtp', 'msmtp --host=localhost --port={may} --tls=on --tls-trust-file={ca} --from=a@b.example alice@virt.test'),
    ('msmtps', 'msmtp --host=localhost --port={wrapped} --tls=on --tls-starttls=off --tls-trust-file={ca} --from=a@b.example alice@virt.test'),
    ('gnutls', 'gnutls-cli --x509cafile={ca} --starttls-proto=smtp -p {may} localhost'),
    ('openssl', 'openssl s_client -quiet -crlf -starttls smtp -CAfile {ca} -verify_return_error -connect localhost:{may}'),
])
def test_clients(mta, authority, name, command):
    command = command.format(ca=authority.path('ca.pem'), may=mta.port('may'), wrapped=mta.port('wrapped'))
    text = MESSAGE.format(name)
    if name in ('gnutls', 'openssl'): # speak no SMTP of their own: in step, as nobody may speak ahead of EHLO's and DATA's replies
        process = subprocess.Popen(command.split(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        end = '\n' if name == 'openssl' else '\r\n'

        def say(line, wanted):
            process.stdin.write(line.replace('\n', end) + end)
            process.stdin.flush()
            for answer in process.stdout:
                if re.match(wanted + ' ', answer):
                    return
            pytest.fail(f'{line}: the end')

        if name == 'openssl': # the end of the EHLO reply that it had itself
            next(line for line in process.stdout if line.startswith('250 '))
        say('EHLO x', '250')
        say('MAIL FROM:<a@b.example>', '250')
        say('RCPT TO:<alice@virt.test>', '250')
        say('DATA', '354')
        say(text + '.', '250')
        process.stdin.write('QUIT' + end)
        process.stdin.close()
        process.stdout.read()
        process.wait(10)
    else:
        result = subprocess.run(command.split(), input=text, capture_output=True, text=True, timeout=30)
        assert result.returncode == 0, result.stdout + result.stderr
    mta.maildir('alice').wait_for(f'from {name}\n'.encode())


# --- what is wrong is said before anything starts --------------------------------------------------------------------------

# Options of a service, and what is wrong with its files. {} is their directory.
NOT_THE_KEY = 'the key in {}/server.key is not that of the certificate in {}/ec.pem'
MIXED = 'the key in {}/mixed.chain is not that of the certificate in {}/mixed.chain'
BAD = {
    'absent': ('smtpd_tls_chain_files={}/absent.chain', 'cannot open {}/absent.chain: No such file or directory'),
    'unreadable': ('smtpd_tls_chain_files={}/unreadable.chain', 'cannot open {}/unreadable.chain: Permission denied'),
    'wrong': ('smtpd_tls_chain_files={}/wrong.chain',
              'wrong certificate chain in {}/wrong.chain: "server.example" was not issued by "a stranger", which follows it (subject issuer mismatch)'),
    'forged': ('smtpd_tls_chain_files={}/forged.chain',
               'wrong certificate chain in {}/forged.chain: "forged.example" was not issued by "Test CA", which follows it (certificate signature failure)'),
    'mixed': ('smtpd_tls_chain_files={}/mixed.chain', MIXED),
    'bare': ('smtpd_tls_chain_files={}/bare.chain', '{}/bare.chain: a certificate without a key before it'),
    'none': ('smtpd_tls_chain_files=', 'smtpd_tls_wrappermode is on, but there is no certificate'),
    'pair': ('smtpd_tls_cert_file={}/ec.pem -o smtpd_tls_key_file={}/server.key', NOT_THE_KEY),
    'no_key': ('smtpd_tls_cert_file={}/ec.pem', 'cannot read the key in {}/ec.pem: '),
    'garbage': ('smtpd_tls_cert_file={}/sni -o smtpd_tls_key_file={}/server.key', 'cannot read the certificate in {}/sni: no start line'),
    'name': ('smtpd_tls_chain_files={}/server.chain -o tls_server_sni_maps=texthash:{}/sni', f'tls_server_sni_maps: www.example: {MIXED}'),
    'authorities': ('smtpd_tls_chain_files={}/server.chain -o smtpd_tls_CAfile={}/absent.pem',
                    'cannot read authorities in {}/absent.pem: No such file or directory'),
    'directory': ('smtpd_tls_chain_files={}/server.chain -o smtpd_tls_CApath={}/absent',
                  'cannot read authorities in {}/absent: No such file or directory'),
    'anchors': ('smtpd_tls_chain_files={}/server.chain -o smtpd_proxy_filter=127.0.0.1:9 -o { smtpd_proxy_tls_security_level = verify match=x tafile={}/none.pem }',
                'cannot read trust anchors in {}/none.pem: No such file or directory'),
    'proxy': ('smtpd_tls_chain_files={}/server.chain -o smtpd_proxy_filter=127.0.0.1:9 -o smtpd_proxy_tls_security_level=may '
              '-o smtp_tls_cert_file={}/ec.pem -o smtp_tls_key_file={}/server.key', NOT_THE_KEY),
    'next_hop': ('filter -o filter_nexthop=127.0.0.1:9 -o filter_tls_security_level=may -o smtp_tls_chain_files={}/mixed.chain', MIXED),
    'smtp': ('smtp -o smtp_tls_security_level=may -o smtp_tls_chain_files={}/mixed.chain', MIXED),
}
OLD = 'the certificate of "old.example" in {}/old.chain has expired: it was valid until '
EARLY = 'the certificate of "early.example" in {}/early.chain is not valid before 2099-01-02'


@pytest.fixture(scope='module')
def bad_files(authority, tmp_path_factory):
    """Their directory."""
    def read(name):
        with open(authority.path(name)) as file:
            return file.read()

    authority.issue('old', days=-1)
    authority.issue('early')
    authority.issue('forged', also='DNS:localhost\nauthorityKeyIdentifier=none')
    with open(authority.path('early.template'), 'w') as file:
        file.write('cn = early.example\nactivation_date = "2099-01-02 12:00:00 UTC"\nexpiration_date = "2100-01-01 12:00:00 UTC"\n')
    subprocess.run('certtool --generate-certificate --load-privkey early.key --load-ca-certificate ca.pem --load-ca-privkey ca.key '
                   '--template early.template --outfile early.pem'.split(), check=True, capture_output=True, cwd=authority.directory)
    again = Authority(tmp_path_factory.mktemp('certificates'))  # of the same name
    for name, parts in (('wrong', ('server.key', 'server.pem', 'stranger.pem')), ('forged', ('forged.key', 'forged.pem', again.path('ca.pem'))),
                        ('mixed', ('server.key', 'ec.pem')), ('bare', ('ec.pem',)), ('unreadable', ('server.key', 'server.pem')),
                        ('early', ('early.key', 'early.pem'))):
        with open(authority.path(f'{name}.chain'), 'w') as file:
            file.write(''.join(read(part) for part in parts))
    os.chmod(authority.path('unreadable.chain'), 0)
    with open(authority.path('sni'), 'w') as file:
        file.write(f'www.example {authority.path("mixed.chain")}\n')
    return authority.directory


def bad_instance(gatepost, directory, names):
    lines = []
    for name in names:
        options = BAD[name][0].replace('{}', directory)
        command = '' if options.split()[0] in ('filter', 'smtp') else 'smtpd -o smtpd_tls_wrappermode=yes -o '
        lines.append(f'{name} unix - - n - - {command}{options}\n' if name == 'smtp' else
                     f'127.0.0.1:{{{name}}} inet n - n - - {command}{options}\n')
    mta = gatepost(master=''.join(lines), base='')
    if os.geteuid() == 0:  # whom no mode of a file stops
        mta.prefix = ('setpriv', '--bounding-set=-dac_override,-dac_read_search')
    return mta


@pytest.mark.gatepost_only
def test_check_names_all_bad_certificates(gatepost, bad_files):
    mta = bad_instance(gatepost, bad_files, BAD)
    try:
        result = mta.run('check')
        assert result.returncode != 0
        lines = [line.partition(': line ')[2].partition(': ')[2] for line in result.stderr.splitlines() if ': fatal: ' in line]
        assert len(lines) == len(BAD), result.stderr
        for line, (_, said) in zip(lines, BAD.values()):
            assert line.startswith(said.replace('{}', bad_files)), line
    finally:
        mta.__exit__()


@pytest.mark.gatepost_only
@pytest.mark.parametrize('name', ['unreadable', 'forged', 'name', 'smtp'])
def test_bad_certificates_do_not_start(gatepost, bad_files, name):
    mta = bad_instance(gatepost, bad_files, [name])
    try:
        result = mta.try_start()
        assert result.returncode != 0 and BAD[name][1].replace('{}', bad_files) in result.stderr, result.stderr
    finally:
        mta.__exit__()


@pytest.mark.gatepost_only
def test_what_is_doubtful_is_warned_of(gatepost, bad_files):
    options = f'-o smtpd_tls_security_level=may -o smtpd_tls_chain_files={bad_files}/old.chain,{bad_files}/early.chain -o smtpd_tls_CApath={bad_files}'
    mta = gatepost(services={'in': options, 'other': options}, base='', master='smtp unix - - n - - smtp -o smtp_tls_security_level=may '
                   f'-o {{ smtp_tls_policy_maps = inline:{{ {{x.test = verify tafile={bad_files}/none.pem }} }} }}\n')
    try:
        for result, times in ((mta.run('check'), 1), (mta.try_start(), 4)):
            assert result.returncode == 0
            for said in (OLD, EARLY, '{} holds no authorities under names as "openssl rehash" makes them', 'cannot read trust anchors in {}/none.pem: '):
                assert 1 <= result.stderr.count('warning: ' + said.replace('{}', bad_files)) <= times, result.stderr
    finally:
        mta.__exit__()


@pytest.mark.gatepost_only
def test_new_certificates_after_reload(gatepost, authority, tmp_path):
    os.chmod(tmp_path, 0o755)
    chain = str(tmp_path / 'in.chain')

    def install(*names):
        with open(chain, 'w') as file:
            for name in names:
                with open(authority.path(name)) as source:
                    file.write(source.read())

    def served(client):
        return client.sock.getpeercert(True)

    def new():
        return starttls(mta.session('in'), authority.client_context())

    install('server.chain')
    with gatepost(services={'in': f'-o smtpd_tls_security_level=may -o smtpd_tls_chain_files={chain}'}) as mta:
        first = new()
        old = served(first)
        install('ec.chain')
        mta.reload()
        second = new()
        while served(second) == old: # of the old generation, in its last moment
            second.quit()
            second = new()
        first.cmd('NOOP', 250)  # with its own
        first.message(wanted=250)
        for parts, said in (((), f'{chain} holds neither key nor certificate'), (('server.key', 'ec.pem'), f'the key in {chain} is not that of'),
                            (('server.key', 'server.pem', 'stranger.pem'), f'wrong certificate chain in {chain}: '), (None, f'cannot open {chain}: ')):
            install(*parts) if parts is not None else os.unlink(chain)
            mark = mta.log.mark()
            mta.run('reload')
            mta.log.wait(f'.*fatal: {re.escape(said)}.*', mark)
            mta.log.wait('error: reload: .* -- the running configuration stays', mark)
        third = new()
        assert served(third) == served(second)
        for client in (first, second, third):
            client.cmd('NOOP', 250)
            client.quit()
