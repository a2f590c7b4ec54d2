"""What becomes of each table when databases are merged, and the SQL for it.

Rows of a run go with their run, and get new numbers.  Rows that stand for one thing, as a node, are
joined with the row of the same key: each column by a rule that gives the same in any order.  The rest
stays where it is.  Columns are copied by their names, as the tables have them; a table that is not
listed here goes with its run if it refers to one, and stays otherwise.
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TypeAlias


class WholeTable(Enum):
    """What becomes of all rows of a table."""

    RUNS = auto()
    """The runs themselves: taken once, by where they were made."""

    OF_RUN = auto()
    """They belong to a run, or to what belongs to one, and come with it."""

    LEFT_BEHIND = auto()
    """They belong to a run where it was made, and do not come with it."""

    STAYS = auto()
    """They are about this one database, or are computed from the rest."""


@dataclass(frozen=True, slots=True)
class Joined:
    """How rows with the same key become one.

    The columns of `least` keep the smallest value, those of `most` the largest.  All others are taken
    together from the row with the largest value of `latest`, or the smallest of `earliest`; of rows
    that are equal there, from the one with the largest values.
    """

    least: tuple[str, ...] = ()
    most: tuple[str, ...] = ()
    latest: str | None = None
    earliest: str | None = None


Rule: TypeAlias = WholeTable | Joined

RULES: Mapping[str, Rule] = {
    "runs": WholeTable.RUNS,
    **dict.fromkeys(
        (
            *("visit_rows", "run_counts", "run_clients", "size_estimates", "alarms", "census_evidence"),
            *("run_outcomes", "run_round_trips", "run_support", "run_costs"),
            *("node_sample_rows", "discovery_estimates"),
            *(
                "swarm_samples",
                "reply_rows",
                "swarm_estimates",
                "swarm_handshakes",
                "pex_rounds",
                "web_seed_checks",
            ),
            *("tracker_sweeps", "tracker_sample_rows", "source_overlaps"),
        ),
        WholeTable.OF_RUN,
    ),
    "node_rows": Joined(least=("first_seen",), most=("last_seen", "last_answer"), latest="last_answer"),
    # A name is kept once it is known; the source is that of the database which knew the swarm first.
    "swarms": Joined(least=("first_seen",), most=("last_seen", "name"), earliest="first_seen"),
    # The longest wait counts for all: a node does not care which of us queries it.
    "sample_turns": Joined(most=("asked_at", "next_at"), latest="next_at"),
    "torrents": Joined(earliest="fetched_at"),
    # As for nodes: the longest pause that a tracker asked one of us for.
    "trackers": Joined(
        least=("first_seen",), most=("last_answer", "not_before", "full_not_before"), latest="last_answer"
    ),
    "hybrid_torrents": Joined(earliest="first_seen"),
    "web_seeds": Joined(least=("first_seen",), most=("next_at", "not_before"), earliest="first_seen"),
    "tracker_turns": Joined(most=("last", "asked_at", "next_at"), latest="next_at"),
    "tracker_lists": Joined(most=("made_at",), latest="made_at"),
    # A merged run is resumed where it was begun, or nowhere.
    "crawl_journal": WholeTable.LEFT_BEHIND,
    # The plan of one machine.
    "watched_swarms": WholeTable.STAYS,
    "retention": WholeTable.STAYS,
    # Of processes that write here.
    "run_leases": WholeTable.STAYS,
    "files_taken_in": WholeTable.STAYS,
    # Written run by run.
    "outcome_codes": WholeTable.STAYS,
    "client_names": WholeTable.STAYS,
    "vantages": WholeTable.STAYS,
    "merged_runs": WholeTable.STAYS,
    # Computed again from what was merged.
    "combined_samples": WholeTable.STAYS,
    "_sqlite_migrations": WholeTable.STAYS,
}
"""The rule of every table, those that are not in every version included."""

_REFERENCES = {"run_id": "runs", "sample_id": "swarm_samples"}
"""What columns of these names refer to where there is no foreign key."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its columns, its key, which columns refer to numbered tables, and its rule."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    references: Mapping[str, str]
    rule: Rule
    lies_by_run: bool = False
    """Whether the number of a run is the upper part of the numbers of its rows, which lie together then."""

    @property
    def is_numbered(self) -> bool:
        """Return whether its rows have numbers of their own."""
        return self.key == ("id",) and not self.lies_by_run


def tables_of(connection: sqlite3.Connection) -> dict[str, Table]:
    """Return the tables of a database by name, each after those that it refers to."""
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    tables = {name: _table(connection, name) for (name,) in names.fetchall()}
    numbered = {name for name, table in tables.items() if table.is_numbered}
    ordered: dict[str, Table] = {}
    for _ in tables:  # enough for the longest chain
        for name, table in tables.items():
            if not numbered.intersection(table.references.values()) - ordered.keys() - {name}:
                ordered.setdefault(name, table)
    return ordered


def shared(tables: Mapping[str, Table], others: Mapping[str, Table]) -> dict[str, Table]:
    """Return those tables that both databases have, with the columns that both have.

    They differ where tables or columns were added by hand.
    """
    return {
        name: replace(table, columns=tuple(each for each in table.columns if each in others[name].columns))
        for name, table in tables.items()
        if name in others
    }


def _table(connection: sqlite3.Connection, name: str) -> Table:
    columns = connection.execute(f'PRAGMA table_xinfo("{name}")').fetchall()
    stored = [column for _, column, *_, is_computed in columns if not is_computed]
    keys = connection.execute(f'PRAGMA foreign_key_list("{name}")').fetchall()
    named = {column: _REFERENCES[column] for _, column, *_ in columns if column in _REFERENCES}
    references = named | {column: parent for _, _, parent, column, to, *_ in keys if to in (None, "id")}
    default = (
        WholeTable.OF_RUN if {"runs", "swarm_samples"}.intersection(references.values()) else WholeTable.STAYS
    )
    return Table(
        name=name,
        columns=tuple(stored),
        key=tuple(column for _, column, *_, place, _ in sorted(columns, key=lambda row: row[-2]) if place),
        references=references,
        rule=RULES.get(name, default),
        lies_by_run="run_id" in references and "run_id" not in stored,
    )


def joined(tables: Mapping[str, Table]) -> list[tuple[Table, Joined]]:
    """Return the tables whose rows are joined with others, and how."""
    return [(table, table.rule) for table in tables.values() if isinstance(table.rule, Joined)]


def of_runs(tables: Mapping[str, Table], *rules: Rule) -> list[Table]:
    """Return the tables whose rows come with their run, each after those that it refers to."""
    return [table for table in tables.values() if table.rule is WholeTable.OF_RUN or table.rule in rules]


def select_of_runs(table: Table, tables: Mapping[str, Table]) -> str:
    """Return what reads the rows of the runs taken, as they are to be in the target.

    `temp.run_map` has the runs of the source (`old`), their numbers in the target (`new`), and which are
    taken.  For each numbered table there is a parameter of its name: what is added to its numbers.
    """
    joins = []
    inner = table
    while "runs" not in inner.references.values():
        column, parent = next(
            (column, tables[parent]) for column, parent in inner.references.items() if parent in tables
        )
        joins.append(f"CROSS JOIN {inner.name} ON {inner.name}.{column} = {parent.name}.id")
        inner = parent
    is_of_run = (
        f"{inner.name}.id BETWEEN run_map.old << 32 AND (run_map.old << 32) + 4294967295"
        if inner.lies_by_run
        else f"{inner.name}.{_run_column(inner)} = run_map.old"
    )
    joins.append(f"CROSS JOIN {inner.name} ON {is_of_run}")
    # From the runs down, so that each step follows an index, and rows come in the order of their numbers.
    way = " ".join(["temp.run_map AS run_map", *reversed(joins)])
    values = ", ".join(_value(table, column) for column in table.columns)
    return f"SELECT {values} FROM {way} WHERE run_map.is_taken"


def _run_column(table: Table) -> str:
    return next(column for column, parent in table.references.items() if parent == "runs")


def _value(table: Table, column: str) -> str:
    name = f"{table.name}.{column}"
    parent = table.references.get(column)
    if table.lies_by_run and column == "id":
        return f"(run_map.new << 32) + ({name} & 4294967295)"
    if parent == "runs":
        return f"(SELECT new FROM temp.run_map WHERE old = {name})"
    if parent is not None:
        return f"{name} + :{parent}"
    return f"{name} + :{table.name}" if table.is_numbered and column == "id" else name


def insert_into(table: Table) -> str:
    """Return what writes a row of a table."""
    return f"INSERT INTO {table.name} ({', '.join(table.columns)}) VALUES ({_marks(table)})"


def delete_of_runs(table: Table, tables: Mapping[str, Table]) -> str:
    """Return what deletes the rows of the runs whose numbers are in `temp.renewed`."""
    if "runs" in table.references.values():
        return f"DELETE FROM {table.name} WHERE {_run_column(table)} IN (SELECT id FROM temp.renewed)"
    column, parent = next(
        (column, tables[parent]) for column, parent in table.references.items() if parent in tables
    )
    rows = delete_of_runs(parent, tables).replace("DELETE", "SELECT id", 1)
    return f"DELETE FROM {table.name} WHERE {column} IN ({rows})"


def select_joined(table: Table) -> str:
    """Return what reads all rows of a table that is joined, in the order of its key."""
    values = ", ".join(_value(table, column) for column in table.columns)
    return f"SELECT {values} FROM {table.name} ORDER BY {', '.join(table.key)}"


def join_into(table: Table, rule: Joined) -> str:
    """Return what writes a row of a table that is joined, or joins it with the one that is there."""
    decided = {*table.key, *rule.least, *rule.most}
    others = [column for column in table.columns if column not in decided]
    changes = [_either("min", table, column) for column in rule.least]
    changes += [_either("max", table, column) for column in rule.most]
    wins = _wins(table, rule, [column for column in others if column not in table.references])
    changes += [
        f"{column} = CASE WHEN {wins} THEN excluded.{column} ELSE {table.name}.{column} END"
        for column in others
    ]
    conflict = f"ON CONFLICT ({', '.join(table.key)}) DO UPDATE SET {', '.join(changes)}"
    return f"{insert_into(table)} {conflict}"


def _either(function: str, table: Table, column: str) -> str:
    old, new = f"{table.name}.{column}", f"excluded.{column}"
    return f"{column} = coalesce({function}({old}, {new}), {old}, {new})"


def _wins(table: Table, rule: Joined, others: list[str]) -> str:
    """Return the condition that the new row comes first in an order of all rows of its key.

    NULL is before every number and every text, so that no comparison is left open.
    """
    first = rule.latest or rule.earliest
    ordered = [first, *(column for column in others if column != first)]
    old, new = ([f"coalesce({side}.{column}, -1)" for column in ordered] for side in (table.name, "excluded"))
    comes_first = f"{new[0]} {'<' if rule.earliest else '>'} {old[0]}"
    if len(ordered) == 1:
        return comes_first
    return f"{comes_first} OR {new[0]} = {old[0]} AND ({', '.join(new[1:])}) > ({', '.join(old[1:])})"


def _marks(table: Table) -> str:
    return ", ".join("?" * len(table.columns))
