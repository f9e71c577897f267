"""Probes of addresses: reject_unverified_recipient, reject_unverified_sender, the cache, what next hops see."""
import os
import re
import threading
import time

import pytest
from harness.peer import CLOSE, HANG, until

MAIN = """
relay_domains = next.test, down.test, gone.test, wait.test
transport_maps = inline:{{next.test=smtp:[127.0.0.1]:{next}}, {down.test=smtp:[127.0.0.1]:{nobody}}, {gone.test=discard:silently},
    {no.test=error:5.7.1 not for you}, {never.test=error:}}
virtual_alias_maps = inline:{{list@virt.test=alice@virt.test, bob@virt.test}, {alias@virt.test=bad@next.test}}
smtpd_reject_unlisted_recipient = no
address_verify_poll_delay = 1s
smtpd_recipient_restrictions = reject_unverified_recipient
"""
REJECT = '-o unverified_recipient_reject_code=550 -o unverified_sender_reject_code=550'
SERVICES = {
    'mx': '', 'hard': REJECT, 'open': '-o smtpd_recipient_restrictions=permit',
    'sender': '-o smtpd_recipient_restrictions=reject_unverified_sender,permit ' + REJECT,
    'early': '-o smtpd_delay_reject=no -o smtpd_recipient_restrictions= -o smtpd_sender_restrictions=reject_unverified_sender ' + REJECT,
    'secret': '-o { unverified_recipient_reject_reason = our secret } ' + REJECT,
    'reject': '-o smtpd_recipient_restrictions=reject_unverified_recipient,reject',
    'defer': '-o smtpd_recipient_restrictions=reject_unverified_recipient,reject -o unverified_recipient_tempfail_action=defer',
    'never': '-o unverified_recipient_reject_code=250 -o unverified_recipient_defer_code=250',
    'warn': '-o smtpd_recipient_restrictions=warn_if_reject,reject_unverified_recipient ' + REJECT,
    'no': '-o smtpd_recipient_restrictions=reject',
}


def next_hop(connection):
    line = connection.commands[-1].decode().lower()
    if '<bad' in line:
        return '550-5.1.1 no\n550 5.1.1 such user'
    if '<later' in line:
        return '451 4.2.0 later'
    return '250 2.1.5 fine'


SCRIPT = {'RCPT': next_hop, 'EHLO': '250-next.test\n250 PIPELINING'}


@pytest.fixture(scope='module')
def mta(sut):
    with sut(main=MAIN, services=SERVICES) as mta:
        yield mta


@pytest.fixture
def sink(mta):
    with mta.sink('next', dict(SCRIPT)) as sink:
        yield sink


def ask(mta, recipient, wanted, service='hard', sender='a@b.example'):
    with mta.session(service) as client:
        client.cmd(f'MAIL FROM:<{sender}>', '250 2.1.0 Ok')
        client.cmd(f'RCPT TO:<{recipient}>', wanted)


def refused(recipient, text):
    return f'<{recipient}>: Recipient address rejected: {text}'


SAID = 'host 127.0.0.1[127.0.0.1] said:'
TO_RCPT = '(in reply to RCPT TO command)'
NO = f'{SAID} 550-5.1.1 no 550 5.1.1 such user {TO_RCPT}'
LATER = f'{SAID} 451 4.2.0 later {TO_RCPT}'
OK = '250 2.1.5 Ok'


def test_good_recipient(mta, sink):
    for _ in range(3):
        ask(mta, 'good@next.test', OK)
    probe = sink.wait()
    assert len(sink.connections) == 1
    assert probe.commands == [b'EHLO mx.gate.test', b'MAIL FROM:<double-bounce@mx.gate.test>', b'RCPT TO:<good@next.test>', b'RSET',
                              b'QUIT']
    line = mta.log.wait(r'([0-9A-F]+): to=<good@next\.test>, relay=127\.0\.0\.1\[127\.0\.0\.1\]:\d+, delay=[\d.]+, delays=[\d./]+, '
                        r'dsn=2\.1\.5, status=deliverable \(250 2\.1\.5 fine\)', program='smtp')
    qid = line[1]
    mta.log.wait(rf'{qid}: from=<double-bounce@mx.gate.test>, size=\d+, nrcpt=1 \(queue active\)')
    mta.log.wait(f'{qid}: removed')


@pytest.mark.parametrize('service, recipient, wanted', [
    ('hard', 'bad@next.test', '550 5.1.1 ' + refused('bad@next.test', 'undeliverable address: ' + NO)),
    ('mx', 'bad@next.test', '450 4.1.1 ' + refused('bad@next.test', 'unverified address: ' + NO)),
    ('secret', 'bad@next.test', '550 5.1.1 ' + refused('bad@next.test', 'undeliverable address: our secret')),
    ('hard', 'later@next.test', '450 4.1.1 ' + refused('later@next.test', 'unverified address: ' + LATER)),
    ('secret', 'later@next.test', '450 4.1.1 ' + refused('later@next.test', 'unverified address: our secret')),
    ('reject', 'later@next.test', '554 5.7.1 ' + refused('later@next.test', 'Access denied')),
    ('reject', 'bad@next.test', '554 5.7.1 ' + refused('bad@next.test', 'Access denied')),  # its code is 450: not sure
    ('defer', 'later@next.test', '450 4.1.1 ' + refused('later@next.test', 'unverified address: ' + LATER)),
    ('never', 'bad@next.test', OK), ('never', 'later@next.test', OK), ('warn', 'bad@next.test', OK),
    ('hard', 'alias@virt.test', '550 5.1.1 ' + refused('alias@virt.test', 'undeliverable address: ' + NO)),
    ('hard', 'list@virt.test', OK), ('hard', 'alice@virt.test', OK), ('hard', 'x@gone.test', OK),
    ('hard', 'nobody@virt.test', '550 5.1.1 ' + refused('nobody@virt.test', 'undeliverable address: unknown user: "nobody@virt.test"')),
    ('hard', 'x@never.test', '550 5.1.1 ' + refused('x@never.test', 'undeliverable address: Address is undeliverable')),
    ('hard', 'x@no.test', '550 5.1.1 ' + refused('x@no.test', 'undeliverable address: not for you')),
    ('hard', '"bad bad"@next.test', '550 5.1.1 ' + refused('bad bad@next.test', 'undeliverable address: ' + NO)),
    ('hard', 'double-bounce@mx.gate.test', OK), ('no', 'double-bounce@mx.gate.test', OK),
    ('no', 'alice@virt.test', '554 5.7.1 ' + refused('alice@virt.test', 'Access denied')),
])
def test_replies(mta, sink, service, recipient, wanted):
    if '"bad bad"' in recipient:
        sink.script['RCPT'] = '550-5.1.1 no\n550 5.1.1 such user'
    ask(mta, recipient, wanted, service)


def test_unreachable(mta):
    with mta.session('hard') as client:
        client.cmd('MAIL FROM:<a@b.example>', 250)
        client.cmd('RCPT TO:<x@down.test>', '~450 4\\.1\\.1 <x@down\\.test>: Recipient address rejected: unverified address: connect '
                   r'to 127\.0\.0\.1\[127\.0\.0\.1\]:\d+: Connection refused')
    mta.log.wait(r'.*: to=<x@down.test>, relay=none, .*dsn=4\.4\.1, status=undeliverable \(connect to .*')


def test_reject_lines(mta, sink):
    ask(mta, 'badlog@next.test', 550)
    mta.log.wait_text(('NOQUEUE: reject: RCPT from localhost[127.0.0.1]: 550 5.1.1 ' +
                           refused('badlog@next.test', 'undeliverable address: ' + NO) +
                           '; from=<a@b.example> to=<badlog@next.test> proto=ESMTP helo=<client.example>'))
    ask(mta, 'badlog@next.test', OK, 'warn')
    mta.log.wait(re.escape('NOQUEUE: reject_warning: RCPT from localhost[127.0.0.1]: 550 5.1.1 <badlog@next.test>') + '.*')
    ask(mta, 'laterlog@next.test', OK, 'warn')
    mta.log.wait(re.escape('NOQUEUE: reject_warning: RCPT from localhost[127.0.0.1]: 450 4.1.1 <laterlog@next.test>') + '.*')


def test_senders(mta, sink):
    ask(mta, 'alice@virt.test', OK, 'sender', 'goodsender@next.test')
    ask(mta, 'alice@virt.test', OK, 'sender', '')
    ask(mta, 'alice@virt.test', '550 5.1.7 <badsender@next.test>: Sender address rejected: undeliverable address: ' + NO, 'sender',
        'badsender@next.test')
    ask(mta, 'alice@virt.test', '450 4.1.7 <latersender@next.test>: Sender address rejected: unverified address: ' + LATER, 'sender',
        'latersender@next.test')
    ask(mta, 'alice@virt.test', OK, 'sender', 'double-bounce@mx.gate.test')
    with mta.session('early') as client:
        client.cmd('MAIL FROM:<badsender@next.test>', '550 5.1.7 <badsender@next.test>: Sender address rejected: undeliverable address: ' + NO)
        client.cmd('MAIL FROM:<goodsender@next.test>', '250 2.1.0 Ok')


def test_local_sender(mta):
    ask(mta, 'alice@virt.test', '550 5.1.7 <nosuchuser>: Sender address rejected: undeliverable address: unknown user: "nosuchuser"',
        'sender', 'nosuchuser')
    ask(mta, 'alice@virt.test', OK, 'sender', 'root@mx.gate.test')


def test_slow_next_hop_is_in_progress(mta):
    gate = threading.Event()
    with mta.sink('next', {'RCPT': lambda connection: gate.wait(20) and '250 2.1.5 late'}) as sink:
        began = time.monotonic()
        ask(mta, 'slow@next.test', '450 4.1.1 ' + refused('slow@next.test', 'unverified address: Address verification in progress'))
        assert 1.9 < time.monotonic() - began < 12
        ask(mta, 'slow@next.test', 450)
        assert len(sink.connections) == 1
        gate.set()
        mta.log.wait(r'.*: to=<slow@next.test>, .*status=deliverable \(250 2\.1\.5 late\)')
        until(lambda: reply_to(mta, 'slow@next.test') == OK, 'known')


def test_many_askers_one_probe(mta):
    gate = threading.Event()
    with mta.sink('next', {'RCPT': lambda connection: gate.wait(20) and '250 2.1.5 fine'}) as sink:
        clients = [mta.session('mx') for _ in range(100 if mta.newer else 20)]
        for client in clients:
            client.cmd('MAIL FROM:<a@b.example>', 250)
            client.send('RCPT TO:<many@next.test>')
        sink.wait_open()
        with mta.session('open') as other:  # and nobody else waits for them
            other.envelope('a@b.example', 'alice@virt.test')
        gate.set()
        for client in clients:
            client.expect(OK)
            client.close()
        assert len(sink.connections) == 1


def test_tables_may_name_it(sut):
    with sut(main=MAIN, services={'table': '-o { smtpd_recipient_restrictions = check_sender_access inline:{spam.test=myclass}, permit } '
                                  '-o smtpd_restriction_classes=myclass -o myclass=reject_unverified_recipient ' + REJECT}) as mta:
        with mta.sink('next', dict(SCRIPT)):
            ask(mta, 'bad@next.test', 550, 'table', 'x@spam.test')
            ask(mta, 'bad@next.test', 250, 'table', 'x@ham.test')


def test_before_a_filter(sut):
    """No filter is asked for whom a probe turns away."""
    with sut(main=MAIN, services={'proxy': '-o smtpd_proxy_filter=127.0.0.1:{filter} ' + REJECT}) as mta:
        with mta.sink('next', dict(SCRIPT)), mta.sink('filter') as proxy:
            ask(mta, 'bad@next.test', 550, 'proxy')
            assert not proxy.connections
            ask(mta, 'good@next.test', 250, 'proxy')
            assert len(proxy.connections) == 1


def count_probes(sink):
    return sum(len(connection.command('RCPT')) for connection in sink.connections)


def test_expiry_and_refresh(sut):
    with sut(main=MAIN + 'address_verify_negative_refresh_time = 1s\naddress_verify_negative_expire_time = 600s\n'
             'address_verify_positive_refresh_time = 600s\naddress_verify_positive_expire_time = 1s\n'
             'unverified_recipient_reject_code = 550\n', services={'mx': ''}) as mta:
        with mta.sink('next', dict(SCRIPT)) as sink:
            ask(mta, 'bad@next.test', 550, 'mx')
            assert count_probes(sink) == 1
            sink.script['RCPT'] = '250 2.1.5 now'
            # refreshed: the old result is told, and a probe is sent; then the new one holds
            until(lambda: not ask(mta, 'bad@next.test', None, 'mx') and count_probes(sink) == 2, 'a second probe')
            until(lambda: reply_to(mta, 'bad@next.test') == OK, 'the new result')
            # expired: nothing is told before there is a new result
            sink.script['RCPT'] = '550 5.1.1 gone'
            until(lambda: reply_to(mta, 'bad@next.test').code == 550, 'the end of the good result')


def reply_to(mta, recipient, service='mx'):
    with mta.session(service) as client:
        client.cmd('MAIL FROM:<a@b.example>', 250)
        return client.cmd(f'RCPT TO:<{recipient}>')


def test_good_results_are_not_driven_out(sut):
    with sut(main=MAIN + 'address_verify_positive_refresh_time = 1s\n', services={'mx': ''}) as mta:
        with mta.sink('next', dict(SCRIPT)) as sink:
            ask(mta, 'good@next.test', OK, 'mx')
            sink.script['RCPT'] = '550 5.1.1 gone'
            until(lambda: not ask(mta, 'good@next.test', OK, 'mx') and count_probes(sink) == 2, 'a second probe')
            mta.log.wait(r'.*status=undeliverable \(host .*')
            ask(mta, 'good@next.test', OK, 'mx')


@pytest.mark.parametrize('setting, kept', [('', True), ('address_verify_map =\n', False)])
def test_restart(sut, setting, kept):
    with sut(main=MAIN + setting, services={'hard': REJECT}) as mta:
        with mta.sink('next', dict(SCRIPT)) as sink:
            ask(mta, 'bad@next.test', 550)
            ask(mta, 'good@next.test', OK)
            assert count_probes(sink) == 2
            mta.restart()
            ask(mta, 'bad@next.test', 550)
            ask(mta, 'good@next.test', OK)
            assert count_probes(sink) == (2 if kept else 4)


def test_no_negative_cache(sut):
    with sut(main=MAIN + 'address_verify_negative_cache = no\n', services={'mx': ''}) as mta:
        with mta.sink('next', dict(SCRIPT)) as sink:
            ask(mta, 'good@next.test', OK, 'mx')
            for count in (2, 3):
                ask(mta, 'bad@next.test', '450 4.1.1 ' + refused('bad@next.test', 'unverified address: Address verification in progress'), 'mx')
                until(lambda: count_probes(sink) >= count, 'a probe each time')
                time.sleep(1.1)  # what was asked lately is not asked again
            mta.log.wait(r'.*status=undeliverable-but-not-cached \(host .*')


def test_poll_count_of_one_never_waits(sut):
    with sut(main=MAIN + 'address_verify_poll_count = 1\n', services={'mx': ''}) as mta:
        with mta.sink('next', dict(SCRIPT)):
            ask(mta, 'good@next.test', 450, 'mx')
            until(lambda: reply_to(mta, 'good@next.test') == OK, 'the result')


def test_routes_and_sender_of_probes(sut):
    with sut(main=MAIN + 'address_verify_transport_maps = inline:{{next.test=smtp:[127.0.0.1]:{other}}}\n'
             'address_verify_sender = probe@gate.test\naddress_verify_sender_ttl = 1d\n', services={'mx': ''}) as mta:
        with mta.sink('other', dict(SCRIPT)) as other, mta.sink('next', dict(SCRIPT)) as nexthop:
            ask(mta, 'good@next.test', OK, 'mx')
            assert count_probes(other) == 1 and not nexthop.connections
            sender = other.connections[0].command('MAIL')[0]
            match = re.fullmatch(r'MAIL FROM:<(probe[0-9B-Z]+@gate\.test)>', sender)
            assert match, sender
            ask(mta, match[1], OK, 'mx')
        ask(mta, 'x@no.test', 450, 'mx')  # transport_maps do not count: its domain does not exist


def test_target_data(sut):
    with sut(main=MAIN, services={'hard': REJECT}, master='smtp unix - - n - - smtp -o smtp_address_verify_target=data\n') as mta:
        with mta.sink('next', {'DATA': '550 5.1.1 not at all'}) as sink:
            ask(mta, 'good@next.test', '550 5.1.1 ' + refused(
                'good@next.test', f'undeliverable address: {SAID} 550 5.1.1 not at all (in reply to DATA command)'))
            sink.script['DATA'] = '354 go'
            ask(mta, 'fine@next.test', OK)
            assert not any(connection.messages for connection in sink.connections)


def test_next_hop_hangs_up(mta):
    with mta.sink('next', {'RCPT': CLOSE}):
        ask(mta, 'closed@next.test', '450 4.1.1 ' + refused(
            'closed@next.test', 'unverified address: lost connection with 127.0.0.1[127.0.0.1] while sending RCPT TO'))


@pytest.mark.gatepost_only
def test_clients_that_leave_while_they_wait(mta):
    with mta.sink('next', {'RCPT': HANG}):
        for number in range(20):
            client = mta.session('mx')
            client.cmd('MAIL FROM:<a@b.example>', 250)
            client.send(f'RCPT TO:<leaver{number}@next.test>')
            client.close() if number % 2 else client.reset()
    mta.log.wait('lost connection after RCPT.*')
    ask(mta, 'alice@virt.test', OK)


@pytest.mark.gatepost_only
def test_the_cache_is_bounded(gatepost):
    with gatepost(main=MAIN + 'address_verify_cache_limit = 100\nsmtpd_error_sleep_time = 0\nsmtpd_hard_error_limit = 1000\n',
                  services={'mx': ''}) as mta:
        with mta.sink('next', {'RCPT': lambda connection: '250 2.1.5 ok' if b'<good' in connection.commands[-1] else '550 5.1.1 no'}):
            ask(mta, 'good@next.test', OK, 'mx')
            with mta.session('mx') as client:
                client.cmd('MAIL FROM:<a@b.example>', 250)
                for number in range(150):
                    client.cmd(f'RCPT TO:<bad{number}@next.test>', 450)
            mta.log.wait(r'cache btree:.*verify_cache is full: retained=\d+ dropped=\d+ entries', program='verify')
            ask(mta, 'good@next.test', OK, 'mx')
            assert len([text for text in mta.log.texts(program='smtp') if 'to=<good@' in text]) == 1
        assert os.stat(mta.dir + '/data/verify_cache.lmdb').st_size < 1 << 20


@pytest.mark.gatepost_only
def test_a_cache_that_was_removed_is_begun_anew(gatepost):
    """By the administrator, while it is in use."""
    with gatepost(main=MAIN, services={'hard': REJECT}) as mta, mta.sink('next', dict(SCRIPT)) as sink:
        ask(mta, 'good@next.test', OK)
        os.unlink(mta.dir + '/data/verify_cache.lmdb')

        def is_probed_again():
            ask(mta, 'good@next.test', OK)
            return count_probes(sink) == 2
        until(is_probed_again, 'another probe', 10)
        ask(mta, 'good@next.test', OK)
        assert count_probes(sink) == 2
