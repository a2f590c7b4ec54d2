"""Sizes of simulated swarms of known size."""
