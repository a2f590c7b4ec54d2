"""A synthetic network: it takes a datagram for one of its addresses, and returns what comes back.

No socket, no clock, no task; so the same network answers on loopback, in memory and in a loop that
counts.  The same settings, the same query, the same answer.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from random import Random
from typing import Any, TypeAlias
from zlib import crc32

from bencode2 import BencodeDecodeError, bdecode

from crawler.synthetic import replies
from crawler.synthetic.hostile import STYLES
from crawler.synthetic.kinds import KINDS, NodeKind
from crawler.synthetic.population import Population, mix
from crawler.synthetic.presence import Presence
from crawler.synthetic.replies import Exchange, Sent
from crawler.synthetic.sampling import SampleAnswers
from crawler.synthetic.settings import SyntheticSettings
from crawler.synthetic.stores import Stored
from crawler.synthetic.swarms import Announced, Swarms
from crawler.synthetic.tables import Tables
from dhtnode import Address

MAX_TRANSACTION_ID = 64  # bytes
_PROTOCOL, _UNKNOWN = 203, 204
_TOKEN_SALT = 77
_STYLES = tuple(STYLES.values())

_Arguments: TypeAlias = dict[bytes, Any]


class Network:
    """All nodes; a million take some 3 s and 180 MB to make, an answer some 15 us.

    `counts` has queries by method, and datagrams by what became of them.
    `begun_at` is the time at which nodes begin to come and go, on the clock that `now` is from.
    """

    def __init__(self, settings: SyntheticSettings) -> None:
        self.settings = settings
        self.population = Population(settings, len(STYLES))
        self.tables = Tables(self.population)
        self.presence = Presence(self.population)
        self.begun_at = 0.0
        self.counts: Counter[str] = Counter()
        self.announced = Announced()
        self._nodes = settings.nodes
        self._source: tuple[str, int] = ("", 0)
        self._packed_source = bytes(6)
        self._query = b""
        self._methods = {
            b"ping": self._ping,
            b"find_node": self._find_node,
            b"get_peers": self._get_peers,
            b"announce_peer": self._announce_peer,
            b"sample_infohashes": self._sample_infohashes,
        }
        self._names = {name: name.decode() for name in self._methods}

    @cached_property
    def swarms(self) -> Swarms:
        """Return the swarms, which are drawn when first asked for."""
        return Swarms(self.population, self.presence)

    @cached_property
    def sampling(self) -> SampleAnswers:
        """Return the samples of info-hashes that nodes show."""
        return SampleAnswers(self.population, self.swarms)

    def bootstrap_nodes(self, count: int = 3) -> list[Address]:
        """Return addresses of honest nodes to join through."""
        return [Address(*address) for address in self.population.bootstrap_nodes(count)]

    def answer(
        self, address: Address, data: bytes, source: Address, now: float
    ) -> list[tuple[bytes, Address]]:
        """Return what comes back when a datagram reaches an address: datagrams, and where each is from."""
        a, b, c, d = map(int, address.host.split("."))
        if a != self.settings.first_octet or address.port != self.settings.port:
            return []
        sent = self.answer_host(b << 16 | c << 8 | d, data, source, now)
        return [(reply, self.address(host)) for reply, host in sent]

    def address(self, host: int) -> Address:
        """Return the address whose last 24 bits are given."""
        text = f"{self.settings.first_octet}.{host >> 16}.{host >> 8 & 255}.{host & 255}"
        return Address(text, self.settings.port)

    def answer_host(self, host: int, data: bytes, source: tuple[str, int], now: float) -> Sent:
        """Return as `answer` does, for an address given by its last 24 bits, at a fraction of the cost."""
        counts = self.counts
        number = self.population.number_at(host)
        if number is None or number >= self._nodes:
            counts["to no node" if number is None else "to the dead"] += 1
            return []
        if self.presence.nodes_leave and not self.presence.is_present(number, now - self.begun_at):
            counts["to the absent"] += 1
            return []
        fields = _read(data)
        arguments, transaction_id = fields.get(b"a"), fields.get(b"t")
        if fields.get(b"y") != b"q" or type(transaction_id) is not bytes:
            counts["no query"] += 1
            return []
        self._query = data
        if source != self._source:
            self._source = source
            self._packed_source = bytes(map(int, source[0].split("."))) + source[1].to_bytes(2, "big")
        reply = self._reply(number, fields.get(b"q"), arguments, transaction_id[:MAX_TRANSACTION_ID], now)
        if not reply:
            counts["not answered"] += 1
            return []
        style = self.population.styles[number]
        if not style:
            counts["replies"] += 1
            return [(reply, host)]
        return self._lie(style, number, host, arguments, transaction_id, data, reply)

    def _reply(self, number: int, name: Any, arguments: Any, transaction_id: bytes, now: float) -> bytes:
        """Return the honest reply to a query, or nothing."""
        kind = self.population.kinds[number]
        method = self._methods.get(name) if type(name) is bytes else None
        if method is None:
            self.counts["query unknown"] += 1
            return self._refuse(kind, transaction_id, KINDS[kind].unknown, b"Method Unknown")
        self.counts["query " + self._names[name]] += 1
        rank = self.population.ranks[number]
        if type(arguments) is dict:
            body = method(number, rank, arguments, now)
            if body is not None:
                before, after = body
                node_id = self.population.node_id(rank)
                return replies.response(kind, self._packed_source, node_id, transaction_id, after, before)
            if name == b"sample_infohashes" and not self.population.has("bep51", number):
                return self._refuse(kind, transaction_id, KINDS[kind].unknown, b"Method Unknown")
        return self._refuse(kind, transaction_id, _PROTOCOL, b"Invalid arguments")

    def _refuse(self, kind: int, transaction_id: bytes, code: int | None, text: bytes) -> bytes:
        if code is None:
            return b""
        self.counts["errors"] += 1
        return replies.error(kind, self._packed_source, transaction_id, code, text)

    def _ping(self, _number: int, _rank: int, _arguments: _Arguments, _now: float) -> "_Body":
        return b"", b""

    def _find_node(self, _number: int, rank: int, arguments: _Arguments, _now: float) -> "_Body":
        target = arguments.get(b"target")
        if type(target) is not bytes or len(target) != 20:
            return None
        return b"", replies.nodes(self.tables.closest(rank, target))

    def _get_peers(self, number: int, rank: int, arguments: _Arguments, now: float) -> "_Body":
        info_hash = arguments.get(b"info_hash")
        if type(info_hash) is not bytes or len(info_hash) != 20:
            return None
        kind = KINDS[self.population.kinds[number]]
        stored = self._stored(number, rank, info_hash, now)
        is_scrape = arguments.get(b"scrape") == 1 and self.population.has("bep33", number)
        values = self._values(number, kind, stored) if kind.has_values_on_scrape or not is_scrape else []
        after = b""
        if kind.has_nodes_with_values or not values:
            after = replies.nodes(self.tables.closest(rank, info_hash))
        after += replies.token_and_values(self._token(number, kind), values)
        if is_scrape and stored is not None:
            is_shared = self.population.has("shared_stores", number)
            return replies.filters(kind, *(stored.filters_of_both if is_shared else stored.filters)), after
        return b"", after

    def _announce_peer(self, number: int, _rank: int, arguments: _Arguments, now: float) -> "_Body":
        info_hash, port = arguments.get(b"info_hash"), arguments.get(b"port", 0)
        token = self._token(number, KINDS[self.population.kinds[number]])
        if arguments.get(b"implied_port") == 1:
            port = self._source[1]
        if type(info_hash) is not bytes or len(info_hash) != 20 or arguments.get(b"token") != token:
            return None
        if type(port) is not int or not 0 < port < 65536:
            return None
        peer = self._packed_source[:4] + port.to_bytes(2, "big")
        self.announced.store(number, info_hash, peer, now, seed=arguments.get(b"seed") == 1)
        return b"", b""

    def _sample_infohashes(self, number: int, rank: int, arguments: _Arguments, now: float) -> "_Body":
        target = arguments.get(b"target")
        if not self.population.has("bep51", number) or type(target) is not bytes or len(target) != 20:
            return None
        sample = self.sampling.sample(number, self._source[0], now, now - self.begun_at)
        if sample.is_early:
            self.counts["sampled too early"] += 1
        contacts = self.tables.closest(rank, target)
        return b"", replies.samples(sample.interval, contacts, sample.num, sample.info_hashes)

    def _stored(self, number: int, rank: int, info_hash: bytes, now: float) -> Stored | None:
        place = self.swarms.find(info_hash)
        modelled = None if place is None else self.swarms.stored(place, rank, now - self.begun_at)
        seeds, leechers = self.announced.peers(number, info_hash, now)
        if not seeds and not leechers:
            return modelled
        if modelled is None:
            return Stored(tuple(seeds), tuple(leechers), peers=(*seeds, *leechers))
        return replace(
            modelled,
            seeds=(*modelled.seeds, *seeds),
            leechers=(*modelled.leechers, *leechers),
            peers=(*modelled.peers, *seeds, *leechers),
        )

    def _values(self, number: int, kind: NodeKind, stored: Stored | None) -> Sequence[bytes]:
        """Return as many stored peers as fit into an answer, another choice for another query."""
        if stored is None:
            return []
        peers, most = stored.peers, kind.max_values
        if len(peers) <= most:
            return peers
        random = Random(crc32(self._query))
        if not self.population.has("windows", number):
            return random.sample(peers, most)
        start = random.randrange(len(peers))
        return (peers + peers)[start : start + most]

    def _token(self, number: int, kind: NodeKind) -> bytes:
        packed = int.from_bytes(self._packed_source[:4], "big")
        drawn = mix(number << 32 ^ packed, _TOKEN_SALT + self.settings.seed)
        return (drawn.to_bytes(8, "big") * 3)[: kind.token_bytes]

    def _lie(
        self,
        style: int,
        number: int,
        host: int,
        arguments: Any,
        transaction_id: bytes,
        data: bytes,
        reply: bytes,
    ) -> Sent:
        asked = arguments if type(arguments) is dict else {}
        target = asked.get(b"target") or asked.get(b"info_hash")
        exchange = Exchange(
            self.population,
            host,
            self.population.node_id(self.population.ranks[number]),
            transaction_id,
            target if type(target) is bytes and len(target) == 20 else b"",
            reply,
            Random(crc32(data) << 32 | number),
        )
        sent = _STYLES[style - 1](exchange)
        self.counts["lies"] += len(sent)
        return sent


_Body: TypeAlias = tuple[bytes, bytes] | None


def _read(data: bytes) -> dict[bytes, Any]:
    """Return the dictionary that a datagram is, or an empty one."""
    try:
        fields = bdecode(data)
    except (BencodeDecodeError, ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}
