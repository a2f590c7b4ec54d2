"""The command `dhtnode trackers`: what each tracker of a torrent says of its swarm."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import click

import dhtnode
from dhtnode import cli
from dhtnode.cli.captures import pcap_options
from dhtnode.cli.console import (
    JSON_OPTION,
    emit,
    is_torrent_file,
    linked_swarm,
    timeout_option,
)
from dhtnode.errors import InvalidArgument, InvalidInfoHash, InvalidTorrent
from dhtnode.escaping import escaped
from dhtnode.ids import InfoHash
from dhtnode.trackers.messages import Outcome
from dhtnode.trackers.urls import SkippedScheme, TrackerUrl, parse_tracker_url, parse_tracker_urls
from dhtnode.user_keys import hide_keys


class TrackedSwarm(NamedTuple):
    """A swarm and the trackers that its torrent file or magnet link names."""

    info_hash: InfoHash
    trackers: tuple[str, ...] = ()
    is_private: bool = False


class Place(NamedTuple):
    """A tracker to ask, and whether the user typed its URL."""

    url: TrackerUrl
    is_typed: bool


def tracked_swarm(text: str) -> TrackedSwarm:
    """Read an info-hash, a magnet link or the path of a torrent file from the command line.

    A private torrent is asked about at its own trackers, as its client would.
    """
    try:
        if not is_torrent_file(text):
            linked = linked_swarm(text)
            return TrackedSwarm(linked.info_hash, linked.trackers)
        metainfo = dhtnode.read_torrent(text)
        return TrackedSwarm(metainfo.info_hashes[0], metainfo.tracker_urls, metainfo.is_private)
    except OSError as error:
        raise click.BadParameter(f"cannot read {text}: {error.strerror}") from error
    except (InvalidInfoHash, InvalidTorrent) as error:
        raise click.BadParameter(str(error)) from error


def tracker_url(text: str) -> TrackerUrl:
    """Read the URL of a tracker from the command line."""
    try:
        return parse_tracker_url(text)
    except InvalidArgument as error:
        raise click.BadParameter(str(error)) from error


@click.command()
@click.argument("swarm", type=tracked_swarm, metavar="TORRENT|MAGNET|INFOHASH")
@click.option(
    "--tracker", "typed", type=tracker_url, multiple=True, metavar="URL", help="One more; may be repeated."
)
@click.option(
    "--announce",
    is_flag=True,
    help="Announce a peer here that has nothing, which hands our address to others; print the peers found,"
    " and say goodbye.",
)
@click.option("--port", type=click.IntRange(1, 65535), help="TCP port of that peer.")
@timeout_option(60.0)
@JSON_OPTION
@pcap_options
def trackers(
    swarm: TrackedSwarm,
    typed: tuple[TrackerUrl, ...],
    announce: bool,
    port: int | None,
    timeout: float,
    as_json: bool,
) -> None:
    """Ask the trackers of a torrent how large its swarm is, at each address that they have.

    A tracker is asked for a made-up swarm as well: one that has peers for that invents them.  The last line
    says how many peers there are at least and at most over all that do not: their lists overlap, and it is
    unknown by how much.  Exit status 1 if no tracker answered.
    """
    if announce and port is None:
        raise click.UsageError("--announce needs --port")
    places, skipped = _places(swarm, typed)
    if swarm.is_private and not set(typed) <= set(parse_tracker_urls(swarm.trackers)):
        raise click.UsageError("the torrent is private (BEP 27): it is asked about at its own trackers only")
    if not places and not skipped:
        raise click.UsageError("the torrent names no tracker: give one by --tracker URL")
    for text in skipped:
        emit(
            as_json,
            {"url": hide_keys(text), "outcome": Outcome.SKIPPED_SCHEME},
            f"{escaped(hide_keys(text))}  {Outcome.SKIPPED_SCHEME}",
        )
    # Not above: it brings Trio, and `--help` does without.
    from dhtnode.cli.tracker_lines import TrackersCommand

    command = TrackersCommand(swarm.info_hash, as_json)
    work = (
        partial(command.announce_all, places, port)
        if announce and port
        else partial(command.scrape_all, places)
    )
    cli.run(partial(cli.run_with_timeout, work, timeout))
    if not command.answered:
        raise click.ClickException("no tracker answered")
    if not announce:
        command.show_combined()


def _places(swarm: TrackedSwarm, typed: Sequence[TrackerUrl]) -> tuple[list[Place], list[str]]:
    """Return the trackers to ask, each once, and the URLs of those whose protocol is not spoken."""
    places = {url: Place(url, is_typed=True) for url in typed}
    skipped = []
    for text in swarm.trackers:
        try:
            url = parse_tracker_url(text)
        except SkippedScheme:
            skipped.append(text)
        except InvalidArgument:
            continue
        else:
            places.setdefault(url, Place(url, is_typed=False))
    return list(places.values()), skipped
