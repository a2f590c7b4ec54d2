"""Fuzz targets without state: the readers of bencode, of messages and of torrent files."""

import re
from collections.abc import Hashable
from hashlib import sha1, sha256
from typing import get_args

import bencode2

from dhtnode import bencode
from dhtnode.addresses import Family, split_host_port
from dhtnode.bencode import BencodeError, Value
from dhtnode.errors import InvalidTorrent
from dhtnode.krpc import codec
from dhtnode.krpc.malformed import MalformedMessage, Reason
from dhtnode.krpc.messages import Message, Query, Response
from dhtnode.metainfo import MAX_NODES, Metainfo, parse_metainfo
from dhtnode.torrents import parse_details
from tests.fuzz.findings import Broken, require

REASONS = frozenset(get_args(Reason))
STRICT_EVERY = 8  # a refusal of bencode2 costs more than the rest of a look at one input
LONG_INTEGER = re.compile(rb"i-?\d{%d}" % (bencode.MAX_DIGITS + 1))


class BencodingTarget:
    """Hold `bencoding` to its promises: one exception type, bounded values, two readers that agree."""

    name = "bencoding"
    life = 10_000

    def run(self, data: bytes) -> Hashable:
        try:
            value, canonical = bencode.decode_untrusted(data)
        except BencodeError as error:
            if len(data) % STRICT_EVERY == 0:
                require(_strict(data) is None, "what the strict decoder takes is read")
            return str(error)[:18]
        items, depth = _size_of(value)
        require(items <= bencode.MAX_ITEMS and depth <= bencode.MAX_DEPTH, "values are bounded")
        encoded = bencode.encode(value)
        require(canonical == (encoded == data), "canonical means: the same bytes come back")
        require(bencode.decode_untrusted(encoded) == (value, True), "what is encoded is read again")
        if canonical:
            self._compare(data, value)
        return type(value), canonical, depth // 8, items.bit_length() // 3

    def end(self) -> None:
        """Have nothing to look at: there is no state."""

    def _compare(self, data: bytes, value: Value) -> None:
        """Hold the tolerant reader to the strict one, but for long integers, which only one takes."""
        try:
            tolerant = bencode.read_prefix_untrusted(data, len(data))[0]
        except BencodeError:
            if LONG_INTEGER.search(data) is None:
                raise Broken("the tolerant reader takes what is canonical") from None
        else:
            require(tolerant == value, "both readers see the same value")


def _strict(data: bytes) -> Value | None:
    """Return what bencode2 makes of an input within our limits, None when it refuses or cannot say."""
    if len(data) > 2 * bencode.MAX_ITEMS or data.count(b"l") + data.count(b"d") > bencode.MAX_DEPTH:
        return None
    try:
        value: Value = bencode2.bdecode(data)
    except Exception:  # noqa: BLE001  of whatever kind
        return None
    return value


def _size_of(value: Value) -> tuple[int, int]:
    """Return how many items, keys included, and levels a value has; without recursion."""
    items, depth = 0, 0
    level = [value]
    while level:
        items += len(level)
        inside: list[Value] = []
        containers = False
        for item in level:
            if isinstance(item, dict):
                containers = True
                items += len(item)
                inside.extend(item.values())
            elif isinstance(item, list):
                containers = True
                inside.extend(item)
        depth += containers
        level = inside
    return items, depth


class KrpcTarget:
    """Hold `krpc` to its promises, for both families."""

    name = "krpc"
    life = 10_000

    def run(self, data: bytes) -> Hashable:
        return tuple(_read(data, family) for family in Family)

    def end(self) -> None:
        """Have nothing to look at: there is no state."""


def _read(data: bytes, family: Family) -> Hashable:
    try:
        message = codec.decode_untrusted(data, family)
    except MalformedMessage as malformed:
        return _check_malformed(malformed, family)
    again = codec.decode_untrusted(codec.encode(message), family)
    require(again == message or again == _concatenated(message, family), "a message survives a round trip")
    if isinstance(message, Query):
        return type(message.method), message.read_only, message.version is None
    if isinstance(message, Response):
        message.peers()
        contacts = [len(message.contacts(each)) > 0 for each in Family]
        return (*contacts, message.count(None), len(message.values or ()).bit_length())
    return message.code, len(message.text).bit_length()


def _check_malformed(malformed: MalformedMessage, family: Family) -> Hashable:
    require(malformed.reason in REASONS, "reasons are few and fixed")
    require(malformed.reply is None or malformed.failed is None, "at most one of the two is set")
    if malformed.reply is not None:
        reply = codec.encode(malformed.reply)
        require(codec.decode_untrusted(reply, family) == malformed.reply, "what we send can be read")
    return malformed.reason, malformed.failed is None


def _concatenated(message: Message, family: Family) -> Message:
    """Return how a lone IPv6 peer over IPv4 is read: as three peers in one string, by intent."""
    if not isinstance(message, Response) or family is Family.IPV6 or len(message.values or ()) != 1:
        return message
    (peer,) = message.values or ()
    return message._replace(values=tuple(peer[at : at + 6] for at in range(0, len(peer), 6)))


class MetainfoTarget:
    """The promises of `metainfo`: one exception type, hashes of the original bytes, few bootstrap nodes."""

    name = "metainfo"
    life = 10_000

    def run(self, data: bytes) -> Hashable:
        try:
            metainfo = parse_metainfo(data)
        except InvalidTorrent as error:
            return str(error)[:24]
        require(1 <= len(metainfo.info_hashes) <= 2, "there is one info-hash or two")
        require(len(metainfo.nodes) <= MAX_NODES, "bootstrap nodes are few")
        require(all(split_host_port(node)[1] for node in metainfo.nodes), "bootstrap nodes can be queried")
        _compare_with_messages(data, metainfo)
        marks = _marks_in_details(data, metainfo)
        kinds = marks, metainfo.info_hash_v1 is None, metainfo.info_hash_v2 is None, metainfo.is_private
        return (*kinds, len(metainfo.nodes), len(metainfo.name).bit_length(), len(data).bit_length())

    def end(self) -> None:
        """Have nothing to look at: there is no state."""


def _marks_in_details(data: bytes, metainfo: Metainfo) -> Hashable:
    """Read all that a torrent says, and hold it to what its swarms are."""
    try:
        details = parse_details(data)
    except InvalidTorrent as error:
        return str(error)[:24]
    require(details.metainfo == metainfo, "both readers see the same swarms")
    require(details.size == sum(file.size for file in details.files if not file.is_padding), "sizes add up")
    return details.marks


def _compare_with_messages(data: bytes, metainfo: Metainfo) -> None:
    """Hold what is read of a canonical file to what the reader of messages sees in it."""
    try:
        value, is_canonical = bencode.decode_untrusted(data)
    except BencodeError:
        return  # its bounds are narrower
    info = value.get(b"info") if isinstance(value, dict) else None
    if is_canonical and isinstance(info, dict):
        original = bencode.encode(info)
        hash_v1 = sha1(original, usedforsecurity=False).digest()
        require(metainfo.info_hash_v1 in (None, hash_v1), "version 1 is the SHA-1")
        require(metainfo.info_hash_v2 in (None, sha256(original).digest()), "version 2 is the SHA-256")
        require(metainfo.is_private == (info.get(b"private", 0) != 0), "private is what is marked so")
