"""The settings of a gateway: where it listens, who may ask, and its rates and bounds.

Times are in seconds.
"""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import TypeAlias

from dhtnode.addresses import Address
from dhtnode.ids import InfoHash

Network: TypeAlias = IPv4Network | IPv6Network
"""A network that an option names."""

MOST_WANTED = 200
"""Peers of one answer at most."""

DEFAULT_WANTED = 50
"""Peers of an answer to a client that does not say how many it wants."""


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """All that can be set; where no address is given, that protocol is not served."""

    http: Address | None = None
    udp: Address | None = None

    tls: tuple[Path, Path] | None = None
    """Certificate and key for HTTP."""

    is_open: bool = False
    """Serve clients of the public network, too."""

    announce_for: tuple[Network, ...] = ()
    """Networks whose clients have our public address, and ports that are forwarded."""

    proxies: tuple[Network, ...] = ()
    """Networks of HTTP proxies that are believed for which client they ask."""

    allow: frozenset[InfoHash] | None = None
    """The only info-hashes that are served; None for all."""

    deny: frozenset[InfoHash] = frozenset()
    """Info-hashes that are not served."""

    interval: int = 1800
    """After so long a client is to come again; it is forgotten after twice as long."""

    first_interval: int = 60
    """The same for a client that got no peers, or not yet all."""

    wait: float = 4.0
    """How long an answer waits for a lookup: clients give up after 5 to 15 seconds."""

    fresh_for: float = 300.0
    """How long the result of a lookup is used before another one is made."""

    empty_for: float = 60.0
    """The same for a lookup that found none; twice as long after each that finds none again."""

    refresh_after: float = 900.0
    """A swarm with clients is looked up so often by itself, and announced for our own."""

    lookup_rate: float = 10.0
    """Lookups per second in all; each takes some 50 packets."""

    max_lookups: int = 200
    """Lookups under way."""

    rate: float = 5.0
    """Announces and scrapes per second of one client address."""

    burst: float = 20.0
    """Announces and scrapes of one client address at once."""

    max_swarms_per_host: int = 200
    """Swarms that the clients at one address may be in."""

    max_clients_per_host: int = 16
    """Clients at one address that may be in one swarm."""

    max_peers_per_network: int = 10_000
    """Clients of one /24 (IPv6: one /48), each counted once for each swarm."""

    max_peers_per_swarm: int = 5000
    """Clients in one swarm."""

    max_peers: int = 100_000
    """Clients in all, each counted once for each swarm: 50 MB."""

    max_swarms: int = 20_000
    """Swarms that have clients, or were looked up lately."""

    max_waiting: int = 2000
    """UDP requests that wait for a lookup."""
