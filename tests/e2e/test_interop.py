"""Each part beside real Postfix."""
import re
import subprocess

import pytest
from harness.instance import AFTER
from harness.peer import until

pytestmark = pytest.mark.gatepost_only
QUEUED = '~250 2.0.0 Ok: queued as [0-9A-F]{6,}'
STRANGER = 'NAME=spike.up.test ADDR=192.0.2.66 PORT=4711'


@pytest.fixture(scope='module')
def behind(postfix):
    """Real Postfix as the after-filter server."""
    with postfix(services={'after': AFTER}) as mta:
        yield mta


@pytest.fixture(scope='module')
def ours(gatepost, behind):
    """Our front, with a foreign pass-through filter and with ours, to Postfix; and our filter and back for Postfix's front."""
    proxy = '-o smtpd_proxy_filter=127.0.0.1:{relay}'
    own = '-o smtpd_proxy_filter=127.0.0.1:{filter}'
    adjust = ' -o smtpd_proxy_options=speed_adjust'
    after = behind.port('after')
    with gatepost(services={
            'direct': proxy, 'adjust': proxy + adjust, 'own_direct': own, 'own_adjust': own + adjust,
            'straight': f'-o smtpd_proxy_filter=127.0.0.1:{after}',
            'filter': f'filter -o filter_nexthop=127.0.0.1:{after}',
            'back_filter': 'filter -o filter_nexthop=127.0.0.1:{back}', 'back': AFTER}) as mta:
        yield mta


def relay_to(ours, behind):
    from harness.peer import Relay
    return Relay(('127.0.0.1', ours.port('relay')), ('127.0.0.1', behind.port('after')))


@pytest.mark.parametrize('service', ['direct', 'adjust', 'own_direct', 'own_adjust', 'straight'])
def test_our_front(ours, behind, service):
    mark = behind.log.mark()
    with relay_to(ours, behind), ours.session(service, helo=None, xclient=STRANGER) as client:
        client.cmd('EHLO client.example', 250)
        ids = []
        for i in range(3):
            ids.append(client.message(f'Subject: {i}\n\n.dot\n\xe4{i}\n', to=['alice@virt.test', 'bob@virt.test'], wanted=QUEUED).rpartition(' ')[2])
        client.cmd('MAIL FROM:<a@b.example>', 250)
        client.cmd('RCPT TO:<nobody@virt.test>', 550)
        client.quit()
    for i, qid in enumerate(ids):
        for user in ('alice', 'bob'):
            assert behind.maildir(user).wait_for(qid.encode()).endswith(f'\n\n.dot\n\xe4{i}\n'.encode())
        behind.log.wait(rf'{qid}: client=localhost\[127\.0\.0\.1\], orig_client=spike\.up\.test\[192\.0\.2\.66\]', mark, 'smtpd')


@pytest.mark.parametrize('service', ['direct', 'adjust', 'own_direct', 'own_adjust'])
def test_postfix_refuses(ours, behind, service):
    with relay_to(ours, behind), ours.session(service) as client:
        client.message('Received: x\n' * 60 + '\nb\n', wanted='554 5.4.0 Error: too many hops')
        client.message(wanted=QUEUED)


@pytest.fixture(scope='module')
def front(postfix, ours):
    """Real Postfix as the before-filter server, our filter, our back."""
    own = f'-o smtpd_proxy_filter=127.0.0.1:{ours.port("back_filter")}'
    back = f'-o smtpd_proxy_filter=127.0.0.1:{ours.port("back")}'
    with postfix(services={'direct': own, 'adjust': own + ' -o smtpd_proxy_options=speed_adjust', 'straight': back}) as mta:
        yield mta


@pytest.mark.parametrize('service', ['direct', 'adjust', 'straight'])
def test_postfix_in_front(ours, front, service):
    mark = ours.log.mark()
    with front.session(service, helo=None, xclient=STRANGER) as client:
        client.cmd('EHLO client.example', 250)
        qid = client.message('Subject: x\n\n.dot\n\xe4\n', wanted=QUEUED).rpartition(' ')[2]
        client.message('Received: x\n' * 60 + '\nb\n', wanted='554 5.4.0 Error: too many hops')
        client.quit()
    assert ours.maildir('alice').wait_for(qid.encode()).endswith('\n\n.dot\n\xe4\n'.encode())
    ours.log.wait(rf'{qid}: client=localhost\[127\.0\.0\.1\], orig_client=spike\.up\.test\[192\.0\.2\.66\]', mark, 'smtpd')


def test_load_through_both(ours, front, behind):
    """smtp-source at our front with Postfix behind, and at Postfix's front with us behind: nothing lost, nothing twice."""
    for mta, target, to in ((ours, behind, 'own_direct'), (front, ours, 'direct'), (front, ours, 'adjust'), (ours, behind, 'own_adjust')):
        target.maildir('carol').clear()
        done = subprocess.run(['smtp-source', '-m', '100', '-s', '10', '-l', '4000', '-f', 'a@b.example', '-t', 'carol@virt.test',
                               f'127.0.0.1:{mta.port(to)}'], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        until(lambda: len(target.maildir('carol').files()) >= 100, 'all messages', 30)
        assert len(target.maildir('carol').files()) == 100
        ids = {re.search(rb'with ESMTP id (\w+)', m)[1] for m in target.maildir('carol').messages()}
        assert len(ids) == 100


def test_delivery_to_postfix(gatepost, behind):
    """Our smtp client and Postfix's server."""
    with gatepost(main=f'relayhost = [127.0.0.1]:{behind.port("after")}\nvirtual_mailbox_domains =\nmydestination =\n'
                       'relay_domains = virt.test\n', services={'in': ''}) as mta:
        mark = mta.log.mark()
        with mta.session('in') as client:
            qid = client.message('Subject: relayed\n\n.dot\n', to=['alice@virt.test', 'bob@virt.test'], wanted=QUEUED).rpartition(' ')[2]
        for user in ('alice', 'bob'):
            match = mta.log.wait(rf'{qid}: to=<{user}@virt\.test>, relay=127\.0\.0\.1\[127\.0\.0\.1\]:{behind.port("after")}, delay=.*, dsn=2\.0\.0, '
                                 r'status=sent \(250 2\.0\.0 Ok: queued as (\w+)\)', mark, 'smtp')
            assert behind.maildir(user).wait_for(match[1].encode()).endswith(b'\n\n.dot\n')
