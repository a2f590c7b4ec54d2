"""libtorrent sessions on loopback, and what the tests read off them.

Every session here is a whole client: routing table, store of announced peers, torrents.  What it
does is taken from its alerts and statistics, never from our side of the conversation.
"""

from collections import defaultdict
from contextlib import asynccontextmanager
from hashlib import sha1

import libtorrent as lt
import trio

from dhtnode import Address, InfoHash

SETTINGS = {
    # One address each, any free port.  TCP and the DHT share its number.
    "listen_interfaces": "127.0.0.1:0",
    # The default asks a host on the Internet; tests give bootstrap nodes of their own.
    "dht_bootstrap_nodes": "",
    # Nothing may leave loopback, and no peer may be found but through the DHT.
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    # Takes one node per /24 otherwise: all of a network on 127.0.0.1 but one would be left out.
    "dht_restrict_routing_ips": False,
    # The same rule for the nodes of one search; made no difference on loopback when we tried.
    "dht_restrict_search_ips": False,
    # Bans an address for 5 minutes after 50 packets in 10 s otherwise, and here all share one.
    "dht_block_ratelimit": 1_000_000,
    # Leaves queries unanswered beyond 8,000 bytes per second otherwise.
    "dht_upload_rate_limit": 100_000_000,
    # Drops some /8 networks otherwise; 127.0.0.0/8 is not among them.
    "dht_ignore_dark_internet": False,
    # Leechers must not find and fetch the data: they would turn into seeds.
    "enable_outgoing_tcp": False,
    "enable_outgoing_utp": False,
    # Incoming announces are DHT notifications; replies to what we make a session ask, operations.
    "alert_mask": int(lt.alert.category_t.dht_notification | lt.alert.category_t.dht_operation_notification),
    # Alerts beyond the limit are dropped, and each incoming query is one.
    "alert_queue_size": 100_000,
}

POLL_INTERVAL = 0.05
PATIENCE = 200.0  # seconds; only a test that fails waits so long, however busy the machine is
CONTENT = b"sixteen letters." * 1024


class Client:
    """Be one libtorrent session; `poll` brings its attributes up to date."""

    def __init__(self, host="127.0.0.1", bootstrap="", settings=None):
        """Start; blocks for about 0.1 s."""
        listen = f"[{host}]:0" if ":" in host else f"{host}:0"
        ours = {"listen_interfaces": listen, "dht_bootstrap_nodes": bootstrap, "outgoing_interfaces": host}
        self._session = lt.session(SETTINGS | ours | (settings or {}))
        self.address = Address(host, self._session.listen_port())
        assert self.address.port, f"libtorrent cannot listen on {host}"
        self._torrents = []
        self.table_size = 0
        self.announced_here = defaultdict(set)
        self.found = defaultdict(set)
        self.live_nodes = {}
        self.samples = {}
        self.items_put = 0
        self.items_got = []

    def close(self):
        """End the session; blocks until its threads have gone."""
        self._torrents.clear()
        self._session = None

    def poll(self):
        """Take in what libtorrent reported, and ask for a fresh look at its table."""
        for alert in self._session.pop_alerts():
            self._take(alert)
        self._session.post_dht_stats()

    def _take(self, alert):
        match alert:
            case lt.dht_stats_alert():
                self.table_size = sum(bucket["num_nodes"] for bucket in alert.routing_table)
            case lt.dht_announce_alert():
                self.announced_here[alert.info_hash.to_bytes()].add(Address(str(alert.ip), alert.port))
            case lt.dht_get_peers_reply_alert():
                self.found[alert.info_hash.to_bytes()] |= {Address(*peer) for peer in alert.peers()}
            case lt.dht_live_nodes_alert():
                self.live_nodes = {Address(*node["endpoint"]): node["nid"].to_bytes() for node in alert.nodes}
            case lt.dht_sample_infohashes_alert():
                samples = {each.to_bytes() for each in alert.samples}
                self.samples[Address(*alert.endpoint)] = (alert.num_infohashes, samples, alert.interval)
            case lt.dht_put_alert():
                self.items_put += alert.num_success
            case lt.dht_immutable_item_alert():
                self.items_got.append((alert.target.to_bytes(), alert.item))
            case lt.dht_mutable_item_alert():
                self.items_got.append((alert.key, alert.salt, alert.seq, alert.item, alert.authoritative))

    def meet(self, address):
        self._session.add_dht_node(tuple(address))

    def ask_live_nodes(self, own_id):
        """Have `live_nodes` filled with the contacts that this client hands out."""
        self._session.dht_live_nodes(lt.sha1_hash(own_id))

    def ask_peers(self, info_hash):
        """Have `found` filled with the peers that this client's own lookup finds."""
        self._session.dht_get_peers(lt.sha1_hash(info_hash))

    def put(self, value):
        """Have an immutable item stored, and return its target; `items_put` counts the nodes that took it."""
        return self._session.dht_put_immutable_item(value).to_bytes()

    def put_signed(self, key, public_key, value, salt):
        """Have a mutable item stored, with a number one higher than what is there; the key is expanded."""
        self._session.dht_put_mutable_item(key, public_key, value, salt)

    def get(self, target):
        """Have an immutable item looked up, for `items_got`."""
        self._session.dht_get_immutable_item(lt.sha1_hash(target))

    def get_signed(self, public_key, salt):
        """Have a mutable item looked up, for `items_got`; the last report of each lookup is authoritative."""
        self._session.dht_get_mutable_item(public_key, salt)

    def ask_sample(self, address, target):
        """Have `samples` filled with what a node shows of its info-hashes."""
        self._session.dht_sample_infohashes(tuple(address), lt.sha1_hash(target))

    def take_part(self, torrent):
        """Add a torrent and announce it, as a peer that listens at `address`."""
        self._torrents.append(self._session.add_torrent(torrent))
        self.announce_again()

    def connect(self, address):
        """Connect to another client for its only torrent."""
        (torrent,) = self._torrents
        torrent.connect_peer(tuple(address))

    def peers(self):
        """Return the hosts that it is connected to for its only torrent."""
        (torrent,) = self._torrents
        return [peer.ip[0] for peer in torrent.get_peer_info()]

    def pieces_held(self):
        """Return how many pieces of its only torrent it has, None while it reads its files."""
        (torrent,) = self._torrents
        status = torrent.status()
        is_ready = status.state in {status.states.downloading, status.states.finished, status.states.seeding}
        return status.num_pieces if is_ready else None

    def announce_again(self):
        for torrent in self._torrents:
            torrent.force_dht_announce()


def magnet_of(info_hash, folder):
    """Return a torrent that is nothing but its info-hash, as from a magnet link."""
    torrent = lt.parse_magnet_uri(f"magnet:?xt=urn:btih:{info_hash.hex()}")
    return _unmanaged(torrent, folder)


def tiny_torrent(folder, *, complete):
    """Return the same small torrent each time, with or without its data in the folder."""
    info = {b"name": b"tiny", b"piece length": len(CONTENT), b"length": len(CONTENT)}
    torrent = lt.add_torrent_params()
    torrent.ti = lt.torrent_info({b"info": info | {b"pieces": sha1(CONTENT).digest()}})  # noqa: S324  BEP 3
    if complete:
        (folder / "tiny").write_bytes(CONTENT)
        torrent.flags |= lt.torrent_flags.seed_mode
    return _unmanaged(torrent, folder)


def info_hash_of(torrent):
    return InfoHash(torrent.ti.info_hashes().v1.to_bytes())


def _unmanaged(torrent, folder):
    torrent.save_path = str(folder)
    torrent.flags &= ~(lt.torrent_flags.paused | lt.torrent_flags.auto_managed)  # no queue, start at once
    return torrent


@asynccontextmanager
async def libtorrent_clients(*hosts, bootstrap="", settings=None):
    """Run one client on each of the addresses, one after the other; `settings` beat the usual ones."""
    clients = []
    try:
        for host in hosts:
            clients += [
                await trio.to_thread.run_sync(Client, host, bootstrap, settings)
            ]  # kept even if the next fails
        yield clients
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(_close, clients)


@asynccontextmanager
async def libtorrent_network(*hosts, settings=None):
    """Run a network of clients that all know one another.

    Left to themselves they would need a minute: a client that was asked by others hands none of
    them out before it has pinged them, and it pings one every 5 seconds.
    """
    async with libtorrent_clients(*hosts, settings=settings) as clients:
        for client in clients:
            for other in clients:
                if other is not client:
                    client.meet(other.address)
        await until(lambda: table_sizes(clients)[0] >= len(clients) - 1)
        yield clients


def table_sizes(clients):
    for client in clients:
        client.poll()
    return sorted(client.table_size for client in clients)


def _close(clients):
    while clients:
        clients.pop().close()


async def until(condition):
    """Wait until a condition holds; raise `trio.TooSlowError` when it never does."""
    with trio.fail_after(PATIENCE):
        while not condition():  # noqa: ASYNC110  libtorrent has no event that a Trio task could wait for
            await trio.sleep(POLL_INTERVAL)
