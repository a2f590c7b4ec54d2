"""Compact contacts, read many at a time into what a crawl keeps of each: an id and a number.

A census looks at some 16 contacts for every node that answers.  An `Address` for each would cost as
much as all the rest, and its text would take more memory than all that is worth knowing.  So an
endpoint is an integer here, the IP address and the port behind it, and becomes text when somebody
is to be asked.
"""

from functools import lru_cache
from struct import Struct
from typing import TypeAlias

from dhtnode.addresses import Address, Family, Scope, pack_address, unpack_address
from dhtnode.ids import ID_BYTES

PackedEndpoint: TypeAlias = int
"""An IP address and a port in one integer, the port in the lowest 16 bits: 48 or 144 bits in all."""

_IPV4 = Struct(f">{ID_BYTES}sIH")
_IPV6 = Struct(f">{ID_BYTES}sQQH")


class CompactContacts:
    """Read and write the compact contacts of one family, for a socket of one scope."""

    def __init__(self, family: Family, scope: Scope) -> None:
        self.family = family
        self.bytes_each = family.contact_bytes
        self._address_bytes = family.address_bytes
        self._scope = scope
        self._first_octets = scope.first_octets()
        self._allows = lru_cache(maxsize=8192)(self._allows_address)

    def read(self, compact: bytes) -> list[tuple[bytes, PackedEndpoint]]:
        """Return the ids and endpoints, of whole compact contacts, that this socket may talk to.

        Special-use addresses and port 0 are left out (`Scope`).  Costs some 0.2 us each over IPv4.
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
