"""BEP 51: info-hashes sampled from nodes, and an estimate of how many there are."""
