"""Ed25519 against RFC 8032, with keys in each of their three forms."""

import json
from pathlib import Path

import pytest

from dhtnode.items import is_signed, public_key_of, sign

CASES = json.loads((Path(__file__).parents[1] / "vectors" / "ed25519_rfc8032.json").read_text())["vectors"]
FORMS = {
    "seed": lambda case: case["seed"],
    "seed and public key": lambda case: case["seed"] + case["public"],
    "expanded": lambda case: case["expanded"],
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["message"] or "empty")
@pytest.mark.parametrize("form", FORMS)
def test_signature_is_that_of_rfc_8032(case, form):
    key, message = bytes.fromhex(FORMS[form](case)), bytes.fromhex(case["message"])
    signature = sign(key, message)
    assert (public_key_of(key).hex(), signature.hex()) == (case["public"], case["signature"])
    assert is_signed(public_key_of(key), message, signature)


@pytest.mark.parametrize("at", [0, 31, 32, 63])
def test_changed_signature_is_wrong(at):
    key, message = bytes(32), b"message"
    signature = bytearray(sign(key, message))
    signature[at] ^= 1
    assert not is_signed(public_key_of(key), message, bytes(signature))
    assert not is_signed(public_key_of(key), b"massage", sign(key, message))


@pytest.mark.parametrize(
    ("public_key", "signature"),
    [(bytes(31), bytes(64)), (bytes(33), bytes(64)), (bytes(32), bytes(63)), (bytes(32), bytes(64))],
)
def test_bytes_that_are_no_key_or_signature_are_wrong_too(public_key, signature):
    assert not is_signed(public_key, b"message", signature)


@pytest.mark.parametrize("size", [0, 31, 33, 63, 65])
def test_key_of_another_length_is_refused(size):
    with pytest.raises(ValueError, match=f"32 or 64 bytes, not {size}"):
        sign(bytes(size), b"message")
    with pytest.raises(ValueError, match=f"32 or 64 bytes, not {size}"):
        public_key_of(bytes(size))
