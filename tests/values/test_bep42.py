"""Ids bound to addresses: the vectors of BEP 42, and what must hold for any address."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtnode.addresses import Address, Family, Scope, pack_host
from dhtnode.bep42 import bound_prefix, crc32c, is_compliant, is_exempt, secure_id
from dhtnode.ids import NodeId
from tests.strategies import addresses, ids

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "bep42_node_id.json").read_text())


def test_crc32c_of_its_check_value() -> None:
    """The one by which implementations of CRC32C are told from those of CRC32."""
    check = VECTORS["crc32c_check"]
    assert crc32c(check["input_ascii"].encode()) == int(check["crc32c_hex"], 16)


@pytest.mark.parametrize("case", VECTORS["published"] + VECTORS["ipv6"], ids=lambda case: case["ip"])
def test_bound_part_is_the_hash_of_the_masked_address(case: dict[str, str | int]) -> None:
    hashed = crc32c(bytes.fromhex(case["masked_input_hex"]))
    assert hashed == int(case["crc32c_hex"], 16)
    assert bound_prefix(pack_host(case["ip"]), case["rand"]) == hashed >> 8 & 0xFFFFF8


@pytest.mark.parametrize("case", VECTORS["ipv6"], ids=lambda case: case["ip"])
def test_ipv6_prefix_is_that_of_the_vectors(case: dict[str, str | int]) -> None:
    assert f"{bound_prefix(pack_host(case['ip']), case['rand']):06x}" == case["id_prefix_21_bits"]


@pytest.mark.parametrize("case", VECTORS["published"] + VECTORS["checks"], ids=lambda case: case["node_id"])
def test_published_ids_are_judged_as_the_vectors_say(case: dict[str, str | bool]) -> None:
    assert is_compliant(bytes.fromhex(case["node_id"]), case["ip"]) is case["valid"]


@pytest.mark.parametrize("case", VECTORS["published"], ids=lambda case: case["ip"])
def test_published_ids_are_derived_from_their_own_free_bits(case: dict[str, str]) -> None:
    node_id = bytes.fromhex(case["node_id"])
    drawn = bytes(2) + node_id[2:]
    assert secure_id(case["ip"], drawn) == node_id


@given(addresses(), ids())
def test_derived_id_conforms_and_keeps_what_was_drawn(address: Address, drawn: bytes) -> None:
    node_id = secure_id(address.host, drawn)
    assert is_compliant(node_id, address.host)
    assert node_id[3:] == drawn[3:]
    assert node_id[2] & 7 == drawn[2] & 7


@given(st.binary(min_size=8, max_size=8), st.binary(min_size=8, max_size=8), ids())
def test_only_the_network_of_an_ipv6_address_counts(network: bytes, rest: bytes, drawn: bytes) -> None:
    assert bound_prefix(network + rest, drawn[-1]) == bound_prefix(network + bytes(8), drawn[-1])


@pytest.mark.parametrize("host", ["10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.0.1", "127.0.0.1"])
def test_networks_named_by_the_bep_are_exempt(host: str) -> None:
    for exempt in (host, "100.64.0.1", "::1", "fe80::1", "fd00::1", "0.0.0.0", "::"):
        assert is_exempt(exempt)
        assert is_compliant(bytes(20), exempt)
        assert secure_id(exempt, b"d" * 20) == b"d" * 20


@given(addresses(), ids())
def test_ids_of_one_address_are_in_8_parts_of_the_space(address: Address, node_id: NodeId) -> None:
    parts = {bound_prefix(pack_host(address.host), last) for last in range(256)}
    assert len(parts) == 8
    if Scope.PUBLIC.allows(Address(address.host, 1)):
        prefix = int.from_bytes(node_id[:3], "big") & 0xFFFFF8
        assert prefix in parts or not is_compliant(node_id, address.host)


def test_id_of_a_wrong_length_is_not_made() -> None:
    with pytest.raises(ValueError, match="19 bytes"):
        secure_id("8.8.8.8", bytes(19))


def test_same_bits_lead_elsewhere_with_another_address() -> None:
    drawn = b"d" * 20
    hosts = [f"8.8.{number}.8" for number in range(64)]
    hosts6 = [f"2a00:1:{number}::1" for number in range(1, 32)]
    for family, some in ((Family.IPV4, hosts), (Family.IPV6, hosts6)):
        assert len({secure_id(host, drawn)[:3] for host in some}) == len(some), family
