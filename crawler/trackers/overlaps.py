"""How far the peers that trackers named and those of the DHT are the same, for one swarm.  Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from math import ceil, floor, isinf
from typing import NamedTuple

from crawler.analysis import SourceOverlap, believed_filters, measured_size, source_overlap
from crawler.db.records.trackers import SwarmOverlap
from dhtnode import SwarmMeasurement
from dhtnode.krpc import ScrapeFilter


class NamedPeers(NamedTuple):
    """The hosts of the `peers` of a swarm that a tracker named at one address, of those that it `listed`.

    It lives in memory, and no longer than the round in which it is compared.
    """

    url: str
    listed: int
    peers: int
    hosts: frozenset[bytes]


def without_empty_claims(named: Iterable[NamedPeers], most: Mapping[str, int]) -> list[NamedPeers]:
    """Return what trackers named, with no more listed than was named where a list came whole.

    So it is where a tracker named fewer peers than the `most` that it named of any swarm: if it had more, it
    would have named more.
    """
    return [
        each._replace(listed=each.peers) if each.peers < most.get(each.url, 0) else each for each in named
    ]


def overlaps_of(
    measured: SwarmMeasurement, named: Sequence[NamedPeers], distrusted: Collection[str], taken_at: str
) -> list[SwarmOverlap]:
    """Return the overlap with each tracker, and the one with all that are not distrusted together.

    Those that named no peer are left out; without filters there is none.
    """
    by_url: dict[str | None, list[NamedPeers]] = {}
    for each in named:
        by_url.setdefault(each.url, []).append(each)
        if each.url not in distrusted:
            by_url.setdefault(None, []).append(each)
    filters = believed_filters(measured)
    found = (
        _overlap(measured, filters, url, lists, taken_at)
        for url, lists in sorted(by_url.items(), key=lambda item: item[0] or "")
    )
    return [each for each in found if each is not None]


def _overlap(
    measured: SwarmMeasurement,
    filters: Sequence[ScrapeFilter],
    url: str | None,
    lists: Sequence[NamedPeers],
    taken_at: str,
) -> SwarmOverlap | None:
    """Compare the DHT with lists of which nothing tells how far they are the same."""
    hosts = frozenset[bytes]().union(*(each.hosts for each in lists))
    # What was named is known one by one: lists can overlap in the rest only.
    listed = max(len(hosts), *(each.listed for each in lists))
    listed_high = max(listed, len(hosts) + sum(max(each.listed - each.peers, 0) for each in lists))
    size = measured_size(measured)
    found = [source_overlap(hosts, filters, size, each) for each in dict.fromkeys((listed, listed_high))]
    few = found[0]
    if few is None:
        return None
    low, high = _ends(each for each in found if each is not None)
    return SwarmOverlap(
        measured.info_hash,
        taken_at,
        url,
        listed,
        listed_high,
        few.tested,
        few.passed,
        few.false_positives,
        *few.share,
        few.union.estimate,
        low,
        None if isinf(high) else high,
    )


def _ends(found: Iterable[SourceOverlap]) -> tuple[float, float]:
    """Return the fewest and the most peers, in whole ones."""
    unions = [each.union for each in found]
    high = max(each.high for each in unions)
    return floor(min(each.low for each in unions)), high if isinf(high) else ceil(high)
