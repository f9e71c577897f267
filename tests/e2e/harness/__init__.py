"""What the end-to-end tests stand on: systems under test, clients, filters, logs, Maildirs."""
