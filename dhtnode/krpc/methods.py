"""The arguments of each query method, to and from a bencoded dictionary (BEP 5, 32, 33, 44).

A fault in a required argument comes with the error for the client; an optional one that is wrong
counts as absent.  `METHOD_CODECS` is the table of all methods.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from dhtnode.addresses import Family
from dhtnode.bencode import Value, decode_canonical, encode
from dhtnode.ids import ID_BYTES, InfoHash, NodeId
from dhtnode.items import (
    MAX_SALT_BYTES,
    MAX_SEQ,
    MAX_VALUE_BYTES,
    PUBLIC_KEY_BYTES,
    SIGNATURE_BYTES,
    ImmutableItem,
    MutableItem,
    Target,
)
from dhtnode.krpc.malformed import MalformedMessage, Reason
from dhtnode.krpc.messages import (
    METHOD_UNKNOWN,
    PROTOCOL_ERROR,
    SALT_TOO_BIG,
    VALUE_TOO_BIG,
    AnnouncePeer,
    Error,
    FindNode,
    Get,
    GetPeers,
    Method,
    Ping,
    Put,
    SampleInfohashes,
)

Fields: TypeAlias = dict[bytes, Value]
"""A bencoded dictionary."""

# 4 to 32 are in use.
MAX_TOKEN_BYTES = 128

_PING = Ping()
_WANT_FLAGS = ((Family.IPV4, b"n4"), (Family.IPV6, b"n6"))


def is_set(flag: Value | None) -> bool:
    """Return whether a flag is a non-zero integer."""
    # As in libtorrent; mldht accepts 1 only.
    return isinstance(flag, int) and flag != 0


def read_token(token: Value | None) -> bytes | None:
    """Return a token of a usable length, or None."""
    return token if isinstance(token, bytes) and 0 < len(token) <= MAX_TOKEN_BYTES else None


def refusal(
    transaction_id: bytes, reason: Reason, code: int = PROTOCOL_ERROR, text: str | None = None
) -> MalformedMessage:
    """Return the exception for a query that is answered with an error."""
    return MalformedMessage(reason, reply=Error(transaction_id, code, text or reason))


def require_id(value: Value | None, transaction_id: bytes, reason: Reason) -> bytes:
    """Return a value of 20 bytes, or refuse the query for that reason."""
    if isinstance(value, bytes) and len(value) == ID_BYTES:
        return value
    raise refusal(transaction_id, reason)


def _read_ping(_arguments: Fields, _transaction_id: bytes) -> Ping:
    return _PING


def _read_find_node(arguments: Fields, transaction_id: bytes) -> FindNode:
    target = NodeId(require_id(arguments.get(b"target"), transaction_id, "bad target"))
    return FindNode(target, _read_want(arguments))


def _read_get_peers(arguments: Fields, transaction_id: bytes) -> GetPeers:
    return GetPeers(
        InfoHash(require_id(arguments.get(b"info_hash"), transaction_id, "bad info_hash")),
        _read_want(arguments),
        noseed=is_set(arguments.get(b"noseed")),
        scrape=is_set(arguments.get(b"scrape")),
    )


def _read_announce_peer(arguments: Fields, transaction_id: bytes) -> AnnouncePeer:
    # With an implied port, bittorrent-dht sends port 0, and anacrolix none.
    info_hash = InfoHash(require_id(arguments.get(b"info_hash"), transaction_id, "bad info_hash"))
    token = read_token(arguments.get(b"token"))
    if token is None:
        raise refusal(transaction_id, "bad token")
    implied = is_set(arguments.get(b"implied_port"))
    port = arguments.get(b"port")
    if not isinstance(port, int) or not 0 < port <= 0xFFFF:
        if not implied:
            raise refusal(transaction_id, "bad port")
        port = 0
    return AnnouncePeer(info_hash, port, token, implied, is_set(arguments.get(b"seed")))


def read_seq(seq: Value | None) -> int | None:
    """Return a sequence number in the range of BEP 44, or None."""
    return seq if isinstance(seq, int) and 0 <= seq <= MAX_SEQ else None


def read_bytes(value: Value | None, size: int) -> bytes | None:
    """Return a string of exactly that many bytes, or None."""
    return value if isinstance(value, bytes) and len(value) == size else None


def _read_get(arguments: Fields, transaction_id: bytes) -> Get:
    target = Target(require_id(arguments.get(b"target"), transaction_id, "bad target"))
    return Get(target, _read_want(arguments), read_seq(arguments.get(b"seq")))


def _read_put(arguments: Fields, transaction_id: bytes) -> Put:
    # Without `k` and `sig` an item is immutable, and `seq` means nothing: anacrolix always sends one.
    value = arguments.get(b"v")
    if value is None:
        raise refusal(transaction_id, "bad v", text="no v, or not canonical bencode")
    encoded = encode(value)
    if len(encoded) > MAX_VALUE_BYTES:
        raise refusal(transaction_id, "v too big", VALUE_TOO_BIG)
    token = read_token(arguments.get(b"token"))
    if token is None:
        raise refusal(transaction_id, "bad token")
    if b"k" in arguments or b"sig" in arguments:
        return _read_mutable_put(arguments, transaction_id, encoded, token)
    try:
        return Put(ImmutableItem(encoded), token)
    except ValueError:
        raise refusal(transaction_id, "bad v") from None


def _read_mutable_put(arguments: Fields, transaction_id: bytes, value: bytes, token: bytes) -> Put:
    salt = arguments.get(b"salt", b"")
    if not isinstance(salt, bytes):
        raise refusal(transaction_id, "bad salt")
    if len(salt) > MAX_SALT_BYTES:
        raise refusal(transaction_id, "salt too big", SALT_TOO_BIG)
    public_key = read_bytes(arguments.get(b"k"), PUBLIC_KEY_BYTES)
    if public_key is None:
        raise refusal(transaction_id, "bad k")
    seq = read_seq(arguments.get(b"seq"))
    if seq is None:
        raise refusal(transaction_id, "bad seq")
    signature = read_bytes(arguments.get(b"sig"), SIGNATURE_BYTES)
    if signature is None:
        raise refusal(transaction_id, "bad sig")
    cas = arguments.get(b"cas")
    # Not as if it were absent, or the item could replace one that it must not.
    if cas is not None and not isinstance(cas, int):
        raise refusal(transaction_id, "bad cas")
    try:
        return Put(MutableItem(public_key, seq, value, signature, salt), token, cas)
    except ValueError:
        raise refusal(transaction_id, "bad v") from None


def read_unknown(arguments: Fields, transaction_id: bytes) -> FindNode:
    """Read an unknown method as find_node if it has a target, as libtorrent and mldht do."""
    for key in (b"target", b"info_hash"):
        target = arguments.get(key)
        if isinstance(target, bytes) and len(target) == ID_BYTES:
            return FindNode(NodeId(target), _read_want(arguments))
    raise refusal(transaction_id, "unknown method", METHOD_UNKNOWN, "Method Unknown")


def _read_want(arguments: Fields) -> frozenset[Family]:
    want = arguments.get(b"want")
    if not isinstance(want, list):
        return frozenset()
    return frozenset(family for family, flag in _WANT_FLAGS if flag in want)


def _write_ping(_ping: Ping) -> Fields:
    return {}


def _write_target(method: FindNode | SampleInfohashes) -> Fields:
    arguments: Fields = {b"target": method.target}
    if method.want:
        arguments[b"want"] = _write_want(method.want)
    return arguments


def _write_get_peers(method: GetPeers) -> Fields:
    arguments: Fields = {b"info_hash": method.info_hash}
    if method.noseed:
        arguments[b"noseed"] = 1
    if method.scrape:
        arguments[b"scrape"] = 1
    if method.want:
        arguments[b"want"] = _write_want(method.want)
    return arguments


def _write_announce_peer(method: AnnouncePeer) -> Fields:
    # The port is always there, because mldht does not support `implied_port`.
    arguments: Fields = {b"info_hash": method.info_hash, b"port": method.port, b"token": method.token}
    if method.implied_port:
        arguments[b"implied_port"] = 1
    if method.seed:
        arguments[b"seed"] = 1
    return arguments


def _write_get(method: Get) -> Fields:
    arguments: Fields = {b"target": method.target}
    if method.padding:
        arguments[b"padding"] = bytes(method.padding)
    if method.seq is not None:
        arguments[b"seq"] = method.seq
    if method.want:
        arguments[b"want"] = _write_want(method.want)
    return arguments


def _read_sample_infohashes(arguments: Fields, transaction_id: bytes) -> SampleInfohashes:
    target = NodeId(require_id(arguments.get(b"target"), transaction_id, "bad target"))
    return SampleInfohashes(target, _read_want(arguments))


def _write_put(method: Put) -> Fields:
    item = method.item
    arguments: Fields = {b"token": method.token, b"v": decode_canonical(item.value)}
    if isinstance(item, MutableItem):
        arguments |= {b"k": item.public_key, b"seq": item.seq, b"sig": item.signature}
        if item.salt:
            arguments[b"salt"] = item.salt
        if method.cas is not None:
            arguments[b"cas"] = method.cas
    return arguments


def _write_want(want: frozenset[Family]) -> list[Value]:
    return [flag for family, flag in _WANT_FLAGS if family in want]


class MethodCodec(NamedTuple):
    """The name of one method, and the functions that read and write its arguments."""

    name: bytes
    read: Callable[[Fields, bytes], Method]
    # Takes the method beside which it stands in the table.
    write: Callable[[Any], Fields]


METHOD_CODECS: dict[type[Method], MethodCodec] = {
    Ping: MethodCodec(b"ping", _read_ping, _write_ping),
    FindNode: MethodCodec(b"find_node", _read_find_node, _write_target),
    GetPeers: MethodCodec(b"get_peers", _read_get_peers, _write_get_peers),
    AnnouncePeer: MethodCodec(b"announce_peer", _read_announce_peer, _write_announce_peer),
    Get: MethodCodec(b"get", _read_get, _write_get),
    Put: MethodCodec(b"put", _read_put, _write_put),
    SampleInfohashes: MethodCodec(b"sample_infohashes", _read_sample_infohashes, _write_target),
}
METHOD_READERS = {codec.name: codec.read for codec in METHOD_CODECS.values()}
