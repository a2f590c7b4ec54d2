"""Web seeds of torrents that the user gave: asked once, or beside a watch again and again."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from crawler.api.trackers import is_excluded
from crawler.core.exclusion import Exclusion
from crawler.core.session import Session, open_recording
from crawler.db.writer import Writer
from crawler.settings import CrawlOptions, WebSeedOptions
from crawler.torrents.web_seeds import CheckedSeed, GivenSeed, SeedChecker, SeedWatch, given_seeds
from dhtnode import Address, Magnet, TorrentDetails, WebSeeds, open_web_seeds
from dhtnode.arguments import several
from dhtnode.nurseries import open_service_nursery


async def check_web_seeds(
    torrents: Sequence[TorrentDetails | Magnet],
    db: str | Path | CrawlOptions | None = None,
    *,
    exclude: Sequence[str] = (),
    verifies: bool = False,
    is_local: bool = False,
    on_check: Callable[[CheckedSeed], None] = lambda _: None,
) -> list[CheckedSeed]:
    """Ask each web seed of some torrents once, record it where there is a database, and return all checks.

    Those of private torrents are left alone, and with a database those that asked for a pause.  With
    `verifies`, a whole piece of 4 MiB at most is asked for and held against its hash.  Seeds in special
    networks are asked only if `is_local`; those at `exclude`, as for a crawl, are left alone.

    Raises `DatabaseError`, and `ValueError` when a line of the exclusion is wrong.
    """
    checked = list[CheckedSeed]()
    seeds = list(given_seeds(several("torrents", torrents), verifies=verifies))

    def take(each: CheckedSeed) -> None:
        checked.append(each)
        on_check(each)

    async def check(client: WebSeeds, writer: Writer | None, run_id: int, some: Sequence[GivenSeed]) -> None:
        await SeedChecker(client, writer, run_id, take, is_local=is_local).check_all(some)

    options = None if db is None else CrawlOptions.of(db)
    exclusion = Exclusion.read([*several("exclude", exclude), *(options.exclude if options else ())])
    if options is None:
        async with open_web_seeds(excluding(exclusion)) as client:
            await check(client, None, 0, seeds)
        return checked
    settings = {"web_seeds": len(seeds), "verifies": verifies}
    async with (
        open_web_seeds(excluding(exclusion)) as client,
        open_recording(options, "torrent", settings) as (run_id, writer),
    ):
        await check(client, writer, run_id, seeds)
    return checked


@asynccontextmanager
async def asking_web_seeds(
    session: Session,
    asked: WebSeedOptions,
    on_check: Callable[[CheckedSeed], None],
    say: Callable[[str], None],
    *,
    once: bool,
) -> AsyncIterator[SeedWatch]:
    """Ask web seeds for the length of the block, in the run of a session; with `once`, until none is due."""
    async with open_web_seeds(excluding(session.exclusion)) as client, open_service_nursery() as nursery:
        checker = SeedChecker(client, session.writer, session.run_id, on_check, is_local=asked.is_local)
        watch = SeedWatch(checker, session.writer, asked, say, once=once)
        await watch.add(asked.torrents)
        nursery.start_soon(watch.run)
        yield watch


def excluding(exclusion: Exclusion) -> Callable[[str, Address], bool]:
    """Return what tells whether a web seed is to be left alone, by its name or its address."""
    return lambda name, address: exclusion.excludes_name(name) or is_excluded(exclusion, address)
