"""A whole node with nothing real around it: wires for sockets, a clock moved by hand, faults kept."""

import logging
from collections import Counter, defaultdict, deque
from dataclasses import replace
from ipaddress import ip_address
from math import inf
from random import Random

import trio

from dhtnode.addresses import Address, Contact, Family, scope_of
from dhtnode.ids import InfoHash, NodeId, as_id
from dhtnode.krpc.compact import host_of, pack_address
from dhtnode.net.outgoing import MOST_KNOWN, MOST_PACKETS, OutgoingBound
from dhtnode.net.udp import DatagramSocket
from dhtnode.node.context import new_context
from dhtnode.node.socket_node import SocketNode
from dhtnode.server.peer_store import PeerStore
from dhtnode.server.tokens import TokenIssuer
from dhtnode.settings import NodeSettings
from tests.fuzz.findings import Broken, require
from tests.fuzz.seeds import ASKER_ID, SWARM

OWN = as_id(1 << 159)
US = {Family.IPV4: Address("21.0.0.1", 6881), Family.IPV6: Address("2a00::1", 6881)}
QUERY_END = b"1:y1:qe"  # how every query of ours ends
PERIOD = 10.0  # seconds in which no host gets more than MOST_PACKETS
KNOWN = 24  # nodes in each table at the start
SWARMS = [SWARM, InfoHash(ASKER_ID), InfoHash(bytes(20))]

FORBIDDEN = {
    Family.IPV4: [
        "127.0.0.1",
        "10.0.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "192.0.2.7",
        "21.0.0.1",
    ],
    Family.IPV6: ["::1", "fe80::1", "::", "ff02::1", "2001:db8::1", "fc00::1", "2a00::1"],
}


class HandClock(trio.abc.Clock):
    """A clock that stands still until `now` is changed."""

    def __init__(self) -> None:
        self.now = 0.0

    def start_clock(self) -> None:
        """Start nothing."""

    def current_time(self) -> float:
        """Return what `now` was set to."""
        return self.now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return 0.0 if deadline <= self.now else inf


class Wire(DatagramSocket):
    """A socket that keeps what is sent, and takes nothing that must not be sent."""

    def __init__(self, address: Address, max_payload: int) -> None:
        self.address = address
        self.errors: Counter[str] = Counter()
        self.sent: list[tuple[bytes, Address]] = []
        self.is_full = False
        self._scope = scope_of(address.host)
        self._max_payload = max_payload
        self._checked: set[Address] = set()
        self._last_queries: dict[int, deque[float]] = defaultdict(lambda: deque(maxlen=MOST_PACKETS))
        self._heard: set[int] = set()

    def hear(self, source: Address) -> None:
        """Take note that something has come from a host."""
        self._heard.add(self._host(source))

    def _host(self, address: Address) -> int:
        return host_of(int.from_bytes(pack_address(address), "big"), address.family)

    def send_nowait(self, data: bytes, destination: Address) -> bool:
        """Keep one datagram, unless the wire is full."""
        if destination not in self._checked:
            self._check(destination)
        require(0 < len(data) <= self._max_payload, "no datagram is longer than it may be")
        if not self.is_full:
            self.sent.append((data, destination))
            if data.endswith(QUERY_END):
                self._check_pace(destination)
        return not self.is_full

    def _check_pace(self, destination: Address) -> None:
        host, now = self._host(destination), trio.current_time()
        times = self._last_queries[host]
        is_late = len(times) < MOST_PACKETS or now - times[0] > PERIOD
        require(is_late, "no host gets more than ten queries in ten seconds")
        times.append(now)
        lately = sum(now - time <= PERIOD for time in times)
        require(lately <= MOST_KNOWN or host in self._heard, "a host that is silent gets fewer")

    def _check(self, destination: Address) -> None:
        require(destination.family is self.address.family, "a socket sends to its own family")
        require(self._scope.allows(destination) and _is_unicast(destination), "destinations are allowed")
        require(destination != self.address, "nothing is sent to ourselves")
        self._checked.add(destination)

    def receive_nowait(self) -> tuple[bytes, tuple[str, int]] | None:
        return None

    async def wait_readable(self) -> None:
        """Wait for what never comes."""
        await trio.sleep_forever()

    async def wait_writable(self) -> None:
        await trio.lowlevel.checkpoint()

    def dropped_by_kernel(self) -> int | None:
        """Return None: there is no kernel."""
        return None

    def close(self) -> None:
        """Have nothing to give back."""


def _is_unicast(address: Address) -> bool:
    """Return what must hold of a destination even if `Scope` is wrong."""
    host = ip_address(address.host)
    special = host.is_loopback or host.is_multicast or host.is_link_local or host.is_unspecified
    return 0 < address.port < 65536 and not special


class World:
    """Hold an endpoint per family, with what they share, the same for the same settings."""

    def __init__(self, settings: NodeSettings) -> None:
        self.settings = settings
        self.peers = PeerStore(
            Random(3),
            lifetime=settings.peer_lifetime,
            max_swarms=settings.max_swarms,
            max_peers_per_swarm=settings.max_peers_per_swarm,
            max_peers=settings.max_peers,
        )
        self.tokens = TokenIssuer(Random(1).randbytes, settings.token_period, 0.0)
        self.wires = {family: Wire(US[family], settings.max_item_payload) for family in Family}
        shared = replace(
            new_context(settings, Random(4), Random(6).randbytes, 0.0, OutgoingBound(trio.current_time)),
            peers=self.peers,
            tokens=self.tokens,
        )
        self.endpoints = {family: SocketNode(wire, OWN, shared) for family, wire in self.wires.items()}
        self._populate()

    def _populate(self) -> None:
        random = Random(5)
        for family, endpoint in self.endpoints.items():
            for number in range(KNOWN):
                contact = Contact(NodeId(random.randbytes(20)), known_address(family, number))
                endpoint.table.responded(contact, 0.0)
            for number in range(self.settings.max_peers_per_swarm // 2):
                peer = Address(new_address(family, 70_000 + number).host, 7000)
                self.peers.announce(SWARM, peer, 0.0, seed=number % 3 == 0)


def family_of(action: int) -> Family:
    """Return the family that a step belongs to; one in four is IPv6, whose texts cost more to read."""
    return Family.IPV6 if action & 3 == 1 else Family.IPV4


def known_address(family: Family, number: int) -> Address:
    host = f"21.1.{number}.1" if family is Family.IPV4 else f"2a00:1:{number:x}::1"
    return Address(host, 6881)


def new_address(family: Family, number: int) -> Address:
    """Return one of 4 million public addresses; neighbours share a network now and then."""
    if family is Family.IPV4:
        return Address(
            f"21.{2 + (number >> 14 & 127)}.{number >> 6 & 255}.{1 + (number & 63)}", 1024 + number % 7
        )
    return Address(f"2a00:2:{number >> 4 & 0xFFFF:x}::{1 + (number & 15):x}", 1024 + number % 7)


def forbidden_address(family: Family, number: int) -> Address:
    """Return an address to which nothing may be sent, by its host or by its port."""
    hosts = FORBIDDEN[family]
    if number % 8 == 0:
        return Address(known_address(family, 1).host, 0)
    return Address(hosts[number % len(hosts)], 6881)


class Faults(logging.Handler):
    """Keep the exceptions that the last barriers of `dhtnode` have logged, instead of printing them."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.errors: list[BaseException] = []
        logger = logging.getLogger("dhtnode")
        for old in [handler for handler in logger.handlers if isinstance(handler, Faults)]:
            logger.removeHandler(old)
        logger.addHandler(self)
        logger.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1]:
            self.errors.append(record.exc_info[1])

    def check(self) -> None:
        if self.errors:
            raise Broken("no datagram makes the node fail") from self.errors[0]
