"""The process as its surroundings see it: signals, and the form of a log line."""

import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

LOG_LINE = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@contextmanager
def catching_signals(*, even_ignored: bool = False) -> Iterator[Callable[[], Awaitable[int]]]:
    """Hold SIGINT and SIGTERM back, and SIGHUP unless it is ignored (nohup); yield a way to wait for one.

    To be entered before anything is printed that makes others send one.  With `even_ignored`,
    SIGHUP is held back in any case: for a daemon, to which it means something else.
    """
    import trio

    wanted = {signal.SIGINT, signal.SIGTERM}
    if hasattr(signal, "SIGHUP") and (even_ignored or signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN):
        wanted.add(signal.SIGHUP)
    with trio.open_signal_receiver(*wanted) as received:
        yield lambda: anext(aiter(received))
