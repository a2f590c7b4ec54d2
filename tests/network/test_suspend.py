"""Time that jumps: the machine slept, or the process was stopped."""

import json
from contextlib import suppress
from random import Random

import pytest
import trio

from dhtnode import QueryTimeout, open_node, random_id
from dhtnode.krpc import GetPeers, Ping
from dhtnode.net import Answer
from dhtnode.node.state_file import StateFile
from tests.network.scenes import closest_ids, find_ids, find_peers, host_of, known_hosts, queries_sent

pytestmark = pytest.mark.slow

NIGHT = 8 * 3600.0


def bad_nodes(node):
    return sum(bucket.bad for endpoint in node.statistics().sockets for bucket in endpoint.table)


async def test_night_is_no_mass_failure(autojump_clock, new_network):
    network, random = new_network(1), Random(1)

    async with network.open_nodes(20) as nodes:
        await trio.sleep(300)
        known = [known_hosts(node) for node in nodes]
        outcomes = []
        for contact in nodes[7].contacts():
            nodes[7].send_query(Ping(), contact.address, lambda outcome, _: outcomes.append(outcome))
        asked = len(outcomes), len(nodes[7].contacts())
        network.cut(host_of(nodes[7]))  # of these no answer will come
        autojump_clock.jump(NIGHT)
        await trio.sleep(3)  # the network of a laptop is not there when it wakes
        assert [type(outcome) for outcome in outcomes] == [QueryTimeout] * asked[1]
        assert bad_nodes(nodes[7]) == 0
        network.restore(host_of(nodes[7]))
        await trio.sleep(10)

        assert asked[0] == 0
        lost = [before - known_hosts(node) for node, before in zip(nodes, known, strict=True)]
        assert set().union(*lost) <= {host_of(nodes[7])}  # which was away while the others were there
        assert (lost[7], bad_nodes(nodes[7])) == (set(), 0)
        target = random_id(random)
        assert await find_ids(nodes[7], target) == closest_ids(nodes, target, nodes[7])


async def test_contacts_are_checked_again_at_a_pace(autojump_clock, new_network):
    network = new_network(1)

    async with network.open_nodes(40) as nodes:
        await trio.sleep(300)
        node = nodes[7]
        autojump_clock.jump(NIGHT)
        (before,) = node.statistics().sockets
        sent = queries_sent(node)
        await trio.sleep(60)
        in_a_minute = queries_sent(node) - sent
        await trio.sleep(240)
        (after,) = node.statistics().sockets

        assert before.good_nodes == 0
        assert after.good_nodes == after.nodes >= before.nodes
        assert in_a_minute < 300


async def test_what_was_kept_for_others_is_over_in_the_morning(autojump_clock, new_network):
    network, info_hash = new_network(1), random_id(Random(1))
    async with network.open_nodes(12) as nodes:
        await nodes[3].announce(info_hash, 7000)
        assert len(await find_peers(nodes[5], info_hash)) == 1
        question = GetPeers(info_hash), nodes[0].addresses[0]
        evening = (await nodes[5].query(*question)).response.token
        autojump_clock.jump(NIGHT)
        assert await find_peers(nodes[5], info_hash) == set()
        assert (await nodes[5].query(*question)).response.token != evening


@pytest.mark.parametrize("seconds", [2.0, 20.0, 600.0])
async def test_answers_that_came_while_we_were_stopped_count(autojump_clock, new_network, seconds):
    network = new_network(seed=1)

    async with network.open_nodes(14) as nodes:
        node = nodes[7]
        await trio.sleep(60)
        (before,) = node.statistics().sockets
        outcomes = []
        for contact in node.contacts():
            node.send_query(Ping(), contact.address, lambda outcome, _: outcomes.append(outcome))
        await trio.sleep(0.001)
        asked = node.statistics().sockets[0].pending
        autojump_clock.jump(seconds)
        await trio.sleep(2)
        (after,) = node.statistics().sockets

        assert asked >= 8
        assert {type(outcome) for outcome in outcomes} == {Answer}
        assert after.timeout == before.timeout


async def test_state_is_saved_on_waking(autojump_clock, new_network, tmp_path, monkeypatch):
    network, path, written = new_network(seed=1), tmp_path / "state.json", trio.Event()
    counts = []

    saved = StateFile.save

    def save(file, state):
        saved(file, state)
        with suppress(RuntimeError):  # the first and the last are in Trio's own thread
            # The node may find more contacts while the file is written.
            counts.append((len(state.contacts), len(json.loads(path.read_text())["contacts"])))
            trio.from_thread.run_sync(written.set)

    monkeypatch.setattr(StateFile, "save", save)
    async with (
        network.open_nodes(12) as nodes,
        open_node(
            sockets=[network.socket(network.host(30))],
            bootstrap=[str(nodes[0].addresses[0])],
            well_known=False,
            state_file=path,
        ) as node,
    ):
        await node.wait_joined()
        before = len(json.loads(path.read_text())["contacts"])
        autojump_clock.jump(NIGHT)
        await written.wait()

        known, in_file = counts[-1]
        assert (before, in_file) == (0, known)
        assert known >= 8
