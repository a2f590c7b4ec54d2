"""The commands about what nodes keep: items (BEP 44), `get` and `put`, and info-hashes (BEP 51), `sample`."""

from __future__ import annotations

import os
from pathlib import Path

import click

import dhtnode
from dhtnode.cli import console
from dhtnode.cli.ask import Show, asking, query_network
from dhtnode.cli.console import NetworkOptions, network_options
from dhtnode.errors import DhtError, InvalidInfoHash, NotJoined
from dhtnode.files import read_file, text_of, write_new
from dhtnode.lines import say
from dhtnode.magnet import is_magnet

TARGET_DIGITS = 40
PUBLIC_KEY_DIGITS = 64
MAX_KEY_FILE = 1000  # bytes; one with a key has 65 or 129

SALT_OPTION = click.option("--salt", default="", metavar="TEXT", help="Salt of a mutable item.")


@click.command()
@click.argument("target")
@SALT_OPTION
@network_options(30.0)
def get(target: str, salt: str, network: NetworkOptions) -> None:
    """Print the item that is kept under a target, of 40 hex digits, or under a public key, of 64.

    Of a magnet link to a torrent that changes (`magnet:?xs=urn:btpk:...`, BEP 46), print the
    info-hash of the torrent that it points to now.
    """
    is_link = is_magnet(target)
    wanted, salt_bytes = _linked(target, salt) if is_link else (_target(target, salt), os.fsencode(salt))

    async def look_up(node: dhtnode.Node, show: Show) -> None:
        found = await node.get_item(wanted, salt=salt_bytes)
        if found.item is None:
            none = f"none of {found.nodes_answered} nodes keeps {wanted.hex()}"
            raise NotJoined(none + _unread(found, salt))
        text = _info_hash_of(found.item) if is_link else _text_of(found.item)
        if text is None:
            raise DhtError(f"what is kept under {wanted.hex()} points to no torrent")
        show(_found_record(found), text)

    query_network(look_up, network)


def _unread(found: dhtnode.FoundItem, salt: str) -> str:
    """Return what to add about nodes that keep something else."""
    forged = f", and {found.forged} sent a forged one" if found.forged else ""
    if not found.other_salt:
        return forged
    which = "another salt" if salt else "a salt"
    return f"{forged}; {found.other_salt} keep an item that was put with {which}: give it with --salt"


@click.command()
@click.argument("value")
@click.option(
    "--key",
    "key_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Put a mutable item, signed with the key in this file; made with a new key when it is not there.",
)
@SALT_OPTION
@click.option(
    "--seq",
    type=click.IntRange(0, 2**63 - 1),
    metavar="N",
    help="Number of this version; the next one, looked up, if not given.",
)
@click.option(
    "--cas",
    type=click.IntRange(0, 2**63 - 1),
    metavar="N",
    help="Replace nothing but the version with this number.",
)
@network_options(30.0)
def put(
    value: str,
    key_file: Path | None,
    salt: str,
    seq: int | None,
    cas: int | None,
    network: NetworkOptions,
) -> None:
    """Put a text to the closest nodes, under its hash, or under a key as something that can change."""
    if key_file is None and (salt or seq is not None or cas is not None):
        raise click.UsageError("--salt, --seq and --cas are for mutable items: give --key too")
    key = None if key_file is None else _read_key(key_file)

    texts = os.fsencode(value), os.fsencode(salt)
    query_network(lambda node, show: _put(node, show, key, *texts, seq, cas), network)


async def _put(
    node: dhtnode.Node,
    show: Show,
    key: bytes | None,
    value: bytes,
    salt: bytes,
    seq: int | None,
    cas: int | None,
) -> None:
    """Put a text; signed without a `seq`, under the one after that which is there, and only in its place."""
    item: dhtnode.Item
    if key is None:
        item = dhtnode.ImmutableItem.of(value)
    else:
        if seq is None:
            found = await node.get_item(dhtnode.mutable_target(dhtnode.public_key_of(key), salt), salt=salt)
            known = found.item.seq if isinstance(found.item, dhtnode.MutableItem) else None
            seq = 1 if known is None else known + 1
            cas = known if cas is None else cas
        item = dhtnode.MutableItem.sign(key, value, seq=seq, salt=salt)
    stored = await node.put_item(item, cas=cas)
    _check_stored(stored)
    show(_stored_record(stored), _stored_text(stored))


def _linked(link: str, salt: str) -> tuple[dhtnode.Target, bytes]:
    """Return the target of a magnet link with a key, and its salt."""
    if salt:
        raise click.UsageError("--salt is not for magnet links, which hold their own (s=...)")
    try:
        public_key, linked_salt = dhtnode.parse_mutable_link(link)
    except InvalidInfoHash as error:
        raise click.BadParameter(str(error)) from error
    return dhtnode.mutable_target(public_key, linked_salt), linked_salt


def _target(text: str, salt: str) -> dhtnode.Target:
    try:
        read = bytes.fromhex(text)
    except ValueError:
        read = b""
    if len(read) * 2 == len(text) == TARGET_DIGITS:
        return dhtnode.Target(read)
    if len(read) * 2 == len(text) == PUBLIC_KEY_DIGITS:
        return dhtnode.mutable_target(read, os.fsencode(salt))
    raise click.BadParameter(
        f"{text[:80]!r} is neither a target of 40 hex digits nor a public key of 64, nor a magnet link"
    )


def _read_key(path: Path) -> bytes:
    """Return the key in a file of 64 or 128 hex digits; make the file, for its owner only, if need be."""
    try:
        key = bytes.fromhex(text_of(read_file(path, MAX_KEY_FILE)))
    except FileNotFoundError:
        return _make_key(path)
    except OSError as error:
        raise click.UsageError(f"cannot read {path}: {error.strerror}") from error
    except ValueError:
        key = b""
    if len(key) not in (32, 64):
        raise click.UsageError(f"{path} holds no key: 64 or 128 hex digits")
    return key


def _make_key(path: Path) -> bytes:
    key = os.urandom(32)
    try:
        write_new(path, f"{key.hex()}\n".encode())
    except OSError as error:
        raise click.UsageError(f"cannot make {path}: {error.strerror}") from error
    say(f"{path}: a new key")
    return key


def _check_stored(stored: dhtnode.StoredItem) -> None:
    """Raise `DhtError` when no node keeps the item now, and warn when some keep another version."""
    seq = getattr(stored.current, "seq", None)
    conflict = f"{stored.conflicts} nodes keep another version" + (f", number {seq}" if seq else "")
    if stored.stored_at:
        if stored.conflicts:
            say(f"dhtnode: warning: {conflict}")
        return
    if stored.conflicts:
        raise DhtError(conflict)
    raise NotJoined(f"none of {stored.not_taken} nodes took the item")


def _found_record(found: dhtnode.FoundItem) -> dict[str, object]:
    item = found.item
    assert item is not None  # noqa: S101  for mypy
    return {
        "target": found.target.hex(),
        "value": _text_of(item),
        "bencoded": item.value.hex(),
        **_mutable_record(item),
        "info_hash": _info_hash_of(item),
        "copies": found.copies,
        "nodes_answered": found.nodes_answered,
    }


def _stored_record(stored: dhtnode.StoredItem) -> dict[str, object]:
    return {
        "target": stored.target.hex(),
        **_mutable_record(stored.item),
        "stored_at": len(stored.stored_at),
        "conflicts": stored.conflicts,
        "not_taken": stored.not_taken,
    }


def _stored_text(stored: dhtnode.StoredItem) -> str:
    fields = _mutable_record(stored.item)
    version = f" number {fields['seq']} under {fields['public_key']}" if fields["public_key"] else ""
    return f"{stored.target.hex()}{version} stored at {len(stored.stored_at)} nodes"


def _info_hash_of(item: dhtnode.Item) -> str | None:
    """Return the info-hash of the torrent that an item points to, if it does (BEP 46)."""
    info_hash = item.info_hash() if isinstance(item, dhtnode.MutableItem) else None
    return None if info_hash is None else info_hash.hex()


def _mutable_record(item: dhtnode.Item) -> dict[str, object]:
    public_key: bytes | None = getattr(item, "public_key", None)
    return {"public_key": public_key and public_key.hex(), "seq": getattr(item, "seq", None)}


def _text_of(item: dhtnode.Item) -> str:
    """Return the value as text, or as Python shows it when it is none."""
    value = item.decoded()
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            pass
    return repr(value)


@click.command()
@click.argument("host_port", type=console.host_port, metavar="HOST:PORT")
@asking(10.0)
async def sample(node: dhtnode.Node, show: Show, host_port: str) -> None:
    """Ask one node for some of the info-hashes that it holds peers for (BEP 51)."""
    found = await node.sample_infohashes(await node.resolve(host_port))
    info_hashes = [info_hash.hex() for info_hash in found.info_hashes]
    record = {
        "address": str(found.node.address),
        "node_id": found.node.node_id.hex(),
        "num": found.num,
        "interval": found.interval,
        "info_hashes": info_hashes,
    }
    show(record, _describe_sample(found), *info_hashes)


def _describe_sample(found: dhtnode.InfohashSample) -> str:
    total = "an unknown number" if found.num is None else str(found.num)
    again = "" if found.interval is None else f"; others in {found.interval} s"
    return f"{found.node.address} shows {len(found.info_hashes)} of {total} info-hashes{again}"
