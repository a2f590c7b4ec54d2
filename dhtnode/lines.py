"""Lines on stderr: they tell what a program has to say, and are never a reason for it to stop or to wait."""

import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from dhtnode.escaping import escaped

PATIENCE = 100  # milliseconds, for a reader that is slow; none for one that has let this pass
MAX_LINE = 1000  # characters; what a pipe has room for if it has any is 4096 bytes


class _Stderr:
    """Standard error, and how many lines it did not take."""

    def __init__(self) -> None:
        self.lost = 0

    def write(self, lines: tuple[str, ...]) -> None:
        if self.lost and not self._takes(f"{self.lost} lines could not be written here"):
            self.lost += len(lines)
            return
        self.lost = 0
        for line in lines:
            self.lost += not self._takes(line)

    def _takes(self, line: str) -> bool:
        if sys.stderr is None or not _has_room(sys.stderr, 0 if self.lost else PATIENCE):
            return False
        try:
            sys.stderr.write(_cut(escaped(line)) + "\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            return False
        return True


_stderr = _Stderr()
_shown: list[Callable[[], None]] = []


@contextmanager
def giving_way(hide: Callable[[], None]) -> Iterator[None]:
    """Have `hide`, which clears what a terminal shows, called before each line printed within the block."""
    _shown.append(hide)
    try:
        yield
    finally:
        _shown.remove(hide)
        hide()


def make_way() -> None:
    """Clear what stands where lines are about to be printed on a terminal; it may come back after them."""
    for hide in _shown:
        hide()


def say(*lines: str) -> None:
    """Print lines on stderr, each escaped, and without its middle where it is longer than 1000 characters.

    A line is left out where a pipe is full that nothing reads, or a disk; the next one says how many were.
    """
    make_way()
    _stderr.write(lines)


def _has_room(stream: TextIO, patience: int) -> bool:
    try:
        ready = select.poll()
        ready.register(stream.fileno(), select.POLLOUT)
        return bool(ready.poll(patience))
    except (OSError, ValueError, AttributeError):
        # No file of the system's, as in tests, or a system without `poll`.
        return True


def _cut(line: str) -> str:
    half = MAX_LINE // 2
    return line if len(line) <= MAX_LINE else f"{line[:half]}...{line[-half:]}"
