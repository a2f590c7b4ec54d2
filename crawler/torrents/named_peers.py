"""The peers that those of a swarm name (BEP 11), and how many can be connected to, by how often each is.

Addresses are in memory only, while the peers of the swarm are asked; what is kept of them are counts.
"""

from collections import Counter
from collections.abc import Collection, Hashable, Iterable
from math import ceil, floor
from random import Random
from typing import Protocol, TypeVar

from crawler.analysis import SourceOverlap
from crawler.analysis.sessions import wilson
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
        self._missed: set[str] = set()
        self._given: frozenset[str] | None = None  # tried before any was drawn
        self._times: Counter[str] = Counter()
        self.asked = 0

    def meet(self, address: Address) -> None:
        """Record a peer that spoke to us."""
        self._met.add(address.host)

    def miss(self, address: Address) -> None:
        """Record a peer that could not be connected to."""
        self._missed.add(address.host)

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
        """Draw addresses that were not tried, to be asked as well, from each list as many as from the others.

        No list may fill more than a quarter of `most`.
        """
        share = max(1, most // 4)
        tried = self._met | self._missed
        if self._given is None:
            self._given = frozenset(tried)
        lists = [[peer.address for peer in each if peer.address.host not in tried] for each in self._lists]
        return draw_fairly([random.sample(each, min(share, len(each))) for each in lists], random)

    def counts(self, compare: Compare | None, random: Random) -> PexCounts | None:
        """Return what is kept, or None where no peer could be asked."""
        if not self.asked:
            return None
        peers = {peer.address: peer for each in self._lists for peer in each}
        hosts = sorted(map(pack_host, self._times))
        drawn = random.sample(hosts, min(MOST_COMPARED, len(hosts)))
        overlap = compare(drawn, listed=len(hosts)) if compare is not None and drawn else None
        size = connectable(self._times, self._met, len(self._lists), self._missed, self._given or ())
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


def connectable(
    times: Counter[T], met: Collection[T], lists: int, missed: Collection[T] = (), given: Collection[T] = ()
) -> Interval | None:
    """Estimate how many hosts can be connected to, from how often each is named; None below two lists.

    Those that we met are a list, too.  Chao2 with its log-normal interval, in whole hosts: a lower bound, for
    peers with many connections are named more often than others.  Of those that were not tried, as many can
    be connected to as of those that were, `met` or `missed`, and not `given` before any was named, if there
    are such.
    """
    if lists < 2:
        return None
    seen = times + Counter(dict.fromkeys(met, 1))
    often = Counter(seen.values())
    found = chao2_interval(len(seen), often[1], often[2], lists + 1)
    # With one seen once at most it has no width, though two are as likely.
    few = chao2_interval(len(seen), max(often[1], 2), often[2], lists + 1)
    high = max(found.high, few.high if often[1] + often[2] else 0.0)
    reached, refused = set(met), set(missed) - set(met)
    share = _reached_share(times, reached, refused, set(given))
    settled = len(reached) + len(refused & seen.keys())

    def whole(hosts: float, each: float) -> float:
        return len(reached) + max(0.0, hosts - settled) * each

    return Interval(
        whole(found.estimate, share.estimate),
        float(floor(whole(found.low, share.low))),
        float(ceil(whole(high, share.high))),
    )


def _reached_share(times: Counter[T], reached: set[T], refused: set[T], given: set[T]) -> Interval:
    """Return the share of named hosts that can be connected to, with Wilson's ends, by those that were tried.

    One that is named twice as often is twice as likely to be tried, and counts half.
    """
    found = (reached | refused) & times.keys()
    tried = {host: 1 / times[host] for host in found - given or found}
    if not tried:
        return Interval(1.0, 0.0, 1.0)
    total = sum(tried.values())
    share = sum(weight for host, weight in tried.items() if host in reached) / total
    size = max(1, round(total**2 / sum(weight**2 for weight in tried.values())))
    return Interval(share, *wilson(round(share * size), size))
