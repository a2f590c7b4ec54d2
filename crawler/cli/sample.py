"""The command `dhtcrawl sample`: which info-hashes there are, from what nodes show (BEP 51)."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from random import Random, SystemRandom
from typing import TYPE_CHECKING, TextIO

import click

from crawler.cli.options import crawl_options, read_exclusion, read_zone, with_limits
from crawler.settings import CrawlSettings
from dhtnode import cli
from dhtnode.cli import console

if TYPE_CHECKING:
    from crawler.infohashes.sampler import Plan


@click.command()
@crawl_options
@click.option("--once", is_flag=True, help="Ask each node once at most; the default.")
@click.option(
    "--rounds", type=click.IntRange(1), metavar="N", help="Ask so often, each node when its time has come."
)
@click.option(
    "--for",
    "seconds",
    type=console.SECONDS,
    metavar="SECONDS",
    help="Go on for so long, each node again whenever its time has come.",
)
@console.common_options(None)
def sample(
    db: Path,
    rate: float,
    max_new_endpoints: float,
    zone_text: str,
    exclude: TextIO | None,
    serve: bool,
    anonymize: bool,
    once: bool,
    rounds: int | None,
    seconds: float | None,
    as_json: bool,
    timeout: float | None,
    bootstrap: tuple[str, ...],
) -> None:
    """Ask nodes which info-hashes they store, and estimate how many there are (BEP 51).

    Asks the nodes of a census in the database; without any, or with --bootstrap, it walks from node to
    node.  No node is asked again before the interval that it named is over, by whatever run.
    """
    plan = _plan(once, rounds, seconds, anonymize)

    from crawler.core.session import open_session
    from crawler.db.database import DatabaseError
    from crawler.infohashes.survey import InfohashSurvey, describe, describe_discovery, record
    from crawler.zone import Zone

    random = Random(SystemRandom().getrandbits(256))
    drawn = read_zone(zone_text, random)
    exclusion = read_exclusion(exclude)
    settings = CrawlSettings(rate=rate, new_endpoints_rate=max_new_endpoints)
    run_settings = asdict(settings) | {"zone": zone_text, "rounds": rounds or 1, "seconds": seconds}

    async def sample_all() -> None:
        async with open_session(
            db,
            "sample",
            run_settings,
            bootstrap=bootstrap,
            anonymize=anonymize,
            resume=True,
            drawn={"prefix": drawn.prefix},
            serve=serve,
            joins_known=True,
        ) as session:
            zone = Zone(int(str(session.settings["prefix"])), drawn.bits)
            excludes = exclusion.excludes if exclusion else None
            survey = InfohashSurvey(session, settings, random, zone=zone, plan=plan, excludes=excludes)
            await survey.run(walks=bool(bootstrap))
            found = await survey.discover(looks_up=not anonymize)
            counts = survey.counts()
        lines = [describe(counts), *map(describe_discovery, found)]
        console.emit(as_json, record(counts, found), "\n".join(lines))

    if not cli.run(partial(with_limits, sample_all, timeout), DatabaseError):
        raise click.ClickException(f"stopped before the end; {db} holds the samples taken")


def _plan(once: bool, rounds: int | None, seconds: float | None, anonymize: bool) -> Plan:
    """Return how often nodes are asked; refuse what contradicts itself."""
    from crawler.infohashes.sampler import Plan

    if once + (rounds is not None) + (seconds is not None) > 1:
        raise click.UsageError("give one of --once, --rounds and --for")
    plan = Plan(rounds or 1, seconds)
    if anonymize and plan.asks_again:
        raise click.UsageError("--rounds and --for need addresses to ask again: leave --anonymize out")
    return plan
