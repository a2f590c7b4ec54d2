"""Buckets: their numbers, when they are stale, and the check of their invariants."""

from collections.abc import Callable

import pytest

from dhtnode.ids import as_id
from dhtnode.routing import BucketInfo, RoutingTable
from tests.routing.tables import GOOD_FOR, HALF, fail, far, full_table, near, new_table


def test_bucket_is_stale_until_something_in_it_changes() -> None:
    table = new_table()
    whole = [(0, 2 * HALF)]
    assert table.stale_ranges(0.0, 900.0) == whole
    table.responded(far(1), 10.0)
    table.responded(far(1), 20.0)
    assert table.stale_ranges(919.0, 900.0) == []
    assert table.stale_ranges(920.0, 900.0) == whole


def test_halves_of_a_split_bucket_keep_the_time_of_its_last_change() -> None:
    table = full_table(8)
    table.responded(near(1), 100.0)
    assert table.stale_ranges(906.0, 900.0) == []
    assert table.stale_ranges(907.0, 900.0) == [(HALF, 2 * HALF)]


def test_query_and_failure_do_not_refresh_a_bucket() -> None:
    table = full_table(8, replacements=1)  # the last addition was at 7: far 8 is a replacement
    table.queried(far(0), 100.0)
    table.failed(far(0).address, 100.0)
    table.responded(far(8), 100.0)
    assert (HALF, 2 * HALF) in table.stale_ranges(907.0, 900.0)
    table.failed(far(0).address, 200.0)  # far 8 replaces it
    assert (HALF, 2 * HALF) not in table.stale_ranges(907.0, 900.0)


def test_bucket_marked_as_refreshed_is_not_stale() -> None:
    table = full_table(8)
    table.responded(near(1), 8.0)
    assert [low for low, _ in table.stale_ranges(2000.0, 900.0)] == [0, HALF]
    table.mark_refreshed(HALF, 2000.0)
    assert table.stale_ranges(2000.0, 900.0) == [(0, HALF)]


def test_buckets_count_every_kind_of_node() -> None:
    table = full_table(8, replacements=2)
    table.responded(near(1), 500.0)
    table.responded(near(2), 500.0)
    fail(table, near(2), 501.0)
    assert table.buckets(GOOD_FOR + 1.5) == [
        BucketInfo(0, HALF, 1, nodes=2, good=1, bad=1, replacements=0),
        BucketInfo(HALF, 2 * HALF, 1, nodes=8, good=6, bad=0, replacements=2),
    ]


def move_to_wrong_bucket(table: RoutingTable) -> None:
    lower, upper = table._tree
    lower.nodes.append(upper.nodes.pop())


def forget_an_address(table: RoutingTable) -> None:
    del table._index.by_address[far(0).address]


def leave_a_gap(table: RoutingTable) -> None:
    del table._tree._buckets[HALF]


def split_a_foreign_bucket(table: RoutingTable) -> None:
    table._tree.split(table._tree.bucket_of(HALF))


def keep_stale_bytes(table: RoutingTable) -> None:
    table.closest_compact(as_id(HALF), 9.0)
    table._tree.bucket_of(HALF).nodes.reverse()


def call_a_good_node_bad(table: RoutingTable) -> None:
    table._tree.bucket_of(HALF).nodes[0].bad = True


@pytest.mark.parametrize(
    "damage",
    [
        move_to_wrong_bucket,
        forget_an_address,
        leave_a_gap,
        split_a_foreign_bucket,
        keep_stale_bytes,
        call_a_good_node_bad,
    ],
)
def test_check_finds_damage(damage: Callable[[RoutingTable], None]) -> None:
    table = full_table(8)
    table.responded(near(1), 9.0)
    table.check()
    damage(table)
    with pytest.raises(AssertionError, match="broken rule"):
        table.check()
