"""A short soak of a daemon, and the rules by which soaks are judged."""

import copy
import json
import sys
from pathlib import Path
from random import Random

import pytest
from bencode2 import bdecode

from benchmarks.soak.mix import EXPECTED_ERRORS, MALFORMED, WEIGHTS, Mix, Question, Source, fault_of
from benchmarks.soak.rules import TIMED, broken_rules
from benchmarks.soak.watched import log_lines
from tests.commands import run_command

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
STATUS = {
    "endpoints": [
        {
            "drops": {"malformed: bad bencoding": 70, "dropped: too busy for strangers": 2},
            "dropped_by_kernel": 1,
            "buckets": [{"nodes": 8, "waiting": 3}],
            "pending": 1,
        }
    ],
    "stores": {"peers": {"swarms": 1, "peers": 1}, "items": {"items": 1, "bytes": 1}},
}


def sample(at, **changes):
    seen = {"at": at, "resident": 40e6, "descriptors": 12, "status": copy.deepcopy(STATUS)}
    return seen | {"internal_errors": 0.0} | changes


def report(**changes):
    """Return the report of a soak in which all went well, with some of it changed."""
    return {
        "samples": [sample(at) for at in (60.0, 310.0, 600.0)],
        "crowd": {
            "kinds": {"ping": {"sent": 1000, "answered": 996, "unanswered": 4}},
            "counts": {"late replies": 1},
            "faults": {},
            "dropped_by_kernel": 0,
        },
        "end": {"status": 0, "seconds": 0.3},
        "state": {"node_ids": ["aa"], "contacts": 60},
        "restart": {"good_nodes": 30, "seconds": 2.0, "node_id": "aa", "end": {"status": 0, "seconds": 0.3}},
        "log": {"INFO dhtnode.daemon.daemon: IPv#: joined the network; # good nodes in the table": 1},
        "stderr": "",
    } | changes


def crowd(**changes):
    return {"crowd": report()["crowd"] | changes}


def last(**changes):
    return {"samples": [*report()["samples"][:-1], sample(600.0, **changes)]}


def full_bucket():
    status = copy.deepcopy(STATUS)
    status["endpoints"][0]["buckets"].append({"nodes": 9, "waiting": 0})
    return status


BROKEN = {
    "answered": crowd(kinds={"ping": {"sent": 100, "answered": 98, "unanswered": 2}}),
    "accounted": crowd(kinds={"ping": {"sent": 1000, "answered": 995, "unanswered": 5}}),
    "replies": crowd(faults={"find_node: a reply without nodes": 1}),
    "silence": crowd(kinds={"ping": {"sent": 1000, "answered": 1000}, "get": {"sent": 1, "unanswered": 1}}),
    "log": {"log": {"WARNING dhtnode.node.state_file: # is no state of this version": 1}},
    "stderr": {"stderr": "Traceback"},
    "internal errors": last(internal_errors=1.0),
    "memory": last(resident=43e6),
    "descriptors": last(descriptors=14),
    "bounds": last(status=full_bucket()),
    "exit status": {"end": {"status": -9, "seconds": 0.3}},
    "exit time": {"end": {"status": 0, "seconds": 2.5}},
    "state": {"state": {"node_ids": ["aa"], "contacts": 0}},
    "restart": {"restart": report()["restart"] | {"good_nodes": 0}},
    "identity": {"restart": report()["restart"] | {"node_id": "bb"}},
}


@pytest.mark.skipif(sys.platform != "linux", reason="IP_PKTINFO and /proc are Linux's")
def test_daemon_holds_the_rules_for_a_moment(tmp_path):
    sizes = ("--minutes=0.05", "--sources=100", "--rate=600")
    done = run_command("python", "-m", "benchmarks.soak", *sizes, f"--json={tmp_path / 'report'}", cwd=ROOT)
    found = json.loads((tmp_path / "report").read_text())
    assert found["broken"].keys() <= TIMED, done.stderr
    assert done.status == bool(found["broken"])
    assert found["crowd"]["kinds"].keys() >= WEIGHTS.keys() - {"put"}  # which takes two turns
    assert found["crowd"]["counts"]["garbage sent"] > 0
    assert found["crowd"]["counts"]["answers: right"] > 0
    assert any(line.startswith("INFO dhtnode.daemon.daemon: settings read again") for line in found["log"])
    assert "| ping " in done.stdout


def test_daemon_that_is_well_breaks_no_rule():
    assert broken_rules(report()) == {}


@pytest.mark.parametrize("name", BROKEN)
def test_each_rule_can_be_broken(name):
    assert list(broken_rules(report(**BROKEN[name]))) == [name]


def test_memory_of_the_first_minutes_may_grow():
    samples = [sample(10.0, resident=20e6), *report()["samples"]]
    assert broken_rules(report(samples=samples)) == {}


def test_late_task_is_not_ours_to_mend():
    late = "WARNING dhtnode.daemon.loop_lag: a task woke # s late (times since the last such line: #)"
    assert broken_rules(report(log={late: 3})) == {}


def test_log_lines_are_counted_by_shape(tmp_path):
    stamp = "2026-11-21 05:43:48,123"
    (tmp_path / "log.1").write_text(f"{stamp} INFO a.b: 127.0.0.1:5: 3 nodes, id {'ab' * 20}\n")
    (tmp_path / "log").write_text(f"{stamp} INFO a.b: 127.0.0.2:6: 4 nodes, id {'cd' * 20}\nTraceback\n")
    assert log_lines(tmp_path) == {"INFO a.b: #: # nodes, id #": 2, "NONE : Traceback": 1}


class TestMix:
    """What is said comes from a seed, and what is answered is looked at."""

    def test_asks_everything_with_the_tokens_it_has(self):
        mix, source = Mix(Random(1)), Source("127.6.0.1", bytes(4), bytes(20))
        kinds = set()
        for _ in range(10_000):
            question = mix.question(source)
            kinds.add(question.kind)
            if question.kind == "get_peers":
                source.announcing = question.about, b"token"
            elif question.kind == "get":
                source.putting = question.about, b"token"
        assert kinds == WEIGHTS.keys() | EXPECTED_ERRORS.keys()

    def test_garbage_is_of_both_kinds(self):
        cases = json.loads(MALFORMED.read_text())["cases"]
        vectors = {bytes.fromhex(case["hex"]) for case in cases}
        made = {Mix(Random(seed)).garbage() for seed in range(60)}
        assert made & vectors
        assert made - vectors

    def test_odd_packets_belong_to_no_query(self):
        mix = Mix(Random(1))
        assert {bdecode(mix.odd())[b"y"] for _ in range(50)} == {b"e", b"r"}

    @pytest.mark.parametrize(
        ("kind", "message", "fault"),
        [
            ("ping", {b"y": b"r", b"r": {b"id": bytes(20)}}, None),
            ("ping", {b"y": b"e", b"e": [203, b"no"]}, "ping: error 203"),
            ("ping", {b"y": b"r"}, "ping: a reply without an id"),
            ("put", {b"y": b"e", b"e": [203, b"Bad token"]}, None),
            ("find_node", {b"y": b"r", b"r": {b"id": bytes(20)}}, "find_node: a reply without nodes"),
            (
                "announce_peer, false token",
                {b"y": b"r", b"r": {b"id": bytes(20)}},
                "announce_peer, false token: was served",
            ),
        ],
    )
    def test_names_what_is_wrong_with_a_reply(self, kind, message, fault):
        assert fault_of(Question(kind, b"", {}), message) == fault
