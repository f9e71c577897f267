"""The filter's `smtp:` inspector: another SMTP filter at the end of the chain, which passes mail on itself."""
import re

import pytest
from harness.instance import AFTER
from harness.peer import CLOSE, HANG

pytestmark = pytest.mark.gatepost_only

E = '451 4.3.0 Error: queue file write error'
QUEUED = '~250 2.0.0 Ok: queued as [0-9A-F]{6,}'


@pytest.fixture(scope='module')
def mta(sut):
    def line(inspectors, more=''):
        return f'filter -o filter_nexthop=127.0.0.1:{{after}} -o {{ filter_inspectors = {inspectors} }} {more}'

    with sut(services={
            'after': AFTER,
            'chain': line('{ command: argv=/bin/sh -c {! grep -q EVIL || exit 69} }, { smtp: 127.0.0.1:{other}, name=other }'),
            'lenient': line('{ smtp: 127.0.0.1:{other}, timeout=2s, on_failure=accept }', '-o filter_timeout=3s'),
            'small': line('{ smtp: 127.0.0.1:{other}, size_limit=1k }')}) as mta:
        yield mta


def send(mta, service, text='x', wanted=QUEUED, to='alice@virt.test', xforward=None):
    with mta.session(service) as client:
        if xforward:
            client.cmd('XFORWARD ' + xforward, 250)
        reply = client.message(f'Subject: {service} {mta.log.mark()}\n\n{text}\n', wanted=wanted, to=to)
        client.quit()
    return reply


def copies(mta, reply):
    qid = reply.rpartition(' ')[2]
    message = mta.maildir('alice').wait_for(qid.encode())
    mta.log.wait(rf'{qid}: removed', 0, 'qmgr')
    return message


def test_it_passes_the_message_on_once(mta):
    mark = mta.log.mark()
    with mta.relay('other', 'after') as relay:
        copies(mta, send(mta, 'chain', '.\nhello', xforward='NAME=spike.up.test ADDR=192.0.2.66'))
        talk = relay.connections[0]
    assert re.fullmatch(rb'EHLO mx.gate.test\r\nXFORWARD NAME=spike.up.test ADDR=192.0.2.66 .*\r\nMAIL FROM:<a@b.example>.*\r\n'
                        rb'RCPT TO:<alice@virt.test>\r\nDATA\r\nSubject: .*\r\n\r\n\.\.\r\nhello\r\n\.\r\nQUIT\r\n', talk.front, re.S)
    mta.log.wait(r'filter-accept: END-OF-MESSAGE: 250 2\.0\.0 Ok: queued as .* delays=command:[^/]+/other:.*', mark, 'filter')
    assert len([text for text in mta.log.texts(mark, 'virtual') if 'status=sent' in text]) == 1


@pytest.mark.parametrize('stage', ['MAIL', 'RCPT', 'DATA', '.'])
@pytest.mark.parametrize('answer', ['550 5.7.1 no', '451-4.7.1 not\n451 4.7.1 now'])
def test_its_refusal_is_the_reply(mta, stage, answer):
    mark = mta.log.mark()
    with mta.sink('other', {stage: answer}):
        send(mta, 'chain', wanted=answer)
    assert not [text for text in mta.log.texts(mark, 'qmgr') if 'queue active' in text]


def test_who_comes_before_it_decides_first(mta):
    with mta.sink('other') as sink:
        send(mta, 'chain', 'EVIL', wanted='550 5.7.1 Message refused')
        assert sink.connections == []


@pytest.mark.parametrize('stage, answer', [('connect', CLOSE), ('connect', '554 no'), ('connect', HANG), ('EHLO', '500 what'), ('EHLO', CLOSE),
                                           ('MAIL', CLOSE), ('MAIL', HANG), ('RCPT', CLOSE), ('DATA', CLOSE)])
def test_what_fails_before_the_final_dot_may_be_accepted(mta, stage, answer):
    mark = mta.log.mark()
    with mta.sink('other', {stage: answer}) as sink:
        reply = send(mta, 'lenient')
        assert all(not talk.messages for talk in sink.connections)
    copies(mta, reply)
    mta.log.wait(r'warning: inspector smtp: not inspected: filter 127\.0\.0\.1:\d+: .*; on_failure=accept', mark, 'filter')


@pytest.mark.parametrize('answer', [CLOSE, HANG])
def test_what_fails_behind_the_final_dot_is_never_passed_on_again(mta, answer):
    mark = mta.log.mark()
    with mta.sink('other', {'.': answer}):
        send(mta, 'lenient', wanted=E)
    assert not [text for text in mta.log.texts(mark, 'qmgr') if 'queue active' in text]


def test_nobody_listens(mta):
    send(mta, 'chain', wanted=E)
    copies(mta, send(mta, 'lenient'))


def test_what_is_too_large_for_it_goes_on_without(mta):
    mark = mta.log.mark()
    with mta.sink('other', {'.': '550 5.7.1 no'}):
        send(mta, 'small', wanted='550 5.7.1 no')
        copies(mta, send(mta, 'small', 'x' * 1024))
    mta.log.wait(r'inspector smtp: not inspected: \d+ octets are more than size_limit=1024', mark, 'filter')
