"""Hosts that changed their ids: for a while the table rejects all nodes at them."""

from collections import OrderedDict
from math import inf

from dhtnode.routing.bucket import require

# Seconds after a change of id: twice as long as a good node may stay unqueried.
REJECT_FOR = 30 * 60.0
# Of more hosts, those with the least time left are forgotten.
MAX_HOSTS = 1024


class ChangedIds:
    """Hosts, each for `REJECT_FOR` seconds after its last change of id; constant cost."""

    __slots__ = ("_until",)

    def __init__(self) -> None:
        # In order of time: the first one is the first to be accepted again.
        self._until: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        """Return how many hosts are remembered, those whose time is over included."""
        return len(self._until)

    def add(self, host: str, now: float) -> None:
        """Reject a host from now on."""
        self._until.pop(host, None)
        self._until[host] = now + REJECT_FOR
        if len(self._until) > MAX_HOSTS:
            self._until.popitem(last=False)

    def rejects(self, host: str, now: float) -> bool:
        """Return whether nodes at a host are rejected."""
        return now < self._until.get(host, -inf)

    def check(self) -> None:
        """Raise `AssertionError` when there are too many, or not in order."""
        until = list(self._until.values())
        require(len(until) <= MAX_HOSTS, "the memory for changed ids is bounded")
        require(until == sorted(until), "hosts are accepted again in order")
