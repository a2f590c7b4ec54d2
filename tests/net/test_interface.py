"""A node outlives its network interface: in a network namespace of its own, with a wire to another.

Needs Linux, `ip` of iproute2 and the right to make namespaces (root); skipped elsewhere.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from dhtnode import Node, QueryError, QueryNotSent, open_node
from dhtnode.addresses import Address
from dhtnode.net.udp import UdpSocket, open_udp_socket
from tests.commands import PROGRAMS, Running

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux" or os.geteuid() != 0 or shutil.which("ip") is None,
        reason="needs Linux, root and `ip` of iproute2",
    ),
]

CLONE_NEWNET = 0x40000000  # linux/sched.h
PORT = 6881
NO_ROUTE = ("ENETUNREACH", "EADDRNOTAVAIL")  # the latter where no IPv6 address is left to send from
PATIENCE = 600.0  # seconds of a clock that jumps; the kernel may take one of its own to bring a link up

# Alone in their namespaces, so public addresses serve; the wildcard talks to no others.
PUBLIC, PUBLIC_V6, PRIVATE = "21.0.0.{}", "2a00::{}", "10.9.0.{}"
BINDINGS = [
    (PUBLIC.format(1), PUBLIC),
    ("0.0.0.0", PUBLIC),
    (PRIVATE.format(1), PRIVATE),
    (PUBLIC_V6.format(1), PUBLIC_V6),
    ("::", PUBLIC_V6),
]


class Namespaces:
    """Be two network namespaces, "here" where the node lives and "there", and the wire between."""

    def __init__(self) -> None:
        self.names = {side: f"dhtnode-{side}-{os.getpid()}" for side in ("here", "there")}

    def make(self) -> None:
        for name in self.names.values():
            _run("ip", "netns", "add", name)
        self.lay_wire()

    def remove(self) -> None:
        for name in self.names.values():
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)

    def lay_wire(self) -> None:
        """Connect the two, at the addresses that end in 1 here and in 2 there."""
        self.ip("here", f"link add wire type veth peer name wire netns {self.names['there']}")
        for side in self.names:
            self.configure(side)

    def configure(self, side: str) -> None:
        """Bring one end of the wire up, with its addresses: IPv6 has lost them when it went down."""
        number = 1 if side == "here" else 2
        self.ip(
            side,
            "link set wire up",
            f"address replace {PUBLIC.format(number)}/24 dev wire",
            f"address replace {PRIVATE.format(number)}/24 dev wire",
            f"address replace {PUBLIC_V6.format(number)}/64 dev wire nodad",
        )

    def ip(self, side: str, *commands: str) -> None:
        """Run commands of `ip` on one side."""
        _run("ip", "-n", self.names[side], "-batch", "-", commands="\n".join(commands))

    def run_here(self, *command: str) -> None:
        _run("ip", "netns", "exec", self.names["here"], *command)

    def daemon(self, side: str, *options: str) -> Running:
        """Start a daemon in a namespace; its log comes on stdout, where its other lines are."""
        quick = ["--set", "good_for=1", "--set", "maintenance_period=1"]
        command = [PROGRAMS / "dhtnode", "-v", "run", "--no-default-bootstrap", *quick, *options]
        return Running(
            Path(shutil.which("ip") or "ip"),
            "netns",
            "exec",
            self.names[side],
            *command,
            "--log",
            "/dev/stdout",
        )

    def socket(self, side: str, host: str) -> UdpSocket:
        """Open a socket in a namespace: it belongs to that of the thread that makes it, for good."""

        def enter_and_open() -> UdpSocket:
            libc = ctypes.CDLL(None, use_errno=True)  # os.setns came with Python 3.12
            with Path("/run/netns", self.names[side]).open("rb") as namespace:
                if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            return open_udp_socket(Address(host, PORT))

        with ThreadPoolExecutor(max_workers=1) as thread:  # never used again
            return thread.submit(enter_and_open).result()


def _run(*command: str, commands: str | None = None) -> None:
    subprocess.run(command, input=commands, check=True, capture_output=True, text=True)


@pytest.fixture
def namespaces() -> Iterator[Namespaces]:
    namespaces = Namespaces()
    try:
        try:
            namespaces.make()
        except subprocess.CalledProcessError as error:
            pytest.skip(f"cannot make network namespaces here: {error.stderr.strip()}")
        yield namespaces
    finally:
        namespaces.remove()


@pytest.fixture
def clock(mock_clock: MockClock) -> MockClock:
    """A clock that jumps only when the kernel has had time to carry a datagram."""
    mock_clock.autojump_threshold = 0.02
    return mock_clock


class Pair:
    """A node here, whose network fails, and another there."""

    def __init__(self, node: Node, other: Node, socket: UdpSocket, address: Address) -> None:
        self.node = node
        self.other = other
        self.socket = socket
        self.address = address

    async def meet(self) -> None:
        with trio.fail_after(PATIENCE):
            for asker, address in ((self.other, self.address), (self.node, self.there)):
                while not await _answers(asker, address):
                    await trio.lowlevel.checkpoint()

    async def miss(self, *errors: str) -> None:
        """Check that neither reaches the other, and that the node counts what it cannot send, by error."""
        before = sum(self.socket.errors[f"send {error}"] for error in errors)
        with pytest.raises(QueryNotSent):
            await self.node.ping(self.there)
        with pytest.raises(QueryError):
            await self.other.ping(self.address)
        assert sum(self.socket.errors[f"send {error}"] for error in errors) > before, self.socket.errors
        (statistics,) = self.node.statistics().sockets
        assert statistics.counts["dropped: send failed"] == self.socket.errors.total()
        assert statistics.counts.get("internal errors", 0) == 0

    @property
    def there(self) -> Address:
        return self.other.addresses[0]


async def _answers(asker: Node, address: Address) -> bool:
    try:
        await asker.ping(address)
    except QueryError:
        return False
    return True


@asynccontextmanager
async def opened(namespaces: Namespaces, bind: str, network: str) -> AsyncIterator[Pair]:
    here = namespaces.socket("here", bind)
    there = namespaces.socket("there", network.format(2))
    async with (
        open_node(sockets=[here], well_known=False) as node,
        open_node(sockets=[there], well_known=False) as other,
    ):
        pair = Pair(node, other, here, Address(network.format(1), PORT))
        await pair.meet()
        yield pair
        await pair.meet()
        assert not any(name.startswith(("receive", "wait")) for name in here.errors)


@pytest.mark.parametrize(("bind", "network"), BINDINGS)
@pytest.mark.parametrize("change", ["set wire down", "delete wire"])
async def test_node_outlives_an_interface_that_goes(
    clock: MockClock, namespaces: Namespaces, bind: str, network: str, change: str
) -> None:
    async with opened(namespaces, bind, network) as pair:
        namespaces.ip("here", f"link {change}")
        await pair.miss(*NO_ROUTE)
        if "delete" in change:
            namespaces.lay_wire()
        else:
            namespaces.configure("here")


@pytest.mark.parametrize(("bind", "network"), BINDINGS)
async def test_node_outlives_the_loss_of_its_routes(
    clock: MockClock, namespaces: Namespaces, bind: str, network: str
) -> None:
    async with opened(namespaces, bind, network) as pair:
        for kind, error in (("prohibit", "EACCES"), ("unreachable", "EHOSTUNREACH"), ("blackhole", "EINVAL")):
            route = f"{kind} {pair.there.host}"
            namespaces.ip("here", f"route add {route}")
            await pair.miss(error)
            namespaces.ip("here", f"route delete {route}")
            await pair.meet()


@pytest.mark.skipif(shutil.which("nft") is None, reason="needs `nft` of nftables")
@pytest.mark.parametrize(("bind", "network"), BINDINGS)
async def test_node_outlives_a_firewall(
    clock: MockClock, namespaces: Namespaces, bind: str, network: str
) -> None:
    rule = "add chain inet test out { type filter hook output priority 0; policy drop; }"
    async with opened(namespaces, bind, network) as pair:
        namespaces.run_here("nft", f"add table inet test; {rule}")
        await pair.miss("EPERM")
        namespaces.run_here("nft", "delete table inet test")


def test_daemon_tells_that_the_network_is_lost_and_back(namespaces: Namespaces) -> None:
    here, there = (f"{PUBLIC.format(number)}:{PORT}" for number in (1, 2))
    with ExitStack() as stack:
        other = stack.enter_context(namespaces.daemon("there", "--listen", there))
        wait_for(other, f"listening {there}")
        daemon = stack.enter_context(namespaces.daemon("here", "--listen", here, "--bootstrap", there))
        # How many nodes are good is chance here: they are for a second only.
        wait_for(daemon, "INFO dhtnode.daemon.daemon: IPv4: joined the network; ")
        namespaces.ip("here", "link set wire down")
        wait_for(daemon, "WARNING dhtnode.daemon.daemon: IPv4: no answer to the last ")
        namespaces.configure("here")
        wait_for(daemon, "WARNING dhtnode.daemon.daemon: IPv4: nodes answer again; ")
        daemon.signal(signal.SIGTERM)

        assert daemon.wait().status == 0


def wait_for(daemon: Running, text: str) -> None:
    while text not in daemon.read_line():
        pass
