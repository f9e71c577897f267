"""smtpd_proxy_connection_reuse and smtpd_proxy_pipelining: many messages on one connection to the filter."""
import threading
import time

import pytest
from harness.instance import AFTER
from harness.peer import CLOSE, HANG, RESET, Connection, Sink, until

pytestmark = pytest.mark.gatepost_only

E = '451 4.3.0 Error: queue file write error'
TAKEN = '250 2.0.0 filter took it'
OFFER = '250-filter.test\n250-PIPELINING\n250 XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT'
MODES = ['direct', 'adjust', 'direct_pipe', 'adjust_pipe']
PIPES = ['direct_pipe', 'adjust_pipe']


@pytest.fixture(scope='module')
def mta(sut):
    keep = '-o smtpd_proxy_filter=127.0.0.1:{filter} -o smtpd_proxy_connection_reuse=yes '
    adjust = keep + '-o smtpd_proxy_options=speed_adjust '
    pipe = '-o smtpd_proxy_pipelining=yes '
    with sut(main='notify_classes =\nqueue_minfree = 0\nsmtpd_proxy_connection_idle = 600s\n', services={
            'direct': keep, 'adjust': adjust, 'direct_pipe': keep + pipe, 'adjust_pipe': adjust + pipe,
            'early': keep + pipe + '-o smtpd_delay_open_until_valid_rcpt=no',
            'three': keep + '-o smtpd_proxy_connection_reuse_limit=3',
            'brief': keep + '-o smtpd_proxy_connection_idle=1s',
            'short': keep + '-o smtpd_proxy_timeout=1', 'short_adjust': adjust + pipe + '-o smtpd_proxy_timeout=1',
            'two': adjust + pipe + '-o smtpd_proxy_concurrency_limit=2',
            'two_direct': keep + pipe + '-o smtpd_proxy_concurrency_limit=2',
            }) as mta:
        yield mta


def send(mta, service, name='x', wanted=TAKEN, to=('alice@virt.test',), **more):
    with mta.session(service, **more) as client:
        return client.message(f'Subject: {name}\n\nbody of {name}\n', to=to, wanted=wanted)


def names(sink):
    """The subjects of all messages that the filter has taken, in any order."""
    return sorted(line[9:] for connection in sink.connections for message in connection.messages
                  for line in message.decode().split('\r\n') if line.startswith('Subject: '))


def accepted(mta, mark, count):
    until(lambda: sum('proxy-accept: END-OF-MESSAGE: 250' in text for text in mta.log.texts(mark)) == count, 'every verdict in the log')


def silent(mta, mark):
    assert not [text for text in mta.log.texts(mark) if 'warning' in text]


@pytest.mark.parametrize('service', MODES)
def test_one_connection(mta, service):
    mark = mta.log.mark()
    with mta.sink('filter', {'EHLO': OFFER}) as sink:
        with mta.session(service, helo='one.example') as client:
            for i in range(3):
                client.message(f'Subject: {i}\n\nx\n', wanted=TAKEN)
        send(mta, service, '3', helo='two.example')
        assert len(sink.connections) == 1
        assert sink.connections[0].verbs == ['EHLO'] + ['XFORWARD', 'MAIL', 'RCPT', 'DATA', 'RSET'] * 3 + ['XFORWARD', 'MAIL', 'RCPT', 'DATA']
        assert names(sink) == ['0', '1', '2', '3']
        told = sink.connections[0].command('XFORWARD')
        assert ['HELO=one.example' in line for line in told] == [True, True, True, False] and 'HELO=two.example' in told[3]
    accepted(mta, mark, 4)
    silent(mta, mark)


@pytest.mark.parametrize('service', ['direct', 'early'])
def test_begins_anew(mta, service):
    """The first command of a kept connection is RSET, whatever comes first from the client."""
    with mta.sink('filter', {'EHLO': OFFER}) as sink:
        with mta.session(service) as client:
            client.message(wanted=TAKEN)
            client.cmd('RSET', 250)
            client.cmd('NOOP', 250)
            client.message(wanted=TAKEN)
        assert sink.connections[0].verbs.count('RSET') == 1 and len(sink.connections) == 1


def test_limit(mta):
    with mta.sink('filter') as sink:
        for i in range(7):
            send(mta, 'three', str(i))
        assert [len(c.messages) for c in sink.connections] == [3, 3, 1]
        sink.wait(2)
        assert [c.verbs[-1] for c in sink.connections] == ['QUIT', 'QUIT', 'DATA']


def test_idle(mta):
    with mta.sink('filter') as sink:
        send(mta, 'brief')
        assert sink.wait(1).verbs[-1] == 'QUIT'
        send(mta, 'brief')
        assert len(sink.connections) == 2


def after(answer, what):
    """Says the answer, then does that."""
    def act(connection):
        connection.say(answer)
        return what
    return act


# What the filter does once; all of it between the end of one message and the DATA of the next.
STALE = {
    'closed': {'.': [after(TAKEN, CLOSE), TAKEN]},
    'reset': {'.': [after(TAKEN, RESET), TAKEN]},
    'timed out': {'.': [after(TAKEN + '\n421 4.4.2 idle for too long', CLOSE), TAKEN]},
    'garbage': {'.': [TAKEN + '\n250 2.0.0 really', TAKEN]},
    'half a line': {'.': [(TAKEN + '\r\n25').encode(), TAKEN]},
    'closed at RSET': {'RSET': CLOSE},
    'reset at RSET': {'RSET': RESET},
    'half a reply to RSET': {'RSET': after(b'250-2.0', CLOSE)},
    'RSET refused': {'RSET': '502 5.5.2 what'},
    '421 to RSET': {'RSET': after('421 4.4.2 bye', CLOSE)},
    '354 to RSET': {'RSET': '354 go on'},
    'XFORWARD refused': {'XFORWARD': ['250 ok', '503 5.5.1 again?', '250 ok']},
    'closed at XFORWARD': {'XFORWARD': ['250 ok', CLOSE, '250 ok']},
    '421 to MAIL': {'MAIL': ['250 ok', '421 4.7.0 one is enough', '250 ok']},
    '503 to MAIL': {'MAIL': ['250 ok', '503 5.5.1 nested MAIL', '250 ok']},
    'closed at MAIL': {'MAIL': ['250 ok', CLOSE, '250 ok']},
    'half a reply to MAIL': {'MAIL': ['250 ok', after(b'250-2.0', CLOSE), '250 ok']},
    '421 to RCPT': {'RCPT': ['250 ok', '421 4.7.0 one is enough', '250 ok']},
    'closed at RCPT': {'RCPT': ['250 ok', CLOSE, '250 ok']},
}


@pytest.mark.parametrize('service', MODES)
@pytest.mark.parametrize('fault', STALE)
def test_stale(mta, service, fault):
    """The client does not notice; nothing is lost or comes twice."""
    mark = mta.log.mark()
    script = {key: list(value) if isinstance(value, list) else value for key, value in STALE[fault].items()}
    with mta.sink('filter', {'EHLO': OFFER, **script}) as sink:
        for i in range(3):
            send(mta, service, str(i))
        assert names(sink) == ['0', '1', '2']
        assert len(sink.connections) > 1
        silent(mta, mark)
    accepted(mta, mark, 3)



def test_a_reset_that_hangs(mta):
    """What takes a filter no work gets less time than the client's commands, and never more."""
    mark = mta.log.mark()
    with mta.sink('filter', {'EHLO': OFFER, 'RSET': HANG}) as sink:
        for service in ('short', 'short_adjust'):
            send(mta, service, service)
            send(mta, service, service)
        assert len(sink.connections) == 4 and len(names(sink)) == 4
    silent(mta, mark)


# What a new connection may do as well: the client hears of it, and the filter never sees the message again.
HEARD = {
    'closed at the dot': ({'.': [TAKEN, CLOSE, TAKEN]}, E),
    'half a reply to the dot': ({'.': [TAKEN, after(b'250-2.0', CLOSE), TAKEN]}, E),
    'refused at the dot': ({'.': [TAKEN, '550 5.7.1 spam', TAKEN]}, '550 5.7.1 spam'),
    'deferred at the dot': ({'.': [TAKEN, '451 4.7.1 later', TAKEN]}, '451 4.7.1 later'),
    '354 at the dot': ({'.': [TAKEN, '354 more', TAKEN]}, '354 more'),
}


@pytest.mark.parametrize('service', MODES)
@pytest.mark.parametrize('fault', HEARD)
def test_heard(mta, service, fault):
    script, reply = HEARD[fault]
    with mta.sink('filter', {'EHLO': OFFER, '.': list(script['.'])}) as sink:
        send(mta, service, '0')
        send(mta, service, '1', wanted=reply)
        send(mta, service, '2')
        assert names(sink) == ['0', '1', '2'], 'each came once'
        assert len(sink.connections) == (1 if 'ed at the dot' in fault and 'closed' not in fault else 2)


@pytest.mark.parametrize('service', MODES)
def test_a_verdict_of_421(mta, service):
    with mta.sink('filter', {'.': ['421 4.3.2 I go', TAKEN]}) as sink:
        with mta.session(service) as client:
            client.message(wanted='421 4.3.2 I go')
            client.expect_close()
        send(mta, service)
        assert len(sink.connections) == 2


@pytest.mark.parametrize('service', ['direct', 'direct_pipe', 'early'])
def test_refused_commands(mta, service):
    """A filter that refuses a sender or a recipient is a sound one; it is asked again with RSET between."""
    script = {'EHLO': OFFER, 'MAIL FROM:<bad@b.example>': '550 5.7.1 not you', 'RCPT TO:<bob@virt.test>': '550 5.1.1 nor him'}
    with mta.sink('filter', script) as sink, mta.session(service) as client:
        client.message(wanted=TAKEN)
        if service == 'early':
            client.cmd('MAIL FROM:<bad@b.example>', '550 5.7.1 not you')
        else:
            client.cmd('MAIL FROM:<bad@b.example>', 250)
            client.cmd('RCPT TO:<alice@virt.test>', '550 5.7.1 not you')
            client.cmd('RCPT TO:<alice@virt.test>', '550 5.7.1 not you')
            client.cmd('RSET', 250)
        client.cmd('MAIL FROM:<a@b.example>', 250)
        client.cmd('RCPT TO:<bob@virt.test>', '550 5.1.1 nor him')
        client.cmd('DATA', '554 5.5.1 Error: no valid recipients')
        client.cmd('RCPT TO:<alice@virt.test>', 250)
        client.content('Subject: last\n\nx\n', wanted=TAKEN)
        assert len(sink.connections) == 1 and len(sink.connections[0].messages) == 2


@pytest.mark.parametrize('service', ['direct', 'direct_pipe'])
def test_given_up(mta, service):
    """A connection inside content is never kept, and the filter sees no end; one before it is."""
    with mta.sink('filter', {'EHLO': OFFER}) as sink:
        send(mta, service, '0')
        with mta.session(service) as client:
            client.envelope()
        send(mta, service, '1')
        assert len(sink.connections) == 1
        with mta.session(service) as client:
            client.envelope()
            client.cmd('DATA', 354)
            client.send('Subject: never')
        assert sink.wait(1).partial.endswith(b'QUIT\r\n') and names(sink) == ['0', '1']
        send(mta, service, '2')
        assert len(sink.connections) == 2


@pytest.mark.parametrize('service', ['adjust', 'adjust_pipe'])
def test_one_recipient_of_two(mta, service):
    """speed_adjust refuses for all. What was sent together with the refused command leaves nothing behind: neither an
    empty message nor a filter that waits for content."""
    to = ('alice@virt.test', 'bob@virt.test')
    script = {'EHLO': OFFER, 'RCPT TO:<bob@virt.test>': '550 5.1.1 not him'}
    with mta.sink('filter', script) as sink:
        send(mta, service, '0')
        send(mta, service, '1', wanted='550 5.1.1 not him', to=to)
        send(mta, service, '2')
        assert names(sink) == ['0', '2']
        assert len(sink.connections) == (2 if service == 'adjust_pipe' else 1)


def test_no_recipient_at_all(mta):
    script = {'EHLO': OFFER, 'RCPT TO:<bob@virt.test>': '550 5.1.1 not him', 'DATA': ['354 go on', '554 5.5.1 nobody', '354 go on']}
    with mta.sink('filter', script) as sink:
        send(mta, 'adjust_pipe', '0')
        send(mta, 'adjust_pipe', '1', wanted='550 5.1.1 not him', to='bob@virt.test')
        send(mta, 'adjust_pipe', '2')
        assert names(sink) == ['0', '2'] and len(sink.connections) == 1


# ---- pipelining


class Chunky(Connection):
    """Takes what comes in one read, and answers all of it. pieces: the chunks, as text."""

    cut = None  # octets of a write

    def __init__(self, *args):
        super().__init__(*args)
        self.pieces = []

    def serve(self):
        self.answer(b'220 filter.test ESMTP\r\n')
        rest, answers = b'', {b'EHLO': OFFER.replace('\n', '\r\n').encode() + b'\r\n', b'DATA': b'354 go on\r\n'}
        while chunk := self.sock.recv(65536):
            self.pieces.append(chunk.decode())
            *lines, rest = (rest + chunk).split(b'\r\n')
            said = b''
            for line in lines:
                if self.in_content:
                    self.in_content = line != b'.'
                    said += b'' if self.in_content else TAKEN.encode() + b'\r\n'
                else:
                    self.in_content = line == b'DATA'
                    said += answers.get(line[:4], b'250-2.0.0 fine\r\n250 2.0.0 fine\r\n')
            if said:
                self.answer(said)

    def answer(self, data):
        for at in range(0, len(data), self.cut or len(data)):
            self.sock.sendall(data[at:at + (self.cut or len(data))])


@pytest.fixture(params=[None, 1, 7])
def chunky(mta, request):
    class Cut(Chunky):
        cut = request.param

    class Peer(Sink):
        def _connection(self, sock):
            return Cut(sock, {}, self._lock)

    with Peer(('127.0.0.1', mta.port('filter'))) as sink:
        yield sink


def verbs(piece):
    return [line[:4] for line in piece.split('\r\n')[:-1]]


def test_all_in_one_write(mta, chunky):
    """speed_adjust knows the whole envelope; the replies may come in any portions."""
    to = ('alice@virt.test', 'bob@virt.test')
    for i in range(3):
        send(mta, 'adjust_pipe', to=to)
    pieces = chunky.connections[0].pieces
    assert len(chunky.connections) == 1
    envelope = ['MAIL', 'RCPT', 'RCPT', 'DATA']
    assert verbs(pieces[1]) == ['XFOR'] + envelope
    assert sum(verbs(piece) == ['RSET', 'XFOR'] + envelope for piece in pieces) == 2


def test_up_to_the_first_recipient(mta, chunky):
    """Direct mode has to wait for each reply that the client waits for."""
    for i in range(2):
        send(mta, 'direct_pipe', to=('alice@virt.test', 'bob@virt.test'))
    pieces = [verbs(piece) for piece in chunky.connections[0].pieces]
    assert pieces[:4] == [['EHLO'], ['XFOR', 'MAIL', 'RCPT'], ['RCPT'], ['DATA']]
    assert ['RSET', 'XFOR', 'MAIL', 'RCPT'] in pieces


@pytest.mark.parametrize('service', ['adjust', 'direct'])
def test_one_at_a_time(mta, chunky, service):
    for i in range(2):
        send(mta, service)
    assert all(len(verbs(piece)) == 1 for piece in chunky.connections[0].pieces if not piece.endswith('.\r\n'))


@pytest.mark.parametrize('service', PIPES)
def test_not_offered(mta, service):
    class Alone(Chunky):
        def answer(self, data):
            super().answer(data.replace(b'250-PIPELINING\r\n', b''))

    class Peer(Sink):
        def _connection(self, sock):
            return Alone(sock, {}, self._lock)

    with Peer(('127.0.0.1', mta.port('filter'))) as sink:
        for i in range(2):
            send(mta, service)
        assert len(sink.connections) == 1
        assert all(len(verbs(piece)) == 1 for piece in sink.connections[0].pieces if not piece.endswith('.\r\n'))


def test_many_recipients(mta):
    """A whole envelope at once does not block against a filter that answers while it reads."""
    to = ['"alice"@virt.test'] * 900
    with mta.sink('filter', {'EHLO': OFFER, 'RCPT': '250 ' + 'long ' * 100}) as sink:
        for i in range(2):
            send(mta, 'adjust_pipe', to=to)
        assert [len(c.command('RCPT')) for c in sink.connections] == [1800]


# ---- slots


@pytest.mark.parametrize('service', ['two', 'two_direct'])
def test_slots(mta, service):
    """Never more connections than slots, kept ones included; nobody waits while one is kept."""
    most, open_now, lock = [0], [0], threading.Lock()

    class Counted(Connection):
        def serve(self):
            with lock:
                open_now[0] += 1
                most[0] = max(most[0], open_now[0])
            try:
                super().serve()
            finally:
                with lock:
                    open_now[0] -= 1

    class Peer(Sink):
        def _connection(self, sock):
            return Counted(sock, self.script, self._lock)

    def work(connection):
        time.sleep(0.02)  # so that clients have to wait, and new ones are told that there is stress
        return TAKEN

    with Peer(('127.0.0.1', mta.port('filter')), {'EHLO': OFFER, '.': work}) as sink:
        def run(number):
            for i in range(5):
                send(mta, service, f'{number}.{i}')
        threads = [threading.Thread(target=run, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(names(sink)) == len(set(names(sink))) == 60
        assert most[0] == 2 and len(sink.connections) == 2


def test_a_reload_gives_them_back(mta):
    """The old generation keeps nothing for which the new one would have to wait."""
    with mta.sink('filter', {'EHLO': OFFER}) as sink:
        old = mta.session('two')
        send(mta, 'two')
        mta.reload()
        until(lambda: sink.connections[0].done, 'the kept connection ends')
        old.message(wanted=TAKEN)
        sink.wait(2)
        send(mta, 'two')
        old.close()


# ---- our own filter in the middle


@pytest.fixture(scope='module')
def ours(sut):
    front = '-o smtpd_proxy_filter=127.0.0.1:{%s} -o smtpd_proxy_connection_reuse=yes -o smtpd_proxy_pipelining=yes -o smtpd_proxy_concurrency_limit=1 '
    adjust = '-o smtpd_proxy_options=speed_adjust'
    mta = sut(main='notify_classes =\n', services={
            'direct': front % 'whole', 'adjust': front % 'whole' + adjust,
            'direct_checks': front % 'checks', 'adjust_checks': front % 'checks' + adjust,
            'direct_next': front % 'lone', 'adjust_next': front % 'lone' + adjust,
            'whole': 'filter -o filter_nexthop=127.0.0.1:{after}',
            'checks': 'filter -o filter_nexthop=127.0.0.1:{after} -o { filter_inspectors = '
                      '{ checks: header_checks=regexp:{dir}/conf/checks } }',
            'lone': 'filter -o filter_nexthop=127.0.0.1:{next}', 'after': AFTER})
    mta.write('checks', '/^Subject: bad/ REJECT\n')
    with mta:
        yield mta


def connects(mta, mark, service):
    """How many connections there have been to the service's process."""
    return sum(text.startswith('connect from') for text in mta.log.texts(mark, service))


@pytest.mark.parametrize('service', ['direct', 'adjust', 'direct_checks', 'adjust_checks'])
def test_our_filter(ours, service):
    """One connection from server to server for all messages; each arrives once, with its own client's identity."""
    mark = ours.log.mark()
    queued = '~250 2.0.0 Ok: queued as [0-9A-F]{6,}'
    ids = []
    for i in range(4):
        with ours.session(service, helo=f'h{i}.example') as client:
            ids += [client.message(f'Subject: {i}\n\n.x\n', wanted=queued).rpartition(' ')[2] for _ in range(2)]
    for qid in ids:
        ours.maildir('alice').wait_for(qid.encode())
    assert len(ours.maildir('alice').files()) == len(ids)
    ours.maildir('alice').clear()
    for i in range(4):
        assert sum('orig_client=' in text and text.startswith(ids[2 * i]) for text in ours.log.texts(mark)) == 1
    assert connects(ours, mark, 'filter') <= 1
    assert connects(ours, mark, 'smtpd') in (4, 5)
    silent(ours, mark)


@pytest.mark.parametrize('service', ['direct_checks', 'adjust_checks'])
def test_rejected_by_our_filter(ours, service):
    """A rejection aborts the dialogue with the next hop; the next message on the same connection finds a new one."""
    mark = ours.log.mark()
    for i in range(3):
        send(ours, service, 'bad', wanted='~5.*')
        send(ours, service, f'good {service} {i}', wanted='~250 2.0.0 Ok: queued as .*')
        send(ours, service, f'good too {service} {i}', wanted='~250 2.0.0 Ok: queued as .*')
    for i in range(3):
        ours.maildir('alice').wait_for(f'good too {service} {i}\n'.encode())
    assert len(ours.maildir('alice').files()) == 6
    ours.maildir('alice').clear()
    assert connects(ours, mark, 'filter') <= 1
    assert connects(ours, mark, 'smtpd') in (9 + 3, 9 + 4)


@pytest.mark.parametrize('service', ['direct_next', 'adjust_next'])
@pytest.mark.parametrize('script', [{'.': [after(TAKEN, CLOSE), TAKEN]}, {'RSET': CLOSE}, {'RSET': '421 4.4.2 bye'}], ids=str)
def test_next_hop_comes_anew(ours, service, script):
    """Between messages our filter makes itself a new connection; nobody in front of it notices."""
    mark = ours.log.mark()
    with ours.sink('next', {'EHLO': OFFER, **{key: list(value) if isinstance(value, list) else value for key, value in script.items()}}) as sink:
        for i in range(3):
            send(ours, service, str(i))
        assert names(sink) == ['0', '1', '2'] and len(sink.connections) > 1
    assert connects(ours, mark, 'filter') <= 1


def test_pipelined_through_our_filter(ours):
    """What comes together goes on together; up to DATA, as content may be behind it."""
    class Peer(Sink):
        def _connection(self, sock):
            return Chunky(sock, {}, self._lock)

    with Peer(('127.0.0.1', ours.port('next'))) as sink:
        for i in range(3):
            send(ours, 'adjust_next', to=('alice@virt.test', 'bob@virt.test'))
        pieces = [verbs(piece) for piece in sink.connections[0].pieces]
        assert len(sink.connections) == 1
        assert pieces.count(['RSET', 'XFOR', 'MAIL', 'RCPT', 'RCPT', 'DATA']) == 2


def test_lines_that_may_be_read_otherwise(ours):
    """What the engine reads differently from its octets is not sent ahead: none of it reaches the next hop as it is."""
    with ours.sink('next', {'EHLO': OFFER}) as sink, ours.connect('lone') as client:
        client.expect(220)
        client.cmd('EHLO x', 250)
        client.send(b'MAIL FROM:<a@b.example>\r\nRCPT TO:<a\rDATA@b.example>\r\nRCPT TO:<c@b.example>\nRCPT TO:<d@b.example>\0x\r\nNOOP\r\nRSET\r\n')
        for _ in range(6):
            client.expect(250)
        assert sink.connections[0].commands[1:] == [
            b'MAIL FROM:<a@b.example>', b'RCPT TO:<a DATA@b.example>', b'RCPT TO:<c@b.example>', b'RCPT TO:<d@b.example>', b'RSET']
