"""The commands `dhtcrawl report` and `dhtcrawl export`, run in this process: to start one takes longer."""

import csv
import io
import json
import sqlite3
from contextlib import chdir, closing, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

import crawler
from crawler.cli.main import main
from crawler.reports import REPORTS
from tests.commands import Ended
from tests.small_database import LARGE, make_database

ROOT = Path(__file__).resolve().parents[2]
NAMES = list(REPORTS)
SAID: list[tuple[list[str], int, str]] = [
    (["report"], 2, "Missing option '--db'"),
    (["report", "--db", "none.db"], 2, "'none.db' does not exist"),
    (["report", "--db", "."], 2, "'.' is a directory"),
    (["report", "--db", "small.db", "sizes"], 2, "there is no report 'sizes'"),
    (["report", "--db", "small.db", "swarm"], 2, "say which swarm"),
    (["report", "--db", "small.db", "swarm", "xyz"], 2, "'xyz' is not an info-hash"),
    (["report", "--db", "small.db", "clients", "aa" * 20], 2, "takes no info-hash"),
    (["report", "--db", "small.db", "--csv"], 2, "name a report"),
    (["report", "--db", "small.db", "--limit", "0"], 2, "--limit"),
    (["report", "--db", "small.db", "swarm", "cc" * 20], 1, "was never measured"),
    (["report", "--db", "small.db", "--run", "9"], 1, "there is no run 9"),
    (["report", "--db", "letter.txt"], 1, "letter.txt: is not a SQLite database"),
    (["report", "--db", "other.db"], 1, "other.db: is a database of another program"),
    (["report", "--db", "empty.db"], 1, "empty.db: is empty"),
    (["export", "--db", "small.db"], 2, "give one of --parquet DIR and --csv DIR"),
    (["export", "--db", "small.db", "--csv", "a", "--parquet", "b"], 2, "give one of"),
    (["export", "--db", "small.db", "--parquet", "b", "--gzip"], 2, "--gzip is for CSV"),
    (["export", "--db", "small.db", "--csv", "letter.txt"], 2, "'letter.txt' is a file"),
    (["export", "--db", "small.db", "--csv", "full"], 1, "runs.csv: is there already"),
    (["export", "--db", "letter.txt", "--csv", "new"], 1, "is not a SQLite database"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Make a database, and files that are none."""
    place = tmp_path_factory.mktemp("files")
    make_database(place / "small.db")
    (place / "letter.txt").write_text("Dear reader,\n" * 500)
    (place / "empty.db").write_bytes(b"")
    (place / "full").mkdir()
    (place / "full" / "runs.csv").write_text("mine")
    with closing(sqlite3.connect(place / "other.db")) as connection:
        connection.execute("CREATE TABLE letters (text)")
    return place


def run_here(line):
    stdout, stderr = io.StringIO(), io.StringIO()
    with redirect_stdout(stdout), redirect_stderr(stderr), pytest.raises(SystemExit) as left:
        main(line, prog_name="dhtcrawl")
    return Ended(int(left.value.code or 0), stdout.getvalue(), stderr.getvalue())


@pytest.fixture(scope="module")
def ended(place):
    """Run every wrong command line, and every right one; return how each ended, by its words."""
    right = [
        [*line_of(name), *form] for name in NAMES for form in ([], ["--json"], ["--csv"], ["--markdown"])
    ]
    right += [["report", "--db", "small.db", *form] for form in ([], ["--json"], ["--markdown"])]
    right += [["report", "--list"], ["report", "--db", "small.db", "--limit", "1", "clients", "--json"]]
    right += [["export", "--db", "small.db", "--csv", "out", "--json"]]
    before = (place / "small.db").read_bytes()
    with chdir(place):
        done = {" ".join(line): run_here(line) for line in [*(line for line, _, _ in SAID), *right]}
    assert (place / "small.db").read_bytes() == before
    return done


def line_of(name):
    return ["report", "--db", "small.db", name, *([LARGE.hex()] if name == "swarm" else [])]


@pytest.mark.parametrize(("line", "status", "said"), SAID, ids=[" ".join(line)[:60] for line, _, _ in SAID])
def test_refusal_is_one_line(ended, line, status, said):
    """With status 2 for a wrong command line, and 1 where the data say no."""
    end = ended[" ".join(line)]
    assert (end.status, end.stdout) == (status, "")
    assert end.error.startswith("dhtcrawl: ")
    assert said in end.error


def test_refused_export_leaves_nothing(place, ended):
    assert not (place / "new").exists()
    assert [path.name for path in (place / "full").iterdir()] == ["runs.csv"]


@pytest.mark.parametrize("name", NAMES)
def test_report_is_the_same_in_every_form(place, ended, name):
    line = " ".join(line_of(name))
    answer = crawler.report(name, LARGE.hex() if name == "swarm" else None, db=place / "small.db")
    text, as_json, as_csv, markdown = (
        ended[line + form] for form in ("", " --json", " --csv", " --markdown")
    )
    assert {end.status for end in (text, as_json, as_csv, markdown)} == {0}
    assert {end.stderr for end in (text, as_json, as_csv, markdown)} == {""}
    assert as_json.records == answer.records()
    assert len(list(csv.DictReader(as_csv.stdout.splitlines()))) == len(answer.rows)
    assert text.stdout.splitlines()[0] == answer.title
    assert markdown.stdout.count("\n|") == (2 + len(answer.rows) if answer.rows else 0)
    assert len(text.stdout.splitlines()) == len(answer.rows) + text.stdout.splitlines().index("") + 2


def test_summary_names_the_report_of_each_row(ended):
    records = ended["report --db small.db --json"].records
    assert {"runs", "network-size", "clients", "swarms"} <= {record["report"] for record in records}
    assert ended["report --db small.db --markdown"].stdout.count("## ") == 7
    assert "Largest swarms" in ended["report --db small.db"].stdout


def test_limit_bounds_the_rows(ended):
    records = ended["report --db small.db --limit 1 clients --json"].records
    assert [record["client"] for record in records] == ["LT"]


def test_list_names_every_report(ended):
    lines = ended["report --list"].stdout.splitlines()
    assert [line.split()[0] for line in lines] == NAMES
    assert all(" Tell " in line and line.endswith(".") for line in lines)


def test_export_prints_what_it_wrote(place, ended):
    records = ended["export --db small.db --csv out --json"].records
    assert {"file": "visits.csv", "table": "visits", "rows": 20} in records
    assert {record["file"] for record in records} | {"schema.json"} == {
        path.name for path in (place / "out").iterdir()
    }
    assert json.loads((place / "out" / "schema.json").read_text())["run"] is None


def test_every_report_is_documented():
    text = (ROOT / "docs" / "reference" / "reports.md").read_text(encoding="utf-8")
    for name in NAMES:
        section = text.partition(f"\n### {name}\n")[2].partition("\n#")[0]
        assert f"$ dhtcrawl report --db crawl.db {name}" in section, name
