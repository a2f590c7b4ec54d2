"""Read an info-hash from what people have at hand: hex, base32 or a magnet link (BEP 9, BEP 52)."""

from base64 import b32decode
from urllib.parse import parse_qs, urlsplit

from dhtnode.errors import InvalidInfoHash
from dhtnode.ids import ID_BYTES, InfoHash

_V1_PREFIX = "urn:btih:"
_V2_PREFIX = "urn:btmh:"
_SHA256_MULTIHASH = bytes((0x12, 0x20))


def parse_info_hash(text: str) -> InfoHash:
    """Return the info-hash that a text names.

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
    try:
        topics = parse_qs(urlsplit(link).query).get("xt", [])
    except ValueError:  # such as a host with one bracket
        topics = []
    for topic in topics:
        if topic.lower().startswith(_V1_PREFIX):
            return _from_digits(topic[len(_V1_PREFIX) :])
    for topic in topics:
        if topic.lower().startswith(_V2_PREFIX):
            return _from_multihash(topic[len(_V2_PREFIX) :])
    raise InvalidInfoHash(f"{_shown(link)}: the magnet link names no info-hash (xt=urn:btih:...)")


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
