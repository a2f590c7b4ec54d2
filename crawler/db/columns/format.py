"""How tables and columns are described: one column a line, with its name, its kind and the meaning.

A unit follows the kind after a colon.  A line that begins with `=` names columns that mean the same
everywhere.  A mark behind the kind says how a column is treated when it leaves this machine:

- `!never`: not exported, whatever is asked for;
- `!host`, `!id`, `!port`, `!version`, `!client`, `!subject`: changed by `anonymous`.
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


def table(name: str, meaning: str, text: str, *, groups: str = "", exported: bool = True) -> TableText:
    """Describe a table by its lines."""
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
        sample_id integer The measurement (swarm_samples.id).
        name text The name of the torrent, where it is known; anybody may have chosen it.
        seeds_low number Lower end of the 95 % interval of seeds.
        seeds_high number Upper end of the 95 % interval of seeds.
        leechers_low number Lower end of the 95 % interval of leechers.
        leechers_high number Upper end of the 95 % interval of leechers.
        coverage number The share of the swarm that nodes listed (Good-Turing), from 0 to 1.
        fetched_at time When a peer first told it.
        is_private flag Whether it is private (BEP 27): then its peers are left alone.
        size integer:B All its files together.
        files integer Its files.
        peers_tried integer Peers that were contacted.
        peers_answered integer Those of them that spoke.
        seed_share number Seeds among those that said what they are, from 0 to 1.
        seed_share_low number Lower end of its 95 % interval (Wilson).
        seed_share_high number Upper end of its 95 % interval (Wilson).
        window_start time The beginning of the window of time.
        window_end time Its end.
        vantages integer Databases that have measured the swarm within it.
        samples integer Their measurements.
        p_value number How often honest nodes would look like this or worse.
    """)
}
