"""Sizes of swarms that real libtorrent nodes store: they keep the first 500 peers, and drop what comes later.

Twelve nodes on loopback; the peers of a swarm are addresses of 127.64.0.0/10, one each.  Nodes hear of them
in one order, as after a release, or each in an order of its own.
"""

import socket
import struct
import sys
from contextlib import closing
from itertools import count
from random import Random

import pytest
import trio
from bencode2 import bdecode, bencode

from dhtnode import InfoHash, open_node
from dhtnode.ids import distance
from tests.real_clients.libtorrent_network import PATIENCE, libtorrent_network

pytestmark = [
    pytest.mark.slow,
    pytest.mark.real_clients,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8"),
]

CLOSEST = 8
IP_PKTINFO = 8
PKTINFO = struct.Struct("=i4s4s")
AT_ONCE = 16  # peers that announce together, each to all nodes
PEER_ID = b"peer" * 5
PORT = 6881
NEAR = 0.03  # beyond the interval, which misses one in twenty


def host_of(peer):
    return (127 << 24 | 64 << 16 | peer).to_bytes(4, "big")


class Announcers:
    """Peers that announce themselves, each from its own address, all over one socket."""

    def __init__(self):
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self._socket.bind(("0.0.0.0", 0))  # each datagram says which address it leaves from
        self._socket.settimeout(0.5)
        self._numbers = count(1)

    def close(self):
        self._socket.close()

    def announce(self, info_hash, orders):
        """Let nodes, by address, hear of the peers in these orders."""
        for start in range(0, max(map(len, orders.values())), AT_ONCE):
            wanted = [
                (node, peer) for node, order in orders.items() for peer in order[start : start + AT_ONCE]
            ]
            tokens = self._ask(b"get_peers", {pair: {b"info_hash": info_hash} for pair in wanted})
            named = {b"info_hash": info_hash, b"port": PORT}
            # A node that is full gives no token: the announcement is dropped before it is made.
            taken = {pair: said[b"token"] for pair, said in tokens.items() if b"token" in said}
            self._ask(b"announce_peer", {pair: named | {b"token": token} for pair, token in taken.items()})

    def _ask(self, method, wanted):
        """Send a query for each pair of node and peer, again until all are answered; return the answers."""
        answers = {}
        for _ in range(int(PATIENCE)):
            sent = {next(self._numbers): pair for pair in wanted if pair not in answers}
            if not sent:
                return answers
            for number, pair in sent.items():
                self._send(*pair, number, method, wanted[pair])
            while len(answers) < len(wanted):
                try:
                    fields = bdecode(self._socket.recv(4096))
                except TimeoutError:
                    break
                pair = sent.get(int.from_bytes(fields[b"t"], "big"))
                if pair is not None and fields[b"y"] == b"r":
                    answers[pair] = fields[b"r"]
        raise AssertionError(f"{len(wanted) - len(answers)} announcements were never taken")

    def _send(self, node, peer, number, method, arguments):
        query = {
            b"a": arguments | {b"id": PEER_ID},
            b"q": method,
            b"t": number.to_bytes(4, "big"),
            b"y": b"q",
        }
        leaves_from = PKTINFO.pack(0, host_of(peer), bytes(4))
        self._socket.sendmsg([bencode(query)], [(socket.IPPROTO_IP, IP_PKTINFO, leaves_from)], 0, tuple(node))


def orders_of(nodes, peers, random, *, is_common):
    """Return in which order each node hears of the peers."""
    order = random.sample(range(1, 1 << 20), peers)
    return {node: order if is_common else random.sample(order, peers) for node in nodes}


@pytest.mark.parametrize("is_common", [True, False], ids=["one order", "own orders"])
async def test_sizes_of_swarms_in_libtorrent_stores_are_right_or_lower_bounds(is_common):
    random = Random(16)
    async with (
        libtorrent_network(*["127.0.0.1"] * 12) as network,
        open_node(bootstrap=[str(network[0].address)]) as node,
    ):
        await node.wait_joined()
        ids = {client.address: (await node.ping(client.address)).node_id for client in network}
        for peers in (300, 480, 900, 2000):
            info_hash = InfoHash(random.randbytes(20))
            closest = sorted(ids, key=lambda each: distance(ids[each], info_hash))[:CLOSEST]
            orders = orders_of(closest, peers, random, is_common=is_common)
            with closing(Announcers()) as announcers:
                await trio.to_thread.run_sync(announcers.announce, info_hash, orders)
            found = (await node.scrape(info_hash)).estimate
            assert found.peers_low <= peers * (1 + NEAR), found
            if found.peers_high is None:
                assert found.saturated
                assert peers > 300, "stores that are not full tell the size"
            else:
                assert found.peers_high >= peers * (1 - NEAR), found
