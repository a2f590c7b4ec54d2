"""Who answers with peers whatever it is asked: found by asking about swarms that do not exist.

An honest node has nothing about an info-hash that nobody announced.  A node is asked once at most,
when it has first said that somebody is in a swarm; whoever names peers again is not believed from
then on.  The info-hash begins like the one that was asked before, so that it cannot be told apart.
"""

from random import Random
from typing import ClassVar

from dhtnode.krpc import PackedEndpoint, Response

SHARE = 0.25  # of the nodes that say something; who is asked often comes to its turn sooner
MAX_PROBED = 50_000  # nodes in a run
_ALIKE_BYTES = 5  # beyond them no two nodes of any network are alike
_EMPTY = bytes(256)


class CanaryHashes:
    """Remember who was asked, and who lied."""

    MARK: ClassVar[str] = "answers-anything"

    def __init__(self, random: Random, *, share: float = SHARE, most: int = MAX_PROBED) -> None:
        self._random = random
        self._share = share
        self._most = most
        self._probed: set[PackedEndpoint] = set()
        self._liars: set[PackedEndpoint] = set()

    @property
    def probed(self) -> int:
        """Return how many nodes were asked."""
        return len(self._probed)

    @property
    def caught(self) -> int:
        """Return how many of them lied."""
        return len(self._liars)

    def is_liar(self, endpoint: PackedEndpoint) -> bool:
        """Return whether a node was caught."""
        return endpoint in self._liars

    def wants(self, endpoint: PackedEndpoint) -> bool:
        """Return whether to ask a node now; it then counts as asked."""
        if endpoint in self._probed or len(self._probed) >= self._most:
            return False
        if self._random.random() >= self._share:
            return False
        self._probed.add(endpoint)
        return True

    def target(self, info_hash: bytes) -> bytes:
        """Return an info-hash that nobody has announced."""
        return info_hash[:_ALIKE_BYTES] + self._random.randbytes(len(info_hash) - _ALIKE_BYTES)

    def catches(self, endpoint: PackedEndpoint, response: Response) -> bool:
        """Return whether an answer about such an info-hash names anybody."""
        filters = (response.seeds_filter, response.peers_filter)
        lies = bool(response.values) or any(each not in (None, _EMPTY) for each in filters)
        if lies:
            self._liars.add(endpoint)
        return lies
