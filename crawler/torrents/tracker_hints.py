"""Trackers that peers name (BEP 28): hints that nothing is known of, for a user to look at."""

from collections import Counter
from collections.abc import Iterable
from itertools import chain, zip_longest
from random import Random

from crawler.db.records.torrents import TrackersNamed
from dhtnode.addresses import is_public
from dhtnode.trackers import InvalidTrackerUrl, SkippedScheme, TrackerUrl, parse_tracker_url

MAX_HINTS = 20
"""Trackers that are kept of what the peers of a swarm name in one round."""


class TrackerHints:
    """The trackers that peers of one swarm named, as texts; some 50 kB for each peer that named any."""

    def __init__(self) -> None:
        self._lists: list[list[bytes]] = []

    def add(self, named: Iterable[bytes]) -> None:
        """Record what one peer named."""
        if texts := list(dict.fromkeys(named)):
            self._lists.append(texts)

    def taken(self, random: Random) -> TrackersNamed | None:
        """Return what is kept: of each peer as many as of the others, `MAX_HINTS` in all; None without any.

        Left out and counted are other protocols, private networks, what is no URL, and what looks as if it
        had the key of a user.
        """
        if not self._lists:
            return None
        in_turns = chain.from_iterable(zip_longest(*random.sample(self._lists, len(self._lists))))
        texts = list(dict.fromkeys(text for text in in_turns if text is not None))
        taken: dict[TrackerUrl, None] = {}
        left_out = Counter[str]()
        for text in texts:
            url = _read(text)
            if isinstance(url, str):
                left_out[url] += 1
            elif url in taken or len(taken) >= MAX_HINTS:
                left_out["repeated" if url in taken else "enough others"] += 1
            else:
                taken[url] = None
        return TrackersNamed(len(texts), tuple(taken), dict(left_out))


def _read(text: bytes) -> TrackerUrl | str:
    """Read a URL, or return why it is left out."""
    try:
        url = parse_tracker_url(text.decode())
    except SkippedScheme:
        return "other protocol"
    except (InvalidTrackerUrl, UnicodeDecodeError):
        return "no URL of a tracker"
    if url.has_secret:
        return "looks like a key"
    return url if _may_be_public(url.host) else "in a private network"


def _may_be_public(host: str) -> bool:
    """Return whether a host is a name, or an address of the public network; no name is looked up."""
    is_address = ":" in host or host.replace(".", "").isdigit()
    return not is_address or is_public(host)
