"""Sockets that record what passes through them: ours for datagrams, and those that Trio makes.

Trackers, peers and web seeds are asked through sockets of Trio, some of them opened by other libraries.
All ask Trio's socket factory, so one in its place sees them all, and TLS as it is on the wire.
"""

import os
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from errno import ECONNREFUSED, EINPROGRESS
from functools import partial
from typing import Any, Self, TypeVar

import trio

from dhtnode.addresses import WILDCARDS, Address, Scope
from dhtnode.net.udp import Received, UdpSocket
from dhtnode.pcap.connection import TcpConnection
from dhtnode.pcap.file import CaptureFile
from dhtnode.pcap.packets import Place, udp_packet

T = TypeVar("T")

MAX_ROUTES = 4096  # hosts of which it is known from which of our addresses packets leave to them
_INTERNET = (socket.AF_INET, socket.AF_INET6)
_RECORDED = (socket.SOCK_DGRAM, socket.SOCK_STREAM)
_RESETS = struct.pack("ii", 1, 0)  # of SO_LINGER
_LINGER_BYTES = len(_RESETS)


class Routes:
    """Our own addresses towards other hosts, for sockets that are bound to all of them."""

    def __init__(self) -> None:
        self._hosts: dict[str, str] = {}

    def place(self, bound: Place, other: Place) -> Place:
        """Return the place from which packets of a bound socket leave to another place."""
        if bound[0] not in WILDCARDS:
            return bound
        host = self._hosts.get(other[0])
        if host is None:
            if len(self._hosts) >= MAX_ROUTES:
                self._hosts.clear()
            host = self._hosts[other[0]] = _routed(bound[0], other)
        return host, bound[1]


def _routed(wildcard: str, other: Place) -> str:
    kind = socket.AF_INET6 if ":" in wildcard else socket.AF_INET
    try:
        # Connecting a socket for datagrams sends nothing.
        with socket.socket(kind, socket.SOCK_DGRAM) as trial:
            trial.connect(other)
            return str(trial.getsockname()[0])
    except OSError:
        return wildcard


class CapturedUdpSocket(UdpSocket):
    """A UDP socket whose datagrams are recorded."""

    def __init__(self, file: CaptureFile, bound: socket.socket, scope: Scope | None = None) -> None:
        super().__init__(bound, scope)
        self._file = file
        self._routes = Routes()

    def receive_nowait(self) -> Received | None:
        """Return one datagram, or None when none is there."""
        datagram = super().receive_nowait()
        if datagram is not None:
            self._record([datagram], outbound=False)
        return datagram

    def receive_batch(self, most: int) -> list[Received]:
        """Return up to `most` datagrams."""
        datagrams = super().receive_batch(most)
        self._record(datagrams, outbound=False)
        return datagrams

    def send_nowait(self, data: bytes, destination: Address) -> bool:
        """Send one datagram; return False when it could not leave."""
        has_left = super().send_nowait(data, destination)
        if has_left:
            self._record([(data, destination)], outbound=True)
        return has_left

    def send_batch(self, datagrams: Sequence[tuple[bytes, Address]]) -> dict[int, int]:
        """Send datagrams; return the errno of those that could not leave, by position."""
        failed = super().send_batch(datagrams)
        left = [datagram for at, datagram in enumerate(datagrams) if at not in failed]
        self._record(left, outbound=True)
        return failed

    def _record(self, datagrams: Sequence[tuple[bytes, Place]], *, outbound: bool) -> None:
        if not self._file.is_recording:
            self._file.skip(len(datagrams))
            return
        packets = []
        for data, other in datagrams:
            ours = self._routes.place(self.address, other)
            source, destination = (ours, other) if outbound else (other, ours)
            packets.append((udp_packet(source, destination, data), outbound))
        if packets:
            self._file.add(packets)


class _ForwardingSocket(trio.socket.SocketType):
    """A socket of Trio that does everything by another one."""

    def __init__(self, inner: trio.socket.SocketType) -> None:
        super().__init__()
        self._inner = inner


def _forward(name: str) -> property:
    return property(lambda self: getattr(self._inner, name))


# Its base class has them all, and raises from each.
for _name in vars(trio.socket.SocketType):
    if not _name.startswith("_"):
        setattr(_ForwardingSocket, _name, _forward(_name))


class CapturedTrioSocket(_ForwardingSocket):
    """A socket of Trio whose datagrams, or whose connection to another host, are recorded."""

    def __init__(self, file: CaptureFile, kernel: socket.socket) -> None:
        super().__init__(trio.socket.from_stdlib_socket(kernel))
        self._kernel = kernel
        self._file = file
        self._routes = Routes()
        self._connection: TcpConnection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def connect(self, address: Any) -> None:
        """Connect; a connection is recorded from the first packet on, also one that is refused."""
        if self.type != socket.SOCK_STREAM:
            await self._inner.connect(address)
            return
        host, port, *_ = address
        found = await trio.socket.getaddrinfo(host, port, self.family, self.type)
        error = self._kernel.connect_ex(found[0][4])
        if error in (0, EINPROGRESS):
            # Our own address is known from here on.
            self._connection = TcpConnection(_place(self.getsockname()), _place(found[0][4]))
            self._file.add(self._connection.ask())
            try:
                await trio.lowlevel.wait_writable(self._kernel)
            except trio.Cancelled:
                self._inner.close()
                raise
            error = self.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if not error and self._connection:
            self._file.add(self._connection.accept())
            return
        if error == ECONNREFUSED:
            self._reset(outbound=False)
        self._connection = None
        raise OSError(error, f"Error connecting to {address!r}: {os.strerror(error)}")

    async def send(self, data: Any, flags: int = 0, /) -> int:
        """Send what the kernel takes of it."""

        def send() -> int:
            sent = self._kernel.send(data, flags)
            self._record(bytes(memoryview(data)[:sent]), outbound=True)
            return sent

        return await _done(partial(trio.lowlevel.wait_writable, self._kernel), send)

    async def sendto(self, *args: Any) -> int:
        """Send a datagram: its data, flags if any, and where it goes."""

        def send() -> int:
            sent = self._kernel.sendto(*args)
            self._record(bytes(args[0]), args[-1], outbound=True)
            return sent

        return await _done(partial(trio.lowlevel.wait_writable, self._kernel), send)

    async def recv(self, buflen: int, flags: int = 0, /) -> bytes:
        """Receive a datagram, or what has come over the connection; nothing at its end."""
        return (await self.recvfrom(buflen, flags))[0]

    async def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, Any]:
        """Receive, with the place from which it comes."""

        def receive() -> tuple[bytes, Any]:
            try:
                data, source = self._kernel.recvfrom(bufsize, flags)
            except ConnectionResetError:
                self._reset(outbound=False)
                raise
            self._record(data, source, outbound=False)
            return data, source

        return await _done(partial(trio.lowlevel.wait_readable, self._kernel), receive)

    def shutdown(self, flag: int) -> None:
        """End our side of the connection."""
        self._inner.shutdown(flag)
        if self._connection and flag != socket.SHUT_RD:
            self._file.add(self._connection.end(outbound=True))

    def close(self) -> None:
        """Close the socket; its connection ends, or breaks off, as the socket is set up to."""
        if self._connection and self.fileno() >= 0:
            if self.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_BYTES) == _RESETS:
                self._reset(outbound=True)
            else:
                self._file.add(self._connection.end(outbound=True))
        self._inner.close()

    def _reset(self, *, outbound: bool) -> None:
        if self._connection:
            self._file.add(self._connection.reset(outbound=outbound))

    def _record(self, data: bytes, other: Any = None, *, outbound: bool) -> None:
        if not self._file.is_recording:
            self._file.skip(1)
        elif self._connection:
            is_end = not data and not outbound
            segments = (
                self._connection.end(outbound=False)
                if is_end
                else self._connection.carry(data, outbound=outbound)
            )
            self._file.add(segments)
        elif self.type == socket.SOCK_DGRAM:
            there = _place(other or self.getpeername())
            here = self._routes.place(_place(self.getsockname()), there)
            source, destination = (here, there) if outbound else (there, here)
            self._file.add([(udp_packet(source, destination, data), outbound)])


class CapturingFactory(trio.abc.SocketFactory):
    """What makes the sockets of Trio while a capture is on; those of other protocols are not recorded."""

    def __init__(self, file: CaptureFile) -> None:
        self._file = file

    def socket(self, family: int = socket.AF_INET, type: int = socket.SOCK_STREAM, proto: int = 0) -> Any:  # noqa: A002
        """Return a new socket."""
        kernel = socket.socket(family, type, proto)
        if family in _INTERNET and kernel.type in _RECORDED:
            kernel.setblocking(False)
            return CapturedTrioSocket(self._file, kernel)
        return trio.socket.from_stdlib_socket(kernel)


async def _done(wait: Callable[[], Awaitable[None]], call: Callable[[], T]) -> T:
    """Call as soon as the kernel is ready; what it returns is not lost by a cancellation."""
    await trio.lowlevel.checkpoint_if_cancelled()
    while True:
        try:
            result = call()
        except BlockingIOError:
            await wait()
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return result


def _place(name: Any) -> Place:
    return str(name[0]), int(name[1])
