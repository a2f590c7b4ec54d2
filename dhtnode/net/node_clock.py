"""A clock for Trio that handles datagrams while no task has anything to do.

A turn of Trio's loop for one datagram costs more than its answer: the loop registers the socket, waits,
looks for deadlines, and resumes a task.  Before it waits it asks its clock how long, and knows then that
no task can run.  This clock waits in its place, for the sockets and for all that Trio waits for, and calls
a function for what has arrived.  Trio goes on as soon as it has anything to do itself.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

import trio

from dhtnode.clock import BoottimeClock, seconds_since_start

if TYPE_CHECKING:
    from trio._core._run import Runner

Handle: TypeAlias = Callable[[float, int], int]
"""A function that handles what has arrived by a time, so many datagrams at most, and returns how many."""

ROUNDS = 32  # waits in a row before Trio has a turn in any case
LONGEST = 3600.0  # seconds of one wait: no task of a node sleeps longer
APART = 20e-6  # seconds of waiting after which a datagram is no neighbour of the last one
BURST = 64  # datagrams handled at once otherwise; if there are more, a task handles them


class NodeClock(BoottimeClock):
    """A clock for programs that serve: `trio.run(main, clock=NodeClock())`; one for each run.

    Where Trio does not wait by epoll, or under another event loop, it is a `BoottimeClock` and no more.
    """

    _runner: Runner
    _poll: select.poll

    def __init__(self, read: Callable[[], float] = seconds_since_start) -> None:
        """Read the time with `read`, which must never go back."""
        super().__init__(read)
        self._handles: dict[int, Handle] = {}
        self._count = 0  # of datagrams that were there when the last ones were handled

    @contextmanager
    def calling(self, fd: int, handle: Handle) -> Iterator[None]:
        """Call `handle` when a socket is readable, for the length of the block.

        A task waits for it as well, by `trio.lowlevel.wait_readable`, and handles what comes while others
        run.  `handle` is called outside of all tasks, and must not raise.
        """
        if not self._handles and not self._start():
            yield
            return
        self._handles[fd] = handle
        self._poll.register(fd, select.POLLIN)
        try:
            yield
        finally:
            self._poll.unregister(fd)
            del self._handles[fd]

    def _start(self) -> bool:
        """Begin to watch what Trio waits for; False where that cannot be done."""
        # Trio has no public names for these, and another version may not have them.
        try:
            runner = trio.lowlevel.current_task()._runner  # noqa: SLF001
            epoll, _ = runner.io_manager._epoll, (runner.runq, runner.deadlines.next_deadline)  # noqa: SLF001
        except AttributeError:
            return False
        if runner.is_guest:
            return False
        self._runner, self._poll = runner, select.poll()
        self._poll.register(epoll.fileno(), select.POLLIN)
        return True

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Wait and call until Trio has to go on; return how long it is to wait then."""
        read, handles = self._read, self._handles
        now = read()
        if not handles:
            return deadline - now
        runner, poll = self._runner, self._poll.poll
        for _ in range(ROUNDS):
            before, left = now, deadline - now
            # Conditions, for two calls of built-in functions take as long as all of them.
            ready = poll(0.0 if left < 0.0 else 1000.0 * (left if left < LONGEST else LONGEST))  # noqa: FURB136
            now = read()
            # While they come one by one, a look for a second datagram costs more than it finds.
            most = 1 if self._count < 2 and now - before > APART else BURST
            count = 0
            for fd, _ in ready:
                if fd in handles:
                    self._count = count = handles[fd](now, most)
                    if not 0 < count < BURST:
                        break
            if runner.runq:
                return 0.0
            # A callback may have changed it.
            deadline = runner.deadlines.next_deadline()
            # What Trio waits for shows up together with ours, for which it waits too.
            if not 0 < count < BURST or now >= deadline:
                break
        return deadline - now
