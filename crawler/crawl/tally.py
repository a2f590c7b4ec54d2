"""What the crawl of one family has come to, and the counts that its size is estimated from."""

from collections import Counter
from dataclasses import dataclass

from crawler.analysis.network_size import EXACT_REFERRERS, CrawlCounts, OutsideNamings
from crawler.core.frontier import ANSWERED, Sighting


@dataclass(frozen=True, slots=True)
class Tally:
    """Hold how many endpoints have come to what, and the queries that tell how many packets were lost.

    The sightings of a resumed crawl are those of all its parts, the second queries those of the last.
    `answered` counts the nodes that answered in this part.  `outside` is None where too little is known.
    """

    sightings: Counter[Sighting]
    second_queries: int
    second_answers: int
    answered: int
    outside: OutsideNamings | None = None

    def crawl_counts(self, zone_bits: int) -> CrawlCounts:
        """Return what `size_from_crawl` takes, for a crawl of all ids with the same first bits."""
        answered = {each: count for each, count in self.sightings.items() if each.state == ANSWERED}
        by_a, by_b, by_both = (
            sum(count for each, count in answered.items() if all(each.in_halves[half] for half in halves))
            for halves in ((0,), (1,), (0, 1))
        )
        named = [0] * (EXACT_REFERRERS + 1)
        for each, count in answered.items():
            if each.referrers:
                named[min(each.referrers, EXACT_REFERRERS + 1) - 1] += count
        once, twice, thrice, four_times, more = named
        return CrawlCounts(
            answered=sum(answered.values()),
            by_a=by_a,
            by_b=by_b,
            by_both=by_both,
            named=(once, twice, thrice, four_times, more),
            recovered=sum(count for each, count in answered.items() if each.visited_again),
            second_sent=self.second_queries,
            second_unanswered=self.second_queries - self.second_answers,
            zone_bits=zone_bits,
            outside=self.outside,
        )
