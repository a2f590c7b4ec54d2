"""How far a census has come and what it has found: the counts, in lines for people and in terms of JSON."""

from dataclasses import dataclass

from crawler.core.frontier import FrontierStatistics
from crawler.crawl.findings import Findings
from crawler.crawl.network_sizes import ENDPOINTS, HEADLINE, SECOND_WALK, SO_FAR, WITHOUT_INVENTORS
from crawler.db.records.records import SizeEstimate
from dhtnode import Family
from dhtnode.outcomes import Outcome

MOST_EXPLAINED = 5  # alarms, in the lines for people


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a census has come.

    `second_queries` went to nodes that had answered a moment ago: those without one of the
    `second_answers` were lost on the way.  `known_share` is that of the contacts returned of late that were
    known before.  `findings` are there once a census has ended, or was cut.
    """

    frontier: FrontierStatistics
    outcomes: dict[Outcome, int]
    queries: int
    second_queries: int
    second_answers: int
    seconds: float
    verified: int = 0
    known_share: float = 0.0
    second_walk_queries: int = 0
    findings: Findings | None = None
    is_complete: bool = False

    @property
    def seconds_left(self) -> float | None:
        """Return how long the crawl will take at this pace, with what it is going to find; None at first."""
        if not self.frontier.finished or not self.known_share:
            return None
        waiting = self.frontier.queued + self.frontier.in_flight
        return waiting / self.known_share * self.seconds / self.frontier.finished


def describe(progress: Progress) -> str:
    """Return the counts in a line for people."""
    frontier, left = progress.frontier, progress.seconds_left
    unresponsive = progress.outcomes.get(Outcome.TIMEOUT, 0)
    line = (
        f"census: {frontier.sighted} endpoints sighted, {frontier.answered} answered,"
        f" {unresponsive} visits without answer, {frontier.queued} waiting, {frontier.in_flight} in flight,"
        f" {progress.queries} queries in {progress.seconds:.1f} s"
    )
    if frontier.held:
        line += f"; {frontier.held} that one node alone returned are not visited: too many such nodes respond"
    if (frontier.queued or frontier.in_flight) and left is not None:
        line += f"; {progress.known_share:.0%} of what is named is known, {left:.0f} s left"
    if progress.verified:
        line += f", {progress.verified} answered again"
    return line + "".join(f"\n{each}" for each in _result_lines(progress))


def record(progress: Progress) -> dict[str, object]:
    """Return the counts with the keys that `dhtcrawl census --json` prints."""
    left = progress.seconds_left
    return {
        "complete": progress.is_complete,
        "sighted": progress.frontier.sighted,
        "queued": progress.frontier.queued + progress.frontier.in_flight,
        "known_share": round(progress.known_share, 4),
        "seconds_left": None if left is None else round(left, 1),
        "answered": progress.frontier.answered,
        "outcomes": {outcome.value: count for outcome, count in sorted(progress.outcomes.items())},
        "dropped": progress.frontier.dropped,
        "held": progress.frontier.held,
        "queries": progress.queries,
        "second_answers": progress.second_answers,
        "second_walk_queries": progress.second_walk_queries,
        "verified": progress.verified,
        "seconds": round(progress.seconds, 3),
        **_findings_record(progress),
    }


def _result_lines(progress: Progress) -> list[str]:
    """Return the lines with the results of a census, none while it is under way."""
    found = progress.findings
    if found is None:
        return []
    lines = []
    for family in (*Family, None):
        size, endpoints = found.size(family, HEADLINE), found.size(family, ENDPOINTS)
        if so_far := found.size(family, SO_FAR):
            lines.append(f"IPv{family}: about {_size_text(so_far)}, by distances between those known so far")
        if size is not None and endpoints is not None:
            name = f"IPv{family}" if family else "both"
            line = f"{name}: about {_size_text(size)}"
            lines.append(line if size.unit == endpoints.unit else f"{line}; at {_size_text(endpoints)}")
        if second := found.size(family, SECOND_WALK):
            lines.append(f"  by a second walk through a part of it, from other ways in: {_size_text(second)}")
        without = found.size(family, WITHOUT_INVENTORS)
        if without is not None and without.details["inventing"]:
            lines.append(
                f"  {without.details['inventing']} that answered hand out nodes which do not exist; without"
                f" them about {_size_text(without)}"
            )
    if not progress.is_complete:
        return [*lines, "cut short: the same command goes on from here"]
    suspects = [each for each in found.tests if each.is_suspect]
    lines.append(f"{len(suspects)} alarms")
    lines += [f"  {each.test}, {each.subject}: {each.explanation}" for each in suspects[:MOST_EXPLAINED]]
    if len(suspects) > MOST_EXPLAINED:
        lines.append("  the others: dhtcrawl report sybils")
    return lines


def _size_text(size: SizeEstimate) -> str:
    between = "" if size.low is None else f", {size.low:.0f} to {size.high:.0f}"
    return f"{size.estimate:.0f} {size.unit}{between}"


def _findings_record(progress: Progress) -> dict[str, object]:
    found = progress.findings
    if found is None:
        return {}
    return {
        "sizes": [_size_record(each) for each in found.sizes if each.method != ENDPOINTS],
        "endpoints": [_size_record(each) for each in found.sizes if each.method == ENDPOINTS],
        "alarms": found.alarms,
        "suspects": [
            {
                "family": int(each.family),
                "test": each.test,
                "subject": each.subject,
                "observed": each.observed,
                "expected": each.expected,
                "explanation": each.explanation,
            }
            for each in found.tests
            if each.is_suspect
        ],
    }


def _size_record(size: SizeEstimate) -> dict[str, object]:
    return {
        "family": None if size.family is None else int(size.family),
        "method": size.method,
        "unit": size.unit,
        "estimate": round(size.estimate, 1),
        "low": None if size.low is None else round(size.low, 1),
        "high": None if size.high is None else round(size.high, 1),
        "zone": size.zone,
        **{name: size.details[name] for name in ("p_value", "inventing") if name in size.details},
    }
