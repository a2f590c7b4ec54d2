"""The options of commands that ask trackers beside the DHT, and the lines about what these say."""

from __future__ import annotations

from collections.abc import Iterable
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from crawler.cli.options import setting_option
from crawler.settings import TrackerOptions
from dhtnode.cli import console
from dhtnode.errors import InvalidArgument

if TYPE_CHECKING:
    from crawler.db.records.trackers import SwarmOverlap, TrackerMeasurement

_OPTIONS = (
    click.option(
        "--trackers",
        "wants_trackers",
        is_flag=True,
        help="Ask trackers in the same round: those given here, those of torrent files and magnet links, and"
        " those that the database knows.",
    ),
    click.option("--tracker", "typed", multiple=True, metavar="URL", help="A tracker to ask; repeatable."),
    click.option(
        "--tracker-list",
        type=console.ListFile(),
        metavar="FILE",
        help="More trackers: a list as they are published, one URL a line.",
    ),
    setting_option(
        TrackerOptions,
        "--tracker-rate",
        "Requests per second to one host of trackers; 0 lifts that on loopback.",
        field="requests_rate",
        metavar="R",
    ),
    click.option(
        "--announce",
        is_flag=True,
        help="Announce a peer here that has nothing to the trackers, which hands our address to others, and"
        " say goodbye: the addresses that they name tell how far they and the DHT have the same peers.",
    ),
    setting_option(TrackerOptions, "--port", "TCP port of that peer.", metavar="P"),
)


def tracker_options(command: console.Command) -> console.Command:
    """Add the options of trackers, of which a command gets `TrackerOptions` or None as `trackers`.

    The trackers of its swarms are added by `with_trackers_of`.
    """

    @wraps(command)
    def call(
        *,
        wants_trackers: bool,
        typed: tuple[str, ...],
        tracker_list: console.ListedLines | None,
        requests_rate: float,
        announce: bool,
        port: int | None,
        **others: Any,
    ) -> None:
        if not wants_trackers and (typed or tracker_list or announce):
            raise click.UsageError("--tracker, --tracker-list and --announce need --trackers")
        if announce != (port is not None):
            raise click.UsageError("--announce needs --port, and --port needs --announce")
        trackers = None
        if wants_trackers:
            trackers = TrackerOptions(
                checked_urls(typed, "--tracker"),
                listed_urls(tracker_list),
                requests_rate=requests_rate,
                port=port,
            )
        command(trackers=trackers, **others)

    return console.add_options(*_OPTIONS)(call)


def checked_urls(typed: tuple[str, ...], option: str) -> tuple[str, ...]:
    """Return the URLs that were given for an option, if they are URLs of trackers."""
    # Not above: `--help` needs none.
    from dhtnode.trackers import SkippedScheme, parse_tracker_url

    for text in typed:
        try:
            parse_tracker_url(text)
        except SkippedScheme:
            continue
        except InvalidArgument as error:
            raise click.BadParameter(str(error), param_hint=option) from error
    return typed


def listed_urls(tracker_list: console.ListedLines | None) -> tuple[str, ...]:
    """Return the URLs of a published list, none where there is no list."""
    if tracker_list is None:
        return ()
    from crawler.trackers import read_tracker_list

    return tuple(read_tracker_list(tracker_list.lines))


def trackers_of(swarms: Iterable[console.SwarmArgument]) -> tuple[str, ...]:
    """Return the trackers that the torrent files and magnet links of swarms name."""
    return tuple(dict.fromkeys(url for swarm in swarms for url in swarm.trackers))


def print_told(as_json: bool, told: TrackerMeasurement) -> None:
    """Print what trackers say of a swarm together."""
    record = told._asdict() | {"info_hash": told.info_hash.hex(), "source": "tracker"}
    seeds, leechers = (
        f"{low} {name}" if low == high else f"{low} to {high} {name}"
        for name, low, high in (
            ("seeds", told.seeds_low, told.seeds_high),
            ("leechers", told.leechers_low, told.leechers_high),
        )
    )
    peers = f"{told.peers}" if told.peers == told.peers_high else f"{told.peers} to {told.peers_high}"
    text = (
        f"{told.info_hash.hex()} {peers} peers at trackers: {seeds}, {leechers};"
        f" {told.trackers_answered} of {told.trackers_asked} answered"
    )
    console.emit(as_json, record, text)


def print_overlap(as_json: bool, overlap: SwarmOverlap) -> None:
    """Print how far the DHT and trackers, or with `--json` also each of them, have the same peers."""
    if overlap.url is not None and not as_json:
        return
    values = {name: getattr(overlap, name) for name in overlap.__dataclass_fields__}
    record = values | {"info_hash": overlap.info_hash.hex(), "source": "both"}
    ends = f"{overlap.n_low:.0f} to {overlap.n_high:.0f}" if overlap.n_high is not None else "or more"
    text = (
        f"{overlap.info_hash.hex()} {overlap.n_estimate:.0f} peers in either ({ends}):"
        f" the DHT has {100 * overlap.overlap:.0f} % ({100 * overlap.overlap_low:.0f} to"
        f" {100 * overlap.overlap_high:.0f}) of those at trackers, by {overlap.peers_named} addresses"
    )
    console.emit(as_json, record, text)
