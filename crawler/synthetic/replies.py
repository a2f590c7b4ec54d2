"""The bytes that a node of a synthetic network sends, as its kind of client would write them.

Written by hand instead of through the codec of `dhtnode`: a model must not share the mistakes of what
is measured with it, and a million answers should cost seconds.  Keys are in the order of bencode.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

from crawler.synthetic.kinds import KINDS, NodeKind
from crawler.synthetic.population import Population


@dataclass(slots=True)
class Exchange:
    """One query to a hostile node and the honest reply to it, which the styles of hostility change.

    `host` is the last 24 bits of the address asked; `target` is empty when the query has none.
    """

    population: Population
    host: int
    node_id: bytes
    transaction_id: bytes
    target: bytes
    reply: bytes
    random: Random


Sent: TypeAlias = list[tuple[bytes, int]]
"""Datagrams, each with the last 24 bits of the address that it leaves from."""

Style: TypeAlias = Callable[[Exchange], Sent]


def response(
    kind: int, source: bytes, node_id: bytes, transaction_id: bytes, after: bytes, before: bytes = b""
) -> bytes:
    """Return a response; `before` and `after` are the results whose keys sort before and after `id`.

    `source` are the 6 bytes of the address that queried.
    """
    tells_ip, end = _FRAMES[kind]
    return b"".join(
        (
            b"d2:ip6:%b1:rd" % source if tells_ip else b"d1:rd",
            before,
            b"2:id20:",
            node_id,
            after,
            b"e1:t%d:" % len(transaction_id),
            transaction_id,
            end,
        )
    )


def error(kind: int, source: bytes, transaction_id: bytes, code: int, text: bytes) -> bytes:
    """Return an error."""
    tells_ip, end = _FRAMES[kind]
    ip = b"2:ip6:%b" % source if tells_ip else b""
    start = b"d1:eli%de%d:%be%b1:t%d:%b" % (code, len(text), text, ip, len(transaction_id), transaction_id)
    return start + end[: -len(b"re")] + b"ee"


def nodes(contacts: bytes) -> bytes:
    """Return the result of find_node."""
    return b"5:nodes%d:%b" % (len(contacts), contacts)


def token_and_values(token: bytes, values: Sequence[bytes] | None) -> bytes:
    """Return the results of get_peers that sort behind the nodes; None leaves the values out."""
    results = b"5:token%d:%b" % (len(token), token)
    return results + b"6:valuesl%be" % b"".join([b"6:" + value for value in values]) if values else results


def filters(kind: NodeKind, seeds: bytes, leechers: bytes) -> bytes:
    """Return the filters of BEP 33."""
    results = b"4:BFpe256:" + leechers
    return results + b"4:BFsd256:" + seeds if kind.has_seeds_filter else results


def samples(interval: int, contacts: bytes, num: int, hashes: Sequence[bytes]) -> bytes:
    """Return the results of sample_infohashes (BEP 51)."""
    shown = b"".join(hashes)
    return b"8:intervali%de5:nodes%d:%b3:numi%de7:samples%d:%b" % (
        interval,
        len(contacts),
        contacts,
        num,
        len(shown),
        shown,
    )


def _frame(kind: NodeKind) -> tuple[bool, bytes]:
    version = b"" if kind.version is None else b"1:v%d:%b" % (len(kind.version), kind.version)
    return kind.tells_ip, version + b"1:y1:re"


_FRAMES = tuple(map(_frame, KINDS))
