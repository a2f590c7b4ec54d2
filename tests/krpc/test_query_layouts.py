"""Queries taken apart without being decoded."""

import pytest

from dhtnode.krpc.codec import encode
from dhtnode.krpc.messages import FindNode, GetPeers, Method, Ping, Query
from dhtnode.krpc.query_layouts import TELLING, Layout, query_layouts

SENDER, TARGET = b"s" * 20, b"t" * 20
METHODS = {b"ping": Ping(), b"find_node": FindNode(TARGET), b"get_peers": GetPeers(TARGET)}


def layout_of(data: bytes) -> Layout | None:
    return query_layouts().get(len(data), {}).get(data[TELLING])


@pytest.mark.parametrize("version", [None, b"LT\x01\x02"])
@pytest.mark.parametrize("transaction_id", [b"12345678"[:length] for length in range(1, 9)])
@pytest.mark.parametrize("name", METHODS)
def test_layout_of_a_query_is_what_the_codec_writes(
    name: bytes, transaction_id: bytes, version: bytes | None
) -> None:
    data = encode(Query(transaction_id, SENDER, METHODS[name], version))
    layout = layout_of(data)
    assert (layout.method, layout.transaction_id_bytes) == (name, len(transaction_id))
    parts = layout.unpack(data)
    targets = [] if name == b"ping" else [TARGET]
    versions = [] if version is None else [version]
    assert parts[::2] == layout.fixed
    assert list(parts[1::2]) == [SENDER, *targets, transaction_id, *versions]


@pytest.mark.parametrize(
    ("method", "options"),
    [
        (FindNode(TARGET, frozenset({4})), {}),
        (GetPeers(TARGET, noseed=True), {}),
        (GetPeers(TARGET, scrape=True), {}),
        (Ping(), {"read_only": True}),
        (Ping(), {"version": b"12345"}),
    ],
)
def test_query_with_anything_else_has_no_layout(method: Method, options: dict[str, bytes | bool]) -> None:
    for length in range(1, 9):
        data = encode(Query(b"12345678"[:length], SENDER, method, **options))
        layout = layout_of(data)
        assert layout is None or layout.unpack(data)[::2] != layout.fixed


def test_all_layouts_are_told_apart_by_size_and_one_byte() -> None:
    assert sum(len(layouts) for layouts in query_layouts().values()) == 3 * 8 * 2
