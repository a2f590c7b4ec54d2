"""Hosts that were seen to change their ids: for a while none of their ids is taken in.

Bounded: of more than `MAX_DISTRUSTED` hosts, those that would be trusted again first already are.
"""

from collections import OrderedDict
from math import inf

from dhtnode.routing.bucket import require

DISTRUST_FOR = 30 * 60.0  # seconds after a change of id; as long as a good node may stay unasked, twice
MAX_DISTRUSTED = 1024


class ChangedIds:
    """Remember hosts, each for `DISTRUST_FOR` seconds after the last reason; constant cost."""

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until: OrderedDict[str, float] = OrderedDict()  # the first one to be trusted again first

    def __len__(self) -> int:
        """Return how many hosts are remembered, those whose time is over included."""
        return len(self._until)

    def add(self, host: str, now: float) -> None:
        """Distrust a host from now on."""
        self._until.pop(host, None)
        self._until[host] = now + DISTRUST_FOR
        if len(self._until) > MAX_DISTRUSTED:
            self._until.popitem(last=False)

    def covers(self, host: str, now: float) -> bool:
        """Return whether a host is distrusted."""
        return now < self._until.get(host, -inf)

    def check(self) -> None:
        """Raise `AssertionError` when there are too many, or not in order."""
        until = list(self._until.values())
        require(len(until) <= MAX_DISTRUSTED, "the memory for changed ids is bounded")
        require(until == sorted(until), "hosts are trusted again in order")
