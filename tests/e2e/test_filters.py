"""Our two servers around filters that nobody here wrote."""
import os
import pwd

import pytest
from harness.filters import Amavis, Proxsmtp, Spampd
from harness.instance import AFTER

QUEUED = '~250 .*queued as [0-9A-F]{6,}.*'
GTUBE = 'XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X'


@pytest.fixture(scope='module')
def mta(sut):
    services = {'after': AFTER}
    for name in ('proxsmtp', 'spampd', 'amavis'):
        # what the filter cannot take through is not offered
        proxy = f'-o smtpd_proxy_filter=127.0.0.1:{{{name}}} -o smtpd_discard_ehlo_keywords=chunking,dsn,smtputf8,silent-discard'
        services[name + '_direct'] = proxy
        services[name + '_adjust'] = proxy + ' -o smtpd_proxy_options=speed_adjust'
    with sut(services=services) as mta:
        yield mta


def exists(user):
    try:
        return pwd.getpwnam(user) and os.geteuid() == 0
    except KeyError:
        return False


@pytest.fixture(scope='module')
def proxsmtp(mta):
    with Proxsmtp(mta.port('proxsmtp'), mta.port('after')) as daemon:
        yield daemon


@pytest.fixture(scope='module')
def spampd(mta):
    with Spampd(mta.port('spampd'), mta.port('after')) as daemon:
        yield daemon


@pytest.fixture(scope='module')
def amavis(mta):
    if not exists('amavis'):
        pytest.skip('amavis changes its user: needs root')
    with Amavis(mta.port('amavis'), mta.port('after')) as daemon:
        yield daemon


def send(mta, service, text, wanted=QUEUED, to='alice@virt.test'):
    """What was delivered of a message with this text; None if it was refused."""
    with mta.session(service) as client:
        subject = f'{service} {mta.log.mark()}'
        reply = client.message(f'Subject: {subject}\nFrom: a@b.example\nTo: {to}\nMessage-Id: <{mta.log.mark()}@b.example>\n\n{text}\n', to=to,
                               wanted=wanted)
        client.quit()
    if reply.code == 250:
        return mta.maildir(to.partition('@')[0]).wait_for(f'{subject}\n'.encode())
    return None


@pytest.mark.parametrize('mode', ['direct', 'adjust'])
class TestProxsmtp:
    def test_passes(self, mta, proxsmtp, mode):
        message = send(mta, 'proxsmtp_' + mode, 'hello\n.dot')
        assert b'X-Proxsmtp: seen\n' in message and b'X-Filtered: by proxsmtp\n' in message and message.endswith(b'hello\n.dot\n')

    def test_rejects(self, mta, proxsmtp, mode):
        mark = mta.log.mark()
        send(mta, 'proxsmtp_' + mode, 'this is EVIL', wanted='550 5.7.1 Content Rejected')
        mta.log.wait(r'proxy-reject: END-OF-MESSAGE: 550 5\.7\.1 Content Rejected; .*', mark, 'smtpd')
        assert not [text for text in mta.log.texts(mark, 'qmgr') if 'queue active' in text]


@pytest.mark.parametrize('mode', ['direct', 'adjust'])
class TestSpampd:
    def test_passes(self, mta, spampd, mode):
        message = send(mta, 'spampd_' + mode, 'hello\n.dot')
        assert b'\nX-Spam-Status: No' in message and message.endswith(b'hello\n.dot\n')

    def test_gtube_is_tagged(self, mta, spampd, mode):
        message = send(mta, 'spampd_' + mode, GTUBE)
        assert b'\nX-Spam-Flag: YES\n' in message and b'GTUBE' in message


@pytest.mark.parametrize('mode', ['direct', 'adjust'])
class TestAmavis:
    def test_passes(self, mta, amavis, mode):
        message = send(mta, 'amavis_' + mode, 'hello\n.dot')
        assert b'(amavisd-new' in message or b'amavis.gate.test' in message
        assert message.endswith(b'hello\n.dot\n')

    def test_rejects(self, mta, amavis, mode):
        text = ('MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="b"\n\n--b\nContent-Type: text/plain\n\nx\n--b\n'
                'Content-Type: application/octet-stream; name="x.exe"\nContent-Disposition: attachment; filename="x.exe"\n\nMZ\n--b--\n')
        with mta.session('amavis_' + mode) as client:
            reply = client.message('Subject: banned\nFrom: a@b.example\n' + text)
        assert reply.code == 554 and 'BANNED' in reply, reply


def test_several_recipients(mta, proxsmtp):
    with mta.session('proxsmtp_direct') as client:
        qid = client.message(to=['alice@virt.test', 'bob@virt.test'], wanted=QUEUED)
    for user in ('alice', 'bob'):
        assert b'X-Proxsmtp: seen\n' in mta.maildir(user).wait_for(qid.split('queued as ')[1].split()[0].encode())
