"""What endpoints share: which nodes to query when one of them knows none, and when."""

from random import Random

from dhtnode.addresses import Address, Contact, Family, Scope
from dhtnode.ids import as_id
from dhtnode.node.context import new_context
from dhtnode.routing.table import RoutingTable
from dhtnode.settings import NodeSettings

IPV4, IPV6 = Family
HOSTS = {IPV4: "21.{}.{}.1", IPV6: "2a00:{:x}:{:x}::1"}


def contacts(family, count, first=1):
    """Return contacts, each in a network of its own, with ids spread over the whole space."""
    return [
        Contact(as_id(number << 148 | number), Address(HOSTS[family].format(number >> 8, number & 255), 6881))
        for number in range(first, first + count)
    ]


def new_shared(*families):
    shared = new_context(NodeSettings(), Random(1), Random(2).randbytes, 0.0)
    for number, family in enumerate(families):
        table = RoutingTable(as_id((number + 1) << 150), family, Scope.PUBLIC, ours=shared.identities.ids)
        shared.enter(Address(HOSTS[family].format(9, number), 1), table)
    return shared


def fill(table, count):
    for contact in contacts(table.family, count):
        table.responded(contact, 0.0)


def test_both_kinds_are_wanted_while_the_other_family_is_short():
    """By the full one, and only as long as it helps (BEP 32)."""
    shared = new_shared(IPV4, IPV6, IPV6)
    four, six, sixth = shared.tables[IPV4] + shared.tables[IPV6]
    assert shared.want(IPV4) == shared.want(IPV6) == {IPV4, IPV6}
    fill(four, 8)
    fill(six, 8)
    assert (shared.want(IPV4), shared.want(IPV6)) == ({IPV4, IPV6}, set())
    fill(sixth, 8)
    assert (shared.want(IPV4), shared.want(IPV6)) == (set(), set())


def test_one_family_alone_wants_nothing():
    assert new_shared(IPV4, IPV4).want(IPV4) == set()


def test_leads_are_bounded_and_the_last_ones_stay():
    shared = new_shared(IPV4, IPV6)
    shared.add_leads(contacts(IPV6, 200))
    shared.add_leads(contacts(IPV4, 3))
    assert shared.leads(shared.tables[IPV6][0]) == contacts(IPV6, 32, first=169)
    assert shared.leads(shared.tables[IPV4][0]) == contacts(IPV4, 3)


def test_what_other_endpoints_of_the_family_know_leads_too():
    shared = new_shared(IPV4, IPV4)
    one, other = shared.tables[IPV4]
    fill(other, 5)
    gone = other.contacts()[0]
    for _ in range(2):
        other.failed(gone.address, 1.0)
    assert set(shared.leads(one)) == set(contacts(IPV4, 5)) - {gone}
    assert shared.leads(other) == []


def test_own_ids_get_no_place_in_any_table():
    """One of our endpoints, seen from outside, is no contact of another (BEP 45)."""
    shared = new_shared(IPV4, IPV4)
    one, other = shared.tables[IPV4]
    one.responded(Contact(other.node_id, Address("21.0.0.1", 1)), 0.0)
    assert one.contacts() == []
    assert not one.queried(Contact(other.node_id, Address("21.0.0.1", 1)), 0.0)
