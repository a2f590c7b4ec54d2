"""Tracker exchange: which trackers a peer has (BEP 28), read and never sent."""

from crawler.torrents.peerwire.frames import BadPeer
from dhtnode.bencode import BencodeError, read_prefix_untrusted

MAX_URLS = 50
"""URLs that are taken from one message; of more, the first."""

MAX_URL_BYTES = 512
FINGERPRINT_BYTES = 20
"""Bytes of the SHA-1 hash of all trackers that a peer has, in its extended handshake."""

_MAX_MESSAGE_BYTES = 64 * 1024
_MAX_ITEMS = 256


def read_trackers_untrusted(payload: bytes) -> list[bytes]:
    """Read the URLs that a message of BEP 28 adds, `MAX_URLS` at most; raises `BadPeer`.

    What is no string or has more than `MAX_URL_BYTES` is left out.
    """
    if len(payload) > _MAX_MESSAGE_BYTES:
        raise BadPeer("exchange of trackers too long")
    try:
        entries, _ = read_prefix_untrusted(payload, _MAX_ITEMS)
    except BencodeError as error:
        raise BadPeer("exchange of trackers that is no dictionary") from error
    if not isinstance(entries, dict):
        raise BadPeer("exchange of trackers that is no dictionary")
    added = entries.get(b"added")
    if not isinstance(added, list):
        return []
    return [url for url in added[:MAX_URLS] if isinstance(url, bytes) and 0 < len(url) <= MAX_URL_BYTES]
