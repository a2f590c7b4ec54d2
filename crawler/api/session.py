"""How every function of this room opens its database and its node."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from random import Random, SystemRandom
from typing import Any

from crawler.core.exclusion import Exclusion
from crawler.core.session import Session, open_session
from crawler.settings import CrawlOptions
from crawler.swarms.node_source import Excludes

MAX_TORRENT_NODES = 32  # of all torrent files together; each may cost a look-up of a name


def open_crawl(
    options: CrawlOptions, command: str, settings: Mapping[str, object], **more: Any
) -> AbstractAsyncContextManager[Session]:
    """Open a session with the options of a crawl; `more` are arguments of `open_session`."""
    return open_session(
        options.db,
        command,
        settings,
        bootstrap=options.bootstrap,
        torrent_nodes=options.torrent_nodes[:MAX_TORRENT_NODES],
        anonymize=options.anonymize,
        shows_progress=options.shows_progress,
        **more,
    )


def excludes_of(options: CrawlOptions) -> Excludes | None:
    """Return a check for excluded contacts, or None where none is; raises `ValueError`."""
    exclusion = Exclusion.read(options.exclude)
    return exclusion.excludes if exclusion else None


def new_random() -> Random:
    """Return a generator seeded by the system: fast, and not predictable from outside."""
    return Random(SystemRandom().getrandbits(256))
