"""sqlite, pgsql and mysql tables: with real servers, with servers that fail, and beside Postfix's postmap."""
import os
import select
import socket
import sqlite3
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from harness import PATIENCE
from harness.databases import PLAIN_SCHEMA, Mariadb, Postgres
from harness.peer import until
from harness.tls import Authority

TYPES = ('sqlite', 'pgsql', 'mysql')
BOXES = "query = SELECT path FROM mailboxes WHERE address = '%s'\n"
LIMIT = 45 * PATIENCE  # a lookup takes 20 s at most, with what the machine needs for all these threads


@pytest.fixture(scope='module')
def pgsql(ports):
    with Postgres(ports.take()) as server:
        yield server


@pytest.fixture(scope='module')
def mysql(ports):
    with Mariadb(ports.take()) as server:
        yield server


@pytest.fixture(scope='module')
def database(pgsql, mysql, tmp_path_factory):
    """The parameters that say where the data are, by type; the same rows are in all."""
    path = make_sqlite(str(tmp_path_factory.mktemp('sqlite') / 'data.db'))
    return {'sqlite': f'dbpath = {path}\n', 'pgsql': pgsql.parameters(), 'mysql': mysql.parameters()}


def make_sqlite(path, schema=PLAIN_SCHEMA):
    directory = os.path.dirname(path)
    while directory != '/':  # pytest's directories are their owner's alone
        os.chmod(directory, os.stat(directory).st_mode | 0o055)
        directory = os.path.dirname(directory)
    connection = sqlite3.connect(path)
    connection.executescript(schema)
    connection.close()
    return path


def write(directory, name, text):
    path = f'{directory}/{name}'
    with open(path, 'w') as file:
        file.write(text)
    os.chmod(path, 0o644)
    return path


def ask(program, spec, keys, directory):
    """What is said of all keys, up to the first where that fails."""
    done = subprocess.run([*program, '-c', directory, '-q', '-', spec], input=b''.join(key.encode() + b'\n' for key in keys),
                          capture_output=True, timeout=60 * PATIENCE)
    return done.returncode, done.stdout.decode(), done.stderr.decode('utf-8', 'replace')


# ---- What postmap -q says ----

ANSWER = "query = SELECT v FROM answers WHERE k = '%s'\n"
# parameters, keys, types (None: all)
QUERIES = [
    (ANSWER, ['one', 'ONE', 'two', 'empty', 'null', "it's", 'back\\slash', 'none', "x' OR '1'='1", "\\' OR 1=1 -- ", 'joe@a.example.com', '%s', '@'], None),
    ("query = SELECT v, w FROM answers WHERE k = '%s' ORDER BY v\n", ['two', 'null'], None),
    ("query = SELECT v FROM answers WHERE k = '%s'\nexpansion_limit = 1\n", ['one'], None),
    ("query = SELECT v FROM answers WHERE k = '%s'\nexpansion_limit = 1\n", ['two'], None),
    ("query = SELECT v FROM answers WHERE k = '%s'\nresult_format = <%s|%S|%%>\n", ['one', 'two', 'empty'], None),
    ("query = SELECT v FROM answers WHERE k = '%u@%d'\nresult_format = %u:%d:%U:%D:%1:%3\n", ['joe@a.example.com', 'joe', '@a.example.com'], None),
    ("query = SELECT '%1-%2-%3'\n", ['joe@a.example.com', 'joe@example.com', 'a.example.com', 'x@a..b.c', 'x@.b.c'], None),
    ("query = SELECT '%u'\n", ['joe', '@x', 'joe@', 'a@b@c'], None),
    (ANSWER + 'domain = example.com, a.example.com\n', ['joe@a.example.com', 'one', '@a.example.com'], None),
    ('table = answers\nselect_field = v\nwhere_field = k\n', ['one', 'none'], None),
    ("table = answers\nselect_field = v\nwhere_field = k\nadditional_conditions = AND w = 'y'\n", ['one', 'two'], None),
    ("query = SELECT v FROM nosuch WHERE k = '%s'\n", ['one'], None),
    ("query = SELEC '%s'\n", ['one'], None),
    ("query = SELECT '%x'\n", ['one'], None),
    ("query = SELECT '%s'\nresult_format = %q\n", ['one'], None),
    ("query = SELECT '%s'\nexpansion_limit = many\n", ['one'], None),
    ('table = answers\n', ['one'], None),
    ('query\n', ['one'], None),
    ('select_function = upper\n', ['one'], ['pgsql']),
    ('query = SELECT 1; SELECT 2\n', ['one'], ['pgsql']),
    ("query = CALL look('%s')\n", ['one', 'two', 'none'], ['mysql']),
    ("query = CALL mute('%s')\n", ['one'], ['mysql']),
    ("query = CALL mute('%s')\nrequire_result_set = no\n", ['one'], ['mysql']),
    ("query = CALL twice('%s')\n", ['one'], ['mysql']),
]


@pytest.mark.gatepost_only
@pytest.mark.long
@pytest.mark.parametrize('kind', TYPES)
def test_answers_are_postmaps(kind, database, tmp_path, request):
    ours = [request.config.getoption('--gatepost'), 'map']
    conf = str(tmp_path)
    write(conf, 'main.cf', 'compatibility_level = 3.6\n')
    for number, (parameters, keys, kinds) in enumerate(QUERIES):
        if kinds and kind not in kinds:
            continue
        spec = f'{kind}:' + write(conf, f'{number}.cf', database[kind] + parameters)
        wanted = ask(['postmap'], spec, keys, conf)
        got = ask(ours, spec, keys, conf)
        assert got[:2] == wanted[:2], (parameters, wanted[2], got[2])


@pytest.mark.gatepost_only
@pytest.mark.parametrize('kind', TYPES)
def test_text_is_utf8(kind, database, tmp_path, request):
    ours = [request.config.getoption('--gatepost'), 'map']
    spec = f'{kind}:' + write(tmp_path, 'x.cf', database[kind] + ANSWER)
    assert ask(ours, spec, ['b\u00fccher'], str(tmp_path)) == (0, 'b\u00fccher\tb\u00fcch\n', '')
    done = subprocess.run([*ours, '-q', b'b\xfccher', spec], capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (1, b'', b'')


@pytest.mark.gatepost_only
@pytest.mark.parametrize('kind', TYPES)
def test_parameters_in_main_cf(kind, database, tmp_path, request):
    """The table is a name there. $ is expanded as everywhere in main.cf."""
    ours = [request.config.getoption('--gatepost'), 'map']
    own = ''.join(f'box_{line}\n' for line in (database[kind] + "query = SELECT ${column} FROM answers WHERE k = '%s'").splitlines())
    write(tmp_path, 'main.cf', 'compatibility_level = 3.6\ncolumn = v\n' + own)
    for program in (ours, ['postmap']):
        for spec in (f'{kind}:box', f'proxy:{kind}:box') if program == ours else (f'{kind}:box',):
            assert ask(program, spec, ['one'], str(tmp_path)) == (0, 'one\t1\n', '')
        assert ask(program, f'{kind}:other', ['one'], str(tmp_path))[0] == 1


@pytest.mark.gatepost_only
def test_ways_to_a_server(pgsql, mysql, tmp_path, request):
    """Paths and URIs; of several hosts those that are not there are passed over."""
    ours = [request.config.getoption('--gatepost'), 'map']
    for kind, server in (('pgsql', pgsql), ('mysql', mysql)):
        for parameters in (server.path_parameters(), server.parameters().replace('inet:', ''),
                           server.parameters().replace('hosts =', f'hosts = unix:{tmp_path}/none, 127.0.0.1:1')):
            spec = f'{kind}:' + write(tmp_path, 'x.cf', parameters + ANSWER)
            code, value, said = ask(ours, spec, ['one'], str(tmp_path))
            assert (code, value) == (0, 'one\t1\n'), said
        spec = f'{kind}:' + write(tmp_path, 'x.cf', server.parameters().replace('secret', 'wrong') + ANSWER)
        code, value, said = ask(ours, spec, ['one'], str(tmp_path))
        assert (code, value) == (1, '') and f'warning: connect to {kind} server inet:127.0.0.1:{server.port}: ' in said


# ---- TLS ----

@pytest.fixture(scope='module')
def authority(tmp_path_factory):
    authority = Authority(tmp_path_factory.mktemp('ca'))
    authority.issue('name')
    authority.issue('address', also='IP:127.0.0.1')
    authority.issue('client')
    os.rename(authority.path('ca.pem'), authority.path('good.pem'))
    authority.make_root('Nobody knows it')
    os.rename(authority.path('ca.pem'), authority.path('other.pem'))
    return authority


CLIENT = 'tls_cert_file = {ca}/client.pem\ntls_key_file = {ca}/client.key\n'
OVER_TLS = {  # parameters without the query, and whether there is an answer
    'mysql': [
        ('hosts = inet:127.0.0.1:{port}\nuser = safe\ntls_CAfile = {ca}/good.pem\ntls_verify_cert = yes\n', True),
        ('hosts = inet:127.0.0.1:{port}\nuser = safe\ntls_CAfile = {ca}/other.pem\ntls_verify_cert = yes\n', False),
        ('hosts = inet:127.1:{port}\nuser = safe\ntls_CAfile = {ca}/good.pem\ntls_verify_cert = yes\n', False),  # another name
        ('hosts = inet:127.1:{port}\nuser = safe\ntls_CAfile = {ca}/good.pem\n', True),
        ('hosts = inet:127.0.0.1:{port}\nuser = safe\n', False),
        ('hosts = inet:127.0.0.1:{port}\nuser = safe\ntls_CAfile = {ca}/good.pem\ntls_ciphers = ECDHE-ECDSA-AES256-GCM-SHA384\n', True),
        ('hosts = inet:127.0.0.1:{port}\nuser = known\ntls_CAfile = {ca}/good.pem\n', False),
        ('hosts = inet:127.0.0.1:{port}\nuser = known\ntls_CAfile = {ca}/good.pem\n' + CLIENT, True),
        ('hosts = inet:127.0.0.1:{port}\nuser = safe\noption_file = {ca}/my.cnf\noption_group = mail\n', True),
        ('hosts = inet:127.0.0.1:{port}\nuser = safe\noption_file = {ca}/my.cnf\n', False),
        ('hosts = inet:127.0.0.1:{port}\nuser = safe\noption_file = {ca}/my.cnf\noption_group =\n', False),
    ],
    'pgsql': [
        ('hosts = postgresql://safe:secret@localhost:{port}/mail?sslmode=verify-full&sslrootcert={ca}/good.pem\n', True),
        ('hosts = postgresql://safe:secret@localhost:{port}/mail?sslmode=verify-full&sslrootcert={ca}/other.pem\n', False),
        ('hosts = postgresql://safe:secret@127.0.0.1:{port}/mail?sslmode=verify-full&sslrootcert={ca}/good.pem\n', False),
        ('hosts = postgresql://safe:secret@127.0.0.1:{port}/mail?sslmode=verify-ca&sslrootcert={ca}/good.pem\n', True),
        ('hosts = postgresql://safe:secret@127.0.0.1:{port}/mail?sslmode=disable\n', False),
        ('hosts = inet:127.0.0.1:{port}\nuser = safe\n', True),  # the library's default is to try
        ('hosts = postgresql://known:secret@127.0.0.1:{port}/mail?sslmode=require\n', False),
        ('hosts = postgresql://known:secret@127.0.0.1:{port}/mail?sslmode=require&sslcert={ca}/client.pem&sslkey={ca}/client.key\n', True),
    ],
}
SERVER_TLS = {
    'mysql': (['--ssl-ca={dir}/ca', '--ssl-cert={dir}/cert', '--ssl-key={dir}/key'], 'address'),
    'pgsql': (['-c', 'ssl=on', '-c', 'ssl_ca_file={dir}/ca', '-c', 'ssl_cert_file={dir}/cert', '-c', 'ssl_key_file={dir}/key'], 'name'),
}


@pytest.mark.gatepost_only
@pytest.mark.parametrize('whose', ['map', pytest.param('postmap', marks=pytest.mark.long)])
@pytest.mark.parametrize('kind', OVER_TLS)
def test_servers_with_tls(kind, whose, authority, tmp_path, request):
    """Whom the server asks for TLS or a certificate, and who checks the server's. Answers of more than a record come whole."""
    server, (options, name) = request.getfixturevalue(kind), SERVER_TLS[kind]
    program = [request.config.getoption('--gatepost'), 'map'] if whose == 'map' else ['postmap']
    write(tmp_path, 'main.cf', 'compatibility_level = 3.6\n')
    with open(authority.path('my.cnf'), 'w') as file:
        file.write(f'[client]\nuser=nobody\n[mail]\nssl-ca={authority.path("good.pem")}\n')
    spec = f'{kind}:{tmp_path}/x.cf'
    with server.restarted(options, ca=authority.path('good.pem'), cert=authority.path(f'{name}.pem'), key=authority.path(f'{name}.key')):
        for text, is_good in OVER_TLS[kind]:
            text = text.replace('{port}', str(server.port)).replace('{ca}', authority.directory) + 'password = secret\ndbname = mail\n'
            write(tmp_path, 'x.cf', text + ANSWER)
            code, value, said = ask(program, spec, ['one'], str(tmp_path))
            assert (code, value) == ((0, 'one\t1\n') if is_good else (1, '')), (text, said)
            if is_good:
                working = text
        for octets in (9000, 20000, 32000, 100000):
            write(tmp_path, 'x.cf', working + f"query = SELECT repeat('%s', {octets})\n")
            code, value, said = ask(program, spec, ['x'], str(tmp_path))
            assert (code, value) == (0, 'x\t' + octets * 'x' + '\n'), (octets, said)


# ---- Mail ----

def mail(sut, parameters, extra=''):
    """A server whose mailboxes are in boxes.cf of each type: ports by type."""
    services = {kind: f'-o virtual_mailbox_maps=proxy:{kind}:{{dir}}/{kind}.cf {extra}' for kind in parameters}
    mta = sut({'virtual_mailbox_maps': ' '.join(f'proxy:{kind}:{{dir}}/{kind}.cf' for kind in parameters)}, services=services)
    for kind, text in parameters.items():
        write(mta.dir, kind + '.cf', text + BOXES)
    return mta


def recipient(mta, name, address='alice@virt.test', wanted=None, sender='a@b.test'):
    with mta.session(name) as client:
        client.timeout = LIMIT
        client.sock.settimeout(LIMIT)
        client.cmd(f'MAIL FROM:<{sender}>', 250)
        return client.cmd(f'RCPT TO:<{address}>', wanted)


def test_recipients(sut, database):
    with mail(sut, database) as mta:
        for kind in TYPES:
            recipient(mta, kind, 'alice@virt.test', 250)
            recipient(mta, kind, "O'Neil@virt.test", 250)
            recipient(mta, kind, 'nobody@virt.test',
                      '550 5.1.1 <nobody@virt.test>: Recipient address rejected: User unknown in virtual mailbox table')
            recipient(mta, kind, "'or'1'='1@virt.test", 550)
        with mta.session('sqlite') as client:
            client.cmd('MAIL FROM:<a@b.test>', 250)
            client.cmd('RCPT TO:<alice@virt.test>', 250)
            client.cmd('DATA', 354)
            client.send(b'Subject: x\r\n\r\nx\r\n.\r\n')
            client.expect(250)
        mta.maildir('alice').wait()


def test_access(sut, database):
    services = {kind: f'-o smtpd_sender_restrictions=check_sender_access,{kind}:{{dir}}/{kind}.cf' for kind in TYPES}
    services['union'] = '-o { smtpd_sender_restrictions = check_sender_access unionmap:{pgsql:{dir}/pgsql.cf, static:x} }'
    mta = sut(services=services)
    for kind in TYPES:
        write(mta.dir, kind + '.cf', database[kind] + "query = SELECT action FROM access WHERE address = '%s'\n")
    with mta:
        for kind in TYPES:
            recipient(mta, kind, wanted='554 5.7.1 <spam@bad.test>: Sender address rejected: not you', sender='spam@bad.test')
            recipient(mta, kind, wanted='450 4.7.9 <x@deep.sub.bad.test>: Sender address rejected: wait', sender='x@deep.sub.bad.test')
            recipient(mta, kind, wanted=250, sender='x@good.test')


@pytest.mark.gatepost_only
@pytest.mark.parametrize('kind', ('pgsql', 'mysql'))
def test_a_database_that_is_down(kind, sut, database, request):
    """Never "unknown user": 451 and a warning, until it is back, and no mail is lost meanwhile."""
    server = request.getfixturevalue(kind)
    with mail(sut, {kind: database[kind] + 'retry_interval = 1\n'}) as mta:
        recipient(mta, kind, wanted=250)
        mark = mta.log.mark()
        server.stop()
        try:
            for address in ('alice@virt.test', 'nobody@virt.test'):
                recipient(mta, kind, address, f'451 4.3.0 <{address}>: Temporary lookup failure')
            mta.log.wait(f'warning: connect to {kind} server inet:127.0.0.1:{server.port}: .*', mark)
            mta.log.wait(f'warning: (proxy:)?{kind}:{mta.dir}/{kind}.cf lookup error for "nobody@virt.test"', mark)
        finally:
            server.start()
        until(lambda: recipient(mta, kind).startswith('250'), 'the server is asked again')
        recipient(mta, kind, 'nobody@virt.test', 550)


@pytest.mark.gatepost_only
@pytest.mark.parametrize('kind', ('pgsql', 'mysql'))
def test_a_restart_between_lookups_is_not_noticed(kind, sut, database, request):
    server = request.getfixturevalue(kind)
    with mail(sut, {kind: database[kind]}) as mta:
        recipient(mta, kind, wanted=250)
        server.stop()
        server.start()
        recipient(mta, kind, wanted=250)


@pytest.mark.gatepost_only
def test_sqlite_files_that_change(sut, tmp_path):
    """Rows that come are seen at once, a file that takes the place of the old one soon; what takes its place and is no
    database changes nothing."""
    path = make_sqlite(str(tmp_path / 'data.db'))
    with mail(sut, {'sqlite': f'dbpath = {path}\n'}) as mta:
        recipient(mta, 'sqlite', 'new@virt.test', 550)
        connection = sqlite3.connect(path)
        connection.execute("INSERT INTO mailboxes VALUES ('new@virt.test', 'new/')")
        connection.commit()
        connection.close()
        recipient(mta, 'sqlite', 'new@virt.test', 250)
        other = make_sqlite(str(tmp_path / 'other.db'), "CREATE TABLE mailboxes (address, path); INSERT INTO mailboxes VALUES ('newer@virt.test', 'newer/')")
        os.rename(other, path)
        until(lambda: recipient(mta, 'sqlite', 'newer@virt.test').startswith('250'), 'the new file is in use', 10)
        recipient(mta, 'sqlite', 'new@virt.test', 550)
        writer = sqlite3.connect(path, isolation_level=None)
        writer.execute('BEGIN EXCLUSIVE')
        recipient(mta, 'sqlite', 'newer@virt.test', '451 4.3.0 <newer@virt.test>: Temporary lookup failure')
        writer.close()
        os.unlink(path)
        recipient(mta, 'sqlite', 'newer@virt.test', 250)
        mark = mta.log.mark()
        write(tmp_path, 'data.db', 'this is not a database' * 100)

        def is_told():
            recipient(mta, 'sqlite', 'newer@virt.test', 250)
            return any('was replaced: going on with what it was' in text for text in mta.log.texts(mark))
        until(is_told, 'a warning', 10)
        os.rename(make_sqlite(str(tmp_path / 'third.db')), path)
        until(lambda: recipient(mta, 'sqlite', 'alice@virt.test').startswith('250'), 'the third file is in use', 10)


@pytest.mark.gatepost_only
def test_a_sqlite_file_that_comes_late(sut, tmp_path):
    path = f'{tmp_path}/data.db'
    with mail(sut, {'sqlite': f'dbpath = {path}\n'}) as mta:
        recipient(mta, 'sqlite', wanted=451)
        make_sqlite(path)
        until(lambda: recipient(mta, 'sqlite').startswith('250'), 'the file is there')


# ---- Servers that fail ----

class Fake:
    """A server that does one thing to everybody, from the first octet or after it has let through what a real server says
    until a query comes."""

    def __init__(self, port, act, real=None):
        self.act, self.real = act, real
        self.sock = socket.create_server(('127.0.0.1', port), backlog=100)
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.serve)]
        self.threads[0].start()

    def serve(self):
        self.sock.settimeout(0.1)
        while not self.over.is_set():
            try:
                peer, _ = self.sock.accept()
            except TimeoutError:
                continue
            self.threads.append(threading.Thread(target=self.one, args=(peer,)))
            self.threads[-1].start()

    def one(self, peer):
        try:
            with peer:
                if self.real:
                    self.let_through(peer)
                self.act(peer, self.over)
        except OSError:
            pass

    def let_through(self, peer):
        with socket.create_connection(('127.0.0.1', self.real)) as server:
            ends = {server: peer, peer: server}
            while not self.over.is_set():
                for end in select.select(ends, [], [], 0.1)[0]:
                    data = end.recv(65536)
                    if end is peer and b'mailboxes' in data or not data:
                        peer.settimeout(5)
                        return
                    ends[end].sendall(data)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()
        self.sock.close()


def hang(peer, over):
    over.wait()


def close(peer, over):
    pass


def garbage(peer, over):
    for _ in range(100):
        peer.sendall(b'\xff\x00\x01garbage\r\n' * 100)
    over.wait(1)


def megabytes(peer, over):
    """The beginning of messages that are, for either protocol, well-formed and very long. libpq reads on for as long as
    there is something to read, so that nobody else sees how much it has: the network must pause now and then."""
    peer.sendall(b'D\x3f\xff\xff\xff\x00\x01\x3f\xff\xff\xf0')
    while not over.wait(0.001):
        peer.sendall(b'x' * 65536)


def dribble(peer, over):
    while not over.wait(0.5):
        peer.sendall(b'S')


FAULTS = {'hang': hang, 'close': close, 'garbage': garbage, 'megabytes': megabytes, 'dribble': dribble}


@pytest.mark.gatepost_only
@pytest.mark.slow
def test_servers_that_fail(sut, pgsql, mysql, ports):
    """Soon enough the client has its 451; with another host to ask it has its 250. Others are served meanwhile. All ways to fail
    at once: most of the time somebody waits."""
    services, files, fakes = {'static': ''}, {}, []
    for kind, real in (('pgsql', pgsql), ('mysql', mysql)):
        for fault, act in FAULTS.items():
            for when in ('at_once', 'after_a_query'):
                port, name = ports.take(), f'{kind}_{fault}_{when}'
                text = real.parameters().replace('inet:', '')
                services |= {f'{which}_{name}': f'-o virtual_mailbox_maps={kind}:{{dir}}/{which}_{name}.cf' for which in ('alone', 'two')}
                files['alone_' + name] = text.replace(str(real.port), str(port))
                files['two_' + name] = text.replace('hosts = ', f'hosts = 127.0.0.1:{port} ')
                fakes.append((name, Fake(port, act, real.port if when == 'after_a_query' else None)))
    mta = sut(services=services)
    for name, text in files.items():
        write(mta.dir, name + '.cf', text + BOXES)
    with ExitStack() as stack:
        for _, fake in fakes:
            stack.enter_context(fake)
        stack.enter_context(mta)
        pool = stack.enter_context(ThreadPoolExecutor(6 * len(fakes)))
        begun = time.monotonic()
        waiting = {name: [pool.submit(recipient, mta, 'alone_' + name) for _ in range(5)] for name, _ in fakes}
        recipient(mta, 'static', wanted=250)
        assert time.monotonic() - begun < 6 * PATIENCE
        served = [pool.submit(recipient, mta, 'two_' + name, wanted=250) for name, _ in fakes]
        for name, replies in waiting.items():
            assert [reply.result() for reply in replies] == ['451 4.3.0 <alice@virt.test>: Temporary lookup failure'] * 5, name
        for reply in served:
            reply.result()
        assert time.monotonic() - begun < LIMIT
        for name, _ in fakes:
            recipient(mta, 'two_' + name, wanted=250)


# ---- Servers that say too much, after a query. The network never pauses: a library reads as long as there is something ----

MEMORY = 100 << 10  # kB that a process may take for it, of which some 20 MB are there from the start


def pgsql_row(peer, over):
    """One row that does not end. The network never pauses."""
    peer.settimeout(None)
    peer.sendall(b'D\x3f\xff\xff\xff\x00\x01\x3f\xff\xff\xf0')
    for _ in range(500):
        peer.sendall(bytes(1 << 20))


def pgsql_notices(peer, over):
    notice = b'SNOTICE\0C00000\0M' + b'x' * 10000 + b'\0\0'
    notice = b'N' + (len(notice) + 4).to_bytes(4, 'big') + notice
    for _ in range(500):
        peer.sendall(notice * 100)


def packet(number, data):
    return len(data).to_bytes(3, 'little') + bytes([number & 255]) + data


COLUMN = b'\x03def\0\0\0\x01c\0\x0c\x21\0\0\0\0\0\xfd\0\0\0\0\0'


def mysql_columns(peer, over):
    """Ever more columns of an answer."""
    peer.sendall(packet(1, b'\xfe' + (1 << 31).to_bytes(8, 'little')))
    number = 2
    for _ in range(500):
        data = b''.join(packet(number + i, COLUMN) for i in range(20000))
        number += 20000
        peer.sendall(data)


def mysql_count(peer, over):
    """A number of columns for which there would be no room, and one of them."""
    peer.sendall(packet(1, b'\xfe' + (40_000_000).to_bytes(8, 'little')) + packet(2, COLUMN) + packet(3, b'\xfe\0\0\2\0'))
    over.wait(5)


def mysql_rows(peer, over):
    peer.sendall(packet(1, b'\x01') + packet(2, COLUMN) + packet(3, b'\xfe\0\0\2\0'))
    row = b'\xfd' + (60000).to_bytes(3, 'little') + b'x' * 60000
    for number in range(10000):
        peer.sendall(packet(4 + number, row))


FLOODS = {'pgsql': (pgsql_row, pgsql_notices), 'mysql': (mysql_columns, mysql_count, mysql_rows)}


@pytest.mark.gatepost_only
@pytest.mark.skipif('ASAN_OPTIONS' in os.environ or 'TSAN_OPTIONS' in os.environ, reason='sanitizers have memory of their own')
@pytest.mark.parametrize('kind', FLOODS)
def test_floods_take_no_memory(kind, ports, tmp_path, request):
    real, port = request.getfixturevalue(kind), ports.take()
    write(tmp_path, 'main.cf', 'compatibility_level = 3.6\n')
    table = write(tmp_path, 'x.cf', real.parameters().replace(str(real.port), str(port)) + BOXES)
    for flood in FLOODS[kind]:
        with Fake(port, flood, real.port):
            process = subprocess.Popen([request.config.getoption('--gatepost'), 'map', '-c', str(tmp_path), '-q', 'alice@virt.test', f'{kind}:{table}'],
                                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            said = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            assert process.returncode == 1 and 'query failed' in said, (flood, said)
            assert usage.ru_maxrss < MEMORY, (flood, usage.ru_maxrss, said)
