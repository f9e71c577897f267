"""What one client may do in a time unit, and how many connections it may have: anvil(8)'s limits."""
import time

import pytest
from harness.peer import until

GREETING = '220 mx.gate.test ESMTP Conform'
MAIL = 'MAIL FROM:<a@b.example>'
RCPT = 'RCPT TO:<alice@virt.test>'

SERVICES = {
    'conns': '-o smtpd_client_connection_rate_limit=2', 'other': '-o smtpd_client_connection_rate_limit=2',
    'count': '-o smtpd_client_connection_count_limit=2',
    'mails': '-o smtpd_client_message_rate_limit=3', 'rcpts': '-o smtpd_client_recipient_rate_limit=3',
    'auths': '-o smtpd_client_auth_rate_limit=1',
    'exempt': '-o smtpd_client_connection_rate_limit=1 -o smtpd_client_message_rate_limit=1 '
              '-o smtpd_client_event_limit_exceptions=127.0.0.30 -o smtpd_authorized_xclient_hosts=127.0.0.31',
    'network': '-o smtpd_client_message_rate_limit=1 -o smtpd_client_ipv4_prefix_length=24',
}


@pytest.fixture(scope='module')
def mta(sut):
    with sut('smtpd_peername_lookup = no\nsmtpd_error_sleep_time = 0\n', services=SERVICES) as mta:
        yield mta


def exceeded(mta, mark, what, count, addr, service):
    mta.log.wait_text(f'warning: {what} limit exceeded: {count} from unknown[{addr}] for service 127.0.0.1:{mta.port(service)}',
                      mark, 'smtpd')


def refused(mta, service, addr):
    with mta.connect(service, source=addr) as client:
        client.expect(f'421 4.7.0 mx.gate.test Error: too many connections from {addr}')
        client.expect_close()


def greeted(mta, service, addr):
    with mta.connect(service, source=addr) as client:
        client.expect(GREETING)
        client.quit()


def test_connection_rate(mta):
    """What was refused counts as well; another client, and another service, have a count of their own."""
    mark = mta.log.mark()
    for _ in range(2):
        greeted(mta, 'conns', '127.0.0.2')
    for count in (3, 4):
        refused(mta, 'conns', '127.0.0.2')
        exceeded(mta, mark, 'Connection rate', count, '127.0.0.2', 'conns')
    greeted(mta, 'conns', '127.0.0.3')
    greeted(mta, 'other', '127.0.0.2')
    assert len([text for text in mta.log.texts(mark, 'smtpd') if text == 'disconnect from unknown[127.0.0.2] commands=0/0']) == 2


def test_connection_count(mta):
    mark = mta.log.mark()
    with mta.session('count', source='127.0.0.2'), mta.session('count', source='127.0.0.2') as second:
        refused(mta, 'count', '127.0.0.2')
        exceeded(mta, mark, 'Connection concurrency', 3, '127.0.0.2', 'count')
        second.quit()
    mta.log.wait(r'disconnect from unknown\[127\.0\.0\.2\] ehlo=1 quit=1 commands=2', mark, 'smtpd')
    until(lambda: not connection_refused(mta), 'the places are free again')


def connection_refused(mta):
    with mta.connect('count', source='127.0.0.2') as client:
        return client.reply().code == 421


def test_message_rate(mta):
    """A command without an address is not counted, one with a bad address is."""
    mark = mta.log.mark()
    with mta.session('mails', source='127.0.0.4') as client:
        client.cmd('MAIL', '501 5.5.4 Syntax: MAIL FROM:<address>')
        client.cmd('MAIL FROM:', '501 5.5.4 Syntax: MAIL FROM:<address>')
        client.cmd(MAIL, 250)
        client.cmd(MAIL, '503 5.5.1 Error: nested MAIL command')
        client.cmd('RSET', 250)
        client.cmd('MAIL FROM:<', '501 5.1.7 Bad sender address syntax')
        client.cmd(MAIL + ' FOO', '555 5.5.4 Unsupported option: FOO')
        for _ in range(2):
            client.cmd(MAIL, '450 4.7.1 Error: too much mail from 127.0.0.4')
        client.cmd(RCPT, '503 5.5.1 Error: need MAIL command')
        client.cmd('NOOP', 250)
    with mta.session('mails', source='127.0.0.4') as client:
        client.cmd('MAIL FROM:<', '450 4.7.1 Error: too much mail from 127.0.0.4')
    for count in (4, 5, 6):
        exceeded(mta, mark, 'Message delivery request rate', count, '127.0.0.4', 'mails')
    with mta.session('mails', source='127.0.0.5') as client:
        client.message(wanted=250)


def test_recipient_rate(mta):
    mark = mta.log.mark()
    with mta.session('rcpts', source='127.0.0.6') as client:
        client.cmd(MAIL, 250)
        client.cmd('RCPT', '501 5.5.4 Syntax: RCPT TO:<address>')
        client.cmd(RCPT, 250)
        client.cmd('RCPT TO:<nobody@virt.test>', 550)
        client.cmd('RCPT TO:<>', '501 5.1.3 Bad recipient address syntax')
        client.cmd(RCPT, '450 4.7.1 Error: too many recipients from 127.0.0.6')
        client.content(wanted=250)  # who was taken gets the mail
    exceeded(mta, mark, 'Recipient address rate', 4, '127.0.0.6', 'rcpts')


def test_auth_rate(mta):
    mark = mta.log.mark()
    with mta.session('auths', source='127.0.0.7') as client:
        client.cmd('AUTH PLAIN', '503 5.5.1 Error: authentication not enabled')
        client.cmd('AUTH', '450 4.7.1 Error: too many AUTH commands from 127.0.0.7')
    exceeded(mta, mark, 'AUTH command rate', 2, '127.0.0.7', 'auths')


@pytest.mark.parametrize('addr', ['127.0.0.30', '127.0.0.31'])
def test_exempt(mta, addr):
    """smtpd_client_event_limit_exceptions, and who may use XCLIENT."""
    for _ in range(3):
        with mta.session('exempt', source=addr) as client:
            client.cmd(MAIL, 250)
            client.cmd('RSET', 250)
            client.cmd(MAIL, 250)


def test_xclient_counts_for_whom_it_names(mta):
    """Only for itself such a client has no limit."""
    mark = mta.log.mark()
    with mta.session('exempt', helo=None, source='127.0.0.31') as client:
        client.cmd('XCLIENT ADDR=192.0.2.50', GREETING)
        client.cmd(MAIL, 250)
        client.cmd('RSET', 250)
        client.cmd(MAIL, '450 4.7.1 Error: too much mail from 192.0.2.50')
    with mta.connect('exempt', source='127.0.0.31') as client:
        client.expect(GREETING)
        client.cmd('XCLIENT ADDR=192.0.2.50', '421 4.7.0 mx.gate.test Error: too many connections from 192.0.2.50')
        client.expect_close()
    exceeded(mta, mark, 'Connection rate', 2, '192.0.2.50', 'exempt')


@pytest.mark.gatepost_only
@pytest.mark.parametrize('addrs, others', [
    (('192.0.2.1', '192.0.2.255'), '192.0.3.1'),
    (('IPv6:2001:db8::1', 'IPv6:2001:db8::fff:ffff:ffff'), 'IPv6:2001:db8::1000:0:0'),
])
def test_networks(mta, addrs, others):
    """Clients of one network count as one (Postfix 3.8); the reply names the client."""
    for number, addr in enumerate((*addrs, others)):
        with mta.session('network', xclient=f'ADDR={addr}') as client:
            shown = addr.removeprefix('IPv6:')
            client.cmd(MAIL, f'450 4.7.1 Error: too much mail from {shown}' if number == 1 else 250)


def test_time_unit(sut):
    """A client's window begins with its first event."""
    with sut('anvil_rate_time_unit = 2\nsmtpd_peername_lookup = no\n',
             services={'mails': '-o smtpd_client_message_rate_limit=1 -o smtpd_soft_error_limit=100000 '
                                '-o smtpd_hard_error_limit=100000'}) as mta, mta.session('mails', source='127.0.0.2') as client:
        begun = time.monotonic()
        client.cmd(MAIL, 250)
        client.cmd('RSET', 250)
        client.cmd(MAIL, 450)
        until(lambda: client.cmd(MAIL).code == 250, 'the next window')
        assert 1 < time.monotonic() - begun


@pytest.mark.gatepost_only
def test_reload(gatepost):
    """It does not give a client its time unit again."""
    with gatepost('smtpd_peername_lookup = no\n', services={'conns': '-o smtpd_client_connection_rate_limit=3'}) as mta:
        with mta.session('conns', source='127.0.0.2'):
            mta.reload()
            greeted(mta, 'conns', '127.0.0.2')
        mta.reload()
        greeted(mta, 'conns', '127.0.0.2')
        refused(mta, 'conns', '127.0.0.2')


def test_statistics(sut):
    with sut('anvil_status_update_time = 2\nsmtpd_peername_lookup = no\n',
             services={'in': '-o smtpd_client_message_rate_limit=10 -o smtpd_client_recipient_rate_limit=10'}) as mta:
        with mta.session('in', source='127.0.0.2') as client:
            client.message(to=('alice@virt.test', 'bob@virt.test'), wanted=250)
        with mta.session('in', source='127.0.0.3'), mta.session('in'):
            pass
        who = rf'for \(127\.0\.0\.1:{mta.port("in")}:127\.0\.0\.2\)'
        when = r'at [A-Z][a-z][a-z] [ \d]\d \d\d:\d\d:\d\d'
        for line in (rf'max connection rate 1/60s {who} {when}', rf'max connection count 1 {who} {when}',
                     rf'max message rate 1/60s {who} {when}', rf'max recipient rate 2/60s {who} {when}', rf'max cache size [12] {when}'):
            mta.log.wait('statistics: ' + line, program='anvil')


@pytest.mark.gatepost_only
def test_statistics_at_the_end(gatepost):
    mta = gatepost('smtpd_peername_lookup = no\n', services={'in': ''})
    with mta:
        greeted(mta, 'in', '127.0.0.2')
        greeted(mta, 'in', '127.0.0.1')  # not counted: mynetworks
        mta.stop()
        assert [text.rpartition(' at ')[0] for text in mta.log.texts(program='anvil')] == [
            f'statistics: max connection rate 1/60s for (127.0.0.1:{mta.port("in")}:127.0.0.2)',
            f'statistics: max connection count 1 for (127.0.0.1:{mta.port("in")}:127.0.0.2)', 'statistics: max cache size 1']
