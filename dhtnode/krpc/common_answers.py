"""The answers of nearly all nodes to `ping`, `find_node` and `get_peers`, read faster than by the codec."""

import re
from collections.abc import Callable
from functools import lru_cache
from struct import Struct, calcsize
from typing import TypeAlias

from dhtnode.addresses import Family
from dhtnode.ids import ID_BYTES, NodeId
from dhtnode.krpc.codec import unpack_external
from dhtnode.krpc.messages import Response
from dhtnode.krpc.scrape_filter import FILTER_BYTES

ReadCommon: TypeAlias = Callable[[bytes], Response | None]

CONTACTS = 8
"""Contacts that a node returns by BEP 5, where it knows as many."""

MOST_VALUES = 200
"""Peers in a common answer: a datagram that is not split holds fewer."""

_KEYS = {Family.IPV4: b"5:nodes", Family.IPV6: b"6:nodes6"}
_TOKEN = b"|".join(b"%d:.{%d}" % (size, size) for size in (8, 4, 20))
_FILTER = b"%d:(.{%d})" % (FILTER_BYTES, FILTER_BYTES)


def common_reader(family: Family) -> ReadCommon:
    """Return what reads an answer with 8 contacts of a family or none, and what is usual beside, or None.

    That are filters, a token and peers of the family.  What it reads is what the codec would have read, for
    a third of the time.
    """
    size, peer = CONTACTS * family.contact_bytes, family.address_bytes
    contacts = _KEYS[family], size, size
    # The port is that of the client, as libtorrent sees it.
    match = re.compile(
        rb"d(?:2:ip%d:(.{%d}))?1:rd(?:4:BFpe%b)?(?:4:BFsd%b)?2:id%d:(.{%d})(?:%b%d:(.{%d}))?"
        rb"(?:1:pi[1-9]\d{0,4}e)?(?:5:token(%b))?(?:6:valuesl((?:%d:.{%d}){1,%d})e)?e"
        rb"1:t4:(.{4})(?:1:v4:(.{4}))?1:y1:re"
        % (peer, peer, _FILTER, _FILTER, ID_BYTES, ID_BYTES, *contacts, _TOKEN, peer, peer, MOST_VALUES),
        re.DOTALL,
    ).fullmatch
    is_ipv6 = family is Family.IPV6

    def read(data: bytes) -> Response | None:
        found = match(data)
        if found is None:
            return None
        ip, leechers, seeds, node_id, nodes, token, values, transaction_id, version = found.groups()
        return Response(
            transaction_id,
            NodeId(node_id),
            None if is_ipv6 else nodes,
            nodes if is_ipv6 else None,
            None if values is None else _unpacker(len(values), peer)(values),
            None if token is None else token.partition(b":")[2],
            seeds,
            leechers,
            None if ip is None else unpack_external(ip),
            version,
        )

    return read


@lru_cache(maxsize=2 * MOST_VALUES)
def _unpacker(size: int, peer: int) -> Callable[[bytes], tuple[bytes, ...]]:
    """Return what takes a list of so many bytes, in bencode, apart into peers."""
    layout = f"{len(b'%d:' % peer)}x{peer}s"
    return Struct(layout * (size // calcsize(layout))).unpack
