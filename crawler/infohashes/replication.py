"""Which nodes store an info-hash, found by querying those closest to it: for the population.

Only nodes that gave a sample count, because the estimate is about them (`infohash_population.population`).
One that shows all that it stores has told already.  The others are queried with `scrape`: a node keeps one
store for both families, and names peers of one only, but it sends filters for what it holds (BEP 33).
A node that names peers, or sends filters, is queried once for a canary, an info-hash that was never
announced: peers of that one, and nothing counts that the node says; filters without peers, and its filters
tell nothing.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from random import Random

from crawler.analysis.infohash_population import NearStore
from crawler.core.exclusion import Excludes
from crawler.core.pace import Pace
from crawler.core.query_loop import ClientFacts, Crawl
from crawler.db.records.infohash_samples import StoreSample
from crawler.db.store_samples import StoreSamples
from crawler.settings import CrawlSettings
from crawler.zone import Zone
from dhtnode import InfoHash, QueryError, QueryTimeout, Scope
from dhtnode.krpc import CompactContacts, GetPeers, PackedEndpoint, Response
from dhtnode.net import Outgoing
from dhtnode.swarm import CanaryHashes

HOST_PAUSE = 0.1  # seconds, when all that is left is for hosts queried a moment ago
LOOKED_UP = 400  # info-hashes: a mean over them errs by about 3 %
CLOSEST = 16  # nodes queried for each: announced to 8, with some that have joined in between since
ATTEMPTS = 2
HOST_RATE = 0.5  # queries per second to one node: near several of the info-hashes, it is queried for each


class Told(Enum):
    """What a node says about an info-hash."""

    PEERS = "peers of it"
    FILTERS = "filters for it without peers of this family"
    NOTHING = "nothing about it"


@dataclass(slots=True)
class Target:
    """An info-hash and the nodes that may store it, closest first, but for one that is far and shows it.

    `waiting` counts the queries about it that are still to end.
    """

    info_hash: bytes
    candidates: Sequence[StoreSample]
    told: dict[bytes, Told] = field(default_factory=dict)
    waiting: int = 0


@dataclass(slots=True)
class TargetQuery:
    """A node that is queried for one info-hash, or for a canary near it."""

    target: Target
    node: StoreSample
    attempts_left: int = ATTEMPTS
    canary: bytes | None = None


def choose_targets(
    stores: StoreSamples,
    zone: Zone,
    random: Random,
    is_private: Callable[[bytes], bool] = lambda _: False,
) -> tuple[int, list[Target]]:
    """Return how many info-hashes nodes show, and some of them, with the nodes to query for each.

    Those outside of the zone do not count.  Private ones are not drawn (BEP 27).
    """
    targets, count = [], stores.count_shown(zone)
    for number in random.sample(range(1, count + 1), min(count, LOOKED_UP)):
        info_hash, first = stores.shown(number)
        if not is_private(info_hash):
            candidates = stores.closest(info_hash, CLOSEST)
            if all(each.address != first.address for each in candidates):
                candidates.append(first)
            targets.append(Target(info_hash, candidates))
    return count, targets


class ReplicationSearch(Crawl[TargetQuery]):
    """A search for the nodes that store some info-hashes; unresponsive nodes are queried twice."""

    needs_network = False

    def __init__(
        self,
        client: ClientFacts,
        settings: CrawlSettings,
        random: Random,
        now: float,
        excludes: Excludes | None = None,
    ) -> None:
        """Start empty; nodes that `excludes` returns True for are not queried."""
        self._canaries = CanaryHashes(random, share=1.0)
        self._liars: set[PackedEndpoint] = set()
        self._vague: set[PackedEndpoint] = set()
        self._filtering: set[PackedEndpoint] = set()
        self._excludes = excludes
        self._family = client.family
        self._compact = CompactContacts(client.family, client.scope)
        settings = replace(settings, host_rate=HOST_RATE, host_burst=1.0)
        self._pace = Pace(settings, now, by_endpoint=client.scope is Scope.LOOPBACK)
        self._get_peers = client.template(lambda target: GetPeers(InfoHash(target), scrape=True))
        self._queue: deque[TargetQuery] = deque()
        self.queries = 0

    def add(self, targets: Sequence[Target]) -> None:
        """Have the holders of these info-hashes looked for, among nodes that do not show all they store."""
        for target in targets:
            for node in target.candidates:
                if node.share < 1 and not self._is_excluded(node):
                    self._add(TargetQuery(target, node))

    def stores_near(self, target: Target) -> list[NearStore]:
        """Return what is known, once the search has ended, of the nodes that may hold an info-hash."""
        is_visible = any(
            told is Told.PEERS and self._compact.endpoint_of(node.address) not in self._liars
            for node in target.candidates
            if (told := target.told.get(node.node_id))
        )
        near = []
        for place, node in enumerate(target.candidates):
            shows = target.info_hash in node.shown
            rank = place if place < CLOSEST else None
            holds = self._holds(node, target.told.get(node.node_id), is_visible=is_visible)
            near.append(NearStore(rank, node.share, shows, shows if node.share >= 1 else holds))
        return near

    def _holds(self, node: StoreSample, told: Told | None, *, is_visible: bool) -> bool | None:
        """Return whether a node holds an info-hash, or None if what it told leaves that open.

        Of one without peers in this family, only nodes that send filters tell.
        """
        endpoint = self._compact.endpoint_of(node.address)
        if endpoint in self._liars:
            return False
        sends_filters = endpoint in self._filtering and endpoint not in self._vague
        match told:
            case Told.PEERS:
                return True
            case Told.FILTERS if sends_filters:
                return True
            case Told.NOTHING if sends_filters or is_visible:
                return False
        return None

    def _is_excluded(self, node: StoreSample) -> bool:
        if self._excludes is None:
            return False
        return self._excludes(node.node_id, self._compact.endpoint_of(node.address), self._family)

    def next_query(self, now: float) -> Outgoing[TargetQuery] | float | None:
        """Return a query to the first node that the pace allows to query."""
        for _ in range(len(self._queue)):
            wait = self._pace.wait_time(now)
            if wait > 0:
                return wait
            query = self._queue.popleft()
            endpoint = self._compact.endpoint_of(query.node.address)
            if self._pace.host_wait_time(endpoint, now) > 0:
                self._queue.append(query)
                continue
            self._pace.count_query(endpoint, now)
            self.queries += 1
            return self._get_peers, query.canary or query.target.info_hash, query.node.address, query
        return HOST_PAUSE if self._queue else None

    def on_stuck(self, query: TargetQuery, _now: float) -> None:
        """Query the node later."""
        self._queue.appendleft(query)

    def on_not_sent(self, query: TargetQuery, _now: float) -> None:
        """Count it as an attempt."""
        self._fail(query)

    def on_end(self, query: TargetQuery, result: Response | QueryError, _took: float, _now: float) -> None:
        """Note what a node says, and check with a canary whether it says so about everything."""
        if isinstance(result, QueryTimeout):
            self._fail(query)
            return
        if isinstance(result, Response):
            self._note(query, result)
        query.target.waiting -= 1

    def _note(self, query: TargetQuery, response: Response) -> None:
        endpoint, target = self._compact.endpoint_of(query.node.address), query.target
        told = _told(response)
        if query.canary is not None:
            if self._canaries.catches(endpoint, response):
                self._liars.add(endpoint)
            elif told is Told.FILTERS:
                self._vague.add(endpoint)
        elif response.node_id == query.node.node_id:
            target.told[query.node.node_id] = told
            if response.peers_filter is not None:
                self._filtering.add(endpoint)
            if told is not Told.NOTHING and self._canaries.wants(endpoint):
                canary = self._canaries.target(target.info_hash)
                self._add(TargetQuery(target, query.node, canary=canary))

    def _add(self, query: TargetQuery) -> None:
        query.target.waiting += 1
        self._queue.append(query)

    def _fail(self, query: TargetQuery) -> None:
        query.attempts_left -= 1
        if query.attempts_left:
            self._queue.append(query)
        else:
            query.target.waiting -= 1


def _told(response: Response) -> Told:
    filters = [each for each in (response.seeds_filter, response.peers_filter) if each is not None]
    if response.values or any(map(any, filters)):
        return Told.PEERS
    return Told.FILTERS if filters else Told.NOTHING
