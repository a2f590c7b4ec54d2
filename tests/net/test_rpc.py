"""Our queries and their answers, over a socket that exists only in memory, in virtual time."""

from random import Random

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from dhtnode.addresses import Address, Contact
from dhtnode.errors import BadResponse, QueryNotSent, QueryRefused, QueryTimeout
from dhtnode.ids import as_id
from dhtnode.krpc.codec import encode
from dhtnode.krpc.messages import Error, FindNode, Ping, Query, Response
from dhtnode.net.held import LOOK_PERIOD, PATIENCE
from dhtnode.net.outgoing import MOST_KNOWN, OutgoingBound
from dhtnode.net.reachability import COUNTED_IN_A_ROW, CUT_OFF_AFTER, DEAF_AFTER, HUSH
from dhtnode.net.round_trips import FIRST_STALL, FIRST_TIMEOUT, RECOMPUTE_EVERY
from dhtnode.net.transactions import Answer
from tests.net.bench import ALICE, BOB, OWN, Bench, contacts, open_bench


async def test_answer_reaches_the_node_that_queried(autojump_clock: MockClock) -> None:
    async with open_bench(version=b"DN\x00\x01") as bench:
        transaction_id = bench.ask()
        await trio.sleep(0.25)
        bench.answer(transaction_id)
        await wait_all_tasks_blocked()
        response = Response(transaction_id, ALICE.node_id)
        sent = len(bench.socket.sent_bytes[0])
        assert bench.outcomes == [Answer(ALICE.address, response, 0.25, sent, len(encode(response)))]
        assert bench.socket.sent == [(Query(transaction_id, OWN, Ping(), b"DN\x00\x01"), ALICE.address)]
        assert bench.table.get(ALICE.address).rtt == 0.25
        assert bench.rpc.pending == 0


@pytest.mark.parametrize(
    ("source", "change", "counter"),
    [
        (BOB.address, b"", "dropped: foreign source"),
        (Address(ALICE.address.host, 6882), b"", "dropped: foreign source"),
        (ALICE.address, b"x", "dropped: unknown transaction"),
        (Address("127.0.0.1", 6881), b"", "dropped: source not allowed"),
    ],
)
@pytest.mark.parametrize("kind", ["response", "error", "broken response"])
async def test_answer_that_does_not_match_is_ignored(
    autojump_clock: MockClock, source: Address, change: bytes, counter: str, kind: str
) -> None:
    """Address, port and transaction must all match; the query goes on waiting."""
    async with open_bench() as bench:
        transaction_id = bench.ask()
        wrong = transaction_id[len(change) :] + change
        bench.socket.deliver(
            {
                "response": encode(Response(wrong, ALICE.node_id)),
                "error": encode(Error(wrong, 201, "")),
                "broken response": b"d1:rde1:t4:" + wrong + b"1:y1:re",
            }[kind],
            source,
        )
        await wait_all_tasks_blocked()

        assert (bench.outcomes, bench.count(counter), len(bench.table)) == ([], [1, 0], 0)
        bench.answer(transaction_id)
        await wait_all_tasks_blocked()
        assert [type(outcome) for outcome in bench.outcomes] == [Answer]


async def test_second_answer_is_ignored(autojump_clock: MockClock) -> None:
    async with open_bench() as bench:
        transaction_id = bench.ask()
        for _ in range(2):
            bench.answer(transaction_id)
        bench.socket.deliver(Error(transaction_id, 201, ""), ALICE.address)
        await wait_all_tasks_blocked()
        assert [type(outcome) for outcome in bench.outcomes] == [Answer]
        assert bench.count("answers", "dropped: unknown transaction") == [1, 2, 0]


async def test_silence_ends_in_a_timeout(autojump_clock: MockClock) -> None:
    """The table hears of it, and a later answer is unknown."""
    async with open_bench() as bench:
        bench.table.responded(ALICE, trio.current_time())
        transaction_id = bench.ask()
        await trio.sleep(60)
        bench.answer(transaction_id)
        await wait_all_tasks_blocked()
        assert [(type(one), one.address) for one in bench.outcomes] == [(QueryTimeout, ALICE.address)]
        assert bench.times == [FIRST_TIMEOUT]
        assert bench.table.get(ALICE.address).failures == 1
        assert bench.count("timeouts", "dropped: unknown transaction") == [1, 1, 0]


def failures(bench: Bench, asked: list[Contact]) -> int:
    known = [bench.table.get(contact.address) for contact in asked]
    return sum(info.failures for info in known if info is not None)


async def ask_all(bench: Bench, asked: list[Contact]) -> None:
    for contact in asked:
        bench.table.responded(contact, trio.current_time())
        bench.ask(contact)
    await wait_all_tasks_blocked()


async def test_silence_of_all_at_once_is_our_own(autojump_clock: MockClock) -> None:
    async with open_bench() as bench:
        asked = contacts(8)
        await ask_all(bench, asked[:7])
        await trio.sleep(60)
        before = bench.rpc.reachability.is_cut_off
        await ask_all(bench, asked[7:])
        await trio.sleep(60)

        assert (before, bench.rpc.reachability.is_cut_off, failures(bench, asked)) == (
            False,
            True,
            COUNTED_IN_A_ROW,
        )
        bench.answer(bench.ask())
        await wait_all_tasks_blocked()
        assert not bench.rpc.reachability.is_cut_off


async def test_silence_counts_while_others_answer(autojump_clock: MockClock) -> None:
    async with open_bench() as bench:
        asked = contacts(8)
        await ask_all(bench, asked)
        bench.answer(bench.ask())
        await trio.sleep(60)
        assert (bench.rpc.reachability.is_cut_off, failures(bench, asked)) == (False, len(asked))


@pytest.mark.parametrize(
    ("count", "blame"), [(COUNTED_IN_A_ROW, COUNTED_IN_A_ROW), (COUNTED_IN_A_ROW + 1, 0)]
)
async def test_those_asked_before_the_network_came_back_are_excused(
    autojump_clock: MockClock, count: int, blame: int
) -> None:
    async with open_bench() as bench:
        asked = contacts(count)
        await ask_all(bench, asked)
        await trio.sleep(DEAF_AFTER + 0.1)
        bench.answer(bench.ask())
        await trio.sleep(60)
        assert failures(bench, asked) == blame


async def test_silence_while_we_stood_still_is_no_failure(autojump_clock: MockClock) -> None:
    async with open_bench() as bench:
        await ask_all(bench, [ALICE])
        autojump_clock.jump(8 * 3600)
        await trio.sleep(60)
        assert bench.times == [8 * 3600 + 1.0]
        assert (failures(bench, [ALICE]), bench.rpc.reachability.is_cut_off) == (0, False)
        assert bench.count("timeouts", "stood still") == [1, 1, 0]


async def hear(bench: Bench, *answering: Contact) -> None:
    for contact in answering:
        bench.answer(bench.ask(contact), contact)
    await trio.sleep(0.1)


async def test_unresponsive_nodes_that_are_queried_again_are_no_outage(autojump_clock: MockClock) -> None:
    asked = contacts(CUT_OFF_AFTER)
    async with open_bench() as bench:
        for number in (5, 2):
            await hear(bench, ALICE)
            for _ in range(2):
                await ask_all(bench, asked[:number])
                await trio.sleep(FIRST_TIMEOUT + 0.1)
        assert bench.receiver.counts["timeouts while others answer"] == 5 + 2 * 2
        await hear(bench, ALICE)
        await ask_all(bench, asked)
        await trio.sleep(FIRST_TIMEOUT + 0.1)
        assert not bench.rpc.reachability.is_cut_off

        await hear(bench, *asked)
        await ask_all(bench, asked)
        await trio.sleep(FIRST_TIMEOUT + 0.1)
        assert bench.rpc.reachability.is_cut_off


async def test_silence_of_one_is_an_outage_after_a_while(autojump_clock: MockClock) -> None:
    """A node with one contact is cut off when that one times out for long."""
    async with open_bench() as bench:
        await hear(bench, ALICE)
        asks = 0
        while not bench.rpc.reachability.is_cut_off:
            asks += 1
            bench.ask()
            await trio.sleep(FIRST_TIMEOUT + 0.1)
        assert asks == CUT_OFF_AFTER + HUSH // FIRST_TIMEOUT - 1  # the second, within the hush, is none


async def test_queries_that_cannot_leave_are_silence_too(autojump_clock: MockClock) -> None:
    async with open_bench() as bench:
        bench.socket.is_full = True
        for contact in contacts(CUT_OFF_AFTER):
            assert not bench.rpc.reachability.is_cut_off
            assert bench.rpc.send_query(Ping(), contact.address, bench.on_done) is None
        assert bench.rpc.reachability.is_cut_off


async def test_timeout_adapts_to_the_line(autojump_clock: MockClock) -> None:
    """After answers within 0.6 s no query waits five seconds any more."""
    async with open_bench() as bench:
        for _ in range(RECOMPUTE_EVERY):
            bench.rpc.times.add(0.6)
        start = trio.current_time()
        bench.ask()
        await trio.sleep(60)
        assert bench.times == [pytest.approx(start + 1.8)]


async def test_shorter_timeout_holds_for_what_is_under_way(autojump_clock: MockClock) -> None:
    async with open_bench() as bench:
        bench.ask(ALICE)
        await trio.sleep(0.5)
        for _ in range(RECOMPUTE_EVERY):
            bench.rpc.times.add(0.0)
        bench.ask(BOB)
        await trio.sleep(60)
        assert [one.address for one in bench.outcomes] == [ALICE.address, BOB.address]
        assert bench.times == [1.5, 2.0]


async def test_late_answer_is_welcome_after_a_stall(autojump_clock: MockClock) -> None:
    async with open_bench() as bench:
        stalls = []
        transaction_id = bench.ask(on_stall=lambda: stalls.append(trio.current_time()))
        await trio.sleep(FIRST_TIMEOUT - 0.5)
        bench.answer(transaction_id)
        await trio.sleep(60)
        assert stalls == [FIRST_STALL]
        assert [type(outcome) for outcome in bench.outcomes] == [Answer]
        assert bench.count("stalled", "timeouts") == [1, 0, 0]


async def test_silence_after_a_stall_ends_in_a_timeout(autojump_clock: MockClock) -> None:
    async with open_bench() as bench:
        bench.ask(on_stall=lambda: None)
        await trio.sleep(60)
        assert ([type(one) for one in bench.outcomes], bench.times) == ([QueryTimeout], [FIRST_TIMEOUT])


async def test_forgotten_query_makes_no_call(autojump_clock: MockClock) -> None:
    """Neither on an answer nor on a stall or timeout; forgetting twice is harmless."""
    async with open_bench() as bench:
        stalls: list[None] = []
        pending = bench.rpc.send_query(
            Ping(), ALICE.address, bench.on_done, on_stall=lambda: stalls.append(None)
        )
        bench.rpc.forget(pending)
        bench.rpc.forget(pending)
        bench.answer(pending.transaction_id)
        await trio.sleep(60)
        assert (bench.outcomes, stalls, bench.rpc.pending) == ([], [], 0)
        assert bench.count("stalled", "timeouts", "dropped: unknown transaction") == [0, 0, 1, 0]


async def test_query_returns_the_answer(autojump_clock: MockClock) -> None:
    async with open_bench() as bench, trio.open_nursery() as nursery:
        answers = []

        async def ask() -> None:
            answers.append(await bench.rpc.query(FindNode(b"t" * 20), ALICE.address))

        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        ((query, _),) = bench.socket.sent
        bench.answer(query.transaction_id)
        await wait_all_tasks_blocked()
        assert query.method == FindNode(b"t" * 20)
        assert [answer.response for answer in answers] == [Response(query.transaction_id, ALICE.node_id)]


async def test_query_raises_on_silence(autojump_clock: MockClock) -> None:
    async with open_bench() as bench:
        with pytest.raises(QueryTimeout, match=r"^21\.0\.1\.1:6881: no answer$"):
            await bench.rpc.query(Ping(), ALICE.address)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (b"d1:eli203e7:too bade1:t4:%s1:y1:ee", "error 203: too bad"),
        (b"d1:eli202ee1:t4:%s1:y1:ee", "error 202"),
        (b"d1:e3:bad1:t4:%s1:y1:ee", "error 201: bad"),
        (b"d1:eli204e1:xe1:t4:%s1:y1:re", "error 204: x"),
    ],
)
async def test_error_reply_ends_the_query_as_refused(
    autojump_clock: MockClock, reply: bytes, expected: str
) -> None:
    async with open_bench() as bench:
        transaction_id = bench.ask()
        bench.socket.deliver(reply.replace(b"%s", transaction_id), ALICE.address)
        await wait_all_tasks_blocked()
        (refused,) = bench.outcomes
        assert (type(refused), str(refused)) == (QueryRefused, f"{ALICE.address}: {expected}")
        assert len(bench.table) == 0


@pytest.mark.parametrize("results", [b"", b"1:rle", b"1:rde", b"1:rd2:id19:aaaaaaaaaaaaaaaaaaae"])
async def test_broken_response_fails_its_query(autojump_clock: MockClock, results: bytes) -> None:
    async with open_bench() as bench:
        transaction_id = bench.ask()
        bench.socket.deliver(b"d" + results + b"1:t4:" + transaction_id + b"1:y1:re", ALICE.address)
        await wait_all_tasks_blocked()
        assert [type(outcome) for outcome in bench.outcomes] == [BadResponse]
        assert (bench.rpc.pending, len(bench.table)) == (0, 0)


async def test_node_that_answers_nonsense_counts_as_failing(autojump_clock: MockClock) -> None:
    """Otherwise it would keep its place in the table and be asked again for ever."""
    async with open_bench() as bench:
        bench.table.responded(ALICE, trio.current_time())
        transaction_id = bench.ask()
        bench.socket.deliver(b"d1:rde1:t4:" + transaction_id + b"1:y1:re", ALICE.address)
        await wait_all_tasks_blocked()
        assert bench.table.get(ALICE.address).failures == 1


async def test_cancelled_query_leaves_nothing_behind(autojump_clock: MockClock) -> None:
    async with open_bench() as bench:
        with trio.move_on_after(1) as scope:
            await bench.rpc.query(Ping(), ALICE.address)
        ((query, _),) = bench.socket.sent
        bench.answer(query.transaction_id)
        await trio.sleep(60)
        assert (scope.cancelled_caught, bench.rpc.pending) == (True, 0)
        assert bench.count("answers", "timeouts", "dropped: unknown transaction") == [0, 0, 1, 0]


async def test_query_in_a_cancelled_scope_sends_nothing(autojump_clock: MockClock) -> None:
    async with open_bench() as bench:
        with trio.CancelScope() as scope:
            scope.cancel()
            await bench.rpc.query(Ping(), ALICE.address)
        assert (bench.socket.sent, bench.rpc.pending) == ([], 0)


@pytest.mark.parametrize(
    "address", [Address("127.0.0.1", 6881), Address("10.0.0.1", 6881), Address("21.0.0.9", 0)], ids=str
)
async def test_address_outside_our_scope_is_not_asked(autojump_clock: MockClock, address: Address) -> None:
    async with open_bench() as bench:
        sent = bench.rpc.send_query(Ping(), address, bench.on_done)
        with pytest.raises(QueryNotSent):
            await bench.rpc.query(Ping(), address)
        await trio.sleep(60)
        assert (sent, bench.socket.sent, bench.outcomes) == (None, [], [])
        assert bench.count("not sent: address not allowed") == [2, 0]


async def test_number_of_queries_under_way_is_bounded(autojump_clock: MockClock) -> None:
    async with open_bench(max_pending=2) as bench:
        first = bench.ask()
        bench.ask()
        refused = bench.rpc.send_query(Ping(), BOB.address, bench.on_done)
        bench.answer(first)
        await wait_all_tasks_blocked()
        assert (refused, bench.rpc.pending) == (None, 1)
        assert bench.rpc.send_query(Ping(), BOB.address, bench.on_done) is not None
        assert bench.count("not sent: too many pending") == [1, 0]


async def test_query_that_cannot_leave_is_reported(autojump_clock: MockClock) -> None:
    async with open_bench() as bench:
        bench.socket.is_full = True
        sent = bench.rpc.send_query(Ping(), ALICE.address, bench.on_done)
        await trio.sleep(60)
        assert (sent, bench.rpc.pending, bench.outcomes) == (None, 0, [])
        assert bench.count("not sent: send failed", "queries sent") == [1, 0, 0]


async def test_transaction_ids_suit_every_implementation(autojump_clock: MockClock) -> None:
    """4 bytes, no NUL among them, and no two the same while both are under way."""
    async with open_bench() as bench:
        transaction_ids = [bench.ask() for _ in range(5000)]
        assert {len(one) for one in transaction_ids} == {4}
        assert not any(b"\0" in one for one in transaction_ids)
        assert len(set(transaction_ids)) == bench.rpc.pending == 5000


async def test_transaction_id_in_use_is_drawn_again(autojump_clock: MockClock) -> None:
    async with open_bench() as bench:
        bench.rpc._transactions._ids._random_bytes = lambda _count: b"aaaabbbb"
        assert [bench.ask(), bench.ask()] == [b"bbbb", b"aaaa"]


async def test_every_query_ends_exactly_once(autojump_clock: MockClock) -> None:
    random = Random(1)
    contacts = [Contact(as_id(n + 1), Address(f"21.1.{n}.1", 6881)) for n in range(200)]
    async with open_bench() as bench:
        for contact in contacts:
            transaction_id = bench.ask(contact, on_stall=lambda: None)
            await trio.sleep(random.random() / 10)
            for _ in range(random.choice((0, 0, 1, 1, 2))):
                bench.answer(transaction_id, contact)
            if random.random() < 0.2:
                bench.socket.deliver(Error(transaction_id, 201, ""), contact.address)
        await trio.sleep(60)

        kinds = [type(outcome) for outcome in bench.outcomes]
        assert sorted(one.address for one in bench.outcomes) == sorted(one.address for one in contacts)
        assert bench.count("answers", "timeouts") == [kinds.count(Answer), kinds.count(QueryTimeout), 0]
        assert (kinds.count(QueryRefused) > 0, bench.rpc.pending) == (True, 0)
        bench.table.check()


def neighbour(number: int) -> Contact:
    """Return a node alone in its /24."""
    return Contact(as_id(100 + number), Address(f"21.1.{number}.1", 6881))


async def test_answers_and_errors_tell_where_we_are(autojump_clock: MockClock) -> None:
    moved: list[str] = []
    said = Address("30.1.2.3", 6881)
    async with open_bench(on_moved=lambda host, _now: moved.append(host)) as bench:
        for number in range(12):
            contact = neighbour(number)
            transaction_id = bench.ask(contact)
            response = Response(transaction_id, contact.node_id, external_address=said)
            refusal = Error(transaction_id, 203, "invalid node ID", said)
            bench.socket.deliver(refusal if number % 2 else response, contact.address)
            await wait_all_tasks_blocked()
            assert moved == ([] if number < 9 else [said.host])

        assert bench.rpc.external.address == said
        assert bench.count() == [0]


async def test_node_that_was_not_queried_has_no_vote(autojump_clock: MockClock) -> None:
    """An answer that belongs to no query of ours says nothing about us, nor does one from elsewhere."""
    said = Address("30.1.2.3", 6881)
    async with open_bench() as bench:
        asked = bench.ask(ALICE)
        for number in range(20):
            contact = neighbour(number)
            for transaction_id in (asked, b"none"):
                for message in (
                    Response(transaction_id, contact.node_id, external_address=said),
                    Error(transaction_id, 203, "", said),
                ):
                    bench.socket.deliver(message, contact.address)
        await wait_all_tasks_blocked()

        assert len(bench.rpc.external) == 0
        bench.answer(asked)
        await wait_all_tasks_blocked()
        assert len(bench.outcomes) == 1


async def test_vote_is_sampled_while_it_confirms_what_is_believed(autojump_clock: MockClock) -> None:
    said = Address("30.1.2.3", 6881)
    async with open_bench() as bench:
        for number in range(30):
            contact = neighbour(number)
            response = Response(bench.ask(contact), contact.node_id, external_address=said)
            bench.socket.deliver(response, contact.address)
        await wait_all_tasks_blocked()
        assert len(bench.rpc.external) == 11  # the last one confirmed

        await trio.sleep(1.0)
        response = Response(bench.ask(neighbour(40)), neighbour(40).node_id, external_address=said)
        bench.socket.deliver(response, neighbour(40).address)
        await wait_all_tasks_blocked()
        assert len(bench.rpc.external) == 12


async def test_renewed_id_is_in_the_next_query(autojump_clock: MockClock) -> None:
    async with open_bench() as bench:
        old = bench.ask()
        bench.rpc.renew_id(as_id(99))
        bench.ask(BOB)
        bench.answer(old)
        await wait_all_tasks_blocked()
        assert [query.node_id for query, _ in bench.socket.sent] == [OWN, as_id(99)]
        assert [outcome.address for outcome in bench.outcomes] == [ALICE.address]


async def test_query_from_a_callback_that_the_kernel_refuses_ends_at_once(autojump_clock: MockClock) -> None:
    """It leaves with the batch, too late for `send_query` to say so; no node is blamed for it."""
    async with open_bench() as bench:

        def ask_again(_result: object, _now: float) -> None:
            bench.socket.is_full = True
            pendings.append(bench.rpc.send_query(Ping(), BOB.address, bench.on_done))

        pendings: list[object] = []
        first = bench.rpc.send_query(Ping(), ALICE.address, ask_again)
        bench.answer(first.transaction_id)
        await wait_all_tasks_blocked()

        assert pendings[0] is not None
        assert [type(outcome) for outcome in bench.outcomes] == [QueryNotSent]
        assert bench.outcomes[0].address == BOB.address
        assert bench.count("not sent: send failed", "dropped: send failed", "queries sent") == [1, 1, 1, 0]
        assert bench.rpc.pending == 0


async def test_host_that_was_sent_enough_gets_the_rest_later(autojump_clock: MockClock) -> None:
    """It has answered, so no query is lost; and none leaves after it was given up."""
    bound = OutgoingBound(trio.current_time)
    async with open_bench(outgoing=bound) as bench:
        bench.answer(bench.ask())
        await wait_all_tasks_blocked()
        for _ in range(25):
            assert bench.rpc.send_query(Ping(), ALICE.address, bench.on_done) is not None
        given_up = bench.rpc.send_query(Ping(), ALICE.address, bench.on_done)
        assert given_up is not None
        bench.rpc.forget(given_up)
        assert bench.rpc.pending == 25
        times = [trio.current_time()] * len(bench.socket.sent)
        while bench.rpc.pending:
            await trio.sleep(0.5)
            times += [trio.current_time()] * (len(bench.socket.sent) - len(times))
        assert len(bench.outcomes) == len(times) == 26
        assert all(late - early > 10 for early, late in zip(times, times[10:], strict=False))


async def test_host_that_never_answered_is_soon_sent_no_more(autojump_clock: MockClock) -> None:
    bound = OutgoingBound(trio.current_time)
    async with open_bench(outgoing=bound) as bench:
        for _ in range(8):
            bench.rpc.send_query(Ping(), ALICE.address, bench.on_done)
        assert len(bench.socket.sent) == MOST_KNOWN
        await trio.sleep(2 * PATIENCE)
        assert [type(each) for each in bench.outcomes] == [QueryNotSent] * (8 - MOST_KNOWN)
        assert len(bench.socket.sent) == MOST_KNOWN


async def test_first_answer_of_a_host_lets_the_others_leave(autojump_clock: MockClock) -> None:
    bound = OutgoingBound(trio.current_time)
    async with open_bench(outgoing=bound) as bench:
        asked = bench.ask()
        for _ in range(8):
            bench.rpc.send_query(Ping(), ALICE.address, bench.on_done)
        assert len(bench.socket.sent) == MOST_KNOWN
        bench.answer(asked)
        await trio.sleep(2 * LOOK_PERIOD)
        assert len(bench.socket.sent) == 9
