"""Info-hashes in text: hex, base32 or a magnet link (BEP 9, BEP 52).

A link may also have a public key instead of an info-hash: a mutable torrent (BEP 46).  Links are read as
people have them: topics may be numbered (`xt.1`), keys in capitals, and `&` as a web page writes it.
Of several topics the first good one counts where one is wanted, whatever stands before it.
"""

import re
from base64 import b32decode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote, unquote_plus

from dhtnode.errors import InvalidInfoHash
from dhtnode.ids import ID_BYTES, InfoHash

_V1_PREFIX = "urn:btih:"
_V2_PREFIX = "urn:btmh:"
_KEY_PREFIX = "urn:btpk:"
_SHA256_MULTIHASH = bytes((0x12, 0x20))
_AROUND = " \t\r\n\v\f<>\"'`\u00a0\u200b\ufeff"
# A parameter of a magnet link: `xt`, `tr.1`, `x.pe`.
_PARAMETER = re.compile(r"\s*(?:xt|dn|tr|ws|xs|as|kt|mt|xl|so|s|x\.[a-z]+)(?:\.\d+)?\s*", re.IGNORECASE)
_AMPERSAND_OF_HTML = re.compile("&(?:(?:amp|#0*38|#x0*26);)+", re.IGNORECASE)
_URLS = re.compile(r"(?<=[?&;])(?:tr|ws|as|xs)(?:\.[0-9]+)?=(?!urn:)", re.IGNORECASE)

MAX_LISTED = 64
"""Topics, trackers, web seeds and peers that are taken from one link, of each."""


@dataclass(frozen=True, slots=True)
class Magnet:
    """What a magnet link says of a swarm (BEP 9, 53): as strangers wrote it, and nothing of it was checked.

    `info_hashes` are at least one, that of version 1 first; several are those of a hybrid, or of a link to
    several torrents.  `peers` are `HOST:PORT`.  `size` is in bytes, `selected` the files to be downloaded,
    such as `0,2-4`.  `is_hybrid` says that there are two, one of each version (BEP 52).
    """

    info_hashes: tuple[InfoHash, ...]
    name: str = ""
    trackers: tuple[str, ...] = ()
    web_seeds: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    size: int | None = None
    selected: str = ""
    is_hybrid: bool = False

    @property
    def info_hash(self) -> InfoHash:
        """Return the one that counts where a link is to name one swarm."""
        return self.info_hashes[0]


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
    fields = list(_fields_of(link))
    info_hashes = _topics_of(link)
    topics = [value.lower() for name, value in fields if name == "xt"]
    is_hybrid = len(info_hashes) == 2 and all(
        any(topic.startswith(prefix) for topic in topics) for prefix in (_V1_PREFIX, _V2_PREFIX)
    )
    listed: dict[str, dict[str, None]] = {"dn": {}, "tr": {}, "ws": {}, "x.pe": {}, "xl": {}, "so": {}}
    for name, value in fields:
        if name in listed and len(listed[name]) < MAX_LISTED and value.strip():
            listed[name].setdefault(value.strip())
    names, trackers, web_seeds, peers, sizes, selected = map(tuple, listed.values())
    size = next((int(each) for each in sizes if each.isascii() and each.isdigit() and len(each) < 19), None)
    return Magnet(
        info_hashes,
        next(iter(names), ""),
        trackers,
        web_seeds,
        peers,
        size,
        next(iter(selected), ""),
        is_hybrid,
    )


def is_magnet(text: str) -> bool:
    """Return whether a text is a magnet link, with whatever people copy with it; raises `InvalidInfoHash`."""
    return _is_magnet(_stripped(text))


def _stripped(text: str) -> str:
    """Return a text without what people copy with a link: spaces, quotes, brackets, escapes of the whole."""
    if not isinstance(text, str):
        raise InvalidInfoHash(f"an info-hash is read from a str, not from {type(text).__name__}")
    stripped = text.strip(_AROUND)
    return unquote(stripped) if stripped[:9].lower() == "magnet%3a" else stripped


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
    return _topics_of(link)[0]


def _topics_of(link: str) -> tuple[InfoHash, ...]:
    """Return the info-hashes of a link, at least one, or raise."""
    topics = [value for name, value in _fields_of(link) if name == "xt"][:MAX_LISTED]
    wrong = InvalidInfoHash(
        f"{_shown(_without_urls(link))}: the magnet link names no info-hash (xt=urn:btih:...)"
    )
    found: dict[InfoHash, None] = {}
    for prefix, read in ((_V1_PREFIX, _from_digits), (_V2_PREFIX, _from_multihash)):
        for digits in _after(prefix, topics):
            try:
                found.setdefault(read(digits))
            except InvalidInfoHash as error:
                wrong = error
    if not found:
        raise wrong
    return tuple(found)


def _fields_of(link: str) -> Iterator[tuple[str, str]]:
    """Yield the fields of a magnet link: names in small letters, without the number of a group."""
    if not _is_magnet(link):
        return
    for field in _whole_fields(_AMPERSAND_OF_HTML.sub("&", link[7:].lstrip("/?")).split("&")):
        name, _, value = field.partition("=")
        lower = unquote_plus(name).strip().lower()
        stem, _, number = lower.partition(".")
        yield stem if number.isdigit() else lower, unquote_plus(value)


def _whole_fields(parts: list[str]) -> list[str]:
    """Return the fields between ampersands, with those that an ampersand without an escape has cut mended.

    What has no `=` belongs to the name or link before it, and so do the parameters of a link that has a `?`.
    """
    fields: list[list[str]] = []
    may_go_on = is_link = False
    for part in filter(None, parts):
        name, equals, value = part.partition("=")
        if may_go_on and (not equals or (is_link and _PARAMETER.fullmatch(name) is None)):
            fields[-1].append(part)
        else:
            fields.append([part])
            may_go_on, is_link = name.strip().lower() not in {"", "xt"}, "?" in value
    return ["&".join(field) for field in fields]


def _after(prefix: str, values: Iterable[str]) -> list[str]:
    # What follows a `#` is for a web page.
    stripped = (value.partition("#")[0].strip() for value in values)
    return [value[len(prefix) :] for value in stripped if value.lower().startswith(prefix)]


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
