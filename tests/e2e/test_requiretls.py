"""REQUIRETLS (RFC 8689): who is offered it, what of it reaches the filter, and that no next hop gets such mail without the promise."""
import re

import pytest
from harness.instance import AFTER
from harness.maildir import parse
from harness.peer import CLOSE
from harness.tls import is_secure, openssl, start_server, starttls

pytestmark = pytest.mark.gatepost_only  # Postfix has it since 3.11

HEADER = 'Require-TLS-ESMTP: yes'
UNSUPPORTED = '555 5.5.4 Unsupported option: REQUIRETLS'
TO = r'127\.0\.0\.1\[127\.0\.0\.1\]'

# A next hop: what it is, its policy, and what becomes of mail that asks for REQUIRETLS, and of other mail.
TAKEN = (r'2\.0\.0', 'sent', r'250 2\.0\.0 filter took it')
NO_TLS = (r'5\.7\.10', 'bounced', f'TLS is required, but was not offered by host {TO}')
STRANGER = (r'5\.7\.10', 'bounced', 'Server certificate not verified')
NO_PROMISE = (r'5\.7\.30', 'bounced', f'REQUIRETLS is required, but was not offered by host {TO}')
LATER = (r'4\.7\.5', 'deferred', 'Cannot start TLS: handshake failure')
HOPS = {
    'good': ('secure match=good.example', 'promise', TAKEN),
    'finger': ('fingerprint match={fingerprint}', 'stranger promise', TAKEN),  # whom nobody has signed
    'main': ('none', 'promise', TAKEN),        # raised to what main.cf says of secure
    'byname': ('verify match=bad.example', 'promise', TAKEN),
    'weak': ('secure match=good.example', 'tls', NO_PROMISE),
    'liar': ('secure match=good.example', 'liar', NO_PROMISE),
    'other': ('secure match=bad.example', 'promise', STRANGER),
    'plain': ('may', 'plain', NO_TLS),
    'plainly': ('may', 'plain promise', NO_TLS),
    'broken': ('encrypt', 'broken', LATER),
}


@pytest.fixture(scope='module')
def authority(authority):
    authority.issue('good')
    openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '9', '-subj', '/CN=stranger.example',
            '-keyout', 'stranger.key', '-out', 'stranger.pem', cwd=authority.directory)
    with open(authority.path('stranger.chain'), 'w') as file:
        for part in 'stranger.key', 'stranger.pem':
            file.write(open(authority.path(part)).read())
    return authority


@pytest.fixture(scope='module')
def mta(sut, authority):
    tls = f'-o smtpd_tls_chain_files={authority.path("server.chain")} -o smtpd_tls_security_level=may'
    fingerprint = authority.fingerprints('stranger')[0]
    policies = [f'{{[127.0.0.1]:{{{name}}} = {policy.format(fingerprint=fingerprint)}}}' for name, (policy, *_) in HOPS.items()]
    transports = [f'{{{name}.test = smtp:[127.0.0.1]:{{{name}}}}}' for name in HOPS]
    transports += ['{eager.test = eager:[127.0.0.1]:{eager}}', '{likely.test = likely:[127.0.0.1]:{likely}}']
    with sut(f'requiretls_enable = yes\ninet_protocols = ipv4\nsmtp_tls_CAfile = {authority.path("ca.pem")}\n'
             'smtp_tls_fingerprint_digest = sha256\nsmtp_tls_secure_cert_match = good.example\nsmtp_starttls_timeout = 5\n'
             f'smtp_tls_policy_maps = inline:{{ {", ".join(policies)} }}\ntransport_maps = inline:{{ {", ".join(transports)} }}\n',
             services={
                 'queue': tls, 'after': AFTER, 'after_disabled': f'{AFTER} -o requiretls_enable=no',
                 'after_silent': f'{AFTER} -o requiretls_esmtp_header=no',
                 'disabled': f'{tls} -o requiretls_enable=no',
                 'hidden': f'{tls} -o smtpd_discard_ehlo_keywords=requiretls,silent-discard',
                 'front': f'{tls} -o smtpd_proxy_filter=127.0.0.1:{{filter}}',
                 'spooled': f'{tls} -o smtpd_proxy_filter=127.0.0.1:{{filter}} -o smtpd_proxy_options=speed_adjust',
                 'silent': f'{tls} -o smtpd_proxy_filter=127.0.0.1:{{filter}} -o requiretls_esmtp_header=no',
             }, master='eager unix - - n - - smtp -o smtp_requiretls_policy=opportunistic\n'
             'likely unix - - n - - smtp -o smtp_requiretls_policy=opportunistic+starttls\n') as mta:
        yield mta


def session(mta, service, authority, tls=True):
    client = mta.session(service)
    if tls:
        starttls(client, authority.client_context())
        client.hello = client.cmd('EHLO client.example', 250)
    return client


def send(client, *recipients, options=' REQUIRETLS', content='Subject: x\n\nbody\n'):
    client.cmd(f'MAIL FROM:<a@b.example>{options}', '250 2.1.0 Ok')
    for recipient in recipients or ('alice@virt.test',):
        client.cmd(f'RCPT TO:<{recipient}>', '250 2.1.5 Ok')
    return client.content(content, 250).rpartition(' ')[2]


# --- the server ---------------------------------------------------------------------------------------------------------------

def test_offered_inside_tls_only(mta, authority):
    with session(mta, 'queue', authority, tls=False) as client:
        hello = client.cmd('EHLO client.example', 250)
        assert 'REQUIRETLS' not in hello
        client.cmd('MAIL FROM:<a@b.example> REQUIRETLS', UNSUPPORTED)
    with session(mta, 'queue', authority) as client:
        assert client.hello.lines[-2:] == ['250-CHUNKING', '250 REQUIRETLS']
        client.cmd('MAIL FROM:<a@b.example> REQUIRETLS=1', UNSUPPORTED + '=1')
        client.cmd('MAIL FROM:<a@b.example> requiretls', '250 2.1.0 Ok')


@pytest.mark.parametrize('service', ['disabled', 'hidden'])
def test_not_offered(mta, authority, service):
    with session(mta, service, authority) as client:
        assert 'REQUIRETLS' not in client.hello
        client.cmd('MAIL FROM:<a@b.example> REQUIRETLS', UNSUPPORTED)


@pytest.mark.parametrize('service', ['front', 'spooled'])
@pytest.mark.parametrize('content, wanted', [
    ('Subject: x\n\nbody\n', f'Subject: x\n{HEADER}\n\nbody\n'),
    ('Subject: x\n\n.\nbody\n', f'Subject: x\n{HEADER}\n\n..\nbody\n'),
    (f'{HEADER}\n\nbody\n', f'{HEADER}\n\nbody\n'),
    ('no header\n', f'{HEADER}\nno header\n'),
    ('', f'{HEADER}\n'),
])
def test_the_filter_gets_a_header(mta, authority, service, content, wanted):
    with mta.sink('filter') as sink, session(mta, service, authority) as client:
        send(client, options=' BODY=8BITMIME  REQUIRETLS SIZE=9', content=content)
        send(client, options='')
        client.quit()
        one, two = sink.wait(1), sink.wait(2)
    assert one.command('MAIL') == ['MAIL FROM:<a@b.example> BODY=8BITMIME SIZE=9']
    assert one.content.decode().replace('\r\n', '\n').endswith(';\n' + wanted) or \
        re.search(r'\n\t[^\n]*\n' + re.escape(wanted) + r'\Z', one.content.decode().replace('\r\n', '\n'))
    assert one.content.count(HEADER.encode()) == 1 and HEADER.encode() not in two.content


def test_chunks(mta, authority):
    with mta.sink('filter') as sink, session(mta, 'front', authority) as client:
        client.cmd('MAIL FROM:<a@b.example> REQUIRETLS', 250)
        client.cmd('RCPT TO:<alice@virt.test>', 250)
        for piece in (b'Subject: x\r\nRequire-T', b'LS: x\r\n', b'\r'):
            client.send(b'BDAT %d\r\n' % len(piece) + piece)
            client.expect(250)
        client.send(b'BDAT 6 LAST\r\n\nbody!')
        client.expect(250)
        content = sink.wait().content if client.quit() is None else None
    assert content.endswith(b'\r\nSubject: x\r\nRequire-TLS: x\r\n' + HEADER.encode() + b'\r\n\r\nbody!\r\n')


def test_no_header_where_none_is_wanted(mta, authority):
    with mta.sink('filter') as sink, session(mta, 'silent', authority) as client:
        send(client)
        client.quit()
        connection = sink.wait()
    assert connection.command('MAIL') == ['MAIL FROM:<a@b.example>'] and b'Require' not in connection.content


# --- the promise --------------------------------------------------------------------------------------------------------------

def script(kind, authority):
    def hello(connection):
        promise = kind.endswith('promise') or (kind == 'liar' and not is_secure(connection))
        return '250-sink.test\n' + ('250-REQUIRETLS\n' if promise else '') + ('' if is_secure(connection) else '250-SIZE 1000000\n') + '250 STARTTLS'
    if kind.startswith('plain'):
        return {'EHLO': '250-sink.test\n250 REQUIRETLS' if 'promise' in kind else '250 sink.test'}
    return {'EHLO': hello, 'STARTTLS': CLOSE if kind == 'broken' else start_server(authority.path('stranger.chain' if 'stranger' in kind else 'good.chain'))}


def outcome(name, result):
    dsn, status, text = result
    return rf'\w+: to=<x@{name}\.test>, relay=.*, dsn={dsn}, status={status} \({text}\)'


@pytest.mark.parametrize('way', ['parameter', 'header'])
def test_next_hops(mta, authority, way):
    """In one message to all: with the parameter, or with the header that the filter has passed on."""
    sinks = {name: mta.sink(name, script(kind, authority)) for name, (_, kind, _) in HOPS.items()}
    mark, recipients = mta.log.mark(), [f'x@{name}.test' for name in HOPS]
    if way == 'parameter':
        with session(mta, 'queue', authority) as client:
            send(client, *recipients)
    else:
        with session(mta, 'after', authority, tls=False) as client:
            send(client, *recipients, options='', content=f'Subject: x\n{HEADER}\n\nbody\n')
    for name, (_, kind, result) in HOPS.items():
        mta.log.wait(outcome(name, result if kind != 'broken' else (r'4\.\d\.\d', 'deferred', '.*')), mark)
        connections = sinks[name].connections
        if result is TAKEN:
            assert connections[-1].command('MAIL') == ['MAIL FROM:<a@b.example> REQUIRETLS'] and len(connections[-1].messages) == 1
        else:
            assert not any(connection.command('MAIL') or connection.messages for connection in connections), name
    for sink in sinks.values():
        sink.close()


@pytest.mark.parametrize('service, header', [
    ('queue', ''), ('after', f'{HEADER}, perhaps\n'), ('after', 'Require-TLS: yes\n'), ('after_disabled', f'{HEADER}\n'), ('after_silent', f'{HEADER}\n')])
def test_others_are_not_asked(mta, authority, service, header):
    mark = mta.log.mark()
    with mta.sink('plain', script('plain', authority)) as sink, session(mta, service, authority, tls=service == 'queue') as client:
        send(client, 'x@plain.test', options='', content=f'Subject: x\n{header}\nbody\n')
        mta.log.wait(outcome('plain', TAKEN), mark)
        assert sink.wait().command('MAIL') == ['MAIL FROM:<a@b.example>']


@pytest.mark.parametrize('transport, kind, result, wanted', [
    ('eager', 'plain', TAKEN, ''), ('eager', 'plain promise', TAKEN, ''), ('likely', 'promise', TAKEN, ' REQUIRETLS'),
    ('likely', 'tls', TAKEN, ''), ('likely', 'plain', (r'4\.7\.4', 'deferred', '.*'), None)])
def test_relaxed(mta, authority, transport, kind, result, wanted):
    mark = mta.log.mark()
    with mta.sink(transport, script(kind, authority)) as sink, session(mta, 'queue', authority) as client:
        send(client, f'x@{transport}.test')
        mta.log.wait(outcome(transport, result), mark)
        assert sink.wait().command('MAIL') == ([] if wanted is None else [f'MAIL FROM:<a@b.example>{wanted}'])


def test_mailboxes_are_the_end(mta, authority):
    with session(mta, 'queue', authority) as client:
        qid = send(client)
    headers, _ = parse(mta.maildir('alice').wait_for(qid.encode()))
    assert 'Require-TLS-ESMTP' not in dict(headers)
