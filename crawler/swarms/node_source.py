"""Which nodes to query about an info-hash: the nodes of a fresh census, or those where a lookup may start.

With a census that is fresh and covers the info-hash, its closest nodes are asked as they are.  Without,
a lookup begins with what is remembered: nodes that answered in this run, nodes near the info-hash in
the database, and the table of our own node.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from crawler.core.exclusion import Excludes
from crawler.db.database import CrawlDatabase
from crawler.db.nodes import Found, FreshCensus
from crawler.db.records.records import utc_text
from crawler.db.writer import Writer
from crawler.settings import FRESH
from crawler.swarms.node_cache import RecentNodes
from crawler.swarms.packed_nodes import PackedNodes
from dhtnode import Family, InfoHash, Node, NodeId
from dhtnode.krpc import CompactContacts, PackedContact
from dhtnode.net import BulkClient
from dhtnode.outcomes import Outcome
from dhtnode.swarm import CLOSEST, Measurement, QueriedNode

FEW = 200  # info-hashes for which only the surroundings are read, not the whole census
MOST_PIECES = 1000  # info-hashes in all, one batch after the other; from then on it pays to read it whole
MOST_KNOWN = 32  # nodes that a measurement starts with: 20 that answer, and those that do not
START = 16  # nodes that a lookup starts with
ENOUGH = 1000  # nodes remembered beside which our own table, with some 200, adds nothing
REMEMBERED = 7 * 86400.0  # seconds after which nodes of the database are no longer worth asking
CLOCK_STEP = 3600.0  # seconds by which a clock may have been set back since a census
LOOK_AGAIN = 60.0  # seconds until a new census is looked for


class NodeSource:
    """The nodes to start a measurement from, of all families in use."""

    def __init__(
        self,
        node: Node,
        writer: Writer,
        askers: Sequence[BulkClient[Any]],
        wall_clock: Callable[[], float],
        *,
        excludes: Excludes | None = None,
        fresh: float = FRESH,
    ) -> None:
        """Start without nodes; a census counts as fresh for so many seconds after its end, 0 means never."""
        self._node = node
        self._writer = writer
        self._compact = {asker.family: CompactContacts(asker.family, asker.scope) for asker in askers}
        self._scopes = {asker.family: asker.scope for asker in askers}
        self._wall_clock = wall_clock
        self._excludes = excludes
        self._fresh = fresh
        self._caches = {family: RecentNodes() for family in self._compact}
        self._known: dict[Family, PackedNodes] = {}
        self._census: FreshCensus | None = None
        self._is_whole = False
        self._read_in_pieces = 0  # info-hashes whose surroundings were read from this census
        self._looked_at = float("-inf")
        self._silent: FreshCensus | None = None  # a census of which no node answers any more
        self._forgotten_at = float("-inf")

    @property
    def census(self) -> FreshCensus | None:
        """Return the census whose nodes are used."""
        return self._census

    @property
    def is_direct(self) -> bool:
        """Return whether nodes are asked directly: a census under way shows only where to start."""
        return self._census is not None and self._census.is_finished

    def hand_over(self, nodes: Mapping[Family, PackedNodes], census: FreshCensus) -> None:
        """Take the nodes of a census from memory; they count as fresh until others are handed over."""
        self._known = dict(nodes)
        self._census = census
        self._is_whole = True
        self._looked_at = float("inf")

    async def forget(self) -> None:
        """Take no node of the database any more that answered before now, because none does; look for others.

        The network of then may have gone, or a test network begun again.
        """
        if self._census is not None:
            self._silent = self._census
        self._census, self._known, self._is_whole = None, {}, False
        self._caches = {family: RecentNodes() for family in self._compact}
        self._forgotten_at = self._wall_clock()
        await self._node.join()

    async def prepare(self, info_hashes: Sequence[InfoHash]) -> None:
        """Read what the database knows about the surroundings of some info-hashes, or of all.

        A census that was read as a whole is kept, some 50 bytes for each node, until there is a later one.
        Raises `NotJoined` when nothing is known and no node answers either.
        """
        await self._look_for_census()
        if self._census is None or self._is_whole:
            await self._remember(self._outside(info_hashes))
            return
        self._read_in_pieces += len(info_hashes)
        census = self._census
        reads_all = len(info_hashes) > FEW or self._read_in_pieces > MOST_PIECES
        self._known = await self._writer.call(lambda store: self._read(store, census, info_hashes, reads_all))
        self._is_whole = reads_all
        await self._remember(self._outside(info_hashes))

    async def _look_for_census(self) -> None:
        now = self._wall_clock()
        if self._fresh <= 0 or now - self._looked_at < LOOK_AGAIN:
            return
        self._looked_at = now
        until = now + CLOCK_STEP
        found = await self._writer.call(lambda store: store.known.fresh_census(now - self._fresh, until))
        if found is not None and found == self._silent:
            found = None
        if found != self._census:
            self._census = found
            self._is_whole = False
            self._read_in_pieces = 0
            self._known = {}

    def begin(self, measurement: Measurement) -> bool:
        """Give a measurement nodes to start from; return whether they are known to be the closest."""
        target = measurement.info_hash
        is_covered = self._census is not None and self._census.zone.covers(target)
        found: dict[Family, list[PackedContact]] = {}
        if is_covered:
            found = {
                family: self._allowed(family, known.closest(target, MOST_KNOWN))
                for family, known in self._known.items()
            }
        is_direct = self.is_direct and any(len(nodes) >= CLOSEST for nodes in found.values())
        for family in self._compact:
            nodes = found.get(family, [])
            if not is_direct:
                nodes = [*nodes[:START], *self._starting_nodes(family, target)]
            measurement.add_nodes(family, nodes, follows=not is_direct)
        return is_direct

    def note(self, family: Family, node: QueriedNode) -> None:
        """Remember a node that has answered, and forget one that timed out."""
        if node.outcome is Outcome.ANSWERED:
            self._caches[family].add(node.node_id, node.endpoint)
        else:
            self._caches[family].discard(node.node_id, node.endpoint)

    def read(self, family: Family, contacts: bytes) -> list[PackedContact]:
        """Read compact contacts, without those to be left alone."""
        return self._allowed(family, self._compact[family].read(contacts))

    def _outside(self, info_hashes: Sequence[InfoHash]) -> list[InfoHash]:
        """Return the info-hashes that are looked up: a census that has ended does not cover them."""
        census = self._census
        if census is None or not census.is_finished:
            return list(info_hashes)
        return [each for each in info_hashes if not census.zone.covers(each)]

    async def _remember(self, info_hashes: Sequence[InfoHash]) -> None:
        """Read nodes for lookups from the database; when there are none, find some."""
        if not info_hashes:
            return
        since = utc_text(max(self._wall_clock() - REMEMBERED, self._forgotten_at))
        few = info_hashes[:FEW]
        await self._writer.call(lambda store: self._fill_caches(store, few, since))
        if not any(self._starting_nodes(family, info_hashes[0]) for family in self._compact):
            for found in await self._node.find_node(NodeId(info_hashes[0])):
                if (compact := self._compact.get(found.address.family)) is not None:
                    endpoint = compact.endpoint_of(found.address)
                    self._caches[compact.family].add(found.node_id, endpoint)

    def _fill_caches(self, store: CrawlDatabase, info_hashes: Sequence[InfoHash], since: str) -> None:
        for family, cache in self._caches.items():
            found = store.known.near(info_hashes, family, START, since)
            for node_id, endpoint in self._reachable(family, found):
                cache.add(node_id, endpoint)

    def _read(
        self, store: CrawlDatabase, census: FreshCensus, info_hashes: Sequence[InfoHash], reads_all: bool
    ) -> dict[Family, PackedNodes]:
        """Pack the nodes of a census, or those near some info-hashes, in the thread of the database."""
        packed = {}
        for family in self._compact:
            found = (
                store.known.answered(census, family)
                if reads_all
                else store.known.near(info_hashes, family, MOST_KNOWN, census.started_at)
            )
            packed[family] = PackedNodes(family, self._reachable(family, found))
        return packed

    def _reachable(self, family: Family, found: Iterable[Found]) -> Iterator[PackedContact]:
        """Yield the nodes that our socket may talk to: a database may be from another network."""
        compact, scope = self._compact[family], self._scopes[family]
        for node_id, address in found:
            if scope.allows(address):
                yield node_id, compact.endpoint_of(address)

    def _starting_nodes(self, family: Family, target: bytes) -> list[PackedContact]:
        """Return where a lookup may start: who is closest of those who answered, then our own table."""
        number, compact, cache = int.from_bytes(target, "big"), self._compact[family], self._caches[family]
        found = cache.closest(target, START)
        if len(cache) >= ENOUGH:
            return self._allowed(family, found)
        table = [
            (contact.node_id, compact.endpoint_of(contact.address))
            for contact in self._node.contacts()
            if contact.address.family is family
        ]
        table.sort(key=lambda known: int.from_bytes(known[0], "big") ^ number)
        return self._allowed(family, [*found, *table[:CLOSEST]])

    def _allowed(self, family: Family, nodes: list[PackedContact]) -> list[PackedContact]:
        excludes = self._excludes
        if excludes is None:
            return nodes
        return [each for each in nodes if not excludes(*each, family)]
