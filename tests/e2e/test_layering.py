"""The sources include in one direction only."""
import os
import shutil
import subprocess

import pytest

pytestmark = pytest.mark.gatepost_only
TOP = os.path.realpath(os.path.dirname(os.path.abspath(__file__)) + '/../..')


def test_layering():
    done = subprocess.run([TOP + '/tests/layering.py'], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize('name, line', [('base/log.c', '#include "smtp/reply.h"'), ('filter/relay.c', '#include "smtpd/proxy.h"'),
                                        ('smtp/reply.c', '#include "reply.h"')])
def test_layering_sees(tmp_path, name, line):
    shutil.copytree(TOP + '/src', tmp_path / 'src')
    (tmp_path / 'tests').mkdir()
    shutil.copy(TOP + '/tests/layering.py', tmp_path / 'tests')
    with open(tmp_path / 'src' / name, 'a') as file:
        file.write(line + '\n')
    done = subprocess.run([tmp_path / 'tests/layering.py'], capture_output=True, text=True)
    assert done.returncode == 1 and name in done.stdout
