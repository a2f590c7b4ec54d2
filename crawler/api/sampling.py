"""A sample of info-hashes: which there are, from what nodes show (BEP 51)."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

from crawler.api.session import excludes_of, new_random, open_crawl
from crawler.infohashes.survey import Discovery, InfohashSurvey, SampleCounts
from crawler.infohashes.turns import Plan
from crawler.settings import CrawlOptions
from crawler.zone import Zone


@dataclass(frozen=True, slots=True)
class InfohashResults:
    """The counts of one run of samples, and what is known of the info-hashes of each family."""

    counts: SampleCounts
    discoveries: Sequence[Discovery]


async def sample(
    db: str | Path | CrawlOptions,
    *,
    zone: str = "0",
    rounds: int | None = None,
    seconds: float | None = None,
    serve: bool = False,
    random: Random | None = None,
) -> InfohashResults:
    """Query nodes for the info-hashes that they store, and estimate how many there are.

    Queries the nodes of a census in the database; without any, or with bootstrap nodes, it crawls from
    node to node.  Each node is queried once, or in so many `rounds`, or for so many `seconds` whenever
    the interval that it named is over.  `db`, `zone` and `serve` are as for `census`.

    Raises `DatabaseError`, `NotJoined` when no node replies at the start, and `ValueError`.
    """
    options = CrawlOptions.of(db)
    plan = Plan(rounds or 1, seconds)
    if options.anonymize and plan.queries_again:
        raise ValueError("to query nodes again takes the addresses that an anonymized database does not keep")
    random = random or new_random()
    drawn, excludes = Zone.parse(zone, random), excludes_of(options)
    settings = asdict(options.settings) | {"zone": zone, "rounds": plan.rounds, "seconds": seconds}
    async with open_crawl(
        options,
        "sample",
        settings,
        resume=True,
        drawn={"prefix": drawn.prefix},
        serve=serve,
        joins_known=True,
    ) as session:
        survey = InfohashSurvey(
            session,
            options.settings,
            random,
            zone=Zone(int(str(session.settings["prefix"])), drawn.bits),
            plan=plan,
            excludes=excludes,
        )
        await survey.run(joins=bool(options.bootstrap))
        found = await survey.discover(looks_up=not options.anonymize)
        return InfohashResults(survey.counts(), found)
