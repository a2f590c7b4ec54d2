"""Addresses of nodes and peers, and which of them a socket may talk to.

An `Address` is a host in text and a port; a `Contact` is an address and the node id that is said
to live there.  Their compact forms are in `krpc.compact`.

The rule about special-use addresses lives here and nowhere else (`Scope`): what a remote node
sends us can never make us talk to a network that our socket is not part of.  The user decides that
with the addresses that it binds, and with those of the nodes that it joins through.
"""

import re
from collections.abc import Sequence
from enum import Enum, IntEnum
from ipaddress import AddressValueError, IPv4Address, IPv6Address, IPv6Network
from typing import NamedTuple

from dhtnode.ids import ID_BYTES, NodeId


class Family(IntEnum):
    """One of the two networks of BEP 32."""

    IPV4 = 4
    IPV6 = 6

    @property
    def address_bytes(self) -> int:
        """Return the length of a compact address: 6 or 18."""
        return 6 if self is Family.IPV4 else 18

    @property
    def contact_bytes(self) -> int:
        """Return the length of a compact contact: 26 or 38."""
        return ID_BYTES + self.address_bytes


class Address(NamedTuple):
    """An IP address in text, IPv6 in its canonical short form, and a UDP or TCP port."""

    # Not a dataclass: socket calls take a tuple as it is, and it equals what `recvfrom` returns.

    host: str
    port: int

    @property
    def family(self) -> Family:
        """Return the network this address belongs to."""
        return Family.IPV6 if ":" in self.host else Family.IPV4

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


WILDCARDS = ("0.0.0.0", "::")  # noqa: S104
"""Hosts that stand for all addresses of a machine, IPv4 first."""


class Contact(NamedTuple):
    """The id of a node and the address it is said to have."""

    # Not a dataclass: one is made for each contact in each response.
    node_id: NodeId
    address: Address


def parse_address(text: str) -> Address:
    """Read `1.2.3.4:6881` or `[2001:db8::1]:6881`.

    Raises `ValueError` when the host is not an IP address in text or the port is not in 0..65535.
    Names are not resolved here.
    """
    host, port = split_host_port(text)
    return Address(normalize_host(host), port)


def split_host_port(text: str) -> tuple[str, int]:
    """Split `HOST:PORT`, where an IPv6 host is in brackets; raise `ValueError` for anything else."""
    if not isinstance(text, str):
        raise ValueError(f"HOST:PORT is read from a str, not from {type(text).__name__}")  # noqa: TRY004
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text[:80]!r}: put an IPv6 address in brackets, as in [::1]:6881")
    if not colon or not host or not (port.isascii() and port.isdigit()) or len(port) > 5 or int(port) > 65535:
        raise ValueError(f"{text[:80]!r} is not HOST:PORT")
    return host, int(port)


def normalize_host(host: str) -> str:
    """Return the canonical text of an IP address; raise `ValueError` for a name or an IPv6 zone."""
    if "%" in host:
        raise ValueError(f"{host[:80]!r}: an IPv6 zone names an interface here, not a place on the network")
    try:
        return str(IPv6Address(host)) if ":" in host else str(IPv4Address(host))
    except AddressValueError as error:
        raise ValueError(f"{host[:80]!r} is not an IP address") from error


def pack_host(host: str) -> bytes:
    """Return the 4 or 16 bytes of an IP address in text."""
    if ":" in host:
        return IPv6Address(host).packed
    a, b, c, d = host.split(".")
    return bytes((int(a), int(b), int(c), int(d)))


_OCTETS = [str(octet) for octet in range(256)]  # looked up in half the time that it takes to write them


def unpack_host(packed: bytes) -> str:
    """Return the text of an IP address of 4 or 16 bytes."""
    if len(packed) == 4:
        a, b, c, d = packed
        return f"{_OCTETS[a]}.{_OCTETS[b]}.{_OCTETS[c]}.{_OCTETS[d]}"
    return str(IPv6Address(packed))


class Scope(Enum):
    """The networks that a socket is part of, and so the addresses it may talk to.

    LOOPBACK talks to loopback only, PRIVATE to private and public addresses, PUBLIC to public ones
    only.  So a test network on 127.0.0.0/8 needs no flag, and a network of one's own none either.
    Private are 10/8, 172.16/12, 192.168/16, 100.64/10 and fc00::/7.
    """

    LOOPBACK = "loopback"
    PRIVATE = "private"
    PUBLIC = "public"

    def allows(self, address: Address) -> bool:
        """Return whether a socket of this scope may contact, store and hand out a node address."""
        return 0 < address.port < 65536 and _kind_of(address.host) in _ALLOWED[self]

    def allows_peer(self, address: Address) -> bool:
        """Return whether a peer address may be stored and handed out.

        On loopback any address may.
        """
        # A node never contacts a peer, and test networks have swarms of made-up ones (198.18.0.0/15).
        return 0 < address.port < 65536 if self is Scope.LOOPBACK else self.allows(address)

    @property
    def of_strangers(self) -> "Scope":
        """Return the scope for what comes from no node of a private network."""
        return Scope.PUBLIC if self is Scope.PRIVATE else self

    def told_by(self, source: Address) -> "Scope":
        """Return the scope for what a node at an address returns: only a private one names private ones."""
        return self if is_private(source.host) else self.of_strangers

    def refusal(self, address: Address) -> str | None:
        """Return why a socket of this scope does not talk to an address, or None when it does."""
        if self.allows(address):
            return None
        match _kind_of(address.host):
            case _Kind.LOOPBACK:
                return "it is on loopback, and this node is not: join through nodes on loopback only"
            case _Kind.PRIVATE if self is Scope.PUBLIC:
                return "it is in a private network: name a node there to join through, or listen there"
            case _Kind.PRIVATE | _Kind.PUBLIC if address.port:
                return "it is not on loopback, as this node is"
        return "no node can be there"

    def first_octets(self) -> tuple[bool | None, ...]:
        """Return for each first octet of an IPv4 address what `allows` returns, None where it varies."""
        return tuple(
            None if octet in _MIXED_V4 else _kind_of_ipv4(f"{octet}.0.0.1") in _ALLOWED[self]
            for octet in range(256)
        )

    def host_key(self, address: Address) -> str:
        """Return the key of the rule "one node per IP": the host, or in one's own network host and port."""
        return str(address) if self._counts_endpoints(address) else address.host

    def network_key(self, address: Address) -> str:
        """Return the key of the rule "one node per network": the /24 or /64, or again host and port."""
        if self._counts_endpoints(address):
            return str(address)
        if address.family is Family.IPV4:
            return address.host.rpartition(".")[0]
        return IPv6Address(address.host).packed[:8].hex()

    def _counts_endpoints(self, address: Address) -> bool:
        # The nodes of a private network share one /24, and often one machine.
        return self is Scope.LOOPBACK or (self is Scope.PRIVATE and is_private(address.host))


def is_private(host: str) -> bool:
    """Return whether an IP address is of a private network."""
    return _kind_of(host) is _Kind.PRIVATE


def is_public(host: str) -> bool:
    """Return whether an IP address is of the public network."""
    return _kind_of(host) is _Kind.PUBLIC


def scope_of(host: str) -> Scope:
    """Return the scope of a socket bound to `host`; a wildcard counts as public."""
    kind = _kind_of(host)
    if kind is _Kind.LOOPBACK:
        return Scope.LOOPBACK
    return Scope.PRIVATE if kind is _Kind.PRIVATE else Scope.PUBLIC


def is_loopback_host(text: str) -> bool:
    """Return whether the Host that a browser asks for, with a port or without, is on loopback.

    Any other name may lead here from a page elsewhere, which could then read what is served.
    """
    host = re.sub(r":\d*$", "", text)
    if host.lower() == "localhost":
        return True
    try:
        return scope_of(normalize_host(host.removeprefix("[").removesuffix("]"))) is Scope.LOOPBACK
    except ValueError:
        return False


def check_listen(addresses: Sequence[Address]) -> None:
    """Raise `ValueError` unless one node can listen on all of these at once.

    Any number of each family may be given (BEP 45).  Excluded are two sockets on one address and
    port, and loopback beside another network of the same family.
    """
    if not addresses:
        raise ValueError("give at least one address to listen on")
    for index, address in enumerate(addresses):
        for other in addresses[:index]:
            if other.family is address.family:
                _check_pair(other, address)


def _check_pair(one: Address, other: Address) -> None:
    if one.port and one.port == other.port:
        if one.host == other.host:
            raise ValueError(f"{one} is given twice to listen on")
        for wildcard, single in ((one, other), (other, one)):
            if wildcard.host in WILDCARDS:
                raise ValueError(
                    f"{wildcard} takes in {single}: listen on that one or on single addresses, not on both"
                )
    # Peers that announce themselves on loopback would be listed in the other network.
    if (scope_of(one.host) is Scope.LOOPBACK) is not (scope_of(other.host) is Scope.LOOPBACK):
        raise ValueError(f"{one} and {other} are in different networks: one node cannot serve both")


class _Kind(Enum):
    PUBLIC = "public"
    PRIVATE = "private"
    LOOPBACK = "loopback"
    NEVER = "never"


_ALLOWED = {
    Scope.LOOPBACK: (_Kind.LOOPBACK,),
    Scope.PRIVATE: (_Kind.PRIVATE, _Kind.PUBLIC),
    Scope.PUBLIC: (_Kind.PUBLIC,),
}

_PRIVATE_V6 = IPv6Network("fc00::/7")
_GLOBAL_V6 = IPv6Network("2000::/3")
_NEVER_V6 = tuple(
    IPv6Network(text) for text in ("2001:db8::/32", "2001:10::/28", "2001:20::/28", "3fff::/20")
)


def _kind_of(host: str) -> _Kind:
    return _kind_of_ipv6(IPv6Address(host)) if ":" in host else _kind_of_ipv4(host)


def _kind_of_ipv4(host: str) -> _Kind:
    first_text, second_text, third_text, _ = host.split(".")
    first, second = int(first_text), int(second_text)
    if first == 127:
        return _Kind.LOOPBACK
    if first == 0 or first >= 224:
        return _Kind.NEVER
    if first == 10:
        return _Kind.PRIVATE
    if first in _MIXED_V4:
        return _kind_of_mixed(first, second, int(third_text))
    return _Kind.PUBLIC


# First octets of the /8 networks that are special in part only.
_MIXED_V4 = frozenset({100, 169, 172, 192, 198, 203})


def _kind_of_mixed(first: int, second: int, third: int) -> _Kind:
    match first, second:
        case (192, 168):
            return _Kind.PRIVATE
        case (172, _) if 16 <= second < 32:
            return _Kind.PRIVATE
        # Carrier-grade NAT (RFC 6598).
        case (100, _) if 64 <= second < 128:
            return _Kind.PRIVATE
        case (169, 254) | (198, 18) | (198, 19):
            return _Kind.NEVER
        case (192, 0) if third in (0, 2):
            return _Kind.NEVER
        case (198, 51) if third == 100:
            return _Kind.NEVER
        case (203, 0) if third == 113:
            return _Kind.NEVER
    return _Kind.PUBLIC


def _kind_of_ipv6(host: IPv6Address) -> _Kind:
    # Not `is_loopback`, which from Python 3.13 on looks into mapped IPv4 addresses.
    if int(host) == 1:
        return _Kind.LOOPBACK
    if host in _PRIVATE_V6:
        return _Kind.PRIVATE
    if host in _GLOBAL_V6 and not any(host in network for network in _NEVER_V6):
        # 6to4 (RFC 3056) and Teredo (RFC 4380) lead to the IPv4 address that is in them.
        inner = host.sixtofour or (host.teredo and host.teredo[1])
        return _Kind.PUBLIC if not inner or _kind_of_ipv4(str(inner)) is _Kind.PUBLIC else _Kind.NEVER
    return _Kind.NEVER
