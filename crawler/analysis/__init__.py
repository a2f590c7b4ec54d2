"""Statistics without I/O: sizes of the network, Sybil tests, sessions, the population of info-hashes."""
