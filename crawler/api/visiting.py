"""A census: visit every node that can be reached, and count them."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random

from crawler.api.session import new_random, open_crawl
from crawler.core.exclusion import Area, Exclusion
from crawler.crawl.census import Progress, take_census
from crawler.settings import CrawlOptions
from crawler.zone import Zone
from dhtnode import InfoHash


async def census(
    db: str | Path | CrawlOptions,
    *,
    zone: str = "0",
    watched: Sequence[InfoHash] = (),
    verify_after: float | None = None,
    new: bool = False,
    serve: bool = False,
    random: Random | None = None,
) -> Progress:
    """Visit every node that can be reached, record each visit, and return the counts with the findings.

    `db` is the database, or all options of a crawl.  `zone` is a part of the id space, as `Zone.parse`
    reads it; `watched` are ids whose surroundings are tested for nodes put there.  With `verify_after`,
    nodes that replied are queried again so many seconds later.  A census that was interrupted goes on
    when it is called again with the same settings, unless `new`.  With `serve`, a full node answers
    others meanwhile.

    Raises `DatabaseError`, `NotJoined` when no node replies at the start, and `ValueError`.
    """
    options = CrawlOptions.of(db)
    if options.anonymize and verify_after is not None:
        raise ValueError("a second visit needs the addresses that an anonymized database does not keep")
    random = random or new_random()
    drawn, exclusion = Zone.parse(zone, random), Exclusion.read(options.exclude)
    settings = asdict(options.settings) | {"zone": zone}
    async with open_crawl(
        options, "census", settings, resume=not new, drawn={"prefix": drawn.prefix}, serve=serve
    ) as session:
        # One that goes on keeps the part of the id space that it drew at first.
        area = Area(Zone(int(str(session.settings["prefix"])), drawn.bits), exclusion)
        return await take_census(
            session, options.settings, random, area, watched=watched, verify_after=verify_after
        )
