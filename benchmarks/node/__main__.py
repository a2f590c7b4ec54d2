"""CPU time per answered query, of our node and of others in the same run.

    python -m benchmarks.node [--pairs 5] [--seconds 2] [--rate N] [--servers ours,libtorrent]
                              [--against PATH] [--json FILE]

For each pair the servers, two or any number, are started afresh, and for each kind of query they are
loaded in turns of 0.2 s: what else the machine does then hits all.  The first is compared with each
other one.  With a rate they are not saturated: queries come one by one, so many in a second.
Linux only.  docs/reference/benchmarks.md tells the method and its limits.
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from statistics import median
from typing import Any

from benchmarks.node.columns import COLUMNS
from benchmarks.node.servers import SERVERS
from benchmarks.tools import option
from benchmarks.tools.batched_udp import BatchSocket, BenchmarkFailed
from benchmarks.tools.command import Report, benchmark, choose_cores
from benchmarks.tools.gauge import TURN, Measurement, Refusal, measure
from benchmarks.tools.load import RING, Target
from benchmarks.tools.processes import running
from benchmarks.tools.report import head, table, versions

OTHER = "against"
SATURATED = 0.9  # of a core, from which on a server counts as saturated
MIN_TABLE = 0.95  # of the nodes in the largest table
SMALL = 0.1  # below this, a ratio is shown with four decimal places

_Event = Measurement | Refusal | Target


def measure_pairs(options: argparse.Namespace, cores: tuple[int, int]) -> Iterator[_Event]:
    """Yield each server as it starts and each measurement as it is taken.

    A server is not asked again what it has refused once.
    """
    refused = set()
    with running("benchmarks.rpc.fake_network", f"--nodes={options.nodes}", core=cores[1]) as network:
        for pair in range(options.pairs):
            with ExitStack() as stack:
                socket = stack.enter_context(BatchSocket())
                targets = []
                for name in options.servers:
                    what, products = ("ours", options.against) if name == OTHER else (name, None)
                    arguments = (what, f"--network={network.ready['port']}", f"--nodes={options.nodes}")
                    server = running("benchmarks.node.servers", *arguments, core=cores[0], products=products)
                    targets.append(Target(name, stack.enter_context(server), socket))
                yield from targets
                for column in COLUMNS:
                    asked = [each for each in targets if (each.name, column) not in refused]
                    how = (options.seconds, options.outstanding, options.rate)
                    for event in measure(asked, column, pair, *how):
                        if isinstance(event, Refusal):
                            refused.add((event.server, column))
                        yield event


def summary(measurements: Sequence[Measurement], servers: Sequence[str]) -> dict[str, Any]:
    """Return the medians of each server, and the ratios of the first to each other one."""

    def values(server: str, column: str) -> list[float]:
        return [each.cpu for each in measurements if (each.server, each.column) == (server, column)]

    measured = {name: [column for column in COLUMNS if values(name, column)] for name in servers}
    medians = {name: {column: median(values(name, column)) for column in measured[name]} for name in servers}
    ratios = {
        other: {
            column: [a / b for a, b in zip(values(servers[0], column), values(other, column), strict=True)]
            for column in measured[other]
        }
        for other in servers[1:]
    }
    return {"cpu_microseconds_per_answer": medians, f"ratios_of_{servers[0]}_to": ratios}


def result_table(report: dict[str, Any], measurements: Sequence[Measurement]) -> str:
    """Return the medians and the median ratios as a table."""
    servers = report["options"]["servers"]
    rows = [
        [name, *_cells(row, "{:.1f}".format)] for name, row in report["cpu_microseconds_per_answer"].items()
    ]
    for other, ratios in report[f"ratios_of_{servers[0]}_to"].items():
        rows.append([f"{servers[0]} / {other}, median", *_cells(ratios, lambda row: _ratio(median(row)))])
        spans = _cells(ratios, lambda row: f"{_ratio(min(row))}-{_ratio(max(row))}")
        rows.append(["  lowest and highest pair", *spans])
    for name in servers:
        mine: dict[str, list[Measurement]] = {}
        for each in measurements:
            if each.server == name:
                mine.setdefault(each.column, []).append(each)
        busy = _cells(mine, lambda row: f"{median(each.busy for each in row):.0%}")
        each_second = _cells(mine, lambda row: f"{median(each.answered / each.seconds for each in row):.0f}")
        size = _cells(mine, lambda row: f"{median(each.reply_bytes for each in row):.0f}")
        rows += [
            [f"{name}: core in use", *busy],
            [f"{name}: answers per second", *each_second],
            [f"{name}: bytes per reply", *size],
        ]
    return table(["CPU microseconds per answer", *COLUMNS], rows)


def _cells(values: Mapping[str, Any], write: Callable[[Any], str]) -> list[str]:
    """Return a cell for each column; a dash where there is no value."""
    return [write(values[column]) if column in values else "-" for column in COLUMNS]


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value >= SMALL else f"{value:.4f}"


def refusal_lines(refusals: Sequence[Refusal]) -> list[str]:
    """Say which columns have no value and why, the same reason once per server."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for each in refusals:
        reasons.setdefault((each.server, each.reason), []).append(each.column)
    return [f"- {server}, {', '.join(columns)}: {why}" for (server, why), columns in reasons.items()]


def generator_line(measurements: Sequence[Measurement]) -> str:
    """Say what the generator itself costs, and what got lost."""
    cpu = median(each.generator_cpu for each in measurements)
    user = median(each.generator_user for each in measurements)
    lost = sum(each.lost for each in measurements)
    return (
        f"generator: {cpu:.1f} us per query and answer, {user:.1f} of them in Python, others in the kernel; "
        f"{lost} of {sum(each.answered for each in measurements)} queries lost"
    )


def _check_installed(servers: Sequence[str]) -> None:
    for name in servers:
        if not SERVERS[name].installed:
            package = SERVERS[name].package
            raise BenchmarkFailed(
                f"{name} is not installed: pip install {package}, see docs/reference/benchmarks.md"
            )


@benchmark(
    option.count("--pairs", 5, "rounds, with fresh servers each"),
    option.number("--seconds", 2.0, "per server and kind of query", above=0),
    option.number("--rate", math.inf, "queries per second; none: saturated", at_least=1 / TURN),
    option.names("--servers", SERVERS, ["ours", "libtorrent"]),
    option.number("--outstanding", 64, "queries under way at once", at_least=1, at_most=RING // 2),
    option.count("--nodes", 1000, "nodes in the network around the servers"),
    option.AGAINST,
)
def main(options: argparse.Namespace, report: Report) -> None:
    """Measure, tell progress on standard error, and return the report."""
    _check_installed(options.servers)
    report["versions"] |= versions([SERVERS[name].package for name in options.servers])
    if options.against:
        options.servers = report["options"]["servers"] = [*options.servers, OTHER]
    cores = choose_cores()
    report["cores"] = {"servers": cores[0], "generator": cores[1]}
    report["nodes_in_table"] = {name: [] for name in options.servers}
    measurements: list[Measurement] = []
    refusals: list[Refusal] = []
    for event in measure_pairs(options, cores):
        if isinstance(event, Target):
            report["nodes_in_table"][event.name].append(event.nodes)
        elif isinstance(event, Refusal):
            if event.server == options.servers[0]:
                raise BenchmarkFailed(f"{event.server}, {event.column}: {event.reason}")
            refusals.append(event)
        else:
            measurements.append(event)
            progress = f"pair {event.pair + 1}, {event.column}: {event.server} {event.cpu:.2f} us"
            print(progress, file=sys.stderr)
    refused = {(each.server, each.column) for each in refusals}
    measurements = [each for each in measurements if (each.server, each.column) not in refused]
    report |= summary(measurements, options.servers)
    report["refusals"] = [asdict(each) for each in refusals]
    report["measurements"] = [asdict(each) for each in measurements]
    most_nodes = max(median(seen) for seen in report["nodes_in_table"].values())
    sizes = ", ".join(f"{name} {median(seen):.0f}" for name, seen in report["nodes_in_table"].items())
    print(head(report))
    if options.against:
        print(f"against: {options.against}")
    print(f"servers on core {cores[0]}, generator on core {cores[1]}; nodes in the table: {sizes}")
    if cores[0] == cores[1]:
        print("only one core: servers and generator share it, so the servers are not saturated")
    print(generator_line(measurements), result_table(report, measurements), sep="\n\n")
    if refusals:
        print("\nnot measured:", *refusal_lines(refusals), sep="\n")
    small = [name for name, seen in report["nodes_in_table"].items() if min(seen) < MIN_TABLE * most_nodes]
    if small:
        print(f"\nsmaller tables than others, so that answers cost less: {', '.join(small)}")
    idle = sum(each.busy < SATURATED for each in measurements)
    if idle and math.isinf(options.rate):
        print(f"\n{idle} of {len(measurements)} measurements used less than {SATURATED:.0%} of the core:")
        print("something else ran on these cores, or the generator was too slow")


if __name__ == "__main__":
    sys.exit(main())
