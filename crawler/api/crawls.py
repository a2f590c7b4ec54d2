"""Crawls from node to node: a census, and a sample of the info-hashes that nodes show (BEP 51)."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from random import Random

import trio

from crawler.core.exclusion import Area
from crawler.core.session import Resume, Session, new_random, open_session
from crawler.crawl.census import take_census
from crawler.crawl.census_progress import Progress
from crawler.infohashes.survey import Discovery, InfohashSurvey, SampleCounts
from crawler.infohashes.turns import Plan
from crawler.settings import SECOND_WALK, CrawlOptions
from crawler.zone import Zone
from dhtnode import InfoHash
from dhtnode.arguments import check_positive, check_whole, swarms_of

MOST = 2**31  # rounds


async def census(
    db: str | Path | CrawlOptions,
    *,
    zone: str = "0",
    watched: Sequence[InfoHash] = (),
    verify_after: float | None = None,
    second_walk: int = SECOND_WALK,
    new: bool = False,
    serve: bool = False,
    random: Random | None = None,
    when_cut: Callable[[Progress], None] = lambda _: None,
) -> Progress:
    """Visit every node that can be reached, record each visit, and return the counts with the findings.

    `db` is the database, or all options of a crawl.  `zone` is a part of the id space, as `Zone.parse`
    reads it; `watched` are ids whose surroundings are tested for nodes put there.  With `verify_after`,
    nodes that replied are queried again so many seconds later.  A `second_walk` from other ways in is through
    about so many nodes at most, or half of all; 0 leaves it out.  A census that was interrupted goes on
    when it is called again with the same settings, unless `new`; while it is under way, another is
    refused.  With `serve`, a full node answers others meanwhile.  When it is cancelled, `when_cut` is called
    with what is known by then.

    Raises `DatabaseError`, `NotJoined` when no node replies at the start, and `ValueError`.
    """
    options, watched = CrawlOptions.of(db), swarms_of("watched", watched)
    check_whole("second_walk", second_walk, 0, MOST)
    if verify_after is not None:
        check_positive("verify_after", verify_after, or_zero=True)
    if options.anonymize and verify_after is not None:
        raise ValueError("a second visit needs the addresses that an anonymized database does not keep")
    random = random or new_random()
    drawn = Zone.parse(zone, random)
    settings, prefix = asdict(options.settings) | {"zone": zone}, {"prefix": drawn.prefix}
    resume = Resume.NEVER if new else Resume.ALONE
    async with open_session(options, "census", settings, resume=resume, drawn=prefix, serve=serve) as session:
        area = Area(_zone_of(session, drawn), session.exclusion)
        return await take_census(
            session,
            options.settings,
            random,
            area,
            watched=watched,
            verify_after=verify_after,
            second_walk=second_walk,
            when_cut=when_cut,
        )


@dataclass(frozen=True, slots=True)
class InfohashResults:
    """The counts of one run of samples, and what is known of the info-hashes of each family."""

    counts: SampleCounts
    discoveries: Sequence[Discovery]
    is_complete: bool = True


async def sample(
    db: str | Path | CrawlOptions,
    *,
    zone: str = "0",
    rounds: int | None = None,
    seconds: float | None = None,
    serve: bool = False,
    random: Random | None = None,
    when_cut: Callable[[InfohashResults], None] = lambda _: None,
) -> InfohashResults:
    """Query nodes for the info-hashes that they store, and estimate how many there are.

    Queries the nodes of a census in the database; without any, or with bootstrap nodes, it crawls from
    node to node.  Each node is queried once, or in so many `rounds`, or for so many `seconds` whenever
    the interval that it asked for is over.  `db`, `zone`, `serve` and `when_cut` are as for `census`.

    Raises `DatabaseError`, `NotJoined` when no node replies at the start, and `ValueError`.
    """
    if rounds is not None:
        check_whole("rounds", rounds, 1, MOST)
    if seconds is not None:
        check_positive("seconds", seconds)
    options, plan = CrawlOptions.of(db), Plan(rounds or 1, seconds)
    if options.anonymize and plan.queries_again:
        raise ValueError("to query nodes again takes the addresses that an anonymized database does not keep")
    random = random or new_random()
    drawn = Zone.parse(zone, random)
    settings = asdict(options.settings) | {"zone": zone, "rounds": plan.rounds, "seconds": seconds}
    prefix = {"prefix": drawn.prefix}
    async with open_session(
        options, "sample", settings, resume=Resume.SHARED, drawn=prefix, serve=serve, joins_known=True
    ) as session:
        zone_drawn = _zone_of(session, drawn)
        survey = InfohashSurvey(session, options.settings, random, zone=zone_drawn, plan=plan)
        found = None
        try:
            await survey.run(joins=bool(options.bootstrap))
            found = await survey.discover(looks_up=not options.anonymize)
        finally:
            if found is None and trio.current_effective_deadline() == -inf:
                with trio.CancelScope(shield=True):
                    known = await survey.discover_so_far()
                when_cut(InfohashResults(survey.counts(), known, is_complete=False))
        return InfohashResults(survey.counts(), found)


def _zone_of(session: Session, drawn: Zone) -> Zone:
    # One that goes on keeps the part of the id space that it drew at first.
    return Zone(int(str(session.settings["prefix"])), drawn.bits)
