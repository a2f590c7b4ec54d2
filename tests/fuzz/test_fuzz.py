"""The short run of the fuzzers, and proof that they find what is wrong.

The long one is a command, `python -m tests.fuzz`; docs/explanation/performance.md says what it found.
"""

import json
from collections.abc import Callable
from functools import partial
from math import inf
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio
from click.testing import CliRunner, Result

from dhtnode import bencode
from dhtnode.addresses import Scope
from dhtnode.bencode import Value
from dhtnode.krpc import codec
from dhtnode.krpc.messages import Error, Ping, Query, Response
from dhtnode.krpc.scrape_filter import ScrapeFilter
from dhtnode.net.outgoing import OutgoingBound
from dhtnode.net.transactions import Transactions
from dhtnode.routing.table import RoutingTable
from dhtnode.server import fast_path
from dhtnode.server.admission import Admission
from dhtnode.server.peer_store import PeerStore
from dhtnode.server.sources import RecentSources
from dhtnode.server.tokens import TokenIssuer
from dhtnode.settings import NodeSettings
from dhtnode.swarm import estimate
from dhtnode.swarm.filter_size import Interval
from tests.fuzz import dearest, engine, steps, watch
from tests.fuzz.__main__ import NAMES, main
from tests.fuzz.engine import Limits, Report
from tests.fuzz.findings import load_inputs
from tests.fuzz.kinds import KINDS, replay
from tests.fuzz.mutator import Mutator
from tests.fuzz.reach import minimised
from tests.fuzz.seeds import ASKER_ID, CORPUS, packets, read_corpus, write_corpus
from tests.fuzz.steps import Step
from tests.fuzz.world import HandClock

INPUTS = 1500  # per target, after the corpus: a second or two each


def in_trio(function: Callable[[], Any]) -> Any:
    async def work() -> Any:
        await trio.lowlevel.checkpoint()
        return function()

    return trio.run(work, clock=HandClock())


def fuzz(name: str, inputs: int = INPUTS, seed: int = 1) -> Report:
    kind = KINDS[name]
    pool = kind.seeds() + read_corpus(CORPUS, name)
    report: Report = in_trio(
        partial(engine.run, kind, pool, seed, Limits(inputs=len(pool) + inputs), lambda _report: None)
    )
    return report


def command(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.mark.parametrize("name", KINDS)
def test_corpus_finds_nothing(name: str) -> None:
    corpus = read_corpus(CORPUS, name)
    assert corpus
    assert in_trio(partial(replay, KINDS[name], corpus)) is None


@pytest.mark.parametrize("name", KINDS)
def test_short_run_finds_nothing(name: str) -> None:
    report = fuzz(name, INPUTS // 10 if name == "meaning" else INPUTS)
    assert [finding.traceback for finding in report.findings.values()] == []
    assert report.outcomes > 20  # or the inputs would not get past the first check


def test_every_target_can_be_named() -> None:
    assert tuple(KINDS) == NAMES


def test_corpus_is_small() -> None:
    assert sum(path.stat().st_size for path in CORPUS.iterdir()) <= 100_000
    assert {path.stem for path in CORPUS.iterdir()} == set(KINDS)


def fail_on_lists(data: bytes) -> Value:
    if b"le" in data:
        raise IndexError("list index out of range")
    return read_untrusted(data)


read_untrusted = bencode.read_untrusted


def read_values_of_any_type(values: Any, _family: object) -> tuple[bytes, ...] | None:
    return None if values is None else tuple(values)


def write_less(reply: Response | Error, fields: dict[bytes, Value]) -> dict[bytes, Value]:
    return {**fields, b"t": reply.transaction_id}


def query_with_a_bug(self: RoutingTable, contact: Any, now: float) -> bool:
    if contact.node_id[0] & 1:
        raise KeyError(contact.node_id)
    return queried(self, contact, now)


queried = RoutingTable.queried


def allow_everything(_self: Scope, _address: object) -> bool:
    return True


def reply_in_full(self: Admission, settings: NodeSettings) -> None:
    change_limits(self, settings)
    self.max_amplification = inf


change_limits = Admission.change_limits


def refuse_all(_self: Admission, *_arguments: object) -> tuple[str | None, int]:
    return "dropped: too many from one address", 0


def never_forget(self: RecentSources[Any, Any], key: Any) -> Any:
    return self._young.setdefault(key, self._make(key))


def union_with_a_bug(total: ScrapeFilter, named: ScrapeFilter, named_count: int) -> Interval:
    if total.zero_bits % 7 == 3:
        raise ZeroDivisionError(total.zero_bits)
    return union_interval(total, named, named_count)


union_interval = estimate.union_interval


PLANTED = [
    ("bencoding", bencode, "read_untrusted", fail_on_lists, "IndexError"),
    ("bencoding", bencode, "MAX_DIGITS", 19, "Broken: the tolerant reader"),
    ("krpc", codec, "_read_values", read_values_of_any_type, "TypeError"),
    ("krpc", codec, "_write_reply", write_less, "Broken: a message survives"),
    ("responder", fast_path, "_UNUSUAL", frozenset({b"want"}), "Broken: both ways send"),
    ("scrape", estimate, "union_interval", union_with_a_bug, "ZeroDivisionError"),
    ("node", RoutingTable, "queried", query_with_a_bug, "KeyError"),
    ("node", Scope, "allows", allow_everything, "Broken: destinations are allowed"),
    ("node", Admission, "change_limits", reply_in_full, "Broken: a reply costs"),
    ("node", RecentSources, "_renew", never_forget, "Broken: sources are bounded"),
    ("node", Transactions, "take_expired", lambda *_arguments: None, "Broken: every query"),
    ("node", PeerStore, "_cap_reached", lambda *_arguments: None, "Broken: peers are bounded"),
    ("meaning", TokenIssuer, "accepts", lambda *_arguments: True, "Broken: who announces has got a token"),
    ("meaning", Admission, "admit", refuse_all, "Broken: an honest node is answered"),
    ("meaning", OutgoingBound, "_refuse", lambda *_arguments: [], "Broken: a host that is silent gets"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "place", "attribute", "defect", "signature"), PLANTED)
def test_planted_defect_is_found(
    monkeypatch: pytest.MonkeyPatch, name: str, place: object, attribute: str, defect: object, signature: str
) -> None:
    """A fuzzer that finds nothing proves nothing unless it would have found something."""
    monkeypatch.setattr(place, attribute, defect)
    monkeypatch.setattr("tests.fuzz.kinds.SHRINK_INPUTS", 0)
    monkeypatch.setattr("tests.fuzz.engine.MAX_FINDINGS", 1)
    report = fuzz(name, inputs=5000)
    assert any(found.startswith(signature) for found in report.findings)


@pytest.mark.slow
def test_command_writes_what_it_found_and_replays_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    with monkeypatch.context() as patched:
        patched.setattr(RoutingTable, "queried", query_with_a_bug)
        found = command("node", "--inputs=2000", f"--findings={tmp_path / 'found'}", f"--json={figures}")
        (path,) = (tmp_path / "found").iterdir()
        again = command("--replay", str(path))
    repaired = command("--replay", str(path))

    assert (found.exit_code, again.exit_code, repaired.exit_code) == (1, 1, 0)
    assert "KeyError" in found.output and str(path) in found.output
    assert "raise KeyError(contact.node_id)" in again.output
    (target, inputs), (summary,) = load_inputs(path), json.loads(figures.read_text())
    assert (target, len(inputs)) == ("node", 1)  # shrunk from the inputs of a life
    assert len(summary["findings"]) == 1


def test_input_that_never_ends_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watchdog counts CPU time, so that only work makes it bite."""

    def loop_on_a_negative_length(data: bytes) -> Value:
        while data == b"d1:ai1e-6:":
            pass
        return read_untrusted(data)

    monkeypatch.setattr(watch, "STUCK_AFTER", 0.05)
    monkeypatch.setattr(bencode, "read_untrusted", loop_on_a_negative_length)
    monkeypatch.setattr("tests.fuzz.kinds.SHRINK_INPUTS", 0)

    kind = KINDS["bencoding"]
    pool = [b"i1e", b"d1:ai1e-6:"]
    report = in_trio(partial(engine.run, kind, pool, 1, Limits(inputs=2), lambda _report: None))

    (finding,) = report.findings.values()
    assert (finding.inputs[-1], finding.signature.split(" ")[0]) == (pool[1], "Stuck")


def levels_shown(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], float]:
    """Return a cost that is no time: levels that a packet may open in the decoder whose refusals are dear."""
    shown: list[bytes] = []
    monkeypatch.setattr("bencode2.bdecode", shown.append)

    def cost(data: bytes) -> float:
        shown.clear()
        bencode.read_canonical_untrusted(data)
        return max((each.count(b"l") + each.count(b"d") - len(each) / 64 for each in shown), default=0.0)

    return cost


@pytest.mark.parametrize("is_guarded", [True, False])
def test_search_for_the_dearest_packets_finds_what_is_deep(
    monkeypatch: pytest.MonkeyPatch, is_guarded: bool
) -> None:
    if not is_guarded:
        monkeypatch.setattr(bencode, "_MAX_OPENINGS", [10_000] * 5000)
    found = dearest.search(levels_shown(monkeypatch), 1, lambda done: done < 3000)
    assert (found[0][0] <= 8) == is_guarded
    assert is_guarded or found[0][0] > 200


def test_same_seed_gives_the_same_inputs() -> None:
    first, second, other = fuzz("krpc", 300), fuzz("krpc", 300), fuzz("krpc", 300, seed=2)
    assert first.pool == second.pool
    assert first.pool != other.pool


@pytest.mark.parametrize("data", [b"", b"\0\0\0", b"\1\2\3\xff\xffrest", b"\1\2\3\0\2abx", b"\0" * 200])
def test_any_bytes_are_steps(data: bytes) -> None:
    cut = steps.cut(data)
    assert steps.cut(steps.join(cut)) == cut
    assert len(cut) <= steps.MAX_STEPS


def test_variations_are_packets_of_all_kinds() -> None:
    """Most can still be decoded, some cannot, and hardly any is what it was."""
    pool = packets()
    random = Random(1)
    mutator = Mutator(random, pool)
    ping = codec.encode(Query(b"aa", ASKER_ID, Ping()))

    varied = [mutator.packet(ping) for _ in range(1000)]

    decodable = 0
    for packet in varied:
        try:
            bencode.read_untrusted(packet)
            decodable += 1
        except bencode.BencodeError:
            pass
    assert 500 < decodable < 950
    assert len(set(varied)) > 600
    assert mutator.story(steps.join([Step(0, 0, 0, ping)])) != b""


def test_minimised_corpus_is_written_and_read(tmp_path: Path) -> None:
    inputs = [b"i10e", b"i1e", b"4:spam", b"i100e", b"4:spat"]
    kept, arcs = in_trio(partial(minimised, KINDS["bencoding"], inputs))
    write_corpus(tmp_path, "bencoding", kept)
    assert read_corpus(tmp_path, "bencoding") == kept == [b"i1e", b"4:spam"]
    assert arcs > 5
