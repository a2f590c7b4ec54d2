"""Peer exchange with libtorrent: it names those that it is connected to, and never us."""

from random import Random

import pytest

from crawler.settings import PeerSettings
from crawler.torrents import PeerClient
from dhtnode import Family, Scope
from tests.real_clients.libtorrent_network import PATIENCE, libtorrent_clients, until
from tests.real_clients.test_libtorrent_roles import INFO_HASH, parameters

pytestmark = [pytest.mark.real_clients, pytest.mark.slow]

PEERS, MANY = 12, 60
SETTINGS = {"enable_outgoing_tcp": True, "allow_multiple_connections_per_ip": True}


async def test_libtorrent_names_its_peers_and_never_us(tmp_path):
    """12 leechers, each connected to the 3 next: of 3 of them we hear of all."""
    hosts = [f"127.150.{number}.1" for number in range(PEERS)]
    async with libtorrent_clients(*hosts, bootstrap="", settings=SETTINGS) as clients:
        for number, client in enumerate(clients):
            client.take_part(parameters(tmp_path / str(number), first=False, second=False))
        await until(lambda: all(client.pieces_held() == 0 for client in clients))
        for number, client in enumerate(clients):
            for step in (1, 2, 3):
                client.connect(clients[(number + step) % PEERS].address)
        await until(lambda: all(len(client.peers()) >= 6 for client in clients))
        settings = PeerSettings(pex=True, pex_time=10.0, swarm_time=PATIENCE)
        asker = PeerClient({Family.IPV4: Scope.LOOPBACK}, settings, Random(1))
        contact = await asker.contact_peers(INFO_HASH, [client.address for client in clients[::4]])
        exchange = contact.exchange
        assert exchange.peers_asked == exchange.peers_told >= 3
        # The host that we connect from is none of them, though it is connected.
        assert exchange.n_low <= PEERS <= exchange.n_high
        assert exchange.distinct_addresses == PEERS
        assert len(contact.reports) > 3
        # Who has connected is known to them, and is no peer that others are told of.
        heard_later = await asker.contact_peers(INFO_HASH, [clients[2].address])
        assert heard_later.exchange.distinct_addresses == exchange.distinct_addresses


async def test_20_of_60_sessions_name_the_others(tmp_path):
    """Each is connected to 10 others or so, drawn at random."""
    hosts = [f"127.151.{number}.1" for number in range(MANY)]
    random = Random(3)
    async with libtorrent_clients(*hosts, bootstrap="", settings=SETTINGS) as clients:
        for number, client in enumerate(clients):
            client.take_part(parameters(tmp_path / str(number), first=False, second=False))
        await until(lambda: all(client.pieces_held() == 0 for client in clients))
        for client in clients:
            for other in random.sample([each for each in clients if each is not client], 5):
                client.connect(other.address)
        await until(lambda: sum(len(client.peers()) for client in clients) >= 8 * MANY)
        settings = PeerSettings(pex=True, pex_time=10.0, swarm_time=PATIENCE, peers=20)
        asker = PeerClient({Family.IPV4: Scope.LOOPBACK}, settings, random)
        contact = await asker.contact_peers(INFO_HASH, [client.address for client in clients[:20]])
        exchange = contact.exchange
        assert exchange.peers_told == 20
        assert exchange.distinct_addresses >= 0.95 * MANY
        assert exchange.n_low <= MANY <= exchange.n_high
