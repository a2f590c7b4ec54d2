"""Planted nodes of a memory network: they answer as they were told, and name their own kind."""

from random import Random

from bencode2 import bdecode

from crawler.synthetic.planted import CONTACTS, PlantedMemoryNetwork
from crawler.synthetic.settings import SyntheticSettings
from dhtnode import Address, NodeSettings

SETTINGS = SyntheticSettings(nodes=30)


def plant(count, seed=1):
    random = Random(seed)
    four = {Address(f"21.{number}.0.1", 6881): random.randbytes(20) for number in range(1, count + 1)}
    six = {Address(f"2a01:{number:x}::1", 6881): random.randbytes(20) for number in range(1, count + 1)}
    return four | six


async def test_lookup_among_planted_nodes_finds_the_closest(autojump_clock, new_network):
    planted = plant(40)
    network = new_network(1, PlantedMemoryNetwork, synthetic=SETTINGS, planted=planted, version=b"XX")
    way_in = Address("21.1.0.1", 6881)
    target = bytes(range(20))
    async with network.open_node(0, through=[way_in], settings=NodeSettings(read_only=True)) as node:
        await node.wait_joined()
        found = await node.find_node(target)

    mine = sorted(
        (node_id for address, node_id in planted.items() if ":" not in address.host),
        key=lambda node_id: int.from_bytes(node_id) ^ int.from_bytes(target),
    )
    assert [bytes(each.node_id) for each in found] == mine[:CONTACTS]
    assert network.counts["delivered"] > 0


def test_replies_are_of_one_family_and_have_the_version():
    planted = plant(10)
    address = Address("2a01:1::1", 6881)
    query = b"d1:ad2:id20:" + bytes(20) + b"6:target20:" + bytes(20) + b"e1:q9:find_node1:t2:aa1:y1:qe"
    with_version = PlantedMemoryNetwork(SETTINGS, planted, version=b"XX")
    reply = bdecode(with_version._reply(query, planted[address], address.family))
    assert (reply[b"t"], reply[b"v"], set(reply[b"r"])) == (b"aa", b"XX", {b"id", b"nodes6"})
    assert len(reply[b"r"][b"nodes6"]) == CONTACTS * 38
    without = PlantedMemoryNetwork(SETTINGS, planted)
    assert b"v" not in bdecode(without._reply(query, planted[address], address.family))
    for data in (b"", b"de", b"i1e", b"x", query.replace(b"1:y1:q", b"1:y1:r")):
        assert without._reply(data, planted[address], address.family) == b""
