"""The settings of the gateway beside a daemon, as texts, and what they are made into.

The files that they name are read when the gateway is opened, and the lists again on SIGHUP.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated

from dhtnode.addresses import Address, parse_address
from dhtnode.errors import InvalidInfoHash
from dhtnode.files import read_file, text_of
from dhtnode.gateway.settings import GatewaySettings, Network
from dhtnode.ids import InfoHash
from dhtnode.magnet import parse_info_hash

DEFAULT_PLACE = "127.0.0.1:6969"
"""Where HTTP and UDP are served when no address is given."""

MAX_LIST = 100_000_000  # bytes of a file

NO_HTTP = "serving HTTP needs a further package: pip install 'dhtnode[gateway]'"


class GatewayOptionError(ValueError):
    """A file that the gateway cannot be opened with, or a package that it lacks."""


def parse_network(text: str) -> Network:
    """Read `192.168.1.0/24` or a single address; raises `ValueError`."""
    try:
        return ip_network(text)
    except ValueError as error:
        raise ValueError(f"{text[:80]!r} is not a network: {error}") from error


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """What can be set of the gateway in the settings of a daemon."""

    gateway: bool = False
    """Serve clients that only speak to trackers, by default over HTTP and UDP on 127.0.0.1:6969."""

    gateway_http: Annotated[str | None, parse_address] = None
    """Where HTTP trackers are asked, `IP:PORT`."""

    gateway_udp: Annotated[str | None, parse_address] = None
    """Where UDP trackers are asked, `IP:PORT`."""

    gateway_certificate: str | None = None
    """File with the certificate for HTTP over TLS."""

    gateway_key: str | None = None
    """File with the key of that certificate."""

    gateway_open: bool = False
    """Serve clients of the public network, too."""

    gateway_announce_for: Annotated[tuple[str, ...], parse_network] = ()
    """Networks behind our public address, whose clients are announced in the DHT."""

    gateway_proxy: Annotated[tuple[str, ...], parse_network] = ()
    """Networks of HTTP proxies that say in `X-Forwarded-For` for which client they ask."""

    gateway_allow: str | None = None
    """File with the only info-hashes that are served; read again on SIGHUP."""

    gateway_deny: str | None = None
    """File with info-hashes that are not served; read again on SIGHUP."""


def gateway_settings(options: GatewayOptions) -> GatewaySettings:
    """Return the settings of the gateway, with what the files say; raises `GatewayOptionError`."""
    http, udp = _place(options.gateway_http), _place(options.gateway_udp)
    has_http = find_spec("hypercorn") is not None
    if not (http or udp):
        udp = parse_address(DEFAULT_PLACE)
        http = udp if has_http else None
    elif http and not has_http:
        raise GatewayOptionError(NO_HTTP)
    certificate, key = options.gateway_certificate, options.gateway_key
    if (certificate is None) is not (key is None):
        raise GatewayOptionError("TLS takes a certificate and a key")
    return GatewaySettings(
        http=http,
        udp=udp,
        tls=(Path(certificate), Path(key)) if certificate and key else None,
        is_open=options.gateway_open,
        announce_for=tuple(map(parse_network, options.gateway_announce_for)),
        proxies=tuple(map(parse_network, options.gateway_proxy)),
        allow=None if options.gateway_allow is None else _info_hashes(options.gateway_allow),
        deny=frozenset() if options.gateway_deny is None else _info_hashes(options.gateway_deny),
    )


def _place(text: str | None) -> Address | None:
    return None if text is None else parse_address(text)


def _info_hashes(path: str) -> frozenset[InfoHash]:
    """Read info-hashes or magnet links, one a line; empty lines and what follows a # are passed over."""
    found = set()
    for number, line in enumerate(_lines(path), 1):
        if text := line.partition("#")[0].strip():
            try:
                found.add(parse_info_hash(text))
            except InvalidInfoHash as error:
                raise GatewayOptionError(f"{path}: line {number}: {error}") from error
    return frozenset(found)


def _lines(path: str) -> list[str]:
    try:
        data = read_file(path, MAX_LIST + 1)
    except OSError as error:
        raise GatewayOptionError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > MAX_LIST:
        raise GatewayOptionError(f"{path} is longer than {MAX_LIST} bytes")
    return text_of(data).splitlines()
