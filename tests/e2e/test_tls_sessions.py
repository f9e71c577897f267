"""TLS sessions that outlive their connection, what the log holds at each level, authorities in a directory."""
import os
import re
import subprocess

import pytest
from harness.tls import openssl, starttls

pytestmark = pytest.mark.gatepost_only


@pytest.fixture(scope='module')
def authority(authority):
    authority.issue('client')
    os.mkdir(authority.path('authorities'))
    os.link(authority.path('ca.pem'), authority.path('authorities/ca.pem'))
    openssl('rehash', 'authorities', cwd=authority.directory)
    return authority


@pytest.fixture(scope='module')
def mta(gatepost, authority):
    may = f'-o smtpd_tls_security_level=may -o smtpd_tls_chain_files={authority.path("server.chain")}'
    with gatepost(services={f'level{level}': f'{may} -o smtpd_tls_loglevel={level}' for level in range(1, 5)} | {
            'null': f'{may} -o smtpd_tls_loglevel=4 -o smtpd_tls_ciphers=null -o smtpd_tls_protocols=TLSv1.2',
            'directory': f'{may} -o smtpd_tls_loglevel=1 -o smtpd_tls_ask_ccert=yes -o smtpd_tls_CApath={authority.path("authorities")}'}) as mta:
        yield mta


def handshake(mta, *words):
    """What openssl says of it."""
    done = subprocess.run(['openssl', 's_client', '-connect', f'127.0.0.1:{mta.port("level2")}', '-starttls', 'smtp', '-crlf', '-ign_eof', *words],
                          input='QUIT\n', capture_output=True, text=True, timeout=30)
    return re.search(r'^(New|Reused), TLSv', done.stdout, re.M)[1]


@pytest.mark.parametrize('version', ['-tls1_2', '-tls1_3'])
def test_resumed_across_a_reload_but_not_a_restart(mta, tmp_path, version):
    kept = str(tmp_path / 'session')
    assert handshake(mta, version, '-sess_out', kept) == 'New'
    for again in (lambda: None, mta.reload):
        again()
        mark = mta.log.mark()
        assert handshake(mta, version, '-sess_in', kept) == 'Reused'
        mta.log.wait_text('localhost[127.0.0.1]: Reusing old session', mark)
    mta.restart()
    mark = mta.log.mark()
    assert handshake(mta, version, '-sess_in', kept) == 'New'
    mta.log.wait(r'Anonymous TLS connection established from localhost\[127\.0\.0\.1\]: .*', mark, 'smtpd')
    assert not mta.log.find('.*Reusing old session', mark)


@pytest.mark.parametrize('service, tells, dumps', [
    ('level1', False, 0), ('level2', True, 0), ('level3', True, 1), ('level4', True, 2), ('null', True, 1)])
def test_levels_of_the_log(mta, authority, service, tells, dumps):
    """0: no octets, 1: those of the handshake, 2: all, and never a password."""
    mark = mta.log.mark()
    context = authority.client_context()
    if service == 'null':
        context.set_ciphers('ECDHE-ECDSA-NULL-SHA:@SECLEVEL=0')
    with mta.session(service) as client:
        starttls(client, context)
        cipher = mta.log.wait(r'Anonymous TLS connection established from .* with cipher (\S+) .*', mark, 'smtpd')[1]
        assert ('NULL' in cipher) == (service == 'null')
        inside = mta.log.mark()
        client.cmd('AUTH PLAIN c2VjcmV0LXBhc3N3b3Jk', '503 5.5.1 Error: authentication not enabled')
        client.cmd('NOOP secret-password', 250)
        client.quit()
    mta.log.wait(r'disconnect from .*', mark, 'smtpd')
    lines = mta.log.texts(mark, 'smtpd')
    assert any(line == 'SSL_accept:SSLv3/TLS read client hello' for line in lines) == tells
    dumped = [line for line in lines if re.match(r'[0-9a-f]{4} ([0-9a-f]{2} ){1,16} *\S', line)]
    assert bool(dumped) == (dumps > 0)
    assert any(re.match(r'localhost\[127\.0\.0\.1\]: read \d+ octets$', line) for line in mta.log.texts(inside, 'smtpd')) == (service in ('level4', 'null'))
    text = '\n'.join(lines)
    assert 'secret-passw' not in text and 'c2VjcmV0' not in text and '73 65 63 72 65 74' not in text


def test_authorities_in_a_directory(mta, authority):
    """From within the sandbox, which they are outside of."""
    mark = mta.log.mark()
    with mta.session('directory') as client:
        starttls(client, authority.client_context(own='client'))
        client.cmd('NOOP', 250)
    mta.log.wait(r'Trusted TLS connection established from .*', mark, 'smtpd')
