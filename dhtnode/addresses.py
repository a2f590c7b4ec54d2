"""Addresses of nodes and peers: their compact forms, and which of them a socket may talk to.

An `Address` is a host in text and a port; a `Contact` is an address and the node id that is said
to live there.  Compact forms are those of BEP 5 and BEP 32: 4 + 2 or 16 + 2 bytes for an address,
20 more in front for a contact.

The rule about special-use addresses lives here and nowhere else (`Scope`): what a remote node
sends us can never make us talk to a network that our socket is not part of.
"""

from collections.abc import Iterable, Sequence
from enum import Enum, IntEnum
from ipaddress import AddressValueError, IPv4Address, IPv6Address, IPv6Network
from typing import NamedTuple

from dhtnode.ids import ID_BYTES, NodeId


class Family(IntEnum):
    """Tell the two networks of BEP 32 apart."""

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
    """Hold an IP address in text and a UDP or TCP port.

    A named tuple and not a dataclass, because socket calls take it as it is and because it equals
    the plain pair that `recvfrom` returns.  IPv6 hosts are in their canonical short form.
    """

    host: str
    port: int

    @property
    def family(self) -> Family:
        """Return the network this address belongs to."""
        return Family.IPV6 if ":" in self.host else Family.IPV4

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


WILDCARDS = ("0.0.0.0", "::")  # noqa: S104  that is their purpose
"""Hosts that stand for all addresses of a machine, IPv4 first."""


class Contact(NamedTuple):  # a tuple, because one is made for every answer
    """Name a node: its id and the address it is said to have."""

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
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r}: put an IPv6 address in brackets, as in [::1]:6881")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError(f"{text!r} is not HOST:PORT")
    return host, int(port)


def normalize_host(host: str) -> str:
    """Return the canonical text of an IP address; raise `ValueError` for a name or an IPv6 zone."""
    if "%" in host:
        raise ValueError(f"{host!r}: an IPv6 zone names an interface here, not a place on the network")
    try:
        return str(IPv6Address(host)) if ":" in host else str(IPv4Address(host))
    except AddressValueError as error:
        raise ValueError(f"{host!r} is not an IP address") from error


def pack_host(host: str) -> bytes:
    """Return the 4 or 16 bytes of an IP address in text."""
    if ":" in host:
        return IPv6Address(host).packed
    a, b, c, d = host.split(".")
    return bytes((int(a), int(b), int(c), int(d)))


def unpack_host(packed: bytes) -> str:
    """Return the text of an IP address of 4 or 16 bytes."""
    if len(packed) == 4:
        a, b, c, d = packed
        return f"{a}.{b}.{c}.{d}"
    return str(IPv6Address(packed))


def pack_address(address: Address) -> bytes:
    """Return the compact form of an address: 6 or 18 bytes, port last, big-endian."""
    return pack_host(address.host) + address.port.to_bytes(2, "big")


def unpack_address(compact: bytes) -> Address:
    """Read a compact address of 6 or 18 bytes."""
    return Address(unpack_host(compact[:-2]), (compact[-2] << 8) | compact[-1])


def pack_contact(contact: Contact) -> bytes:
    """Return the compact form of a contact: 26 or 38 bytes."""
    return contact.node_id + pack_address(contact.address)


def pack_contacts(contacts: Iterable[Contact]) -> bytes:
    """Return the compact forms of contacts of one family, one after the other."""
    return b"".join(map(pack_contact, contacts))


def unpack_contacts(compact: bytes, family: Family) -> list[Contact]:
    """Read compact contacts; bytes after the last whole one are ignored."""
    size = family.contact_bytes
    return [
        Contact(NodeId(compact[at : at + ID_BYTES]), unpack_address(compact[at + ID_BYTES : at + size]))
        for at in range(0, len(compact) - size + 1, size)
    ]


class Scope(Enum):
    """Say which networks a socket is part of, and so which addresses it may talk to.

    LOOPBACK talks to loopback only, PRIVATE to private and public addresses, PUBLIC to public ones
    only.  The rule of design note 2: no flag is needed for a test network on 127.0.0.0/8.
    """

    LOOPBACK = "loopback"
    PRIVATE = "private"
    PUBLIC = "public"

    def allows(self, address: Address) -> bool:
        """Return whether a socket of this scope may contact, store and hand out a node address."""
        return 0 < address.port < 65536 and _kind_of(address.host) in _ALLOWED[self]

    def allows_peer(self, address: Address) -> bool:
        """Return whether a peer address may be stored and handed out.

        A node never contacts a peer, so on loopback every address serves: test networks hold
        swarms of made-up peers (198.18.0.0/15).
        """
        return 0 < address.port < 65536 if self is Scope.LOOPBACK else self.allows(address)

    def first_octets(self) -> tuple[bool | None, ...]:
        """Return for each first octet of an IPv4 address what `allows` says, None where more matters."""
        return tuple(
            None if octet in _MIXED_V4 else _kind_of_ipv4(f"{octet}.0.0.1") in _ALLOWED[self]
            for octet in range(256)
        )

    def host_key(self, address: Address) -> str:
        """Return what "one node per IP" counts: the host, or on loopback the whole endpoint."""
        return str(address) if self is Scope.LOOPBACK else address.host

    def network_key(self, address: Address) -> str:
        """Return what "one node per network" counts: the /24 or /64, or on loopback the endpoint."""
        if self is Scope.LOOPBACK:
            return str(address)
        if address.family is Family.IPV4:
            return address.host.rpartition(".")[0]
        return IPv6Address(address.host).packed[:8].hex()


def scope_of(host: str) -> Scope:
    """Return the scope of a socket bound to `host`; a wildcard counts as public."""
    kind = _kind_of(host)
    if kind is _Kind.LOOPBACK:
        return Scope.LOOPBACK
    return Scope.PRIVATE if kind is _Kind.PRIVATE else Scope.PUBLIC


def check_listen(addresses: Sequence[Address]) -> None:
    """Raise `ValueError` unless one node can listen on all of these at once.

    Any number of each family will do (BEP 45), but for two sockets on one place, and for loopback
    beside another network: peers from the one would be named in the other.
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


_MIXED_V4 = frozenset({100, 169, 172, 192, 198, 203})


def _kind_of_mixed(first: int, second: int, third: int) -> _Kind:
    """Sort addresses from the /8 networks that are special in part only."""
    match first, second:
        case (192, 168):
            return _Kind.PRIVATE
        case (172, _) if 16 <= second < 32:
            return _Kind.PRIVATE
        case (100, _) if 64 <= second < 128:  # shared by carrier-grade NAT, RFC 6598
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
    if host.is_loopback:
        return _Kind.LOOPBACK
    if host in _PRIVATE_V6:
        return _Kind.PRIVATE
    if host in _GLOBAL_V6 and not any(host in network for network in _NEVER_V6):
        return _Kind.PUBLIC
    return _Kind.NEVER
