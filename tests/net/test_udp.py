"""The real socket and the real resolver, on this machine only."""

import errno
import socket as kernel
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from dhtnode.addresses import Address, Family
from dhtnode.errors import AddressInUse, CannotListen
from dhtnode.net.udp import KERNEL_BUFFER_BYTES, RECEIVE_BYTES, UdpSocket, open_udp_socket, resolve

BOTH = frozenset(Family)
LOCALHOST = {Family.IPV4: "127.0.0.1", Family.IPV6: "::1"}
BEYOND_THE_LIMIT = 33  # SO_RCVBUFFORCE of Linux
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells, or lets us ask")


@contextmanager
def opened(host: str = "127.0.0.1", port: int = 0) -> Iterator[UdpSocket]:
    socket = open_udp_socket(Address(host, port))
    try:
        yield socket
    finally:
        socket.close()


@pytest.mark.parametrize("family", Family)
async def test_datagram_arrives_with_its_source(family: Family) -> None:
    with opened(LOCALHOST[family]) as alice, opened(LOCALHOST[family]) as bob:
        sent = alice.send_nowait(b"hello", bob.address)
        await bob.wait_readable()
        assert (sent, bob.receive_nowait()) == (True, (b"hello", alice.address))
        assert bob.receive_nowait() is None
        assert alice.address.family is family


@pytest.mark.parametrize("family", Family)
async def test_batch_arrives_in_its_order_and_no_longer_than_wanted(family: Family) -> None:
    with opened(LOCALHOST[family]) as alice, opened(LOCALHOST[family]) as bob:
        failed = alice.send_batch([(b"%d" % number, bob.address) for number in range(5)])
        await bob.wait_readable()
        first, rest, none = (bob.receive_batch(most) for most in (3, 64, 64))
    assert (failed, none) == ({}, [])
    assert first == [(b"%d" % number, alice.address) for number in range(3)]
    assert rest == [(b"%d" % number, alice.address) for number in (3, 4)]


async def test_batch_tells_which_datagrams_could_not_leave() -> None:
    with opened() as alice, opened() as bob:
        nowhere = Address("127.0.0.1", 0)
        failed = alice.send_batch(
            [(b"0", nowhere), (b"1", bob.address), (b"2", nowhere), (b"3", bob.address)]
        )
        await bob.wait_readable()
        assert (failed, alice.errors) == ({0: errno.EINVAL, 2: errno.EINVAL}, {"send EINVAL": 2})
        assert [data for data, _ in bob.receive_batch(64)] == [b"1", b"3"]


async def test_large_datagram_arrives_whole() -> None:
    data = bytes(range(256)) * 200
    with opened() as alice, opened() as bob:
        alice.send_nowait(data, bob.address)
        await bob.wait_readable()
        assert bob.receive_nowait() == (data, alice.address)
        assert len(data) < RECEIVE_BYTES


async def test_empty_datagram_is_not_mistaken_for_none() -> None:
    with opened() as alice, opened() as bob:
        alice.send_nowait(b"", bob.address)
        await bob.wait_readable()
        assert bob.receive_nowait() == (b"", alice.address)


async def test_port_zero_picks_a_free_port() -> None:
    with opened() as alice, opened() as bob:
        assert 0 < alice.address.port != bob.address.port > 0


async def test_busy_port_is_told() -> None:
    with opened() as alice, pytest.raises(AddressInUse, match=f"{alice.address} is in use"):
        open_udp_socket(alice.address)


async def test_port_is_free_again_after_closing() -> None:
    with opened() as first:
        address = first.address
    with opened(*address) as second:
        assert second.address == address


@pytest.mark.parametrize("host", ["8.8.8.8", "2001:db8::1"])
async def test_foreign_address_cannot_be_listened_on(host: str) -> None:
    with pytest.raises(CannotListen, match="cannot listen on"):
        open_udp_socket(Address(host, 6881))


async def test_missing_family_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object) -> None:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported")

    monkeypatch.setattr(kernel, "socket", fail)
    with pytest.raises(CannotListen, match="not supported"):
        open_udp_socket(Address("::1", 0))


class StubbornSocket(kernel.socket):
    """A socket that keeps what buffers it is asked for, and may refuse."""

    refused: tuple[int, ...] = ()
    asked: list[tuple[int, int]]

    def setsockopt(self, level: int, option: int, value: int) -> None:
        self.asked.append((option, value))
        if option in self.refused:
            raise PermissionError(errno.EPERM, "Operation not permitted")


@on_linux
@pytest.mark.parametrize(
    ("refused", "asked"),
    [
        ((), [BEYOND_THE_LIMIT]),
        ((BEYOND_THE_LIMIT,), [BEYOND_THE_LIMIT, kernel.SO_RCVBUF]),
        ((BEYOND_THE_LIMIT, kernel.SO_RCVBUF), [BEYOND_THE_LIMIT, kernel.SO_RCVBUF]),
    ],
    ids=["grants", "grants up to its limit", "refuses"],
)
async def test_large_buffer_is_asked_for_beyond_the_limit_first(
    monkeypatch: pytest.MonkeyPatch, refused: tuple[int, ...], asked: list[int]
) -> None:
    """Only some may go beyond it; and no buffer is worth doing without a socket."""
    monkeypatch.setattr(StubbornSocket, "asked", [], raising=False)
    monkeypatch.setattr(StubbornSocket, "refused", refused)
    monkeypatch.setattr(kernel, "socket", StubbornSocket)
    with opened():
        assert StubbornSocket.asked == [(option, KERNEL_BUFFER_BYTES) for option in asked]


@on_linux
@pytest.mark.parametrize("family", Family)
async def test_datagrams_that_found_the_buffer_full_are_counted(family: Family) -> None:
    with opened(LOCALHOST[family]) as alice, opened(LOCALHOST[family]) as bob:
        assert bob.dropped_by_kernel() == 0
        bob._socket.setsockopt(kernel.SOL_SOCKET, kernel.SO_RCVBUF, 10_000)

        sent = sum(alice.send_nowait(b"hello", bob.address) for _ in range(500))
        received = len(list(iter(bob.receive_nowait, None)))
        with trio.fail_after(10.0):
            while received + bob.dropped_by_kernel() < sent:  # a busy machine may deliver late
                await trio.lowlevel.checkpoint()
                received += len(list(iter(bob.receive_nowait, None)))

        assert sent == 500
        assert 0 < received < 500
        assert (bob.dropped_by_kernel(), alice.dropped_by_kernel()) == (500 - received, 0)
        for _ in range(500):
            alice.send_nowait(b"hello", bob.address)
    assert bob.dropped_by_kernel() > 500 - received


@on_linux
async def test_count_of_the_kernel_may_start_again_from_zero() -> None:
    class CountingSocket(kernel.socket):
        drops = 0

        def getsockopt(self, *_arguments: int) -> bytes:
            return struct.pack("=9I", *[7] * 8, self.drops)

    with CountingSocket(kernel.AF_INET, kernel.SOCK_DGRAM) as bound:
        socket = UdpSocket(bound)
        counted = []
        for bound.drops in (0, 5, 5, (1 << 32) - 1, 0, 3, 2):
            counted.append(socket.dropped_by_kernel())
    full = 1 << 32
    assert counted == [0, 5, 5, full - 1, full, full + 3, 2 * full + 2]


@pytest.mark.parametrize("answer", [b"", struct.pack("=8I", *range(8)), OSError(errno.ENOPROTOOPT, "no")])
async def test_kernel_that_does_not_count_drops_says_so(answer: bytes | OSError) -> None:
    class SilentSocket(kernel.socket):
        def getsockopt(self, _level: int, option: int, *_size: int) -> int | bytes:
            if option == kernel.SO_RCVBUF:
                return 1
            if isinstance(answer, OSError):
                raise answer
            return answer

    with SilentSocket(kernel.AF_INET, kernel.SOCK_DGRAM) as bound:
        assert UdpSocket(bound).dropped_by_kernel() is None


@pytest.mark.parametrize(
    "destination",
    [Address("255.255.255.255", 6881), Address("8.8.8.8", 6881), Address("127.0.0.1", 0)],
    ids=str,
)
async def test_send_that_cannot_leave_returns_false(destination: Address) -> None:
    with opened() as socket:
        assert not socket.send_nowait(b"hello", destination)
        assert socket.errors.total() == 1


async def test_ipv6_socket_takes_no_ipv4() -> None:
    """The two networks are kept apart (BEP 32): no IPv4-mapped sources."""
    with opened("::1") as socket:
        assert not socket.send_nowait(b"hello", Address("::ffff:127.0.0.1", 6881))


async def test_socket_survives_an_unreachable_port() -> None:
    with opened() as alice:
        with opened() as gone:
            closed = gone.address
        alice.send_nowait(b"hello", closed)
        alice.send_nowait(b"myself", alice.address)
        await alice.wait_readable()
        received = [alice.receive_nowait() for _ in range(3)]
        assert (b"myself", alice.address) in received


async def test_closing_wakes_waiting_tasks() -> None:
    outcome = []

    async def wait(socket: UdpSocket) -> None:
        try:
            await socket.wait_readable()
        except trio.ClosedResourceError:
            outcome.append("closed")

    async with trio.open_nursery() as nursery:
        with opened() as socket:
            nursery.start_soon(wait, socket)
            await wait_all_tasks_blocked()
    assert outcome == ["closed"]


async def test_closed_socket_lets_no_task_wait() -> None:
    with opened() as gone:
        pass
    for _ in range(2):
        with pytest.raises(trio.ClosedResourceError):
            await gone.wait_readable()
    assert gone.receive_nowait() is None
    assert not gone.send_nowait(b"hello", gone.address)


@pytest.mark.parametrize(
    ("text", "families", "expected"),
    [
        ("127.0.0.1:6881", BOTH, [Address("127.0.0.1", 6881)]),
        ("[::1]:6881", BOTH, [Address("::1", 6881)]),
        ("[::1]:6881", frozenset({Family.IPV4}), []),
        ("127.0.0.1:6881", frozenset({Family.IPV6}), []),
        ("[2a00:0:0::1]:1", BOTH, [Address("2a00::1", 1)]),
    ],
)
async def test_literal_addresses_resolve_to_themselves(
    text: str, families: frozenset[Family], expected: list[Address]
) -> None:
    """In canonical form, and only of the families that are wanted."""
    assert await resolve(text, families) == expected


async def test_name_resolves() -> None:
    assert Address("127.0.0.1", 6881) in await resolve("localhost:6881", BOTH)


@pytest.mark.parametrize(
    "text", ["no-such-host.invalid:6881", "a..b:6881", f"{'a' * 64}.example:6881", "\udcff:6881", "a\0b:6881"]
)
async def test_name_that_does_not_resolve_is_no_node(text: str) -> None:
    """One bad way in must not keep us from the others."""
    assert await resolve(text, BOTH) == []


async def test_name_server_that_hangs_is_given_up(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async def hang(*_args: object, **_options: object) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(trio.socket, "getaddrinfo", hang)
    assert await resolve("example.org:6881", BOTH) == []


@pytest.mark.parametrize("text", ["", "localhost", "localhost:", ":6881", "::1:6881", "host:65536", "host:x"])
async def test_text_that_is_no_host_and_port_is_the_callers_mistake(text: str) -> None:
    with pytest.raises(ValueError, match=r"HOST:PORT|brackets"):
        await resolve(text, BOTH)
