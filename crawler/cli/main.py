"""The command `dhtcrawl`: each subcommand is one call of the crawler, plus printing.

What crawls, records and draws is imported when it is first used: names of `crawler` and of its packages
come from their modules only then.
"""

import click

import crawler
import crawler.synthetic
from dhtnode import DhtError, __version__
from dhtnode.cli import LazyGroup, console

NAMES = (
    *("browse", "census", "demo", "example", "explain", "export", "merge"),
    *("metadata", "purge", "report", "sample", "scrape", "synthetic", "torrent", "trackers", "watch"),
)


def _refusals() -> tuple[type[Exception], ...]:
    """Return the exceptions that say in one line what the network or a file refused."""
    return (
        DhtError,
        crawler.DatabaseError,
        crawler.ExportError,
        crawler.NoAnswer,
        crawler.NoParquet,
        crawler.synthetic.TruthError,
    )


@click.group(
    "dhtcrawl",
    cls=LazyGroup,
    places={name: f"crawler.cli.{name}:{name}" for name in NAMES},
    refusals=_refusals,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="dhtcrawl")
@click.option("-v", "--verbose", count=True, help="Log what happens to stderr; twice for everything.")
def main(verbose: int) -> None:
    """Measure the BitTorrent mainline DHT and record everything in SQLite."""
    console.set_up_logging(verbose)
