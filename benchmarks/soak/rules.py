"""What must hold for a daemon that was soaked: the rules, and the numbers that they look at.

Pure: a report of `benchmarks.soak` in, the rules that are broken out.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.soak.watched import SETTINGS
from dhtnode import NodeSettings

JOINED = 8  # good nodes
NEEDED_ANSWERED = 0.99
END_WITHIN = 2.0  # seconds
MAX_GROWTH = 0.05  # of resident memory, from then on
SETTLED_AFTER = 300.0  # seconds: everything that lives a minute has been replaced some times
MORE_DESCRIPTORS = 3  # the state file, and a client of each kind that is just being served
NOT_OURS = ("WARNING dhtnode.daemon.loop_lag: a task woke # s late",)
"""Lines about the machine: nothing that can be mended here."""

TIMED = frozenset({"answered", "exit time", "memory"})
"""Rules that depend on how fast the machine is, or on how long is looked."""


def broken_rules(found: Mapping[str, Any]) -> dict[str, str]:
    """Return the rules that are broken, by name, each with what was seen."""
    rules = (_about_answers, _about_log, _about_memory, _about_containers, _about_ends)
    return {name: text for rule in rules for name, text in rule(found)}


def _about_answers(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    crowd, last = found["crowd"], found["samples"][-1]
    totals = totals_of(crowd["kinds"])
    if totals["unanswered"] > (1 - NEEDED_ANSWERED) * totals["sent"]:
        yield "answered", f"{totals['unanswered']} of {totals['sent']} queries were not answered"
    shed = shed_by(last["status"]) + crowd["dropped_by_kernel"]
    late = crowd["counts"].get("late replies", 0)
    if totals["unanswered"] > shed + late:
        yield (
            "accounted",
            f"{totals['unanswered']} queries without answer, {shed} packets dropped, {late} replies late",
        )
    if crowd["faults"]:
        yield "replies", f"wrong replies: {crowd['faults']}"
    silent = [kind for kind, counts in crowd["kinds"].items() if counts.keys() <= {"sent", "unanswered"}]
    if silent:
        yield "silence", f"no reply at all to: {', '.join(silent)}"


def _about_log(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    odd = [line for line in found["log"] if not line.startswith(("DEBUG", "INFO", *NOT_OURS))]
    if odd:
        yield "log", f"lines that should not be there: {odd}"
    if found["stderr"]:
        yield "stderr", f"on stderr: {found['stderr'][:200]!r}"
    errors = found["samples"][-1]["internal_errors"]
    if errors:
        yield "internal errors", f"{errors:.0f} internal errors"


def _about_memory(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    samples = found["samples"]
    settled = [sample["resident"] for sample in samples if sample["at"] >= SETTLED_AFTER]
    if settled and max(settled) > (1 + MAX_GROWTH) * settled[0]:
        yield "memory", f"resident memory grew from {settled[0]} to {max(settled)} bytes"
    files = [sample["descriptors"] for sample in samples]
    if max(files) > min(files) + MORE_DESCRIPTORS or files[-1] > files[0] + 1:
        yield "descriptors", f"{files[0]} files open at first, {max(files)} at most, {files[-1]} at last"


def _about_containers(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, (size, bound) in largest_of(found["samples"]).items():
        if size > bound:
            yield "bounds", f"{name}: {size} of {bound}"


def _about_ends(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    state, again = found["state"], found["restart"]
    for end in (found["end"], again["end"]):
        if end["status"] != 0:
            yield "exit status", f"ended with status {end['status']}"
        if end["seconds"] > END_WITHIN:
            yield "exit time", f"ended after {end['seconds']:.1f} s"
    if state["contacts"] < JOINED:
        yield "state", f"{state['contacts']} contacts were saved"
    if again["good_nodes"] < JOINED:
        yield "restart", f"{again['good_nodes']} good nodes {again['seconds']:.0f} s after the restart"
    if again["node_id"] not in state["node_ids"]:
        yield "identity", "the id after the restart is not the one that was saved"


def totals_of(kinds: Mapping[str, Mapping[str, int]]) -> Counter[str]:
    """Return the counts of all kinds of queries, summed."""
    return sum(map(Counter, kinds.values()), Counter())


def shed_by(status: Mapping[str, Any]) -> int:
    """Return how many packets the daemon, or the kernel before it, dropped because there were too many."""
    (endpoint,) = status["endpoints"]
    shed = ("dropped: too ", "dropped: reply budget")
    counted = sum(count for name, count in endpoint["drops"].items() if name.startswith(shed))
    return int(counted + (endpoint["dropped_by_kernel"] or 0))


def largest_of(samples: Sequence[Mapping[str, Any]]) -> dict[str, tuple[int, int]]:
    """Return the largest size of each container that the status shows, and its bound."""
    largest: dict[str, tuple[int, int]] = {}
    for sample in samples:
        for name, (size, bound) in _sizes(sample["status"]).items():
            is_larger = name not in largest or size - bound > largest[name][0] - largest[name][1]
            if is_larger:
                largest[name] = size, bound
    return largest


def _sizes(status: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    (endpoint,) = status["endpoints"]
    peers, items = status["stores"]["peers"], status["stores"]["items"]
    limits, buckets = NodeSettings(), endpoint["buckets"]
    return {
        "info-hashes": (peers["swarms"], int(SETTINGS["max_swarms"])),
        "peers": (peers["peers"], int(SETTINGS["max_peers"])),
        "items": (items["items"], int(SETTINGS["max_items"])),
        "bytes of items": (items["bytes"], limits.max_item_bytes),
        "nodes in one bucket": (max(each["nodes"] for each in buckets), limits.bucket_size),
        "waiting in one bucket": (max(each["waiting"] for each in buckets), limits.bucket_size),
        "queries under way": (endpoint["pending"], limits.max_pending),
    }


def worst_delay(samples: Sequence[Mapping[str, Any]]) -> float:
    """Return the longest delay of scheduling in milliseconds."""
    return max(float(sample["status"]["scheduling_delay_ms"]["worst"]) for sample in samples)
