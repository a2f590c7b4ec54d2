"""Swarms whose peers name one another, contacted by the real client over streams in memory."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import trio
from trio.testing import memory_stream_pair

from crawler.settings import PeerSettings
from crawler.torrents import PeerClient
from crawler.torrents.peerwire.frames import FrameKind, encode_frame
from crawler.torrents.peerwire.handshake import Handshake, encode_handshake
from dhtnode import Address, Family, InfoHash, Interval, Scope
from dhtnode.bencode import encode
from dhtnode.krpc.compact import pack_address

INFO_HASH = InfoHash(b"h" * 20)
PEX_DELAY = 1.0  # seconds; libtorrent 2.1 takes 1.02


@dataclass(frozen=True, slots=True)
class SwarmKind:
    """How many peers there are, to how many each connects, and how many are known at first.

    The share `closed` lets none in: such peers connect to others, which name them all the same.  The
    `unequal` connect to five times as many.
    """

    peers: int = 60
    each: int = 5
    known: int = 20
    budget: int = 20
    closed: float = 0.0
    unequal: float = 0.0


SWARMS = {
    "60 of degree 10": SwarmKind(),
    "60 of degree 10, 6 known": SwarmKind(known=6),
    "60 of degree 10, 6 known, of 40": SwarmKind(known=6, budget=40),
    "60 of degree 10, 6 asked": SwarmKind(known=6, budget=6),
    "200 of degree 20": SwarmKind(200, 10, 20, 40),
    "1000 of degree 40": SwarmKind(1000, 20, 20, 40),
    "60 and 60 that let none in": SwarmKind(120, 5, 10, 40, closed=0.5),
    "200, a tenth with five times the connections": SwarmKind(200, 5, 10, 40, unequal=0.1),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one swarm: the truth, the share of it that was named or met, and the estimate."""

    truth: int
    asked: int
    named: float
    seconds: float
    size: Interval


@dataclass(slots=True)
class _Swarm:
    nursery: trio.Nursery
    links: dict[Address, list[Address]]
    closed: set[Address]
    heard: set[Address] = field(default_factory=set)

    async def connect(self, address: Address) -> trio.abc.HalfCloseableStream:
        """Open a connection to a peer, or time out."""
        if address in self.closed:
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        ours, theirs = memory_stream_pair()
        self.nursery.start_soon(self._serve, address, theirs)
        self.heard.add(address)
        return ours

    async def _serve(self, address: Address, stream: trio.abc.HalfCloseableStream) -> None:
        hello = encode_handshake(Handshake(INFO_HASH, b"-LT2110-" + pack_address(address).rjust(12, b"p")))
        known = b"\0" + encode({b"m": {b"ut_pex": 1}})
        try:
            async with stream:
                await stream.send_all(
                    hello + encode_frame(FrameKind.HAVE_ALL) + encode_frame(FrameKind.EXTENDED, known)
                )
                await trio.sleep(PEX_DELAY)
                named = b"\2" + encode({b"added": b"".join(map(pack_address, self.links[address]))})
                await stream.send_all(encode_frame(FrameKind.EXTENDED, named))
                self.heard.update(self.links[address])
                while await stream.receive_some(4096):
                    pass
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client has had enough


async def contact(kind: SwarmKind, random: Random) -> Outcome | None:
    """Contact a swarm of a kind; None where too few named others for an estimate.  In virtual time."""
    links, closed = _draw(kind, random)
    is_open = [address for address in links if address not in closed]
    settings = PeerSettings(pex=True, peers=kind.budget)
    started = trio.current_time()
    async with trio.open_nursery() as nursery:
        swarm = _Swarm(nursery, links, closed)
        client = PeerClient(
            *({Family.IPV4: Scope.PUBLIC}, settings, random), connect=swarm.connect, run_sync=_call
        )
        told = await client.contact_peers(INFO_HASH, random.sample(is_open, kind.known))
        seconds = trio.current_time() - started
        nursery.cancel_scope.cancel()
    found = told.exchange
    if found is None or found.n_estimate is None or found.n_low is None or found.n_high is None:
        return None
    named = len(swarm.heard - closed) / len(is_open)
    size = Interval(found.n_estimate, found.n_low, found.n_high)
    return Outcome(len(is_open), len(told.reports), named, seconds, size)


def _draw(kind: SwarmKind, random: Random) -> tuple[dict[Address, list[Address]], set[Address]]:
    """Draw the others that each peer is connected to, and those that let none in."""
    addresses = [Address(f"45.0.{n // 250}.{n % 250 + 1}", 6881) for n in range(kind.peers)]
    closed = set(random.sample(addresses, round(kind.closed * kind.peers)))
    many = set(random.sample(addresses, round(kind.unequal * kind.peers)))
    links: dict[Address, dict[Address, None]] = {address: {} for address in addresses}
    for address in addresses:
        others = [other for other in addresses if other is not address and other not in closed]
        for other in random.sample(others, kind.each * (5 if address in many else 1)):
            links[address][other] = links[other][address] = None
    return {address: list(others) for address, others in links.items()}, closed


async def _call(function: Callable[..., object], *args: object, limiter: object) -> object:
    """Stand in for the worker thread, which virtual time does not wait for."""
    del limiter
    return function(*args)
