"""Answers read by the short way are what the codec makes of them."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dhtnode.addresses import Family
from dhtnode.bencode import encode
from dhtnode.krpc import codec
from dhtnode.krpc.common_answers import common_reader
from dhtnode.krpc.malformed import MalformedMessage
from tests.strategies import ids

COMPACT = {Family.IPV4: 26, Family.IPV6: 38}


def answer(family: Family, **other: object) -> dict[bytes, object]:
    """Return the fields of an answer as most nodes send it."""
    results = {b"id": b"i" * 20, b"nodes" if family is Family.IPV4 else b"nodes6": bytes(8 * COMPACT[family])}
    return {b"r": results, b"t": b"abcd", b"y": b"r"} | {key.encode(): other[key] for key in other}


def mutations() -> st.SearchStrategy[bytes]:
    """Return answers of the common shape, some with a part changed, left out or added."""

    def build(family, node_id, count, names, contact, found, ip, version, port, transaction_id, kind, cut):
        results = {b"id": node_id, names: contact * count} | found
        if not count:
            del results[names]
        if port is not None:
            results[b"p"] = port
        fields = {b"r": results, b"t": transaction_id, b"y": kind}
        fields |= {b"ip": ip} if ip is not None else {}
        fields |= {b"v": version} if version is not None else {}
        data = encode(fields)
        return family, data[: len(data) - cut]

    contact = st.sampled_from([b"\x01" * 26, b"e1:t4:" + bytes(20), b"\n" * 38, bytes(range(38))])
    packed = st.sampled_from([bytes(256), b"e" * 256, bytes(range(256)), bytes(255)])
    peer = st.binary(min_size=6, max_size=6) | st.binary(min_size=18, max_size=18) | st.binary(max_size=7)
    found = {
        b"BFpe": packed,
        b"BFsd": packed,
        b"token": st.binary(max_size=21) | st.sampled_from([b"6:values", b"e1:t", b"4:abcd"]) | st.just(7),
        b"values": st.lists(st.sampled_from([b"\x01" * 6, b"6:6:6:"]))
        | st.lists(peer, max_size=3)
        | st.just(b""),
    }
    return st.builds(
        build,
        st.sampled_from(Family),
        ids() | st.just(b"\n" * 20) | st.binary(max_size=21),
        st.sampled_from([8, 8, 8, 1, 0]),
        st.sampled_from([b"nodes", b"nodes", b"nodes6"]),
        contact,
        st.fixed_dictionaries({}, optional=found),
        st.none()
        | st.binary(min_size=6, max_size=6)
        | st.binary(min_size=18, max_size=18)
        | st.just(b"1234"),
        st.none() | st.binary(min_size=4, max_size=4) | st.binary(max_size=5),
        st.none() | st.integers(-1, 70_000),
        st.binary(min_size=4, max_size=4) | st.sampled_from([b"1:t4", b"", b"12345"]),
        st.sampled_from([b"r", b"r", b"r", b"q", b"e"]),
        st.sampled_from([0, 0, 0, 1]),
    )


@given(mutations())
@example((Family.IPV4, encode(answer(Family.IPV4, v=b"LT\x01\x02", ip=b"\x01\x02\x03\x04\x05\x06"))))
@example((Family.IPV6, encode(answer(Family.IPV6))))
def test_what_is_read_is_what_the_codec_reads(case):
    family, data = case
    found = common_reader(family)(data)
    if found is not None:
        assert found == codec.decode_untrusted(data, family)


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize(
    "other", [{}, {"v": b"LT\x01\x02"}, {"ip": b"\x01\x02\x03\x04\x05\x06"}, {"v": b"UT\n\n"}]
)
def test_answers_of_most_nodes_are_read(family, other):
    if "ip" in other:
        other = {"ip": other["ip"] * (1 if family is Family.IPV4 else 3)}
    data = encode(answer(family, **other))
    assert common_reader(family)(data) == codec.decode_untrusted(data, family)


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("token", [b"4444", b"8 bytes:", b"twenty bytes, as here"[:20]])
@pytest.mark.parametrize("left_out", ["BFpe", "BFsd", "values", "token", "nodes", None])
def test_answers_about_swarms_are_read(family, token, left_out):
    data = answer(family, v=b"LT\x01\x02")
    data[b"r"] |= {
        b"BFpe": bytes(range(256)),
        b"BFsd": bytes(256),
        b"token": token,
        b"values": [bytes([number]) * (6 if family is Family.IPV4 else 18) for number in range(100)],
    }
    data[b"r"].pop(
        b"nodes6" if left_out == "nodes" and family is Family.IPV6 else str(left_out).encode(), None
    )
    read = common_reader(family)(encode(data))
    assert read is not None
    assert read == codec.decode_untrusted(encode(data), family)


@pytest.mark.parametrize("family", Family)
def test_answers_to_pings_are_read(family):
    data = encode({b"r": {b"id": b"i" * 20}, b"t": b"abcd", b"v": b"LT\x01\x02", b"y": b"r"})
    assert common_reader(family)(data) == codec.decode_untrusted(data, family)


@pytest.mark.parametrize(
    "data",
    [
        encode(answer(Family.IPV6)),
        encode(answer(Family.IPV4, y=b"e")),
        encode(answer(Family.IPV4)) + b"e",
        encode(answer(Family.IPV4, v=b"five5")),
        encode(answer(Family.IPV4, r={b"id": b"i" * 20, b"token": b"three bytes"[:3]})),
        encode(answer(Family.IPV4, r={b"id": b"i" * 20, b"values": [b"\x01" * 18]})),
        encode(answer(Family.IPV4, r={b"id": b"i" * 20, b"values": []})),
        encode(answer(Family.IPV4, r={b"id": b"i" * 20, b"BFsd": bytes(255)})),
        b"",
    ],
)
def test_all_else_is_left_to_the_codec(data):
    assert common_reader(Family.IPV4)(data) is None


def test_what_is_cut_short_is_refused_by_both():
    data = encode(answer(Family.IPV4))[:-1]
    assert common_reader(Family.IPV4)(data) is None
    with pytest.raises(MalformedMessage):
        codec.decode_untrusted(data, Family.IPV4)
