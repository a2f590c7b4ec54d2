"""A crawl database of a few rows, the same each time, for tests of what reads one."""

from pathlib import Path

from crawler.db.database import CrawlDatabase
from crawler.db.records.infohash_samples import NodeSample, SampleBatch
from crawler.db.records.records import Journal, RunStatus, SizeEstimate, SybilTestResult, Visit, utc_text
from crawler.zone import Zone
from dhtnode import Address, Family, InfoHash, NodeId
from dhtnode.outcomes import Outcome
from dhtnode.swarm import Observation, SwarmMeasurement
from tests.measurements import measurement_of
from tests.visits import visit_of

T0 = 1_750_000_000.0
LARGE, SMALL = InfoHash(b"\xaa" * 20), InfoHash(b"\xbb" * 20)
FILTER = bytes(range(256))
CENSUS, SCRAPE, SAMPLE = 1, 2, 3
"""The numbers of the runs."""


def time_text(seconds: float) -> str:
    return utc_text(T0 + seconds)


def node_id(number: int) -> NodeId:
    return NodeId(bytes([number]) * 19 + b"\x77")


def address(number: int) -> Address:
    return Address(f"20.0.{number}.{200 + number}", 50_000 + number)


def visits() -> list[Visit]:
    """Return 12 answers of LT and 2 of UT, 5 timeouts and one lie."""
    answered = [
        visit_of(
            node_id(number),
            address(number),
            T0 + number,
            Outcome.ANSWERED,
            rtt_ms=20.0 + number if number < 12 else 400.0,
            version=b"LT\x02\x01" if number < 12 else b"UT\x01\x01",
            conforms=number % 2 == 0,
            marks=("flood",) if number == 3 else (),
        )
        for number in range(14)
    ]
    silent = [
        visit_of(node_id(number), address(number), T0 + number, Outcome.TIMEOUT) for number in range(14, 19)
    ]
    liar = visit_of(node_id(19), address(19), T0 + 19, Outcome.WRONG_ID, version=b"XX\x01\x01")
    return [*answered, *silent, liar]


def swarm_sample(info_hash: InfoHash, seconds: float, peers: float | None) -> SwarmMeasurement:
    replies = (
        Observation(node_id(0), address(0), 0, FILTER, FILTER, 5, b"LT\x02\x01", 30.0),
        Observation(node_id(12), address(12), 1, None, None, 5, b"UT\x01\x01", 31.0),
    )
    counts = {"nodes_answered": 2, "nodes_with_filters": 1, "distinct_peers": 5}
    sizes = {}
    if peers is not None:
        ends = {"peers_low": peers - 2, "peers_high": peers + 2}
        sizes = {"seeds": 1.0, "leechers": peers - 1, "peers": peers} | ends
    traffic = {"bytes_sent": 100, "bytes_received": 900, "source": "cli"}
    return measurement_of(info_hash, time_text(seconds), replies, **counts, **sizes, **traffic)


def make_database(path: str | Path) -> None:
    with CrawlDatabase.open(path) as store:
        run_id = store.runs.begin("census", {"rate": 1}, "0.1.0", time_text(0))
        store.write(run_id, visits())
        store.visits.write_results(
            run_id,
            [SizeEstimate(Family.IPV4, "crawl", "hosts", 15.2, 14.0, 18.0, "whole")],
            [SybilTestResult(Family.IPV4, "ids on one host", "20.0.3.203", 40.0, 1.0, 1e-9, True, "40 ids")],
        )
        store.runs.finish(run_id, RunStatus.FINISHED, time_text(60))
        run_id = store.runs.begin("scrape", {}, "0.1.0", time_text(100))
        samples = [(LARGE, 100, 900.0), (SMALL, 101, 950.0), (LARGE, 200, 800.0), (SMALL, 201, 7.0)]
        store.write(run_id, [swarm_sample(*each) for each in samples])
        store.runs.finish(run_id, RunStatus.FINISHED, time_text(230.5))
        run_id = store.runs.begin("sample", {}, "0.1.0", time_text(300))
        store.write(run_id, [SampleBatch(_node_samples(), Journal(Family.IPV4, b"secret", b"secret"))])
        zone = Zone(0, 0)
        store.samples.add_estimate(run_id, Family.IPV4, "coverage", (0.91234, 0.9, 0.92), zone, {})
        store.samples.add_estimate(run_id, Family.IPV4, "chao1", (50.4, 40.0, float("inf")), zone, {})
        store.runs.finish(run_id, RunStatus.FINISHED, time_text(301))


def _node_samples() -> list[NodeSample]:
    outcomes = [Outcome.ANSWERED] * 11 + [Outcome.UNSUPPORTED] * 3
    return [
        NodeSample(
            node_id(number),
            address(number),
            time_text(300),
            outcome,
            rtt_ms=50.0,
            version=b"LT\x02\x01",
            samples=bytes(LARGE) if outcome is Outcome.ANSWERED else b"",
        )
        for number, outcome in enumerate(outcomes)
    ]
