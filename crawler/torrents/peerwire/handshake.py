"""The first words on a connection between peers (BEP 3), and what they tell of the program (BEP 20)."""

from dataclasses import dataclass
from random import Random

from crawler.torrents.peerwire.frames import BadPeer
from dhtnode import InfoHash
from dhtnode.client_names import CLIENT_NAMES, letters_of_name

HANDSHAKE_BYTES = 68
PEER_ID_BYTES = 20
OUR_PREFIX = b"-DN0001-"  # the letters are those of `v` in our queries

_PROTOCOL = b"\x13BitTorrent protocol"
_RESERVED_BYTES = 8
_EXTENSIONS = 0x10, 5  # bit, and byte of the reserved ones: BEP 10
_FAST = 0x04, 7  # BEP 6
_VERSION_2 = 0x10, 7  # BEP 52
_ARIA2 = b"A2-"  # its peer ids have no dash in front


@dataclass(frozen=True, slots=True)
class Handshake:
    """The peer and the swarm, and whether it knows extensions (BEP 10), BEP 6, and version 2 (BEP 52)."""

    info_hash: InfoHash
    peer_id: bytes
    has_extensions: bool = True
    has_fast: bool = True
    has_version_2: bool = False


def new_peer_id(random: Random) -> bytes:
    """Draw a peer id; one for each connection, so that nothing shows that they belong together."""
    return OUR_PREFIX + random.randbytes(PEER_ID_BYTES - len(OUR_PREFIX))


def encode_handshake(handshake: Handshake) -> bytes:
    """Return the 68 bytes of a handshake."""
    reserved = bytearray(_RESERVED_BYTES)
    for (bit, place), is_set in ((_EXTENSIONS, handshake.has_extensions), (_FAST, handshake.has_fast)):
        reserved[place] |= bit if is_set else 0
    return _PROTOCOL + reserved + handshake.info_hash + handshake.peer_id


def read_handshake_untrusted(data: bytes) -> Handshake | None:
    """Read the handshake at the start of a stream; return None while there is not enough of it.

    Raises `BadPeer` at the first byte that is wrong, so that another service at that port is left at once.
    """
    if not _PROTOCOL.startswith(data[: len(_PROTOCOL)]):
        raise BadPeer("not the BitTorrent protocol")
    if len(data) < HANDSHAKE_BYTES:
        return None
    reserved = data[len(_PROTOCOL) :]
    info_hash = data[len(_PROTOCOL) + _RESERVED_BYTES : HANDSHAKE_BYTES - PEER_ID_BYTES]
    return Handshake(
        InfoHash(bytes(info_hash)),
        bytes(data[HANDSHAKE_BYTES - PEER_ID_BYTES : HANDSHAKE_BYTES]),
        *(bool(reserved[place] & bit) for bit, place in (_EXTENSIONS, _FAST, _VERSION_2)),
    )


def client_letters(peer_id: bytes, name: str | None) -> str:
    """Return two letters for a client: those in `-XX1234-` (BEP 20), else those of the name that it gives.

    For a name that is not in `CLIENT_NAMES` these are its first two, unless they are those of another client.
    `unknown` when there are none.  All of it can be forged.
    """
    letters = peer_id[1:3]
    if peer_id[:1] == b"-" == peer_id[7:8] and letters.isalnum():
        return letters.decode("ascii")
    if known := "A2" if peer_id.startswith(_ARIA2) else letters_of_name(name or ""):
        return known
    start = (name or "")[:2]
    is_free = start not in CLIENT_NAMES
    return start if is_free and len(start) == 2 and start.isascii() and start.isalnum() else "unknown"
