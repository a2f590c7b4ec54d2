"""The command `dhtcrawl metadata`, and what `scrape --metadata` has in common with it."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

import crawler
from crawler.cli.options import DB_OPTION, read_exclusion, run_crawl
from crawler.settings import CrawlOptions, PeerSettings
from dhtnode import DhtError, InfoHash
from dhtnode.cli import console

if TYPE_CHECKING:
    from crawler.db.records.torrents import Handshakes
    from crawler.torrents.fetch import Fetched

DEFAULTS = PeerSettings()

METADATA_OPTION = click.option(
    "--metadata",
    "wants_metadata",
    is_flag=True,
    help="Contact the peers that nodes name, over TCP: for name and size of the torrent, and who is a seed.",
)


@click.command()
@click.argument("swarms", nargs=-1, type=console.swarm, metavar="[INFOHASH]...")
@DB_OPTION
@click.option(
    "--missing",
    type=click.IntRange(1),
    metavar="N",
    help="Also N swarms of the database whose names are not known, those never tried first.",
)
@click.option(
    "--peers",
    type=click.IntRange(1, 200),
    default=DEFAULTS.peers,
    show_default=True,
    help="How many peers of a swarm to contact at most.",
)
@click.option(
    "--at-once",
    type=click.IntRange(1, 32),
    default=DEFAULTS.swarms_at_once,
    show_default=True,
    help="How many swarms to ask about at once.",
)
@click.option(
    "--rate",
    type=console.Number(min=0, min_open=True),
    default=DEFAULTS.connection_rate,
    show_default=True,
    metavar="N",
    help="New connections per second.",
)
@click.option(
    "--exclude",
    type=click.File(),
    metavar="FILE",
    help="Networks and addresses to leave alone, one to a line; - is standard input.",
)
@console.common_options(None)
def metadata(
    swarms: tuple[console.SwarmArgument, ...],
    db: Path,
    missing: int | None,
    peers: int,
    at_once: int,
    rate: float,
    exclude: TextIO | None,
    as_json: bool,
    timeout: float | None,
    bootstrap: tuple[str, ...],
) -> None:
    """Ask peers for the names of torrents (BEP 9), and which of them are seeds.

    Looks up the peers of each swarm and contacts them over TCP.  No content is asked for, no address
    of a peer is stored, and of a private torrent nothing but that it is private.
    """
    wanted = list(dict.fromkeys(swarm.info_hash for swarm in swarms))
    if not wanted and missing is None:
        raise click.UsageError("name at least one info-hash, or give --missing")
    options = CrawlOptions(
        db,
        exclude=read_exclusion(exclude),
        bootstrap=bootstrap,
        torrent_nodes=[host for swarm in swarms for host in swarm.nodes],
    )
    tally = crawler.FetchTally()
    fetch = partial(
        crawler.fetch_metadata,
        wanted,
        options,
        missing=missing,
        settings=PeerSettings(peers=peers, swarms_at_once=at_once, connection_rate=rate),
        on_fetched=partial(print_fetched, as_json),
        on_failure=print_failure,
        tally=tally,
    )
    has_ended = run_crawl(fetch, timeout) is not None
    if not has_ended or (tally.wanted and not (tally.named or tally.private)):
        raise click.ClickException(
            f"{tally.named} of {tally.wanted} names known, {tally.private} torrents private"
        )


def print_fetched(as_json: bool, fetched: Fetched) -> None:
    """Print the outcome of one swarm."""
    console.emit(as_json, fetched_record(fetched), "" if as_json else fetched_text(fetched))


def print_failure(info_hash: InfoHash, error: DhtError) -> None:
    """Print why a swarm has no result."""
    click.echo(f"{info_hash.hex()}: {error}", err=True)


def fetched_record(fetched: Fetched) -> dict[str, object]:
    """Return what came of one swarm, as `--json` prints it."""
    torrent, told = fetched.torrent, fetched.handshakes
    return {
        "info_hash": fetched.info_hash.hex(),
        "is_private": None if torrent is None else torrent.is_private,
        "name": None if torrent is None else torrent.name,
        "size": None if torrent is None else torrent.size,
        "files": None if torrent is None else torrent.files,
        "peers_tried": told.peers_tried if told else 0,
        "peers_answered": told.peers_answered if told else 0,
        "seeds": told.seeds if told else 0,
        "leechers": told.leechers if told else 0,
        "unknown": told.unknown if told else 0,
        "seed_share": told.seed_share if told else None,
        "seed_share_low": told.seed_share_low if told else None,
        "seed_share_high": told.seed_share_high if told else None,
    }


def fetched_text(fetched: Fetched) -> str:
    """Return what came of one swarm in a line for people, in letters that the terminal has."""
    torrent = fetched.torrent
    told = "" if fetched.handshakes is None else _handshakes_text(fetched.handshakes)
    if torrent is None:
        line = f"no name; {told}"
    elif torrent.is_private:
        line = "a private torrent: its peers are left alone"
    else:
        line = f"{torrent.name!r}, {torrent.size} bytes in {torrent.files} files; {told}"
    encoding = sys.stdout.encoding or "utf-8"
    return f"{fetched.info_hash.hex()} {line}".encode(encoding, "backslashreplace").decode(encoding)


def _handshakes_text(told: Handshakes) -> str:
    return (
        f"of {told.peers_tried} peers contacted {told.peers_answered} answered:"
        f" {told.seeds} seeds, {told.leechers} leechers, {told.unknown} that did not say"
    )
