"""Compact addresses and contacts, and compact contacts as numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtnode.addresses import Address, Contact, Family, Scope
from dhtnode.ids import NodeId
from dhtnode.krpc.compact import (
    CompactContacts,
    host_of,
    pack_address,
    pack_contact,
    unpack_address,
    unpack_contacts,
)
from tests.strategies import addresses, ids

FAMILIES = st.sampled_from(list(Family))
SCOPES = st.sampled_from(list(Scope))


@given(addresses())
def test_address_survives_its_compact_form(address: Address) -> None:
    compact = pack_address(address)
    assert len(compact) == address.family.address_bytes == (18 if ":" in address.host else 6)
    assert unpack_address(compact) == address


@given(st.sampled_from(Family), st.data())
def test_contacts_survive_their_compact_form(family: Family, data: st.DataObject) -> None:
    contacts = data.draw(st.lists(st.builds(Contact, ids(), addresses(family)), max_size=5))
    rest = data.draw(st.binary(max_size=family.contact_bytes - 1))
    compact = b"".join(map(pack_contact, contacts))
    assert len(compact) == len(contacts) * family.contact_bytes
    assert unpack_contacts(compact + rest, family) == contacts


def test_compact_forms_are_those_of_the_standards() -> None:
    """The id comes first, then the host, then the port with its high byte first (BEP 5, BEP 32)."""
    packed = [
        pack_contact(Contact(b"i" * 20, Address("1.2.3.4", 0x1AE1))),
        pack_contact(Contact(b"i" * 20, Address("2a00::1", 6881))),
    ]
    assert packed == [
        b"i" * 20 + bytes([1, 2, 3, 4, 0x1A, 0xE1]),
        b"i" * 20 + bytes([0x2A, *[0] * 14, 1, 0x1A, 0xE1]),
    ]


@given(family=FAMILIES, scope=SCOPES, data=st.data())
def test_what_is_read_is_what_the_scope_allows(family, scope, data):
    size = family.contact_bytes
    compact = data.draw(st.lists(st.binary(min_size=size, max_size=size), max_size=20).map(b"".join))
    contacts = CompactContacts(family, scope)
    found = [
        Contact(NodeId(node_id), contacts.address_of(endpoint))
        for node_id, endpoint in contacts.read(compact)
    ]
    assert found == [each for each in unpack_contacts(compact, family) if scope.allows(each.address)]


@pytest.mark.parametrize("scope", list(Scope))
@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.1",
        "127.0.0.1",
        "100.64.0.1",
        "100.63.255.255",
        "169.254.1.1",
        "172.16.0.1",
        "172.32.0.1",
        "192.0.2.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "0.1.2.3",
        "1.2.3.4",
        "255.255.255.255",
        "198.20.0.1",
        "203.0.114.1",
    ],
)
def test_special_addresses_are_left_out_as_ever(scope, host):
    address = Address(host, 6881)
    compact = pack_contact(Contact(NodeId(b"n" * 20), address))
    assert bool(CompactContacts(Family.IPV4, scope).read(compact)) is scope.allows(address)


def test_port_zero_is_left_out():
    compact = b"".join(pack_contact(Contact(NodeId(b"n" * 20), Address("1.2.3.4", port))) for port in (0, 1))
    assert len(CompactContacts(Family.IPV4, Scope.PUBLIC).read(compact)) == 1


@pytest.mark.parametrize(
    "contact",
    [
        Contact(NodeId(b"a" * 20), Address("1.2.3.4", 6881)),
        Contact(NodeId(b"b" * 20), Address("2a01:4f8::1", 65535)),
    ],
)
def test_contact_survives_both_ways(contact):
    """Address to endpoint and back, and what is written is what BEP 5 and 32 have."""
    contacts = CompactContacts(contact.address.family, Scope.PUBLIC)
    endpoint = contacts.endpoint_of(contact.address)
    assert contacts.address_of(endpoint) == contact.address
    assert contacts.write(contact.node_id, endpoint) == pack_contact(contact)
    assert contacts.read(pack_contact(contact)) == [(contact.node_id, endpoint)]


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("45.1.2.3", "45.1.2.3", True),
        ("45.1.2.3", "45.1.2.4", False),
        ("172.15.0.1", "172.15.0.1", True),
        ("2a00:1:2:3::1", "2a00:1:2:3:ffff::", True),
        ("2a00:1:2:3::1", "2a00:1:2:4::1", False),
        *[(own, own, False) for own in ("127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1")],
        *[(own, own, False) for own in ("::1", "fd00::1")],
    ],
)
def test_ports_of_one_machine_are_one_host_but_in_networks_of_our_own(
    one: str, other: str, is_same: bool
) -> None:
    hosts = {
        host_of(int.from_bytes(pack_address(Address(host, port)), "big"), Address(host, port).family)
        for host, port in ((one, 1), (other, 65535))
    }
    assert (len(hosts) == 1) == is_same
