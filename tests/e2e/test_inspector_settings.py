"""What is wrong in filter_inspectors stops the start, and the reason is named."""
import pytest

pytestmark = pytest.mark.gatepost_only


@pytest.mark.parametrize('inspectors, complaint', [
    ('{ command: user=nobody }', 'command: argv= is missing'),
    ('{ command: argv=/no/such }', 'program /no/such: No such file or directory'),
    ('{ command: argv=/bin/true, user=root }', 'must be neither root nor mail_owner'),
    ('{ command: argv=/bin/true, usr=nobody }', 'unknown attribute "usr"'),
    ('{ command: argv=/bin/true, exit=1:refuse }', 'expected STATUS:VERDICT'),
    ('{ command: argv=/bin/true ${nothing} }', 'unknown name behind'),
    ('{ command: argv=/bin/true, on_failure=reject }', 'tempfail, accept or quarantine is expected'),
    ('{ commnd: argv=/bin/true }', '"commnd" is no kind of inspector'),
    ('command', 'expected { KIND: attribute=value'),
    ('{ smtp: }', 'the address of a filter is missing'),
    ('{ smtp: 127.0.0.1:99999 }', 'smtp: '),
    ('{ smtp: 127.0.0.1:25 }, { command: argv=/bin/true }', 'smtp: nothing can follow it: it passes mail on itself'),
])
def test_mistakes_stop_the_start(sut, inspectors, complaint):
    with pytest.raises(AssertionError) as raised:
        with sut(services={'bad': f'filter -o filter_nexthop=127.0.0.1:{{next}} -o {{ filter_inspectors = {inspectors} }}'}):
            pass
    assert complaint in str(raised.value)
