"""The end-to-end tests' command line and fixtures."""
import os
import signal
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE + '/e2e')  # the harness

from harness import PATIENCE  # noqa: E402
from harness.instance import Gatepost, Postfix  # noqa: E402
from harness.ports import Ports  # noqa: E402
from harness.tls import Authority  # noqa: E402


def pytest_addoption(parser):
    parser.addoption('--sut', choices=('gatepost', 'postfix'), default='gatepost', help='what to test')
    parser.addoption('--gatepost', default=os.path.join(HERE, '../build/gatepost'), help='the program')
    parser.addoption('--long', action='store_true', help='the full numbers')
    parser.addoption('--failures', help='a file that gets a line for each test that failed')


def pytest_configure(config):
    Gatepost.program = os.path.realpath(config.getoption('--gatepost'))


def pytest_collection_modifyitems(config, items):
    oracle = config.getoption('--sut') == 'postfix'
    dropped = [item for item in items if oracle and item.get_closest_marker('gatepost_only') or
               not config.getoption('--long') and item.get_closest_marker('long')]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if item not in dropped]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    report = (yield).get_result()
    failures = item.config.getoption('--failures')
    if report.failed and failures:
        with open(failures, 'a') as file:
            file.write(f'{item.fspath.strpath}::{item.nodeid.partition("::")[2]}\0')


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    """No test hangs: each has a minute, slow ones five, long ones half an hour."""
    def late(*_):
        raise TimeoutError('the test took too long')

    signal.signal(signal.SIGALRM, late)
    minutes = 30 if item.get_closest_marker('long') else 5 if item.get_closest_marker('slow') else 1
    signal.alarm(int(PATIENCE * 60 * minutes))
    yield
    signal.alarm(0)


@pytest.fixture(scope='session')
def ports():
    return Ports()


@pytest.fixture(scope='session')
def sut(request, ports):
    """Makes instances of the system under test: with sut(main, services, master) as mta: ..."""
    kind = Postfix if request.config.getoption('--sut') == 'postfix' else Gatepost

    def make(*args, **kwargs):
        return kind(ports, *args, **kwargs)

    make.kind = kind
    make.newer = kind.newer
    return make


@pytest.fixture(scope='session')
def postfix(ports):
    """Makes instances of real Postfix, to stand beside gatepost."""
    if os.geteuid() != 0:
        pytest.skip('Postfix runs as root only')
    return lambda *args, **kwargs: Postfix(ports, *args, **kwargs)


@pytest.fixture(scope='session')
def gatepost(ports):
    return lambda *args, **kwargs: Gatepost(ports, *args, **kwargs)


@pytest.fixture(scope='module')
def authority(tmp_path_factory):
    """One that has issued `server`. A file of tests that wants more of it has a fixture of this name on top."""
    authority = Authority(tmp_path_factory.mktemp('certificates'))
    authority.issue('server')
    return authority


@pytest.fixture(scope='session')
def long(request):
    return request.config.getoption('--long')
