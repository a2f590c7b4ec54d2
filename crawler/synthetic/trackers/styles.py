"""What trackers do that no protocol says: the manners of six programs, and what is put on top of them.

Those of opentracker and bittorrent-tracker were seen on loopback, the others were read in their sources.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

MAX_TRACKERS = 100


@dataclass(frozen=True, slots=True)
class TrackerStyle:
    """The manners of one tracker.

    Caps are info-hashes of a scrape that are answered for, the first ones; None is without a limit.  Words
    name what is done with something odd: `drop` is no answer, `error` an error text.
    """

    name: str = "plain"
    udp_cap: int | None = None
    http_cap: int | None = None
    longest_request: int = 65_536
    """Bytes of a request over HTTP; a longer one gets status 500."""

    lists_unknown: bool = False
    """Whether a scrape over HTTP lists unknown swarms, as empty ones; over UDP all do."""

    answers_twice: bool = True
    """Whether a swarm that comes twice in a packet has two rows; with one, all rows after it shift."""

    odd_list: str = "drop"
    """A list of info-hashes that is no multiple of 20 bytes: `rows` answers for the piece at the end too."""

    utf8_keys: bool = False
    full_udp: str = "empty"
    full_http: bool = True
    event_4: str = "none"
    """`paused` over UDP (BEP 21): `none` takes it for no event."""

    port_0: str = "source"
    """An announce of port 0: `counted` hands it out, `source` takes the port of the packet (UDP only)."""

    replaces_ip: bool = False
    """Whether the field `ip` of a packet counts as the peer, which is never handed out then."""

    connection_ids: str = "by-host"
    """`by-host` and `by-address` expire; `constant` is one for all; `once` and `never` work so often."""

    wrong_id: str = "error"
    ban_seconds: float = 0.0
    """How long a host is left without answers that sent two wrong connection ids."""

    short_refusal: bool = False
    """Whether an announce for a swarm that is not tracked gets 8 bytes, shorter than any legal answer."""

    most_peers: int = 200
    compact_0: str = "list"
    """`compact=0`: `list` is one of dictionaries, `400` the status, else an error."""

    interval: tuple[int, int] = (1800, 1800)
    min_interval: int | None = None
    keep_alive: bool = True
    external_ip: bool = False
    has_udp: bool = True
    has_scrape: bool = True
    # From here on, what comes on top.
    tracks_unknown: bool = True
    lies: frozenset[str] = frozenset()
    min_request_interval: int | None = None
    """Seconds in the `flags` of a scrape."""

    fault: str = ""
    """What takes the place of every answer, one of `FAULTS`, or nothing."""

    delay: float = 0.0
    bomb_bytes: int = 1 << 30
    """Zeros that an answer unpacks to which is a bomb."""


STYLES: Mapping[str, TrackerStyle] = {
    style.name: style
    for style in (
        TrackerStyle(),
        TrackerStyle(
            "opentracker",
            udp_cap=75,
            http_cap=64,
            longest_request=8192,
            odd_list="rows",
            port_0="counted",
            short_refusal=True,
            compact_0="400",
            interval=(1620, 1980),
            min_interval=900,
            keep_alive=False,
        ),
        TrackerStyle(
            "bittorrent-tracker",
            lists_unknown=True,
            answers_twice=False,
            utf8_keys=True,
            event_4="none",
            replaces_ip=True,
            connection_ids="constant",
            most_peers=82,
            interval=(600, 600),
        ),
        TrackerStyle(
            "aquatic",
            udp_cap=70,
            http_cap=100,
            odd_list="error",
            full_udp="error",
            full_http=False,
            event_4="drop",
            port_0="error",
            connection_ids="by-address",
            wrong_id="drop",
            most_peers=30,
            compact_0="error",
            interval=(900, 900),
        ),
        TrackerStyle(
            "chihaya",
            udp_cap=50,
            http_cap=50,
            odd_list="error",
            full_udp="error",
            full_http=False,
            event_4="error",
            port_0="error",
            most_peers=100,
        ),
        TrackerStyle(
            "torrust",
            udp_cap=74,
            http_cap=74,
            connection_ids="by-host",
            ban_seconds=120.0,
            most_peers=74,
            interval=(120, 300),
        ),
        TrackerStyle(
            "qbittorrent",
            port_0="error",
            external_ip=True,
            has_udp=False,
            has_scrape=False,
        ),
    )
}
"""Programs by name; `plain` has no oddity."""

LIES = ("invents", "constant", "alone", "mirror", "multiplied", "shifted")
"""Seeds for any info-hash; one triple for all swarms; far too many; the lists of the tracker before it; three
times as many; the counts of the swarm before."""

FAULTS = (
    "silent",
    "gzip-bomb",
    "endless",
    "redirects",
    "redirects-home",
    "redirects-loop",
    "error",
    "retry-in",
    "never",
    "html",
    "no-numbers",
    "truncated",
)

MODIFIERS: Mapping[str, Mapping[str, Any]] = {
    **{fault: {"fault": fault} for fault in FAULTS},
    "slow": {"delay": 3.0},
    "whitelist": {"tracks_unknown": False},
    "min-interval": {"min_interval": 3600, "min_request_interval": 3600},
    "wrong-ids": {"connection_ids": "never"},
    "ids-once": {"connection_ids": "once"},
    "closes": {"keep_alive": False},
    "cap-50": {"udp_cap": 50, "http_cap": 50},
    "cap-10": {"udp_cap": 10, "http_cap": 10},
    "cap-1": {"udp_cap": 1, "http_cap": 1},
    "no-scrape": {"has_scrape": False},
    "no-udp": {"has_udp": False},
}
"""Words after a program that change it, as in `chihaya+slow`; the words of `LIES` do, too."""


def read_style(text: str) -> TrackerStyle:
    """Return the style that a text names: a program, and what comes on top, joined by `+`.

    Raises `ValueError` for a word that is none.
    """
    program, *words = text.split("+")
    if program in STYLES:
        style = STYLES[program]
    else:
        style, words = STYLES["plain"], [program, *words]
    for word in words:
        if word in LIES:
            style = replace(style, lies=style.lies | {word})
        elif word in MODIFIERS:
            style = replace(style, **MODIFIERS[word])
        else:
            known = ", ".join((*STYLES, *LIES, *MODIFIERS))
            raise ValueError(f"trackers: {word!r} is none of {known}")
    return replace(style, name=text)


def read_styles(text: str) -> tuple[TrackerStyle, ...]:
    """Return the styles of several trackers, with commas between; none of an empty text.

    Raises `ValueError` for a word that is none, or too many trackers.
    """
    styles = tuple(read_style(each.strip()) for each in text.split(",")) if text.strip() else ()
    if len(styles) > MAX_TRACKERS:
        raise ValueError(f"trackers: {len(styles)} is above {MAX_TRACKERS}")
    return styles
