"""Nodes that lie about swarms: each style takes the swarm and returns a reply."""

from collections.abc import Callable
from random import Random
from typing import TypeAlias

from dhtnode import Address
from dhtnode.krpc import ScrapeFilter

INVENTED = (50, 500)  # hosts of an invented swarm, for every info-hash
INFLATED = 3000  # hosts of an inflated filter
LISTED = (20, 100)

Said: TypeAlias = tuple[ScrapeFilter | None, ScrapeFilter | None, tuple[Address, ...]]
"""Filters of seeds and of others, and the peers named."""

Style: TypeAlias = Callable[[Said], Said]

_FULL = ScrapeFilter((1 << 2048) - 1)
_SPECIAL = ("10.0.{}.{}", "192.168.{}.{}", "127.0.{}.{}", "169.254.{}.{}", "240.0.{}.{}")


class Liar:
    """Lie about one swarm; all nodes that copy share the filters of the same other swarm."""

    def __init__(self, random: Random) -> None:
        self._random = random
        other = round(6000 ** random.random())
        self._other = random_filter(other // 3, random), random_filter(other - other // 3, random)
        self.styles: tuple[Style, ...] = (
            self.full,
            self.inflated,
            self.copied,
            self.invented,
            self.padded,
            self.special_values,
            self.invented_values,
            self.empty,
        )

    def draw(self) -> Style:
        """Return a style, drawn by lot."""
        return self._random.choice(self.styles)

    def on_anything(self, style: Style) -> Said:
        """Return a node's reply for an info-hash that was never announced: padding needs a true store."""
        return style((None, None, ()))

    def full(self, _honest: Said) -> Said:
        """Set every bit."""
        return _FULL, _FULL, ()

    def inflated(self, _honest: Said) -> Said:
        """Put in thousands of invented hosts."""
        return self._filters(INFLATED)

    def copied(self, _honest: Said) -> Said:
        """Send the filters of another swarm."""
        return (*self._other, ())

    def invented(self, _honest: Said) -> Said:
        """Invent a swarm, as for any info-hash."""
        return self._filters(self._random.randint(*INVENTED))

    def padded(self, honest: Said) -> Said:
        """Add as many invented hosts as there are true ones."""
        seeds, leechers = honest[0] or ScrapeFilter(), honest[1] or ScrapeFilter()
        more = round((seeds | leechers).estimate())
        return (
            seeds | random_filter(more // 2, self._random),
            leechers | random_filter(more - more // 2, self._random),
            (),
        )

    def special_values(self, _honest: Said) -> Said:
        """Return addresses that cannot be used."""
        random = self._random
        named = (
            random.choice(_SPECIAL).format(random.randrange(256), random.randrange(1, 255))
            for _ in range(random.randint(*LISTED))
        )
        return None, None, tuple(Address(host, 6881) for host in dict.fromkeys(named))

    def invented_values(self, _honest: Said) -> Said:
        """Return usable addresses of invented peers."""
        random = self._random
        named = {
            f"{random.randint(80, 90)}.{random.randrange(256)}.{random.randrange(256)}.7"
            for _ in range(random.randint(*LISTED))
        }
        return None, None, tuple(Address(host, 6881) for host in sorted(named))

    def empty(self, _honest: Said) -> Said:
        """Return an empty swarm."""
        return ScrapeFilter(), ScrapeFilter(), ()

    def _filters(self, hosts: int) -> Said:
        seeds = self._random.randint(0, hosts)
        return random_filter(seeds, self._random), random_filter(hosts - seeds, self._random), ()


def random_filter(hosts: int, random: Random) -> ScrapeFilter:
    """Return the filter of as many invented hosts."""
    bits = 0
    for _ in range(2 * hosts):
        bits |= 1 << random.randrange(2048)
    return ScrapeFilter(bits)
