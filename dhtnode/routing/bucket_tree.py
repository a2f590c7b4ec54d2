"""The id space cut into buckets around one id, ours: where an id belongs, and who is closest to a target.

At first one bucket covers everything.  Only the bucket with our own id is ever split (BEP 5, "Routing
Table"), so there is one for each number of bits that ids share with ours, up to a last one for more:
at most 160, found by a subtraction instead of a search.

Who may enter, who has to leave and what the nodes have done is none of its business; see `routing`,
which alone uses it.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise

from sortedcontainers import SortedDict

from dhtnode.ids import ID_BITS
from dhtnode.routing.bucket import Bucket, Entry, require


class Partition:
    """Keep the buckets around one id; iterating yields them in order of their ranges."""

    __slots__ = ("_buckets", "_by_prefix", "own")

    def __init__(self, own: int, bucket_size: int) -> None:
        """Begin with one bucket for all ids."""
        self.own = own
        whole = Bucket(0, ID_BITS, bucket_size)
        # In order of their ranges, keyed by the lower ends.
        self._buckets: SortedDict[int, Bucket] = SortedDict({0: whole})
        # The same by the number of bits that their ids share with ours; in the last one, or more.
        self._by_prefix = [whole]

    def __iter__(self) -> Iterator[Bucket]:
        return iter(self._buckets.values())

    def bucket_of(self, number: int) -> Bucket:
        """Return the bucket of an id."""
        shared = ID_BITS - (number ^ self.own).bit_length()
        return self._by_prefix[shared] if shared < len(self._by_prefix) else self._by_prefix[-1]

    def make_room(self, number: int) -> Bucket:
        """Return the bucket of another id than ours, after splitting it while it is full and our own."""
        while (bucket := self.bucket_of(number)).is_full and bucket.covers(self.own):
            self.split(bucket)
        return bucket

    def split(self, bucket: Bucket) -> None:
        """Put two halves in the place of the bucket with our own id."""
        # Nobody ever waits for it, because it splits instead; and a full one is more than one id
        # wide, because our own id is not among its nodes.
        lower, upper = bucket.split()
        self._buckets[lower.low] = lower
        self._buckets[upper.low] = upper
        ours, other = (upper, lower) if upper.covers(self.own) else (lower, upper)
        self._by_prefix[-1:] = other, ours

    def sort_in(self, ranked: Iterable[Entry]) -> list[Entry]:
        """Put entries into the buckets, the first ones first, and return those for whom there was room.

        Left out are those under our own id, those in whose bucket another one of their network is,
        and, where a bucket is full, those who may not wait or find no place to wait either.
        """
        placed = []
        for entry in ranked:
            if entry.number == self.own:
                continue
            bucket = self.make_room(entry.number)
            if bucket.clashes(entry.contact.node_id, entry.network):
                continue
            entry.waiting = False
            if not bucket.is_full:
                bucket.nodes.append(entry)
            elif len(bucket.waiting) < bucket.size and not entry.failures:
                bucket.wait(entry)
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
        """Raise `AssertionError` when the buckets do not cover all ids, each once, as told above."""
        buckets = list(self)
        require([bucket.low for bucket in buckets] == list(self._buckets), "buckets are under their keys")
        require(buckets[0].low == 0 and buckets[-1].high == 1 << ID_BITS, "buckets cover all ids")
        require(all(a.high == b.low for a, b in pairwise(buckets)), "buckets leave no gap")
        found = [
            self.bucket_of(bucket.low) is bucket is self.bucket_of(bucket.high - 1) for bucket in buckets
        ]
        require(all(found) and len(self._by_prefix) == len(buckets), "buckets are found by prefix")
        for bucket in buckets:
            bucket.check()
            require(bucket.parent_covers(self.own), "only buckets with our own id were split")
            require(not (bucket.covers(self.own) and bucket.waiting), "nobody waits for our own bucket")

    def _by_distance(self, number: int) -> Iterator[Bucket]:
        """Yield the buckets, nearest first; sorts them only when the first was not enough."""
        yield self.bucket_of(number)
        # Ranges are aligned and disjoint, and so are the distances from `number` to their ids: any
        # one id of each range, such as its lowest, puts them in order.
        for low in sorted(self._buckets, key=number.__xor__)[1:]:
            yield self._buckets[low]
