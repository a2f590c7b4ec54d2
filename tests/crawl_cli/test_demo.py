"""The demonstration: a newcomer's first command, on a network of its own."""

import re
import sqlite3
from contextlib import closing

import pytest

from crawler.demo.demo import NODES, SIZES
from tests.commands import SCRAPE_KEYS, run_command

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Run the demonstration once, as a newcomer does, with the database in another place."""
    database = tmp_path_factory.mktemp("demo") / "elsewhere.db"
    return database, run_command("dhtcrawl", "demo", "--db", database, cwd=database.parent)


def test_demo_ends_well_and_writes_only_its_database(demo):
    database, ended = demo
    assert (ended.status, ended.stderr) == (0, "")
    assert {path.name for path in database.parent.iterdir()} == {database.name}


def test_demo_is_as_large_as_promised():
    """At least 60 nodes and 20 swarms of 1 to 500 peers (issue 2)."""
    assert NODES >= 60
    assert len(SIZES) >= 20
    assert (min(SIZES), max(SIZES)) == (1, 500)


def test_demo_table_shows_the_truth_within_the_interval(demo):
    _, ended = demo
    lines = re.findall(r"│ *([0-9a-f]+)\.\.\. *│ *(\d+) *│ *(\d+) *│ *(\d+) to (\d+) *│", ended.stdout)
    within = [low <= true <= high for _, true, _, low, high in (map(to_number, line) for line in lines)]
    assert sorted(int(line[1]) for line in lines) == sorted(SIZES)
    assert sum(within) >= 0.9 * len(within)
    assert f"The truth lies in the interval for {sum(within)} of {len(SIZES)} swarms" in ended.stdout


def to_number(text):
    return int(text) if text.isdigit() and len(text) < 10 else text


def test_demo_table_fits_a_page(demo):
    """Piped into a file it is no wider than 110 columns, and each swarm has one line."""
    _, ended = demo
    table = [line for line in ended.stdout.splitlines() if line.startswith("│")]
    assert len(table) == len(SIZES)
    assert max(map(len, table)) <= 110


def test_demo_says_what_to_do_next(demo):
    database, ended = demo
    assert f"sqlite-utils rows {database} latest_swarms --table" in ended.stdout
    assert "dhtcrawl scrape --db swarms.db INFOHASH" in ended.stdout
    assert "dhtcrawl census --db census.db" in ended.stdout


def test_demo_records_census_and_swarms(demo):
    database, _ = demo
    with closing(sqlite3.connect(database)) as connection:

        def counted(query):
            return connection.execute(query).fetchall()

        assert counted("SELECT command, status FROM runs") == [("demo", "finished")]
        assert counted("SELECT outcome, count(*) FROM visits GROUP BY 1") == [("answered", NODES)]
        assert counted("SELECT count(*) FROM latest_swarms") == [(len(SIZES),)]
        assert counted("SELECT client_name, nodes FROM client_versions") == [("dhtnode", NODES)]


def test_what_the_demo_says_next_works(demo):
    _, ended = demo
    (line,) = re.findall(r"sqlite-utils (rows .* --table)", ended.stdout)
    shown = run_command("sqlite-utils", *line.split())
    assert shown.status == 0
    assert len(shown.stdout.splitlines()) == 2 + len(SIZES)
    assert {"info_hash", "peers", "peers_low", "peers_high"} <= set(shown.stdout.split("\n")[0].split())


@pytest.fixture(scope="module")
def small_demos(tmp_path_factory):
    """Run a small demonstration twice, with the same seed and no database named."""
    places = [tmp_path_factory.mktemp("small") for _ in range(2)]
    command = ("dhtcrawl", "demo", "--nodes", "20", "--seed", "5", "--json")
    return places, [run_command(*command, cwd=place) for place in places]


def test_demo_prints_json(small_demos):
    (place, _), (ended, _) = small_demos
    assert (ended.status, ended.stderr, len(ended.records)) == (0, "", len(SIZES))
    keys = [*SCRAPE_KEYS, "true_seeds", "true_leechers", "true_peers", "within"]
    assert {tuple(record) for record in ended.records} == {tuple(keys)}
    for record in ended.records:
        is_within = record["peers_low"] <= record["true_peers"] <= record["peers_high"]
        assert record["within"] is is_within
        assert record["true_seeds"] + record["true_leechers"] == record["true_peers"]
    assert (place / "demo.db").is_file()


def test_demo_with_the_same_seed_shows_the_same_swarms(small_demos):
    _, demos = small_demos
    first, second = (
        [(each["info_hash"], each["true_seeds"], each["true_peers"]) for each in ended.records]
        for ended in demos
    )
    assert first == second
