"""What the receive loop does with datagrams: replies, batches, and faults that cost one packet."""

import bencode2
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from dhtnode.krpc.codec import MAX_VALUES, encode
from dhtnode.krpc.messages import Error, Ping, Query, Response
from dhtnode.net.transactions import Answer
from dhtnode.net.udp import Received
from tests.net.bench import ALICE, BOB, OWN, open_bench


async def test_query_of_another_is_answered(autojump_clock: MockClock) -> None:
    async with open_bench() as bench:
        bench.socket.deliver(Query(b"aa", ALICE.node_id, Ping()), ALICE.address)
        await wait_all_tasks_blocked()
        assert bench.socket.sent == [(Response(b"aa", OWN, external_address=ALICE.address), ALICE.address)]
        assert bench.count("queries received", "replies sent") == [1, 1, 0]


async def test_silence_is_an_answer_too(autojump_clock: MockClock) -> None:
    async with open_bench(lambda *_: None) as bench:
        bench.socket.deliver(Query(b"aa", ALICE.node_id, Ping()), ALICE.address)
        await wait_all_tasks_blocked()
        assert (bench.socket.sent, bench.count("replies sent", "errors sent")) == ([], [0, 0, 0])


async def test_read_only_node_answers_nothing(autojump_clock: MockClock) -> None:
    """Neither queries nor bad ones, and it says so in its own (BEP 43)."""
    async with open_bench(read_only=True) as bench:
        bench.socket.deliver(Query(b"aa", ALICE.node_id, Ping()), ALICE.address)
        bench.socket.deliver(b"d1:ade1:q4:ping1:t2:aa1:y1:qe", ALICE.address)
        await wait_all_tasks_blocked()
        transaction_id = bench.ask()
        assert bench.socket.sent == [(Query(transaction_id, OWN, Ping(), read_only=True), ALICE.address)]
        assert bench.count("dropped: query while read-only") == [2, 0]


async def test_callback_that_raises_costs_one_packet(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_args: object) -> None:
        raise ZeroDivisionError

    async with open_bench(fail) as bench:
        answered, refused = (bench.rpc.send_query(Ping(), ALICE.address, fail) for _ in range(2))
        bench.rpc.send_query(Ping(), BOB.address, fail, on_stall=fail)
        bench.answer(answered.transaction_id)
        bench.socket.deliver(Error(refused.transaction_id, 201, ""), ALICE.address)
        bench.socket.deliver(Query(b"aa", ALICE.node_id, Ping()), ALICE.address)
        await trio.sleep(60)
        transaction_id = bench.ask()
        bench.answer(transaction_id)
        await wait_all_tasks_blocked()

        assert [type(outcome) for outcome in bench.outcomes] == [Answer]
        assert (bench.count(), len(caplog.records), bench.rpc.pending) == ([5], 5, 0)


async def test_burst_larger_than_a_batch_is_handled_to_its_end(autojump_clock: MockClock) -> None:
    async with open_bench(receive_batch=4) as bench:
        for number in range(50):
            bench.socket.deliver(Query(b"%04d" % number, ALICE.node_id, Ping()), ALICE.address)
        await wait_all_tasks_blocked()
        answered = [message.transaction_id for message, _ in bench.socket.sent]
        assert answered == [b"%04d" % number for number in range(50)]


def slow_queries() -> list[Received]:
    """Return nine queries with unsorted keys: not canonical, so that reading takes long."""
    queries = [encode(Query(b"%02d" % number, ALICE.node_id, Ping())) for number in range(9)]
    return [(data.replace(b"1:y1:q", b"")[:-1] + b"1:y1:q1:v1:xe", ALICE.address) for data in queries]


async def test_turn_ends_when_its_time_is_over(autojump_clock: MockClock) -> None:
    """What is left is handled in the next one, in its order."""
    async with open_bench() as bench:
        arrived = slow_queries()
        left = bench.receiver.handle_untrusted(arrived, 1.0, 0.0)
        while left:
            assert left == arrived[-len(left) :]
            left = bench.receiver.handle_untrusted(left, 1.0, 0.0)

        assert [message.transaction_id for message, _ in bench.socket.sent] == [b"%02d" % n for n in range(9)]
        assert bench.count("datagrams received", "queries received") == [9, 9, 0]


async def test_what_is_too_slow_for_the_clock_is_left_to_the_task(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_bench() as bench:
        await wait_all_tasks_blocked()
        batches = [slow_queries()]
        monkeypatch.setattr(bench.socket, "receive_batch", lambda _most: batches.pop() if batches else [])
        assert bench.receiver.receive(trio.current_time() - 1, 9) == 9
        assert len(bench.socket.sent) == 1
        await wait_all_tasks_blocked()
        answered = [message.transaction_id for message, _ in bench.socket.sent]
        assert answered == [b"%02d" % number for number in range(9)]


def watch_strict_decoder(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return a list that takes all that it is shown."""
    shown: list[bytes] = []
    strict = bencode2.bdecode
    monkeypatch.setattr("bencode2.bdecode", lambda data: (shown.append(data), strict(data))[1])
    return shown


async def test_refusal_of_the_strict_decoder_is_not_had_twice_in_a_row(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes as long as many good packets; a source that is canonical again gets the strict one back."""
    shown = watch_strict_decoder(monkeypatch)
    good, (odd, _) = encode(Query(b"aa", ALICE.node_id, Ping())), slow_queries()[0]
    packets = [(packet, ALICE.address) for packet in (good, odd, odd, odd, good, good)]
    async with open_bench() as bench:
        bench.receiver.handle_untrusted([*packets[:4], (good, BOB.address), *packets[4:]], 1.0)

        # The third is that of another source; the socket of the bench reads replies.
        assert [packet for packet in shown if packet in (good, odd)] == [good, odd, good, good]
        assert bench.count("queries received", "replies sent") == [7, 7, 0]


async def test_long_query_of_a_stranger_is_not_shown_to_the_strict_decoder(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be deep; answers to queries of ours are long, and are."""
    shown = watch_strict_decoder(monkeypatch)
    long = b"d1:ad2:id20:%b1:x600:%be1:q4:ping1:t2:aa1:y1:qe" % (ALICE.node_id, bytes(600))
    async with open_bench() as bench:
        bench.receiver.handle_untrusted([(long, ALICE.address)], 1.0)
        assert (long in shown, bench.count("replies sent")) == (False, [1, 0])
        answer = encode(Response(bench.ask(), ALICE.node_id, nodes=bytes(26 * 30)))
        bench.receiver.handle_untrusted([(answer, ALICE.address)], 1.0)
        assert (answer in shown, len(bench.outcomes)) == (True, 1)


@pytest.mark.parametrize("count", [300, 2000, 8000])
@pytest.mark.parametrize("ending", [b"", b"\n"])
async def test_long_answer_is_taken_whole_up_to_the_number_of_values(
    autojump_clock: MockClock, count: int, ending: bytes
) -> None:
    values = tuple(b"%06d" % number for number in range(count))
    async with open_bench() as bench:
        reply = Response(bench.ask(), ALICE.node_id, nodes=bytes(26 * 8), token=b"token", values=values)
        bench.receiver.handle_untrusted([(encode(reply) + ending, ALICE.address)], 1.0)
        (answer,) = bench.outcomes
        assert isinstance(answer, Answer)
        assert answer.response == reply._replace(values=values[:MAX_VALUES])
