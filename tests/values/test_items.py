"""Items against the vectors of BEP 44 and BEP 46, and their limits."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given

from dhtnode.bencode import encode
from dhtnode.errors import InvalidArgument
from dhtnode.items import ImmutableItem, MutableItem, is_signed, mutable_target
from tests.strategies import items

VECTORS = Path(__file__).parents[1] / "vectors"
BEP_44 = json.loads((VECTORS / "bep44_items.json").read_text())
BEP_46 = json.loads((VECTORS / "bep46_targets.json").read_text())

MUTABLE = [*BEP_44["mutable_published"], *BEP_44["mutable_constructed"]]
SEED = bytes(range(32))
INFO_HASH = b"mnopqrstuvwxyz123456"


def item_of(case):
    """Return the item of a vector, as it would be read off the network."""
    fields = (bytes.fromhex(case[name]) for name in ("v_bencoded_hex", "sig", "salt_hex"))
    return MutableItem(bytes.fromhex(case["k"]), case["seq"], *fields)


@pytest.mark.parametrize("case", MUTABLE, ids=lambda case: case["name"])
def test_mutable_item_is_signed_as_published(case):
    item = item_of(case)
    key = bytes.fromhex(case.get("private_key_expanded") or case["seed"])
    signed = MutableItem.sign(key, item.decoded(), seq=item.seq, salt=item.salt)
    assert signed == item
    assert (item.message().hex(), item.target().hex()) == (case["signed_buffer_hex"], case["target"])
    assert item.target() == mutable_target(item.public_key, item.salt)
    assert item.verify()


def test_immutable_item_is_kept_under_its_hash():
    """Test 3 of BEP 44."""
    case = BEP_44["immutable_published"]
    item = ImmutableItem.of(b"Hello World!")
    assert (item.value.hex(), item.target().hex()) == (case["v_bencoded_hex"], case["target"])
    assert item.decoded() == b"Hello World!"


@pytest.mark.parametrize("case", BEP_44["negative"], ids=lambda case: case["name"][:40])
def test_wrong_signature_is_noticed(case):
    signed = (bytes.fromhex(case[name]) for name in ("k", "signed_buffer_hex", "sig"))
    assert not is_signed(*signed)


@pytest.mark.parametrize(
    "change",
    [{"seq": 2}, {"value": b"i1e"}, {"salt": b"x"}, {"public_key": bytes(32)}, {"signature": bytes(64)}],
)
def test_signature_is_over_everything(change):
    item = MutableItem.sign(SEED, b"value", seq=1)
    assert item.verify()
    assert not replace(item, **change).verify()


def test_empty_salt_is_none():
    """They sign the same and live in the same place (BEP 44)."""
    assert MutableItem.sign(SEED, 1, seq=1) == MutableItem.sign(SEED, 1, seq=1, salt=b"")


@pytest.mark.parametrize("case", BEP_46["published"], ids=lambda case: case["salt_hex"] or "no salt")
def test_target_of_a_mutable_torrent(case):
    """The two vectors of BEP 46."""
    target = mutable_target(bytes.fromhex(case["k"]), bytes.fromhex(case["salt_hex"]))
    assert target.hex() == case["target"]


@pytest.mark.parametrize(
    ("value", "info_hash"),
    [
        ({b"ih": INFO_HASH}, INFO_HASH),
        ({b"ih": INFO_HASH, b"name": b"more"}, INFO_HASH),
        ({b"ih": INFO_HASH[:19]}, None),
        ({b"ih": 20}, None),
        ({b"IH": INFO_HASH}, None),
        (INFO_HASH, None),
        ([b"ih", INFO_HASH], None),
    ],
)
def test_info_hash_is_read_out_of_a_mutable_torrent(value, info_hash):
    """What is not of the form of BEP 46 points to no torrent."""
    assert MutableItem.sign(SEED, value, seq=1).info_hash() == info_hash


@given(items())
def test_value_survives_decoding(item):
    assert encode(item.decoded()) == item.value


@pytest.mark.parametrize(
    "value",
    [b"", b"i1", b"i01e", b"d1:bi1e1:ai2ee", b"d1:ai1e1:ai2ee", b"i1ei2e", b"i1ee", b"1:ab", b"e", b"ele"],
)
def test_bytes_that_are_not_canonical_are_no_value(value):
    with pytest.raises(ValueError, match="canonical"):
        ImmutableItem(value)
    with pytest.raises(ValueError, match="canonical"):
        MutableItem(bytes(32), 1, value, bytes(64))


def test_value_has_1000_bytes_and_30_levels_at_most():
    deep = b"l" * 30 + b"e" * 30
    assert len(ImmutableItem.of(b"v" * 996).value) == 1000
    assert ImmutableItem(deep).value == deep
    with pytest.raises(ValueError, match="1000 bytes, not 1001"):
        ImmutableItem.of(b"v" * 997)
    with pytest.raises(ValueError, match="30 levels"):
        ImmutableItem(b"l" + deep + b"e")


@pytest.mark.parametrize(
    ("wrong", "text"), [({"seq": -1}, "seq -1"), ({"seq": 2**63}, "seq 9"), ({"salt": bytes(65)}, "not 65")]
)
def test_item_outside_its_limits_is_not_signed(wrong, text):
    assert MutableItem.sign(SEED, b"", seq=2**63 - 1, salt=bytes(64)).verify()
    with pytest.raises(ValueError, match=text):
        MutableItem.sign(SEED, b"", **{"seq": 1} | wrong)


@pytest.mark.parametrize(
    ("value", "encoded"),
    [("é", b"2:\xc3\xa9"), ((1, b"x"), b"li1e1:xe"), ({b"b": 1, b"a": []}, b"d1:ale1:bi1ee")],
)
def test_value_of_a_caller_is_encoded(value: object, encoded: bytes) -> None:
    assert ImmutableItem.of(value).value == encoded  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [None, 1.5, {1, 2}, {b"a": None}, object()])
def test_value_that_bencode_cannot_express_is_refused(value: object) -> None:
    with pytest.raises(InvalidArgument, match="bencode cannot express"):
        ImmutableItem.of(value)  # type: ignore[arg-type]
