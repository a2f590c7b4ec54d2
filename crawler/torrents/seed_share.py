"""The share of seeds in a swarm by handshakes, beside that by filters, with its interval.

It is about peers that accept connections and answer, and says nothing about how many peers
there are.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest
from random import Random
from statistics import mean, median

from crawler.analysis.sessions import wilson
from crawler.db.records.torrents import Handshakes, PeerKind, SwarmContact
from crawler.torrents.connection import REFUSED
from dhtnode import Address

OTHER_PROTOCOL = "not the BitTorrent protocol"  # as it is counted among failures

KEPT_PEERS = 200
"""Addresses of one swarm that wait to be tried."""


def handshakes_of(contact: SwarmContact, taken_at: str) -> Handshakes:
    """Return the row that one round of handshakes makes."""
    kinds = Counter(report.holding.kind for report in contact.reports)
    seeds, leechers = kinds[PeerKind.SEED], kinds[PeerKind.LEECHER]
    scores = [report.superseed_score for report in contact.reports if report.is_superseed_suspected]
    superseeds = len(scores)
    low, _ = share_interval(seeds, seeds + leechers)
    _, high = share_interval(seeds + superseeds, seeds + leechers)
    shares = [share for report in contact.reports if (share := report.share) is not None]
    known = Counter(chain.from_iterable(report.extensions for report in contact.reports))
    return Handshakes(
        info_hash=contact.info_hash,
        taken_at=taken_at,
        peers_named=contact.peers_named,
        peers_tried=contact.peers_tried,
        peers_answered=len(contact.reports),
        seeds=seeds,
        leechers=leechers,
        unknown=kinds[PeerKind.UNKNOWN],
        upload_only=sum(report.upload_only for report in contact.reports),
        partial_seeds=sum(report.is_partial_seed for report in contact.reports),
        superseeds=superseeds,
        superseed_score=mean(scores) if scores else None,
        seeds_high=seeds + superseeds,
        seed_share=seeds / (seeds + leechers) if seeds + leechers else None,
        seed_share_low=low,
        seed_share_high=high,
        median_share=median(shares) if shares else None,
        lt_donthave=known["lt_donthave"],
        holepunch=known["ut_holepunch"],
        pex=known["ut_pex"],
        version_2=sum(report.has_version_2 for report in contact.reports),
        lt_tex=known["lt_tex"],
        tracker_lists=len({report.trackers_hash for report in contact.reports} - {None}),
        trackers_named=0 if contact.trackers is None else contact.trackers.named,
        closed=contact.closed,
        refused=contact.failures.get(REFUSED, 0),
        other_protocol=contact.failures.get(OTHER_PROTOCOL, 0),
        in_both_families=contact.in_both_families,
        clients=dict(sorted(Counter(report.client for report in contact.reports).items())),
        bytes_sent=contact.bytes_sent,
        bytes_received=contact.bytes_received,
    )


def share_interval(hits: int, trials: int) -> tuple[float | None, float | None]:
    """Return the ends of Wilson's 95 % interval for a share; (None, None) when nothing was tried.

    The peers are taken for a random draw from many, which in a small swarm makes it too wide.
    """
    return wilson(hits, trials) if trials else (None, None)


def draw_fairly(lists: Iterable[Sequence[Address]], random: Random) -> list[Address]:
    """Draw at most `KEPT_PEERS` peers, from each list as many as from the others while it lasts.

    So a node that returns thousands of made-up peers has no more weight than one that returns a few.
    """
    shuffled = [random.sample(each, len(each)) for each in lists]
    in_turns = chain.from_iterable(zip_longest(*shuffled))
    return list(dict.fromkeys(peer for peer in in_turns if peer is not None))[:KEPT_PEERS]
