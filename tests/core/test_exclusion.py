"""Where a crawl goes: zones by prefix, and nodes that want to be left alone."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.core.exclusion import Exclusion
from crawler.zone import Zone
from dhtnode import Address, Family, Scope
from dhtnode.ids import shared_prefix_bits
from dhtnode.krpc import CompactContacts

IDS = st.binary(min_size=20, max_size=20)
IPV4 = CompactContacts(Family.IPV4, Scope.PUBLIC)
IPV6 = CompactContacts(Family.IPV6, Scope.PUBLIC)


@given(bits=st.integers(0, 32), node_id=IDS, seed=st.integers())
def test_zone_covers_the_ids_with_its_prefix(bits, node_id, seed):
    zone = Zone(int.from_bytes(node_id[:4], "big") >> 32 - bits, bits)
    drawn = zone.random_id(Random(seed))
    assert zone.covers(node_id)
    assert zone.covers(drawn)
    assert shared_prefix_bits(node_id, drawn) >= bits
    if bits:
        assert not zone.covers(bytes([node_id[0] ^ 0x80]) + node_id[1:])


def test_draws_from_a_zone_differ():
    zone, random = Zone(0x5B, 8), Random(1)
    drawn = [zone.random_id(random) for _ in range(1000)]
    assert len({each[1] for each in drawn}) > 200
    assert len({each[-1] for each in drawn}) > 200


@pytest.mark.parametrize(
    ("text", "zone"),
    [("0", Zone()), ("0x5b", Zone(0x5B, 8)), ("0X0", Zone(0, 4)), ("0xFFFFFFFF", Zone(0xFFFFFFFF, 32))],
)
def test_zone_is_read(text, zone):
    assert Zone.parse(text, Random(1)) == zone


def test_zone_of_a_length_is_drawn():
    drawn = {Zone.parse("8", Random(seed)) for seed in range(50)}
    assert {zone.bits for zone in drawn} == {8}
    assert len(drawn) > 30


@pytest.mark.parametrize("text", ["", "33", "-1", "0x", "0xzz", "0x123456789", "5b", "1.5"])
def test_bad_zone_is_refused(text):
    with pytest.raises(ValueError):
        Zone.parse(text, Random(1))


LIST = """
# asked for by mail on 2026-01-02
192.0.2.0/24
2001:db8::/32      # a whole provider
1.2.3.4
abababababababababababababababababababab
"""


@pytest.mark.parametrize(
    ("host", "is_excluded"),
    [
        ("192.0.2.255", True),
        ("192.0.3.0", False),
        ("1.2.3.4", True),
        ("1.2.3.5", False),
        ("2001:db8:ffff::1", True),
        ("2001:db9::1", False),
    ],
)
@pytest.mark.parametrize("port", [1, 65535])
def test_networks_and_addresses_are_excluded(host, port, is_excluded):
    address = Address(host, port)
    compact = IPV6 if address.family is Family.IPV6 else IPV4
    exclusion = Exclusion.read(LIST.splitlines())
    assert exclusion.excludes(b"n" * 20, compact.endpoint_of(address), address.family) is is_excluded


def test_ids_are_excluded_wherever_they_are():
    exclusion = Exclusion.read(LIST.splitlines())
    endpoint = IPV4.endpoint_of(Address("9.9.9.9", 1))
    assert exclusion.excludes(b"\xab" * 20, endpoint, Family.IPV4)
    assert not exclusion.excludes(b"\xac" * 20, endpoint, Family.IPV4)


@pytest.mark.parametrize(
    "line",
    [
        "192.0.2.1/24",
        "300.1.1.1",
        "example.org",
        "ab" * 19,
        "zz" * 20,
        "1.2.3.4:6881",
        "web-seed",
        "web-seed 1.2.3.4",
    ],
)
def test_bad_line_is_named(line):
    """A host that asked to be left alone must not be queried because of a typing error."""
    with pytest.raises(ValueError, match=r"^line 2: "):
        Exclusion.read(["# a comment", line])


def test_web_seeds_are_excluded_by_name_and_below_it():
    exclusion = Exclusion.read(["web-seed Files.Example.org  # asked by mail"])
    names = ("files.example.org", "a.files.EXAMPLE.org.", "example.org", "myfiles.example.org", "1.2.3.4")
    assert [exclusion.excludes_name(name) for name in names] == [True, True, False, False, False]
    assert exclusion
