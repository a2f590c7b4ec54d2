"""The views of swarms over time: series, growth, half-lives, and who is dead."""

import re

import pytest

from crawler import report
from crawler.db.database import CrawlDatabase
from crawler.db.records.records import utc_text
from crawler.db.records.torrents import HandshakeBatch, SwarmContact
from crawler.torrents.seed_share import handshakes_of
from dhtnode import InfoHash
from dhtnode.swarm import MethodEstimate
from tests.measurements import measurement_of

EPOCH = 1_699_920_000.0  # a midnight, UTC
HOUR = 3600.0
SWARM, OTHER = InfoHash(b"a" * 20), InfoHash(b"b" * 20)


@pytest.fixture
def store():
    with CrawlDatabase.open(":memory:") as opened:
        opened.runs.begin("watch", {}, "0.1", utc_text(EPOCH))
        yield opened


def write(store, info_hash, *series, margin=0.1, run_id=1):
    """Write samples, each given as hour and peers; intervals are `margin` to either side."""
    for hour, peers in series:
        sizes = {}
        if peers is not None:
            low, high = peers * (1 - margin), peers * (1 + margin)
            sizes = {"seeds": 1.0, "leechers": 2.0, "peers": peers, "peers_low": low, "peers_high": high}
        row = measurement_of(info_hash, utc_text(EPOCH + hour * HOUR), **sizes)
        store.write(run_id, [row])


def picked(store, view, *columns):
    return [tuple(row[column] for column in columns) for row in store.rows(view)]


def test_of_two_measurements_at_one_time_the_larger_is_shown(store):
    write(store, SWARM, (1, 9.0), (1, 4.0))
    assert picked(store, "latest_swarms", "peers") == [(9,)]


def test_peers_seen_in_both_families_count_once(store):
    """By handshakes within a day; without any the whole is up to the sum."""
    sizes = {"peers": 60.0, "peers_low": 55.0, "peers_high": 103.0, "seeds": 1.0, "leechers": 59.0}
    rows = tuple(
        MethodEstimate("peers", name, count, count, count) for name, count in (("ipv4", 60.0), ("ipv6", 40.0))
    )
    store.write(1, [measurement_of(SWARM, utc_text(EPOCH), estimates=rows, **sizes)])
    write(store, OTHER, (0, 9.0))
    columns = ("ipv4", "ipv6", "in_both", "peers_low", "peers_high")
    assert picked(store, "swarm_families", *columns) == [(60.0, 40.0, None, 55.0, 103.0)]

    for hours, seen in ((2, 12), (20, 5), (30, 40)):
        contact = SwarmContact(SWARM, None, 100, 100, (), in_both_families=seen)
        found = handshakes_of(contact, utc_text(EPOCH + hours * HOUR))
        store.write(1, [HandshakeBatch("given", found, None)])
    assert picked(store, "swarm_families", *columns) == [(60.0, 40.0, 12, 55.0, 91.0)]


def test_history_shows_each_change(store):
    write(store, SWARM, (0, 100.0), (2, 110.0))
    write(store, OTHER, (1, 7.0))
    write(store, SWARM, (3, None), (12, 330.0), (13, 0.0), (14, 5.0))

    columns = ("peers", "hours", "change", "relative_change", "change_per_hour", "is_clear")
    rows = [row for row in store.rows("swarm_history") if row["info_hash"] == SWARM.hex()]
    assert [tuple(row[column] for column in columns) for row in rows] == [
        (100.0, None, None, None, None, None),
        (110.0, 2.0, 10.0, 0.1, 5.0, 0),
        (330.0, 10.0, 220.0, 2.0, 22.0, 1),
        (0.0, 1.0, -330.0, -1.0, -330.0, 1),
        (5.0, 1.0, 5.0, None, 5.0, 1),
    ]
    ids = {row["id"]: row["peers"] for row in store.rows("swarm_samples")}
    assert [ids[row["sample_id"]] for row in rows] == [row["peers"] for row in rows]


def test_growth_is_by_day_since_the_sample_before(store):
    write(store, SWARM, (6, 100.0), (18, 150.0), (30, 200.0), (78, 200.0))
    write(store, OTHER, (5, 3.0))
    columns = ("day", "samples", "first", "last", "mean", "change_per_day")
    assert picked(store, "swarm_growth", *columns) == [
        ("2023-11-14", 2, 100.0, 150.0, 125.0, 100.0),
        ("2023-11-15", 1, 200.0, 200.0, 200.0, 100.0),
        ("2023-11-17", 1, 200.0, 200.0, 200.0, 0.0),
        ("2023-11-14", 1, 3.0, 3.0, 3.0, None),
    ]
    # (150 - 15) - (100 + 10) and (150 + 15) - (100 - 10) within half a day
    low, high = picked(store, "swarm_growth", "change_per_day_low", "change_per_day_high")[0]
    assert (low, high) == (50.0, 150.0)


def test_half_life_is_where_the_series_crosses_half_of_the_peak(store):
    write(store, SWARM, (0, 50.0), (10, 100.0), (20, 90.0), (30, 60.0), (40, 30.0), (50, 10.0))
    (row,) = store.rows("swarm_half_life")
    # 60 to 30 passes 50 after a third of the ten hours.
    assert (row["peak"], row["peers"], row["half_life_hours"]) == (100.0, 10.0, 23.33)
    # The one before the first whose lower end is below 55, and the first whose upper end is below 45.
    assert (row["half_life_hours_low"], row["half_life_hours_high"]) == (10.0, 30.0)


def test_half_life_of_a_sudden_death_lies_between_two_samples(store):
    """The time is unknown; the middle is as good a guess as any."""
    write(store, SWARM, (0, 100.0), (10, 100.0), (20, 0.0))
    columns = ("half_life_hours_low", "half_life_hours", "half_life_hours_high")
    assert picked(store, "swarm_half_life", *columns) == [(10.0, 15.0, 20.0)]


def test_swarm_that_is_not_clearly_smaller_has_no_half_life(store):
    """At its peak, or within the noise of it; one that has not lost half yet has a row without a number."""
    write(store, SWARM, (0, 100.0), (10, 95.0))
    write(store, OTHER, (0, 10.0), (10, 20.0))
    assert store.rows("swarm_half_life") == []
    write(store, SWARM, (20, 70.0))
    assert picked(store, "swarm_half_life", "peers", "half_life_hours", "half_life_hours_high") == [
        (70.0, None, None)
    ]


def test_dead_swarms_had_no_peer_three_times_in_a_row(store):
    write(store, SWARM, (0, 5.0), (24, 0.0), (48, 1.0), (72, 0.0), (96, None), (120, 0.0))
    write(store, OTHER, (0, 0.0), (24, 0.0), (48, 0.0))
    columns = ("info_hash", "last_alive", "empty_samples", "empty_days")
    assert picked(store, "dead_swarms", *columns) == [(OTHER.hex(), None, 3, 2.0)]
    write(store, SWARM, (144, 0.0))
    assert picked(store, "dead_swarms", *columns) == [
        (SWARM.hex(), utc_text(EPOCH + 48 * HOUR), 3, 3.0),
        (OTHER.hex(), None, 3, 2.0),
    ]


@pytest.mark.parametrize(
    "view", ["swarm_history", "swarm_pairs", "swarm_growth", "swarm_half_life", "dead_swarms"]
)
def test_one_swarm_does_not_cost_a_look_at_all(store, view):
    plan = store.connection.execute(
        f"EXPLAIN QUERY PLAN SELECT * FROM {view} WHERE info_hash = ?", (SWARM.hex(),)
    ).fetchall()
    steps = [row[3] for row in plan if re.match(r"(SCAN|SEARCH) ", row[3])]
    # The runs are looked at once: whether the clock ever went back.
    small = r"SCAN (series|peaks|trailing|\(subquery-\d+\)|runs|run_clock)"
    steps = [step for step in steps if not re.match(small, step)]
    assert steps
    assert all(re.match("SEARCH .*(info_hash=|sample_id=|INTEGER PRIMARY KEY)", step) for step in steps), (
        steps
    )


def test_views_need_no_functions_of_ours(store):
    written = " ".join(
        row[0]
        for row in store.connection.execute(
            "SELECT sql FROM sqlite_master WHERE name IN"
            " ('swarm_history', 'swarm_growth', 'swarm_half_life', 'dead_swarms')"
        )
    )
    for function in ("ln(", "log(", "exp(", "power(", "sqrt(", "client_name("):
        assert function not in written


@pytest.mark.parametrize("hours", [3 * 365 * 24, -3 * 365 * 24])
def test_newest_sample_is_that_taken_last_though_the_clock_was_wrong_before(tmp_path, hours):
    """In the run before, the clock was years ahead; or it is years behind in this one."""
    with CrawlDatabase.open(tmp_path / "a.db") as store:
        for at, peers in ((max(hours, 0), 100.0), (min(hours, 0), 50.0)):
            run_id = store.runs.begin("scrape", {}, "0", utc_text(EPOCH + HOUR * at))
            write(store, SWARM, (at, peers), run_id=run_id)
        newest = store.rows("swarm_samples")[-1]["id"]
        assert picked(store, "run_clock", "went_back") == [(1,)]
        assert picked(store, "latest_swarms", "sample_id", "peers") == [(newest, 50)]
        assert store.swarms.latest_sample(SWARM)["id"] == newest
    answer = report("swarms", db=tmp_path / "a.db")
    assert [record["peers"] for record in answer.records()] == [50]


def test_clock_that_goes_on_tells_which_sample_is_the_newest(store):
    write(store, SWARM, (5, 100.0), (1, 50.0))
    assert picked(store, "run_clock", "went_back") == [(0,)]
    assert picked(store, "latest_swarms", "peers") == [(100,)]


YEARS = 3 * 365 * 24


@pytest.fixture
def went_back(store):
    """A database of two runs, 2 and 3: the clock was three years ahead in the first of them."""
    for at in (YEARS, 0):
        store.runs.begin("watch", {}, "0", utc_text(EPOCH + HOUR * at))
    return store


def test_changes_are_in_the_order_of_rows_where_the_clock_went_back(went_back):
    write(went_back, SWARM, (YEARS, 100.0), run_id=2)
    write(went_back, SWARM, (0, 50.0), (24, 60.0), run_id=3)
    columns = ("peers", "hours", "change", "change_per_hour")
    assert picked(went_back, "swarm_history", *columns) == [
        (100.0, None, None, None),
        (50.0, None, -50.0, None),
        (60.0, 24.0, 10.0, 0.417),
    ]
    columns = ("day", "first", "last", "change_per_day", "change_per_day_low")
    assert picked(went_back, "swarm_growth", *columns) == [
        ("2026-11-13", 100.0, 100.0, None, None),
        ("2023-11-14", 50.0, 50.0, None, None),
        ("2023-11-15", 60.0, 60.0, 10.0, -1.0),
    ]


def test_who_is_dead_is_told_by_the_last_rows_where_the_clock_went_back(went_back):
    died_late, died_while_it_was_ahead, lives = SWARM, OTHER, InfoHash(b"c" * 20)
    write(went_back, died_late, (YEARS, 5.0), run_id=2)
    write(went_back, died_while_it_was_ahead, (YEARS, 0.0), (YEARS + 24, 0.0), run_id=2)
    write(went_back, lives, (YEARS, 0.0), (YEARS + 24, 0.0), (YEARS + 48, 0.0), run_id=2)
    write(went_back, died_late, (0, 0.0), (24, 0.0), (48, 0.0), run_id=3)
    write(went_back, died_while_it_was_ahead, (0, 0.0), run_id=3)
    write(went_back, lives, (0, 7.0), run_id=3)
    ahead, now = utc_text(EPOCH + HOUR * YEARS), utc_text(EPOCH)
    columns = ("info_hash", "last_alive", "empty_since", "measured_at", "empty_samples", "empty_days")
    assert picked(went_back, "dead_swarms", *columns) == [
        (died_late.hex(), ahead, now, utc_text(EPOCH + 48 * HOUR), 3, 2.0),
        (died_while_it_was_ahead.hex(), None, ahead, now, 3, None),
    ]
