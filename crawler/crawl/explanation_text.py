"""The explanation of the sizes of a census, in lines for people and in terms of JSON."""

import json
from collections.abc import Iterator

from crawler.analysis.crawl_size import CrawlCounts, CrawlSize, size_from_crawl
from crawler.crawl.explanation import (
    METHODS,
    CensusExplanation,
    FamilyCounts,
    Row,
    difference_name,
    family_name,
)
from crawler.crawl.network_sizes import Unit, details_of


def explanation_lines(found: CensusExplanation) -> list[str]:
    """Return it in words for people."""
    run = found.run
    zone = next((f", zone {row['zone']}" for row in found.recorded if row["zone"] != "whole"), "")
    lines = [f"census {run['id']}, {run['status']}, from {run['started_at']}{zone}"]
    for each in found.families:
        lines += ["", f"{family_name(each.sizes.family)}, step by step:", *_numbered(_steps(each))]
    if found.recorded:
        lines += ["", "What was recorded, and what the rows come to:"]
        lines += [f"  {_result_text(found, row)}" for row in found.recorded]
    return [*lines, "", _verdict(found)]


def _verdict(found: CensusExplanation) -> str:
    if found.missing is not None:
        return f"It cannot be counted again: {found.missing}."
    if found.differences:
        return f"Counted again from the rows it differs: {', '.join(found.differences)}."
    return "Counted again from the rows it is the same."


def _numbered(steps: Iterator[str]) -> list[str]:
    return [f"  {number}. {step}" for number, step in enumerate(steps, 1)]


def _steps(each: FamilyCounts) -> Iterator[str]:
    sizes, tally = each.sizes, each.tally
    answered = len(tally.nodes.numbers)
    yield f"{each.visits} visits to {each.sighted} endpoints that were returned, {answered} of them answered"
    if tally.held:
        yield (
            f"{tally.held} endpoints were held back: the {tally.unconfirmed} that answered and that one node"
            " alone had returned are left out"
        )
    if sizes.unit is Unit.HOSTS:
        yield (
            f"of each host the endpoint that most nodes returned, of several that of the lowest id:"
            f" {sizes.counts.answered} hosts"
        )
    yield from _crawl_steps(sizes.counts, sizes.crawl)
    counts = sizes.counts
    yield (
        f"chapman: half A of the nodes returned {counts.by_a} of them, half B {counts.by_b}, both"
        f" {counts.by_both}: (a + 1)(b + 1) / (c + 1) - 1"
    )
    if control := sizes.control:
        yield (
            f"second walk: from other ways in {control.answered} nodes of the part {control.zone} answered,"
            f" {control.recaptured} of them were counted: ({counts.answered} + 1)({control.answered} + 1) /"
            f" ({control.recaptured} + 1) - 1; {control.queries} queries"
        )
    if sizes.without_inventors is not None and sizes.inventing:
        yield (
            f"without inventors: {sizes.inventing} that answered hand out nodes which do not exist, by their"
            " marks, or because they alone returned half of their contacts and those never answered;"
            f" {sizes.without_inventors.answered} are left, and the same steps are taken"
        )
    if sizes.mean_distance is not None:
        yield (
            f"distances: over all targets the 8th closest of {sizes.ids} ids is at {sizes.mean_distance:.6g}"
            f" of the id space: (8 / d - {2**counts.zone_bits}) / {sizes.crawl.found:.6f} for the share found"
        )
    if sizes.unit is Unit.HOSTS:
        yield f"endpoints: the same steps with all {sizes.endpoints.answered} endpoints that count"


def _crawl_steps(counts: CrawlCounts, crawl: CrawlSize) -> Iterator[str]:
    once, twice, thrice, four_times, more = counts.named
    yield (
        f"returned by 1, 2, 3, 4 and more nodes: {once}, {twice}, {thrice}, {four_times} and {more};"
        f" {counts.recovered} answered at a second visit only"
    )
    yield (
        f"of {counts.second_sent} queries to nodes that had just answered, {counts.second_unanswered} had no"
        f" answer: q = {counts.loss:.4%} of all are lost"
    )
    yield (
        f"lost: ({once} returned once + {counts.recovered} recovered) q / (1 - q) = {crawl.lost:.2f} that"
        " were there and seemed dead"
    )
    if counts.outside:
        named = ", ".join(map(str, counts.outside.named))
        yield (
            f"in parts of the id space that 1, 2, 3, 4 nodes outside of them returned: {named}, on average"
            f" {counts.outside.together:.1f} to a part"
        )
    yield f"never returned, the higher of both ways (docs/explanation/network_size.md): {crawl.unnamed:.2f}"
    zone = f", times 2**{counts.zone_bits} zones" if counts.zone_bits else ""
    inside = counts.answered + crawl.lost + crawl.unnamed
    yield f"crawl: {counts.answered} + {crawl.lost:.2f} + {crawl.unnamed:.2f} = {inside:.2f}{zone}"


def _result_text(found: CensusExplanation, row: Row) -> str:
    key = row["family"], row["method"]
    text = f"{family_name(row['family'])}, {row['method']}: {_size_text(row)} {row['unit']}"
    meaning = METHODS.get(row["method"])
    text += f" ({meaning})" if meaning else ""
    if not found.again:
        return text
    if difference_name(*key) not in found.differences:
        return f"{text}; the same"
    again = [each for each in found.again if (each.family, each.method) == key]
    return f"{text}; it differs: {_size_text(again[0]._asdict())}" if again else f"{text}; not counted again"


def _size_text(row: Row) -> str:
    if row["low"] is None:
        return f"{row['estimate']:.1f}"
    return f"{row['estimate']:.1f}, {row['low']:.1f} to {row['high']:.1f}"


def explanation_record(found: CensusExplanation) -> dict[str, object]:
    """Return it with the keys that `dhtcrawl explain --census --json` prints."""
    again = {(each.family, each.method): each for each in found.again}
    return {
        "run": found.run["id"],
        "status": found.run["status"],
        "zone": found.recorded[0]["zone"] if found.recorded else None,
        "families": [_family_record(each) for each in found.families],
        "estimates": [
            {name: row[name] for name in ("family", "method", "unit", "estimate", "low", "high")}
            | {"details": json.loads(row["details"])}
            | {
                "again": {name: getattr(each, name) for name in ("estimate", "low", "high")}
                if (each := again.get((row["family"], row["method"])))
                else None
            }
            for row in found.recorded
        ],
        "agrees": None if found.missing is not None else not found.differences,
        "missing": found.missing,
        "differences": list(found.differences),
    }


def _family_record(each: FamilyCounts) -> dict[str, object]:
    sizes, rest = each.sizes, each.sizes.without_inventors
    return {
        "family": int(sizes.family),
        "unit": sizes.unit,
        "visits": each.visits,
        "sighted": each.sighted,
        "counts": details_of(sizes.counts, sizes.crawl),
        "endpoints": details_of(sizes.endpoints, size_from_crawl(sizes.endpoints)),
        "inventing": sizes.inventing,
        "second_walk": sizes.control and sizes.control.details,
        "without_inventors": rest and details_of(rest, size_from_crawl(rest)),
        "ids": sizes.ids,
        "mean_distance": sizes.mean_distance,
        "steps": list(_steps(each)),
    }
