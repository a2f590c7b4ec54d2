"""Peer exchange: which others a peer is connected to (BEP 11), read and never sent."""

from collections.abc import Iterator
from dataclasses import dataclass

from crawler.torrents.peerwire.frames import BadPeer
from dhtnode import Address, Family
from dhtnode.bencode import BencodeError, Value, read_prefix_untrusted
from dhtnode.krpc import unpack_address

MAX_MESSAGE_BYTES = 64 * 1024
MAX_NAMED = 200
"""Peers of one family that are taken from a message; libtorrent sends up to 100, Transmission 50."""

_MAX_ITEMS = 64
_ENTRY_BYTES = {Family.IPV4: 6, Family.IPV6: 18}
_KEYS = {Family.IPV4: (b"added", b"added.f"), Family.IPV6: (b"added6", b"added6.f")}
_FIELDS = frozenset({b"added", b"added6", b"dropped", b"dropped6"})
_SEED, _REACHABLE = 0x02, 0x10


@dataclass(frozen=True, slots=True)
class NamedPeer:
    """A peer that another one says to be connected to, and what it says of it: nothing of it was checked.

    It lives in memory, and is never stored.
    """

    address: Address
    is_seed: bool = False
    is_reachable: bool = False


def read_exchange_untrusted(payload: bytes) -> list[NamedPeer]:
    """Read a message of BEP 11, `MAX_NAMED` peers of each family at most; raises `BadPeer`.

    Flags count where there is one for each peer, as in libtorrent.
    """
    if len(payload) > MAX_MESSAGE_BYTES:
        raise BadPeer("exchange of peers too long")
    try:
        entries, _ = read_prefix_untrusted(payload, _MAX_ITEMS)
    except BencodeError as error:
        raise BadPeer("exchange of peers that is no dictionary") from error
    if not isinstance(entries, dict):
        raise BadPeer("exchange of peers that is no dictionary")
    if not _FIELDS & entries.keys():
        raise BadPeer("exchange of peers without any")
    return [peer for family in Family for peer in _named_in(entries, family)]


def _named_in(entries: dict[bytes, Value], family: Family) -> Iterator[NamedPeer]:
    key, flags_key = _KEYS[family]
    added, flags = entries.get(key), entries.get(flags_key)
    if not isinstance(added, bytes):
        return
    size = _ENTRY_BYTES[family]
    whole = len(added) // size
    told = flags if isinstance(flags, bytes) and len(flags) == whole else bytes(whole)
    for number in range(min(whole, MAX_NAMED)):
        compact, flag = added[number * size : (number + 1) * size], told[number]
        if any(compact[-2:]):
            yield NamedPeer(unpack_address(compact), bool(flag & _SEED), bool(flag & _REACHABLE))
