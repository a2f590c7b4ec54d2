"""Sockets for clients on this machine: who may connect, who is kept out, and who cannot hold us up."""

import errno
import os
import socket
import stat
from contextlib import ExitStack, asynccontextmanager

import pytest
import trio

from dhtnode.addresses import Address
from dhtnode.daemon.local_socket import (
    MAX_ANSWER,
    MAX_CLIENTS,
    PAUSE,
    NoDaemonListens,
    address_of,
    listening_on_loopback,
    listening_on_path,
    query_socket,
    serve_clients,
)
from dhtnode.errors import AddressInUse, CannotListen

PATIENCE = 60.0


@pytest.fixture
def path(tmp_path):
    return tmp_path / "socket"


@asynccontextmanager
async def serving(listener, talk):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_clients, listener, talk)
        yield
        nursery.cancel_scope.cancel()


async def hello(stream):
    await stream.send_all(b"hello")


async def test_client_has_its_answer(path):
    with listening_on_path(path) as listener:
        async with serving(listener, hello):
            assert [await query_socket(path, PATIENCE) for _ in range(20)] == [b"hello"] * 20


async def test_socket_is_for_its_owner_only(path):
    before = os.umask(0)
    try:
        with listening_on_path(path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert os.umask(0) == 0
    finally:
        os.umask(before)


async def test_socket_goes_with_its_daemon(path):
    with listening_on_path(path):
        assert path.is_socket()
    assert not path.exists()
    with pytest.raises(NoDaemonListens, match="no daemon listens there"):
        await query_socket(path, PATIENCE)


async def test_socket_of_a_killed_daemon_is_replaced(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as killed:
        killed.bind(os.fspath(path))
    with pytest.raises(NoDaemonListens, match="no daemon listens there"):
        await query_socket(path, PATIENCE)
    with listening_on_path(path) as listener:
        async with serving(listener, hello):
            assert await query_socket(path, PATIENCE) == b"hello"


async def test_socket_of_a_living_daemon_is_left_alone(path):
    with listening_on_path(path), ExitStack() as clients:
        with pytest.raises(AddressInUse, match="in use by another program"), listening_on_path(path):
            pass
        for _ in range(100):
            waiting = clients.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            waiting.setblocking(False)
            try:
                waiting.connect(os.fspath(path))
            except BlockingIOError:
                break
        with pytest.raises(AddressInUse), listening_on_path(path):
            pass
        assert path.is_socket()
        with pytest.raises(NoDaemonListens, match="too busy"):
            await query_socket(path, PATIENCE)


async def test_socket_of_another_is_not_removed_at_the_end(path):
    with ExitStack() as second:
        with listening_on_path(path):
            path.unlink()
            listener = second.enter_context(listening_on_path(path))
        async with serving(listener, hello):
            assert await query_socket(path, PATIENCE) == b"hello"


@pytest.mark.parametrize("kind", ["file", "directory", "nowhere", "long"])
def test_path_that_cannot_be_a_socket_is_left_alone(path, kind):
    if kind == "file":
        path.write_text("precious")
    elif kind == "directory":
        path.mkdir()
    wanted = {"nowhere": path / "a" / "b", "long": path.with_name("x" * 200)}.get(kind, path)
    with pytest.raises(CannotListen, match="cannot listen on"), listening_on_path(wanted):
        pass
    if kind == "file":
        assert path.read_text() == "precious"


async def test_slow_clients_do_not_keep_others_out(path):
    served = []

    async def talk(stream):
        served.append(stream)
        await stream.send_all(b"x" * MAX_ANSWER)  # more than a socket's buffer holds

    with listening_on_path(path) as listener:
        async with serving(listener, talk):
            slow = [await trio.open_unix_socket(path) for _ in range(3 * MAX_CLIENTS)]
            assert len(await query_socket(path, PATIENCE)) == MAX_ANSWER
            assert len(served) == 3 * MAX_CLIENTS + 1
            for stream in slow:
                await stream.aclose()


async def test_client_that_takes_too_long_is_let_go(path, autojump_clock):
    async def talk(_stream):
        await trio.sleep_forever()

    with listening_on_path(path) as listener:
        async with serving(listener, talk):
            assert await query_socket(path, PATIENCE) == b""
    assert trio.current_time() == pytest.approx(5.0)


async def test_system_without_room_is_asked_again(autojump_clock):
    asked_at = []

    class Full:
        async def accept(self):
            asked_at.append(trio.current_time())
            raise OSError(errno.EMFILE, "too many open files")

    with trio.move_on_after(10 * PAUSE + PAUSE / 2):
        await serve_clients(Full(), hello)
    assert len(asked_at) == 11


async def test_client_that_fails_costs_its_own_answer_only(path, caplog):
    """A bug of ours is logged, and the next one is served."""
    outcomes = iter([ValueError("a bug"), None])

    async def talk(stream):
        if (failure := next(outcomes)) is not None:
            raise failure
        await stream.send_all(b"hello")

    with listening_on_path(path) as listener:
        async with serving(listener, talk):
            assert await query_socket(path, PATIENCE) == b""
            assert await query_socket(path, PATIENCE) == b"hello"
    assert [record.exc_info[1].args for record in caplog.records] == [("a bug",)]


async def test_client_that_goes_away_is_no_error(path, caplog):
    gone = trio.Event()

    async def talk(stream):
        await gone.wait()
        await stream.send_all(b"x" * MAX_ANSWER)

    with listening_on_path(path) as listener:
        async with serving(listener, talk):
            await (await trio.open_unix_socket(path)).aclose()
            gone.set()
            assert len(await query_socket(path, PATIENCE)) == MAX_ANSWER
    assert caplog.messages == []


async def test_answer_that_is_too_long_is_from_no_daemon_of_ours(path):
    async def talk(stream):
        while True:
            await stream.send_all(b"x" * 65536)

    with listening_on_path(path) as listener:
        async with serving(listener, talk):
            with pytest.raises(NoDaemonListens, match="no daemon of ours"):
                await query_socket(path, PATIENCE)


async def test_peer_that_sends_nothing_is_given_up(path):
    with listening_on_path(path), pytest.raises(NoDaemonListens, match=r"no answer within 0\.01 s"):
        await query_socket(path, 0.01)


async def test_loopback_serves_over_tcp():
    with listening_on_loopback(Address("127.0.0.1", 0)) as listener:
        host, _, port = address_of(listener).rpartition(":")
        async with serving(listener, hello), await trio.open_tcp_stream(host, int(port)) as client:
            assert await client.receive_some() == b"hello"
        with pytest.raises(AddressInUse), listening_on_loopback(Address(host, int(port))):
            pass


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "203.0.113.1"])
def test_no_other_address_is_served(host):
    """Whatever calls it: what is told here is for this machine only."""
    with pytest.raises(CannotListen, match="not on loopback"), listening_on_loopback(Address(host, 0)):
        pass
