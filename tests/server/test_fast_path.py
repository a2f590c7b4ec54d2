"""The fast path to a reply does exactly what the slow path does."""

from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dhtnode.addresses import Address, Contact, Family, Scope, pack_host
from dhtnode.ids import as_id
from dhtnode.krpc.codec import encode
from dhtnode.krpc.messages import AnnouncePeer, FindNode, GetPeers, Ping, Query
from dhtnode.net.udp import DatagramSocket
from dhtnode.node.context import new_context
from dhtnode.node.socket_node import SocketNode
from dhtnode.server.peer_store import PeerStore
from dhtnode.server.sources import Sources
from dhtnode.server.tokens import TokenIssuer
from dhtnode.settings import NodeSettings
from tests.strategies import bencode_values, ids, wants

SWARMS = [bytes([number]) * 20 for number in range(3)]
OWN = as_id(1 << 159)
RENEWED = as_id(1 << 158)
NODE_IDS = [Random(number).randbytes(20) for number in range(40)]
KNOWN_IDS = NODE_IDS[:2]  # those of the nodes at hosts 100 and 101
US = {Family.IPV4: Address("21.0.0.1", 6881), Family.IPV6: Address("2a00::1", 6881)}
HOSTS = {Family.IPV4: "21.1.{}.1", Family.IPV6: "2a00:1:{}::1"}


class Wire(DatagramSocket):
    """A socket that keeps the bytes sent."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.errors: Counter[str] = Counter()
        self.arrived: list[tuple[bytes, Address]] = []
        self.sent: list[tuple[bytes, Address]] = []

    def receive_nowait(self) -> tuple[bytes, Address] | None:
        return self.arrived.pop(0) if self.arrived else None

    def send_nowait(self, data: bytes, destination: Address) -> bool:
        self.sent.append((data, destination))
        return True


class Side:
    """One endpoint with everything that it may answer from, the same for a family each time."""

    def __init__(
        self,
        family: Family,
        *,
        quick: bool,
        nodes: int = 40,
        stored: int = 150,
        options: NodeSettings | None = None,
    ) -> None:
        self.family = family
        self.wire = Wire(US[family])
        self.peers = PeerStore(
            Random(3), lifetime=2700.0, max_swarms=3, max_peers_per_swarm=200, max_peers=220
        )
        self.tokens = TokenIssuer(Random(1).randbytes, 300.0, 0.0)
        shared = new_context(options or NodeSettings(), Random(2), Random(3).randbytes, 0.0)
        self.endpoint = SocketNode(self.wire, OWN, replace(shared, peers=self.peers, tokens=self.tokens))
        if not quick:
            self.endpoint._inbound._fast_path = None
        for number, node_id in enumerate(NODE_IDS[:nodes]):
            contact = Contact(node_id, Address(HOSTS[family].format(100 + number), 6881))
            self.endpoint.table.responded(contact, 0.0)
        for number in range(stored):
            peer = Address(HOSTS[Family(4 + 2 * (number % 2))].format(number), 7000)
            self.peers.announce(SWARMS[0], peer, 0.0, seed=number % 3 == 0)

    def receive(self, data: bytes, source: Address, now: float) -> None:
        self.endpoint.receiver.handle_untrusted([(data, source)], now)

    def receive_alone(self, data: bytes, source: Address, now: float) -> None:
        """Receive one datagram as the clock does, between tasks."""
        self.wire.arrived = [(data, source)]
        assert self.endpoint.receiver.receive(now, 1) == 1

    def receive_batch(self, batch: list[tuple[bytes, Address, float]]) -> None:
        """Handle datagrams that come at once."""
        self.endpoint.receiver.handle_untrusted([(data, source) for data, source, _ in batch], batch[-1][2])

    def state(self, now: float) -> object:
        table = self.endpoint.table
        infos = [table.get(contact.address) for contact in table.contacts(include_bad=True)]
        filters = [self.peers.filters(swarm, None, now) for swarm in SWARMS]
        counts = {name: count for name, count in self.endpoint.receiver.counts.items() if count}
        admission, sources = self.endpoint._context.admission, self.endpoint.rpc.sources.values()
        used = [
            (each.host.used_until, each.network.used_until, each.datagrams, each.seen_at) for each in sources
        ]
        # A token that is not given counts twice when the fast path leaves the reply to the slow one.
        stored = replace(self.peers.statistics(), withheld=0, reasons={}, refused_most=())
        return infos, filters, stored, counts, admission.replies_until, used


def sources(family: Family) -> st.SearchStrategy[Address]:
    """Return few sources, so that they come again; one of them is in the table."""
    return st.builds(Address, st.integers(97, 101).map(HOSTS[family].format), st.integers(6881, 6882))


@st.composite
def datagrams(draw: st.DrawFn, family: Family) -> tuple[bytes, Address, float]:
    """Return what may arrive, mostly common queries, with good tokens among them, and when."""
    source = draw(sources(family))
    now = draw(st.sampled_from([1.0, 5.0, 20.0, 400.0, 2800.0]))
    swarm = draw(st.sampled_from(SWARMS) | ids())
    token = TokenIssuer(Random(1).randbytes, 300.0, 0.0).issue(pack_host(source.host), swarm, now)
    method = draw(
        st.one_of(
            st.just(Ping()),
            st.builds(FindNode, ids(), st.just(frozenset()) | wants()),
            st.builds(GetPeers, st.just(swarm), st.just(frozenset()) | wants(), st.booleans(), st.booleans()),
            st.just(GetPeers(swarm)),
            st.builds(
                AnnouncePeer,
                st.just(swarm),
                st.integers(1, 65535),
                st.just(token) | st.binary(min_size=1, max_size=9),
                st.booleans(),
                st.booleans(),
            ),
        )
    )
    node_id = draw(st.sampled_from([b"a" * 20, OWN, RENEWED, *KNOWN_IDS]))
    transaction_id = draw(st.binary(min_size=1, max_size=9) | st.binary(max_size=66))
    version = draw(st.none() | st.binary(min_size=4, max_size=4) | st.binary(max_size=5))
    query = Query(transaction_id, node_id, method, version, draw(st.integers(0, 3)) == 0)
    return encode(query), source, now


@pytest.mark.slow
@pytest.mark.parametrize("family", list(Family))
@settings(deadline=None, max_examples=60)
@given(data=st.data(), nodes=st.sampled_from([0, 3, 40]))
async def test_all_ways_send_the_same_bytes_and_leave_the_same_state(
    family: Family, data: st.DataObject, nodes: int
) -> None:
    arrivals = data.draw(st.lists(datagrams(family), max_size=12))
    arrivals.sort(key=lambda arrival: arrival[2])
    alone, short, long = (Side(family, quick=quick, nodes=nodes) for quick in (True, True, False))

    renewed_before = data.draw(st.integers(0, 12))
    for number, arrival in enumerate(arrivals):
        for side, receive in ((alone, alone.receive_alone), (short, short.receive), (long, long.receive)):
            if number == renewed_before:
                side.endpoint.renew_id(RENEWED, arrival[2])
            receive(*arrival)

    last = arrivals[-1][2] if arrivals else 0.0
    # Pings to possible contacts included.
    assert alone.wire.sent == short.wire.sent == long.wire.sent
    assert alone.state(last) == short.state(last) == long.state(last)
    assert not short.endpoint.receiver.counts["internal errors"]


TIGHT = NodeSettings(
    host_rate=0.1, host_burst=3, network_rate=0.2, network_burst=5, reply_rate=50.0, reply_burst=3000.0
)


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(data=st.data(), options=st.sampled_from([NodeSettings(), TIGHT]))
async def test_batches_and_single_datagrams_have_the_same_effects(
    data: st.DataObject, options: NodeSettings
) -> None:
    """With the fast path and without, also where limits are reached within a batch."""
    arrivals = data.draw(st.lists(datagrams(Family.IPV4), min_size=1, max_size=12))
    sides = [Side(Family.IPV4, quick=quick, options=options) for quick in (True, True, False)]
    # While all nodes are good: one that queries is good again, but only after the replies of its batch.
    now = min(arrivals[-1][2], 400.0)
    batch = [(packet, source, now) for packet, source, _ in arrivals]
    for arrival in batch:
        sides[0].receive(*arrival)
    for side in sides[1:]:
        side.receive_batch(batch)
    replies = [sorted(side.wire.sent) for side in sides]  # pings may leave before replies
    assert replies[0] == replies[1] == replies[2]
    assert sides[0].state(batch[0][2]) == sides[1].state(batch[0][2]) == sides[2].state(batch[0][2])


@pytest.mark.parametrize("family", list(Family))
def test_announce_to_a_full_store_is_refused_alike_all_ways(family: Family) -> None:
    alone, short, long = (Side(family, quick=quick) for quick in (True, True, False))
    source = Address(HOSTS[family].format(99), 6881)
    for side, receive in ((alone, alone.receive_alone), (short, short.receive), (long, long.receive)):
        for number, swarm in enumerate(SWARMS):
            side.peers.announce(swarm, Address(HOSTS[family].format(200 + number), 7000), 0.0, seed=False)
        token = side.tokens.issue(pack_host(source.host), b"x" * 20, 1.0)
        query = Query(b"tt", b"a" * 20, AnnouncePeer(b"x" * 20, 1, token), b"LT")
        side.receive(encode(Query(b"tt", b"a" * 20, Ping())), source, 1.0)
        receive(encode(query), source, 1.0)
    assert alone.wire.sent == short.wire.sent == long.wire.sent
    assert short.wire.sent[-1][0].startswith(b"d1:eli202e13:Store is fulle2:ip")
    assert alone.state(1.0) == short.state(1.0) == long.state(1.0)
    assert (short.endpoint.receiver.counts["errors sent"], short.peers.statistics().refused) == (1, 1)


@settings(deadline=None, max_examples=100)
@given(fields=st.dictionaries(st.sampled_from([b"a", b"q", b"t", b"y", b"ro", b"v"]), bencode_values()))
def test_fields_of_any_type_are_given_back_or_answered(fields: dict[bytes, object]) -> None:
    side = Side(Family.IPV4, quick=True, nodes=2, stored=2)
    quick = side.endpoint._inbound._fast_path
    source = Sources(Scope.PUBLIC).get(("21.1.9.9", 6881))
    assert quick.reply(fields, source, 1.0, 1024) is None or isinstance(fields[b"a"], dict)


@settings(deadline=None, max_examples=100)
@given(
    arguments=st.dictionaries(
        st.sampled_from(
            [b"id", b"target", b"info_hash", b"port", b"token", b"seed", b"implied_port", b"want"]
        ),
        bencode_values() | ids(),
    ),
    name=st.sampled_from([b"ping", b"find_node", b"get_peers", b"announce_peer", b"vote"]),
)
def test_arguments_of_any_type_are_given_back_or_answered(
    arguments: dict[bytes, object], name: bytes
) -> None:
    side = Side(Family.IPV4, quick=True, nodes=2, stored=2)
    source = Sources(Scope.PUBLIC).get(("21.1.9.9", 6881))
    fields = {b"a": arguments, b"q": name, b"t": b"aa", b"y": b"q"}
    reply = side.endpoint._inbound._fast_path.reply(fields, source, 1.0, 1024)
    assert reply is None or reply.startswith(b"d2:ip6:")


def test_common_queries_take_the_short_way() -> None:
    side = Side(Family.IPV4, quick=True)
    source = Sources(Scope.PUBLIC).get(("21.1.9.9", 6881))
    token = side.tokens.issue(source.packed_host, SWARMS[0], 1.0)
    asker = {b"id": b"a" * 20}
    asked = {
        b"ping": {},
        b"find_node": {b"target": b"t" * 20},
        b"get_peers": {b"info_hash": SWARMS[0]},
        b"announce_peer": {
            b"info_hash": SWARMS[0],
            b"port": 1,
            b"token": token,
            b"implied_port": 1,
            b"seed": 0,
        },
    }

    replies = [
        side.endpoint._inbound._fast_path.reply(
            {b"a": asker | arguments, b"q": name, b"t": b"aa", b"y": b"q"}, source, 1.0, 1024
        )
        for name, arguments in asked.items()
    ]

    assert all(replies)
