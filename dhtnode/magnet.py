"""Info-hashes in text: hex, base32 or a magnet link (BEP 9, BEP 52).

A link may also have a public key instead of an info-hash: a mutable torrent (BEP 46).  Links are read as
people have them: topics may be numbered (`xt.1`), keys in capitals, and `&` as a web page writes it.
Of several topics the first good one counts, whatever stands before it.
"""

import re
from base64 import b32decode
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from dhtnode.errors import InvalidInfoHash
from dhtnode.ids import ID_BYTES, InfoHash

_V1_PREFIX = "urn:btih:"
_V2_PREFIX = "urn:btmh:"
_KEY_PREFIX = "urn:btpk:"
_SHA256_MULTIHASH = bytes((0x12, 0x20))
_AMPERSAND_OF_HTML = re.compile("&(?:(?:amp|#0*38|#x0*26);)+", re.IGNORECASE)
_URLS = re.compile(r"(?<=[?&;])(?:tr|ws|as|xs)(?:\.[0-9]+)?=(?!urn:)", re.IGNORECASE)

MAX_LISTED = 64
"""Trackers, web seeds and peers that are taken from one link, of each."""


@dataclass(frozen=True, slots=True)
class Magnet:
    """What a magnet link says of a swarm (BEP 9): as strangers wrote it, and nothing of it was checked.

    `peers` are `HOST:PORT`.
    """

    info_hash: InfoHash
    name: str = ""
    trackers: tuple[str, ...] = ()
    web_seeds: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()


class MutableLink(NamedTuple):
    """The 32-byte public key and the salt under which a mutable torrent is found (BEP 46)."""

    public_key: bytes
    salt: bytes = b""


def parse_mutable_link(text: str) -> MutableLink:
    """Return the key and salt of `magnet:?xs=urn:btpk:KEY&s=SALT`, both in hex, the salt optional.

    Raises `InvalidInfoHash` for anything else.
    """
    link = _stripped(text)
    fields = list(_fields_of(link))
    keys = _after(_KEY_PREFIX, (value for name, value in fields if name == "xs"))
    salt = next((value for name, value in fields if name == "s"), "")
    wrong = InvalidInfoHash(f"{_shown(_without_urls(link))} is no magnet link with a key (xs=urn:btpk:...)")
    for key in keys:
        try:
            return _mutable_link(key, salt)
        except InvalidInfoHash as error:
            wrong = error
    raise wrong


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
    stripped = _stripped(text)
    return _from_magnet(stripped) if _is_magnet(stripped) else _from_digits(stripped)


def parse_magnet(text: str) -> Magnet:
    """Return what a magnet link says; raises `InvalidInfoHash` for one without an info-hash."""
    link = _stripped(text)
    info_hash = _from_magnet(link)
    listed: dict[str, dict[str, None]] = {"dn": {}, "tr": {}, "ws": {}, "x.pe": {}}
    for name, value in _fields_of(link):
        if name in listed and len(listed[name]) < MAX_LISTED and value.strip():
            listed[name].setdefault(value.strip())
    names, trackers, web_seeds, peers = map(tuple, listed.values())
    return Magnet(info_hash, names[0] if names else "", trackers, web_seeds, peers)


def _stripped(text: str) -> str:
    if not isinstance(text, str):
        raise InvalidInfoHash(f"an info-hash is read from a str, not from {type(text).__name__}")
    return text.strip()


def _is_magnet(text: str) -> bool:
    return text[:7].lower() == "magnet:"


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
    topics = [value for name, value in _fields_of(link) if name == "xt"]
    wrong = InvalidInfoHash(
        f"{_shown(_without_urls(link))}: the magnet link names no info-hash (xt=urn:btih:...)"
    )
    for prefix, read in ((_V1_PREFIX, _from_digits), (_V2_PREFIX, _from_multihash)):
        for digits in _after(prefix, topics):
            try:
                return read(digits)
            except InvalidInfoHash as error:
                wrong = error
    raise wrong


def _fields_of(link: str) -> Iterable[tuple[str, str]]:
    """Yield the fields of a magnet link: names in small letters, without the number of a group."""
    if not _is_magnet(link):
        return
    try:
        fields = parse_qsl(urlsplit(_AMPERSAND_OF_HTML.sub("&", link)).query)
    except ValueError:
        # Such as a host with one bracket.
        return
    for name, value in fields:
        stem, _, number = name.lower().partition(".")
        yield stem if number.isdigit() else name.lower(), value


def _after(prefix: str, values: Iterable[str]) -> list[str]:
    return [value.strip()[len(prefix) :] for value in values if value.strip().lower().startswith(prefix)]


def _from_multihash(digits: str) -> InfoHash:
    try:
        multihash = bytes.fromhex(digits)
    except ValueError:
        multihash = b""
    if len(multihash) != 34 or not multihash.startswith(_SHA256_MULTIHASH):
        raise InvalidInfoHash(f"{_shown(digits)} is not a SHA-256 multihash (1220 and 64 hex digits)")
    return InfoHash(multihash[2 : 2 + ID_BYTES])


def _without_urls(link: str) -> str:
    """Return the part of a link before its first URL: that of a tracker may have the key of a user."""
    return _URLS.split(link, maxsplit=1)[0]


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
