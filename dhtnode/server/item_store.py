"""The items that were put to us, with ageing, rules of replacement, caps and shares (BEP 44).

An item lives for a fixed time after it was last put, from any address.  It belongs to the address
that put it first (IPv6: the /64).  Items and bytes in all bound the store, and no host or network may
hold more than its share of the items (`shares`).

In a full store a new item displaces one of the network that has most, of the host there that has most
the one to expire first, if it then has no fewer than the owner of the new one; otherwise the new one is
refused.  So a flood from a few networks washes out its own items before those of others.

Signatures cost more than all the rest: they are checked after everything cheap, and not at all when an
item that is here is put again unchanged.  The checks of all, of a network and of a host are limited in
rate, and who sends a bad signature has none for a while: so a few addresses cannot use them up.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from math import inf

from sortedcontainers import SortedSet

from dhtnode.addresses import pack_host
from dhtnode.items import Item, MutableItem, Target
from dhtnode.server.shares import (
    CHECKS_OF_HOST,
    CHECKS_OF_NETWORK,
    FROM_HOST,
    FROM_NETWORK,
    Refusals,
    RefusedNetwork,
    Shares,
    host_of,
    network_of,
)
from dhtnode.server.sources import MAX_SOURCES, Meter, RecentSources
from dhtnode.settings import NodeSettings
from dhtnode.token_bucket import TokenBucket

ITEM_BYTES = 1000
"""What an item takes beside its value and salt; 960 were measured when each has an owner of its own."""

HOST_CHECKS = 1 / 20  # of the rate of signatures
NETWORK_CHECKS = 1 / 5
CHECKS_AT_ONCE = 64  # of a host, and twice as many of a network: all that a host may have here
BAD_SIGNATURE_PAUSE = 10.0  # seconds without a check for the host that sent it


class Refusal(Enum):
    """Why an item was not stored."""

    BAD_SIGNATURE = "bad signature"
    CAS_MISMATCH = "CAS mismatch"
    OLD_SEQ = "old seq"
    OWNER_IS_FULL = FROM_HOST
    NETWORK_IS_FULL = FROM_NETWORK
    STORE_IS_FULL = "full"
    BUSY = "too many signatures to check"
    BUSY_WITH_OWNER = CHECKS_OF_HOST
    BUSY_WITH_NETWORK = CHECKS_OF_NETWORK


@dataclass(frozen=True, slots=True)
class ItemStatistics:
    """What an item store holds, and what it did since it was made.

    `bytes` is what counts towards the cap; `displaced` counts items dropped for others.  `reasons` has the
    refused by reason, and `refused_most` the networks that were refused most often.
    """

    items: int
    owners: int
    bytes: int
    refused: int
    expired: int
    displaced: int
    signatures_checked: int
    reasons: Mapping[str, int] = field(default_factory=dict)
    refused_most: tuple[RefusedNetwork, ...] = ()


class ItemStore:
    """Items of both kinds; every method has constant or logarithmic cost, expiry amortised."""

    def __init__(self, settings: NodeSettings) -> None:
        """Apply the limits of the settings."""
        self.refusals = Refusals()
        self._lifetime = settings.item_lifetime
        self._max_items = settings.max_items
        self._max_bytes = settings.max_item_bytes
        self._shares = Shares(settings.max_items_per_host, settings.max_items_per_network)
        self._signatures = TokenBucket(settings.signature_rate, settings.signature_rate, -inf)
        self._rate = settings.signature_rate
        self._checks: RecentSources[bytes, Meter] = RecentSources(MAX_SOURCES, lambda _: Meter())
        self._items: dict[Target, _Stored] = {}  # the one to expire first in front
        # Of each network, the one to expire first in front.
        self._networks: dict[bytes, dict[Target, None]] = {}
        self._by_count: SortedSet[tuple[int, bytes]] = SortedSet()
        self._bytes = 0
        self._expired = 0
        self._displaced = 0
        self._signatures_checked = 0

    def change_rate(self, signature_rate: float, now: float) -> None:
        """Check so many signatures per second from now on."""
        self._signatures.change(signature_rate, signature_rate, now)
        self._rate = signature_rate

    def statistics(self, now: float) -> ItemStatistics:
        """Return the sizes and counters of the store."""
        self.expire(now)
        return ItemStatistics(
            len(self._items),
            self._shares.hosts,
            self._bytes,
            self.refusals.reasons.total(),
            self._expired,
            self._displaced,
            self._signatures_checked,
            dict(self.refusals.reasons),
            self.refusals.most(),
        )

    def get(self, target: Target, now: float) -> Item | None:
        """Return the item under a target, or None."""
        self.expire(now)
        stored = self._items.get(target)
        return None if stored is None else stored.item

    def has_capacity(self, target: Target, host: str, now: float) -> bool:
        """Return whether an item put by `host` would be stored; if not, no token is given."""
        self.expire(now)
        return target in self._items or self._lack_of_capacity(pack_host(host), 1, ITEM_BYTES) is None

    def put(self, item: Item, host: str, now: float, *, cas: int | None = None) -> Refusal | None:
        """Store an item or renew it; return why not, or None when it is stored.

        A mutable item that is not newer is refused, unless it says the same as the one that is here.
        `cas` must equal the `seq` of the one that is here, if there is one.
        """
        self.expire(now)
        target, packed = item.target(), pack_host(host)
        stored = self._items.get(target)
        size = _size_of(item)
        owner = packed if stored is None else stored.owner
        refusal = self._refusal(item, stored, packed, now, cas)
        if refusal is None:
            new, growth = (1, size) if stored is None else (0, size - stored.size)
            refusal = self._lack_of_capacity(owner, new, growth)
        if refusal is not None:
            self.refusals.add(refusal.value, packed)
            return refusal
        if stored is not None:
            self._remove(target)
        self._add(target, _Stored(item, owner, size, now + self._lifetime))
        self._shrink()
        return None

    def expire(self, now: float) -> None:
        """Drop every item whose time is over; cost: constant, and linear in what is dropped."""
        while self._items:
            target = next(iter(self._items))
            if self._items[target].expires_at > now:
                return
            self._remove(target)
            self._expired += 1

    def _refusal(
        self, item: Item, stored: "_Stored | None", packed: bytes, now: float, cas: int | None
    ) -> Refusal | None:
        """Return why an item may not take the place of the stored one, or None."""
        current = None if stored is None else stored.item
        if not isinstance(item, MutableItem):
            # Its target is proof enough.
            return None
        if item != current:
            refusal = self._check(item, packed, now)
            if refusal is not None:
                return refusal
        if not isinstance(current, MutableItem):
            return None
        if cas is not None and cas != current.seq:
            return Refusal.CAS_MISMATCH
        if item.seq < current.seq or (item.seq == current.seq and item.value != current.value):
            return Refusal.OLD_SEQ
        return None

    def _check(self, item: MutableItem, packed: bytes, now: float) -> Refusal | None:
        """Return why a signature is not right, or was not checked, or None."""
        of_host, of_network = self._checks.get(host_of(packed)), self._checks.get(network_of(packed))
        host_interval, network_interval = 1 / (self._rate * HOST_CHECKS), 1 / (self._rate * NETWORK_CHECKS)
        if of_host.used_until > now + (CHECKS_AT_ONCE - 1) * host_interval:
            return Refusal.BUSY_WITH_OWNER
        if of_network.used_until > now + (2 * CHECKS_AT_ONCE - 1) * network_interval:
            return Refusal.BUSY_WITH_NETWORK
        if not self._signatures.take(now):
            return Refusal.BUSY
        self._signatures_checked += 1
        of_host.used_until = max(of_host.used_until, now) + host_interval
        of_network.used_until = max(of_network.used_until, now) + network_interval
        if item.verify():
            return None
        of_host.used_until = now + (CHECKS_AT_ONCE - 1) * host_interval + BAD_SIGNATURE_PAUSE
        return Refusal.BAD_SIGNATURE

    def _lack_of_capacity(self, owner: bytes, new: int, growth: int) -> Refusal | None:
        """Return why an owner may not have `new` items (1 or 0) and `growth` bytes more, or None."""
        refusal = self._shares.refusal(owner) if new else None
        if refusal is not None:
            return Refusal(refusal)
        if len(self._items) + new <= self._max_items and self._bytes + growth <= self._max_bytes:
            return None
        largest = self._largest()
        if largest is None or not self._shares.gives_way(self._items[largest].owner, owner, new):
            return Refusal.STORE_IS_FULL
        return None

    def _largest(self) -> Target | None:
        """Return the item to give way first: linear in the items of one network."""
        if not self._by_count:
            return None
        _, network = self._by_count[-1]
        return max(self._networks[network], key=lambda target: self._shares.held(self._items[target].owner))

    def _shrink(self) -> None:
        """Drop items of the one that has most until the caps hold."""
        while len(self._items) > self._max_items or self._bytes > self._max_bytes:
            largest = self._largest()
            # With a cap below one item there is none at all.
            assert largest is not None  # noqa: S101
            self._remove(largest)
            self._displaced += 1

    def _add(self, target: Target, stored: "_Stored") -> None:
        self._items[target] = stored
        self._bytes += stored.size
        self._shares.add(stored.owner)
        network = network_of(stored.owner)
        own = self._networks.setdefault(network, {})
        self._by_count.discard((len(own), network))
        own[target] = None
        self._by_count.add((len(own), network))

    def _remove(self, target: Target) -> None:
        stored = self._items.pop(target)
        self._bytes -= stored.size
        self._shares.remove(stored.owner)
        network = network_of(stored.owner)
        own = self._networks[network]
        self._by_count.remove((len(own), network))
        del own[target]
        if own:
            self._by_count.add((len(own), network))
        else:
            del self._networks[network]


@dataclass(frozen=True, slots=True)
class _Stored:
    item: Item
    owner: bytes
    size: int
    expires_at: float


def _size_of(item: Item) -> int:
    salt = len(item.salt) if isinstance(item, MutableItem) else 0
    return ITEM_BYTES + len(item.value) + salt
