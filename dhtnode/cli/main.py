"""The command `dhtnode`: one group, whose commands are in modules beside this one.

`cli_daemon` has those around a node that stays, `cli_ask` and `cli_items` the questions,
`cli_testnet` the network to try them on.
"""

from __future__ import annotations

import click

from dhtnode import __version__
from dhtnode.cli import (
    ask as cli_ask,
)
from dhtnode.cli import (
    console,
)
from dhtnode.cli import (
    daemon as cli_daemon,
)
from dhtnode.cli import (
    items as cli_items,
)
from dhtnode.cli import (
    testnet as cli_testnet,
)


@click.group("dhtnode", cls=console.OneLineGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dhtnode")
@click.option("-v", "--verbose", count=True, help="Log what happens to stderr; twice for everything.")
def main(verbose: int) -> None:
    """Be a node of the BitTorrent mainline DHT, or ask it a question."""
    console.set_up_logging(verbose)


for command in (*cli_daemon.COMMANDS, *cli_ask.COMMANDS, *cli_items.COMMANDS, *cli_testnet.COMMANDS):
    main.add_command(command)
