"""A whole node: the operations a program calls, over one socket per family or several.

An operation runs in the task of its caller: cancelling the caller ends it and forgets its queries.
A wrong argument raises `InvalidArgument`, a `ValueError`, before anything is sent, and nothing that a
caller gives can end the node.  A torrent is given as info-hash, `Metainfo`, `Path` or text: hex, base32,
a magnet link, or a path that ends in `.torrent`; an id as 20 bytes or 40 hex digits.
`open_node` opens and closes nodes.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from random import Random, SystemRandom
from types import NoneType

import trio

from dhtnode.addresses import Address, Contact, Family, Scope
from dhtnode.api.arguments import Torrent, check_method, swarm_of
from dhtnode.api.dual_stack import (
    SocketNodes,
    bootstrap_trouble,
    lookup_closest,
    lookup_in_all_families,
    not_joined,
    query_closest,
)
from dhtnode.api.item_calls import ItemCalls
from dhtnode.api.peer_stream import PeerStream
from dhtnode.api.results import (
    Announcement,
    FoundNode,
    InfohashSample,
    NodeStatistics,
)
from dhtnode.api.scrape import measure_swarm, scrape_of
from dhtnode.arguments import (
    address_of,
    check_settings,
    check_type,
    check_whole,
    id_of,
)
from dhtnode.errors import BadResponse, InvalidArgument, NotJoined, QueryNotSent
from dhtnode.ids import NodeId, as_int
from dhtnode.krpc.messages import AnnouncePeer, FindNode, GetPeers, Method, Ping, SampleInfohashes
from dhtnode.net.outgoing import OutgoingBound
from dhtnode.net.transactions import Answer, OnDone, Pending
from dhtnode.net.udp import resolve
from dhtnode.node.socket_node import SocketNode
from dhtnode.node.state_file import SavedState
from dhtnode.server.item_store import ItemStore
from dhtnode.server.peer_store import PeerStore
from dhtnode.settings import NodeSettings
from dhtnode.swarm.canary_hashes import CanaryHashes
from dhtnode.swarm.measurement import SwarmMeasurement

# The writer of queries remembers the last method.
_PING = Ping()


class Node(ItemCalls):
    """A node of the DHT; made by `open_node`."""

    def __init__(
        self,
        sockets: SocketNodes,
        peers: PeerStore,
        items: ItemStore,
        nursery: trio.Nursery,
        outgoing: OutgoingBound,
    ) -> None:
        super().__init__(sockets)
        self.peers = peers
        self.items = items
        # Whatever else sends something beside this node is to share it.
        self.outgoing = outgoing
        self._nursery = nursery
        self._canaries = CanaryHashes(Random(SystemRandom().getrandbits(256)))

    @property
    def node_ids(self) -> dict[Address, NodeId]:
        """Return our id at each local address: each socket is a node to others (BEP 42, BEP 45)."""
        return {address: socket.table.node_id for address, socket in self._sockets.by_address.items()}

    @property
    def node_id(self) -> NodeId:
        """Return our id at the first local address; it may be renewed (BEP 42)."""
        return next(iter(self.node_ids.values()))

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Return the local addresses, in the order in which they were given; by default IPv4 first."""
        return tuple(self._sockets.by_address)

    @property
    def places(self) -> tuple[tuple[str, Scope], ...]:
        """Return the host of each local address, and the networks that it is part of."""
        return tuple((each.host, node.scope) for each, node in self._sockets.by_address.items())

    def bootstrap_trouble(self) -> tuple[str, ...]:
        """Return a line about each bootstrap node given that cannot be queried, with the reason.

        Its name has no address so far, or its address is of a network that the node is not part of.
        """
        return tuple(bootstrap_trouble(tuple(self._sockets.by_address.values())))

    async def wait_joined(self) -> None:
        """Wait until the first attempt to join has ended at each address, with or without success.

        When one has succeeded, others are waited for 2 seconds more while they are without any
        contact, else 15: a dead family does not hold up the other.  A read-only node makes no attempt:
        no other node is to know it, and its lookups fill its table.
        """
        await self._sockets.wait_joined()

    async def join(self) -> None:
        """Look for our neighbours once more; a node does so by itself when it has few contacts.

        This is the one lookup that all sockets make, each towards its own id (BEP 45).
        """
        async with trio.open_nursery() as nursery:
            for socket in self._sockets.by_address.values():
                nursery.start_soon(socket.join)

    async def ping(self, address: Address | str) -> FoundNode:
        """Query one node for its id; raises `QueryError` when it does not answer, or `ValueError`."""
        return _found(await self.query(Ping(), address))

    async def sample_infohashes(self, address: Address | str, target: NodeId | None = None) -> InfohashSample:
        """Query one node for info-hashes that it holds peers for (BEP 51), and for contacts near `target`.

        It is not to be queried again before the `interval` that it returns.  Raises `BadResponse` when
        it answers without a sample, as nodes do that do not know the query; else as `query`.
        """
        target = self.node_id if target is None else id_of("target", target)
        answer = await self.query(SampleInfohashes(target), address)
        response = answer.response
        if response.samples is None:
            raise BadResponse(answer.address, "gives no sample of info-hashes")
        return InfohashSample(
            _found(answer),
            tuple(response.info_hashes()),
            response.num,
            response.interval,
            tuple(response.contacts(answer.address.family)),
        )

    async def find_node(self, target: NodeId) -> list[FoundNode]:
        """Find the nodes closest to a target, at most 8 per family, closest first.

        Every one of them answered under its id, and none is a socket of ours.  Raises `NotJoined`
        when no node answered at all.
        """
        target = id_of("target", target)
        closest = await lookup_closest(self._sockets.next_in_turn(), target, FindNode(target))
        found = [_found(answer) for _, answer in closest]
        return sorted(found, key=lambda node: as_int(node.node_id) ^ as_int(target))

    @asynccontextmanager
    async def get_peers(self, torrent: Torrent, *, noseed: bool = False) -> AsyncIterator[PeerStream]:
        """Look a swarm up: `async with node.get_peers(info_hash) as peers: async for peer in peers`.

        Peers come from the first answer on, each once; leaving the block ends the lookup.  With
        `noseed`, nodes are to leave out peers that need nothing (BEP 33).  Of a hybrid torrent,
        the swarm of version 1 is looked up.  Raises `PrivateTorrent` before anything is sent (BEP 27).
        """
        info_hash = await swarm_of(torrent)
        method = GetPeers(info_hash, noseed=bool(noseed))
        sockets = self._sockets.next_in_turn()
        stream = PeerStream(1, partial(not_joined, sockets))
        scope = trio.CancelScope()

        async def look_up() -> None:
            try:
                with scope:
                    await lookup_in_all_families(
                        sockets,
                        info_hash,
                        method,
                        lambda socket, answer: stream.on_answer(socket.scope, answer),
                    )
            except Exception as error:  # noqa: BLE001  it is the caller's, and must not end the node
                stream.on_failure(error)
            stream.on_end()

        self._nursery.start_soon(look_up, name=f"get_peers {info_hash.hex()}")
        try:
            yield stream
        finally:
            scope.cancel()

    async def announce(
        self,
        torrent: Torrent,
        port: int,
        *,
        seed: bool = False,
        implied_port: bool = False,
        every_address: bool = False,
        family: Family | None = None,
    ) -> Announcement:
        """Announce that a peer on our address takes part in a swarm, to the closest nodes.

        `port` is the TCP port of the peer, 1 to 65535.  With `implied_port` nodes are to use the
        UDP source port instead, which gets through NATs; `port` is sent all the same, because some
        nodes know nothing else.  Nodes store the address that the query comes from: of several in a
        family, one whose turn it is, or with `every_address` each, one after the other (BEP 45); that
        takes a lookup for each.  With a `family`, no other is used.  Raises `NotJoined` when no node
        answered, and `PrivateTorrent` before anything is sent (BEP 27).
        """
        info_hash = await swarm_of(torrent)
        check_whole("port", port, 1, 65535)
        check_type("family", family, Family, NoneType)
        implied_port, seed = bool(implied_port), bool(seed)
        taken: list[Contact] = []
        queried = 0
        rounds = self._sockets.rounds() if every_address else [self._sockets.next_in_turn()]
        rounds = [[each for each in sockets if family in (None, each.family)] for sockets in rounds]
        for sockets in rounds:
            closest: list[tuple[SocketNode, Answer]] = []
            with suppress(NotJoined):
                closest = await lookup_closest(sockets, info_hash, GetPeers(info_hash))
            queried += len(closest)
            ends = await query_closest(
                closest, lambda _, token: AnnouncePeer(info_hash, port, token, implied_port, seed)
            )
            taken += [Contact(end.response.node_id, end.address) for end in ends if isinstance(end, Answer)]
        if not queried:
            raise not_joined([socket for sockets in rounds for socket in sockets])
        return Announcement(info_hash, port, tuple(taken), queried - len(taken))

    async def scrape(self, torrent: Torrent) -> SwarmMeasurement:
        """Measure the size of a swarm over the closest nodes of every family (BEP 33).

        Costs one lookup, and further queries while the closest nodes cost less than 7000 bytes: one to
        each of them that lists no peers beside its filters, one to some for a swarm that does not exist.
        Where stores look cut, 8 more nodes are queried.

        It tells how many peers there are, and not which: for addresses there is `get_peers`.  Peers that
        nodes name are counted in `distinct_peers`, which is 0 where filters take up all the bytes.

        Raises `NotJoined` when no node answered, and `PrivateTorrent` before anything is sent (BEP 27).
        """
        info_hash = await swarm_of(torrent)
        sockets = self._sockets.next_in_turn()
        lookups = await lookup_in_all_families(
            sockets, info_hash, lambda socket: scrape_of(info_hash, socket.family)
        )
        if not any(lookup.driver.answers for lookup in lookups):
            raise not_joined(sockets)
        return await measure_swarm(lookups, info_hash, self._canaries)

    async def resolve(self, host_port: str) -> Address:
        """Return an address of `HOST:PORT` that this node can query; the host may be a name.

        Raises `NotJoined` when there is none, and `ValueError` for a text of another form.
        """
        return (await self.resolve_all(host_port))[0]

    async def resolve_all(self, host_port: str) -> list[Address]:
        """Return all addresses of `HOST:PORT` that this node can query, at least one; raises as `resolve`."""
        families = frozenset(address.family for address in self.addresses)
        addresses = await resolve(host_port, families)
        if not addresses:
            raise NotJoined(f"{host_port}: no such host")
        sockets = [(each, self._sockets.towards(each)) for each in addresses]
        refusals = {each: socket.scope.refusal(each) for each, socket in sockets if socket is not None}
        allowed = [address for address, refusal in refusals.items() if refusal is None]
        if not allowed:
            raise NotJoined(f"{host_port}: {next(iter(refusals.values()))}")
        return allowed

    async def query(self, method: Method, address: Address | str) -> Answer:
        """Send one query and wait for its answer; raises `QueryError`, or `ValueError` for a bad address.

        Each host gets queries from one address of ours, always the same: tokens are valid for no other.
        """
        check_method(method)
        target = address_of(address)
        socket = self._sockets.towards(target)
        if socket is None:
            await trio.lowlevel.checkpoint()
            raise QueryNotSent(target, f"no IPv{target.family} socket")
        return await socket.rpc.query(method, target)

    def send_query(self, method: Method, address: Address, on_done: OnDone) -> Pending | None:
        """Send one query and return at once; `on_done` is called later, exactly once.

        For bulk work: no task, scope or event per query.  Returns None, and calls nothing, when the
        query could not be sent; the handle is for `forget`.
        """
        check_method(method)
        if not callable(on_done):
            raise InvalidArgument(f"on_done is called, and a {type(on_done).__name__} cannot be")
        address = address_of(address)
        socket = self._sockets.towards(address)
        return None if socket is None else socket.rpc.send_query(method, address, on_done)

    def forget(self, pending: Pending) -> None:
        """Give up a query of `send_query`: its `on_done` will not be called."""
        check_type("pending", pending, Pending)
        socket = self._sockets.towards(pending.address)
        if socket is not None:
            socket.rpc.forget(pending)

    def contacts(self) -> list[Contact]:
        """Return the contacts in the tables that are not known to be bad, each once."""
        tables = [socket.table for socket in self._sockets.by_address.values()]
        return list(dict.fromkeys(contact for table in tables for contact in table.contacts()))

    def statistics(self) -> NodeStatistics:
        """Return a snapshot of tables, counters and stores; cost: linear in the tables."""
        now = trio.current_time()
        sockets = tuple(socket.statistics(now) for socket in self._sockets.by_address.values())
        return NodeStatistics(sockets, self.peers.statistics(), self.items.statistics(now))

    def change_limits(self, settings: NodeSettings) -> None:
        """Apply other limits on what others may use, those in `settings.LIMITS`; all else stays as it is.

        What was used before no longer counts.  Cost: linear in the sources remembered, 8192 per socket.
        """
        check_settings(settings, NodeSettings)
        now = trio.current_time()
        for socket in self._sockets.by_address.values():
            socket.change_limits(settings, now)
        self.items.change_rate(settings.signature_rate, now)

    def state(self) -> SavedState:
        """Return what is worth saving: the tables, and what was loaded and has not shown up again.

        Nodes known to be bad are kept too: when our own network fails, all of them seem so.
        """
        contacts: dict[Address, Contact] = {}
        for socket in self._sockets.by_address.values():
            for contact in [*socket.table.contacts(include_bad=True), *socket.saved]:
                contacts.setdefault(contact.address, contact)
        return SavedState(self.node_ids, tuple(contacts.values()))


def _found(answer: Answer) -> FoundNode:
    response = answer.response
    return FoundNode(
        response.node_id, answer.address, answer.rtt, response.version, response.external_address
    )
