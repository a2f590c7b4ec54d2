"""A node that runs for months: configuration, metrics, status, systemd."""
