"""gatepost quarantine: what administrators see of it, release to a next hop and to our own after-filter server."""
import base64
import json
import os
import pwd
import re
import signal
import sqlite3
import subprocess

import pytest
from harness.instance import AFTER
from harness.peer import CLOSE, HANG, until
from harness.quarantine import quarantine_put

pytestmark = pytest.mark.gatepost_only
MESSAGE = b'Subject: caf\xe9\nX-Odd:  two  blanks \n\n.dot\n..\n\ttab\n\x1b[31mred\x01\n' + b'long' * 3000 + b'\n\nend\n'


@pytest.fixture(scope='module')
def mta(gatepost):
    with gatepost(main='filter_timeout = 3s\n', services={'after': AFTER, 'strict': '-o mynetworks=192.0.2.0/24'}) as mta:
        yield mta


def put(mta, *words, content=MESSAGE):
    """Stores a message as the filter would; its id."""
    return quarantine_put(mta, content, *words)


def run(mta, *args, status=0):
    done = mta.run('quarantine', *args)
    assert done.returncode == status, done
    return done.stdout


def run_json(mta, *args, status=0):
    return [json.loads(line) for line in run(mta, *args, '--json', status=status).splitlines()]


def refused(mta, *args, status=1):
    done = mta.run('quarantine', *args)
    assert done.returncode == status, done
    return done.stderr


def state(mta, qid):
    found = run_json(mta, 'list', '--id', qid)[0]
    return [found['state'], *(recipient['state'] for recipient in found['recipients'])]


def wire(content):
    """As a Sink notes it."""
    return b''.join((b'.' + line if line.startswith(b'.') else line) + b'\r\n' for line in content.split(b'\n')[:-1])


# --- list, show, delete, expire ------------------------------------------------------------------------------------------------

def test_list_and_show(mta):
    qid = put(mta, 'recipient=alice@virt.test', 'recipient=bob@virt.test', 'reason=bad \x1b[2Jthing', 'trace=T77', 'NAME=spike.up.test',
              'ADDR=192.0.2.66', 'HELO=h', 'nexthop=127.0.0.1:1')
    other = put(mta, 'sender=', 'reason=other')
    line, = [line for line in run(mta, 'list').splitlines() if line.startswith(qid)]
    assert re.fullmatch(rf'{qid}  \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d +{len(MESSAGE)}  quarantined  <a@b.example> -> <alice@virt.test> \(\+1\)  '
                        r'\[192\.0\.2\.66\]  bad \?\[2Jthing', line), line
    assert [found['id'] for found in run_json(mta, 'list', '--trace', 'T77')] == [qid]
    assert [found['id'] for found in run_json(mta, 'list', '--sender', '<>')] == [other]
    assert [found['id'] for found in run_json(mta, 'list', '--recipient', '@virt.test', '--limit', '1')] == [other]
    assert [found['id'] for found in run_json(mta, 'list', '--client', '192.0.2.66', '--since', '1h', '--state', 'quarantined')] == [qid]
    assert run(mta, 'list', '--until', '1h') == ''
    record, = run_json(mta, 'show', qid.upper(), '--content')
    assert base64.b64decode(record.pop('content')) == MESSAGE
    assert record['client'] == {'name': 'spike.up.test', 'address': '192.0.2.66', 'helo': 'h'}
    assert record['reason'] == 'bad \x1b[2Jthing'
    assert record['verdicts'] == [{'inspector': 'checks', 'action': 'quarantine', 'text': 'because', 'milliseconds': 5}]
    assert [event['what'] for event in record['history']] == ['quarantined']
    text = run(mta, 'show', qid, '--content')
    assert '\x1b' not in text and '\x01' not in text and '?[31mred?\n' in text and '\n\ttab\n' in text
    raw = subprocess.run([mta.program, '-c', mta.dir + '/conf', 'quarantine', 'show', '--raw', qid], capture_output=True, timeout=30)
    assert raw.stdout == MESSAGE
    assert 'not in quarantine' in refused(mta, 'show', 'zzzzzzzz')
    assert 'not an id' in refused(mta, 'show', '../../x')
    assert 'Give ids' in refused(mta, 'delete', status=64)


def test_large_content(mta):
    content = b''.join(b'%d ' % number * 20 + b'\n' for number in range(20000))
    qid = put(mta, content=content)
    record, = run_json(mta, 'show', qid, '--content')
    assert base64.b64decode(record['content']) == content


def test_delete(mta):
    qid, other = put(mta, 'reason=delete one'), put(mta, 'reason=delete two')
    assert run(mta, 'delete', qid) == f'{qid}: deleted\n'
    assert 'not in quarantine' in refused(mta, 'delete', qid)
    assert run_json(mta, 'delete', '--reason', 'DELETE') == [{'id': other, 'deleted': True, 'text': '', 'uncertain': False}]
    assert not {qid, other} & set(os.listdir(mta.dir + '/data/quarantine/content'))


def test_expire(gatepost):
    with gatepost(main='quarantine_max_size = 2500\n') as mta:
        ids = [put(mta, content=b'x' * 999 + b'\n') for _ in range(4)]
        crashed = mta.dir + '/data/quarantine/content/bcdfghjk'
        with open(crashed, 'w'):
            os.utime(crashed, (0, 0))
        assert run(mta, 'expire') == 'removed: 0 by age, 2 by size, 1 left by crashes\n'
        assert [found['id'] for found in run_json(mta, 'list')] == ids[2:]
        assert sorted(os.listdir(mta.dir + '/data/quarantine/content')) == sorted(ids[2:])
        mta.write('main.cf', mta.settings + 'quarantine_max_age = 1s\n')
        until(lambda: (run_json(mta, 'expire'), run(mta, 'list'))[1] == '', 'all expired')


def test_permissions(mta):
    put(mta)
    status = os.stat(mta.dir + '/data/quarantine')
    assert status.st_mode & 0o777 == 0o700
    if os.geteuid() == 0:
        owner = pwd.getpwnam(mta.owner()).pw_uid
        run(mta, 'list')
        for top, _, names in os.walk(mta.dir + '/data/quarantine'):
            for name in [top, *(f'{top}/{name}' for name in names)]:
                assert os.stat(name).st_uid == owner and os.stat(name).st_mode & 0o077 == 0, name


# --- release -------------------------------------------------------------------------------------------------------------------

def test_release_once(mta):
    with mta.sink('hop') as sink:
        qid = put(mta, f'nexthop=127.0.0.1:{mta.port("hop")}', 'body=8bit', 'recipient=alice@virt.test', 'recipient=b ob@virt.test',
                  'NAME=spike.up.test', 'ADDR=192.0.2.66', 'PORT=4711', 'HELO=h e', 'PROTO=ESMTP', 'SOURCE=REMOTE', 'IDENT=T1')
        assert run(mta, 'release', qid) == f'{qid}: released: 250 2.0.0 filter took it\n'
        talk = sink.wait()
        assert talk.content == wire(MESSAGE)
        assert talk.commands[0] == b'EHLO mx.gate.test'
        assert b' '.join(talk.commands[1:-5]) == (b'XFORWARD NAME=spike.up.test ADDR=192.0.2.66 PORT=4711 HELO=h+20e IDENT=T1 PROTO=ESMTP SOURCE=REMOTE')
        assert talk.commands[-5:] == [b'MAIL FROM:<a@b.example>', b'RCPT TO:<alice@virt.test>', b'RCPT TO:<"b ob"@virt.test>', b'DATA', b'QUIT']
        assert 'has been released before' in refused(mta, 'release', qid)
        assert state(mta, qid) == ['released'] * 3
        history = [(event['who'], event['what']) for event in run_json(mta, 'show', qid)[0]['history']]
        assert history[-1][0] == pwd.getpwuid(os.getuid()).pw_name
        assert history[-1][1] == f'released to 127.0.0.1:{mta.port("hop")}, 2 recipient(s): 250 2.0.0 filter took it'
        assert len(sink.connections) == 1
        assert 'released' in run(mta, 'release', '--force', qid)
        assert sink.wait(2).content == wire(MESSAGE)


def test_offers(mta):
    with mta.sink('hop', {'EHLO': '250-x\n250-SIZE\n250 8BITMIME'}) as sink:
        qid = put(mta, 'body=8bit')
        run(mta, 'release', qid, '--nexthop', f'127.0.0.1:{mta.port("hop")}')
        talk = sink.wait()
        octets = len(MESSAGE) + MESSAGE.count(b'\n')
        assert talk.command('MAIL') == [f'MAIL FROM:<a@b.example> SIZE={octets} BODY=8BITMIME'] and not talk.command('XFORWARD')
        qid = put(mta, 'utf8=yes')
        assert 'SMTPUTF8' in refused(mta, 'release', qid, '--nexthop', f'127.0.0.1:{mta.port("hop")}')
        assert state(mta, qid) == ['quarantined'] * 2


def test_selected_recipients(mta):
    with mta.sink('hop') as sink:
        qid = put(mta, f'nexthop=127.0.0.1:{mta.port("hop")}', 'recipient=alice@virt.test', 'recipient=bob@virt.test', 'recipient=x@other.test')
        run(mta, 'release', qid, '--recipient', 'BOB@virt.test')
        assert sink.wait().command('RCPT') == ['RCPT TO:<bob@virt.test>']
        assert state(mta, qid) == ['quarantined', 'quarantined', 'released', 'quarantined']
        assert 'no such recipient' in refused(mta, 'release', qid, '--recipient', 'nobody@virt.test')
        run(mta, 'release', '--recipient', '@virt.test', '--client', 'nobody')
        assert len(sink.connections) == 1
        run(mta, 'release', qid)
        assert sink.wait(2).command('RCPT') == ['RCPT TO:<alice@virt.test>', 'RCPT TO:<x@other.test>']
        assert state(mta, qid) == ['released'] * 4


@pytest.mark.parametrize('script, words', [
    ({'connect': '554 no'}, 'greeting: 554 no'), ({'connect': CLOSE}, 'lost connection'), ({'EHLO': '500 what'}, 'EHLO mx.gate.test: 500 what'),
    ({'XFORWARD': '550 no'}, 'XFORWARD'), ({'MAIL': '450 later'}, 'MAIL FROM:<a@b.example>: 450 later'),
    ({'RCPT TO:<bob@virt.test>': '550 5.1.1 who'}, 'RCPT TO:<bob@virt.test>: 550 5.1.1 who'), ({'DATA': '451 no'}, 'DATA: 451 no'),
    ({'DATA': CLOSE}, 'lost connection'), ({'.': '552 5.2.2 \x1b[2J'}, 'end of message: 552 5.2.2 ?[2J'), ({'MAIL': HANG}, 'timed out'),
], ids=lambda value: value if isinstance(value, str) else None)
def test_release_refused(mta, script, words):
    """Nothing was delivered: in quarantine as before, and it can be released later."""
    with mta.sink('hop', script):
        qid = put(mta, f'nexthop=127.0.0.1:{mta.port("hop")}', 'recipient=alice@virt.test', 'recipient=bob@virt.test')
        assert words in refused(mta, 'release', qid)
        assert state(mta, qid) == ['quarantined'] * 3
        assert words in run_json(mta, 'show', qid)[0]['history'][-1]['what'].replace('\x1b', '?')
    with mta.sink('hop'):
        run(mta, 'release', qid)


def test_no_nexthop(mta):
    qid = put(mta)
    assert 'no next hop is known' in refused(mta, 'release', qid)
    assert 'Connection refused' in refused(mta, 'release', qid, '--nexthop', f'127.0.0.1:{mta.port("nobody")}')
    assert state(mta, qid) == ['quarantined'] * 2


@pytest.mark.parametrize('end', [CLOSE, HANG, '354 what'], ids=str)
def test_lost_reply(mta, end):
    """The next hop may have it: told, and only repeated by force."""
    with mta.sink('hop', {'.': end}) as sink:
        qid = put(mta, f'nexthop=127.0.0.1:{mta.port("hop")}')
        assert 'may have been released' in refused(mta, 'release', qid)
        assert state(mta, qid) == ['uncertain'] * 2
        assert 'may have been released' in refused(mta, 'release', qid)
        assert len(sink.connections) == 1
    assert 'Connection refused' in refused(mta, 'release', '--force', qid)
    assert state(mta, qid) == ['uncertain'] * 2, 'what was known is still known'
    with mta.sink('hop'):
        run(mta, 'release', '--force', qid)
    assert state(mta, qid) == ['released'] * 2


def start_release(mta, qid):
    return subprocess.Popen([mta.program, '-c', mta.dir + '/conf', 'quarantine', 'release', qid], stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize('where, wanted', [('DATA', 'releasing'), ('.', 'uncertain')])
def test_killed_releaser(mta, where, wanted):
    with mta.sink('hop', {where: HANG}) as sink:
        qid = put(mta, f'nexthop=127.0.0.1:{mta.port("hop")}')
        with start_release(mta, qid) as releaser:
            talk = sink.wait_open()
            until(lambda: talk.messages if where == '.' else 'DATA' in talk.verbs, 'it is there')
            assert 'somebody works on it' in refused(mta, 'release', qid)
            assert 'somebody works on it' in refused(mta, 'delete', qid)
            releaser.send_signal(signal.SIGKILL)
    assert state(mta, qid) == [wanted] * 2
    with mta.sink('hop') as sink:
        if wanted == 'uncertain':
            refused(mta, 'release', qid)
        else:
            run(mta, 'release', qid)
        assert len(sink.connections) == (wanted == 'releasing')


def test_two_administrators(mta):
    with mta.sink('hop') as sink:
        qid = put(mta, f'nexthop=127.0.0.1:{mta.port("hop")}')
        releasers = [start_release(mta, qid) for _ in range(8)]
        assert sorted(releaser.wait(30) for releaser in releasers) == [0] + [1] * 7
        sink.wait()
        assert sum(len(talk.messages) for talk in sink.connections) == 1


def test_release_behind_our_filter(mta):
    """Into our own after-filter server: delivered as the client sent it, with the client's name; not twice."""
    mark = mta.log.mark()
    content = b'From: a@b.example\nTo: alice@virt.test\nDate: Sun, 22 Nov 2026 12:00:00 +0000\nMessage-Id: <1@b.example>\n' + MESSAGE
    qid = put(mta, f'nexthop=127.0.0.1:{mta.port("after")}', 'NAME=spike.up.test', 'ADDR=192.0.2.66', 'HELO=spike', 'PROTO=ESMTP', 'reason=ours',
              content=content)
    out, = run_json(mta, 'release', '--reason', 'ours')
    assert out['id'] == qid and out['released'] and out['text'].startswith('250 2.0.0 Ok: queued as ')
    queued = out['text'].split()[-1]
    stored = mta.maildir('alice').wait_for(queued.encode())
    assert stored.endswith(content)
    mta.log.wait(rf'{queued}: client=localhost\[127\.0\.0\.1\], orig_client=spike\.up\.test\[192\.0\.2\.66\]', mark)
    assert run_json(mta, 'release', '--reason', 'ours') == []
    assert 'has been released before' in refused(mta, 'release', qid)
    assert sum(b'caf\xe9' in message for message in mta.maildir('alice').messages()) == 1


def test_refused_by_our_server(mta):
    qid = put(mta, f'nexthop=127.0.0.1:{mta.port("strict")}', 'recipient=x@elsewhere.test')
    assert 'Relay access denied' in refused(mta, 'release', qid)
    assert state(mta, qid) == ['quarantined'] * 2


def test_smtp_sink(mta):
    dump = mta.dir + '/dump'
    os.mkdir(dump)
    os.chmod(dump, 0o777)
    user = ['-u', 'nobody'] if os.geteuid() == 0 else []
    sink = subprocess.Popen(['/usr/sbin/smtp-sink', *user, '-d', dump + '/m.', f'127.0.0.1:{mta.port("smtp-sink")}', '10'])
    try:
        qid = put(mta, f'nexthop=127.0.0.1:{mta.port("smtp-sink")}')
        until(lambda: mta.run('quarantine', 'release', qid).returncode == 0, 'released')
        name, = os.listdir(dump)
        with open(f'{dump}/{name}', 'rb') as file:
            assert file.read().endswith(b'\n' + MESSAGE + b'\n')
    finally:
        sink.terminate()
        sink.wait(10)


# --- with the filter -----------------------------------------------------------------------------------------------------------

def test_filter_to_mailbox(gatepost):
    """What an inspector puts in quarantine comes out as it went in."""
    inspectors = "filter_inspectors = { command: argv=/bin/false, exit=1:quarantine }\n"
    with gatepost(main=inspectors, services={'in': '-o smtpd_proxy_filter=127.0.0.1:{filter}', 'after': AFTER, 'filter':
                  'filter -o filter_nexthop=127.0.0.1:{after}'}) as mta:
        content = 'From: a@b.example\nTo: alice@virt.test\nDate: Sun, 22 Nov 2026 12:00:00 +0000\nMessage-Id: <1@b.example>\n\n.\n\tbody \n'
        with mta.session('in', xclient=mta.STRANGER) as client:
            qid = client.message(content, wanted='~250 2.0.0 Ok: queued as [0-9a-z]{8}').split()[-1]
        record, = run_json(mta, 'list')
        assert record['id'] == qid and record['client']['address'] == '192.0.2.66' and record['client']['name'] == 'spike.up.test'
        assert base64.b64decode(run_json(mta, 'show', qid, '--content')[0]['content']).endswith(content.encode())
        out, = run_json(mta, 'release', qid)
        assert mta.maildir('alice').wait_for(out['text'].split()[-1].encode()).endswith(content.encode())


def test_filter_expires(gatepost):
    inspectors = "filter_inspectors = { command: argv=/bin/true }\n"
    with gatepost(main=inspectors, services={'filter': 'filter -o filter_nexthop=127.0.0.1:{after}'}) as mta:
        old, young = put(mta), put(mta)
        mta.stop()
        with sqlite3.connect(mta.dir + '/data/quarantine/index.db') as database:
            database.execute('UPDATE message SET stored = stored - 31 * 86400000000 WHERE id = ?', (old,))
        database.close()
        mark = mta.log.mark()
        mta.start()
        mta.log.wait('quarantine-expire: by_age=1 by_size=0 garbage=0', mark)
        assert [found['id'] for found in run_json(mta, 'list')] == [young]
