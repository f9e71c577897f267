"""The SMTP server's commands, replies, limits, ends of sessions, without TLS and AUTH."""
import re
import time

import pytest

STRANGER = 'NAME=spike.up.test ADDR=192.0.2.66 PORT=4711'
QID = '[0-9A-F]{6,}'
QUEUED = f'~250 2.0.0 Ok: queued as {QID}'


@pytest.fixture(scope='module')
def mta(sut):
    with sut(services={
            'smtp': '-o virtual_transport=discard -o smtpd_error_sleep_time=0', 'closed': '-o smtpd_proxy_filter=127.0.0.1:{filter} -o smtpd_client_restrictions=reject',
            'helo': '-o smtpd_helo_required=yes', 'novrfy': '-o disable_vrfy_command=yes',
            'strict': '-o strict_rfc821_envelopes=yes', 'sizes': '-o message_size_limit=20000', 'nosize': '-o message_size_limit=0',
            'discard': '-o smtpd_discard_ehlo_keywords=chunking,dsn,SMTPUTF8,size,8bitmime,vrfy,etrn,pipelining,xclient',
            'silent': '-o smtpd_discard_ehlo_keywords=chunking,silent-discard',
            'noutf8': '-o smtputf8_enable=no', 'strictutf8': '-o strict_smtputf8=yes',
            'errors': '-o smtpd_soft_error_limit=3 -o smtpd_hard_error_limit=5 -o smtpd_error_sleep_time=0',
            'soft': '-o smtpd_soft_error_limit=2 -o smtpd_error_sleep_time=1',
            'junk': '-o smtpd_junk_command_limit=5 -o smtpd_hard_error_limit=3 -o smtpd_soft_error_limit=100',
            'rcpts': '-o smtpd_recipient_limit=3 -o smtpd_recipient_overshoot_limit=2 -o smtpd_hard_error_limit=3',
            'limits': '-o smtpd_announce_limits=yes -o smtpd_recipient_limit=3',
            'nolimits': '-o smtpd_announce_limits=yes -o smtpd_discard_ehlo_keywords=limits',
            'short': '-o smtpd_timeout=1',
            'banner': '-o smtpd_banner=hello-$myhostname', 'noop': '-o smtpd_noop_commands=turn,send',
            'xforward': '-o smtpd_authorized_xforward_hosts=127.0.0.0/8',
            'ports': '-o smtpd_client_port_logging=yes', 'nolookup': '-o smtpd_peername_lookup=no',
            'filtered': '-o smtpd_command_filter=inline:{{VERB=NOOP}}', 'nodelay': '-o smtpd_delay_reject=no',
            'connectreject': '-o smtpd_delay_reject=no -o smtpd_client_restrictions=reject',
            'tolerant': '-o smtpd_forbid_unauth_pipelining=no',
            'forbidden': '-o smtpd_forbidden_commands=FOO,BAR',
            'softbounce': '-o soft_bounce=yes',
            'addrmap': '-o smtpd_discard_ehlo_keyword_address_maps=inline:{{127.0.0.2=pipelining}}',
            'space': '-o queue_minfree=999999999999999',
            }) as mta:
        yield mta


def test_banner(mta):
    with mta.connect('smtp') as client:
        client.expect('220 mx.gate.test ESMTP Conform')
        client.quit()
    with mta.connect('banner') as client:
        client.expect('220 hello-mx.gate.test')


EHLO = ['mx.gate.test', 'PIPELINING', 'SIZE 10240000', 'VRFY', 'ETRN',
        'XCLIENT', 'ENHANCEDSTATUSCODES', '8BITMIME', 'DSN',
        'SMTPUTF8', 'CHUNKING']


def shape(mta, lines):
    lines = [mta.xclient_offer if line == 'XCLIENT' else line for line in lines]
    return [f'250-{line}' for line in lines[:-1]] + [f'250 {lines[-1]}']


@pytest.mark.parametrize('service, drop, put', [
    ('smtp', (), {}), ('novrfy', ('VRFY',), {}), ('sizes', (), {'SIZE 10240000': 'SIZE 20000'}),
    ('nosize', (), {'SIZE 10240000': 'SIZE'}), ('noutf8', ('SMTPUTF8',), {}), ('silent', ('CHUNKING',), {}),
    ('discard', ('CHUNKING', 'DSN', 'SMTPUTF8', 'SIZE 10240000', '8BITMIME', 'VRFY', 'ETRN', 'PIPELINING', EHLO[5]), {})])
def test_ehlo(mta, service, drop, put):
    mark = mta.log.mark()
    with mta.session(service, helo=None) as client:
        client.cmd('EHLO client.example', shape(mta, [put.get(line, line) for line in EHLO if line not in drop]))
    mta.log.wait('disconnect from .*', mark, 'smtpd')
    logged = [text for text in mta.log.texts(mark, 'smtpd') if text.startswith('discarding EHLO keywords: ')]
    assert len(logged) == (service == 'discard')


def test_ehlo_xforward(mta):
    with mta.session('xforward', helo=None) as client:
        lines = EHLO[:6] + ['XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT'] + EHLO[6:]
        client.cmd('EHLO client.example', shape(mta, lines))


@pytest.mark.gatepost_only
def test_limits(mta):
    with mta.session('limits', helo=None) as client:
        client.cmd('EHLO client.example', shape(mta, EHLO + ['LIMITS RCPTMAX=3']))
    mark = mta.log.mark()
    with mta.session('nolimits', helo=None) as client:
        client.cmd('EHLO client.example', shape(mta, EHLO))
    mta.log.wait('discarding EHLO keywords: LIMITS', mark, 'smtpd')


def test_discard_by_address(mta):
    for source, offered in (('127.0.0.2', False), ('127.0.0.1', True)):
        with mta.session('addrmap', source=source, helo=None) as client:
            assert ('250-PIPELINING' in client.cmd('EHLO x').lines) == offered


# One command after EHLO, and its reply; '>' begins the steps that come before it.
COMMANDS = [
    ('HELO x', '250 mx.gate.test'), ('helo x y z', '250 mx.gate.test'), ('HELO', '501 Syntax: HELO hostname'),
    ('HELO  ', '501 Syntax: HELO hostname'), ('EHLO', '501 Syntax: EHLO hostname'), ('eHlO x', 250),
    ('NOOP', '250 2.0.0 Ok'), ('NOOP with words', '250 2.0.0 Ok'), ('noop', '250 2.0.0 Ok'),
    ('RSET', '250 2.0.0 Ok'), ('RSET x', '501 5.5.4 Syntax: RSET'),
    ('QUIT', '221 2.0.0 Bye'), ('QUIT now', '221 2.0.0 Bye'),
    ('', '500 5.5.2 Error: bad syntax'), ('   ', '500 5.5.2 Error: bad syntax'), ('\t', '500 5.5.2 Error: bad syntax'),
    ('FOO', '500 5.5.2 Error: command not recognized'), ('EXPN list', '500 5.5.2 Error: command not recognized'),
    ('STARTTLS', '502 5.5.1 Error: command not implemented'),
    ('AUTH PLAIN', '503 5.5.1 Error: authentication not enabled'),
    ('XFORWARD NAME=x', '550 5.7.0 Error: insufficient authorization'),
    ('VRFY alice@virt.test', '252 2.0.0 alice@virt.test'), ('VRFY <alice@virt.test>', '252 2.0.0 <alice@virt.test>'),
    ('VRFY nobody@virt.test', '550 5.1.1 <nobody@virt.test>: Recipient address rejected: User unknown in virtual mailbox table'),
    ('VRFY', '501 5.5.4 Syntax: VRFY address [SMTPUTF8]'), ('VRFY a b', None),
    ('ETRN virt.test', None), ('ETRN', '500 Syntax: ETRN domain'), ('ETRN a b', '500 Syntax: ETRN domain'),
    ('ETRN virt..test', '501 Error: invalid parameter syntax'), ('ETRN elsewhere.test', '459 <elsewhere.test>: service unavailable'),
    ('MAIL', '501 5.5.4 Syntax: MAIL FROM:<address>'), ('MAIL FROM', '501 5.5.4 Syntax: MAIL FROM:<address>'),
    ('MAIL FROM:', '501 5.5.4 Syntax: MAIL FROM:<address>'), ('MAIL TO:<a@b>', '501 5.5.4 Syntax: MAIL FROM:<address>'),
    ('MAIL FROM:<a@b', None), ('MAIL FROM:<a@b.example>', '250 2.1.0 Ok'),
    ('MAIL FROM:<>', '250 2.1.0 Ok'), ('MAIL FROM: <a@b.example>', '250 2.1.0 Ok'), ('MAIL  from:<a@b.example>', '250 2.1.0 Ok'),
    ('MAIL FROM:a@b.example', '250 2.1.0 Ok'), ('MAIL FROM:<user>', '250 2.1.0 Ok'), ('MAIL FROM:<"a b"@x.test>', '250 2.1.0 Ok'),
    ('MAIL FROM:<@a.test,@b.test:user@dom.test>', '250 2.1.0 Ok'), ('MAIL FROM:<a@dom.test.>', '250 2.1.0 Ok'),
    ('MAIL FROM:<a@my_host.test>', '250 2.1.0 Ok'), ('MAIL FROM:<a@[1.2.3.4]>', '250 2.1.0 Ok'),
    ('MAIL FROM:<a@[IPv6:2001:db8::1]>', '250 2.1.0 Ok'),
    ('MAIL FROM:<@dom.test>', '250 2.1.0 Ok'),
    ('MAIL FROM:<a b@x.test>', '501 5.1.7 Bad sender address syntax'), ('MAIL FROM:<a@>', '501 5.1.7 Bad sender address syntax'),
    ('MAIL FROM:<a@b..c>', '501 5.1.7 Bad sender address syntax'), ('MAIL FROM:<a@[1.2.3]>', '501 5.1.7 Bad sender address syntax'),
    ('MAIL FROM:<a@-b.test>', '501 5.1.7 Bad sender address syntax'), ('MAIL FROM:<a@b-.test>', '501 5.1.7 Bad sender address syntax'),
    ('MAIL FROM:<a@' + 'l' * 64 + '.test>', '501 5.1.7 Bad sender address syntax'),
    ('MAIL FROM:<a@' + 'l' * 63 + '.test>', '250 2.1.0 Ok'),
    ('MAIL FROM:<a@' + 'abc.' * 64 + 'test>', '501 5.1.7 Bad sender address syntax'),
    ('MAIL FROM:<a@ü.test>', '501 5.1.7 Bad sender address syntax'), ('MAIL FROM:<ü@x.test>', '250 2.1.0 Ok'),
    ('MAIL FROM:<a@ü.test> SMTPUTF8', '250 2.1.0 Ok'),
    ('MAIL FROM:<' + 'l' * 500 + '@x.test>', '250 2.1.0 Ok'),
    ('MAIL FROM:<a@b.example> FOO', '555 5.5.4 Unsupported option: FOO'), ('MAIL FROM:<a@b.example> FOO=1',
                                                                          '555 5.5.4 Unsupported option: FOO=1'),
    ('MAIL FROM:"x" <a@b.example>', None),
    ('MAIL FROM:<a@b.example> SIZE=1000', '250 2.1.0 Ok'), ('MAIL FROM:<a@b.example> size=0', '250 2.1.0 Ok'),
    ('MAIL FROM:<a@b.example> SIZE=x', '501 5.5.4 Bad message size syntax'), ('MAIL FROM:<a@b.example> SIZE=-1',
                                                                            '501 5.5.4 Bad message size syntax'),
    ('MAIL FROM:<a@b.example> SIZE=', None), ('MAIL FROM:<a@b.example> SIZE', None),
    ('MAIL FROM:<a@b.example> SIZE=10240001', '552 5.3.4 Message size exceeds fixed limit'),
    ('MAIL FROM:<a@b.example> SIZE=99999999999999999999', '552 5.3.4 Message size exceeds file system imposed limit'),
    ('MAIL FROM:<a@b.example> BODY=7BIT', '250 2.1.0 Ok'), ('MAIL FROM:<a@b.example> body=8bitmime', '250 2.1.0 Ok'),
    ('MAIL FROM:<a@b.example> BODY=BINARYMIME', '555 5.5.4 Unsupported option: BODY=BINARYMIME'),
    ('MAIL FROM:<a@b.example> AUTH=<>', '250 2.1.0 Ok'), ('MAIL FROM:<a@b.example> AUTH=<> AUTH=<>', None),
    ('MAIL FROM:<a@b.example> RET=FULL ENVID=abc+2Bd', '250 2.1.0 Ok'), ('MAIL FROM:<a@b.example> RET=HDRS', '250 2.1.0 Ok'),
    ('MAIL FROM:<a@b.example> RET=X', '501 5.5.4 Bad RET parameter syntax'),
    ('MAIL FROM:<a@b.example> RET=FULL RET=FULL', '501 5.5.4 Bad RET parameter syntax'),
    ('MAIL FROM:<a@b.example> ENVID=+zz', '501 5.5.4 Bad ENVID parameter syntax'),
    ('MAIL FROM:<a@b.example> ENVID=a+01', '501 5.5.4 Bad ENVID parameter syntax'),
    ('MAIL FROM:<a@b.example> XVERP', None),
    ('RCPT TO:<alice@virt.test>', '503 5.5.1 Error: need MAIL command'),
    ('DATA', '503 5.5.1 Error: need RCPT command'),
    ('XCLIENT', '501 5.5.4 Syntax: XCLIENT attribute=value...'), ('XCLIENT FOO=x', '501 5.5.4 Bad XCLIENT attribute name: FOO'),
    ('XCLIENT NAME', '501 5.5.4 Error: attribute=value expected'), ('XCLIENT ADDR=x', '501 5.5.4 Bad ADDR syntax: x'),
    ('XCLIENT PORT=x', '501 5.5.4 Bad PORT syntax: x'), ('XCLIENT NAME=-x', '501 5.5.4 Bad NAME syntax: -x'),
    ('XCLIENT PROTO=FOO', '501 5.5.4 Bad PROTO syntax: FOO'),
    ('XCLIENT NAME=' + 'x' * 256, '501 5.5.4 Error: attribute value too long'),
    ('XCLIENT NAME=x.test ADDR=192.0.2.1', '220 mx.gate.test ESMTP Conform'),
    (b'NOOP \xff\xfe\r\n', '500 5.5.2 Error: bad UTF-8 syntax'),
    ('NOOP ü', '250 2.0.0 Ok'),
]


@pytest.mark.parametrize('line, wanted', COMMANDS, ids=[str(line)[:40] for line, _ in COMMANDS])
def test_command(mta, line, wanted):
    with mta.session('smtp') as client:
        if wanted is None:
            wanted = {'VRFY a b': '501 5.1.3 Bad recipient address syntax', 'ETRN virt.test': '~(250 Queuing started|459 .*)',
                      'MAIL FROM:<a@b': '~50[01] 5\\..*', 'MAIL FROM:"x" <a@b.example>': '~555 5.5.4 Unsupported option: <a@b.example>',
                      'MAIL FROM:<a@b.example> SIZE=': '~50[15] .*|555 .*', 'MAIL FROM:<a@b.example> SIZE': '~50[15] .*|555 .*',
                      'MAIL FROM:<a@b.example> AUTH=<> AUTH=<>': '~503 5.5.4 Error: multiple AUTH= options|250 2.1.0 Ok',
                      'MAIL FROM:<a@b.example> XVERP': '~555 5.5.4 Unsupported option: XVERP'}[line]
        reply = client.cmd(line, wanted)
        print(reply)
        if not reply.startswith('221'):
            client.cmd('NOOP', '250 2.0.0 Ok')


# The same in a transaction.
RCPTS = [
    ('RCPT TO:<alice@virt.test>', '250 2.1.5 Ok'), ('rcpt to: <alice@virt.test>', '250 2.1.5 Ok'), ('RCPT TO:alice@virt.test', '250 2.1.5 Ok'),
    ('RCPT TO:<ALICE@VIRT.test>', '250 2.1.5 Ok'), ('RCPT TO:<@x.test:alice@virt.test>', '250 2.1.5 Ok'),
    ('RCPT', '501 5.5.4 Syntax: RCPT TO:<address>'), ('RCPT TO', '501 5.5.4 Syntax: RCPT TO:<address>'),
    ('RCPT TO:', '501 5.5.4 Syntax: RCPT TO:<address>'), ('RCPT FROM:<a@b>', '501 5.5.4 Syntax: RCPT TO:<address>'),
    ('RCPT TO:<>', '501 5.1.3 Bad recipient address syntax'), ('RCPT TO:<a b@virt.test>', '501 5.1.3 Bad recipient address syntax'),
    ('RCPT TO:<alice@virt..test>', '501 5.1.3 Bad recipient address syntax'),
    ('RCPT TO:<nobody@virt.test>', '550 5.1.1 <nobody@virt.test>: Recipient address rejected: User unknown in virtual mailbox table'),
    ('RCPT TO:<x@elsewhere.test>', None),
    ('RCPT TO:<alice@virt.test> NOTIFY=NEVER', '250 2.1.5 Ok'), ('RCPT TO:<alice@virt.test> NOTIFY=SUCCESS,FAILURE,DELAY', '250 2.1.5 Ok'),
    ('RCPT TO:<alice@virt.test> NOTIFY=NEVER,SUCCESS', '501 5.5.4 Error: Bad NOTIFY parameter syntax'),
    ('RCPT TO:<alice@virt.test> NOTIFY=', '501 5.5.4 Error: Bad NOTIFY parameter syntax'),
    ('RCPT TO:<alice@virt.test> NOTIFY=X', '501 5.5.4 Error: Bad NOTIFY parameter syntax'),
    ('RCPT TO:<alice@virt.test> ORCPT=rfc822;a+2Bb@c', '250 2.1.5 Ok'),
    ('RCPT TO:<alice@virt.test> ORCPT=x', '501 5.5.4 Error: Bad ORCPT parameter syntax'),
    ('RCPT TO:<alice@virt.test> ORCPT=rfc822;+q', '501 5.5.4 Error: Bad ORCPT parameter syntax'),
    ('RCPT TO:<alice@virt.test> FOO=1', '555 5.5.4 Unsupported option: FOO=1'),
    ('MAIL FROM:<a@b.example>', '503 5.5.1 Error: nested MAIL command'), ('DATA', '554 5.5.1 Error: no valid recipients'),
    ('ETRN virt.test', '503 Error: MAIL transaction in progress'),
    ('XCLIENT NAME=x', '503 5.5.1 Error: MAIL transaction in progress'), ('AUTH PLAIN', '503 5.5.1 Error: authentication not enabled'),
    ('VRFY alice@virt.test', '252 2.0.0 alice@virt.test'),
]


@pytest.mark.parametrize('line, wanted', RCPTS, ids=[line[:44] for line, _ in RCPTS])
def test_in_transaction(mta, line, wanted):
    with mta.session('smtp') as client:
        client.cmd('MAIL FROM:<a@b.example>', '250 2.1.0 Ok')
        client.cmd(line, '250 2.1.5 Ok' if line == 'RCPT TO:<x@elsewhere.test>' else wanted)
        client.cmd('RSET', '250 2.0.0 Ok')


def test_relay_denied(mta):
    mark = mta.log.mark()
    with mta.session('smtp', xclient=STRANGER) as client:
        client.cmd('EHLO client.example', 250)
        client.cmd('MAIL FROM:<a@b.example>', 250)
        for address in ('x@elsewhere.test', 'x%elsewhere.test@virt.test', 'elsewhere.test!x@virt.test', '@virt.test:x@elsewhere.test'):
            shown = address.rpartition(':')[2]
            client.cmd(f'RCPT TO:<{address}>', f'554 5.7.1 <{shown}>: Relay access denied')
            mta.log.wait_text(f'NOQUEUE: reject: RCPT from spike.up.test[192.0.2.66]: 554 5.7.1 <{shown}>: Relay access denied; '
                              f'from=<a@b.example> to=<{shown}> proto=ESMTP helo=<client.example>', mark, 'smtpd')
        client.cmd('RCPT TO:<alice@virt.test>', '250 2.1.5 Ok')


def test_postmaster(mta):
    """Is always reached."""
    with mta.sink('filter'), mta.session('closed', xclient=STRANGER) as client:
        client.cmd('MAIL FROM:<a@b.example>', 250)
        client.cmd('RCPT TO:<alice@virt.test>', 554)
        client.cmd('RCPT TO:<postmaster>', '250 2.1.5 Ok')
        client.cmd('RCPT TO:<PostMaster>', '250 2.1.5 Ok')


def test_states(mta):
    with mta.session('helo', helo=None) as client:
        client.cmd('MAIL FROM:<a@b.example>', '503 5.5.1 Error: send HELO/EHLO first')
        client.cmd('ETRN virt.test', '503 Error: send HELO/EHLO first')
        client.cmd('EHLO x', 250)
        client.cmd('MAIL FROM:<a@b.example>', '250 2.1.0 Ok')
    with mta.session('smtp', helo=None) as client:  # not required by default
        client.message(wanted=QUEUED)
    with mta.session('smtp') as client:
        client.envelope()
        client.cmd('DATA x', '501 5.5.4 Syntax: DATA')
        client.cmd('EHLO again', 250)  # resets the transaction
        client.cmd('RCPT TO:<alice@virt.test>', '503 5.5.1 Error: need MAIL command')
        client.envelope()
        client.cmd('RSET', 250)
        client.cmd('DATA', '503 5.5.1 Error: need RCPT command')


def test_vrfy_disabled(mta):
    with mta.session('novrfy') as client:
        client.cmd('VRFY alice@virt.test', '502 5.5.1 VRFY command is disabled')


def test_strict_envelopes(mta):
    with mta.session('strict') as client:
        client.cmd('MAIL FROM:a@b.example', 501)
        client.cmd('MAIL FROM:<a@b.example>', 250)
        client.cmd('RCPT TO:alice@virt.test', 501)
        client.cmd('RCPT TO:<alice@virt.test>', 250)


def test_discarded_features(mta):
    with mta.session('discard') as client:
        client.cmd('MAIL FROM:<a@b.example> RET=FULL', '501 5.7.1 DSN support is disabled')
        client.cmd('MAIL FROM:<a@b.example>', 250)
        client.cmd('RCPT TO:<alice@virt.test> NOTIFY=NEVER', '501 5.7.1 DSN support is disabled')
        client.cmd('RSET', 250)
        client.cmd('MAIL FROM:<a@b.example> SMTPUTF8', '555 5.5.4 Unsupported option: SMTPUTF8')
        client.cmd('RSET', 250)
        client.envelope()
        client.send('BDAT 3 LAST')
        client.expect('521 5.5.1 Error: command not implemented')
        client.expect_close()


def test_utf8(mta):
    with mta.session('noutf8') as client:
        client.cmd(b'NOOP \xff\r\n', '250 2.0.0 Ok')
        client.cmd('VRFY', '501 5.5.4 Syntax: VRFY address')
        client.cmd('MAIL FROM:<a@b.example> SMTPUTF8', '555 5.5.4 Unsupported option: SMTPUTF8')
    with mta.session('strictutf8') as client:
        client.cmd('MAIL FROM:<ü@x.test>', '553 5.6.7 Must declare SMTPUTF8 to send unicode address')


@pytest.mark.gatepost_only
def test_help(mta):
    with mta.session('smtp') as client:
        client.cmd('HELP', '214 2.0.0 Commands: AUTH BDAT DATA EHLO ETRN HELO HELP MAIL NOOP QUIT RCPT RSET STARTTLS VRFY XCLIENT '
                           'XFORWARD')
        client.cmd('HELP me', 214)


def test_noop_commands(mta):
    with mta.session('noop') as client:
        client.cmd('TURN', '250 2.0.0 Ok')
        client.cmd('send mail', '250 2.0.0 Ok')


@pytest.mark.parametrize('line, ends', [('GET / HTTP/1.0', True), ('POST /x', True), ('CONNECT x:25', True), ('Subject: hello', True),
                                        ('X-Some-Header: x', True), ('1foo', True), ('foo', False), ('.', True)])
def test_non_smtp(mta, line, ends):
    mark = mta.log.mark()
    with mta.session('smtp') as client:
        client.cmd(line, '221 2.7.0 Error: I can break rules, too. Goodbye.' if ends else '500 5.5.2 Error: command not recognized')
        if ends:
            client.expect_close()
            mta.log.wait_text(f'warning: non-SMTP command from localhost[127.0.0.1]: {line}', mark, 'smtpd')


def test_forbidden_commands(mta):
    with mta.session('forbidden') as client:
        client.cmd('GET /', '500 5.5.2 Error: command not recognized')
        client.cmd('foo', 221)


def test_command_filter(mta):
    mark = mta.log.mark()
    with mta.session('filtered') as client:
        client.cmd('VERB', '250 2.0.0 Ok')
    mta.log.wait_text('localhost[127.0.0.1]: replacing command "VERB" with "NOOP"', mark, 'smtpd')


def test_illegal_address_logged(mta):
    mark = mta.log.mark()
    with mta.session('smtp') as client:
        client.cmd('MAIL FROM:<a b@x.test>', 501)
        client.cmd('MAIL FROM:<a@b.example>', 250)
        client.cmd('RCPT TO:<c@>', 501)
    mta.log.wait(r'warning: Illegal address syntax from localhost\[127\.0\.0\.1\] in MAIL command: <?a b@x\.test>?', mark, 'smtpd')
    mta.log.wait(r'warning: Illegal address syntax from localhost\[127\.0\.0\.1\] in RCPT command: <?c@>?', mark, 'smtpd')


# --- limits ---------------------------------------------------------------------------------------------------------------

def test_hard_error_limit(mta):
    mark = mta.log.mark()
    with mta.session('errors') as client:
        for _ in range(5):
            client.cmd('FOO', 500)
        client.expect('421 4.7.0 mx.gate.test Error: too many errors')
        client.expect_close()
    mta.log.wait_text('too many errors after UNKNOWN from localhost[127.0.0.1]', mark, 'smtpd')
    mta.log.wait_text('disconnect from localhost[127.0.0.1] ehlo=1 unknown=0/5 commands=1/6', mark, 'smtpd')


def test_errors_are_forgiven(mta):
    """A message that was received clears the count."""
    with mta.session('errors') as client:
        for _ in range(3):
            for _ in range(4):
                client.cmd('FOO', 500)
            client.message(wanted=250)


def test_rejected_recipients_count(mta):
    with mta.session('errors') as client:
        client.cmd('MAIL FROM:<a@b.example>', 250)
        for i in range(5):
            client.cmd(f'RCPT TO:<nobody{i}@virt.test>', 550)
        client.expect('421 4.7.0 mx.gate.test Error: too many errors')


def test_soft_error_limit(mta):
    """From then on every reply is late, also a good one."""
    with mta.session('soft') as client:
        client.cmd('FOO', 500)
        client.cmd('FOO', 500)
        client.send('FOO')
        client.expect_silence(0.7)
        client.expect(500)
        client.send('NOOP')
        client.expect_silence(0.7)
        client.expect(250)


def test_junk(mta):
    """The seventh NOOP and each after it count as errors where the limit is five."""
    with mta.session('junk', helo=None) as client:
        for _ in range(6):
            client.cmd('NOOP', 250)
        for _ in range(3):
            client.cmd('RSET', 250)
        client.expect('421 4.7.0 mx.gate.test Error: too many errors')
        client.expect_close()


def test_recipient_limit(mta):
    mark = mta.log.mark()
    with mta.session('rcpts') as client:
        client.cmd('MAIL FROM:<a@b.example>', 250)
        for name in ('alice', 'bob', 'carol'):
            client.cmd(f'RCPT TO:<{name}@virt.test>', '250 2.1.5 Ok')
        for _ in range(4):
            client.cmd('RCPT TO:<alice@virt.test>', '452 4.5.3 Error: too many recipients')
        client.content(wanted=QUEUED)
        client.quit()
    mta.log.wait(r'disconnect from .* mail=1 rcpt=5/7 data=1 quit=1 commands=9/11', mark, 'smtpd')  # two were forgiven


def test_size_limit(mta):
    mark = mta.log.mark()
    with mta.session('sizes') as client:
        client.cmd('MAIL FROM:<a@b.example> SIZE=20001', '552 5.3.4 Message size exceeds fixed limit')
        mta.log.wait(r'NOQUEUE: reject: MAIL from localhost\[127\.0\.0\.1\]: 552 5\.3\.4 Message size exceeds fixed limit; (from=<a@b\.example> )?'
                     r'proto=ESMTP helo=<client\.example>', mark, 'smtpd')
        client.cmd('MAIL FROM:<a@b.example> SIZE=20000', 250)
        client.cmd('RCPT TO:<alice@virt.test>', 250)
        client.content('x' * 98 + '\n' + ('y' * 98 + '\n') * 200, '552 5.3.4 Error: message file too big')
        mta.log.wait(rf'warning: {QID}: queue file size limit exceeded', mark)
        client.message('z' * 98 + '\n', wanted=QUEUED)
        client.quit()


def test_size_at_the_limit(mta):
    """Lines count with two octets for their ends; our Received: header does not count."""
    with mta.session('sizes') as client:
        client.message(('y' * 98 + '\n') * 190, wanted=QUEUED)


def test_free_space(mta):
    mark = mta.log.mark()
    with mta.session('space') as client:
        client.cmd('MAIL FROM:<a@b.example>', '452 4.3.1 Insufficient system storage')
    mta.log.wait(r'NOQUEUE: reject: MAIL from localhost\[127\.0\.0\.1\]: 452 4\.3\.1 Insufficient system storage; (from=<a@b\.example> )?'
                 r'proto=ESMTP helo=<client\.example>', mark, 'smtpd')


@pytest.mark.parametrize('length', [2040, 2048])
def test_command_that_just_fits(mta, length):
    with mta.session('smtp') as client:
        client.cmd('NOOP ' + 'x' * (length - 5 - 2), '250 2.0.0 Ok')


def test_command_too_long(mta):
    mark = mta.log.mark()
    with mta.session('smtp') as client:
        client.cmd('NOOP ' + 'x' * 3000, '500 5.5.2 mx.gate.test Error: command too long' if mta.newer else '250 2.0.0 Ok')
        client.cmd('NOOP', '250 2.0.0 Ok')
    mta.log.wait(r'warning: localhost\[127\.0\.0\.1\]: request longer than 2048: NOOP x{25}\.\.\.', mark, 'smtpd')


@pytest.mark.gatepost_only
def test_endless_command(mta):
    mark = mta.log.mark()
    with mta.session('smtp') as client:
        client.send(b'NOOP ' + b'x' * 100000)
        assert b'250 2.0.0 Ok' not in client.rest()
    mta.log.wait(r'disconnect from localhost\[127\.0\.0\.1\] .*', mark, 'smtpd')


def test_nul_in_a_command(mta):
    with mta.session('smtp') as client:
        reply = client.cmd(b'NOOP \0 x\r\n')
        assert reply.code in (250, 500)
        reply = client.cmd(b'MAIL FROM:<a@b.example>\0<evil@x.test>\r\n')
        assert reply.code in (250, 500, 501)
        client.cmd('RSET', 250)


def test_timeout(mta):
    mark = mta.log.mark()
    with mta.session('short') as client:
        start = time.monotonic()
        client.expect('421 4.4.2 mx.gate.test Error: timeout exceeded')
        assert 0.8 < time.monotonic() - start < 5
        client.expect_close()
    mta.log.wait_text('timeout after EHLO from localhost[127.0.0.1]', mark, 'smtpd')
    mta.log.wait_text('disconnect from localhost[127.0.0.1] ehlo=1 commands=1', mark, 'smtpd')


def test_timeout_in_data(mta):
    mark = mta.log.mark()
    with mta.session('short') as client:
        client.envelope()
        client.cmd('DATA', 354)
        client.send(b'Subject: x\r\n\r\n')
        client.expect('421 4.4.2 mx.gate.test Error: timeout exceeded')
        client.expect_close()
    mta.log.wait(rf'({QID}: )?timeout after DATA \(\d+ bytes\) from localhost\[127\.0\.0\.1\]', mark, 'smtpd')


def test_timeout_is_per_read(mta):
    with mta.session('short') as client:
        for _ in range(4):
            time.sleep(0.5)
            client.cmd('NOOP', 250)


# --- ends of sessions -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('steps, where, totals', [
    ((), 'CONNECT', 'commands=0/0'),
    (('EHLO x',), 'EHLO', 'ehlo=1 commands=1'),
    (('HELO x', 'FOO', 'NOOP'), 'NOOP', 'helo=1 noop=1 unknown=0/1 commands=2/3'),
    (('EHLO x', 'MAIL FROM:<a@b.example>'), 'MAIL', 'ehlo=1 mail=1 commands=2'),
    (('EHLO x', 'MAIL FROM:<a@b.example>', 'RCPT TO:<alice@virt.test>', 'RCPT TO:<nobody@virt.test>'), 'RCPT',
     'ehlo=1 mail=1 rcpt=1/2 commands=3/4'),
    (('EHLO x', 'FOO'), 'UNKNOWN', 'ehlo=1 unknown=0/1 commands=1/2'),
    (('EHLO x', 'RSET', 'VRFY alice@virt.test', 'ETRN', 'STARTTLS'), 'STARTTLS',
     'ehlo=1 starttls=0/1 rset=1 vrfy=1 etrn=0/1 commands=3/5'),
])
def test_lost_connection(mta, steps, where, totals):
    mark = mta.log.mark()
    with mta.session('smtp', helo=None) as client:
        for step in steps:
            client.cmd(step)
    mta.log.wait(rf'({QID}: )?lost connection after {where} from localhost\[127\.0\.0\.1\]', mark, 'smtpd')
    mta.log.wait_text(f'disconnect from localhost[127.0.0.1] {totals}', mark, 'smtpd')


def test_lost_after_message(mta):
    """Not worth a line."""
    mark = mta.log.mark()
    with mta.session('smtp') as client:
        client.message(wanted=QUEUED)
    mta.log.wait_text('disconnect from localhost[127.0.0.1] ehlo=1 mail=1 rcpt=1 data=1 commands=4', mark, 'smtpd')
    assert not [text for text in mta.log.texts(mark, 'smtpd') if 'lost connection' in text]


def test_lost_in_data(mta):
    mark = mta.log.mark()
    with mta.session('smtp') as client:
        client.envelope()
        client.cmd('DATA', 354)
        client.send(b'Subject: x\r\n\r\nhalf')
    mta.log.wait(rf'({QID}: )?lost connection after DATA \(1\d bytes\) from localhost\[127\.0\.0\.1\]', mark, 'smtpd')
    mta.log.wait_text('disconnect from localhost[127.0.0.1] ehlo=1 mail=1 rcpt=1 data=0/1 commands=3/4', mark, 'smtpd')
    qid = [text for text in mta.log.texts(mark, 'smtpd') if ': client=' in text][-1].partition(':')[0]
    assert not [text for text in mta.log.texts(mark, 'qmgr') if text.startswith(qid)]


def test_xclient_in_the_disconnect_line(mta):
    mark = mta.log.mark()
    with mta.session('smtp', xclient=STRANGER) as client:
        client.quit()
    mta.log.wait_text('disconnect from spike.up.test[192.0.2.66] ehlo=1 xclient=0/1 quit=1 commands=2/3', mark, 'smtpd')


def test_half_close(mta):
    """Commands that were sent before the client shut its side are answered."""
    with mta.session('smtp') as client:
        client.send(b'MAIL FROM:<a@b.example>\r\nRCPT TO:<alice@virt.test>\r\nRSET\r\nQUIT\r\n')
        client.half_close()
        for wanted in ('250 2.1.0 Ok', '250 2.1.5 Ok', '250 2.0.0 Ok', '221 2.0.0 Bye'):
            client.expect(wanted)
        client.expect_close()


def test_port_logging(mta):
    mark = mta.log.mark()
    with mta.session('ports') as client:
        client.quit()
    mta.log.wait_text(f'connect from localhost[127.0.0.1]:{client.port}', mark, 'smtpd')
    mta.log.wait_text(f'disconnect from localhost[127.0.0.1]:{client.port} ehlo=1 quit=1 commands=2', mark, 'smtpd')


def test_no_name_lookup(mta):
    mark = mta.log.mark()
    with mta.session('nolookup') as client:
        client.quit()
    mta.log.wait_text('connect from unknown[127.0.0.1]', mark, 'smtpd')


def test_rejected_at_connect(mta):
    mark = mta.log.mark()
    with mta.connect('connectreject') as client:
        client.expect('554 5.7.1 <localhost[127.0.0.1]>: Client host rejected: Access denied')
        for line in ('EHLO x', 'MAIL FROM:<a@b.example>', 'NOOP', 'FOO'):
            client.cmd(line, '503 5.7.0 Error: access denied for localhost[127.0.0.1]')
        client.cmd('QUIT', '221 2.0.0 Bye')
    mta.log.wait_text('NOQUEUE: reject: CONNECT from localhost[127.0.0.1]: 554 5.7.1 <localhost[127.0.0.1]>: Client host rejected: '
                      'Access denied; proto=SMTP', mark, 'smtpd')


# --- pipelining -----------------------------------------------------------------------------------------------------------

def test_pipelining(mta):
    with mta.session('smtp') as client:
        for _ in range(3):
            client.send(b'RSET\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<alice@virt.test>\r\nRCPT TO:<nobody@virt.test>\r\nDATA\r\n')
            for wanted in ('250 2.0.0 Ok', '250 2.1.0 Ok', '250 2.1.5 Ok', 550, 354):
                client.expect(wanted)
            client.send(b'Subject: x\r\n\r\nbody\r\n.\r\n')
            client.expect(QUEUED)
        client.send(b'MAIL FROM:<a@b.example>\r\nRCPT TO:<alice@virt.test>\r\nDATA\r\n')
        for wanted in (250, 250, 354):
            client.expect(wanted)
        client.send(b'x\r\n.\r\nQUIT\r\n')
        client.expect(QUEUED)
        client.expect('221 2.0.0 Bye')


def test_talks_before_the_greeting(mta):
    mark = mta.log.mark()
    with mta.connect('smtp') as client:
        client.send(b'EHLO x\r\nMAIL FROM:<a@b.example>\r\n')
        reply = client.reply()
    # who is fast enough to be greeted first breaks the rule with EHLO
    if reply.startswith('554'):
        assert reply == '554 5.5.0 Error: SMTP protocol synchronization'
        mta.log.wait(r'improper command pipelining after CONNECT from localhost\[127\.0\.0\.1\]: EHLO x\\r\\nMAIL FROM:<a@b\.example>\\r\\n',
                     mark, 'smtpd')


@pytest.mark.parametrize('verb', ['EHLO x', 'HELO x', 'NOOP', 'VRFY alice@virt.test', 'DATA'])
def test_improper_pipelining(mta, verb):
    mark = mta.log.mark()
    with mta.session('smtp') as client:
        if verb == 'DATA':
            client.envelope()
        client.send(verb.encode() + b'\r\nRSET\r\n')
        client.expect('554 5.5.0 Error: SMTP protocol synchronization')
        client.expect_close()
    mta.log.wait_text(f'improper command pipelining after {verb.split()[0]} from localhost[127.0.0.1]: RSET\\r\\n', mark, 'smtpd')


def test_improper_pipelining_tolerated(mta):
    mark = mta.log.mark()
    with mta.session('tolerant') as client:
        client.send(b'NOOP\r\nNOOP\r\nRSET\r\n')
        for _ in range(3):
            client.expect('250 2.0.0 Ok')
        client.quit()
    mta.log.wait('disconnect from .*', mark, 'smtpd')
    assert len([text for text in mta.log.texts(mark, 'smtpd') if text.startswith('improper command pipelining after NOOP')]) == 1


def test_pipelining_without_ehlo(mta):
    with mta.session('smtp', helo='x') as client:
        pass
    with mta.session('smtp', helo=None) as client:
        client.cmd('HELO x', 250)
        client.send(b'MAIL FROM:<a@b.example>\r\nRCPT TO:<alice@virt.test>\r\n')
        client.expect('554 5.5.0 Error: SMTP protocol synchronization')


# --- BDAT on the queueing side --------------------------------------------------------------------------------------------

def test_bdat(mta):
    with mta.session('smtp') as client:
        client.envelope()
        client.send(b'BDAT 14\r\nSubject: x\r\n\r\n')
        client.expect('250 2.0.0 Ok: 14 bytes')
        client.send(b'BDAT 6 LAST\r\nbody\r\n')
        client.expect(f'~250 2.0.0 Ok: 20 bytes queued as {QID}')
        client.envelope()
        client.send(b'BDAT 4 LAST\r\nbody')
        client.expect(f'~250 2.0.0 Ok: \\d+ bytes queued as {QID}')


def test_bdat_errors(mta):
    with mta.session('smtp') as client:
        client.send(b'BDAT 6\r\n1234\r\n')
        client.expect('503 5.5.1 Error: need RCPT command')
        client.send(b'BDAT 6\r\n1234\r\n')
        client.expect('551 5.0.0 Discarded 6 bytes after earlier error')
        client.send(b'BDAT 6 LAST\r\n1234\r\n')
        client.expect('551 5.0.0 Discarded 6 bytes after earlier error')
        client.cmd('MAIL FROM:<a@b.example>', 250)
        client.send(b'BDAT 2\r\nxx')
        client.expect('554 5.5.1 Error: no valid recipients')
        client.cmd('RSET', 250)
        client.envelope()
        client.cmd('BDAT 0', '551 5.7.1 Null BDAT request')
        client.cmd('RSET', 250)
        client.envelope()
        client.send(b'BDAT 3\r\nx\r\n')
        client.expect(250)
        client.cmd('MAIL FROM:<a@b.example>', '~503 5.5.1 Error: (MAIL after BDAT|nested MAIL command)')
        client.cmd('RCPT TO:<alice@virt.test>', '503 5.5.1 Error: RCPT after BDAT')
        client.cmd('DATA', '503 5.5.1 Error: DATA after BDAT')


@pytest.mark.parametrize('line', ['BDAT', 'BDAT x', 'BDAT -1', 'BDAT 1 2', 'BDAT 1 LAST x', 'BDAT 99999999999999999999'])
def test_bdat_malformed(mta, line):
    mark = mta.log.mark()
    with mta.session('smtp') as client:
        client.envelope()
        client.cmd(line, '521 5.5.4 Syntax: BDAT count [LAST]')
        client.expect_close()
    mta.log.wait(rf'warning: {QID}: malformed BDAT command syntax from localhost\[127\.0\.0\.1\]: {line}', mark, 'smtpd')


def test_bdat_too_big(mta):
    with mta.session('sizes') as client:
        client.envelope()
        client.send(b'BDAT 30000\r\n' + b'x' * 30000)
        client.expect('552 5.3.4 Chunk exceeds message size limit')
        client.cmd('RSET', 250)
        client.message(wanted=QUEUED)


def test_bdat_client_leaves(mta):
    mark = mta.log.mark()
    with mta.session('smtp') as client:
        client.envelope()
        client.send(b'BDAT 100\r\nx\r\n')
    mta.log.wait(rf'({QID}: )?lost connection after BDAT( \(\d+ bytes\))? from localhost\[127\.0\.0\.1\]', mark, 'smtpd')


# --- XCLIENT --------------------------------------------------------------------------------------------------------------

def test_xclient(mta):
    mark = mta.log.mark()
    with mta.session('smtp') as client:
        client.cmd('XCLIENT ' + STRANGER + ' HELO=there PROTO=ESMTP', '220 mx.gate.test ESMTP Conform')
        client.cmd('MAIL FROM:<a@b.example>', 250)
        client.cmd('RCPT TO:<x@elsewhere.test>', '554 5.7.1 <x@elsewhere.test>: Relay access denied')
        client.cmd('RSET', 250)
        client.cmd('XCLIENT NAME=x', '550 5.7.0 Error: insufficient authorization')  # the new address may not
    mta.log.wait_text('NOQUEUE: reject: RCPT from spike.up.test[192.0.2.66]: 554 5.7.1 <x@elsewhere.test>: Relay access denied; '
                      'from=<a@b.example> to=<x@elsewhere.test> proto=ESMTP helo=<there>', mark, 'smtpd')


def test_xclient_clears_helo(mta):
    mark = mta.log.mark()
    with mta.session('smtp') as client:
        client.cmd('XCLIENT NAME=[TEMPUNAVAIL] ADDR=192.0.2.7', 220)
        client.cmd('MAIL FROM:<a@b.example>', 250)
        client.cmd('RCPT TO:<x@elsewhere.test>', 554)
    mta.log.wait_text('NOQUEUE: reject: RCPT from unknown[192.0.2.7]: 554 5.7.1 <x@elsewhere.test>: Relay access denied; '
                      'from=<a@b.example> to=<x@elsewhere.test> proto=SMTP', mark, 'smtpd')


def test_xclient_not_for_strangers(mta):
    with mta.connect('smtp', source='127.0.0.2') as client:
        client.expect(220)
        assert 'XCLIENT' not in client.cmd('EHLO x', 250)
        client.cmd('XCLIENT ' + STRANGER, '550 5.7.0 Error: insufficient authorization')


def test_soft_bounce(mta):
    with mta.session('softbounce') as client:
        client.cmd('MAIL FROM:<a@b.example>', 250)
        client.cmd('RCPT TO:<nobody@virt.test>', '450 4.1.1 <nobody@virt.test>: Recipient address rejected: User unknown in virtual '
                                                 'mailbox table')


# --- floods ---------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize('octets', [b'\0' * 100000, b'\xff' * 100000, b'\r' * 100000, b'\n' * 100000, b'\r\n' * 5000, b'A' * 100000,
                                    b'<' * 3000 + b'\r\n', b'"' * 3000 + b'\r\n', b'MAIL FROM:<' + b'(' * 1500 + b'>\r\n',
                                    b'MAIL FROM:<' + b'@a,' * 500 + b':x@y>\r\n', b'RCPT TO:' + b'<' * 1000 + b'>' * 1000 + b'\r\n'],
                         ids=range(11))
def test_flood(mta, octets):
    """Nothing that a client sends does more than end its own session."""
    with mta.session('smtp') as client:
        try:
            client.send(octets + b'\r\nQUIT\r\n')
            client.rest()
        except (BrokenPipeError, ConnectionResetError):
            pass
    with mta.session('smtp') as client:
        client.message(wanted=QUEUED)


def test_mail_without_reading_replies(mta):
    """A client that sends and never reads does not hold the server for others."""
    with mta.session('smtp') as deaf:
        deaf.sock.settimeout(0.5)
        try:
            for _ in range(200):
                deaf.send(b'RSET\r\n' * 20000)
        except (TimeoutError, BrokenPipeError, ConnectionResetError):
            pass
        with mta.session('smtp') as client:
            client.message(wanted=QUEUED)


def test_many_recipients(mta):
    with mta.session('smtp') as client:
        client.send(b'MAIL FROM:<a@b.example>\r\n' + b'RCPT TO:<alice@virt.test>\r\n' * 999 + b'DATA\r\n')
        for wanted in ['250 2.1.0 Ok'] + ['250 2.1.5 Ok'] * 999 + [354]:
            client.expect(wanted)
        client.send(b'x\r\n.\r\n')
        client.expect(QUEUED)


def test_log_injection(mta):
    """Text from outside makes no second line in the log."""
    mark = mta.log.mark()
    with mta.session('smtp', helo=None, xclient=STRANGER) as client:
        client.cmd(b'EHLO a\x1b[31m\x07b\r\n', 250)
        client.cmd('MAIL FROM:<a@b.example>', 250)
        client.cmd(b'RCPT TO:<"x\x01\x7f%s%n"@elsewhere.test>\r\n', None)
    mta.log.wait('disconnect from spike.*', mark, 'smtpd')
    data = mta.log_text()
    assert not re.search(r'[\x00-\x09\x0b-\x1f\x7f]', data)
