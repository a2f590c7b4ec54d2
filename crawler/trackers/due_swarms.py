"""Which swarms a tracker may be asked for now, and which it is about to be asked for.  Pure."""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b

from crawler.db.records.records import epoch_seconds, utc_text
from crawler.db.records.trackers import SwarmList, TrackerTurn
from dhtnode import InfoHash

PAUSE = 1800.0
"""Seconds until a tracker is asked for a swarm again, at least."""


def list_of(info_hashes: Iterable[InfoHash]) -> SwarmList:
    """Return different info-hashes in the order in which trackers are asked for them."""
    ordered = sorted(set(info_hashes))
    return SwarmList(blake2b(b"".join(ordered), digest_size=16).digest(), ordered)


class DueSwarms:
    """The places in a list of the swarms that each tracker was asked for a short time ago."""

    def __init__(
        self,
        swarms: Sequence[InfoHash],
        earlier: Iterable[tuple[Sequence[InfoHash], Sequence[TrackerTurn]]],
        now: float,
    ) -> None:
        """Read what was written of earlier lists; what is of the future is of a wrong clock."""
        self._count = len(swarms)
        self._asked: dict[str, bytearray] = {}
        latest = utc_text(now + PAUSE)
        places: dict[InfoHash, int] | None = None
        for listed, turns in earlier:
            if not turns:
                continue
            places = places or {info_hash: place for place, info_hash in enumerate(swarms)}
            here = [places.get(info_hash) for info_hash in listed]
            for turn in turns:
                if turn.asked_at <= latest:
                    asked = self._asked.setdefault(turn.place, bytearray(self._count))
                    for place in here[turn.first : turn.last]:
                        if place is not None:
                            asked[place] = 1

    def of(self, tracker: str) -> Sequence[int]:
        """Return the places of the swarms that a tracker may be asked for."""
        asked = self._asked.get(tracker)
        if asked is None:
            return range(self._count)
        return [place for place in range(self._count) if not asked[place]]


def turns_of(tracker: str, places: Sequence[int], now: str) -> Iterator[TrackerTurn]:
    """Yield the parts of the list that these places are, in rising order, as turns that begin now."""
    next_at = utc_text(epoch_seconds(now) + PAUSE)
    # Nearly always: a loop over each would cost as much as all else about a swarm.
    if places and places[-1] - places[0] == len(places) - 1:
        yield TrackerTurn(tracker, places[0], places[-1] + 1, now, next_at)
        return
    first = 0
    for at in range(1, len(places) + 1):
        if at == len(places) or places[at] != places[at - 1] + 1:
            yield TrackerTurn(tracker, places[first], places[at - 1] + 1, now, next_at)
            first = at
