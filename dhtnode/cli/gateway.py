"""The command `dhtnode gateway`: a daemon that is a tracker, too, whose peers come from the DHT."""

from __future__ import annotations

from typing import Any

import click

from dhtnode.cli import console
from dhtnode.cli.captures import pcap_options
from dhtnode.cli.daemon import FILE, serve, setting_options
from dhtnode.daemon.gateway_options import parse_network


def network(text: str) -> str:
    """Check the name of a network, and leave it as it is."""
    try:
        parse_network(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return text


gateway_options = console.add_options(
    click.option(
        "--http",
        "gateway_http",
        type=console.local_address,
        metavar="IP:PORT",
        help="Serve HTTP trackers there. Without --http and --udp: HTTP and UDP on 127.0.0.1:6969.",
    ),
    click.option(
        "--udp",
        "gateway_udp",
        type=console.local_address,
        metavar="IP:PORT",
        help="Serve UDP trackers there.",
    ),
    click.option(
        "--tls",
        type=(FILE, FILE),
        metavar="CERT KEY",
        help="Files with certificate and key: HTTP over TLS.",
    ),
    click.option(
        "--open",
        "gateway_open",
        is_flag=True,
        default=None,
        help="Serve clients of the public network, too.",
    ),
    click.option(
        "--announce-for",
        "gateway_announce_for",
        type=network,
        multiple=True,
        metavar="NETWORK",
        help="A network behind our public address, whose clients are announced in the DHT; repeatable.",
    ),
    click.option("--allow", "gateway_allow", type=FILE, metavar="FILE", help="Serve these info-hashes only."),
    click.option("--deny", "gateway_deny", type=FILE, metavar="FILE", help="Do not serve these info-hashes."),
    click.option(
        "--proxy",
        "gateway_proxy",
        type=network,
        multiple=True,
        metavar="NETWORK",
        help="Believe X-Forwarded-For of HTTP proxies there; may be repeated.",
    ),
)


@click.command("gateway")
@gateway_options
@setting_options
@console.JSON_OPTION
@console.timeout_option(None)
@console.BOOTSTRAP_OPTION
@pcap_options
def gateway(as_json: bool, timeout: float | None, tls: tuple[str, str] | None, **given: Any) -> None:
    """Be a tracker whose peers come from the DHT, until SIGINT or SIGTERM.

    For clients that only speak to trackers: they announce to the addresses that are printed.  Who asks for
    what stays in memory.  A client is announced in the DHT only where its public address is ours, on this
    machine or in a network of --announce-for: nodes store the address that an announce comes from.
    SIGHUP reads the lists and the settings again.
    """
    for name in ("gateway_http", "gateway_udp"):
        given[name] = None if given[name] is None else str(given[name])
    if tls is not None:
        given["gateway_certificate"], given["gateway_key"] = tls
    serve({**given, "gateway": True}, as_json=as_json, timeout=timeout)
