"""Items: values that the DHT stores, under their hash or under a key that signs them (BEP 44).

An immutable item is its value, and its target the SHA-1 of it.  A mutable item belongs to a public
key and a salt, whose SHA-1 is its target; a higher `seq` replaces a lower one.  Values are the exact
bytes of their bencoding: hashes and signatures are of these.

Signatures are Ed25519 (RFC 8032), by PyNaCl.  A signing key comes in three forms: a seed of 32 bytes,
the 64 bytes of seed and public key that libsodium keeps, and the expanded 64 bytes that libtorrent keeps
and BEP 44 prints.
"""

from dataclasses import dataclass
from hashlib import sha1, sha512
from typing import NewType, Self, TypeAlias

from nacl import bindings
from nacl.exceptions import CryptoError

from dhtnode.arguments import check_type
from dhtnode.bencode import MAX_DEPTH, BencodeError, Value, decode_canonical, decode_untrusted, encode_given
from dhtnode.errors import InvalidArgument
from dhtnode.ids import ID_BYTES, InfoHash

Target = NewType("Target", bytes)
"""The 20 bytes under which an item is stored."""

MAX_VALUE_BYTES = 1000
"""Of the bencoded value; no node has to store more (BEP 44)."""

MAX_SALT_BYTES = 64
MAX_SEQ = 2**63 - 1

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
SEED_BYTES = 32

MAX_VALUE_DEPTH = MAX_DEPTH - 2
"""Levels inside a value: in a message it stands two levels down."""


@dataclass(frozen=True, slots=True)
class ImmutableItem:
    """A value that is stored under its own hash; `value` is bencoded.

    Raises `ValueError` when it is longer than 1000 bytes or not canonical bencode.
    """

    value: bytes

    def __post_init__(self) -> None:
        _check_value(self.value)

    @classmethod
    def of(cls, value: Value) -> Self:
        """Return the item of a value that is not bencoded yet."""
        return cls(_encoded(value))

    def target(self) -> Target:
        """Return the SHA-1 of the bencoded value."""
        return Target(sha1(self.value, usedforsecurity=False).digest())

    def decoded(self) -> Value:
        """Return the value, decoded."""
        return decode_canonical(self.value)


@dataclass(frozen=True, slots=True)
class MutableItem:
    """A signed value that the holder of the key may replace; made by `sign`, or read off the network.

    `value` is bencoded, `public_key` has 32 bytes, `signature` 64, `salt` up to 64; `seq` is in
    0..2**63-1.  Raises `ValueError` for anything else, but not for a wrong signature: see `verify`.
    """

    public_key: bytes
    seq: int
    value: bytes
    signature: bytes
    salt: bytes = b""

    def __post_init__(self) -> None:
        _check_value(self.value)
        _check_seq_and_salt(self.seq, self.salt)
        check_type("a public key", self.public_key, bytes)
        check_type("a signature", self.signature, bytes)
        if len(self.public_key) != PUBLIC_KEY_BYTES or len(self.signature) != SIGNATURE_BYTES:
            raise ValueError("a public key has 32 bytes, a signature 64")

    @classmethod
    def sign(cls, key: bytes, value: Value, *, seq: int, salt: bytes = b"") -> Self:
        """Return a signed item for a value that is not bencoded yet.

        `key` is a seed of 32 bytes, which `secrets.token_bytes` makes, or 64 bytes in the form of
        libsodium or of libtorrent.
        """
        _check_seq_and_salt(seq, salt)
        encoded = _encoded(value)
        return cls(public_key_of(key), seq, encoded, sign(key, _message(salt, seq, encoded)), salt)

    def target(self) -> Target:
        """Return the SHA-1 of public key and salt."""
        return mutable_target(self.public_key, self.salt)

    def message(self) -> bytes:
        """Return the bytes that are signed."""
        return _message(self.salt, self.seq, self.value)

    def verify(self) -> bool:
        """Return whether the signature is right; cost: 0.1 to 0.2 ms."""
        return is_signed(self.public_key, self.message(), self.signature)

    def decoded(self) -> Value:
        """Return the value, decoded."""
        return decode_canonical(self.value)

    def info_hash(self) -> InfoHash | None:
        """Return the torrent that the item points to, or None when it points to none (BEP 46)."""
        match self.decoded():
            case {b"ih": bytes(info_hash)} if len(info_hash) == ID_BYTES:
                return InfoHash(info_hash)
        return None


Item: TypeAlias = ImmutableItem | MutableItem


def mutable_target(public_key: bytes, salt: bytes = b"") -> Target:
    """Return the target of the mutable items of a public key and a salt (BEP 44); raises `ValueError`."""
    check_type("a public key", public_key, bytes)
    check_type("a salt", salt, bytes)
    return Target(sha1(public_key + salt, usedforsecurity=False).digest())


def public_key_of(key: bytes) -> bytes:
    """Return the 32-byte public key of a signing key in any form; raises `ValueError`."""
    return _public_key(key, _seed_of(key))


def sign(key: bytes, message: bytes) -> bytes:
    """Return the 64-byte signature of a message; raises `ValueError` for a key of another length."""
    seed = _seed_of(key)
    public_key = _public_key(key, seed)
    if seed is None:
        return _sign_expanded(key, public_key, message)
    return bytes(bindings.crypto_sign(message, seed + public_key)[:SIGNATURE_BYTES])


def is_signed(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether a signature is that of a message; cost: 0.1 to 0.2 ms.

    As strict as RFC 8032: a second signature of the same item (S + L), which libtorrent accepts, is
    refused.
    """
    if len(public_key) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    try:
        bindings.crypto_sign_open(signature + message, public_key)
    except CryptoError:
        return False
    return True


def _seed_of(key: bytes) -> bytes | None:
    """Return the seed of a key, or None when it is expanded, so that its seed cannot be known."""
    check_type("a signing key", key, bytes)
    if len(key) == SEED_BYTES:
        return key
    if len(key) != 2 * SEED_BYTES:
        raise ValueError(f"a signing key has 32 or 64 bytes, not {len(key)}")
    seed, public_key = key[:SEED_BYTES], key[SEED_BYTES:]
    return seed if bindings.crypto_sign_seed_keypair(seed)[0] == public_key else None


def _public_key(key: bytes, seed: bytes | None) -> bytes:
    if seed is None:
        return bindings.crypto_scalarmult_ed25519_base_noclamp(key[:SEED_BYTES])
    return bindings.crypto_sign_seed_keypair(seed)[0]


def _sign_expanded(key: bytes, public_key: bytes, message: bytes) -> bytes:
    # RFC 8032, section 5.1.6, from step 2 on: step 1 was done when the key was expanded.
    scalar, prefix = key[:SEED_BYTES], key[SEED_BYTES:]
    nonce = bindings.crypto_core_ed25519_scalar_reduce(sha512(prefix + message).digest())
    point = bindings.crypto_scalarmult_ed25519_base_noclamp(nonce)
    challenge = bindings.crypto_core_ed25519_scalar_reduce(sha512(point + public_key + message).digest())
    product = bindings.crypto_core_ed25519_scalar_mul(challenge, scalar)
    return point + bindings.crypto_core_ed25519_scalar_add(product, nonce)


def _message(salt: bytes, seq: int, value: bytes) -> bytes:
    # An empty salt is the same as none (BEP 44, "Signature Verification").
    salted = b"4:salt%d:%b" % (len(salt), salt) if salt else b""
    return b"%b3:seqi%de1:v%b" % (salted, seq, value)


def _encoded(value: Value) -> bytes:
    try:
        return encode_given(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidArgument(f"a value that bencode cannot express: {error}") from error


def _check_value(value: bytes) -> None:
    check_type("a value", value, bytes)
    if len(value) > MAX_VALUE_BYTES:
        raise ValueError(f"a bencoded value may have {MAX_VALUE_BYTES} bytes, not {len(value)}")
    levels = MAX_DEPTH - MAX_VALUE_DEPTH
    try:
        match decode_untrusted(b"l" * levels + value + b"e" * levels):
            # One value, and canonical.
            case [[[_]], True]:
                return
    except BencodeError:
        pass
    raise ValueError("a value is given as canonical bencode, at most 30 levels deep")


def _check_seq_and_salt(seq: int, salt: bytes) -> None:
    check_type("seq", seq, int)
    check_type("salt", salt, bytes)
    if not 0 <= seq <= MAX_SEQ:
        raise ValueError(f"seq {seq} is not in 0..2**63-1")
    if len(salt) > MAX_SALT_BYTES:
        raise ValueError(f"a salt may have {MAX_SALT_BYTES} bytes, not {len(salt)}")
