"""The KRPC codec against the published messages, the odd packets and any bytes at all."""

import json
from hashlib import sha1
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from dhtnode import bencode
from dhtnode.addresses import Address, Contact, Family, parse_address
from dhtnode.items import ImmutableItem, MutableItem
from dhtnode.krpc.codec import decode_untrusted, encode
from dhtnode.krpc.compact import pack_contact
from dhtnode.krpc.malformed import MalformedMessage, Reason
from dhtnode.krpc.messages import (
    AnnouncePeer,
    Error,
    FindNode,
    Get,
    GetPeers,
    Ping,
    Put,
    Query,
    Response,
    SampleInfohashes,
)
from tests.strategies import bencode_values, messages, survives_ipv4

VECTORS = Path(__file__).parents[1] / "vectors"


def load(name):
    content = json.loads((VECTORS / name).read_text())
    return content.get("vectors") or content.get("messages") or content["cases"]


PUBLISHED = [*load("bep05_krpc.json"), *load("bep32_krpc.json"), *load("bep44_items.json")]
SAMPLES = load("bep51_sample.json")
MALFORMED = load("krpc_malformed.json")

ALICE = b"abcdefghij0123456789"
BOB = b"0123456789abcdefghij"
TARGET = b"mnopqrstuvwxyz123456"
TOKEN = b"aoeusnth"
EIGHT_NODES = b"".join(
    pack_contact(Contact(bytes([0x10 * n]) * 20, Address(f"192.0.2.{n + 1}", 6881 + n))) for n in range(8)
)
EIGHT_NODES6 = b"".join(
    pack_contact(Contact(bytes([0x10 * n + 1]) * 20, Address(f"2001:db8::{n + 1}", 6881 + n)))
    for n in range(8)
)
IP = parse_address("203.0.113.7:51413")
PEER_5 = bytes.fromhex("c63364051ae1")
PEER_6 = bytes.fromhex("c63364061ae2")
PEER_99 = bytes.fromhex("20010db80000000000000000000000991ae1")
HELLO = ImmutableItem(b"12:Hello World!")
SIGNED, SALTED = (
    MutableItem(
        bytes.fromhex(case["k"]), 1, HELLO.value, bytes.fromhex(case["sig"]), bytes.fromhex(case["salt_hex"])
    )
    for case in json.loads((VECTORS / "bep44_items.json").read_text())["mutable_published"]
)

EXPECTED = {
    "error_generic": Error(b"aa", 201, "A Generic Error Ocurred"),
    "ping_query": Query(b"aa", ALICE, Ping()),
    "ping_response": Response(b"aa", TARGET),
    "find_node_query": Query(b"aa", ALICE, FindNode(TARGET)),
    "find_node_response": Response(b"aa", BOB, nodes=b""),
    "get_peers_query": Query(b"aa", ALICE, GetPeers(TARGET)),
    "get_peers_response_values": Response(b"aa", ALICE, values=(b"axje.u", b"idhtnm"), token=TOKEN),
    "get_peers_response_nodes": Response(b"aa", ALICE, nodes=b"", token=TOKEN),
    "announce_peer_query": Query(b"aa", ALICE, AnnouncePeer(TARGET, 6881, TOKEN, implied_port=True)),
    "announce_peer_response": Response(b"aa", TARGET),
    "find_node_response_8_nodes": Response(b"aa", BOB, nodes=EIGHT_NODES),
    "get_peers_response_values_and_nodes": Response(
        b"aa",
        BOB,
        nodes=EIGHT_NODES,
        values=(PEER_5, PEER_6),
        token=TOKEN,
        external_address=IP,
        version=b"XX01",
    ),
    "error_protocol": Error(b"aa", 203, "Protocol Error"),
    "error_method_unknown": Error(b"aa", 204, "Method Unknown"),
    "error_with_r_too": Error(b"aa", 203, "invalid token", external_address=IP, version=b"LT\x02\x10"),
    "announce_implied_port_0": Query(b"aa", ALICE, AnnouncePeer(TARGET, 6881, TOKEN)),
    "announce_seed": Query(b"aa", ALICE, AnnouncePeer(TARGET, 6881, TOKEN, seed=True)),
    "get_peers_noseed_scrape": Query(b"aa", ALICE, GetPeers(TARGET, noseed=True, scrape=True)),
    "get_peers_response_scrape": Response(
        b"aa", BOB, nodes=EIGHT_NODES, token=TOKEN, seeds_filter=bytes(256), peers_filter=bytes(256)
    ),
    "ping_read_only": Query(b"aa", ALICE, Ping(), read_only=True),
    "get_peers_no_token_response": Response(b"aa", BOB, nodes=EIGHT_NODES),
    "find_node_want_both": Query(b"aa", ALICE, FindNode(TARGET, frozenset(Family))),
    "get_peers_want_n6": Query(b"aa", ALICE, GetPeers(TARGET, frozenset({Family.IPV6}))),
    "get_peers_want_unknown_flag": Query(b"aa", ALICE, GetPeers(TARGET, frozenset({Family.IPV4}))),
    "get_peers_want_empty": Query(b"aa", ALICE, GetPeers(TARGET)),
    "find_node_response_both": Response(b"aa", BOB, nodes=EIGHT_NODES, nodes6=EIGHT_NODES6),
    "get_peers_response_over_ipv6": Response(
        b"aa",
        BOB,
        nodes6=EIGHT_NODES6,
        values=(PEER_99,),
        token=TOKEN,
        external_address=parse_address("[2001:db8::7]:51413"),
    ),
    "get_immutable": Query(b"aa", ALICE, Get(HELLO.target())),
    "get_mutable_seq": Query(b"aa", ALICE, Get(SIGNED.target(), seq=1)),
    "get_response_mutable": Response(
        b"aa",
        BOB,
        nodes=EIGHT_NODES,
        token=TOKEN,
        value=HELLO.value,
        public_key=SIGNED.public_key,
        signature=SIGNED.signature,
        seq=1,
    ),
    "get_response_seq_not_newer": Response(b"aa", BOB, nodes=EIGHT_NODES, token=TOKEN, seq=1),
    "put_immutable": Query(b"aa", ALICE, Put(HELLO, TOKEN)),
    "put_mutable": Query(b"aa", ALICE, Put(SIGNED, TOKEN)),
    "put_mutable_salt_cas": Query(b"aa", ALICE, Put(SALTED, TOKEN, cas=0)),
    "error_205": Error(b"aa", 205, "message (v field) too big"),
    "error_206": Error(b"aa", 206, "invalid signature"),
    "error_207": Error(b"aa", 207, "salt (salt field) too big"),
    "error_301": Error(b"aa", 301, "CAS mismatch, re-read value and try again"),
    "error_302": Error(b"aa", 302, "sequence number less than current"),
    "get_peers_response_hybrid_values": Response(b"aa", BOB, values=(PEER_5, PEER_99), token=TOKEN),
}

# What these hold besides is not in our messages, so it is not written again.
NOT_WRITTEN_THE_SAME = {
    "find_node_response": "nodes is a placeholder of 9 bytes",
    "get_peers_response_nodes": "nodes is a placeholder of 9 bytes",
    "error_with_r_too": "the r of an error is ignored",
    "announce_implied_port_0": "a flag that is not set is left out",
    "get_peers_want_unknown_flag": "unknown families are ignored",
    "get_peers_want_empty": "an empty want is as good as none",
}


def family_of(case):
    return Family.IPV6 if "over_ipv6" in case["name"] else Family.IPV4


@pytest.mark.parametrize("case", PUBLISHED, ids=lambda case: case["name"])
def test_published_message_is_read_in_full(case):
    """Each message of BEP 5 and BEP 32 decodes to all that it says."""
    message = decode_untrusted(bytes.fromhex(case["hex"]), family_of(case))
    assert message == EXPECTED[case["name"]]


@pytest.mark.parametrize("case", PUBLISHED, ids=lambda case: case["name"])
def test_published_message_is_written_byte_for_byte(case):
    data = bytes.fromhex(case["hex"])
    written = encode(EXPECTED[case["name"]])
    assert (written != data) == (case["name"] in NOT_WRITTEN_THE_SAME)
    assert decode_untrusted(written, family_of(case)) == EXPECTED[case["name"]]


# The actions of krpc_malformed.json, as far as the codec decides them.


def dropped(data):
    """Check that a packet is refused and neither answered nor the end of a call."""
    with pytest.raises(MalformedMessage) as caught:
        decode_untrusted(data, Family.IPV4)
    assert caught.value.reply is None
    assert caught.value.failed is None


def call_failed(data):
    with pytest.raises(MalformedMessage) as caught:
        decode_untrusted(data, Family.IPV4)
    assert caught.value.reply is None
    assert caught.value.failed == b"aa"


def refused_with(code):
    def check(data):
        with pytest.raises(MalformedMessage) as caught:
            decode_untrusted(data, Family.IPV4)
        assert caught.value.failed is None
        assert caught.value.reply is not None
        assert (caught.value.reply.transaction_id, caught.value.reply.code) == (b"aa", code)
        assert caught.value.reply.text

    return check


def reads_as(expected):
    def check(data):
        assert decode_untrusted(data, Family.IPV4) == expected

    return check


def is_query(data):
    """Check that a packet decodes to a query with the transaction id that stands in it."""
    query = decode_untrusted(data, Family.IPV4)
    assert isinstance(query, Query)
    assert b"1:t%d:%s1:" % (len(query.transaction_id), query.transaction_id) in data


IMPLIED = "accept with the source port if the token is good"
CHECKS = {
    "drop": dropped,
    "drop or ignore the key": reads_as(Query(b"aa", ALICE, Ping())),
    "error 203": refused_with(203),
    "error 204": refused_with(204),
    "answer": is_query,
    "answer, echo t": is_query,
    "answer, echo empty t": reads_as(Query(b"", ALICE, Ping())),
    "answer, never add to the table": reads_as(Query(b"aa", bytes(20), Ping())),
    "answer as find_node": reads_as(Query(b"aa", ALICE, FindNode(TARGET))),
    "answer, ignore want": reads_as(Query(b"aa", ALICE, GetPeers(TARGET))),
    "ignore implied_port, use port": reads_as(Query(b"aa", ALICE, AnnouncePeer(TARGET, 6881, TOKEN))),
    "ignore; count as a failure of that call if t and address match": call_failed,
    "ignore; call failed": call_failed,
    "keep id and token, ignore nodes (or take the first 26)": reads_as(Response(b"aa", BOB, nodes=b"n" * 26)),
    "ignore values": reads_as(Response(b"aa", BOB, token=b"x")),
    "over IPv4: three peers": reads_as(Response(b"aa", BOB, token=b"x", values=(b"ABCDpp",) * 3)),
    "keep 6 (and 18), skip the others": reads_as(
        Response(b"aa", BOB, token=b"x", values=(b"p" * 6, b"p" * 18))
    ),
    "use nodes, never announce there": reads_as(Response(b"aa", BOB, nodes=EIGHT_NODES)),
    "as if missing": reads_as(Response(b"aa", BOB, nodes=EIGHT_NODES)),
    "treat as error 201 with that text": reads_as(Error(b"aa", 201, "bad")),
    "treat as error 203 with no text": reads_as(Error(b"aa", 203, "")),
    "treat as an error": reads_as(Error(b"aa", 204, "method Unknown")),
}

# One action stands for several messages, or the codec is not the one to decide.
CHECKS_BY_NAME = {
    "announce no port but implied_port 1": reads_as(
        Query(b"aa", ALICE, AnnouncePeer(TARGET, 0, TOKEN, implied_port=True))
    ),
    "announce port 0 implied 1": reads_as(
        Query(b"aa", ALICE, AnnouncePeer(TARGET, 0, TOKEN, implied_port=True))
    ),
    "announce implied_port 2": reads_as(
        Query(b"aa", ALICE, AnnouncePeer(TARGET, 6881, TOKEN, implied_port=True))
    ),
    # Only the responder knows its tokens.
    "announce wrong token": reads_as(Query(b"aa", ALICE, AnnouncePeer(TARGET, 6881, b"xxxxxxxx"))),
    # Only the transactions know what is pending.
    "response unknown t": reads_as(Response(b"zz", BOB)),
}


@pytest.mark.parametrize("case", MALFORMED, ids=lambda case: case["name"])
def test_odd_packet_leads_to_its_action(case):
    check = CHECKS_BY_NAME.get(case["name"]) or CHECKS[case["action"]]
    check(bytes.fromhex(case["hex"]))


def test_every_action_has_a_case():
    assert set(CHECKS) | {IMPLIED} == {case["action"] for case in MALFORMED}
    assert set(CHECKS_BY_NAME) <= {case["name"] for case in MALFORMED}
    assert set(EXPECTED) == {case["name"] for case in PUBLISHED}


def response(**results):
    fields = {key.encode(): value for key, value in results.items()}
    return bencode.encode({b"r": {b"id": BOB} | fields, b"t": b"aa", b"y": b"r"})


def query(name, **arguments):
    fields = {key.encode(): value for key, value in arguments.items()}
    return bencode.encode({b"a": {b"id": ALICE} | fields, b"q": name, b"t": b"aa", b"y": b"q"})


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ({"nodes": 5, "nodes6": [b"n" * 38]}, Response(b"aa", BOB)),
        ({"nodes6": b"n" * 77}, Response(b"aa", BOB, nodes6=b"n" * 76)),
        ({"nodes": b"n" * 26 * (401)}, Response(b"aa", BOB, nodes=b"n" * 26 * 400)),
        ({"token": b""}, Response(b"aa", BOB)),
        ({"token": b"t" * 128}, Response(b"aa", BOB, token=b"t" * 128)),
        ({"token": b"t" * 129}, Response(b"aa", BOB)),
        ({"BFsd": b"s" * 256, "BFpe": b"p" * 255}, Response(b"aa", BOB, seeds_filter=b"s" * 256)),
        ({"BFse": b"s" * 256}, Response(b"aa", BOB, seeds_filter=b"s" * 256)),
        ({"BFsd": b"d" * 256, "BFse": b"e" * 256}, Response(b"aa", BOB, seeds_filter=b"d" * 256)),
        ({"values": []}, Response(b"aa", BOB, values=())),
        ({"v": b"v" * 996}, Response(b"aa", BOB, value=b"996:" + b"v" * 996)),
        ({"v": b"v" * 997}, Response(b"aa", BOB)),
        ({"v": {b"b": 1, b"a": [0]}}, Response(b"aa", BOB, value=b"d1:ali0ee1:bi1ee")),
        ({"k": b"k" * 31, "sig": b"s" * 65, "seq": -1}, Response(b"aa", BOB)),
        ({"k": 1, "sig": [], "seq": 1 << 63}, Response(b"aa", BOB)),
        ({"k": b"k" * 32, "seq": 0}, Response(b"aa", BOB, public_key=b"k" * 32, seq=0)),
        ({"values": [b"p" * 13]}, Response(b"aa", BOB, values=())),
        ({"values": [b""]}, Response(b"aa", BOB, values=())),
        ({"values": [b"p" * 6 * (2001)]}, Response(b"aa", BOB, values=(b"p" * 6,) * 2000)),
        ({"values": [b"p" * 6] * (2001)}, Response(b"aa", BOB, values=(b"p" * 6,) * 2000)),
    ],
)
def test_wrong_result_counts_as_absent_or_is_cut(results, expected):
    assert decode_untrusted(response(**results), Family.IPV4) == expected


def test_lone_18_byte_peer_is_one_peer_over_ipv6():
    data = response(values=[PEER_99])
    assert decode_untrusted(data, Family.IPV6) == Response(b"aa", BOB, values=(PEER_99,))


@pytest.mark.parametrize(
    ("compact", "address"),
    [
        (b"\xcb\x00\x71\x07\xc8\xd5", IP),
        (b"\xcb\x00\x71\x07", Address("203.0.113.7", 0)),
        (PEER_99, Address("2001:db8::99", 6881)),
        (PEER_99[:16], Address("2001:db8::99", 0)),
        (b"\xcb\x00\x71\x07\xc8", None),
        (b"", None),
        (7, None),
    ],
)
def test_external_address_is_read_with_or_without_port(compact, address):
    reply = {b"ip": compact, b"t": b"aa"}
    good = bencode.encode(reply | {b"r": {b"id": BOB}, b"y": b"r"})
    bad = bencode.encode(reply | {b"e": [202, b"full"], b"y": b"e"})
    assert decode_untrusted(good, Family.IPV4) == Response(b"aa", BOB, external_address=address)
    assert decode_untrusted(bad, Family.IPV4) == Error(b"aa", 202, "full", external_address=address)


@pytest.mark.parametrize(
    ("version", "expected"),
    [(b"LT\x02\x10", b"LT\x02\x10"), (b"v" * 32, b"v" * 32), (b"v" * 33, None), (4, None)],
)
def test_version_is_kept_unless_it_is_long(version, expected):
    for fields in ({b"r": {b"id": BOB}, b"y": b"r"}, {b"e": [201, b""], b"y": b"e"}):
        data = bencode.encode(fields | {b"t": b"aa", b"v": version})
        assert decode_untrusted(data, Family.IPV4).version == expected
    data = encode(Query(b"aa", ALICE, Ping())).replace(
        b"1:y1:q", b"1:v" + bencode.encode(version) + b"1:y1:q"
    )
    assert decode_untrusted(data, Family.IPV4).version == expected


@pytest.mark.parametrize(
    ("flag", "is_set"), [(1, True), (2, True), (-1, True), (0, False), (b"1", False), ([], False)]
)
def test_any_integer_but_zero_sets_a_flag(flag, is_set):
    announce = query(b"announce_peer", info_hash=TARGET, port=1, token=TOKEN, seed=flag, implied_port=flag)
    get_peers = query(b"get_peers", info_hash=TARGET, noseed=flag, scrape=flag)
    ping = bencode.encode({b"a": {b"id": ALICE}, b"q": b"ping", b"ro": flag, b"t": b"aa", b"y": b"q"})
    assert [decode_untrusted(data, Family.IPV4) for data in (announce, get_peers, ping)] == [
        Query(b"aa", ALICE, AnnouncePeer(TARGET, 1, TOKEN, implied_port=is_set, seed=is_set)),
        Query(b"aa", ALICE, GetPeers(TARGET, noseed=is_set, scrape=is_set)),
        Query(b"aa", ALICE, Ping(), read_only=is_set),
    ]


@pytest.mark.parametrize("want", [[b"n6", [], {}, 6, b"n6"], [b"n6"], [b"N4", b"n6"]])
def test_unknown_entries_of_want_are_ignored(want):
    data = query(b"find_node", target=TARGET, want=want)
    expected = FindNode(TARGET, frozenset({Family.IPV6}))
    assert decode_untrusted(data, Family.IPV4) == Query(b"aa", ALICE, expected)


@pytest.mark.parametrize("port", [0, -1, 65536, 10**19, b"6881", []])
def test_implied_port_makes_up_for_any_port(port):
    data = query(b"announce_peer", info_hash=TARGET, port=port, token=TOKEN, implied_port=1)
    expected = AnnouncePeer(TARGET, 0, TOKEN, implied_port=True)
    assert decode_untrusted(data, Family.IPV4) == Query(b"aa", ALICE, expected)


@pytest.mark.parametrize("port", [1, 65535])
def test_smallest_and_largest_port_are_accepted(port):
    data = query(b"announce_peer", info_hash=TARGET, port=port, token=TOKEN)
    assert decode_untrusted(data, Family.IPV4) == Query(b"aa", ALICE, AnnouncePeer(TARGET, port, TOKEN))


@pytest.mark.parametrize(
    ("contents", "code", "text"),
    [
        ([202, "sérvice".encode()], 202, "sérvice"),
        ([202, b"\xff!"], 202, "\ufffd!"),
        ([202, "é".encode() * 201], 202, "é" * 200),
        ([2**31 - 1, b"x"], 2**31 - 1, "x"),
        ([2**31, b"x"], 201, "x"),
        ([-1, b"x"], 201, "x"),
        ([b"203", b"x"], 201, ""),
        ([b"x", 203], 201, ""),
        ([203, 5], 201, ""),
        ([203, b"x", b"y"], 201, ""),
        ([], 201, ""),
        (203, 201, ""),
        ({}, 201, ""),
        (b"", 201, ""),
    ],
)
def test_error_of_any_shape_is_an_error(contents, code, text):
    data = bencode.encode({b"e": contents, b"t": b"aa", b"y": b"e"})
    assert decode_untrusted(data, Family.IPV4) == Error(b"aa", code, text)


def test_error_without_contents_is_an_error():
    assert decode_untrusted(b"d1:t2:aa1:y1:ee", Family.IPV4) == Error(b"aa", 201, "")


def test_refusal_of_an_unknown_method_uses_the_words_of_bep_5():
    """The reply to an unknown method is the error that BEP 5 prints."""
    with pytest.raises(MalformedMessage) as caught:
        decode_untrusted(query(b"vote"), Family.IPV4)
    assert caught.value.reason == "unknown method"
    assert encode(caught.value.reply) == b"d1:eli204e14:Method Unknowne1:t2:aa1:y1:ee"


def test_reply_with_the_whole_table_of_bittorrent_dht_is_read():
    """A reply of 8 kB with 300 contacts and 100 peers is taken as it is."""
    whole = Response(b"aaaa", BOB, nodes=b"n" * 26 * 300, values=(b"peer01",) * 100, token=TOKEN)
    data = encode(whole)
    assert len(data) > 8000
    assert decode_untrusted(data, Family.IPV4) == whole


@pytest.mark.slow
@given(messages())
def test_any_message_survives_a_round_trip(message):
    data = encode(message)
    assert decode_untrusted(data, Family.IPV6) == message
    assert bencode.decode_untrusted(data).canonical


@given(messages().filter(survives_ipv4))
def test_family_matters_only_for_a_lone_long_peer(message):
    assert decode_untrusted(encode(message), Family.IPV4) == message


def check_any_bytes(data):
    """Check that bytes decode, to a message that survives a round trip, or raise as documented."""
    for family in Family:
        try:
            message = decode_untrusted(data, family)
        except MalformedMessage as malformed:
            assert malformed.reason in get_args(Reason)
            assert malformed.reply is None or malformed.failed is None
            if malformed.reply is not None:
                assert decode_untrusted(encode(malformed.reply), family) == malformed.reply
            continue
        if family is Family.IPV6 or survives_ipv4(message):
            assert decode_untrusted(encode(message), family) == message


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda rest: b"d1:t2:aa1:y1:" + rest))
@example(b"d1:ai1e-6:1:t2:aa1:y1:qe")
def test_any_bytes_decode_or_raise_one_error(data):
    check_any_bytes(data)


KEYS = [b"a", b"e", b"ip", b"q", b"r", b"ro", b"t", b"v", b"y"]
INNER_KEYS = [b"id", b"target", b"info_hash", b"port", b"token", b"want", b"seed", b"implied_port", b"BFsd"]
INNER_KEYS += [b"nodes", b"nodes6", b"values", b"BFse", b"BFpe", b"noseed", b"scrape"]
NAMES = st.sampled_from([b"q", b"r", b"e", b"ping", b"find_node", b"get_peers", b"announce_peer", b"vote"])


@pytest.mark.slow
@given(
    st.dictionaries(
        st.sampled_from(KEYS),
        NAMES
        | bencode_values()
        | st.dictionaries(
            st.sampled_from(INNER_KEYS),
            st.binary(min_size=20, max_size=20) | bencode_values() | st.integers(0, 2),
        ),
    )
)
def test_any_dictionary_decodes_or_raises_one_error(fields):
    """Known keys with values of any type lead to a message or to MalformedMessage."""
    check_any_bytes(bencode.encode(fields))


@given(messages(), st.sampled_from(INNER_KEYS + KEYS), bencode_values())
def test_any_field_may_hold_any_value(message, key, value):
    fields = bencode.decode_untrusted(encode(message)).value
    holder = fields if key in KEYS else fields.get(b"a") or fields.get(b"r")
    assume(holder is not None)
    holder[key] = value
    check_any_bytes(bencode.encode(fields))


@pytest.mark.parametrize("case", [*PUBLISHED, *MALFORMED], ids=lambda case: case["name"])
def test_every_prefix_of_a_vector_decodes_or_raises_one_error(case):
    data = bytes.fromhex(case["hex"])
    for length in range(len(data)):
        check_any_bytes(data[:length])


@pytest.mark.parametrize(
    "name",
    ["ping_query", "announce_peer_query", "get_peers_response_values", "error_generic", "ping_read_only"],
)
def test_every_single_byte_change_decodes_or_raises_one_error(name):
    [data] = [bytes.fromhex(case["hex"]) for case in PUBLISHED if case["name"] == name]
    for at in range(len(data)):
        for byte in b"\x00\xff019:-_deilq" + bytes([data[at] ^ 1, data[at] ^ 0x80]):
            check_any_bytes(data[:at] + bytes([byte]) + data[at + 1 :])


MUTABLE = {"k": bytes(32), "seq": 1, "sig": bytes(64)}


@pytest.mark.parametrize(
    ("wrong", "reason", "code"),
    [
        ({"v": None}, "bad v", 203),
        ({"v": b"v" * 997}, "v too big", 205),
        ({"v": b"v" * 997, "token": 1, "salt": b"s" * 65}, "v too big", 205),
        ({"token": None}, "bad token", 203),
        ({"token": b""}, "bad token", 203),
        ({"salt": b"s" * 65}, "salt too big", 207),
        ({"salt": 1}, "bad salt", 203),
        ({"k": None}, "bad k", 203),
        ({"k": bytes(31)}, "bad k", 203),
        ({"seq": None}, "bad seq", 203),
        ({"seq": -1}, "bad seq", 203),
        ({"seq": 1 << 63}, "bad seq", 203),
        ({"seq": b"1"}, "bad seq", 203),
        ({"sig": None}, "bad sig", 203),
        ({"sig": bytes(63)}, "bad sig", 203),
        ({"cas": b"1"}, "bad cas", 203),
    ],
)
def test_faulty_put_is_refused_with_its_code(wrong, reason, code):
    arguments = {"token": TOKEN, "v": b"value"} | MUTABLE | wrong
    data = query(b"put", **{name: value for name, value in arguments.items() if value is not None})
    with pytest.raises(MalformedMessage) as caught:
        decode_untrusted(data, Family.IPV4)
    assert (caught.value.reason, caught.value.reply.code) == (reason, code)


@pytest.mark.parametrize("more", [{}, {"seq": 1}, {"seq": b"", "cas": 1, "salt": b"s"}])
def test_put_without_key_and_signature_is_immutable(more):
    message = decode_untrusted(query(b"put", token=TOKEN, v=[1], **more), Family.IPV4)
    assert message.method == Put(ImmutableItem(b"li1ee"), TOKEN)


@pytest.mark.parametrize("seq", [-1, 1 << 63, b"1", []])
def test_wrong_seq_of_a_get_counts_as_absent(seq):
    assert decode_untrusted(query(b"get", target=TARGET, seq=seq), Family.IPV4).method == Get(TARGET)


def test_get_without_target_is_refused():
    refused_with(203)(query(b"get"))


@pytest.mark.parametrize(
    "data",
    [
        query(b"put", token=TOKEN, v=b"x") + b"\n",
        query(b"put", token=TOKEN, v=b"x").replace(b"1:y1:q", b"").replace(b"d1:a", b"d1:y1:q1:a"),
        query(b"put", token=TOKEN, v=7).replace(b"i7e", b"i07e"),
        query(b"put", token=TOKEN, v=[{}]).replace(b"lde", b"ld1:bi1e1:ai2ee"),
        query(b"put", token=TOKEN, v=[{}]).replace(b"lde", b"ld1:ai1e1:ai2ee"),
        query(b"put", token=TOKEN, v=b"abc").replace(b"3:abc", b"03:abc"),
    ],
    ids=["byte after it", "unsorted", "leading zero", "unsorted value", "repeated key", "long length"],
)
def test_put_that_is_not_canonical_is_refused(data):
    """The bytes that were hashed or signed cannot be had back (BEP 44)."""
    refused_with(203)(data)


def test_padding_of_a_get_lengthens_it():
    plain, padded = (encode(Query(b"aa", ALICE, Get(TARGET, padding=padding))) for padding in (0, 96))
    assert len(padded) - len(plain) == len(b"7:padding96:") + 96
    assert decode_untrusted(padded, Family.IPV4) == decode_untrusted(plain, Family.IPV4)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sample_infohashes_query", Query(b"aa", ALICE, SampleInfohashes(TARGET))),
        ("sample_infohashes_query_want", Query(b"aa", ALICE, SampleInfohashes(TARGET, frozenset(Family)))),
    ],
)
def test_query_for_a_sample_is_read_and_written(name: str, expected: Query) -> None:
    [data] = [bytes.fromhex(case["hex"]) for case in SAMPLES if case["name"] == name]
    assert (decode_untrusted(data, Family.IPV4), encode(expected)) == (expected, data)


@pytest.mark.parametrize(
    ("name", "count", "num", "interval"),
    [
        ("sample_infohashes_response", 3, 3, 21600),
        ("sample_infohashes_response_empty", 0, 0, 0),
        ("not_supported_lookalike", None, None, None),
    ],
)
def test_sample_is_read_and_written(name: str, count: int | None, num: int, interval: int) -> None:
    [data] = [bytes.fromhex(case["hex"]) for case in SAMPLES if case["name"] == name]
    response = decode_untrusted(data, Family.IPV4)
    hashes = [sha1(bytes([number]), usedforsecurity=False).digest() for number in range(count or 0)]
    assert (response.samples is None) == (count is None)
    assert (response.info_hashes(), response.num, response.interval) == (hashes, num, interval)
    assert encode(response) == data


@pytest.mark.parametrize(
    ("results", "samples", "num", "interval"),
    [
        (b"8:intervali-5e3:numi-1e7:samples20:" + TARGET, TARGET, None, 0),
        (b"8:intervali86400e3:numi9e7:samples23:" + TARGET + b"xyz", TARGET, 9, 21600),
        (b"8:interval1:x3:num1:x7:samplesle", None, None, None),
        (b"7:samples0:", b"", None, None),
    ],
)
def test_odd_sample_is_read_as_far_as_it_makes_sense(
    results: bytes, samples: bytes | None, num: int | None, interval: int | None
) -> None:
    before = results[: results.index(b"7:samples")]
    data = b"d1:rd2:id20:" + ALICE + before + results[len(before) :] + b"e1:t2:aa1:y1:re"
    response = decode_untrusted(data, Family.IPV4)
    assert (response.samples, response.num, response.interval) == (samples, num, interval)
