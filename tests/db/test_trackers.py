"""Trackers in the database: pauses that never get shorter, samples once, and no address where none may be."""

from dataclasses import replace

import pytest

from crawler.db.database import CrawlDatabase
from crawler.db.records.trackers import KnownTracker, SwarmList, SweepBatch, TrackerSweep, TrackerTurn
from dhtnode import InfoHash

NOW, SOON, LATE = (f"2026-01-01T00:0{minute}:00.000Z" for minute in range(3))
URL = "udp://tracker.example:6969"
KNOWN = KnownTracker(URL, "udp", "tracker.example", "given", NOW)
SWEEP = TrackerSweep(0, URL, 4, "192.0.2.7", NOW)
SWARMS = [InfoHash(bytes([number]) * 20) for number in range(4)]


def begun(store, *sweeps):
    run_id = store.runs.begin("trackers", {}, "0", NOW)
    store.trackers.add([KNOWN])
    return run_id, store.trackers.begin(run_id, sweeps)


@pytest.fixture
def store(tmp_path):
    with CrawlDatabase.open(tmp_path / "crawl.db") as opened:
        yield opened


def test_what_is_known_of_a_tracker_comes_back(store):
    learned = replace(
        KNOWN, last_answer=SOON, batch=50, silences=1, not_before=LATE, marks=("alone", "invents")
    )
    store.trackers.add([KNOWN])
    store.trackers.update([learned])
    store.trackers.mark({URL: {"invents", "alone"}})
    store.trackers.add([replace(KNOWN, first_seen=LATE)])  # what is known stays
    assert store.trackers.known() == [learned]


@pytest.mark.parametrize(("first", "second"), [(SOON, LATE), (LATE, SOON), (LATE, None), (None, LATE)])
def test_a_pause_is_never_cut_short(store, first, second):
    store.trackers.add([KNOWN])
    for time in (first, second):
        store.trackers.update([replace(KNOWN, not_before=time, full_not_before=time)])
    (known,) = store.trackers.known()
    assert (known.not_before, known.full_not_before) == (LATE, LATE)


def test_sweeps_grow_and_swarms_have_one_sample_in_each(store):
    run_id, (first, second) = begun(store, SWEEP, SWEEP)
    store.write(run_id, [SweepBatch([replace(first, asked=2)], [(first.id, SWARMS[0], 1000, 1, 2, 3, None)])])
    samples = [(first.id, SWARMS[0], 9000, 9, 9, 9, 9), (second.id, SWARMS[0], 2000, 4, 5, None, 5)]
    store.write(
        run_id, [SweepBatch([replace(first, asked=3, outcome="answered", marks=("alone",))], samples)]
    )

    rows = store.rows("tracker_sweeps")
    assert [(row["asked"], row["outcome"], row["marks"]) for row in rows] == [
        (3, "answered", "alone"),
        (0, None, None),
    ]
    found = [
        (row["sweep_id"], row["info_hash"], row["seeds"], row["downloaders"])
        for row in store.rows("tracker_samples")
    ]
    assert found == [(first.id, SWARMS[0].hex(), 1, None), (second.id, SWARMS[0].hex(), 4, 5)]
    assert store.rows("tracker_samples")[0]["taken_at"] == "1970-01-01T00:00:01.000Z"


def test_turns_last_until_they_are_over(store):
    swarms = SwarmList(b"one", SWARMS)
    turn = TrackerTurn("192.0.2.7:6969 udp", 0, 2, NOW, SOON)
    store.trackers.take_turns(swarms, [turn, turn._replace(place="192.0.2.8:80 tcp", next_at=LATE)])
    store.trackers.take_turns(swarms, [turn._replace(last=1)])  # it came to an end before the second
    ((listed, turns),) = store.trackers.turns(NOW)
    assert (listed, [each.last for each in turns]) == (SWARMS, [1, 2])
    assert [each.place for _, turns in store.trackers.turns(SOON) for each in turns] == ["192.0.2.8:80 tcp"]
    # What is over is deleted when others are written, and a list of no more use with it.
    late = turn._replace(asked_at=LATE, next_at="2026-01-01T01:00:00.000Z")
    store.trackers.take_turns(SwarmList(b"two", SWARMS[:1]), [late])
    assert [(listed, turns) for listed, turns in store.trackers.turns(LATE)] == [(SWARMS[:1], [late])]


def test_an_anonymized_database_has_no_address_of_a_tracker(tmp_path):
    with CrawlDatabase.open(tmp_path / "crawl.db", anonymize=True) as store:
        run_id, (sweep,) = begun(store, SWEEP)
        assert sweep.host == "192.0.2.7"  # to be asked
        store.write(run_id, [SweepBatch([sweep])])
        assert store.rows("tracker_sweeps")[0]["host"] is None
    assert all(b"192.0.2.7" not in path.read_bytes() for path in tmp_path.iterdir())
