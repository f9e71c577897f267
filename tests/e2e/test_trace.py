"""One id for a message on all its way."""
import json
import os
import re

import pytest
from harness.filters import Proxsmtp
from harness.instance import AFTER
from harness.peer import CLOSE, HANG

pytestmark = pytest.mark.gatepost_only

QUEUED = '~250 2.0.0 Ok: queued as [0-9A-F]{6,}'
E = '451 4.3.0 Error: queue file write error'
STRANGER = 'NAME=spike.up.test ADDR=192.0.2.66 PORT=4711'
ID = '[0-9bcdfghjkmnpqrstvwxyz]{12}'
TIMES = r'delay=\d+\.\d{3} delays=receive:\d+\.\d{3}/wait:\d+\.\d{3}/filter:\d+\.\d{3}'


@pytest.fixture(scope='module')
def mta(gatepost):
    traced = '-o smtpd_proxy_trace=yes -o smtpd_proxy_filter=127.0.0.1:'
    with gatepost(services={
            'direct': traced + '{whole}', 'adjust': traced + '{whole} -o smtpd_proxy_options=speed_adjust',
            'kept': traced + '{whole} -o smtpd_proxy_connection_reuse=yes -o smtpd_proxy_pipelining=yes',
            'foreign': traced + '{proxsmtp} -o smtpd_discard_ehlo_keywords=chunking,dsn,smtputf8,silent-discard',
            'plain': '-o smtpd_proxy_filter=127.0.0.1:{whole}',
            'trusting': traced + '{sink} -o smtpd_authorized_xforward_hosts=127.0.0.1',
            'scripted': traced + '{sink} -o smtpd_recipient_restrictions=check_recipient_access,inline:{no@virt.test=REJECT},permit '
                                 '-o smtpd_reject_unlisted_recipient=no',
            'one': traced + '{sink} -o smtpd_proxy_concurrency_limit=1 -o smtpd_proxy_wait_limit=0',
            'whole': 'filter -o filter_nexthop=127.0.0.1:{after} -o filter_inspectors={command:argv=/bin/true}',
            'jailed': traced + '{jail}',
            'jail': 'filter -o filter_nexthop=127.0.0.1:{after} -o { filter_inspectors = {command: argv=/bin/false, exit=1:quarantine} }',
            'edgy': traced + '{edge}', 'edge': 'filter -o filter_nexthop=127.0.0.1:{sink}',
            'after': AFTER}) as mta:
        yield mta


def begun(mta, mark):
    """The id that the client= line says."""
    return mta.log.wait(rf'NOQUEUE: client=\S+, trace=({ID})', mark, 'smtpd')[1]


@pytest.mark.parametrize('service', ['direct', 'adjust'])
def test_every_hop(mta, service):
    mark = mta.log.mark()
    with mta.session(service, helo=None, xclient=STRANGER) as client:
        client.cmd('EHLO client.example', 250)
        first = client.message(wanted=QUEUED).rpartition(' ')[2]
        trace = begun(mta, mark)
        second = mta.log.mark()
        client.message(wanted=QUEUED)
        assert begun(mta, second) != trace
        client.quit()
    mta.log.wait(rf'{first}: client=localhost\[127\.0\.0\.1\], orig_queue_id={trace}, orig_client=spike\.up\.test\[192\.0\.2\.66\]', mark, 'smtpd')
    mta.log.wait(rf'filter-accept: END-OF-MESSAGE: .* delay=\S+ delays=command:\S+/nexthop:\S+ trace={trace}', mark, 'filter')
    mta.log.wait(rf'proxy-accept: END-OF-MESSAGE: 250 2\.0\.0 Ok: queued as {first}; from=<a@b\.example> to=<alice@virt\.test> proto=ESMTP '
                 rf'helo=<client\.example> {TIMES} trace={trace}', mark, 'smtpd')


def test_off(mta):
    mark = mta.log.mark()
    with mta.session('plain') as client:
        client.message(wanted=QUEUED)
        client.quit()
    mta.log.wait(r'proxy-accept: .* helo=<client\.example>', mark, 'smtpd')
    mta.log.wait(r'filter-accept: .*', mark, 'filter')
    assert not [text for text in mta.log.texts(mark) if 'trace=' in text or 'orig_queue_id' in text]


def test_ident(mta):
    """To a filter that takes it; the incoming session's own goes before ours."""
    with mta.sink('sink') as sink:
        mark = mta.log.mark()
        with mta.session('scripted') as client:
            client.message(wanted=250)
            client.quit()
        assert f' IDENT={begun(mta, mark)} ' in sink.wait(1).command('XFORWARD')[0]
        mark = mta.log.mark()
        with mta.session('trusting') as client:
            client.cmd('XFORWARD IDENT=QQ+20x;y', '250 2.0.0 Ok')
            client.message(wanted=250)
            client.quit()
        assert ' IDENT=QQ?x?y ' in sink.wait(2).command('XFORWARD')[0]
        mta.log.wait(rf'proxy-accept: .* {TIMES} trace=QQ\?x\?y', mark, 'smtpd')


def test_failures(mta):
    """What the client is told stays as it is, the log has the id."""
    with mta.session('scripted') as client:
        mark = mta.log.mark()
        client.cmd('MAIL FROM:<a@b.example>', 250)
        client.cmd('RCPT TO:<no@virt.test>', 554)
        client.cmd('RCPT TO:<alice@virt.test>', E)
        trace = mta.log.wait(rf'warning: connect to proxy filter \S+: .* trace=({ID})', mark, 'smtpd')[1]
        mta.log.wait(rf'NOQUEUE: reject: RCPT from .* helo=<client\.example> trace={trace}', mark, 'smtpd')
    with mta.sink('sink', {'RCPT': ['451 4.7.1 not now', '250 fine'], '.': '550 5.7.1 no'}), mta.session('scripted') as client:
        mark = mta.log.mark()
        client.cmd('MAIL FROM:<a@b.example>', 250)
        client.cmd('RCPT TO:<alice@virt.test>', 451)
        trace = begun(mta, mark)
        mta.log.wait(rf'warning: proxy \S+ rejected "RCPT TO:<alice@virt\.test>": "451 4\.7\.1 not now" trace={trace}', mark, 'smtpd')
        client.cmd('RCPT TO:<alice@virt.test>', 250)
        client.content(wanted='550 5.7.1 no')
        mta.log.wait(rf'proxy-reject: END-OF-MESSAGE: 550 5\.7\.1 no; .* {TIMES} trace={trace}', mark, 'smtpd')


def test_no_slot(mta):
    """The warning comes once a minute; with the id every refusal is there."""
    with mta.sink('sink', {'DATA': HANG}), mta.session('one') as first, mta.session('one') as client:
        first.envelope()
        mark = mta.log.mark()
        for _ in range(2):
            client.cmd('MAIL FROM:<a@b.example>', 250)
            client.cmd('RCPT TO:<alice@virt.test>', '451 4.3.2 Error: try again later')
            client.cmd('RSET', 250)
        pattern = rf'NOQUEUE: reject: RCPT from \S+ 451 4\.3\.2 Error: try again later; .* trace={ID}'
        assert len([text for text in mta.log.texts(mark, 'smtpd') if re.fullmatch(pattern, text)]) == 2


# --- gatepost trace ------------------------------------------------------------------------------------------------------------

def way(mta, *args, status=0):
    done = mta.run('trace', '--json', *args)
    assert done.returncode == status, done
    return [json.loads(line) for line in done.stdout.splitlines()]


def send(mta, service, user='alice', helo='client.example'):
    """A message by our own filter, delivered. Its queue id and where its log lines begin."""
    mark = mta.log.mark()
    with mta.session(service, helo=None, xclient=STRANGER) as client:
        client.cmd('EHLO ' + helo, 250)
        qid = client.message(wanted=QUEUED, to=f'{user}@virt.test').rpartition(' ')[2]
        client.quit()
    mta.log.wait_text(f'{qid}: removed', mark, 'qmgr')
    mta.log.wait(r'disconnect from spike\.up\.test\[192\.0\.2\.66\] .*', mark, 'smtpd')
    return qid, mark


@pytest.mark.parametrize('service', ['direct', 'adjust'])
def test_way(mta, service):
    qid, mark = send(mta, service)
    trace = begun(mta, mark)
    found, = way(mta, trace)
    assert way(mta, qid) == [found]
    assert found['trace'] == [trace] and found['queue_ids'] == [qid] and found['notes'] == found['perhaps'] == []
    assert (found['client'], found['sender'], found['recipient']) == ('spike.up.test[192.0.2.66]', 'a@b.example', 'alice@virt.test')
    hops = {hop: [event for event in found['events'] if event['hop'] == hop] for hop in ('front', 'filter', 'after', 'queue', 'delivery')}
    assert [event['text'].split()[0] for event in hops['front']] == ['connect', 'NOQUEUE:', 'proxy-accept:', 'disconnect']
    assert [event.get('verdict') for event in hops['filter']] == ['accept']
    assert [event['text'].split()[1].split('=')[0] for event in hops['queue']] == ['message-id', 'from', 'removed']
    assert len(hops['after']) == len(hops['delivery']) == 1
    stages = {hop: [stage['name'] for event in hops[hop] for stage in event.get('stages', [])] for hop in hops}
    assert stages == {'front': ['receive', 'wait', 'filter'], 'filter': ['command', 'nexthop'], 'after': [], 'queue': [],
                      'delivery': ['before queue manager', 'in queue manager', 'connection', 'delivery']}
    text = mta.run('trace', trace).stdout
    verdicts = re.search(r'\nverdicts  (.*)\n', text)[1]
    assert sorted(verdicts.split(', ')) == ['delivery sent', 'filter accept', 'front accept']
    assert re.search(r'\n {31}receive [\d.]+ s, wait [\d.]+ s, filter [\d.]+ s\n', text)
    assert [event['text'] for event in found['events']] == re.findall(r'^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  \w+ +(.*)$', text, re.M)


def test_one_of_many(mta):
    """A session's other messages are not this one's."""
    mark = mta.log.mark()
    with mta.session('direct') as client:
        ids = [client.message(wanted=QUEUED).rpartition(' ')[2] for _ in range(3)]
        client.quit()
    mta.log.wait(r'disconnect from .* quit=1 .*', mark, 'smtpd')
    for qid in ids:
        found, = way(mta, qid)
        assert found['queue_ids'] == [qid] and len(found['trace']) == 1
        assert sum('proxy-accept' in event['text'] for event in found['events']) == 1


def test_kept_connection(mta):
    """The filter sees many messages in one session; each has its own id and its own lines."""
    sent = [send(mta, 'kept', user) for user in ('alice', 'bob', 'carol')]
    sessions = set()
    for (qid, mark), user in zip(sent, ('alice', 'bob', 'carol')):
        found, = way(mta, begun(mta, mark))
        assert (found['queue_ids'], found['recipient']) == ([qid], f'{user}@virt.test')
        verdict, = [event for event in found['events'] if event['hop'] == 'filter']
        sessions.add(verdict['session'])
        assert len(found['events']) == 10, found
    assert len(sessions) == 1


def test_list(mta):
    """Without an id: whose 451 was that?"""
    with mta.session('scripted', helo=None, xclient='NAME=[UNAVAILABLE] ADDR=192.0.2.77') as client:
        mark = mta.log.mark()
        client.cmd('EHLO client.example', 250)
        client.cmd('MAIL FROM:<a@b.example>', 250)
        client.cmd('RCPT TO:<alice@virt.test>', E)
        client.quit()
    trace = mta.log.wait(rf'warning: connect to proxy filter \S+: .* trace=({ID})', mark, 'smtpd')[1]
    mta.log.wait(r'disconnect from unknown\[192\.0\.2\.77\] .*', mark, 'smtpd')
    row, = way(mta, '--client', '192.0.2.77', '--since', '1h')
    assert (row['id'], row['verdict'], row['client']) == (trace, 'none', 'unknown[192.0.2.77]')
    assert row['text'].startswith('warning: connect to proxy filter')
    qid, mark = send(mta, 'direct', helo='listed.example')
    rows = [row for row in way(mta, '--client', 'spike.up.test') if row['id'] == begun(mta, mark)]
    assert [(row['verdict'], row['sender'], row['recipient']) for row in rows] == [('accept', 'a@b.example', 'alice@virt.test')]
    assert not way(mta, '--client', '192.0.2.77', '--until', '1h', status=1)
    assert not way(mta, '--client', '192.0.2.78', status=1)
    assert trace in mta.run('trace', '--client', '192.0.2.77').stdout


def test_foreign_filter(mta):
    """It drops XFORWARD: its reply leads on; where that says nothing, nothing is claimed."""
    offer = '250-filter.test\n250 8BITMIME'
    mark = mta.log.mark()
    with mta.session('after') as client:
        qid = client.message(wanted=QUEUED).rpartition(' ')[2]
        client.quit()
    with mta.sink('sink', {'EHLO': offer, '.': [f'250 2.0.0 from MTA: 250 2.0.0 Ok: queued as {qid}', '250 2.0.0 mine']}), \
            mta.session('scripted') as client:
        client.message(wanted=250)
        named = begun(mta, mark)
        second = mta.log.mark()
        client.message(wanted=250)
        mute = begun(mta, second)
        client.quit()
    mta.log.wait_text(f'{qid}: removed', mark, 'qmgr')
    mta.log.wait(rf'proxy-accept: .* trace={mute}', mark, 'smtpd')
    found, = way(mta, named)
    assert found['queue_ids'] == [qid] and [note.partition(':')[0] for note in found['notes']] == ['the filter did not pass on XFORWARD IDENT']
    assert found['events'][-1]['text'] in (f'{qid}: removed', 'disconnect from localhost[127.0.0.1] ehlo=1 mail=2 rcpt=2 data=2 quit=1 commands=8')
    found, = way(mta, mute)
    assert found['queue_ids'] == [] and found['notes'][0].startswith('lost sight behind the filter: ')
    assert qid in found['perhaps']  # same sender, same time: no more is said


def test_lost_behind_the_filter(mta):
    mark = mta.log.mark()
    with mta.sink('sink', {'.': CLOSE}), mta.session('edgy') as client:
        client.message(wanted=E)
        client.quit()
    trace = begun(mta, mark)
    mta.log.wait(r'disconnect from .* quit=1 commands=4/5', mark, 'smtpd')
    mta.log.wait(rf'warning: lost connection with next hop 127\.0\.0\.1:\d+ trace={trace}', mark, 'filter')
    found, = way(mta, trace)
    assert [event['text'].split(':')[0] for event in found['events'] if event['hop'] == 'filter'] == ['warning', 'filter-reject']
    assert [event['verdict'] for event in found['events'] if 'verdict' in event] == ['reject', 'reject']


def test_quarantine(mta):
    """It is kept with the message, and joins its release with how it came."""
    mark = mta.log.mark()
    with mta.session('jailed') as client:
        kept = client.message(wanted='~250 2.0.0 Ok: queued as [0-9a-z]{8}').rpartition(' ')[2]
        client.quit()
    trace = begun(mta, mark)
    mta.log.wait(r'disconnect from .* quit=1 commands=5', mark, 'smtpd')
    listed = mta.run('quarantine', 'list', '--trace', trace, '--json').stdout.splitlines()
    assert [json.loads(line)['id'] for line in listed] == [kept]
    canceled = mta.log.wait(r'(\w+): removed \(canceled\)', mark, 'cleanup')[1]  # it was to get it, up to DATA
    found, = way(mta, kept)
    assert (found['trace'], found['queue_ids'], found['notes']) == ([trace], [canceled], [])
    assert [event['verdict'] for event in found['events'] if 'verdict' in event] == ['quarantine', 'accept']
    assert mta.run('quarantine', 'release', kept).returncode == 0
    qid = mta.log.wait(r'(\w+): removed', mark, 'qmgr')[1]
    assert way(mta, trace)[0]['queue_ids'] == [canceled, qid]


def test_proxsmtp(mta):
    """A filter that knows nothing of ids and hands them on."""
    with Proxsmtp(mta.port('proxsmtp'), mta.port('after')):
        mark = mta.log.mark()
        with mta.session('foreign') as client:
            client.message(wanted=250)
            client.quit()
        trace = begun(mta, mark)
        mta.log.wait(r'disconnect from .* quit=1 commands=5', mark, 'smtpd')
        qid = mta.log.wait(r'(\w+): removed', mark, 'qmgr')[1]
        found, = way(mta, trace)
        assert found['queue_ids'] == [qid] and not found['notes']
        assert sorted(event['verdict'] for event in found['events'] if 'verdict' in event) == ['accept', 'sent']


def test_two_logs(gatepost, postfix):
    """The after-filter server is Postfix and has a log of its own."""
    with postfix(services={'after': AFTER}) as behind, gatepost(services={
            'front': f'-o smtpd_proxy_trace=yes -o smtpd_proxy_filter=127.0.0.1:{behind.port("after")}'}) as front:
        with front.session('front') as client:
            qid = client.message(wanted=QUEUED).rpartition(' ')[2]
            client.quit()
        front.log.wait(r'disconnect from .*', 0, 'smtpd')
        behind.log.wait_text(f'{qid}: removed', 0, 'qmgr')
        found, = way(front, begun(front, 0), '--log', front.log.path, '--log', behind.log.path)
        assert found['queue_ids'] == [qid] and not found['notes']
        assert sorted(event['verdict'] for event in found['events'] if 'verdict' in event) == ['accept', 'sent']
        assert [event['time'] for event in found['events']] == sorted(event['time'] for event in found['events'])


def test_rotated(mta):
    """The log before and after logrotate, and a log that is named."""
    qid, mark = send(mta, 'direct')
    before, = way(mta, qid)
    assert mta.run('logrotate').returncode == 0
    assert [name for name in os.listdir(mta.dir) if re.fullmatch(r'mail\.log\.\S+\.gz', name)]
    assert way(mta, qid) == [before]
    packed, = [name for name in os.listdir(mta.dir) if name.endswith('.gz')]
    assert way(mta, '--log', f'{mta.dir}/{packed}', qid) == [before]
    assert 'not in the log' in mta.run('trace', 'zzzzzzzzzzzz').stderr
    assert mta.run('trace', '--log', mta.dir + '/nowhere', qid).returncode == 66
    assert mta.run('trace', '--since', 'yesterday', qid).returncode == 64
