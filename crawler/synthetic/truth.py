"""What is true about a synthetic network, written down: as a SQLite database or as CSV files.

Tables `settings`, `nodes`, `swarms`, and at the end of a run `counts`, `sessions` and `swarm_sizes`; files
of the same names.
"""

import csv
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import TypeAlias

from crawler.synthetic.hostile import STYLES
from crawler.synthetic.kinds import KINDS
from crawler.synthetic.network import Network
from crawler.synthetic.presence import ANNOUNCE_PERIOD
from crawler.synthetic.trackers.tracked_swarms import TrackedSwarms
from crawler.synthetic.trackers.tracker import SyntheticTracker

COLUMNS = {
    "settings": ("name", "value"),
    "nodes": (
        "node_id",
        "address",
        "port",
        "alive",
        "kind",
        "version",
        "style",
        "bep33",
        "bep42",
        "bep51",
        "capped",
        "interval",
    ),
    "swarms": ("info_hash", "seeds", "leechers", "peers"),
    "counts": ("name", "value"),
    "sessions": ("node_id", "address", "port", "arrived", "departed"),
    "swarm_sizes": ("info_hash", "since", "seeds", "leechers", "peers"),
    "trackers": ("tracker", "style", "udp_url", "http_url"),
    "tracker_swarms": ("tracker", "info_hash", "seeds", "leechers", "said_seeds", "said_leechers"),
    "source_sizes": ("info_hash", "dht", "trackers", "both", "either"),
    "tracker_requests": ("tracker", "at", "source", "transport", "action", "info_hashes"),
}
"""Ids, info-hashes and versions are in hex; `alive` and the `bep` columns are 0 or 1; `style` is
"honest" or the way in which a node is hostile; `interval` is in seconds (BEP 51).  `arrived` and
`departed` are seconds since the network began; a session that had begun by then arrived before 0.
A swarm has the size of a row from `since` on, in the same seconds, until its next row.
A tracker has peers of a swarm, and says something of it; `source_sizes` has the peers that the DHT, all
trackers, both or either have, at the beginning.  `at` is in the same seconds."""

DATABASE_SUFFIXES = (".db", ".sqlite", ".sqlite3")

Row: TypeAlias = tuple[object, ...]


class TruthError(Exception):
    """The reason why the truth could not be written; the message names the path."""


def check_place(path: Path) -> None:
    """Raise `TruthError` when something is at a path already, or when there is no place for it."""
    is_there = path.exists() or path.is_symlink()
    taken = is_there if is_database(path) or not path.is_dir() else any(path.iterdir())
    if taken:
        raise TruthError(f"{path}: is there already")
    if not path.parent.is_dir():
        raise TruthError(f"{path}: the directory does not exist")


def write_truth(network: Network, path: Path, trackers: Sequence[SyntheticTracker] = ()) -> None:
    """Write settings, nodes and swarms, about 10 us for each node, and what trackers have of the swarms.

    A path that ends like a database becomes one, any other a directory with CSV files.  Raises
    `TruthError` when it is there already, unless it is an empty directory, or cannot be written.
    """
    tables: dict[str, Iterable[Row]]
    swarms = ((swarm.info_hash.hex(), swarm.seeds, swarm.leechers, swarm.peers) for swarm in network.swarms)
    tables = {
        "settings": asdict(network.settings).items(),
        "nodes": _nodes(network),
        "swarms": swarms,
    }
    if trackers:
        tables |= {
            "trackers": ((each.number, each.style.name, *each.urls) for each in trackers),
            "tracker_swarms": _tracker_swarms(network, trackers),
            "source_sizes": (
                (sizes.info_hash.hex(), *sizes[1:])
                for sizes in TrackedSwarms(network).sizes(each.lists for each in trackers)
            ),
        }
    _write(path, tables, is_new=True)


def write_end(network: Network, until: float, path: Path, trackers: Sequence[SyntheticTracker] = ()) -> None:
    """Add what has been counted in a run, the sessions of nodes, and how large each swarm was when.

    The times are up to `until` since the network began; nodes that never leave have no sessions.  Takes
    some 3 us for each announce of a swarm.  Raises `TruthError` when it cannot be written.
    """
    tables = {
        "counts": sorted(network.counts.items()),
        "tracker_requests": (
            (tracker.number, round(request.at, 3), *request[1:])
            for tracker in trackers
            for request in tracker.requests
        ),
        "sessions": _sessions(network, until),
        "swarm_sizes": _swarm_sizes(network, until),
    }
    _write(path, tables)


def is_database(path: Path) -> bool:
    """Return whether a path is to be a database, and not a directory."""
    return path.suffix in DATABASE_SUFFIXES


def _write(path: Path, tables: Mapping[str, Iterable[Row]], *, is_new: bool = False) -> None:
    try:
        if is_database(path):
            path.touch(0o600, exist_ok=not is_new)
            with closing(sqlite3.connect(path)) as connection, connection:
                # The file is new and can be made again: a journal would only write everything twice.
                connection.execute("PRAGMA synchronous = OFF")
                for name, columns in COLUMNS.items():
                    connection.execute(f"CREATE TABLE IF NOT EXISTS {name} ({', '.join(columns)})")
                for name, rows in tables.items():
                    places = ", ".join("?" * len(COLUMNS[name]))
                    connection.executemany(f"INSERT INTO {name} VALUES ({places})", rows)  # noqa: S608
        else:
            path.mkdir(0o700, exist_ok=True)
            for name, rows in tables.items():
                with (path / f"{name}.csv").open("x", newline="", encoding="utf-8") as file:
                    csv.writer(file, lineterminator="\n").writerows(chain((COLUMNS[name],), rows))
    except (OSError, sqlite3.Error) as error:
        raise TruthError(f"{path}: {getattr(error, 'strerror', None) or error}") from error


def _nodes(network: Network) -> Iterator[Row]:
    """Yield a row for each member, dead or alive, in order of ids."""
    population = network.population
    port = network.settings.port
    styles = ("honest", *STYLES)
    versions = [None if kind.version is None else kind.version.hex() for kind in KINDS]
    names = [kind.name for kind in KINDS]
    for rank, number in enumerate(population.numbers):
        kind = population.kinds[number]
        yield (
            population.node_id(rank).hex(),
            population.address(rank)[0],
            port,
            int(population.is_alive(number)),
            names[kind],
            versions[kind],
            styles[population.styles[number]],
            int(population.has("bep33", number)),
            int(population.has("bep42", number)),
            int(population.has("bep51", number)),
            int(population.has("capped", number)),
            network.sampling.interval(number),
        )


def _tracker_swarms(network: Network, trackers: Sequence[SyntheticTracker]) -> Iterator[Row]:
    """Yield a row for each swarm that a tracker has, or says something of."""
    tracked = TrackedSwarms(network)
    for tracker in trackers:
        for place, swarm in enumerate(network.swarms):
            seeds, leechers = tracked.counts(tracker.lists, place)
            said = tracker.listed(swarm.info_hash, network.begun_at)
            if seeds or leechers or said:
                yield tracker.number, swarm.info_hash.hex(), seeds, leechers, *(said or (0, 0))[:2]


def _sessions(network: Network, until: float) -> Iterator[Row]:
    """Yield a row for each session of each live node, by node and time."""
    population = network.population
    for rank, number in enumerate(population.numbers):
        if population.is_alive(number):
            address = population.address(rank)
            for stay in network.presence.stays(number, until):
                yield (
                    population.node_id(rank).hex(),
                    *address,
                    round(stay.arrived, 3),
                    round(stay.departed, 3),
                )


def _swarm_sizes(network: Network, until: float) -> Iterator[Row]:
    """Yield a row for the beginning of each swarm and one for each announce that changed it."""
    announces = range(1 + int(until // ANNOUNCE_PERIOD)) if network.settings.half_life else range(1)
    for place, swarm in enumerate(network.swarms):
        before = None
        for number in announces:
            since = number * ANNOUNCE_PERIOD
            now = network.swarms.swarm(place, since)
            if now != before:
                yield swarm.info_hash.hex(), since, now.seeds, now.leechers, now.peers
            before = now
