"""What is to be deleted: ages, whole swarms, and nodes by their ids, addresses and networks."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network
from typing import TypeAlias

from dhtnode import InfoHash, NodeId
from dhtnode.arguments import check_type

Network: TypeAlias = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Orders:
    """What is to be deleted: ages in days, whole swarms, networks and ids of nodes."""

    filters_older: float | None = None
    older: float | None = None
    swarms: tuple[InfoHash, ...] = ()
    networks: tuple[Network, ...] = ()
    node_ids: tuple[NodeId, ...] = ()


def parse_node(text: str) -> Network | NodeId:
    """Read whose rows are to go: an IP address, a network, or a node id of 40 hex digits.

    Raises `ValueError`.
    """
    check_type("a node", text, str)
    try:
        if len(text) == 40 and ":" not in text:
            return NodeId(bytes.fromhex(text))
        return ip_network(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no IP address, network or node id") from error


def host_matcher(networks: tuple[Network, ...]) -> Callable[[object], bool]:
    """Return a function that decides whether a host, or an address with a port, lies in one of the networks.

    In an anonymized database an address is a network; it has to lie in one of those as a whole.
    """

    @lru_cache(maxsize=65_536)
    def is_in_network(found_host: int | str) -> bool:
        host = str(IPv4Address(found_host) if isinstance(found_host, int) else found_host).partition(" ")[0]
        for candidate in (host, host.rpartition(":")[0].strip("[]")):
            with suppress(ValueError):
                found = ip_network(candidate, strict=False)
                return any(_contains(network, found) for network in networks)
        return False

    return is_in_network


def _contains(network: Network, other: Network) -> bool:
    if isinstance(network, IPv4Network):
        return isinstance(other, IPv4Network) and other.subnet_of(network)
    return isinstance(other, IPv6Network) and other.subnet_of(network)
