"""Peer exchange over made-up swarms of known truth."""
