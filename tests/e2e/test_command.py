"""The filter's `command:` inspector: software that does not speak SMTP decides."""
import os
import re

import pytest
from harness.filters import Clamd, Spamd
from harness.instance import AFTER
from harness.peer import until

pytestmark = pytest.mark.gatepost_only

E = '451 4.3.0 Error: queue file write error'
QUEUED = '~250 2.0.0 Ok: queued as [0-9A-F]{6,}'
GTUBE = 'XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X'
HEADERS = 'From: a@b.example\nTo: alice@virt.test\nDate: Sun, 22 Nov 2026 12:00:00 +0000\nMessage-Id: <1@b.example>\n'
# Does what the message's Do: header says; in it $1 is what stands behind.
DO = "argv=/bin/sh -c {eval \"$$(sed -n 's/^Do: //p' | head -n1)\"} sh"


def line(*inspectors, more=''):
    listed = ', '.join('{ %s }' % inspector for inspector in inspectors)
    return f'filter -o filter_nexthop=127.0.0.1:{{after}} -o {{ filter_inspectors = {listed} }} {more}'


@pytest.fixture(scope='module')
def mta(sut):
    services = {
        'after': AFTER,
        'do': line(f'command: {DO}'),
        'file': line(f'command: {DO} ${{file}} ${{sender}} ${{recipient}}'),
        'text': line(f'command: {DO}, stdout=text, exit=1:reject, 2:tempfail, 3:quarantine, 4:accept'),
        'message': line(f'command: {DO}, stdout=message'),
        'brief': line(f'command: {DO}, timeout=1s'),
        'lenient': line(f'command: {DO}, timeout=1s, on_failure=accept'),
        'keeping': line(f'command: {DO}, timeout=1s, on_failure=quarantine'),
        'small': line(f'command: {DO}, size_limit=1k'),
        'narrow': line(f'command: {DO}', more='-o message_size_limit=2000'),
        'thin': line(f'command: {DO}, memory_limit=100M, cpu_limit=1s'),
        'one': line(f'command: {DO}, concurrency_limit=1, timeout=2s'),
        'two': line(f'command: {DO}, stdout=message, name=first', f'command: {DO}, name=second'),
        'hasty': line(f'command: {DO}', f'command: {DO}', more='-o filter_deadline=2s'),
        'lone': line(f'command: {DO}').replace('{after}', '{next}'),
        'spamc': line('command: argv=/usr/bin/spamc -E -x -d 127.0.0.1 -p {spamd}, exit=1:reject,69:tempfail'),
        'clamdscan': line('command: argv=/usr/bin/clamdscan --config-file={clamd_conf} --stream --no-summary -, exit=1:reject, stdout=text')
        .replace('{clamd_conf}', '/tmp/gp-clamd-{clamd}.conf'),
        'altermime': line('command: argv=/usr/bin/altermime --input=${file} --disclaimer={dir}/conf/main.cf'),
        'front': '-o smtpd_proxy_filter=127.0.0.1:{do}',
    }
    with sut(services=services) as mta:
        yield mta


def send(mta, service, do, body='body\n', wanted=QUEUED, to='alice@virt.test', **more):
    """The reply, and what was delivered (None: refused, or not wanted)."""
    subject = f'{service} {mta.log.mark()} {os.urandom(4).hex()}'
    with mta.session(service) as client:
        reply = client.message(f'Do: {do}\n{HEADERS}Subject: {subject}\n\n{body}', wanted=wanted, to=to, **more)
        client.quit()
    if wanted != QUEUED:
        return reply, None
    return reply, mta.maildir('alice').wait_for(f'{subject}\n'.encode())


@pytest.mark.parametrize('do, wanted', [
    ('echo no thanks >&2; exit 69', '550 5.7.1 no thanks'),
    ('printf "one\\n5.6.0 two\\n\\n" >&2; exit 69', '550 5.6.0 two'),
    ('printf "x\\r\\n250 y" >&2; exit 69', '550 5.7.1 250 y'),
    ('exit 69', '550 5.7.1 Message refused'),
    ('exit 75', '451 4.3.0 temporary failure'),
    ('echo later >&2; exit 75', '451 4.3.0 later'),
    ('exit 65', '550 5.6.0 data format error'),
    ('exit 99', '250 2.0.0 Ok'),
    ('exit 1', E), ('exit 255', E), ('kill -9 $$', E),
])
def test_exit_status(mta, do, wanted):
    mark = mta.log.mark()
    send(mta, 'do', do, wanted=wanted)
    mta.log.wait(r'filter-(reject|tempfail|discard): END-OF-MESSAGE: .*delays=command:.*', mark, 'filter')
    assert not [text for text in mta.log.texts(mark, 'qmgr') if 'queue active' in text]


def test_accept_changes_no_octet(mta):
    body = '.\n..\n \t\n\xff\xe4\n' + 'x' * 5000 + '\nlast\n'
    for service in ('do', 'file'):
        assert send(mta, service, 'exit 0', body)[1].endswith(('\n\n' + body).encode())


def test_through_the_front(mta):
    mark = mta.log.mark()
    send(mta, 'front', 'echo virus found >&2; exit 69', wanted='550 5.7.1 virus found')
    mta.log.wait_text('proxy-reject: END-OF-MESSAGE: 550 5.7.1 virus found; from=<a@b.example> to=<alice@virt.test> proto=ESMTP helo=<client.example>',
                      mark, 'smtpd')
    send(mta, 'front', 'exit 0')


def test_environment(mta):
    with mta.session('do') as client:
        client.cmd('XFORWARD NAME=spike.up.test ADDR=192.0.2.66 HELO=up.test', 250)
        client.message('Do: echo "$SENDER,$RECIPIENT,$CLIENT_ADDRESS,$CLIENT_HELO" | tr "\\n" " " >&2; exit 69\n\n',
                       to=['alice@virt.test', 'bob@virt.test'], wanted='550 5.7.1 a@b.example,alice@virt.test bob@virt.test,192.0.2.66,up.test')


def test_arguments(mta):
    send(mta, 'file', 'echo $2 $3 >&2; exit 69', wanted='550 5.7.1 a@b.example alice@virt.test')


def test_private_copy_is_taken_back(mta):
    message = send(mta, 'file', 'sed -i "s/body/other/" $1; echo .more >>$1')[1]
    assert message.endswith(b'\n\nother\n.more\n')
    send(mta, 'file', 'rm $1', wanted=E)
    send(mta, 'file', 'rm $1; ln -s /etc/passwd $1', wanted=E)
    send(mta, 'file', 'echo $PWD >&2; exit 69', wanted='~550 5.7.1 /tmp/gatepost-[0-9a-f]+')
    until(lambda: not [name for name in os.listdir('/tmp') if name.startswith('gatepost-') and len(name) == 25 and
                       os.stat(f'/tmp/{name}').st_uid == 65534], 'nothing is left')


def test_message_on_standard_output(mta):
    send(mta, 'message', 'printf "X-New: 1\\r\\n\\r\\nnew\\r\\n.dot\\r\\n"; printf "last"', wanted='~250 .*')
    message = mta.maildir('alice').wait_for(b'X-New: 1\n')
    assert message.endswith(b'\n\nnew\n.dot\nlast\n')
    send(mta, 'message', 'exit 0', wanted=E)
    send(mta, 'message', 'yes | head -c 20000000', wanted=E)


def test_text_on_standard_output(mta):
    send(mta, 'text', 'echo out; echo err >&2; exit 1', wanted='550 5.7.1 out')
    send(mta, 'text', 'echo out; exit 2', wanted='451 4.7.1 out')
    send(mta, 'text', 'echo out; exit 4')


def test_quarantine(mta):
    mark = mta.log.mark()
    reply = send(mta, 'text', 'echo suspicious; exit 3', wanted='~250 2.0.0 Ok: queued as [0-9a-z]{8}')[0]
    mta.log.wait(rf'filter-quarantine: END-OF-MESSAGE: {re.escape(str(reply))}; .* reason=command: suspicious', mark, 'filter')
    assert not [text for text in mta.log.texts(mark, 'qmgr') if 'queue active' in text]


def test_no_answer_in_time(mta):
    mark = mta.log.mark()
    name = f'gone{os.getpid()}'
    send(mta, 'brief', f'(sleep 1000; : {name}) & sleep 1000; : {name}', wanted=E)
    mta.log.wait(r'warning: inspector command: not inspected: /bin/sh: no answer in time; on_failure=tempfail', mark, 'filter')
    until(lambda: not any(name in command for command in commands()), 'its processes are gone')
    send(mta, 'lenient', 'sleep 1000')
    send(mta, 'keeping', 'sleep 1000', wanted='~250 2.0.0 Ok: queued as [0-9a-z]{8}')


def commands():
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try:
            with open(f'/proc/{pid}/cmdline') as file:
                yield file.read()
        except OSError:
            pass


def test_deadline_of_all(mta):
    mark = mta.log.mark()
    send(mta, 'hasty', 'sleep 1000', wanted=E)
    mta.log.wait(r'filter-tempfail: .* delay=2.*', mark, 'filter')


def test_size_limit(mta):
    mark = mta.log.mark()
    send(mta, 'small', 'exit 69', 'x\n', wanted='550 5.7.1 Message refused')
    send(mta, 'small', 'exit 69', 'x' * 1024 + '\n')
    mta.log.wait(r'inspector command: not inspected: \d+ octets are more than size_limit=1024', mark, 'filter')


def test_too_large_to_be_held_back(mta):
    mark = mta.log.mark()
    with mta.session('narrow') as client:
        client.message('Do: exit 0\n\n' + 'x' * 1900 + '\n', wanted=QUEUED)
        client.message('Do: exit 0\n\n' + 'x' * 2000 + '\n', wanted='552 5.3.4 Error: message file too big')
    mta.log.wait(r'filter-reject: END-OF-MESSAGE: 552 5\.3\.4 Error: message file too big; .*', mark, 'filter')


def test_limits_of_a_program(mta):
    send(mta, 'thin', 'while :; do :; done', wanted=E)
    send(mta, 'thin', 'python3 -c "x = bytearray(500 << 20)" 2>/dev/null; [ $? = 0 ] || exit 69', wanted='550 5.7.1 Message refused')


def test_one_at_a_time(mta):
    """The second waits for the first, and is not refused while there is time."""
    busy = f'{mta.dir}/vmail/busy'
    if os.geteuid() == 0:
        os.chmod(f'{mta.dir}/vmail', 0o777)
    with mta.session('one') as first, mta.session('one') as second:
        for client in (first, second):
            for command in ('MAIL FROM:<a@b.example>', 'RCPT TO:<alice@virt.test>', 'DATA'):
                client.cmd(command)
            client.send(f'Do: mkdir {busy} || exit 69; sleep 0.3; rmdir {busy}\r\n\r\n.\r\n'.encode())
        first.expect(250)
        second.expect(250)


def test_a_chain(mta):
    """Each sees what the one before changed."""
    send(mta, 'two', 'printf "Do: exit 69\\n\\n"', wanted='550 5.7.1 Message refused')
    mark = mta.log.mark()
    send(mta, 'two', 'cat >/dev/null; printf "Do: exit 0\\nX-By: first\\n\\nx\\n"', wanted='~250 .*')
    assert mta.maildir('alice').wait_for(b'X-By: first\n')
    mta.log.wait(r'filter-accept: .* delays=first:[0-9.e-]+/second:[0-9.e-]+/nexthop:.*', mark, 'filter')


def test_a_refused_message_is_never_begun(mta):
    with mta.sink('next') as sink:
        with mta.session('lone') as client:
            for do, wanted in (('exit 69', '550 5.7.1 Message refused'), ('exit 99', '250 2.0.0 Ok'), ('exit 0', 250)):
                for command, code in (('MAIL FROM:<a@b.example>', 250), ('RCPT TO:<alice@virt.test>', 250), ('DATA', 354)):
                    client.cmd(command, code)
                client.send(f'Do: {do}\r\n\r\nx\r\n.\r\n'.encode())
                client.expect(wanted)
        talks = [sink.wait(number) for number in (1, 2, 3)]
    for talk in talks[:2]:
        assert [command.split(b' ')[0] for command in talk.commands] == [b'EHLO', b'MAIL', b'RCPT'], talk.commands
    assert [command.split(b' ')[0] for command in talks[2].commands][:4] == [b'EHLO', b'MAIL', b'RCPT', b'DATA']


def test_user(mta):
    if os.geteuid() != 0:
        pytest.skip('another user needs root')
    send(mta, 'do', 'echo $(id -un) $(id -Gn) >&2; exit 69', wanted='550 5.7.1 nobody nogroup')


def test_spamc(mta):
    with Spamd(mta.port('spamd'), 0):
        send(mta, 'spamc', 'x', 'hello\n')
        mark = mta.log.mark()
        send(mta, 'spamc', 'x', GTUBE + '\n', wanted='550 5.7.1 Message refused')
        mta.log.wait(r'filter-reject: END-OF-MESSAGE: 550 5\.7\.1 Message refused; .*', mark, 'filter')
    send(mta, 'spamc', 'x', 'hello\n', wanted='451 4.7.1 Message refused')


def test_clamdscan(mta):
    with Clamd(mta.port('clamd'), 0) as clamd:
        os.symlink(clamd.conf, f'/tmp/gp-clamd-{mta.port("clamd")}.conf')
        try:
            send(mta, 'clamdscan', 'x', 'hello\n')
            send(mta, 'clamdscan', 'x', Clamd.EICAR + '\n', wanted='~550 5.7.1 stream: Test.Eicar.* FOUND')
        finally:
            os.unlink(f'/tmp/gp-clamd-{mta.port("clamd")}.conf')
    send(mta, 'clamdscan', 'x', 'hello\n', wanted=E)


def test_altermime(mta):
    message = send(mta, 'altermime', 'x', 'hello\n')[1]
    assert b'\nhello\n' in message and b'queue_directory' in message


def test_who_left_meanwhile_gets_no_mail_delivered(mta):
    """It will come again: it never heard a 250."""
    mark = mta.log.mark()
    client = mta.session('do')
    for command in ('MAIL FROM:<a@b.example>', 'RCPT TO:<alice@virt.test>', 'DATA'):
        client.cmd(command)
    client.send(b'Do: sleep 0.5\r\n\r\nx\r\n.\r\n')
    client.close()
    mta.log.wait(r'warning: .* is gone before its message was judged: not passed on', mark, 'filter')
    assert not [text for text in mta.log.texts(mark, 'qmgr') if 'queue active' in text]


def test_what_was_not_inspected_is_counted(sut):
    with sut(services={'do': line(f'command: {DO}, size_limit=2k'), 'after': AFTER}) as mta:
        mark = mta.log.mark()
        send(mta, 'do', 'exit 0')
        send(mta, 'do', 'exit 69', wanted='550 5.7.1 Message refused')
        send(mta, 'do', 'exit 255', wanted=E)
        send(mta, 'do', 'exit 69', 'x' * 2048 + '\n')
        mta.run('stop')
        mta.log.wait(r'statistics: inspector command: inspected 2, not inspected 2 \(failed 1, too large 1\); accept 1, reject 1, '
                     'tempfail 0, discard 0, quarantine 0', mark, 'filter')


def test_a_killed_runner_is_replaced(sut):
    """A process that can start programs no more gives way to one that can; who was asked to wait hears a 451."""
    with sut(services={'do': line(f'command: {DO}'), 'after': AFTER}) as mta:
        send(mta, 'do', 'exit 0')
        pids = [int(pid) for pid in filter(str.isdigit, os.listdir('/proc')) if is_runner_of(pid, mta.dir)]
        assert pids
        mark = mta.log.mark()
        with mta.session('do') as idle, mta.session('do') as busy:
            busy.cmd('MAIL FROM:<a@b.example>', 250)
            for pid in pids:
                os.kill(pid, 9)
            mta.log.wait('error: a process that runs inspectors is gone: starting anew', mark, 'filter')
            idle.expect('421 4.3.2 mx.gate.test Service shutting down')
            until(lambda: delivered(mta), 'mail passes again, whoever keeps the old process busy', 15)


def is_runner_of(pid, directory):
    try:
        with open(f'/proc/{pid}/comm') as comm, open(f'/proc/{pid}/cmdline') as words:
            return comm.read() == 'runner\n' and directory in words.read()
    except OSError:
        return False


def delivered(mta):
    with mta.session('do') as client:
        return client.message('Do: exit 0\n\nx\n', wanted='~(250|451) .*').code == 250
