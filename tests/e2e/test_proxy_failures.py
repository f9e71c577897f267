"""A filter that refuses, hangs, closes, talks garbage."""
import os
import re

import pytest
from harness.peer import CLOSE, DEAF, HANG, RESET, Sink

E = '451 4.3.0 Error: queue file write error'
OK = '250 2.1.5 Ok'
TAKEN = '250 2.0.0 filter took it'


@pytest.fixture(scope='module')
def mta(sut):
    proxy = '-o smtpd_proxy_filter=127.0.0.1:{filter}'
    with sut(main='notify_classes =\nqueue_minfree = 0\n', services={
            'direct': proxy,
            'adjust': proxy + ' -o smtpd_proxy_options=speed_adjust',
            'early': proxy + ' -o smtpd_delay_open_until_valid_rcpt=no',
            'short': proxy + ' -o smtpd_proxy_timeout=1',
            'short_adjust': proxy + ' -o smtpd_proxy_timeout=1 -o smtpd_proxy_options=speed_adjust',
            'unix': '-o smtpd_proxy_filter=unix:filter.sock',
            'noname': '-o smtpd_proxy_filter=no-such-host.invalid:10025',
            'absolute': '-o smtpd_proxy_filter=UNIX:{dir}/queue/filter.sock',
            'soft': proxy + ' -o soft_bounce=yes',
            'footer': proxy + ' -o smtpd_reject_footer=see-you',
            'small': proxy + ' -o message_size_limit=1000',
            'small_adjust': proxy + ' -o message_size_limit=1000 -o smtpd_proxy_options=speed_adjust',
            'eod': proxy + ' -o smtpd_end_of_data_restrictions=reject',
            }) as mta:
        yield mta


def F(mta):
    return f'127.0.0.1:{mta.port("filter")}'


# What the filter says at the stage; what the client sees at RCPT (direct mode), what it sees at end of data (speed_adjust);
# the warning, where F stands for the filter's name.
UNEXPECTED = [
    ('connect', '554 go away', E, 'proxy F rejected "connection request": "554 go away"'),
    ('connect', '421 4.3.2 later', E, 'proxy F rejected "connection request": "421 4.3.2 later"'),
    ('connect', '354 what', E, 'proxy F rejected "connection request": "354 what"'),
    ('connect', CLOSE, E, 'lost connection with proxy F'),
    # the reset may come while it still connects
    ('connect', RESET, E, '~(lost connection with proxy F|connect to proxy filter F: Connection reset by peer)'),
    ('EHLO', '500 what', E, 'proxy F rejected "EHLO mx.gate.test": "500 what"'),
    ('EHLO', '500-what\n500 two', E, 'proxy F rejected "EHLO mx.gate.test": "500-what??500 two"'),
    ('EHLO', CLOSE, E, 'lost connection with proxy F'),
    ('XFORWARD', '550 5.7.0 no', E, '~proxy F rejected "XFORWARD NAME=localhost ADDR=127.0.0.1 .*": "550 5.7.0 no"'),
    ('XFORWARD', CLOSE, E, 'lost connection with proxy F'),
    ('MAIL', '451 4.7.1 no mail', '451 4.7.1 no mail', 'proxy F rejected "MAIL FROM:<a@b.example>": "451 4.7.1 no mail"'),
    ('MAIL', '550 5.7.1 no-one', '550 5.7.1 no-one', 'proxy F rejected "MAIL FROM:<a@b.example>": "550 5.7.1 no-one"'),
    ('MAIL', '354 what', E, 'proxy F rejected "MAIL FROM:<a@b.example>": "354 what"'),
    ('MAIL', CLOSE, E, 'lost connection with proxy F'),
    ('RCPT', '450 4.1.1 not him', '450 4.1.1 not him', 'proxy F rejected "RCPT TO:<alice@virt.test>": "450 4.1.1 not him"'),
    ('RCPT', '554-one\n554 two', '554-one\n554 two', 'proxy F rejected "RCPT TO:<alice@virt.test>": "554-one??554 two"'),
    ('RCPT', '354 what', E, 'proxy F rejected "RCPT TO:<alice@virt.test>": "354 what"'),
    ('RCPT', '199 what', '199 what', 'proxy F rejected "RCPT TO:<alice@virt.test>": "199 what"'),
    ('MAIL', '600 what', '600 what', 'proxy F rejected "MAIL FROM:<a@b.example>": "600 what"'),
    ('RCPT', CLOSE, E, 'lost connection with proxy F'),
]


def expect_warning(mta, mark, warning):
    if warning.startswith('~'):
        mta.log.wait('warning: ' + re.sub(r'\bF\b', F(mta), warning[1:]), mark, 'smtpd')
    else:
        text = warning.replace(' F ', f' {F(mta)} ')
        mta.log.wait_text('warning: ' + (text[:-1] + F(mta) if text.endswith(' F') else text), mark, 'smtpd')


@pytest.mark.parametrize('stage, answer, reply, warning', UNEXPECTED)
def test_direct(mta, stage, answer, reply, warning):
    mark = mta.log.mark()
    with mta.sink('filter', {stage: answer}) as sink, mta.session('direct') as client:
        client.cmd('MAIL FROM:<a@b.example>', '250 2.1.0 Ok')
        client.cmd('RCPT TO:<alice@virt.test>', reply)
        if answer is CLOSE or answer is RESET:
            sink.wait(1)
        client.cmd('NOOP', '250 2.0.0 Ok')  # the session goes on
        client.cmd('RSET', '250 2.0.0 Ok')
        talk = sink.wait(1)
    expect_warning(mta, mark, warning)
    if answer not in (CLOSE, RESET):
        assert talk.verbs[-1] == 'QUIT', talk.raw


@pytest.mark.parametrize('stage, answer, reply, warning', UNEXPECTED)
def test_speed_adjust(mta, stage, answer, reply, warning):
    mark = mta.log.mark()
    with mta.sink('filter', {stage: answer}) as sink, mta.session('adjust') as client:
        client.message(wanted=reply)
        client.cmd('NOOP', '250 2.0.0 Ok')
        talk = sink.wait(1)
    expect_warning(mta, mark, warning)
    if answer not in (CLOSE, RESET):
        assert talk.verbs[-1] == 'QUIT', talk.raw
    shown = reply.replace('\n', '??')
    mta.log.wait_text(f'proxy-reject: END-OF-MESSAGE: {shown}; from=<a@b.example> to=<alice@virt.test> proto=ESMTP '
                      'helo=<client.example>', mark, 'smtpd')


@pytest.mark.parametrize('service, step', [('direct', 'RCPT'), ('early', 'MAIL'), ('adjust', '.'), ('unix', 'RCPT')])
def test_nobody_there(mta, service, step):
    mark = mta.log.mark()
    with mta.session(service) as client:
        client.cmd('MAIL FROM:<a@b.example>', E if step == 'MAIL' else '250 2.1.0 Ok')
        if step == 'RCPT':
            client.cmd('RCPT TO:<alice@virt.test>', E)
            client.cmd('RCPT TO:<bob@virt.test>', E)  # dialled again
            client.cmd('DATA', '554 5.5.1 Error: no valid recipients')
        if step == '.':
            client.cmd('RCPT TO:<alice@virt.test>', OK)
            client.content(wanted=E)
        client.quit()
    name, why = ('unix:filter.sock', 'No such file or directory') if service == 'unix' else (F(mta), 'Connection refused')
    text = f'warning: connect to proxy filter {name}: {why}'
    mta.log.wait_text(text, mark, 'smtpd')
    assert mta.log.texts(mark, 'smtpd').count(text) == (2 if step == 'RCPT' else 1)


@pytest.mark.parametrize('stage', ['connect', 'EHLO', 'XFORWARD', 'MAIL', 'RCPT'])
@pytest.mark.parametrize('service', ['short', 'short_adjust'])
def test_silent(mta, service, stage):
    mark = mta.log.mark()
    with mta.sink('filter', {stage: HANG}) as sink, mta.session(service) as client:
        client.cmd('MAIL FROM:<a@b.example>', '250 2.1.0 Ok')
        if service == 'short':
            client.cmd('RCPT TO:<alice@virt.test>', E)
        else:
            client.cmd('RCPT TO:<alice@virt.test>', OK)
            client.content(wanted=E)
        client.cmd('RSET', '250 2.0.0 Ok')
        sink.wait(1)
    mta.log.wait_text(f'warning: timeout talking to proxy {F(mta)}', mark, 'smtpd')


@pytest.mark.parametrize('stage', ['DATA', '.'])
def test_silent_late(mta, stage):
    mark = mta.log.mark()
    with mta.sink('filter', {stage: HANG}) as sink, mta.session('short') as client:
        client.envelope()
        if stage == 'DATA':
            client.cmd('DATA', E)
        else:
            client.content(wanted=E)
        client.cmd('RSET', '250 2.0.0 Ok')
        sink.wait(1)
    mta.log.wait_text(f'warning: timeout talking to proxy {F(mta)}', mark, 'smtpd')


@pytest.mark.parametrize('service', ['short', 'short_adjust'])
def test_stops_reading(mta, service):
    """What a filter does in the middle of the content shows only after the client's end of data."""
    body = 'Subject: big\n\n' + ('x' * 70 + '\n') * 100000
    with mta.sink('filter', {'content': DEAF}) as sink, mta.session(service) as client:
        client.message(body, wanted=E)
        client.cmd('NOOP', '250 2.0.0 Ok')
        sink.close()


@pytest.mark.parametrize('service', ['direct', 'adjust'])
@pytest.mark.parametrize('answer', [CLOSE, RESET])
def test_hangs_up_in_content(mta, service, answer):
    mark = mta.log.mark()
    body = 'Subject: big\n\n' + ('x' * 70 + '\n') * 100000
    with mta.sink('filter', {'content': answer}), mta.session(service) as client:
        client.message(body, wanted=E)
        client.message('x', wanted=E)
        client.quit()
    mta.log.wait_text(f'proxy-reject: END-OF-MESSAGE: {E}; from=<a@b.example> to=<alice@virt.test> proto=ESMTP '
                      'helo=<client.example>', mark, 'smtpd')


@pytest.mark.parametrize('stage', ['connect', 'EHLO', 'XFORWARD', 'MAIL', 'RCPT'])
def test_hung_up(mta, stage):
    """After the filter hung up, later recipients of the transaction get the error without a new connection; RSET mends it."""
    with mta.sink('filter', {stage: [CLOSE, '220 hello' if stage == 'connect' else '250 fine']}) as sink, \
            mta.session('direct') as client:
        client.cmd('MAIL FROM:<a@b.example>', '250 2.1.0 Ok')
        client.cmd('RCPT TO:<alice@virt.test>', E)
        first = len(sink.connections)
        client.cmd('RCPT TO:<bob@virt.test>', None)
        client.cmd('RSET', '250 2.0.0 Ok')
        if stage == 'RCPT':
            assert len(sink.connections) == first
        client.message(wanted=TAKEN)


def test_hung_up_before_data(mta):
    """A filter that took a recipient and went away: DATA gets the error, and is not a new connection."""
    mark = mta.log.mark()

    def take_and_close(connection):
        connection.sock.sendall(b'250 2.1.5 fine\r\n')
        return CLOSE

    with mta.sink('filter', {'RCPT': [take_and_close, '250 fine']}) as sink, mta.session('direct') as client:
        client.envelope()
        sink.wait(1)
        client.cmd('RCPT TO:<bob@virt.test>', E)
        client.cmd('DATA', E)
        assert len(sink.connections) == 1
        client.cmd('RSET', '250 2.0.0 Ok')
        client.message(wanted=TAKEN)
    mta.log.wait_text(f'warning: lost connection with proxy {F(mta)}', mark, 'smtpd')


def test_refused_mail_is_tried_again(mta):
    with mta.sink('filter', {'MAIL': ['450 4.7.1 not yet', '550 5.7.1 no', '250 yes']}) as sink, \
            mta.session('direct') as client:
        client.cmd('MAIL FROM:<a@b.example>', '250 2.1.0 Ok')
        client.cmd('RCPT TO:<alice@virt.test>', '450 4.7.1 not yet')
        client.cmd('RCPT TO:<alice@virt.test>', '550 5.7.1 no')
        client.cmd('RCPT TO:<alice@virt.test>', OK)
        client.content(wanted=TAKEN)
        assert len(sink.connections) == 3
        client.quit()


def test_data_refused_stays_open(mta):
    """The transaction remains, DATA may be repeated."""
    mark = mta.log.mark()
    with mta.sink('filter', {'DATA': ['451 4.3.0 busy', '554 5.5.0 no', '354 go on']}) as sink, mta.session('direct') as client:
        client.envelope()
        client.cmd('DATA', '451 4.3.0 busy')
        client.cmd('DATA', '554 5.5.0 no')
        client.content(wanted=TAKEN)
        client.quit()
        talk = sink.wait(1)
        assert len(sink.connections) == 1
        assert talk.verbs == ['EHLO', 'XFORWARD', 'MAIL', 'RCPT', 'DATA', 'DATA', 'DATA', 'QUIT']
    mta.log.wait('disconnect from localhost.*', mark, 'smtpd')
    texts = mta.log.texts(mark, 'smtpd')
    assert f'warning: proxy {F(mta)} rejected "DATA": "451 4.3.0 busy"' in texts
    assert f'warning: proxy {F(mta)} rejected "DATA": "554 5.5.0 no"' in texts
    assert not [text for text in texts if text.startswith('proxy-reject')]


def test_data_answered_250(mta):
    mark = mta.log.mark()
    with mta.sink('filter', {'DATA': '250 what'}), mta.session('direct') as client:
        client.envelope()
        client.cmd('DATA', E)
        client.cmd('RSET', 250)
    mta.log.wait_text(f'warning: proxy {F(mta)} rejected "DATA": "250 what"', mark, 'smtpd')


def test_some_recipients(mta):
    """2xx to some recipients only: direct mode passes each verdict on, speed_adjust fails the whole message."""
    script = {'RCPT TO:<bob@virt.test>': '550 5.1.1 no bob'}
    with mta.sink('filter', script) as sink, mta.session('direct') as client:
        client.talk(('MAIL FROM:<a@b.example>', '250 2.1.0 Ok'), ('RCPT TO:<alice@virt.test>', OK),
                    ('RCPT TO:<bob@virt.test>', '550 5.1.1 no bob'), ('RCPT TO:<carol@virt.test>', OK))
        client.content(wanted=TAKEN)
        client.quit()
        assert len(sink.wait(1).command('RCPT')) == 3
    with mta.sink('filter', script) as sink, mta.session('adjust') as client:
        client.envelope('a@b.example', 'alice@virt.test', 'bob@virt.test', 'carol@virt.test')
        client.content(wanted='550 5.1.1 no bob')
        assert sink.wait(1).verbs == ['EHLO', 'XFORWARD', 'MAIL', 'RCPT', 'RCPT', 'QUIT']


def test_no_recipient_left(mta):
    with mta.sink('filter', {'RCPT': '550 5.1.1 nobody'}) as sink, mta.session('direct') as client:
        client.talk(('MAIL FROM:<a@b.example>', '250 2.1.0 Ok'), ('RCPT TO:<alice@virt.test>', '550 5.1.1 nobody'),
                    ('DATA', '554 5.5.1 Error: no valid recipients'), ('RSET', '250 2.0.0 Ok'))
        assert 'DATA' not in sink.wait(1).verbs


def test_own_reject_never_contacts(mta):
    with mta.sink('filter') as sink, mta.session('direct') as client:
        client.talk(('MAIL FROM:<a@b.example>', '250 2.1.0 Ok'), ('RCPT TO:<nobody@virt.test>', 550), ('NOOP', 250),
                    ('VRFY alice@virt.test', 252), ('HELP', None), ('RSET', 250), ('QUIT', 221))
        assert sink.connections == []


# The reply to the final dot goes to the client as it is; its first digit decides.
@pytest.mark.parametrize('service', ['direct', 'adjust'])
@pytest.mark.parametrize('answer, shown, accepted', [
    ('250 2.0.0 Ok: queued as ABC', None, True), ('299', None, True), ('250-one\n250-two\n250 three', None, True),
    ('554 5.7.1 spam', None, False), ('450-4.7.1 come\n450 4.7.1 back', None, False), ('550', None, False),
    ('354 what', None, False), ('250 tab\there\x01\x7f', '250 tab?here??', True),
    (b'250 2.0.0 bare\n', '250 2.0.0 bare', True), ('550 ' + 'x' * 600, None, False)])
def test_final_reply(mta, service, answer, shown, accepted):
    mark = mta.log.mark()
    shown = shown or answer
    with mta.sink('filter', {'.': answer}), mta.session(service) as client:
        client.message(wanted=shown)
        client.cmd('NOOP', 250)
    word = 'proxy-accept' if accepted else 'proxy-reject'
    logged = shown.replace('\n', '??')
    mta.log.wait_text(f'{word}: END-OF-MESSAGE: {logged}; from=<a@b.example> to=<alice@virt.test> proto=ESMTP '
                      'helo=<client.example>', mark, 'smtpd')


@pytest.mark.parametrize('code', ['421 4.3.2 closing', '521 5.3.2 never'])
@pytest.mark.parametrize('stage', ['RCPT', 'DATA', '.'])
def test_421_ends_the_session(mta, stage, code):
    with mta.sink('filter', {stage: code}), mta.session('direct') as client:
        client.cmd('MAIL FROM:<a@b.example>', 250)
        client.cmd('RCPT TO:<alice@virt.test>', code if stage == 'RCPT' else OK)
        if stage == 'DATA':
            client.cmd('DATA', code)
        elif stage == '.':
            client.content(wanted=code)
        client.expect_close()


def test_421_in_speed_adjust(mta):
    with mta.sink('filter', {'MAIL': '421 4.3.2 closing'}), mta.session('adjust') as client:
        client.message(wanted='421 4.3.2 closing')
        client.expect_close()


def lines_of_reply(client):
    """The lines up to the one that ends a reply: a client that skips what is no reply line gets there."""
    lines = [client.line()]
    while not re.match(r'\d\d\d( |$)', lines[-1]):
        lines.append(client.line())
    return lines


def test_garbage(mta):
    """What is no reply line counts as a continuation line; its fourth octet becomes '-'."""
    mark = mta.log.mark()
    with mta.sink('filter', {'.': b'hello there\r\n250 2.0.0 done\r\n'}), mta.session('direct') as client:
        client.envelope()
        client.cmd('DATA', 354)
        client.send(b'x\r\n.\r\n')
        assert lines_of_reply(client) == ['hel-o there', '250 2.0.0 done']
        client.cmd('NOOP', 250)
    mta.log.wait_text(f'warning: received garbage from proxy {F(mta)}: hello there', mark, 'smtpd')


def test_garbage_to_rcpt(mta):
    """A refusal is passed on with the garbage before it; it counts as an error."""
    mark = mta.log.mark()
    with mta.sink('filter', {'RCPT': [b'hello there\r\n550 5.1.1 no\r\n', '199 well']}), mta.session('direct') as client:
        client.cmd('MAIL FROM:<a@b.example>', 250)
        client.send('RCPT TO:<alice@virt.test>')
        assert lines_of_reply(client) == ['hel-o there', '550 5.1.1 no']
        client.cmd('RCPT TO:<bob@virt.test>', '199 well')
        client.quit()
    mta.log.wait(r'disconnect from .* mail=1 rcpt=0/2 quit=1 commands=3/5', mark, 'smtpd')


@pytest.mark.gatepost_only
@pytest.mark.parametrize('service', ['direct', 'adjust'])
@pytest.mark.parametrize('answer', [
    b'hello there\r\n250 2.0.0 done\r\n', b'\x00\xff\xfe\r\n250 done\r\n', b'25\r\n250 done\r\n', b'\r\n250 done\r\n',
    b'2500 x\r\n250 done\r\n', b'250-a\r\n' * 500 + b'250 end\r\n', b'250-' + b'y' * 5000 + b'\r\n250 end\r\n',
    b'250 ' + b'z' * 5000 + b'\r\n', b'550-no\r\n250 yes\r\n'])
def test_garbage_never_hangs_the_client(mta, service, answer):
    """Whatever the filter says, the client gets a reply that ends, and not more of it than it can bear."""
    with mta.sink('filter', {'.': answer}), mta.session(service) as client:
        client.envelope()
        client.cmd('DATA', 354)
        client.send(b'x\r\n.\r\n')
        assert sum(map(len, lines_of_reply(client))) < 6000
        client.cmd('NOOP', '250 2.0.0 Ok')


@pytest.mark.gatepost_only  # Postfix has a limit for each read only
@pytest.mark.parametrize('stage', ['connect', 'EHLO', 'MAIL', 'RCPT', '.'])
def test_endless_reply(mta, stage):
    """A reply without end is cut off by the time limit, not by memory."""
    stop = []

    def endless(connection):
        try:
            while not stop:
                connection.sock.sendall(b'250-more and more of it\r\n' * 200)
        except OSError:
            pass
        return CLOSE

    with mta.sink('filter', {stage: endless}), mta.connect('short', timeout=20) as client:
        client.expect(220)
        client.cmd('EHLO client.example', 250)
        client.cmd('MAIL FROM:<a@b.example>', 250)
        client.cmd('RCPT TO:<alice@virt.test>', E if stage != '.' else OK)
        if stage == '.':
            client.content(wanted=E)
        client.cmd('RSET', 250)
        stop.append(1)


@pytest.mark.gatepost_only
def test_endless_line(mta):
    """A line of a reply without end, too."""
    stop = []

    def endless(connection):
        try:
            while not stop:
                connection.sock.sendall(b'250-' + b'x' * 10000)
        except OSError:
            pass
        return CLOSE

    with mta.sink('filter', {'MAIL': endless}), mta.session('short') as client:
        client.cmd('MAIL FROM:<a@b.example>', 250)
        client.cmd('RCPT TO:<alice@virt.test>', E)
        stop.append(1)


def test_reply_before_its_command(mta):
    """A reply that came too early makes no recipient accepted that the filter refused."""
    with mta.sink('filter', {'connect': b'220 hi\r\n250 early\r\n', 'EHLO': '500 no', 'MAIL': '250 x'}), mta.session('direct') as client:
        client.cmd('MAIL FROM:<a@b.example>', 250)
        assert client.cmd('RCPT TO:<alice@virt.test>')[0] in '45'


@pytest.mark.gatepost_only
@pytest.mark.parametrize('service', ['direct', 'adjust'])
def test_reply_before_the_dot(mta, service):
    """A verdict that came before the final dot was sent is none: the message is not accepted on its word."""
    script = {'DATA': b'354 go on\r\n250 2.0.0 early\r\n', '.': '554 5.7.1 late'}

    def data(connection):
        connection.in_content = True
        connection.sock.sendall(b'354 go on\r\n250 2.0.0 early\r\n')

    script['DATA'] = data
    with mta.sink('filter', script), mta.session(service) as client:
        client.envelope()
        client.cmd('DATA', 354)
        client.send(b'Subject: x\r\n\r\n' + b'y' * 60 + b'\r\n.\r\n')
        reply = client.reply()
        assert reply[0] in '45', reply


@pytest.mark.gatepost_only
@pytest.mark.parametrize('service', ['direct', 'adjust'])
def test_garbage_before_the_dot(mta, service):
    """Nobody waits for the rest of it as long as for a verdict."""
    def data(connection):
        connection.in_content = True
        connection.sock.sendall(b'354 go on\r\nwhat\r\n')

    with mta.sink('filter', {'DATA': data}) as sink, mta.session(service) as client:
        client.envelope()
        client.cmd('DATA', 354)
        client.send(b'Subject: x\r\n\r\nbody\r\n.\r\n')  # the client's deadline is far below smtpd_proxy_timeout
        client.expect(E)
        assert sink.wait(1).messages == []


def test_soft_bounce(mta):
    with mta.sink('filter', {'.': '554 5.7.1 no', 'RCPT TO:<bob@virt.test>': '550 5.1.1 bob'}), mta.session('soft') as client:
        client.cmd('MAIL FROM:<a@b.example>', 250)
        client.cmd('RCPT TO:<bob@virt.test>', '450 4.1.1 bob')
        client.cmd('RCPT TO:<alice@virt.test>', OK)
        client.content(wanted='454 4.7.1 no')


def test_reject_footer(mta):
    """The footer goes with every refusal, its own code in front; not with acceptance, and not into the log."""
    with mta.sink('filter', {'RCPT TO:<bob@virt.test>': '550 5.1.1 bob', '.': '554-5.7.1 no\n554 5.7.1 spam'}), \
            mta.session('footer') as client:
        client.cmd('MAIL FROM:<a@b.example>', '250 2.1.0 Ok')
        client.cmd('RCPT TO:<nobody@virt.test>', '550-5.1.1 <nobody@virt.test>: Recipient address rejected: User unknown in virtual '
                                                 'mailbox table\n550 5.1.1 see-you')
        client.cmd('RCPT TO:<bob@virt.test>', '550-5.1.1 bob\n550 5.1.1 see-you')
        client.cmd('RCPT TO:<alice@virt.test>', OK)
        mark = mta.log.mark()
        client.content(wanted='554-5.7.1 no\n554-5.7.1 spam\n554 5.7.1 see-you')
        mta.log.wait(r'proxy-reject: END-OF-MESSAGE: 554-5\.7\.1 no\?\?554 5\.7\.1 spam; .*', mark, 'smtpd')


@pytest.mark.parametrize('service', ['small', 'small_adjust'])
def test_too_big(mta, service):
    mark = mta.log.mark()
    with mta.sink('filter') as sink, mta.session(service) as client:
        client.message('Subject: x\n\n' + 'y' * 70 + '\n' + ('z' * 70 + '\n') * 20, wanted='552 5.3.4 Error: message file too big')
        client.cmd('NOOP', 250)
        client.message('small\n', wanted=TAKEN)
        client.quit()
        if service == 'small':
            aborted = sink.wait(2) and sink.connections[0]
            assert aborted.partial.endswith(b'QUIT\r\n') and aborted.messages == []
            taken = sink.connections[1]
        else:
            taken = sink.wait(1)
            assert len(sink.connections) == 1
        assert taken.content.endswith(b'small\r\n') and b'zzz' not in taken.content
    mta.log.wait_text('warning: NOQUEUE: queue file size limit exceeded', mark, 'smtpd')


def test_end_of_data_restriction(mta):
    mark = mta.log.mark()
    with mta.sink('filter') as sink, mta.session('eod') as client:
        client.message(wanted='554 5.7.1 <END-OF-MESSAGE>: End-of-data rejected: Access denied')
        talk = sink.wait(1)
        assert talk.messages == [] and talk.partial.endswith(b'body\r\nQUIT\r\n')
        if mta.newer:
            client.cmd('MAIL FROM:<c@b.example>', '250 2.1.0 Ok')
    mta.log.wait_text('NOQUEUE: reject: END-OF-MESSAGE from localhost[127.0.0.1]: 554 5.7.1 <END-OF-MESSAGE>: End-of-data rejected: '
                      'Access denied; from=<a@b.example> to=<alice@virt.test> proto=ESMTP helo=<client.example>', mark, 'smtpd')
    mta.log.wait('disconnect from localhost.*', mark, 'smtpd')
    assert not [text for text in mta.log.texts(mark, 'smtpd') if text.startswith('proxy-')]


# What ends a transaction early: QUIT to the filter, never a dot.
@pytest.mark.parametrize('line, reply', [('RSET', 250), ('EHLO again.example', 250), ('HELO again.example', 250), ('QUIT', 221)])
def test_transaction_ends_early(mta, line, reply):
    with mta.sink('filter') as sink, mta.session('direct') as client:
        client.envelope()
        client.cmd(line, reply)
        talk = sink.wait(1)
        assert talk.verbs == ['EHLO', 'XFORWARD', 'MAIL', 'RCPT', 'QUIT']


@pytest.mark.parametrize('how', ['close', 'reset', 'half_close'])
@pytest.mark.parametrize('service', ['direct', 'adjust'])
def test_client_leaves_in_data(mta, service, how):
    """The filter sees the whole lines, then QUIT, never a dot; in speed_adjust nothing."""
    mark = mta.log.mark()
    with mta.sink('filter') as sink, mta.session(service) as client:
        client.envelope()
        client.cmd('DATA', 354)
        client.send(b'Subject: left\r\n\r\nwhole line\r\nhalf a li')
        getattr(client, how)()
        mta.log.wait(r'(NOQUEUE: )?lost connection after DATA \(\d+ bytes\) from localhost\[127\.0\.0\.1\]', mark, 'smtpd')
        mta.log.wait('disconnect from .*', mark, 'smtpd')
        if service == 'direct':
            talk = sink.wait(1)
            assert talk.messages == []
            assert b'whole line\r\n' in talk.raw and not talk.raw.rstrip(b'\r\n').endswith(b'\r\n.'), talk.raw
            assert talk.raw.endswith(b'QUIT\r\n'), talk.raw
        else:
            assert sink.connections == []
    with mta.sink('filter') as sink, mta.session(service) as client:  # nothing of it gets into the next message
        client.message('Subject: next\n\nnew\n', wanted=TAKEN)
        client.quit()
        assert b'left' not in sink.wait(1).raw


def test_client_leaves_after_rcpt(mta):
    with mta.sink('filter') as sink, mta.session('direct') as client:
        client.envelope()
        client.close()
        assert sink.wait(1).verbs[-1] == 'QUIT'


def test_unix_socket(mta):
    path = mta.dir + '/queue/filter.sock'
    with Sink(path) as sink, mta.session('unix') as client:
        client.message(wanted=TAKEN)
        client.quit()
        assert sink.wait(1).content.endswith(b'body\r\n')
    os.unlink(path)


def test_unix_socket_by_whole_path(mta):
    path = mta.dir + '/queue/filter.sock'
    with Sink(path) as sink, mta.session('absolute') as client:
        client.message(wanted=TAKEN)
        assert sink.wait(1).messages
    os.unlink(path)


def test_name_not_found(mta):
    mark = mta.log.mark()
    with mta.session('noname') as client:
        client.cmd('MAIL FROM:<a@b.example>', '250 2.1.0 Ok')
        client.cmd('RCPT TO:<alice@virt.test>', E)
        client.cmd('NOOP', 250)
    mta.log.wait(r'warning: host or service no-such-host\.invalid:10025 not found: '
                 '(Name or service not known|Temporary failure in name resolution)', mark, 'smtpd')
    mta.log.wait_text('warning: connect to proxy filter no-such-host.invalid:10025: Cannot assign requested address', mark, 'smtpd')


@pytest.mark.parametrize('service', ['direct', 'adjust'])
def test_log_shows_the_first_accepted_recipient(mta, service):
    mark = mta.log.mark()
    with mta.sink('filter'), mta.session(service, helo='He"l<o') as client:
        client.cmd('MAIL FROM:<>', '250 2.1.0 Ok')
        client.cmd('RCPT TO:<nobody@virt.test>', 550)
        client.cmd('RCPT TO:<BOB@virt.test>', OK)
        client.cmd('RCPT TO:<"alice"@virt.test>', OK)
        client.content(wanted=TAKEN)
    mta.log.wait_text(f'proxy-accept: END-OF-MESSAGE: {TAKEN}; from=<> to=<BOB@virt.test> proto=ESMTP helo=<He?l?o>', mark, 'smtpd')
    assert mta.log.texts(mark, 'smtpd').count('NOQUEUE: client=localhost[127.0.0.1]') == 1


def test_early_open(mta):
    """smtpd_delay_open_until_valid_rcpt=no: the filter hears at once, and its verdict is MAIL's."""
    with mta.sink('filter', {'MAIL': ['550 5.7.1 not you', '250 well']}) as sink, mta.session('early') as client:
        client.cmd('MAIL FROM:<a@b.example>', '550 5.7.1 not you')
        client.cmd('MAIL FROM:<a@b.example>', '250 2.1.0 Ok')
        assert len(sink.connections) == 2
        client.cmd('RCPT TO:<alice@virt.test>', OK)
        client.content(wanted=TAKEN)


def test_errors_count(mta):
    """Each command that failed at the filter is one of the client's errors."""
    with mta.session('direct') as client:
        for _ in range(10):
            client.cmd('MAIL FROM:<a@b.example>', '250 2.1.0 Ok')
            client.cmd('RCPT TO:<alice@virt.test>', E)
            client.cmd('RSET', 250) if _ < 9 else None
        client.sock.settimeout(0.8)
        try:
            client.cmd('RSET', None)  # the tenth error makes replies slow
            raise AssertionError('the reply came at once')
        except TimeoutError:
            pass
