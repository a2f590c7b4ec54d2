"""The calls of a node about stored items (BEP 44, BEP 46); each checks its arguments first."""

from dhtnode.api.arguments import check_item, check_seq
from dhtnode.api.dual_stack import SocketNodes
from dhtnode.api.items import ItemSearch, find_item, keep_item, store_item
from dhtnode.api.results import FoundItem, ResolvedTorrent, StoredItem
from dhtnode.arguments import check_bytes, check_positive, id_of
from dhtnode.items import MAX_SALT_BYTES, Item, MutableItem, Target, mutable_target
from dhtnode.magnet import parse_mutable_link


class ItemCalls:
    """The part of a node that looks items up and puts them."""

    def __init__(self, sockets: SocketNodes) -> None:
        self._sockets = sockets

    async def get_item(
        self, target: Target, *, salt: bytes = b"", newer_than: int | None = None, count: bool = False
    ) -> FoundItem:
        """Look an item up; its hash or signature is checked, and of mutable ones the newest wins (BEP 44).

        The target of a mutable item is `mutable_target(public_key, salt)`; `salt` must be given once
        more, because the signature is over it.  One that is not newer than `newer_than` is not sent.
        An immutable item ends the lookup as soon as it is found, unless `count` asks for the number
        of its copies.  Raises `NotJoined` when no node answered.
        """
        target = Target(id_of("target", target))
        check_bytes("salt", salt, 0, MAX_SALT_BYTES)
        check_seq("newer_than", newer_than)
        search = ItemSearch(target, salt)
        return await find_item(self._sockets.next_in_turn(), search, newer_than=newer_than, count=count)

    async def put_item(self, item: Item, *, cas: int | None = None, if_needed: bool = False) -> StoredItem:
        """Put an item to the closest nodes, which keep it for two hours (BEP 44).

        With `cas`, it replaces only a mutable item with that `seq`; one of several writers wants that,
        and reads `conflicts` afterwards.  With `if_needed` nothing is put while there are
        plenty of copies.  Raises `NotJoined` when no node answered.
        """
        check_item(item)
        check_seq("cas", cas)
        return await store_item(self._sockets.next_in_turn(), item, cas=cas, if_needed=if_needed)

    async def keep_item(self, item: Item, *, interval: float = 3600.0) -> None:
        """Put an item now and every hour, if needed, until cancelled; or a newer one under its key.

        The key is not needed for it: any node may keep a signed item alive (BEP 44).
        """
        check_item(item)
        check_positive("interval", interval)
        await keep_item(self._sockets.next_in_turn, item, interval)

    async def resolve_torrent(self, link: str) -> ResolvedTorrent | None:
        """Return what `magnet:?xs=urn:btpk:...` points to now, or None when it points to no torrent (BEP 46).

        Raises `InvalidInfoHash` for another link, and `NotJoined` when no node answered.
        """
        public_key, salt = parse_mutable_link(link)
        item = (await self.get_item(mutable_target(public_key, salt), salt=salt)).item
        info_hash = item.info_hash() if isinstance(item, MutableItem) else None
        if info_hash is None or not isinstance(item, MutableItem):
            return None
        return ResolvedTorrent(info_hash, item)
