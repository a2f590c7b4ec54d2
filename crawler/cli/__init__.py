"""The command `dhtcrawl`."""
