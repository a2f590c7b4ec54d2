"""Rows made anonymous before others see them: addresses, ports, ids, and what few nodes have.

An address becomes its /24 or /48, and its port goes: together they would be a door to knock at.  An id
becomes a pseudonym, because of an id that follows BEP 42 and a /24 the rest of the address can be found;
the key is forgotten, so pseudonyms of two exports do not compare.  A version or client that fewer
than 10 nodes have goes, and so do rows about groups of fewer.
"""

import sqlite3
from collections.abc import Callable
from hashlib import blake2b
from ipaddress import ip_address, ip_network

from crawler.db.schema.columns import ColumnText, TableText
from dhtnode.ids import ID_BYTES

FEWEST = 10  # nodes in a group; `descriptions` has the same number in its conditions

_CHANGED = {
    "host": "iif({0} IS NULL, NULL, anonymous_host({0}))",
    "id": "pseudonym({})",
    "port": "NULL",
    "version": "iif(is_common_version({0}), {0}, NULL)",
    "client": "iif(is_common_client({0}), {0}, NULL)",
    "subject": "anonymous_subject({})",
    "tracker": "anonymous_tracker({})",
}


def add_functions(connection: sqlite3.Connection, key: bytes) -> None:
    """Add to a connection the functions that `expression` uses; `key` is a secret of up to 64 bytes."""
    versions = _common(connection, "version")
    clients = _common(connection, "client")

    def pseudonym(node_id: str) -> str:
        return blake2b(node_id.encode(), key=key, digest_size=ID_BYTES).hexdigest()

    def subject(text: str) -> str:
        if len(text) == 2 * ID_BYTES:
            return pseudonym(text)
        return host_prefix(text) if _is_host(text) else text

    functions: dict[str, Callable[..., str | bool]] = {
        "anonymous_host": host_prefix,
        "pseudonym": pseudonym,
        "anonymous_subject": subject,
        "anonymous_tracker": without_address,
        "is_common_version": versions.__contains__,
        "is_common_client": clients.__contains__,
    }
    for name, function in functions.items():
        connection.create_function(name, 1, function, deterministic=True)


def expression(column: ColumnText, table: TableText) -> str:
    """Return what to select in place of a column."""
    name = f'"{column.name}"'
    if column.privacy == "client" and table.groups:
        return name  # a group large enough to be shown may be named
    return f"{_CHANGED.get(column.privacy, '{}').format(name)} AS {name}"


def host_prefix(text: str) -> str:
    """Return the /24 or /48 of an address; a prefix stays as it is."""
    if "/" in text:
        return text
    if ":" in text:
        return str(ip_network((text, 48), strict=False))
    return text.rpartition(".")[0] + ".0/24"


def without_address(text: str) -> str:
    """Return the URL of a tracker, or its host, with a prefix for an address; a name stays as it is."""
    scheme, slashes, rest = text.rpartition("://")
    place, slash, path = rest.partition("/") if slashes else (rest, "", "")
    host, _, port = place.partition("]") if place.startswith("[") else place.partition(":")
    if not slashes and _is_host(place):
        return host_prefix(place)
    if not _is_host(host.strip("[]")):
        return text
    port = port.strip(":")
    return f"{scheme}{slashes}{host_prefix(host.strip('[]'))}{f':{port}' if port else ''}{slash}{path}"


def _is_host(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _common(connection: sqlite3.Connection, column: str) -> frozenset[str | None]:
    """Return the versions or clients that enough nodes have."""
    sql = f"""
    SELECT {column} FROM nodes WHERE last_answer IS NOT NULL GROUP BY {column} HAVING count(*) >= {FEWEST}
    """
    return frozenset(found for (found,) in connection.execute(sql))
