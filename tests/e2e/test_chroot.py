"""Services under another root (master.cf: chroot), each with all that it needs, and nothing of what is outside."""
import base64
import os
import sqlite3
import stat
import subprocess
import time

import pytest
from harness.cyrus import Cyrus
from harness.dovecot import Dovecot
from harness.instance import AFTER, MASTER, sanitized
from harness.peer import until
from harness.tls import is_secure, openssl, start_server, starttls

pytestmark = [pytest.mark.gatepost_only, pytest.mark.skipif(os.geteuid() != 0, reason='a chroot needs root')]
KINDS = ('texthash', 'hash', 'pcre', 'lmdb', 'cdb', 'sqlite', 'cidr')
SOON = 10
PASSWORD = 'Geheim-Kennwort-4711'

LINES = """\
127.0.0.1:{front} inet n - y - 20 smtpd -o smtpd_proxy_filter=127.0.0.1:{filter} -o syslog_name=postfix/front
127.0.0.1:{filter} inet n - y - 20 filter -o filter_nexthop=127.0.0.1:{after}
127.0.0.1:{after} inet n - y - - smtpd """ + AFTER + """
127.0.0.1:{spooled} inet n - y - 20 smtpd -o smtpd_proxy_filter=unix:private/inside -o smtpd_proxy_options=speed_adjust
inside unix - - y - 20 filter -o filter_nexthop=127.0.0.1:{after}
127.0.0.1:{tables} inet n - y - - smtpd -o { smtpd_recipient_restrictions = """ + ' '.join(
    f'check_{"client" if kind == "cidr" else "recipient"}_access {kind}:{{dir}}/{kind}.map' for kind in KINDS) + """ }
127.0.0.1:{lists} inet n - y - - smtpd -o { smtpd_recipient_restrictions = permit_mynetworks reject } -o mynetworks={dir}/networks
127.0.0.1:{login} inet n - y - - smtpd -o smtpd_sasl_auth_enable=yes -o smtpd_sasl_type=dovecot -o smtpd_sasl_path=private/auth
127.0.0.1:{login_inet} inet n - y - - smtpd -o smtpd_sasl_auth_enable=yes -o smtpd_sasl_type=dovecot -o smtpd_sasl_path=inet:127.0.0.1:{auth}
127.0.0.1:{login_cyrus} inet n - y - - smtpd -o smtpd_sasl_auth_enable=yes
127.0.0.1:{login_saslauthd} inet n - y - - smtpd -o smtpd_sasl_auth_enable=yes -o smtpd_sasl_path=saslauthd
127.0.0.1:{capath} inet n - y - - smtpd -o smtpd_tls_security_level=may -o smtpd_tls_chain_files={authority}/server.chain -o smtpd_tls_ask_ccert=yes \
-o smtpd_tls_CApath={authority}/hashed -o smtpd_tls_loglevel=1
127.0.0.1:{through_capath} inet n - y - - smtpd -o smtpd_proxy_filter=127.0.0.1:{peer} -o { smtpd_proxy_tls_security_level = secure match=server.example } \
-o smtp_tls_CApath={authority}/hashed
127.0.0.1:{through_tafile} inet n - y - - smtpd -o smtpd_proxy_filter=127.0.0.1:{peer} \
-o { smtpd_proxy_tls_security_level = secure match=server.example tafile={authority}/ca.pem }
127.0.0.1:{probing} inet n - y - - smtpd -o { smtpd_recipient_restrictions = reject_unverified_recipient permit }
"""


def chrooted(base):
    """All lines that may."""
    out = []
    for line in base.splitlines():
        words = line.split()
        if words[7] not in ('virtual', 'local'):
            words[4] = 'y'
        out.append(' '.join(words) + '\n')
    return ''.join(out)


def make(mta, kind, action):
    """The table's text, and the index made from it, as administrators do that."""
    path = f'{mta.dir}/{kind}.map'
    key = {'pcre': f'/^{kind}@virt.test$/', 'cidr': '127.0.0.0/8'}.get(kind, f'{kind}@virt.test')
    sqlite = f'{mta.dir}/rows.db'
    time.sleep(0.02)  # the clock of a file's times is coarse
    if kind == 'sqlite':
        with open(path, 'w') as file:
            file.write(f"dbpath = {sqlite}\nquery = SELECT action FROM actions WHERE address = '%s'\n")
        with sqlite3.connect(sqlite + '.new') as connection:
            connection.execute('CREATE TABLE actions (address, action)')
            connection.execute('INSERT INTO actions VALUES (?, ?)', (f'{kind}@virt.test', action))
        connection.close()
        os.rename(sqlite + '.new', sqlite)
        return
    with open(path + '.new', 'w') as file:
        file.write(f'{key} {action}\n')
    os.rename(path + '.new', path)
    if kind in ('lmdb', 'cdb'):
        program = os.path.join(os.path.dirname(mta.program), 'postmap')
        subprocess.run([program, '-c', mta.dir + '/conf', f'{kind}:{path}'], check=True)


def write_networks(mta, text):
    with open(mta.dir + '/networks.new', 'w') as file:
        file.write(text)
    time.sleep(0.02)
    os.rename(mta.dir + '/networks.new', mta.dir + '/networks')


@pytest.fixture(scope='module')
def authority(authority):
    """Its directory, as "openssl rehash" makes it, is of links that lead nowhere from under another root."""
    authority.issue('client')
    os.mkdir(authority.path('hashed'))
    os.symlink(authority.path('ca.pem'), authority.path('hashed/ca.pem'))
    openssl('rehash', 'hashed', cwd=authority.directory)
    return authority


@pytest.fixture(scope='module')
def mta(gatepost, authority):
    mta = gatepost(main='smtp_host_lookup = native\naddress_verify_map = btree:{dir}/queue/gatepost/verify\n'
                   'transport_maps = inline:{{far.test=smtp:[127.0.0.1]:{peer}}}\nsmtp_tls_loglevel = 1\n'
                   f'smtp_tls_policy_maps = inline:{{ {{[127.0.0.1]:{{peer}} = secure match=server.example tafile={authority.path("ca.pem")} }} }}\n', base=chrooted(MASTER),
                   master=LINES.replace('{authority}', authority.directory))
    for kind in KINDS:
        make(mta, kind, 'REJECT version 0')
    write_networks(mta, '192.0.2.0/24\n')
    inside = mta.dir + '/queue'
    with Cyrus(mta.port('imap'), 'mx.gate.test', {'carol': PASSWORD}, {'dave': PASSWORD}, mta.owner()) as cyrus:
        cyrus.configure(mta, database='/etc/sasldb2', socket='/run/mux')
        for name in 'etc', 'run', 'dev':
            os.mkdir(f'{inside}/{name}')
            os.chmod(f'{inside}/{name}', 0o755)
        os.rename(cyrus.database, inside + '/etc/sasldb2')
        os.mknod(inside + '/dev/urandom', 0o666 | stat.S_IFCHR, os.makedev(1, 9))
        os.chmod(inside + '/dev/urandom', 0o666)
        os.link(cyrus.directory + '/mux', inside + '/run/mux')
        with mta, Dovecot(mta.port('auth'), {'alice': PASSWORD}, [inside + '/private/auth']):
            yield mta


@pytest.mark.parametrize('service, user', [('login', 'alice'), ('login_inet', 'alice'), ('login_cyrus', 'carol'), ('login_saslauthd', 'dave')])
def test_login(mta, service, user):
    """Dovecot's socket, and the files of Cyrus SASL, are below the new root."""
    if user in ('carol', 'dave') and sanitized(mta.program):
        pytest.skip('sanitized builds stay outside, where Cyrus SASL has no files')
    with mta.session(service) as client:
        client.cmd('AUTH PLAIN ' + base64.b64encode(f'\0{user}\0wrong'.encode()).decode(), 535)
        client.cmd('AUTH PLAIN ' + base64.b64encode(f'\0{user}\0{PASSWORD}'.encode()).decode(), 235)
        client.message(wanted='~250 .*')


def ask(mta, kind, service='tables'):
    with mta.session(service) as client:
        client.cmd('MAIL FROM:<a@b.example>', 250)
        return client.cmd(f'RCPT TO:<{kind}@virt.test>')


def version(mta, kind):
    answer = ask(mta, kind)
    assert answer.startswith('554 5.7.1 <'), answer
    return answer.rpartition(' ')[2]


def sees(mta, kind, wanted):
    until(lambda: version(mta, kind) == wanted, f'{kind}: version {wanted} is in use', SOON)


@pytest.mark.parametrize('way', ['through_capath', 'through_tafile', 'smtp'])
def test_authorities_of_servers(mta, authority, way):
    hello = lambda connection: '250-peer.test\n' + ('' if is_secure(connection) else '250-STARTTLS\n') + '250 XFORWARD NAME ADDR PROTO HELO'
    mark = mta.log.mark()
    with mta.sink('peer', {'EHLO': hello, 'STARTTLS': start_server(authority.path('server.chain'))}) as sink:
        with mta.session('after' if way == 'smtp' else way) as client:
            client.message(to=['x@far.test' if way == 'smtp' else 'alice@virt.test'], wanted='~250 .*')
        until(lambda: any(connection.messages and is_secure(connection) for connection in sink.connections), 'a message')
    mta.log.wait(rf'Verified TLS connection established to .*:{mta.port("peer")}: .*', mark)


def test_authorities_of_clients(mta, authority):
    mark = mta.log.mark()
    with mta.session('capath') as client:
        starttls(client, authority.client_context(own='client'))
        client.cmd('NOOP', 250)
    mta.log.wait(r'Trusted TLS connection established from .*', mark, 'smtpd')


def services(mta):
    """(name, root, user) of the master's processes."""
    found = []
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open(f'/proc/{pid}/stat') as file:
                name, _, rest = file.read().partition(' (')[2].rpartition(') ')
            if int(rest.split()[1]) == mta.master_pid():
                found.append((name, os.readlink(f'/proc/{pid}/root'), os.stat(f'/proc/{pid}/task').st_uid, int(pid)))
        except FileNotFoundError:
            pass
    return found


def test_each_service_is_where_its_line_says(mta):
    if sanitized(mta.program):
        pytest.skip('the sanitizers need /proc: such builds stay outside')
    roots = {}
    for name, root, _, _ in services(mta):
        roots.setdefault(name, set()).add(root)
    inside = {mta.dir + '/queue'}
    assert roots == {'smtpd': inside, 'filter': inside, 'qmgr': inside, 'smtp': inside, 'error': inside,
                     'discard': inside, 'virtual': {'/'}}


@pytest.mark.parametrize('service', ['front', 'spooled'])
def test_mail_goes_the_whole_way(mta, service):
    """Through a filter by port and by a socket below the root, into a mailbox outside of it."""
    with mta.session(service) as client:
        text = client.message(wanted='~250 2.0.0 Ok: queued as .*', content='Subject: x\n\n' + 'long line\n' * 30000)
        qid = text.rpartition(' ')[2]
    mta.maildir('alice').wait_for(qid.encode())


def test_an_address_is_probed(mta):
    """Its result is written under the root, and read from outside of it, by way of the master."""
    until(lambda: ask(mta, 'alice', 'probing')[:3] == '250', 'it is found good', SOON)


@pytest.mark.parametrize('kind', KINDS)
def test_a_table_changes(mta, kind):
    assert version(mta, kind) == '0'
    make(mta, kind, 'REJECT version 1')
    sees(mta, kind, '1')
    mask = os.umask(0o077)  # for root alone
    make(mta, kind, 'REJECT version 2')
    os.umask(mask)
    sees(mta, kind, '2')


@pytest.mark.parametrize('kind', ['lmdb', 'sqlite'])
def test_a_table_changes_in_place(mta, kind):
    make(mta, kind, 'REJECT version 3')
    sees(mta, kind, '3')
    if kind == 'sqlite':
        with sqlite3.connect(mta.dir + '/rows.db') as connection:
            connection.execute("UPDATE actions SET action = 'REJECT version 4'")
        connection.close()
    else:
        index = os.stat(mta.dir + '/lmdb.map.lmdb').st_ino
        with open(mta.dir + '/lmdb.map', 'w') as file:
            file.write('lmdb@virt.test REJECT version 4\n')
        subprocess.run(['postmap', '-c', mta.dir + '/conf', f'lmdb:{mta.dir}/lmdb.map'], check=True)  # Postfix's own
        assert os.stat(mta.dir + '/lmdb.map.lmdb').st_ino == index
    sees(mta, kind, '4')


@pytest.mark.parametrize('kind', ['lmdb', 'cdb', 'sqlite', 'texthash'])
def test_a_broken_table_is_not_taken(mta, kind):
    make(mta, kind, 'REJECT version 5')
    sees(mta, kind, '5')
    mark = mta.log.mark()
    path = {'lmdb': 'lmdb.map.lmdb', 'cdb': 'cdb.map.cdb', 'sqlite': 'rows.db', 'texthash': 'texthash.map'}[kind]
    if kind == 'texthash':  # of which any text is one
        os.unlink(f'{mta.dir}/{path}')
        os.mkfifo(f'{mta.dir}/{path}')
    else:
        with open(mta.dir + '/junk', 'w') as file:
            file.write('nonsense ' * 1000)
        time.sleep(0.02)
        os.rename(mta.dir + '/junk', f'{mta.dir}/{path}')

    def is_told():
        assert version(mta, kind) == '5'
        return any('going on with what it was' in text for text in mta.log.texts(mark))
    until(is_told, 'a warning', SOON)
    if kind == 'texthash':
        os.unlink(f'{mta.dir}/{path}')
    make(mta, kind, 'REJECT version 6')
    sees(mta, kind, '6')


def test_a_list_in_a_file(mta):
    assert ask(mta, 'alice', 'lists')[:3] == '554'
    write_networks(mta, '127.0.0.0/8\n')
    until(lambda: ask(mta, 'alice', 'lists')[:3] == '250', 'the network is permitted', SOON)


def test_reload_and_what_dies(mta):
    mta.reload()
    make(mta, 'texthash', 'REJECT version 7')
    sees(mta, 'texthash', '7')
    mark = mta.log.mark()
    for name, _, _, pid in services(mta):
        if name in ('smtpd', 'qmgr'):
            mta.kill(9, pid)  # one of before the reload may have ended
    mta.log.wait(r'.*killed by signal 9', mark)

    def lives():
        try:
            return version(mta, 'texthash') == '7'
        except (ConnectionError, AssertionError, EOFError):
            return False
    until(lives, 'another one serves', SOON)
    test_mail_goes_the_whole_way(mta, 'front')


def test_a_socket_outside_is_an_error_with_advice(gatepost):
    outside = gatepost()
    mta = gatepost(master='127.0.0.1:{a} inet n - y - - smtpd -o smtpd_proxy_filter=unix:' + outside.dir + '/conf/main.cf\n')
    done = mta.try_start()
    assert done.returncode != 0
    assert f'{outside.dir}/conf/main.cf is outside of the chroot {mta.dir}/queue: let it be below' in done.stderr
    mta = gatepost(master='virtual unix - n y - - virtual\n')
    done = mta.try_start()
    assert done.returncode != 0
    assert 'virtual cannot work in a chroot, its mailboxes are outside: the chroot column must be n' in done.stderr
