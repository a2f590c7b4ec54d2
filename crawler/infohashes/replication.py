"""How many nodes store an info-hash, found by querying those closest to it: for the population.

Only nodes that gave a sample count, because the estimate is about them
(`infohash_population.population`).  A node that returns peers is queried once for a canary, an info-hash
that was never announced, and does not count if it returns peers of that one too.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from crawler.core.exclusion import Excludes
from crawler.core.pace import Pace
from crawler.core.query_loop import ClientFacts, Crawl
from crawler.db.store_samples import StoreSamples
from crawler.settings import CrawlSettings
from crawler.zone import Zone
from dhtnode import Address, InfoHash, QueryError, QueryTimeout, Scope
from dhtnode.krpc import CompactContacts, GetPeers, Response
from dhtnode.net import Outgoing
from dhtnode.swarm import CanaryHashes

HOST_PAUSE = 0.1  # seconds, when all that is left is for hosts queried a moment ago
LOOKED_UP = 400  # info-hashes: their mean then errs by about 3 %
MOST_OF_ONE_NODE = 4  # looked up, in a network of few nodes
CLOSEST = 16  # nodes queried for each: announced to 8, with some that have joined in between since
ATTEMPTS = 2
HOST_RATE = 0.5  # queries per second to one node: near several of the info-hashes, it is queried for each


@dataclass(slots=True)
class Target:
    """An info-hash and the nodes that may store it; `holders` are those found to.

    `waiting` counts the queries about it that are still to end.
    """

    number: int
    info_hash: bytes
    candidates: Sequence[tuple[bytes, Address]]
    holders: set[bytes] = field(default_factory=set)
    waiting: int = 0


@dataclass(slots=True)
class TargetQuery:
    """A node that is queried for one info-hash, or for a canary near it."""

    target: Target
    node_id: bytes
    address: Address
    attempts_left: int = ATTEMPTS
    canary: bytes | None = None


def choose_targets(
    stores: StoreSamples,
    zone: Zone,
    random: Random,
    is_private: Callable[[bytes], bool] = lambda _: False,
) -> list[Target]:
    """Draw info-hashes of random nodes among those that gave samples, with the nodes to query for each.

    Those outside of the zone have no candidates and no holders.  Private ones are not drawn (BEP 27).
    """
    targets = []
    most = max(1, min(MOST_OF_ONE_NODE, LOOKED_UP // max(len(stores), 1)))
    for number in random.sample(range(1, len(stores) + 1), min(len(stores), LOOKED_UP)):
        node = stores.store(number)
        shown = [node.samples[at : at + 20] for at in range(0, len(node.samples), 20)]
        public = [info_hash for info_hash in shown if not is_private(info_hash)]
        for info_hash in random.sample(public, min(most, len(public))):
            target = Target(number, info_hash, ())
            if zone.covers(info_hash):
                closest = stores.closest(info_hash, CLOSEST)
                target.holders.add(node.node_id)
                target.candidates = [
                    (each.node_id, each.address) for each in closest if each.node_id != node.node_id
                ]
            targets.append(target)
    return targets


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
        self._liars: set[bytes] = set()
        self._excludes = excludes
        self._family = client.family
        self._compact = CompactContacts(client.family, client.scope)
        settings = replace(settings, host_rate=HOST_RATE, host_burst=1.0)
        self._pace = Pace(settings, now, by_endpoint=client.scope is Scope.LOOPBACK)
        self._get_peers = client.template(lambda target: GetPeers(InfoHash(target)))
        self._queue: deque[TargetQuery] = deque()
        self.queries = 0

    def add(self, targets: Sequence[Target]) -> None:
        """Have the holders of these info-hashes looked for."""
        for target in targets:
            for node_id, address in target.candidates:
                if not self._is_excluded(node_id, address):
                    self._add(TargetQuery(target, node_id, address))

    def remove_liars(self, targets: Sequence[Target]) -> None:
        """Take away the holders that claim to store everything, once the search has ended."""
        for target in targets:
            queried = (node_id for node_id, _ in target.candidates)
            target.holders.difference_update(self._liars.intersection(queried))

    def _is_excluded(self, node_id: bytes, address: Address) -> bool:
        if self._excludes is None:
            return False
        return self._excludes(node_id, self._compact.endpoint_of(address), self._family)

    def next_query(self, now: float) -> Outgoing[TargetQuery] | float | None:
        """Return a query to the first node that the pace allows to query."""
        for _ in range(len(self._queue)):
            wait = self._pace.wait_time(now)
            if wait > 0:
                return wait
            query = self._queue.popleft()
            endpoint = self._compact.endpoint_of(query.address)
            if self._pace.host_wait_time(endpoint, now) > 0:
                self._queue.append(query)
                continue
            self._pace.count_query(endpoint, now)
            self.queries += 1
            return self._get_peers, query.canary or query.target.info_hash, query.address, query
        return HOST_PAUSE if self._queue else None

    def on_stuck(self, query: TargetQuery, _now: float) -> None:
        """Query the node later."""
        self._queue.appendleft(query)

    def on_not_sent(self, query: TargetQuery, _now: float) -> None:
        """Count it as an attempt."""
        self._fail(query)

    def on_end(self, query: TargetQuery, result: Response | QueryError, _took: float, _now: float) -> None:
        """Note a holder, and check with a canary whether it claims to store everything."""
        if isinstance(result, QueryTimeout):
            self._fail(query)
            return
        if isinstance(result, Response):
            self._note(query, result)
        query.target.waiting -= 1

    def _note(self, query: TargetQuery, response: Response) -> None:
        endpoint, target = self._compact.endpoint_of(query.address), query.target
        if query.canary is not None:
            if self._canaries.catches(endpoint, response):
                self._liars.add(query.node_id)
        elif response.values and response.node_id == query.node_id:
            target.holders.add(query.node_id)
            if self._canaries.wants(endpoint):
                canary = self._canaries.target(target.info_hash)
                self._add(TargetQuery(target, query.node_id, query.address, canary=canary))

    def _add(self, query: TargetQuery) -> None:
        query.target.waiting += 1
        self._queue.append(query)

    def _fail(self, query: TargetQuery) -> None:
        query.attempts_left -= 1
        if query.attempts_left:
            self._queue.append(query)
        else:
            query.target.waiting -= 1
