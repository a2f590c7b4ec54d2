"""No error of the kernel ends a node, keeps it busy, or passes uncounted."""

import errno
import socket as kernel
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from dhtnode import Node, QueryTimeout, open_node
from dhtnode.addresses import Address
from dhtnode.net.udp import ATTEMPTS, PAUSE, UdpSocket
from dhtnode.testing import QUEUE_LIMIT, MemoryNetwork
from tests.send_errors import SEND_ERRORS

RECEIVE_ERRORS = [number for number in SEND_ERRORS if number != errno.EAGAIN]  # which is no error there
TOO_MANY = 5_000  # failures, after which a test for a busy loop gives up

HOURS = 1  # without a network


def name_of(number: int) -> str:
    return errno.errorcode[number]


class FailingSocket(kernel.socket):
    """A socket of the kernel whose calls fail while an error is set."""

    def __init__(self) -> None:
        super().__init__(kernel.AF_INET, kernel.SOCK_DGRAM)
        self.setblocking(False)
        self.bind(("127.0.0.1", 0))
        self.send_error: OSError | None = None
        self.receive_error: OSError | None = None
        self.failures = 0
        self.fails_until = TOO_MANY

    def recvfrom(self, size: int, flags: int = 0) -> tuple[bytes, tuple[str, int]]:
        if self.receive_error is not None and self.failures < self.fails_until:
            self.failures += 1
            raise self.receive_error
        return super().recvfrom(size, flags)

    def sendto(self, data: bytes, address: Address) -> int:
        if self.send_error is not None:
            self.failures += 1
            raise self.send_error
        return super().sendto(data, address)


@pytest.fixture
def clock(mock_clock: MockClock) -> MockClock:
    """A clock that jumps only when the kernel has had time to carry a datagram over loopback."""
    mock_clock.autojump_threshold = 0.01
    return mock_clock


@asynccontextmanager
async def opened(failing: FailingSocket) -> AsyncIterator[tuple[Node, Node, UdpSocket]]:
    socket = UdpSocket(failing)
    async with (
        open_node(sockets=[socket], well_known=False) as node,
        open_node(listen=["127.0.0.1:0"], well_known=False) as other,
    ):
        await node.wait_joined()
        await other.ping(node.addresses[0])
        yield node, other, socket
        found = await other.ping(node.addresses[0])
        assert found.node_id == node.node_id
        (statistics,) = node.statistics().sockets
        assert statistics.counts.get("internal errors", 0) == 0


@pytest.mark.parametrize("number", SEND_ERRORS, ids=name_of)
async def test_node_answers_again_after_it_could_not_send(clock: MockClock, number: int) -> None:
    """A reply is lost, nothing else; the counters say what the kernel said."""
    async with opened(failing := FailingSocket()) as (node, other, socket):
        failing.send_error = OSError(number, "made up")
        with pytest.raises(QueryTimeout):
            await other.ping(node.addresses[0])
        failing.send_error = None
        assert socket.errors == {f"send {name_of(number)}": failing.failures}
        assert failing.failures > 0


@pytest.mark.parametrize("number", RECEIVE_ERRORS, ids=name_of)
async def test_node_is_not_kept_busy_by_an_error_that_stays(clock: MockClock, number: int) -> None:
    async with opened(failing := FailingSocket()) as (node, other, socket):
        start = trio.current_time()
        failing.receive_error = OSError(number, "made up")
        with pytest.raises(QueryTimeout):
            await other.ping(node.addresses[0])
        looks = 2 + (trio.current_time() - start) / PAUSE
        failing.receive_error = None
        assert socket.errors == {f"receive {name_of(number)}": failing.failures}
        assert ATTEMPTS < failing.failures <= ATTEMPTS * looks


@pytest.mark.parametrize("times", range(1, ATTEMPTS + 2))
async def test_datagram_behind_an_error_is_received_at_once(times: int) -> None:
    """Errors that are gone when told hold nothing up; only after some in a row the socket gives in."""
    failing = FailingSocket()
    failing.receive_error, failing.fails_until = ConnectionRefusedError(errno.ECONNREFUSED, "told"), times
    socket = UdpSocket(failing)
    socket.send_nowait(b"hello", socket.address)
    await trio.lowlevel.wait_readable(failing)
    received = [socket.receive_nowait() for _ in range(3)]
    hello = (b"hello", socket.address)
    assert received == ([hello, None, None] if times < ATTEMPTS else [None, hello, None])
    assert socket.errors == {"receive ECONNREFUSED": times}
    socket.close()


@pytest.mark.parametrize(
    ("error", "name"), [(OSError("without a number"), "OSError"), (kernel.gaierror(-2, "a name"), "gaierror")]
)
async def test_error_without_a_known_number_goes_by_its_kind(error: OSError, name: str) -> None:
    failing = FailingSocket()
    failing.send_error = error
    socket = UdpSocket(failing)
    assert not socket.send_nowait(b"hello", socket.address)
    assert socket.errors == {f"send {name}": 1}
    socket.close()


async def test_node_lives_without_being_woken(clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel without memory for one more thing to watch is asked now and then instead."""

    async def fail(_socket: object) -> None:
        await trio.lowlevel.checkpoint()
        raise OSError(errno.ENOSPC, "No space left on device")

    async with opened(FailingSocket()) as (node, other, socket):
        monkeypatch.setattr(trio.lowlevel, "wait_readable", fail)
        start = trio.current_time()
        await other.ping(node.addresses[0])
        await trio.sleep(10 * PAUSE)
        looks = 2 + (trio.current_time() - start) / PAUSE
        assert 0 < socket.errors["wait ENOSPC"] <= looks


async def test_node_without_a_network_waits_for_it(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(seed=1)
    socket = network.socket(network.host(30))
    send, failed, is_down = socket.send_nowait, 0, False

    def send_or_fail(data: bytes, destination: Address) -> bool:
        nonlocal failed
        failed += is_down
        return not is_down and send(data, destination)

    socket.send_nowait = send_or_fail
    async with (
        network.open_nodes(12) as nodes,
        open_node(sockets=[socket], bootstrap=[str(nodes[0].addresses[0])], well_known=False) as node,
    ):
        await node.wait_joined()
        known = set(node.contacts())
        is_down = True
        await trio.sleep(HOURS * 3600)
        is_down = False

        assert 0 < failed < HOURS * 3600
        assert known <= set(node.contacts())
        assert len(await node.find_node(nodes[3].node_id)) == 8


async def test_memory_socket_drops_like_a_kernel(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(latency=(0.1, 0.1))
    alice, bob = network.socket(network.host(0)), network.socket(network.host(1))
    for _ in range(QUEUE_LIMIT + 7):
        alice.send_nowait(b"hello", bob.address)
    before = bob.dropped_by_kernel()
    await trio.sleep(1.0)
    assert (before, bob.dropped_by_kernel(), alice.dropped_by_kernel()) == (0, 7, 0)
    bob.close()
    assert bob.dropped_by_kernel() == 7
