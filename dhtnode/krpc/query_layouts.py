"""The bytes of common queries: what stands where, so that such a query need not be decoded.

Queries of one method differ in strings only: ids, a target, the transaction id, the version.  While these
have the same lengths, all other bytes are the same and stand in the same places.
"""

from collections.abc import Callable
from itertools import product
from struct import Struct
from typing import NamedTuple

from dhtnode.ids import ID_BYTES

TELLING = ID_BYTES + len(b"d1:ad2:id20:")
"""The index of the first byte that is another one for each method."""

_ARGUMENTS = {b"ping": b"", b"find_node": b"6:target20:", b"get_peers": b"9:info_hash20:"}
_TRANSACTION_ID_BYTES = range(1, 9)
_VERSION_BYTES = (None, 4)


class Layout(NamedTuple):
    """The places in one kind of query.

    `unpack` takes a datagram of this size apart: every second part, from the first one on, is `fixed`;
    between them are the sender's id, the target or info-hash if there is one, the transaction id, and the
    version if there is one.
    """

    method: bytes
    transaction_id_bytes: int
    unpack: Callable[[bytes], tuple[bytes, ...]]
    fixed: tuple[bytes, ...]


def query_layouts() -> dict[int, dict[int, Layout]]:
    """Return the layouts of common queries by size and by the byte at `TELLING`, which are all different."""
    layouts: dict[int, dict[int, Layout]] = {}
    for method, id_bytes, version_bytes in product(_ARGUMENTS, _TRANSACTION_ID_BYTES, _VERSION_BYTES):
        fixed, lengths = _parts(method, id_bytes, version_bytes)
        sizes = [
            size for text, length in zip(fixed, [*lengths, 0], strict=True) for size in (len(text), length)
        ]
        struct = Struct("".join(f"{size}s" for size in sizes[:-1]))
        telling = b"".join([fixed[0], bytes(ID_BYTES), fixed[1]])[TELLING]
        layouts.setdefault(struct.size, {})[telling] = Layout(method, id_bytes, struct.unpack, fixed)
    return layouts


def _parts(method: bytes, id_bytes: int, version_bytes: int | None) -> tuple[tuple[bytes, ...], list[int]]:
    """Return the fixed parts of a query, and how many bytes stand after each but the last."""
    argument = _ARGUMENTS[method]
    before_id = b"e1:q%d:%b1:t%d:" % (len(method), method, id_bytes)
    fixed, lengths = [b"d1:ad2:id20:"], [ID_BYTES]
    if argument:
        fixed.append(argument)
        lengths.append(ID_BYTES)
    fixed.append(before_id)
    lengths.append(id_bytes)
    if version_bytes is not None:
        fixed.append(b"1:v%d:" % version_bytes)
        lengths.append(version_bytes)
    return (*fixed, b"1:y1:qe"), lengths
