"""What commands print of a result: a text for people, and a record for `--json`."""

from crawler.api.sampling import InfohashResults
from crawler.crawl.census import describe as census_text
from crawler.crawl.census import record as census_record
from crawler.infohashes.survey import describe as _counts_text
from crawler.infohashes.survey import describe_discovery as _discovery_text
from crawler.infohashes.survey import record as _sample_record

__all__ = ["census_record", "census_text", "sample_record", "sample_text"]


def sample_text(results: InfohashResults) -> str:
    """Return the counts of a run of samples and its estimates, a line each."""
    return "\n".join([_counts_text(results.counts), *map(_discovery_text, results.discoveries)])


def sample_record(results: InfohashResults) -> dict[str, object]:
    """Return them with the keys that `dhtcrawl sample --json` prints."""
    return _sample_record(results.counts, results.discoveries)
