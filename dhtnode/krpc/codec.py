"""KRPC: datagrams to messages and back (BEP 5, 32, 33, 42, 43, 44).

Missing or wrong optional keys count as absent.  A fault in a required key of a query comes with the
error for its sender, one in a response with the transaction that it ends.  What cannot be correlated
is dropped without an error, or spoofed datagrams would make us a reflector.

The arguments of each method are in `methods`.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from dhtnode import bencode
from dhtnode.addresses import Address, Family, unpack_host
from dhtnode.bencode import BencodeError, Value
from dhtnode.ids import ID_BYTES, NodeId
from dhtnode.items import MAX_VALUE_BYTES, PUBLIC_KEY_BYTES, SIGNATURE_BYTES
from dhtnode.krpc.compact import pack_address, unpack_address
from dhtnode.krpc.malformed import MalformedMessage
from dhtnode.krpc.messages import GENERIC_ERROR, Error, Message, Query, Response
from dhtnode.krpc.methods import (
    METHOD_CODECS,
    METHOD_READERS,
    Fields,
    is_set,
    read_bytes,
    read_seq,
    read_token,
    read_unknown,
    refusal,
    require_id,
)
from dhtnode.krpc.scrape_filter import FILTER_BYTES

# `d1:t2:aa1:y1:re`, which has no contents yet.
MIN_MESSAGE_BYTES = 15
# Keys and values of a message that is not canonical; those of queries in use have up to 25, and of an
# answer none but a few are shorter than a peer, 8 bytes.
MAX_QUERY_ITEMS = 64
BYTES_PER_ITEM = 8
# 1 to 15 are in use; what we echo must not be the payload of a third party.
MAX_TRANSACTION_ID_BYTES = 64
# 4 by BEP 5.
MAX_VERSION_BYTES = 32
# bittorrent-dht answers with its whole table, 300 contacts.
MAX_NODES = 400
# A datagram of 64 KiB could have 10,000 in the old concatenated form.
MAX_VALUES = 2000
# 8 kB; 20 to 50 are usual.
MAX_SAMPLES = 400
MAX_NUM = 2**31 - 1
# Seconds, by BEP 51.
MAX_INTERVAL = 21_600
MAX_ERROR_CHARACTERS = 200
# Those in use have three digits; this fits wherever they are stored.
MAX_ERROR_CODE = 2**31 - 1


def decode_untrusted(data: bytes, family: Family) -> Message:
    """Read a datagram that came in over `family`; raise `MalformedMessage` and nothing else.

    Over IPv4, old clients put all peers into one string.
    """
    return read_fields(parse_untrusted(data, is_answer=True), family)


def parse_untrusted(data: bytes, *, is_answer: bool = False) -> Fields:
    """Read the dictionary of a datagram: the first half of `decode_untrusted`.

    What is not canonical may have more items in an answer than in a query.
    """
    if len(data) >= MIN_MESSAGE_BYTES and data[:1] == b"d":
        fields: Any = bencode.read_canonical_untrusted(data)
        if fields is not None:
            return fields  # type: ignore[no-any-return]  # it begins with d, so it is a dictionary
    return parse_tolerantly_untrusted(data, is_answer=is_answer)


def parse_tolerantly_untrusted(data: bytes, *, is_answer: bool = False) -> Fields:
    """Read the dictionary of a datagram that `bencode.read_canonical_untrusted` does not take."""
    if len(data) < MIN_MESSAGE_BYTES:
        raise MalformedMessage("too short")
    if data[:1] != b"d":
        raise MalformedMessage("no dictionary")
    max_items = MAX_QUERY_ITEMS + (len(data) // BYTES_PER_ITEM if is_answer else 0)
    try:
        decoded: Any = bencode.read_prefix_untrusted(data, max_items)[0]
    except BencodeError:
        raise MalformedMessage("bad bencoding") from None
    fields: Fields = decoded
    if fields.get(b"q") == b"put":
        _drop_inexact_value(fields, data)
    return fields


def _drop_inexact_value(fields: Fields, data: bytes) -> None:
    """Remove `v` from a `put` that is not canonical, so that it is refused (BEP 44)."""
    # The bytes that its sender hashed or signed are lost.  In a response that does not matter: the
    # item is compared with a hash or a signature.
    arguments = fields.get(b"a")
    if isinstance(arguments, dict) and bencode.encode(fields) != data:
        arguments.pop(b"v", None)


def read_fields(fields: Fields, family: Family) -> Message:
    """Read a message from its dictionary: the second half of `decode_untrusted`."""
    transaction_id = fields.get(b"t")
    if not isinstance(transaction_id, bytes) or len(transaction_id) > MAX_TRANSACTION_ID_BYTES:
        raise MalformedMessage("bad transaction id")
    kind = fields.get(b"y")
    if not isinstance(kind, bytes) or kind not in _READERS:
        raise MalformedMessage("bad type")
    return _READERS[kind](fields, transaction_id, family)


def encode(message: Message) -> bytes:
    """Return the datagram of a message, without the fields that are None and the flags not set."""
    return bencode.encode(_WRITERS[type(message)](message))


# Optional fields come first: they count as absent when they are wrong.


def _read_version(fields: Fields) -> bytes | None:
    version = fields.get(b"v")
    return version if isinstance(version, bytes) and len(version) <= MAX_VERSION_BYTES else None


def _read_external_address(fields: Fields) -> Address | None:
    # libtorrent also accepts an `ip` without a port (BEP 42).
    compact = fields.get(b"ip")
    if not isinstance(compact, bytes):
        return None
    return unpack_external(compact) if len(compact) in (4, 6, 16, 18) else None


# Nearly all answers have the same one.
@lru_cache(maxsize=16)
def unpack_external(compact: bytes) -> Address:
    """Read the address at which a node sees us: 4, 6, 16 or 18 bytes."""
    return unpack_address(compact) if len(compact) in (6, 18) else Address(unpack_host(compact), 0)


def _read_contacts(compact: Value | None, size: int) -> bytes | None:
    # A remainder is no reason to lose the whole contacts before it.
    if not isinstance(compact, bytes):
        return None
    return compact[: min(len(compact) // size, MAX_NODES) * size]


def _read_values(values: Value | None, family: Family) -> tuple[bytes, ...] | None:
    if not isinstance(values, list):
        return None
    if family is Family.IPV4 and len(values) == 1:
        values = _split_concatenated(values[0])
    peers = [value for value in values if isinstance(value, bytes) and len(value) in (6, 18)]
    return tuple(peers[:MAX_VALUES])


def _split_concatenated(peers: Value) -> list[Value]:
    """Split the one string of old mainline clients; a lone 18 bytes are three IPv4 peers."""
    # As in libtorrent.  So we lose a lone IPv6 peer over IPv4, which BEP 32 forbids unless requested.
    if not isinstance(peers, bytes) or len(peers) % 6:
        return []
    return [peers[at : at + 6] for at in range(0, len(peers), 6)]


def _read_filter(bloom: Value | None) -> bytes | None:
    return bloom if isinstance(bloom, bytes) and len(bloom) == FILTER_BYTES else None


def _read_value(value: Value | None) -> bytes | None:
    encoded = None if value is None else bencode.encode(value)
    return None if encoded is None or len(encoded) > MAX_VALUE_BYTES else encoded


def _read_query(fields: Fields, transaction_id: bytes, _family: Family) -> Query:
    name = fields.get(b"q")
    if not isinstance(name, bytes):
        raise refusal(transaction_id, "bad method name")
    arguments = fields.get(b"a")
    if not isinstance(arguments, dict):
        raise refusal(transaction_id, "bad arguments")
    node_id = NodeId(require_id(arguments.get(b"id"), transaction_id, "bad id"))
    method = METHOD_READERS.get(name, read_unknown)(arguments, transaction_id)
    return Query(transaction_id, node_id, method, _read_version(fields), is_set(fields.get(b"ro")))


def _read_response(fields: Fields, transaction_id: bytes, family: Family) -> Response | Error:
    results = fields.get(b"r")
    if not isinstance(results, dict):
        # bitmagnet answers with errors of type `r`.
        if b"e" in fields:
            return _read_error(fields, transaction_id, family)
        raise MalformedMessage("bad results", failed=transaction_id)
    node_id = results.get(b"id")
    if not isinstance(node_id, bytes) or len(node_id) != ID_BYTES:
        raise MalformedMessage("bad id", failed=transaction_id)
    node_id, nodes, token = NodeId(node_id), results.get(b"nodes"), results.get(b"token")
    contacts = None if nodes is None else _read_contacts(nodes, _CONTACT_BYTES)
    external, version = _read_external_address(fields), _read_version(fields)
    # A fast path for most answers, which have nothing else.
    if len(results) == 1 + (nodes is not None) + (token is not None):
        token = read_token(token)
        return Response(transaction_id, node_id, contacts, None, None, token, None, None, external, version)
    response = Response(
        transaction_id,
        node_id,
        contacts,
        _read_contacts(results.get(b"nodes6"), _CONTACT6_BYTES),
        _read_values(results.get(b"values"), family),
        read_token(token),
        # mldht and old versions of libtorrent write BFse.
        _read_filter(results.get(b"BFsd", results.get(b"BFse"))),
        _read_filter(results.get(b"BFpe")),
        external,
        version,
    )
    if not _ITEM_KEYS.isdisjoint(results):
        response = _with_item(response, results)
    return _with_samples(response, results) if b"samples" in results else response


def _with_samples(response: Response, results: Fields) -> Response:
    """Read a sample of info-hashes (BEP 51); a longer interval counts as the six hours allowed."""
    samples, num, interval = (results.get(key) for key in (b"samples", b"num", b"interval"))
    if not isinstance(samples, bytes):
        return response
    whole = min(len(samples) // ID_BYTES, MAX_SAMPLES) * ID_BYTES
    return response._replace(
        samples=samples[:whole],
        num=num if isinstance(num, int) and 0 <= num <= MAX_NUM else None,
        interval=max(0, min(interval, MAX_INTERVAL)) if isinstance(interval, int) else None,
    )


def _with_item(response: Response, results: Fields) -> Response:
    """Read an item, or the `seq` of one (BEP 44)."""
    return response._replace(
        value=_read_value(results.get(b"v")),
        public_key=read_bytes(results.get(b"k"), PUBLIC_KEY_BYTES),
        signature=read_bytes(results.get(b"sig"), SIGNATURE_BYTES),
        seq=read_seq(results.get(b"seq")),
    )


def _read_error(fields: Fields, transaction_id: bytes, _family: Family) -> Error:
    # Errors of any shape are accepted: that there is one matters more than its contents.
    match fields.get(b"e"):
        case [int(code), bytes(text)]:
            pass
        case [int(code)]:
            text = b""
        case bytes(text):
            code = GENERIC_ERROR
        case _:
            code, text = GENERIC_ERROR, b""
    return Error(
        transaction_id,
        code if 0 <= code <= MAX_ERROR_CODE else GENERIC_ERROR,
        text.decode("utf-8", "replace")[:MAX_ERROR_CHARACTERS],
        _read_external_address(fields),
        _read_version(fields),
    )


def _write_query(query: Query) -> Fields:
    codec = METHOD_CODECS[type(query.method)]
    arguments = codec.write(query.method)
    arguments[b"id"] = query.node_id
    fields: Fields = {b"a": arguments, b"q": codec.name, b"t": query.transaction_id, b"y": b"q"}
    if query.read_only:
        fields[b"ro"] = 1
    if query.version is not None:
        fields[b"v"] = query.version
    return fields


def _write_response(response: Response) -> Fields:
    # One `if` per key: a table of keys takes 1 us more, a quarter of the whole.
    results: Fields = {}
    if response.peers_filter is not None:
        results[b"BFpe"] = response.peers_filter
    if response.seeds_filter is not None:
        results[b"BFsd"] = response.seeds_filter
    results[b"id"] = response.node_id
    if response.public_key is not None:
        results[b"k"] = response.public_key
    if response.nodes is not None:
        results[b"nodes"] = response.nodes
    if response.nodes6 is not None:
        results[b"nodes6"] = response.nodes6
    if response.samples is not None:
        results |= _write_samples(response)
    if response.seq is not None:
        results[b"seq"] = response.seq
    if response.signature is not None:
        results[b"sig"] = response.signature
    if response.token is not None:
        results[b"token"] = response.token
    if response.value is not None:
        results[b"v"] = bencode.decode_canonical(response.value)
    if response.values is not None:
        results[b"values"] = list(response.values)
    return _write_reply(response, {b"r": results, b"y": b"r"})


def _write_samples(response: Response) -> Fields:
    numbers: Fields = {b"samples": response.samples or b""}
    if response.num is not None:
        numbers[b"num"] = response.num
    if response.interval is not None:
        numbers[b"interval"] = response.interval
    return numbers


def _write_error(error: Error) -> Fields:
    return _write_reply(error, {b"e": [error.code, error.text.encode()], b"y": b"e"})


def _write_reply(reply: Response | Error, fields: Fields) -> Fields:
    fields[b"t"] = reply.transaction_id
    if reply.external_address is not None:
        fields[b"ip"] = pack_address(reply.external_address)
    if reply.version is not None:
        fields[b"v"] = reply.version
    return fields


_READERS: dict[bytes, Callable[[Fields, bytes, Family], Message]] = {
    b"q": _read_query,
    b"r": _read_response,
    b"e": _read_error,
}
_WRITERS: dict[type[Message], Callable[[Any], Fields]] = {
    Query: _write_query,
    Response: _write_response,
    Error: _write_error,
}

_ITEM_KEYS = frozenset({b"k", b"seq", b"sig", b"v"})
_CONTACT_BYTES = Family.IPV4.contact_bytes
_CONTACT6_BYTES = Family.IPV6.contact_bytes
