"""The plots of the dashboard, each of an answer that `dhtcrawl report` prints."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from sqlite3 import Connection
from typing import Any, TypeAlias

from crawler.browse.drawing import Axis, Bar, Point, Series, draw_bars, draw_points
from crawler.browse.scales import number_text
from crawler.reports import REPORTS, ReportAnswer

Draw: TypeAlias = Callable[[Connection, int | None], "Plot"]
Record: TypeAlias = dict[str, Any]

MOST_BARS = 15
MOST_POINTS = 1000  # a page of half a megabyte


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot of an answer; `svg` is empty if there is nothing to draw."""

    answer: ReportAnswer
    svg: str

    @property
    def numbers(self) -> str:
        """Return the name of the query in the browser that has the numbers."""
        return REPORTS[self.answer.name].page_name


def plot_network_size(db: Connection, run: int | None = None) -> Plot:
    """Draw the number of nodes, one point with its interval for each census and family."""
    answer = REPORTS["network-size"].answer(db, run=run, limit=MOST_POINTS)
    found: dict[str, list[Point]] = {}
    for row in _records(answer):
        if row["estimate"] is not None and row["family"] is not None:
            size = _between(row, "estimate", "low", "high")
            text = f"run {row['run']}, {row['started_at']}: {size} {row['unit']}"
            point = Point(_seconds(row["started_at"]), row["estimate"], text, row["low"], row["high"])
            found.setdefault(f"IPv{row['family']}", []).append(point)
    series = [Series(name, points) for name, points in sorted(found.items())]
    axes = Axis("begin of the run (UTC)", "time"), Axis("nodes, 95 % interval")
    return Plot(answer, draw_points(answer.title, *axes, series) if series else "")


def plot_clients(db: Connection, run: int | None = None) -> Plot:
    """Draw how many nodes of a census run which client."""
    answer = REPORTS["clients"].answer(db, run=run, limit=MOST_BARS)
    bars = [
        Bar(
            str(row["client_name"]),
            row["nodes"],
            f"{row['client_name']}: {row['nodes']} nodes, {row['share']} %",
        )
        for row in _records(answer)
    ]
    return Plot(answer, draw_bars(answer.title, "nodes that answered", bars) if bars else "")


def plot_outcomes(db: Connection, run: int | None = None) -> Plot:
    """Draw how the queries of a run ended."""
    answer = REPORTS["outcomes"].answer(db, run=run, limit=2 * MOST_BARS)
    bars = [_outcome_bar(row) for row in _records(answer)]
    svg = draw_bars(answer.title, "queries", bars, parts=("queries", "with marks")) if bars else ""
    return Plot(answer, svg)


def _outcome_bar(row: Record) -> Bar:
    code = "" if row["error_code"] is None else f" {row['error_code']}"
    name = f"{row['kind']} v{row['family']}: {row['outcome']}{code}"
    text = f"{name}: {row['queries']} queries, {row['share']} %, {row['marked']} with marks"
    return Bar(name, row["queries"], text, row["marked"] / row["queries"])


def plot_round_trips(db: Connection, run: int | None = None) -> Plot:
    """Draw the median round-trip time of each client, from the 5 % to the 95 % quantile."""
    answer = REPORTS["round-trips"].answer(db, run=run, limit=MOST_BARS)
    points = [
        Point(
            place,
            row["p50"],
            f"{row['client_name']}: {_between(row, 'p50', 'p05', 'p95')} ms",
            row["p05"],
            row["p95"],
        )
        for place, row in enumerate(_records(answer), start=1)
        if row["p05"]
    ]
    names = tuple(str(row["client_name"]) for row in answer.records())
    axes = Axis("client", places=names), Axis("ms, median, 5 % to 95 %", "log")
    svg = draw_points(answer.title, *axes, [Series("", points)]) if points else ""
    return Plot(answer, svg)


def plot_swarms(db: Connection, run: int | None = None) -> Plot:
    """Draw the peers of each swarm over its rank, both on logarithmic axes."""
    answer = REPORTS["swarms"].answer(db, run=run, limit=MOST_POINTS)
    points = [
        _swarm_point(float(rank), row, f"{rank}. {row['info_hash']}")
        for rank, row in enumerate(_records(answer), start=1)
        if row["peers"]
    ]
    axes = Axis("rank of the swarm", "log"), Axis("peers, 95 % interval", "log")
    svg = draw_points(answer.title, *axes, [Series("peers", points)]) if points else ""
    return Plot(answer, svg)


_AT_TRACKERS = """
SELECT taken_at, peers_low, peers_high, nodes_answered FROM swarm_samples
WHERE source = 'tracker' AND info_hash = :info_hash ORDER BY taken_at DESC LIMIT :limit
"""


def plot_swarm(db: Connection, info_hash: str) -> Plot:
    """Draw the size of one swarm over time, in the DHT and at trackers.  Raises `NoAnswer`.

    `info_hash` is in lower-case hex.
    """
    answer = REPORTS["swarm"].answer(db, info_hash=info_hash, limit=MOST_POINTS)
    rows = sorted(_records(answer), key=lambda row: str(row["taken_at"]))
    series = [
        Series(
            "peers",
            [_swarm_point(_seconds(row["taken_at"]), row, row["taken_at"]) for row in _with(rows, "peers")],
            joined=True,
        )
    ]
    for name in ("seeds", "leechers"):
        points = [
            Point(
                _seconds(row["taken_at"]),
                row[name],
                f"{row['taken_at']}: {row['bound']} {row[name]} {name}",
                is_at_least=bool(row["bound"]),
            )
            for row in _with(rows, name)
        ]
        series.append(Series(name, points, joined=True))
    if points := _at_trackers(db, info_hash):
        series.append(Series("at trackers, least to most", points))
    axes = Axis("measured (UTC)", "time"), Axis("peers, 95 % interval")
    has_any = any(each.points for each in series)
    svg = draw_points(answer.title, *axes, series) if has_any else ""
    return Plot(answer, svg)


def _at_trackers(db: Connection, info_hash: str) -> list[Point]:
    """Return what trackers say of a swarm together: a number that is the least, up to the most."""
    rows = db.execute(_AT_TRACKERS, {"info_hash": info_hash, "limit": MOST_POINTS}).fetchall()
    found = []
    for taken_at, low, high, trackers in rows:
        text = f"{taken_at}: {low:.0f} to {high:.0f} peers at {trackers} trackers"
        found.append(Point(_seconds(taken_at), low, text, low, high))
    return found[::-1]


DASHBOARD: dict[str, Draw] = {
    "network-size": plot_network_size,
    "clients": plot_clients,
    "outcomes": plot_outcomes,
    "round-trips": plot_round_trips,
    "swarms": plot_swarms,
}
"""All but that of one swarm, by the names of the reports."""


def _records(answer: ReportAnswer) -> list[Record]:
    return list(answer.records())


def _with(rows: Iterable[Record], name: str) -> list[Record]:
    return [row for row in rows if row[name] is not None]


def _swarm_point(x: float, row: Record, name: str) -> Point:
    bound = "at least " if row["bound"] else ""
    text = f"{name}: {bound}{_between(row, 'peers', 'peers_low', 'peers_high')} peers"
    return Point(x, row["peers"], text, row["peers_low"], row["peers_high"], bool(bound))


def _between(row: Record, name: str, low: str, high: str) -> str:
    """Write a number, and its interval where it has one."""
    if row[low] is None or row[high] is None:
        return number_text(row[name])
    return f"{number_text(row[name])} ({number_text(row[low])} to {number_text(row[high])})"


def _seconds(text: Any) -> float:
    """Return a time of the database as seconds since the epoch."""
    return datetime.fromisoformat(str(text)).timestamp()
