"""The command `dhtcrawl census`: visit every node that can be reached, and count them."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from random import Random, SystemRandom
from typing import TextIO

import click

from crawler.cli.options import crawl_options, read_exclusion, read_zone, with_limits
from crawler.settings import CrawlSettings
from dhtnode import InfoHash, cli
from dhtnode.cli import console


@click.command()
@crawl_options
@click.option(
    "--watch-id",
    "watched",
    type=console.info_hash,
    multiple=True,
    metavar="HEX",
    help="Test the surroundings of this id for nodes put there; may be repeated.",
)
@click.option(
    "--verify-after",
    type=console.SECONDS,
    metavar="SECONDS",
    help="Ask all that answered once more, so long after they did; 300 tells guests from residents.",
)
@click.option("--new", is_flag=True, help="Begin a new census, even if the last one was interrupted.")
@console.common_options(None)
def census(
    db: Path,
    rate: float,
    max_new_endpoints: float,
    zone_text: str,
    exclude: TextIO | None,
    serve: bool,
    anonymize: bool,
    watched: tuple[InfoHash, ...],
    verify_after: float | None,
    new: bool,
    as_json: bool,
    timeout: float | None,
    bootstrap: tuple[str, ...],
) -> None:
    """Visit every node that can be reached, and record each visit.

    A census that was interrupted, even by kill -9, goes on when the same command is given again.
    """
    from crawler.core.area import Area
    from crawler.core.session import open_session
    from crawler.crawl.census import describe, record, take_census
    from crawler.db.database import DatabaseError
    from crawler.zone import Zone

    if anonymize and verify_after is not None:
        raise click.UsageError("--verify-after needs the addresses that --anonymize does not keep")
    random = Random(SystemRandom().getrandbits(256))
    zone = read_zone(zone_text, random)
    exclusion = read_exclusion(exclude)
    settings = CrawlSettings(rate=rate, new_endpoints_rate=max_new_endpoints)

    async def visit_all() -> None:
        async with open_session(
            db,
            "census",
            asdict(settings) | {"zone": zone_text},
            bootstrap=bootstrap,
            anonymize=anonymize,
            resume=not new,
            drawn={"prefix": zone.prefix},
            serve=serve,
        ) as session:
            area = Area(Zone(int(str(session.settings["prefix"])), zone.bits), exclusion)
            counts = await take_census(
                session, settings, random, area, watched=watched, verify_after=verify_after
            )
        console.emit(as_json, record(counts), describe(counts))

    if not cli.run(partial(with_limits, visit_all, timeout), DatabaseError):
        raise click.ClickException(f"stopped before the end; {db} holds the visits made")
