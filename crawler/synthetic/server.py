"""A synthetic network on loopback: one socket that has every address of 127.0.0.0/8.

The socket is bound to all addresses; the kernel tells with each datagram which one it was sent to
(IP_PKTINFO), and lets the reply leave from there.  What was not sent to 127.0.0.0/8 is not answered:
the network is for programs on this machine only.  Linux only, as only there the whole of 127.0.0.0/8
can be had without setting up addresses.
"""

import errno
import math
import socket
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from heapq import heappop, heappush
from random import Random
from typing import TypeAlias

import trio

from crawler.synthetic.network import Network
from crawler.synthetic.replies import Sent
from crawler.synthetic.settings import SyntheticSettings
from dhtnode import AddressInUse, CannotListen
from dhtnode.nurseries import open_service_nursery

KERNEL_BUFFER_BYTES = 64 << 20  # asked for; the kernel may grant less
RECEIVE_BYTES = 2048  # queries are shorter; a longer one is cut and so gets no answer
MAX_BATCH = 256  # datagrams received before the rest of the program gets its turn
MAX_DELAYED = 500_000  # replies under way; what is more is counted and dropped
LOOPBACK = 127

_IP_PKTINFO = 8  # linux/in.h; the socket module does not name it
_SO_RCVBUFFORCE = 33  # asm-generic/socket.h
_PKTINFO = struct.Struct("=i4s4s")
_CONTROL_BYTES = socket.CMSG_SPACE(_PKTINFO.size)
_ANY = bytes(4)

Bound: TypeAlias = socket.socket
_Delayed: TypeAlias = tuple[float, int, bytes, int, tuple[str, int]]


def bind(port: int = 0) -> socket.socket:
    """Bind the socket that has all addresses; port 0 picks a free one.

    Raises `AddressInUse` when the port is taken and `CannotListen` where this cannot be done.
    """
    if sys.platform != "linux":
        raise CannotListen("a synthetic network needs all of 127.0.0.0/8, which only Linux has")
    bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        bound.setblocking(False)
        bound.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        _enlarge_receive_buffer(bound)
        bound.bind(("0.0.0.0", port))  # noqa: S104  what comes from elsewhere is dropped
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise AddressInUse(f"port {port} is in use by another program") from error
        raise CannotListen(f"cannot listen on port {port}: {error.strerror}") from error
    return bound


def _enlarge_receive_buffer(bound: socket.socket) -> None:
    for option in (_SO_RCVBUFFORCE, socket.SO_RCVBUF):
        with suppress(OSError):
            bound.setsockopt(socket.SOL_SOCKET, option, KERNEL_BUFFER_BYTES)
            return


class Server:
    """The connection between a network and a socket; made by `serve` and `open_server`.

    `latency` is the time between query and reply, in seconds; `loss` holds for each of them.
    """

    def __init__(
        self, network: Network, bound: socket.socket, *, loss: float, latency: tuple[float, float]
    ) -> None:
        self.network = network
        self._socket = bound
        self._loss = loss
        self._latency = latency
        self._random = Random(f"server {network.settings.seed}")
        self._delayed: list[_Delayed] = []
        self._sequence = 0

    @property
    def bootstrap(self) -> list[str]:
        """Return `HOST:PORT` texts to join the network through."""
        return [str(address) for address in self.network.bootstrap_nodes()]

    async def run(self) -> None:
        """Answer until cancelled."""
        while True:
            with trio.move_on_at(self._delayed[0][0] if self._delayed else math.inf):
                await trio.lowlevel.wait_readable(self._socket)
            now = trio.current_time()
            self._receive(now)
            self._send_due(now)

    def _receive(self, now: float) -> None:
        """Receive what has come, at most `MAX_BATCH`, and answer each at once or schedule the answer."""
        receive, network, random, loss = self._socket.recvmsg, self.network, self._random.random, self._loss
        for _ in range(MAX_BATCH):
            try:
                data, ancillary, _, source = receive(RECEIVE_BYTES, _CONTROL_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                network.counts[f"receive {errno.errorcode.get(error.errno or 0, '?')}"] += 1
                continue
            network.counts["received"] += 1
            asked = _PKTINFO.unpack(ancillary[0][2])[2] if ancillary else _ANY
            if asked[0] != LOOPBACK:
                network.counts["not on loopback"] += 1
            elif loss and random() < loss:
                network.counts["lost"] += 1
            else:
                sent = network.answer_host(int.from_bytes(asked[1:], "big"), data, source, now)
                if sent:
                    self._dispatch(sent, source, now)

    def _dispatch(self, sent: Sent, destination: tuple[str, int], now: float) -> None:
        for data, host in sent:
            if self._loss and self._random.random() < self._loss:
                self.network.counts["lost"] += 1
            elif not self._latency[1]:
                self._send(data, host, destination)
            elif len(self._delayed) >= MAX_DELAYED:
                self.network.counts["dropped"] += 1
            else:
                self._sequence += 1
                due = now + self._random.uniform(*self._latency)
                heappush(self._delayed, (due, self._sequence, data, host, destination))

    def _send_due(self, now: float) -> None:
        delayed = self._delayed
        while delayed and delayed[0][0] <= now:
            _, _, data, host, destination = heappop(delayed)
            self._send(data, host, destination)

    def _send(self, data: bytes, host: int, destination: tuple[str, int]) -> None:
        """Send a datagram from the address with these last 24 bits."""
        from_there = _PKTINFO.pack(0, (LOOPBACK << 24 | host).to_bytes(4, "big"), _ANY)
        try:
            self._socket.sendmsg([data], [(socket.IPPROTO_IP, _IP_PKTINFO, from_there)], 0, destination)
        except OSError as error:
            self.network.counts[f"send {errno.errorcode.get(error.errno or 0, '?')}"] += 1
        else:
            self.network.counts["sent"] += 1


@asynccontextmanager
async def serve(
    network: Network,
    bound: socket.socket,
    *,
    loss: float = 0.0,
    latency: tuple[float, float] = (0.0, 0.0),
) -> AsyncIterator[Server]:
    """Answer for a network on a socket of `bind`, for the length of the block."""
    server = Server(network, bound, loss=loss, latency=latency)
    network.begun_at = trio.current_time()
    async with open_service_nursery() as nursery:
        nursery.start_soon(server.run, name="synthetic network")
        yield server


@asynccontextmanager
async def open_server(
    settings: SyntheticSettings,
    *,
    port: int = 0,
    loss: float = 0.0,
    latency: tuple[float, float] = (0.0, 0.0),
) -> AsyncIterator[Server]:
    """Make a network and run it on loopback for the length of the block.

        async with open_server(SyntheticSettings(nodes=500)) as server:
            async with open_node(bootstrap=server.bootstrap) as node: ...

    The port is `port`, not that of the settings; 0 picks a free one.  Making a large network holds
    up everything else: make that before, and call `serve`.
    """
    with bind(port) as bound:
        network = Network(replace(settings, port=bound.getsockname()[1], first_octet=LOOPBACK))
        async with serve(network, bound, loss=loss, latency=latency) as server:
            yield server
