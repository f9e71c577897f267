"""Whole sessions of the SMTP server: what was said, every reply, and every line in the log, as Postfix has them."""
import re

import pytest

EHLO, MAIL, RCPT = 'EHLO client.example', 'MAIL FROM:<a@b.example>', 'RCPT TO:<alice@virt.test>'
C = r'localhost\[127\.0\.0\.1\]'
SYSTEM = '-o virtual_transport=discard -o smtpd_error_sleep_time=0 '
DENIED = '503 5.7.0 Error: access denied for localhost[127.0.0.1]'
GOODBYE = '221 2.7.0 Error: I can break rules, too. Goodbye.'
TROUBLE = '421 4.3.0 mx.gate.test Server local data error'
UNLISTED = 'Recipient address rejected: User unknown in virtual mailbox table'

SERVICES = {
    'smtp': '', 'small': '-o message_size_limit=533', 'strict': '-o strict_rfc821_envelopes=yes', 'noutf8': '-o smtputf8_enable=no',
    'denied': '-o smtpd_delay_reject=no -o smtpd_client_restrictions=reject', 'short': '-o line_length_limit=600',
    'xdenied': '-o smtpd_delay_reject=no -o { smtpd_client_restrictions = check_client_access inline:{a.test=reject} }',
    'xforward': '-o smtpd_authorized_xforward_hosts=127.0.0.0/8', 'helo': '-o smtpd_helo_required=yes',
    'nofeatures': '-o smtpd_discard_ehlo_keyword_address_maps=fail:x', 'nofilter': '-o smtpd_command_filter=fail:x',
    'data': '-o { smtpd_data_restrictions = check_sender_access static:{warn w}, reject }',
    'sender': '-o smtpd_delay_reject=no -o smtpd_sender_restrictions=reject', 'space': '-o queue_minfree=999999999999999',
    'overshoot': '-o smtpd_recipient_limit=1', 'once': '-o smtpd_hard_error_limit=1', 'soft': '-o soft_bounce=yes',
    'ports': '-o smtpd_client_port_logging=yes -o { smtpd_client_restrictions = check_client_access inline:{127.0.0.1=reject} }',
    'bare': '-o smtpd_forbid_bare_newline=reject -o smtpd_forbid_bare_newline_exclusions=127.0.0.9',
    'noop': '-o smtpd_noop_commands=turn -o smtpd_junk_command_limit=1 -o smtpd_hard_error_limit=1',
    'footer': r'-o { smtpd_reject_footer = \c, $client $helo_name $server_name ${sender?from $sender_domain}\n$$ $nosuch. }',
    'footers': '-o smtpd_reject_footer=general -o { smtpd_reject_footer_maps = regexp:{{/^500 .* not recognized$$/ no $$$$helo_name}} }',
}

# service, steps of line and reply (None: do not look), and the log from the first line behind "connect from" to the last before
# "disconnect from"; what Postfix of before 3.10 leaves out in front of some is optional.
SESSIONS = {
    'unclosed': ('smtp', [(EHLO, 250), ('MAIL FROM:<a@b.example', '501 5.1.7 Bad sender address syntax'),
                          ('MAIL FROM:<a@>', '501 5.1.7 Bad sender address syntax')],
                 [f'warning: Illegal address syntax from {C} in MAIL command: <a@>']),
    'vrfy_phrase': ('smtp', [(EHLO, 250), ('VRFY Alice <alice@virt.test>', '252 2.0.0 Alice <alice@virt.test>'),
                             ('VRFY SMTPUTF8', '501 5.5.4 Syntax: VRFY address [SMTPUTF8]')], []),
    'vrfy_keyword': ('smtp', [('VRFY  alice@virt.test  smtputf8 ', '252 2.0.0 alice@virt.test')], []),
    'vrfy_bad': ('smtp', [('VRFY a b', '501 5.1.3 Bad recipient address syntax'), ('VRFY <>', '501 5.1.3 Bad recipient address syntax')],
                 [f'warning: Illegal address syntax from {C} in VRFY command: a b',
                  f'warning: Illegal address syntax from {C} in VRFY command: <>']),
    'vrfy_strict': ('strict', [('VRFY alice@virt.test', '252 2.0.0 alice@virt.test')], []),
    'etrn_first': ('smtp', [('ETRN x.test', '459 <x.test>: service unavailable')], [rf'warning: reject: ETRN x\.test\.\.\. from {C}']),
    'etrn_helo': ('helo', [('ETRN x.test', '503 Error: send HELO/EHLO first')], []),
    'etrn_syntax': ('smtp', [(EHLO, 250)] + [(f'ETRN {bad}', '501 Error: invalid parameter syntax') for bad in
                                              ('-x', 'x.', '1.2.3.4', 'l' * 64, 'a..b', '<x>')], []),
    'etrn_literal': ('smtp', [('ETRN @[1.2.3.4]', '459 <[1.2.3.4]>: service unavailable')],
                     [rf'warning: reject: ETRN \[1\.2\.3\.4\]\.\.\. from {C}']),
    'bdat_null': ('smtp', [(EHLO, 250), ('BDAT 0', '551 5.7.1 Null BDAT request')],
                  [f'warning: NOQUEUE: null BDAT request from {C}']),
    'bdat_skipped': ('smtp', [(EHLO, 250), ('BDAT 100', 'CLOSE')], [f'lost connection after BDAT from {C}']),
    'bdat_partly': ('smtp', [(EHLO, 250), (MAIL, 250), (RCPT, 250), (b'BDAT 3\r\nabc', 250), (b'BDAT 9\r\nab\r\ncd', 'CLOSE')],
                    [f'QID: client={C}', rf'(QID: )?lost connection after BDAT \(9 bytes\) from {C}']),
    'bdat_between': ('smtp', [(EHLO, 250), (MAIL, 250), (RCPT, 250), (b'BDAT 3\r\nabc', 250), (b'', 'CLOSE')],
                     [f'QID: client={C}', rf'(QID: )?lost connection after BDAT \(3 bytes\) from {C}']),
    'bdat_last_skipped': ('once', [(EHLO, 250), (b'BDAT 3 LAST\r\nabc', '503 5.5.1 Error: need RCPT command'),
                                   (b'', '421 4.7.0 mx.gate.test Error: too many errors')], [f'too many errors after BDAT from {C}']),
    'bdat_warned': ('data', [(EHLO, 250), (MAIL, 250), (RCPT, 250),
                             (b'BDAT 3 LAST\r\nabc', '554 5.7.1 <DATA>: Data command rejected: Access denied')],
                    [f'QID: client={C}', f'QID: warn: BDAT from {C}: w; from=<a@b.example> to=<alice@virt.test> proto=ESMTP helo=<client.example>',
                     f'QID: reject: BDAT from {C}: 554 5.7.1 <DATA>: Data command rejected: Access denied; from=<a@b.example> '
                     'to=<alice@virt.test> proto=ESMTP helo=<client.example>']),
    'data_octets': ('smtp', [(EHLO, 250), (MAIL, 250), (RCPT, 250), ('DATA', 354), (b'abc\nde\r\nf', 'CLOSE')],
                    [f'QID: client={C}', rf'(QID: )?lost connection after DATA \(9 bytes\) from {C}']),
    'data_long_line': ('smtp', [(EHLO, 250), (MAIL, 250), (RCPT, 250), ('DATA', 354), (b'x' * 3000, 'CLOSE')],
                       [f'QID: client={C}', rf'(QID: )?lost connection after DATA \(2050 bytes\) from {C}']),
    'data_long_lines': ('smtp', [(EHLO, 250), (MAIL, 250), (RCPT, 250), ('DATA', 354), (b'x' * 3000 + b'\r\n', 'CLOSE')],
                        [f'QID: client={C}', rf'(QID: )?lost connection after DATA \(3004 bytes\) from {C}']),
    'data_bare': ('bare', [(EHLO, 250), (MAIL, 250), (RCPT, 250), ('DATA', 354), (b'abc\r\nde\nf\r\n', 'CLOSE')],
                  [f'QID: client={C}', rf'(QID: )?lost connection after DATA \(5 bytes\) from {C}']),
    'escaped': ('smtp', [('1\té\\ \x01', GOODBYE)], [rf'warning: non-SMTP command from {C}: 1\\t\\303\\251\\\\ \\001']),
    'cr_is_blank': ('bare', [(b'NOOP\r\r\n', '250 2.0.0 Ok'), (b'NOOP \rx\r\n', '250 2.0.0 Ok')], []),
    'empty_line': ('smtp', [(EHLO, 250), ('', '500 5.5.2 Error: bad syntax'), (b'', 'CLOSE')], [f'lost connection after EHLO from {C}']),
    'notify': ('smtp', [(EHLO, 250), (MAIL, 250), (RCPT + ' NOTIFY=NEVER,X', '501 5.5.4 Error: Bad NOTIFY parameter syntax')],
               [r'warning: unknown DSN NOTIFY command value "X" in "NEVER,X"']),
    'no_utf8': ('noutf8', [(EHLO, 250), (b'MAIL FROM:<a\xff@b.test>\r\n', '501 5.1.7 Bad sender address syntax'),
                           ('MAIL FROM:<ü@b.test>', '250 2.1.0 Ok')],
                [rf'warning: Illegal address syntax from {C} in MAIL command: <a\?@b\.test>']),
    'denied': ('denied', [('NOOP', DENIED), ('HELO x', DENIED), ('XYZ', DENIED), ('.', GOODBYE)],
               [rf'NOQUEUE: reject: CONNECT from {C}: 554 5\.7\.1 <{C}>: Client host rejected: Access denied; proto=SMTP',
                rf'warning: non-SMTP command from {C}: \.']),
    'denied_header': ('denied', [('Subject: x', GOODBYE)],
                      [rf'NOQUEUE: reject: CONNECT .*', f'warning: non-SMTP command from {C}: Subject: x']),
    'denied_leaves': ('denied', [('NOOP', DENIED), (b'', 'CLOSE')], [r'NOQUEUE: reject: CONNECT .*', f'lost connection after CONNECT from {C}']),
    'denied_errors': ('denied', [('NOOP', DENIED)] * 19 + [(b'', '421 4.7.0 mx.gate.test Error: too many errors')],
                      [r'NOQUEUE: reject: CONNECT .*', f'too many errors after CONNECT from {C}']),
    'denied_xclient': ('xdenied', [('XCLIENT NAME=a.test ADDR=192.0.2.1', '554 5.7.1 <a.test[192.0.2.1]>: Client host rejected: Access denied'),
                                   ('NOOP', '503 5.7.0 Error: access denied for a.test[192.0.2.1]')],
                       [r'NOQUEUE: reject: XCLIENT from a\.test\[192\.0\.2\.1\]: 554 .*; proto=SMTP']),
    'last_dot': ('smtp', [(EHLO, 250), ('MAIL FROM:<a@b.example.>', 250), ('RCPT TO:<x@virt.test.>', f'550 5.1.1 <x@virt.test.>: {UNLISTED}'),
                          ('RCPT TO:<alice@virt.test.>', 250)],
                 [rf'NOQUEUE: reject: RCPT from {C}: 550 5\.1\.1 <x@virt\.test\.>: {UNLISTED}; from=<a@b\.example\.> '
                  r'to=<x@virt\.test\.> proto=ESMTP helo=<client\.example>', f'QID: client={C}']),
    'forwarded_source': ('xforward', [(EHLO, 250), ('XFORWARD SOURCE=REMOTE', 250), (MAIL, 250), (RCPT, 250)], [f'QID: client={C}']),
    'no_features': ('nofeatures', [(EHLO, TROUBLE)],
                    [f"warning: don't know what EHLO features to announce to {C}", f'NOQUEUE: reject: EHLO from {C}: {TROUBLE}']),
    'features_of_helo': ('nofeatures', [('HELO x', '250 mx.gate.test')], []),
    'no_filter': ('nofilter', [('NOOP', TROUBLE)], [f'NOQUEUE: reject: CONNECT from {C}: {TROUBLE}']),
    'size_first': ('sender', [(MAIL + ' SIZE=99999999999', '552 5.3.4 Message size exceeds fixed limit')],
                   [f'NOQUEUE: reject: MAIL from {C}: 552 5.3.4 Message size exceeds fixed limit; from=<a@b.example> proto=SMTP']),
    'space': ('space', [(MAIL, '452 4.3.1 Insufficient system storage')],
              [f'NOQUEUE: reject: MAIL from {C}: 452 4.3.1 Insufficient system storage; proto=SMTP']),
    'soft_bounce': ('soft', [(EHLO, 250), (MAIL, 250), ('RCPT TO:<x@virt.test>', f'450 4.1.1 <x@virt.test>: {UNLISTED}')],
                    [f'NOQUEUE: reject: RCPT from {C}: 450 4.1.1 <x@virt.test>: {UNLISTED}; .*']),
    'noop_where': ('noop', [('TURN', 250), ('TURN', 250), ('TURN', 250), (b'', '421 4.7.0 mx.gate.test Error: too many errors')],
                   [f'too many errors after CONNECT from {C}']),
    'port': ('ports', [(EHLO, 250), (MAIL, 250), (RCPT, r'~554 5\.7\.1 <localhost\[127\.0\.0\.1\]:\d+>: Client host rejected: Access denied')],
             [rf'NOQUEUE: reject: RCPT from {C}:\d+: 554 5\.7\.1 <{C}:\d+>: Client host rejected: Access denied; .*']),
    'footer': ('footer', [('EHLO $client', 250), ('XYZ', '500-5.5.2 Error: command not recognized, localhost[127.0.0.1] $client mx.gate.test '
                                                        '\n500 5.5.2 $ .'), (MAIL, 250),
                          ('DATA', '554-5.5.1 Error: no valid recipients, localhost[127.0.0.1] $client mx.gate.test from b.example\n554 5.5.1 $ .')],
               ['warning: unknown macro name "nosuch" in expansion request'] * 2),
    'footer_maps': ('footers', [('HELO me', 250), ('XYZ', '500-5.5.2 Error: command not recognized\n500 5.5.2 no me'), ('BDAT 0', '551-5.7.1 Null BDAT request\n'
                                                                                               '551 5.7.1 general')],
                    [f'warning: NOQUEUE: null BDAT request from {C}']),
}


@pytest.fixture(scope='module')
def mta(sut):
    with sut(services={name: SYSTEM + options for name, options in SERVICES.items()}) as mta:
        yield mta


@pytest.mark.parametrize('name', SESSIONS)
def test_session(mta, name):
    service, steps, wanted = SESSIONS[name]
    mark = mta.log.mark()
    with mta.connect(service) as client:
        client.expect(554 if service == 'denied' else 220)
        for line, reply in steps:
            client.send(line)
            if reply == 'CLOSE':
                client.half_close()
                break
            client.expect(reply)
        else:
            client.close()
        mta.log.wait('disconnect from .*', mark, 'smtpd')
    lines = [re.sub('^[0-9A-F]{6,}:', 'QID:', text) for text in mta.log.texts(mark, 'smtpd')]
    if steps[-1][1] != 'CLOSE':
        lines = [line for line in lines if not re.search('lost connection after', line)]
    elsewhere = ('connect from', 'disconnect from', 'warning: not enough free space', 'warning: fail:x lookup error')
    lines = [line for line in lines if not line.startswith(elsewhere)]
    assert len(lines) == len(wanted) and all(re.fullmatch(*pair) for pair in zip(wanted, lines)), lines


@pytest.mark.parametrize('service, steps, totals', [
    ('overshoot', [(EHLO, 250), (MAIL, 250), (RCPT, 250), (RCPT, 452)], 'ehlo=1 mail=1 rcpt=2 quit=1 commands=5'),
    ('nofilter', [('NOOP', 421)], 'commands=0/0')])
def test_totals(mta, service, steps, totals):
    mark = mta.log.mark()
    with mta.connect(service) as client:
        client.expect(220)
        client.talk(*steps)
        if service != 'nofilter':
            client.quit()
    mta.log.wait_text(f'disconnect from localhost[127.0.0.1] {totals}', mark, 'smtpd')


@pytest.mark.gatepost_only
@pytest.mark.parametrize('chunks', [[(801, 552)], [(500, 250), (301, 552)], [(600, 552), (201, 551)], [(400, 503), (200, 551), (201, 551)]])
def test_too_much_in_chunks(mta, chunks):
    """One and a half of message_size_limit, counted over all chunks; the last is not even read (Postfix of 3.12)."""
    mark = mta.log.mark()
    with mta.session('small') as client:
        if chunks[0][1] != 503:
            client.envelope()
        for size, code in chunks[:-1]:
            client.cmd(f'BDAT {size}\r\n'.encode() + b'x' * size, code)
        client.cmd(f'BDAT {chunks[-1][0]}', chunks[-1][1])
        client.expect_close()
    mta.log.wait(f'warning: [0-9A-Z]+: too much BDAT content -- disabling further input from {C}', mark, 'smtpd')


@pytest.mark.parametrize('between', ['RSET', 'EHLO x'])
def test_chunks_of_another_message(mta, between):
    with mta.session('small') as client:
        for _ in range(3):
            client.envelope()
            client.cmd(b'BDAT 500\r\n' + b'x' * 500, 250)
            client.cmd(between, 250)
        for _ in range(3):
            client.envelope()
            client.cmd(b'BDAT 500 LAST\r\n' + b'x' * 500, 250)
