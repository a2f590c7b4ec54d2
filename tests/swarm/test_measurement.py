"""Which nodes are queried about one swarm: as many as are needed, others for those that fail."""

from collections import Counter
from random import Random

import pytest

from dhtnode import Address, BadResponse, Family, InfoHash, NodeId, QueryRefused, QueryTimeout
from dhtnode.errors import ForeignSource
from dhtnode.krpc import Response, ScrapeFilter
from dhtnode.krpc.compact import pack_address
from dhtnode.outcomes import Outcome
from dhtnode.swarm.canary_hashes import CanaryHashes
from dhtnode.swarm.capture_history import EXTENDED_TO
from dhtnode.swarm.measurement import MOST_CLOSEST, SMALL_BYTES, Measurement
from dhtnode.swarm.queried_nodes import (
    CLOSEST,
    MOST_QUERIED,
    MOST_QUERIED_ON_THE_WAY,
    MOST_SILENT,
    NodeProgress,
    QueryKind,
)

SHIFT = 120  # bits: distances of 1, 2, 3 are too far to be made for the target
VICTIM = 45 << 24 | 7  # a host that never asked for anything
TARGET = InfoHash(b"\x55" * 20)
EMPTY = bytes(256)
FILLED = ScrapeFilter.of([bytes(4)]).to_bytes()
VALUE = bytes([95, 1, 2, 3, 4, 5])
THERE = Address("95.0.0.1", 1)
NEVER = CanaryHashes(Random(1), share=0.0)


def node_at(distance, family=Family.IPV4):
    number = int.from_bytes(TARGET, "big") ^ distance << SHIFT
    host = 95 << 24 | distance if family is Family.IPV4 else 0x2A << 120 | distance << 64
    return NodeId(number.to_bytes(20, "big")), host << 16 | 6881


def with_host(contact, host, port):
    """Return a contact at another endpoint."""
    return contact[0], host << 16 | port


def compact(*distances):
    return b"".join(node_id + endpoint.to_bytes(6, "big") for node_id, endpoint in map(node_at, distances))


def read(family, contacts):
    """Read contacts as `CompactContacts` does."""
    return [
        (contacts[at : at + 20], int.from_bytes(contacts[at + 20 : at + 26], "big"))
        for at in range(0, len(contacts), 26)
    ]


def measurement_of(distances, *, canaries=NEVER, follows=False, families=(Family.IPV4,), **options):
    measurement = Measurement(TARGET, canaries, read, **options)
    for family in families:
        measurement.add_nodes(family, [node_at(distance) for distance in distances], follows=follows)
    return measurement


def answer(query, *, nodes=None, node_id=None, **said):
    return Response(b"tttt", NodeId(node_id or query.node.node_id), nodes=nodes, **said)


def drive(measurement, respond):
    """Answer all that is asked as `respond` says, until nothing is; return the queries in order."""
    asked = []
    while queries := measurement.take_queries():
        for query in queries:
            query.node.address = THERE
            asked.append(query)
            measurement.on_end(query, respond(query), 0.1)
    assert measurement.pending == 0
    return asked


def places(queries, kind=QueryKind.SCRAPE):
    return [query.node.distance >> SHIFT for query in queries if query.kind is kind]


def counting(measurement):
    return [node.distance >> SHIFT for node in measurement.nodes() if node.state is NodeProgress.COUNTS]


@pytest.mark.parametrize("follows", [True, False])
def test_host_that_is_silent_is_asked_twice_at_whatever_ports(follows):
    """Others count in the place of its nodes."""
    measurement = Measurement(TARGET, NEVER, read)
    named = [with_host(node_at(distance), VICTIM, 7000 + distance) for distance in range(1, 11)]
    known = [*named, *map(node_at, range(20, 30))]
    measurement.add_nodes(Family.IPV4, known, follows=follows)
    asked = drive(measurement, lambda query: silent() if is_victim(query) else answer(query))
    assert sum(map(is_victim, asked)) == MOST_SILENT
    assert counting(measurement) == [*range(20, 28)]


def test_host_that_answers_is_asked_at_all_its_ports():
    measurement = Measurement(TARGET, NEVER, read)
    named = [with_host(node_at(distance), VICTIM, 7000 + distance) for distance in range(1, 11)]
    measurement.add_nodes(Family.IPV4, named, follows=False)
    asked = drive(measurement, lambda query: silent() if query.node.endpoint & 1 else answer(query))
    assert len(asked) == 10
    assert counting(measurement) == [2, 4, 6, 8, 10]


def is_victim(query):
    return query.node.endpoint >> 16 == VICTIM


def test_the_eight_closest_are_asked_together():
    measurement = measurement_of(range(20, 0, -1))
    first = measurement.take_queries()
    assert places(first) == [*range(1, 9)]
    assert {query.target for query in first} == {TARGET}
    for query in first:
        query.node.address = THERE
        measurement.on_end(query, answer(query), 0.1)
    assert measurement.take_queries() == []
    assert counting(measurement) == [*range(1, 9)]


@pytest.mark.parametrize(
    ("failure", "outcome", "marks"),
    [
        (QueryTimeout(THERE), Outcome.TIMEOUT, ()),
        (QueryRefused(THERE, 201, "no"), Outcome.ERROR, ()),
        (BadResponse(THERE, "truncated"), Outcome.MALFORMED, ()),
        (ForeignSource(THERE), Outcome.FOREIGN_SOURCE, ("foreign-source",)),
        (Response(b"tttt", NodeId(b"x" * 20)), Outcome.WRONG_ID, ("wrong-id",)),
    ],
)
def test_next_node_takes_the_place_of_one_that_fails(failure, outcome, marks):
    measurement = measurement_of(range(1, 20))
    asked = drive(measurement, lambda query: failure if query.node.distance >> SHIFT == 3 else answer(query))
    assert places(asked) == [*range(1, 10)]
    assert counting(measurement) == [1, 2, 4, 5, 6, 7, 8, 9]
    (failed,) = [node for node in measurement.nodes() if node.state is NodeProgress.FAILED]
    assert (failed.outcome, failed.marks) == (outcome, marks)


def test_no_more_than_twelve_are_asked_where_some_answer():
    """Half of them silent is no reason to ask the whole neighbourhood."""
    measurement = measurement_of(range(1, 33))
    odd_ones = drive(
        measurement, lambda query: answer(query) if query.node.distance >> SHIFT & 1 else silent()
    )
    assert places(odd_ones) == [*range(1, MOST_QUERIED + 1)]
    assert counting(measurement) == [1, 3, 5, 7, 9, 11]


def silent():
    return QueryTimeout(THERE)


def test_lookup_begins_where_what_is_known_is_out_of_date():
    measurement = measurement_of(range(101, 133))
    asked = drive(
        measurement,
        lambda query: (
            answer(query, nodes=compact(*range(1, 9)))
            if query.node.distance >> SHIFT in (*range(1, 9), 102)
            else silent()
        ),
    )
    assert places(asked)[:MOST_QUERIED] == [*range(101, 101 + MOST_QUERIED)]
    assert counting(measurement) == [*range(1, 9)]


@pytest.mark.parametrize("said", [{"values": (VALUE,)}, {"peers_filter": EMPTY}], ids=["values", "filters"])
@pytest.mark.parametrize("lost", [0, 2])
def test_node_that_returns_peers_alone_is_asked_for_its_contacts(said, lost):
    """BEP 5 lets it leave them out; without them a lookup that begins there would end there."""
    asked_for_contacts = []

    def respond(query):
        is_first = query.node.distance >> SHIFT == 40
        if query.kind is QueryKind.CONTACTS:
            asked_for_contacts.append(query)
            if len(asked_for_contacts) <= lost:
                return QueryTimeout(query.node.address)
            return answer(query, nodes=compact(*range(1, 9)))
        return answer(query, **said) if is_first else answer(query, nodes=compact(2, 3))

    measurement = measurement_of([40], follows=True)
    asked = drive(measurement, respond)
    assert places(asked, QueryKind.CONTACTS) == (1 + lost) * [40]
    assert counting(measurement) == [*range(1, 9)]


def test_peers_kept_back_are_asked_for_once_without_scrape():
    said = {
        1: {"seeds_filter": FILLED, "peers_filter": EMPTY},
        2: {"seeds_filter": EMPTY, "peers_filter": EMPTY},
        3: {"seeds_filter": FILLED, "values": (VALUE,)},
        4: {"values": (VALUE,)},
        5: {"peers_filter": FILLED},
    }

    def respond(query):
        if query.kind is QueryKind.LISTING:
            return answer(query, values=(VALUE, VALUE[:5] + b"\x09"))
        return answer(query, **said.get(query.node.distance >> SHIFT, {}))

    measurement = measurement_of(range(1, 20))
    asked = drive(measurement, respond)

    assert sorted(places(asked, QueryKind.LISTING)) == [1, 5]
    assert [len(node.peers) for node in measurement.nodes()] == [2, 0, 1, 1, 2, 0, 0, 0]


def test_failed_listing_leaves_the_filters():
    failures = {1: silent(), 2: Response(b"tttt", NodeId(b"x" * 20), values=(VALUE,))}

    def respond(query):
        if query.kind is QueryKind.LISTING:
            return failures[query.node.distance >> SHIFT]
        return answer(query, seeds_filter=FILLED if query.node.distance >> SHIFT < 3 else EMPTY)

    measurement = measurement_of(range(1, 20))
    drive(measurement, respond)
    assert counting(measurement) == [*range(1, 9)]
    assert [node.peers for node in measurement.nodes()[:2]] == [(), ()]


def part_of_a_swarm(query):
    return answer(query, values=(bytes([95, 1, 2, query.node.distance >> SHIFT, 26, 225]),))


def test_extension_queries_the_next_nodes_and_ends():
    """Stores without overlap tell that a swarm is not seen whole, on 16 nodes as on 8."""
    measurement = measurement_of(range(1, 40))
    asked = drive(measurement, part_of_a_swarm)
    assert places(asked) == [*range(1, EXTENDED_TO + 1)]
    assert counting(measurement) == [*range(1, EXTENDED_TO + 1)]
    assert measurement.result().nodes_answered == EXTENDED_TO <= MOST_CLOSEST


def test_extension_without_further_nodes_ends_too():
    assert places(drive(measurement_of(range(1, 11)), part_of_a_swarm)) == [*range(1, 11)]


def test_node_that_is_marked_leaves_its_place_to_the_next():
    measurement = measurement_of(range(1, 20))
    full = {2: b"\xff" * 256, 9: b"\xff" * 256}
    asked = drive(
        measurement, lambda query: answer(query, seeds_filter=full.get(query.node.distance >> SHIFT))
    )
    assert places(asked) == [*range(1, 11)]
    assert counting(measurement) == [1, 3, 4, 5, 6, 7, 8, 10]
    marks = {each.rank: each.marks for each in measurement.result().observations if each.marks}
    assert marks == {1: ("impossible-count",), 8: ("impossible-count",)}


def test_farther_node_of_a_lookup_takes_the_place_of_a_marked_one():
    closest = [*range(1, 9)]

    def respond(query):
        distance = query.node.distance >> SHIFT
        liar = {"seeds_filter": b"\xff" * 256} if distance == 2 else {"peers_filter": FILLED}
        return answer(query, nodes=compact(*closest), **liar)

    measurement = measurement_of([9], follows=True)
    drive(measurement, respond)
    result = measurement.result()
    assert counting(measurement) == [1, *range(3, 10)]
    assert [each.rank for each in result.observations if each.is_believed] == [0, *range(2, 9)]
    assert (result.nodes_asked, result.nodes_answered, result.estimate.nodes_with_filters) == (9, 9, 8)


def test_lookup_follows_contacts_until_the_closest_have_answered():
    """Each node names some that are half as far; who is named twice is asked once."""

    def respond(query):
        distance = query.node.distance >> SHIFT
        return answer(query, nodes=compact(*(max(distance // 2 - step, 1) for step in range(8))))

    measurement = measurement_of([4000, 5000, 6000], follows=True)
    asked = places(drive(measurement, respond))
    assert counting(measurement)[0] == 1
    assert max(Counter(asked).values()) == 1
    assert len(asked) < 80


def test_lookup_ends_though_liars_name_ever_closer_nodes():
    step = iter(range(10**6, 0, -1))
    measurement = measurement_of([10**7], follows=True)
    asked = drive(measurement, lambda query: answer(query, nodes=compact(*(next(step) for _ in range(8)))))
    assert len(asked) == MOST_QUERIED_ON_THE_WAY


def test_contacts_closer_than_any_node_can_be_are_not_followed():
    """An id that shares 6 bytes with the info-hash was made for it."""
    made = TARGET[:6] + b"z" * 14 + (7).to_bytes(6, "big")
    measurement = measurement_of(range(1001, 1010), follows=True)
    asked = drive(measurement, lambda query: answer(query, nodes=made))
    assert places(asked) == [*range(1001, 1009)]


def test_liar_caught_by_a_probe_does_not_count_from_then_on():
    canaries = CanaryHashes(Random(1), share=1.0)

    def respond(query):
        is_liar = query.node.distance >> SHIFT == 4
        if query.kind is QueryKind.CANARY:
            assert query.target[:5] == TARGET[:5]
            assert query.target != TARGET
            return answer(query, values=(VALUE,) if is_liar else None)
        return answer(query, values=(VALUE,))

    first, second = (
        measurement_of(range(1, 20), canaries=canaries),
        measurement_of(range(1, 20), canaries=canaries),
    )
    asked = drive(first, respond)
    again = drive(second, respond)

    assert places(asked, QueryKind.CANARY) == [*range(1, 9), 9]
    assert places(again, QueryKind.CANARY) == []
    for measurement in (first, second):
        assert counting(measurement) == [1, 2, 3, 5, 6, 7, 8, 9]
        (liar,) = [node for node in measurement.nodes() if node.marks]
        assert (liar.distance >> SHIFT, liar.marks, liar.peers) == (
            4,
            ("answers-anything",),
            (pack_address(Address("95.1.2.3", 1029)),),
        )
    assert canaries.caught == 1


def test_canaries_are_bounded_and_a_sample():
    some, few = CanaryHashes(Random(1), share=0.25), CanaryHashes(Random(1), share=1.0, most=10)
    wanted = [endpoint for endpoint in range(1000) if some.wants(endpoint)]
    assert 200 < len(wanted) < 300
    assert [endpoint for endpoint in range(100) if few.wants(endpoint)] == [*range(10)]
    assert not any(few.wants(endpoint) for endpoint in range(10))


@pytest.mark.parametrize("filter_", [None, EMPTY])
def test_honest_answer_to_a_probe_is_no_lie(filter_):
    canaries = CanaryHashes(Random(1))
    honest = Response(b"tttt", NodeId(b"n" * 20), seeds_filter=filter_, peers_filter=filter_, nodes=b"n" * 26)
    assert not canaries.catches(1, honest)
    assert canaries.catches(1, honest._replace(peers_filter=FILLED))
    assert canaries.is_liar(1)


def test_second_questions_of_a_lookup_stay_within_their_bytes():
    """The closest nodes are asked for their lists as long as all they have cost is below the bound."""
    measurement = measurement_of(range(1, 20), follows=True, most_bytes=3000)

    def respond(query):
        measurement.count_bytes(query, sent=100, received=200)
        return answer(query, seeds_filter=FILLED if query.kind is QueryKind.SCRAPE else None, values=None)

    asked = drive(measurement, respond)
    assert places(asked) == [*range(1, 9)]
    assert len(places(asked, QueryKind.LISTING)) == 1  # 8 * 300, and 450 to 466 for each list
    assert measurement.bytes_sent + measurement.bytes_received == 9 * 300


def test_canaries_come_before_lists_where_bytes_are_few():
    """8 * 300 bytes are spent, and 450 are left: for one canary, asked for after the list."""
    canaries = CanaryHashes(Random(1), share=1.0)
    measurement = measurement_of(
        range(1, 20), follows=True, canaries=canaries, most_bytes=8 * 300 + SMALL_BYTES
    )

    def respond(query):
        measurement.count_bytes(query, sent=100, received=200)
        teller = query.kind is QueryKind.SCRAPE and query.node.distance >> SHIFT == 5
        return answer(query, seeds_filter=FILLED if teller else None)

    asked = drive(measurement, respond)
    assert [query.kind for query in asked[8:]] == [QueryKind.CANARY]


def test_lookup_has_four_queries_under_way():
    """Each answer may save others; where nodes are known, all are asked together."""
    measurement = measurement_of(range(1, 20), follows=True)
    first = measurement.take_queries()
    assert places(first) == [1, 2, 3, 4]
    measurement.on_end(first[2], answer(first[2]), 0.1)
    assert places(measurement.take_queries()) == [5]


def test_each_family_has_its_own_nodes():
    measurement = measurement_of(range(1, 20), families=Family)
    asked = drive(measurement, lambda query: answer(query) if query.family is Family.IPV6 else silent())
    assert Counter(query.family for query in asked) == {Family.IPV4: 19, Family.IPV6: CLOSEST}
    assert len(counting(measurement)) == CLOSEST


def test_query_that_could_not_leave_counts_as_failed():
    measurement = measurement_of(range(1, 20))
    for query in measurement.take_queries():
        query.node.address = THERE
        if query.node.distance >> SHIFT == 1:
            measurement.on_not_sent(query)
        else:
            measurement.on_end(query, answer(query), 0.1)
    asked = drive(measurement, answer)
    assert places(asked) == [9]
    assert measurement.nodes()[0].outcome is Outcome.NOT_SENT
