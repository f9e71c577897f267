"""TLS on the way to a next hop (TLS_README, "SMTP Client specific settings"): levels and policies, peers of every kind.
Run with --sut postfix, the same lines hold for Postfix."""
import re
import ssl
import subprocess
import time

import pytest

from harness.peer import CLOSE, HANG

TO = r'127\.0\.0\.1\[127\.0\.0\.1\]'
CIPHER = r'TLSv1\.[23] with cipher \S+ \(\d+/\d+ bits\).*'
FAILED = 'Cannot start TLS: handshake failure'


@pytest.fixture(scope='module')
def certificates(tmp_path_factory):
    """Directory with ca.pem, other.pem, and NAME.chain (key, certificate) of good, expired (both named good.test), strange (of the
    other authority)."""
    path = tmp_path_factory.mktemp('certificates')
    path.chmod(0o755)
    subprocess.run(['bash', '-ec', '''
        new="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
        for ca in ca other; do openssl req -x509 $new -days 9 -subj /CN=$ca -keyout $ca.key -out $ca.pem; done
        echo subjectAltName=DNS:good.test >ext
        while read name ca days; do
            openssl req $new -subj /CN=good.test -keyout $name.key -out $name.csr
            openssl x509 -req -in $name.csr -CA $ca.pem -CAkey $ca.key -CAcreateserial -days $days -extfile ext -out $name.pem
            cat $name.key $name.pem >$name.chain
        done <<<$'good ca 9\\nexpired ca -1\\nstrange other 9'
        chmod 644 *'''], cwd=path, check=True, capture_output=True)
    for parent in list(path.parents)[:3]:
        if str(parent).startswith('/tmp/'):
            parent.chmod(0o755)
    return path


def fingerprint(certificates, name):
    out = subprocess.run(['openssl', 'x509', '-in', certificates / f'{name}.pem', '-noout', '-fingerprint', '-sha256'],
                         check=True, capture_output=True, text=True).stdout
    return out.partition('=')[2].strip()


# A case: the policy (of smtp_tls_policy_maps), the server, what the delivery's record says, and further lines in the log.
OK = (r'2\.0\.0', 'sent', r'250 2\.0\.0 filter took it')


def deferred(dsn, text):
    return re.escape(dsn), 'deferred', text


NOT_VERIFIED = deferred('4.7.5', 'Server certificate not verified')
BAD_POLICY = deferred('4.7.5', 'client TLS configuration problem')
WHERE = r'warning: smtp_tls_policy_maps, next-hop destination "\[127\.0\.0\.1\]:PORT": '


def unverified(why, what='server certificate'):
    return [rf'{what} verification failed for {TO}:PORT: {why}', established('Untrusted')]


def established(trust):
    return rf'{trust} TLS connection established to {TO}:PORT: {CIPHER}'


CASES = {
    'none': ('none', 'plain', OK, [r'Host offered STARTTLS: \[127\.0\.0\.1\]']),
    'may': ('may', 'good', OK, [established('Trusted')]),
    'may_strange': ('may', 'strange', OK, [established('Untrusted')]),
    'may_absent': ('may', 'absent', OK, []),
    'may_refused': ('may', 'refused', OK, []),
    'may_broken': ('may', 'broken', deferred('4.7.5', FAILED), [rf'SSL_connect error to {TO}:PORT: -1']),
    'encrypt': ('encrypt', 'strange', OK, [established('Untrusted')]),
    'encrypt_absent': ('encrypt', 'absent', deferred('4.7.4', f'TLS is required, but was not offered by host {TO}'), []),
    'encrypt_refused': ('encrypt', 'refused', deferred('4.7.0', rf'TLS is required, but host {TO} refused to start TLS: 454 4\.7\.0 no'), []),
    'encrypt_broken': ('encrypt', 'broken', deferred('4.7.5', FAILED), [rf'SSL_connect error to {TO}:PORT: -1']),
    'encrypt_closed': ('encrypt', 'closed', deferred('4.7.5', FAILED), [rf'SSL_connect error to {TO}:PORT: lost connection']),
    'encrypt_hangs': ('encrypt', 'hangs', deferred('4.7.5', FAILED), [rf'SSL_connect error to {TO}:PORT: Connection timed out']),
    'encrypt_old': ('encrypt protocols=>=TLSv1.3', 'old', deferred('4.7.5', FAILED), []),
    'encrypt_new': ('encrypt protocols=TLSv1.2:TLSv1.3 ciphers=high exclude=3DES', 'old', OK, [established('Trusted')]),
    'verify': ('verify match=good.test', 'good', OK, [established('Verified')]),
    'verify_host': ('verify', 'good', NOT_VERIFIED, unverified('num=64:IP address mismatch')),
    'verify_name': ('verify match=bad.test', 'good', NOT_VERIFIED, unverified('num=62:hostname mismatch')),
    'verify_strange': ('verify match=good.test', 'strange', NOT_VERIFIED, unverified('untrusted issuer /CN=other', 'certificate')),
    'verify_expired': ('verify match=good.test', 'expired', NOT_VERIFIED, unverified('certificate has expired')),
    'verify_anchor': ('verify match=good.test tafile={certificates}/other.pem', 'strange', OK, [established('Verified')]),
    'verify_no_anchor': ('verify match=good.test tafile={certificates}/other.pem', 'good', NOT_VERIFIED, [established('Untrusted')]),
    'secure': ('secure match=.test', 'good', OK, [established('Verified')]),
    'secure_dot': ('secure match=.good.test', 'good', NOT_VERIFIED, unverified('num=62:hostname mismatch')),
    'fingerprint': ('fingerprint match={strange}', 'strange', OK, [established('Verified')]),
    'fingerprint_case': ('fingerprint match=11:22|{lower}', 'strange', OK, [established('Verified')]),
    'fingerprint_bare': ('fingerprint match={bare}', 'strange', OK, [established('Verified')]),
    'fingerprint_other': ('fingerprint match={strange}', 'good', NOT_VERIFIED, unverified('num=65:no matching DANE TLSA records')),
    'injected': ('encrypt', 'injected', OK, [established('Trusted')]),
    'bad_level': ('sure', 'good', BAD_POLICY, [WHERE + 'invalid security level "sure"']),
    'bad_name': ('may speed=high', 'good', BAD_POLICY, [WHERE + 'invalid attribute name: "speed"']),
    'bad_server': ('may servername=-bad', 'good', BAD_POLICY, [WHERE + '"servername=-bad" specifies an invalid hostname']),
    'bad_match': ('encrypt match=good.test', 'good', BAD_POLICY, [WHERE + 'attribute "match" invalid at security level "encrypt"']),
    'bad_empty': ('encrypt ciphers=', 'good', BAD_POLICY, [WHERE + 'attribute "ciphers" has empty value']),
    'bad_twice': ('encrypt ciphers=high ciphers=medium', 'good', BAD_POLICY, [WHERE + 'attribute "ciphers" is specified multiple times']),
    'bad_none': ('none ciphers=high', 'plain', OK, [WHERE + 'ignoring attribute "ciphers=high" with TLS disabled']),
}


class Servers:
    """What a Sink's script is for each kind of server. What it offers before TLS is forgotten (RFC 3207 section 4.2); Postfix 3.7 keeps
    a SIZE, so with it that is one that does no harm."""

    def __init__(self, certificates, forgets_size=True):
        self.certificates, self.forgets_size = certificates, forgets_size

    def context(self, kind):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificates / f'{kind if kind in ("strange", "expired") else "good"}.chain')
        if kind == 'old':
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        return context

    def wrap(self, kind, reply=b'220 go on\r\n'):
        context = self.context(kind)

        def start(connection):
            connection.sock.sendall(reply)
            connection.sock = context.wrap_socket(connection.sock, server_side=True)
            connection.file = connection.sock.makefile('rb')
        return start

    def script(self, kind):
        if kind == 'absent':
            return {'EHLO': '250 sink.test'}

        def hello(connection):
            inside = isinstance(connection.sock, ssl.SSLSocket)
            return '250-sink.test\n250 8BITMIME' if inside else '250-sink.test\n250-SIZE %d\n250 STARTTLS' % (10 if self.forgets_size else 10 ** 6)
        answers = {'refused': '454 4.7.0 no', 'closed': self.say_and(CLOSE), 'hangs': self.say_and(HANG),
                   'broken': self.say_and(b'this is no TLS, whatever comes\r\n', pause=True),
                   'injected': self.wrap(kind, b'220 go on\r\n250-sink.test\r\n250 SIZE 1\r\n550 no\r\n')}
        if kind in ('refused', 'broken', 'plain'):
            hello = '250-sink.test\n250 STARTTLS'
        return {'EHLO': hello, 'STARTTLS': answers.get(kind) or self.wrap(kind)}

    @staticmethod
    def say_and(answer, pause=False):
        def say(connection):
            connection.sock.sendall(b'220 go on\r\n')
            if pause:  # until the client says hello
                connection.sock.recv(5000)
            return answer
        return say


@pytest.fixture(scope='module')
def hop(postfix, certificates):
    """Postfix as the next hop."""
    with postfix(main=f'smtpd_tls_chain_files = {certificates}/good.chain\nsmtpd_tls_security_level = encrypt\n'
                 'smtpd_tls_loglevel = 1\nrelay_domains = hop.test\nrelay_transport = discard\n', services={'in': ''}) as hop:
        yield hop


@pytest.fixture(scope='module')
def mta(sut, hop, certificates):
    policies, transports = [], []
    texts = {'strange': fingerprint(certificates, 'strange'), 'certificates': certificates}
    texts['lower'] = texts['strange'].lower()
    texts['bare'] = texts['strange'].replace(':', '')
    for name, (policy, *_) in CASES.items():
        policies.append(f'{{[127.0.0.1]:{{{name}}} = {policy.format(**texts)}}}')
        transports.append(f'{{{name.replace("_", "-")}.test = smtp:[127.0.0.1]:{{{name}}}}}')
    transports += ['{eager.test = eager:[127.0.0.1]:{eager}}', '{wrapped.test = wrapped:[127.0.0.1]:{wrapped}}',
                   '{again.test = smtp:[127.0.0.1]:{again}}', f'{{hop.test = smtp:[127.0.0.1]:{hop.port("in")}}}']
    policies += ['{[127.0.0.1]:{again} = encrypt}', f'{{[127.0.0.1]:{hop.port("in")} = verify match=good.test}}']
    with sut(main=f'inet_protocols = ipv4\nsmtp_tls_CAfile = {certificates}/ca.pem\nsmtp_tls_loglevel = 1\n'
             'smtp_tls_note_starttls_offer = yes\nsmtp_starttls_timeout = 2\nsmtp_tls_fingerprint_digest = sha256\n'
             'smtp_tls_session_cache_database = btree:{dir}/data/sessions\n'
             f'smtp_tls_policy_maps = inline:{{ {", ".join(policies)} }}\n'
             f'transport_maps = inline:{{ {", ".join(transports)} }}\n',
             services={'smtp': ''}, master='eager unix - - n - - smtp -o smtp_tls_security_level=may -o minimal_backoff_time=1\n'
             'wrapped unix - - n - - smtp -o smtp_tls_security_level=encrypt -o smtp_tls_wrappermode=yes\n') as mta:
        yield mta


def send(mta, *recipients):
    with mta.session('smtp') as client:
        client.message(to=recipients, wanted='~250 2.0.0 Ok: queued as .*')


def record(name, outcome):
    dsn, status, text = outcome
    return rf'\w+: to=<x@{name}\.test>, relay=.*, dsn={dsn}, status={status} \({text}\)'


def test_policies(sut, mta, certificates):
    """All at once: each case has a next hop of its own."""
    servers = Servers(certificates, sut.newer)
    sinks = {name: mta.sink(name, servers.script(case[1])) for name, case in CASES.items()}
    mark = mta.log.mark()
    send(mta, *[f'x@{name.replace("_", "-")}.test' for name in CASES])
    wrong = []
    for name, (policy, kind, outcome, lines) in CASES.items():
        for pattern in [record(name.replace('_', '-'), outcome)] + lines:
            pattern = pattern.replace('PORT', str(mta.port(name)))
            try:
                mta.log.wait(pattern, mark, timeout=10)
            except AssertionError:
                wrong.append(f'{name}: no line {pattern}')
        if outcome is OK and kind not in ('absent', 'refused') and not policy.startswith('none') and sinks[name].connections:
            connection = sinks[name].wait()
            inside = connection.commands[connection.commands.index(b'STARTTLS') + 1:]
            if not inside or not inside[0].startswith(b'EHLO') or len(connection.messages) != 1:
                wrong.append(f'{name}: {connection.commands}')
        if outcome is not OK and any(connection.messages or connection.command('MAIL') for connection in sinks[name].connections):
            wrong.append(f'{name}: mail was begun')
    for sink in sinks.values():
        sink.close()
    assert not wrong, '\n'.join(wrong + mta.log.texts(mark, 'smtp'))


def test_plaintext_after_a_while(mta, certificates):
    """Level may: a server whose TLS is broken gets the mail without, but not at once."""
    mark = mta.log.mark()
    with mta.sink('eager', Servers(certificates).script('broken')) as sink:
        send(mta, 'x@eager.test')
        mta.log.wait(record('eager', deferred('4.7.5', FAILED)), mark)
        deadline = time.monotonic() + 20
        while not any(connection.messages for connection in sink.connections) and time.monotonic() < deadline:
            mta.flush()
            time.sleep(0.2)
        mta.log.wait(record('eager', OK), mark)
        assert mta.log.find(rf'\w+: {FAILED}', mark)


def test_wrapped(mta, certificates):
    context = Servers(certificates).context('good')

    def greet(connection):
        connection.sock = context.wrap_socket(connection.sock, server_side=True)
        connection.file = connection.sock.makefile('rb')
        return '220 sink.test ESMTP'
    mark = mta.log.mark()
    with mta.sink('wrapped', {'connect': greet, 'EHLO': '250 sink.test'}):
        send(mta, 'x@wrapped.test')
        mta.log.wait(record('wrapped', OK), mark)
        assert mta.log.find(established('Trusted').replace('PORT', str(mta.port('wrapped'))), mark)


def test_resumed(sut, mta, certificates):
    with mta.sink('again', Servers(certificates, sut.newer).script('good')) as sink:
        for count in (1, 2):
            send(mta, 'x@again.test')
            sink.wait(count)
        assert [connection.sock.session_reused for connection in sink.connections] == [False, True]
        assert all(len(connection.messages) == 1 for connection in sink.connections)


def test_real_server(mta, hop):
    mark, heard = mta.log.mark(), hop.log.mark()
    send(mta, 'x@hop.test')
    mta.log.wait(record('hop', (r'2\.0\.0', 'sent', r'250 2\.0\.0 Ok: queued as \w+')), mark)
    assert mta.log.find(established('Verified').replace('PORT', str(hop.port('in'))), mark)
    hop.log.wait(r'Anonymous TLS connection established from .*', heard)
