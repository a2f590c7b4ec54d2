"""Enumerate the nodes that can be reached, starting from a few lookups, and record each visit."""

from random import Random

from crawler.area import Area
from crawler.engine import Engine, Progress
from crawler.progress import show_progress
from crawler.records import Outcome
from crawler.session import Session
from crawler.settings import CrawlSettings
from dhtnode import Contact, open_service_nursery

STARTING_LOOKUPS = 4  # towards random ids of the zone: a start from several corners at once


async def take_census(
    session: Session, settings: CrawlSettings, random: Random, area: Area | None = None
) -> Progress:
    """Visit every node of an area that can be found, and return the counts.

    Raises `NotJoined` when nobody answers at the start.
    """
    area = area or Area()
    engine = Engine(session.askers, session.writer, settings, random, area=area)
    engine.restore(session.journals)
    session.journals.clear()
    for _ in range(STARTING_LOOKUPS):
        for found in await session.node.find_node(area.zone.random_id(random)):
            engine.add(Contact(found.node_id, found.address))
    for contact in session.node.contacts():
        engine.add(contact)
    async with open_service_nursery() as nursery:
        nursery.start_soon(show_progress, lambda: describe(engine.progress()))
        return await engine.run()


def describe(progress: Progress) -> str:
    """Return the counts in a line for people."""
    frontier = progress.frontier
    answered = progress.outcomes.get(Outcome.ANSWERED, 0)
    silent = progress.outcomes.get(Outcome.TIMEOUT, 0)
    return (
        f"census: {frontier.sighted} endpoints sighted, {answered} answered, {silent} visits without answer,"
        f" {frontier.queued} waiting, {frontier.in_flight} in flight,"
        f" {progress.queries} queries in {progress.seconds:.1f} s"
    )


def record(progress: Progress) -> dict[str, object]:
    """Return the counts with the keys that `dhtcrawl census --json` prints."""
    return {
        "sighted": progress.frontier.sighted,
        "answered": progress.outcomes.get(Outcome.ANSWERED, 0),
        "outcomes": {outcome.value: count for outcome, count in sorted(progress.outcomes.items())},
        "dropped": progress.frontier.dropped,
        "queries": progress.queries,
        "second_answers": progress.second_answers,
        "seconds": round(progress.seconds, 3),
    }
