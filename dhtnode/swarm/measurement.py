"""One swarm measured: which nodes to query, when enough have answered, and the result.

It has no socket and no clock.  The nodes closest to the info-hash are queried for their filters, the next
one for each that times out or is caught lying; a node that sends filters and keeps its peers back
(libtorrent) is queried once more without `scrape`; and where stores look cut, further nodes are queried.
The nodes of a huge swarm are queried for peers several times: filters are full then (`repeated_lists`).
Where nodes are looked up, the contacts that they return are queried too.  Each family has its own nodes,
and all count for one swarm.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeAlias

from dhtnode.addresses import Address, Family
from dhtnode.errors import QueryError, QueryRefused, QueryTimeout
from dhtnode.ids import IMPOSSIBLY_CLOSE, InfoHash
from dhtnode.krpc.compact import OVERSIZED, PackedContact, unpack_address
from dhtnode.krpc.messages import Response
from dhtnode.outcomes import Outcome, outcome_of
from dhtnode.swarm.canary_hashes import CanaryHashes
from dhtnode.swarm.capture_history import CaptureHistory, lists_wanted, more_nodes_wanted
from dhtnode.swarm.estimate import SwarmEstimate, capture_histories
from dhtnode.swarm.joint_estimate import estimate_swarm
from dhtnode.swarm.queried_nodes import FamilyNodes, NodeProgress, QueriedNode, QueryKind
from dhtnode.swarm.repeated_lists import RepeatedLists
from dhtnode.swarm.replies import Observation
from dhtnode.swarm.trust_marks import Mark, classify

MOST_CLOSEST = 32  # where stores look cut, or full
MOST_BYTES = 7000  # for the closest nodes of a swarm whose nodes are looked up; with the others below 8200
MAX_PEERS = 1000  # taken from one node; clients send 100 at most
KEY_BYTES = 32  # of what makes the host hashes
_MOST_CONTACT_QUERIES = 5  # to one node
SMALL_BYTES = 450  # of a query and its answer, without the peers in it
_VALUE_BYTES, _MOST_VALUES = 8, 100
Reader: TypeAlias = Callable[[Family, bytes], Sequence[PackedContact]]
"""Reads compact contacts, and leaves out nodes that we may not query."""


@dataclass(slots=True)
class MeasurementQuery:
    """One query to one node; what sends it sets the address of the node, and the time if it is stored."""

    measurement: "Measurement"
    family: Family
    node: QueriedNode
    kind: QueryKind
    target: bytes


@dataclass(frozen=True, slots=True)
class SwarmMeasurement:
    """One measurement of one swarm, with the observations that it was computed from.

    `nodes_asked` counts the nodes near the info-hash that were queried, `nodes_answered` those that
    answered.  `observations` are in the order of families and distance, those that are not believed and
    the nodes that did not answer included.  Bytes are payload, of the whole lookup; `queries` are those that
    were made of it, without what was sent again.  `taken_at` is UTC text, `source` tells how we came to
    know the info-hash.
    """

    info_hash: InfoHash
    estimate: SwarmEstimate
    observations: tuple[Observation, ...] = ()
    nodes_asked: int = 0
    nodes_answered: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    taken_at: str | None = None
    source: str | None = None
    name: str | None = None
    queries: int = 0


class Measurement:
    """The queries about one swarm and their answers, until there is a result."""

    def __init__(
        self,
        info_hash: InfoHash,
        canaries: CanaryHashes,
        read: Reader,
        *,
        key: bytes = b"",
        most_bytes: int | None = None,
    ) -> None:
        """Begin without nodes; `key` goes into the host hashes (`with_named_hosts`).

        With `most_bytes`, nodes are queried a second time only while the closest ones have cost less.
        """
        self.info_hash = info_hash
        self.most_bytes = most_bytes
        self.bytes_sent = 0
        self.bytes_received = 0
        self.queries = 0
        self.pending = 0
        self.families: dict[Family, FamilyNodes] = {}
        self._canaries = canaries
        self._read = read
        self._key = key
        self._next: list[MeasurementQuery] = []
        self._held_back: list[MeasurementQuery] = []
        self._terse: list[MeasurementQuery] = []  # for contacts, where too few nodes are found without
        self._repeated: dict[Family, RepeatedLists] = {}  # of a huge swarm
        self._observations: tuple[Observation, ...] = ()
        self._histories: dict[Family, CaptureHistory] = {}

    def add_nodes(self, family: Family, known: Iterable[PackedContact], *, follows: bool) -> None:
        """Add the nodes to start from; with `follows`, contacts that they return are queried too."""
        target = int.from_bytes(self.info_hash, "big")
        self.families[family] = FamilyNodes(target, family, known, follows=follows)

    def nodes(self) -> list[QueriedNode]:
        """Return the nodes that count, and among them those that failed, closest first in each family."""
        return [node for nodes in self.families.values() for node in nodes.relevant()]

    @property
    def has_answers(self) -> bool:
        """Return whether any of the nodes near enough to count has answered."""
        return any(each.outcome is Outcome.ANSWERED for each in self._observations)

    def named_peers(self) -> list[tuple[Address, ...]]:
        """Return the peers that each node named whose reply is believed."""
        return [
            tuple(map(unpack_address, node.peers))
            for node in self.nodes()
            if node.rtt_ms is not None and not node.marks
        ]

    def take_queries(self) -> list[MeasurementQuery]:
        """Return what to query now; when that is nothing and nothing is pending, the result is there."""
        while True:
            queries, self._next = self._next, []
            for family, nodes in self.families.items():
                queries += [
                    MeasurementQuery(self, family, node, QueryKind.SCRAPE, self.info_hash)
                    for node in nodes.take_new()
                ]
            self.pending += len(queries)
            self.queries += len(queries)
            if self.pending or not self._goes_on():
                return queries

    def on_end(self, query: MeasurementQuery, result: Response | QueryError, took: float) -> None:
        """Handle the end of a query, `took` seconds after it was sent."""
        self.pending -= 1
        node = query.node
        if isinstance(result, Response | QueryRefused):
            self.families[query.family].hear(node)
        if query.kind is QueryKind.CANARY:
            if isinstance(result, Response) and self._canaries.catches(node.endpoint, result):
                node.mark(Mark.ANSWERS_ANYTHING)
        elif query.kind is QueryKind.LISTING:
            if isinstance(result, Response) and result.node_id == node.node_id:
                self._take_list(query, (result.values or ())[:MAX_PEERS])
        elif query.kind is QueryKind.CONTACTS:
            if isinstance(result, Response):
                self._read_contacts(self.families[query.family], result)
            elif isinstance(result, QueryTimeout):
                self._ask_for_contacts(query.family, node)
        else:
            self.families[query.family].waiting -= 1
            if isinstance(result, Response):
                self._on_answer(query, result, took)
            else:
                node.fail(outcome_of(result))
                if node.outcome is Outcome.FOREIGN_SOURCE:
                    node.mark(Mark.FOREIGN_SOURCE)
        if node.state is NodeProgress.FAILED:
            self.families[query.family].is_changed = True

    def on_not_sent(self, query: MeasurementQuery) -> None:
        """Handle a query that could not leave."""
        self.pending -= 1
        self.queries -= 1
        if query.kind is QueryKind.SCRAPE:
            nodes = self.families[query.family]
            nodes.waiting -= 1
            nodes.is_changed = True
            query.node.fail(Outcome.NOT_SENT)

    def count_bytes(self, query: MeasurementQuery, sent: int = 0, received: int = 0) -> None:
        """Count what a query or its answer has cost."""
        self.bytes_sent += sent
        self.bytes_received += received
        if query.kind is not QueryKind.CANARY:
            query.node.bytes_sent += sent
            query.node.bytes_received += received

    def result(
        self, *, taken_at: str | None = None, source: str | None = None, silent_share: float | None = None
    ) -> SwarmMeasurement:
        """Return what was measured, once `take_queries` has ended; some 0.5 ms for 8 nodes with filters.

        `silent_share` is as for `estimate_swarm`.
        """
        believed = [each for each in self._observations if each.is_believed]
        observations = self._observations
        return SwarmMeasurement(
            self.info_hash,
            estimate_swarm(believed, self._histories, silent_share=silent_share),
            observations,
            nodes_asked=len(observations),
            nodes_answered=sum(each.outcome is Outcome.ANSWERED for each in observations),
            bytes_sent=self.bytes_sent,
            bytes_received=self.bytes_received,
            taken_at=taken_at,
            source=source,
            queries=self.queries,
        )

    def _goes_on(self) -> bool:
        """Return whether there is more to query, when all queries have ended."""
        outdated = [nodes for nodes in self.families.values() if nodes.is_out_of_date()]
        for nodes in outdated:
            for compact in nodes.begin_lookup():
                self._add_contacts(nodes, compact)
        if outdated or self._queries_for_contacts() or self._queries_held_back() or self._lists_again():
            return True
        self._classify()
        believed = [each for each in self._observations if each.is_believed]
        is_known = any(each.told.bits for each in believed)
        self._histories = capture_histories(believed) if is_known else {}
        goes_on = False
        for family, nodes in self.families.items():
            if family in self._histories:
                more = min(more_nodes_wanted(self._histories[family]), MOST_CLOSEST - nodes.wanted)
                if more > 0:
                    nodes.extend(more)
            goes_on |= nodes.has_place()
        return goes_on or self._begins_lists()

    def _begins_lists(self) -> bool:
        """Begin to ask nodes for several lists where that tells more than filters; return whether."""
        huge = [family for family, history in self._histories.items() if lists_wanted(history)]
        new = [family for family in huge if family not in self._repeated]
        self._repeated |= {family: RepeatedLists(self.families[family].relevant()) for family in new}
        return bool(new) and self._lists_again()

    def _lists_again(self) -> bool:
        """Queue one more list of each node of a huge swarm, until they tell enough; return whether any is."""
        for family, lists in self._repeated.items():
            self._next += [
                MeasurementQuery(self, family, node, QueryKind.LISTING, self.info_hash)
                for node in lists.wanted()
            ]
        if not self._next:
            for lists in self._repeated.values():
                lists.hand_over()
        return bool(self._next)

    def _take_list(self, query: MeasurementQuery, peers: Sequence[bytes]) -> None:
        if query.family in self._repeated:
            self._repeated[query.family].take(query.node, peers)
        else:
            query.node.peers = peers

    def _classify(self) -> None:
        """Observe what all nodes said, and mark what cannot be; some 0.3 ms for 8 with filters."""
        while True:
            relevant = [nodes.relevant() for nodes in self.families.values()]
            for found in relevant:
                for rank, node in enumerate(found):
                    node.rank = rank
            nodes = list(chain.from_iterable(relevant))
            self._observations = classify(nodes, self._key)
            for node, observation in zip(nodes, self._observations, strict=True):
                if observation.marks:
                    node.mark(*observation.marks)
            # Nodes that are farther may come to count for those that were marked.
            if len(self.nodes()) == len(nodes):
                return

    def _queries_for_contacts(self) -> bool:
        """Queue the queries for contacts of families in which fewer nodes count than are wanted."""
        terse, self._terse = self._terse, []
        short = {
            family
            for family, nodes in self.families.items()
            if terse and sum(node.state is NodeProgress.COUNTS for node in nodes.relevant()) < nodes.wanted
        }
        self._next += [query for query in terse if query.family in short]
        return bool(self._next)

    def _queries_held_back(self) -> bool:
        """Queue what was held back, as far as there are bytes left for it: canaries first."""
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

    def _add_contacts(self, nodes: FamilyNodes, compact: bytes) -> None:
        """Add contacts that a node has returned, without those closer than any node can be."""
        contacts, prefix = self._read(nodes.family, compact), self.info_hash[:IMPOSSIBLY_CLOSE]
        nodes.add(each for each in contacts[:OVERSIZED] if each[0][:IMPOSSIBLY_CLOSE] != prefix)

    def _on_answer(self, query: MeasurementQuery, response: Response, took: float) -> None:
        node, nodes = query.node, self.families[query.family]
        if not self._read_contacts(nodes, response) and nodes.follows and response.has_peers:
            self._ask_for_contacts(query.family, node)
        node.rtt_ms = round(1000 * took, 3)
        node.version = response.version
        node.seeds_filter, node.peers_filter = response.seeds_filter, response.peers_filter
        node.peers = (response.values or ())[:MAX_PEERS]
        if response.node_id != node.node_id:
            node.outcome = Outcome.WRONG_ID
            node.mark(Mark.WRONG_ID)
            return
        node.outcome = Outcome.ANSWERED
        node.state = NodeProgress.COUNTS
        if self._canaries.is_liar(node.endpoint):
            node.mark(Mark.ANSWERS_ANYTHING)
        elif node.claims_peers:
            self._query_again(query)

    def _ask_for_contacts(self, family: Family, node: QueriedNode) -> None:
        """Have a node asked for contacts, or asked again: packets get lost, and it may be the only way on."""
        node.contact_queries += 1
        if node.contact_queries <= _MOST_CONTACT_QUERIES:
            self._terse.append(MeasurementQuery(self, family, node, QueryKind.CONTACTS, self.info_hash))

    def _read_contacts(self, nodes: FamilyNodes, response: Response) -> bool:
        """Take in the contacts in a response, now or when nodes are looked up; return whether it has any."""
        compact = response.nodes if nodes.family is Family.IPV4 else response.nodes6
        if compact and nodes.follows:
            self._add_contacts(nodes, compact)
        elif compact:
            nodes.unread.append(compact)
        return bool(compact)

    def _query_again(self, query: MeasurementQuery) -> None:
        """Query a node that says it has peers for those it kept back, and perhaps for a canary."""
        family, node = query.family, query.node
        more = self._next if self.most_bytes is None else self._held_back
        if not node.peers:
            more.append(MeasurementQuery(self, family, node, QueryKind.LISTING, self.info_hash))
        if self._canaries.wants(node.endpoint):
            target = self._canaries.target(self.info_hash)
            more.append(MeasurementQuery(self, family, node, QueryKind.CANARY, target))
