"""Access control to the letter: small configurations, each with a dialogue and the log it leaves, as Postfix has them.

A file data/access/*.txt is an instance: settings of main.cf, then cases. Cases with the same settings share a server:

    [name]
    setting = value
    > MAIL FROM:<a@b.example>       what is sent; the reply's lines follow
    < 250 2.1.0 Ok
    >> Subject: x                   sent without a reply
    = text                          a line of the log, but for the client's coming and going; in no order, each once

The client is STRANGER and has said EHLO; `> EHLO x` as a case's first line is another greeting, `@ NAME=.. ADDR=..` is
another client, `@` alone one that is left as it connects (127.0.0.1), and the replies to all that are shown too. {dir} is the instance's directory, with
FILES in it. Queue ids are QID. `# gatepost` in a case: what Postfix 3.7 does not have yet.

GATEPOST_TEST_RECORD=1 with --sut postfix writes what Postfix says into the files; what then differs is to be judged.
"""
import difflib
import glob
import os
import re
import time

import pytest
from harness import PATIENCE
from harness.client import Closed
from harness.instance import MASTER

HERE = os.path.dirname(os.path.abspath(__file__))
STRANGER = 'NAME=spike.up.test ADDR=192.0.2.66 PORT=4711'
QID = re.compile(r'\b[0-9A-F]{8,}(?=:|$)')
# what comes and goes, and a table that cannot be used, which is told otherwise or elsewhere
PASSED_OVER = re.compile(r'(dis)?connect from |QID: client=|statistics:|[^:]*: table .* has changed|using backwards-compatible'
                         r'|error: |.*: table lookup problem$|warning: (mynetworks|smtpd_\S+): open |.* is unavailable\. |.* lookup error for "(localhost|permit|spike\.up\.test|six\.test)"')
FILES = {'texts': 'alice@virt.test REJECT from a file\n', 'networks': '10.0.0.0/8\n192.0.2.66\n', 'domains': 'fil.test\n'}


class Case:
    def __init__(self, name):
        self.name, self.lines = name, []
        self.server = name  # the case that has it

    def texts(self, mark):
        return [text for kind, text in self.lines if kind == mark]


def parse(path):
    """main.cf settings and the cases of a file; a line is (mark, text)."""
    head, cases = Case(None), []
    for line in open(path, encoding='utf-8', errors='surrogateescape').read().splitlines():
        if re.fullmatch(r'\[\S+\]', line):
            cases.append(Case(line[1:-1]))
            continue
        mark, _, text = line.partition(' ')
        if mark not in ('>', '>>', '<', '=', '@', '#'):
            mark, text = 'set' if line else '', line
        (cases[-1] if cases else head).lines.append((mark, text))
    servers = {}
    for case in cases:
        case.server = servers.setdefault(tuple(line for line in case.lines if line[0] in ('set', '#')), case.name)
    return head, cases


PATHS = sorted(glob.glob(HERE + '/data/access/*.txt'))
BOOK = {os.path.basename(path)[:-4]: parse(path) for path in PATHS}


def params():
    return [pytest.param(book, case.name, id=f'{book}-{case.name}') for book, (_, cases) in BOOK.items() for case in cases]


@pytest.fixture(scope='module')
def mta(request, sut):
    head, cases = BOOK[request.param]
    mta = sut('\n'.join(head.texts('set')))
    master = ''
    for case in cases:
        if mta.name == 'postfix' and ('#', 'gatepost') in case.lines or case.server != case.name:
            continue
        master += f'127.0.0.1:{mta.ports[case.name]} inet n - n - - smtpd -o syslog_name={case.name}\n'
        for setting in case.texts('set'):
            name, _, value = setting.partition('=')
            master += f'  -o {{ {name.strip()} = {value.strip()} }}\n'.replace('{dir}', mta.dir)
    mta.write('master.cf', MASTER + master)
    for name, text in FILES.items():
        with open(f'{mta.dir}/{name}', 'w') as file:
            file.write(text)
    with mta:
        yield mta
    if os.environ.get('GATEPOST_TEST_RECORD'):
        with open(f'{HERE}/data/access/{request.param}.txt', 'w', encoding='utf-8', errors='surrogateescape') as file:
            for case in [head] + cases:
                file.write(f'[{case.name}]\n' if case.name else '')
                file.write(''.join(f'{mark} {text}'.rstrip() + '\n' if mark in ('>', '>>', '<', '=', '@', '#') else text + '\n'
                                   for mark, text in case.lines))


def read(client, seen):
    """One reply, or the end."""
    try:
        for line in client.reply().lines:
            seen.append(('<', QID.sub('QID', line)))
    except (Closed, ConnectionResetError, BrokenPipeError):
        seen.append(('<', '(end)'))
        return False
    return True


def talk(mta, case):
    """What the case sends and what comes back."""
    seen = []
    steps = [(mark, text) for mark, text in case.lines if mark in ('>', '>>', '@')]
    client = mta.connect(case.server)
    if steps[0] == ('@', ''):
        seen.append(steps.pop(0))
        alive = read(client, seen)
    elif steps[0][0] == '@':
        client.expect(220)
        seen.append(steps.pop(0))
        client.send('XCLIENT ' + seen[-1][1])
        alive = read(client, seen)
    else:
        client.expect(220)
        client.cmd('XCLIENT ' + STRANGER, 220)
        alive = True
        if not re.match('(EHLO|HELO) ', steps[0][1], re.I):
            client.cmd('EHLO client.example', 250)
    for mark, text in steps:
        if not alive:
            break
        seen.append((mark, text))
        try:
            client.send(('XCLIENT ' * (mark == '@') + text).encode('utf-8', 'surrogateescape').replace(b'\\n', b'\r\n') + b'\r\n')
        except (ConnectionResetError, BrokenPipeError):
            pass
        if mark != '>>':
            alive = all([read(client, seen) for _ in range(1 + text.count('\\n'))])
            if text[:5].upper() == 'EHLO ':
                seen[:] = [line for line in seen if not re.match(r'< 250[- ][A-Z0-9]+( |$)', ' '.join(line))]
    if alive:
        try:
            client.send('QUIT')
        except (ConnectionResetError, BrokenPipeError):
            pass
        read(client, [])
    client.close()
    return seen


def log_of(mta, case, mark):
    end = time.monotonic() + 10 * PATIENCE
    while True:
        lines = [line for line in mta.log.lines(mark) if line.tag.startswith(case.server + '/')]
        if any(line.text.startswith('disconnect from') for line in lines):
            break
        assert time.monotonic() < end, f'the session has not ended in the log:\n{mta.log_text()}'
        time.sleep(0.01)
    texts = [QID.sub('QID', line.text.replace(mta.dir, '{dir}')) for line in lines if line.program == 'smtpd']
    return [('=', text) for text in sorted(set(texts)) if not PASSED_OVER.match(text)]


@pytest.mark.parametrize('mta, name', params(), indirect=['mta'], scope='module')
def test_dialogue(mta, name, request):
    book = request.node.callspec.params['mta']
    case = next(case for case in BOOK[book][1] if case.name == name)
    if mta.name == 'postfix' and ('#', 'gatepost') in case.lines:
        pytest.skip('a later Postfix')
    mark = mta.log.mark()
    seen = talk(mta, case)
    seen += log_of(mta, case, mark)
    if os.environ.get('GATEPOST_TEST_RECORD'):
        case.lines = [line for line in case.lines if line[0] in ('set', '#')] + seen + [('', '')]
    else:
        wanted = [line for line in case.lines if line[0] not in ('set', '#', '', '=')]
        wanted += sorted({line for line in case.lines if line[0] == '='})
        shown = [[' '.join(line) for line in lines] for lines in (wanted, seen)]
        differences = '\n'.join(difflib.unified_diff(*shown, 'wanted', 'got', n=1, lineterm=''))
        assert not differences, differences
