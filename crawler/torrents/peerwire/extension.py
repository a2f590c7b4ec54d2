"""Extended messages: the second handshake (BEP 10, BEP 21) and requests for metadata (BEP 9)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum

from crawler.torrents.peerwire.frames import BadPeer, FrameKind, encode_frame
from crawler.torrents.peerwire.tracker_exchange import FINGERPRINT_BYTES
from dhtnode.bencode import BencodeError, Value, read_prefix_untrusted

MAX_HANDSHAKE_BYTES = 16 * 1024
"""Length of an extended handshake; real ones have 100 to 500 bytes."""

MAX_HANDSHAKE_ITEMS = 512
MAX_METADATA_ITEMS = 32
MAX_NAME = 64  # characters of a client's name
PART_BYTES = 16 * 1024  # BEP 9, "metadata"


class OurNumber(IntEnum):
    """The numbers under which peers send us extended messages."""

    HANDSHAKE = 0  # BEP 10
    UT_METADATA = 1  # BEP 9
    UT_PEX = 2  # they name others (BEP 11), where we ask for that
    LT_TEX = 3  # they name trackers (BEP 28)
    LT_DONTHAVE = 7  # they name pieces that they have no more, as libtorrent does


# Never a port (`p`): others would hand us out as a peer.
_OUR_HANDSHAKE = b"d1:md11:lt_donthavei%de6:lt_texi%de11:ut_metadatai%de%see"
_OUR_PEX = b"6:ut_pexi%de" % OurNumber.UT_PEX
_NAMED = frozenset({b"lt_donthave", b"lt_tex", b"ut_holepunch", b"ut_pex"})


@dataclass(frozen=True, slots=True)
class ExtendedHandshake:
    """What a peer says of itself beyond BEP 3.

    `ut_metadata` is the number under which it takes messages of BEP 9, 0 if it takes none;
    `metadata_size` the bytes of the info dictionary, None if it has none or does not say; `client` its
    name for itself; `reqq` the requests that it takes at once; `extensions` those of the others that it
    knows which are counted; `trackers_hash` that of the list of its trackers (BEP 28).
    """

    ut_metadata: int = 0
    metadata_size: int | None = None
    upload_only: bool = False
    client: str | None = None
    reqq: int | None = None
    extensions: frozenset[str] = frozenset()
    trackers_hash: bytes | None = None


class MetadataKind(IntEnum):
    """The messages of BEP 9."""

    REQUEST = 0
    DATA = 1
    REJECT = 2


@dataclass(frozen=True, slots=True)
class MetadataMessage:
    """One message of BEP 9; `kind` may be of a later version."""

    kind: int
    part: int
    total_size: int | None = None
    data: bytes = b""


def encode_extended_handshake(*, wants_pex: bool = False) -> bytes:
    """Return our extended handshake as a message: which messages we read, and nothing about us."""
    ours, pex = OurNumber, _OUR_PEX if wants_pex else b""
    entries = _OUR_HANDSHAKE % (ours.LT_DONTHAVE, ours.LT_TEX, ours.UT_METADATA, pex)
    return encode_frame(FrameKind.EXTENDED, bytes((ours.HANDSHAKE,)) + entries)


def encode_metadata_request(ut_metadata: int, part: int) -> bytes:
    """Return the message that asks for one part, under the peer's own number."""
    return encode_frame(FrameKind.EXTENDED, bytes((ut_metadata,)) + b"d8:msg_typei0e5:piecei%dee" % part)


def read_extended_handshake_untrusted(payload: bytes, known: ExtendedHandshake) -> ExtendedHandshake:
    """Read an extended handshake and return what is known after it: they add up (BEP 10).

    What has the wrong type is left out; raises `BadPeer` when it is no dictionary.
    """
    if len(payload) > MAX_HANDSHAKE_BYTES:
        raise BadPeer("extended handshake too long")
    entries, _ = _dictionary_in(payload, MAX_HANDSHAKE_ITEMS)
    numbers = entries.get(b"m")
    numbers = numbers if isinstance(numbers, dict) else {}
    number = _count_in(numbers, b"ut_metadata")
    name = entries.get(b"v")
    size = _count_in(entries, b"metadata_size")
    reqq = _count_in(entries, b"reqq")
    trackers = entries.get(b"tr")
    return replace(
        known,
        ut_metadata=number if number is not None and number < 256 else known.ut_metadata,
        metadata_size=size or known.metadata_size,
        upload_only=entries[b"upload_only"] == 1 if b"upload_only" in entries else known.upload_only,
        client=name[: 4 * MAX_NAME].decode("utf-8", "replace")[:MAX_NAME]
        if isinstance(name, bytes)
        else known.client,
        reqq=reqq or known.reqq,
        extensions=known.extensions | {name.decode() for name in _NAMED if _count_in(numbers, name)},
        trackers_hash=trackers
        if isinstance(trackers, bytes) and len(trackers) == FINGERPRINT_BYTES
        else known.trackers_hash,
    )


def read_metadata_message_untrusted(payload: bytes) -> MetadataMessage:
    """Read a message of BEP 9: a dictionary, and in a `data` message the part after it."""
    entries, end = _dictionary_in(payload, MAX_METADATA_ITEMS)
    kind, part = _count_in(entries, b"msg_type"), _count_in(entries, b"piece")
    if kind is None or part is None:
        raise BadPeer("metadata message without a type or a piece")
    return MetadataMessage(kind, part, _count_in(entries, b"total_size"), payload[end:])


def _dictionary_in(payload: bytes, max_items: int) -> tuple[dict[bytes, Value], int]:
    try:
        entries, end = read_prefix_untrusted(payload, max_items)
    except BencodeError as error:
        raise BadPeer("extended message that is no dictionary") from error
    if not isinstance(entries, dict):
        raise BadPeer("extended message that is no dictionary")
    return entries, end


def _count_in(entries: Mapping[bytes, Value], key: bytes) -> int | None:
    """Return a whole number that is not negative, or None."""
    value = entries.get(key)
    return value if isinstance(value, int) and value >= 0 else None
