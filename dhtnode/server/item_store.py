"""The items that were put to us, with ageing, rules of replacement and caps (BEP 44).

An item lives for a fixed time after it was last put, from any address.  It belongs to the address
that put it first (IPv6: the /64), and three caps bound the store: items of one owner, items in all,
and bytes in all.

In a full store a new item displaces one of the owner that has most, the one to expire first, if that
owner is then left with no fewer than the owner of the new one; otherwise the new one is refused.  So
a flood from a few addresses washes out its own items before those of others.

Signatures cost more than all the rest: they are checked after everything cheap, at a limited rate,
and not at all when an item that is here is put again unchanged.
"""

from collections import Counter
from dataclasses import dataclass
from enum import Enum

from sortedcontainers import SortedSet

from dhtnode.addresses import pack_host
from dhtnode.items import Item, MutableItem, Target
from dhtnode.settings import NodeSettings
from dhtnode.token_bucket import TokenBucket

ITEM_BYTES = 1000
"""What an item takes beside its value and salt; 960 were measured when each has an owner of its own."""

OWNER_BYTES = 8  # of an IPv6 address: a host that has one address there has the whole /64


class Refusal(Enum):
    """Why an item was not stored."""

    BAD_SIGNATURE = "bad signature"
    CAS_MISMATCH = "CAS mismatch"
    OLD_SEQ = "old seq"
    OWNER_IS_FULL = "too many from one address"
    STORE_IS_FULL = "full"
    BUSY = "too many signatures to check"


@dataclass(frozen=True, slots=True)
class ItemStatistics:
    """What an item store holds, and what it did since it was made.

    `bytes` is what counts towards the cap; `displaced` counts items dropped for others.
    """

    items: int
    owners: int
    bytes: int
    refused: int
    expired: int
    displaced: int
    signatures_checked: int


class ItemStore:
    """Items of both kinds; every method has constant or logarithmic cost, expiry amortised."""

    def __init__(self, settings: NodeSettings) -> None:
        """Apply the limits of the settings."""
        self.refusals: Counter[Refusal] = Counter()
        self._lifetime = settings.item_lifetime
        self._max_items = settings.max_items
        self._max_bytes = settings.max_item_bytes
        self._max_per_owner = settings.max_items_per_host
        self._signatures = TokenBucket(settings.signature_rate, settings.signature_rate, float("-inf"))
        self._items: dict[Target, _Stored] = {}  # the one to expire first in front
        self._owners: dict[bytes, dict[Target, None]] = {}  # of each, the one to expire first in front
        self._by_count: SortedSet[tuple[int, bytes]] = SortedSet()
        self._bytes = 0
        self._expired = 0
        self._displaced = 0
        self._signatures_checked = 0

    def change_rate(self, signature_rate: float, now: float) -> None:
        """Check so many signatures per second from now on."""
        self._signatures.change(signature_rate, signature_rate, now)

    def statistics(self, now: float) -> ItemStatistics:
        """Return the sizes and counters of the store."""
        self.expire(now)
        return ItemStatistics(
            len(self._items),
            len(self._owners),
            self._bytes,
            self.refusals.total(),
            self._expired,
            self._displaced,
            self._signatures_checked,
        )

    def get(self, target: Target, now: float) -> Item | None:
        """Return the item under a target, or None."""
        self.expire(now)
        stored = self._items.get(target)
        return None if stored is None else stored.item

    def has_capacity(self, target: Target, host: str, now: float) -> bool:
        """Return whether an item put by `host` would be stored; if not, no token is given."""
        self.expire(now)
        return target in self._items or self._lack_of_capacity(_owner_of(host), 1, ITEM_BYTES) is None

    def put(self, item: Item, host: str, now: float, *, cas: int | None = None) -> Refusal | None:
        """Store an item or renew it; return why not, or None when it is stored.

        A mutable item that is not newer is refused, unless it says the same as the one that is here.
        `cas` must equal the `seq` of the one that is here, if there is one.
        """
        self.expire(now)
        target, owner = item.target(), _owner_of(host)
        stored = self._items.get(target)
        size = _size_of(item)
        refusal = self._refusal(item, stored, now, cas)
        if refusal is None:
            new, growth = (1, size) if stored is None else (0, size - stored.size)
            owner = owner if stored is None else stored.owner
            refusal = self._lack_of_capacity(owner, new, growth)
        if refusal is not None:
            self.refusals[refusal] += 1
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

    def _refusal(self, item: Item, stored: "_Stored | None", now: float, cas: int | None) -> Refusal | None:
        """Return why an item may not take the place of the stored one, or None."""
        current = None if stored is None else stored.item
        if not isinstance(item, MutableItem):
            # Its target is proof enough.
            return None
        if item != current:
            if not self._signatures.take(now):
                return Refusal.BUSY
            self._signatures_checked += 1
            if not item.verify():
                return Refusal.BAD_SIGNATURE
        if not isinstance(current, MutableItem):
            return None
        if cas is not None and cas != current.seq:
            return Refusal.CAS_MISMATCH
        if item.seq < current.seq or (item.seq == current.seq and item.value != current.value):
            return Refusal.OLD_SEQ
        return None

    def _lack_of_capacity(self, owner: bytes, new: int, growth: int) -> Refusal | None:
        """Return why an owner may not have `new` items (1 or 0) and `growth` bytes more, or None."""
        own = len(self._owners.get(owner, ()))
        if own + new > self._max_per_owner:
            return Refusal.OWNER_IS_FULL
        if len(self._items) + new <= self._max_items and self._bytes + growth <= self._max_bytes:
            return None
        most = self._by_count[-1][0] if self._by_count else 0
        return None if most > own + new else Refusal.STORE_IS_FULL

    def _shrink(self) -> None:
        """Drop items of the owner that has most until the caps hold."""
        while len(self._items) > self._max_items or self._bytes > self._max_bytes:
            _, owner = self._by_count[-1]
            self._remove(next(iter(self._owners[owner])))
            self._displaced += 1

    def _add(self, target: Target, stored: "_Stored") -> None:
        self._items[target] = stored
        self._bytes += stored.size
        own = self._owners.setdefault(stored.owner, {})
        self._by_count.discard((len(own), stored.owner))
        own[target] = None
        self._by_count.add((len(own), stored.owner))

    def _remove(self, target: Target) -> None:
        stored = self._items.pop(target)
        self._bytes -= stored.size
        own = self._owners[stored.owner]
        self._by_count.remove((len(own), stored.owner))
        del own[target]
        if own:
            self._by_count.add((len(own), stored.owner))
        else:
            del self._owners[stored.owner]


@dataclass(frozen=True, slots=True)
class _Stored:
    item: Item
    owner: bytes
    size: int
    expires_at: float


def _owner_of(host: str) -> bytes:
    return pack_host(host)[:OWNER_BYTES]


def _size_of(item: Item) -> int:
    salt = len(item.salt) if isinstance(item, MutableItem) else 0
    return ITEM_BYTES + len(item.value) + salt
