"""Our queries as they leave are what the codec would write."""

from hypothesis import given
from hypothesis import strategies as st

from dhtnode.krpc.codec import encode
from dhtnode.krpc.messages import Method, Query
from dhtnode.krpc.query_writer import QueryWriter
from tests.strategies import ids, methods


@given(
    st.lists(methods(), max_size=4),
    ids(),
    st.none() | st.binary(max_size=12),
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 3), st.binary(min_size=4, max_size=4)), max_size=8),
    st.lists(st.tuples(st.integers(0, 8), ids()), max_size=2),
)
def test_writer_and_codec_agree(
    asked: list[Method],
    node_id: bytes,
    version: bytes | None,
    read_only: bool,
    order: list[tuple[int, bytes]],
    renewals: list[tuple[int, bytes]],
) -> None:
    writer = QueryWriter(node_id, version=version, read_only=read_only)
    for step, (number, transaction_id) in enumerate(order):
        for at, renewed in renewals:
            if at == step:
                node_id = renewed
                writer.renew_id(renewed)
        if asked:
            method = asked[number % len(asked)]
            expected = encode(Query(transaction_id, node_id, method, version, read_only))
            assert writer.write(method, transaction_id) == expected
