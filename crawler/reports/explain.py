"""How the number of one sample came about, from its rows alone, and whether they still give it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from math import inf, isclose
from typing import Any, TypeAlias

from crawler.db.connection import DatabaseError
from crawler.db.records.records import client_letters
from crawler.db.schema.columns import TABLES
from crawler.db.swarm_measurements import SwarmRows, observation_in
from dhtnode import SwarmEstimate
from dhtnode.client_names import client_name
from dhtnode.krpc import ScrapeFilter
from dhtnode.outcomes import Outcome
from dhtnode.swarm import METHODS, between, count_text, estimate_swarm, meaning_of

Row: TypeAlias = Mapping[str, Any]

ACCURACY = 1e-9  # as a share: sums may be taken in another order

COMPARED = tuple(field.name for field in fields(SwarmEstimate) if field.name != "estimates")

WORDS = {
    Outcome.TIMEOUT: "timed out",
    Outcome.ERROR: "answered with an error",
    Outcome.WRONG_ID: "answered under another id than it is known by",
    Outcome.FOREIGN_SOURCE: "was answered for from another address",
    Outcome.MALFORMED: "answered with something that is no answer",
    Outcome.NOT_SENT: "could not be asked: nothing left our socket",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """A measurement with its rows, and the result when it is computed again from them.

    `again` is None when that cannot be done, and `missing` says why; `differences` name what is not
    the same as in the row.
    """

    sample: Row
    replies: Sequence[Row]
    estimates: Sequence[Row]
    again: SwarmEstimate | None
    missing: str | None
    differences: tuple[str, ...]


def explain_sample(swarms: SwarmRows, find: Callable[[SwarmRows], Row | None]) -> Explanation | None:
    """Return what is known of the sample that `find` returns, or None if there is none.

    Raises `DatabaseError`.
    """
    sample = find(swarms)
    if sample is None:
        return None
    replies, estimates = swarms.replies(sample["id"]), swarms.estimates(sample["id"])
    for table, rows in (
        ("swarm_samples", [sample]),
        ("scrape_replies", replies),
        ("swarm_estimates", estimates),
    ):
        for row in rows:
            if wrong := TABLES[table].wrong_column(row):
                raise DatabaseError(f"sample {sample['id']}: a row of {table} is damaged: its {wrong}")
    missing = _missing(sample, replies)
    if missing is not None:
        return Explanation(sample, replies, estimates, None, missing, ())
    try:
        again = estimate_swarm(
            [observation_in(row) for row in replies if _is_believed(row)],
            silent_share=sample["silent_share"],
        )
    except ValueError as error:
        return Explanation(sample, replies, estimates, None, f"a row is damaged ({error})", ("replies",))
    return Explanation(sample, replies, estimates, again, None, _differences(sample, estimates, again))


def _is_believed(row: Row) -> bool:
    return row["outcome"] == Outcome.ANSWERED and not row["marks"]


def _missing(sample: Row, replies: Sequence[Row]) -> str | None:
    """Return what makes it impossible to compute the number again, or None."""
    if sample["source"] != "dht":
        return "it is what trackers say"
    if sample["coverage"] is None:
        return "it was recorded before all that it takes was kept"
    believed = [row for row in replies if _is_believed(row)]
    with_filters = sum(_has_filters(row) for row in believed)
    names = any(row["values_count"] and row["named_tokens"] is None for row in believed)
    if names or with_filters < sample["nodes_with_filters"]:
        return "the raw filters were purged"
    return None


def _has_filters(row: Row) -> bool:
    return row["seeds_filter"] is not None or row["peers_filter"] is not None


def _differences(sample: Row, estimates: Sequence[Row], again: SwarmEstimate) -> tuple[str, ...]:
    wrong = [name for name in COMPARED if not _is_same(sample[name], getattr(again, name))]
    kept = {(row["subject"], row["method"]): row for row in estimates}
    for each in again.estimates:
        row = kept.get((each.subject, each.method))
        if row is None or not all(
            _is_same(row[name], getattr(each, name)) for name in ("estimate", "low", "high")
        ):
            wrong.append(f"{each.subject} by {each.method}")
    return tuple(wrong)


def _is_same(kept: object, computed: object) -> bool:
    if isinstance(kept, int | float) and isinstance(computed, int | float):
        return isclose(kept, computed, rel_tol=ACCURACY, abs_tol=ACCURACY)
    return kept == computed


def explanation_lines(found: Explanation) -> list[str]:
    """Return it in words for people."""
    sample = found.sample
    head = f"sample {sample['id']} of run {sample['run_id']}: {sample['info_hash']}, {sample['taken_at']}"
    if sample["source"] != "dht":
        return [head, *_tracker_text(sample)]
    return [
        head,
        _asked_text(sample),
        "",
        "What each node said, the closest first:",
        *(f"  {_reply_text(row)}" for row in found.replies),
        "",
        "What each method makes of it:",
        *(f"  {_estimate_text(row)}" for row in found.estimates),
        "",
        *_headline_text(found),
    ]


def _tracker_text(sample: Row) -> list[str]:
    peers = f"{sample['peers_low']:.0f} to {sample['peers_high']:.0f} peers"
    return [
        f"{sample['nodes_asked']} trackers asked, {sample['nodes_answered']} answered",
        "",
        f"{peers}: the longest list of a tracker that is believed, and all such lists together",
        "What each said is in the view tracker_samples, who is believed in `dhtcrawl report trackers`.",
    ]


def _asked_text(sample: Row) -> str:
    return (
        f"{sample['nodes_asked']} nodes asked, {sample['nodes_answered']} answered,"
        f" {sample['nodes_with_filters']} with filters; {sample['bytes_sent']} bytes out,"
        f" {sample['bytes_received']} in"
    )


def _reply_text(row: Row) -> str:
    address = f"[{row['address']}]" if ":" in row["address"] else row["address"]
    who = f"{row['rank'] + 1}. {row['node_id'][:12]} at {address}:{row['port']}"
    asked = f", asked {row['asked_at'][11:]}" if row["asked_at"] else ""
    if row["rtt_ms"] is None:
        return f"{who}{asked}: {_why(row) or WORDS.get(row['outcome'], row['outcome'])}"
    said = ", ".join(filter(None, (_filter_text(row), _named_text(row))))
    letters = client_letters(None if row["version"] is None else bytes.fromhex(row["version"]))
    by = f"{row['rtt_ms']:g} ms" + (f", {client_name(letters)}" if letters else "")
    full = "; full: it may have left out peers" if row["is_full"] else ""
    left_out = "" if _is_believed(row) else f"; left out: {_why(row)}"
    return f"{who}{asked} ({by}): {said}{full}{left_out}"


def _why(row: Row) -> str:
    words = [meaning_of(word) for word in (row["marks"] or "").split()]
    if not words and row["outcome"] in WORDS:
        return WORDS[row["outcome"]]
    return ", ".join(words)


def _filter_text(row: Row) -> str:
    if not _has_filters(row):
        return "no filters"
    parts = [f"{size} {name}" for name, size in _sizes(row).items() if size]
    return f"filters of {' and '.join(parts)}"


def _sizes(row: Row) -> dict[str, str]:
    """Return what each filter reads, in words, empty for one that was not sent."""
    return {"seeds": _size(row["seeds_filter"]), "leechers": _size(row["peers_filter"])}


def _size(packed: bytes | None) -> str:
    if packed is None:
        return ""
    try:
        return f"about {abs(ScrapeFilter.from_bytes(packed).estimate()):.0f}"
    except ValueError:
        return "a damaged number of"


def _named_text(row: Row) -> str:
    return f"{row['values_count']} peers listed" if row["values_count"] else "no peers listed"


def _estimate_text(row: Row) -> str:
    method = METHODS.get(row["method"])
    if row["high"] == inf:
        text = f"{row['subject']} by {row['method']}: at least {row['low']:.1f}"
        return f"{text}: {method.meaning}" if method else text
    text = f"{row['subject']} by {row['method']}: {row['estimate']:.1f}"
    if (row["low"], row["high"]) != (row["estimate"], row["estimate"]):
        text += f" ({row['low']:.1f} to {row['high']:.1f})"
    return f"{text}: {method.meaning}" if method else text


def _headline_text(found: Explanation) -> list[str]:
    sample = found.sample
    method = METHODS.get(sample["method"])
    meaning = method.meaning if method else "see docs/explanation/swarm_size.md"
    lines = [
        f"Result, by {sample['method']} ({meaning}):",
        f"  {_count_text(sample, 'peers')}",
        f"  {_count_text(sample, 'seeds')}",
        f"  {_count_text(sample, 'leechers')}",
    ]
    if sample["coverage"] is not None and sample["overlap"] is not None:
        lines.append(
            f"  of what nodes list, {100 * sample['coverage']:.0f} % is of hosts listed twice or more;"
            f" {sample['overlap']:.0f} peers count as seeds and as leechers"
        )
    lines.append(f"  {_roles_text(sample)}")
    if found.missing is not None:
        return [*lines, f"It cannot be computed again: {found.missing}."]
    if found.differences:
        return [*lines, f"Computed again from these rows it differs: {', '.join(found.differences)}."]
    return [*lines, "Computed again from these rows it is the same."]


def _count_text(sample: Row, subject: str) -> str:
    low, high = sample[f"{subject}_low"], sample[f"{subject}_high"]
    interval = "" if low is None or high is None else f" ({between(low, high)})"
    if sample[subject] is None:
        return f"an unknown number of {subject}{interval}"
    return f"{count_text(sample[subject], high)} {subject}{interval}"


def _roles_text(sample: Row) -> str:
    if sample["silent_share"] is None:
        return "seeds are those whose client says so: how many clients never do is not known"
    return (
        f"seeds are those whose client says so; {100 * sample['silent_share']:.0f} % of the peers at most"
        " have a client that never does, by handshakes: the intervals leave room for them"
    )


def explanation_record(found: Explanation) -> dict[str, object]:
    """Return it with the keys that `dhtcrawl explain --json` prints; without filters and tokens."""
    return {
        "sample": dict(found.sample),
        "replies": [_reply_record(row) for row in found.replies],
        "estimates": [
            {name: row[name] for name in ("subject", "method", "estimate", "low")}
            | {"high": None if row["high"] == inf else row["high"]}
            for row in found.estimates
        ],
        "agrees": None if found.again is None else not found.differences,
        "missing": found.missing,
        "differences": list(found.differences),
    }


def _reply_record(row: Row) -> dict[str, object]:
    plain = {name: value for name, value in row.items() if not isinstance(value, bytes)}
    for name in ("named_tokens", "named_filter", "unplaced_filter", "sample_id"):
        plain.pop(name, None)
    return plain | {
        "seeds_filter": _sizes(row)["seeds"] or None,
        "peers_filter": _sizes(row)["leechers"] or None,
        "is_full": bool(row["is_full"]),
        "used": _is_believed(row),
        "reason": None if _is_believed(row) else _why(row),
    }
