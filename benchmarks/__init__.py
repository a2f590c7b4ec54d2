"""Measurements of the node, each one command; docs/reference/benchmarks.md says what they measure and how."""
