"""Visits in the database: written many at a time, and what the view of suspect nodes shows of them."""

import pytest

from crawler.db.database import CrawlDatabase
from crawler.db.insert import ROWS_AT_ONCE
from crawler.db.records.records import RunStatus, Visit, utc_text
from dhtnode import Address, NodeId
from dhtnode.outcomes import Outcome

ALICE, BOB, CAROL = (NodeId(bytes([number]) * 20) for number in (1, 2, 3))


@pytest.fixture
def store():
    with CrawlDatabase.open(":memory:") as opened:
        opened.runs.begin("census", {}, "0.1", utc_text(0))
        yield opened


def visit(node_id, at, outcome=Outcome.ANSWERED, marks=(), host="192.0.2.7"):
    return Visit(node_id, Address(host, 6881), utc_text(at), outcome, marks=marks)


def suspects(store):
    found = {}
    for row in store.rows("suspect_nodes"):
        found.setdefault(row["node_id"], []).append((row["mark"], row["visits"], row["last_seen"]))
    return {node_id: sorted(marks) for node_id, marks in found.items()}


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
    assert any(step.startswith("SCAN visits USING INDEX idx_visits_suspect") for step in steps), steps
    assert not any("TEMP B-TREE FOR GROUP BY" in step or step == "SCAN visits" for step in steps), steps


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
