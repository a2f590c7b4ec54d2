"""From a datagram to what leaves in return: a whole endpoint, fed with everything that can arrive."""

import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from dhtnode.addresses import Address, Contact, Family, Scope
from dhtnode.errors import BadResponse, QueryError, QueryRefused
from dhtnode.ids import as_id
from dhtnode.items import ImmutableItem, Item, MutableItem
from dhtnode.krpc.codec import encode
from dhtnode.krpc.compact import pack_address, pack_contact
from dhtnode.krpc.messages import (
    AnnouncePeer,
    Error,
    FindNode,
    Get,
    GetPeers,
    Message,
    Ping,
    Put,
    Query,
    Response,
)
from dhtnode.net.transactions import Answer
from dhtnode.net.udp import RESOLVE_TIMEOUT
from dhtnode.node.context import new_context
from dhtnode.node.socket_node import SocketNode
from dhtnode.server.peer_store import PeerStore
from dhtnode.settings import VERSION_TAG, NodeSettings
from tests.net.bench import FakeSocket
from tests.strategies import messages, queries

CASES = json.loads((Path(__file__).parents[1] / "vectors" / "krpc_malformed.json").read_text())["cases"]

OWN = as_id(1 << 159)
US = {Family.IPV4: Address("21.0.0.1", 6881), Family.IPV6: Address("2a00::1", 6881)}
ASKER = {Family.IPV4: Address("21.0.1.1", 4000), Family.IPV6: Address("2a00:1::1", 4000)}
SOURCE = ASKER[Family.IPV4]
ASKER_ID = b"abcdefghij0123456789"  # the one in the vectors
SWARM = b"mnopqrstuvwxyz123456"


class Bench:
    """One endpoint without tasks: datagrams are handed to it, what it sends is kept."""

    def __init__(self, family: Family = Family.IPV4, *, hosts: tuple[str, ...] = (), **options: Any) -> None:
        self.socket = FakeSocket(US[family])
        self.asker = ASKER[family]
        self.peers = PeerStore(
            Random(3), lifetime=2700.0, max_swarms=10, max_peers_per_swarm=100, max_peers=100
        )
        shared = new_context(NodeSettings(**options), Random(2), Random(3).randbytes, 0.0)
        self.endpoint = SocketNode(self.socket, OWN, replace(shared, peers=self.peers), hosts=hosts)
        self.outcomes: list[Answer | QueryError] = []

    def receive(self, data: bytes, source: Address | None = None) -> list[Message]:
        """Handle one datagram and return what was sent back to its source, pings of ours aside."""
        source = source or self.asker
        before = len(self.socket.sent)
        self.endpoint.receiver.handle_untrusted([(data, source)], trio.current_time())
        return [
            message
            for message, destination in self.socket.sent[before:]
            if destination == source and not isinstance(message, Query)
        ]

    def ask(self, transaction_id: bytes) -> None:
        """Have a query under way to the asker, under a transaction id of our choice."""
        rpc = self.endpoint.rpc
        rpc._transactions._unused = [b"xxxx"]
        pending = rpc.send_query(
            FindNode(SWARM), self.asker, lambda outcome, _: self.outcomes.append(outcome)
        )
        rpc._transactions.remove(pending)
        pending.transaction_id = transaction_id
        rpc._transactions.add(pending)

    def token(self) -> bytes:
        (answer,) = self.receive(encode(Query(b"gp", ASKER_ID, GetPeers(SWARM))))
        return answer.token

    @property
    def faults(self) -> int:
        return self.endpoint.receiver.counts["internal errors"]

    def is_alive(self) -> bool:
        pong = Response(b"ok", OWN, external_address=self.asker, version=VERSION_TAG)
        return self.receive(encode(Query(b"ok", ASKER_ID, Ping()))) == [pong]


def cases(*actions: str, about: str = "") -> list[Any]:
    """Return the cases whose recommended action begins like one of these, as parameters."""
    return [
        pytest.param(case, id=case["name"])
        for case in CASES
        if case["action"].startswith(actions) and about in case["name"]
    ]


def packet_of(case: dict[str, str], token: bytes = b"aoeusnth") -> bytes:
    return bytes.fromhex(case["hex"]).replace(b"8:aoeusnth", b"8:" + token)


def named(name: str) -> bytes:
    return next(bytes.fromhex(case["hex"]) for case in CASES if case["name"] == name)


QUERY_ACTIONS = ("drop", "answer", "error", "accept", "ignore implied_port")


def test_every_case_of_the_vectors_is_covered() -> None:
    """A new kind of action must not slip through the tests below."""
    responses = [case["name"] for case in CASES if case["name"].startswith(("response", "error "))]
    queries = [case["name"] for case in CASES if case["action"].startswith(QUERY_ACTIONS)]
    assert {case["name"] for case in CASES} == {*responses, *queries}
    assert len(CASES) == 70


@pytest.mark.parametrize("case", [case for case in cases("drop") if case.id != "huge integer"])
async def test_packet_without_a_claim_to_an_answer_gets_silence(case: dict[str, str]) -> None:
    """An answer would make us a reflector; nothing is kept of it."""
    bench = Bench()
    sent = bench.receive(packet_of(case))
    assert (sent, bench.socket.sent) == ([], [])
    assert (len(bench.endpoint.table), bench.peers.statistics().peers, bench.faults) == (0, 0, 0)
    assert bench.is_alive()


async def test_huge_integer_costs_nothing() -> None:
    """Converting it would take quadratic time; it stands in a key that a ping does not have."""
    bench = Bench()
    sent = bench.receive(named("huge integer"))
    assert [message.transaction_id for message in sent] in ([], [b"aa"])
    assert (len(bench.endpoint.table), bench.faults, bench.is_alive()) == (0, 0, True)


@pytest.mark.parametrize("case", cases("error"))
async def test_faulty_query_gets_the_error_it_deserves(case: dict[str, str]) -> None:
    """With its transaction id and address, from a node with our version; nothing is stored."""
    bench = Bench()
    code = int(case["action"].removeprefix("error "))
    (error,) = bench.receive(packet_of(case))
    assert (type(error), error.transaction_id, error.code) == (Error, b"aa", code)
    assert (error.external_address, error.version) == (bench.asker, VERSION_TAG)
    assert (len(bench.endpoint.table), bench.peers.statistics().peers, bench.faults) == (0, 0, 0)
    assert bench.is_alive()


@pytest.mark.parametrize("case", cases("answer"))
async def test_odd_query_is_answered_all_the_same(case: dict[str, str]) -> None:
    """Under its own transaction id; unknown methods with a target as find_node."""
    bench = Bench()
    data = packet_of(case)
    (answer,) = bench.receive(data)
    has_target = b"6:target" in data or b"9:info_hash" in data
    assert (type(answer), answer.node_id, answer.external_address) == (Response, OWN, bench.asker)
    assert b"1:t%d:%b" % (len(answer.transaction_id), answer.transaction_id) in data
    assert (answer.nodes is not None) is has_target
    assert (answer.token is not None) is (b"get_peers" in data)
    assert (len(bench.endpoint.table), bench.faults) == (0, 0)


async def test_zero_id_is_answered_but_never_asked_nor_kept() -> None:
    bench = Bench()
    bench.receive(named("id all zero"))
    assert [type(message) for message, _ in bench.socket.sent] == [Response]


@pytest.mark.parametrize("case", cases("accept with the source port"))
async def test_announce_with_a_good_token_and_implied_port_is_stored(case: dict[str, str]) -> None:
    """With the port that the packet came from, whatever `port` says."""
    bench = Bench()
    token = bench.token()
    (answer,) = bench.receive(packet_of(case, token))
    assert isinstance(answer, Response)
    assert bench.peers.sample(SWARM, Family.IPV4, 9, 0.0) == [pack_address(bench.asker)]


@pytest.mark.parametrize("case", cases("ignore implied_port"))
async def test_announce_with_implied_port_of_a_wrong_type_is_stored_with_its_port(
    case: dict[str, str],
) -> None:
    bench = Bench()
    token = bench.token()
    bench.receive(packet_of(case, token))
    peer = Address(bench.asker.host, 6881)
    assert bench.peers.sample(SWARM, Family.IPV4, 9, 0.0) == [pack_address(peer)]


@pytest.mark.parametrize("case", cases("accept", "ignore implied_port"))
async def test_announce_with_the_token_of_another_is_refused(case: dict[str, str]) -> None:
    bench = Bench()
    bench.token()
    (error,) = bench.receive(packet_of(case))
    assert (error.code, error.text, bench.peers.statistics().peers) == (203, "Bad token", 0)


@pytest.mark.parametrize("case", cases("error", about="port"))
async def test_announce_with_a_good_token_but_a_bad_port_is_refused(case: dict[str, str]) -> None:
    bench = Bench()
    token = bench.token()
    (error,) = bench.receive(packet_of(case, token))
    assert (error.code, error.text, bench.peers.statistics().peers) == (203, "bad port", 0)


NODES_208 = bytes.fromhex(next(case["hex"] for case in CASES if case["name"] == "response token missing"))
NODES_208 = NODES_208[NODES_208.index(b"208:") + 4 :][:208]
BOB_ID = b"0123456789abcdefghij"
ABCD = b"ABCDpp"

ANSWERS = {
    "response nodes 27 bytes": Response(b"aa", BOB_ID, nodes=b"n" * 26),
    "response values is a string": Response(b"aa", BOB_ID, token=b"x"),
    "response values one long string": Response(b"aa", BOB_ID, values=(ABCD,) * 3, token=b"x"),
    "response values with odd sizes": Response(b"aa", BOB_ID, values=(b"p" * 6, b"p" * 18), token=b"x"),
    "response token missing": Response(b"aa", BOB_ID, nodes=NODES_208),
    "response token int": Response(b"aa", BOB_ID, nodes=NODES_208),
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_odd_response_is_used_as_far_as_it_makes_sense(name: str) -> None:
    """The node answered, so it may enter the table; what is wrong counts as absent."""
    bench = Bench()
    bench.ask(b"aa")
    sent = bench.receive(named(name))
    (answer,) = bench.outcomes
    assert (answer.response, sent, bench.faults) == (ANSWERS[name], [], 0)
    assert bench.endpoint.table.contacts() == [Contact(BOB_ID, bench.asker)]


@pytest.mark.parametrize("nodes", [None, bytes(range(208))])
@pytest.mark.parametrize("asked", [b"abcd", b"dcba"])
async def test_common_answer_has_the_effects_of_one_that_is_decoded(
    autojump_clock: MockClock, nodes: bytes | None, asked: bytes
) -> None:
    """The same answer with a key more takes the long way."""
    sides = Bench(), Bench()
    common = encode(
        Response(b"abcd", BOB_ID, nodes=nodes, external_address=US[Family.IPV4], version=b"LT\1\2")
    )
    seen = []
    for bench, data in zip(sides, (common, common[:-1] + b"1:zi1ee"), strict=True):
        bench.ask(asked)
        sent = bench.receive(data)
        rpc = bench.endpoint.rpc
        source = rpc.sources.get(bench.asker)
        seen.append(
            (
                [outcome._replace(bytes_received=0) for outcome in bench.outcomes],
                (sent, rpc.pending, rpc.external.next_vote, rpc.reachability.answered_at),
                bench.endpoint.table.get(bench.asker),
                (source.awaited, source.proven_until, source.host.used_until <= trio.current_time()),
                {
                    name: count
                    for name, count in bench.endpoint.receiver.counts.items()
                    if "bytes" not in name
                },
            )
        )
    if asked == b"abcd":
        assert seen[0] == seen[1]
    assert [len(outcomes) for outcomes, *_ in seen] == [asked == b"abcd"] * 2


async def test_common_answers_are_not_charged_and_others_are() -> None:
    """However many come, they leave what queries of the same address may use."""
    bench = Bench(host_burst=1, host_rate=0.001)
    for number in range(5):
        bench.ask(b"ab%02d" % number)
        bench.receive(encode(Response(b"ab%02d" % number, BOB_ID)))
    assert len(bench.outcomes) == 5
    assert bench.is_alive()
    for _ in range(2):
        bench.receive(encode(Response(b"none", BOB_ID)))
    assert bench.endpoint.receiver.counts["dropped: too many from one address"] == 1


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("response without r", BadResponse, "bad results"),
        ("response id 19 bytes", BadResponse, "bad id"),
        ("error as string", QueryRefused, "error 201: bad"),
        ("error list short", QueryRefused, "error 203"),
        ("error with y=r", QueryRefused, "error 204: method Unknown"),
    ],
)
async def test_bad_response_and_error_end_the_query(name: str, kind: type[QueryError], reason: str) -> None:
    bench = Bench()
    bench.ask(b"aa")
    sent = bench.receive(named(name))
    (outcome,) = bench.outcomes
    assert (type(outcome), outcome.reason, outcome.address) == (kind, reason, bench.asker)
    assert (sent, len(bench.endpoint.table), bench.endpoint.rpc.pending, bench.faults) == ([], 0, 0, 0)


@pytest.mark.parametrize(
    "data",
    [pytest.param(named(name), id=name) for name in (*ANSWERS, "response unknown t", "error as string")],
)
async def test_response_that_was_not_asked_for_changes_nothing(data: bytes) -> None:
    bench = Bench()
    bench.ask(b"zz" if b"1:t2:aa" in data else b"aa")
    sent = bench.receive(data)
    assert (sent, bench.outcomes, len(bench.endpoint.table), bench.endpoint.rpc.pending) == ([], [], 0, 1)


@pytest.mark.parametrize(
    "source",
    [Address("21.0.1.1", 0), Address("127.0.0.1", 4000), Address("10.0.0.1", 4000), Address("224.0.0.1", 1)],
    ids=str,
)
async def test_packet_from_nowhere_is_dropped(source: Address) -> None:
    bench = Bench()
    bench.receive(encode(Query(b"aa", ASKER_ID, Ping())), source)
    assert (bench.socket.sent, bench.endpoint.receiver.counts["dropped: source not allowed"]) == ([], 1)


async def test_our_own_query_sent_back_gets_silence() -> None:
    bench = Bench()
    bench.receive(encode(Query(b"aa", OWN, FindNode(SWARM))))
    assert (bench.socket.sent, bench.faults) == ([], 0)


async def test_unknown_node_that_queries_is_pinged_once_and_kept_when_it_answers() -> None:
    """Only an answer to a query of ours proves that a node is there."""
    bench = Bench()
    for transaction_id in (b"aa", b"bb"):
        bench.receive(encode(Query(transaction_id, ASKER_ID, Ping())))
    before = bench.endpoint.table.contacts()
    pings = [message for message, _ in bench.socket.sent if isinstance(message, Query)]
    bench.receive(encode(Response(pings[0].transaction_id, ASKER_ID)))
    assert (before, [ping.method for ping in pings]) == ([], [Ping()])
    assert bench.endpoint.table.contacts() == [Contact(ASKER_ID, bench.asker)]


async def test_unknown_read_only_node_is_answered_but_not_pinged() -> None:
    """It would not answer (BEP 43)."""
    bench = Bench()
    bench.receive(encode(Query(b"aa", ASKER_ID, Ping(), read_only=True)))
    assert [type(message) for message, _ in bench.socket.sent] == [Response]


async def test_unknown_nodes_are_pinged_at_a_bounded_rate(autojump_clock: MockClock) -> None:
    bench = Bench()
    for number in range(500):
        source = Address(f"21.9.{number % 250}.1", 1 + number)
        bench.receive(encode(Query(b"aa", as_id(number + 1), Ping())), source)
    kinds = [type(message) for message, _ in bench.socket.sent]
    assert (kinds.count(Response), kinds.count(Query)) == (500, 32)


async def test_no_node_is_led_to_our_own_address(autojump_clock: MockClock) -> None:
    """A contact with our address under an invented id would have us ask ourselves."""
    bench = Bench(hosts=(str(SOURCE),))
    with trio.move_on_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.endpoint.lookup, SWARM, FindNode(SWARM))
            await trio.sleep(0.5)
            ((query, _),) = bench.socket.sent
            ourselves = pack_contact(Contact(as_id(5), bench.socket.address))
            bench.receive(encode(Response(query.transaction_id, ASKER_ID, nodes=ourselves)))
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
    assert [destination for _, destination in bench.socket.sent] == [SOURCE]


async def test_table_full_of_dead_nodes_does_not_keep_us_out(autojump_clock: MockClock) -> None:
    bench = Bench(hosts=("21.0.99.1:6881",))
    table = bench.endpoint.table
    contacts = [Contact(as_id(number + 1), Address(f"21.3.{number}.1", 6881)) for number in range(8)]
    for contact in contacts:
        table.responded(contact, 0.0)
        for _ in range(NodeSettings().bad_after):
            table.failed(contact.address, 1.0)
    with trio.move_on_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bench.endpoint.rpc.expire)
            await bench.endpoint.join()
            nursery.cancel_scope.cancel()

    asked = {destination for _, destination in bench.socket.sent}
    assert asked == {Address("21.0.99.1", 6881), *(contact.address for contact in contacts)}


async def test_names_that_do_not_resolve_hold_us_up_no_longer_than_one(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_args: object, **_options: object) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(trio.socket, "getaddrinfo", hang)
    bench = Bench(hosts=("a.example:1", "b.example:1", "c.example:1"))
    bench.endpoint.saved = [Contact(ASKER_ID, SOURCE)]
    with trio.move_on_after(RESOLVE_TIMEOUT + 1):
        await bench.endpoint.lookup(SWARM, FindNode(SWARM))
    assert [destination for _, destination in bench.socket.sent] == [SOURCE]


# From here on: anything at all may arrive.


SURROUNDINGS = st.sampled_from(Family)


@pytest.mark.slow
@settings(max_examples=150)
@given(
    SURROUNDINGS, st.lists(st.binary(max_size=80) | st.binary(max_size=60).map(b"d1:".__add__), max_size=8)
)
async def test_arbitrary_bytes_do_no_harm(family: Family, packets: list[bytes]) -> None:
    """Nothing raises, nothing is counted as our fault, and the node lives on."""
    bench = Bench(family)
    bench.ask(b"aa")
    for packet in packets:
        bench.receive(packet)
    assert (bench.faults, len(bench.endpoint.table), bench.peers.statistics().peers) == (0, 0, 0)
    assert bench.is_alive()


KNOWN = st.sampled_from([bytes.fromhex(case["hex"]) for case in CASES if len(case["hex"]) > 2])
MESSAGES = messages().map(encode) | KNOWN
ANSWER_MESSAGES = messages().filter(lambda message: not isinstance(message, Query))


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Return a valid packet with something done to it: cut, changed in one byte, doubled, or spliced."""
    data = draw(MESSAGES)
    at = draw(st.integers(0, len(data) - 1))
    match draw(st.sampled_from(["cut", "change", "insert", "remove", "double", "splice"])):
        case "cut":
            return data[:at]
        case "change":
            return data[:at] + draw(st.binary(min_size=1, max_size=1)) + data[at + 1 :]
        case "insert":
            return (
                data[:at]
                + draw(st.sampled_from([b"i", b"l", b"d", b"e", b"0", b":", b"-", b"9"]))
                + data[at:]
            )
        case "remove":
            return data[:at] + data[at + 1 :]
        case "double":
            return data + data
    return data[:at] + draw(KNOWN) + data[at:]


@pytest.mark.slow
@settings(max_examples=60)
@given(SURROUNDINGS, st.lists(mutated(), min_size=1, max_size=4))
async def test_damaged_packets_do_no_harm(family: Family, packets: list[bytes]) -> None:
    bench = Bench(family)
    bench.ask(b"aa")
    replies = [bench.receive(packet) for packet in packets]
    assert all(len(reply) <= 1 for reply in replies)
    assert bench.faults == 0
    assert bench.is_alive()
    bench.endpoint.table.check()


@pytest.mark.slow
@settings(max_examples=80)
@given(SURROUNDINGS, st.lists(messages() | queries(), max_size=10), st.booleans())
async def test_valid_packets_of_any_kind_do_no_harm(
    family: Family, packets: list[Message], read_only: bool
) -> None:
    """Every query gets one reply within the size that BEP 32 allows, unless we are read-only."""
    bench = Bench(family, read_only=read_only)
    for packet in packets:
        replies = bench.receive(encode(packet))
        expected = isinstance(packet, Query) and not read_only and packet.node_id != OWN
        assert len(replies) == expected
    assert bench.faults == 0
    assert all(len(data) <= 1024 for data in bench.socket.sent_bytes)


@pytest.mark.slow
@settings(max_examples=40)
@given(SURROUNDINGS, st.data())
async def test_any_answer_to_a_query_of_ours_ends_it_once(family: Family, data: st.DataObject) -> None:
    bench = Bench(family)
    bench.ask(b"aa")
    message = data.draw(ANSWER_MESSAGES)
    packet = encode(message).replace(encode_id(message.transaction_id), b"1:t2:aa")
    for _ in range(2):
        assert bench.receive(packet) == []
    assert (len(bench.outcomes), bench.endpoint.rpc.pending, bench.faults) == (1, 0, 0)
    bench.endpoint.table.check()


def encode_id(transaction_id: bytes) -> bytes:
    return b"1:t%d:%b" % (len(transaction_id), transaction_id)


@given(st.sampled_from(Family), st.integers(1, 65535), st.booleans())
async def test_peer_comes_back_as_it_was_announced(family: Family, port: int, seed: bool) -> None:
    bench = Bench(family)
    announce = AnnouncePeer(SWARM, port, bench.token(), seed=seed)
    bench.receive(encode(Query(b"ap", ASKER_ID, announce)))
    (answer,) = bench.receive(encode(Query(b"gp", ASKER_ID, GetPeers(SWARM))))
    assert answer.peers() == [Address(bench.asker.host, port)]
    assert Scope.PUBLIC.allows_peer(answer.peers()[0])


ITEMS = [
    ImmutableItem.of({b"any": [b"value", 1]}),
    MutableItem.sign(bytes(32), b"value", seq=1),
    MutableItem.sign(bytes(32), b"value", seq=1, salt=b"salt"),
]


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("item", ITEMS, ids=["immutable", "mutable", "salted"])
async def test_item_comes_back_as_it_was_put(family: Family, item: Item) -> None:
    bench = Bench(family)
    get = encode(Query(b"gg", ASKER_ID, Get(item.target())))
    (first,) = bench.receive(get)
    (stored,) = bench.receive(encode(Query(b"pp", ASKER_ID, Put(item, first.token))))
    (second,) = bench.receive(get)
    assert stored == Response(b"pp", OWN, external_address=bench.asker, version=VERSION_TAG)
    assert (first.value, second.value, second.token) == (None, item.value, first.token)


@pytest.mark.parametrize("case", cases("error", about="of a put"))
async def test_put_that_is_not_canonical_is_refused_in_spite_of_its_token(case: dict[str, str]) -> None:
    """It is the value that is at fault: what the sender hashed or signed cannot be known."""
    bench = Bench()
    bench.token()
    (error,) = bench.receive(packet_of(case, bench.token()))
    assert (error.code, error.text) == (203, "no v, or not canonical bencode")


async def test_item_that_may_not_be_sent_is_kept_back() -> None:
    bench = Bench()
    item = MutableItem.sign(bytes(32), b"v" * 700, seq=1)
    get = Query(b"gg", ASKER_ID, Get(item.target()))
    (first,) = bench.receive(encode(get))
    bench.receive(encode(Query(b"pp", ASKER_ID, Put(item, first.token))))
    (short,) = bench.receive(encode(get))
    (long,) = bench.receive(encode(Query(b"gg", ASKER_ID, Get(item.target(), padding=60))))
    assert (short.value, short.seq, short.token, short.nodes) == (None, 1, first.token, b"")
    assert (long.value, long.seq) == (item.value, 1)
