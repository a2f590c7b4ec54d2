"""Hypothesis strategies for what the codec reads and writes; shared by several test files.

The messages are those that survive a round trip over IPv6: what a node of ours would send, within
the limits of the codec.  Over IPv4 one case is read differently, see `survives_ipv4`.
"""

from hypothesis import strategies as st

from dhtnode.addresses import Address, Family, unpack_host
from dhtnode.bencode import MAX_DIGITS, Value, encode
from dhtnode.items import MAX_SEQ, MAX_VALUE_BYTES, ImmutableItem, Item, MutableItem
from dhtnode.krpc.messages import (
    AnnouncePeer,
    Error,
    FindNode,
    Get,
    GetPeers,
    Message,
    Method,
    Ping,
    Put,
    Query,
    Response,
    SampleInfohashes,
)


def bencode_values() -> st.SearchStrategy[Value]:
    largest = 10**MAX_DIGITS - 1
    leaves = st.integers(-largest, largest) | st.binary(max_size=40)
    return st.recursive(
        leaves,
        lambda values: (
            st.lists(values, max_size=5) | st.dictionaries(st.binary(max_size=8), values, max_size=5)
        ),
        max_leaves=15,
    )


def ids() -> st.SearchStrategy[bytes]:
    return st.binary(min_size=20, max_size=20)


def addresses(family: Family | None = None) -> st.SearchStrategy[Address]:
    """Return addresses with their host in canonical text, of one family or of both."""
    sizes = {None: (4, 16), Family.IPV4: (4,), Family.IPV6: (16,)}[family]
    hosts = st.one_of([st.binary(min_size=size, max_size=size) for size in sizes]).map(unpack_host)
    return st.builds(Address, hosts, st.integers(0, 65535))


def wants() -> st.SearchStrategy[frozenset[Family]]:
    return st.frozensets(st.sampled_from(Family))


def methods() -> st.SearchStrategy[Method]:
    return st.one_of(
        st.just(Ping()),
        st.builds(FindNode, ids(), wants()),
        st.builds(GetPeers, ids(), wants(), st.booleans(), st.booleans()),
        _announcements(implied=False),
        _announcements(implied=True),
        st.builds(Get, ids(), wants(), st.none() | sequence_numbers()),
        puts(),
        st.builds(SampleInfohashes, ids(), wants()),
    )


def item_values() -> st.SearchStrategy[bytes]:
    return bencode_values().map(encode).filter(lambda value: len(value) <= MAX_VALUE_BYTES)


def sequence_numbers() -> st.SearchStrategy[int]:
    return st.integers(0, MAX_SEQ)


def items() -> st.SearchStrategy[Item]:
    signed = st.tuples(st.binary(min_size=32, max_size=32), st.binary(min_size=64, max_size=64))
    return st.builds(ImmutableItem, item_values()) | st.builds(
        lambda key, seq, value, salt: MutableItem(key[0], seq, value, key[1], salt),
        signed,
        sequence_numbers(),
        item_values(),
        st.binary(max_size=64),
    )


def puts() -> st.SearchStrategy[Put]:
    """Return puts with any token; only mutable items have a `cas`."""
    tokens = st.binary(min_size=1, max_size=128)
    return st.builds(Put, items(), tokens) | st.builds(
        Put, items().filter(lambda item: isinstance(item, MutableItem)), tokens, sequence_numbers()
    )


def queries() -> st.SearchStrategy[Query]:
    return st.builds(Query, _transaction_ids(), ids(), methods(), _versions(), st.booleans())


def responses() -> st.SearchStrategy[Response]:
    return st.builds(
        Response,
        _transaction_ids(),
        ids(),
        st.none() | _compact(Family.IPV4.contact_bytes),
        st.none() | _compact(Family.IPV6.contact_bytes),
        st.none() | st.lists(_compact_peers(), max_size=5).map(tuple),
        st.none() | st.binary(min_size=1, max_size=128),
        st.none() | _filters(),
        st.none() | _filters(),
        st.none() | addresses(),
        _versions(),
        st.none() | item_values(),
        st.none() | st.binary(min_size=32, max_size=32),
        st.none() | st.binary(min_size=64, max_size=64),
        st.none() | sequence_numbers(),
        samples=st.none(),  # or they would be guessed, each without the others
        num=st.none(),
        interval=st.none(),
    ).flatmap(_with_sample)


def _with_sample(response: Response) -> st.SearchStrategy[Response]:
    """Return a response as it is, or with a sample of info-hashes beside what it has."""
    numbers = st.none() | st.integers(0, 21_600)
    sampled = st.builds(
        lambda hashes, num, interval: response._replace(samples=b"".join(hashes), num=num, interval=interval),
        st.lists(ids(), max_size=4),
        numbers,
        numbers,
    )
    return st.just(response) | sampled


def errors() -> st.SearchStrategy[Error]:
    codes = st.integers(0, 2**31 - 1)
    texts = st.text(max_size=200)
    return st.builds(Error, _transaction_ids(), codes, texts, st.none() | addresses(), _versions())


def messages() -> st.SearchStrategy[Message]:
    return queries() | responses() | errors()


def survives_ipv4(message: Message) -> bool:
    """Return whether a message means the same over IPv4: a lone 18-byte peer does not there."""
    values = message.values if isinstance(message, Response) else None
    return values is None or len(values) != 1 or len(values[0]) == 6


def _transaction_ids() -> st.SearchStrategy[bytes]:
    return st.binary(min_size=2, max_size=64)


def _versions() -> st.SearchStrategy[bytes | None]:
    return st.none() | st.binary(max_size=32)


def _announcements(*, implied: bool) -> st.SearchStrategy[AnnouncePeer]:
    return st.builds(
        AnnouncePeer,
        ids(),
        st.integers(0 if implied else 1, 65535),
        st.binary(min_size=1, max_size=128),
        st.just(implied),
        st.booleans(),
    )


def _compact(size: int) -> st.SearchStrategy[bytes]:
    entry = st.binary(min_size=size, max_size=size)
    return st.lists(entry, max_size=4).map(b"".join)


def _compact_peers() -> st.SearchStrategy[bytes]:
    return st.binary(min_size=6, max_size=6) | st.binary(min_size=18, max_size=18)


def _filters() -> st.SearchStrategy[bytes]:
    return st.binary(min_size=256, max_size=256)
