"""The specification's master.cf as it is printed there, port 25 and all, in a network of its own; and `make run`."""
import os
import re
import signal
import subprocess

import pytest
from harness.client import Client
from harness.instance import MASTER
from harness.maildir import Maildir
from harness.namespace import Namespace
from harness.peer import Relay, until

HERE = os.path.dirname(os.path.abspath(__file__))
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason='namespaces need root')
QUEUED = '~250 2.0.0 Ok: queued as [0-9A-F]{6,}'


@pytest.fixture(scope='module')
def mta(sut):
    with open(HERE + '/data/specification-master.cf') as file:
        example = file.read()
    # Debian's chroot is of no use here: an empty field is the default, which is n.
    with Namespace(more='echo "127.0.0.1 localhost\n::1 localhost\n192.0.2.7 far.example.test other.example.test" > /etc/hosts; '
                        'echo "nameserver 127.0.0.1" > /etc/resolv.conf; '
                        'for n in 1 7 9; do ip addr add 192.0.2.$n/24 dev lo; done') as namespace:
        mta = sut(main='inet_interfaces = all\ninet_protocols = all\nmynetworks = 127.0.0.0/8 [::1]/128\n',
                  base=MASTER)
        mta.prefix = namespace.prefix
        with open(mta.dir + '/conf/master.cf', 'a') as file:
            file.write(example)
        with mta:
            mta.namespace = namespace
            yield mta


@pytest.fixture
def relay(mta):
    with mta.namespace.inside():
        relay = Relay(('127.0.0.1', 10025), ('127.0.0.1', 10026))
    relay.enter = mta.namespace.inside
    with relay:
        yield relay


def connect(mta, host='127.0.0.1', source=None, port=25):
    with mta.namespace.inside():
        return Client((host, port), source)


def test_whole_way(mta, relay):
    mark = mta.log.mark()
    with connect(mta, '192.0.2.1', '192.0.2.7') as client:
        client.expect('220 mx.gate.test ESMTP Conform')
        client.cmd('EHLO client.example', 250)
        qid = client.message(wanted=QUEUED).rpartition(' ')[2]
        client.cmd('MAIL FROM:<a@b.example>', 250)
        client.cmd('RCPT TO:<x@elsewhere.test>', '554 5.7.1 <x@elsewhere.test>: Relay access denied')
        client.cmd('RCPT TO:<nobody@virt.test>', 550)
        client.quit()
    message = mta.maildir('alice').wait_for(qid.encode())
    assert b'Received: from client.example (far.example.test [192.0.2.7])\n' in message
    mta.log.wait_text(f'{qid}: client=localhost[127.0.0.1], orig_client=far.example.test[192.0.2.7]', mark, 'smtpd')
    mta.log.wait_text('NOQUEUE: client=far.example.test[192.0.2.7]', mark, 'smtpd')


def test_refused_by_the_filter(mta, relay):
    for verdict in ('554 5.7.1 no such thing', '450 4.7.1 come back'):
        mark = mta.log.mark()
        relay.verdict = lambda content: verdict
        with connect(mta) as client:
            client.expect(220)
            client.cmd('EHLO client.example', 250)
            client.message(wanted=verdict)
            client.quit()
        mta.log.wait(r'.*lost connection after DATA \(0 bytes\) from localhost\[127\.0\.0\.1\]', mark, 'smtpd')
        assert not [text for text in mta.log.texts(mark, 'qmgr') if 'queue active' in text]


def test_connection_count_limit(mta):
    """Ten for a stranger; a client of mynetworks does not notice."""
    clients = [connect(mta, '192.0.2.1', '192.0.2.7') for _ in range(10)]
    for client in clients:
        client.expect(220)
    with connect(mta, '192.0.2.1', '192.0.2.7') as client:
        client.expect('421 4.7.0 mx.gate.test Error: too many connections from 192.0.2.7')
    for client in clients:
        client.close()


def test_process_limit(mta):
    """Twenty sessions; the next one waits, and the log says so once."""
    mark = mta.log.mark()
    clients = [connect(mta) for _ in range(20)]
    for client in clients:
        client.expect(220)
    with connect(mta) as late:
        late.expect_silence(0.3)
        clients.pop().cmd('QUIT', 221)
        late.expect(220)
    for client in clients:
        client.close()
    mta.log.wait(r'warning: service "smtp" \(25\) has reached its process limit "20": new clients may experience noticeable delays', mark,
                 'master')
    mta.log.wait_text('warning: to avoid this condition, increase the process count in master.cf or reduce the service time per client', mark,
                      'master')


def test_ipv6(mta, relay):
    mark = mta.log.mark()
    with connect(mta, '::1') as client:
        client.expect(220)
        client.cmd('EHLO client.example', 250)
        qid = client.message(wanted=QUEUED).rpartition(' ')[2]
        client.quit()
    assert b'\r\nXFORWARD NAME=localhost ADDR=IPv6:::1 PORT=%d HELO=client.example ' % client.port in relay.wait(1).front
    mta.log.wait_text('connect from localhost[::1]', mark, 'smtpd')
    mta.log.wait_text(f'{qid}: client=localhost[127.0.0.1], orig_client=localhost[::1]', mark, 'smtpd')
    assert b'Received: from client.example (localhost [IPv6:::1])\n' in mta.maildir('alice').wait_for(qid.encode())


def test_client_without_a_name(mta):
    """Nobody answers for it: it is unknown, after a while that a client bears."""
    mark = mta.log.mark()
    with connect(mta, '192.0.2.1', '192.0.2.9') as client:
        client.expect(220)
        client.quit()
    mta.log.wait_text('connect from unknown[192.0.2.9]', mark, 'smtpd')


@pytest.mark.parametrize('words', [
    ['swaks', '--server', '127.0.0.1', '--from', 'a@b.example', '--to', 'alice@virt.test', '--h-Subject', 'from swaks', '--silent', '2'],
    ['sh', '-c', "printf 'Subject: from curl\\n\\nbody\\n' | curl -sS smtp://127.0.0.1 --mail-from a@b.example --mail-rcpt alice@virt.test -T -"],
    ['smtp-source', '-c', '-m', '20', '-s', '5', '-f', 'a@b.example', '-t', 'alice@virt.test', '-S', 'from smtp-source', '127.0.0.1:25'],
], ids=['swaks', 'curl', 'smtp-source'])
def test_clients(mta, relay, words):
    done = subprocess.run([*mta.namespace.prefix, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    name = words[0] if words[0] != 'sh' else 'curl'
    count = 20 if name == 'smtp-source' else 1
    until(lambda: len([m for m in mta.maildir('alice').messages() if f'Subject: from {name}'.encode() in m]) == count, 'the mail', 30)


@pytest.mark.gatepost_only
def test_make_run(gatepost):
    """What `make run` does after building: the printed command sends a message, it lies where it was said, Ctrl-C ends it all."""
    from harness.instance import Gatepost
    with Namespace() as namespace:
        run = namespace.dir + '/run'
        proc = subprocess.Popen([*namespace.prefix, HERE + '/../../tools/run', Gatepost.program, run], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
        shown = []
        try:
            while not shown or 'daemon started' not in shown[-1]:
                line = proc.stdout.readline()
                assert line, ''.join(shown)
                shown.append(line)
            command = next(line.strip() for line in shown if 'smtp://' in line)
            done = subprocess.run([*namespace.prefix, 'sh', '-c', command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  timeout=30)
            assert done.returncode == 0, done.stderr
            place = re.search(r'find it in (\S+?):?\n', ''.join(shown))[1]
            assert place == run + '/mail/user/new/'
            message, = Maildir(run + '/mail/user').wait(1)
            assert b'Subject: hello\n' in message and message.endswith(b'\nfirst message\n') and message.count(b'\nReceived: ') == 2
            owner = os.stat(run + '/mail/user').st_uid
            assert owner != 0
            os.killpg(proc.pid, signal.SIGINT)  # as the terminal does
            assert proc.wait(15) == 0
        finally:
            if proc.poll() is None:
                os.killpg(proc.pid, signal.SIGTERM)
                proc.wait(10)
            proc.stdout.close()
