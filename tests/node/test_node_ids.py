"""One id per address: far apart, bound to the address, and the same after a restart."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtnode.addresses import Address, Family
from dhtnode.bep42 import is_compliant
from dhtnode.ids import as_id, shared_prefix_bits
from dhtnode.node.node_ids import TRIES, Identities, distant_id, first_ids, spread_ids
from tests.strategies import addresses, ids

LAN, LAN2, LAN6 = Address("10.0.0.1", 1), Address("10.0.0.2", 1), Address("fd00::1", 1)
PUBLIC, PUBLIC2 = Address("8.8.8.8", 1), Address("9.9.9.9", 1)
A, B, C = b"a" * 20, b"b" * 20, b"c" * 20


def new_ids(listen, saved=None):
    return first_ids(listen, saved or {}, Random(1).randbytes)


def test_each_address_of_a_family_gets_an_id_of_its_own():
    """Far from the others; the first of each family may share one, as BEP 32 has it."""
    found = new_ids([LAN, LAN6, LAN2, *(Address(f"10.0.1.{number}", 1) for number in range(20))])
    assert found[0] == found[1]
    own = [found[0], *found[2:]]
    assert len(set(own)) == 22
    assert max(shared_prefix_bits(one, other) for one in own for other in own if one != other) <= 8


def test_ids_of_public_addresses_go_with_them():
    """Each with its own (BEP 42)."""
    listen = [PUBLIC, PUBLIC2, Address("8.8.8.8", 2)]
    assert all(
        is_compliant(each, address.host) for each, address in zip(new_ids(listen), listen, strict=True)
    )


@pytest.mark.parametrize("seed", range(8))
def test_two_sockets_behind_one_address_are_far_apart(seed):
    """BEP 42 leaves them 8 places to choose from, so one of the others is taken."""
    random_bytes = Random(seed).randbytes
    first = distant_id(PUBLIC.host, [], random_bytes)
    second = distant_id(PUBLIC.host, [first], random_bytes)
    assert is_compliant(second, PUBLIC.host)
    assert shared_prefix_bits(first, second) < 8


def test_only_what_is_needed_is_drawn():
    drawn = []

    def random_bytes(count):
        drawn.append(count)
        return bytes([len(drawn)]) * count

    distant_id(LAN.host, [], random_bytes)
    assert drawn == [20]
    distant_id(LAN.host, [A], random_bytes)
    assert drawn == [20] * (1 + TRIES)


@pytest.mark.parametrize(
    ("listen", "saved", "kept"),
    [
        ([LAN, LAN2], {LAN2: A, LAN: B}, [B, A]),
        ([LAN, LAN2], {Address("10.0.0.2", 7): A, Address("10.0.0.1", 7): B}, [B, A]),  # other ports
        ([LAN, LAN2], {LAN: A, Address("10.0.0.3", 1): B}, [A, B]),  # an address has changed
        ([LAN2, LAN], {LAN: A}, [None, A]),
        ([LAN, LAN2], {LAN: A, LAN2: A}, [A, None]),  # no id twice in a family
        ([PUBLIC], {PUBLIC: A}, [None]),  # one that does not go with the address
        ([LAN6], {LAN: A}, [None]),
        ([Address("0.0.0.0", 1)], {PUBLIC: A}, [A]),
    ],
)
def test_saved_ids_go_on(listen, saved, kept):
    found = new_ids(listen, saved)
    assert [each if each in (A, B, C) else None for each in found] == kept


@given(
    listen=st.lists(addresses(), min_size=1, max_size=6, unique=True),
    saved=st.dictionaries(addresses(), ids(), max_size=6),
)
def test_no_two_addresses_of_a_family_share_an_id(listen, saved):
    found = new_ids(listen, saved)
    assert len(found) == len(listen)
    for family in Family:
        own = [each for each, address in zip(found, listen, strict=True) if address.family is family]
        assert len(set(own)) == len(own)


@given(listen=st.lists(addresses(), min_size=1, max_size=6, unique=True))
def test_restart_at_the_same_addresses_keeps_every_id(listen):
    first = dict(zip(listen, new_ids(listen), strict=True))
    again = dict(zip(reversed(listen), new_ids(listen[::-1], first), strict=True))
    assert again == first


def test_given_id_is_spread_by_its_highest_bits():
    """The first address of each family has it as it is (BEP 45)."""
    assert spread_ids(as_id(5), [LAN, LAN6, LAN2, PUBLIC, PUBLIC2]) == [
        as_id(5),
        as_id(5),
        as_id(5 ^ 1 << 159),
        as_id(5 ^ 1 << 158),
        as_id(5 ^ 3 << 158),
    ]


def test_own_ids_follow_every_change():
    """One set for all who look, and an id that is used twice stays as long as it is used."""
    own = Identities()
    watched = own.ids
    for address, node_id in ((LAN, A), (LAN6, A), (LAN2, B)):
        own.enter(address, node_id)
    own.enter(LAN, C)
    assert watched == {A, B, C}
    assert own.elsewhere(LAN) == [B]
    own.enter(LAN6, C)
    assert watched == {B, C}
