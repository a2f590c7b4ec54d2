"""The command `dhtcrawl sample`: which info-hashes there are, from what nodes show (BEP 51)."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING

import click

from crawler.settings import CrawlSettings
from crawler.zone import MAX_BITS, Zone
from dhtnode import console

if TYPE_CHECKING:
    from crawler.sampling import Plan

DEFAULTS = CrawlSettings()


class ZoneType(click.ParamType[Zone]):
    """Be a zone: bits, as in 0101, or hex digits behind 0x."""

    name = "zone"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Zone:
        """Read the prefix."""
        if isinstance(value, Zone):
            return value
        text = str(value)
        is_hex = text[:2].lower() == "0x"
        digits = text[2:] if is_hex else text
        bits = len(digits) * (4 if is_hex else 1)
        if not digits or not set(digits.lower()) <= set("0123456789abcdef" if is_hex else "01"):
            self.fail(f"{text!r} is neither bits such as 0101 nor hex digits such as 0x5b", param, ctx)
        if bits > MAX_BITS:
            self.fail(f"{text!r} is longer than {MAX_BITS} bits", param, ctx)
        return Zone(int(digits, 16 if is_hex else 2), bits)


@click.command()
@click.option(
    "--db",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The SQLite database to record in; nodes that a census left there are asked first.",
)
@click.option(
    "--rate",
    type=console.Number(min=0),
    default=DEFAULTS.rate,
    show_default=True,
    metavar="N",
    help="Queries per second; 0 lifts all limits, for a network of your own.",
)
@click.option(
    "--max-new-endpoints",
    type=console.Number(min=0, min_open=True),
    default=DEFAULTS.new_endpoints_rate,
    show_default=True,
    metavar="N",
    help="Endpoints never asked before, per second: spares the NAT tables of routers.",
)
@click.option(
    "--zone",
    type=ZoneType(),
    default=Zone(),
    metavar="PREFIX",
    show_default="whole network",
    help="Only ids that begin so: bits, as in 0101, or hex digits, as in 0x5b.",
)
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
@click.option("--anonymize", is_flag=True, help="Record the /24 or /48 of nodes, not their addresses.")
@console.common_options(None)
def sample(
    db: Path,
    rate: float,
    max_new_endpoints: float,
    zone: Zone,
    once: bool,
    rounds: int | None,
    seconds: float | None,
    anonymize: bool,
    as_json: bool,
    timeout: float | None,
    bootstrap: tuple[str, ...],
) -> None:
    """Ask nodes which info-hashes they store, and estimate how many there are (BEP 51).

    Asks the nodes of a census in the database; without any, or with --bootstrap, it walks from node to
    node.  No node is asked again before the interval that it named is over, by whatever run.
    """
    plan = _plan(once, rounds, seconds, anonymize)

    from crawler.sample_survey import Survey, describe, describe_discovery, record
    from crawler.session import open_session
    from crawler.store import StoreError

    settings = CrawlSettings(rate=rate, new_endpoints_rate=max_new_endpoints)
    run_settings = asdict(settings) | {"zone": str(zone), "rounds": rounds or 1, "seconds": seconds}

    async def sample_all() -> None:
        async with open_session(
            db, "sample", run_settings, bootstrap=bootstrap, anonymize=anonymize, resume=True
        ) as session:
            survey = Survey(session, settings, SystemRandom(), zone=zone, plan=plan)
            await survey.run(walks=bool(bootstrap))
            found = await survey.discover(looks_up=not anonymize)
            counts = survey.counts()
        lines = [describe(counts), *map(describe_discovery, found)]
        console.emit(as_json, record(counts, found), "\n".join(lines))

    if not console.run(partial(_with_limits, sample_all, timeout), StoreError):
        raise click.ClickException(f"stopped before the end; {db} holds the samples taken")


def _plan(once: bool, rounds: int | None, seconds: float | None, anonymize: bool) -> Plan:
    """Return how often nodes are asked; refuse what contradicts itself."""
    from crawler.sampling import Plan

    if once + (rounds is not None) + (seconds is not None) > 1:
        raise click.UsageError("give one of --once, --rounds and --for")
    plan = Plan(rounds or 1, seconds)
    if anonymize and plan.asks_again:
        raise click.UsageError("--rounds and --for need addresses to ask again: leave --anonymize out")
    return plan


async def _with_limits(main: console.Main, timeout: float | None) -> bool:
    """Run until the end, a signal or the timeout; return whether the end came first."""
    import trio

    with trio.move_on_after(timeout or float("inf")) as limit:
        await console.run_until_signal(main)
    return not limit.cancelled_caught
