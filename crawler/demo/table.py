"""The table of the demonstration: true sizes of swarms beside the measured ones."""

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from crawler.demo.demo import Comparison
from dhtnode.swarm import between, count_text

WIDTH = 110  # characters, where no terminal has another width


def print_comparison(swarms: Sequence[Comparison]) -> None:
    """Print a row for each swarm."""
    table = Table(title="Swarm sizes: the truth, and what was measured through the DHT", title_justify="left")
    for heading in ("info-hash", "true peers", "measured", "interval", "", "true seeds", "measured", "nodes"):
        table.add_column(heading, justify="left" if heading in ("info-hash", "") else "right")
    for swarm in swarms:
        table.add_row(*_row(swarm))
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table)


def _row(swarm: Comparison) -> list[str]:
    if swarm.measured is None:
        return [swarm.info_hash.hex(), str(swarm.peers), "no answer", "", "", str(swarm.seeds), "", "0"]
    estimate = swarm.measured.estimate
    return [
        swarm.info_hash.hex()[:16] + "...",
        str(swarm.peers),
        count_text(estimate.peers, estimate.peers_high),
        between(estimate.peers_low, estimate.peers_high),
        "" if swarm.is_within else "missed",
        str(swarm.seeds),
        count_text(estimate.seeds, estimate.seeds_high),
        str(swarm.measured.nodes_answered),
    ]
