"""What may stand in main.cf and master.cf, and what the commands say of it."""
import os
import subprocess

import pytest

pytestmark = pytest.mark.gatepost_only


@pytest.mark.parametrize('setting', [
    'smtp_sasl_auth_enable = yes', 'smtpd_milters = inet:127.0.0.1:1', 'non_smtpd_milters = inet:127.0.0.1:1',
    'header_checks = regexp:{{/x/ REJECT}}', 'body_checks = regexp:{{/x/ REJECT}}', 'mime_header_checks = regexp:{{/x/ REJECT}}',
    'nested_header_checks = regexp:{{/x/ REJECT}}', 'content_filter = smtp:[127.0.0.1]:1',
])
def test_what_protects_is_not_ignored(gatepost, setting):
    """A parameter that protects and is not supported stops the start: nobody believes to be protected."""
    name = setting.partition(' ')[0]
    mta = gatepost(main=setting + '\n', services={'in': ''})
    try:
        done = mta.run('start')
        assert done.returncode == 1, done.stderr
        assert 'fatal: ' in done.stderr and (name in done.stderr or setting.split()[-1] in done.stderr), done.stderr
        assert mta.run('status').returncode == 1
    finally:
        mta.__exit__(None, None, None)


@pytest.mark.parametrize('setting, named', [('berkeley_db_read_buffer_size = 200000', 'berkeley_db_read_buffer_size'), ('no_such_parameter = 1', 'no_such_parameter')])
def test_what_does_not_protect_is_warned_of(gatepost, setting, named):
    mta = gatepost(main=setting + '\n', services={'in': ''})
    try:
        done = mta.run('check')
        assert done.returncode == 0 and 'warning: ' in done.stderr and named in done.stderr, done.stderr
        with mta, mta.session('in') as client:
            client.quit()
    finally:
        mta.__exit__(None, None, None)


def postconf(mta, *words):
    done = subprocess.run([os.path.join(os.path.dirname(mta.program), 'postconf'), '-c', mta.dir + '/conf', *words], capture_output=True, text=True,
                          timeout=10)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), done.stderr


def test_config(gatepost):
    """As postconf shows it."""
    mta = gatepost(main='foo = bar\nsmtpd_banner = $myhostname   and\n   $foo\n', services={'in': '-o smtpd_timeout=5'})
    try:
        out, _ = postconf(mta, '-n')
        names = [line.partition(' = ')[0] for line in out]
        assert names == sorted(names) and 'myhostname = mx.gate.test' in out
        # white space in a value is normalised
        assert 'smtpd_banner = $myhostname and $foo' in out
        assert postconf(mta, '-x', 'smtpd_banner')[0] == ['smtpd_banner = mx.gate.test and bar'] or \
            postconf(mta, '-x', 'smtpd_banner')[0] == ['smtpd_banner = mx.gate.test   and   bar']
        assert postconf(mta, '-h', 'myhostname')[0] == ['mx.gate.test']
        assert postconf(mta, '-d', 'smtpd_proxy_timeout')[0] == ['smtpd_proxy_timeout = 100s']
        out, err = postconf(mta, 'no_such_thing')
        assert out == [] and 'no_such_thing: unknown parameter' in err
        assert 'smtpd_proxy_filter = ' in [line.rstrip() + ' ' if line.endswith('=') else line for line in postconf(mta)[0]]
        out, _ = postconf(mta, '-M')
        line = next(line for line in out if line.startswith(f'127.0.0.1:{mta.port("in")}'))
        assert line.split() == [f'127.0.0.1:{mta.port("in")}', 'inet', 'n', '-', 'n', '-', '-', 'smtpd'] or '-o' in ' '.join(out)
        assert subprocess.run([mta.program, '-c', mta.dir + '/conf', 'config', 'myhostname'], capture_output=True,
                              text=True).stdout == 'myhostname = mx.gate.test\n'
    finally:
        mta.__exit__(None, None, None)


def test_defaults(gatepost):
    """Those of the newest release, where compatibility_level says nothing; the names are ours and theirs."""
    mta = gatepost(services={})
    mta.write('main.cf', '')
    try:
        for name, value in {'smtpd_forbid_bare_newline': 'normalize', 'smtpd_forbid_unauth_pipelining': 'yes', 'syslog_name': 'postfix',
                            'mail_name': 'gatepost', 'append_dot_mydomain': 'no', 'smtputf8_enable': 'yes', 'relay_domains': '',
                            'smtpd_relay_restrictions': 'permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination',
                            'smtpd_proxy_wait_limit': '1000', 'filter_authorized_hosts': None,
                            'message_size_limit': '10240000', 'line_length_limit': '2048'}.items():
            out, _ = postconf(mta, '-hx', name)
            if value is not None:
                assert ' '.join(out).strip() == value, (name, out)
    finally:
        mta.__exit__(None, None, None)


@pytest.mark.parametrize('group, installed, plan, wanted', [
    ('build', 'all', '', ''),                                                      # nothing to do: apt is not asked
    ('test', 'none', 'Inst swaks', 'install'),
    ('test', 'none', 'Remv exim4-daemon-light', 'no'),                             # apart, not instead
    ('build', 'none', 'Remv libfoo', 'stop'),
])
def test_install_deps(tmp_path, group, installed, plan, wanted):
    """With an apt that only says what it was asked."""
    log = tmp_path / 'asked'
    bin = tmp_path / 'bin'
    bin.mkdir()
    query = 'shift 2; for p; do echo "installed $p"; done' if installed == 'all' else 'exit 1'
    for name, text in {
            'apt-get': f'echo "apt-get $*" >> {log}; case " $* " in *" -s "*) echo "{plan}";; esac', 'dpkg-query': query,
            'debconf-set-selections': 'cat >/dev/null', 'tee': 'cat >/dev/null', 'chmod': ':', 'mv': f'echo "mv $*" >> {log}', 'rm': ':',
            'id': 'echo 0', 'dpkg-deb': f'echo "dpkg-deb $*" >> {log}', 'systemctl': ':', 'apt-cache': ':'}.items():
        (bin / name).write_text(f'#!/bin/sh\n{text}\n')
        (bin / name).chmod(0o755)
    top = os.path.realpath(os.path.dirname(os.path.abspath(__file__)) + '/../..')
    done = subprocess.run([top + '/tools/install-deps', group], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30,
                          env={'PATH': f'{bin}:{os.environ["PATH"]}', 'GATEPOST_APART': str(tmp_path / 'apart')})
    asked = log.read_text() if log.exists() else ''
    real = [line for line in asked.splitlines() if line.startswith('apt-get') and ' install ' in line and ' -s ' not in line]
    if not wanted:
        assert (done.returncode, asked) == (0, '')
    elif wanted == 'install':
        assert done.returncode == 0 and len(real) == 1 and 'swaks' in real[0] and '--no-remove' in real[0], done.stderr + asked
    elif wanted == 'stop':
        assert done.returncode != 0 and not real and 'would remove' in done.stderr
    else:
        assert not [line for line in real if 'swaks' in line] and 'apt-get -q download' in asked, done.stderr + asked


def test_config_with_an_unfinished_reference(gatepost):
    """A parameter of the table that cannot be expanded ends postconf too; one of nobody's is only warned of."""
    mta = gatepost(main='foo = ${x\n', services={'in': ''})
    program = os.path.join(os.path.dirname(mta.program), 'postconf')
    try:
        out, error = postconf(mta, '-n')
        assert 'unused parameter: foo=${x' in error
        mta.write('main.cf', mta.settings + 'smtpd_banner = ${x\n')
        for words in (['-n'], ['-h', 'myhostname'], ['-x', 'smtpd_banner']):
            done = subprocess.run([program, '-c', mta.dir + '/conf', *words], capture_output=True, text=True, timeout=10)
            assert (done.returncode, done.stdout) == (1, '')
            assert done.stderr.splitlines()[-2:] == ['postconf: warning: truncated macro reference: "${x"', 'postconf: fatal: macro processing error']
        assert postconf(mta, '-d', 'smtpd_banner')[0]
    finally:
        mta.__exit__(None, None, None)


@pytest.mark.parametrize('words', [[], ['-x'], ['-p', '-f'], ['-p', 'word']])
def test_postqueue_usage(gatepost, words):
    mta = gatepost(services={'in': ''})
    program = os.path.join(os.path.dirname(mta.program), 'postqueue')
    try:
        done = subprocess.run([program, '-c', mta.dir + '/conf', *words], capture_output=True, text=True, timeout=10)
        assert done.returncode == 69 and done.stdout == '' and 'postqueue: fatal: usage: postqueue -f | ' in done.stderr
    finally:
        mta.__exit__(None, None, None)
