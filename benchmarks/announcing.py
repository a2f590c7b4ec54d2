"""Days of a network of full nodes that come and go: are announced peers found, and do they vanish.

    python -m benchmarks.announcing [--nodes 100] [--hours 48] [--swarms 4] [--seed 1] [--json FILE]

So many real nodes are online on average, in sessions as in `benchmarks.life` (Weibull of shape 0.5,
median an hour, at least a minute), on a `MemoryNetwork` in virtual time with 5 % loss.  A few nodes
stay all the time, one for each swarm; each announces a peer every 30 minutes for six hours, then stops
for two.  Every ten minutes a random node that has been online for ten minutes looks for each peer.

found      of the searches while a peer is being announced, those that find it
too late   of the searches more than 45 minutes after its last announce, those that still do
"""

import argparse
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random

import trio
import trio.testing

from benchmarks.model.population import Habits
from benchmarks.tools import option
from benchmarks.tools.command import Report, WrongOptions, benchmark
from benchmarks.tools.report import head, table
from dhtnode import Address, InfoHash, Node, NotJoined
from dhtnode.testing import MemoryNetwork

LOSS = 0.05
MINUTE, HOUR = 60.0, 3600.0
ANNOUNCE_PERIOD, PEER_LIFETIME = 30 * MINUTE, 45 * MINUTE
ANNOUNCED_FOR, SILENT_FOR = 6 * HOUR, 2 * HOUR
SEARCH_PERIOD = SETTLED_AFTER = 10 * MINUTE
SHORTEST_SESSION = MINUTE
PORT = 7000


@dataclass
class Swarm:
    """One info-hash, the node that announces a peer of it, and the time of the last announcement."""

    info_hash: InfoHash
    announcer: Node
    announced_at: float = -float("inf")
    is_announced: bool = False


@dataclass
class Scene:
    """The online members, their arrival times, and the results of searches."""

    network: MemoryNetwork
    random: Random
    through: tuple[Address, ...] = ()
    online: dict[Node, float] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)


async def live(nodes: int, hours: float, swarms: int, seed: int) -> dict[str, int]:
    """Let a network live and return the counts; under a clock that jumps."""
    scene = Scene(MemoryNetwork(seed=seed, loss=LOSS), Random(f"announcing {seed}"))
    habits = Habits(renewal=0)
    async with scene.network.open_nodes(swarms) as staying, trio.open_nursery() as nursery:
        scene.through = tuple(address for node in staying for address in node.addresses)
        known = [Swarm(InfoHash(scene.random.randbytes(20)), node) for node in staying]
        for number in range(swarms, 2 * nodes - swarms):  # half of those that come and go are online
            nursery.start_soon(_come_and_go, scene, habits, number, number % 2 == 0)
        for swarm in known:
            nursery.start_soon(_announce_and_stop, scene, swarm)
        for _ in range(round(hours * HOUR / SEARCH_PERIOD)):
            await trio.sleep(SEARCH_PERIOD)
            scene.counts["online"] += len(scene.online) + swarms
            scene.counts["rounds"] += 1
            for swarm in known:
                await _search(scene, swarm)
        nursery.cancel_scope.cancel()
    errors = scene.network.totals()["internal errors"]
    if errors:
        raise AssertionError(f"nodes have met {errors} errors of their own")
    return dict(scene.counts)


async def _come_and_go(scene: Scene, habits: Habits, number: int, starts_online: bool) -> None:
    session = habits.rest_of_session(scene.random) if starts_online else 0.0
    while True:
        if session > SHORTEST_SESSION:
            async with scene.network.open_node(number, through=scene.through) as node:
                await node.wait_joined()
                scene.online[node] = trio.current_time()
                try:
                    await trio.sleep(session)
                finally:
                    del scene.online[node]
        await trio.sleep(scene.random.expovariate(1 / habits.mean_pause))
        session = max(habits.session(scene.random), 2 * SHORTEST_SESSION)


async def _announce_and_stop(scene: Scene, swarm: Swarm) -> None:
    await trio.sleep(scene.random.random() * ANNOUNCE_PERIOD)  # not all at once
    while True:
        for _ in range(round(ANNOUNCED_FOR / ANNOUNCE_PERIOD)):
            try:
                done = await swarm.announcer.announce(swarm.info_hash, PORT)
                scene.counts["announced to"] += len(done.announced_to)
            except NotJoined:
                scene.counts["announces failed"] += 1
            scene.counts["announces"] += 1
            swarm.announced_at, swarm.is_announced = trio.current_time(), True
            await trio.sleep(ANNOUNCE_PERIOD)
        swarm.is_announced = False
        await trio.sleep(SILENT_FOR)


async def _search(scene: Scene, swarm: Swarm) -> None:
    """Look for a peer from a node that is settled, and count the outcome where the answer is clear."""
    now = trio.current_time()
    settled = [node for node, since in scene.online.items() if now - since >= SETTLED_AFTER]
    over = not swarm.is_announced and now - swarm.announced_at > PEER_LIFETIME
    if not settled or not (swarm.is_announced or over):
        return
    peer = Address(swarm.announcer.addresses[0].host, PORT)
    asker = scene.random.choice(settled)
    with trio.move_on_after(MINUTE):  # the asker may go while it looks
        async with asker.get_peers(swarm.info_hash) as peers:
            found = {each async for each in peers}
    if asker in scene.online:
        scene.counts["searches too late" if over else "searches"] += 1
        scene.counts["found too late" if over else "found"] += peer in found


@benchmark(
    option.count("--nodes", 100, "online on average", at_least=2),
    option.number("--hours", 48.0, at_least=SEARCH_PERIOD / HOUR),
    option.count("--swarms", 4, "as many nodes announce and never leave"),
    option.SEED,
)
def main(options: argparse.Namespace, report: Report) -> None:
    """Live, and return the report."""
    if options.swarms >= options.nodes:
        raise WrongOptions("there are fewer swarms than nodes")
    started = time.process_time()

    async def main() -> dict[str, int]:
        return await live(options.nodes, options.hours, options.swarms, options.seed)

    counts = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    report |= {"counts": counts, "cpu_seconds": time.process_time() - started}
    rows = [
        ["found while announced", f"{counts.get('found', 0)} of {counts.get('searches', 0)}"],
        ["found too late", f"{counts.get('found too late', 0)} of {counts.get('searches too late', 0)}"],
        ["nodes per announce", f"{counts.get('announced to', 0) / max(1, counts.get('announces', 0)):.2f}"],
        ["nodes online", f"{counts['online'] / counts['rounds']:.0f}"],
        ["CPU seconds", f"{report['cpu_seconds']:.0f}"],
    ]
    print(head(report), table(("figure", "measured"), rows), sep="\n\n")


if __name__ == "__main__":
    sys.exit(main())
