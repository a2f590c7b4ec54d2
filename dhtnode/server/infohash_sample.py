"""The sample of stored info-hashes that a node returns to `sample_infohashes` (BEP 51).

A sample is drawn once per interval and stays: a second query within it brings nothing new, as the BEP
wants it, so that there is no reason for one.  Only what others announced to us is in the store, hence
in a sample; what we look up ourselves never is.
"""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from math import ceil
from random import Random

from dhtnode.ids import InfoHash
from dhtnode.krpc.codec import MAX_INTERVAL

SAMPLE_SIZE = 20  # beside 8 contacts of each family they fit into 1024 bytes
MAX_SHARE = 1 / 4  # of the places for info-hashes that one network alone announces
SMALL = 256  # info-hashes; a draw from so few takes little
DRAW_PAUSE = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class SampleAnswer:
    """A sample of info-hashes, how many there are in all, and when to query again.

    `interval` is in seconds, the rest of ours rounded up.
    """

    info_hashes: tuple[InfoHash, ...]
    num: int
    interval: int


class SampleKeeper:
    """The samples of a store that changes."""

    def __init__(self, random: Random, *, interval: float = MAX_INTERVAL, size: int = SAMPLE_SIZE) -> None:
        """Keep each sample for `interval` seconds, at most `MAX_INTERVAL`; else raise `ValueError`."""
        if not 0 < interval <= MAX_INTERVAL:
            raise ValueError(f"a sample interval of {interval} s is not in 0..{MAX_INTERVAL:g}")
        self._random = random
        self._interval = interval
        self._size = size
        self._drawn_at = float("-inf")
        self._sample: list[InfoHash] = []
        self._next_draw = float("-inf")

    def sample(
        self,
        stored: Collection[InfoHash],
        now: float,
        network_of: Callable[[InfoHash], bytes] = lambda _: b"",
    ) -> SampleAnswer:
        """Return the sample of this interval; membership in `stored` must be quick.

        Info-hashes no longer stored are replaced, and places that a small store left free are filled:
        nothing else changes.  As long as there are others, a network has a quarter of the places at
        most: `network_of` returns by whose announces an info-hash is stored.  Cost: that of the sample, and
        when something is drawn, a pass over the store; of a large one, once a second at most.
        """
        if now - self._drawn_at >= self._interval:
            self._drawn_at = now
            self._sample = []
            self._next_draw = now
        kept = [info_hash for info_hash in self._sample if info_hash in stored]
        free = min(self._size, len(stored)) - len(kept)
        if free and (len(stored) <= SMALL or now >= self._next_draw):
            self._next_draw = now + DRAW_PAUSE
            kept += self._draw(free, kept, stored, network_of)
        self._sample = kept
        rest = ceil(self._drawn_at + self._interval - now)
        return SampleAnswer(tuple(kept), len(stored), rest)

    def _draw(
        self,
        free: int,
        kept: Sequence[InfoHash],
        stored: Collection[InfoHash],
        network_of: Callable[[InfoHash], bytes],
    ) -> list[InfoHash]:
        """Return `free` more info-hashes; those of networks that have their share come last."""
        shown = set(kept)
        others = [info_hash for info_hash in stored if info_hash not in shown]
        places = Counter(map(network_of, kept))
        drawn: list[InfoHash] = []
        left: list[InfoHash] = []
        for info_hash in self._random.sample(others, len(others)):
            network = network_of(info_hash)
            if len(drawn) == free:
                break
            if places[network] < self._size * MAX_SHARE:
                places[network] += 1
                drawn.append(info_hash)
            else:
                left.append(info_hash)
        return drawn + left[: free - len(drawn)]
