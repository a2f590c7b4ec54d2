"""What the DNS of a host says about trackers there (BEP 34): on which ports, in which order, or none."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dhtnode.trackers.urls import TrackerUrl

_FIRST_WORD = b"BITTORRENT"
_TRANSPORTS = {b"UDP": "udp", b"TCP": "http"}
_TLS_PORT = 443  # a record names TCP alone
MAX_PORTS = 8
"""Trackers of one host that are taken from its records."""


class Service(NamedTuple):
    """A tracker that a record names: its transport, `udp` or `http` for TCP, and its port."""

    scheme: str
    port: int


def read_preferences(records: Iterable[Sequence[bytes]]) -> tuple[Service, ...] | None:
    """Return the trackers that TXT records name, preferred ones first; None if they say nothing of trackers.

    A record is its strings; several are taken together.  Nothing named means that there is no tracker.
    """
    found: dict[Service, None] = {}
    is_told = False
    for strings in records:
        first, *words = b"".join(strings).split(b" ")
        if first != _FIRST_WORD:
            continue
        is_told = True
        for word in words:
            transport, _, digits = word.partition(b":")
            if transport in _TRANSPORTS and digits.isdigit() and len(digits) < 6 and 0 < int(digits) < 65536:
                found.setdefault(Service(_TRANSPORTS[transport], int(digits)))
    return tuple(found)[:MAX_PORTS] if is_told else None


def allowed_urls(url: TrackerUrl, preferences: Sequence[Service] | None) -> tuple[TrackerUrl, ...]:
    """Return where the tracker of a URL may be asked: there, where its host says instead, or nowhere."""
    if preferences is None:
        return (url,)
    transport = "udp" if url.scheme == "udp" else "http"
    if Service(transport, url.port) in preferences:
        return (url,)
    return tuple(
        TrackerUrl("https" if port == _TLS_PORT else scheme, url.host, port, url.path or "/announce")
        for scheme, port in preferences
    )
