"""Tables and lists that change under a running server: the new one is in use soon, and no answer is ever another than
the old or the new one's."""
import os
import subprocess
import threading
import time

import pytest

from harness.peer import until

pytestmark = pytest.mark.gatepost_only

KINDS = ('texthash', 'lmdb', 'cdb', 'pcre')
SOON = 10


def make(mta, kind, action, how='rename', name='table'):
    """Writes the table as it is then. All keys have the same action, and there are many: half a table would be seen."""
    path = f'{mta.dir}/{name}'
    keys = [f'key{i}@x.test' for i in range(5000)] + ['alice@virt.test']
    lines = ''.join(f'/^{key}$/ {action}\n' if kind == 'pcre' else f'{key} {action}\n' for key in keys)
    new = path if how == 'in place' else path + '.new'
    with open(new, 'w') as file:
        file.write(lines)
    if how == 'rename':
        time.sleep(0.02)  # the clock of a file's times is coarse
        os.rename(new, path)
    if kind in ('lmdb', 'cdb'):
        program = os.path.join(os.path.dirname(mta.program), 'postmap')
        subprocess.run([program, '-c', mta.dir + '/conf', f'{kind}:{path}'], check=True)


class Load(threading.Thread):
    """Sessions that ask for one recipient again and again; answers are the texts of the refusals, in their order."""

    def __init__(self, mta, count=3):
        super().__init__()
        self.mta, self.stopping, self.answers, self.wrong = mta, False, [], []
        self.clients = [mta.session('in') for _ in range(count)]
        for client in self.clients:
            client.cmd('MAIL FROM:<a@b.example>', 250)

    def run(self):
        while not self.stopping:
            for client in self.clients:
                answer = client.cmd('RCPT TO:<alice@virt.test>')
                code, _, text = answer.partition(' 5.7.1 <alice@virt.test>: Recipient address rejected: version ')
                if code != '554' or not text.isdigit():
                    self.wrong.append(answer)
                    self.stopping = True
                    return
                self.answers.append(int(text))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        self.join()
        for client in self.clients:
            client.close()

    def sees(self, version):
        until(lambda: self.wrong or self.answers and self.answers[-1] == version, f'version {version} is in use', SOON)
        assert not self.wrong


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def server(gatepost, kind):
    return gatepost(services={'in': '-o smtpd_hard_error_limit=10000000 -o smtpd_soft_error_limit=10000000 -o smtpd_junk_command_limit=10000000 '
                                    f'-o smtpd_recipient_restrictions=check_recipient_access,{kind}:{{dir}}/table'})


def test_a_table_is_rewritten_every_second_under_load(gatepost, kind):
    mta = server(gatepost, kind)
    make(mta, kind, 'REJECT version 0')
    with mta, Load(mta) as load:
        for version in range(1, 6):
            begun = time.monotonic()
            make(mta, kind, f'REJECT version {version}')
            load.sees(version)
            time.sleep(max(0, begun + 1 - time.monotonic()))
    assert load.answers == sorted(load.answers)
    assert not load.wrong


@pytest.mark.parametrize('kind', ['texthash', 'pcre'])
def test_a_table_is_written_in_place(gatepost, kind):
    mta = server(gatepost, kind)
    make(mta, kind, 'REJECT version 0')
    with mta, Load(mta) as load:
        load.sees(0)
        for version in range(1, 6):
            make(mta, kind, f'REJECT version {version}', 'in place')
            time.sleep(0.3)
        load.sees(5)
    assert load.answers == sorted(load.answers)
    assert not load.wrong


def test_a_table_is_removed_and_comes_back(gatepost, kind):
    mta = server(gatepost, kind)
    make(mta, kind, 'REJECT version 0')
    with mta, Load(mta) as load:
        load.sees(0)
        for suffix in ('', '.lmdb', '.cdb'):
            if os.path.exists(f'{mta.dir}/table{suffix}'):
                os.unlink(f'{mta.dir}/table{suffix}')
        count = len(load.answers)
        until(lambda: load.wrong or len(load.answers) > count + 300, 'it goes on with what it was', SOON)
        make(mta, kind, 'REJECT version 1')
        load.sees(1)
    assert not load.wrong


@pytest.mark.skipif(os.geteuid() != 0, reason='root needs no help')
def test_a_table_for_root_alone(gatepost, kind):
    """Servers have given up root: the master opens it for them."""
    mta = server(gatepost, kind)
    make(mta, kind, 'REJECT version 0')
    with mta, Load(mta) as load:
        load.sees(0)
        mask = os.umask(0o077)
        make(mta, kind, 'REJECT version 1')
        os.umask(mask)
        suffix = '.' + kind if kind in ('lmdb', 'cdb') else ''
        assert os.stat(f'{mta.dir}/table{suffix}').st_mode & 0o77 == 0 or os.chmod(f'{mta.dir}/table{suffix}', 0o600) is None
        load.sees(1)
    assert not load.wrong


@pytest.mark.parametrize('kind', ['lmdb', 'cdb'])
def test_what_is_no_table_is_not_taken(gatepost, kind):
    mta = server(gatepost, kind)
    make(mta, kind, 'REJECT version 0')
    with mta, Load(mta) as load:
        mark = mta.log.mark()
        for junk in (b'', b'nonsense ' * 1000):
            with open(mta.dir + '/junk', 'wb') as file:
                file.write(junk)
            time.sleep(0.02)
            os.rename(mta.dir + '/junk', f'{mta.dir}/table.{kind}')
            mta.log.wait(rf'warning: table {kind}:\S+ has changed and cannot be read: going on with what it was.*', mark)
            mark = mta.log.mark()
            load.sees(0)
        make(mta, kind, 'REJECT version 1')
        load.sees(1)
    assert not load.wrong


def test_a_list_in_a_file(gatepost):
    """mynetworks, which is read at the start and was read there alone."""
    mta = gatepost(main='mynetworks = {dir}/networks\n', services={'in': '-o { smtpd_recipient_restrictions = permit_mynetworks reject }'})

    def write(text):
        with open(mta.dir + '/new', 'w') as file:
            file.write(text)
        time.sleep(0.02)
        os.rename(mta.dir + '/new', mta.dir + '/networks')

    def code():
        with mta.session('in') as client:
            client.cmd('MAIL FROM:<a@b.example>', 250)
            return client.cmd('RCPT TO:<alice@virt.test>')[:3]

    write('192.0.2.0/24\n')
    with mta:
        assert code() == '554'
        write('192.0.2.0/24\n127.0.0.0/8\n')
        until(lambda: code() == '250', 'the network is permitted', SOON)
        mark = mta.log.mark()
        write('192.0.2.0/24\n127.0.0.0/88\n')
        until(lambda: code() != '250' or any('cannot be read: going on' in text for text in mta.log.texts(mark)), 'a warning', SOON)
        assert code() == '250'
        write('192.0.2.0/24\n')
        until(lambda: code() == '554', 'the network is not permitted', SOON)
