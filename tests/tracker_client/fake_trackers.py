"""Trackers on loopback: over UDP one with chosen manners, over HTTP one that says what it is told."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

import trio

from dhtnode import InfoHash

CONNECTION = 0x1122334455667788


@dataclass
class UdpTracker:
    """What a UDP tracker knows and does; `heard` are the actions of the packets that came."""

    counts: dict[InfoHash, tuple[int, int, int]] = field(default_factory=dict)  # seeds, downloaded, leechers
    most: int = 75
    silent_for: int = 0  # packets that get no answer
    refuses_ids: int = 0  # requests whose connection id it does not know
    peers: bytes = b""
    heard: list[int] = field(default_factory=list)
    packets: list[bytes] = field(default_factory=list)
    before: Callable[[bytes], bytes] | None = None  # makes what comes before each answer

    def answer(self, packet: bytes) -> bytes | None:
        action, transaction = int.from_bytes(packet[8:12], "big"), packet[12:16]
        self.heard.append(action)
        self.packets.append(packet)
        if len(self.heard) <= self.silent_for:
            return None
        head = action.to_bytes(4, "big") + transaction
        if action == 0:
            return head + CONNECTION.to_bytes(8, "big")
        if self.refuses_ids:
            self.refuses_ids -= 1
            return (3).to_bytes(4, "big") + transaction + b"Connection ID missmatch.\0"
        assert packet[:8] == CONNECTION.to_bytes(8, "big")
        if action == 1:
            return head + b"".join(number.to_bytes(4, "big") for number in (1800, 3, 5)) + self.peers
        hashes = [InfoHash(packet[at : at + 20]) for at in range(16, len(packet), 20)][: self.most]
        rows = [self.counts.get(info_hash, (0, 0, 0)) for info_hash in hashes]
        return head + b"".join(number.to_bytes(4, "big") for row in rows for number in row)


@asynccontextmanager
async def serving_udp(tracker: UdpTracker) -> AsyncIterator[str]:
    """Let a tracker answer for the length of the block, and yield its URL."""
    with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as socket:
        await socket.bind(("127.0.0.1", 0))

        async def serve() -> None:
            while True:
                packet, source = await socket.recvfrom(65536)
                answer = tracker.answer(packet)
                if answer is not None:
                    # What belongs to no request comes first.
                    await socket.sendto(answer[:4] + b"late" + answer[8:], source)
                    if tracker.before is not None:
                        await socket.sendto(tracker.before(answer), source)
                    await socket.sendto(answer, source)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            yield f"udp://127.0.0.1:{socket.getsockname()[1]}"
            nursery.cancel_scope.cancel()


@asynccontextmanager
async def serving_http(respond: Callable[[str, dict[str, str]], bytes]) -> AsyncIterator[str]:
    """Let `respond` answer requests, given the target and headers, by a whole response; yield the origin."""

    async def handle(stream: trio.SocketStream) -> None:
        request = b""
        # The client may have heard enough before the end.
        with suppress(trio.BrokenResourceError):
            while b"\r\n\r\n" not in request and (part := await stream.receive_some()):
                request += part
            first, *lines = request.decode("ascii").split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
            await stream.send_all(respond(first.split(" ")[1], headers))
            await stream.aclose()

    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, handle, 0, host="127.0.0.1")
        listeners = await nursery.start(serve)
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


def response(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    """Return a whole response, without a length: it ends with the connection."""
    lines = [f"HTTP/1.1 {status}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
