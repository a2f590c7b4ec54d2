"""A search for the packets that cost a node most time for their length.

    python -m tests.fuzz.dearest [--seconds 30] [--seed 1]

The objective is the time that a node takes for a packet of a stranger, as a multiple of what it takes for a
ping of the same length.  What scores best is varied further, so that nesting and repetition grow.
"""

import argparse
from collections.abc import Callable
from math import inf
from random import Random
from time import perf_counter

import click
import trio

from dhtnode.addresses import Family
from dhtnode.settings import NodeSettings
from tests.fuzz.mutator import FRAGMENTS, Mutator
from tests.fuzz.seeds import ASKER_ID, packets
from tests.fuzz.steps import MAX_PACKET_BYTES
from tests.fuzz.world import HandClock, World, new_address

MAX_BYTES = 8192  # longer ones are no dearer for their length
KEPT = 64  # packets that are varied further
REPEATED = 0.3  # of all variations repeat a part, up to so many times
MAX_REPEATS = 2048
LIFTED = NodeSettings(host_rate=inf, network_rate=inf, reply_rate=inf, max_amplification=100.0)

Cost = Callable[[bytes], float]


def ping_of(size: int) -> bytes:
    """Return a good packet of about that many bytes: a ping with a key that means nothing."""
    padding = bytes(max(0, size - 70))
    return b"d1:ad2:id20:%be1:q4:ping1:t2:aa1:x%d:%b1:y1:qe" % (ASKER_ID, len(padding), padding)


def search(cost: Cost, seed: int, goes_on: Callable[[int], bool]) -> list[tuple[float, bytes]]:
    """Return the dearest packets with their costs, the dearest first; the same seed varies alike."""
    random = Random(seed)
    pool = packets()
    mutator = Mutator(random, pool)
    found = sorted(((cost(data), data) for data in pool), reverse=True)
    done = 0
    while goes_on(done):
        done += 1
        _, parent = found[int(len(found) * random.random() ** 2)]
        data = _repeated(parent, random) if random.random() < REPEATED else mutator.packet(parent)
        found.append((cost(data[:MAX_BYTES]), data[:MAX_BYTES]))
        if len(found) >= 2 * KEPT:
            # Each once: an equal cost is no other find.
            found = sorted(set(found), reverse=True)[:KEPT]
            pool[:] = [data for _, data in found] + pool[KEPT : 4 * KEPT]
    return sorted(found, reverse=True)


def _repeated(data: bytes, random: Random) -> bytes:
    at = random.randrange(len(data) + 1)
    part = data[at : at + random.randrange(1, 16)] if random.random() < 0.3 else random.choice(FRAGMENTS)
    return (data[:at] + part * random.randrange(1, MAX_REPEATS) + data[at:])[:MAX_PACKET_BYTES]


class Stopwatch:
    """What a node takes for a packet of a stranger, as a multiple of a ping of the same length."""

    def __init__(self) -> None:
        self._node = World(LIFTED).endpoints[Family.IPV4]
        self._pair = new_address(Family.IPV4, 1)
        self._good: dict[int, float] = {}

    def __call__(self, data: bytes) -> float:
        size = (len(data) + 63) // 64 * 64
        if size not in self._good:
            self._good[size] = min(self._time(ping_of(size)) for _ in range(20))
        ratio = self._time(data) / self._good[size]
        # A machine that did something else for a moment is no find.
        return min([ratio, *(self._time(data) / self._good[size] for _ in range(6 if ratio > 3 else 1))])

    def _time(self, data: bytes) -> float:
        # As if each were the first that is not canonical.
        self._node.rpc.sources.get(self._pair).is_tolerated = False
        started = perf_counter()
        self._node.receiver.handle_untrusted([(data, self._pair)], 0.0)
        return perf_counter() - started


def main() -> None:
    """Search, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    async def work() -> None:
        await trio.lowlevel.checkpoint()
        until = perf_counter() + options.seconds
        counts: list[int] = [0]

        def goes_on(done: int) -> bool:
            counts[0] = done
            return perf_counter() < until

        found = search(Stopwatch(), options.seed, goes_on)
        click.echo(f"{counts[0]:,} packets tried; the dearest, in pings of the same length:")
        for ratio, data in found[:10]:
            click.echo(f"{ratio:6.1f}  {len(data):5} bytes  {data[:130]!r}")

    trio.run(work, clock=HandClock())


if __name__ == "__main__":
    main()
