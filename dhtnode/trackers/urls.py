"""Addresses of trackers as torrents and people give them (BEP 3, 15, 48), read without trust."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from dhtnode.addresses import normalize_host
from dhtnode.errors import InvalidArgument
from dhtnode.escaping import escaped
from dhtnode.user_keys import has_key, hide_keys

MAX_LENGTH = 2048
"""Characters of a URL; longer ones are refused."""

_PORTS = {"http": 80, "https": 443, "udp": 0}
_OTHERS = frozenset({"ws", "wss"})  # of WebTorrent
_LABEL = re.compile(r"[0-9A-Za-z_](?:[0-9A-Za-z_-]{0,61}[0-9A-Za-z_])?")


class InvalidTrackerUrl(InvalidArgument):
    """A text that is no URL of a tracker that can be asked."""


class SkippedScheme(InvalidTrackerUrl):
    """The URL of a tracker whose protocol is not spoken here: WebTorrent, I2P, Tor."""


@dataclass(frozen=True, slots=True)
class TrackerUrl:
    """The URL to announce to at a tracker: `udp`, `http` or `https`, a name or address, and a port.

    `path` begins with a slash and has the query, as they stand in the text; over UDP it may be empty.
    """

    scheme: str
    host: str
    port: int
    path: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.origin}{self.path}"

    def __repr__(self) -> str:
        # It ends up in logs and tracebacks.
        return f"<TrackerUrl {self.shown}>"

    @property
    def origin(self) -> str:
        """Return host and port as a URL has them, without the port that goes without saying."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def scrape_path(self) -> str | None:
        """Return the path to scrape at, or None if there is none (BEP 48).  Over UDP any path will do."""
        path, question, query = self.path.partition("?")
        directory, slash, name = path.rpartition("/")
        if not name.startswith("announce"):
            return None
        return f"{directory}{slash}scrape{name.removeprefix('announce')}{question}{query}"

    @property
    def url_data(self) -> bytes:
        """Return what a UDP announce carries of the path (BEP 41): nothing of a plain `/announce`."""
        return b"" if self.path in ("", "/", "/announce") else self.path.encode("ascii")

    @property
    def has_secret(self) -> bool:
        """Return whether it looks as if it carried the key of a user: never to be stored or shown."""
        return has_key(str(self))

    @property
    def shown(self) -> str:
        """Return the URL for people and files, without what may be the key of a user."""
        return hide_keys(str(self))


def parse_tracker_url(text: str) -> TrackerUrl:
    """Read the URL of a tracker; raises `SkippedScheme` or `InvalidTrackerUrl`.

    What a URL cannot have in its path is escaped.  Names in other scripts are taken in their ASCII form.
    """
    if not isinstance(text, str):
        raise InvalidTrackerUrl(f"the URL of a tracker is a str, not a {type(text).__name__}")
    stripped = text.strip()
    shown = escaped(hide_keys(stripped[:MAX_LENGTH])[:80])
    wrong = InvalidTrackerUrl(f"{shown!r} is not the URL of a tracker")
    if len(stripped) > MAX_LENGTH:
        raise wrong
    try:
        parts = urlsplit(stripped)
        scheme, host, port = parts.scheme.lower(), _host_of(parts.hostname or ""), parts.port
    except ValueError:
        # Without the error, which has the text.
        raise wrong from None
    # A name server must not be asked for the names of I2P and Tor (RFC 7686).
    if scheme in _OTHERS or host.endswith((".i2p", ".onion")):
        raise SkippedScheme(f"{shown!r}: trackers of WebTorrent, I2P and Tor are not asked")
    port = _PORTS.get(scheme, 0) if port is None else port
    if scheme not in _PORTS or not port or parts.username is not None:
        raise wrong
    path = _escape(parts.path) + (f"?{_escape(parts.query)}" if parts.query else "")
    return TrackerUrl(scheme, host, port, path or ("" if scheme == "udp" else "/"))


def parse_tracker_urls(texts: Iterable[str]) -> tuple[TrackerUrl, ...]:
    """Read several, in their order; those that cannot be asked and repeated ones are left out."""
    found: dict[TrackerUrl, None] = {}
    for text in texts:
        try:
            found.setdefault(parse_tracker_url(text))
        except InvalidTrackerUrl:
            continue
    return tuple(found)


def _host_of(name: str) -> str:
    if ":" in name or name.replace(".", "").isdigit():
        return normalize_host(name)
    host = name.rstrip(".") if name.isascii() else name.rstrip(".").encode("idna").decode("ascii")
    if not 0 < len(host) < 254 or not all(_LABEL.fullmatch(label) for label in host.split(".")):
        raise ValueError("no host name")
    return host.lower()


def _escape(part: str) -> str:
    if part.isascii() and part.isprintable() and " " not in part:
        return part
    return "".join(
        chr(byte) if 0x21 <= byte < 0x7F else f"%{byte:02X}" for byte in part.encode("utf-8", "surrogatepass")
    )
