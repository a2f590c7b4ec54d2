"""What nodes said about a swarm, as rows, and rows as what they said.

A number that is computed from rows is the one that was computed when they were written: both come
from the same `Observation`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from crawler.db.records.records import StoredReply, SwarmMeasurement
from dhtnode import Family, InfoHash, SwarmEstimate
from dhtnode.krpc import ScrapeFilter
from dhtnode.outcomes import Outcome
from dhtnode.swarm import Observation, ScrapeReply

_TOKEN_BYTES = 8
_EMPTY = ScrapeFilter()


def mark_word(mark: str) -> str:
    """Return a mark as one word: in the database spaces part one from the next."""
    return mark.replace(" ", "-")


def reply_row(
    reply: ScrapeReply,
    evidence: Observation,
    rank: int,
    *,
    marks: tuple[str, ...] = (),
    outcome: Outcome = Outcome.ANSWERED,
    asked_at: str | None = None,
) -> StoredReply:
    """Return the row of a node that said something."""
    names = bool(evidence.named)
    return StoredReply(
        node_id=reply.contact.node_id,
        address=reply.contact.address,
        rank=rank,
        seeds_filter=_packed(reply.seeds_filter),
        peers_filter=_packed(reply.peers_filter),
        values_count=len(reply.values),
        version=reply.version,
        rtt_ms=round(1000 * reply.rtt, 3),
        marks=marks,
        outcome=outcome,
        asked_at=asked_at,
        named_tokens=b"".join(sorted(evidence.named)) if names else None,
        named_filter=evidence.named_filter.to_bytes() if names else None,
        unplaced_filter=evidence.unplaced_filter.to_bytes() if names else None,
    )


def evidence_in(row: Mapping[str, Any]) -> Observation:
    """Return what a node said from its row in `scrape_replies`; raise `ValueError` if that is damaged."""
    tokens: bytes = row["named_tokens"] or b""
    if len(tokens) % _TOKEN_BYTES:
        raise ValueError(f"tokens have {_TOKEN_BYTES} bytes each, not {len(tokens)} in all")
    return Observation(
        Family(row["family"]),
        _filter(row["seeds_filter"]),
        _filter(row["peers_filter"]),
        frozenset(tokens[at : at + _TOKEN_BYTES] for at in range(0, len(tokens), _TOKEN_BYTES)),
        _filter(row["named_filter"]) or _EMPTY,
        _filter(row["unplaced_filter"]) or _EMPTY,
    )


def swarm_sample(
    info_hash: InfoHash,
    taken_at: str,
    estimate: SwarmEstimate,
    replies: Sequence[StoredReply],
    *,
    nodes_asked: int,
    bytes_sent: int,
    bytes_received: int,
    source: str | None,
) -> SwarmMeasurement:
    """Return the rows that one measurement makes."""
    return SwarmMeasurement(
        info_hash=info_hash,
        taken_at=taken_at,
        seeds=estimate.seeds,
        leechers=estimate.leechers,
        peers=estimate.peers,
        peers_low=estimate.peers_low,
        peers_high=estimate.peers_high,
        method=estimate.method,
        saturated=estimate.saturated,
        nodes_asked=nodes_asked,
        nodes_answered=sum(row.outcome is Outcome.ANSWERED for row in replies),
        nodes_with_filters=estimate.nodes_with_filters,
        distinct_peers=estimate.distinct_peers,
        bytes_sent=bytes_sent,
        bytes_received=bytes_received,
        replies=tuple(replies),
        source=source,
        seeds_low=estimate.seeds_low,
        seeds_high=estimate.seeds_high,
        leechers_low=estimate.leechers_low,
        leechers_high=estimate.leechers_high,
        overlap=estimate.overlap,
        coverage=estimate.coverage,
        estimates=estimate.estimates,
    )


def _packed(bits: ScrapeFilter | None) -> bytes | None:
    return None if bits is None else bits.to_bytes()


def _filter(packed: bytes | None) -> ScrapeFilter | None:
    return None if packed is None else ScrapeFilter.from_bytes(packed)
