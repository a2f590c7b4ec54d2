"""UDP sockets as the rest of the package sees them, and the real one.

`DatagramSocket` is the seam: the node asks for something with these few methods, so that the
memory network of `dhtnode.testing` and the tests can stand in for the kernel.  No other module of
the node imports `socket`.
"""

import errno
import socket
from contextlib import suppress
from typing import Protocol

import trio

from dhtnode.addresses import Address, Family, split_host_port
from dhtnode.errors import AddressInUse, CannotListen

RECEIVE_BYTES = 65536  # one implementation sends its whole table, 8 kB, in one reply
KERNEL_BUFFER_BYTES = 4 << 20  # asked for; the kernel may grant less
RESOLVE_TIMEOUT = 5.0  # seconds; a name server that hangs must not hold up the rest


class DatagramSocket(Protocol):
    """Be what a node needs of a socket: it never blocks, except where the name says wait."""

    address: Address

    async def wait_readable(self) -> None:
        """Return when `receive_nowait` may have something."""

    def receive_nowait(self) -> tuple[bytes, tuple[str, int]] | None:
        """Return one datagram and its source, host and port, or None when none is there."""

    def send_nowait(self, data: bytes, destination: Address) -> bool:
        """Send one datagram; return False when it could not leave."""

    async def wait_writable(self) -> None:
        """Return when `send_nowait` may succeed again."""

    def close(self) -> None:
        """Give the address back."""


class UdpSocket:
    """Be a non-blocking UDP socket of the kernel."""

    def __init__(self, bound: socket.socket) -> None:
        self._socket = bound
        self.address = Address(*bound.getsockname()[:2])

    async def wait_readable(self) -> None:
        """Wait for the kernel to say that a datagram, or an error, has come."""
        await trio.lowlevel.wait_readable(self._socket)

    async def wait_writable(self) -> None:
        """Wait for room in the kernel's buffer."""
        await trio.lowlevel.wait_writable(self._socket)

    def receive_nowait(self) -> tuple[bytes, tuple[str, int]] | None:
        """Return one datagram and its source, or None when none is there."""
        try:
            data, source = self._socket.recvfrom(RECEIVE_BYTES)
        except OSError:
            # Nothing there, or an ICMP error for something sent earlier (ECONNREFUSED ...): telling
            # us clears it, and `wait_readable` returns at once when there is more.
            return None
        return data, source[:2]

    def send_nowait(self, data: bytes, destination: Address) -> bool:
        """Send one datagram; return False when it could not leave."""
        try:
            self._socket.sendto(data, destination)
        except OSError:
            # Buffer full, no route, forbidden by a firewall: for a datagram all the same as lost.
            return False
        return True

    def close(self) -> None:
        """Wake whoever waits on the socket, then close it."""
        trio.lowlevel.notify_closing(self._socket)
        self._socket.close()


def open_udp_socket(address: Address) -> UdpSocket:
    """Bind a UDP socket; port 0 picks a free one.

    Raises `AddressInUse` when the port is taken and `CannotListen` when the address is not ours.
    """
    kind = socket.AF_INET6 if address.family is Family.IPV6 else socket.AF_INET
    try:
        bound = socket.socket(kind, socket.SOCK_DGRAM)
    except OSError as error:
        raise CannotListen(f"cannot listen on {address}: {error.strerror}") from error
    try:
        bound.setblocking(False)
        if kind == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        with suppress(OSError):
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL_BUFFER_BYTES)
        bound.bind(address)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise AddressInUse(f"{address} is in use by another program") from error
        raise CannotListen(f"cannot listen on {address}: {error.strerror}") from error
    return UdpSocket(bound)


async def resolve(text: str, families: frozenset[Family]) -> list[Address]:
    """Return the addresses of `HOST:PORT`, where the host may be a name, of the families given.

    An unknown name, a failing or a hanging name server yield an empty list; a text that is no
    `HOST:PORT` raises `ValueError`.
    """
    host, port = split_host_port(text)
    with trio.move_on_after(RESOLVE_TIMEOUT):
        try:
            found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        except (OSError, UnicodeError):
            return []
        addresses = [Address(str(entry[4][0]), int(entry[4][1])) for entry in found]
        return [address for address in addresses if address.family in families]
    return []
