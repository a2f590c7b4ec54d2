"""The options of commands that ask web seeds, and the lines about what becomes of that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING, Any

import click

from crawler.cli.options import setting_option
from crawler.cli.torrent import read_described
from crawler.settings import WebSeedOptions
from dhtnode.cli import console

if TYPE_CHECKING:
    from crawler import CheckedSeed

VERIFY_OPTION = click.option(
    "--verify-piece",
    "verifies",
    is_flag=True,
    help="Ask for one whole piece, of 4 MiB at most, and hold it against its hash: that is content.",
)
LOCAL_OPTION = click.option(
    "--local", is_flag=True, help="Also ask web seeds on this machine and in special networks, for tests."
)

_HOURS = setting_option(
    WebSeedOptions,
    "--web-seeds",
    "Ask the web seeds of the torrent files and magnet links that are given, each every so many hours.",
    field="every",
    metavar="HOURS",
)


def web_seed_options(command: console.Command) -> console.Command:
    """Add the options of web seeds, of which a command gets `WebSeedOptions` or None as `web_seeds`.

    Their torrents are added by `with_web_seeds_of`.
    """

    @wraps(command)
    def call(*, every: float | None, verifies: bool, local: bool, **others: Any) -> None:
        if every is None and (verifies or local):
            raise click.UsageError("--verify-piece and --local need --web-seeds")
        asked = None if every is None else WebSeedOptions(every=every, verifies=verifies, is_local=local)
        command(web_seeds=asked, **others)

    return console.add_options(_HOURS, VERIFY_OPTION, LOCAL_OPTION)(call)


def with_web_seeds_of(asked: WebSeedOptions, swarms: Iterable[console.SwarmArgument]) -> WebSeedOptions:
    """Return options with all that was given as a torrent file or magnet link."""
    return replace(asked, torrents=tuple(read_described(swarm.text).said for swarm in swarms))


def print_check(as_json: bool, checked: CheckedSeed) -> None:
    """Print what became of asking one web seed."""
    # Not above: `--help` needs none.
    from dataclasses import asdict

    from dhtnode.escaping import escaped
    from dhtnode.user_keys import hide_keys

    seed, check = checked.seed, checked.check
    record: dict[str, Any] = {"name": seed.name, "web_seed": hide_keys(seed.url), "reason": checked.reason}
    record |= asdict(check) | {"info_hash": check.info_hash.hex()}
    del record["url_hash"]
    took = "" if check.ms is None else f"  {check.ms:.0f} ms"
    reason = f"  {escaped(checked.reason)}" if checked.reason else ""
    verified = "  the piece has the right hash" if check.hash_ok else ""
    console.emit(as_json, record, f"{hide_keys(seed.url)}  {check.outcome}{reason}{verified}{took}")
