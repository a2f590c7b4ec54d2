"""Answers as values: what each query gets, and that every reply fits into a datagram."""

from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dhtnode.addresses import Address, Contact, Family, Scope, pack_host
from dhtnode.ids import InfoHash, NodeId, as_id, random_id
from dhtnode.items import ImmutableItem, Item, MutableItem
from dhtnode.krpc.codec import encode
from dhtnode.krpc.compact import pack_address, unpack_contacts
from dhtnode.krpc.messages import (
    AnnouncePeer,
    Error,
    FindNode,
    Get,
    GetPeers,
    Method,
    Ping,
    Put,
    Query,
    Response,
    SampleInfohashes,
)
from dhtnode.krpc.scrape_filter import ScrapeFilter
from dhtnode.routing.table import RoutingTable
from dhtnode.server.item_store import ItemStore
from dhtnode.server.peer_store import PeerStore
from dhtnode.server.responder import Responder, size_of
from dhtnode.server.tokens import TokenIssuer
from dhtnode.settings import NodeSettings
from tests.strategies import responses, wants

IPV4, IPV6 = Family
OWN = as_id(1 << 159)
ASKER_ID = as_id(7)
ASKER = {IPV4: Address("8.8.8.8", 4000), IPV6: Address("2a00::8", 4000)}
SWARM = b"s" * 20
UNKNOWN = b"u" * 20
VERSION = b"DN\x00\x01"
VALUE_BYTES = {IPV4: 8, IPV6: 21}
MAX_PAYLOAD = 1024  # BEP 32


def new_table(family: Family, nodes: int) -> RoutingTable:
    table = RoutingTable(OWN, family, Scope.PUBLIC)
    random = Random(family)
    for number in range(nodes):
        host = f"21.0.{number}.1" if family is IPV4 else f"2a00:{number + 1:x}::1"
        table.responded(Contact(random_id(random), Address(host, 6881)), 0.0)
    return table


TABLES = {family: new_table(family, 40) for family in Family}


class Bench:
    """A responder and all that it answers from."""

    def __init__(
        self,
        family: Family = IPV4,
        *,
        tables: dict[Family, RoutingTable] | None = None,
        scope: Scope = Scope.PUBLIC,
        max_peers: int = 5000,
    ) -> None:
        self.family = family
        self.asker = ASKER[family]
        self.tables = TABLES if tables is None else tables
        self.peers = PeerStore(
            Random(3), lifetime=100.0, max_swarms=10, max_peers_per_swarm=5000, max_peers=max_peers
        )
        self.tokens = TokenIssuer(Random(1).randbytes, 300.0, 0.0)
        self.items = ItemStore(NodeSettings(max_items=3, signature_rate=20.0))
        self._responder = Responder(
            self.tables[family],
            {each: [table] for each, table in self.tables.items()},
            scope,
            self.peers,
            self.tokens,
            self.items,
            version=VERSION,
        )

    def ask(
        self,
        method: Method,
        *,
        node_id: NodeId = ASKER_ID,
        transaction_id: bytes = b"aa",
        now: float = 1.0,
        room: int = 1024,
    ) -> Response | Error | None:
        return self._responder.respond(Query(transaction_id, node_id, method), self.asker, now, room)

    def token(self, info_hash: bytes = SWARM, now: float = 1.0) -> bytes:
        """Return the token that the asker would get."""
        return self.tokens.issue(pack_host(self.asker.host), info_hash, now)

    def response(self, **results: Any) -> Response:
        envelope = Response(b"aa", OWN, external_address=self.asker, version=VERSION)
        return envelope._replace(**results)

    def nodes(self, family: Family, target: bytes = SWARM) -> bytes:
        return self.tables[family].closest_compact(target, 1.0)

    def store(self, family: Family, count: int, *, seeds: int = 0, first: int = 1) -> list[Address]:
        hosts = ["9.{}.{}.{}", "2a01::{:x}:{:x}:{:x}"][family is IPV6]
        stored = [
            Address(hosts.format(0, number >> 8, number & 255), 6881)
            for number in range(first, first + count)
        ]
        for number, peer in enumerate(stored):
            assert self.peers.announce(SWARM, peer, 0.0, seed=number < seeds)
        return stored


def filter_of(*peers: Address) -> bytes:
    return ScrapeFilter.of(pack_host(peer.host) for peer in peers).to_bytes()


def values_of(*peers: Address) -> tuple[bytes, ...]:
    return tuple(map(pack_address, peers))


@pytest.mark.parametrize("family", Family)
def test_ping_gets_our_id_and_the_address_we_see(family: Family) -> None:
    """Every response tells the asker its own address (BEP 42)."""
    bench = Bench(family)
    assert bench.ask(Ping()) == Response(b"aa", OWN, external_address=ASKER[family], version=VERSION)


@pytest.mark.parametrize(
    ("family", "want", "listed"),
    [
        (IPV4, [], [IPV4]),
        (IPV6, [], [IPV6]),
        (IPV4, [IPV4], [IPV4]),
        (IPV4, [IPV6], [IPV6]),
        (IPV6, [IPV4], [IPV4]),
        (IPV4, [IPV4, IPV6], [IPV4, IPV6]),
        (IPV6, [IPV4, IPV6], [IPV4, IPV6]),
    ],
)
def test_contacts_of_the_wanted_families_are_listed(
    family: Family, want: list[Family], listed: list[Family]
) -> None:
    """Those of the transport unless `want` says otherwise (BEP 32); 8 of each family."""
    bench = Bench(family)
    expected = bench.response(
        nodes=bench.nodes(IPV4) if IPV4 in listed else None,
        nodes6=bench.nodes(IPV6) if IPV6 in listed else None,
    )
    answers = [bench.ask(FindNode(SWARM, frozenset(want))), bench.ask(GetPeers(SWARM, frozenset(want)))]
    assert answers == [expected, expected._replace(token=bench.token())]
    assert {len(unpack_contacts(bench.nodes(family), family)) for family in listed} == {8}


def test_family_without_a_socket_is_not_listed() -> None:
    bench = Bench(tables={IPV4: TABLES[IPV4]})
    assert bench.ask(FindNode(SWARM, frozenset({IPV6}))) == bench.response()


def test_lists_are_empty_while_the_table_is() -> None:
    bench = Bench(tables={IPV4: new_table(IPV4, 0)})
    assert bench.ask(FindNode(SWARM)) == bench.response(nodes=b"")


@pytest.mark.parametrize("family", Family)
def test_get_peers_lists_peers_and_contacts(family: Family) -> None:
    """Both, as all large implementations do; peers of the transport's family only."""
    bench = Bench(family)
    (peer,) = bench.store(family, 1)
    bench.store(IPV6 if family is IPV4 else IPV4, 1)
    nodes = {"nodes" if family is IPV4 else "nodes6": bench.nodes(family)}
    answer = bench.ask(GetPeers(SWARM))
    assert answer == bench.response(values=values_of(peer), token=bench.token(), **nodes)


def test_noseed_leaves_seeds_out() -> None:
    """The asker is a seed itself (BEP 33)."""
    bench = Bench()
    _, leecher = bench.store(IPV4, 2, seeds=1)
    answer = bench.ask(GetPeers(SWARM, noseed=True))
    assert answer == bench.response(values=values_of(leecher), token=bench.token(), nodes=bench.nodes(IPV4))


def test_token_is_withheld_when_the_store_is_full() -> None:
    """No token, no announce (BEP 33); stored peers may renew."""
    bench = Bench(max_peers=1)
    bench.store(IPV4, 1)
    without = bench.ask(GetPeers(SWARM))
    bench.asker = Address("9.0.0.1", 4000)
    with_token = bench.ask(GetPeers(SWARM))
    assert (without.token, with_token.token) == (None, bench.token())


@pytest.mark.parametrize("family", Family)
def test_contacts_of_the_other_family_are_those_of_the_nearest_endpoint(family: Family) -> None:
    """Of several tables; towards its own family each endpoint answers from its own (BEP 45)."""
    (other,) = set(Family) - {family}
    near, far = as_id(0), as_id(1 << 159)
    tables = {each: [RoutingTable(own, each, Scope.PUBLIC) for own in (far, near)] for each in Family}
    for number, table in enumerate(table for listed in tables.values() for table in listed):
        table.responded(Contact(as_id(99 + number), ASKER[table.family]._replace(port=99 + number)), 0.0)
    bench = Bench(family)
    responder = Responder(
        tables[family][0], tables, Scope.PUBLIC, bench.peers, bench.tokens, bench.items, version=VERSION
    )

    query = Query(b"aa", ASKER_ID, FindNode(as_id(1), frozenset(Family)))
    answer = responder.respond(query, bench.asker, 1.0, 1024)

    assert isinstance(answer, Response)
    assert answer.node_id == far
    assert answer.contacts(family) == tables[family][0].contacts()
    assert answer.contacts(other) == tables[other][1].contacts()


@pytest.mark.parametrize("family", Family)
def test_family_that_is_not_in_use_is_not_listed(family: Family) -> None:
    bench = Bench(family, tables={family: TABLES[family]})
    answer = bench.ask(FindNode(SWARM, frozenset(Family)))
    assert isinstance(answer, Response)
    assert [answer.nodes is None, answer.nodes6 is None] == [family is IPV6, family is IPV4]


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("want", [[], [IPV4], [IPV6], [IPV4, IPV6]])
def test_scrape_gets_filters_over_the_wanted_families(family: Family, want: list[Family]) -> None:
    """Where none is wanted, the filters are of the family of the asker, as those of libtorrent are."""
    bench = Bench(family)
    counted = want or [family]
    seeds, others = [], []
    for one in Family:
        seed, other = bench.store(one, 2, seeds=1)
        seeds += [seed] if one in counted else []
        others += [other] if one in counted else []
    answer = bench.ask(GetPeers(SWARM, frozenset(want), scrape=True))
    assert (answer.seeds_filter, answer.peers_filter) == (filter_of(*seeds), filter_of(*others))
    assert len(answer.values) == 2


@pytest.mark.parametrize(
    ("family", "want", "listed"),
    [
        (IPV4, [], [IPV4]),
        (IPV6, [], [IPV6]),
        (IPV4, [IPV6], [IPV6]),
        (IPV6, [IPV4], [IPV4]),
        (IPV4, [IPV4, IPV6], [IPV4]),
        (IPV6, [IPV4, IPV6], [IPV6]),
    ],
)
def test_scrape_lists_one_family(family: Family, want: list[Family], listed: list[Family]) -> None:
    """The wanted one; of two, which do not fit beside filters, the asker's (BEP 33)."""
    bench = Bench(family)
    bench.store(family, 1)
    answer = bench.ask(GetPeers(SWARM, frozenset(want), scrape=True))
    assert (answer.nodes, answer.nodes6) == tuple(
        bench.nodes(one) if one in listed else None for one in Family
    )


def test_scrape_of_an_unknown_swarm_gets_no_filters() -> None:
    bench = Bench()
    bench.store(IPV4, 1)
    answer = bench.ask(GetPeers(UNKNOWN, frozenset(Family), scrape=True))
    assert answer == bench.response(
        nodes=bench.nodes(IPV4, UNKNOWN), nodes6=bench.nodes(IPV6, UNKNOWN), token=bench.token(UNKNOWN)
    )


def test_filters_hold_expired_peers_no_longer() -> None:
    bench = Bench()
    bench.store(IPV4, 1)
    answer = bench.ask(GetPeers(SWARM, scrape=True), now=100.0)
    assert (answer.values, answer.seeds_filter, answer.peers_filter) == (None, None, None)


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize(("implied", "port"), [(False, 6999), (True, 4000)])
@pytest.mark.parametrize("seed", [False, True])
def test_good_token_gets_a_peer_stored(family: Family, implied: bool, port: int, seed: bool) -> None:
    bench = Bench(family)
    answer = bench.ask(AnnouncePeer(SWARM, 6999, bench.token(), implied, seed))
    peer = Address(ASKER[family].host, port)
    filters = [ScrapeFilter(), ScrapeFilter.of([pack_host(peer.host)])]
    assert answer == bench.response()
    assert bench.peers.sample(SWARM, family, 9, 1.0) == [pack_address(peer)]
    assert bench.peers.filters(SWARM, None, 1.0) == tuple(filters[::-1] if seed else filters)


def test_port_does_not_matter_when_it_is_implied() -> None:
    bench = Bench()
    bench.ask(AnnouncePeer(SWARM, 0, bench.token(), implied_port=True))
    assert bench.peers.sample(SWARM, IPV4, 9, 1.0) == [pack_address(bench.asker)]


@pytest.mark.parametrize(
    "token", [b"", b"x", b"aoeusnth", bytes(128), b"token of another host", b"token of another swarm"]
)
def test_bad_token_is_refused(token: bytes) -> None:
    bench = Bench()
    token = {
        b"token of another host": bench.tokens.issue(b"\x01\x02\x03\x04", SWARM, 1.0),
        b"token of another swarm": bench.token(UNKNOWN),
    }.get(token, token)
    answer = bench.ask(AnnouncePeer(SWARM, 6999, token))
    assert answer == Error(b"aa", 203, "Bad token", bench.asker, VERSION)
    assert bench.peers.statistics().peers == 0


def test_token_is_good_for_five_to_ten_minutes() -> None:
    bench = Bench()
    token = bench.ask(GetPeers(SWARM), now=1.0).token
    answers = [bench.ask(AnnouncePeer(SWARM, 6999, token), now=now) for now in (599.0, 600.0)]
    assert [type(answer) for answer in answers] == [Response, Error]


@pytest.mark.parametrize("scope", [Scope.PUBLIC, Scope.PRIVATE])
def test_peer_that_may_not_be_handed_out_is_refused(scope: Scope) -> None:
    bench = Bench(scope=scope)
    answer = bench.ask(AnnouncePeer(SWARM, 0, bench.token()))
    assert answer == Error(b"aa", 203, "Address not allowed", bench.asker, VERSION)
    assert bench.peers.statistics().peers == 0


def test_announce_to_a_full_store_is_refused() -> None:
    """The token may be from a better time: that is our fault, hence 202."""
    bench = Bench(max_peers=1)
    bench.store(IPV4, 1)
    answer = bench.ask(AnnouncePeer(SWARM, 6999, bench.token()))
    assert answer == Error(b"aa", 202, "Store is full", bench.asker, VERSION)


@pytest.mark.parametrize("method", [Ping(), FindNode(SWARM), GetPeers(SWARM), AnnouncePeer(SWARM, 1, b"x")])
def test_query_under_our_own_id_gets_silence(method: Method) -> None:
    assert Bench().ask(method, node_id=OWN) is None


@pytest.mark.parametrize("transaction_id", [b"", b"a", b"t" * 64])
def test_transaction_id_comes_back_unchanged(transaction_id: bytes) -> None:
    bench = Bench()
    methods = [Ping(), FindNode(SWARM), GetPeers(SWARM), AnnouncePeer(SWARM, 1, b"x")]
    answers = [bench.ask(method, transaction_id=transaction_id) for method in methods]
    assert {answer.transaction_id for answer in answers} == {transaction_id}


SIZES = st.one_of(st.just(0), st.integers(1, 130))


@given(
    st.sampled_from(Family),
    wants(),
    st.booleans(),
    st.booleans(),
    st.binary(max_size=64),
    st.tuples(SIZES, SIZES),
    st.booleans(),
)
def test_reply_fits_and_holds_as_many_peers_as_fit(
    family: Family,
    want: frozenset[Family],
    scrape: bool,
    noseed: bool,
    transaction_id: bytes,
    stored: tuple[int, int],
    full: bool,
) -> None:
    """1024 bytes whatever is asked (BEP 32), with no room left for another value that is there."""
    bench = Bench(family, max_peers=sum(stored) if full else 5000)
    for one, count in zip(Family, stored, strict=True):
        bench.store(one, count, seeds=count // 3)
    own = stored[family is IPV6]
    eligible = own - own // 3 if noseed else own

    answer = bench.ask(GetPeers(SWARM, want, noseed, scrape), transaction_id=transaction_id)

    size = len(encode(answer))
    listed = answer.values or ()
    assert size <= MAX_PAYLOAD
    assert len(set(listed)) == len(listed) <= eligible
    assert len(listed) == eligible or size + 2 * VALUE_BYTES[family] > MAX_PAYLOAD
    assert full or answer.token is not None
    assert (answer.token is not None) is bench.peers.has_capacity(SWARM, bench.asker.host)


@given(st.sampled_from(Family), wants(), st.binary(max_size=64))
def test_other_replies_fit_too(family: Family, want: frozenset[Family], transaction_id: bytes) -> None:
    bench = Bench(family)
    methods = [Ping(), FindNode(SWARM, want), AnnouncePeer(SWARM, 1, b"x")]
    sizes = [len(encode(bench.ask(method, transaction_id=transaction_id))) for method in methods]
    assert max(sizes) <= MAX_PAYLOAD


# Items (BEP 44).

SEED = bytes(range(32))
NOTE = ImmutableItem.of(b"note")
LETTER = MutableItem.sign(SEED, b"letter", seq=5, salt=b"salt")


def put(bench: Bench, item: Item, *, cas: int | None = None) -> Response | Error | None:
    return bench.ask(Put(item, bench.token(item.target()), cas))


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("item", [NOTE, LETTER], ids=["immutable", "mutable"])
def test_item_comes_back_as_it_was_put(family: Family, item: Item) -> None:
    bench = Bench(family)
    target = item.target()
    always = {
        "nodes" if family is IPV4 else "nodes6": bench.nodes(family, target),
        "token": bench.token(target),
    }
    results = {"value": item.value}
    if isinstance(item, MutableItem):
        results |= {"public_key": item.public_key, "signature": item.signature, "seq": item.seq}

    before, stored, after = bench.ask(Get(target)), put(bench, item), bench.ask(Get(target))

    assert before == bench.response(**always)
    assert stored == bench.response()
    assert after == bench.response(**always, **results)


@pytest.mark.parametrize(("seq", "is_sent"), [(4, True), (5, False), (6, False), (None, True)])
def test_item_that_is_not_newer_is_kept_back(seq: int | None, is_sent: bool) -> None:
    """But its `seq` is told; an immutable one is not older or newer than anything."""
    bench = Bench()
    for item in (LETTER, NOTE):
        put(bench, item)
    letter, note = (bench.ask(Get(item.target(), seq=seq)) for item in (LETTER, NOTE))
    assert (letter.seq, letter.value is not None) == (5, is_sent)
    assert (letter.public_key is None, letter.signature is None) == (not is_sent, not is_sent)
    assert (note.seq, note.value) == (None, NOTE.value)


@pytest.mark.parametrize(
    ("item", "cas", "code"),
    [
        (replace(LETTER, seq=6), None, 206),
        (MutableItem.sign(SEED, b"letter", seq=4, salt=b"salt"), None, 302),
        (MutableItem.sign(SEED, b"other", seq=5, salt=b"salt"), None, 302),
        (MutableItem.sign(SEED, b"other", seq=6, salt=b"salt"), 4, 301),
        (MutableItem.sign(SEED, b"other", seq=6, salt=b"salt"), 5, None),
        (LETTER, None, None),
    ],
)
def test_put_gets_the_error_it_deserves(item: MutableItem, cas: int | None, code: int | None) -> None:
    """Those of BEP 44, beside an item with `seq` 5; what was there is not touched."""
    bench = Bench()
    put(bench, LETTER)
    answer = put(bench, item, cas=cas)
    assert (answer.code if isinstance(answer, Error) else None) == code
    assert bench.items.get(LETTER.target(), 1.0) == (item if code is None else LETTER)


def test_put_with_a_bad_token_costs_no_signature() -> None:
    """The token is checked first: it proves the address, and is a hundred times cheaper."""
    bench = Bench()
    answers = [bench.ask(Put(item, bench.token(UNKNOWN))) for item in (NOTE, LETTER)]
    assert answers == [Error(b"aa", 203, "Bad token", bench.asker, VERSION)] * 2
    assert (bench.items.statistics(1.0).items, bench.items.statistics(1.0).signatures_checked) == (0, 0)


def test_full_store_of_items_gives_no_token() -> None:
    """Nor does it take what comes with an old one: that is our fault, hence 202."""
    bench = Bench()
    items = [ImmutableItem.of(number) for number in range(4)]
    for number, item in enumerate(items[:3]):
        bench.items.put(item, f"9.0.{number}.1", 0.0)
    assert [bench.ask(Get(item.target())).token is None for item in items] == [False] * 3 + [True]
    assert put(bench, items[3]) == Error(b"aa", 202, "Store is full", bench.asker, VERSION)


def test_too_many_signatures_are_put_off() -> None:
    bench = Bench()
    answers = [put(bench, replace(LETTER, seq=10 + number)) for number in range(3)]
    assert [answer.code for answer in answers] == [206, 202, 202]


@pytest.mark.parametrize("size", [10, 300, 600, 780, 996])
@pytest.mark.parametrize("kind", ["immutable", "mutable"])
@given(
    st.sampled_from(Family),
    wants(),
    st.sampled_from([300, 688, 1024, 1472]),
    st.binary(min_size=4, max_size=64),
)
def test_reply_with_an_item_fits(
    size: int, kind: str, family: Family, want: frozenset[Family], room: int, transaction_id: bytes
) -> None:
    bench = Bench(family)
    value = b"v" * size
    item = MutableItem.sign(SEED, value, seq=1) if kind == "mutable" else ImmutableItem.of(value)
    put(bench, item)

    answer = bench.ask(Get(item.target(), want), transaction_id=transaction_id, room=room)

    assert len(encode(answer)) <= room
    assert answer.token is not None
    assert (answer.seq is None) is (kind == "immutable")
    contacts = [answer.contacts(one) for one in Family]
    alone = answer._replace(
        value=item.value,
        public_key=getattr(item, "public_key", None),
        signature=getattr(item, "signature", None),
        nodes=answer.nodes and b"",
        nodes6=answer.nodes6 and b"",
    )
    assert (answer.value is not None) is (len(encode(alone)) <= room)
    assert answer.value is not None or any(contacts) or room == 300


def test_full_size_item_leaves_room_for_contacts() -> None:
    """1000 bytes, a signature and 8 nodes fit into a datagram of Ethernet."""
    bench = Bench()
    item = MutableItem.sign(SEED, b"v" * 996, seq=1)
    put(bench, item)
    answer = bench.ask(Get(item.target()), room=1472)
    assert (answer.value, len(answer.contacts(IPV4))) == (item.value, 8)


@pytest.mark.parametrize("family", Family)
def test_sample_names_what_is_stored_and_stays(family: Family) -> None:
    """With the contacts near the target, how many there are, and when to ask again (BEP 51)."""
    bench = Bench(family)
    empty = bench.ask(SampleInfohashes(SWARM))
    bench.store(family, 3)
    first, again = (bench.ask(SampleInfohashes(SWARM), now=now) for now in (1.5, 61.5))
    nodes = {"nodes": bench.nodes(IPV4)} if family is IPV4 else {"nodes6": bench.nodes(IPV6)}
    assert empty == bench.response(**nodes, samples=b"", num=0, interval=21600)
    assert first == bench.response(**nodes, samples=SWARM, num=1, interval=21600)
    assert again == first._replace(interval=21540)


def test_sample_fits_into_a_reply() -> None:
    """Twenty info-hashes and contacts of both families: what is too much are contacts of IPv6."""
    bench = Bench()
    for number in range(10):
        bench.peers.announce(InfoHash(bytes([number]) * 20), bench.asker, 0.0, seed=False)
    both = frozenset(Family)
    full, cut = (bench.ask(SampleInfohashes(SWARM, both), room=room) for room in (1024, 600))
    assert [len(answer.info_hashes()) for answer in (full, cut)] == [10, 10]
    assert len(encode(full)) <= 1024
    assert len(encode(cut)) <= 600
    assert len(cut.nodes) == 8 * 26


@given(responses())
def test_size_of_a_response_is_that_of_its_bytes(response: Response) -> None:
    assert size_of(response) == len(encode(response))
