"""Compact addresses and contacts: 4 + 2 or 16 + 2 bytes, for a contact after 20 bytes of id (BEP 5, 32).

A crawl reads some 16 contacts for every node that answers.  `CompactContacts` reads them as ids and
integers: an `Address` for each would take more time and memory than all the rest.
"""

from functools import lru_cache
from struct import Struct
from typing import TypeAlias

from dhtnode.addresses import Address, Contact, Family, Scope, is_public, pack_host, unpack_host
from dhtnode.ids import ID_BYTES, NodeId

PackedEndpoint: TypeAlias = int
"""An IP address and a port in one integer, the port in the lowest 16 bits: 48 or 144 bits in all."""

PackedContact: TypeAlias = tuple[bytes, PackedEndpoint]
"""The id of a node and its endpoint."""

OVERSIZED = 64
"""Contacts of one answer that are read; 8 are usual, bittorrent-dht sends its whole table."""

_IPV4 = Struct(f">{ID_BYTES}sIH")
_IPV6 = Struct(f">{ID_BYTES}sQQH")


def pack_address(address: Address) -> bytes:
    """Return the compact form of an address: 6 or 18 bytes, port last, big-endian."""
    return pack_host(address.host) + address.port.to_bytes(2, "big")


def unpack_address(compact: bytes) -> Address:
    """Read a compact address of 6 or 18 bytes."""
    return Address(unpack_host(compact[:-2]), (compact[-2] << 8) | compact[-1])


def pack_contact(contact: Contact) -> bytes:
    """Return the compact form of a contact: 26 or 38 bytes."""
    return contact.node_id + pack_address(contact.address)


def unpack_contacts(compact: bytes, family: Family) -> list[Contact]:
    """Read compact contacts; bytes after the last whole one are ignored."""
    size = family.contact_bytes
    return [
        Contact(NodeId(compact[at : at + ID_BYTES]), unpack_address(compact[at + ID_BYTES : at + size]))
        for at in range(0, len(compact) - size + 1, size)
    ]


# First octets of addresses that may be on loopback or in a private network.
_MAYBE_OWN = frozenset({10, 100, 127, 172, 192})


def host_of(endpoint: PackedEndpoint, family: Family) -> int:
    """Return the same number for all endpoints of what may be one machine, over IPv6 a /64; some 0.2 us.

    On loopback and in a private network, many nodes may share one: there each endpoint is its own.
    """
    if family is Family.IPV6:
        # All that is not in 2000::/3 is not public.
        return endpoint >> 80 if endpoint >> 141 == 1 else endpoint
    if endpoint >> 40 in _MAYBE_OWN and not _is_public(endpoint >> 16):
        return endpoint
    return endpoint >> 16


@lru_cache(4096)
def _is_public(host: int) -> bool:
    return is_public(unpack_host(host.to_bytes(4, "big")))


class CompactContacts:
    """A reader and writer of compact contacts of one family, for a socket of one scope."""

    def __init__(self, family: Family, scope: Scope) -> None:
        self.family = family
        self.bytes_each = family.contact_bytes
        self._address_bytes = family.address_bytes
        self._scope = scope
        self._first_octets = scope.first_octets()
        self._allows = lru_cache(maxsize=8192)(self._allows_address)

    def read(self, compact: bytes) -> list[PackedContact]:
        """Return id and endpoint of each compact contact that this socket may talk to.

        Special-use addresses and port 0 are left out (`Scope`).  Cost: some 0.2 us each over IPv4.
        """
        if self.family is Family.IPV6:
            return [
                (node_id, high << 80 | low << 16 | port)
                for node_id, high, low, port in _IPV6.iter_unpack(compact)
                if port and self._allows(high << 64 | low)
            ]
        found = []
        first_octets = self._first_octets
        for node_id, host, port in _IPV4.iter_unpack(compact):
            allowed = first_octets[host >> 24]
            if allowed is None:
                allowed = self._allows(host)
            if allowed and port:
                found.append((node_id, host << 16 | port))
        return found

    def write(self, node_id: bytes, endpoint: PackedEndpoint) -> bytes:
        """Return the compact form of one contact."""
        return node_id + endpoint.to_bytes(self._address_bytes, "big")

    def address_of(self, endpoint: PackedEndpoint) -> Address:
        """Return an endpoint as an address."""
        return unpack_address(endpoint.to_bytes(self._address_bytes, "big"))

    def endpoint_of(self, address: Address) -> PackedEndpoint:
        """Return an address as an endpoint."""
        return int.from_bytes(pack_address(address), "big")

    def _allows_address(self, host: int) -> bool:
        return self._scope.allows(self.address_of(host << 16 | 1))
