"""Lookup tables that are asked over a network (socketmap, tcp, ldap), with servers of all minds, and cdb files."""
import os
import subprocess
import time

import pytest

from harness import PATIENCE
from harness.peer import CLOSE, HANG, until
from harness.tables import Rude, Slapd, SocketmapServer, TcpTableServer

BASE = 'dc=gate,dc=test'
NETSTRING = SocketmapServer.netstring
DEBIAN = '/usr/sbin/postmap'
BAD = 'alice@virt.test'    # the table refuses her
GOOD = 'bob@virt.test'     # of whom it knows nothing
REFUSED = '554 5.7.1 <alice@virt.test>: Recipient address rejected: by table'


def rcpt(mta, address, name='in'):
    """The answer to RCPT in a session of its own."""
    with mta.session(name) as client:
        client.cmd('MAIL FROM:<a@b.example>', 250)
        return client.cmd(f'RCPT TO:<{address}>')


def query(program, conf, spec, keys):
    """All keys at once, until one of them fails."""
    one = len(keys) == 1
    done = subprocess.run([program, '-c', conf, '-q', keys[0] if one else '-', spec], input='\n'.join(keys) + '\n',
                          capture_output=True, text=True, timeout=60 * PATIENCE)
    return done.returncode, done.stdout, bool(done.stderr)


def assert_alike(mta, specs, keys):
    """Debian's postmap and ours answer alike, about all keys in all tables; words of errors apart."""
    own = os.path.join(os.path.dirname(mta.program), 'postmap')
    for spec in specs:
        got, want = query(own, mta.dir + '/conf', spec, keys), query(DEBIAN, mta.dir + '/conf', spec, keys)
        if len(keys) > 1 and got[0] and want[0]:  # some key fails, or none is there
            for key in keys:
                assert_alike(mta, [spec], [key])
        else:
            assert got == want, (spec, keys)


SERVERS = {'socketmap': (SocketmapServer, 'socketmap:inet:127.0.0.1:{table}:access'), 'tcp': (TcpTableServer, 'tcp:127.0.0.1:{table}')}


@pytest.fixture(params=SERVERS)
def asked(request):
    """The class of a server and the table that asks it."""
    return SERVERS[request.param]


def start_server(mta, kind, faults=None, once=False):
    data = {BAD: 'REJECT by table', 'x y': 'OK blank and 100%', 'ümlaut': 'OK \xfc', 'Case': 'OK upper'}
    return kind(('127.0.0.1', mta.port('table')), data, faults, once)


def test_a_server_answers_is_gone_and_comes_back(sut, asked):
    kind, spec = asked
    with sut(services={'in': f'-o smtpd_recipient_restrictions=check_recipient_access,{spec}'}) as mta:
        with start_server(mta, kind):
            assert rcpt(mta, BAD) == REFUSED
            assert rcpt(mta, GOOD).startswith('250 2.1.5 ')
        mark = mta.log.mark()
        assert rcpt(mta, GOOD).startswith('451 4.3.')
        assert rcpt(mta, BAD).startswith('451 4.3.')
        mta.log.wait(r'warning: .*(table|map).*Connection refused', mark)
        with start_server(mta, kind):
            assert rcpt(mta, BAD) == REFUSED
            assert rcpt(mta, GOOD).startswith('250 2.1.5 ')


@pytest.mark.gatepost_only
def test_connections_are_kept_and_replaced(sut, asked):
    kind, spec = asked
    with sut(services={'in': f'-o smtpd_recipient_restrictions=check_recipient_access,{spec}'}) as mta:
        with start_server(mta, kind) as server:
            for _ in range(5):
                assert rcpt(mta, BAD) == REFUSED
            assert len(server.connections) == 1
        with start_server(mta, kind, once=True) as server:
            for _ in range(5):
                assert rcpt(mta, BAD) == REFUSED
            assert len(server.connections) == 5


FAULTS = {
    'socketmap': {'temp@v.test': NETSTRING('TEMP come back'), 'timeout@v.test': NETSTRING('TIMEOUT '), 'perm@v.test': NETSTRING('PERM no'),
                  'word@v.test': NETSTRING('OKAY x'), 'garbage@v.test': b'\x16\x03\x01\x02\x00nonsense\r\n', 'empty@v.test': NETSTRING(''),
                  'length@v.test': b'4294967296:OK x,', 'big@v.test': NETSTRING('OK ' + 'x' * 99998), 'comma@v.test': b'4:OK x;',
                  'close@v.test': CLOSE, 'nul@v.test': NETSTRING(b'OK a\0b')},
    'tcp': {'later@v.test': b'400 later\n', 'code@v.test': b'300 what\n', 'garbage@v.test': b'\x16\x03\x01\x02\x00nonsense\r\n',
            'bare@v.test': b'500\n', 'percent@v.test': b'200 a%zz\n', 'long@v.test': b'200 ' + b'x' * 4092 + b'\n',
            'megabytes@v.test': b'200 ' + b'x' * 5000000, 'close@v.test': CLOSE, 'nul@v.test': b'200 a%00b\n'},
}


@pytest.mark.gatepost_only  # Postfix waits and asks again, for a long time
def test_what_is_no_answer_is_a_failure(sut, asked):
    kind, spec = asked
    faults = FAULTS[spec.partition(':')[0]]
    with sut(services={'in': f'-o smtpd_recipient_restrictions=check_recipient_access,{spec},permit_mynetworks'}) as mta:
        with start_server(mta, kind, faults):
            for address in faults:
                mark = mta.log.mark()
                assert rcpt(mta, address).startswith('451 4.3.'), address
                mta.log.wait(rf'warning: .*{spec.partition(":")[0]}.*', mark)
                assert rcpt(mta, BAD) == REFUSED, address


@pytest.mark.gatepost_only
def test_nobody_waits_for_a_server_that_hangs_but_who_asked_it(sut, asked):
    kind, spec = asked
    with sut(services={'in': f'-o smtpd_recipient_restrictions=check_recipient_access,{spec},permit_mynetworks'}) as mta:
        with start_server(mta, kind, {'hang@v.test': HANG}) as server:
            waiting = [mta.session('in') for _ in range(10)]
            for client in waiting:
                client.cmd('MAIL FROM:<a@b.example>', 250)
                client.send(b'RCPT TO:<hang@v.test>\r\n')
            server.wait_open(10)
            assert rcpt(mta, BAD) == REFUSED
        for client in waiting:  # the server is gone: they are told at once
            client.expect(451)
            client.close()


@pytest.mark.gatepost_only
@pytest.mark.long
@pytest.mark.parametrize('answer', [HANG, b'20'])
def test_a_lookup_ends_after_100_seconds(sut, asked, answer):
    kind, spec = asked
    with sut(services={'in': f'-o smtpd_recipient_restrictions=check_recipient_access,{spec},permit_mynetworks'}) as mta:
        with start_server(mta, kind, {'hang@v.test': answer}), mta.connect('in', timeout=150) as client:
            client.expect(220)
            client.cmd('EHLO c.test', 250)
            client.cmd('MAIL FROM:<a@b.example>', 250)
            begun = time.monotonic()
            client.cmd('RCPT TO:<hang@v.test>', 451)
            assert 95 < time.monotonic() - begun < 130


@pytest.mark.gatepost_only
def test_sockets_alike(gatepost, asked):
    kind, spec = asked
    with gatepost() as mta, start_server(mta, kind):
        assert_alike(mta, [mta.fill(spec)], [BAD, GOOD, 'x y', 'ümlaut', 'case', 'Case', 'a%b\tc', 'x' * 1000])


@pytest.mark.gatepost_only
def test_a_socketmap_behind_a_path(gatepost):
    with gatepost(services={'in': '-o smtpd_recipient_restrictions=check_recipient_access,socketmap:unix:table:access'}) as mta:
        with SocketmapServer(mta.dir + '/queue/table', {BAD: 'REJECT by table'}) as server:
            assert rcpt(mta, BAD) == REFUSED
            assert server.requests == ['access ' + BAD]
        assert_alike(mta, [f'socketmap:unix:{mta.dir}/queue/table:access'], [BAD])


# ---- cdb ----

def test_cdb(sut):
    with sut(services={'in': '-o smtpd_recipient_restrictions=check_recipient_access,cdb:{dir}/table'}) as mta:
        with open(mta.dir + '/table', 'w') as file:
            file.write(f'{BAD} REJECT by table\n')
        program = os.path.join(os.path.dirname(mta.program), 'postmap') if mta.newer else DEBIAN
        assert rcpt(mta, BAD).startswith('451 4.3.')
        subprocess.run([program, '-c', mta.dir + '/conf', f'cdb:{mta.dir}/table'], check=True)
        until(lambda: rcpt(mta, BAD) == REFUSED, 'the table is there')
        assert rcpt(mta, GOOD).startswith('250 2.1.5 ')


@pytest.mark.gatepost_only
@pytest.mark.parametrize('nul', ['-n', '-N', None])
def test_cdb_files_are_postfix_files(gatepost, nul):
    with gatepost() as mta:
        own = os.path.join(os.path.dirname(mta.program), 'postmap')
        for name, program in (('own', own), ('debian', DEBIAN)):
            with open(f'{mta.dir}/{name}', 'w') as file:
                file.write('Foo bar\nfoo second\n# comment\nlong ' + 'x' * 100000 + '\nkey value with blanks\n  and more\nempty\n')
            done = subprocess.run([program, '-c', mta.dir + '/conf', *([nul] if nul else []), f'cdb:{mta.dir}/{name}'], capture_output=True)
            assert done.returncode == 0 and b'duplicate entry: "foo"' in done.stderr
        with open(mta.dir + '/own.cdb', 'rb') as first, open(mta.dir + '/debian.cdb', 'rb') as second:
            assert first.read() == second.read()
        assert_alike(mta, [f'cdb:{mta.dir}/own', f'cdb:{mta.dir}/debian'], ['foo', 'FOO', 'long', 'key', 'empty', 'none', ''])


# ---- ldap ----

def entry(dn, **attributes):
    text = f'dn: {dn},{BASE}\nobjectClass: mailthing\ncn: {dn.split("=")[1].split(",")[0]}\n'
    for name, values in attributes.items():
        for value in values if isinstance(values, list) else [values]:
            text += f'{name}: {value}\n'
    return text + '\n'


def members(*names):
    return [f'{name},{BASE}' for name in names]


LDIF = (f'dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: gate\ndc: gate\n\n' +
        ''.join(f'dn: ou={ou},{BASE}\nobjectClass: organizationalUnit\nou: {ou}\n\n' for ou in ('people', 'groups', 'private')) +
        entry('cn=reader', userPassword='pw') +
        entry('cn=alice,ou=people', mailacceptinggeneralid=BAD, maildrop=['REJECT by table', 'second'], mail='alice@mail.test') +
        entry('cn=carol,ou=people', mailacceptinggeneralid='carol@virt.test', maildrop='carol', mail='carol@mail.test') +
        entry('cn=odd,ou=people', mailacceptinggeneralid='a*(b)\\c@virt.test', maildrop='odd') +
        entry('cn=empty,ou=people', mailacceptinggeneralid='empty@virt.test') +
        entry('cn=team,ou=groups', mailacceptinggeneralid='team@virt.test', mail='team@mail.test',
              memberdn=members('cn=alice,ou=people', 'cn=carol,ou=people', 'cn=gone,ou=people')) +
        entry('cn=all,ou=groups', mailacceptinggeneralid='all@virt.test', memberdn=members('cn=team,ou=groups', 'cn=end,ou=groups')) +
        entry('cn=end,ou=groups', mailacceptinggeneralid='end@virt.test', maildrop='end@x.test', mail='e@mail.test',
              memberdn=members('cn=alice,ou=people')) +
        entry('cn=loop,ou=groups', mailacceptinggeneralid='loop@virt.test', mail='loop@mail.test', memberdn=members('cn=loop,ou=groups')) +
        entry('cn=urls,ou=groups', mailacceptinggeneralid='urls@virt.test', memberurl=[
            f'ldap:///ou=people,{BASE}?mail?sub?(cn=a*)', f'ldap:///ou=people,{BASE}??one?(cn=carol)', f'ldap:///cn=gone,{BASE}?mail']) +
        entry('cn=bad,ou=groups', mailacceptinggeneralid='bad@virt.test', memberurl='neither') +
        entry('cn=hidden,ou=private', mailacceptinggeneralid='hidden@virt.test', maildrop='hidden'))

KEYS = [BAD, BAD.upper(), GOOD, 'alice', '@virt.test', 'carol@virt.test', 'a*(b)\\c@virt.test', '*', 'empty@virt.test', 'ü', 'hidden@virt.test',
        'alice@people', 'alice@no', 'alice@a,b+c=#']
GROUPS = ['team@virt.test', 'all@virt.test', 'end@virt.test', 'loop@virt.test', 'urls@virt.test', 'bad@virt.test', BAD]

# Lines of the table's file, each with the keys asked for.
ALIKE = [
    ('', KEYS), ('result_format = <%u>%%%U', KEYS), ('result_filter = %s at %D', KEYS), ('query_filter = (cn=%u)\nresult_attribute = mail', KEYS),
    ('domain = virt.test', KEYS), ('query_filter = (cn=%u)\nsearch_base = ou=%d,dc=gate,dc=test', KEYS),
    ('query_filter = (cn=%u)\nsearch_base = dc=gate,dc=%1', KEYS), (f'search_base = ou=nowhere,{BASE}', [BAD]), ('query_filter = (bad%s', [BAD]),
    ('query_filter = %q', [BAD]), ('query_filter = (cn=*)\nsize_limit = 1', ['a']), ('query_filter = (cn=alice)\nexpansion_limit = 1', ['a']),
    ('query_filter = (cn=alice)\nexpansion_limit = 2', ['a']), ('scope = one', KEYS), ('scope = base', KEYS), ('scope = foo', [BAD]),
    (f'search_base = ou=people,{BASE}\nscope = one', KEYS),
    ('special_result_attribute = memberdn memberurl\nresult_attribute = mail', GROUPS),
    ('special_result_attribute = memberdn, memberurl\nresult_attribute = mail,maildrop\nresult_format = [%s]', GROUPS),
    ('special_result_attribute = memberdn\nresult_attribute =\nleaf_result_attribute = mail', GROUPS),
    ('special_result_attribute = memberdn\nresult_attribute =\nleaf_result_attribute = mail\nterminal_result_attribute = maildrop', GROUPS),
    *((f'special_result_attribute = memberdn\nresult_attribute = mail\nrecursion_limit = {n}', GROUPS) for n in (1, 2, 3)),
    (f'bind_dn = cn=reader,{BASE}\nbind_pw = pw', KEYS), (f'bind_dn = cn=reader,{BASE}\nbind_pw = wrong', [BAD]), ('bind = no', KEYS),
    ('bind = none', [BAD]), ('bind = simple', [BAD]), ('bind = maybe', [BAD]), ('version = 2', [BAD]), ('dereference = 3', KEYS),
    ('dereference = 9', [BAD]), ('cache = yes', [BAD]), ('timeout = x', [BAD]), ('chase_referrals = yes', KEYS),
    ('result_attribute = nosuch', [BAD]), ('start_tls = yes', [BAD]), ('start_tls = yes\ntls_require_cert = yes', [BAD]),
    ('start_tls = yes\ntls_require_cert = yes\ntls_ca_cert_file = {certificate}', [BAD]), ('start_tls = yes\ntls_ca_cert_file = /none', [BAD]),
    ('server_host = ldaps://127.0.0.1:{tls_port}', [BAD]), ('server_host = ldaps://127.0.0.1:{tls_port}\ntls_require_cert = yes', [BAD]),
    ('server_host = ldaps://127.0.0.1:{tls_port}\ntls_require_cert = yes\ntls_ca_cert_file = {certificate}', [BAD]),
    ('server_host = ldapi://{socket}', [BAD]), ('server_host = 127.0.0.1\nserver_port = {port}', [BAD]), ('server_host = 127.0.0.1:{port}', [BAD]),
    ('server_host = ldap://127.0.0.1:1 ldap://127.0.0.1:{port}', [BAD]), ('server_host = http://127.0.0.1:{port}', [BAD]),
    ('server_host = ldap://127.0.0.1:1', [BAD]),
]


@pytest.fixture(scope='module')
def directory(ports):
    with Slapd(ports.take(), LDIF, tls=ports.take()) as server:
        yield server


def write_ldap(mta, lines, server, name='ldap.cf'):
    """A table's file; a later line replaces an earlier one."""
    settings = {}
    for line in f'server_host = ldap://127.0.0.1:{server.port}\nsearch_base = {BASE}\nversion = 3\n{lines}'.splitlines():
        settings[line.partition(' =')[0]] = line
    text = ''.join(line + '\n' for line in settings.values())
    for word in ('port', 'tls_port', 'certificate', 'socket'):
        text = text.replace('{' + word + '}', str(getattr(server, word)))
    with open(f'{mta.dir}/{name}', 'w') as file:
        file.write(text)
    return f'ldap:{mta.dir}/{name}'


@pytest.mark.gatepost_only
@pytest.mark.long
def test_directories_alike(gatepost, directory):
    mta = gatepost()
    for number, (lines, keys) in enumerate(ALIKE):
        assert_alike(mta, [write_ldap(mta, lines, directory, f'{number}.cf')], keys)
    mta.__exit__(None, None, None)


@pytest.mark.gatepost_only
def test_ldap_parameters_in_main_cf(gatepost, directory):
    with gatepost(main=f'old_server_host = 127.0.0.1:{directory.port}\nthe_base = {BASE}\nold_search_base = $the_base\n'
                       'old_result_format = REJECT by table\nold_result_attribute = mail\n',
                  services={'in': '-o smtpd_recipient_restrictions=check_recipient_access,ldap:old -o old_query_filter=(cn=%u)'}) as mta:
        assert rcpt(mta, BAD) == REFUSED
        assert rcpt(mta, GOOD).startswith('250 2.1.5 ')
    mta = gatepost(main=f'old_server_host = 127.0.0.1:{directory.port}\nold_search_base = ou=people,{BASE}\n'
                        'old_query_filter = (cn=%u)\nold_result_attribute = maildrop\n')
    assert_alike(mta, ['ldap:old'], [BAD, GOOD])
    mta.__exit__(None, None, None)


def test_a_directory_answers_is_gone_and_comes_back(sut, ports):
    """As an access table, where values are actions, and as a table of recipients."""
    with Slapd(ports.take(), LDIF) as server:
        mta = sut(main='virtual_mailbox_maps = ldap:{dir}/boxes.cf\n',
                  services={'in': '-o smtpd_recipient_restrictions=check_recipient_access,ldap:{dir}/access.cf'})
        write_ldap(mta, 'query_filter = (&(mailacceptinggeneralid=%s)(maildrop=REJECT by table))\nsize_limit = 1\n'
                        'result_attribute = cn\nresult_format = REJECT by table', server, 'access.cf')
        write_ldap(mta, 'result_attribute = cn', server, 'boxes.cf')
        with mta:
            for _ in range(2):
                assert rcpt(mta, BAD) == REFUSED
                assert rcpt(mta, 'carol@virt.test').startswith('250 2.1.5 ')
                assert rcpt(mta, 'nobody@virt.test').startswith('550 5.1.1 ')
                server.stop()
                mark = mta.log.mark()
                for address in (BAD, 'carol@virt.test', 'nobody@virt.test'):
                    assert rcpt(mta, address).startswith('451 4.3.'), address
                mta.log.wait(r"warning: .*Can't contact LDAP server.*", mark)
                server.start()


RUDE = {
    'hang': (b'', HANG), 'close': (b'', CLOSE), 'garbage': (b'550 not here\r\n', HANG), 'half': (bytes.fromhex('30 82 01 00 02 01 01'), HANG),
    'huge': (bytes.fromhex('30 84 7f ff ff ff 02 01 01'), HANG), 'megabytes': (b'\x30' * 65536, Rude.FLOOD),
    'entries': (bytes.fromhex('30 0a 02 01 02 64 05 04 01 61 30 00'), Rude.FLOOD), 'bound': (bytes.fromhex('30 0c 02 01 01 61 07 0a 01 00 04 00 04 00'), HANG),
}


@pytest.mark.gatepost_only
@pytest.mark.parametrize('kind', RUDE)
def test_no_directory_holds_a_client(gatepost, kind):
    mta = gatepost(services={'in': '-o smtpd_recipient_restrictions=check_recipient_access,ldap:{dir}/ldap.cf'})
    with open(mta.dir + '/ldap.cf', 'w') as file:
        file.write(f'server_host = ldap://127.0.0.1:{mta.port("ldap")}\nsearch_base = {BASE}\ntimeout = 1\n')
    with mta, Rude(('127.0.0.1', mta.port('ldap')), *RUDE[kind]):
        begun = time.monotonic()
        assert rcpt(mta, BAD).startswith('451 4.3.')
        assert time.monotonic() - begun < 10 * PATIENCE
        mta.log.wait(r'warning: .*(ldap://|Search error).*')
