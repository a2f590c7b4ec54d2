"""The command `dhtnode`."""
