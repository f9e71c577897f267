"""The `checks:` inspector. Where Postfix's header_checks(5) has the same, Postfix's cleanup(8) says what is right: the same
tables and mail go through it and through our filter; replies, log lines and what is delivered must be equal."""
import base64
import random
import re
import time

import pytest
from harness.client import dot_stuff
from harness.peer import until

pytestmark = pytest.mark.gatepost_only

NAMES = ('header_checks', 'mime_header_checks', 'nested_header_checks', 'body_checks')
XFORWARD = 'XFORWARD NAME=spike.up.test ADDR=192.0.2.66 PROTO=ESMTP HELO=spike.example'
ORIGIN = 'from spike.up.test[192.0.2.66]; from=<a@b.example> to=<alice@virt.test> proto=ESMTP helo=<spike.example>'

# Every lookup shows itself, with its map.
ALL = {'header_checks': '/(?s)./ WARN P\n', 'mime_header_checks': '/(?s)./ WARN M\n',
       'nested_header_checks': '/(?s)./ WARN N\n', 'body_checks': '/(?s)./ WARN B\n'}

HEADER_ACTIONS = r'''
/^Do: reject$/ REJECT
/^Do: reject (.*)$/ REJECT $1
/^Do: warn *(.*)$/ WARN $1
/^Do: info (.*)$/ INFO $1
/^Do: discard/ DISCARD with words
/^Do: pass/ PASS
/^Do: prepend (.*)/s PREPEND $1
/^Do: replace (.*)/s REPLACE $1
/^Do: redirect (.*)$/ REDIRECT $1
/^Do: bcc (.*)$/ BCC $1
/^Do: strip/ STRIP away
/^Do: ignore/ IGNORE
/^Do: dunno/ DUNNO
/^Do: ok/ ok
/^Do: unknown/ FLY away
/^Do: hold/ HOLD it
/^Next: (.*)/ WARN next $1
'''
BODY_ACTIONS = r'''
/^reject (.*)$/ REJECT $1
/^(warn)/ WARN $1
/^(ignore)/ IGNORE
/^(strip)/ STRIP
/^replace (.{0,9})/ REPLACE [$1]
/^prepend (.{0,9})/ PREPEND <$1>
/^redirect/ REDIRECT bob@virt.test
/^discard/ DISCARD
'''
ACTIONS = {'header_checks': HEADER_ACTIONS, 'body_checks': BODY_ACTIONS}


def normal(message):
    """Without what tells of time, queue id, and whether recipients were changed before or in the queue."""
    message = re.sub(rb'^Received: from client\.example .*(\n\t.*)*', b'Received: us', message, count=1, flags=re.M)
    return re.sub(rb'^X-Original-To: .*', b'X-Original-To: us', message, count=1, flags=re.M)


def same_lines(theirs, ours, message):
    """Log lines of several programs come in any order, and late."""
    try:
        until(lambda: ours() == theirs(), 'the same log lines', 5)
    except AssertionError:
        assert ours() == theirs(), message


class Pair:
    """The oracle's way and ours, both ending in the oracle's Maildirs."""

    def __init__(self, postfix, gatepost, tables, settings='', attributes=''):
        specs = {name: f'pcre:{{dir}}/conf/{name}' for name in tables}
        checked = ''.join(f' -o {name}={spec}' for name, spec in specs.items())
        main = 'local_header_rewrite_clients =\nsmtpd_authorized_xforward_hosts = 127.0.0.0/8\n' + settings
        self.oracle = postfix(main=main, services={'checked': '-o cleanup_service_name=checked', 'after': '-o smtpd_timeout=300s'},
                              master='checked unix n - n - 0 cleanup' + checked + '\n')
        after = self.oracle.port('after')
        inspector = ', '.join(f'{name}={spec}' for name, spec in specs.items()) + attributes
        self.ours = gatepost(main=settings + 'filter_inspectors = { checks: ' + inspector + ' }\n',
                             services={'filter': f'filter -o filter_nexthop=127.0.0.1:{after}'})
        for side in (self.oracle, self.ours):
            for name, text in tables.items():
                side.write(name, text)

    def __enter__(self):
        self.oracle.start()
        self.ours.start()
        return self

    def __exit__(self, *_):
        self.ours.__exit__()
        self.oracle.__exit__()

    def delivered(self, count):
        users = [self.oracle.maildir(user) for user in ('alice', 'bob', 'carol')]
        until(lambda: sum(len(user.files()) for user in users) >= count, f'{count} deliveries')
        mail = [sorted(map(normal, user.messages())) for user in users]
        for user in users:
            user.clear()
        return mail

    def send(self, side, name, program, message):
        mark = side.log.mark()
        client = side.connect(name)
        client.expect(220)
        client.cmd('EHLO client.example', 250)
        client.cmd(XFORWARD, 250)
        client.cmd('MAIL FROM:<a@b.example>', 250)
        client.cmd('RCPT TO:<alice@virt.test>', 250)
        reply = client.content(message)
        client.quit()
        side.log.wait(r'disconnect.*', mark)
        return re.sub('queued as .*', 'queued', str(reply)), lambda: self.shown(side, mark, program)

    @staticmethod
    def shown(side, mark, program):
        lines = [re.sub('^[0-9A-F]{6,}: ', '', text) for text in side.log.texts(mark, program)]
        return [line for line in lines if re.match(r'(\w+: (header|body|mime-error) |warning: )', line) and ' header Received: ' not in line]

    def compare(self, message, deliveries=1):
        """Both ways."""
        theirs = self.send(self.oracle, 'checked', 'cleanup', message)
        mail = self.delivered(deliveries) if theirs[0].startswith('250') else None
        ours = self.send(self.ours, 'filter', 'filter', message)
        assert ours[0] == theirs[0], message
        if mail is not None:
            assert self.delivered(deliveries) == mail, message
        same_lines(theirs[1], ours[1], message)


@pytest.fixture(scope='module')
def looking(postfix, gatepost):
    settings = 'body_checks_size_limit = 300\nheader_size_limit = 200\nmime_nesting_limit = 3\nmime_boundary_length_limit = 4\n'
    with Pair(postfix, gatepost, ALL, settings) as pair:
        yield pair


@pytest.fixture(scope='module')
def acting(postfix, gatepost):
    with Pair(postfix, gatepost, ACTIONS) as pair:
        yield pair


def random_message(dice):
    """Lines of the kind that structure is made of, in any order."""
    names = ['q', 'qq', 'r', 'abcdef', 'abcdeg', 'a b', '']
    lines = []
    for _ in range(dice.randint(1, 40)):
        name = dice.choice(names)
        lines.append(dice.choice([
            'Subject: x', 'To : y', 'X-Foo:', 'Content-ID: <a>', 'MIME-Version: 1.0', ' folded', '\tfolded: too', 'text', 'text: with colon', '',
            '', '', '--', f'--{name}', f'--{name}', f'--{name}', f'--{name}--', f'--{name} tail: x',
            f'Content-Type: multipart/mixed; boundary="{name}"', f'Content-Type: multipart/mixed; boundary="{name}"',
            f'Content-Type: multipart/digest;\n boundary={name}', f'Content-Type: text/plain; boundary={name}', 'Content-Type: message/rfc822',
            'Content-Type: message/rfc822', 'Content-Type: message/global', 'Content-Transfer-Encoding: base64', 'x' * dice.choice([40, 400, 2046, 2047, 2048, 2049, 5000]),
            'Long: ' + 'y' * dice.choice([40, 150, 2040, 2041, 2042, 2043, 3000]), '--q' + 'z' * dice.choice([2043, 2044, 2045, 2046]) + 'X: y']))
    return '\n'.join(lines) + '\n'


@pytest.mark.parametrize('seed', range(4))
def test_what_is_looked_up(looking, seed):
    """Structure of mail, right and wrong, is cleanup(8)'s: each header and line comes to the same map, or to none."""
    dice = random.Random(seed)
    sent = 0
    while sent < 15:
        message = random_message(dice)
        if not message[:1].isspace():  # smtpd(8) puts an empty line in front of such a one
            looking.compare(message)
            sent += 1


@pytest.mark.parametrize('action', [
    'reject', 'reject 4.2.1 later', 'reject 5.2.1 never', 'reject 550 what', 'reject no such thing', 'warn', 'warn me', 'info me', 'pass me',
    'prepend X-Foo: bar', 'prepend nothing', 'prepend X-Foo: a\n\tfolded\n line', 'replace X-Foo: bar', 'replace nothing',
    'replace X-Foo: a\n\tfolded\n line', 'strip', 'ignore', 'ignore\n this\n\ttoo', 'dunno', 'ok', 'unknown', 'redirect nobody',
    'redirect bob@virt.test', 'bcc nobody', 'bcc bob@virt.test', 'bcc bob@virt.test\nDo: bcc carol@virt.test',
    'warn a\nDo: prepend X-A: b\nDo: ignore\nDo: replace X-A: c\nDo: warn b', 'redirect bob@virt.test\nDo: redirect carol@virt.test',
    'pass me\nDo: reject', 'reject a\nDo: discard', 'warn me\n\nwarn\n\nreject in the body'])
def test_header_actions(acting, action):
    acting.compare(f'A: b\nDo: {action}\nNext: one\n\nbody\n', 1 + len(re.findall(r'bcc \w+@', action)))


@pytest.mark.parametrize('body', ['reject so', 'a\nwarn\nb', 'a\nignore\nb\nstrip\nstrip\nc', 'a\nreplace so\nb', 'a\nprepend so\nb', 'redirect\nreject x',
                                  'replace ' + 'x' * 2040 + 'prepend ' + 'y' * 2040 + 'ignore' + 'z' * 2042 + 'replace end\nnext',
                                  'x' * 2048 + 'replace y' * 300 + '\nstrip\n', 'ignore' + 'x' * 2042 + '\nb', 'reject 4.3.2 so', '.\n..\nreplace .'],
                         ids=lambda body: body[:20])
def test_body_actions(acting, body):
    acting.compare(f'A: b\n\n{body}\n')


def test_discard(acting):
    """The client is told a yes; nobody gets the message, nor the rest of its headers a look."""
    reply, shown = acting.send(acting.ours, 'filter', 'filter', 'Do: discard\nDo: reject\n\nx\n')
    theirs = acting.send(acting.oracle, 'checked', 'cleanup', 'Do: discard\nDo: reject\n\nx\n')
    assert reply.startswith('250 2.0.0 Ok') and theirs[0].startswith('250 2.0.0 Ok')
    same_lines(theirs[1], shown, 'discard')
    assert shown() == [f'discard: header Do: discard {ORIGIN}: with words']


def test_hold_is_quarantine(acting):
    """What is held is not passed on; a later REJECT outweighs it, as in Postfix."""
    mark = acting.ours.log.mark()
    reply, shown = acting.send(acting.ours, 'filter', 'filter', 'Do: hold\nDo: hold\nNext: one\n\nx\n')
    assert shown() == [f'hold: header Do: hold {ORIGIN}: it', f'warning: header Next: one {ORIGIN}: next one']
    acting.ours.log.wait(r'filter-quarantine: END-OF-MESSAGE: .* reason=checks: header_checks: it', mark, 'filter')
    acting.compare('Do: hold\nDo: reject no\n\nx\n')


def test_signed_octets_stay(acting):
    """What no action names goes through octet for octet."""
    body = ''.join(f'line {i} \t\xe4\xff{" " * (i % 5)}\n' for i in range(5000)) + 'x' * 10000 + '\n\n\n'
    message = 'Subject:  two blanks \n\tand a tab\nDo: ignore\nSUBJECT : odd\nX-Last:x\n\n' + body
    acting.compare(message.encode('latin-1'))


def ours_only(gatepost, attributes, tables, settings=''):
    """Our filter alone, with a sink behind it."""
    side = gatepost(main=settings + 'filter_inspectors = { checks: ' + attributes + ' }\n', services={'filter': 'filter -o filter_nexthop=127.0.0.1:{next}'})
    for name, text in tables.items():
        side.write(name, text)
    return side


def submit(side, message):
    with side.sink('next') as sink:
        with side.session('filter') as client:
            for line in (XFORWARD, 'MAIL FROM:<a@b.example>', 'RCPT TO:<alice@virt.test>'):
                client.cmd(line, 250)
            reply = str(client.content(message))
            client.quit()
        return reply, sink.wait(1).messages


NAMES_TABLE = r'''
/\.exe$/ REJECT 5.7.1 executables are not accepted
/\.scr$/ QUARANTINE screen saver
/\.strip$/ STRIP
/€/ REJECT 5.7.1 money
'''
TYPES_TABLE = r'''
/^application\/(x-dosexec|vnd\.microsoft\.portable-executable)$/ REJECT 5.7.1 this is a program
/^image\/png/ WARN a picture
'''
PROGRAM = (b'MZ\x90\0\3'.ljust(0x3c, b'\0') + b'\x80').ljust(0x80, b'\0') + \
    (b'PE\0\0\x4c\1\3'.ljust(20, b'\0') + b'\xe0\0\x0f\1\x0b\1').ljust(500, b'\0')
REFUSED_NAME = '550 5.7.1 executables are not accepted'
REFUSED_TYPE = '550 5.7.1 this is a program'


@pytest.fixture(scope='module')
def attaching(gatepost):
    side = ours_only(gatepost, 'attachment_names=pcre:{dir}/conf/names, attachment_types=pcre:{dir}/conf/types, parts_limit=20',
                     {'names': NAMES_TABLE, 'types': TYPES_TABLE}, 'mime_nesting_limit = 5\n')
    with side:
        yield side


def part(headers, content='text\n'):
    return f'Subject: x\nContent-Type: multipart/mixed; boundary=q\n\nthis is MIME\n--q\nContent-Type: text/plain\n\nhello\n--q\n{headers}\n\n{content}--q--\n'


def encoded(data):
    return base64.encodebytes(data).decode()


@pytest.mark.parametrize('headers', [
    'Content-Disposition: attachment; filename=a.exe', 'Content-Type: text/plain; name="a.EXE"', 'Content-Disposition: attachment; filename="a.exe. "',
    "Content-Disposition: attachment;\n filename*=utf-8''%61%2e%65%78%65", 'Content-Disposition: attachment; filename*0="a.e"; filename*1=xe',
    'Content-Type: a/b; name="=?utf-8?Q?a=2Eexe?="', 'Content-Type: message/rfc822\n\nContent-Type: a/b; name=a.exe',
    'Content-Type: text/plain\nContent-Type: text/plain; name=a.exe'])
def test_attachment_names(attaching, headers):
    mark = attaching.log.mark()
    assert submit(attaching, part(headers)) == (REFUSED_NAME, [])
    attaching.log.wait(r'reject: attachment a\.exe *\.? * ' + re.escape(ORIGIN) + ': 5.7.1 executables are not accepted', mark, 'filter') \
        if 'EXE' not in headers else None


def test_attachment_name_in_utf8(attaching):
    assert submit(attaching, part('Content-Disposition: x; filename="=?iso-8859-15?q?=a4?="'))[0] == '550 5.7.1 money'


@pytest.mark.parametrize('name', ['a.exe.txt', 'exe', 'a.txt'])
def test_innocent_attachments_pass(attaching, name):
    message = part(f'Content-Disposition: attachment; filename={name}')
    reply, messages = submit(attaching, message)
    assert reply.startswith('250') and messages == [message.replace('\n', '\r\n').encode()]


@pytest.mark.parametrize('headers, content', [
    ('Content-Type: text/plain\nContent-Transfer-Encoding: base64', encoded(PROGRAM)),
    ('Content-Transfer-Encoding: BASE64 (yes)', encoded(PROGRAM)),
    ('Content-Type: message/rfc822\nContent-Transfer-Encoding: base64',
     encoded(b'Subject: x\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: base64\r\n\r\n' + base64.encodebytes(PROGRAM).replace(b'\n', b'\r\n'))),
    ('Content-Type: message/rfc822', 'Subject: x\nContent-Transfer-Encoding: base64\n\n' + encoded(PROGRAM)),
    ('Content-Type: multipart/mixed; boundary=r', '--r\nContent-Transfer-Encoding: base64\n\n' + encoded(PROGRAM)),
    ('Content-Transfer-Encoding: base64', encoded(PROGRAM + b'\0' * 200000)),
], ids=['plain', 'comment', 'encoded message', 'message', 'multipart', 'large'])
def test_attachment_types(attaching, headers, content):
    mark = attaching.log.mark()
    assert submit(attaching, part(headers, content)) == (REFUSED_TYPE, [])
    attaching.log.wait(r'reject: attachment type application/\S+ ' + re.escape(ORIGIN) + ': 5.7.1 this is a program', mark, 'filter')


def test_a_message_that_is_an_attachment(attaching):
    assert submit(attaching, 'Content-Transfer-Encoding: base64\n\n' + encoded(PROGRAM)) == (REFUSED_TYPE, [])
    assert submit(attaching, 'Content-Disposition: attachment; filename=a.exe\n\nx\n') == (REFUSED_NAME, [])


def test_many_at_once(attaching):
    """Each thread asks its own."""
    bad = dot_stuff(part('Content-Transfer-Encoding: base64', encoded(PROGRAM) * 20))
    good = dot_stuff(part("Content-Disposition: attachment; filename*=iso-8859-15''%e4.txt", 'text\n' * 20000))
    with attaching.sink('next') as sink:
        clients = [attaching.session('filter') for _ in range(30)]
        for client in clients:
            client.talk(('MAIL FROM:<a@b.example>', 250), ('RCPT TO:<alice@virt.test>', 250), ('DATA', 354))
        for i, client in enumerate(clients):
            client.send(bad if i % 2 else good)
        for i, client in enumerate(clients):
            client.expect(REFUSED_TYPE if i % 2 else 250)
            client.quit()
        sink.wait(30)
        assert sum(len(connection.messages) for connection in sink.connections) == 15


@pytest.mark.parametrize('message, why', [
    (part('A: b', '--q\n\n' * 30), 'more parts than parts_limit=20'),
    (part('Content-Disposition: attachment; x="' + ('y' * 900 + '\n ') * 120 + '"; filename=a.exe'), 'a MIME header is longer than header_size_limit'),
    (part('Content-Transfer-Encoding: base64\nContent-Transfer-Encoding: 7bit'), 'a part has two different encodings'),
    (part('Content-Disposition: x; filename=a.strip'), 'attachment_names: attachments cannot be changed: "STRIP, REPLACE or PREPEND" is no action for them'),
], ids=['parts', 'header', 'encodings', 'action'])
def test_what_cannot_be_looked_into(attaching, message, why):
    """It goes the way of on_failure, which is tempfail."""
    mark = attaching.log.mark()
    assert submit(attaching, message) == ('451 4.3.0 Error: queue file write error', [])
    attaching.log.wait('warning: inspector checks: not inspected: ' + re.escape(why) + '; on_failure=tempfail', mark, 'filter')


def test_depth(attaching):
    message = ''.join(f'Content-Type: multipart/mixed; boundary=q{i}\n\n--q{i}\n' for i in range(9)) + '\nx\n'
    assert submit(attaching, message) == ('550 5.6.0 MIME nesting exceeds safety limit', [])


def test_lookup_fails(gatepost):
    """A table that cannot be read is no answer, and no answer is no yes."""
    with ours_only(gatepost, 'header_checks=pcre:{dir}/conf/none', {}) as side:
        mark = side.log.mark()
        assert submit(side, 'Subject: x\n\nx\n') == ('451 4.3.0 Error: queue file write error', [])
        side.log.wait('warning: inspector checks: not inspected: header_checks map lookup problem; on_failure=tempfail', mark, 'filter')


def test_filter_warns(gatepost):
    with ours_only(gatepost, 'header_checks=inline:{{ subject: x = FILTER smtp:[127.0.0.1]:1 }}', {}) as side:
        mark = side.log.mark()
        assert submit(side, 'Subject: x\n\nx\n')[0].startswith('250')
        side.log.wait(r'warning: FILTER in header_checks map has no effect in a filter: FILTER smtp:\[127\.0\.0\.1\]:1', mark, 'filter')


def test_deadline(gatepost):
    """A message that takes too long is not waited for."""
    with ours_only(gatepost, 'body_checks=pcre:{dir}/conf/slow, timeout=1s', {'slow': '/a.*a.*a.*a.*b$/ WARN\n' * 400},
                   'body_checks_size_limit = 0\n') as side:
        start = time.monotonic()
        reply = submit(side, 'Subject: x\n\n' + ('a' * 60 + 'b!\n') * 3000)[0]
        assert reply == '451 4.3.0 Error: queue file write error' and time.monotonic() - start < 30


def test_tables_are_read_anew(gatepost):
    with ours_only(gatepost, 'header_checks=regexp:{dir}/conf/h', {'h': '/^Subject: a/ REJECT\n'}) as side:
        assert submit(side, 'Subject: a\n\nx\n')[0] == '550 5.7.1 message content rejected'
        side.write('h', '/^Subject: b/ REJECT other\n/^X-Longer: / DUNNO\n')
        until(lambda: submit(side, 'Subject: b\n\nx\n')[0] == '550 5.7.1 other', 'new table')


def test_mistakes_keep_it_from_starting(gatepost):
    for attributes, want in (('header_check=pcre:/x', 'checks: unknown attribute "header_check"'), ('parts_limit=many', 'a number of octets is expected')):
        side = ours_only(gatepost, attributes, {})
        try:
            done = side.try_start()
            assert done.returncode != 0 and want in done.stderr + side.log_text(), done.stderr
        finally:
            side.__exit__()
