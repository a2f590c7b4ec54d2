"""BEP 33 filters against the published vector and the ones derived from it."""

import json
from ipaddress import ip_address
from pathlib import Path
from random import Random
from typing import Any

import pytest

from dhtnode.addresses import pack_host
from dhtnode.krpc.scrape_filter import FILTER_BYTES, ScrapeFilter, host_mask, hosts_between

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "bep33_bloom.json").read_text())
PUBLISHED: dict[str, Any] = VECTORS["published"]
DERIVED: dict[str, dict[str, Any]] = {case["name"].split()[0]: case for case in VECTORS["derived"]}
SINGLES: list[dict[str, Any]] = VECTORS["single_inserts"]

IPV4_HOSTS = [pack_host(f"192.0.2.{last}") for last in range(256)]
IPV6_HOSTS = [pack_host(str(ip_address("2001:db8::") + last)) for last in range(1000)]


def read(case: dict[str, Any]) -> ScrapeFilter:
    return ScrapeFilter.from_bytes(bytes.fromhex(case["filter_hex"]))


def test_published_vector_is_reproduced():
    """The 1256 addresses of BEP 33 give its filter, its zero bits and its estimate."""
    built = ScrapeFilter.of(IPV4_HOSTS + IPV6_HOSTS)
    assert built.to_bytes().hex() == PUBLISHED["filter_hex"]
    assert built.zero_bits == PUBLISHED["zero_bits"]
    assert built.estimate() == pytest.approx(PUBLISHED["estimate"], abs=1e-9)
    assert built.estimate() == pytest.approx(float(PUBLISHED["published_estimate"]), abs=1e-4)


@pytest.mark.parametrize(("name", "hosts"), [("192.0.2.0-255", IPV4_HOSTS), ("2001:db8::0-3e7", IPV6_HOSTS)])
def test_each_family_gives_its_own_filter(name, hosts):
    case = DERIVED[name]
    built = ScrapeFilter.of(hosts)
    assert built == read(case)
    assert built.zero_bits == case["zero_bits"]
    assert built.estimate() == pytest.approx(case["estimate"], abs=1e-9)


def test_union_of_families_is_the_published_filter():
    assert read(DERIVED["192.0.2.0-255"]) | read(DERIVED["2001:db8::0-3e7"]) == read(PUBLISHED)


@pytest.mark.parametrize("case", SINGLES, ids=lambda case: case["ip"])
def test_one_address_sets_its_two_bits(case):
    packed = bytes.fromhex(case["ip_bytes"])
    expected = bytearray(FILTER_BYTES)
    for index, value in case["set_bytes"].items():
        expected[int(index)] = value
    assert pack_host(case["ip"]) == packed
    assert host_mask(packed) == sum(1 << index for index in case["bit_indices"])
    assert ScrapeFilter.of([packed]).to_bytes() == expected == bytes.fromhex(case["filter_hex"])


def test_empty_filter_counts_no_host():
    """We report 0 where the formula of the BEP reads 0.5."""
    empty = read(DERIVED["empty"])
    assert empty == ScrapeFilter() == ScrapeFilter.of([])
    assert (empty.is_empty, empty.is_full, empty.zero_bits) == (True, False, 2048)
    assert empty.estimate() == 0.0


def test_full_filter_reads_as_the_largest_finite_number():
    full = read(DERIVED["full"])
    one_zero = ScrapeFilter(full.bits >> 1)
    assert (full.is_empty, full.is_full, full.zero_bits) == (False, True, 0)
    assert (one_zero.is_full, one_zero.zero_bits) == (False, 1)
    assert full.estimate() == one_zero.estimate() == pytest.approx(7805.7, abs=0.05)


@pytest.mark.parametrize("length", [0, 255, 257, 512])
def test_filter_of_other_length_is_refused(length):
    with pytest.raises(ValueError, match=f"256 bytes, not {length}"):
        ScrapeFilter.from_bytes(bytes(length))


def test_any_bytes_survive_a_round_trip():
    packed = Random(33).randbytes(FILTER_BYTES)
    assert ScrapeFilter.from_bytes(packed).to_bytes() == packed


def test_filter_can_be_built_address_by_address():
    bits = 0
    for host in reversed(IPV4_HOSTS + IPV4_HOSTS[:7]):
        bits |= host_mask(host)
    assert ScrapeFilter(bits) == read(DERIVED["192.0.2.0-255"])


def test_addresses_added_to_a_used_filter_are_estimated_from_the_bits_they_changed():
    part, union = read(DERIVED["2001:db8::0-3e7"]), read(PUBLISHED)
    added = hosts_between(part.zero_bits, union.zero_bits)
    assert added == pytest.approx(union.estimate() - part.estimate())
    assert added == pytest.approx(256, rel=0.05)
