"""Fuzzing of everything that reads bytes from the network; `python -m tests.fuzz --help`.

Twelve targets, two engines, one mutator that knows bencode.  Every failure is kept as a file which
`--replay` runs again.  It lives among the tests because it reaches into private state as they do.
"""
