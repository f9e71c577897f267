"""maxproc, and the line for filter slots."""
import select
import time

import pytest
from harness.client import Client
from harness.peer import until

E = '451 4.3.0 Error: queue file write error'
TAKEN = '250 2.0.0 filter took it'


@pytest.fixture(scope='module')
def mta(sut):
    with sut(services={'one': ('1', ''), 'two': ('2', '')}) as mta:
        yield mta


def test_maxproc_waits_in_the_backlog(mta):
    """The next client is connected and is greeted when somebody leaves."""
    clients = [mta.session('two') for _ in range(2)]
    third, fourth = mta.connect('two'), mta.connect('two')
    third.expect_silence(0.5)
    clients[0].quit()
    third.expect('220 mx.gate.test ESMTP Conform')
    fourth.expect_silence(0.3)
    third.cmd('EHLO x', 250)
    third.quit()
    fourth.expect('220 mx.gate.test ESMTP Conform')
    fourth.close()
    clients[1].cmd('NOOP', 250)
    clients[1].close()


def test_maxproc_one(mta):
    for _ in range(5):
        with mta.session('one') as client, mta.connect('one') as second:
            client.cmd('NOOP', 250)
            client.quit()
            second.expect(220)


def test_who_left_the_backlog(mta):
    """Clients that gave up waiting cost nothing but their own session."""
    with mta.session('one') as client:
        for _ in range(20):
            mta.connect('one').close()
        client.quit()
    with mta.session('one') as client:
        client.message(wanted=250)


@pytest.mark.gatepost_only
def test_maxproc_with_several_listeners(gatepost):
    """One limit for all the addresses of a line, however many clients come at once to each."""
    with gatepost(main='inet_interfaces = 127.0.0.1, 127.0.0.2, 127.0.0.3\n', master='{few} inet n - n - 5 smtpd\n') as mta:
        for _ in range(5):
            clients = [Client((f'127.0.0.{i % 3 + 1}', mta.port('few'))) for i in range(30)]
            waiting = {client.sock: client for client in clients}
            greeted = []
            while ready := select.select(waiting, [], [], 0.5)[0]:
                greeted += [waiting.pop(sock) for sock in ready]
            assert len(greeted) == 5
            for client in clients:
                client.reset()


def refused(client):
    """Whether a client that has just come is one too many."""
    return client.reply().code == 421


@pytest.mark.gatepost_only
def test_connections_per_client(gatepost):
    """Their number is kept over a reload: the sessions of the old generation count."""
    source = '127.0.0.2'
    with gatepost(services={'some': '-o smtpd_client_connection_count_limit=2 -o smtpd_peername_lookup=no'}) as mta:
        first = mta.session('some', source=source)
        mta.reload()
        mta.log.wait_text('reload-complete: generation=2', program='master')
        second = mta.session('some', source=source)
        mark = mta.log.mark()
        with mta.connect('some', source=source) as third:
            third.expect('421 4.7.0 mx.gate.test Error: too many connections from 127.0.0.2')
        mta.log.wait(r'warning: Connection concurrency limit exceeded: 3 from unknown\[127\.0\.0\.2\] for service \S+', mark, 'smtpd')
        with mta.connect('some', source='127.0.0.3') as other:
            other.expect(220)
        first.quit()

        def room():
            with mta.connect('some', source=source) as client:
                return not refused(client)

        until(room, 'room for one more')
        second.cmd('NOOP', 250)
        second.quit()


@pytest.fixture(scope='module')
def slots(gatepost):
    proxy = '-o smtpd_proxy_filter=127.0.0.1:{filter} '
    adjust = proxy + '-o smtpd_proxy_options=speed_adjust '
    with gatepost(services={
            'direct': ('50', proxy + '-o smtpd_proxy_concurrency_limit=2'),
            'adjust': ('50', adjust + '-o smtpd_proxy_concurrency_limit=2'),
            'serial': ('50', adjust + '-o smtpd_proxy_concurrency_limit=1'),
            'default': ('3', adjust),
            'brief': ('50', adjust + '-o smtpd_proxy_concurrency_limit=1 -o smtpd_proxy_wait_time=1'),
            'brief_direct': ('50', proxy + '-o smtpd_proxy_concurrency_limit=1 -o smtpd_proxy_wait_time=1'),
            'few': ('50', adjust + '-o smtpd_proxy_concurrency_limit=1 -o smtpd_proxy_wait_limit=1'),
            'few_direct': ('50', proxy + '-o smtpd_proxy_concurrency_limit=1 -o smtpd_proxy_wait_limit=1'),
            }) as mta:
        yield mta


class Gate:
    """A filter whose verdict waits until it is let go."""

    def __init__(self):
        self.open = False

    def __call__(self, connection):
        until(lambda: self.open, 'the gate', 30)
        return TAKEN


@pytest.mark.gatepost_only
class TestSlots:
    def in_content(self, mta, service, count):
        """Clients that have sent a whole message and wait for its verdict."""
        clients = []
        for i in range(count):
            client = mta.session(service)
            client.envelope(f'n{i}@b.example')
            client.cmd('DATA', 354)
            client.send(b'x\r\n.\r\n')
            clients.append(client)
        return clients

    def test_limit(self, slots):
        """More sessions than filters: never more connections than slots, and all get through."""
        gate = Gate()
        with slots.sink('filter', {'.': gate}) as sink:
            clients = self.in_content(slots, 'adjust', 6)
            sink.wait_open(2)
            clients[5].expect_silence(0.3)
            assert len(sink.connections) == 2
            gate.open = True
            for client in clients:
                client.expect(TAKEN)
                client.quit()
            sink.wait(6)

    def test_in_order(self, slots):
        """Who came first is served first."""
        gate = Gate()
        with slots.sink('filter', {'.': gate}) as sink:
            clients = []
            for i in range(5):
                client = slots.session('serial')
                client.envelope(f'n{i}@b.example')
                client.cmd('DATA', 354)
                client.send(b'x\r\n.\r\n')
                client.expect_silence(0.1)  # until it stands in the line
                clients.append(client)
            gate.open = True
            for client in clients:
                client.expect(TAKEN)
                client.quit()
            sink.wait(5)
            assert [talk.command('MAIL')[0] for talk in sink.connections] == [f'MAIL FROM:<n{i}@b.example>' for i in range(5)]

    def test_direct_mode_waits_at_rcpt(self, slots):
        with slots.sink('filter') as sink:
            first, second, third = (slots.session('direct') for _ in range(3))
            first.envelope()
            second.envelope()
            third.cmd('MAIL FROM:<c@b.example>', 250)
            third.send('RCPT TO:<alice@virt.test>')
            third.expect_silence(0.5)
            assert len(sink.connections) == 2
            first.content(wanted=TAKEN)
            third.expect('250 2.1.5 Ok')
            second.cmd('RSET', 250)
            third.content(wanted=TAKEN)
            for client in (first, second, third):
                client.quit()

    def test_slot_is_freed(self, slots):
        """However a transaction ends."""
        with slots.sink('filter') as sink:
            for how in ('RSET', 'QUIT', 'EHLO x', 'close', 'reset', 'data'):
                clients = [slots.session('direct') for _ in range(2)]
                for client in clients:
                    client.envelope()
                for client in clients:
                    if how == 'data':
                        client.cmd('DATA', 354)
                        client.send(b'half')
                        client.close()
                    elif how in ('close', 'reset'):
                        getattr(client, how)()
                    else:
                        client.cmd(how)
                        client.close()
            with slots.session('direct') as client:
                client.message(wanted=TAKEN)

    def test_default_is_maxproc(self, slots):
        gate = Gate()
        with slots.sink('filter', {'.': gate}) as sink:
            clients = self.in_content(slots, 'default', 3)
            sink.wait_open(3)
            gate.open = True
            for client in clients:
                client.expect(TAKEN)
                client.close()

    @staticmethod
    def refused(slots, service, mark):
        """Who was refused is in the log, at most once a minute, with what to do."""
        direct = '; with smtpd_proxy_options = speed_adjust slow clients hold none' if service.endswith('direct') else ''
        slots.log.wait(rf'warning: proxy 127\.0\.0\.1:\d+: no filter slot is free, clients are told to try again later '
                       rf'\(smtpd_proxy_concurrency_limit = 1, smtpd_proxy_wait_time = \d+s, smtpd_proxy_wait_limit = \d+{direct}\)', mark)
        assert len([text for text in slots.log.texts(mark) if 'no filter slot is free' in text]) == 1

    @pytest.mark.parametrize('service', ['brief', 'brief_direct'])
    def test_wait_time(self, slots, service):
        gate = Gate()
        mark = slots.log.mark()
        with slots.sink('filter', {'.': gate}) as sink:
            holder, = self.in_content(slots, service, 1)
            sink.wait_open(1)
            with slots.session(service) as client:
                start = time.monotonic()
                client.cmd('MAIL FROM:<a@b.example>', 250)
                if service == 'brief_direct':
                    client.cmd('RCPT TO:<alice@virt.test>', '~451 4\\.3\\.[02] .*')
                else:
                    client.cmd('RCPT TO:<alice@virt.test>', 250)
                    client.content(wanted='~451 4\\.3\\.[02] .*')
                assert time.monotonic() - start < 4
                client.cmd('NOOP', 250)
            self.refused(slots, service, mark)
            gate.open = True
            holder.expect(TAKEN)
            holder.close()

    @pytest.mark.parametrize('service', ['few', 'few_direct'])
    def test_wait_limit(self, slots, service):
        """Past the limit of waiters MAIL is refused at once."""
        gate = Gate()
        mark = slots.log.mark()
        with slots.sink('filter', {'.': gate}) as sink:
            holder, = self.in_content(slots, service, 1)
            sink.wait_open(1)
            waiter = slots.session(service)
            waiter.cmd('MAIL FROM:<w@b.example>', 250)
            waiter.send('RCPT TO:<alice@virt.test>')
            if service == 'few':
                waiter.expect(250)
                waiter.cmd('DATA', 354)
                waiter.send(b'x\r\n.\r\n')
            waiter.expect_silence(0.3)
            with slots.session(service) as client:
                for _ in range(3):
                    client.cmd('MAIL FROM:<a@b.example>', '451 4.3.2 Error: try again later')
                client.cmd('NOOP', 250)
            self.refused(slots, service, mark)
            gate.open = True
            holder.expect(TAKEN)
            if service == 'few_direct':
                waiter.expect(250)
                holder.close()
                waiter.content(wanted=TAKEN)
            else:
                waiter.expect(TAKEN)
            waiter.quit()
            with slots.session(service) as client:
                client.message(wanted=TAKEN)

    def test_waiter_leaves(self, slots):
        """Who hung up while waiting in the line is not given a filter connection."""
        gate = Gate()
        with slots.sink('filter', {'.': gate}) as sink:
            holder, = self.in_content(slots, 'few_direct', 1)
            sink.wait_open(1)
            waiter = slots.session('few_direct')
            waiter.cmd('MAIL FROM:<gone@b.example>', 250)
            waiter.send('RCPT TO:<alice@virt.test>')
            waiter.expect_silence(0.2)
            waiter.close()

            def room():
                with slots.session('few_direct') as client:
                    return client.cmd('MAIL FROM:<a@b.example>').code == 250

            until(room, 'the line is free again')
            gate.open = True
            holder.expect(TAKEN)
            holder.quit()
            with slots.session('few_direct') as client:
                client.message(wanted=TAKEN)
            assert not [talk for talk in sink.connections if b'gone@b.example' in talk.raw]

    def test_half_closed_waiter(self, slots):
        """A client that closed its direction in the line: served if it has said QUIT; else it may be gone, and is told to come again."""
        mark = slots.log.mark()
        gate = Gate()
        with slots.sink('filter', {'.': gate}) as sink:
            holder, = self.in_content(slots, 'serial', 1)
            sink.wait_open(1)
            polite, rude = (slots.session('serial') for _ in range(2))
            for client, goodbye in ((polite, b'QUIT\r\n'), (rude, b'')):
                client.envelope('gone@b.example' if client is rude else 'a@b.example')
                client.cmd('DATA', 354)
                client.send(b'x\r\n.\r\n' + goodbye)
                client.half_close()
            rude.expect('421 4.3.2 mx.gate.test Error: try again later')
            rude.expect_close()
            slots.log.wait_text('lost connection after END-OF-MESSAGE from localhost[127.0.0.1]', mark, 'smtpd')
            polite.expect_silence(0.2)
            gate.open = True
            for client in (holder, polite):
                client.expect(TAKEN)
            polite.expect('221 2.0.0 Bye')
            sink.wait(2)
            assert not [talk for talk in sink.connections if b'gone@b.example' in talk.raw]
            holder.close()

    def test_stalled_clients_do_not_stop_others(self, slots):
        """Clients that stop inside DATA hold no thread."""
        with slots.sink('filter'):
            stalled = [slots.session('adjust') for _ in range(30)]
            for client in stalled:
                client.envelope()
                client.cmd('DATA', 354)
                client.send(b'half a line')
            with slots.session('adjust') as client:
                client.message(wanted=TAKEN)
            for client in stalled:
                client.send(b' and the rest\r\n.\r\n')
            for client in stalled:
                client.expect(TAKEN)
                client.close()


def many(mta, service, count):
    clients = []
    try:
        for _ in range(count):
            clients.append(mta.connect(service))
        for client in clients:
            client.expect(220)
        for client in clients:
            client.cmd('EHLO x', 250)
        clients[0].message(wanted=250)
        clients[-1].message(wanted=250)
    finally:
        for client in clients:
            client.close()


@pytest.mark.gatepost_only
def test_idle_sessions(gatepost, long):
    with gatepost('smtpd_client_connection_count_limit = 0\n', services={'many': ('0', '')}) as mta:
        many(mta, 'many', 5000 if long else 800)
