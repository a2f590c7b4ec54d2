"""With how many nodes an info-hash lies, found by asking those closest to it: for the population.

Only nodes that gave a sample count, because the estimate is about them (`discovery.population`).
Whoever names peers is asked once about an info-hash that nobody announced, and does not count if it
names peers of that one too.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import trio

from crawler.core.pace import Pace
from crawler.db.store_samples import StoreSamples
from crawler.infohashes.sampler import Excludes
from crawler.settings import CrawlSettings
from crawler.zone import Zone
from dhtnode import Address, InfoHash, QueryError, QueryTimeout, Scope
from dhtnode.krpc import CompactContacts, GetPeers, Response
from dhtnode.net import BulkClient
from dhtnode.swarm import CanaryHashes

LOOKED_UP = 400  # info-hashes: their mean then errs by about 3 %
MOST_OF_ONE_NODE = 4  # looked up, in a network of few nodes
CLOSEST = 16  # nodes asked for each: announced to 8, with some that have come in between since
ATTEMPTS = 2
HOST_RATE = 0.5  # queries per second to one node: near several of the info-hashes, it is asked for each


@dataclass(slots=True)
class Target:
    """Hold one info-hash and the nodes that may store it; `holders` are those found to."""

    number: int
    info_hash: bytes
    asked: Sequence[tuple[bytes, Address]]
    holders: set[bytes] = field(default_factory=set)


@dataclass(slots=True)
class _TargetQuery:
    """Be one node that is asked about one info-hash."""

    lookup: Target
    node_id: bytes
    address: Address
    attempts_left: int = ATTEMPTS
    is_probe: bool = False


def choose_targets(
    stores: StoreSamples,
    zone: Zone,
    random: Random,
    is_private: Callable[[bytes], bool] = lambda _: False,
) -> list[Target]:
    """Draw info-hashes of random nodes among those that gave samples, and find whom to ask about each.

    Those outside of the zone are asked of nobody: they have no holders.  Those that are private are not
    drawn (BEP 27).
    """
    lookups = []
    most = max(1, min(MOST_OF_ONE_NODE, LOOKED_UP // max(len(stores), 1)))
    for number in random.sample(range(1, len(stores) + 1), min(len(stores), LOOKED_UP)):
        node = stores.store(number)
        shown = [node.samples[at : at + 20] for at in range(0, len(node.samples), 20)]
        public = [info_hash for info_hash in shown if not is_private(info_hash)]
        for info_hash in random.sample(public, min(most, len(public))):
            lookup = Target(number, info_hash, ())
            if zone.covers(info_hash):
                closest = stores.closest(info_hash, CLOSEST)
                lookup.holders.add(node.node_id)
                lookup.asked = [
                    (each.node_id, Address(each.address, each.port))
                    for each in closest
                    if each.node_id != node.node_id
                ]
            lookups.append(lookup)
    return lookups


class ReplicationSearch:
    """Ask nodes for the peers of info-hashes, twice when they are silent."""

    def __init__(
        self,
        asker: BulkClient[Any],
        settings: CrawlSettings,
        random: Random,
        excludes: Excludes | None = None,
    ) -> None:
        """Take over the asker; nodes that `excludes` tells of are not asked."""
        self._canaries = CanaryHashes(random, share=1.0)
        self._liars: set[bytes] = set()
        self._excludes = excludes
        self._asker: BulkClient[_TargetQuery] = asker
        self._compact = CompactContacts(asker.family, asker.scope)
        by_endpoint = asker.scope is Scope.LOOPBACK
        settings = replace(settings, host_rate=HOST_RATE, host_burst=1.0)
        self._settings = settings
        self._pace = Pace(settings, trio.current_time(), by_endpoint=by_endpoint)
        self._question = asker.template(lambda target: GetPeers(InfoHash(target)))
        self._queue: deque[_TargetQuery] = deque()
        self.queries = 0
        asker.on_end = self._on_end

    async def run(self, lookups: Sequence[Target]) -> None:
        """Fill in the holders of all lookups."""
        self._queue.extend(
            _TargetQuery(lookup, node_id, address)
            for lookup in lookups
            for node_id, address in lookup.asked
            if not self._is_excluded(node_id, address)
        )
        try:
            while self._queue or self._asker.in_flight:
                now = trio.current_time()
                await self._asker.wait(now + self._ask_some(now))
                self._asker.receive()
        finally:
            self._asker.forget_all()
        for lookup in lookups:
            lookup.holders.difference_update(self._liars.intersection(found for found, _ in lookup.asked))

    def _is_excluded(self, node_id: bytes, address: Address) -> bool:
        if self._excludes is None:
            return False
        return self._excludes(node_id, self._compact.endpoint_of(address), self._asker.family)

    def _ask_some(self, now: float) -> float:
        """Ask whom the pace allows to ask, and return the seconds until it may allow more."""
        for _ in range(min(len(self._queue), self._asker.free_slots(self._settings.max_awaited))):
            wait = self._pace.wait_time(now)
            if wait > 0:
                return wait
            asked = self._queue.popleft()
            endpoint = self._compact.endpoint_of(asked.address)
            if self._pace.host_wait_time(endpoint, now) > 0:
                self._queue.append(asked)
                continue
            self._pace.count_query(endpoint, now)
            self.queries += 1
            if not self._asker.send(self._question, asked.lookup.info_hash, asked.address, asked, now):
                self._fail(asked)
                return 0.0
        return 0.1 if self._queue else 1.0

    def _on_end(self, asked: _TargetQuery, result: Response | QueryError, _took: float, _now: float) -> None:
        endpoint = self._compact.endpoint_of(asked.address)
        if isinstance(result, Response):
            if asked.is_probe:
                if self._canaries.catches(endpoint, result):
                    self._liars.add(asked.node_id)
            elif result.values and result.node_id == asked.node_id:
                asked.lookup.holders.add(asked.node_id)
                if self._canaries.wants(endpoint):
                    nobody = Target(0, self._canaries.target(asked.lookup.info_hash), ())
                    self._queue.append(_TargetQuery(nobody, asked.node_id, asked.address, is_probe=True))
        elif isinstance(result, QueryTimeout):
            self._fail(asked)

    def _fail(self, asked: _TargetQuery) -> None:
        asked.attempts_left -= 1
        if asked.attempts_left:
            self._queue.append(asked)
