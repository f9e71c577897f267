"""Where the smtp delivery agent sends mail: mail exchangers of all kinds, and what DNS may say instead."""
import contextlib
import os
import re

import pytest
from harness.dns import Dns
from harness.namespace import Namespace
from harness.peer import Sink

NAMESPACE = ('echo "127.0.0.1 localhost\n192.0.2.14 etc.test" > /etc/hosts; '
             'printf "nameserver 127.0.0.1\\noptions timeout:1 attempts:1\\n" > /etc/resolv.conf; '
             'echo "hosts: files dns" > /etc/nsswitch.conf; for n in 1 11 12 13 14; do ip addr add 192.0.2.$n/24 dev lo; done')
UP = ('192.0.2.11', '192.0.2.12', '192.0.2.14')  # servers; at .13 and .1 there is none, and .1 is ours
ZONE = r'''
up.hosts A 192.0.2.11
up2.hosts A 192.0.2.12
refuses.hosts A 192.0.2.13
ours.hosts A 192.0.2.1
six.hosts AAAA 2001:db8::1
flaky.hosts SERVFAIL
alias.hosts CNAME up.hosts
first.test MX 10 up.hosts
first.test MX 20 up2.hosts
second.test MX 10 refuses.hosts
second.test MX 20 up2.hosts
unordered.test MX 20 up2.hosts
unordered.test MX 5 refuses.hosts
unordered.test MX 10 up.hosts
equal.test MX 10 up.hosts
equal.test MX 10 up2.hosts
gonefirst.test MX 10 gone.hosts
gonefirst.test MX 20 up.hosts
flakyfirst.test MX 10 flaky.hosts
flakyfirst.test MX 20 up.hosts
alias.test MX 10 alias.hosts
aliased.test CNAME first.test
plain.test A 192.0.2.11
both.test A 192.0.2.12
both.test MX 10 up.hosts
null.test MX 0 .
null.test A 192.0.2.11
nodata.test TXT x
gonemx.test MX 10 gone.hosts
nodatamx.test MX 10 nodata.test
flakymx.test MX 10 flaky.hosts
mixedmx.test MX 10 gone.hosts
mixedmx.test MX 20 flaky.hosts
sixmx.test MX 10 six.hosts
badmx.test MX 10 -bad-
nummx.test MX 10 192.0.2.11
servfail.test SERVFAIL
refused.test REFUSED
garbage.test GARBAGE
flakya.test A !SERVFAIL
mxflaky.test MX !SERVFAIL
mxflaky.test A 192.0.2.11
downall.test MX 10 refuses.hosts
loop.test MX 10 ours.hosts
loopspare.test MX 10 up.hosts
loopspare.test MX 20 ours.hosts
loopspare2.test MX 10 refuses.hosts
loopspare2.test MX 20 ours.hosts
loopspare2.test MX 30 up.hosts
loopequal.test MX 10 up.hosts
loopequal.test MX 10 ours.hosts
loopgone.test MX 10 gone.hosts
loopgone.test MX 20 ours.hosts
loopplain.test A 192.0.2.1
seven.test MX 7 up.hosts
''' + ''.join(f'seven.test MX {n} refuses{n}.hosts\nrefuses{n}.hosts A 192.0.2.13\n' for n in range(1, 7))

# Services besides smtp, by what is set for them.
SERVICES = {'nodns': 'disable_dns_lookups=yes', 'native': 'smtp_host_lookup=native', 'dnsnative': 'smtp_host_lookup=dns,native',
            'disabled': 'smtp_dns_support_level=disabled', 'ignore': 'ignore_mx_lookup_error=yes',
            'deferring': 'smtp_defer_if_no_mx_address_found=yes', 'nolimit': 'smtp_mx_address_limit=0', 'two': 'smtp_mx_address_limit=2',
            'v4': 'inet_protocols=ipv4'}
GONE, AGAIN, NO_RECORD = 'Host not found', 'Host not found, try again', 'Host found but no data record of requested type'


def dns(name, kind, why):
    return f'Host or domain name not found. Name service error for name={name} type={kind}: {why}'


# DOMAIN, or DOMAIN/SERVICE, where "host" is [DOMAIN]: who gets the mail, or why nobody does, as Postfix has it.
CASES = {
    'alias.test': 'alias.hosts[192.0.2.11]',
    'aliased.test': 'up.hosts[192.0.2.11]',
    'badmx.test': '5.4.4 Name service error for name=badmx.test type=MX: Malformed or unexpected name server reply',
    'both.test': 'up.hosts[192.0.2.11]',
    'downall.test': '4.4.1 connect to refuses.hosts[192.0.2.13]:25: Connection refused',
    'equal.test': 'up.hosts[192.0.2.11]|up2.hosts[192.0.2.12]',
    'etc.test': '5.4.4 ' + dns('etc.test', 'AAAA', GONE),
    'first.test': 'up.hosts[192.0.2.11]',
    'flakya.test': '4.4.3 ' + dns('flakya.test', 'A', AGAIN),
    'flakyfirst.test': 'up.hosts[192.0.2.11]',
    'flakymx.test': '4.4.3 ' + dns('flaky.hosts', 'AAAA', AGAIN),
    'garbage.test': '4.4.3 ' + dns('garbage.test', 'MX', AGAIN),
    'gone.test': '5.4.4 ' + dns('gone.test', 'AAAA', GONE),
    'gonefirst.test': 'up.hosts[192.0.2.11]',
    'gonemx.test': '5.4.4 ' + dns('gone.hosts', 'AAAA', GONE),
    'loop.test': '5.4.6 mail for loop.test loops back to myself',
    'loopequal.test': '5.4.6 mail for loopequal.test loops back to myself',
    'loopgone.test': '4.4.4 unable to find primary relay for loopgone.test',
    'loopplain.test': '5.4.6 mail for loopplain.test loops back to myself',
    'loopspare.test': 'up.hosts[192.0.2.11]',
    'loopspare2.test': '4.4.1 connect to refuses.hosts[192.0.2.13]:25: Connection refused',
    'mixedmx.test': '4.4.3 ' + dns('flaky.hosts', 'AAAA', AGAIN),
    'mxflaky.test': '4.4.3 ' + dns('mxflaky.test', 'MX', AGAIN),
    'nodata.test': '5.4.4 ' + dns('nodata.test', 'AAAA', NO_RECORD),
    'nodatamx.test': '5.4.4 ' + dns('nodata.test', 'AAAA', NO_RECORD),
    'null.test': '5.1.0 Domain null.test does not accept mail (nullMX)',
    'nummx.test': '192.0.2.11[192.0.2.11]',
    'plain.test': 'plain.test[192.0.2.11]',
    'refused.test': '4.4.3 ' + dns('refused.test', 'MX', AGAIN),
    'second.test': 'up2.hosts[192.0.2.12]',
    'servfail.test': '4.4.3 ' + dns('servfail.test', 'MX', AGAIN),
    'seven.test': '4.4.1 connect to refuses5.hosts[192.0.2.13]:25: Connection refused',
    'sixmx.test': '4.4.1 connect to six.hosts[2001:db8::1]:25: Network is unreachable',
    'unordered.test': 'up.hosts[192.0.2.11]',
    'flakymx.test/deferring': '4.4.3 ' + dns('flaky.hosts', 'AAAA', AGAIN),
    'gone.test/deferring': '5.4.4 ' + dns('gone.test', 'AAAA', GONE),
    'gonemx.test/deferring': '4.4.4 ' + dns('gone.hosts', 'AAAA', GONE),
    'loop.test/deferring': '5.4.6 mail for loop.test loops back to myself',
    'null.test/deferring': '5.1.0 Domain null.test does not accept mail (nullMX)',
    'etc.test/disabled': 'etc.test[192.0.2.14]',
    'first.test/disabled': '5.3.0 unable to look up host first.test: No address associated with hostname',
    'flakymx.test/disabled': '5.3.0 unable to look up host flakymx.test: No address associated with hostname',
    'gone.test/disabled': '5.4.4 unable to look up host gone.test: Name or service not known',
    'gonemx.test/disabled': '5.3.0 unable to look up host gonemx.test: No address associated with hostname',
    'nodata.test/disabled': '5.3.0 unable to look up host nodata.test: No address associated with hostname',
    'plain.test/disabled': 'plain.test[192.0.2.11]',
    'servfail.test/disabled': '4.4.4 unable to look up host servfail.test: Temporary failure in name resolution',
    'etc.test/dnsnative': 'etc.test[192.0.2.14]',
    'first.test/dnsnative': 'up.hosts[192.0.2.11]',
    'flakymx.test/dnsnative': '4.4.3 ' + dns('flaky.hosts', 'AAAA', AGAIN),
    'gone.test/dnsnative': '5.4.4 unable to look up host gone.test: Name or service not known',
    'gonemx.test/dnsnative': '5.4.4 unable to look up host gone.hosts: Name or service not known',
    'nodata.test/dnsnative': '5.3.0 unable to look up host nodata.test: No address associated with hostname',
    'plain.test/dnsnative': 'plain.test[192.0.2.11]',
    'servfail.test/dnsnative': '4.4.3 ' + dns('servfail.test', 'MX', AGAIN),
    'both.test/host': 'both.test[192.0.2.12]',
    'etc.test/host': '5.4.4 ' + dns('etc.test', 'AAAA', GONE),
    'gone.test/host': '5.4.4 ' + dns('gone.test', 'AAAA', GONE),
    'loopplain.test/host': '5.4.6 mail for loopplain.test loops back to myself',
    'null.test/host': 'null.test[192.0.2.11]',
    'servfail.test/host': '4.4.3 ' + dns('servfail.test', 'AAAA', AGAIN),
    'badmx.test/ignore': '5.4.4 ' + dns('badmx.test', 'AAAA', NO_RECORD),
    'garbage.test/ignore': '4.4.3 ' + dns('garbage.test', 'AAAA', AGAIN),
    'gone.test/ignore': '5.4.4 ' + dns('gone.test', 'AAAA', GONE),
    'mxflaky.test/ignore': 'mxflaky.test[192.0.2.11]',
    'null.test/ignore': '5.1.0 Domain null.test does not accept mail (nullMX)',
    'servfail.test/ignore': '4.4.3 ' + dns('servfail.test', 'AAAA', AGAIN),
    'etc.test/native': 'etc.test[192.0.2.14]',
    'first.test/native': 'up.hosts[192.0.2.11]',
    'flakymx.test/native': '4.4.4 unable to look up host flaky.hosts: Temporary failure in name resolution',
    'gone.test/native': '5.4.4 unable to look up host gone.test: Name or service not known',
    'gonemx.test/native': '5.4.4 unable to look up host gone.hosts: Name or service not known',
    'nodata.test/native': '5.3.0 unable to look up host nodata.test: No address associated with hostname',
    'plain.test/native': 'plain.test[192.0.2.11]',
    'servfail.test/native': '4.4.3 ' + dns('servfail.test', 'MX', AGAIN),
    'etc.test/nodns': 'etc.test[192.0.2.14]',
    'first.test/nodns': '5.3.0 unable to look up host first.test: No address associated with hostname',
    'flakymx.test/nodns': '5.3.0 unable to look up host flakymx.test: No address associated with hostname',
    'gone.test/nodns': '5.4.4 unable to look up host gone.test: Name or service not known',
    'gonemx.test/nodns': '5.3.0 unable to look up host gonemx.test: No address associated with hostname',
    'nodata.test/nodns': '5.3.0 unable to look up host nodata.test: No address associated with hostname',
    'plain.test/nodns': 'plain.test[192.0.2.11]',
    'servfail.test/nodns': '4.4.4 unable to look up host servfail.test: Temporary failure in name resolution',
    'seven.test/nolimit': 'up.hosts[192.0.2.11]',
    'seven.test/two': '4.4.1 connect to refuses2.hosts[192.0.2.13]:25: Connection refused',
    'gone.test/v4': '5.4.4 ' + dns('gone.test', 'A', GONE),
    'nodata.test/v4': '5.4.4 ' + dns('nodata.test', 'A', NO_RECORD),
    'sixmx.test/v4': '5.4.4 ' + dns('six.hosts', 'A', NO_RECORD),
}


@pytest.fixture(scope='module')
def mta(sut):
    if os.geteuid() != 0:
        pytest.skip('namespaces need root')
    with Namespace(more=NAMESPACE) as namespace, Dns(('127.0.0.1', 53), ZONE, inside=namespace.inside), contextlib.ExitStack() as sinks:
        maps = ''
        for case in CASES:
            domain, _, service = case.partition('/')
            if service == 'host':
                maps += f'{{{recipient(case)}=smtp:[{domain}]}}, '
            elif service:
                maps += f'{{{recipient(case)}={service}:{domain}}}, '
        mta = sut(f'inet_interfaces = 127.0.0.1, 192.0.2.1\ninet_protocols = all\n'
                  f'transport_maps = inline:{{{maps.rstrip(", ")}}}\n', services={'smtp': ''},
                  master=''.join(f'{name} unix - - n - - smtp -o {{ {setting} }}\n' for name, setting in SERVICES.items()))
        mta.prefix, mta.namespace = namespace.prefix, namespace
        with namespace.inside():
            for address in UP:
                sinks.enter_context(Sink((address, 25)))
        with mta:
            yield mta


def session(mta):
    with mta.namespace.inside():
        return mta.session('smtp')


def recipient(case):
    domain, _, service = case.partition('/')
    return f'u@{service}.{domain}' if service else f'u@{domain}'


@pytest.fixture(scope='module')
def outcomes(mta):
    """What the log says of mail for each of them: all are sent first."""
    mark = mta.log.mark()
    with session(mta) as client:
        for case in CASES:
            client.message(sender='', to=recipient(case), wanted='~250 2.0.0 Ok: queued as .*')
    return lambda case: mta.log.wait(rf'\w+: to=<{re.escape(recipient(case))}>, relay=(?P<relay>\S+), delay=.*, dsn=(?P<dsn>\S+), '
                                     r'status=(?P<status>\w+) \((?P<text>.*)\)', mark, timeout=40)


@pytest.mark.parametrize('case', CASES)
def test_route(outcomes, case):
    got, wanted = outcomes(case), CASES[case]
    if wanted[0].isdigit() and wanted[1] == '.':
        assert (got['relay'], got['dsn'] + ' ' + got['text']) == ('none', wanted)
        assert got['status'] == ('bounced' if wanted[0] == '5' else 'deferred')
    else:
        assert got['status'] == 'sent' and got['relay'] in [relay + ':25' for relay in wanted.split('|')]


def test_equals_take_turns(mta):
    """Of two alike either is asked first by and by."""
    mark = mta.log.mark()
    relays = set()
    with session(mta) as client:
        for number in range(200):
            client.message(sender='', to=f'turn{number}@equal.test', wanted='~250 2.0.0 Ok: queued as .*')
            relays.add(mta.log.wait(rf'\w+: to=<turn{number}@equal\.test>, relay=(\S+), .*status=sent.*', mark)[1])
            if len(relays) == 2:
                return
    raise AssertionError(relays)


def test_what_is_said_of_hosts(mta, outcomes):
    for case in ('gonemx.test', 'seven.test', 'seven.test/two', 'seven.test/nolimit'):
        outcomes(case)
    mta.log.wait_text('warning: no MX host for gonemx.test has a valid address record')
    mta.log.wait_text('connect to refuses.hosts[192.0.2.13]:25: Connection refused')
    refused = re.findall(r'connect to (refuses[0-9]\.hosts)', '\n'.join(text for text in mta.log.texts() if text.startswith('connect to ')))
    assert refused.count('refuses1.hosts') == 3 and refused.count('refuses3.hosts') == 2  # each limit had its way
