"""The requests of HTTP trackers as the gateway reads them, and its answers (BEP 3, 7, 21, 23, 24, 31, 48)."""

from collections.abc import Callable
from hashlib import blake2b
from urllib.parse import unquote_to_bytes

from dhtnode.addresses import Address, pack_host
from dhtnode.bencode import Value, encode
from dhtnode.gateway.refusals import Refusal, RefusalKind
from dhtnode.ids import ID_BYTES, InfoHash
from dhtnode.krpc.compact import pack_address
from dhtnode.trackers.messages import AnnounceAnswer, AnnounceRequest, Event, ScrapeAnswer

MAX_QUERY = 16_384
"""Bytes of a query: a scrape of 200 swarms."""

MAX_SCRAPED = 200
"""Info-hashes of one scrape that are answered for."""

_LARGEST = 1 << 63
_EVENTS = {event.value: event for event in Event}


class HttpQuery:
    """The parameters of a request, each as bytes; of one that comes twice the first counts."""

    def __init__(self, query: bytes) -> None:
        """Read what stands behind the question mark; raises `Refusal` for one that is too long."""
        if len(query) > MAX_QUERY:
            raise Refusal(RefusalKind.INVALID, "the query is too long")
        self.info_hashes: list[InfoHash] = []
        self._values: dict[bytes, bytes] = {}
        for part in query.split(b"&"):
            name, _, value = part.partition(b"=")
            decoded = unquote_to_bytes(value)
            if name == b"info_hash":
                self.info_hashes.append(_info_hash(decoded))
            else:
                self._values.setdefault(name, decoded)

    def announce(self) -> AnnounceRequest:
        """Return the announce; raises `Refusal`.  Addresses that a client claims are passed over."""
        if len(self.info_hashes) != 1:
            raise Refusal(RefusalKind.INVALID, "an announce has one info_hash")
        key = self._values.get(b"key", b"")
        return AnnounceRequest(
            self.info_hashes[0],
            self._values.get(b"peer_id", b""),
            self._number(b"port", 0),
            int.from_bytes(blake2b(key, digest_size=8).digest(), "big") if key else 0,
            _EVENTS.get(self._values.get(b"event", b"").decode("latin-1"), Event.NONE),
            self._number(b"left", 1),
            self._number(b"numwant", -1),
        )

    def is_set(self, name: bytes, *, default: bool = False) -> bool:
        """Return whether a parameter is 1."""
        return self._number(name, int(default)) == 1

    def _number(self, name: bytes, default: int) -> int:
        text = self._values.get(name, b"")
        try:
            number = int(text) if text and len(text) < 20 else default
        except ValueError:
            raise Refusal(RefusalKind.INVALID, f"{name.decode()} is no number") from None
        return max(-_LARGEST, min(number, _LARGEST - 1))


def _info_hash(decoded: bytes) -> InfoHash:
    if len(decoded) != ID_BYTES:
        raise Refusal(RefusalKind.INVALID, "an info_hash has 20 bytes")
    return InfoHash(decoded)


def write_announce(
    answer: AnnounceAnswer, query: HttpQuery, peer_id: Callable[[Address], bytes | None], *, with_peers6: bool
) -> bytes:
    """Return the answer to an announce: compact unless the client wants it otherwise (BEP 23)."""
    fields: dict[bytes, Value] = {
        b"interval": answer.interval,
        b"complete": answer.seeds or 0,
        b"incomplete": answer.leechers or 0,
    }
    if answer.min_interval is not None:
        fields[b"min interval"] = answer.min_interval
    if answer.external_host is not None:
        fields[b"external ip"] = pack_host(answer.external_host)
    if query.is_set(b"compact", default=True):
        for name, is_ipv6 in ((b"peers", False), (b"peers6", True)):
            if not is_ipv6 or with_peers6:
                peers = [each for each in answer.peers if (":" in each.host) is is_ipv6]
                fields[name] = b"".join(map(pack_address, peers))
    else:
        fields[b"peers"] = [_peer(each, query, peer_id) for each in answer.peers]
    return encode(fields)


def _peer(peer: Address, query: HttpQuery, peer_id: Callable[[Address], bytes | None]) -> Value:
    fields: dict[bytes, Value] = {b"ip": peer.host.encode(), b"port": peer.port}
    known = None if query.is_set(b"no_peer_id") else peer_id(peer)
    return fields if known is None else fields | {b"peer id": known}


def write_scrape(answer: ScrapeAnswer) -> bytes:
    """Return the answer to a scrape (BEP 48), with `downloaders` (BEP 21)."""
    files: dict[bytes, Value] = {}
    for info_hash, counts in answer.counts.items():
        files[info_hash] = {
            b"complete": counts.seeds,
            b"incomplete": counts.leechers,
            b"downloaded": counts.downloaded or 0,
            b"downloaders": counts.downloaders or 0,
        }
    return encode({b"files": files})


def write_refusal(refusal: Refusal) -> bytes:
    """Return a refusal; it says in minutes when to come again, or never (BEP 31)."""
    retry_in: Value = b"never" if refusal.retry_in is None else refusal.retry_in
    fields: dict[bytes, Value] = {b"failure reason": str(refusal).encode()}
    return encode(fields if refusal.kind is RefusalKind.INVALID else fields | {b"retry in": retry_in})
