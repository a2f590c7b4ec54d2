"""Compact contacts as numbers: the same contacts, the same rule about addresses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtnode.addresses import Address, Contact, Family, Scope, pack_contact, pack_contacts, unpack_contacts
from dhtnode.ids import NodeId
from dhtnode.krpc.compact import CompactContacts

FAMILIES = st.sampled_from(list(Family))
SCOPES = st.sampled_from(list(Scope))


@given(family=FAMILIES, scope=SCOPES, data=st.data())
def test_what_is_read_is_what_the_scope_allows(family, scope, data):
    """The quick way and the long way agree on every byte that a stranger may send."""
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
    """Networks that are special in part only are where a quick rule goes wrong."""
    address = Address(host, 6881)
    compact = pack_contact(Contact(NodeId(b"n" * 20), address))

    assert bool(CompactContacts(Family.IPV4, scope).read(compact)) is scope.allows(address)


def test_port_zero_is_left_out():
    """Nobody can be asked there."""
    compact = pack_contacts([Contact(NodeId(b"n" * 20), Address("1.2.3.4", port)) for port in (0, 1)])

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
