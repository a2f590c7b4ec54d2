"""Canary info-hashes, of swarms that do not exist: nodes that name peers of them answer anything.

An honest node has nothing about an info-hash that no peer announced.  A node is queried for one once at
most, when it has first said that peers are in a swarm; if it names peers again, it is not believed from
then on.  The canary begins like the info-hash that was queried before, so that it cannot be told apart.
"""

from random import Random

from dhtnode.krpc.compact import PackedEndpoint
from dhtnode.krpc.messages import Response
from dhtnode.krpc.scrape_filter import FILTER_BYTES

SHARE = 0.25  # of the nodes that say something; nodes that are queried often come to their turn sooner
MAX_TESTED = 50_000  # nodes in a run
_ALIKE_BYTES = 5  # beyond them no two nodes of any network are alike
_EMPTY = bytes(FILTER_BYTES)


class CanaryHashes:
    """The nodes that were queried for canaries, and those of them that were caught."""

    def __init__(self, random: Random, *, share: float = SHARE, most: int = MAX_TESTED) -> None:
        self._random = random
        self._share = share
        self._most = most
        self._tested: set[PackedEndpoint] = set()
        self._liars: set[PackedEndpoint] = set()

    @property
    def caught(self) -> int:
        """Return how many nodes named peers of a canary."""
        return len(self._liars)

    def is_liar(self, endpoint: PackedEndpoint) -> bool:
        """Return whether a node was caught."""
        return endpoint in self._liars

    def wants(self, endpoint: PackedEndpoint) -> bool:
        """Return whether to query a node for a canary now; it then counts as tested."""
        if endpoint in self._tested or len(self._tested) >= self._most:
            return False
        if self._random.random() >= self._share:
            return False
        self._tested.add(endpoint)
        return True

    def target(self, info_hash: bytes) -> bytes:
        """Return an info-hash that no peer has announced."""
        return info_hash[:_ALIKE_BYTES] + self._random.randbytes(len(info_hash) - _ALIKE_BYTES)

    def catches(self, endpoint: PackedEndpoint, response: Response) -> bool:
        """Return whether an answer about a canary names any peer; the node then counts as caught."""
        filters = (response.seeds_filter, response.peers_filter)
        lies = bool(response.values) or any(each not in (None, _EMPTY) for each in filters)
        if lies:
            self._liars.add(endpoint)
        return lies
