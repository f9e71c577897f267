"""Tools that read our log or try our server: Debian's fail2ban and pflogsumm, and nmap's search for open relays."""
import os
import re
import subprocess
from collections import Counter

import pytest
from harness.client import Client
from harness.dns import Dns
from harness.instance import MASTER
from harness.namespace import Namespace
from harness.peer import until

FILTER = '/etc/fail2ban/filter.d/postfix.conf'
NAMESPACE = ('echo "127.0.0.1 localhost" > /etc/hosts; printf "nameserver 127.0.0.1\\noptions timeout:1 attempts:1\\n" > /etc/resolv.conf; '
             'echo "hosts: files dns" > /etc/nsswitch.conf; ip addr add 192.0.2.1/24 dev lo')
ZONE = '''
b.example MX 10 mx.b.example
mx.b.example A 192.0.2.50
c.example A 192.0.2.51
80.2.0.192.bl.test A 127.0.0.2
80.2.0.192.bl.test TXT listed
'''
MAIN = '''
inet_interfaces = all
relay_domains = rel.test, err.test
transport_maps = inline:{{rel.test=smtp:[127.0.0.1]:{dead}}, {err.test=error:5.1.2 no such place}}
virtual_alias_maps = inline:{moved@virt.test=x@err.test}
smtpd_client_restrictions = check_client_access inline:{192.0.2.90=REJECT}, reject_rbl_client bl.test
smtpd_helo_restrictions = reject_non_fqdn_helo_hostname
smtpd_sender_restrictions = check_sender_access inline:{{warned@b.example=warned}, {dropped@b.example=DISCARD unread}}, reject_unknown_sender_domain
smtpd_restriction_classes = warned
warned = warn_if_reject reject
smtpd_data_restrictions = check_sender_access inline:{data@b.example=REJECT}
smtpd_hard_error_limit = 4
smtpd_soft_error_limit = 100
unknown_address_reject_code = 550
'''


@pytest.fixture(scope='module')
def mta(sut):
    if os.geteuid() != 0:
        pytest.skip('namespaces need root')
    with Namespace(more=NAMESPACE) as namespace, Dns(('127.0.0.1', 53), ZONE, inside=namespace.inside):
        master = ''.join(f'{port} inet n - n - - smtpd{options}\n' for port, options in (
            (25, ' -o smtpd_hard_error_limit=40 -o smtpd_error_sleep_time=0'),
            (587, ' -o mynetworks=0.0.0.0/0')))
        mta = sut(MAIN, services={'smtp': ''}, master=master, base=MASTER)
        mta.prefix, mta.namespace = namespace.prefix, namespace
        with mta:
            yield mta


class Traffic:
    """Sessions of clients that are known by the last octet of their address."""

    def __init__(self, mta):
        self.mta = mta
        self.sessions = 0

    def connect(self, address):
        self.sessions += 1
        with self.mta.namespace.inside():
            client = Client(address)
        client.expect(220)
        return client

    def session(self, octet, helo='client.example'):
        client = self.connect(('127.0.0.1', self.mta.port('smtp')))
        client.cmd(f'XCLIENT NAME=h{octet}.up.test REVERSE_NAME=h{octet}.up.test ADDR=192.0.2.{octet}', 220)
        client.cmd('EHLO ' + helo, 250)
        return client

    def refused(self, octet, count, code, sender='a@b.example', to='alice@virt.test', helo='client.example'):
        for _ in range(count):
            with self.session(octet, helo) as client:
                client.cmd(f'MAIL FROM:<{sender}>', 250)
                client.cmd(f'RCPT TO:<{to}>', code)
                client.quit()

    def taken(self, octet, count, sender, to):
        for _ in range(count):
            with self.session(octet) as client:
                client.message(sender=sender, to=to, wanted='~250 2.0.0 Ok: queued as .*')
                client.quit()


@pytest.fixture(scope='module')
def log(mta):
    """The log of all kinds of sessions."""
    t = Traffic(mta)
    t.taken(10, 2, 'a@b.example', ['alice@virt.test', 'bob@virt.test'])
    t.taken(11, 1, 'z@c.example', ['carol@virt.test'])
    t.taken(12, 1, 'warned@b.example', ['alice@virt.test'])
    t.taken(13, 1, '', ['x@rel.test', 'y@rel.test'])  # deferred
    t.taken(13, 1, '', ['moved@virt.test'])  # undeliverable
    t.taken(14, 1, 'dropped@b.example', ['alice@virt.test'])
    t.refused(70, 3, 550, to='nobody@virt.test')
    t.refused(71, 2, 554, to='x@elsewhere.test')
    t.refused(80, 2, 554)
    t.refused(72, 1, 550, sender='a@gone.test')
    t.refused(73, 1, 504, helo='short')
    t.refused(90, 2, 554)
    with t.session(74) as client:
        client.envelope('data@b.example')
        client.cmd('DATA', 554)
        client.quit()
    with t.session(75) as client:
        client.cmd('MAIL FROM:<a@b.example>', 250)
        for n in range(4):
            client.cmd(f'RCPT TO:<n{n}@virt.test>', 550)
        assert client.rest().startswith(b'421 ')
    with t.session(76) as client:  # hangs up
        client.cmd('MAIL FROM:<a@b.example>', 250)
    with t.session(78) as client:  # speaks before it is asked
        client.send(b'HELO x.example\r\nNOOP\r\n')
        client.rest()
    with t.connect(('192.0.2.1', 25)) as client:  # guesses passwords where none are asked for
        client.cmd('EHLO client.example', 250)
        client.cmd('AUTH PLAIN AGEAYQ==', 503)
        client.quit()
    until(lambda: len(re.findall(': disconnect from ', mta.log_text())) == t.sessions, 'the end of all sessions')
    until(lambda: len(re.findall('status=(?:sent|deferred|bounced)', mta.log_text())) == 6 + 2 + 1, 'all deliveries')
    mta.sessions = t.sessions
    return mta.dir + '/mail.log'


# What each mode of the filter finds: by the last octet of the client's address. A refused DATA (74) is nothing to it.
REFUSED = {70: 3, 71: 2, 80: 2, 72: 1, 73: 1, 90: 2, 75: 5, 78: 1}
HANGS_UP = {76: 1, 1: 1}
MODES = {'normal': REFUSED, 'more': REFUSED, 'rbl': {80: 2}, 'ddos': HANGS_UP, 'errors': {75: 1}, 'aggressive': REFUSED | HANGS_UP}


def test_fail2ban(log):
    """The stock filter of Postfix, unchanged."""
    searches = {mode: subprocess.Popen(['fail2ban-regex', '-o', '<ip>', log, f'{FILTER}[mode={mode}]'], stdout=subprocess.PIPE, text=True)
                for mode in MODES}
    found = {mode: Counter(int(address.rpartition('.')[2]) for address in search.communicate()[0].split())
             for mode, search in searches.items()}
    assert found == MODES


def numbers(report, title):
    """Lines of `NUMBER what` in the part of a report that begins with a title: {what: NUMBER}. Totals in parentheses are not among them."""
    part = re.search(rf'^{re.escape(title)}.*\n-+\n((?:(?!-+$).*\n)*)', report, re.M)[1]
    return {what: int(number) for number, what in re.findall(r'^ +(\d+) +(\S.*?)(?: +\(.*)?$', part, re.M)}


def test_pflogsumm(mta, log):
    report = subprocess.run(['pflogsumm', '--smtpd-stats', log], capture_output=True, text=True, check=True).stdout
    total = numbers(report, 'Grand Totals')
    assert {key: total[key] for key in ('received', 'delivered', 'forwarded', 'deferred', 'bounced', 'rejected', 'reject warnings', 'held',
                                        'discarded', 'senders', 'sending hosts/domains', 'recipients',
                                        'recipient hosts/domains', 'connections', 'hosts/domains')} == {
        # a message that was discarded, and one refused at DATA, was received for pflogsumm
        'received': 8, 'delivered': 6, 'forwarded': 0, 'deferred': 1, 'bounced': 1, 'rejected': 16, 'reject warnings': 1, 'held': 0,
        'discarded': 1, 'senders': 4, 'sending hosts/domains': 3, 'recipients': 3, 'recipient hosts/domains': 1,
        'connections': mta.sessions, 'hosts/domains': 16}
    delivered = b''.join(message for user in ('alice', 'bob', 'carol') for message in mta.maildir(user).messages())
    delivered = re.sub(rb'^(?:Return-Path|X-Original-To|Delivered-To): .*\n', b'', delivered, flags=re.M)
    assert total['bytes delivered'] == len(delivered.replace(b'\n', b'\r\n'))
    assert numbers(report, 'Senders by message count') == {'a@b.example': 2, 'from=<>': 2, 'warned@b.example': 1, 'z@c.example': 1}
    assert numbers(report, 'Recipients by message count') == {'alice@virt.test': 3, 'bob@virt.test': 2, 'carol@virt.test': 1}
    assert numbers(report, 'message deferral detail') == {f'127.0.0.1[127.0.0.1]:{mta.port("dead")}: Connection refused': 2}
    assert numbers(report, 'message bounce detail') == {'no such place': 1}
    rejects = report.partition('message reject detail')[2].partition('message reject warning detail')[0]
    assert dict(re.findall(r'^    (\S.*) \(total: (\d+)\)$', rejects, re.M)) == {
        'Sender address rejected: Access denied': '1', 'Client host rejected: Access denied': '2',
        'Helo command rejected: need fully-qualified hostname': '1', 'Relay access denied': '2', 'blocked using bl.test': '2',
        'Recipient address rejected: User unknown in virtual mailbox table': '7', 'Sender address rejected: Domain not found': '1'}
    assert numbers(report, 'message reject warning detail') == {'warned@b.example': 1}
    assert numbers(report, 'message discard detail') == {'h14.up.test': 1}
    for nothing in ('Fatal Errors', 'Panics'):
        assert f'{nothing}: none\n' in report


def test_no_open_relay(mta, log):
    """nmap tries sixteen ways; to show that it does, a server that is open is tried, too."""
    done = subprocess.run([*mta.prefix, 'nmap', '-n', '-Pn', '-sT', '-p', '25,587', '--script', 'smtp-open-relay', '192.0.2.1'],
                          capture_output=True, text=True, timeout=50)
    closed, _, opened = done.stdout.partition('587/tcp')
    assert "Server doesn't seem to be an open relay, all tests failed" in closed, done.stdout + done.stderr
    assert 'Server is an open relay' in opened, done.stdout + done.stderr
