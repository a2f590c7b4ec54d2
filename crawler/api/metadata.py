"""Names of torrents and shares of seeds, from the peers themselves (BEP 9 and 10)."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from random import Random
from typing import TypeAlias

from crawler.analysis import believed_filters, measured_size, source_overlap
from crawler.core.session import Session, new_random, open_session
from crawler.settings import CrawlOptions, PeerSettings
from crawler.torrents.fetch import Fetched, Fetcher, FetchTally, look_up_and_fetch, open_fetcher
from crawler.torrents.peers import PeerClient
from crawler.torrents.seed_share import draw_fairly
from dhtnode import Address, DhtError, InfoHash, SwarmMeasurement
from dhtnode.addresses import scope_of
from dhtnode.arguments import check_settings, check_whole, swarms_of
from dhtnode.net import own_hosts

MOST_MISSING = 2**31  # swarms

OnPeers: TypeAlias = Callable[[SwarmMeasurement, Iterable[Sequence[Address]]], None]


async def fetch_metadata(
    info_hashes: Iterable[InfoHash],
    db: str | Path | CrawlOptions,
    *,
    missing: int | None = None,
    settings: PeerSettings | None = None,
    on_fetched: Callable[[Fetched], None] = lambda _: None,
    on_failure: Callable[[InfoHash, DhtError], None] = lambda _, __: None,
    tally: FetchTally | None = None,
) -> FetchTally:
    """Look up the peers of each swarm, contact them over TCP, record what they reply, and return the counts.

    With `missing`, so many swarms of the database whose names are not known are added, those never tried
    first.  No content is requested, no address of a peer is stored, and of a private torrent only that it
    is private.  Of the options of a crawl the pace does not apply: `settings` has one for connections.
    `tally` is counted up as it goes on.

    Raises `DatabaseError`, and `ValueError` when a line of the exclusion is wrong.
    """
    options, settings = CrawlOptions.of(db), PeerSettings() if settings is None else settings
    check_settings(settings, PeerSettings, or_zero=True)
    if missing is not None:
        check_whole("missing", missing, 0, MOST_MISSING)
    wanted, random = dict.fromkeys(swarms_of("info_hashes", info_hashes)), new_random()
    run_settings = asdict(settings) | {"info_hashes": len(wanted), "missing": missing}
    async with open_session(options, "metadata", run_settings) as session:
        if missing is not None:
            wanted |= dict.fromkeys(await session.writer.call(lambda store: store.metadata.missing(missing)))
        tally = tally or FetchTally()
        tally.wanted = len(wanted)
        async with _open_fetcher(session, settings, random, on_fetched, tally) as fetcher:
            await look_up_and_fetch(
                session.node,
                fetcher,
                wanted,
                at_once=settings.swarms_at_once,
                random=random,
                on_failure=on_failure,
            )
    return tally


@asynccontextmanager
async def fetching_beside(
    session: Session,
    on_fetched: Callable[[Fetched], None],
    say: Callable[[str], None],
    settings: PeerSettings,
) -> AsyncIterator[OnPeers]:
    """Yield what takes a measurement with the peers that each node returned, and has some of them contacted.

    Leaving the block waits until all were contacted.
    """
    random, tally = new_random(), FetchTally()

    def offer(measured: SwarmMeasurement, returned: Iterable[Sequence[Address]]) -> None:
        compare = partial(source_overlap, filters=believed_filters(measured), size=measured_size(measured))
        peers = draw_fairly(returned, random)
        fetcher.offer(measured.info_hash, peers, compare if settings.pex else None)

    async with _open_fetcher(session, settings, random, on_fetched, tally) as fetcher:
        yield offer
    if tally.no_room:
        say(
            f"{tally.no_room} swarms waited too long for their peers to be asked:"
            " `dhtcrawl metadata --missing` asks them later"
        )


@asynccontextmanager
async def _open_fetcher(
    session: Session,
    settings: PeerSettings,
    random: Random,
    on_fetched: Callable[[Fetched], None],
    tally: FetchTally,
) -> AsyncIterator[Fetcher]:
    scopes = {address.family: scope_of(address.host) for address in session.node.addresses}
    outgoing, excludes = session.node.outgoing, session.excludes
    client = PeerClient(scopes, settings, random, outgoing, excludes=excludes, own=own_hosts())
    async with open_fetcher(client, session.writer, session.run_id, on_fetched, tally=tally) as fetcher:
        yield fetcher
