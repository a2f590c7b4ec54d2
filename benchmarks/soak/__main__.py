"""Whether a daemon stays well under ten minutes of everything at once, ends cleanly, and starts again.

    python -m benchmarks.soak [--minutes 10] [--sources 2000] [--garbage 0.1] [--rate 2000] [--json FILE]

`dhtnode run` serves on a socket of loopback, with state file, status socket, metrics and a log at
debug level.  So many addresses send it `rate` packets per second: queries of every kind, of which they
answer the node's own, and garbage (see `mix` and `crowd`).  Meanwhile the daemon is looked at 60
times, and its log is rotated now and then.  Then comes SIGTERM, and a start from the state alone.

The exit status is 1 when a rule is broken; each that is has a line.  Linux only.
"""

import argparse
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from random import Random
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any

import trio

from benchmarks.soak.crowd import PATIENCE, Crowd
from benchmarks.soak.rules import JOINED, broken_rules, largest_of, shed_by, totals_of, worst_delay
from benchmarks.soak.watched import Sample, Watched, log_lines, watching
from benchmarks.tools import option
from benchmarks.tools.batched_udp import BenchmarkFailed
from benchmarks.tools.command import Report, benchmark
from benchmarks.tools.report import head, table
from dhtnode.node.state_file import load_state
from dhtnode.nurseries import open_service_nursery

SAMPLES = 60  # at most; one a second
ROTATE_EVERY = 7  # samples
JOIN_TIMEOUT = 60.0  # seconds
LOOK = 0.25  # seconds between two looks while something is awaited


async def soak(minutes: float, sources: int, garbage: float, rate: float, seed: int) -> dict[str, Any]:
    """Load a daemon, end it, start it again, and return what was seen."""
    with (
        TemporaryDirectory() as name,
        Crowd(sources, garbage, rate, Random(seed)) as crowd,
    ):
        folder = Path(name)
        async with open_service_nursery() as nursery:
            nursery.start_soon(crowd.listen)
            async with watching(folder, "127.0.0.1:0", crowd.bootstrap_nodes) as daemon:
                found = await _under_load(daemon, crowd, 60 * minutes)
            found["state"] = _saved(folder / "state")
            host, port = daemon.address
            async with watching(folder, f"{host}:{port}", []) as daemon:
                found["restart"] = await _joined_again(daemon)
        found["log"] = dict(log_lines(folder))
        found["stderr"] = (folder / "stderr").read_text()
    return found


async def _under_load(daemon: Watched, crowd: Crowd, seconds: float) -> dict[str, Any]:
    """Load the daemon, look at it meanwhile, and end it while the load goes on."""
    samples: list[Sample] = []
    async with open_service_nursery() as nursery:
        talking = trio.CancelScope()

        async def talk() -> None:
            with talking:
                await crowd.talk_to(daemon.address)

        nursery.start_soon(talk)
        began = time.monotonic()
        looks = max(1, min(SAMPLES, round(seconds)))
        for number in range(looks):
            due = began + (number + 1) * seconds / looks
            await trio.sleep(max(0.0, due - time.monotonic()))
            if number % ROTATE_EVERY == 0:
                daemon.hang_up()
            samples.append(await daemon.sample())
            if time.monotonic() > began + seconds:
                break
        talking.cancel()
        await _last_answers(crowd)
        samples.append(await daemon.sample())
        heard = crowd.report()
        nursery.start_soon(crowd.talk_to, daemon.address)  # it ends in the midst of work
        await trio.sleep(LOOK)
        end = await daemon.end()
    return {"samples": [asdict(sample) for sample in samples], "crowd": heard, "end": end}


async def _last_answers(crowd: Crowd) -> None:
    """Wait for the answers that are still to come, and give up those that do not."""
    with trio.move_on_after(PATIENCE):
        await crowd.wait_answered()
    crowd.give_up(float("inf"))


async def _joined_again(daemon: Watched) -> dict[str, Any]:
    """Wait until the daemon knows nodes again, without having been told of any, and end it."""
    began = time.monotonic()
    endpoint = await daemon.endpoint()
    while endpoint["good_nodes"] < JOINED and time.monotonic() < began + JOIN_TIMEOUT:
        await trio.sleep(LOOK)
        endpoint = await daemon.endpoint()
    known = {name: endpoint[name] for name in ("good_nodes", "node_id")}
    return known | {"seconds": time.monotonic() - began, "end": await daemon.end()}


def _saved(path: Path) -> dict[str, Any]:
    """Return what is in a state file."""
    state = load_state(path)
    if state is None:
        raise BenchmarkFailed("the state file cannot be read")
    ids = [node_id.hex() for node_id in state.node_ids.values()]
    return {"node_ids": ids, "contacts": len(state.contacts), "bytes": path.stat().st_size}


def kinds_table(kinds: Mapping[str, Mapping[str, int]]) -> str:
    """Return a line for each kind of query."""
    rows = []
    for kind, counts in [*kinds.items(), ("all", totals_of(kinds))]:
        errors = sorted((name, count) for name, count in counts.items() if name.startswith("error"))
        sent, missing = counts.get("sent", 0), counts.get("unanswered", 0)
        cells = [
            f"{sent}",
            f"{counts.get('answered', 0)}",
            f"{sum(count for _, count in errors)}",
            f"{missing}",
        ]
        rows.append([kind, *cells, f"{1 - missing / max(1, sent):.3%}"])
    return table(("query", "sent", "responses", "errors", "no answer", "answered"), rows)


def figures_table(found: Mapping[str, Any]) -> str:
    """Return what became of the daemon, a line for each figure."""
    samples = found["samples"]
    minute = next((sample for sample in samples if sample["at"] >= 60), samples[0])
    last = samples[-1]
    files = [sample["descriptors"] for sample in samples]
    cpu = (last["cpu"] - samples[0]["cpu"]) / max(0.001, last["at"] - samples[0]["at"])
    nodes = [sample["status"]["endpoints"][0]["good_nodes"] for sample in samples]
    rows = [
        ["MB resident after a minute", f"{minute['resident'] / 1e6:.1f}"],
        ["MB resident at the end", f"{last['resident'] / 1e6:.1f}"],
        ["MB resident at the peak", f"{last['peak'] / 1e6:.1f}"],
        ["core in use", f"{cpu:.0%}"],
        ["files open, lowest-highest", f"{min(files)}-{max(files)}"],
        ["threads at most", f"{max(sample['threads'] for sample in samples)}"],
        ["good nodes in the table, mean", f"{mean(nodes):.0f}"],
        ["packets dropped as too many", f"{shed_by(last['status'])}"],
        ["worst delay of a task, ms", f"{worst_delay(samples):.0f}"],
        ["exit status and seconds", f"{found['end']['status']}, {found['end']['seconds']:.2f}"],
        ["contacts saved", f"{found['state']['contacts']}"],
        ["seconds to 8 good nodes after the restart", f"{found['restart']['seconds']:.1f}"],
    ]
    rows += [[name, f"{size} of {bound}"] for name, (size, bound) in largest_of(samples).items()]
    return table(("figure", "measured"), rows)


@benchmark(
    option.number("--minutes", 10.0, above=0, at_most=1440),
    option.number("--sources", 2000, at_least=100, at_most=60_000),
    option.share("--garbage", 0.1, "of all packets", below=1),
    option.number("--rate", 2000.0, "packets per second", above=0, at_most=100_000),
    option.SEED,
)
def main(options: argparse.Namespace, report: Report) -> None:
    """Soak a daemon, print the figures, and return the report."""
    report |= trio.run(soak, options.minutes, options.sources, options.garbage, options.rate, options.seed)
    report["broken"] = broken_rules(report)
    print(head(report), kinds_table(report["crowd"]["kinds"]), figures_table(report), sep="\n\n")
    print("\nlines of the log:")
    for line, count in sorted(report["log"].items()):
        print(f"- {count} {line}")
    for name, text in report["broken"].items():
        print(f"broken rule, {name}: {text}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
