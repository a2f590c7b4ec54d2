"""Exports: what the files hold, what never leaves, and what an anonymized one keeps back."""

import csv
import gzip
import json
import os
import sqlite3
import sys
from contextlib import closing, contextmanager
from errno import ENOSPC

import pytest

from crawler import report
from crawler.db.connection import open_reading
from crawler.db.schema.columns import TABLES
from crawler.reports import NoAnswer, anonymize, export
from crawler.reports.anonymize import host_prefix
from crawler.reports.export import ExportError, export_tables
from crawler.reports.files import CSV, CSV_GZIP, Form, NoParquet, parquet
from crawler.reports.render import csv_text
from tests.small_database import CENSUS, FILTER, LARGE, SCRAPE, address, make_database, node_id, time_text

KEY = b"k" * 32


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    path = tmp_path_factory.mktemp("database") / "small.db"
    make_database(path)
    return path


def exported(database, folder, form=CSV, **options):
    with open_reading(database) as db:
        done = list(export_tables(db, folder, form, **options))
    return {each.table: read(folder / each.file) for each in done}


def read(path):
    with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as file:
        return list(csv.DictReader(file))


def everything(folder):
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


def test_files_hold_the_rows_of_tables_and_views(database, tmp_path):
    files = exported(database, tmp_path)
    assert set(files) == {name for name, table in TABLES.items() if table.exported}
    assert len(files["visits"]) == 20
    assert files["visits"][0]["address"] == address(0).host
    assert files["latest_swarms"][0]["peers"] == "800"
    assert files["node_samples"][0]["samples"] == LARGE.hex()
    assert files["node_samples"][0]["num"] == ""


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+1+cmd", "'+1+cmd"),
        ("-2+3", "'-2+3"),
        ("@SUM(1)", "'@SUM(1)"),
        (" =1+1", "' =1+1"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("\t=1+1", r"\t=1+1"),
        ("\r\n=1+1", r"\r\n=1+1"),
        ("\x1b[2J\u202e", r"\x1b[2J\u202e"),
        ("a-b = c", "a-b = c"),
        ("", ""),
    ],
)
def test_no_spreadsheet_takes_a_name_to_run(tmp_path, name, cell):
    path = tmp_path / "named.db"
    make_database(path)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE swarms SET name = ?", (name,))
    assert {row["name"] for row in exported(path, tmp_path / "out")["swarms"]} == {cell}
    answer = report("swarms", db=path)
    assert {row["name"] for row in csv.DictReader(csv_text(answer).splitlines())} == {cell}


def test_files_are_for_their_owner_alone(database, tmp_path, monkeypatch):
    """Also while they are written, and the folder: to publish them is a step of its own."""
    folder, seen = tmp_path / "out", set()
    rename = export.Path.rename
    monkeypatch.setattr(
        export.Path, "rename", lambda part, to: seen.add(part.stat().st_mode & 0o777) or rename(part, to)
    )
    before = os.umask(0)
    try:
        for form in (CSV, CSV_GZIP):
            exported(database, folder / form.suffix, form)
    finally:
        os.umask(before)
    assert seen == {0o600}
    assert {path.stat().st_mode & 0o777 for path in folder.glob("*/*")} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in folder.glob("*")} == {0o700}


def test_batches_make_one_file(database, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "ROWS_AT_ONCE", 3)
    assert [row["id"] for row in exported(database, tmp_path)["visits"]] == [str(n) for n in range(1, 21)]


def test_schema_file_explains_each_column(database, tmp_path):
    files = exported(database, tmp_path)
    described = json.loads((tmp_path / "schema.json").read_text())

    assert described["anonymized"] is False
    for file in described["files"]:
        assert file["rows"] == len(files[file["table"]])
        with (tmp_path / file["file"]).open() as lines:
            assert [column["name"] for column in file["columns"]] == next(csv.reader(lines))
    (visits,) = [file for file in described["files"] if file["table"] == "visits"]
    assert {
        "name": "rtt_ms",
        "type": "number",
        "unit": "ms",
        "meaning": "Time from the query to its answer.",
    } in (visits["columns"])


def test_filters_never_leave(database, tmp_path):
    files = exported(database, tmp_path)
    assert "rank" in files["scrape_replies"][0]
    assert not {"seeds_filter", "peers_filter"} & set(files["scrape_replies"][0])
    assert FILTER.hex().encode() not in everything(tmp_path).lower()


def test_compressed_files_hold_the_same(database, tmp_path):
    assert exported(database, tmp_path / "a", CSV_GZIP) == exported(database, tmp_path / "b")


def test_one_run_leaves_out_what_belongs_to_none(database, tmp_path):
    census = exported(database, tmp_path / "census", run=CENSUS)
    scrape = exported(database, tmp_path / "scrape", run=SCRAPE)
    assert not {"nodes", "swarms", "watched_swarms", "client_versions"} & set(census)
    assert [len(run["latest_swarms"]) for run in (census, scrape)] == [0, len(scrape["swarm_samples"]) // 2]
    assert [len(census[name]) for name in ("runs", "visits", "scrape_replies", "alarms")] == [1, 20, 0, 1]
    assert [len(scrape[name]) for name in ("runs", "visits", "scrape_replies", "alarms")] == [1, 0, 8, 0]


def test_unknown_run_writes_nothing(database, tmp_path):
    with pytest.raises(NoAnswer, match="no run 9"):
        exported(database, tmp_path / "new", run=9)
    assert list(tmp_path.iterdir()) == []


def test_file_that_is_there_is_not_overwritten(database, tmp_path):
    (tmp_path / "visits.csv").write_text("mine")
    with pytest.raises(ExportError, match=r"visits.csv: is there already"):
        exported(database, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["visits.csv"]
    assert (tmp_path / "visits.csv").read_text() == "mine"


@contextmanager
def full_disk(path, columns):
    with path.open("w"):
        yield lambda _: fail()


def fail():
    raise OSError(ENOSPC, "No space left on device")


def test_second_export_into_one_folder_is_refused(database, tmp_path):
    with open_reading(database) as db, closing(export_tables(db, tmp_path, CSV)) as first:
        next(first)
        before = everything(tmp_path)
        with pytest.raises(ExportError, match=r"another export is writing to it$"):
            exported(database, tmp_path)
        assert everything(tmp_path) == before
        assert len(list(first)) > 10


def test_full_disk_leaves_no_half_file(database, tmp_path):
    with pytest.raises(ExportError) as failed:
        exported(database, tmp_path, Form("csv", full_disk))
    assert str(failed.value) == f"{tmp_path / 'runs.csv'}: No space left on device"
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def folder(database, tmp_path_factory):
    return tmp_path_factory.mktemp("anonymized")


@pytest.fixture(scope="module")
def files(database, folder):
    return exported(database, folder, key=KEY)


def test_anonymized_no_address_port_or_id_is_in_any_file(files, folder):
    found = everything(folder)
    for number in range(20):
        assert address(number).host.encode() not in found
        assert node_id(number).hex().encode() not in found
    assert {row["port"] for row in files["visits"] + files["nodes"]} == {""}


def test_anonymized_networks_stay(files):
    assert {row["address"] for row in files["visits"]} == {f"20.0.{n}.0/24" for n in range(20)}
    assert files["alarms"][0]["subject"] == "20.0.3.0/24"


def test_anonymized_rows_of_one_node_stay_together(files):
    assert len({row["node_id"] for row in files["nodes"]}) == 20
    assert {row["node_id"] for row in files["visits"]} == {row["node_id"] for row in files["nodes"]}


def test_anonymized_another_export_has_other_pseudonyms(database, files, tmp_path):
    others = exported(database, tmp_path, key=b"another")
    assert not {row["node_id"] for row in others["nodes"]} & {row["node_id"] for row in files["nodes"]}


def test_anonymized_groups_of_few_nodes_are_left_out(files, folder):
    for name in ("run_clients", "client_census", "client_versions", "run_round_trips", "run_support"):
        assert {row["client"] for row in files[name]} <= {"LT"}, name
        assert {row.get("client_name", "libtorrent") for row in files[name]} <= {"libtorrent"}, name
    assert {row["client"] for row in files["run_clients"]} == {"LT"}
    assert {row["client"] for row in files["nodes"]} == {"LT", ""}
    assert {row["version"] for row in files["visits"]} == {"4c540201", ""}
    assert b"55540101" not in everything(folder)
    assert [row["outcome"] for row in files["run_outcomes"]] == ["answered", "answered"]


def test_anonymized_schema_file_says_so(files, folder):
    assert json.loads((folder / "schema.json").read_text())["anonymized"] is True


@pytest.mark.parametrize(
    ("host", "prefix"),
    [
        ("20.1.2.3", "20.1.2.0/24"),
        ("20.1.2.0/24", "20.1.2.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("::1", "::/48"),
        ("2001:db8:1::/48", "2001:db8:1::/48"),
    ],
)
def test_prefix_of_a_host(host, prefix):
    assert host_prefix(host) == prefix


@pytest.fixture(scope="module")
def read_table():
    return pytest.importorskip("pyarrow.parquet").read_table


def export_parquet(database, folder):
    with open_reading(database) as db:
        return list(export_tables(db, folder, parquet()))


def test_parquet_values_have_types(database, tmp_path, read_table):
    """Times are times, flags true or false, and nothing is None."""
    export_parquet(database, tmp_path)
    visit = read_table(tmp_path / "visits.parquet").to_pylist()[0]
    assert visit["taken_at"].isoformat(timespec="milliseconds").replace("+00:00", "Z") == time_text(0)
    assert (visit["conforms"], visit["is_verification"]) == (True, False)
    assert (visit["rtt_ms"], visit["error_code"], visit["version"]) == (20.0, None, "4c540201")
    assert read_table(tmp_path / "node_samples.parquet")["samples"][0].as_py() == bytes(LARGE)


def test_parquet_of_empty_tables_and_batches_are_whole(database, tmp_path, read_table, monkeypatch):
    monkeypatch.setattr(export, "ROWS_AT_ONCE", 3)
    done = export_parquet(database, tmp_path)
    for each in done:
        found = read_table(tmp_path / each.file)
        assert found.num_rows == each.rows
        columns = [column.name for column in export.exported_columns(TABLES[each.table])]
        assert found.column_names == columns


def test_parquet_value_of_another_type_is_one_line(database, tmp_path, read_table):
    """SQLite lets anything into any column; the file is named, and not left half written."""
    copy = tmp_path / "copy.db"
    copy.write_bytes(database.read_bytes())
    with closing(sqlite3.connect(copy)) as connection, connection:
        connection.execute("UPDATE swarm_samples SET taken_at = 'yesterday' WHERE id = 2")
    with pytest.raises(ExportError, match=r"swarm_samples.parquet: .*yesterday"):
        export_parquet(copy, tmp_path / "out")
    assert not [path.name for path in (tmp_path / "out").iterdir() if "swarm_samples" in path.name]


def test_missing_pyarrow_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(NoParquet) as missing:
        parquet()
    assert str(missing.value) == "Parquet needs pyarrow: pip install 'dhtnode[parquet]'"


def test_version_of_fewer_than_ten_nodes_is_rare():
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE nodes (version, client, last_answer)")
        rows = [("rare", "RA", 1)] * 9 + [("common", "CO", 1)] * 10 + [("silent", "SI", None)] * 10
        connection.executemany("INSERT INTO nodes VALUES (?, ?, ?)", rows)
        anonymize.add_functions(connection, b"key")
        found = [
            connection.execute("SELECT is_common_version(?)", (name,)).fetchone()[0]
            for name in ("rare", "common", "silent")
        ]
    assert found == [0, 1, 0]


@pytest.mark.parametrize(
    ("url", "hidden"),
    [
        ("udp://192.0.2.7:6969/announce", "udp://192.0.2.0/24:6969/announce"),
        ("http://192.0.2.7/announce?a=b", "http://192.0.2.0/24/announce?a=b"),
        ("udp://[2001:db8:1:2::3]:6969", "udp://2001:db8:1::/48:6969"),
        ("https://tracker.example/announce", "https://tracker.example/announce"),
        ("tracker.example", "tracker.example"),
        ("192.0.2.7", "192.0.2.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
    ],
)
def test_anonymized_trackers_have_names_and_no_addresses(url, hidden):
    assert anonymize.without_address(url) == hidden
