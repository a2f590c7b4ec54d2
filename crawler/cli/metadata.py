"""The command `dhtcrawl metadata`, and what `scrape --metadata` has in common with it."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import click

import crawler
from crawler.cli.options import (
    DB_OPTION,
    exclude_option,
    hybrids_of,
    info_hashes_of,
    read_exclusion,
    run_crawl,
    setting_option,
    torrent_nodes_of,
)
from crawler.settings import CrawlOptions, PeerSettings
from dhtnode import DhtError, InfoHash
from dhtnode.cli import console
from dhtnode.lines import say

option = partial(setting_option, PeerSettings)
METADATA_OPTION = click.option(
    "--metadata",
    "wants_metadata",
    is_flag=True,
    help="Contact the peers that nodes name, over TCP: for name and size of the torrent, and who is a seed.",
)

PEX_OPTION = click.option(
    "--pex",
    is_flag=True,
    help="Have these peers name others that they are connected to (BEP 11), ask some of those as well, and"
    " estimate how many can be connected to.",
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
@option("--peers", "How many peers of a swarm to contact at most.")
@option("--at-once", "How many swarms to ask about at once.", field="swarms_at_once")
@option("--rate", "New connections per second.", field="connection_rate", metavar="N")
@PEX_OPTION
@exclude_option("Networks and addresses to leave alone, one to a line; - is standard input.")
@console.network_options(None)
def metadata(
    swarms: tuple[console.SwarmArgument, ...],
    db: Path,
    missing: int | None,
    exclude: console.ListedLines | None,
    network: console.NetworkOptions,
    **settings: Any,
) -> None:
    """Ask peers for the names of torrents (BEP 9), and which of them are seeds.

    Looks up the peers of each swarm and contacts them over TCP.  No content is asked for, no address
    of a peer is stored, and of a private torrent nothing but that it is private.
    """
    wanted = info_hashes_of(swarms)
    if not wanted and missing is None:
        raise click.UsageError("name at least one info-hash, or give --missing")
    tally = crawler.FetchTally()
    fetch = partial(
        crawler.fetch_metadata,
        wanted,
        CrawlOptions(
            db,
            exclude=read_exclusion(exclude),
            bootstrap=network.bootstrap,
            listen=network.listen,
            torrent_nodes=torrent_nodes_of(swarms),
            hybrids=hybrids_of(swarms),
        ),
        missing=missing,
        settings=PeerSettings(**settings),
        on_fetched=partial(print_fetched, network.as_json),
        on_failure=print_failure,
        tally=tally,
    )
    has_ended = run_crawl(fetch, network.timeout) is not None
    if not has_ended or (tally.wanted and not (tally.named or tally.private)):
        raise click.ClickException(
            f"{tally.named} of {tally.wanted} names known, {tally.private} torrents private"
        )


def print_fetched(as_json: bool, fetched: crawler.Fetched) -> None:
    """Print the outcome of one swarm."""
    console.emit(as_json, fetched_record(fetched), "" if as_json else fetched_text(fetched))


def print_failure(info_hash: InfoHash, error: DhtError) -> None:
    """Print why a swarm has no result."""
    say(f"{info_hash.hex()}: {error}")


def fetched_record(fetched: crawler.Fetched) -> dict[str, object]:
    """Return the outcome of one swarm, as `--json` prints it."""
    counts = (
        "peers_tried",
        "peers_answered",
        "seeds",
        "leechers",
        "unknown",
        "partial_seeds",
        "superseeds",
        "seeds_high",
    )
    shares = ("seed_share", "seed_share_low", "seed_share_high", "median_share", "superseed_score")
    return {
        "info_hash": fetched.info_hash.hex(),
        **{key: getattr(fetched.torrent, key, None) for key in ("is_private", "name", "size", "files")},
        **{key: getattr(fetched.handshakes, key, 0) for key in counts},
        **{key: getattr(fetched.handshakes, key, None) for key in shares},
        **({} if fetched.exchange is None else {"pex": asdict(fetched.exchange)}),
    }


def fetched_text(fetched: crawler.Fetched) -> str:
    """Return the outcome of one swarm in a line for people."""
    torrent, counts = fetched.torrent, fetched.handshakes
    handshakes = (
        ""
        if counts is None
        else (
            f"of {counts.peers_tried} peers contacted {counts.peers_answered} answered:"
            f" {counts.seeds} seeds, {counts.leechers} leechers{_odd_leechers(counts)},"
            f" {counts.unknown} that did not say"
        )
    )
    if torrent is None:
        line = f"no name; {handshakes}"
    elif torrent.is_private:
        line = "a private torrent: its peers are left alone"
    else:
        name = "without a name" if torrent.name is None else f"'{torrent.name}'"
        line = f"{name}, {torrent.size} bytes in {torrent.files} files; {handshakes}"
    return f"{fetched.info_hash.hex()} {line}{_exchange_text(fetched.exchange)}"


def _exchange_text(exchange: crawler.PexCounts | None) -> str:
    if exchange is None:
        return ""
    text = f"; {exchange.peers_told} of them named {exchange.distinct_addresses} others"
    if exchange.n_estimate is not None and exchange.n_low is not None and exchange.n_high is not None:
        text += (
            f", at least {exchange.n_estimate:.0f} can be connected to"
            f" ({exchange.n_low:.0f} to {exchange.n_high:.0f})"
        )
    if (
        exchange.overlap is not None
        and exchange.overlap_low is not None
        and exchange.overlap_high is not None
    ):
        low, high = 100 * exchange.overlap_low, 100 * exchange.overlap_high
        text += f"; the DHT has {100 * exchange.overlap:.0f} % of those named ({low:.0f} to {high:.0f})"
    return text


def _odd_leechers(counts: crawler.Handshakes) -> str:
    parts = [
        f"{number} {words}"
        for number, words in (
            (counts.partial_seeds, "with a part of it"),
            (counts.superseeds, "hidden seeds?"),
        )
        if number
    ]
    return f" ({', '.join(parts)})" if parts else ""
