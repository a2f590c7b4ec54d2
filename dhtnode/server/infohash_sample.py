"""The sample of stored info-hashes that a node returns to `sample_infohashes` (BEP 51).

A sample is drawn once per interval and stays: a second query within it brings nothing new, as the BEP
wants it, so that there is no reason for one.  Only what others announced to us is in the store, hence
in a sample; what we look up ourselves never is.
"""

from collections.abc import Collection
from dataclasses import dataclass
from math import ceil
from random import Random

from dhtnode.ids import InfoHash
from dhtnode.krpc.codec import MAX_INTERVAL

SAMPLE_SIZE = 20  # beside 8 contacts of each family they fit into 1024 bytes


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

    def sample(self, stored: Collection[InfoHash], now: float) -> SampleAnswer:
        """Return the sample of this interval; membership in `stored` must be quick.

        Info-hashes no longer stored are replaced, and places that a small store left free are filled:
        nothing else changes.  Cost: that of the sample, and when something is drawn, a pass over the
        store.
        """
        if now - self._drawn_at >= self._interval:
            self._drawn_at = now
            self._sample = []
        kept = [info_hash for info_hash in self._sample if info_hash in stored]
        free = min(self._size, len(stored)) - len(kept)
        if free:
            shown = set(kept)
            others = [info_hash for info_hash in stored if info_hash not in shown]
            kept += self._random.sample(others, free)
        self._sample = kept
        rest = ceil(self._drawn_at + self._interval - now)
        return SampleAnswer(tuple(kept), len(stored), rest)
