"""UDP sockets as the rest of the package sees them, and the real one.

`DatagramSocket` is the seam: a node needs these few methods only, so that the memory network of
`dhtnode.testing` and the tests can stand in for the kernel.  No other module of the node imports
`socket`.
"""

import errno
import socket
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from itertools import islice
from typing import Protocol, TypeAlias

import trio

from dhtnode.addresses import WILDCARDS, Address, Family, Scope, scope_of, split_host_port
from dhtnode.net.binding import binding
from dhtnode.net.node_clock import Handle, NodeClock

RECEIVE_BYTES = 65536  # one implementation sends its whole table, 8 kB, in one reply
KERNEL_BUFFER_BYTES = 4 << 20  # requested; the kernel may grant less
RESOLVE_TIMEOUT = 5.0  # seconds; a name server that hangs must not hold up the rest
# To receive: returning it clears most errors; one that comes again each time stays.
ATTEMPTS = 3
PAUSE = 0.1  # seconds without receiving after an error that stays; the kernel's buffer outlasts that

# asm-generic/socket.h; the socket module does not name them.
_SO_RCVBUFFORCE = 33
_SO_MEMINFO = 55  # since Linux 4.12
_MEMINFO = struct.Struct("=9I")
_MEMINFO_DROPS = 8  # linux/sock_diag.h


Received: TypeAlias = tuple[bytes, tuple[str, int]]
"""A datagram and its source, host and port."""


class DatagramSocket(Protocol):
    """What a node needs of a socket: it never blocks, except where the name says wait.

    Trouble on the network is never raised: `errors` counts it, by what failed and with which errno,
    as in "send EPERM".  A class that derives from this one gets the batches from the single datagrams.
    """

    address: Address
    errors: Counter[str]
    given_scope: Scope | None = None

    @property
    def scope(self) -> Scope:
        """Return the networks that the socket is part of: those given, or by its address."""
        return self.given_scope or scope_of(self.address.host)

    async def wait_readable(self) -> None:
        """Return when `receive_nowait` may have something."""

    def calling(self, handle: Handle) -> AbstractContextManager[None]:  # noqa: ARG002
        """Have `handle` called in the block while no task can run and a datagram is there.

        That it is called at all is not promised: a task waits, and handles what comes, as well.
        """
        return nullcontext()

    def receive_nowait(self) -> Received | None:
        """Return one datagram, or None when none is there."""

    def receive_batch(self, most: int) -> list[Received]:
        """Return up to `most` datagrams in the order of their arrival; fewer only when no more are there."""
        return list(islice(iter(self.receive_nowait, None), most))

    def send_nowait(self, data: bytes, destination: Address) -> bool:
        """Send one datagram; return False when it could not leave."""

    def send_batch(self, datagrams: Sequence[tuple[bytes, Address]]) -> dict[int, int]:
        """Send datagrams in their order; return the errno of those that could not leave, by position.

        The errno is 0 where none is known.
        """
        return {at: 0 for at, datagram in enumerate(datagrams) if not self.send_nowait(*datagram)}

    def has_route(self, destination: Address) -> bool:  # noqa: ARG002
        """Return whether there is a way to a destination, as far as this machine knows."""
        return True

    async def wait_writable(self) -> None:
        """Return when `send_nowait` may succeed again."""

    def dropped_by_kernel(self) -> int | None:
        """Return how many datagrams came but were dropped since the socket was opened; None if unknown.

        Most of them because the others were not read fast enough.
        """

    def close(self) -> None:
        """Give the address back."""


class UdpSocket(DatagramSocket):
    """A non-blocking UDP socket of the kernel."""

    def __init__(self, bound: socket.socket, scope: Scope | None = None) -> None:
        self._socket = bound
        self.given_scope = scope
        self.address = Address(*bound.getsockname()[:2])
        self.errors: Counter[str] = Counter()
        self._is_ipv6 = self.address.family is Family.IPV6
        self._is_failing = False
        self._dropped: int | None = None

    async def wait_readable(self) -> None:
        """Wait for the kernel to say that a datagram, or an error, has come.

        While receiving fails again and again this takes a pause first, so that it costs nothing.
        Raises `trio.ClosedResourceError` when the socket is closed, before or meanwhile.
        """
        if self._is_failing:
            self._is_failing = False
            await trio.sleep(PAUSE)
        if self._socket.fileno() < 0:
            raise trio.ClosedResourceError
        try:
            await trio.lowlevel.wait_readable(self._socket)
        except OSError as error:
            # The kernel has no memory to wait with (ENOMEM, ENOSPC): try now and then instead.
            self._count("wait", error)
            await trio.sleep(PAUSE)

    def calling(self, handle: Handle) -> AbstractContextManager[None]:
        """Have the clock call `handle` while no task can run, if it is one that does."""
        clock = trio.lowlevel.current_clock()
        return clock.calling(self._socket.fileno(), handle) if isinstance(clock, NodeClock) else nullcontext()

    async def wait_writable(self) -> None:
        """Wait until the kernel's buffer has free space."""
        await trio.lowlevel.wait_writable(self._socket)

    def receive_nowait(self) -> Received | None:
        """Return one datagram, or None when none is there."""
        try:
            data, source = self._socket.recvfrom(RECEIVE_BYTES)
        except BlockingIOError:
            return None
        except OSError as error:
            self._count("receive", error)
            datagrams = self._receive(1, failures=1)
            return datagrams[0] if datagrams else None
        return data, source[:2] if self._is_ipv6 else source

    def receive_batch(self, most: int) -> list[Received]:
        """Return up to `most` datagrams; some 2 us each, most of them in the kernel."""
        return self._receive(most)

    def _receive(self, most: int, failures: int = 0) -> list[Received]:
        receive, failed_at = self._socket.recvfrom, 0
        datagrams: list[Received] = []
        while len(datagrams) < most:
            try:
                for _ in range(most - len(datagrams)):
                    datagrams.append(receive(RECEIVE_BYTES))  # noqa: PERF401
            except BlockingIOError:
                break
            except OSError as error:
                # It may be about something else (ECONNREFUSED ...), with a datagram behind it.
                self._count("receive", error)
                failures = failures + 1 if failed_at == len(datagrams) else 1
                failed_at = len(datagrams)
                if failures == ATTEMPTS:
                    self._is_failing = True
                    break
        # Those of IPv6 have flow and scope, too.
        return [(data, source[:2]) for data, source in datagrams] if self._is_ipv6 else datagrams

    def send_nowait(self, data: bytes, destination: Address) -> bool:
        """Send one datagram; return False when it could not leave."""
        try:
            self._socket.sendto(data, destination)
        except OSError as error:
            # Buffer full, no route, forbidden by a firewall: for a datagram all the same as lost.
            self._count("send", error)
            return False
        return True

    def send_batch(self, datagrams: Sequence[tuple[bytes, Address]]) -> dict[int, int]:
        """Send datagrams; return the errno of those that could not leave, by position."""
        send, failed = self._socket.sendto, dict[int, int]()
        for at, (data, destination) in enumerate(datagrams):
            try:
                send(data, destination)
            except OSError as error:
                self._count("send", error)
                failed[at] = error.errno or 0
        return failed

    def has_route(self, destination: Address) -> bool:
        """Return whether the kernel has a route to a destination; sends nothing."""
        with suppress(OSError), socket.socket(self._socket.family, socket.SOCK_DGRAM) as trial:
            trial.connect(destination)
            return True
        return False

    def dropped_by_kernel(self) -> int | None:
        """Return how many datagrams the kernel dropped since the socket was opened, or None.

        One system call, and nothing per packet; None where the kernel does not tell (not Linux).
        Datagrams with a wrong checksum are included.  After `close`, what was known at the end.
        """
        if sys.platform == "linux":
            with suppress(OSError):
                told = self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
                if len(told) == _MEMINFO.size:
                    known = self._dropped or 0
                    # The kernel counts in 32 bits, which a flood fills within hours.
                    self._dropped = known + (_MEMINFO.unpack(told)[_MEMINFO_DROPS] - known) % (1 << 32)
        return self._dropped

    def close(self) -> None:
        """Wake the tasks that wait on the socket, then close it."""
        self.dropped_by_kernel()
        trio.lowlevel.notify_closing(self._socket)
        self._socket.close()

    def _count(self, doing: str, error: OSError) -> None:
        name = errno.errorcode.get(error.errno or 0, type(error).__name__)
        self.errors[f"{doing} {name}"] += 1


MAKE_SOCKET: ContextVar[Callable[[socket.socket, Scope | None], UdpSocket]] = ContextVar(
    "MAKE_SOCKET", default=UdpSocket
)
"""What makes a socket of one that is bound: a capture makes others, which record."""


def open_udp_socket(address: Address, scope: Scope | None = None) -> UdpSocket:
    """Bind a UDP socket; port 0 picks a free one.

    Of a wildcard, which has no network of its own, `scope` tells to which it belongs.
    Raises `AddressInUse` when the port is taken and `CannotListen` when the address is not ours.
    """
    with binding(address, socket.SOCK_DGRAM) as bound:
        bound.setblocking(False)
        _enlarge_receive_buffer(bound)
        bound.bind(address)
    return MAKE_SOCKET.get()(bound, scope if address.host in WILDCARDS else None)


@contextmanager
def open_sockets(places: Iterable[tuple[str, Scope]]) -> Iterator[tuple[UdpSocket, ...]]:
    """Bind a socket on any free port of each host, in a scope, and close them at the end of the block.

    Raises as `open_udp_socket`.
    """
    with ExitStack() as closing:
        sockets = []
        for host, scope in places:
            sockets.append(open_udp_socket(Address(host, 0), scope))
            closing.callback(sockets[-1].close)
        yield tuple(sockets)


def _enlarge_receive_buffer(bound: socket.socket) -> None:
    """Ask for a large buffer: beyond the system's limit where we may (CAP_NET_ADMIN), else up to it."""
    options = (_SO_RCVBUFFORCE, socket.SO_RCVBUF) if sys.platform == "linux" else (socket.SO_RCVBUF,)
    for option in options:
        with suppress(OSError):
            bound.setsockopt(socket.SOL_SOCKET, option, KERNEL_BUFFER_BYTES)
            return


async def look_up(host: str, port: int, family: Family) -> list[Address]:
    """Return the addresses of a host in one family; none for an unknown name, or on trouble.

    Only that family is queried: some name servers never answer for the other.  Takes a thread, as
    long as the resolver of the system takes; a caller that is cancelled leaves it behind.
    """
    if host.lower().rstrip(".") == "localhost":
        # Both, whatever a hosts file says (RFC 6761).
        return [Address("::1" if family is Family.IPV6 else "127.0.0.1", port)]
    kind = socket.AF_INET6 if family is Family.IPV6 else socket.AF_INET
    try:
        found = await trio.socket.getaddrinfo(host, port, kind, socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return []
    addresses = [Address(str(entry[4][0]), int(entry[4][1])) for entry in found]
    return [address for address in dict.fromkeys(addresses) if address.family is family]


async def resolve(text: str, families: Iterable[Family]) -> list[Address]:
    """Return the addresses of `HOST:PORT`, where the host may be a name, of the families given.

    An unknown name, a failing or a hanging name server yield nothing, for the family concerned; a
    text that is no `HOST:PORT` raises `ValueError`.
    """
    host, port = split_host_port(text)
    found: dict[Family, list[Address]] = {}

    async def find(family: Family) -> None:
        found[family] = await look_up(host, port, family)

    with trio.move_on_after(RESOLVE_TIMEOUT):
        async with trio.open_nursery() as nursery:
            for family in families:
                nursery.start_soon(find, family)
    return [address for family in sorted(found) for address in found[family]]
