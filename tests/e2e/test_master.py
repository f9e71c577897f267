"""The master: starting, stopping, reloading, what it does about services that die, and what keeps it from starting."""
import os
import re
import signal
import socket
import stat
import subprocess
import time

import pytest
from harness.peer import until

pytestmark = pytest.mark.gatepost_only
