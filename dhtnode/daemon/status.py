"""The picture of a running node that `dhtnode status` shows: a record, and the same as text.

The daemon makes the record, another process prints it.  Pure: numbers in, values or text out.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from operator import itemgetter
from typing import Any

from dhtnode.api.results import NodeStatistics
from dhtnode.daemon.health import HealthMonitor, RecentCounts
from dhtnode.gateway_server.statistics import GatewayStatistics
from dhtnode.node.statistics import SocketStatistics

FORMAT = "dhtnode status"
VERSION = 1

DROPS = ("dropped", "malformed", "socket", "not sent")
"""Groups of counts, named `dropped: CAUSE` and so on, that are shown by cause."""


class NotAStatus(ValueError):
    """Bytes that are no record of this version."""


@dataclass(frozen=True, slots=True)
class ProcessState:
    """The state of the process beside its node; times are in seconds."""

    version: str
    pid: int
    uptime: float
    delay: float
    worst_delay: float
    late_wakes: int


def status_record(
    process: ProcessState,
    statistics: NodeStatistics,
    health: HealthMonitor,
    gateway: GatewayStatistics | None = None,
) -> dict[str, Any]:
    """Return everything, as values that JSON knows."""
    return {
        "format": FORMAT,
        "format_version": VERSION,
        "version": process.version,
        "pid": process.pid,
        "uptime_seconds": round(process.uptime, 3),
        "scheduling_delay_ms": {
            "last": _milliseconds(process.delay),
            "worst": _milliseconds(process.worst_delay),
            "late": process.late_wakes,
        },
        "endpoints": [_socket_record(one, health.recent(one.address)) for one in statistics.sockets],
        "stores": stores_of(statistics),
        "refusals": _refusals_of(statistics),
        "gateway": None if gateway is None else asdict(gateway),
    }


def read_status_untrusted(data: bytes) -> dict[str, Any]:
    """Read a record that a socket sent; raises `NotAStatus`."""
    try:
        record = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise NotAStatus("what was answered is no status") from error
    if not isinstance(record, dict) or (record.get("format"), record.get("format_version")) != (
        FORMAT,
        VERSION,
    ):
        raise NotAStatus("what was answered is no status of this version")
    return record


def status_text(record: Mapping[str, Any]) -> str:
    """Return a record as lines for people."""
    delay = record["scheduling_delay_ms"]
    lines = [
        f"dhtnode {record['version']}, process {record['pid']}, up {duration(record['uptime_seconds'])}",
        (
            f"scheduling delay {delay['last']:.1f} ms, worst of the last minute {delay['worst']:.1f} ms,"
            f" too late {delay['late']} times"
        ),
    ]
    for endpoint in record["endpoints"]:
        lines += ["", *_socket_lines(endpoint)]
    lines += ["", "stores"]
    for store, values in record["stores"].items():
        lines.append(f"  {store}: " + ", ".join(f"{value} {_spaced(name)}" for name, value in values.items()))
        lines += _refusal_lines(record["refusals"][store])
    if record["gateway"] is not None:
        lines += ["", "gateway", *_gateway_lines(record["gateway"])]
    return "\n".join(lines)


def stores_of(statistics: NodeStatistics) -> dict[str, dict[str, int]]:
    """Return the numbers of each store of the node, by its name there."""
    return {
        name: {key: value for key, value in values.items() if isinstance(value, int)}
        for name, values in _stores(statistics).items()
    }


def _stores(statistics: NodeStatistics) -> dict[str, dict[str, Any]]:
    names = [field.name for field in fields(statistics) if field.name != "sockets"]
    return {name: asdict(getattr(statistics, name)) for name in names}


def _gateway_lines(gateway: Mapping[str, Any]) -> Iterator[str]:
    sizes = {name: value for name, value in gateway.items() if name != "counts"}
    yield "  " + ", ".join(f"{value} {name}" for name, value in sizes.items())
    for name, count in sorted(gateway["counts"].items()):
        yield f"    {name}: {count}"


def _refusals_of(statistics: NodeStatistics) -> dict[str, dict[str, Any]]:
    """Return for each store the refusals by reason, and the networks that were refused most."""
    return {
        name: {"reasons": values["reasons"], "most": list(values["refused_most"])}
        for name, values in _stores(statistics).items()
    }


def _refusal_lines(refusals: Mapping[str, Any]) -> Iterator[str]:
    for reason, times in sorted(refusals["reasons"].items()):
        yield f"    refused, {reason}: {times}"
    for each in refusals["most"]:
        yield f"    refused most: {each['network']}, {each['reason']}: {each['times']}"


def _socket_record(one: SocketStatistics, recent: RecentCounts | None) -> dict[str, Any]:
    counts = dict(one.counts)
    return {
        "family": f"ipv{int(one.family)}",
        "address": str(one.address),
        "external_address": str(one.external_address) if one.external_address else None,
        "node_id": one.node_id.hex(),
        "nodes": one.nodes,
        "good_nodes": one.good_nodes,
        "bucket_count": one.buckets,
        "buckets": [
            {
                "prefix_bits": bucket.prefix_bits,
                "nodes": bucket.nodes,
                "good": bucket.good,
                "bad": bucket.bad,
                "waiting": bucket.replacements,
            }
            for bucket in one.table
        ],
        "rtt_ms": {name: _milliseconds(rtt) for name, rtt in one.round_trips.items()},
        "late_after_ms": _milliseconds(one.stall),
        "timeout_ms": _milliseconds(one.timeout),
        "pending": one.pending,
        "recent": None if recent is None else asdict(recent),
        "counts": {name: count for name, count in sorted(counts.items()) if not _is_drop(name)},
        "drops": {name: count for name, count in sorted(counts.items()) if _is_drop(name)},
        "dropped_by_kernel": one.dropped_by_kernel,
    }


def _socket_lines(one: Mapping[str, Any]) -> Iterator[str]:
    counts = one["counts"]
    yield f"{one['family'].replace('ipv', 'IPv')} {one['address']}"
    yield f"  id        {one['node_id']}"
    yield f"  seen as   {_seen_as(one['external_address'])}"
    yield f"  table     {one['nodes']} nodes, {one['good_nodes']} good, {one['bucket_count']} buckets"
    yield from _table_lines(one["buckets"])
    yield (
        f"  asked     {counts.get('queries sent', 0)}, answered {counts.get('answers', 0)}"
        f" ({_share(counts.get('answers', 0), counts.get('timeouts', 0))}),"
        f" timed out {counts.get('timeouts', 0)}, under way {one['pending']}"
    )
    if one["recent"] is not None:
        yield _recent_line(one["recent"])
    yield f"  times     {_times(one)}"
    yield (
        f"  served    {counts.get('queries received', 0)} queries, {counts.get('replies sent', 0)} replies,"
        f" {counts.get('errors sent', 0)} errors"
    )
    yield (
        f"  traffic   in {counts.get('datagrams received', 0)} ({_size(counts.get('bytes received', 0))}),"
        f" out {counts.get('datagrams sent', 0)} ({_size(counts.get('bytes sent', 0))})"
    )
    kernel = one["dropped_by_kernel"]
    yield f"  dropped   by the kernel: {'not known' if kernel is None else kernel}"
    for name, count in one["drops"].items():
        yield f"    {name}: {count}"


def _table_lines(buckets: Sequence[Mapping[str, int]]) -> Iterator[str]:
    """Yield a line per bucket, the widest first, with its nodes as a row of marks."""
    if buckets:
        yield "    prefix bits, nodes (# good, . questionable, x bad), waiting"
    for bucket in sorted(buckets, key=itemgetter("prefix_bits")):
        good, bad = bucket["good"], bucket["bad"]
        marks = "#" * good + "." * (bucket["nodes"] - good - bad) + "x" * bad
        yield f"    {bucket['prefix_bits']:>3}  {marks:<8}  {bucket['waiting'] or ''}".rstrip()


def _seen_as(external: str | None) -> str:
    if external is None:
        return "not known yet"
    host = external.removesuffix(":0")  # which stands for no port in particular
    return host if host == external else f"{host}, at ports that differ"


def _recent_line(recent: Mapping[str, Any]) -> str:
    return (
        f"  lately    in {recent['seconds']:.0f} s asked {recent['queries_sent']},"
        f" answered {recent['answers']} ({_share(recent['answers'], recent['timeouts'])}),"
        f" were asked {recent['queries_received']}"
    )


def _times(one: Mapping[str, Any]) -> str:
    measured = [f"{name} {value:.0f} ms" for name, value in one["rtt_ms"].items()]
    limits = [f"late after {one['late_after_ms']:.0f} ms", f"given up after {one['timeout_ms']:.0f} ms"]
    return ", ".join(measured + limits)


def _is_drop(name: str) -> bool:
    return name.partition(": ")[0] in DROPS and ": " in name


def _share(answers: int, timeouts: int) -> str:
    return f"{100 * answers / (answers + timeouts):.0f} %" if answers + timeouts else "-"


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration(seconds: float) -> str:
    """Return a time in words: `8 h 2 min 5 s`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [f"{number} {unit}" for number, unit in ((days, "d"), (hours, "h"), (minutes, "min")) if number]
    return " ".join([*parts, f"{rest} s"])


def _milliseconds(seconds: float) -> float:
    return round(1000 * seconds, 3)


def _spaced(name: str) -> str:
    return name.replace("_", " ")
