"""Contacts and tables for the tests of the routing table."""

from dhtnode.addresses import Address, Contact, Family, Scope
from dhtnode.bep42 import secure_id
from dhtnode.ids import as_id, as_int
from dhtnode.routing import InsertOutcome, RoutingTable

OWN = as_id(0x2BAD << 144 | 5)
HALF = 1 << 159  # our id is in the lower half, so the upper half is never split
GOOD_FOR = 900.0
ADDED, UPDATED, CACHED, NO_SLOT, REFUSED, ID_CHANGED = InsertOutcome


def new_table(scope: Scope = Scope.PUBLIC, bucket_size: int = 8) -> RoutingTable:
    return RoutingTable(OWN, Family.IPV4, scope, bucket_size=bucket_size, good_for=GOOD_FOR, bad_after=2)


def far(number: int, host: str | None = None, port: int = 6881) -> Contact:
    """Return a contact in the upper half, alone in its /24 unless a host is given."""
    return Contact(as_id(HALF + number), Address(host or f"21.0.{number}.1", port))


def near(number: int, host: str | None = None, port: int = 6881) -> Contact:
    return Contact(as_id(as_int(OWN) ^ number), Address(host or f"22.0.{number}.1", port))


def secure(number: int) -> Contact:
    """Return a contact in the upper half, alone in its /24, whose id goes with its address (BEP 42)."""
    host = f"24.0.{number}.1"
    drawn = (secure_id(host, bytes([number]) * 19 + bytes([last])) for last in range(8))
    return Contact(next(node_id for node_id in drawn if as_int(node_id) >= HALF), Address(host, 6881))


def full_table(nodes: int = 8, replacements: int = 0) -> RoutingTable:
    """Return a table where far 0, 1, 2, ... answered at 0, 1, 2, ...; from the ninth on as replacements."""
    table = new_table()
    for number in range(nodes + replacements):
        table.responded(far(number), float(number))
    return table


def fail(table: RoutingTable, contact: Contact, now: float) -> None:
    table.failed(contact.address, now)
    table.failed(contact.address, now)
