"""Shares of a store: how much each host and each network holds of it, and which entries give way.

A host is an IPv4 address or an IPv6 /64, a network a /24 or a /48: who has one address there can have
them all.  Each may hold a fixed number of entries at most, and a host a quarter of what its network has
left: so few hosts leave something to their neighbours.  In a full store, an entry of a network that
holds more gives way to one of a network that holds less; within one network, hosts are compared in the
same way.  So a flood from few networks washes out its own entries, and k networks that hold all they
can leave to each other one a share of 1 / (k + 1).
"""

from collections import Counter
from dataclasses import dataclass

from dhtnode.addresses import unpack_host

REST_FOR_HOST = 4  # a host may hold one part of so many of what its network has left
FROM_HOST = "too many from one address"
FROM_NETWORK = "too many from one network"
CHECKS_OF_HOST = "too many signatures to check from one address"
CHECKS_OF_NETWORK = "too many signatures to check from one network"
_OF_SHARES = frozenset({FROM_HOST, FROM_NETWORK, CHECKS_OF_HOST, CHECKS_OF_NETWORK})

MAX_NAMED = 64  # networks whose refusals are counted one by one
SHOWN = 8  # and those that are shown


@dataclass(frozen=True, slots=True)
class RefusedNetwork:
    """A network that was refused more often than others, the reason, and how often."""

    network: str
    reason: str
    times: int


class Refusals:
    """Counts of refusals by reason, and by network for those refused most because they hold too much."""

    def __init__(self) -> None:
        self.reasons: Counter[str] = Counter()
        self._named: dict[tuple[bytes, str], int] = {}

    def add(self, reason: str, packed: bytes) -> None:
        """Count one refusal of a host, in packed form; constant cost over many calls.

        By network only those that a share is the reason of: what is full is so for all.
        """
        self.reasons[reason] += 1
        if reason not in _OF_SHARES:
            return
        key = network_of(packed), reason
        named = self._named
        if key in named or len(named) < MAX_NAMED:
            named[key] = named.get(key, 0) + 1
        else:
            # Who is refused often stays, and is counted too low by what the rare ones had (Misra and
            # Gries 1982).
            self._named = {each: times - 1 for each, times in named.items() if times > 1}

    def most(self) -> tuple[RefusedNetwork, ...]:
        """Return the networks refused most often, the first of them first."""
        ranked = sorted(self._named.items(), key=lambda item: -item[1])[:SHOWN]
        return tuple(RefusedNetwork(_text_of(network), reason, times) for (network, reason), times in ranked)


class Shares:
    """What hosts and networks hold of one store.

    Hosts are given in packed form, with a port after it or not.  `most_of_host` and `most_of_network`
    are upper bounds: `measure` makes them exact.
    """

    __slots__ = (
        "_host_limit",
        "_hosts",
        "_max_host",
        "_max_network",
        "_network_limit",
        "_networks",
        "most_of_host",
        "most_of_network",
    )

    def __init__(self, max_per_host: int, max_per_network: int) -> None:
        """Allow so many entries to one host and one network."""
        self._hosts: dict[bytes, int] = {}
        self._networks: dict[bytes, int] = {}
        self._max_host = max_per_host
        self._max_network = max_per_network
        # Below these no one can be at a limit.
        self._host_limit = max_per_host
        self._network_limit = max_per_network - REST_FOR_HOST * max_per_host
        self.most_of_host = 0
        self.most_of_network = 0

    @property
    def hosts(self) -> int:
        """Return how many hosts hold anything."""
        return len(self._hosts)

    @property
    def is_used_up(self) -> bool:
        """Return whether some host or network may hold all that it is allowed to."""
        return self.most_of_host >= self._host_limit or self.most_of_network > self._network_limit

    def add(self, packed: bytes) -> bool:
        """Record one entry more of a host, and return what `is_used_up` is then."""
        # The keys as `host_of` and `network_of` return them: calls would take longer than all the rest.
        if len(packed) < 16:
            host, network = packed[:4], packed[:3]
        else:
            host, network = packed[:8], packed[:6]
        self._hosts[host] = held = self._hosts.get(host, 0) + 1
        if held > self.most_of_host:
            self.most_of_host = held
        self._networks[network] = held = self._networks.get(network, 0) + 1
        if held > self.most_of_network:
            self.most_of_network = held
        return self.most_of_host >= self._host_limit or self.most_of_network > self._network_limit

    def remove(self, packed: bytes) -> None:
        """Record one entry less of a host."""
        hosts, networks = self._hosts, self._networks
        if len(packed) < 16:
            host, network = packed[:4], packed[:3]
        else:
            host, network = packed[:8], packed[:6]
        held = hosts[host] - 1
        if held:
            hosts[host] = held
        else:
            del hosts[host]
        held = networks[network] - 1
        if held:
            networks[network] = held
        else:
            del networks[network]

    def held(self, packed: bytes) -> tuple[int, int]:
        """Return what the network and the host of an address hold."""
        if len(packed) < 16:
            return self._networks.get(packed[:3], 0), self._hosts.get(packed[:4], 0)
        return self._networks.get(packed[:6], 0), self._hosts.get(packed[:8], 0)

    def refusal(self, packed: bytes) -> str | None:
        """Return why a host may hold no more, or None."""
        of_network, of_host = self.held(packed)
        left = self._max_network - of_network
        if left > 0 and of_host < min(self._max_host, max(1, left // REST_FOR_HOST)):
            return None
        # A whole test network may share one address.
        if len(packed) < 16 and packed[0] == 127:
            return None
        return FROM_HOST if of_host >= self._max_host else FROM_NETWORK

    def gives_way(self, holder: bytes, newcomer: bytes, new: int = 1) -> bool:
        """Return whether an entry of one host gives way to `new` entries of another, in a full store."""
        of_network, of_host = self.held(holder)
        wanted_network, wanted_host = self.held(newcomer)
        if network_of(holder) == network_of(newcomer):
            return of_host > wanted_host + new
        return of_network > wanted_network + new

    def may_displace(self, newcomer: bytes) -> bool:
        """Return whether something may give way to a newcomer; False is certain."""
        of_network, of_host = self.held(newcomer)
        return self.most_of_network > of_network + 1 or self.most_of_host > of_host + 1

    def measure(self) -> None:
        """Make the upper bounds exact; cost: linear in hosts."""
        self.most_of_host = max(self._hosts.values(), default=0)
        self.most_of_network = max(self._networks.values(), default=0)


def host_of(packed: bytes) -> bytes:
    """Return the key of a host: an IPv4 address, or an IPv6 /64."""
    return packed[:4] if len(packed) < 16 else packed[:8]


def network_of(packed: bytes) -> bytes:
    """Return the key of a network: an IPv4 /24, or an IPv6 /48."""
    return packed[:3] if len(packed) < 16 else packed[:6]


def _text_of(network: bytes) -> str:
    if len(network) == 3:
        return f"{unpack_host(network + bytes(1))}/24"
    return f"{unpack_host(network + bytes(10))}/48"
