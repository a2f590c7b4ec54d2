"""The real socket and the real resolver, on this machine only."""

import errno
import socket as kernel
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from dhtnode.addresses import Address, Family
from dhtnode.errors import AddressInUse, CannotListen
from dhtnode.udp import RECEIVE_BYTES, UdpSocket, open_udp_socket, resolve

BOTH = frozenset(Family)
LOCALHOST = {Family.IPV4: "127.0.0.1", Family.IPV6: "::1"}


@contextmanager
def opened(host: str = "127.0.0.1", port: int = 0) -> Iterator[UdpSocket]:
    socket = open_udp_socket(Address(host, port))
    try:
        yield socket
    finally:
        socket.close()


@pytest.mark.parametrize("family", Family)
async def test_datagram_arrives_with_its_source(family: Family) -> None:
    """The source is exactly the address that the other side knows itself by."""
    with opened(LOCALHOST[family]) as alice, opened(LOCALHOST[family]) as bob:
        sent = alice.send_nowait(b"hello", bob.address)
        await bob.wait_readable()

        assert (sent, bob.receive_nowait()) == (True, (b"hello", alice.address))
        assert bob.receive_nowait() is None
        assert alice.address.family is family


async def test_large_datagram_arrives_whole() -> None:
    """One implementation answers with its whole table."""
    data = bytes(range(256)) * 200
    with opened() as alice, opened() as bob:
        alice.send_nowait(data, bob.address)
        await bob.wait_readable()

        assert bob.receive_nowait() == (data, alice.address)
        assert len(data) < RECEIVE_BYTES


async def test_empty_datagram_is_not_mistaken_for_none() -> None:
    """No bytes are something, too."""
    with opened() as alice, opened() as bob:
        alice.send_nowait(b"", bob.address)
        await bob.wait_readable()

        assert bob.receive_nowait() == (b"", alice.address)


async def test_port_zero_picks_a_free_port() -> None:
    """A different one for each."""
    with opened() as alice, opened() as bob:
        assert 0 < alice.address.port != bob.address.port > 0


async def test_busy_port_is_told() -> None:
    """With the address that is taken."""
    with opened() as alice, pytest.raises(AddressInUse, match=f"{alice.address} is in use"):
        open_udp_socket(alice.address)


async def test_port_is_free_again_after_closing() -> None:
    """Nothing is left behind."""
    with opened() as first:
        address = first.address

    with opened(*address) as second:
        assert second.address == address


@pytest.mark.parametrize("host", ["8.8.8.8", "2001:db8::1"])
async def test_foreign_address_cannot_be_listened_on(host: str) -> None:
    """It is not one of ours."""
    with pytest.raises(CannotListen, match="cannot listen on"):
        open_udp_socket(Address(host, 6881))


async def test_missing_family_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some machines have no IPv6."""

    def fail(*_args: object) -> None:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported")

    monkeypatch.setattr(kernel, "socket", fail)
    with pytest.raises(CannotListen, match="not supported"):
        open_udp_socket(Address("::1", 0))


@pytest.mark.parametrize(
    "destination",
    [Address("255.255.255.255", 6881), Address("8.8.8.8", 6881), Address("127.0.0.1", 0)],
    ids=str,
)
async def test_send_that_cannot_leave_returns_false(destination: Address) -> None:
    """No route from loopback, no permission to broadcast, no such port: all the same as lost."""
    with opened() as socket:
        assert not socket.send_nowait(b"hello", destination)


async def test_ipv6_socket_takes_no_ipv4() -> None:
    """The two networks are kept apart (BEP 32): no IPv4-mapped sources."""
    with opened("::1") as socket:
        assert not socket.send_nowait(b"hello", Address("::ffff:127.0.0.1", 6881))


async def test_socket_survives_an_unreachable_port() -> None:
    """The ICMP message that comes back is not an error of ours."""
    with opened() as alice:
        with opened() as gone:
            nobody = gone.address
        alice.send_nowait(b"hello", nobody)
        alice.send_nowait(b"myself", alice.address)
        await alice.wait_readable()

        received = [alice.receive_nowait() for _ in range(3)]
        assert (b"myself", alice.address) in received


async def test_closing_wakes_whoever_waits() -> None:
    """Instead of leaving a task behind."""
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
    """The one name that every machine has."""
    assert Address("127.0.0.1", 6881) in await resolve("localhost:6881", BOTH)


@pytest.mark.parametrize(
    "text", ["no-such-host.invalid:6881", "a..b:6881", f"{'a' * 64}.example:6881", "\udcff:6881", "a\0b:6881"]
)
async def test_name_that_does_not_resolve_is_nobody(text: str) -> None:
    """One bad way in must not keep us from the others."""
    assert await resolve(text, BOTH) == []


async def test_name_server_that_hangs_is_given_up(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """The others are waiting."""

    async def hang(*_args: object, **_options: object) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(trio.socket, "getaddrinfo", hang)

    assert await resolve("example.org:6881", BOTH) == []


@pytest.mark.parametrize("text", ["", "localhost", "localhost:", ":6881", "::1:6881", "host:65536", "host:x"])
async def test_text_that_is_no_host_and_port_is_the_callers_mistake(text: str) -> None:
    """It would never become right."""
    with pytest.raises(ValueError, match=r"HOST:PORT|brackets"):
        await resolve(text, BOTH)
