"""What every table, view and column of a crawl database holds, in words: for exports, pages and documents.

A description is written one column a line: its name, its kind with a unit, and the meaning.  A line that
begins with `=` names columns that mean the same everywhere.  A mark behind the kind says how a column is
treated when it leaves this machine:

- `!never`: not exported, whatever is asked for;
- `!host`, `!id`, `!port`, `!version`, `!client`, `!subject`: changed by `anonymous`.

A test holds the descriptions against the real schema: a column without one fails, and so does one too many.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast, get_args

Kind: TypeAlias = Literal["integer", "number", "text", "time", "flag", "json", "bytes"]
"""What values are; a time is UTC text `YYYY-MM-DDTHH:MM:SS.sssZ`, a flag 0 or 1, json an object as text."""

Privacy: TypeAlias = Literal["", "never", "host", "id", "port", "version", "client", "subject"]


@dataclass(frozen=True, slots=True)
class ColumnText:
    """Describe a column; `unit` is empty for counts and texts."""

    name: str
    kind: Kind
    unit: str
    meaning: str
    privacy: Privacy


@dataclass(frozen=True, slots=True)
class TableText:
    """Describe a table or view.

    `groups` is a condition in SQL that holds for rows about 10 nodes or more, empty where rows are not about
    groups of nodes.  What is not `exported` is of use to the crawler alone.
    """

    name: str
    meaning: str
    columns: tuple[ColumnText, ...]
    groups: str = ""
    exported: bool = True


def _column(line: str) -> ColumnText:
    name, kind, meaning = line.split(maxsplit=2)
    kind, _, privacy = kind.partition("!")
    kind, _, unit = kind.partition(":")
    if kind not in get_args(Kind) or privacy not in get_args(Privacy):
        raise ValueError(f"no kind or mark of a column: {line!r}")
    return ColumnText(name, cast("Kind", kind), unit, meaning, cast("Privacy", privacy))


def _columns(text: str) -> Iterator[ColumnText]:
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith("="):
            yield from (COMMON[name] for name in line[1:].split())
        else:
            yield _column(line)


def _table(name: str, meaning: str, text: str, *, groups: str = "", exported: bool = True) -> TableText:
    return TableText(name, meaning, tuple(_columns(text)), groups, exported)


COMMON: dict[str, ColumnText] = {
    column.name: column
    for column in _columns("""
        id integer Number of the row.
        run_id integer The run that wrote the row (runs.id).
        started_at time When the run began.
        info_hash text The info-hash of the swarm, 40 hex digits.
        taken_at time When it was measured.
        node_id text!id The id of the node, 40 hex digits.
        address text!host The IP address of the node; a /24 or /48 in an anonymized database.
        port integer!port The UDP port of the node.
        family integer IPv4 (4) or IPv6 (6), which are two networks; NULL for both together.
        version text!version What the node sends as `v`, in hex: the client and its version.
        client text!client The first two characters of the version, or unknown (BEP 20).
        outcome text How the query ended: answered, timeout, error, wrong-id, foreign-source, malformed, ...
        error_code integer The code of the error that the node answered with.
        rtt_ms number:ms Time from the query to its answer.
        marks text What makes the answer suspect, words with spaces between; empty for nothing.
        contacts integer Contacts that the node named.
        new_contacts integer Those of them that had not been heard of before.
        method text How the number came about.
        low number Lower end of the 95 % interval.
        high number Upper end of the 95 % interval; may be infinite.
        zone text The part of the id space that was looked at, bits or "whole"; the number is for all of it.
        details json What the number was computed from.
        seeds number Peers that say they have all (BEP 33), estimated.
        leechers number Peers that do not, estimated.
        peers number Distinct addresses announced, seeds and leechers together, estimated.
        peers_low number Lower end of the 95 % interval of peers.
        peers_high number Upper end of the 95 % interval of peers.
        saturated flag Whether the filters are too full to say more than: at least.
        nodes_asked integer Nodes asked about the swarm.
        nodes_answered integer Those of them that answered.
        nodes_with_filters integer Those of them that sent filters (BEP 33).
        distinct_peers integer Different peers that nodes listed by address, counted and not kept.
        bytes_sent integer:B Bytes sent for it, without IP and UDP headers.
        bytes_received integer:B Bytes received for it, without IP and UDP headers.
        sighted integer Nodes named by others, whether they answered or not.
        answered_once integer Nodes that answered.
        answered_twice integer Nodes that answered twice, at least 5 minutes apart.
        distinct_ids integer Different ids of nodes that answered.
        distinct_endpoints integer Different addresses with ports of nodes that answered.
        distinct_ips integer Different addresses of nodes that answered; prefixes if anonymized.
        test text Which test: ids on one host, ids in one zone, dispersion of zones, closeness, prefixes.
        subject text!subject What the test is about: a host, the first bits of ids, or an id.
        observed number What was found, in the unit of the test.
        expected number What chance would give, in the same unit.
        p_value number How often honest nodes would look like this or worse.
    """)
}

_TABLES = (
    _table(
        "runs",
        "One row for each invocation of the crawler: who wrote the other rows, when, with which settings.",
        """
        id integer Number of the run.
        command text The command that ran.
        = started_at
        finished_at time When it ended; NULL while it runs, or when nobody saw the end.
        status text running, finished or interrupted.
        version text The version of this software.
        settings json The settings it ran with.
        pid integer The number of its process on the machine it ran on.
        """,
    ),
    _table(
        "swarms",
        "One row for each info-hash ever met.",
        """
        = info_hash
        first_seen time When it was first met.
        last_seen time When it was last met.
        source text How it came to be known: the command line, a sample (BEP 51), a list.
        name text The name of the torrent, where it is known; anybody may have chosen it.
        """,
    ),
    _table(
        "swarm_samples",
        "One row for each measurement of a swarm: a time series, never overwritten.",
        """
        = id run_id info_hash taken_at seeds leechers peers peers_low peers_high
        method text How the number of peers came about: union, pair-ratio, chao2, distinct, none.
        = saturated nodes_asked nodes_answered nodes_with_filters distinct_peers bytes_sent bytes_received
        """,
    ),
    _table(
        "scrape_replies",
        "One row for what one node said about one swarm: what a measurement was computed from.",
        """
        sample_id integer The measurement (swarm_samples.id).
        = node_id address port
        rank integer Place of the node by distance to the info-hash among those asked, 0 the closest.
        seeds_filter bytes!never The filter of seeds, 256 bytes (BEP 33).
        peers_filter bytes!never The filter of other peers, 256 bytes (BEP 33).
        values_count integer Peers that the node listed by address; the addresses are not kept.
        = version rtt_ms marks
        """,
    ),
    _table(
        "nodes",
        "One row for each node ever met: an id at an address and port.",
        """
        = node_id address port family
        first_seen time When it was first asked.
        last_seen time When it was last asked.
        last_answer time When it last answered.
        = version client
        """,
    ),
    _table(
        "visits",
        "One row for each visit of a census to a node, whatever came of it.",
        """
        = id run_id node_id address port taken_at outcome rtt_ms version contacts new_contacts
        referrers integer Nodes that had named this one when it was asked; 5 stands for five and more.
        = error_code
        conforms flag Whether the id goes with the address (BEP 42); NULL where that cannot be judged.
        unusable integer Contacts it named with addresses that nobody may ask.
        = marks
        is_verification flag Whether it had answered before, and was asked only if it still is there.
        """,
    ),
    _table(
        "crawl_journal",
        "What an interrupted census goes on from; deleted when it has come to its end.",
        """
        = id run_id family
        contacts bytes!never Endpoints met since the last row, as the crawler keeps them.
        changes bytes!never What became of endpoints since the last row.
        """,
        exported=False,
    ),
    _table(
        "run_counts",
        "One row for each run that has ended, and family in it: nodes counted, those missed not added.",
        "= run_id family sighted answered_once answered_twice distinct_ids distinct_endpoints distinct_ips",
        groups="answered_once >= 10",
    ),
    _table(
        "run_clients",
        "One row for each run that has ended, family and client in it.",
        """
        = run_id family client
        nodes integer Nodes of this client that answered.
        rtt_ms number:ms Mean round-trip time, of the fastest answer of each node.
        conforming integer Ids that go with their address (BEP 42).
        judged integer Ids of which that can be said.
        """,
        groups="nodes >= 10",
    ),
    _table(
        "size_estimates",
        "One row for each run, family and method: how many nodes the network has.",
        """
        = run_id family
        method text How: counted, crawl (the headline), distances, median, chapman.
        estimate number:nodes Nodes of the whole network.
        = low high zone details
        """,
    ),
    _table(
        "alarms",
        "One row for each test that raised an alarm, or that was asked for: ids beyond chance.",
        """
        = run_id family test subject observed expected p_value
        verdict text suspect or inconspicuous.
        """,
    ),
    _table(
        "node_samples",
        "One row for each request for a sample of info-hashes (BEP 51).",
        """
        = id run_id node_id address port family taken_at outcome error_code rtt_ms version
        num integer How many info-hashes the node says it stores.
        interval integer:s How long it asks to be left alone.
        returned integer Info-hashes in its sample.
        new integer Those of them not known before; NULL until they are in swarms.
        next_at time When it may be asked again.
        = contacts new_contacts marks
        samples bytes The info-hashes, 20 bytes each, one after the other.
        """,
    ),
    _table(
        "sample_turns",
        "When each node may be asked for a sample again.",
        """
        place text!never Address and port of the node, or prefix, port and id in an anonymized database.
        = node_id family
        asked_at time When it was last asked.
        next_at time When it may be asked again.
        interval integer:s How long it asked to be left alone.
        chances integer How often it may still be silent before it is not asked any more.
        """,
        exported=False,
    ),
    _table(
        "discovery_estimates",
        "One row for each run of samples, family and method: how many info-hashes there are.",
        """
        = id run_id family
        method text How: coverage (a share from 0 to 1), chao1 (a lower bound), horvitz-thompson.
        estimate number Info-hashes, or the share of them.
        = low high zone details
        """,
    ),
    _table(
        "run_outcomes",
        "One row for each run that has ended, family, kind and outcome: how queries ended.",
        """
        = run_id family
        kind text visit (of a census), verification (a second visit), or sample (BEP 51).
        = outcome error_code
        queries integer How many ended so; a visit counts once, whatever number of packets it took.
        marked integer Those of them with marks.
        """,
        groups="queries >= 10",
    ),
    _table(
        "run_round_trips",
        "One row for each run that has ended, family, client and step of time: answers that took so long.",
        """
        = run_id family client
        from_ms number:ms The shortest time of the step.
        below_ms number:ms The time that the step ends before, 10 % more or less than that.
        answers integer Answers with such a round-trip time.
        """,
        groups="""(run_id, family, client) IN (
            SELECT run_id, family, client FROM run_round_trips GROUP BY 1, 2, 3 HAVING sum(answers) >= 10
        )""",
    ),
    _table(
        "run_support",
        "One row for each run, BEP and client: who supports what, by their replies.",
        """
        = run_id
        bep integer 33 (scrapes) or 51 (samples of info-hashes).
        = client
        replies integer Replies that could show it.
        capable integer Those of them with filters, or with samples.
        """,
        groups="replies >= 10",
    ),
    _table(
        "run_costs",
        "One row for each run that has ended: what it did and what it cost.",
        """
        = run_id
        visits integer Rows in visits.
        swarm_samples integer Rows in swarm_samples.
        node_samples integer Rows in node_samples.
        asked integer Nodes asked, each visit, sample and scrape; one to four queries each.
        answered integer Those that answered.
        bytes_sent integer:B Bytes sent by scrapes; NULL where there were none.
        bytes_received integer:B Bytes received by scrapes; NULL where there were none.
        """,
    ),
    _table(
        "latest_swarms",
        "The newest measurement of each swarm; counts are rounded.",
        """
        = info_hash
        name text The name of the torrent, where it is known; anybody may have chosen it.
        = taken_at seeds leechers peers peers_low peers_high saturated method
        = nodes_asked nodes_answered nodes_with_filters distinct_peers
        """,
    ),
    _table(
        "network_size",
        "One row for each run and family: three counts of nodes, and estimates that add those missed.",
        """
        = run_id started_at family sighted answered_once answered_twice
        = distinct_ids distinct_endpoints distinct_ips zone
        estimate integer:nodes Nodes of the whole network, from the crawl.
        low integer:nodes Lower end of the 95 % interval of estimate.
        high integer:nodes Upper end of the 95 % interval of estimate.
        by_distances integer:nodes Nodes of the whole network, from distances between ids.
        by_distances_low integer:nodes Lower end of the 95 % interval of by_distances.
        by_distances_high integer:nodes Upper end of the 95 % interval of by_distances.
        """,
        groups="answered_once >= 10",
    ),
    _table(
        "sybil_suspects",
        "The alarms whose verdict is suspect, the least likely first; a mark, no proof.",
        "= run_id started_at family test subject observed expected p_value",
    ),
    _table(
        "suspect_nodes",
        "One row for each node of a run, and mark or outcome that makes it suspect.",
        """
        = run_id node_id address port family
        mark text The mark, or the outcome where that is a lie by itself.
        visits integer Visits that show it.
        last_seen time When the last of them was.
        """,
    ),
    _table(
        "client_versions",
        "One row for each client of the nodes that ever answered.",
        """
        = client
        nodes integer Nodes of this client.
        share number Their share of all, from 0 to 1.
        versions integer Different versions among them.
        """,
        groups="nodes >= 10",
    ),
    _table(
        "client_census",
        "One row for each run that has ended, and client in it: how many, how fast, what they support.",
        """
        = run_id client
        nodes integer Nodes of this client that answered.
        share number Their share of all of the run, from 0 to 1.
        rtt_ms number:ms Mean round-trip time.
        bep33 number Share of replies with filters among its replies to scrapes, in all runs.
        bep42 number Share of ids that go with their address, among those that can be judged.
        bep51 number Share of samples among its answers to requests for them, in all runs.
        """,
        groups="nodes >= 10",
    ),
)

TABLES: dict[str, TableText] = {table.name: table for table in _TABLES}
"""All tables and views but those of SQLite and sqlite-utils, by name."""
