"""testssl.sh finds nothing of severity MEDIUM or above, but that nobody knows the authority of the tests."""
import json
import subprocess

import pytest

from harness.tls import Authority

pytestmark = pytest.mark.gatepost_only

# What is wrong with the certificates of the tests: nobody trusts the authority, and it has no lists of what it took back.
OF_THE_AUTHORITY = ('cert_chain_of_trust', 'cert_trust', 'cert_revocation', 'cert_caIssuers', 'cert_ocspURL', 'cert_crlDistributionPoints',
                    'cert_notAfter', 'cert_expirationStatus', 'DNS_CAArecord')
SERIOUS = ('MEDIUM', 'HIGH', 'CRITICAL', 'WARN', 'FATAL')
OF_TESTSSL = ('engine_problem', 'sessionresumption_ticket')  # OpenSSL 3 has none; it leaves a TLSv1.3 session before a ticket has come


@pytest.fixture(scope='module')
def mta(gatepost, tmp_path_factory):
    directory = tmp_path_factory.mktemp('certificates')
    authority = Authority(directory)
    for kind in ('rsa', 'ec'):
        authority.issue(kind, kind, common_name='localhost')
    may = f'-o smtpd_tls_chain_files={directory}/rsa.chain,{directory}/ec.chain'
    with gatepost("""
smtpd_tls_security_level = may
smtpd_tls_protocols = >=TLSv1.2
smtpd_tls_ciphers = high
smtpd_tls_exclude_ciphers = aNULL
smtpd_client_connection_count_limit = 0
""", services={'may': may, 'wrapped': f'{may} -o smtpd_tls_wrappermode=yes -o smtpd_tls_mandatory_protocols=>=TLSv1.2 '
               '-o smtpd_tls_mandatory_ciphers=high'}) as mta:
        yield mta


def findings(tmp_path, seconds, *words):
    report = tmp_path / 'findings.json'
    done = subprocess.run(['testssl', '--quiet', '--color', '0', '--warnings', 'off', '--nodns', 'none', '--jsonfile', report, *words],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds)
    found = json.loads(report.read_text())
    assert len(found) > 2 and not any(finding['id'] == 'scanProblem' for finding in found), done.stdout + done.stderr
    return found


def serious(found):
    return [finding for finding in found if finding['severity'] in SERIOUS and finding['id'].split(' ')[0] not in OF_THE_AUTHORITY + OF_TESTSSL]


@pytest.mark.slow
def test_order_of_ciphers(mta, tmp_path):
    """The quickest of its checks that once found something."""
    found = findings(tmp_path, 280, '--server-preference', '--fast', f'localhost:{mta.port("wrapped")}')
    assert serious(found) == []
    assert any(finding['id'] == 'cipher_order' and finding['severity'] == 'OK' for finding in found), found


@pytest.mark.long
@pytest.mark.parametrize('service, words', [('may', ('--starttls', 'smtp')), ('wrapped', ())])
def test_everything(mta, tmp_path, service, words):
    assert serious(findings(tmp_path, 1500, *words, f'localhost:{mta.port(service)}')) == []
