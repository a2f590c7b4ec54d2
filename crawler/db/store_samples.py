"""What nodes store, by their samples of info-hashes: one row for each node, in a temporary table."""

import sqlite3

from crawler.db.connection import GuardedConnection
from crawler.db.records.infohash_samples import MAX_CREDIBLE_NUM, StoreSample
from crawler.db.records.records import ANSWERED, HostValue, address_of
from crawler.db.schema import FAMILY
from crawler.zone import Zone
from dhtnode import Family, NodeId
from dhtnode.ids import ID_BITS

MOST_SHOWN = 400  # info-hashes in one sample that the codec accepts
_DEEPEST = 32  # bits shared by neighbours in a network of any size


class StoreSamples:
    """The nodes of one family that gave a sample in a run, or one that was still valid when it began.

    Nodes that claim to store more than `MAX_CREDIBLE_NUM` are left out.  The next object for the same
    database takes the place of this one.
    """

    def __init__(
        self, connection: GuardedConnection, run_id: int, family: Family, zone: Zone, *, by_id: bool
    ) -> None:
        """Read the samples; with `by_id`, addresses were cut, and ids are pseudonyms, which are in no zone.

        Then only those of the run count, whatever the zone: it has visited no other.
        """
        self._db = connection
        key = "host, port, node_id" if by_id else "host, port"
        id_range = Zone().id_range if by_id else zone.id_range
        values = (family, *id_range, run_id, None if by_id else run_id, MAX_CREDIBLE_NUM)
        with connection.transaction():
            connection.execute("DROP TABLE IF EXISTS temp.stores")
            connection.execute(_MAKE_STORES.format(key=key), values)
            connection.execute("CREATE INDEX temp.stores_node_id ON stores (node_id)")
            (self.count,) = connection.execute("SELECT count(*) FROM temp.stores").fetchone()

    def __len__(self) -> int:
        return int(self.count)

    def count_shown(self, zone: Zone) -> int:
        """Gather the info-hashes of a zone that the nodes show, and return how many; 5 us a showing."""
        with self._db.transaction():
            make_places(self._db.connection)
            self._db.execute("DROP TABLE IF EXISTS temp.shown_by")
            self._db.execute(_MAKE_SHOWN_BY, zone.id_range)
            (count,) = self._db.execute("SELECT count(*) FROM temp.shown_by").fetchone()
        return int(count)

    def shown(self, number: int) -> tuple[bytes, StoreSample]:
        """Return one of these info-hashes, 1 being the first, and a node that shows it."""
        with self._db.reported():
            query = "SELECT info_hash, store FROM temp.shown_by WHERE rowid = ?"
            info_hash, store = self._db.execute(query, (number,)).fetchone()
            return info_hash, self._sample(*self._db.execute(_STORE, (store,)).fetchone())

    def closest(self, target: bytes, count: int) -> list[StoreSample]:
        """Return the nodes closest to a target, by the XOR metric; some 300 us."""
        number = int.from_bytes(target, "big")
        with self._db.reported():
            for bits in range(_DEEPEST, -1, -1):
                zone = Zone(number >> ID_BITS - bits, bits)
                found = self._db.execute(_STORES_WITHIN, zone.id_range).fetchall()
                if len(found) >= count:
                    break
            closest = sorted(found, key=lambda row: int.from_bytes(row[0], "big") ^ number)[:count]
            return [self._sample(*row) for row in closest]

    def _sample(self, node_id: bytes, host: HostValue, port: int, ids: str) -> StoreSample:
        hidden, shown = 1.0, set[bytes]()
        for size, samples in self._db.execute(_SAMPLES, (f"[{ids}]",)):
            found = samples or b""
            shown.update(found[at : at + 20] for at in range(0, len(found), 20))
            hidden *= 1 - len(found) / 20 / size if size else 1.0
        return StoreSample(NodeId(node_id), address_of(host, port), 1 - hidden, frozenset(shown))


def make_places(connection: sqlite3.Connection) -> None:
    """Make a table of the numbers that an info-hash can have within its sample."""
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS places (n INTEGER PRIMARY KEY)")
    numbers = [(number,) for number in range(MOST_SHOWN)]
    connection.executemany("INSERT OR IGNORE INTO temp.places VALUES (?)", numbers)


# SQLite takes the columns that are not grouped from the row with the largest id.
_MAKE_STORES = f"""
CREATE TEMP TABLE stores AS
SELECT node_id, host, port, max(id), group_concat(id) AS ids
FROM node_sample_rows
WHERE outcome = {ANSWERED} AND {FAMILY} = ? AND node_id BETWEEN ? AND ?
    AND (run_id = ? OR next_at > (
        SELECT round((julianday(started_at) - 2440587.5) * 86400000) FROM runs WHERE runs.id = ?
    ))
    AND max(coalesce(num, 0), returned) <= ?
GROUP BY {{key}}
"""
_STORE = "SELECT node_id, host, port, ids FROM temp.stores WHERE rowid = ?"
_STORES_WITHIN = "SELECT node_id, host, port, ids FROM temp.stores WHERE node_id BETWEEN ? AND ?"
_SAMPLES = """
SELECT max(coalesce(num, 0), returned), samples FROM node_sample_rows
WHERE id IN (SELECT value FROM json_each(?))
"""
_MAKE_SHOWN_BY = """
CREATE TEMP TABLE shown_by AS
SELECT substr(samples, 20 * n + 1, 20) AS info_hash, min(store.rowid) AS store
FROM temp.stores AS store
    JOIN json_each('[' || store.ids || ']') AS each
    JOIN node_sample_rows AS sample ON sample.id = each.value
    CROSS JOIN temp.places
WHERE n < length(samples) / 20
GROUP BY 1
HAVING info_hash BETWEEN ? AND ?
"""
