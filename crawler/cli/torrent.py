"""The command `dhtcrawl torrent`: all that torrent files and magnet links say of themselves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import click

import crawler
import dhtnode
from crawler.cli.options import exclude_option, read_exclusion, run_crawl
from dhtnode.cli import captures, console
from dhtnode.errors import InvalidInfoHash, InvalidTorrent
from dhtnode.escaping import escaped
from dhtnode.lines import say
from dhtnode.magnet import is_magnet

MOST_FILES = 20  # that are printed without --files


class Described(NamedTuple):
    """One torrent as it was given: its text, and what a file, a link or an info-hash alone says of it."""

    text: str
    said: dhtnode.TorrentDetails | dhtnode.Magnet


def read_described(text: str) -> Described:
    """Read an argument: the path of a torrent file, a magnet link or an info-hash.

    Raises `OSError`, `InvalidTorrent` or `InvalidInfoHash`.
    """
    if console.is_torrent_file(text):
        return Described(text, dhtnode.read_details(text))
    if is_magnet(text):
        return Described(text, dhtnode.parse_magnet(text))
    return Described(text, dhtnode.Magnet((dhtnode.parse_info_hash(text),)))


@click.command()
@click.argument("torrents", nargs=-1, required=True, metavar="FILE|MAGNET|INFOHASH...")
@click.option(
    "--db",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also what this database knows of the name and size, from `dhtcrawl metadata`; with"
    " --check-web-seeds, record the checks there.",
)
@click.option(
    "--files", "lists_files", is_flag=True, help=f"List all files, not the first {MOST_FILES} only."
)
@click.option(
    "--check-web-seeds",
    is_flag=True,
    help="Ask each web seed of a file for the last 16 KiB of the largest file: is it there, and as long?",
)
@click.option(
    "--verify-piece",
    "verifies",
    is_flag=True,
    help="Ask each for one whole piece, of 4 MiB at most, and hold it against its hash: that is content.",
)
@click.option(
    "--local", is_flag=True, help="Also ask web seeds on this machine and in special networks, for tests."
)
@exclude_option("Networks, addresses and names of web seeds to leave alone; - is standard input.")
@console.timeout_option(300.0)
@console.JSON_OPTION
@captures.pcap_options
def torrent(
    torrents: tuple[str, ...],
    db: Path | None,
    lists_files: bool,
    check_web_seeds: bool,
    verifies: bool,
    local: bool,
    exclude: console.ListedLines | None,
    timeout: float,
    as_json: bool,
) -> None:
    """Say what torrent files and magnet links tell of themselves: versions, files, trackers, web seeds.

    Nothing is asked of the network but web seeds, with --check-web-seeds; those of private torrents are left
    alone, and with --db those that asked for a pause.  An info-hash alone says nothing: --db tells what is
    known of it.  Exit status 1 if one of them could not be read, or a check found no web seed alive.
    """
    if not check_web_seeds and (verifies or exclude or (db is not None and not db.exists())):
        raise click.UsageError(
            "--verify-piece and --exclude need --check-web-seeds"
            if verifies or exclude
            else f"there is no database {db}, and nothing to record without --check-web-seeds"
        )
    read, failed = _read_all(torrents)
    for each in read:
        _print_described(each, db, lists_files=lists_files, as_json=as_json)
    checked: list[bool] = []
    if check_web_seeds:
        check = partial(
            crawler.check_web_seeds,
            [each.said for each in read],
            db,
            exclude=read_exclusion(exclude),
            verifies=verifies,
            is_local=local,
        )
        checked = _check(check, timeout, as_json=as_json)
    if failed or (checked and not any(checked)):
        raise click.ClickException(
            f"{failed} of {len(torrents)} could not be read" if failed else "no web seed is alive"
        )


def _read_all(texts: Sequence[str]) -> tuple[list[Described], int]:
    read, failed = list[Described](), 0
    for text in texts:
        try:
            read.append(read_described(text))
        except OSError as error:
            failed += 1
            say(f"cannot read {escaped(text)}: {error.strerror}")
        except (InvalidInfoHash, InvalidTorrent) as error:
            failed += 1
            say(f"{escaped(text[:80])}: {error}")
    return read, failed


def _print_described(described: Described, db: Path | None, *, lists_files: bool, as_json: bool) -> None:
    # Not above: it brings what only the work needs.
    from crawler.cli.torrent_lines import describe, known_lines

    record, lines = describe(described.said, lists_files=lists_files)
    if db is not None and db.exists():
        known, more = known_lines(described.said, db)
        record, lines = record | {"known": known}, [*lines, *more]
    console.emit(as_json, record, *lines)


def _check(
    check: Callable[..., Awaitable[list[crawler.CheckedSeed]]], timeout: float, *, as_json: bool
) -> list[bool]:
    """Ask web seeds, print each check when it is made, and return which are alive."""
    # Not above: it brings what only the work needs.
    from crawler.cli.beside.web_seeds import print_check

    are_alive: list[bool] = []

    def on_check(each: crawler.CheckedSeed) -> None:
        are_alive.append(each.is_alive)
        print_check(as_json, each)

    run_crawl(partial(check, on_check=on_check), timeout)
    return are_alive


def time_text(seconds: int) -> str:
    """Return a time in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
