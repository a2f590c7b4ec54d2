"""Whether a peer that says to have nothing may be a seed that hides it (BEP 16): evidence, no proof.

A superseed says that it has nothing, and names a piece or two that it gives away.  libtorrent names none to
those that are not interested, and unchokes them all the same while it has room, as no beginner does: that has
nothing to give.  A beginner names the pieces that it gets as well, but only by chance in the same moment in
which it says that it has none.  docs/reference/torrents.md has what was measured.
"""

from dataclasses import dataclass, field

from crawler.db.records.torrents import SUSPECTED

MOST_SHOWN = 3
"""Pieces that a superseed names at once."""

# Clients that can superseed: libtorrent and what is built on it; rTorrent, uTorrent and some older ones.
_LIBTORRENT = frozenset({"LT", "qB", "DE"})
_SUPERSEEDERS = _LIBTORRENT | {"lt", "UT", "UM", "BT", "AZ", "KT", "BI", "BC"}

# Seconds.  What is sent at once may be parted on the way.
_AT_ONCE = 0.1
_PAIR = 0.03
_WITHIN = 2.0

_UNCHOKES_WITH_NOTHING = 2 * SUSPECTED
_NAMES_AT_ONCE = _NAMES_A_PAIR = SUSPECTED


@dataclass(slots=True)
class SuperseedEvidence:
    """When a peer said what of its pieces, as far as it tells hidden seeds from beginners."""

    began_at: float | None = None
    """When it said that it has nothing, or else when its handshake came."""

    has_unchoked: bool = False
    shown_at: list[float] = field(default_factory=list)

    def record_begin(self, now: float) -> None:
        """Record its handshake, or that it said to have nothing."""
        self.began_at = now

    def record_have(self, now: float) -> None:
        """Record that it named a piece."""
        if len(self.shown_at) <= MOST_SHOWN:
            self.shown_at.append(now)

    def record_unchoke(self) -> None:
        """Record an unchoke: it counts while no piece was named."""
        self.has_unchoked |= not self.shown_at

    def may_change(self, client: str, now: float) -> bool:
        """Return whether what it names from now on may still say something."""
        if self.began_at is None or now - self.began_at >= _WITHIN or client not in _SUPERSEEDERS:
            return False
        return not self.has_unchoked and len(self.shown_at) <= MOST_SHOWN

    def score(self, client: str) -> float:
        """Return how much speaks for a hidden seed; suspected from `SUSPECTED` on.

        For a peer of two letters that said to have nothing, has the metadata and wants what is missing.
        """
        if self.began_at is None or client not in _SUPERSEEDERS:
            return 0.0
        shown = self.shown_at
        score = _UNCHOKES_WITH_NOTHING if self.has_unchoked and client in _LIBTORRENT else 0.0
        if not 0 < len(shown) <= MOST_SHOWN:
            return score if not shown else 0.0
        if shown[-1] - self.began_at <= _AT_ONCE:
            return score + _NAMES_AT_ONCE
        # Two in one moment, and none before or after.
        is_pair = len(shown) == 2 and shown[1] - shown[0] <= _PAIR and shown[1] - self.began_at <= _WITHIN
        return score + (_NAMES_A_PAIR if is_pair else 0.0)
