"""The canned queries: the reports as SQL that a reader may change in the browser, and three more.

Each reads what is counted at the end of a run, or an index, so that it answers within the time limit on
millions of rows.  A parameter that is left empty stands for the newest run or the largest swarm.
"""

from dataclasses import dataclass

from crawler.db.schema import query_of
from crawler.reports import REPORTS, Report
from crawler.reports.report import one_run

MOST_ROWS = 500
_CLIENT = "coalesce((SELECT letters FROM client_names WHERE name = :client), nullif(:client, ''), 'LT')"


@dataclass(frozen=True, slots=True)
class CannedQuery:
    """A question, what its answer says, and the SQL; parameters are written `:name`."""

    name: str
    title: str
    text: str
    sql: str


def _of_report(report: Report) -> CannedQuery:
    sql = report.sql.replace(":limit", str(MOST_ROWS))
    return CannedQuery(report.page_name, report.question, report.text.replace("`", ""), sql)


_QUERIES = (
    *map(_of_report, REPORTS.values()),
    CannedQuery(
        "replies_of_a_sample",
        "What did each node say about a swarm, in one measurement?",
        "One row for each node that was asked, the closest first: by the number of the measurement.",
        """
SELECT
    sample_id, rank, node_id, address, port, values_count, version, rtt_ms, marks
FROM scrape_replies
WHERE sample_id = coalesce(nullif(:sample_id, ''), (SELECT max(sample_id) FROM scrape_replies))
ORDER BY rank
""",
    ),
    CannedQuery(
        "visits_of_a_node",
        "When was one node visited in a run, and with what result?",
        "By its id, 40 hex digits, which several nodes at several addresses may have. All"
        " visits of the run are looked through; those of all runs, where there are millions, take too long.",
        f"""
SELECT
    id, run_id, node_id, address, port, taken_at, outcome, error_code, rtt_ms, version, contacts,
    is_verification, marks
FROM visits
WHERE {one_run("(SELECT max(id) >> 32 AS run_id FROM visit_rows)")} AND node_id = lower(:node_id)
ORDER BY id DESC
LIMIT {MOST_ROWS}
""",
    ),
    CannedQuery(
        "nodes_of_a_client",
        "Which nodes run a client?",
        "By its name, or by the two characters that stand for it. Only nodes that ever answered.",
        # A version begins with the two characters: the index has those between them and the next two.
        f"""
{query_of("nodes")}
WHERE last_answer IS NOT NULL AND version >= CAST({_CLIENT} AS BLOB)
    AND version < CAST(substr({_CLIENT}, 1, 1) || char(unicode(substr({_CLIENT}, 2)) + 1) AS BLOB)
LIMIT {MOST_ROWS}
""",
    ),
)

QUERIES: dict[str, CannedQuery] = {query.name: query for query in _QUERIES}
