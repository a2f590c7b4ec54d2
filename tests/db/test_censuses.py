"""Rounds of censuses as the database has them: which tell of a zone, and who answered in which."""

import sqlite3
from contextlib import closing

import pytest

from crawler.db.censuses import read_rounds
from crawler.db.database import CrawlDatabase
from crawler.db.records.records import RunStatus, SizeEstimate, utc_text
from dhtnode import Address, Family
from dhtnode.outcomes import Outcome
from tests.visits import visit_of

IN_ZONE, ELSEWHERE, SILENT = (bytes([first] * 20) for first in (0x20, 0x80, 0x21))
OTHER_ID = bytes([0x22] * 20)
ADDRESSES = {IN_ZONE: "192.0.2.1", OTHER_ID: "192.0.2.1", ELSEWHERE: "192.0.2.2", SILENT: "192.0.2.3"}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.db"


def add(path, hour, zone, answered, family=Family.IPV4, status=RunStatus.FINISHED):
    """Add a census in which these nodes answered, and another one was silent."""
    now = 3600.0 * hour
    with CrawlDatabase.open(path) as store:
        run_id = store.runs.begin("census", {}, "0.1", utc_text(now))
        visits = [
            visit_of(node_id, Address(ADDRESSES[node_id], 1), now, Outcome.ANSWERED) for node_id in answered
        ]
        store.write(run_id, [*visits, visit_of(SILENT, Address(ADDRESSES[SILENT], 1), now, Outcome.TIMEOUT)])
        store.visits.write_results(run_id, [SizeEstimate(family, "crawl", "hosts", 1.0, 1.0, 1.0, zone)], [])
        store.runs.finish(run_id, status, utc_text(now))


def read(path, **options):
    with closing(sqlite3.connect(path)) as connection:
        return read_rounds(connection, **options)


def test_rounds_are_of_all_censuses_that_cover_the_zone(path):
    add(path, 1, "whole", [IN_ZONE, ELSEWHERE])
    add(path, 2, "001", [])
    add(path, 3, "001", [IN_ZONE])
    add(path, 4, "10", [ELSEWHERE])
    rounds = read(path)
    assert (rounds.zone, rounds.runs, rounds.times) == ("001", (1, 2, 3), (3600.0, 7200.0, 10800.0))
    assert rounds.answered == {IN_ZONE.hex(): [0, 2], SILENT.hex(): []}
    assert rounds.present == [1, 0, 1]


def test_zone_and_family_can_be_given(path):
    add(path, 1, "whole", [IN_ZONE, ELSEWHERE])
    add(path, 2, "001", [IN_ZONE])
    whole = read(path, zone="")
    assert (whole.runs, set(whole.answered)) == ((1,), {IN_ZONE.hex(), ELSEWHERE.hex(), SILENT.hex()})
    assert read(path, zone="10").answered == {ELSEWHERE.hex(): [0]}
    assert read(path, family=6).runs == ()


def test_a_node_is_its_id_or_its_endpoint(path):
    add(path, 1, "whole", [IN_ZONE])
    add(path, 2, "whole", [OTHER_ID])
    assert read(path, by="endpoint").answered == {"192.0.2.1 1": [0, 1], "192.0.2.3 1": []}
    assert len(read(path).answered) == 3
    with pytest.raises(ValueError, match="'name' is neither"):
        read(path, by="name")


def test_interrupted_censuses_do_not_count(path):
    add(path, 1, "whole", [IN_ZONE], status=RunStatus.INTERRUPTED)
    rounds = read(path)
    assert (rounds.zone, rounds.runs, rounds.answered, rounds.present) == ("", (), {}, [])
