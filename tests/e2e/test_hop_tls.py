"""TLS towards the filter (smtpd_proxy_tls_security_level), towards its next hop (filter_tls_security_level), and on the way out of
the quarantine."""
import re

import pytest
from harness.instance import AFTER
from harness.peer import CLOSE, HANG, until
from harness.quarantine import quarantine_put
from harness.tls import Authority, is_secure, start_server

pytestmark = pytest.mark.gatepost_only

E = '451 4.3.0 Error: queue file write error'
TAKEN = '250 2.0.0 filter took it'
XFORWARD = '250 XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT'
LESS = '250 XFORWARD NAME ADDR PROTO HELO SOURCE'  # which counts, whatever was said before TLS
ABSENT = 'TLS is required, but was not offered'
REFUSED = 'TLS is required, but STARTTLS was refused: 454 4.7.0 no'
FAILED = 'Cannot start TLS: handshake failure'
UNVERIFIED = 'Server certificate not verified'

LEVELS = {
    'none': 'none', 'may': 'may', 'encrypt': 'encrypt', 'verify': 'verify match=bad.example:good.example', 'anchor': 'verify match=good.example tafile={ca}', 'address': 'secure',
    'fingerprint': 'fingerprint match={fingerprint}'}
# What the peer is, and what is wrong with it; True: it is spoken to inside TLS, False: without.
CASES = {
    'none': {'good': False},
    'may': {'strange': True, 'absent': False, 'refused': False, 'broken': FAILED},
    'encrypt': {'strange': True, 'absent': ABSENT, 'refused': REFUSED, 'broken': FAILED, 'closed': FAILED, 'hangs': FAILED, 'injected': True},
    'verify': {'good': True, 'strange': UNVERIFIED},
    'anchor': {'strange': True, 'good': UNVERIFIED},
    'address': {'good': UNVERIFIED},
    'fingerprint': {'good': True, 'strange': UNVERIFIED},
}
# Who speaks to the peer, at which levels.
WAYS = {'inspector': ('inspector smtp: not inspected: filter', ('encrypt', 'verify')), 'front': ('proxy', CASES), 'adjust': ('proxy', ('encrypt',)), 'gate': ('next hop', ('encrypt', 'verify')), 'held': ('next hop', ('encrypt',))}


@pytest.fixture(scope='module')
def authorities(tmp_path_factory):
    found = []
    for name in ('Test CA', 'Other CA'):
        found.append(Authority(tmp_path_factory.mktemp('certificates'), name))
        found[-1].issue('good')
    return found


@pytest.fixture(scope='module')
def hop(postfix, authorities):
    """Postfix as the after-filter server."""
    with postfix('virtual_transport = discard\n', services={
            'in': f'{AFTER} -o smtpd_tls_security_level=encrypt -o smtpd_tls_chain_files={authorities[0].path("good.chain")}'}) as hop:
        yield hop


@pytest.fixture(scope='module')
def mta(sut, hop, authorities):
    good, strange = authorities
    texts = {'ca': strange.path('ca.pem'), 'fingerprint': good.fingerprints('good')[0]}
    options = {'front': '-o smtpd_proxy_filter=127.0.0.1:{%s} -o smtpd_proxy_timeout=2s -o { smtpd_proxy_tls_security_level = %s }',
               'gate': 'filter -o filter_nexthop=127.0.0.1:{%s} -o filter_timeout=2s -o { filter_tls_security_level = %s }'}
    options['adjust'] = options['front'] + ' -o smtpd_proxy_options=speed_adjust'
    options['inspector'] = 'filter -o filter_nexthop=127.0.0.1:{after} -o filter_tls_security_level=encrypt -o filter_timeout=2s ' \
                           '-o { filter_inspectors = { smtp: 127.0.0.1:{%s}, tls_security_level = %s } }'
    options['held'] = options['gate'] + ' -o { filter_inspectors = { checks: header_checks=inline:{X=REJECT} } }'
    services = {f'{way}_{level}': options[way] % (level, LEVELS[level].format(**texts)) for way, (_, levels) in WAYS.items() for level in levels}
    services['after'] = f'{AFTER} -o smtpd_tls_security_level=encrypt -o smtpd_tls_chain_files={good.path("good.chain")}'
    keep = '-o smtpd_proxy_connection_reuse=yes -o smtpd_proxy_connection_idle=600s -o smtpd_proxy_pipelining=yes ' \
           '-o { smtpd_proxy_tls_security_level = secure match=good.example }'
    secure = '-o { %s_tls_security_level = secure match=good.example }'
    services |= {
        'kept': f'-o smtpd_proxy_filter=127.0.0.1:{{keep}} {keep}',
        'crowd': '-o smtpd_proxy_filter=127.0.0.1:{slow} -o smtpd_proxy_tls_security_level=encrypt',
        'whole': f'-o smtpd_proxy_filter=127.0.0.1:{{after}} {keep}',
        'long': '-o smtpd_proxy_filter=127.0.0.1:{filter}',
        'filter': 'filter -o filter_nexthop=127.0.0.1:{after} ' + secure % 'filter',
        'foreign': '-o smtpd_proxy_filter=127.0.0.1:%d ' % hop.port('in') + secure % 'smtpd_proxy'}
    with sut(f'smtp_tls_CAfile = {good.path("ca.pem")}\nsmtp_tls_loglevel = 1\nsmtp_tls_fingerprint_digest = sha256\n', services=services) as mta:
        yield mta


def script(kind, authorities):
    chain = authorities[kind == 'strange'].path('good.chain')
    injected = b'250-peer.test\r\n250 SIZE\r\n550 no\r\n550 no\r\n' if kind == 'injected' else b''

    def say_and(answer):
        def say(connection):
            connection.sock.sendall(b'220 go on\r\n')
            if answer == b'nonsense\r\n':
                connection.sock.recv(5000)
            return answer
        return say
    answers = {'refused': '454 4.7.0 no', 'closed': say_and(CLOSE), 'hangs': say_and(HANG), 'broken': say_and(b'nonsense\r\n')}
    return {'EHLO': lambda connection: '250-peer.test\n' + (LESS if is_secure(connection) else XFORWARD if kind == 'absent' else '250-STARTTLS\n' + XFORWARD),
            'STARTTLS': answers.get(kind) or start_server(chain, b'220 go on\r\n' + injected)}


def talk(mta, service):
    """The reply that says what became of a message."""
    with mta.session(service) as client:
        if service.startswith(('gate', 'held')):
            client.cmd('XFORWARD ADDR=192.0.2.1', None)
        for line in ('MAIL FROM:<a@b.example>', 'RCPT TO:<alice@virt.test>'):
            reply = client.cmd(line)
            if reply.code >= 400:
                return reply
        client.cmd('DATA', 354)
        client.send(b'Subject: x\r\n\r\nbody\r\n.\r\n')
        return client.reply()


def tries(mta, way, level, script, result):
    """What is wrong; None: nothing."""
    mark = mta.log.mark()
    with mta.sink(level, script) as sink:
        if result in (True, False):
            reply = talk(mta, f'{way}_{level}')
            connection = until(lambda: next((c for c in sink.connections if c.messages), None), f'{way} {level}: a message')
            begin = connection.verbs.index('STARTTLS') + 1 if result else 0
            good = reply == TAKEN and is_secure(connection) == result and (not result or connection.verbs[:begin] == ['EHLO', 'STARTTLS'])
            good = good and not (result and re.search('(PORT|IDENT)=', ' '.join(connection.command('XFORWARD'))))
            good = good and [verb for verb in connection.verbs[begin:] if verb != 'STARTTLS'][:3] == ['EHLO', 'XFORWARD', 'MAIL']
        else:
            if way in ('gate', 'held'):
                with mta.session(f'{way}_{level}', helo=None) as client:
                    good = client.cmd('EHLO front.example').code == 451
            else:
                good = talk(mta, f'{way}_{level}') == E
            mta.log.wait(re.escape(f'warning: {WAYS[way][0]} 127.0.0.1:{mta.port(level)}: {result}') + '(; on_failure=tempfail)?', mark)
            good = good and not any(c.command('MAIL') or c.command('XFORWARD') for c in sink.connections)
        return None if good else f'{way} {level}: {sink.connections} {mta.log.texts(mark)}'


@pytest.mark.parametrize('way', WAYS)
def test_levels(mta, authorities, way):
    wrong = [tries(mta, way, level, script(kind, authorities), result) for level in WAYS[way][1] for kind, result in CASES[level].items()]
    assert not any(wrong), '\n'.join(filter(None, wrong))


def test_kept(mta, authorities):
    """One handshake for many messages, also with all commands in one write."""
    answers = script('good', authorities)
    answers['EHLO'] = lambda connection: '250-peer.test\n250-PIPELINING\n250-STARTTLS\n' + XFORWARD
    with mta.sink('keep', answers) as sink:
        for number in range(3):
            with mta.session('kept') as client:
                client.message(f'Subject: {number}\n\n' + 'long line\n' * 20000, wanted=TAKEN)
        connection, = sink.connections
    assert len(connection.messages) == 3 and connection.verbs.count('STARTTLS') == 1 and connection.verbs.count('RSET') == 2


def test_handshakes_wait_parked(mta, authorities):
    answers = script('good', authorities)
    answers['STARTTLS'] = [script('hangs', authorities)['STARTTLS']] * 40 + [answers['STARTTLS']]
    with mta.sink('slow', answers) as sink:
        clients = [mta.session('crowd') for _ in range(40)]
        for client in clients:
            client.send('MAIL FROM:<a@b.example>\r\nRCPT TO:<alice@virt.test>\r\n'.encode())
        until(lambda: sum('STARTTLS' in connection.verbs for connection in sink.connections) == 40, 'forty handshakes begun')
        with mta.session('crowd') as client:
            client.message(wanted=TAKEN)
        for client in clients:
            client.close()


@pytest.mark.parametrize('service', ['whole', 'long'])
def test_own_server(mta, service):
    mark = mta.log.mark()
    with mta.session(service, helo=None, xclient=mta.STRANGER) as client:
        client.cmd('EHLO client.example', 250)
        qid = client.message(wanted='~250 2.0.0 Ok: queued as .*').rpartition(' ')[2]
    mta.maildir('alice').wait_for(qid.encode())
    mta.log.wait(rf'{qid}: client=localhost\[127\.0\.0\.1\], orig_client=spike\.up\.test\[192\.0\.2\.66\]', mark, 'smtpd')
    mta.log.wait(rf'Verified TLS connection established to 127\.0\.0\.1:{mta.port("after")}: .*', mark)


def test_postfix_behind(mta, hop):
    mark = hop.log.mark()
    with mta.session('foreign', helo=None, xclient=mta.STRANGER) as client:
        client.cmd('EHLO client.example', 250)
        qid = client.message(wanted='~250 2.0.0 Ok: queued as .*').rpartition(' ')[2]
    hop.log.wait(rf'{qid}: client=localhost\[127\.0\.0\.1\], orig_client=spike\.up\.test\[192\.0\.2\.66\]', mark, 'smtpd')


@pytest.mark.parametrize('level, kind, said', [('encrypt', 'absent', ABSENT), ('encrypt', 'strange', None), ('verify', 'strange', UNVERIFIED), ('none', 'good', None)])
def test_release(mta, authorities, level, kind, said):
    """As the filter with that next hop would have sent it."""
    qid = quarantine_put(mta, b'Subject: x\n\nbody\n', f'nexthop=127.0.0.1:{mta.port(level)}')
    with mta.sink(level, script(kind, authorities)) as sink:
        done = mta.run('quarantine', 'release', qid)
        assert (done.returncode == 0) == (said is None) and (said or 'released') in done.stdout + done.stderr, done
        connection, = sink.connections
        assert bool(connection.messages) == (said is None) and is_secure(connection) == (kind != 'absent' and level != 'none')
        assert said is None or not connection.command('MAIL')


def test_release_behind_our_filter(mta):
    """Of several filters with one next hop, as the one that asks for most."""
    qid = quarantine_put(mta, b'Subject: released\n\nbody\n', f'nexthop=127.0.0.1:{mta.port("after")}')
    done = mta.run('quarantine', 'release', qid)
    assert done.returncode == 0 and f'Verified TLS connection established to 127.0.0.1:{mta.port("after")}' in done.stderr, done
    mta.maildir('alice').wait_for(b'Subject: released')
