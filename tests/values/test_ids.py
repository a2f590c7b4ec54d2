"""Ids as numbers: distances, prefixes, and ids drawn where they are wanted."""

import json
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtnode.ids import (
    ID_BITS,
    as_id,
    as_int,
    distance,
    distance_bits,
    flip_last_bit,
    random_id,
    random_id_between,
    random_id_sharing,
    shared_prefix_bits,
)
from tests.strategies import ids

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "xor_distance.json").read_text())["cases"]


@pytest.mark.parametrize("case", VECTORS)
def test_distance_and_prefix_match_the_vectors(case: dict[str, str | int]) -> None:
    a, b = bytes.fromhex(case["a"]), bytes.fromhex(case["b"])
    measured = distance(a, b), distance_bits(a, b) - 1, shared_prefix_bits(a, b)
    assert measured == (int(case["xor"], 16), case["bucket_distance_exp"], case["shared_prefix_bits"])


@given(ids(), ids(), ids())
def test_distance_is_a_metric(a: bytes, b: bytes, c: bytes) -> None:
    assert (distance(a, b) == 0) == (a == b)
    assert distance(a, b) == distance(b, a)
    assert distance(a, c) <= distance(a, b) + distance(b, c)


@given(ids())
def test_id_survives_the_way_through_a_number(node_id: bytes) -> None:
    assert as_id(as_int(node_id)) == node_id


def test_equal_ids_share_all_bits() -> None:
    assert (distance_bits(b"a" * 20, b"a" * 20), shared_prefix_bits(b"a" * 20, b"a" * 20)) == (0, ID_BITS)


@given(st.data())
def test_random_id_lies_in_its_range(data: st.DataObject) -> None:
    low = data.draw(st.integers(0, 2**ID_BITS - 1))
    high = data.draw(st.integers(low + 1, min(low + 3, 2**ID_BITS)) | st.integers(low + 1, 2**ID_BITS))
    drawn = random_id_between(low, high, Random(data.draw(st.integers())))
    assert len(drawn) == 20
    assert low <= as_int(drawn) < high


def test_random_id_reaches_both_ends_of_its_range() -> None:
    random = Random(1)
    drawn = {random_id_between(7, 9, random) for _ in range(50)}
    assert drawn == {as_id(7), as_id(8)}


def test_random_ids_follow_the_seed() -> None:
    drawn = [random_id(Random(3)), random_id(Random(3)), random_id(Random(4))]
    assert drawn[0] == drawn[1] != drawn[2]
    assert {len(node_id) for node_id in drawn} == {20}


@given(ids())
def test_flipped_id_is_the_nearest_other_one(node_id: bytes) -> None:
    flipped = flip_last_bit(node_id)
    assert distance(node_id, flipped) == 1
    assert flip_last_bit(flipped) == node_id


@given(st.binary(min_size=20, max_size=20), st.integers(0, 159), st.integers())
def test_random_id_shares_just_the_bits_asked_for(node_id: bytes, bits: int, seed: int) -> None:
    assert shared_prefix_bits(node_id, random_id_sharing(node_id, bits, Random(seed))) == bits
