"""Synthetic trackers on loopback: each has an address of its own, and one port for UDP and HTTP."""

import errno
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

import h11
import trio

from crawler.synthetic.trackers.http_answers import HttpReply, answer_request
from crawler.synthetic.trackers.tracker import SyntheticTracker
from crawler.synthetic.trackers.udp_answers import answer_packet
from dhtnode import CannotListen
from dhtnode.nurseries import open_service_nursery

MAX_CONNECTIONS = 1000
REQUEST_SECONDS = 60.0  # for a request and its answer, unless that is silent on purpose
_FIRST_HOST = 2  # of 127.0.0.x, where no node is
_TRIES = 20  # ports that are free for UDP and not for TCP
_RECEIVE_BYTES = 65_536


class TrackerServer:
    """A tracker on its sockets; made by `bind_trackers`."""

    def __init__(self, tracker: SyntheticTracker, udp: socket.socket, tcp: socket.socket) -> None:
        self.tracker = tracker
        self._udp = udp
        self._tcp = tcp
        host, port = udp.getsockname()
        tracker.urls = f"udp://{host}:{port}/announce", f"http://{host}:{port}/announce"

    @property
    def urls(self) -> list[str]:
        """Return the URLs that it answers at."""
        return [*self.tracker.urls] if self.tracker.style.has_udp else [self.tracker.urls[1]]

    def close(self) -> None:
        """Close both sockets."""
        self._udp.close()
        self._tcp.close()

    async def run(self) -> None:
        """Answer until cancelled."""
        udp = trio.socket.from_stdlib_socket(self._udp)
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(self._tcp))
        serve = partial(self._serve, trio.CapacityLimiter(MAX_CONNECTIONS))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._run_udp, udp, nursery)
            nursery.start_soon(trio.serve_listeners, serve, [listener])

    async def _run_udp(self, udp: trio.socket.SocketType, nursery: trio.Nursery) -> None:
        while True:
            try:
                packet, source = await udp.recvfrom(_RECEIVE_BYTES)
            except OSError as error:
                # An answer that found no client there is told at the next call.
                self.tracker.counts[f"receive {errno.errorcode.get(error.errno or 0, '?')}"] += 1
                continue
            if not self.tracker.style.has_udp:
                continue
            answer = answer_packet(self.tracker, packet, source, trio.current_time())
            if answer is not None and self.tracker.style.delay:
                nursery.start_soon(self._send, udp, answer, source)
            elif answer is not None:
                await self._send(udp, answer, source)

    async def _send(self, udp: trio.socket.SocketType, answer: bytes, source: tuple[str, int]) -> None:
        await trio.sleep(self.tracker.style.delay)
        with suppress(OSError):
            await udp.sendto(answer, source)

    async def _serve(self, connections: trio.CapacityLimiter, stream: trio.SocketStream) -> None:
        async with connections, stream:
            source = stream.socket.getpeername()
            # A client may have heard enough before the end.
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
                connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_RECEIVE_BYTES)
                while await self._answer_one(stream, connection, source):
                    connection.start_next_cycle()

    async def _answer_one(
        self, stream: trio.SocketStream, connection: h11.Connection, source: tuple[str, int]
    ) -> bool:
        """Answer a request, and return whether another may follow."""
        with trio.move_on_after(REQUEST_SECONDS):
            request = await _receive_request(stream, connection)
            if request is None:
                return False
            await trio.sleep(self.tracker.style.delay)
            takes_gzip = b"gzip" in dict(request.headers).get(b"accept-encoding", b"")
            target = request.target.decode("latin-1")
            reply = answer_request(self.tracker, target, takes_gzip, source, trio.current_time())
            if reply is None:
                await trio.sleep_forever()
            else:
                await self._send_reply(stream, connection, reply)
                return self.tracker.style.keep_alive and connection.states[h11.CLIENT] is h11.DONE
        return False

    async def _send_reply(
        self, stream: trio.SocketStream, connection: h11.Connection, reply: HttpReply
    ) -> None:
        headers = [("Content-Type", "text/plain"), *reply.headers]
        if isinstance(reply.parts, Sequence):
            headers.append(("Content-Length", str(sum(map(len, reply.parts)))))
        if not self.tracker.style.keep_alive:
            headers.append(("Connection", "close"))
        await stream.send_all(connection.send(h11.Response(status_code=reply.status, headers=headers)) or b"")
        for part in reply.parts:
            if part:
                await stream.send_all(connection.send(h11.Data(data=part)) or b"")
        await stream.send_all(connection.send(h11.EndOfMessage()) or b"")


async def _receive_request(stream: trio.SocketStream, connection: h11.Connection) -> h11.Request | None:
    """Return the next request once it has come whole, or None at the end of the connection."""
    request = None
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await stream.receive_some())
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.EndOfMessage):
            return request
        elif not isinstance(event, h11.Data):
            return None


def bind_trackers(trackers: Sequence[SyntheticTracker], port: int = 0) -> list[TrackerServer]:
    """Bind the sockets of trackers, at 127.0.0.2 and the addresses after it.

    All have the same port, or each a free one with 0.  Raises `CannotListen` where that is not possible.
    """
    servers = list[TrackerServer]()
    try:
        for number, tracker in enumerate(trackers):
            servers.append(_bind(tracker, f"127.0.0.{_FIRST_HOST + number}", port))
    except CannotListen:
        for server in servers:
            server.close()
        raise
    return servers


def _bind(tracker: SyntheticTracker, host: str, port: int) -> TrackerServer:
    for _ in range(_TRIES):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            udp.bind((host, port))
            tcp.bind(udp.getsockname())
            tcp.listen(128)
        except OSError as error:
            udp.close()
            tcp.close()
            if port or error.errno != errno.EADDRINUSE:
                raise CannotListen(f"cannot listen on {host}:{port}: {error.strerror}") from error
        else:
            return TrackerServer(tracker, udp, tcp)
    raise CannotListen(f"{host} has no port that is free for UDP and TCP")


@asynccontextmanager
async def serve_trackers(servers: Sequence[TrackerServer]) -> AsyncIterator[None]:
    """Answer for trackers of `bind_trackers` for the length of the block, and close them."""
    try:
        async with open_service_nursery() as nursery:
            for server in servers:
                nursery.start_soon(server.run, name=f"tracker {server.tracker.style.name}")
            yield
    finally:
        for server in servers:
            server.close()
