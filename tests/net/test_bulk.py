"""Bulk queries: each ends once, whatever comes back, and from any source."""

import errno
import itertools
from collections import Counter
from functools import partial
from math import inf
from os import strerror
from random import Random

import pytest
import trio

from dhtnode.addresses import Address, Family
from dhtnode.errors import BadResponse, ForeignSource, QueryNotSent, QueryRefused, QueryTimeout
from dhtnode.ids import NodeId, random_id
from dhtnode.krpc.codec import decode_untrusted, encode, parse_untrusted
from dhtnode.krpc.messages import Error, FindNode, GetPeers, Response, SampleInfohashes
from dhtnode.net import bulk
from dhtnode.net.bulk import BulkClient
from dhtnode.net.outgoing import MOST_PACKETS, MOST_UNHEARD, OutgoingBound
from dhtnode.net.round_trips import FIRST_TIMEOUT
from dhtnode.net.udp import DatagramSocket
from dhtnode.net.unsent import CLOGGED, DOWN_PAUSE, NO_ROUTE, OUTAGE, PATIENCE
from dhtnode.testing import MemoryNetwork

HERE, THERE = 1, 2
NODE_ID = NodeId(b"n" * 20)


def unbounded():
    """Return a bound on what is sent whose clock goes too fast for it."""
    return OutgoingBound(partial(next, itertools.count(0, 100)))


class Scene:
    """A client and a socket that answers by hand."""

    def __init__(self, outgoing=None):
        self.network = MemoryNetwork(seed=1, latency=(0.05, 0.05))
        socket = self.network.socket(self.network.host(HERE))
        self.client = BulkClient(socket, random_bytes=Random(1).randbytes, outgoing=outgoing or unbounded())
        self.remote = self.network.socket(self.network.host(THERE))
        self.ended = []
        self.template = self.client.template(FindNode)

    def on_results(self, results, _now):
        self.ended += [(tag, result, took) for tag, result, took, _ in results]

    def send(self, tag="tag", target=b"t" * 20):
        query = self.template, target, self.remote.address, tag
        assert not any(self.client.send_batch([query], trio.current_time()))

    async def take_query(self):
        await self.remote.wait_readable()
        data, source = self.remote.receive_nowait()
        return decode_untrusted(data, Family.IPV4), Address(*source)

    async def run(self, seconds):
        until = trio.current_time() + seconds
        while trio.current_time() < until:
            await self.client.wait(until)
            self.client.receive()


@pytest.fixture
async def scene():
    """Yield a scene whose client is attached."""
    scene = Scene()
    with scene.client.attached(scene.on_results):
        yield scene


@pytest.fixture
async def bounded_scene():
    """Yield a scene where hosts are sent no more than they may be."""
    scene = Scene(OutgoingBound(trio.current_time))
    with scene.client.attached(scene.on_results):
        yield scene


@pytest.mark.parametrize("method", [FindNode, SampleInfohashes, lambda target: GetPeers(target, scrape=True)])
async def test_query_is_what_the_codec_would_write(autojump_clock, scene, method):
    """Written fast, readable for all clients; and it says that we answer no queries (BEP 43)."""
    target = random_id(Random(2))
    query = scene.client.template(method), target, scene.remote.address, None
    assert not any(scene.client.send_batch([query], 0.0))
    query, source = await scene.take_query()
    assert query.method == method(target)
    assert query.read_only
    assert source == scene.client.socket.address


async def test_answer_is_told_once_with_its_tag_and_time(autojump_clock, scene):
    scene.send("first")
    query, source = await scene.take_query()
    for _ in range(3):
        scene.remote.send_nowait(encode(Response(query.transaction_id, NODE_ID, nodes=b"")), source)
    await scene.run(10.0)
    ((tag, result, took),) = scene.ended
    assert (tag, result.node_id, took) == ("first", NODE_ID, pytest.approx(0.1))
    assert scene.client.events["dropped: unknown transaction"] == 2
    assert scene.client.unexpected == {tuple(scene.remote.address): 2}
    assert scene.client.in_flight == 0


async def test_silence_ends_in_a_timeout(autojump_clock, scene):
    began = trio.current_time()
    scene.send()
    await scene.run(FIRST_TIMEOUT + 1)
    ((_, result, took),) = scene.ended
    assert isinstance(result, QueryTimeout)
    assert took == pytest.approx(FIRST_TIMEOUT)
    assert trio.current_time() >= began + FIRST_TIMEOUT


@pytest.mark.parametrize(
    ("reply", "failure"),
    [
        (lambda t: encode(Error(t, 201, "slow down")), QueryRefused),
        (lambda t: b"d1:rd2:id5:shorte1:t4:" + t + b"1:y1:re", BadResponse),
        (lambda t: b"d1:q4:ping1:t4:" + t + b"1:y1:qe", BadResponse),
        (lambda t: b"garbage1:t4:" + t + b"more garbage", BadResponse),
        (lambda t: b"d1:rd2:id20:" + NODE_ID + b"e1:t4:zzzz1:v8:1:t4:" + t + b"e", BadResponse),
    ],
)
async def test_everything_else_from_the_node_asked_is_a_failure(autojump_clock, scene, reply, failure):
    scene.send()
    query, source = await scene.take_query()
    scene.remote.send_nowait(reply(query.transaction_id), source)
    await scene.run(1.0)
    ((_, result, _),) = scene.ended
    assert isinstance(result, failure)


async def test_answer_from_elsewhere_does_not_count(autojump_clock, scene):
    other = scene.network.socket(scene.network.host(9))
    for tag in ("both", "elsewhere"):
        scene.send(tag)
    for tag in ("both", "elsewhere"):
        query, source = await scene.take_query()
        other.send_nowait(encode(Response(query.transaction_id, NODE_ID)), source)
        await scene.run(0.2)
        if tag == "both":
            scene.remote.send_nowait(encode(Response(query.transaction_id, NODE_ID)), source)
    await scene.run(20.0)

    by_tag = {tag: result for tag, result, _ in scene.ended}
    assert by_tag["both"].node_id == NODE_ID
    assert isinstance(by_tag["elsewhere"], ForeignSource)
    assert scene.client.events["dropped: foreign source"] == 2


async def test_unknown_sources_are_dropped_unread_and_remembered_within_bounds(
    autojump_clock, scene, monkeypatch
):
    monkeypatch.setattr("dhtnode.net.bulk.MAX_UNEXPECTED", 5)
    for number in range(20, 40):
        scene.network.socket(scene.network.host(number)).send_nowait(
            b"d1:t4:abcde", scene.client.socket.address
        )
    await scene.run(1.0)
    assert scene.client.events == {"dropped: unknown transaction": 20}
    assert len(scene.client.unexpected) == 5


async def test_window_grows_with_answers_in_time_and_shrinks_with_late_ones(autojump_clock, scene):
    free = [scene.client.free_slots(2000)]
    for delay, count in ((0.0, 100), (1.0, 20)):
        for _ in range(count):
            scene.send()
        queries = [await scene.take_query() for _ in range(count)]
        await trio.sleep(delay)
        for query, source in queries:
            scene.remote.send_nowait(encode(Response(query.transaction_id, NODE_ID, nodes=b"")), source)
        await scene.run(0.2)
        free.append(scene.client.free_slots(2000))

    assert free == [64, 164, 144]
    scene.send()
    assert scene.client.free_slots(10) == 9


async def test_late_queries_are_no_longer_awaited(autojump_clock, scene):
    """A node that does not answer in time frees a place for another, long before the timeout."""
    for number in range(10):
        scene.send(number)
    before = scene.client.awaited
    for _ in range(5):
        query, source = await scene.take_query()
        scene.remote.send_nowait(encode(Response(query.transaction_id, NODE_ID)), source)
    await scene.run(0.06)
    between = scene.client.awaited
    await scene.run(1.0)
    assert (before, between, scene.client.awaited) == (10, 5, 0)
    assert scene.client.in_flight == 5


async def test_forgotten_queries_end_without_a_call(autojump_clock, scene):
    scene.send()
    query, source = await scene.take_query()
    scene.client.forget_all()
    scene.remote.send_nowait(encode(Response(query.transaction_id, NODE_ID)), source)
    await scene.run(10.0)
    assert scene.ended == []
    assert (scene.client.in_flight, scene.client.awaited) == (0, 0)


async def test_second_owner_is_refused(autojump_clock, scene):
    with pytest.raises(RuntimeError, match="in use"), scene.client.attached(lambda *_: None):
        pass
    scene.send()
    await scene.run(10.0)
    assert [tag for tag, *_ in scene.ended] == ["tag"]


async def test_next_owner_hears_nothing_of_the_one_before(autojump_clock):
    scene, first = Scene(), []
    with scene.client.attached(lambda *outcome: first.append(outcome)):
        scene.send("first")
    with scene.client.attached(scene.on_results):
        scene.send("second")
        await scene.run(10.0)
    assert first == []
    assert [tag for tag, *_ in scene.ended] == ["second"]


class FailingSocket(DatagramSocket):
    """A socket whose kernel refuses to send to some, or to all, for a reason and for a while."""

    def __init__(self, socket, reason, *, refused=None):
        self.address, self.errors = socket.address, socket.errors
        self.receive_nowait, self.wait_readable = socket.receive_nowait, socket.wait_readable
        self.reason, self.refused, self.is_failing = reason, refused, True
        self._socket = socket

    def send_batch(self, datagrams):
        failed = {}
        for at, (data, destination) in enumerate(datagrams):
            if not self.has_route(destination):
                failed[at] = self.reason
            else:
                self._socket.send_nowait(data, destination)
        return failed

    def has_route(self, destination):
        return not (self.is_failing and (self.refused is None or destination in self.refused))

    async def wait_writable(self):
        await trio.lowlevel.checkpoint()


class FailingScene:
    """A client over a socket that fails, and what it says."""

    def __init__(self, reason, *, is_failing=True, refused=None):
        network = MemoryNetwork(seed=1)
        self.socket = FailingSocket(network.socket(network.host(HERE)), reason, refused=refused)
        self.socket.is_failing = is_failing
        self.client = BulkClient(self.socket, random_bytes=Random(1).randbytes, outgoing=unbounded())
        self.template = self.client.template(FindNode)
        self.network = network

    def send(self, *hosts):
        queries = [(self.template, b"t" * 20, Address(self.network.host(host), 6881), None) for host in hosts]
        later, never = self.client.send_batch(queries, trio.current_time())
        return list(later), list(never)


@pytest.mark.parametrize("reason", [errno.EAGAIN, errno.ENOBUFS])
async def test_query_without_a_buffer_leaves_when_there_is_one(autojump_clock, reason):
    scene = FailingScene(reason)
    assert scene.send(3, 4) == ([0, 1], [])
    assert scene.client.is_stuck
    assert scene.client.in_flight == 0

    began = trio.current_time()
    await scene.client.wait(began + 100.0)
    assert trio.current_time() - began == pytest.approx(0.01)
    assert not scene.client.is_stuck
    scene.socket.is_failing = False
    assert scene.send(3) == ([], [])
    assert (scene.client.in_flight, scene.client.bytes_sent) == (1, scene.template.size)


@pytest.mark.parametrize("reason", [errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM])
async def test_no_destination_is_tried_for_ever(autojump_clock, reason):
    scene = FailingScene(reason, refused=[Address(MemoryNetwork().host(3), 6881)])
    began = trio.current_time()
    while scene.send(4, 3) == ([1], []):
        await scene.client.wait(trio.current_time() + 1.0)
        scene.client.receive()
    assert trio.current_time() - began == pytest.approx(PATIENCE, abs=0.1)
    assert scene.send(5) == ([], [])


async def test_destination_that_the_kernel_refuses_is_given_up_at_once(autojump_clock):
    for reason in errno.errorcode.keys() - CLOGGED:
        scene = FailingScene(reason, refused=[Address(MemoryNetwork().host(3), 6881)])
        assert scene.send(3) == ([], [0])
        assert scene.send(4) == ([], [])
        # All of a batch: that tells nothing of the network, since there is a route to another node.
        assert scene.send(3) == ([], [0])
        assert scene.send(3, 5, 3) == ([], [0, 2])
        assert not scene.client.is_stuck


@pytest.mark.parametrize("reason", sorted(NO_ROUTE))
async def test_network_that_is_gone_is_waited_for_but_not_for_ever(autojump_clock, caplog, reason):
    scene = FailingScene(reason, is_failing=False)
    assert scene.send(3) == ([], [])
    scene.socket.is_failing = True
    began = trio.current_time()
    while scene.send(4, 5) == ([0, 1], []):
        await scene.client.wait(began + 1000.0)
        scene.client.receive()
    assert trio.current_time() - began == pytest.approx(OUTAGE, abs=DOWN_PAUSE)
    assert scene.client.is_cut_off
    assert scene.send(6, 7, 8) == ([], [0, 1, 2])
    assert caplog.messages == [f"IPv4: no network for 60 s ({strerror(reason)})"]

    scene.socket.is_failing = False
    assert scene.send(9) == ([], [])
    assert not scene.client.is_cut_off


async def test_family_that_was_never_reached_is_left_out_with_one_line(autojump_clock, caplog):
    scene = FailingScene(errno.ENETUNREACH)
    for host in range(3, 20):
        assert scene.send(host) == ([], [0])
    assert caplog.messages == ["IPv4 cannot be used here (Network is unreachable): its nodes are left out"]


def query_ports(scene, count):
    """Query so many ports of one host; return the times and ports of what leaves, as it does."""
    ports = [scene.network.socket(scene.network.host(50), 7000 + port) for port in range(count)]
    sent, carry = [], scene.network.carry

    def record(data, source, destination, now):
        if source == scene.client.socket.address:
            sent.append((now, destination.port))
        carry(data, source, destination, now)

    scene.network.carry = record
    queries = [(scene.template, b"t" * 20, each.address, each.address.port) for each in ports]
    assert not any(scene.client.send_batch(queries, trio.current_time()))
    assert scene.client.in_flight == count
    return ports, sent


async def answer_all(socket):
    while True:
        await socket.wait_readable()
        data, source = socket.receive_nowait()
        transaction_id = decode_untrusted(data, Family.IPV4).transaction_id
        socket.send_nowait(encode(Response(transaction_id, NODE_ID, nodes=b"")), Address(*source))


async def test_host_that_was_sent_enough_gets_more_later(autojump_clock, bounded_scene):
    """Whatever port of it, once one has answered: and each query ends, with the time since it has left."""
    scene = bounded_scene
    ports, sent = query_ports(scene, 25)
    async with trio.open_nursery() as nursery:
        for each in ports:
            nursery.start_soon(answer_all, each)
        await scene.run(60.0)
        nursery.cancel_scope.cancel()
    assert scene.client.in_flight == 0
    assert [port for _, port in sent] == [each.address.port for each in ports]
    times = [time for time, _ in sent]
    assert all(late - early > 10 for early, late in zip(times, times[MOST_PACKETS:], strict=False))
    assert sorted(tag for tag, *_ in scene.ended) == [each.address.port for each in ports]
    assert {type(result) for _, result, _ in scene.ended} == {Response}
    assert [took for *_, took in scene.ended] == pytest.approx([0.1] * 25)
    assert scene.client.events["held back"] >= 15


async def test_silent_host_is_sent_few_and_the_other_queries_end(autojump_clock, bounded_scene):
    scene = bounded_scene
    _, sent = query_ports(scene, 25)
    await scene.run(4 * FIRST_TIMEOUT)
    assert scene.client.in_flight == 0
    assert len(sent) == MOST_UNHEARD
    outcomes = Counter(type(result) for _, result, _ in scene.ended)
    assert outcomes == {QueryTimeout: MOST_UNHEARD, QueryNotSent: 25 - MOST_UNHEARD}
    assert scene.client.events["not sent: enough sent to its host"] == 25 - MOST_UNHEARD


async def test_batch_that_is_slow_to_read_lets_others_have_their_turn(autojump_clock, monkeypatch, scene):
    """What is left is handled in the next turns, at once and before anything else counts as late."""
    slow = 0.4 * bulk.MAX_TURN

    def parse(data, *, is_answer):
        autojump_clock.jump(slow)
        return parse_untrusted(data, is_answer=is_answer)

    monkeypatch.setattr(bulk, "parse_untrusted", parse)
    for number in range(7):
        scene.send(number)
        query, source = await scene.take_query()
        answer = encode(Response(query.transaction_id, NODE_ID, nodes=b""))
        # Not canonical, so that it takes the slow way.
        scene.remote.send_nowait(answer.replace(b"2:id20:", b"2:id020:"), source)
    await trio.sleep(1.0)
    turns = []
    while scene.client.in_flight:
        before = trio.current_time()
        await scene.client.wait(inf)
        assert trio.current_time() == before
        turns.append(scene.client.receive())
    assert turns == [3, 3, 1]
    assert [tag for tag, *_ in scene.ended] == [*range(7)]
    assert {type(result) for _, result, _ in scene.ended} == {Response}


async def test_what_is_held_back_is_forgotten_with_the_rest(autojump_clock, bounded_scene):
    scene = bounded_scene
    address = scene.network.socket(scene.network.host(50)).address
    queries = [(scene.template, b"t" * 20, address, None)] * 15
    scene.client.send_batch(queries, trio.current_time())
    scene.client.forget_all()
    assert scene.client.in_flight == 0
    await scene.run(60.0)
    assert scene.ended == []
