"""Days of one node of ours in a model of the DHT: is its table alive, does it stay within its bounds.

    python -m benchmarks.life [--days 30] [--nodes 1000] [--seed 1] [--json FILE]

So many model nodes are online on average (see `model`), as many others are away.  Sessions are Weibull
of shape 0.5 with a median of an hour, 5 % of all datagrams are lost, and our node is asked more by day
than by night.  It looks up two random ids per hour.  Time is virtual, the CPU time is that of all.

live share    of the contacts that the node hands out as good, those online at that moment; one look a
              minute, the mean of each hour.  Deep buckets are those that share 3 bits or more with
              our id: all but the three that cover 7/8 of the id space
memory        what Python has allocated for the node and Trio, without the model: the median of 24
              hourly looks, up to the end of day 2 and up to the end of the last day
              (tracemalloc runs all the time, which makes all of it four times as slow)
a lookup      succeeds when it finds at least 5 of the 8 closest nodes of those online all the while
"""

import argparse
import gc
import sys
import time
import tracemalloc
from collections import Counter
from dataclasses import asdict, dataclass, field
from random import Random
from statistics import mean, median
from typing import Any

import trio
import trio.testing

from benchmarks.model.load import Load
from benchmarks.model.network import ModelNetwork
from benchmarks.model.population import WIDTH, Habits
from benchmarks.tools import option
from benchmarks.tools.command import Report, benchmark
from benchmarks.tools.report import head, table
from dhtnode import Node, NodeSettings, NotJoined, random_id
from dhtnode.ids import shared_prefix_bits
from dhtnode.net.external_address import MAX_VOTES
from dhtnode.net.round_trips import WINDOW
from dhtnode.node.socket_node import SocketNode
from dhtnode.routing.changed_ids import MAX_HOSTS
from dhtnode.server.sources import MAX_SOURCES

LOSS = 0.05
RATE = 0.1  # queries per second that reach our node on average
DEEP = 3  # bits that all nodes in a deep bucket share with our id
ENOUGH = 5  # of the 8 closest, for a lookup to count as one that succeeded
LOOKUP_PERIOD = 1800.0
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
HOURS_PER_DAY = 24
BEGIN_SETTLED = 2  # days; memory is compared with that at the end of this one
MAX_GROWTH = 0.10
NEEDED_LIVE, NEEDED_LOOKUPS = 0.95, 0.99
_NOT_THE_NODE = ("*/benchmarks/*", "*/dhtnode/testing/memory_network.py", tracemalloc.__file__)


@dataclass
class Hour:
    """The results of one hour; `bytes` is None when memory was not measured."""

    deep_live: float
    deep_contacts: float
    all_live: float
    all_contacts: float
    queries_sent: int
    bytes_sent: int
    queries_received: int
    online: int
    bytes: int | None = None


@dataclass
class Looks:
    """Add up what single looks at the table have shown."""

    live: Counter[str] = field(default_factory=Counter)
    good: Counter[str] = field(default_factory=Counter)
    count: int = 0

    def take(self, node: Node, network: ModelNetwork, now: float) -> None:
        """Look at every contact that is good now."""
        network.population.advance(now)
        self.count += 1
        for endpoint in endpoints_of(node):
            for contact in endpoint.table.contacts():
                info = endpoint.table.get(contact.address)
                if info is None or now >= info.good_until:
                    continue
                deep = shared_prefix_bits(contact.node_id, endpoint.table.node_id) >= DEEP
                for kind in ("all", "deep") if deep else ("all",):
                    self.good[kind] += 1
                    self.live[kind] += network.population.is_online(contact.node_id, contact.address)


@dataclass
class Life:
    """All results: an entry per hour, and one per lookup with the number of the 8 that it found."""

    hours: list[Hour] = field(default_factory=list)
    found: list[int] = field(default_factory=list)
    queries: list[int] = field(default_factory=list)
    largest: dict[str, list[int]] = field(default_factory=dict)  # container: largest size, and its bound

    def note_sizes(self, node: Node) -> None:
        """Keep the largest size that each container has had."""
        for name, (size, bound) in container_sizes(node).items():
            before = self.largest.get(name, [0, bound])
            self.largest[name] = [max(size, before[0]), bound]


def endpoints_of(node: Node) -> list[SocketNode]:
    """Return the endpoints, which are no part of the public interface."""
    return list(node._sockets.by_address.values())  # noqa: SLF001


def container_sizes(node: Node) -> dict[str, tuple[int, int]]:
    """Return the size and the bound of everything in a node that grows."""
    sizes: dict[str, tuple[int, int]] = {}
    settings = NodeSettings()
    stored = node.peers.statistics()
    sizes["swarms"] = stored.swarms, settings.max_swarms
    sizes["peers"] = stored.peers, settings.max_peers
    largest = max((len(swarm.peers) for swarm in node.peers.swarms.values()), default=0)
    sizes["peers of one swarm"] = largest, settings.max_peers_per_swarm
    items = node.items.statistics(trio.current_time())
    sizes["items"] = items.items, settings.max_items
    sizes["bytes of items"] = items.bytes, settings.max_item_bytes
    for endpoint in endpoints_of(node):
        endpoint.table.check()  # each bucket within its own bounds
        infos = endpoint.table.buckets(trio.current_time())
        held = sum(each.nodes + each.replacements for each in infos)
        sizes["table"] = held, 2 * settings.bucket_size * len(infos)
        sizes["hosts rejected"] = len(endpoint.table._changed_ids), MAX_HOSTS  # noqa: SLF001
        sizes["votes for our address"] = len(endpoint.rpc.external), MAX_VOTES
        sizes["round trips"] = len(endpoint.rpc.times._window), WINDOW  # noqa: SLF001
        sizes["queries under way"] = endpoint.rpc.pending, settings.max_pending
        sources = endpoint.rpc.sources
        sizes["sources"] = len(sources), MAX_SOURCES
        sizes["hosts"] = len(sources._hosts), MAX_SOURCES  # noqa: SLF001
        sizes["networks"] = len(sources._networks), MAX_SOURCES  # noqa: SLF001
    return sizes


def node_bytes() -> int:
    """Return what is allocated for the node, in bytes; costs some tenths of a second."""
    gc.collect()
    snapshot = tracemalloc.take_snapshot()
    kept = snapshot.filter_traces([tracemalloc.Filter(False, pattern) for pattern in _NOT_THE_NODE])
    return sum(each.size for each in kept.statistics("filename"))


async def live(
    days: float,
    nodes: int,
    seed: int,
    *,
    rate: float = RATE,
    settings: NodeSettings | None = None,
    habits: Habits | None = None,
) -> Life:
    """Let one node live among a model, and return what was seen; under a clock that jumps."""
    network = ModelNetwork(nodes, seed=seed, loss=LOSS, habits=habits or Habits())
    life = Life()
    async with network.open_node(0, through=network.bootstrap_nodes(), settings=settings) as node:
        await node.wait_joined()
        load = Load(network, node.addresses[0], rate=rate, seed=seed)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.run)
            nursery.start_soon(_look_up_now_and_then, life, node, network, seed)
            count = round(days * DAY / HOUR)
            for number in range(count):
                life.hours.append(await _watch_for_an_hour(node, network))
                if tracemalloc.is_tracing() and _is_compared(number, count):
                    life.hours[-1].bytes = node_bytes()
                life.note_sizes(node)
            nursery.cancel_scope.cancel()
    network.statistics().check()
    errors = network.totals()["internal errors"]
    if errors:
        raise AssertionError(f"the node has met {errors} errors of its own")
    return life


async def _watch_for_an_hour(node: Node, network: ModelNetwork) -> Hour:
    looks, before = Looks(), network.totals()
    for _ in range(round(HOUR / MINUTE)):
        await trio.sleep(MINUTE)
        looks.take(node, network, trio.current_time())
    counts = network.totals()
    counts.subtract(before)
    return Hour(
        deep_live=looks.live["deep"] / max(1, looks.good["deep"]),
        deep_contacts=looks.good["deep"] / looks.count,
        all_live=looks.live["all"] / max(1, looks.good["all"]),
        all_contacts=looks.good["all"] / looks.count,
        queries_sent=counts["queries sent"],
        bytes_sent=counts["bytes sent"],
        queries_received=counts["queries received"],
        online=len(network.population),
    )


def _is_compared(hour: int, hours: int) -> bool:
    """Tell whether memory counts in an hour: looking at it every hour would take most of the time."""
    return BEGIN_SETTLED - 1 <= hour // HOURS_PER_DAY < BEGIN_SETTLED or hours - hour <= HOURS_PER_DAY


async def _look_up_now_and_then(life: Life, node: Node, network: ModelNetwork, seed: int) -> None:
    choose = Random(f"targets {seed}")
    while True:
        await trio.sleep(LOOKUP_PERIOD)
        target, began = random_id(choose), trio.current_time()
        sent = network.totals()["queries sent"]
        try:
            found = {each.node_id for each in await node.find_node(target)}
        except NotJoined:
            found = set()
        network.population.advance(trio.current_time())
        closest = network.population.closest(target, since=began)
        life.found.append(sum(member.node_id in found for member in closest))
        life.queries.append(network.totals()["queries sent"] - sent)


def summary(life: Life) -> dict[str, Any]:
    """Return the figures that the goals speak of."""
    deep = [hour.deep_live for hour in life.hours]
    until = BEGIN_SETTLED * HOURS_PER_DAY
    settled = [hour.bytes for hour in life.hours[:until] if hour.bytes is not None]
    last = [hour.bytes for hour in life.hours[-HOURS_PER_DAY:] if hour.bytes is not None]
    return {
        "deep_live_mean": mean(deep),
        "deep_live_worst_hour": min(deep),
        "hours_below": sum(share < NEEDED_LIVE for share in deep),
        "deep_contacts": mean(hour.deep_contacts for hour in life.hours),
        "all_live_mean": mean(hour.all_live for hour in life.hours),
        "all_live_worst_hour": min(hour.all_live for hour in life.hours),
        "all_contacts": mean(hour.all_contacts for hour in life.hours),
        "lookups": len(life.found),
        "lookups_succeeded": mean(found >= ENOUGH for found in life.found) if life.found else None,
        "lookups_complete": mean(found == WIDTH for found in life.found) if life.found else None,
        "queries_per_lookup": mean(life.queries) if life.queries else None,
        "queries_sent_per_hour": mean(hour.queries_sent for hour in life.hours),
        "bytes_sent_per_hour": mean(hour.bytes_sent for hour in life.hours),
        "queries_received_per_hour": mean(hour.queries_received for hour in life.hours),
        "bytes_settled": median(settled) if settled else None,
        "bytes_last_day": median(last) if last else None,
        "over_bounds": [name for name, (size, bound) in life.largest.items() if size > bound],
    }


def result_rows(found: dict[str, Any]) -> list[list[str]]:
    """Return a line for each figure, beside what it should be."""
    rows = [
        ["live in deep buckets, worst hour", f"{found['deep_live_worst_hour']:.1%}", f"{NEEDED_LIVE:.0%}"],
        ["live in deep buckets, mean", f"{found['deep_live_mean']:.1%}", ""],
        [f"hours below {NEEDED_LIVE:.0%}", f"{found['hours_below']}", "0"],
        ["good contacts in deep buckets", f"{found['deep_contacts']:.1f}", ""],
        ["live in all buckets, worst hour", f"{found['all_live_worst_hour']:.1%}", ""],
        ["live in all buckets, mean", f"{found['all_live_mean']:.1%}", ""],
        ["good contacts", f"{found['all_contacts']:.1f}", ""],
        ["queries sent per hour", f"{found['queries_sent_per_hour']:.0f}", ""],
        ["queries received per hour", f"{found['queries_received_per_hour']:.0f}", ""],
        ["kilobytes sent per hour", f"{found['bytes_sent_per_hour'] / 1000:.0f}", ""],
        ["containers over their bounds", ", ".join(found["over_bounds"]) or "none", "none"],
    ]
    if found["lookups"]:
        needed = f"{NEEDED_LOOKUPS:.0%}"
        rows += [
            ["lookups that succeeded", f"{found['lookups_succeeded']:.1%} of {found['lookups']}", needed],
            ["lookups that found all 8", f"{found['lookups_complete']:.1%}", ""],
            ["queries per lookup", f"{found['queries_per_lookup']:.1f}", ""],
        ]
    if found["bytes_settled"]:
        growth = found["bytes_last_day"] / found["bytes_settled"] - 1
        rows.append(["kilobytes on day 2", f"{found['bytes_settled'] / 1000:.0f}", ""])
        rows.append(["kilobytes on the last day", f"{found['bytes_last_day'] / 1000:.0f}", ""])
        rows.append(["growth of memory", f"{growth:+.1%}", f"{MAX_GROWTH:.0%}"])
    return rows


async def _live(options: argparse.Namespace) -> Life:
    return await live(options.days, options.nodes, options.seed, rate=options.rate)


@benchmark(
    option.number("--days", 30.0, at_least=HOUR / DAY),
    option.count("--nodes", 1000, "model nodes online on average", at_least=WIDTH),
    option.SEED,
    option.number("--rate", RATE, "queries per second from model nodes", above=0),
    option.flag("--no-memory", "do not trace memory: faster"),
)
def main(options: argparse.Namespace, report: Report) -> None:
    """Live, and return the report."""
    started = time.process_time()
    clock = trio.testing.MockClock(autojump_threshold=0)
    if options.memory:
        tracemalloc.start()
    try:
        life = trio.run(_live, options, clock=clock)
    finally:
        tracemalloc.stop()
    report["cpu_seconds"] = time.process_time() - started
    report |= {"summary": summary(life), "containers": life.largest}
    report |= {"hours": [asdict(hour) for hour in life.hours], "found": life.found}
    print(head(report))
    print(f"{options.days:g} days among {options.nodes} nodes, {report['cpu_seconds']:.0f} s of CPU time\n")
    print(table(("figure", "measured", "goal"), result_rows(report["summary"])), end="\n\n")
    sizes = [[name, f"{size}", f"{bound}"] for name, (size, bound) in life.largest.items()]
    print(table(("container", "largest", "bound"), sizes))


if __name__ == "__main__":
    sys.exit(main())
