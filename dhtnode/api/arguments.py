"""Arguments that take more than a look: torrents, whose files are read, and methods of queries."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias, get_args

import trio

from dhtnode.addresses import Family
from dhtnode.arguments import check_bytes, check_type, check_whole
from dhtnode.errors import InvalidArgument
from dhtnode.ids import ID_BYTES, InfoHash
from dhtnode.items import MAX_SEQ, ImmutableItem, MutableItem
from dhtnode.krpc.messages import Method
from dhtnode.krpc.methods import MAX_TOKEN_BYTES
from dhtnode.metainfo import Metainfo, is_path, public_info_hash

Torrent: TypeAlias = InfoHash | Metainfo | Path | str
"""A swarm as callers may give it: a text is an info-hash, a magnet link, or the path of a `.torrent`."""

MAX_PADDING = 1000
_FAMILIES = frozenset(Family)


async def swarm_of(torrent: Torrent) -> InfoHash:
    """Return the info-hash of a public torrent; a file is read in a thread.  Raises as `public_info_hash`."""
    if is_path(torrent):
        return await trio.to_thread.run_sync(public_info_hash, torrent)
    return public_info_hash(torrent)


def check_seq(name: str, value: object) -> None:
    """Raise `InvalidArgument` unless a value is a `seq` of a mutable item, or None."""
    if value is not None:
        check_whole(name, value, 0, MAX_SEQ)


def check_item(item: object) -> None:
    """Raise `InvalidArgument` unless a value is an item."""
    check_type("item", item, ImmutableItem, MutableItem)


def check_method(method: object) -> None:
    """Raise `InvalidArgument` unless a value is a method whose arguments are what their names say."""
    checks = _CHECKS_OF.get(type(method))
    if checks is None:
        raise InvalidArgument(f"a method is one of krpc.messages, not a {type(method).__name__}")
    for name, check in checks:
        check(getattr(method, name))


def _check_want(want: object) -> None:
    check_type("want", want, frozenset)
    if isinstance(want, frozenset) and not want <= _FAMILIES:
        raise InvalidArgument("want has families only")


def _check_flag(name: str, flag: object) -> None:
    check_type(name, flag, bool)


_CHECKS: dict[str, Callable[[object], None]] = {
    "target": lambda target: check_bytes("target", target, ID_BYTES, ID_BYTES),
    "info_hash": lambda info_hash: check_bytes("info_hash", info_hash, ID_BYTES, ID_BYTES),
    "token": lambda token: check_bytes("token", token, 1, MAX_TOKEN_BYTES),
    "port": lambda port: check_whole("port", port, 1, 65535),
    "padding": lambda padding: check_whole("padding", padding, 0, MAX_PADDING),
    "want": _check_want,
    "item": check_item,
    **{name: partial(_check_flag, name) for name in ("noseed", "scrape", "implied_port", "seed")},
    "seq": partial(check_seq, "seq"),
    "cas": partial(check_seq, "cas"),
}

_CHECKS_OF: dict[type, list[tuple[str, Callable[[object], None]]]] = {
    kind: [(name, _CHECKS[name]) for name in kind.__slots__ if name in _CHECKS] for kind in get_args(Method)
}
