"""One id for a message on all its way."""
import re

import pytest
from harness.instance import AFTER
from harness.peer import HANG

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
            'plain': '-o smtpd_proxy_filter=127.0.0.1:{whole}',
            'trusting': traced + '{sink} -o smtpd_authorized_xforward_hosts=127.0.0.1',
            'scripted': traced + '{sink} -o smtpd_recipient_restrictions=check_recipient_access,inline:{no@virt.test=REJECT},permit '
                                 '-o smtpd_reject_unlisted_recipient=no',
            'one': traced + '{sink} -o smtpd_proxy_concurrency_limit=1 -o smtpd_proxy_wait_limit=0',
            'whole': 'filter -o filter_nexthop=127.0.0.1:{after} -o filter_inspectors={command:argv=/bin/true}',
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
