"""The peers that those of a swarm name (BEP 11), and how many can be connected to, by how often each is.

Addresses are in memory only, while the peers of the swarm are asked; what is kept of them are counts.
"""

from collections import Counter
from collections.abc import Collection, Hashable, Iterable
from random import Random
from typing import Protocol, TypeVar

from crawler.analysis import SourceOverlap
from crawler.db.records.torrents import PexCounts
from crawler.torrents.peerwire.peer_exchange import NamedPeer
from crawler.torrents.seed_share import draw_fairly
from dhtnode import Address, Interval
from dhtnode.addresses import pack_host
from dhtnode.swarm import chao2_interval

MOST_COMPARED = 200
"""Hosts that are held against the filters of the DHT."""

MOST_ADDRESSES = 20_000
"""Addresses of one swarm that are counted; beyond, new ones are left out."""

T = TypeVar("T", bound=Hashable)


class Compare(Protocol):
    """What tells how far packed hosts and the DHT are the same."""

    def __call__(self, hosts: Collection[bytes], *, listed: int) -> SourceOverlap | None:
        """Compare hosts that were drawn from so many that are listed in all."""


class NamedPeers:
    """The peers that others named in one swarm, and those that were connected to."""

    def __init__(self) -> None:
        self._lists: list[tuple[NamedPeer, ...]] = []
        self._addresses: set[Address] = set()
        # By host: libtorrent names a peer that connected to it at a port where it does not listen.
        self._met: set[str] = set()
        self._times: Counter[str] = Counter()
        self.asked = 0

    def meet(self, address: Address) -> None:
        """Record a peer that spoke to us."""
        self._met.add(address.host)

    def add(self, named: Iterable[NamedPeer]) -> None:
        """Record what one peer named, of each address one word."""
        first = {peer.address: peer for peer in reversed(list(named))}
        room = max(0, MOST_ADDRESSES - len(self._addresses))
        for address in [address for address in first if address not in self._addresses][room:]:
            del first[address]
        self._addresses.update(first)
        self._lists.append(tuple(first.values()))
        self._times.update({address.host for address in first})

    def drawn(self, most: int, random: Random) -> list[Address]:
        """Draw addresses to be asked as well, from each list as many as from the others.

        No list may fill more than a quarter of `most`.
        """
        share = max(1, most // 4)
        lists = [[peer.address for peer in each] for each in self._lists]
        return draw_fairly([random.sample(each, min(share, len(each))) for each in lists], random)

    def counts(self, compare: Compare | None, random: Random) -> PexCounts | None:
        """Return what is kept, or None where no peer could be asked."""
        if not self.asked:
            return None
        peers = {peer.address: peer for each in self._lists for peer in each}
        hosts = sorted(map(pack_host, self._times))
        drawn = random.sample(hosts, min(MOST_COMPARED, len(hosts)))
        overlap = compare(drawn, listed=len(hosts)) if compare is not None and drawn else None
        size = connectable(self._times, self._met, len(self._lists))
        return PexCounts(
            peers_asked=self.asked,
            peers_told=len(self._lists),
            addresses_named=sum(map(len, self._lists)),
            distinct_addresses=len(peers),
            seed_flags=sum(peer.is_seed for peer in peers.values()),
            reachable_flags=sum(peer.is_reachable for peer in peers.values()),
            overlap=None if overlap is None else overlap.share.estimate,
            overlap_low=None if overlap is None else overlap.share.low,
            overlap_high=None if overlap is None else overlap.share.high,
            n_estimate=None if size is None else size.estimate,
            n_low=None if size is None else size.low,
            n_high=None if size is None else size.high,
        )


def connectable(times: Counter[T], met: Collection[T], lists: int) -> Interval | None:
    """Estimate how many hosts can be connected to, from how often each is named; None below two lists.

    Those that we met are a list, too.  Chao2 with its log-normal interval: a lower bound, for peers with many
    connections are named more often than others.
    """
    if lists < 2:
        return None
    seen = times + Counter(dict.fromkeys(met, 1))
    often = Counter(seen.values())
    return chao2_interval(len(seen), often[1], often[2], lists + 1)
