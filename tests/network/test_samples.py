"""Samples of info-hashes among nodes (BEP 51)."""

import pytest
from trio.testing import MockClock

from dhtnode import BadResponse, InfoHash
from dhtnode.testing import MemoryNetwork

SWARMS = [InfoHash(bytes([number]) * 20) for number in range(1, 4)]


async def test_node_shows_what_was_announced_to_it(autojump_clock: MockClock) -> None:
    async with MemoryNetwork(seed=1).open_nodes(10) as nodes:
        for swarm in SWARMS:
            await nodes[3].announce(swarm, 6881)
        shown = [await nodes[0].sample_infohashes(node.addresses[0]) for node in nodes[1:]]
        await nodes[1].scrape(InfoHash(b"z" * 20))
        again = await nodes[0].sample_infohashes(nodes[1].addresses[0])

    for sample, node in zip(shown, nodes[1:], strict=True):
        assert sample.node.node_id == node.node_id
        assert set(sample.info_hashes) <= set(SWARMS)
        assert sample.num == len(sample.info_hashes) == node.peers.statistics().swarms
        assert 21_590 <= sample.interval <= 21_600
        assert len(sample.contacts) == 8
    assert {info_hash for sample in shown for info_hash in sample.info_hashes} == set(SWARMS)
    assert again.info_hashes == shown[0].info_hashes


async def test_node_that_knows_no_samples_is_told_from_one_without_any(autojump_clock: MockClock) -> None:
    network = MemoryNetwork(seed=1)
    async with network.open_nodes(2) as (first, second):
        empty = await second.sample_infohashes(first.addresses[0])
        first.peers.sample_info_hashes = None  # type: ignore[assignment,method-assign]
        responder = first._sockets.by_address[first.addresses[0]]._inbound._respond.__self__
        responder._sample_infohashes = (  # type: ignore[method-assign]
            lambda method, query, source, now, room: responder._response(query, source)
        )
        with pytest.raises(BadResponse, match="no sample"):
            await second.sample_infohashes(first.addresses[0])
    assert (empty.info_hashes, empty.num) == ((), 0)
