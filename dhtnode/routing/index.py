"""Indexes over all entries of the table, whatever their bucket."""

from collections.abc import Sequence

from dhtnode.addresses import Address
from dhtnode.bep42 import reserved_slots
from dhtnode.routing.bucket import require
from dhtnode.routing.entry import Entry


class EntryIndex:
    """Entries by address and by host, and the slots of each bucket to reserve for compliant ones.

    Replacements are included.
    """

    __slots__ = ("_bucket_size", "_compliant", "by_address", "by_host", "reserved")

    def __init__(self, bucket_size: int) -> None:
        self.by_address: dict[Address, Entry] = {}
        self.by_host: dict[str, Entry] = {}
        self.reserved = 0
        self._bucket_size = bucket_size
        self._compliant = 0

    def add(self, entry: Entry) -> None:
        """Add an entry, which must be the only one at its host."""
        self.by_address[entry.contact.address] = entry
        self.by_host[entry.host] = entry
        self._count(entry.compliant)

    def remove(self, entry: Entry) -> None:
        """Remove an entry."""
        del self.by_address[entry.contact.address]
        del self.by_host[entry.host]
        self._count(-entry.compliant)

    def check(self, entries: Sequence[Entry]) -> None:
        """Raise `AssertionError` when these are not the entries that were added and not removed."""
        require({entry.contact.address: entry for entry in entries} == self.by_address, "address index")
        require({entry.host: entry for entry in entries} == self.by_host, "one node per IP, host index")
        require(len(entries) == len(self.by_address) == len(self.by_host), "indexes have each entry once")
        require(self._compliant == sum(entry.compliant for entry in entries), "compliant nodes are counted")

    def _count(self, change: int) -> None:
        self._compliant += change
        self.reserved = reserved_slots(self._bucket_size, self._compliant / (len(self.by_address) or 1))
