"""The contacts that nodes return, for many answers at once: what is wrong with them, and which are new."""

from collections.abc import Iterable, Sequence
from itertools import islice
from math import inf
from random import Random
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crawler.core.contact_table import Bytes, Numbers, id_prefixes
from crawler.core.exclusion import Excludes
from crawler.core.frontier import Frontier
from crawler.core.query_loop import ClientFacts
from crawler.core.sightings import HALVES, NO_HALF
from crawler.core.told_size import ToldSize
from crawler.core.visit import OpenVisit
from crawler.zone import Zone
from dhtnode import Address, Family, Scope
from dhtnode.ids import ID_BYTES, IMPOSSIBLY_CLOSE
from dhtnode.krpc import OVERSIZED, CompactContacts, Response

MANY = 1024  # answers and visits that have ended, which are recorded at once
LONGEST_WAIT = 0.1  # seconds until they are in any case
FADING = 0.8  # of what was counted, at every batch of rows
_ADDED_AT_ONCE = 4096  # nodes to start from
_FORBIDDEN, _ALLOWED, _MIXED = range(3)  # addresses by their first octet
_KINDS = {False: _FORBIDDEN, True: _ALLOWED, None: _MIXED}


class Referrals(NamedTuple):
    """Which contacts were returned by nodes whose word counts, each contact once for each node.

    `contacts` are numbers in the frontier, `referrers` the first 32 bits of the ids of the nodes.
    """

    contacts: Numbers
    referrers: NDArray[np.uint32]


class NewShare:
    """The share of new contacts among those returned of late: old counts fade."""

    __slots__ = ("all", "new")

    def __init__(self) -> None:
        self.all = self.new = 0.0

    def fade(self) -> None:
        """Let what was counted so far weigh less."""
        self.all *= FADING
        self.new *= FADING


class ReturnedContacts:
    """A reader of the contacts in answers, which adds them to a frontier and marks what is suspect."""

    def __init__(
        self,
        client: ClientFacts,
        max_endpoints: int,
        zone: Zone,
        excludes: Excludes | None,
        random: Random,
    ) -> None:
        """Start with an empty frontier for a zone, without the contacts that `excludes` returns True for."""
        is_loopback = client.scope is Scope.LOOPBACK  # where one address holds all nodes
        self.frontier = Frontier(client.family, max_endpoints, random, counts_hosts=not is_loopback)
        self._family = client.family
        self._size = client.family.contact_bytes
        self._scope = client.scope
        self._compact = CompactContacts(client.family, client.scope)
        self._of_strangers = CompactContacts(client.family, client.scope.of_strangers)
        octets, of_strangers = (
            scope.first_octets() if client.family is Family.IPV4 else (None,) * 256
            for scope in (client.scope, client.scope.of_strangers)
        )
        self._kinds = np.array([_KINDS[each] for each in octets], np.uint8)
        # With another first octet, what a stranger returns is as good as what others do.
        self._doubtful = frozenset(octet for octet in range(256) if of_strangers[octet] is not True)
        self._strangers_differ = client.scope.of_strangers is not client.scope
        self._zone = zone
        self._excludes = excludes
        self._random = random
        self._answers: list[tuple[OpenVisit, bytes, bytes, int]] = []
        self._recorded_at = -inf
        self.share = NewShare()
        self._told_size = ToldSize()

    def add(self, nodes: Iterable[tuple[bytes, Address]]) -> int:
        """Add nodes to start from, those that may be visited; return how many are new."""
        new, remaining = 0, iter(nodes)
        while some := list(islice(remaining, _ADDED_AT_ONCE)):
            contacts = [
                self._compact.write(node_id, self._compact.endpoint_of(address))
                for node_id, address in some
                if self._scope.allows(address)
            ]
            new += self.frontier.add(b"".join([each for each in contacts if self._is_inside(each)]))
        return new

    def note(self, visit: OpenVisit, response: Response) -> None:
        """Note the answer to the query under way, to be recorded with others.

        The half of the crawl that a node belongs to is drawn at its first answer.
        """
        compact = response.nodes if self._family is Family.IPV4 else response.nodes6
        if compact:
            visit.contacts += len(compact) // self._size
            half = NO_HALF
            # Under a wrong id its word is not counted: it would belong to another half.
            if response.node_id == visit.contact[:ID_BYTES]:
                half = visit.half = visit.half or HALVES[self._random.getrandbits(1)]
            self._answers.append((visit, visit.target, compact, half))

    @property
    def has_noted(self) -> bool:
        """Return whether answers wait to be recorded."""
        return bool(self._answers)

    def is_due(self, now: float, ended: int) -> bool:
        """Return whether it is time to record the answers noted, and what so many visits came to.

        That is when they are many, or have waited for `LONGEST_WAIT`.
        """
        if not (ended or self._answers):
            self._recorded_at = now
            return False
        return now - self._recorded_at >= LONGEST_WAIT or len(self._answers) + ended >= MANY

    def record(self, now: float) -> Referrals:
        """Record the contacts of the answers noted, in their visits and in the frontier.

        Costs some 0.4 ms, and some 4 us for each answer.
        """
        answers, self._answers, self._recorded_at = self._answers, [], now
        if not answers:
            return Referrals(np.zeros(0, np.int64), np.zeros(0, np.uint32))
        pieces = list[bytes]()
        for visit, target, compact, _ in answers:
            # Those returned before come first: a node counts once for each contact.
            pieces += visit.returned, self._checked(visit, compact, target)
            visit.returned += pieces[-1]
        visits, _, _, halves = zip(*answers, strict=True)
        contacts = np.frombuffer(b"".join(pieces), np.uint8).reshape(-1, self._size)
        lengths = np.array([len(piece) for piece in pieces]) // self._size
        sources = np.repeat(np.arange(len(pieces)), lengths)
        is_allowed = self._are_allowed(contacts)
        allowed = np.bincount(sources[is_allowed], minlength=len(pieces))
        for source in np.flatnonzero(allowed < lengths).tolist():
            # Those returned before were counted before.
            if source & 1:
                visits[source >> 1].check_count(int(lengths[source]), int(allowed[source]))
        if self._told_size.wants_more:
            self._learn_size(answers, contacts[is_allowed], sources[is_allowed])
        inside = np.flatnonzero(is_allowed)
        inside = inside[self._are_inside(contacts[inside])]
        self.share.all += int(np.count_nonzero(sources[inside] & 1))
        return self._add(visits, contacts[inside], sources[inside], np.array(halves, np.uint8))

    def _learn_size(
        self, answers: Sequence[tuple[OpenVisit, bytes, bytes, int]], contacts: Bytes, sources: Numbers
    ) -> None:
        """Learn from the answers that name the neighbours of a node how large the network is."""
        is_listened_to = np.zeros(2 * len(answers), np.bool_)
        for place, (visit, target, _, half) in enumerate(answers):
            is_own = visit.contact.startswith(target[:-1])  # the target has another last bit
            is_listened_to[2 * place + 1] = is_own and half != NO_HALF
        is_told = is_listened_to[sources]
        if not is_told.any():
            return
        owners = sources[is_told] >> 1
        ids = np.frombuffer(b"".join([visit.contact[:8] for visit, *_ in answers]), ">u8").astype(np.uint64)
        neighbours = np.ascontiguousarray(contacts[is_told, :8]).view(">u8").ravel().astype(np.uint64)
        self._told_size.add(neighbours ^ ids[owners], owners)
        self.frontier.told_size = self._told_size.nodes >> self._zone.bits

    def _add(
        self, visits: Sequence[OpenVisit], contacts: Bytes, sources: Numbers, halves: Bytes
    ) -> Referrals:
        keys, owners = self.frontier.table.keys(contacts), sources >> 1
        # Over IPv4 this is exact, since an endpoint has 48 bits and there are fewer than 2**16 sources.
        places = keys << np.uint64(16) | sources.astype(np.uint64)
        order = np.argsort(places)
        nodes = places[order] >> np.uint64(1)  # and endpoints: what was returned before comes first
        is_counted = sources[order] & 1 > 0
        is_counted[1:] &= nodes[1:] != nodes[:-1]
        first = np.sort(order[is_counted])
        owners = owners[first]
        new, numbers = self.frontier.add_returned(contacts[first], keys[first], owners, halves, len(visits))
        for owner in np.flatnonzero(new).tolist():
            visits[owner].new_contacts += int(new[owner])
        self.share.new += int(new.sum())
        counted = (numbers >= 0) & (halves[owners] != NO_HALF)
        ids = b"".join([visit.contact[:4] for visit in visits])
        referrers = id_prefixes(np.frombuffer(ids, np.uint8).reshape(-1, 4))
        return Referrals(numbers[counted], referrers[owners[counted]])

    def _checked(self, visit: OpenVisit, compact: bytes, target: bytes) -> bytes:
        """Mark what is wrong with the contacts of one answer, and return those that are used."""
        size = self._size
        if (
            self._strangers_differ
            and not self._doubtful.isdisjoint(compact[ID_BYTES::size])
            and self._scope is not self._scope.told_by(visit.address)
        ):
            told = self._of_strangers.read(compact)
            compact = b"".join([self._compact.write(*contact) for contact in told])
        total = len(compact) // size
        # A search of the bytes tells nearly always that nothing is as close as this.
        if target[:IMPOSSIBLY_CLOSE] in compact:
            visit.check_distances(target, self._compact.read(compact))
        if total <= OVERSIZED:
            return compact
        each = [compact[at : at + size] for at in range(0, total * size, size)]
        allowed = [contact for contact in each if self._compact.read(contact)]
        visit.check_count(total, len(allowed))
        return b"".join([contact for contact in allowed if self._is_inside(contact)][:OVERSIZED])

    def _are_allowed(self, contacts: Bytes) -> NDArray[np.bool_]:
        """Return which contacts the client may talk to."""
        kinds = self._kinds[contacts[:, ID_BYTES]]
        is_allowed: NDArray[np.bool_] = (kinds == _ALLOWED) & (contacts[:, -2] | contacts[:, -1] > 0)
        for position in np.flatnonzero(kinds == _MIXED).tolist():
            is_allowed[position] = bool(self._compact.read(contacts[position].tobytes()))
        return is_allowed

    def _are_inside(self, contacts: Bytes) -> NDArray[np.bool_]:
        """Return which contacts lie in the zone and are not excluded."""
        if self._excludes is not None:
            return np.fromiter(
                (self._is_inside(each.tobytes()) for each in contacts), np.bool_, len(contacts)
            )
        if not self._zone.bits:
            return np.ones(len(contacts), np.bool_)
        is_inside: NDArray[np.bool_] = id_prefixes(contacts) >> 32 - self._zone.bits == self._zone.prefix
        return is_inside

    def _is_inside(self, contact: bytes) -> bool:
        if not self._zone.covers(contact):
            return False
        endpoint = int.from_bytes(contact[ID_BYTES:], "big")
        return self._excludes is None or not self._excludes(contact[:ID_BYTES], endpoint, self._family)
