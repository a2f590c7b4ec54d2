"""The peers of one swarm contacted, a few at a time: for who is a seed, and the name of the torrent.

To one host goes one connection at a time, of all swarms together, and all within a pace.
"""

import logging
from collections import Counter
from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

import trio

from crawler.core.exclusion import Excludes
from crawler.db.records.torrents import PexCounts, SwarmContact
from crawler.db.writer import RunSync
from crawler.settings import PeerSettings
from crawler.torrents.connection import CONNECTION_PACKETS, REFUSED, Connect, PeerConnection, connect_tcp
from crawler.torrents.named_peers import Compare, NamedPeers
from crawler.torrents.peer_choice import PeerChoice
from crawler.torrents.peerwire.conversation import Conversation
from crawler.torrents.peerwire.frames import BadPeer
from crawler.torrents.peerwire.handshake import new_peer_id
from crawler.torrents.tracker_hints import TrackerHints
from dhtnode import Address, Family, InfoHash, InvalidTorrent, Scope
from dhtnode.net import OutgoingBound
from dhtnode.token_bucket import TokenBucket
from dhtnode.torrents import TorrentInfo, parse_info

HOPS = 2  # to peers that others name
TURNS = 3  # of the bound on what a host is sent: what was sent two turns ago does not count any more

logger = logging.getLogger(__name__)


class PeerClient:
    """A client for the peers of any number of swarms, within bounds that hold for all of them together."""

    def __init__(
        self,
        scopes: Mapping[Family, Scope],
        settings: PeerSettings,
        random: Random,
        outgoing: OutgoingBound | None = None,
        *,
        excludes: Excludes | None = None,
        connect: Connect = connect_tcp,
        run_sync: RunSync = trio.to_thread.run_sync,
        own: Container[str] = (),
    ) -> None:
        """Make a client for the families and networks of `scopes`, which are those of our own sockets.

        `outgoing` is the bound on what each host is sent, shared with the rest of the program.  `own` are
        the addresses of this machine.
        """
        self.settings = settings
        self.random = random
        self.connect = connect
        self.choice = PeerChoice(scopes, settings.peers, excludes, own)
        self.turns: dict[str, trio.Lock] = {}  # of hosts that connections go to, or wait for
        self._scopes = scopes
        self._outgoing = outgoing or OutgoingBound(trio.current_time)
        self._run_sync = run_sync
        self._pace = TokenBucket(settings.connection_rate, settings.connections_at_once, trio.current_time())
        self._readers = trio.CapacityLimiter(1)  # an info dictionary of a million values takes 150 MB to read

    async def contact_peers(
        self,
        info_hash: InfoHash,
        peers: Sequence[Address],
        *,
        returned: int | None = None,
        pieces: int | None = None,
        wants_metadata: bool = True,
        compare: Compare | None = None,
    ) -> SwarmContact:
        """Contact the first peers that may be contacted, `settings.peers` at most.

        `returned` is how many peers nodes returned in all, `pieces` how many pieces the torrent has when that
        is known already.  `compare` holds the hosts that peers name against the DHT.  Once a torrent is known
        to be private no further peer is contacted, and nothing is returned of its peers.
        """
        skipped: Counter[str] = Counter()
        chosen = self.choice.choose(peers, skipped)
        swarm = _OpenSwarm(self, info_hash, pieces, skipped, wants_metadata)
        await swarm.run(chosen)
        return await swarm.result(len(peers) if returned is None else returned, compare)

    async def wait_turn(self) -> None:
        """Wait until one more connection may be opened, in the order of calls."""
        now = trio.current_time()
        delay = self._pace.wait_time(now)
        self._pace.spend(now)
        await trio.sleep(delay)

    async def may_connect(self, peer: Address) -> bool:
        """Return True when a host has not been sent too much for a connection, soon; else False."""
        if self._scopes[peer.family] is Scope.LOOPBACK:
            return True
        for _ in range(TURNS):
            if self._outgoing.admit_connection(peer.host, CONNECTION_PACKETS):
                return True
            await trio.sleep(self._outgoing.seconds_left())
        return False

    def excuse(self, peer: Address) -> None:
        """Count what a connection has sent for nothing: it was a peer, and wanted it."""
        self._outgoing.take_back([peer.host] * CONNECTION_PACKETS)

    async def read(self, metadata: bytes) -> TorrentInfo:
        """Read an info dictionary in a worker thread; raises `InvalidTorrent`."""
        info: TorrentInfo = await self._run_sync(parse_info, metadata, limiter=self._readers)
        return info

    def choose_more(self, named: NamedPeers, visited: Collection[str]) -> list[list[Address]]:
        """Return peers that others named, by host, as many as may be tried after those visited already."""
        drawn = named.drawn(self.settings.peers, self.random)
        return self.choice.choose(drawn, Counter(), visited)

    async def compared(self, named: NamedPeers, compare: Compare | None) -> PexCounts | None:
        """Return what is kept of the peers that others named, compared with the DHT in a worker thread."""
        counts: PexCounts | None = await self._run_sync(
            named.counts, compare, Random(self.random.getrandbits(64)), limiter=self._readers
        )
        return counts


@dataclass(slots=True)
class _OpenSwarm:
    """One swarm whose peers are being contacted."""

    client: PeerClient
    info_hash: InfoHash
    pieces: int | None
    skipped: Counter[str]
    wants_metadata: bool
    info: TorrentInfo | None = None
    conversations: list[Conversation] = field(default_factory=list)
    # What peers call themselves, by the family of their address: they are forgotten with the visits.
    peer_ids: dict[Family, Counter[bytes]] = field(
        default_factory=lambda: {each: Counter() for each in Family}
    )
    failures: Counter[str] = field(default_factory=Counter)
    tried: int = 0
    closed: int = 0
    named: NamedPeers = field(default_factory=NamedPeers)
    hints: TrackerHints = field(default_factory=TrackerHints)
    bytes_sent: int = 0
    bytes_received: int = 0
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    fetches: trio.CapacityLimiter = field(init=False)

    def __post_init__(self) -> None:
        self.fetches = trio.CapacityLimiter(self.client.settings.fetches_at_once)

    async def run(self, hosts: Sequence[Sequence[Address]]) -> None:
        """Visit the peers, each with the ports of one host, a few at a time."""
        settings, client = self.client.settings, self.client
        self.scope.deadline = trio.current_time() + settings.swarm_time
        visited = set[str]()
        with self.scope:
            for _ in range(1 + (HOPS if settings.pex else 0)):
                await self._visit_all(hosts)
                visited.update(client.choice.host_key(ports[0]) for ports in hosts)
                hosts = client.choose_more(self.named, visited) if settings.pex else []

    async def _visit_all(self, hosts: Sequence[Sequence[Address]]) -> None:
        places = trio.Semaphore(self.client.settings.connections_at_once)

        async def visit(ports: Sequence[Address]) -> None:
            try:
                await self._visit_in_turn(ports)
            finally:
                places.release()

        async with trio.open_nursery() as nursery:
            for ports in hosts:
                await places.acquire()
                nursery.start_soon(visit, ports)

    async def result(self, returned: int, compare: Compare | None) -> SwarmContact:
        """Return the outcome; of the peers of a private torrent, nothing."""
        is_private = self.info is not None and self.info.is_private
        is_exchanged = self.client.settings.pex and not is_private
        pieces = self.pieces if self.info is None else self.info.pieces
        reports = () if is_private else tuple(each.report(pieces) for each in self.conversations)
        return SwarmContact(
            self.info_hash,
            self.info,
            returned,
            self.tried,
            reports,
            dict(self.skipped),
            dict(self.failures),
            0 if is_private else self.closed,
            self.bytes_sent,
            self.bytes_received,
            await self.client.compared(self.named, compare) if is_exchanged else None,
            0 if is_private else self._in_both_families(),
            None if is_private else self.hints.taken(self.client.random),
        )

    def _in_both_families(self) -> int:
        """Return how many peers have an address in each; an id that several have names none of them."""
        once = [{name for name, times in found.items() if times == 1} for found in self.peer_ids.values()]
        return len(set.intersection(*once))

    async def _visit_in_turn(self, ports: Sequence[Address]) -> None:
        """Visit the peer of a host, when its turn has come: a seedbox is in many swarms."""
        turns, host = self.client.turns, self.client.choice.host_key(ports[0])
        turn = turns.setdefault(host, trio.Lock())
        try:
            async with turn:
                for number, peer in enumerate(ports):
                    if not await self.client.may_connect(peer):
                        self.skipped["enough sent to its host"] += 1
                        break
                    await self.client.wait_turn()
                    if await self._visit(peer):
                        self.skipped += Counter({"another port of a host": len(ports) - number - 1})
                        break
        finally:
            if not turn.locked():
                turns.pop(host, None)

    async def _visit(self, peer: Address) -> bool:
        """Visit one peer, and return whether it is one of this swarm: then it wanted what we sent."""
        self.tried += 1
        try:
            with trio.fail_after(self.client.settings.connect_time):
                stream = await self.client.connect(peer)
        except (OSError, trio.TooSlowError) as error:
            self.failures[REFUSED if isinstance(error, ConnectionRefusedError) else "no connection"] += 1
            self.named.miss(peer)
            return False
        settings = self.client.settings
        pieces = self.pieces if self.info is None else self.info.pieces
        own_id = new_peer_id(self.client.random)
        conversation = Conversation(self.info_hash, own_id, pieces=pieces, wants_pex=settings.pex)
        connection = PeerConnection(stream, conversation, settings)
        try:
            async with stream:
                await self._converse(connection, conversation)
        except BadPeer as error:
            conversation.discredit()
            self.failures[str(error)] += 1
        except trio.BrokenResourceError:
            # As by a reset, before a word.
            has_closed = not conversation.bytes_received
            self.closed += has_closed
            self.failures["closed without a word" if has_closed else "connection broke"] += 1
        finally:
            self.bytes_sent += connection.bytes_sent
            self._note_end(peer, conversation)
        if conversation.is_introduced:
            self.client.excuse(peer)
        return conversation.is_introduced

    def _note_end(self, peer: Address, conversation: Conversation) -> None:
        self.bytes_received += conversation.bytes_received
        conversation.end()
        if conversation.peer_id is not None:
            self.conversations.append(conversation)
            self._note_named(peer, conversation)
            self.peer_ids[peer.family][conversation.peer_id] += 1

    def _note_named(self, peer: Address, conversation: Conversation) -> None:
        self.named.meet(peer)
        self.named.asked += conversation.knows_pex
        told = conversation.others
        if told.has_named_peers:
            reason_against = self.client.choice.reason_against
            self.named.add(each for each in told.peers if reason_against(each.address) is None)
        self.hints.add(told.trackers)
        told.clear()

    async def _converse(self, connection: PeerConnection, conversation: Conversation) -> None:
        await connection.introduce()
        if not conversation.is_introduced:
            has_closed = connection.has_ended and not conversation.bytes_received
            self.closed += has_closed
            self.failures["closed without a word" if has_closed else "no handshake"] += 1
            return
        if conversation.offers_metadata and self._is_metadata_missing():
            async with self.fetches:
                if self._is_metadata_missing():
                    await self._fetch(connection)
        await connection.linger()
        await connection.hear_of_others()
        await connection.part()

    async def _fetch(self, connection: PeerConnection) -> None:
        metadata = await connection.fetch(self._is_metadata_missing)
        if metadata is None or not self._is_metadata_missing():
            return
        try:
            self.info = await self.client.read(metadata)
        except InvalidTorrent as error:
            # It has the right hash, so every peer would send the same.
            self.wants_metadata = False
            logger.info("%s: the metadata cannot be read: %s", self.info_hash.hex(), error)
        else:
            if self.info.is_private:
                self.scope.cancel()

    def _is_metadata_missing(self) -> bool:
        return self.wants_metadata and self.info is None
