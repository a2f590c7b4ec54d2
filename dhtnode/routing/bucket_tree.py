"""The id space divided into buckets around our id: the bucket of an id, and the nodes closest to a target.

At first one bucket covers everything.  Only the bucket with our own id is ever split (BEP 5, "Routing
Table"), so there is one for each number of bits that ids share with ours, and a last one for more:
at most 160, found by the bits of a distance instead of a search.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise

from sortedcontainers import SortedDict

from dhtnode.ids import ID_BITS
from dhtnode.routing.bucket import Bucket, require
from dhtnode.routing.entry import Entry


class BucketTree:
    """The buckets around one id; iterating yields them in order of their ranges."""

    __slots__ = ("_buckets", "by_bits", "own")

    def __init__(self, own: int, bucket_size: int) -> None:
        """Begin with one bucket for all ids."""
        self.own = own
        whole = Bucket(0, ID_BITS, bucket_size)
        # In order of their ranges, keyed by the lower ends.
        self._buckets: SortedDict[int, Bucket] = SortedDict({0: whole})
        # The same by the bits that the distance of an id from ours takes.
        self.by_bits = [whole] * (ID_BITS + 1)

    def __iter__(self) -> Iterator[Bucket]:
        return iter(self._buckets.values())

    def bucket_of(self, number: int) -> Bucket:
        """Return the bucket of an id."""
        return self.by_bits[(number ^ self.own).bit_length()]

    def split_for(self, number: int) -> Bucket:
        """Return the bucket of another id than ours, after splitting it while it is full and our own."""
        while (bucket := self.bucket_of(number)).is_full and bucket.covers(self.own):
            self.split(bucket)
        return bucket

    def split(self, bucket: Bucket) -> None:
        """Put two halves in the place of the bucket with our own id."""
        # It has no replacements, because it splits instead; and a full one is more than one id wide,
        # because our own id is not among its nodes.
        lower, upper = bucket.split()
        self._buckets[lower.low] = lower
        self._buckets[upper.low] = upper
        ours, other = (upper, lower) if upper.covers(self.own) else (lower, upper)
        self.by_bits[bucket.bits] = other
        self.by_bits[: bucket.bits] = [ours] * bucket.bits

    def insert_all(self, ranked: Iterable[Entry]) -> list[Entry]:
        """Put entries into the buckets, the first ones first, and return those that found a place.

        Left out are entries under our own id and entries that share an id or a network with another
        one in their bucket.  Where a bucket is full, left out are also those with timeouts, and those
        beyond the capacity for replacements.
        """
        placed = []
        for entry in ranked:
            if entry.number == self.own:
                continue
            bucket = self.split_for(entry.number)
            if bucket.clashes(entry.contact.node_id, entry.network):
                continue
            entry.replacement = False
            if not bucket.is_full:
                bucket.nodes.append(entry)
            elif len(bucket.replacements) < bucket.size and not entry.failures:
                bucket.add_replacement(entry)
            else:
                continue
            placed.append(entry)
        return placed

    def closest(self, number: int, now: float, count: int) -> list[Entry]:
        """Return the `count` closest good nodes, by distance; questionable ones fill up.

        Looks at the bucket of the target first and at others only as long as good nodes are missing.
        """
        good: list[tuple[int, Entry]] = []
        spare: list[tuple[int, Entry]] = []
        for bucket in self._by_distance(number):
            for entry in bucket.nodes:
                if now < entry.good_until:
                    good.append((entry.number ^ number, entry))
                elif not entry.bad:
                    spare.append((entry.number ^ number, entry))
            if len(good) >= count:
                break
        # No two nodes have one id, hence one distance: the sorts below never compare entries.
        chosen = sorted(good)[:count]
        if len(chosen) < count:
            chosen = sorted(chosen + sorted(spare)[: count - len(chosen)])
        return [entry for _, entry in chosen]

    def check(self) -> None:
        """Raise `AssertionError` when an invariant of the buckets is broken."""
        buckets = list(self)
        require([bucket.low for bucket in buckets] == list(self._buckets), "buckets are under their keys")
        require(buckets[0].low == 0 and buckets[-1].high == 1 << ID_BITS, "buckets cover all ids")
        require(all(a.high == b.low for a, b in pairwise(buckets)), "buckets leave no gap")
        found = [
            self.bucket_of(bucket.low) is bucket is self.bucket_of(bucket.high - 1) for bucket in buckets
        ]
        require(all(found) and set(self.by_bits) == set(buckets), "buckets are found by distance")
        for bucket in buckets:
            bucket.check()
            require(bucket.parent_covers(self.own), "only buckets with our own id were split")
            require(not (bucket.covers(self.own) and bucket.replacements), "our own bucket splits instead")

    def _by_distance(self, number: int) -> Iterator[Bucket]:
        """Yield the buckets, nearest first; sorts them only when the first was not enough."""
        yield self.bucket_of(number)
        # Ranges are aligned and disjoint, and so are the distances from `number` to their ids: any
        # one id of each range, such as its lowest, puts them in order.
        for low in sorted(self._buckets, key=number.__xor__)[1:]:
            yield self._buckets[low]
