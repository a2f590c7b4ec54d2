"""The five kinds of query that a server is asked, and what has to be stored there before.

Each first looks at one answer, and raises `BenchmarkFailed` if that is not what BEP 5 asks for.
"""

import random
import socket
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.tools.batched_udp import BenchmarkFailed
from benchmarks.tools.load import RING, SOURCES, Target

STORED_SOURCES = tuple(f"127.2.1.{number}" for number in range(1, 101))
STORED_PORT = 6881
INFO_HASHES = RING // len(SOURCES)  # swarms that announce_peer announces to, from each source
_ID = 20  # bytes
_CONTACT = 26  # bytes: a node id, an IPv4 address, a port


def ping(server: Target) -> tuple[list[dict[bytes, Any]], bytes | None]:
    """Return pings."""
    _answer(server, _query(b"ping", 0))
    return [_query(b"ping", at % len(SOURCES)) for at in range(RING)], None


def find_node(server: Target) -> tuple[list[dict[bytes, Any]], bytes | None]:
    """Return queries for random targets."""
    target = random.randbytes(20)
    _check_nodes(_answer(server, _query(b"find_node", 0, target=target)))
    return [_query(b"find_node", at % len(SOURCES), target=target) for at in range(RING)], target


def get_peers(server: Target) -> tuple[list[dict[bytes, Any]], bytes | None]:
    """Return queries for random info-hashes, for which nothing is stored."""
    target = random.randbytes(20)
    answer = _answer(server, _query(b"get_peers", 0, info_hash=target))
    _check_nodes(answer)
    if not answer.get(b"token"):
        raise BenchmarkFailed("an answer without a token")
    return [_query(b"get_peers", at % len(SOURCES), info_hash=target) for at in range(RING)], target


def get_stored(server: Target) -> tuple[list[dict[bytes, Any]], bytes | None]:
    """Announce 100 peers for one info-hash, and return queries for it."""
    _check_store(server)
    info_hash = random.randbytes(20)
    _announce(server, [(at, info_hash) for at in range(len(STORED_SOURCES))], STORED_SOURCES)
    return [_query(b"get_peers", at % len(SOURCES), info_hash=info_hash) for at in range(RING)], None


def announce_peer(server: Target) -> tuple[list[dict[bytes, Any]], bytes | None]:
    """Return announces with valid tokens; each source announces to the same info-hashes."""
    _check_store(server)
    info_hashes = [random.randbytes(20) for _ in range(INFO_HASHES)]
    pairs = [(at % len(SOURCES), info_hashes[at // len(SOURCES)]) for at in range(RING)]
    return _announce(server, pairs, SOURCES), None


COLUMNS: dict[str, Callable[[Target], tuple[list[dict[bytes, Any]], bytes | None]]] = {
    "ping": ping,
    "find_node": find_node,
    "get_peers": get_peers,
    "get_peers, 100 stored": get_stored,
    "announce_peer": announce_peer,
}


def _answer(server: Target, query: dict[bytes, Any]) -> dict[bytes, Any]:
    """Return the body of the answer to a query of the first source."""
    (body,) = server.exchange([query], SOURCES[:1])
    node_id = body.get(b"id", b"")
    if not isinstance(node_id, bytes) or len(node_id) != _ID or node_id == query[b"a"][b"id"]:
        raise BenchmarkFailed("an answer without the id of who answers")
    return body


def _check_nodes(answer: dict[bytes, Any]) -> None:
    nodes: bytes = answer.get(b"nodes", b"")
    contacts = [nodes[at : at + _CONTACT] for at in range(0, len(nodes), _CONTACT)]
    if not contacts or len(contacts[-1]) < _CONTACT:
        raise BenchmarkFailed("an answer without whole contacts of nodes")
    if not all(contact[-6] == 127 and any(contact[-2:]) for contact in contacts):
        raise BenchmarkFailed("an answer with wrong addresses of nodes")


def _check_store(server: Target) -> None:
    """Announce one peer, and ask for it."""
    info_hash = random.randbytes(20)
    _announce(server, [(0, info_hash)], SOURCES[:1])
    answer = _answer(server, _query(b"get_peers", 0, info_hash=info_hash))
    if answer.get(b"values") != [socket.inet_aton(SOURCES[0]) + STORED_PORT.to_bytes(2, "big")]:
        raise BenchmarkFailed("an answer without the one peer that was announced")


def _announce(
    server: Target, pairs: Sequence[tuple[int, bytes]], sources: Sequence[str]
) -> list[dict[bytes, Any]]:
    """Announce a peer from each source to its info-hash, with the token it gets; return the announces."""
    asked = [_query(b"get_peers", source, info_hash=info_hash) for source, info_hash in pairs]
    answers = server.exchange(asked, sources)
    if not all(answer.get(b"token") for answer in answers):
        raise BenchmarkFailed("an answer without a token")
    announces = [
        _query(
            b"announce_peer", source, info_hash=info_hash, port=STORED_PORT + source, token=answer[b"token"]
        )
        for (source, info_hash), answer in zip(pairs, answers, strict=True)
    ]
    server.exchange(announces, sources)
    return announces


def _query(method: bytes, source: int, **arguments: bytes | int) -> dict[bytes, Any]:
    """Return a query of the node at a source, whose id is always the same."""
    body = {name.encode(): value for name, value in arguments.items()}
    return {b"a": {b"id": b"source%014d" % source} | body, b"q": method, b"y": b"q"}
