"""Access control, the least: lists, their order, access tables, table types, unknown recipients."""
import os
import re
import subprocess
import time

import pytest
from harness import PATIENCE

STRANGER = 'NAME=spike.up.test ADDR=192.0.2.66 PORT=4711'
CLIENT = '<spike.up.test[192.0.2.66]>'
TAIL = 'from=<a@b.example> to=<{rcpt}> proto=ESMTP helo=<client.example>'
DENIED = '554 5.7.1 {}: Client host rejected: Access denied'

# Each case is a server of its own: settings (joined by ';', braces allowed), recipient, reply ('ok' for 250 2.1.5).
CASES = {
    # the simple ones
    'permit': ('smtpd_recipient_restrictions = permit', 'alice@virt.test', 'ok'),
    'reject': ('smtpd_recipient_restrictions = reject', 'alice@virt.test',
               '554 5.7.1 <alice@virt.test>: Recipient address rejected: Access denied'),
    'defer': ('smtpd_recipient_restrictions = defer', 'alice@virt.test',
              '450 4.3.2 <alice@virt.test>: Recipient address rejected: Try again later'),
    'codes': ('smtpd_recipient_restrictions = reject; reject_code = 521', 'alice@virt.test',
              '521 5.7.1 <alice@virt.test>: Recipient address rejected: Access denied'),
    'deferauth': ('smtpd_relay_restrictions = permit_mynetworks, defer_unauth_destination', 'x@elsewhere.test',
                  '454 4.7.1 <x@elsewhere.test>: Relay access denied'),
    'rejectauth': ('smtpd_relay_restrictions = reject_unauth_destination', 'x@elsewhere.test',
                   '554 5.7.1 <x@elsewhere.test>: Relay access denied'),
    'relaycode': ('relay_domains_reject_code = 550', 'x@elsewhere.test', '550 5.7.1 <x@elsewhere.test>: Relay access denied'),
    'mynetworks': ('mynetworks = 192.0.2.0/24', 'x@elsewhere.test', 'ok'),
    'mynetworks_not': ('mynetworks = !192.0.2.66, 192.0.2.0/24', 'x@elsewhere.test', '554 5.7.1 <x@elsewhere.test>: Relay access denied'),
    'mynetworks_table': ('mynetworks = cidr:{{192.0.2.0/26 yes}, {192.0.2.64/26 yes}}', 'x@elsewhere.test', 'ok'),
    'mynetworks_file': ('mynetworks = {dir}/networks', 'x@elsewhere.test', 'ok'),
    'relaydomains': ('', 'known@rel.test', 'ok'),
    'relaysub': ('', 'x@sub.rel.test', 'ok'),
    'client_reject': ('smtpd_client_restrictions = reject', 'alice@virt.test', DENIED.format(CLIENT)),
    'helo_reject': ('smtpd_helo_restrictions = reject', 'alice@virt.test', '554 5.7.1 <client.example>: Helo command rejected: Access denied'),
    'sender_reject': ('smtpd_sender_restrictions = reject', 'alice@virt.test', '554 5.7.1 <a@b.example>: Sender address rejected: Access denied'),
    'order': ('smtpd_client_restrictions = permit; smtpd_recipient_restrictions = reject; smtpd_sender_restrictions = reject', 'alice@virt.test',
              '554 5.7.1 <a@b.example>: Sender address rejected: Access denied'),
    'relay_first': ('smtpd_recipient_restrictions = reject', 'x@elsewhere.test', '554 5.7.1 <x@elsewhere.test>: Relay access denied'),
    'relay_last': ('smtpd_recipient_restrictions = reject; smtpd_relay_before_recipient_restrictions = no', 'x@elsewhere.test',
                   '554 5.7.1 <x@elsewhere.test>: Recipient address rejected: Access denied'),
    'ok_is_for_one_list': ('smtpd_recipient_restrictions = permit; smtpd_relay_restrictions = reject_unauth_destination', 'x@elsewhere.test',
                           '554 5.7.1 <x@elsewhere.test>: Relay access denied'),
    'rest_after_permit': ('smtpd_recipient_restrictions = permit, defer', 'alice@virt.test', 'ok'),
    'case': ('smtpd_recipient_restrictions = REJECT', 'alice@virt.test', '554 5.7.1 <alice@virt.test>: Recipient address rejected: Access denied'),
    # check_client_access
    'c_addr': ('smtpd_client_restrictions = check_client_access inline:{192.0.2.66=REJECT}', 'alice@virt.test', DENIED.format(CLIENT)),
    'c_net3': ('smtpd_client_restrictions = check_client_access inline:{192.0.2=REJECT}', 'alice@virt.test', DENIED.format(CLIENT)),
    'c_net1': ('smtpd_client_restrictions = check_client_access inline:{192=REJECT}', 'alice@virt.test', DENIED.format(CLIENT)),
    'c_name': ('smtpd_client_restrictions = check_client_access inline:{spike.up.test=REJECT}', 'alice@virt.test', DENIED.format(CLIENT)),
    'c_parent': ('smtpd_client_restrictions = check_client_access inline:{up.test=REJECT}', 'alice@virt.test', DENIED.format(CLIENT)),
    'c_tld': ('smtpd_client_restrictions = check_client_access inline:{test=REJECT}', 'alice@virt.test', DENIED.format(CLIENT)),
    'c_dotparent': ('smtpd_client_restrictions = check_client_access inline:{.up.test=REJECT}; parent_domain_matches_subdomains =',
                    'alice@virt.test', DENIED.format(CLIENT)),
    'c_nodotparent': ('smtpd_client_restrictions = check_client_access inline:{up.test=REJECT}; parent_domain_matches_subdomains =',
                      'alice@virt.test', 'ok'),
    'c_name_first': ('smtpd_client_restrictions = check_client_access inline:{{test=OK}, {192.0.2.66=REJECT}}', 'alice@virt.test', 'ok'),
    'c_cidr': ('smtpd_client_restrictions = check_client_access cidr:{{192.0.2.64/26 REJECT no (braces)}}', 'alice@virt.test',
               f'554 5.7.1 {CLIENT}: Client host rejected: no (braces)'),
    'c_pcre': ('smtpd_client_restrictions = check_client_access pcre:{{/^SPIKE\\.(.*)$$/ 450 4.7.9 from $$1}}', 'alice@virt.test',
               f'450 4.7.9 {CLIENT}: Client host rejected: from up.test'),
    'c_regexp': ('smtpd_client_restrictions = check_client_access regexp:{{/^192\\.0\\.2\\./ DEFER}}', 'alice@virt.test',
                 f'450 4.7.1 {CLIENT}: Client host rejected: Access denied'),
    'c_bare': ('smtpd_client_restrictions = inline:{192.0.2.66=REJECT}', 'alice@virt.test', DENIED.format(CLIENT)),
    # actions
    'a_text': ('smtpd_recipient_restrictions = inline:{{alice@virt.test = REJECT not you}}', 'alice@virt.test',
               '554 5.7.1 <alice@virt.test>: Recipient address rejected: not you'),
    'a_dsn': ('smtpd_recipient_restrictions = inline:{{alice@virt.test = REJECT 5.2.1 mailbox off}}', 'alice@virt.test',
              '554 5.2.1 <alice@virt.test>: Recipient address rejected: mailbox off'),
    'a_code': ('smtpd_recipient_restrictions = inline:{{alice@virt.test = 553 gone}}', 'alice@virt.test',
               '553 5.7.1 <alice@virt.test>: Recipient address rejected: gone'),
    'a_code4': ('smtpd_recipient_restrictions = inline:{{alice@virt.test = 451 4.2.2 full}}', 'alice@virt.test',
                '451 4.2.2 <alice@virt.test>: Recipient address rejected: full'),
    'a_dsn_class': ('smtpd_recipient_restrictions = inline:{{alice@virt.test = 450 5.2.2 full}}', 'alice@virt.test',
                    '450 4.2.2 <alice@virt.test>: Recipient address rejected: full'),
    'a_bare_code': ('smtpd_recipient_restrictions = inline:{{alice@virt.test = 450}}', 'alice@virt.test', 'ok'),
    'a_lower': ('smtpd_recipient_restrictions = inline:{{alice@virt.test = reject}}', 'alice@virt.test',
                '554 5.7.1 <alice@virt.test>: Recipient address rejected: Access denied'),
    'a_defer': ('smtpd_recipient_restrictions = inline:{{alice@virt.test = DEFER wait}}', 'alice@virt.test',
                '450 4.7.1 <alice@virt.test>: Recipient address rejected: wait'),
    'a_dunno': ('smtpd_recipient_restrictions = inline:{{alice@virt.test = DUNNO}}, reject', 'alice@virt.test',
                '554 5.7.1 <alice@virt.test>: Recipient address rejected: Access denied'),
    'a_ok': ('smtpd_recipient_restrictions = inline:{{alice@virt.test = OK}}, reject', 'alice@virt.test', 'ok'),
    'a_421': ('smtpd_recipient_restrictions = inline:{{alice@virt.test = 421 4.7.0 go away}}', 'alice@virt.test',
              '421 4.7.0 <alice@virt.test>: Recipient address rejected: go away'),
    'a_restriction': ('smtpd_recipient_restrictions = inline:{{alice@virt.test = reject_unauth_destination, defer}}', 'alice@virt.test',
                      '450 4.3.2 <alice@virt.test>: Recipient address rejected: Try again later'),
    'a_class': ('smtpd_restriction_classes = strict; strict = defer; smtpd_recipient_restrictions = inline:{{alice@virt.test = strict}}',
                'alice@virt.test', '450 4.3.2 <alice@virt.test>: Recipient address rejected: Try again later'),
    'a_unknown': ('smtpd_recipient_restrictions = inline:{{alice@virt.test = whatever}}', 'alice@virt.test', '451 4.3.5 Server configuration error'),
    # keys of check_recipient_access
    'r_domain': ('smtpd_recipient_restrictions = check_recipient_access inline:{virt.test=REJECT}', 'alice@virt.test',
                 '554 5.7.1 <alice@virt.test>: Recipient address rejected: Access denied'),
    'r_local': ('smtpd_recipient_restrictions = check_recipient_access inline:{alice@=REJECT}', 'alice@virt.test',
                '554 5.7.1 <alice@virt.test>: Recipient address rejected: Access denied'),
    'r_ext': ('smtpd_recipient_restrictions = check_recipient_access inline:{alice@virt.test=REJECT}; recipient_delimiter = +', 'alice+x@virt.test',
              '554 5.7.1 <alice+x@virt.test>: Recipient address rejected: Access denied'),
    'r_case': ('smtpd_recipient_restrictions = check_recipient_access inline:{alice@virt.test=REJECT}', 'ALICE@Virt.TEST',
               '554 5.7.1 <ALICE@Virt.TEST>: Recipient address rejected: Access denied'),
    'r_full_first': ('smtpd_recipient_restrictions = check_recipient_access inline:{{virt.test=REJECT}, {alice@virt.test=OK}}', 'alice@virt.test', 'ok'),
    'r_regexp_full': ('smtpd_recipient_restrictions = check_recipient_access regexp:{{/^virt/ REJECT}}', 'alice@virt.test', 'ok'),
    # tables
    't_static': ('smtpd_recipient_restrictions = check_recipient_access static:{REJECT for all}', 'alice@virt.test',
                 '554 5.7.1 <alice@virt.test>: Recipient address rejected: for all'),
    't_texthash': ('smtpd_recipient_restrictions = check_recipient_access texthash:{dir}/access', 'alice@virt.test',
                   '554 5.7.1 <alice@virt.test>: Recipient address rejected: from a file'),
    't_lmdb': ('smtpd_recipient_restrictions = check_recipient_access lmdb:{dir}/indexed', 'alice@virt.test',
               '554 5.7.1 <alice@virt.test>: Recipient address rejected: from an index'),
    't_proxy': ('smtpd_recipient_restrictions = check_recipient_access proxy:texthash:{dir}/lower',
                'alice@virt.test', '554 5.7.1 <alice@virt.test>: Recipient address rejected: by proxy'),
    't_cidr_file': ('smtpd_client_restrictions = check_client_access cidr:{dir}/cidr', 'alice@virt.test',
                    f'554 5.7.1 {CLIENT}: Client host rejected: by network'),
    't_pcre_file': ('smtpd_recipient_restrictions = check_recipient_access pcre:{dir}/pcre', 'alice@virt.test',
                    '554 5.7.1 <alice@virt.test>: Recipient address rejected: pattern alice'),
    't_regexp_file': ('smtpd_recipient_restrictions = check_recipient_access regexp:{dir}/pcre', 'alice@virt.test',
                      '554 5.7.1 <alice@virt.test>: Recipient address rejected: pattern alice'),
    't_fail': ('smtpd_recipient_restrictions = check_recipient_access fail:x', 'alice@virt.test',
               '451 4.3.5 <alice@virt.test>: Recipient address rejected: Server configuration error'),
    't_missing': ('smtpd_recipient_restrictions = check_recipient_access texthash:{dir}/nosuch', 'alice@virt.test',
                  '451 4.3.5 <alice@virt.test>: Recipient address rejected: Server configuration error'),
    't_order': ('smtpd_recipient_restrictions = check_recipient_access inline:{x=OK}, check_recipient_access inline:{virt.test=DEFER}',
                'alice@virt.test', '450 4.7.1 <alice@virt.test>: Recipient address rejected: Access denied'),
    # unknown recipients
    'u_virtual': ('', 'nobody@virt.test', '550 5.1.1 <nobody@virt.test>: Recipient address rejected: User unknown in virtual mailbox table'),
    'u_off': ('smtpd_reject_unlisted_recipient = no', 'nobody@virt.test', 'ok'),
    'u_explicit': ('smtpd_reject_unlisted_recipient = no; smtpd_recipient_restrictions = reject_unlisted_recipient', 'nobody@virt.test', None),
    'u_name': ('show_user_unknown_table_name = no', 'nobody@virt.test', '550 5.1.1 <nobody@virt.test>: Recipient address rejected: User unknown'),
    'u_code': ('unknown_virtual_mailbox_reject_code = 450', 'nobody@virt.test',
               '450 4.1.1 <nobody@virt.test>: Recipient address rejected: User unknown in virtual mailbox table'),
    'u_relay': ('', 'nobody@rel.test',
                '550 5.1.1 <nobody@rel.test>: Recipient address rejected: User unknown in relay recipient table'),
    'u_alias': ('', 'nobody@al.test',
                '550 5.1.1 <nobody@al.test>: Recipient address rejected: User unknown in virtual alias table'),
    'u_alias_known': ('', 'known@al.test', 'ok'),
    'u_catchall': ('virtual_mailbox_maps = inline:{@virt.test=all/}', 'whoever@virt.test', 'ok'),
    'u_local': ('local_recipient_maps = unix:passwd.byname', 'nosuchuser@mx.gate.test',
                '550 5.1.1 <nosuchuser@mx.gate.test>: Recipient address rejected: User unknown in local recipient table'),
    'u_tempfail': ('virtual_mailbox_maps = fail:x', 'nobody@virt.test', '451 4.3.0 <nobody@virt.test>: Temporary lookup failure'),
    # warn_if_reject, and no delay
    'warn': ('smtpd_recipient_restrictions = warn_if_reject reject, permit', 'alice@virt.test', 'ok'),
}

# What decides an address's class is one thing for all servers of an instance.
MAIN = """
relay_domains = rel.test
relay_recipient_maps = inline:{{known@rel.test=x}, {@sub.rel.test=x}}
virtual_alias_domains = al.test
virtual_alias_maps = inline:{known@al.test=alice@virt.test}
proxy_read_maps = proxy:texthash:{dir}/lower, proxy:unix:passwd.byname
"""


FILES = {'access': '# comment\nbob@virt.test OK\nALICE@virt.test\n\tREJECT\n\n  from a file\n', 'lower': 'alice@virt.test REJECT by proxy\n', 'networks': '10.0.0.0/8\n192.0.2.66\n',
         'indexed': 'alice@virt.test REJECT from an index\n',
         'cidr': 'if 192.0.0.0/8\n192.0.2.0/25 REJECT by network\nendif\n0.0.0.0/0 OK\n',
         'pcre': 'if /virt\\.test$/\n/^(alice|bob)@/ REJECT pattern $1\nendif\n!/@/ OK\n'}


SHARES = 4  # instances, of some twenty servers each


def shared(names):
    """Parameters for a test of each case: its instance, its name; those of one instance together."""
    place = {name: i * SHARES // len(CASES) for i, name in enumerate(CASES)}
    return [pytest.param(place[name], name, id=name) for name in names]


@pytest.fixture(scope='module')
def mta(request, sut):
    cases = [param.values[1] for param in shared(CASES) if param.values[0] == request.param]
    master = ''
    for name in cases:
        master += f'127.0.0.1:{{{name}}} inet n - n - - smtpd -o syslog_name={name}\n'
        for setting in filter(None, CASES[name][0].split('; ')):
            key, _, value = setting.partition('=')
            master += f'  -o {{ {key.strip()} = {value.strip()} }}\n'
    mta = sut(MAIN, master=master)
    for name, text in FILES.items():
        with open(f'{mta.dir}/{name}', 'w') as file:
            file.write(text)
    postmap = ['postmap'] if mta.name == 'postfix' else [os.path.join(os.path.dirname(mta.program), 'postmap')]
    subprocess.run(postmap + ['-c', mta.dir + '/conf', f'lmdb:{mta.dir}/indexed'], check=True)
    with mta:
        yield mta


@pytest.mark.parametrize('mta, name', shared(CASES), indirect=['mta'], scope='module')
def test_case(mta, name):
    settings, rcpt, wanted = CASES[name]
    mark = mta.log.mark()
    with mta.session(name, helo=None, xclient=STRANGER) as client:
        client.cmd('EHLO client.example', 250)
        client.cmd('MAIL FROM:<a@b.example>', '250 2.1.0 Ok')
        if wanted is None:
            wanted = '550 5.1.1 <nobody@virt.test>: Recipient address rejected: User unknown in virtual mailbox table'
        client.cmd(f'RCPT TO:<{rcpt}>', '250 2.1.5 Ok' if wanted == 'ok' else wanted)
        if wanted.startswith('421'):
            client.expect_close()
    if wanted != 'ok':
        mta.log.wait_text(f'NOQUEUE: reject: RCPT from spike.up.test[192.0.2.66]: {wanted}; ' + TAIL.format(rcpt=rcpt), mark)
    warning = {'a_unknown': r'warning: .*unknown smtpd restriction: "whatever"|warning: unknown smtpd restriction: "whatever"',
               'rest_after_permit': r"warning: restriction `defer' after `permit' is ignored",
               't_fail': r'warning: fail:x(: | ).*lookup error.*|warning: fail:x lookup error for "alice@virt.test"',
               'warn': r'NOQUEUE: reject_warning: RCPT from spike\.up\.test\[192\.0\.2\.66\]: 554 5\.7\.1 <alice@virt\.test>: Recipient address '
                       r'rejected: Access denied; from=<a@b\.example> to=<alice@virt\.test> proto=ESMTP helo=<client\.example>'}.get(name)
    if warning:
        mta.log.wait(warning, mark)


@pytest.mark.parametrize('mta, name', shared(['client_reject']), indirect=['mta'], scope='module')
def test_reject_line_without_helo(mta, name):
    mark = mta.log.mark()
    with mta.session(name, helo=None, xclient=STRANGER) as client:
        client.cmd('MAIL FROM:<>', 250)
        client.cmd('RCPT TO:<alice@virt.test>', 554)
    mta.log.wait_text(f'NOQUEUE: reject: RCPT from spike.up.test[192.0.2.66]: {DENIED.format(CLIENT)}; from=<> to=<alice@virt.test> '
                      'proto=SMTP', mark)


@pytest.mark.parametrize('mta, name', shared(['u_virtual']), indirect=['mta'], scope='module')
def test_queue_id_in_the_reject_line(mta, name):
    """After the first accepted recipient the server that queues has an id."""
    mark = mta.log.mark()
    with mta.session(name, helo=None, xclient=STRANGER) as client:
        client.cmd('EHLO client.example', 250)
        client.envelope()
        client.cmd('RCPT TO:<nobody@virt.test>', 550)
    mta.log.wait(r'[0-9A-F]{6,}: reject: RCPT from spike\.up\.test\[192\.0\.2\.66\]: 550 5\.1\.1 <nobody@virt\.test>: .*', mark)


@pytest.mark.gatepost_only
class TestHash:
    """hash:F reads F.lmdb where that is current, else F itself; never Berkeley DB."""

    def start(self, sut, files, build=False):
        mta = sut(services={'smtp': '-o smtpd_recipient_restrictions=check_recipient_access,hash:{dir}/table'})
        for name, text in files.items():
            with open(f'{mta.dir}/{name}', 'w') as file:
                file.write(text)
        if build:
            subprocess.run([os.path.join(os.path.dirname(mta.program), 'postmap'), '-c', mta.dir + '/conf', f'lmdb:{mta.dir}/table'], check=True)
        return mta

    def reply(self, mta):
        with mta.session('smtp') as client:
            client.cmd('MAIL FROM:<a@b.example>', 250)
            return client.cmd('RCPT TO:<alice@virt.test>')

    def test_text(self, sut):
        with self.start(sut, {'table': 'alice@virt.test REJECT text\n'}) as mta:
            assert self.reply(mta) == '554 5.7.1 <alice@virt.test>: Recipient address rejected: text'
            with mta.session('smtp'):
                pass
            warnings = [text for text in mta.log.texts() if text.startswith('warning') and 'table' in text]
            assert len(warnings) == 1, warnings

    def test_index(self, sut):
        with self.start(sut, {'table': 'alice@virt.test REJECT index\n'}, build=True) as mta:
            assert self.reply(mta) == '554 5.7.1 <alice@virt.test>: Recipient address rejected: index'
            assert not [text for text in mta.log.texts() if text.startswith('warning') and 'table' in text]

    def test_index_older(self, sut):
        mta = self.start(sut, {'table': 'alice@virt.test REJECT index\n'}, build=True)
        with open(f'{mta.dir}/table', 'w') as file:
            file.write('alice@virt.test REJECT newer\n')
        info = os.stat(f'{mta.dir}/table')
        os.utime(f'{mta.dir}/table.lmdb', (info.st_mtime - 10, info.st_mtime - 10))
        with mta:
            assert self.reply(mta) == '554 5.7.1 <alice@virt.test>: Recipient address rejected: newer'

    def test_only_db(self, sut):
        mta = self.start(sut, {'table.db': 'x'})
        done = mta.try_start()
        mta.stop()
        text = done.stderr + mta.log_text()
        assert re.search(r'fatal: .*table\.db.*', text) and re.search('postmap|gatepost map', text), text


def test_sleep(sut):
    """Wherever it stands, its command is answered late, and the check counts once; nobody else waits."""
    lists = '-o smtpd_delay_reject=no ' + ' '.join(f'-o {{ smtpd_{name}_restrictions = sleep 1, permit_mynetworks }}' for name in
                                                   ('client', 'helo', 'sender', 'recipient', 'data', 'end_of_data', 'etrn'))
    with sut(services={'slow': lists, 'other': '-o { smtpd_client_restrictions = sleep soon }'}) as mta:
        begun = time.monotonic()
        clients = [mta.connect('slow') for _ in range(20)]
        for wanted, command in ((220, None), (250, 'EHLO c.test'), (250, 'MAIL FROM:<a@b.test>'), (250, 'RCPT TO:<alice@virt.test>'),
                                (354, 'DATA')):
            since = time.monotonic()
            for client in clients:
                if command:
                    client.send(command.encode() + b'\r\n')
            for client in clients:
                client.expect(wanted)
            assert time.monotonic() - since > 0.9, command
        for client in clients:
            client.send(b'Subject: x\r\n\r\nx\r\n.\r\nQUIT\r\n')
        for client in clients:
            client.expect('~250 2.0.0 Ok: queued as .*')
            client.expect(221)
        assert 5.9 < time.monotonic() - begun < 6 * 10 * PATIENCE
        mta.maildir('alice').wait(20)
        mark = mta.log.mark()
        with mta.session('other') as client:
            client.cmd('MAIL FROM:<a@b.test>', 250)
            client.cmd('RCPT TO:<alice@virt.test>', '451 4.3.5 Server configuration error')
        mta.log.wait('warning: restriction sleep must be followed by number', mark)


def test_count_limit(sut):
    """The limit of connections is for strangers, for each service; limit N means N."""
    with sut(services={'a': '-o smtpd_client_connection_count_limit=2', 'b': '-o smtpd_client_connection_count_limit=2'}) as mta:
        mark = mta.log.mark()
        clients = [mta.connect('a', source='127.0.0.2') for _ in range(2)]
        for client in clients:
            client.expect(220)
        with mta.connect('a', source='127.0.0.2') as client:
            client.expect('421 4.7.0 mx.gate.test Error: too many connections from 127.0.0.2')
            client.expect_close()
        mta.log.wait(r'warning: Connection concurrency limit exceeded: 3 from \S+\[127\.0\.0\.2\] for service '
                     rf'127\.0\.0\.1:{mta.port("a")}', mark, 'smtpd')
        for name, source in (('b', '127.0.0.2'), ('a', '127.0.0.3'), ('a', '127.0.0.1')):
            with mta.connect(name, source=source) as client:
                client.expect(220)
        clients.pop().quit()
        mta.log.wait(r'disconnect from \S+\[127\.0\.0\.2\] quit=1 commands=1', mark)
        with mta.connect('a', source='127.0.0.2') as client:
            client.expect(220)
        for client in clients:
            client.close()
        own = [mta.connect('a') for _ in range(5)]  # mynetworks have no limit
        for client in own:
            client.expect(220)
            client.close()


def test_local_recipients_by_default(sut):
    """local_recipient_maps is not set: accounts of the system and aliases are known, nobody else."""
    mta = sut('alias_maps = inline:{{team=root}, {owner-team=root}}, texthash:{dir}/aliases\n', services={'in': '-o smtpd_proxy_filter=127.0.0.1:{filter}'})
    with open(mta.dir + '/aliases', 'w') as file:
        file.write('sales root\n')
    with mta, mta.sink('filter'):
        for recipient in ('team@mx.gate.test', 'TEAM@mx.gate.test', 'team', 'sales@localhost', 'root@mx.gate.test', 'postmaster'):
            with mta.session('in', xclient=STRANGER) as client:
                client.cmd('EHLO client.example', 250)
                client.cmd('MAIL FROM:<a@b.example>', 250)
                client.cmd(f'RCPT TO:<{recipient}>', 250)
                for unknown in ('nosuchuser@mx.gate.test', 'teams'):
                    client.cmd(f'RCPT TO:<{unknown}>', f'550 5.1.1 <{unknown}>: Recipient address rejected: User unknown in local recipient table')
