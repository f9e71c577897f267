"""main.cf and master.cf, as a running server shows that it read them."""
import re

import pytest
from harness.instance import MASTER

# name: (value of smtpd_banner, what the client reads). x is "one", empty is empty, n is 10.
EXPANSIONS = {
    'plain': ('hello there', 'hello there'),
    'blanks': ('hello    there', 'hello    there'),
    'name': ('a $x b', 'a one b'),
    'braces': ('a${x}b', 'aoneb'),
    'parens': ('a$(x)b', 'aoneb'),
    'dollar': ('a$$x', 'a$x'),
    'undefined': ('a${nosuch}b', 'ab'),
    'recursive': ('$rec', 'a one z'),
    'if': ('${x?yes}', 'yes'),
    'if_empty': ('a${empty?yes}', 'a'),
    'if_value': ('${x?is $x}', 'is one'),
    'else': ('a${x:no}', 'a'),
    'else_empty': ('a${empty:no}', 'ano'),
    'else_undefined': ('a${nosuch:none}', 'anone'),
    'if_braces': ('${x?{yes}}', 'yes'),
    'ternary': ('${x?{yes}:{no}}', 'yes'),
    'ternary_no': ('${empty?{yes}:{no}}', 'no'),
    'ternary_blanks': ('${x ? {yes} : {no}}', 'yes'),
    'ternary_mixed': ('${empty?{yes}:no}', 'no'),
    'nested': ('${x?{a ${n?{b $n}}}}', 'a b 10'),
    'equal': ('${{$x} == {one} ? {same} : {other}}', 'same'),
    'unequal': ('${{$x} != {one} ? {other} : {same}}', 'same'),
    'numeric': ('${{9} < {10} ? {less} : {more}}', 'less'),
    'numeric_name': ('${{$n} >= {9} ? {ge} : {lt}}', 'ge'),
    'bytes': ('${{9a} < {10} ? {less} : {more}}', 'more'),
    'truth': ('a${{1} == {1}}', 'atrue'),
    'level': ('${{3.6} <level {3.10} ? {older} : {newer}}', 'older'),
    'literal_rest': ('${x?a:b?c}', 'a:b?c'),
    'service': ('$service_name', '{name}'),
    'process': ('$process_name', 'smtpd'),
    'stress': ('a$stress', 'a'),
    'override_seen': ('$y', 'overridden'),
    'hash': ('a # b', 'a # b'),
    'equals': ('a = b', 'a = b'),
}


@pytest.fixture(scope='module')
def mta(sut):
    master = ''
    for name, (value, _) in EXPANSIONS.items():
        master += f'127.0.0.1:@{name}@ inet n - n - - smtpd\n  -o {{ smtpd_banner = {value} }} -o y=overridden\n'
    master += """\
# a comment, and an empty line, inside an entry

127.0.0.1:@lines@ inet
# not the end
    n - n - -

  # nor this
    smtpd
    -o smtpd_banner=first
    -o smtpd_banner=last
[127.0.0.1]:@brackets@ inet n - n - 20 smtpd -osmtpd_banner=short
localhost:@symbolic@ inet n - n - - smtpd -o smtpd_banner=symbolic
127.0.0.1:@twice@ inet n - n - - smtpd -o smtpd_banner=earlier
127.0.0.1:@twice@ inet n - n - - smtpd -o smtpd_banner=later
127.0.0.1:@mainbanner@ inet n - n - - smtpd
127.0.0.1:@empty1@ inet n - n - - smtpd -o smtpd_discard_ehlo_keywords= -o { smtpd_banner = { braces } }
127.0.0.1:@off@ inet n - n - - smtpd
"""
    main = """\
x = one
empty =
n = 10
y = of main
rec = a $x z
smtpd_banner = from main
    # a comment between

    $myhostname
   end
smtpd_discard_ehlo_keywords = chunking,
	dsn
master_service_disable = 127.0.0.1:@off@/inet
"""
    mta = sut()
    port = lambda match: str(mta.port(match[1]))  # braces have a meaning here
    mta.write('main.cf', mta.settings + re.sub('@(\\w+)@', port, main))
    mta.write('master.cf', MASTER + re.sub('@(\\w+)@', port, master))
    with mta:
        yield mta


def banner(mta, name):
    with mta.connect(name) as client:
        return client.expect(220)[4:]


@pytest.mark.parametrize('name', EXPANSIONS)
def test_expansion(mta, name):
    wanted = EXPANSIONS[name][1].replace('{name}', f'127.0.0.1:{mta.port(name)}')
    assert banner(mta, name) == wanted


@pytest.mark.parametrize('name, wanted', [('lines', 'last'), ('brackets', 'short'), ('symbolic', 'symbolic'), ('twice', 'later'),
                                          ('empty1', '{ braces }')])
def test_entries(mta, name, wanted):
    assert banner(mta, name) == wanted


def test_continued_value(mta):
    """White space stays as it is in a continued value, the comment and the empty line are not there."""
    assert banner(mta, 'mainbanner') == 'from main    mx.gate.test   end'
    with mta.session('mainbanner') as client:
        lines = client.cmd('EHLO x').lines
        assert '250-DSN' not in lines and '250 CHUNKING' not in lines
    with mta.session('empty1') as client:
        assert '250 CHUNKING' in client.cmd('EHLO x').lines


def test_disabled(mta):
    with pytest.raises(ConnectionRefusedError):
        mta.connect('off')


def test_warnings(mta):
    port = mta.port('twice')
    assert any(f'duplicate master.cf entry for service "127.0.0.1:{port}" (127.0.0.1:{port}) -- using the last entry' in text
               for text in mta.log.texts()) or f'duplicate master.cf entry for service "127.0.0.1:{port}"' in mta.log_text()


def test_overridden_entry(sut):
    mta = sut()
    mta.write('main.cf', mta.settings + 'smtpd_banner = one\nsmtpd_banner = two\n')
    try:
        done = mta.run('check')
        assert 'overriding earlier entry: smtpd_banner=one' in done.stderr + mta.log_text()
    finally:
        mta.__exit__(None, None, None)
