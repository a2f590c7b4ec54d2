"""What to ask about one swarm, and when enough has been answered: without a socket or a clock.

The nodes closest to the info-hash are asked for their filters, the next one for each that stays silent
or is caught lying; who sends filters and keeps its peers back (libtorrent) is asked once more without
`scrape`; and where stores look cut, further nodes are asked.  With `follows`, contacts that nodes name
are asked too, which makes it a lookup.  Each family has its own nodes, and all count for one swarm.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from operator import attrgetter
from typing import TypeAlias

from crawler.core.canary_hashes import CanaryHashes
from crawler.core.visit import IMPOSSIBLY_CLOSE, OVERSIZED, failure_of
from crawler.swarms.asked_node import AskedNode, NodeProgress
from crawler.swarms.packed_nodes import Known
from dhtnode import Address, Family, InfoHash, QueryError
from dhtnode.krpc import PackedEndpoint, Response
from dhtnode.outcomes import Outcome

CLOSEST = 8  # nodes that a peer announces to (BEP 5)
MOST_CLOSEST = 20  # where stores look cut
MOST_ASKED = 12  # scrape queries for a swarm and family whose nodes are known, without those that extend
MOST_ASKED_ON_THE_WAY = 80  # the same in a lookup
AT_ONCE_ON_THE_WAY = 4  # queries of one lookup under way
MOST_CANDIDATES = 64  # of a lookup: who is farther is forgotten
TOO_FEW = 4  # answers of 12 nodes known: then what is known is out of date, and a lookup has to do
MAX_VALUES = 1000  # peers taken from one node; clients send 100 at most
SMALL_BYTES = 450  # of a question and its answer, without the peers in it
_VALUE_BYTES, _MOST_VALUES = 8, 100
_DISTANCE = attrgetter("distance")


class QueryKind(Enum):
    """Say what is asked."""

    SCRAPE = 0
    LISTING = 1
    """The same without `scrape`."""

    PROBE = 2
    """About an info-hash that nobody announced."""


@dataclass(slots=True)
class MeasurementQuery:
    """Be one question to one node about the swarm of an inquiry."""

    inquiry: "Measurement"
    family: Family
    node: AskedNode
    kind: QueryKind
    target: bytes


class FamilyNodes:
    """Hold the nodes of one family, closest first."""

    def __init__(self, target: int, family: Family, known: Iterable[Known], *, follows: bool) -> None:
        self.family = family
        self.target = target
        self.wanted = CLOSEST
        self.follows = follows
        self.most = MOST_ASKED_ON_THE_WAY if follows else MOST_ASKED
        self.asked = 0
        self.waiting = 0
        self.nodes: list[AskedNode] = []
        self.unread: list[bytes] = []  # contacts, as long as they are not followed
        self.is_changed = True  # since the last look for whom to ask
        self._endpoints: set[PackedEndpoint] = set()
        for node_id, endpoint in known:
            if endpoint not in self._endpoints:
                self._endpoints.add(endpoint)
                self.nodes.append(AskedNode(node_id, endpoint, int.from_bytes(node_id, "big") ^ target))
        self.nodes.sort(key=_DISTANCE)

    def add(self, contacts: Iterable[Known]) -> None:
        """Add those not met before, each endpoint once."""
        for node_id, endpoint in contacts:
            if endpoint in self._endpoints:
                continue
            self._endpoints.add(endpoint)
            distance = int.from_bytes(node_id, "big") ^ self.target
            at = bisect_left(self.nodes, distance, key=_DISTANCE)
            if at < MOST_CANDIDATES:
                self.nodes.insert(at, AskedNode(node_id, endpoint, distance))
        del self.nodes[MOST_CANDIDATES:]

    def take_new(self) -> list[AskedNode]:
        """Return whom to ask now: of the closest that have not failed those not asked yet."""
        if not (self.is_changed or self.follows):
            return []
        self.is_changed = False
        found: list[AskedNode] = []
        places = self.wanted
        for node in self.nodes:
            if node.state is NodeProgress.FAILED:
                continue
            if not places or self.waiting >= self._at_once() or self.asked >= self.most:
                break
            places -= 1
            if node.state is NodeProgress.NEW:
                node.state = NodeProgress.WAITING
                self.asked += 1
                self.waiting += 1
                found.append(node)
        return found

    def _at_once(self) -> int:
        """Return how many queries may be under way: on the way to the closest, each may save others."""
        return AT_ONCE_ON_THE_WAY if self.follows else self.wanted

    def relevant(self) -> list[AskedNode]:
        """Return the nodes near enough to count, with those that failed among them, all asked."""
        places, found = self.wanted, []
        for node in self.nodes:
            if not places:
                break
            if node.state is not NodeProgress.NEW:
                found.append(node)
                places -= node.state is NodeProgress.COUNTS
        return found

    def is_out_of_date(self) -> bool:
        """Return whether too few of the nodes known are still there."""
        if self.follows or self.asked < self.most:
            return False
        return sum(node.outcome is Outcome.ANSWERED for node in self.nodes) < TOO_FEW

    def begin_lookup(self, take: "Callable[[FamilyNodes, bytes], None]") -> None:
        """Ask contacts that nodes name from now on."""
        self.follows = True
        self.most = MOST_ASKED_ON_THE_WAY
        for compact in self.unread:
            take(self, compact)


Judge: TypeAlias = Callable[["Measurement"], dict[Family, int]]
"""Looks at what was said, marks what is not to be believed, and tells how many more nodes are wanted."""

Reader: TypeAlias = Callable[[Family, bytes], Sequence[Known]]
"""Reads compact contacts, and leaves out whom we may not ask."""


class Measurement:
    """Ask about one swarm."""

    def __init__(
        self,
        info_hash: InfoHash,
        probes: CanaryHashes,
        judge: Judge,
        read: Reader,
    ) -> None:
        """Begin with nobody to ask."""
        self.info_hash = info_hash
        self.target = int.from_bytes(info_hash, "big")
        self.bytes_sent = 0
        self.bytes_received = 0
        self.parts: dict[Family, FamilyNodes] = {}
        self._probes = probes
        self._judge = judge
        self._read = read
        self.most_bytes: int | None = None
        """Nodes are asked a second time only while the closest ones have cost less than this."""

        self._next: list[MeasurementQuery] = []
        self._peers: dict[bytes, Address] = {}  # by what they are in a packet
        self._held_back: list[MeasurementQuery] = []
        self.pending = 0

    def add_nodes(self, family: Family, known: Iterable[Known], *, follows: bool) -> None:
        """Add nodes to start from."""
        self.parts[family] = FamilyNodes(self.target, family, known, follows=follows)

    def nodes(self) -> list[AskedNode]:
        """Return the nodes that count, and among them those that failed, closest first in each family."""
        return [node for part in self.parts.values() for node in part.relevant()]

    def take_queries(self) -> list[MeasurementQuery]:
        """Return what to ask now; when that is nothing and nothing is pending, the inquiry is over."""
        while True:
            queries, self._next = self._next, []
            for family, part in self.parts.items():
                queries += [
                    MeasurementQuery(self, family, node, QueryKind.SCRAPE, self.info_hash)
                    for node in part.take_new()
                ]
            self.pending += len(queries)
            if self.pending or not self._goes_on():
                return queries

    def _goes_on(self) -> bool:
        """Return whether there is more to ask, when all that was asked has ended."""
        outdated = [part for part in self.parts.values() if part.is_out_of_date()]
        for part in outdated:
            part.begin_lookup(self._take_contacts)
        if outdated or self._asks_more():
            return True
        more = self._judge(self)
        extended = False
        for family, part in self.parts.items():
            wanted = min(part.wanted + more.get(family, 0), MOST_CLOSEST)
            if wanted > part.wanted:
                part.most += 3 * (wanted - part.wanted) // 2
                part.wanted = wanted
                part.is_changed = extended = True
        return extended or self._has_places()

    def _has_places(self) -> bool:
        """Return whether a node that was marked leaves its place to one not asked yet."""
        for part in self.parts.values():
            counting = [node for node in part.nodes if node.state is not NodeProgress.FAILED][: part.wanted]
            if part.asked < part.most and any(node.state is NodeProgress.NEW for node in counting):
                part.is_changed = True
        return any(part.is_changed for part in self.parts.values())

    def _asks_more(self) -> bool:
        """Ask what was held back, as far as there are bytes left for it: probes first."""
        held_back, self._held_back = self._held_back, []
        nearest = self.nodes() if held_back else []
        spent = sum(node.bytes_sent + node.bytes_received for node in nearest)
        held_back.sort(key=lambda query: query.kind is QueryKind.LISTING)
        for query in held_back:
            if query.node.state is not NodeProgress.COUNTS or query.node not in nearest:
                continue
            spent += SMALL_BYTES
            if query.kind is QueryKind.LISTING:
                spent += _VALUE_BYTES * min(_MOST_VALUES, query.node.filtered_peers)
            if spent <= (self.most_bytes or 0):
                self._next.append(query)
        return bool(self._next)

    def on_end(self, query: MeasurementQuery, result: Response | QueryError, took: float) -> None:
        """Take in how a query ended."""
        self.pending -= 1
        if query.kind is QueryKind.PROBE:
            if isinstance(result, Response) and self._probes.catches(query.node.endpoint, result):
                query.node.mark(self._probes.MARK)
        elif query.kind is QueryKind.LISTING:
            if isinstance(result, Response) and result.node_id == query.node.node_id:
                query.node.values = self._peers_of(result)
        else:
            self.parts[query.family].waiting -= 1
            if isinstance(result, Response):
                self._on_answer(query, result, took)
            else:
                query.node.outcome, _ = failure_of(result)
                query.node.state = NodeProgress.FAILED
                if query.node.outcome is Outcome.FOREIGN_SOURCE:
                    query.node.mark(Outcome.FOREIGN_SOURCE.value)
        if query.node.state is NodeProgress.FAILED:
            self.parts[query.family].is_changed = True

    def count_bytes(self, query: MeasurementQuery, sent: int = 0, received: int = 0) -> None:
        """Count what a query or its answer has cost."""
        self.bytes_sent += sent
        self.bytes_received += received
        if query.kind is not QueryKind.PROBE:
            query.node.bytes_sent += sent
            query.node.bytes_received += received

    def on_not_sent(self, query: MeasurementQuery) -> None:
        """Take in that a query could not leave."""
        self.pending -= 1
        if query.kind is QueryKind.SCRAPE:
            self.parts[query.family].waiting -= 1
            query.node.outcome = Outcome.NOT_SENT
            query.node.state = NodeProgress.FAILED
            self.parts[query.family].is_changed = True

    def _take_contacts(self, part: FamilyNodes, compact: bytes) -> None:
        """Add contacts that a node has named, without those closer than anybody can be."""
        contacts, prefix = self._read(part.family, compact), self.info_hash[:IMPOSSIBLY_CLOSE]
        part.add(each for each in contacts[:OVERSIZED] if each[0][:IMPOSSIBLY_CLOSE] != prefix)

    def _on_answer(self, query: MeasurementQuery, response: Response, took: float) -> None:
        node, part = query.node, self.parts[query.family]
        compact = response.nodes if part.family is Family.IPV4 else response.nodes6
        if compact and part.follows:
            self._take_contacts(part, compact)
        elif compact:
            part.unread.append(compact)
        node.rtt = took
        node.version = response.version
        node.seeds_filter, node.peers_filter = response.seeds_filter, response.peers_filter
        node.values = self._peers_of(response)
        if response.node_id != node.node_id:
            node.outcome = Outcome.WRONG_ID
            node.mark(Outcome.WRONG_ID.value)
            return
        node.outcome = Outcome.ANSWERED
        node.state = NodeProgress.COUNTS
        if self._probes.is_liar(node.endpoint):
            node.mark(self._probes.MARK)
        elif node.claims_peers:
            self._ask_on(query)

    def _peers_of(self, response: Response) -> tuple[Address, ...]:
        """Return the peers that a node has named; the same ones are named by many."""
        if not response.values:
            return ()
        values, known = response.values[:MAX_VALUES], self._peers
        new = tuple(value for value in values if value not in known)
        known.update(zip(new, response._replace(values=new).peers(), strict=True))
        return tuple(known[value] for value in values)

    def _ask_on(self, query: MeasurementQuery) -> None:
        """Ask a node that says it has peers for those it kept back, and perhaps whether it always does."""
        family, node = query.family, query.node
        more = self._next if self.most_bytes is None else self._held_back
        if not node.values:
            more.append(MeasurementQuery(self, family, node, QueryKind.LISTING, self.info_hash))
        if self._probes.wants(node.endpoint):
            more.append(
                MeasurementQuery(self, family, node, QueryKind.PROBE, self._probes.target(self.info_hash))
            )
