"""Sockets on an address of this machine, and the one way in which they tell why there is none."""

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from dhtnode.addresses import Address, Family
from dhtnode.errors import AddressInUse, CannotListen


@contextmanager
def binding(address: Address, kind: socket.SocketKind) -> Iterator[socket.socket]:
    """Make a socket of the family of an address, which the block binds; it is closed if the block fails.

    Over IPv6 it takes no IPv4.  Raises `AddressInUse` when the port is taken and `CannotListen` when the
    address is not ours.
    """
    family = socket.AF_INET6 if address.family is Family.IPV6 else socket.AF_INET
    bound = None
    try:
        bound = socket.socket(family, kind)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        yield bound
    # Whatever it was must not leave a socket open.
    except BaseException as error:
        if bound is not None:
            bound.close()
        if not isinstance(error, OSError):
            raise
        if error.errno == errno.EADDRINUSE:
            raise AddressInUse(f"{address} is in use by another program") from error
        raise CannotListen(f"cannot listen on {address}: {error.strerror or error}") from error


def listen_on(address: Address, backlog: int) -> socket.socket:
    """Listen on a TCP port, 0 for any free one; raises what `binding` does."""
    with binding(address, socket.SOCK_STREAM) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(backlog)
    return bound
