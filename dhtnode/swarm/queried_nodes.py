"""The nodes that are queried about one swarm, closest first, and what each has said so far."""

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from enum import Enum, IntEnum
from operator import attrgetter

from dhtnode.addresses import Address, Family
from dhtnode.ids import NodeId, as_id
from dhtnode.krpc.compact import PackedContact, PackedEndpoint, host_of
from dhtnode.krpc.scrape_filter import FILTER_BYTES
from dhtnode.outcomes import Outcome
from dhtnode.swarm.replies import Reply

CLOSEST = 8  # nodes that a peer announces to (BEP 5)
MOST_QUERIED = 12  # scrapes for a swarm and family whose nodes are known, without those that extend
MOST_QUERIED_ON_THE_WAY = 80  # the same in a lookup
AT_ONCE_ON_THE_WAY = 4  # queries of one lookup in flight
MOST_CANDIDATES = 64  # of a lookup: nodes that are farther are forgotten
MOST_SILENT = 2  # nodes of one host that are queried while none of them has answered
TOO_FEW = 4  # answers of 12 nodes known: then what is known is out of date, and a lookup has to do

_DISTANCE = attrgetter("distance")
_EMPTY = bytes(FILTER_BYTES)
_UNKNOWN = Address("", 0)


class QueryKind(IntEnum):
    """The queries of a measurement."""

    SCRAPE = 0
    LISTING = 1
    """The same without `scrape`."""

    CANARY = 2
    """About an info-hash that no peer announced."""

    CONTACTS = 3
    """`find_node`, to a node that returned peers and no contacts."""


class NodeProgress(Enum):
    """The states of one node."""

    NEW = 0
    WAITING = 1
    COUNTS = 2
    """It answered, and nothing speaks against it."""

    FAILED = 3
    """It timed out, or is not believed: another one is queried instead."""


class QueriedNode(Reply):
    """One node, with what it has replied about one swarm; what sends the first query sets its address."""

    __slots__ = ("bytes_received", "bytes_sent", "contact_queries", "distance", "endpoint", "state")

    def __init__(self, node_id: bytes, endpoint: PackedEndpoint, distance: int) -> None:
        super().__init__(NodeId(node_id), _UNKNOWN, outcome=Outcome.TIMEOUT)
        self.endpoint = endpoint
        self.distance = distance
        self.state = NodeProgress.NEW
        self.bytes_sent = 0
        self.bytes_received = 0
        self.contact_queries = 0

    @property
    def claims_peers(self) -> bool:
        """Return whether it says that any peer is in the swarm."""
        seeds, leechers = self.seeds_filter or _EMPTY, self.peers_filter or _EMPTY
        return bool(self.peers) or seeds != _EMPTY or leechers != _EMPTY

    @property
    def filtered_peers(self) -> int:
        """Return about how many peers its filters stand for."""
        filters = (self.seeds_filter, self.peers_filter)
        return sum(int.from_bytes(packed).bit_count() for packed in filters if packed) // 2

    def fail(self, outcome: Outcome) -> None:
        """Record that no usable answer came; another node is queried instead."""
        self.outcome = outcome
        self.state = NodeProgress.FAILED

    def mark(self, *marks: str) -> None:
        """Record why it is not believed; another node is queried instead."""
        self.marks = (*self.marks, *(mark for mark in marks if mark not in self.marks))
        self.state = NodeProgress.FAILED


class FamilyNodes:
    """The nodes of one family, closest first."""

    def __init__(self, target: int, family: Family, known: Iterable[PackedContact], *, follows: bool) -> None:
        """Start with nodes that are known; with `follows`, contacts that nodes return are queried too."""
        self.family = family
        self.wanted = CLOSEST
        self.follows = False
        self.most = MOST_QUERIED
        self.queried = 0
        self.waiting = 0
        self.nodes: list[QueriedNode] = []
        self.unread: list[bytes] = []  # compact contacts, as long as they are not followed
        self.is_changed = True  # since `take_new`
        self._target = target
        # Hosts that may be no nodes, and know nothing of us: how many of each were queried in vain.
        self._silent = Counter[int]()
        self._heard: set[int] = set()
        # Each endpoint with the first id that it has.
        ids = {endpoint: node_id for node_id, endpoint in reversed([*known])}
        self._endpoints = set(ids)
        # Most are never queried, so they become nodes when their turn comes.
        self._later = deque(
            sorted([(int.from_bytes(node_id, "big") ^ target, endpoint) for endpoint, node_id in ids.items()])
        )
        if follows:
            self.begin_lookup()

    def add(self, contacts: Iterable[PackedContact]) -> None:
        """Add those not met before, each endpoint once."""
        for node_id, endpoint in contacts:
            if endpoint in self._endpoints:
                continue
            self._endpoints.add(endpoint)
            distance = int.from_bytes(node_id, "big") ^ self._target
            at = bisect_left(self.nodes, distance, key=_DISTANCE)
            if at < MOST_CANDIDATES:
                self.nodes.insert(at, QueriedNode(node_id, endpoint, distance))
        del self.nodes[MOST_CANDIDATES:]

    def _in_order(self) -> Iterator[QueriedNode]:
        yield from self.nodes
        while self._later:
            distance, endpoint = self._later.popleft()
            self.nodes.append(QueriedNode(as_id(distance ^ self._target), endpoint, distance))
            yield self.nodes[-1]

    def take_new(self) -> list[QueriedNode]:
        """Return the nodes to query now: of the closest that have not failed those not queried yet.

        Those of a host that is silent are passed over, until it answers.
        """
        if not (self.is_changed or self.follows):
            return []
        self.is_changed = False
        found: list[QueriedNode] = []
        places = self.wanted
        # On the way to the closest, each answer may save other queries.
        at_once = AT_ONCE_ON_THE_WAY if self.follows else self.wanted
        for node in self._in_order():
            if node.state is NodeProgress.FAILED or self._is_withheld(node):
                continue
            if not places or self.waiting >= at_once or self.queried >= self.most:
                break
            places -= 1
            if node.state is NodeProgress.NEW:
                node.state = NodeProgress.WAITING
                self._silent[host_of(node.endpoint, self.family)] += 1
                self.queried += 1
                self.waiting += 1
                found.append(node)
        return found

    def hear(self, node: QueriedNode) -> None:
        """Record that a node is there, so that others of its host may be queried."""
        host = host_of(node.endpoint, self.family)
        if host not in self._heard:
            self._heard.add(host)
            self.is_changed |= self._silent[host] >= MOST_SILENT

    def _is_withheld(self, node: QueriedNode) -> bool:
        if node.state is not NodeProgress.NEW:
            return False
        host = host_of(node.endpoint, self.family)
        return self._silent[host] >= MOST_SILENT and host not in self._heard

    def relevant(self) -> list[QueriedNode]:
        """Return the nodes near enough to count, with those that failed among them, all queried."""
        places, found = self.wanted, []
        for node in self.nodes:
            if not places:
                break
            if node.state is not NodeProgress.NEW:
                found.append(node)
                places -= node.state is NodeProgress.COUNTS
        return found

    def extend(self, more: int) -> None:
        """Query so many more nodes, and some for those of them that fail."""
        self.wanted += more
        self.most += 3 * more // 2
        self.is_changed = True

    def has_place(self) -> bool:
        """Return whether a node that was marked leaves its place to one not queried yet."""
        if self.queried < self.most:
            counting = [
                node
                for node in self.nodes
                if node.state is not NodeProgress.FAILED and not self._is_withheld(node)
            ]
            self.is_changed |= any(node.state is NodeProgress.NEW for node in counting[: self.wanted])
            self.is_changed |= len(counting) < self.wanted and bool(self._later)
        return self.is_changed

    def is_out_of_date(self) -> bool:
        """Return whether too few of the nodes known are still there."""
        if self.follows or self.queried < self.most:
            return False
        return sum(node.outcome is Outcome.ANSWERED for node in self.nodes) < TOO_FEW

    def begin_lookup(self) -> list[bytes]:
        """Query contacts that nodes return from now on; return those that came before."""
        self.follows = True
        self.most = MOST_QUERIED_ON_THE_WAY
        self.nodes = list(self._in_order())
        return self.unread
