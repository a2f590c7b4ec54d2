"""What is worth knowing twice about a source of packets: its compact form, and whether we talk to it.

A bounded memory: one source asks many times, and all of this is the same each time.
"""

from dhtnode.addresses import Address, Scope, pack_address

MAX_SOURCES = 8192  # about 3 MB; when full, all are forgotten and learnt again


class Source:
    """Hold what follows from an address alone, and when it was last looked at as a possible contact.

    `head` is how a reply to this address begins: a dictionary with the key `ip` (BEP 42).
    """

    __slots__ = ("address", "head", "is_allowed", "looked_at", "packed_host")

    def __init__(self, address: Address, scope: Scope) -> None:
        self.address = address
        self.is_allowed = scope.allows(address)
        compact = pack_address(address) if self.is_allowed else b""
        self.packed_host = compact[:-2]
        self.head = b"d2:ip%d:%b" % (len(compact), compact)
        self.looked_at = float("-inf")


class Sources:
    """Remember sources by the pair that a socket returns."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._known: dict[tuple[str, int], Source] = {}

    def get(self, pair: tuple[str, int]) -> Source:
        """Return the source of an address; constant cost, and amortised so for new ones."""
        known = self._known.get(pair)
        if known is None:
            if len(self._known) >= MAX_SOURCES:
                self._known.clear()
            known = Source(Address(*pair), self._scope)
            self._known[known.address] = known
        return known
