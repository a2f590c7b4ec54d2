"""What nodes store, by their samples of info-hashes: one row for each node, in a temporary table."""

from crawler.db.connection import GuardedConnection
from crawler.db.records.infohash_samples import MAX_CREDIBLE_NUM, StoreSample
from crawler.db.records.records import ANSWERED, HostValue, address_of
from crawler.db.schema import FAMILY
from crawler.zone import Zone
from dhtnode import Family, NodeId
from dhtnode.ids import ID_BITS

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

    def store(self, number: int) -> StoreSample:
        """Return the sample of one of the nodes, 1 being the first."""
        with self._db.reported():
            return _store_sample(*self._db.execute(_STORE, (number,)).fetchone())

    def sizes(self) -> list[int]:
        """Return how many info-hashes each of the nodes stores, in their order."""
        with self._db.reported():
            return [size for (size,) in self._db.execute("SELECT num FROM temp.stores ORDER BY rowid")]

    def closest(self, target: bytes, count: int) -> list[StoreSample]:
        """Return the nodes closest to a target, by the XOR metric; some 300 us."""
        number = int.from_bytes(target, "big")
        with self._db.reported():
            for bits in range(_DEEPEST, -1, -1):
                zone = Zone(number >> ID_BITS - bits, bits)
                found = [_store_sample(*row) for row in self._db.execute(_STORES_WITHIN, zone.id_range)]
                if len(found) >= count:
                    break
        return sorted(found, key=lambda node: int.from_bytes(node.node_id, "big") ^ number)[:count]


def _store_sample(node_id: bytes, host: HostValue, port: int, num: int, samples: bytes | None) -> StoreSample:
    return StoreSample(NodeId(node_id), address_of(host, port), num, samples or b"")


# SQLite takes the columns that are not grouped from the row with the largest id.
_MAKE_STORES = f"""
CREATE TEMP TABLE stores AS
SELECT node_id, host, port, max(coalesce(num, 0), returned) AS num, max(id) AS id
FROM node_sample_rows
WHERE outcome = {ANSWERED} AND {FAMILY} = ? AND node_id BETWEEN ? AND ?
    AND (run_id = ? OR next_at > (
        SELECT round((julianday(started_at) - 2440587.5) * 86400000) FROM runs WHERE runs.id = ?
    ))
    AND max(coalesce(num, 0), returned) <= ?
GROUP BY {{key}}
"""
_STORE = """
SELECT store.node_id, store.host, store.port, store.num, samples
FROM temp.stores AS store JOIN node_sample_rows USING (id)
WHERE store.rowid = ?
"""
_STORES_WITHIN = "SELECT node_id, host, port, num, NULL FROM temp.stores WHERE node_id BETWEEN ? AND ?"
