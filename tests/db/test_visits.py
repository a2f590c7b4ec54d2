"""Visits in the database: written many at a time, and what the view of suspect nodes shows of them."""

import pytest

from crawler.db.database import CrawlDatabase
from crawler.db.insert import ROWS_AT_ONCE
from crawler.db.records.records import OUTCOME_CODES, RunStatus, SybilTestResult, client_letters, utc_text
from dhtnode import Address, Family, NodeId
from dhtnode.outcomes import LIES, Outcome
from tests.visits import visit_of

ALICE, BOB, CAROL = (NodeId(bytes([number]) * 20) for number in (1, 2, 3))


@pytest.fixture
def store():
    with CrawlDatabase.open(":memory:") as opened:
        opened.runs.begin("census", {}, "0.1", utc_text(0))
        yield opened


def visit(node_id, at, outcome=Outcome.ANSWERED, marks=(), host="192.0.2.7"):
    return visit_of(node_id, Address(host, 6881), at, outcome, marks=marks)


def suspects(store):
    found = {}
    for row in store.rows("suspect_nodes"):
        found.setdefault(row["node_id"], []).append((row["mark"], row["visits"], row["last_seen"]))
    return {node_id: sorted(marks) for node_id, marks in found.items()}


def test_only_alarms_with_the_verdict_are_suspects(store):
    alarms = [SybilTestResult(Family.IPV4, "closeness", str(n), 1.0, 1.0, 0.1, n > 1, "") for n in range(3)]
    store.visits.write_results(1, [], alarms)
    assert [row["subject"] for row in store.rows("sybil_suspects")] == ["2"]


def test_every_mark_of_a_visit_is_shown(store):
    store.write(
        1,
        [
            visit(ALICE, 1, marks=("flood", "made-up-today")),
            visit(ALICE, 2, marks=("flood",)),
            visit(ALICE, 3),
            visit(BOB, 4, marks=('quo"ted',)),
        ],
    )

    assert suspects(store) == {
        ALICE.hex(): [("flood", 2, utc_text(2)), ("made-up-today", 1, utc_text(1))],
        BOB.hex(): [('quo"ted', 1, utc_text(4))],
    }


def test_outcome_that_is_a_lie_by_itself_is_shown_as_a_mark(store):
    store.write(
        1,
        [
            visit(ALICE, 1, Outcome.WRONG_ID, ("flood",)),
            visit(ALICE, 2, marks=("wrong-id",)),
            visit(BOB, 3, Outcome.TIMEOUT),
            visit(CAROL, 4, Outcome.TIMEOUT, ("flood",), host="2001:db8::1"),
        ],
    )

    assert suspects(store) == {
        ALICE.hex(): [("flood", 1, utc_text(1)), ("wrong-id", 2, utc_text(2))],
        CAROL.hex(): [("flood", 1, utc_text(4))],
    }
    assert {row["node_id"]: row["family"] for row in store.rows("suspect_nodes")} == {
        ALICE.hex(): 4,
        CAROL.hex(): 6,
    }


def test_first_suspects_are_found_without_a_look_at_all(store):
    plan = store.connection.execute("EXPLAIN QUERY PLAN SELECT * FROM suspect_nodes LIMIT 1").fetchall()
    steps = [step for *_, step in plan]
    of_all, of_one_node = steps[: (place := steps.index("SCAN suspects"))], steps[place:]
    assert of_all == ["CO-ROUTINE suspects", "SCAN visit_rows USING INDEX idx_visit_rows_suspect"]
    assert any(step.startswith("SEARCH visit USING INDEX idx_visit_rows_suspect") for step in of_one_node), (
        steps
    )


def test_outcomes_are_those_of_the_program(store):
    assert store.rows("outcome_codes") == [
        {"code": code, "outcome": outcome.value, "is_lie": outcome in LIES}
        for outcome, code in OUTCOME_CODES.items()
    ]


@pytest.mark.parametrize("outcome", Outcome)
def test_lies_are_suspect_and_no_other_outcome(store, outcome):
    store.write(1, [visit(ALICE, 1, outcome)])
    assert suspects(store) == ({ALICE.hex(): [(outcome.value, 1, utc_text(1))]} if outcome in LIES else {})


def test_rows_of_each_run_lie_together(store):
    """Two runs of one database at a time: what one writes stays with it."""
    store.runs.begin("census", {}, "0.1", utc_text(0))
    for run_id, node_id in ((2, ALICE), (1, BOB), (2, CAROL), (1, ALICE)):
        store.write(run_id, [visit(node_id, run_id)])
    assert [(row["run_id"], row["id"], row["node_id"]) for row in store.rows("visits")] == [
        (1, 1, BOB.hex()),
        (1, 2, ALICE.hex()),
        (2, 1, ALICE.hex()),
        (2, 2, CAROL.hex()),
    ]


@pytest.mark.parametrize(
    "version", [b"LT\x02\x01", b"L", b"", b"\xff\xfeLT", b"\0T\0\0", "é1".encode(), b"a9", None]
)
def test_client_is_the_same_in_sql(store, version):
    store.write(1, [visit(ALICE, 1)._replace(version=version)])
    store.runs.finish(1, RunStatus.FINISHED, utc_text(2))
    assert [row["client"] for row in store.rows("nodes")] == [client_letters(version)]
    assert [row["client"] for row in store.rows("client_versions")] == [client_letters(version) or "unknown"]
    assert [row["client"] for row in store.rows("run_clients")] == [client_letters(version) or "unknown"]


@pytest.mark.parametrize("count", [1, ROWS_AT_ONCE, ROWS_AT_ONCE + 1, 3 * ROWS_AT_ONCE - 1])
def test_all_visits_of_a_batch_are_written_in_order(store, count):
    store.write(1, [visit(NodeId(number.to_bytes(20, "big")), number) for number in range(count)])
    rows = store.connection.execute("SELECT node_id, taken_at FROM visits ORDER BY id").fetchall()
    assert rows == [(f"{number:040x}", utc_text(number)) for number in range(count)]


@pytest.mark.parametrize("is_ended", [False, True])
def test_second_answer_counts_after_five_minutes(store, is_ended):
    store.write(1, [visit(ALICE, 0), visit(ALICE, 299), visit(BOB, 0), visit(BOB, 300)])
    if is_ended:
        store.runs.finish(1, RunStatus.FINISHED, utc_text(301))
    (row,) = store.rows("network_size")
    assert (row["answered_once"], row["answered_twice"]) == (2, 1)
