"""What in a URL may be the key of a user: it is sent to the tracker, and never shown, logged or stored."""

import re

_NAMES = (
    "passkey|pass_key|authkey|auth_key|torrent_pass|torrentpass|passwd|password|pass|pid|apikey|api_key|key"
    "|auth|token|secret|secure|session|sid|uid|uk|user|username|rsskey|ticket|tk|pk"
)
_KEY = re.compile(
    # What is called so is one, however short it is.
    rf"(?<=[?&;/])(?P<name>(?i:{_NAMES})=)[^&;/#\s]+"
    # A name and a password before a host.
    r"|(?<=://)[^/?#\s]*@"
    r"|(?<![0-9A-Za-z])(?<!xn--)(?:"
    # Hex or base32; of letters alone, a word has fewer than 26.
    r"[0-9A-Fa-f]{20,}|[A-Z2-7]{20,}|[A-Za-z2-7]{26,}"
    # Letters and digits mixed as no word is, which may have `-` and `_` between (base64), and UUIDs.
    r"|(?=[A-Za-z]*[0-9])(?=[0-9]*[A-Za-z])[0-9A-Za-z]{20,}"
    # From its beginning only: a run that is looked through from every place in it takes the square of it.
    r"|(?<![_-])(?=[a-z0-9_-]*[A-Z])(?=[A-Z0-9_-]*[a-z])(?=[A-Za-z_-]*[0-9])[0-9A-Za-z_-]{24,}"
    r"|[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
    # Bytes as a query has them, %XX where they are no letters.
    r"|(?:[0-9A-Za-z._~-]{0,8}%[0-9A-Fa-f]{2}){8,}[0-9A-Za-z._~-]*"
    # Names of these networks are keys, but their own.
    r")(?![0-9A-Za-z]|\.onion|\.b32\.i2p)"
)


def has_key(text: str) -> bool:
    """Return whether a text has what may be the key of a user."""
    return _KEY.search(text) is not None


def hide_keys(text: str) -> str:
    """Return a text with dots in place of what may be the key of a user; hidden again it stays as it is."""
    return _KEY.sub(lambda found: f"{found['name'] or ''}...", text)
