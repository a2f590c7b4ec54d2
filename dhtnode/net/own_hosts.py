"""The addresses of this machine."""

import re
from contextlib import suppress
from ipaddress import IPv6Address
from pathlib import Path

# Of the routes to this machine itself, those to one address; others are to whole networks.
_LOCAL_IPV4 = re.compile(r"\|-- ([\d.]+)\n +/32 host LOCAL")


def own_hosts(tables: Path = Path("/proc/net")) -> frozenset[str]:
    """Return the IP addresses of all interfaces, as Linux tells them; none where no kernel does."""
    found: set[str] = set()
    with suppress(OSError):
        found.update(_LOCAL_IPV4.findall((tables / "fib_trie").read_text(encoding="ascii")))
    with suppress(OSError):
        lines = (tables / "if_inet6").read_text(encoding="ascii").splitlines()
        found.update(str(IPv6Address(bytes.fromhex(line.split()[0]))) for line in lines)
    return frozenset(found)
