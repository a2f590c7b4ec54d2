"""The command `dhtcrawl metadata`, and what `scrape --metadata` has in common with it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from random import Random, SystemRandom
from typing import TYPE_CHECKING, TextIO

import click

from crawler.cli.options import DB_OPTION, read_exclusion, with_limits
from crawler.settings import PeerSettings
from dhtnode import DhtError, InfoHash, cli
from dhtnode.cli import console

if TYPE_CHECKING:
    from crawler.core.session import Session
    from crawler.db.records.torrents import Handshakes
    from crawler.torrents.fetch import Fetched, Fetcher, FetchTally
    from crawler.torrents.peers import Excludes
    from dhtnode import Address

    HandOver = Callable[[InfoHash, Iterable[Sequence[Address]]], None]

DEFAULTS = PeerSettings()

MAX_WAYS_IN = 32  # of all torrent files together; each may cost a look-up of a name

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

    from crawler.core.session import open_session
    from crawler.db.database import DatabaseError
    from crawler.torrents.fetch import FetchTally, look_up_and_fetch

    exclusion = read_exclusion(exclude)
    settings = PeerSettings(peers=peers, swarms_at_once=at_once, connection_rate=rate)
    ways_in = [host for swarm in swarms for host in swarm.nodes][:MAX_WAYS_IN]
    tally = FetchTally()
    random = _random()

    async def fetch_all() -> None:
        nonlocal tally
        run_settings = asdict(settings) | {"info_hashes": len(wanted), "missing": missing}
        async with open_session(
            db, "metadata", run_settings, bootstrap=bootstrap, ways_in=ways_in
        ) as session:
            if missing is not None:
                wanted.extend(await session.writer.call(lambda store: store.metadata.missing(missing)))
            async with _fetcher(session, as_json, settings, random, exclusion.excludes) as fetcher:
                tally = fetcher.tally
                await look_up_and_fetch(
                    session.node,
                    fetcher,
                    dict.fromkeys(wanted),
                    at_once=at_once,
                    random=random,
                    on_failure=_print_failure,
                )

    ended = cli.run(partial(with_limits, fetch_all, timeout), DatabaseError)
    if not ended or (wanted and not (tally.named or tally.private)):
        raise click.ClickException(_summary(tally, len(set(wanted))))


@asynccontextmanager
async def handing_over(
    session: Session, as_json: bool, *, is_wanted: bool, excludes: Excludes | None = None
) -> AsyncIterator[HandOver]:
    """Yield what takes an info-hash with the peers that each node named, and has some of them asked.

    Unless that is wanted, nothing comes of them.  Leaving the block waits until all were asked; what
    they say is printed and recorded.
    """
    if not is_wanted:
        yield lambda _, __: None
        return

    from crawler.torrents.seed_share import draw_fairly

    random = _random()
    async with _fetcher(session, as_json, DEFAULTS, random, excludes) as fetcher:
        yield lambda info_hash, named: fetcher.offer(info_hash, draw_fairly(named, random))
    if fetcher.tally.no_room:
        click.echo(
            f"{fetcher.tally.no_room} swarms waited too long for their peers to be asked:"
            " `dhtcrawl metadata --missing` asks them later",
            err=True,
        )


@asynccontextmanager
async def _fetcher(
    session: Session, as_json: bool, settings: PeerSettings, random: Random, excludes: Excludes | None
) -> AsyncIterator[Fetcher]:
    from crawler.torrents.fetch import open_fetcher
    from crawler.torrents.peers import PeerAsker
    from dhtnode.addresses import scope_of

    scopes = {address.family: scope_of(address.host) for address in session.node.addresses}
    asker = PeerAsker(scopes, settings, random, excludes=excludes)
    print_fetched = partial(_print_fetched, as_json)
    async with open_fetcher(asker, session.writer, session.run_id, print_fetched) as fetcher:
        yield fetcher


def _random() -> Random:
    return Random(SystemRandom().getrandbits(256))


def _print_fetched(as_json: bool, fetched: Fetched) -> None:
    console.emit(as_json, fetched_record(fetched), "" if as_json else fetched_text(fetched))


def _print_failure(info_hash: InfoHash, error: DhtError) -> None:
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


def _summary(tally: FetchTally, wanted: int) -> str:
    return f"{tally.named} of {wanted} names known, {tally.private} torrents private"
