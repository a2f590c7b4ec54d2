"""Trackers in the example: what they say of swarms is written as it is recorded on the live network."""

from collections.abc import Sequence
from dataclasses import replace

from crawler.db.database import CrawlDatabase
from crawler.db.records.records import utc_text
from crawler.db.records.trackers import LISTED, KnownTracker, SweepBatch, TrackerMeasurement, TrackerSweep
from crawler.synthetic import SyntheticTracker
from crawler.synthetic.trackers.tracker import Announcement
from crawler.trackers import NamedPeers, overlaps_of
from crawler.trackers.marks import SweepFacts, marks_of
from crawler.trackers.overlaps import without_empty_claims
from dhtnode import InfoHash, SwarmMeasurement

MADE_UP = bytes(20)  # an info-hash that no swarm has


def ask_trackers(
    store: CrawlDatabase,
    run_id: int,
    trackers: Sequence[SyntheticTracker],
    swarms: Sequence[InfoHash],
    now: float,
    at: float,
) -> list[TrackerMeasurement]:
    """Write what trackers say of some swarms, and return what they say of each together.

    `now` is the time in the network, `at` that on the wall.
    """
    taken_at, urls = utc_text(at), list(map(_url_of, trackers))
    store.trackers.add(KnownTracker(url, "udp", url[6:-5], LISTED, taken_at) for url in urls)
    sweeps = store.trackers.begin(run_id, [TrackerSweep(0, url, 4, None, taken_at) for url in urls])
    batch = _swept(sweeps, trackers, swarms, now, at)
    store.write(run_id, [batch])
    store.trackers.mark({sweep.url: sweep.marks for sweep in batch.sweeps})
    return store.trackers.measure(run_id, [sweep.id for sweep in sweeps], taken_at, swarms)


def announce_to_trackers(
    store: CrawlDatabase,
    run_id: int,
    trackers: Sequence[SyntheticTracker],
    measured: Sequence[SwarmMeasurement],
    now: float,
    at: float,
) -> None:
    """Write how far trackers and the DHT have the same peers of the swarms that were measured."""
    distrusted, taken_at = store.trackers.distrusted(), utc_text(at)
    named = [[_named(tracker, each.info_hash, now) for tracker in trackers] for each in measured]
    most = {each.url: max(lists[place].peers for lists in named) for place, each in enumerate(named[0])}
    for each, lists in zip(measured, named, strict=True):
        overlaps = overlaps_of(each, without_empty_claims(lists, most), distrusted, taken_at)
        store.trackers.add_overlaps(run_id, overlaps)


def _url_of(tracker: SyntheticTracker) -> str:
    return f"udp://tracker-{tracker.number + 1}.example:6969"


def _swept(
    sweeps: Sequence[TrackerSweep],
    trackers: Sequence[SyntheticTracker],
    swarms: Sequence[InfoHash],
    now: float,
    at: float,
) -> SweepBatch:
    rows, facts, samples = [], [], []
    for sweep, tracker in zip(sweeps, trackers, strict=True):
        canary = tracker.listed(MADE_UP, now)
        fact = SweepFacts(sweep.url, canary_hits=canary is not None)
        said = {place: tracker.listed(each, now) for place, each in enumerate(swarms)}
        for place, row in said.items():
            if row is not None and any(row):
                fact.counts[place] = row.seeds, row.leechers, row.downloaded
                samples.append((sweep.id, swarms[place], int(1000 * at), *row, None))
        facts.append(fact)
        rows.append(
            replace(
                sweep,
                outcome="answered",
                finished_at=utc_text(at),
                asked=len(swarms),
                listed=len(swarms),
                nonzero=len(fact.counts),
                requests=2,
                answers=2,
                canary_hits=fact.canary_hits,
                rtt_ms=30.0 + 10 * tracker.number,
            )
        )
    marks = [tuple(map(str, words)) for words in marks_of(facts, {})]
    return SweepBatch([replace(row, marks=words) for row, words in zip(rows, marks, strict=True)], samples)


def _named(tracker: SyntheticTracker, info_hash: bytes, now: float) -> NamedPeers:
    """Announce a peer to a tracker, take it off again, and return what it named."""
    ours = Announcement(info_hash, "203.0.113.1", 6881, is_seed=False, is_gone=False, wanted=200)
    peers = [peer for peer in tracker.announce(ours, now) or () if not peer.startswith(b"\xcb\x00\x71")]
    tracker.announce(replace(ours, is_gone=True), now)
    said = tracker.listed(info_hash, now)
    listed = 0 if said is None else said.seeds + said.leechers
    return NamedPeers(_url_of(tracker), listed, len(peers), frozenset(peer[:-2] for peer in peers))
