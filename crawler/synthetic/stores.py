"""Which peers of a swarm a node of a synthetic network stores: of which it heard, and what of that it kept.

A peer has a chance of its own to be heard of, beside that of the node: one announces well, another hardly
ever.  A node that heard of more peers than it stores keeps a random part, or those that came first; and
"first" may be the same at all nodes, or depend on when each of them heard.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random

from crawler.synthetic.settings import SyntheticSettings, read_announcers
from dhtnode.krpc import ScrapeFilter


@dataclass(frozen=True)
class Stored:
    """The peers of one swarm that one node stores: compact, 6 bytes each, in the order of its store.

    `seeds6` and `leechers6` are the IPv6 hosts of peers that are in both families, and in no list of IPv4.
    """

    seeds: tuple[bytes, ...]
    leechers: tuple[bytes, ...]
    seeds6: tuple[bytes, ...] = ()
    leechers6: tuple[bytes, ...] = ()
    peers: tuple[bytes, ...] = ()
    """Both roles, in the order of the store."""

    @cached_property
    def filters(self) -> tuple[bytes, bytes]:
        """Return the filters of seeds and of leechers (BEP 33), 1 us for each when first asked for."""
        return _filter_of(self.seeds), _filter_of(self.leechers)

    @cached_property
    def filters_of_both(self) -> tuple[bytes, bytes]:
        """Return the same of a store that has no filters of one family alone."""
        return (
            _filter_of(self.seeds, self.seeds6),
            _filter_of(self.leechers, self.leechers6),
        )


def _filter_of(peers: Sequence[bytes], hosts: Sequence[bytes] = ()) -> bytes:
    return ScrapeFilter.of([*(peer[:4] for peer in peers), *hosts]).to_bytes()


class StoreRules:
    """What nodes hear of and keep of a swarm, by the settings of a network."""

    def __init__(self, settings: SyntheticSettings) -> None:
        self._reach = read_announcers(settings.announcers)
        self._keeps_first = settings.keeps == "first"
        self._disorder = settings.disorder

    def reaches(self, peers: int, random: Random) -> list[float] | None:
        """Draw the chances of all peers of a swarm; None: all are 1."""
        reach = self._reach
        return None if reach is None else [reach(random) for _ in range(peers)]

    def arrivals(self, peers: int, random: Random) -> list[float] | None:
        """Draw when each peer came, from 0 to 1; None where no node asks for that."""
        return [random.random() for _ in range(peers)] if self._keeps_first else None

    def kept(
        self,
        peers: int,
        chance: float,
        room: int,
        random: Random,
        *,
        reaches: Sequence[float] | None,
        arrivals: Sequence[float] | None,
    ) -> list[int]:
        """Draw which peers a node stores that hears of each with this chance and has room for so many."""
        draw = random.random
        if reaches is None:
            heard = [peer for peer in range(peers) if draw() < chance]
        else:
            heard = [peer for peer, reach in enumerate(reaches) if draw() < chance * reach]
        if arrivals is None:
            return random.sample(heard, min(len(heard), room))
        # Heard of when it came, and up to `disorder` later.
        times = {peer: arrivals[peer] + self._disorder * draw() for peer in heard}
        return sorted(heard, key=times.__getitem__)[:room]
