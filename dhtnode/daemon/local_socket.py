"""Sockets for clients on this machine: Unix sockets for the owner only, and TCP on loopback.

A client gets one answer, and its connection is closed.  At most `MAX_CLIENTS` are served at once and
each for `CLIENT_TIMEOUT` seconds at most; when one more comes, the oldest is dropped.  So slow clients
never keep out the others, and never cost more than a few buffers.
"""

import logging
import os
import socket
import stat
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import trio

from dhtnode.addresses import Address, Scope, scope_of
from dhtnode.errors import AddressInUse, CannotListen, DhtError
from dhtnode.net.binding import listen_on

logger = logging.getLogger(__name__)

MAX_CLIENTS = 8
CLIENT_TIMEOUT = 5.0  # seconds
BACKLOG = 16
MAX_ANSWER = 1 << 20  # bytes; a status is some ten thousand
PAUSE = 0.1  # seconds, when the system cannot accept a connection

Answer = Callable[[trio.SocketStream], Awaitable[None]]
"""A function that answers one client."""


class NoDaemonListens(DhtError):
    """A Unix socket at which no daemon answers."""


@contextmanager
def listening_on_path(path: Path) -> Iterator[trio.SocketListener]:
    """Listen on a Unix socket that only its owner may use, and remove it at the end.

    A socket that a killed daemon left behind is replaced.  Raises `AddressInUse` when a running one
    has it, and `CannotListen` when the path is something else or cannot be made.
    """
    try:
        _remove_stale(path)
        bound = _bind_path(path)
    except OSError as error:
        raise CannotListen(f"cannot listen on {path}: {error.strerror or error}") from error
    identity = _identity(path)
    try:
        yield _listener(bound)
    finally:
        bound.close()
        # Another daemon may have replaced our socket by its own.
        if identity is not None and _identity(path) == identity:
            path.unlink(missing_ok=True)


@contextmanager
def listening_on_loopback(address: Address) -> Iterator[trio.SocketListener]:
    """Listen on a TCP port of loopback, 0 for any free one; raises `AddressInUse` or `CannotListen`."""
    if scope_of(address.host) is not Scope.LOOPBACK:
        raise CannotListen(f"cannot listen on {address}: it is not on loopback")
    bound = listen_on(address, BACKLOG)
    try:
        yield _listener(bound)
    finally:
        bound.close()


def address_of(listener: trio.SocketListener) -> str:
    """Return the text of the address that a TCP listener is bound to."""
    return str(Address(*listener.socket.getsockname()[:2]))


async def serve_clients(listener: trio.SocketListener, answer: Answer) -> None:
    """Let `answer` serve each client, and close its connection, until cancelled."""
    under_way: deque[trio.CancelScope] = deque()

    async def serve(stream: trio.SocketStream, scope: trio.CancelScope) -> None:
        with scope:
            await _serve_client(stream, answer)
        under_way.remove(scope)

    async with trio.open_nursery() as nursery:
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                # No file descriptor or no memory is left; a moment later there may be some.
                logger.debug("cannot accept: %s", error)
                await trio.sleep(PAUSE)
                continue
            if len(under_way) >= MAX_CLIENTS:
                under_way[0].cancel()
                await trio.lowlevel.checkpoint()
            under_way.append(trio.move_on_after(CLIENT_TIMEOUT))
            nursery.start_soon(serve, stream, under_way[-1])


async def query_socket(path: Path, timeout: float) -> bytes:
    """Connect to a Unix socket and return all that comes from there, at most 1 MiB.

    Raises `NoDaemonListens` when the path does not lead to a daemon that answers in time.
    """
    try:
        with trio.fail_after(timeout):
            received = await _receive_from(path)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NoDaemonListens(f"{path}: no daemon listens there") from error
    except trio.TooSlowError as error:
        raise NoDaemonListens(f"{path}: no answer within {timeout:g} s") from error
    except OSError as error:
        raise NoDaemonListens(f"{path}: cannot ask there: {error.strerror or error}") from error
    except trio.BrokenResourceError as error:
        raise NoDaemonListens(f"{path}: the daemon there is too busy to answer") from error
    if len(received) > MAX_ANSWER:
        raise NoDaemonListens(f"{path}: what listens there is no daemon of ours")
    return bytes(received)


async def _receive_from(path: Path) -> bytearray:
    received = bytearray()
    async with await trio.open_unix_socket(path) as stream:
        while len(received) <= MAX_ANSWER and (part := await stream.receive_some()):
            received += part
    return received


async def _serve_client(stream: trio.SocketStream, answer: Answer) -> None:
    try:
        async with stream:
            await answer(stream)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        logger.debug("a client went away before it had its answer")
    except Exception:
        # The last barrier: a failure here costs one client its answer, and the node nothing.
        logger.exception("failed on a client of a local socket")


def _remove_stale(path: Path) -> None:
    """Remove the socket of a daemon that is gone; raise `AddressInUse` when it is there."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise CannotListen(f"cannot listen on {path}: there is something that is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as tried:
        # A daemon that does not accept for now is running too.
        tried.setblocking(False)
        try:
            tried.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except BlockingIOError:
            pass
    raise AddressInUse(f"{path} is in use by another program")


def _bind_path(path: Path) -> socket.socket:
    with _closed_on_failure(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as bound:
        # Set before, so that there is no moment in which others could connect.
        before = os.umask(0o177)
        try:
            bound.bind(os.fspath(path))
        finally:
            os.umask(before)
        bound.listen(BACKLOG)
    return bound


@contextmanager
def _closed_on_failure(made: socket.socket) -> Iterator[socket.socket]:
    with ExitStack() as undo:
        undo.callback(made.close)
        yield made
        undo.pop_all()


def _listener(bound: socket.socket) -> trio.SocketListener:
    return trio.SocketListener(trio.socket.from_stdlib_socket(bound))


def _identity(path: Path) -> tuple[int, int] | None:
    with suppress(OSError):
        found = path.lstat()
        return found.st_dev, found.st_ino
    return None
