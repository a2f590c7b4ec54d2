"""Which trackers are asked: those given, of a list, of torrents, and those known from before.  Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from crawler.db.records.trackers import GIVEN, OF_PEER, KnownTracker
from dhtnode.trackers import (
    InvalidTrackerUrl,
    Outcome,
    SkippedScheme,
    TrackerUrl,
    parse_tracker_url,
)

PASSKEY = "passkey"
"""The outcome of a URL that looks as if it carried the key of a user: neither asked nor stored."""

NEVER = "9999-12-31T23:59:59.999Z"
"""When a tracker may be asked again that said never."""

MAX_TRACKERS = 10_000
"""Trackers in one sweep; further ones are counted and left out."""


class Wanted(NamedTuple):
    """A tracker that is to be asked, and how it came to be known."""

    url: TrackerUrl
    source: str

    def first_seen(self, now: str) -> KnownTracker:
        """Return the tracker as it is known before it was ever asked."""
        return KnownTracker(str(self.url), self.url.scheme, self.url.host, self.source, now)

    @property
    def is_typed(self) -> bool:
        """Return whether the user typed it, so that it may be in a private network."""
        return self.source == GIVEN


def read_tracker_list(lines: Iterable[str]) -> list[str]:
    """Return the URLs of a list as they are published: one a line, empty lines between, # for remarks."""
    stripped = (line.strip() for line in lines)
    return [line for line in stripped if line and not line.startswith("#")]


def left_out_lines(left_out: Mapping[str, int]) -> Iterator[str]:
    """Yield what is said of trackers that are not asked."""
    for outcome, count in sorted(left_out.items()):
        yield f"{count} trackers left out: {outcome}"


def choose(
    known: Sequence[KnownTracker], named: Mapping[str, Iterable[str]], *, takes_hints: bool = False
) -> tuple[list[Wanted], Counter[str]]:
    """Return the trackers to ask, each once, and how many texts are left out, by outcome.

    `named` has texts by where they are from.  One that was once typed by the user stays so.  Of those that
    only peers have named, none is asked without `takes_hints`.
    """
    found: dict[str, Wanted] = {}
    left_out = Counter[str]()
    texts = [(source, text) for source, several in named.items() for text in several]
    from_before = [(each.source, each.url) for each in known if takes_hints or each.source != OF_PEER]
    for source, text in [*texts, *from_before]:
        try:
            url = parse_tracker_url(text)
        except SkippedScheme:
            left_out[Outcome.SKIPPED_SCHEME] += 1
        except InvalidTrackerUrl:
            left_out[Outcome.MALFORMED] += 1
        else:
            if url.has_secret:
                left_out[PASSKEY] += 1
            elif str(url) not in found or source == GIVEN:
                found[str(url)] = Wanted(url, source)
    chosen = list(found.values())
    left_out["beyond the bound"] += len(chosen[MAX_TRACKERS:])
    return chosen[:MAX_TRACKERS], +left_out
