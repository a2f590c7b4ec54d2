"""Info-hashes in text: hex, base32 or a magnet link (BEP 9, BEP 52).

A link may also have a public key instead of an info-hash: a mutable torrent (BEP 46).
"""

from base64 import b32decode
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from dhtnode.errors import InvalidInfoHash
from dhtnode.ids import ID_BYTES, InfoHash

_V1_PREFIX = "urn:btih:"
_V2_PREFIX = "urn:btmh:"
_KEY_PREFIX = "urn:btpk:"
_SHA256_MULTIHASH = bytes((0x12, 0x20))


class MutableLink(NamedTuple):
    """The 32-byte public key and the salt under which a mutable torrent is found (BEP 46)."""

    public_key: bytes
    salt: bytes = b""


def parse_mutable_link(text: str) -> MutableLink:
    """Return the key and salt of `magnet:?xs=urn:btpk:KEY&s=SALT`, both in hex, the salt optional.

    Raises `InvalidInfoHash` for anything else.
    """
    link = text.strip()
    if link[:7].lower() == "magnet:":
        fields = _fields_of(link)
        for source in fields.get("xs", []):
            if source.lower().startswith(_KEY_PREFIX):
                return _mutable_link(source[len(_KEY_PREFIX) :], fields.get("s", [""])[0])
    raise InvalidInfoHash(f"{_shown(link)} is no magnet link with a key (xs=urn:btpk:...)")


def _mutable_link(key: str, salt: str) -> MutableLink:
    try:
        link = MutableLink(bytes.fromhex(key), bytes.fromhex(salt))
    except ValueError:
        link = MutableLink(b"")
    if len(link.public_key) != 32 or len(link.salt) > 64:
        raise InvalidInfoHash(
            f"{_shown(key)} with salt {_shown(salt)}: want 64 hex digits, and up to 128 of salt"
        )
    return link


def parse_info_hash(text: str) -> InfoHash:
    """Return the info-hash in a text.

    Accepted are 40 hex digits, 32 base32 characters, and magnet links with `btih` (either form) or
    `btmh`, whose SHA-256 is cut to 20 bytes as the DHT does (BEP 52).  Raises `InvalidInfoHash`.
    """
    stripped = text.strip()
    if stripped[:7].lower() == "magnet:":
        return _from_magnet(stripped)
    return _from_digits(stripped)


def _from_digits(text: str) -> InfoHash:
    try:
        if len(text) == 40 and text.isalnum():
            return InfoHash(bytes.fromhex(text))
        if len(text) == 32 and text.isalnum():
            return InfoHash(b32decode(text.upper()))
    except ValueError:
        pass
    raise InvalidInfoHash(
        f"{_shown(text)} is not an info-hash: want 40 hex digits, 32 base32 or a magnet link"
    )


def _from_magnet(link: str) -> InfoHash:
    topics = _fields_of(link).get("xt", [])
    for topic in topics:
        if topic.lower().startswith(_V1_PREFIX):
            return _from_digits(topic[len(_V1_PREFIX) :])
    for topic in topics:
        if topic.lower().startswith(_V2_PREFIX):
            return _from_multihash(topic[len(_V2_PREFIX) :])
    raise InvalidInfoHash(f"{_shown(link)}: the magnet link names no info-hash (xt=urn:btih:...)")


def _fields_of(link: str) -> dict[str, list[str]]:
    try:
        return parse_qs(urlsplit(link).query)
    except ValueError:
        # Such as a host with one bracket.
        return {}


def _from_multihash(digits: str) -> InfoHash:
    try:
        multihash = bytes.fromhex(digits)
    except ValueError:
        multihash = b""
    if len(multihash) != 34 or not multihash.startswith(_SHA256_MULTIHASH):
        raise InvalidInfoHash(f"{_shown(digits)} is not a SHA-256 multihash (1220 and 64 hex digits)")
    return InfoHash(multihash[2 : 2 + ID_BYTES])


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
