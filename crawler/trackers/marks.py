"""What makes the counts of a tracker suspect, from the results of one sweep over all of them.  Pure.

All rules are about many swarms: one that is odd shows nothing.  Small swarms are alike by chance, so that
most rules leave them out.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import gcd

Triple = tuple[int, int, int | None]
"""Seeds, leechers and downloads of a swarm."""

MOST_COMPARED = 3000
"""Swarms of a sweep that are compared, spread over all of them."""

_ENOUGH = 20  # swarms
_SAME_SHARE = 0.9
_ALONE_TIMES, _ALONE_PEERS, _ALONE_SWARMS = 5, 20, 5
_TELLING = 5  # peers or downloads; two lists have smaller numbers in common by chance


class Mark(StrEnum):
    """A word for what is suspect."""

    INVENTS = "invents"
    """It has peers of an info-hash that was made up for the occasion."""

    CONSTANT = "constant"
    """It says the same of nearly all swarms."""

    ALONE = "alone"
    """Of most large swarms it says more than five times what all others say."""

    MIRROR = "mirror"
    """It has the lists of another tracker, which is counted; it is not."""

    MULTIPLIED = "multiplied"
    """All its numbers are multiples of one number."""

    UTF8_KEYS = "utf8-keys"
    """It writes info-hashes as text: a defect, and no lie."""


@dataclass(slots=True)
class SweepFacts:
    """What one tracker at one address said: counts other than 0 by place of the swarm, of those compared."""

    url: str
    counts: dict[int, Triple] = field(default_factory=dict)
    canary_hits: int = 0
    has_utf8_keys: bool = False


def marks_of(sweeps: Sequence[SweepFacts], dht_high: Mapping[int, float]) -> list[tuple[Mark, ...]]:
    """Return the marks of each sweep; `dht_high` are upper ends of what the DHT says, by place.

    Of lists that are the same the first one has no mark.  Costs the square of the sweeps.
    """
    mirrors = _mirrors(sweeps)
    own = [_own_marks(each) for each in sweeps]
    believed = [
        each
        for each, marks, is_mirror in zip(sweeps, own, mirrors, strict=True)
        if not marks and not is_mirror
    ]
    largest = _largest(believed)
    found = []
    for each, marks, is_mirror in zip(sweeps, own, mirrors, strict=True):
        also = {
            Mark.ALONE: _is_alone(each, largest, dht_high),
            Mark.MIRROR: is_mirror,
            Mark.UTF8_KEYS: each.has_utf8_keys,
        }
        found.append((*marks, *(mark for mark, is_so in also.items() if is_so)))
    return found


def _largest(sweeps: Sequence[SweepFacts]) -> dict[int, list[tuple[int, str]]]:
    """Return the two largest numbers of peers that different trackers name for each swarm, and their URLs."""
    told: dict[int, dict[str, int]] = {}
    for each in sweeps:
        for place, (seeds, leechers, _) in each.counts.items():
            by_url = told.setdefault(place, {})
            by_url[each.url] = max(seeds + leechers, by_url.get(each.url, 0))
    return {
        place: sorted(((peers, url) for url, peers in by_url.items()), reverse=True)[:2]
        for place, by_url in told.items()
    }


def _own_marks(sweep: SweepFacts) -> tuple[Mark, ...]:
    told = list(sweep.counts.values())
    marks = [Mark.INVENTS] if sweep.canary_hits else []
    if len(told) >= _ENOUGH:
        ((triple, times),) = Counter(told).most_common(1)
        # Most swarms are tiny: that one has one peer is no wonder.
        if times >= _SAME_SHARE * len(told) and triple[0] + triple[1] > 1:
            marks.append(Mark.CONSTANT)
        elif _divisor(told) > 1:
            marks.append(Mark.MULTIPLIED)
    return tuple(marks)


def _divisor(told: Sequence[Triple]) -> int:
    """Return what all numbers of peers are multiples of; 1 where they are too few to tell."""
    numbers = [number for seeds, leechers, _ in told for number in (seeds, leechers) if number]
    # By chance all are even once in a million times.
    return gcd(*numbers) if len(numbers) >= _ENOUGH and len(set(numbers)) > _TELLING else 1


def _mirrors(sweeps: Sequence[SweepFacts]) -> list[bool]:
    """Return which sweeps have the lists of one before them."""
    telling = [
        {place: told for place, told in each.counts.items() if told[0] + told[1] + (told[2] or 0) >= _TELLING}
        for each in sweeps
    ]
    found: list[bool] = []
    for number, mine in enumerate(telling):
        found.append(
            any(
                not is_mirror and _are_same(theirs, mine)
                for theirs, is_mirror in zip(telling[:number], found, strict=True)
            )
        )
    return found


def _are_same(one: Mapping[int, Triple], other: Mapping[int, Triple]) -> bool:
    both = one.keys() & other.keys()
    if len(both) < _ENOUGH or len(both) < _SAME_SHARE * min(len(one), len(other)):
        return False
    same = sum(one[place] == other[place] for place in both)
    return same >= max(_ENOUGH, _SAME_SHARE * len(both)) and len({one[place] for place in both}) > 1


def _is_alone(
    sweep: SweepFacts, largest: Mapping[int, Sequence[tuple[int, str]]], dht_high: Mapping[int, float]
) -> bool:
    compared = beyond = 0
    for place, (seeds, leechers, _) in sweep.counts.items():
        if seeds + leechers < _ALONE_PEERS:
            continue
        others = [peers for peers, url in largest.get(place, ()) if url != sweep.url]
        most = max([*others, dht_high.get(place, 0.0)])
        if most:
            compared += 1
            beyond += seeds + leechers > _ALONE_TIMES * most
    return beyond >= max(_ALONE_SWARMS, compared / 2)
