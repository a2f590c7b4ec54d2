"""Measurements of the node, each one command; docs/benchmarks.md says what they measure and how."""
