"""The descriptions of tables and columns, held against the schema as it is."""

import re

import pytest

from crawler.db.database import CrawlDatabase
from crawler.db.schema import read_sql
from crawler.db.schema.columns import TABLES, read_tables

DECLARED = {
    "integer": {"INTEGER"},
    "flag": {"INTEGER"},
    "number": {"REAL", "FLOAT"},
    "text": {"TEXT"},
    "time": {"TEXT"},
    "json": {"TEXT"},
    "bytes": {"BLOB"},
}


@pytest.fixture(scope="module")
def schema():
    """Return the columns of each table and view, with their declared types, as the database has them."""
    with CrawlDatabase.open(":memory:") as store:
        execute = store.connection.execute
        names = execute(
            "SELECT name FROM sqlite_master WHERE type IN ('table', 'view')"
            " AND substr(name, 1, 6) <> 'sqlite' AND name <> '_sqlite_migrations'"
        ).fetchall()
        return {
            name: {column: kind for _, column, kind, *_ in execute(f"PRAGMA table_xinfo({name})")}
            for (name,) in names
        }


def test_every_table_and_column_is_described_in_its_order(schema):
    described = {name: [column.name for column in table.columns] for name, table in TABLES.items()}
    assert described == {name: list(columns) for name, columns in schema.items()}


def test_kinds_are_those_of_the_schema(schema):
    wrong = [
        f"{name}.{column.name} is {schema[name][column.name]}, described as {column.kind}"
        for name, table in TABLES.items()
        for column in table.columns
        if schema[name][column.name] and schema[name][column.name] not in DECLARED[column.kind]
    ]
    # Views over a table pass its type on, though they round the numbers.
    assert wrong == []


def test_what_tells_of_peers_or_nodes_is_marked():
    rules = {
        "address": "host",
        "host": "host",
        "node_id": "id",
        "port": "port",
        "client": "client",
        "client_name": "client",
        "subject": "subject",
    }
    for table in TABLES.values():
        for column in table.columns:
            if re.search("filter|tokens|place", column.name) and column.kind in ("bytes", "text"):
                assert column.privacy == "never", (table.name, column.name)
            if column.kind == "bytes" and column.name not in {
                "samples",
                "node_id",
                "info_hash",
                "host",
                "version",
            }:
                assert column.privacy == "never", (table.name, column.name)
            # A tracker or a web seed is a service, whose URL says where it is.
            if column.name in rules and table.name not in {"trackers", "web_seeds", "web_seed_checks"}:
                assert column.privacy == rules[column.name], (table.name, column.name)
            if column.name == "url":
                assert column.privacy == "tracker", (table.name, column.name)
            if column.name == "version" and table.name != "runs":
                assert column.privacy == "version", table.name


def test_tables_about_clients_hold_back_small_groups():
    for table in TABLES.values():
        names = {column.name for column in table.columns}
        if "client" in names and "node_id" not in names:
            assert table.groups, table.name


def test_texts_are_sentences():
    texts = [table.meaning for table in TABLES.values()]
    texts += [column.meaning for table in TABLES.values() for column in table.columns]
    assert [text for text in texts if not re.fullmatch(r"\w.*\w\)?(\.|, \.\.\.\.?)", text)] == []


@pytest.mark.parametrize(
    ("right", "wrong"), [("-- [ms] Mean", "-- [mss] Mean"), ("-- [!host] The", "-- [!hsot] The")]
)
def test_misspelt_word_in_brackets_is_noticed(right, wrong):
    with pytest.raises(ValueError, match="no kind, unit or mark"):
        read_tables(read_sql("schema.sql").replace(right, wrong), read_sql("views.sql"))


def test_column_without_a_meaning_is_noticed():
    with pytest.raises(ValueError, match="no meaning"):
        read_tables(read_sql("schema.sql").replace("-- [!host] The host", "-- [!host] \n--"), "")
