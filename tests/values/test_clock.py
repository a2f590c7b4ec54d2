"""The clock that counts the sleep of the machine, and a real node that wakes under it."""

import re
import time
from pathlib import Path

import trio

import dhtnode
from dhtnode import Contact, Node, open_node
from dhtnode.api.results import NodeStatistics
from dhtnode.clock import BoottimeClock, seconds_since_start
from dhtnode.ids import as_id
from dhtnode.krpc import GetPeers, Ping

HOURS = 8
SWARM = as_id(7)


class Sleeper:
    """Be the time of a machine that can be put to sleep."""

    def __init__(self) -> None:
        self.slept = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.slept


def test_clock_takes_in_what_was_slept() -> None:
    sleeper = Sleeper()
    clock = BoottimeClock(sleeper)
    deadline = clock.current_time() + 3600.0
    sleeper.slept = 3000.0
    assert 0 < clock.deadline_to_sleep_time(deadline) <= 600.0
    assert clock.current_time() >= deadline - 600.0


def test_clock_of_the_system_never_lags_behind_the_monotonic_one() -> None:
    before = time.clock_gettime(time.CLOCK_MONOTONIC)
    assert seconds_since_start() >= before


def test_node_never_reads_the_wall_clock() -> None:
    readers = [
        path.name
        for path in Path(dhtnode.__file__).parent.glob("*.py")
        if re.search(r"\btime\.time|CLOCK_REALTIME|datetime", path.read_text(encoding="utf-8"))
    ]
    assert readers == []


def test_deadlines_that_passed_in_the_sleep_are_over_on_waking() -> None:
    sleeper = Sleeper()

    async def main() -> None:
        with trio.move_on_after(HOURS * 3600) as scope:
            sleeper.slept = HOURS * 3600.0
            await trio.sleep_forever()
        assert scope.cancelled_caught

    trio.run(main, clock=BoottimeClock(sleeper))


def test_real_node_wakes_after_eight_hours() -> None:
    sleeper = Sleeper()

    async def main() -> tuple[list[Contact], list[Contact], NodeStatistics, list[bytes]]:
        async with (
            open_node(listen=["127.0.0.1:0"], well_known=False) as node,
            open_node(listen=["127.0.0.1:0"], bootstrap=[str(node.addresses[0])]) as other,
        ):
            await other.wait_joined()
            await node.ping(other.addresses[0])
            await other.announce(SWARM, 7000)
            before = node.contacts()
            tokens = [await token(other, node)]
            under_way: list[object] = []
            node.send_query(Ping(), other.addresses[0], lambda outcome, _: under_way.append(outcome))
            sleeper.slept = HOURS * 3600.0
            while not under_way:
                await trio.lowlevel.checkpoint()
            async with other.get_peers(SWARM) as peers:
                assert [peer async for peer in peers] == []
            tokens.append(await token(other, node))
            return before, node.contacts(), node.statistics(), tokens

    before, after, statistics, tokens = trio.run(main, clock=BoottimeClock(sleeper))
    (endpoint,) = statistics.sockets
    assert len(before) == 1
    assert after == before
    assert sum(bucket.bad for bucket in endpoint.table) == 0
    assert endpoint.counts.get("timeouts", 0) == 0
    assert statistics.peers.peers == 0
    assert tokens[0] != tokens[1]


async def token(asker: Node, node: Node) -> bytes:
    answer = await asker.query(GetPeers(SWARM), node.addresses[0])
    assert answer.response.token is not None
    return answer.response.token
