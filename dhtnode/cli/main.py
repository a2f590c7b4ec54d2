"""The command `dhtnode`: one group, whose commands are in the modules beside this one."""

import click

from dhtnode import __version__
from dhtnode.cli import console
from dhtnode.cli.lazy_group import LazyGroup

COMMANDS = {
    "announce": "dhtnode.cli.ask:announce",
    "config": "dhtnode.cli.daemon:config",
    "find-node": "dhtnode.cli.ask:find_node",
    "gateway": "dhtnode.cli.gateway:gateway",
    "get": "dhtnode.cli.items:get",
    "get-peers": "dhtnode.cli.ask:get_peers",
    "local-tracker": "dhtnode.cli.local_tracker:local_tracker",
    "ping": "dhtnode.cli.ask:ping",
    "put": "dhtnode.cli.items:put",
    "run": "dhtnode.cli.daemon:run_command",
    "sample": "dhtnode.cli.items:sample",
    "scrape": "dhtnode.cli.ask:scrape",
    "status": "dhtnode.cli.daemon:status",
    "trackers": "dhtnode.cli.trackers:trackers",
    "testnet": "dhtnode.cli.testnet:testnet",
}


@click.group(
    "dhtnode",
    cls=LazyGroup,
    places=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="dhtnode")
@click.option("-v", "--verbose", count=True, help="Log what happens to stderr; twice for everything.")
def main(verbose: int) -> None:
    """Be a node of the BitTorrent mainline DHT, or ask it a question."""
    console.set_up_logging(verbose)
