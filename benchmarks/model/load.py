"""What model nodes ask a real one, more by day than by night: pings, walks, and announces with tokens."""

import math
from random import Random
from typing import Any

import trio
from bencode2 import bencode

from benchmarks.model.network import ModelNetwork
from benchmarks.model.population import Member
from dhtnode import Address

DAY = 86_400.0
SWING = 0.8  # by which share of the mean the rate rises and falls
METHODS = ("ping", "find_node", "get_peers", "announce_peer")
SHARES = (0.2, 0.35, 0.3, 0.15)  # of the queries; an announce is a get_peers before


class Load:
    """Send queries to one real node.

    Nothing is remembered per query: the transaction id tells of which swarm the answer to a get_peers
    is, and that its token is to be used.
    """

    def __init__(
        self, network: ModelNetwork, address: Address, *, rate: float, swarms: int = 200, seed: int = 0
    ) -> None:
        """Ask `rate` times per second on average, for swarms that are all equally popular."""
        self.sent = 0
        self.answered = 0
        self._network = network
        self._address = address
        self._rate = rate
        self._random = Random(f"load {seed}")
        self._swarms = [self._random.randbytes(20) for _ in range(swarms)]
        network.on_reply = self._on_reply

    def rate_at(self, now: float) -> float:
        """Return how many queries per second there are at a time of the day."""
        return self._rate * (1 + SWING * math.sin(2 * math.pi * now / DAY))

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            now = trio.current_time()
            await trio.sleep(self._random.expovariate(self.rate_at(now)))
            self._ask(trio.current_time())

    def _ask(self, now: float) -> None:
        self._network.population.advance(now)
        member = self._network.population.choose_online(self._random)
        if member is None:
            return
        method = self._random.choices(METHODS, SHARES)[0]
        swarm = self._random.randrange(len(self._swarms))
        match method:
            case "ping":
                self._send(member, b"ping", {}, b"p", now)
            case "find_node":
                self._send(member, b"find_node", {b"target": self._random.randbytes(20)}, b"f", now)
            case _:
                mark = (b"A" if method == "announce_peer" else b"g") + swarm.to_bytes(2, "big")
                self._send(member, b"get_peers", {b"info_hash": self._swarms[swarm]}, mark, now)

    def _send(
        self, member: Member, method: bytes, arguments: dict[bytes, Any], transaction_id: bytes, now: float
    ) -> None:
        query = {
            b"a": {b"id": member.node_id} | arguments,
            b"q": method,
            b"t": transaction_id,
            b"y": b"q",
        }
        self.sent += 1
        self._network.carry(bencode(query), member.address, self._address, now)

    def _on_reply(self, member: Member, fields: dict[bytes, Any], source: Address, now: float) -> None:
        if source != self._address or fields.get(b"y") != b"r":
            return
        self.answered += 1
        transaction_id, token = fields[b"t"], fields[b"r"].get(b"token")
        if transaction_id[:1] == b"A" and token is not None:
            info_hash = self._swarms[int.from_bytes(transaction_id[1:3], "big")]
            arguments = {b"info_hash": info_hash, b"port": member.address.port, b"token": token}
            self._send(member, b"announce_peer", arguments, b"a", now)
