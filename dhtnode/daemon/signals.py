"""Signals that tell a process to stop, or to read its settings again."""

import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import trio


@contextmanager
def catching_signals(*, even_ignored: bool = False) -> Iterator[Callable[[], Awaitable[int]]]:
    """Catch SIGINT and SIGTERM, and SIGHUP unless it is ignored (nohup); yield a way to wait for one.

    Enter this before printing anything that makes others send a signal.  With `even_ignored`,
    SIGHUP is caught in any case, as by a daemon that reads its settings again.
    """
    wanted = {signal.SIGINT, signal.SIGTERM}
    if hasattr(signal, "SIGHUP") and (even_ignored or signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN):
        wanted.add(signal.SIGHUP)
    with trio.open_signal_receiver(*wanted) as received:
        yield lambda: anext(aiter(received))
