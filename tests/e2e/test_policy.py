"""check_policy_service: what policy servers are told, what their answers do, and what their faults do not."""
import re
import threading
import time

import pytest
from harness import PATIENCE
from harness.peer import CLOSE, HANG, until
from harness.policy import Policy

ALL = '-o smtpd_delay_reject=no ' + ' '.join(
    f'-o {{ smtpd_{name}_restrictions = check_policy_service {{ inet:127.0.0.1:{{policy}}, {{ policy_context = my ctx }} }} }}'
    for name in ('client', 'helo', 'sender', 'recipient', 'data', 'end_of_data', 'etrn'))
PROBLEM = '451 4.3.5 <alice@virt.test>: Recipient address rejected: Server configuration problem'
SERVICE = '-o {{ smtpd_recipient_restrictions = check_policy_service {} }}'
NAMES = ['request', 'protocol_state', 'protocol_name', 'client_address', 'client_name', 'client_port', 'reverse_client_name',
         'server_address', 'server_port', 'helo_name', 'sender', 'recipient', 'recipient_count', 'queue_id', 'instance', 'size',
         'etrn_domain', 'stress', 'sasl_method', 'sasl_username', 'sasl_sender', 'ccert_subject', 'ccert_issuer',
         'ccert_fingerprint', 'ccert_pubkey_fingerprint', 'encryption_protocol', 'encryption_cipher', 'encryption_keysize',
         'policy_context']
INSTANCE = r'[0-9a-f]+\.[0-9a-f]+\.[0-9a-f]+\.[0-9a-f]+'


def service(options='inet:127.0.0.1:{policy}', more=''):
    return {'smtp': f'-o {{ smtpd_recipient_restrictions = check_policy_service {options} {more} }}'}


def policy(mta, answer=lambda request: 'DUNNO'):
    return Policy(('127.0.0.1', mta.port('policy')), answer)


def rcpt(mta, wanted=None, to='alice@virt.test', **kwargs):
    with mta.session('smtp', **kwargs) as client:
        client.cmd('MAIL FROM:<a@b.example>', 250)
        return client.cmd(f'RCPT TO:<{to}>', wanted)


class TestRequest:
    def test_attributes(self, sut):
        """All of a session, in Postfix's order."""
        with sut(services={'smtp': ALL}) as mta, policy(mta) as server:
            with mta.session('smtp', helo=None) as client:
                client.talk(('HELO one.example', 250), ('EHLO two.example', 250), ('VRFY alice@virt.test', 252), ('ETRN virt.test', 459),
                            ('MAIL FROM:<"a b"@b.example> SIZE=77', 250), ('RCPT TO:<alice@virt.test>', 250), ('RCPT TO:<Bob@virt.test>', 250))
                client.content('Subject: x\n\nhello\n', '~250 .*')
                client.talk(('MAIL FROM:<>', 250), ('RCPT TO:<alice@virt.test>', 250))
                client.send(b'BDAT 5 LAST\r\nabc\r\n')
                client.expect(250)
                client.quit()
            numbers, requests = zip(*server.requests)
            assert set(numbers) == {0}
            for request in requests:
                assert list(request) == NAMES + (['compatibility_level', 'mail_version'] if sut.newer else [])
                fixed = {'request': 'smtpd_access_policy', 'client_address': '127.0.0.1', 'client_name': 'localhost',
                         'client_port': str(client.port), 'reverse_client_name': 'localhost', 'server_address': '127.0.0.1',
                         'server_port': str(mta.port('smtp')), 'stress': '', 'sasl_method': '', 'encryption_keysize': '0',
                         'policy_context': 'my ctx'}
                assert {name: request[name] for name in fixed} == fixed
            keys = ('protocol_state', 'protocol_name', 'helo_name', 'sender', 'recipient', 'recipient_count', 'size', 'etrn_domain')
            told = [tuple(request[key] for key in keys) for request in requests]
            one, two, quoted = 'one.example', 'two.example', 'a b@b.example'
            assert told == [
                ('CONNECT', 'SMTP', '', '', '', '0', '0', ''),
                ('HELO', 'SMTP', one, '', '', '0', '0', ''),
                ('EHLO', 'SMTP', two, '', '', '0', '0', ''),
                ('VRFY', 'ESMTP', two, '', 'alice@virt.test', '0', '0', ''),
                ('ETRN', 'ESMTP', two, '', '', '0', '0', 'virt.test'),
                ('MAIL', 'ESMTP', two, quoted, '', '0', '77', ''),
                ('RCPT', 'ESMTP', two, quoted, 'alice@virt.test', '0', '77', ''),
                ('RCPT', 'ESMTP', two, quoted, 'Bob@virt.test', '0', '77', ''),
                ('DATA', 'ESMTP', two, quoted, '', '2', '77', ''),
                ('END-OF-MESSAGE', 'ESMTP', two, quoted, '', '2', '21', ''),
                ('MAIL', 'ESMTP', two, '', '', '0', '0', ''),
                ('RCPT', 'ESMTP', two, '', 'alice@virt.test', '0', '0', ''),
                ('DATA', 'ESMTP', two, '', 'alice@virt.test', '1', '0', ''),
                ('END-OF-MESSAGE', 'ESMTP', two, '', 'alice@virt.test', '1', '5', ''),
            ]
            instances = [request['instance'] for request in requests]
            assert instances[:6] == [''] * 6 and instances[10] == ''
            assert len(set(instances[6:10])) == 1 and len(set(instances[11:])) == 1 and instances[6] != instances[11]
            assert re.fullmatch(INSTANCE, instances[6]) and re.fullmatch(INSTANCE, instances[11])
            ids = [request['queue_id'] for request in requests]
            assert ids[:7] == [''] * 7 and ids[7] and len(set(ids[7:10])) == 1 and ids[10:12] == ['', ''] and ids[12] == ids[13] != ids[7]

    def test_stranger(self, sut):
        """XCLIENT: whom we take the client for."""
        with sut(services=service()) as mta, policy(mta) as server:
            rcpt(mta, 250, xclient=mta.STRANGER + ' REVERSE_NAME=rev.up.test')
            request = server.requests[0][1]
            assert (request['client_address'], request['client_name'], request['client_port'], request['reverse_client_name']) == (
                '192.0.2.66', 'spike.up.test', '4711', 'rev.up.test')

    def test_before_filter(self, sut):
        with sut(services={'smtp': service()['smtp'] + ' -o smtpd_proxy_filter=127.0.0.1:{filter}'}) as mta, policy(mta) as server, mta.sink('filter'):
            rcpt(mta, 250)
            assert server.requests[0][1]['queue_id'] == '' and re.fullmatch(INSTANCE, server.requests[0][1]['instance'])

    def test_unix(self, sut):
        with sut(services=service('unix:private/policy')) as mta, Policy(mta.dir + '/queue/private/policy') as server:
            rcpt(mta, 250)
            assert len(server.requests) == 1


ACTIONS = {
    'OK': 250, 'DUNNO': 554, 'dunno': 554, '12345': 250, 'RELAY': 250,
    'REJECT': '554 5.7.1 <alice@virt.test>: Recipient address rejected: Access denied',
    'REJECT 5.2.1 off': '554 5.2.1 <alice@virt.test>: Recipient address rejected: off',
    'DEFER wait': '450 4.7.1 <alice@virt.test>: Recipient address rejected: wait',
    '452 full': '452 4.7.1 <alice@virt.test>: Recipient address rejected: full',
    'defer_if_reject grey': '450 4.7.1 <alice@virt.test>: Recipient address rejected: grey',
    'strict': '450 4.3.2 <alice@virt.test>: Recipient address rejected: Try again later',
    'reject_unauth_destination, permit': 250,
    'nosuch_word': '451 4.3.5 Server configuration error',
    '550 ': '451 4.3.5 Server configuration error',
    'check_client_access hash:/x': '451 4.3.5 Server configuration error',
    'WARN told': 554, 'PREPEND X-Policy: yes': 554, '': 250,
}


@pytest.mark.parametrize('action', ACTIONS)
def test_action(shared, action):
    mta, server = shared
    server.answer = lambda request: action
    mark = mta.log.mark()
    assert rcpt(mta, ACTIONS[action])
    place = re.escape('inet:127.0.0.1:' + str(mta.port('policy')))
    if action == '':
        mta.log.wait(f'warning: access table {place} entry  has empty value', mark)
    elif action == 'nosuch_word':
        mta.log.wait_text('warning: unknown smtpd restriction: "nosuch_word"', mark)
    elif action.startswith('check_'):
        mta.log.wait(f'warning: access table {place} has entry with lookup table: check_client_access hash:/x', mark)
    elif action.startswith('WARN'):
        mta.log.wait('NOQUEUE: warn: RCPT from .*: told; from=<a@b.example> to=<alice@virt.test> proto=ESMTP helo=<client.example>', mark)


@pytest.fixture(scope='module')
def shared(sut):
    """One server whose recipient list asks, then rejects."""
    with sut('smtpd_restriction_classes = strict\nstrict = defer\n', service(more='reject')) as mta, policy(mta) as server:
        yield mta, server


def test_end_of_data(sut):
    lists = '-o { smtpd_data_restrictions = $x } -o { smtpd_end_of_data_restrictions = $x }'
    with sut('x = check_policy_service inet:127.0.0.1:{policy}', {'smtp': lists}) as mta, \
            policy(mta, lambda request: 'REJECT big' if request['protocol_state'] == 'END-OF-MESSAGE' else 'DUNNO') as server:
        with mta.session('smtp') as client:
            client.message(wanted='554 5.7.1 <END-OF-MESSAGE>: End-of-data rejected: big')
            client.cmd('RSET', 250)  # before 3.12 the transaction goes on
            server.answer = lambda request: 'DISCARD'
            client.message(wanted='~250 2.0.0 Ok: queued as .*')
        assert [request['protocol_state'] for _, request in server.requests][:2] == ['DATA', 'END-OF-MESSAGE']


def test_prepend(sut):
    with sut(services=service()) as mta, policy(mta, lambda request: 'PREPEND X-Policy: for ' + request['recipient']):
        with mta.session('smtp') as client:
            client.message(wanted='~250 2.0.0 Ok: queued as .*')
        message = mta.maildir('alice').wait(1)[0]
        text = message if isinstance(message, (str, bytes)) else message.read()
        assert 'X-Policy: for alice@virt.test' in (text if isinstance(text, str) else text.decode())


# What a server says to a request, and what the log then says of it (P: its place) for each of two tries, and at the end.
FAULTS = {
    'close': (CLOSE, [], 'Application error'),
    'empty': (b'\n', ['missing attribute action in input from P'], 'Application error'),
    'other': (b'foo=bar\n\n', ['missing attribute action in input from P'], 'Application error'),
    'no_value': (b'action\n\n', ['missing value for string attribute action from P'], 'Application error'),
    'garbage': (b'\0\1\xff hello\n\n', ['missing attribute action in input from P'], 'Application error'),
    'half': ((b'action=REJ', CLOSE), ['premature end-of-input on P while reading input attribute value'], 'Application error'),
    'no_end': ((b'action=REJECT\n', CLOSE), ['premature end-of-input on P while reading input attribute name'], 'Application error'),
}


@pytest.mark.parametrize('fault', FAULTS)
def test_fault(sut, fault):
    answer, each, last = FAULTS[fault]
    with sut(services=service()) as mta, policy(mta, lambda request: answer) as server:
        rcpt(mta, PROBLEM)
        place = f'127.0.0.1:{mta.port("policy")}'
        mta.log.wait('NOQUEUE: reject: .*')
        warnings = [text for text in mta.log.texts(program='smtpd') if text.startswith('warning: ')]
        assert warnings == 2 * ['warning: ' + text.replace('P', place) for text in each] + [
            f'warning: problem talking to server {place}: {last}']
        assert len(server.requests) == 2


def test_malformed_utf8(sut):
    with sut(services=service()) as mta, policy(mta, lambda request: b'action=REJECT \xff\xfe\n\n') as server:
        rcpt(mta, PROBLEM)
        mta.log.wait(f'warning: malformed UTF-8 in policy server inet:127.0.0.1:{mta.port("policy")} response: "REJECT \\?\\?"')
        assert len(server.requests) == 1


def test_down(sut):
    options = '{ unix:private/nosuch, { default_action = DEFER later } }'
    with sut(services={'smtp': service()['smtp'], 'unix': service(options)['smtp']}) as mta:
        rcpt(mta, PROBLEM)
        place = f'127.0.0.1:{mta.port("policy")}'
        with mta.session('unix') as client:
            client.talk(('MAIL FROM:<a@b.example>', 250),
                        ('RCPT TO:<alice@virt.test>', '450 4.7.1 <alice@virt.test>: Recipient address rejected: later'))
        mta.log.wait('NOQUEUE: reject: .*later.*')
        warnings = [text for text in mta.log.texts(program='smtpd') if text.startswith('warning: ')]
        assert warnings == 2 * [f'warning: connect to {place}: Connection refused',
                                f'warning: problem talking to server {place}: Connection refused'] + 2 * [
            'warning: connect to private/nosuch: No such file or directory'] + [
            'warning: problem talking to server private/nosuch: No such file or directory']


def test_hang(sut):
    """A server that hangs costs its own clients some time, and nobody else."""
    options = '{ inet:127.0.0.1:{policy}, timeout=2, try_limit=1 }'
    with sut(services={'smtp': service(options)['smtp'], 'other': ''}) as mta, policy(mta, lambda request: HANG):
        clients = [mta.session('smtp') for _ in range(20 if sut.newer else 2)]
        begun = time.monotonic()
        for client in clients:
            client.cmd('MAIL FROM:<a@b.example>', 250)
            client.send('RCPT TO:<alice@virt.test>')
        with mta.session('other') as other:
            other.envelope()
        assert time.monotonic() - begun < 2 * PATIENCE
        for client in clients:
            client.expect(PROBLEM)
            client.close()
        assert time.monotonic() - begun < 10 * PATIENCE
        mta.log.wait(f'warning: problem talking to server 127.0.0.1:{mta.port("policy")}: Connection timed out')


@pytest.mark.gatepost_only
def test_drip(sut):
    """The whole reply has one time limit: a server that sends an octet now and then is not waited for."""
    def drip(request):
        return b'x'

    with sut(services=service('{ inet:127.0.0.1:{policy}, timeout=1, try_limit=1 }')) as mta, policy(mta, drip) as server:
        stop = threading.Event()

        def more():
            while not stop.wait(0.2):
                for connection in server.connections:
                    try:
                        connection.sock.sendall(b'x')
                    except OSError:
                        pass

        thread = threading.Thread(target=more)
        thread.start()
        begun = time.monotonic()
        rcpt(mta, PROBLEM)
        assert time.monotonic() - begun < 8 * PATIENCE
        stop.set()
        thread.join()


@pytest.mark.gatepost_only
def test_megabytes(sut):
    """A flood is cut short: nobody's memory, and two connections."""
    flood = b'x' * 100 + b'=y\n'

    with sut(services=service()) as mta, policy(mta, lambda request: (flood * 100000, CLOSE)) as server:
        rcpt(mta, PROBLEM)
        place = f'127.0.0.1:{mta.port("policy")}'
        mta.log.wait(f'warning: string length > 16384 characters from {place} while reading .*')
        mta.log.wait(f'warning: problem talking to server {place}: Application error')
        assert len(server.connections) == 2


class TestConnections:
    def test_kept(self, sut):
        """Sessions one after the other use one connection."""
        with sut(services={'smtp': (1, service()['smtp'])}) as mta, policy(mta) as server:
            for _ in range(5):
                rcpt(mta, 250)
                mta.log.wait('disconnect from .*')
            until(lambda: len(server.requests) == 5, 'five requests')
            assert len(server.connections) == 1

    @pytest.mark.gatepost_only
    def test_message_has_its_own(self, sut):
        """What is asked about one message goes over one connection, whoever else asks meanwhile."""
        with sut(services=service()) as mta, policy(mta) as server:
            clients = [mta.session('smtp') for _ in range(10)]
            for client in clients:
                client.cmd('MAIL FROM:<a@b.example>', 250)
            for _ in range(3):
                for client in clients:
                    client.cmd('RCPT TO:<alice@virt.test>', 250)
            pairs = {(number, request['instance']) for number, request in server.requests}
            assert len(server.requests) == 30 and len(pairs) == 10 and len(server.connections) == 10
            for client in clients:
                client.cmd('RSET', 250)
            for client in clients:
                client.talk(('MAIL FROM:<a@b.example>', 250), ('RCPT TO:<alice@virt.test>', 250), ('RSET', 250))
                client.close()
            assert len(server.connections) == 10

    @pytest.mark.gatepost_only
    def test_closed_is_replaced(self, sut):
        """A server that closes after each answer is asked again at once, without a word."""
        with sut(services=service('{ inet:127.0.0.1:{policy}, retry_delay=60 }')) as mta, \
                policy(mta, lambda request: (b'action=DUNNO\n\n', CLOSE)) as server:
            begun = time.monotonic()
            for _ in range(5):
                rcpt(mta, 250)
            assert time.monotonic() - begun < 30 * PATIENCE
            assert len(server.requests) == 5
            assert not [text for text in mta.log.texts(program='smtpd') if text.startswith('warning: ')]

    def test_request_limit(self, sut):
        with sut(services={'smtp': (1, service('{ inet:127.0.0.1:{policy}, request_limit=2 }')['smtp'])}) as mta, policy(mta) as server:
            with mta.session('smtp') as client:
                client.envelope('a@b.example', *['alice@virt.test'] * 6)
            assert [number for number, _ in server.requests] == [0, 0, 1, 1, 2, 2]

    @pytest.mark.gatepost_only
    def test_idle(self, sut):
        with sut(services=service('{ inet:127.0.0.1:{policy}, max_idle=1 }')) as mta, policy(mta) as server:
            rcpt(mta, 250)
            server.wait(1)

    def test_client_leaves(self, sut):
        """The answer comes when nobody waits any more."""
        asked, answer = threading.Event(), threading.Event()

        def late(request):
            asked.set()
            answer.wait(10)
            return 'DUNNO'

        with sut(services={'smtp': (2, service()['smtp'])}) as mta, policy(mta, late) as server:
            client = mta.session('smtp')
            client.cmd('MAIL FROM:<a@b.example>', 250)
            client.send('RCPT TO:<alice@virt.test>')
            assert asked.wait(10 * PATIENCE)
            client.reset()
            answer.set()
            mta.log.wait('(lost connection after RCPT|disconnect) from .*')
            rcpt(mta, 250)
            until(lambda: len(server.requests) == 2, 'a second request')


class TestEarlyDoubts:
    """smtpd_delay_reject=no: DEFER_IF_PERMIT before RCPT is no refusal there, and none of RCPT's own is softened by it, but nobody is
    permitted."""

    DOUBTS = {'client': ' <localhost[127.0.0.1]>: Client host rejected: ', 'helo': ' <{helo}>: Helo command rejected: ',
              'sender': ' <{sender}>: Sender address rejected: '}

    @pytest.fixture(scope='class')
    def mta(self, sut):
        services = {name: f'-o smtpd_delay_reject=no -o {{ smtpd_{name}_restrictions = check_policy_service inet:127.0.0.1:{{policy}} }}'
                    for name in self.DOUBTS}
        services['table'] = '-o smtpd_delay_reject=no -o { smtpd_helo_restrictions = check_helo_access inline:{doubt.test=DEFER_IF_PERMIT} }'
        services['all'] = '-o smtpd_delay_reject=no ' + ' '.join(
            f'-o {{ smtpd_{name}_restrictions = check_policy_service inet:127.0.0.1:{{policy}} }}' for name in self.DOUBTS)
        with sut(services=services) as mta:
            yield mta

    @staticmethod
    def doubt(*states):
        return lambda request: f'DEFER_IF_PERMIT not sure at {request["protocol_state"]}' if request['protocol_state'] in states else 'DUNNO'

    @pytest.mark.parametrize('name, state', [('client', 'CONNECT'), ('helo', 'EHLO'), ('sender', 'MAIL')])
    def test_each(self, mta, name, state):
        wanted = '450 4.7.1' + self.DOUBTS[name].format(helo='client.example', sender='a@b.example') + 'not sure at ' + state
        with policy(mta, self.doubt('CONNECT', 'HELO', 'EHLO', 'MAIL')), mta.session(name) as client:
            client.cmd('MAIL FROM:<a@b.example>', 250)
            for recipient in ('alice', 'bob'):
                client.cmd(f'RCPT TO:<{recipient}@virt.test>', wanted)
            client.cmd('RCPT TO:<nobody@virt.test>', wanted)
            client.cmd('DATA', 554)

    def test_the_first_counts(self, mta):
        with policy(mta, self.doubt('HELO', 'EHLO', 'MAIL')), mta.session('all') as client:
            client.cmd('MAIL FROM:<a@b.example>', 250)
            client.cmd('RCPT TO:<alice@virt.test>', '450 4.7.1 <client.example>: Helo command rejected: not sure at EHLO')

    def test_a_name_of_its_own(self, mta):
        """Another HELO is judged anew, and so is another sender."""
        with mta.session('table', helo='doubt.test') as client:
            client.cmd('MAIL FROM:<a@b.example>', 250)
            client.cmd('RCPT TO:<alice@virt.test>', '450 4.7.1 <doubt.test>: Helo command rejected: Service unavailable')
            client.cmd('EHLO fine.test', 250)
            client.envelope()
        with policy(mta, lambda request: 'DEFER_IF_PERMIT' if request['sender'] == 'x@y.test' else 'DUNNO'), mta.session('sender') as client:
            client.cmd('MAIL FROM:<x@y.test>', 250)
            client.cmd('RCPT TO:<alice@virt.test>', '450 4.7.1 <x@y.test>: Sender address rejected: Service unavailable')
            client.cmd('RSET', 250)
            client.envelope()

    def test_another_client(self, mta):
        with policy(mta, lambda request: 'DUNNO' if request['client_address'] == '192.0.2.66' else 'DEFER_IF_PERMIT'):
            with mta.session('client') as client:
                client.cmd('MAIL FROM:<a@b.example>', 250)
                client.cmd('RCPT TO:<alice@virt.test>', 450)
                client.cmd('RSET', 250)
                client.cmd('XCLIENT ' + mta.STRANGER, 220)
                client.cmd('EHLO client.example', 250)
                client.envelope()


@pytest.mark.parametrize('argument, error', [
    ('{ inet:127.0.0.1:1, nosuch=1 }', r'unknown option: "nosuch = 1"'),
    ('{ inet:127.0.0.1:1, timeout=0 }', r'invalid timeout: 0 \(min 1\)'),
    ('tcp:127.0.0.1:1', r'invalid transport name: tcp in service: tcp:127.0.0.1:1'),
    ('private/x', r'need service transport:endpoint instead of "private/x"'),
])
@pytest.mark.gatepost_only
def test_bad_argument(sut, argument, error):
    mta = sut(services=service(argument))
    try:
        done = mta.run('check')
        assert done.returncode and re.search(error, done.stderr + mta.log_text()), done.stderr + mta.log_text()
    finally:
        mta.__exit__()
