"""What the end-to-end tests stand on: systems under test, clients, filters, logs, Maildirs."""
import os

# All time limits of the tests are multiplied by it: programs built with sanitizers are slow.
PATIENCE = float(os.environ.get('GATEPOST_TEST_PATIENCE', '1'))
