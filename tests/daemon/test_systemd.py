"""Word to the service manager, over a socket of ours in its place."""

import os
import socket

import pytest
import trio

from dhtnode.daemon.systemd import Notifier, from_environment

PERIOD = 30.0


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    """Yield a socket as a service manager has, and its name in the environment."""
    address = str(tmp_path / "notify") if request.param == "path" else f"@dhtnode-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.settimeout(60)
        bound.bind(address.replace("@", "\0", 1))
        yield bound, address


def test_messages_are_those_of_the_protocol(manager):
    bound, address = manager
    notifier = from_environment({"NOTIFY_SOCKET": address})
    notifier.ready()
    notifier.status("two\nlines")
    notifier.stopping()
    notifier.reloading()
    assert [bound.recv(1000) for _ in range(3)] == [b"READY=1", b"STATUS=two lines", b"STOPPING=1"]
    reloading, monotonic = bound.recv(1000).split(b"\n")
    assert (reloading, monotonic.partition(b"=")[0]) == (b"RELOADING=1", b"MONOTONIC_USEC")
    assert int(monotonic.partition(b"=")[2]) > 0


async def test_watchdog_is_fed_twice_per_period(manager, autojump_clock):
    bound, address = manager
    notifier = from_environment({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": str(int(PERIOD * 1e6))})
    with trio.move_on_after(PERIOD * 2 - 1):
        await notifier.keep_watchdog()
    bound.setblocking(False)
    assert [bound.recv(1000) for _ in range(4)] == [b"WATCHDOG=1"] * 4
    with pytest.raises(BlockingIOError):
        bound.recv(1000)


@pytest.mark.parametrize(
    ("environment", "watchdog"),
    [
        ({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "7"}, 1.0),
        ({"WATCHDOG_USEC": "1000000"}, 1.0),
        ({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({}, None),
    ],
)
def test_watchdog_is_wanted_or_not(environment, watchdog):
    assert from_environment(environment, pid=7).watchdog == watchdog


async def test_without_a_watchdog_there_is_nothing_to_feed():
    await Notifier(None).keep_watchdog()


@pytest.mark.parametrize("address", [None, "", "relative", "vsock:2:1234", "/nothing/here", "/" + "x" * 200])
def test_without_a_manager_nothing_happens(address):
    notifier = from_environment({} if address is None else {"NOTIFY_SOCKET": address})
    notifier.ready()
    notifier.stopping()


def test_manager_that_does_not_read_holds_nothing_up(manager):
    _, address = manager
    notifier = from_environment({"NOTIFY_SOCKET": address})
    for _ in range(2000):
        notifier.status("x" * 1000)
