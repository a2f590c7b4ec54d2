"""What becomes of queries of a crawl that the kernel did not let out: most end, some are tried again.

A reason may concern one destination (no route, forbidden by a firewall) or all of them (no buffer, no
network), and the kernel uses the same numbers for both.  So none is tried for ever, and that there is no
network is believed only when there is no route to a node that was reached before either.
"""

import errno
from collections.abc import Callable, Mapping, Sequence
from os import strerror
from typing import NamedTuple

from dhtnode.addresses import Address, Family
from dhtnode.errors import QueryNotSent

CLOGGED = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS, errno.ENOMEM})
NO_ROUTE = frozenset({errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL})
PATIENCE = 10.0  # seconds for which one destination is tried while the kernel has no buffer for it
GIVEN_UP = 60.0  # seconds from the first try until that is done again
MAX_CLOGGED = 20_000  # destinations that are being tried or were given up
OUTAGE = 60.0  # seconds without a network that a crawl waits for
CLOGGED_PAUSE = 0.01  # seconds to wait when the kernel's buffer is full
DOWN_PAUSE = 1.0  # seconds to wait when there is no network
TELLING = 3  # destinations refused, and none reached, that tell of the whole family


class Unsent(NamedTuple):
    """Positions of queries that could not leave: those worth another try, and those that are not."""

    later: Sequence[int] = ()
    never: Sequence[int] = ()


class SendFailures:
    """The failures to send over one socket.

    `is_out` tells that there was a network and has been none for a minute.
    """

    def __init__(
        self, family: Family, has_route: Callable[[Address], bool], say: Callable[[str], None]
    ) -> None:
        """Begin with nothing sent; `say` is called with a line for people when it concerns the family."""
        self.is_out = False
        self.pause = 0.0
        self._family = family
        self._has_route = has_route
        self._say = say
        self._reached: Address | None = None
        self._refused = 0  # before any was reached
        self._down_since: float | None = None
        self._clogged: dict[Address, float] = {}  # since when; those that are tried again

    def on_left(self, destination: Address, now: float) -> None:
        """Record that a batch has left as a whole."""
        self._reached = destination
        if self._down_since is not None or self._clogged:
            self._down_since, self.is_out = None, False
            given_up = now - PATIENCE
            self._clogged = {each: since for each, since in self._clogged.items() if since <= given_up}

    def judge(self, failed: Mapping[int, int], destinations: Sequence[Address], now: float) -> Unsent:
        """Return what is to become of those of a batch that could not leave, given their errno by position.

        Those worth another try are to wait for `pause` seconds.
        """
        if len(failed) < len(destinations):
            self._reached = next(each for at, each in enumerate(destinations) if at not in failed)
        is_down = self._is_down(failed, now)
        later, never = [], []
        for at, reason in failed.items():
            is_kept = is_down and reason in NO_ROUTE
            if reason in CLOGGED:
                is_kept = self._is_worth_trying(destinations[at], now)
            if is_kept:
                later.append(at)
            else:
                never.append(at)
        self.pause = DOWN_PAUSE if is_down else CLOGGED_PAUSE
        self._look_at_family(failed)
        return Unsent(later, never)

    def _is_worth_trying(self, destination: Address, now: float) -> bool:
        since = self._clogged.get(destination)
        if since is None or now - since >= GIVEN_UP:
            if len(self._clogged) >= MAX_CLOGGED:
                self._clogged.clear()
            self._clogged[destination] = since = now
        return now - since < PATIENCE

    def _is_down(self, failed: Mapping[int, int], now: float) -> bool:
        """Return whether there is no network, and it is worth waiting for."""
        has_none = not NO_ROUTE.isdisjoint(failed.values())
        if self._reached is None or not has_none or self._has_route(self._reached):
            self._down_since, self.is_out = None, False
            return False
        if self._down_since is None:
            self._down_since = now
        if now - self._down_since < OUTAGE:
            return True
        if not self.is_out:
            self.is_out = True
            self._say(f"IPv{self._family}: no network for {OUTAGE:.0f} s ({_text(failed)})")
        return False

    def _look_at_family(self, failed: Mapping[int, int]) -> None:
        if self._reached is None:
            before, self._refused = self._refused, self._refused + len(failed)
            if before < TELLING <= self._refused:
                self._say(f"IPv{self._family} cannot be used here ({_text(failed)}): its nodes are left out")


def _text(failed: Mapping[int, int]) -> str:
    return strerror(next(iter(failed.values())))


def not_sent(address: Address) -> QueryNotSent:
    """Return the end of a query that was accepted and could not leave after all."""
    return QueryNotSent(address, "send failed")
