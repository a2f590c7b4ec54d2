"""The five kinds of query that a server is asked, and what has to be stored there before."""

import random
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.load import RING, SOURCES, Target

STORED_SOURCES = tuple(f"127.2.1.{number}" for number in range(1, 101))
STORED_PORT = 6881
INFO_HASHES = RING // len(SOURCES)  # swarms that announce_peer announces to, from each source


def ping(_server: Target) -> tuple[list[dict[bytes, Any]], bytes | None]:
    """Return pings."""
    return [_query(b"ping", at % len(SOURCES)) for at in range(RING)], None


def find_node(_server: Target) -> tuple[list[dict[bytes, Any]], bytes | None]:
    """Return queries for random targets."""
    target = random.randbytes(20)
    return [_query(b"find_node", at % len(SOURCES), target=target) for at in range(RING)], target


def get_peers(_server: Target) -> tuple[list[dict[bytes, Any]], bytes | None]:
    """Return queries for random info-hashes, for which nothing is stored."""
    target = random.randbytes(20)
    return [_query(b"get_peers", at % len(SOURCES), info_hash=target) for at in range(RING)], target


def get_stored(server: Target) -> tuple[list[dict[bytes, Any]], bytes | None]:
    """Announce 100 peers for one info-hash, and return queries for it."""
    info_hash = random.randbytes(20)
    _announce(server, [(at, info_hash) for at in range(len(STORED_SOURCES))], STORED_SOURCES)
    return [_query(b"get_peers", at % len(SOURCES), info_hash=info_hash) for at in range(RING)], None


def announce_peer(server: Target) -> tuple[list[dict[bytes, Any]], bytes | None]:
    """Return announces with valid tokens; each source announces to the same info-hashes."""
    info_hashes = [random.randbytes(20) for _ in range(INFO_HASHES)]
    whom = [(at % len(SOURCES), info_hashes[at // len(SOURCES)]) for at in range(RING)]
    return _announce(server, whom, SOURCES), None


COLUMNS: dict[str, Callable[[Target], tuple[list[dict[bytes, Any]], bytes | None]]] = {
    "ping": ping,
    "find_node": find_node,
    "get_peers": get_peers,
    "get_peers, 100 stored": get_stored,
    "announce_peer": announce_peer,
}


def _announce(
    server: Target, whom: Sequence[tuple[int, bytes]], sources: Sequence[str]
) -> list[dict[bytes, Any]]:
    """Announce a peer from each source to its info-hash, with the token it gets; return the announces."""
    asked = [_query(b"get_peers", source, info_hash=info_hash) for source, info_hash in whom]
    answers = server.exchange(asked, sources)
    announces = [
        _query(
            b"announce_peer", source, info_hash=info_hash, port=STORED_PORT + source, token=answer[b"token"]
        )
        for (source, info_hash), answer in zip(whom, answers, strict=True)
    ]
    server.exchange(announces, sources)
    return announces


def _query(method: bytes, source: int, **arguments: bytes | int) -> dict[bytes, Any]:
    """Return a query of the node at a source, whose id is always the same."""
    body = {name.encode(): value for name, value in arguments.items()}
    return {b"a": {b"id": b"source%014d" % source} | body, b"q": method, b"y": b"q"}
