"""Limits that are changed while a node runs, as on SIGHUP: in virtual time, by what a flooder is told."""

from dataclasses import replace

import trio

from dhtnode.addresses import Family
from dhtnode.bencode import encode
from dhtnode.settings import NodeSettings

PING = encode({b"a": {b"id": b"a" * 20}, b"q": b"ping", b"t": b"aa", b"y": b"q"})
SLOW = NodeSettings(host_rate=0.001, host_burst=4.0, verify_rate=0.001)


async def answered(socket, node, count=20):
    for _ in range(count):
        socket.send_nowait(PING, node.addresses[0])
    await trio.sleep(1.0)
    replies = 0
    while (mail := socket.receive_nowait()) is not None:
        replies += b"1:y1:r" in mail[0]
    return replies


async def test_new_rates_hold_at_once_and_old_debts_are_forgiven(new_network, autojump_clock):
    """At the old rate this address would wait for an hour; one and two more come from the reserve."""
    network = new_network(1)
    async with network.open_node(1, settings=SLOW) as node:
        socket = network.socket(network.host(900, Family.IPV4))
        assert await answered(socket, node) == 6
        assert await answered(socket, node) == 0
        node.change_limits(replace(SLOW, host_burst=9.0))
        assert await answered(socket, node) == 12
        node.change_limits(replace(SLOW, host_rate=1000.0, host_burst=1000.0))
        assert await answered(socket, node) == 20


async def test_reply_budget_and_amplification_can_be_changed(new_network, autojump_clock):
    network = new_network(2)
    async with network.open_node(1) as node:
        socket = network.socket(network.host(900, Family.IPV4))
        assert await answered(socket, node) == 20
        node.change_limits(NodeSettings(max_amplification=1.0))
        assert await answered(socket, node) == 0  # a reply says where we are, so it is longer
        node.change_limits(NodeSettings(reply_rate=1.0, reply_burst=300.0))
        assert 0 < await answered(socket, node) < 5
        node.change_limits(NodeSettings())
        assert await answered(socket, node) == 20
