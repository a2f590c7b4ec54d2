"""Lists of compact addresses in one piece of bytes, in a random order.

To choose some is to cut out a piece, and costs a copy.  Adding and removing copy the whole list, 2 us for
5000 peers.  A list has addresses of one size, 6 or 18 bytes.
"""

from random import Random


def place_of(addresses: bytes, prefix: bytes, size: int) -> int:
    """Return where an address begins that has a prefix, or -1."""
    at = addresses.find(prefix)
    while at >= 0 and at % size:
        at = addresses.find(prefix, at + 1)
    return at


def without(addresses: bytes, prefix: bytes, size: int) -> bytes:
    """Return a list without the first address that has a prefix."""
    at = place_of(addresses, prefix, size)
    return addresses if at < 0 else addresses[:at] + addresses[at + size :]


def with_one(addresses: bytes, address: bytes, random: Random) -> bytes:
    """Return a list with one more address, at a random place."""
    at = random.randrange(len(addresses) // len(address) + 1) * len(address)
    return addresses[:at] + address + addresses[at:]


def some_of(addresses: bytes, count: int, size: int, random: Random) -> bytes:
    """Return up to `count` addresses, each as likely as any other, none twice."""
    total = len(addresses)
    if count * size >= total:
        return addresses
    start = int(random.random() * (total // size)) * size
    end = start + count * size
    return addresses[start:end] if end <= total else addresses[start:] + addresses[: end - total]
