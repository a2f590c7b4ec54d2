"""Get items from the nodes nearest to a target, and put them there (BEP 44).

Both begin with a lookup in every family.  What a node sends counts only if its hash, or its key and
signature, are those of the target; of mutable items the highest `seq` wins.  A put then goes to the
closest nodes, with the tokens that they gave.
"""

import logging
from collections.abc import Callable, Sequence

import trio

from dhtnode.addresses import Address, Contact
from dhtnode.api.dual_stack import lookup_closest, lookup_in_all_families, not_joined, query_closest
from dhtnode.api.results import FoundItem, StoredItem
from dhtnode.errors import NotJoined, QueryError, QueryRefused
from dhtnode.items import ImmutableItem, Item, MutableItem, Target
from dhtnode.krpc.messages import CAS_MISMATCH, SEQ_TOO_LOW, Get, Put, Response
from dhtnode.net.transactions import Answer
from dhtnode.node.socket_node import SocketNode

logger = logging.getLogger(__name__)

PADDING = 96  # makes a `get` 200 bytes long: eight times that is more than any item needs
NO_ANSWER = "no node answered a query for an item (BEP 44)"  # those that know none may have refused it
WELL_KEPT = 8  # more copies than this, and among them all the closest, need no further put (BEP 44)


class ItemSearch:
    """What nodes returned under one target; pure, and cheap but for a signature per new item."""

    def __init__(self, target: Target, salt: bytes = b"") -> None:
        """Search for a target; of a mutable item the salt must be known, because no node returns it."""
        self.target = target
        self.newest: Item | None = None
        self.forged = 0
        self.other_salt = 0
        self.answered = 0
        self._salt = salt
        self._genuine: set[Item] = set()
        # The `seq` that each node has; None for an immutable item.
        self._kept: dict[Address, int | None] = {}

    def add(self, answer: Answer) -> None:
        """Add one answer."""
        self.answered += 1
        response = answer.response
        if response.value is not None:
            item = self._item_in(response)
            if item is None:
                return
            self._kept[answer.address] = _seq_of(item)
            if self.newest is None or (_seq_of(item) or 0) > (_seq_of(self.newest) or 0):
                self.newest = item
        elif response.seq is not None:
            self._kept[answer.address] = response.seq

    def keeps_any(self, address: Address) -> bool:
        """Return whether a node has any item under the target."""
        return address in self._kept

    def keeps(self, address: Address, item: Item) -> bool:
        """Return whether a node has an item, or claims to (its `seq` alone may be all it sent)."""
        return address in self._kept and self._kept[address] == _seq_of(item)

    def copies(self, item: Item | None) -> int:
        """Return how many nodes have an item."""
        return 0 if item is None else sum(self.keeps(address, item) for address in self._kept)

    def _item_in(self, response: Response) -> Item | None:
        """Return the item in a response; count it and return None when it is not genuine."""
        value, key, signature, seq = response.value, response.public_key, response.signature, response.seq
        item: Item
        try:
            if key is None or signature is None or seq is None:
                item = ImmutableItem(value or b"")
            else:
                item = MutableItem(key, seq, value or b"", signature, self._salt)
        except ValueError:
            self.forged += 1
            return None
        if item in self._genuine:
            return item
        if item.target() != self.target and isinstance(item, MutableItem):
            self.other_salt += 1
            return None
        if item.target() != self.target or (isinstance(item, MutableItem) and not item.verify()):
            self.forged += 1
            return None
        self._genuine.add(item)
        return item


async def find_item(
    sockets: Sequence[SocketNode], search: ItemSearch, *, newer_than: int | None = None, count: bool = False
) -> FoundItem:
    """Look a target up in every family and return the newest item.

    An immutable item ends the lookup when it is found, unless its copies are to be counted.  Mutable
    ones with a `seq` up to `newer_than` are not sent.  Raises `NotJoined` when no node answered.
    """
    method = Get(search.target, seq=newer_than, padding=PADDING)
    with trio.CancelScope() as scope:

        def on_answer(_socket: SocketNode, answer: Answer) -> None:
            search.add(answer)
            if isinstance(search.newest, ImmutableItem) and not count:
                scope.cancel()

        await lookup_in_all_families(sockets, search.target, method, on_answer)
    if not search.answered:
        raise not_joined(sockets, NO_ANSWER)
    copies = search.copies(search.newest)
    return FoundItem(search.target, search.newest, copies, search.forged, search.other_salt, search.answered)


async def store_item(
    sockets: Sequence[SocketNode], item: Item, *, cas: int | None = None, if_needed: bool = False
) -> StoredItem:
    """Put an item to the closest nodes of every family, and return which of them keep it then.

    Nothing is put when the lookup has found an item that must stay: a newer one, one with the same
    `seq` and another value, or one whose `seq` is not `cas`.  With `if_needed`, nothing is put either
    when there are more than 8 copies, one at each of the closest nodes (BEP 44, "Expiration").
    Raises `NotJoined` when no node answered.
    """
    search = ItemSearch(item.target(), item.salt if isinstance(item, MutableItem) else b"")
    closest = await lookup_closest(
        sockets,
        search.target,
        Get(search.target, padding=PADDING),
        lambda _, answer: search.add(answer),
        NO_ANSWER,
    )
    stored = {answer.address for _, answer in closest if search.keeps(answer.address, item)}
    conflicts = {answer.address for _, answer in closest if search.keeps_any(answer.address)} - stored

    is_well_kept = len(stored) == len(closest) and search.copies(item) > WELL_KEPT
    if not _must_stay(search.newest, item, cas) and not (if_needed and is_well_kept):
        # A node that sent nothing has nothing to compare with (BEP 44, "CAS").
        ends = await query_closest(
            closest, lambda address, token: Put(item, token, cas if search.keeps_any(address) else None)
        )
        ended = {each.address: end for (_, each), end in zip(closest, ends, strict=True) if end is not None}
        stored = stored - ended.keys() | {each for each, end in ended.items() if isinstance(end, Answer)}
        conflicts = conflicts - ended.keys() | {each for each, end in ended.items() if _is_conflict(end)}
    contacts = [Contact(answer.response.node_id, answer.address) for _, answer in closest]
    return StoredItem(
        search.target,
        item,
        tuple(contact for contact in contacts if contact.address in stored),
        len(conflicts),
        len(contacts) - len(stored) - len(conflicts),
        search.newest,
    )


async def keep_item(next_in_turn: Callable[[], Sequence[SocketNode]], item: Item, interval: float) -> None:
    """Put an item every `interval` seconds, when it is needed, until cancelled.

    In place of a mutable item, a newer one that was found is put.  `next_in_turn` returns the sockets
    to use each time.
    """
    while True:
        try:
            outcome = await store_item(next_in_turn(), item, if_needed=True)
        except NotJoined:
            logger.info("%s: not put again, no node answered", item.target().hex())
        else:
            if _must_stay(outcome.current, item, None) and outcome.current is not None:
                item = outcome.current
        await trio.sleep(interval)


def _is_conflict(end: Answer | QueryError) -> bool:
    return isinstance(end, QueryRefused) and end.code in (CAS_MISMATCH, SEQ_TOO_LOW)


def _must_stay(current: Item | None, item: Item, cas: int | None) -> bool:
    """Return whether the item in the network is one that ours must not replace."""
    if not isinstance(current, MutableItem) or not isinstance(item, MutableItem):
        return False
    if cas is not None and cas != current.seq:
        return True
    return current.seq > item.seq or (current.seq == item.seq and current.value != item.value)


def _seq_of(item: Item) -> int | None:
    return item.seq if isinstance(item, MutableItem) else None
