"""Enumerate the nodes that can be reached, starting from a few lookups, and record each visit."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from random import Random

from crawler.core.area import Area
from crawler.core.progress import show_progress
from crawler.core.session import STARTING_LOOKUPS, Session
from crawler.crawl.engine import Census, Progress
from crawler.crawl.findings import conclude
from crawler.crawl.network_sizes import HEADLINE
from crawler.settings import CrawlSettings
from dhtnode import Contact, Family
from dhtnode.nurseries import open_service_nursery
from dhtnode.outcomes import Outcome


async def take_census(
    session: Session,
    settings: CrawlSettings,
    random: Random,
    area: Area | None = None,
    *,
    watched: Sequence[bytes] = (),
    verify_after: float | None = None,
    wall_clock: Callable[[], float] = time.time,
) -> Progress:
    """Visit every node of an area that can be found, and return the counts with the findings.

    `watched` are ids whose surroundings are to be tested for Sybils, beside random ones.  With
    `verify_after`, all that answered are asked again so many seconds later.
    Raises `NotJoined` when nobody answers at the start.
    """
    area = area or Area()
    engine = Census(session.askers, session.writer, settings, random, area=area, wall_clock=wall_clock)
    engine.restore(session.journals)
    session.journals.clear()
    for _ in range(STARTING_LOOKUPS):
        for found in await session.node.find_node(area.zone.random_id(random)):
            engine.add(Contact(found.node_id, found.address))
    for contact in session.node.contacts():
        engine.add(contact)
    async with open_service_nursery() as nursery:
        if session.shows_progress:
            nursery.start_soon(show_progress, lambda: describe(engine.progress()))
        await engine.run()
        if verify_after is not None:
            await engine.verify(session.run_id, verify_after)
        progress = engine.progress()
    findings = await session.writer.call(
        partial(
            conclude,
            run_id=session.run_id,
            tallies=engine.tallies(),
            zone=area.zone,
            random=random,
            watched=watched,
        )
    )
    return replace(progress, findings=findings)


def describe(progress: Progress) -> str:
    """Return the counts in a line for people."""
    frontier, left = progress.frontier, progress.seconds_left
    silent = progress.outcomes.get(Outcome.TIMEOUT, 0)
    line = (
        f"census: {frontier.sighted} endpoints sighted, {frontier.answered} answered,"
        f" {silent} visits without answer, {frontier.queued} waiting, {frontier.in_flight} in flight,"
        f" {progress.queries} queries in {progress.seconds:.1f} s"
    )
    if frontier.queued and left is not None:
        line += f"; {progress.known_share:.0%} of what is named is known, {left:.0f} s left"
    if progress.verified:
        line += f", {progress.verified} answered again"
    return line + "".join(f"\n{each}" for each in _found(progress))


def record(progress: Progress) -> dict[str, object]:
    """Return the counts with the keys that `dhtcrawl census --json` prints."""
    return {
        "sighted": progress.frontier.sighted,
        "answered": progress.frontier.answered,
        "outcomes": {outcome.value: count for outcome, count in sorted(progress.outcomes.items())},
        "dropped": progress.frontier.dropped,
        "queries": progress.queries,
        "second_answers": progress.second_answers,
        "verified": progress.verified,
        "seconds": round(progress.seconds, 3),
        **_findings_record(progress),
    }


def _found(progress: Progress) -> list[str]:
    """Return the lines that say what a census has come to, none while it is under way."""
    if progress.findings is None:
        return []
    lines = []
    for family in (*Family, None):
        size = progress.findings.size(family, HEADLINE)
        if size is not None and size.low is not None and size.high is not None:
            name = f"IPv{family}" if family else "both"
            lines.append(f"{name}: about {size.estimate:.0f} nodes, {size.low:.0f} to {size.high:.0f}")
    return [*lines, f"{progress.findings.alarms} alarms"]


def _findings_record(progress: Progress) -> dict[str, object]:
    if progress.findings is None:
        return {}
    sizes = [
        {
            "family": None if size.family is None else int(size.family),
            "method": size.method,
            "estimate": round(size.estimate, 1),
            "low": None if size.low is None else round(size.low, 1),
            "high": None if size.high is None else round(size.high, 1),
            "zone": size.zone,
        }
        for size in progress.findings.sizes
    ]
    return {"sizes": sizes, "alarms": progress.findings.alarms}
