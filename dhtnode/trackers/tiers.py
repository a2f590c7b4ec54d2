"""The order in which a client announces to the trackers of a torrent (BEP 12)."""

from collections.abc import Sequence
from random import Random

from dhtnode.trackers.urls import TrackerUrl, parse_tracker_urls


class Tiers:
    """The trackers of a torrent in tiers, each shuffled once; one that worked moves to the front of its own.

    One announce goes to the first that works: `next_url`, then `worked` or `failed`, until one is None.
    """

    def __init__(self, tiers: Sequence[Sequence[str]], random: Random) -> None:
        """Read tiers as a torrent file has them (`Metainfo.trackers`); what cannot be asked is left out."""
        self._tiers = [list(urls) for tier in tiers if (urls := parse_tracker_urls(tier))]
        for tier in self._tiers:
            random.shuffle(tier)
        self._place = (0, 0)

    @property
    def urls(self) -> tuple[TrackerUrl, ...]:
        """Return all trackers, in the order in which they are tried."""
        return tuple(dict.fromkeys(url for tier in self._tiers for url in tier))

    def next_url(self) -> TrackerUrl | None:
        """Return the tracker to try now, or None when all have failed."""
        tier, place = self._place
        return self._tiers[tier][place] if tier < len(self._tiers) else None

    def worked(self) -> None:
        """Move the tracker just tried to the front of its tier, and begin with the first tier next time."""
        tier, place = self._place
        if tier < len(self._tiers):
            self._tiers[tier].insert(0, self._tiers[tier].pop(place))
        self._place = (0, 0)

    def failed(self) -> None:
        """Go on to the next tracker."""
        tier, place = self._place
        if tier < len(self._tiers):
            is_last = place + 1 == len(self._tiers[tier])
            self._place = (tier + 1, 0) if is_last else (tier, place + 1)

    def restart(self) -> None:
        """Begin with the first tracker again, after all have failed."""
        self._place = (0, 0)
