"""The clock that waits in place of Trio's loop, with real sockets of this machine."""

import queue
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import trio

import dhtnode
from dhtnode import NodeSettings, open_node
from dhtnode.net import NodeClock
from dhtnode.net.node_clock import BURST, ROUNDS, Handle

PING = b"d1:ad2:id20:" + b"a" * 20 + b"e1:q4:ping1:t2:aa1:y1:qe"


class Echo:
    """A socket that sends back what it gets, and counts who did it: the clock, or a task."""

    def __init__(self, clock: NodeClock, then: Callable[[], object] = bool) -> None:
        self.clock = clock
        self.by_clock: list[int] = []
        self.by_task = 0
        self.then = then
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)

    def calling(self) -> AbstractContextManager[None]:
        return self.clock.calling(self.socket.fileno(), self.handle)

    def handle(self, _now: float, most: int) -> int:
        with pytest.raises(RuntimeError):
            trio.lowlevel.current_task()
        self.by_clock.append(self.echo(most))
        self.then()
        return self.by_clock[-1]

    def echo(self, most: int) -> int:
        for count in range(most):
            try:
                data, source = self.socket.recvfrom(100)
            except BlockingIOError:
                return count
            self.socket.sendto(data, source)
        return most

    async def serve(self) -> None:
        with self.calling():
            while True:
                await trio.lowlevel.wait_readable(self.socket)
                self.by_task += self.echo(100)


async def in_thread(echo: Echo, count: int) -> None:
    """Send and receive one datagram at a time, while Trio sleeps."""

    def ask() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(10)
            for _ in range(count):
                asking.sendto(PING, echo.socket.getsockname())
                assert asking.recv(100) == PING

    await trio.to_thread.run_sync(ask)


def run(main: Callable[[NodeClock], object]) -> None:
    clock = NodeClock()
    trio.run(main, clock, clock=clock)


def test_datagrams_are_handled_outside_of_tasks() -> None:
    async def main(clock: NodeClock) -> None:
        echo = Echo(clock)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo.serve)
            await in_thread(echo, 4 * ROUNDS)
            nursery.cancel_scope.cancel()
        # Trio's loop has a turn after so many waits, and handles what comes then.
        assert sum(echo.by_clock) + echo.by_task == 4 * ROUNDS
        assert ROUNDS // 2 < sum(echo.by_clock) < 4 * ROUNDS
        before = list(echo.by_clock)
        await trio.sleep(0.01)
        assert echo.by_clock == before
        echo.socket.close()

    run(main)


def test_tasks_that_a_call_wakes_run_at_once() -> None:
    async def main(clock: NodeClock) -> None:
        woken = trio.Event()
        echo = Echo(clock, then=woken.set)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo.serve)
            nursery.start_soon(in_thread, echo, 1)
            await woken.wait()
            nursery.cancel_scope.cancel()
        echo.socket.close()

    run(main)


def test_deadline_that_a_call_sets_is_kept() -> None:
    async def main(clock: NodeClock) -> None:
        scope = trio.CancelScope()
        echo = Echo(clock, then=lambda: setattr(scope, "deadline", clock.current_time() + 0.01))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo.serve)
            nursery.start_soon(in_thread, echo, 1)
            with scope:
                await trio.sleep_forever()
            nursery.cancel_scope.cancel()
        assert scope.cancelled_caught
        echo.socket.close()

    run(main)


def test_stream_of_datagrams_holds_up_neither_deadlines_nor_sockets_of_tasks() -> None:
    async def main(clock: NodeClock) -> None:
        # Each call sends one more: something is always there.
        echo = Echo(clock, then=lambda: echo.socket.sendto(PING, echo.socket.getsockname()))
        here, there = socket.socketpair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo.serve)
            echo.then()
            await trio.sleep(0.01)
            there.send(b"x")
            await trio.lowlevel.wait_readable(here)
            nursery.cancel_scope.cancel()
        assert echo.by_clock
        for each in (here, there, echo.socket):
            each.close()

    run(main)


def test_more_than_a_burst_is_left_to_the_task() -> None:
    async def main(clock: NodeClock) -> None:
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        for _ in range(3 * BURST):
            there.send(b"x")
        calls: list[int] = []

        def handle(_now: float, most: int) -> int:
            calls.append(len([here.recv(1) for _ in range(most)]))
            return most

        with clock.calling(here.fileno(), handle):
            clock.deadline_to_sleep_time(clock.current_time() + 10)
        assert (set(calls[:-1]) <= {1}, calls[-1]) == (True, BURST)
        here.close()
        there.close()

    run(main)


def test_socket_with_nothing_to_give_is_left_to_the_task() -> None:
    """As one that fails again and again, and is readable all the time."""

    async def main(clock: NodeClock) -> None:
        here, there = socket.socketpair()
        there.send(b"x")
        calls: list[int] = []
        handle: Handle = lambda _now, most: calls.append(most) or 0  # noqa: E731
        with clock.calling(here.fileno(), handle):
            clock.deadline_to_sleep_time(clock.current_time() + 10)
        assert len(calls) == 1
        here.close()
        there.close()

    run(main)


def test_under_another_event_loop_it_is_a_clock_and_no_more() -> None:
    turns: queue.Queue[Callable[[], object]] = queue.Queue()
    done: list[object] = []
    clock = NodeClock()

    async def main() -> None:
        echo = Echo(clock)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo.serve)
            await in_thread(echo, 1)
            nursery.cancel_scope.cancel()
        assert (echo.by_clock, echo.by_task) == ([], 1)
        echo.socket.close()

    trio.lowlevel.start_guest_run(
        main, run_sync_soon_threadsafe=turns.put, done_callback=done.append, clock=clock
    )
    while not done:
        turns.get()()
    done[0].unwrap()


def test_node_under_it_answers_and_keeps_its_own_queries_going() -> None:
    async def main(_clock: NodeClock) -> None:
        async with (
            open_node(listen=["127.0.0.1:0"], well_known=False, settings=NodeSettings()) as node,
            open_node(listen=["127.0.0.1:0"], bootstrap=[str(node.addresses[0])]) as other,
        ):
            await other.wait_joined()
            for _ in range(2 * ROUNDS):
                assert (await other.ping(node.addresses[0])).node_id == node.node_id
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
                silent.bind(("127.0.0.1", 0))
                with pytest.raises(dhtnode.QueryTimeout):
                    await other.ping("{}:{}".format(*silent.getsockname()))
            (counts,) = (socket.counts for socket in node.statistics().sockets)
            assert counts["queries received"] >= 2 * ROUNDS

    run(main)


def test_with_another_trio_it_is_a_clock_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose insides are not those that it knows."""

    async def main(clock: NodeClock) -> None:
        monkeypatch.setattr(trio.lowlevel, "current_task", object)
        with clock.calling(0, lambda _now, most: most):
            monkeypatch.undo()
            assert 9 < clock.deadline_to_sleep_time(clock.current_time() + 10) <= 10

    run(main)
