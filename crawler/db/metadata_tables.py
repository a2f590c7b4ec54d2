"""The tables of torrents and handshakes, and the view of them; `schema` makes them.

They hold counts and what a torrent says of itself.  No column holds the address of a peer.
"""

from sqlite_utils import Database

# Each torrent with the newest handshakes of its swarm; of private ones there are none.
TORRENT_SWARMS = """
SELECT
    torrents.info_hash,
    torrents.name,
    torrents.size,
    torrents.files,
    torrents.is_private,
    torrents.fetched_at,
    handshakes.taken_at,
    handshakes.peers_tried,
    handshakes.peers_answered,
    handshakes.seeds,
    handshakes.leechers,
    handshakes.unknown,
    handshakes.seed_share,
    handshakes.seed_share_low,
    handshakes.seed_share_high
FROM torrents
LEFT JOIN swarm_handshakes AS handshakes ON handshakes.id = (
    SELECT id FROM swarm_handshakes
    WHERE info_hash = torrents.info_hash
    ORDER BY taken_at DESC, id DESC
    LIMIT 1
)
"""


def create_tables(db: Database) -> None:
    """Add what migration m010 adds."""
    db.table("torrents").create(
        {
            "info_hash": str,
            "run_id": int,
            "fetched_at": str,
            "is_private": int,
            "name": str,
            "size": int,  # bytes
            "files": int,
            "pieces": int,
        },
        pk="info_hash",
        not_null={"run_id", "fetched_at", "is_private"},
        foreign_keys=[("run_id", "runs", "id"), ("info_hash", "swarms", "info_hash")],
    )
    counts = ("peers_named", "peers_tried", "peers_answered", "seeds", "leechers", "unknown", "upload_only")
    shares = ("seed_share", "seed_share_low", "seed_share_high")
    costs = ("bytes_sent", "bytes_received")
    db.table("swarm_handshakes").create(
        {"id": int, "run_id": int, "info_hash": str, "taken_at": str}
        | dict.fromkeys(counts, int)
        | dict.fromkeys(shares, float)
        | {"clients": str}  # JSON: two letters and how many
        | dict.fromkeys(costs, int),
        pk="id",
        not_null={"run_id", "info_hash", "taken_at", "clients", *counts, *costs},
        foreign_keys=[("run_id", "runs", "id"), ("info_hash", "swarms", "info_hash")],
    ).create_index(["info_hash", "taken_at"])
    db.create_view("torrent_swarms", TORRENT_SWARMS)
