"""Every number that a node uses, in one frozen dataclass, each with its source.

Times are in seconds, sizes in bytes.  A number without a range may be any above 0, up to 10^12.
"""

from dataclasses import dataclass
from typing import Annotated

from dhtnode.ranges import Range

VERSION_TAG = b"DN\x00\x01"
"""Our `v` key: two letters and two version bytes (BEP 5, BEP 20)."""

WELL_KNOWN_BOOTSTRAP = (
    "dht.libtorrent.org:25401",
    "router.bittorrent.com:6881",
    "dht.transmissionbt.com:6881",
    "router.utorrent.com:6881",
    "dht.aelitis.com:6881",
    "router.silotis.us:6881",  # IPv6
)
"""Bootstrap nodes; queried last, after saved contacts and hosts given by the user."""

CAPTURE_LIMIT = 100_000_000
"""Bytes of a file of captured packets: some 300,000 of them."""

LOG_LINE = "%(asctime)s %(levelname)s %(name)s: %(message)s"
"""Form of a log line."""


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """The settings of a node; the defaults are for one on the public network."""

    read_only: bool = False
    """Send queries, but answer none (BEP 43): for short-lived programs and behind closed firewalls."""

    # Kademlia's own k is 20; the contacts of a whole bucket must fit into one reply.
    bucket_size: Annotated[int, Range(1, 20)] = 8
    """K of BEP 5: contacts in a bucket, contacts in a response, answers that end a lookup."""

    parallelism: Annotated[int, Range(1, 64)] = 5
    """Queries of one lookup in flight at once, stalled ones not counted: fewer take longer."""

    lookup_query_limit: Annotated[int, Range(1, 10_000)] = 200
    """Queries one lookup may send in all; a healthy one needs 20 to 40, one under 20 % loss some 80."""

    lookup_attempts: Annotated[int, Range(1, 20)] = 7
    """Queries of a lookup to one unresponsive node of the closest, at most; without losses, 1 or 2."""

    max_pending: Annotated[int, Range(1, 1_000_000)] = 20_000
    """Queries in flight at once, over all lookups; further ones are refused as not sent."""

    good_for: Annotated[float, Range(1, 86_400)] = 15 * 60.0
    """How long a node is good after it answered or, once proven, sent a query (BEP 5)."""

    check_after: Annotated[float, Range(1, 86_400)] = 7.5 * 60.0
    """A node not heard from for so long is pinged, though good for as long again: half of all sessions
    last less than an hour, so that a wait of 15 minutes leaves too many dead nodes in the table."""

    bad_after: Annotated[int, Range(1, 100)] = 3
    """Timeouts in a row that make a node bad; BEP 5 says "multiple".  With 5 % of all datagrams lost,
    2 would remove one of a hundred live nodes at each check."""

    refresh_after: Annotated[float, Range(1, 86_400)] = 15 * 60.0
    """A bucket unchanged for so long is refreshed (BEP 5)."""

    token_period: Annotated[float, Range(1, 3600)] = 5 * 60.0
    """How often the token secret changes; the previous one is accepted too (BEP 5)."""

    peer_lifetime: Annotated[float, Range(60, 86_400)] = 45 * 60.0
    """How long an announced peer is kept; libtorrent's value."""

    max_swarms: int = 8192
    """Info-hashes stored; another gets no token, unless one of a network that holds more gives way."""

    # BEP 33: filters are full at 6000 peers.
    max_peers_per_swarm: Annotated[int, Range(1, 5999)] = 3000
    """Peers stored per info-hash; BEP 33 wants fewer than 6000, where filters fill up."""

    max_peers: int = 200_000
    """Peers stored in all: 67 MB when they fill 8192 swarms evenly, measured."""

    max_peers_per_host: int = 1024
    """Peers stored for one IP (IPv6: one /64), each in another swarm; a further one gets no token."""

    max_peers_per_network: int = 8192
    """Peers stored for one /24 (IPv6: one /48); one host of it may have a quarter of what is left."""

    sample_interval: Annotated[float, Range(60, 21_600)] = 6 * 3600.0
    """How long our sample of info-hashes stays the same; BEP 51 allows six hours."""

    # The highest is what an Ethernet frame holds.
    max_payload: Annotated[int, Range(512, 1472)] = 1024
    """Bytes of a reply (BEP 32)."""

    max_amplification: Annotated[float, Range(1, 100)] = 8.0
    """A reply may be so many times as long as its query, unless the client has proven its address."""

    host_rate: float = 50.0
    """Datagrams per second from one IP, answers to our queries not counted; more are dropped unread.
    Its ports share them: those that send little come before one that floods."""

    host_burst: float = 250.0
    """Datagrams from one IP that may come at once, and half as many more from ports that sent little."""

    network_rate: float = 200.0
    """Datagrams per second from one /24 (IPv6: /64), counted and shared in the same way."""

    network_burst: float = 1000.0
    """Datagrams from one /24 or /64 that may come at once, and half as many more in the same way."""

    reply_rate: float = 2_000_000.0
    """Bytes per second of all replies together; clients with a proven address are served first."""

    reply_burst: float = 2_000_000.0
    """Bytes of replies that may leave at once."""

    verify_rate: float = 5.0
    """Pings per second, at most, to nodes that queried us and may get a slot in the table."""

    receive_batch: Annotated[int, Range(1, 65_536)] = 256
    """Datagrams handled between two checkpoints of the receive loop."""

    behind_after: float = 2.0
    """Full batches in a row after which datagrams of unknown nodes are dropped unread."""

    maintenance_period: Annotated[float, Range(1, 3600)] = 30.0
    """How often the table is searched for unresponsive nodes and stale buckets."""

    save_period: Annotated[float, Range(1, 86_400)] = 5 * 60.0
    """How often the state file is written, when there is one."""

    item_lifetime: Annotated[float, Range(60, 86_400)] = 2 * 3600.0
    """How long an item is kept after it was last put (BEP 44)."""

    max_items: int = 4096
    """Items stored."""

    max_item_bytes: int = 6_000_000
    """Bytes of memory that items may take, each counted with 1000 bytes of overhead."""

    max_items_per_host: int = 64
    """Items stored for one IP (IPv6: one /64); a further one gets no token."""

    max_items_per_network: int = 512
    """Items stored for one /24 (IPv6: one /48); one host of it may have a quarter of what is left."""

    signature_rate: float = 200.0
    """Signatures of items checked per second, at 0.1 to 0.2 ms each; other puts are refused for now.

    A host may use a twentieth of it, a network a fifth."""

    max_item_payload: Annotated[int, Range(512, 1472)] = 1472
    """Bytes of a reply with an item: one of full size does not fit into what BEP 32 allows."""


LIMITS = frozenset(
    {
        "host_rate",
        "host_burst",
        "network_rate",
        "network_burst",
        "reply_rate",
        "reply_burst",
        "max_amplification",
        "max_payload",
        "max_item_payload",
        "verify_rate",
        "signature_rate",
    }
)
"""Limits on what other nodes may use: the settings that can be changed while a node runs."""
