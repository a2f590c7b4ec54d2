"""What callers give, checked before anything is sent: types, lengths and ranges.

Everything here raises `InvalidArgument`, a `ValueError`.  The checks stand at the door of public calls
only: what nodes send is checked by `krpc`.
"""

from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, get_type_hints

from dhtnode.addresses import Address, normalize_host, split_host_port
from dhtnode.errors import InvalidArgument
from dhtnode.ids import ID_BYTES, InfoHash, NodeId
from dhtnode.ranges import MOST

if TYPE_CHECKING:
    from dhtnode.metainfo import Metainfo

T = TypeVar("T")

# A host comes again and again, and to read one takes longer than to query it.
_normalized = lru_cache(maxsize=4096)(normalize_host)


def check_type(name: str, value: object, *wanted: type) -> None:
    """Raise `InvalidArgument` unless a value has one of these types; True and False are no numbers."""
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        kinds = " or ".join(kind.__name__ for kind in wanted)
        raise InvalidArgument(f"{name} is a {kinds}, not a {type(value).__name__}")


def check_bytes(name: str, value: object, least: int, most: int) -> None:
    """Raise `InvalidArgument` unless a value is `least` to `most` bytes long."""
    # Nearly all are: what follows tells what is wrong.
    if type(value) is bytes and least <= len(value) <= most:
        return
    check_type(name, value, bytes)
    if isinstance(value, bytes) and not least <= len(value) <= most:
        lengths = str(least) if least == most else f"{least} to {most}"
        raise InvalidArgument(f"{name} has {lengths} bytes, not {len(value)}")


def check_whole(name: str, value: object, least: int, most: int) -> None:
    """Raise `InvalidArgument` unless a value is an integer in `least..most`."""
    check_type(name, value, int)
    if isinstance(value, int) and not least <= value <= most:
        raise InvalidArgument(f"{name} {_shown(value)} is not in {least}..{most}")


def check_positive(name: str, value: object, *, or_zero: bool = False) -> None:
    """Raise `InvalidArgument` unless a value is a number above 0, or 0 if that may be; perhaps infinity."""
    check_type(name, value, int, float)
    if or_zero and value == 0:
        return
    # An integer of more bits cannot be added to a time.
    is_number = isinstance(value, float) or (isinstance(value, int) and value.bit_length() <= 1000)
    if not (is_number and isinstance(value, int | float) and 0 < value <= inf):
        raise InvalidArgument(f"{name} {_shown(value)} is not above 0")


def id_of(name: str, value: object) -> NodeId:
    """Return an id given as 20 bytes or as 40 hex digits."""
    match value:
        case bytes() if len(value) == ID_BYTES:
            return NodeId(bytes(value))
        case str() if len(value) == 2 * ID_BYTES:
            with suppress(ValueError):
                return NodeId(bytes.fromhex(value))
    check_type(name, value, bytes, str)
    length = f"{len(value)} bytes" if isinstance(value, bytes) else _shown(value)
    raise InvalidArgument(f"{name} is an id of {ID_BYTES} bytes or {2 * ID_BYTES} hex digits, not {length}")


def address_of(value: object) -> Address:
    """Return an address given as one, as host and port, or as `IP:PORT`."""
    # Nearly all are as they should be, and most have been seen before.
    if type(value) is Address and type(value.host) is str and type(value.port) is int:
        try:
            is_usual = 0 <= value.port <= 65535 and _normalized(value.host) == value.host
        except ValueError as error:
            raise InvalidArgument(str(error)) from error
        if is_usual:
            return value
    match value:
        case str():
            host, port = _host_and_port(value)
        case (str(host), int(port)) if not isinstance(port, bool):
            check_whole("port", port, 0, 65535)
        case _:
            raise InvalidArgument(f"an address is an Address or IP:PORT, not a {type(value).__name__}")
    try:
        return Address(_normalized(host), port)
    except ValueError as error:
        raise InvalidArgument(str(error)) from error


def hosts_of(name: str, hosts: Iterable[str]) -> tuple[str, ...]:
    """Return texts `HOST:PORT` of nodes that can be queried."""
    given = several(name, hosts)
    for host in given:
        if not _host_and_port(host)[1]:
            raise InvalidArgument(f"{host}: port 0 cannot be asked")
    return given


def several(name: str, values: Iterable[T]) -> tuple[T, ...]:
    """Return several values; a text or bytes alone, which would be taken apart, are refused."""
    if isinstance(values, str | bytes | bytearray) or not isinstance(values, Iterable):
        raise InvalidArgument(f"{name} are a list or another iterable, not a {type(values).__name__}")
    return tuple(values)


def path_of(name: str, value: object) -> Path:
    """Return a path given as a `Path` or a text."""
    check_type(name, value, str, Path)
    return Path(value)  # type: ignore[arg-type]  # checked above


def swarms_of(name: str, torrents: "Iterable[InfoHash | Metainfo | Path | str]") -> list[InfoHash]:
    """Return the info-hashes of several public torrents, each given as for `public_info_hash`."""
    # Not above: it reads bencode, and what only reads a command line does without.
    from dhtnode.metainfo import public_info_hash

    return [public_info_hash(torrent) for torrent in several(name, torrents)]


def check_settings(settings: object, kind: type, *, or_zero: bool = False) -> None:
    """Raise `InvalidArgument` unless settings are of a kind, all flags and numbers so too, and these above 0.

    None is above 10^12, so that it stays a number whatever is done with it.  Narrower ranges are for files
    and flags: a test may go beyond.
    """
    check_type("settings", settings, kind)
    for name, hint in get_type_hints(kind).items():
        value = getattr(settings, name)
        if hint is bool:
            check_type(name, value, bool)
        if hint in (int, float):
            check_type(name, value, *({int} if hint is int else {int, float}))
            check_positive(name, value, or_zero=or_zero)
            if value > MOST:
                raise InvalidArgument(f"{name} {_shown(value)} is above {MOST:g}")


def _host_and_port(text: str) -> tuple[str, int]:
    try:
        return split_host_port(text)
    except ValueError as error:
        raise InvalidArgument(str(error)) from error


def _shown(value: object) -> str:
    # The digits of a very long integer cannot be printed.
    shown = "of that length" if isinstance(value, int) and value.bit_length() > 128 else repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
