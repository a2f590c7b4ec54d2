"""What `dhtcrawl torrent` prints of a torrent file or magnet link."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import crawler
from crawler.cli.torrent import MOST_FILES, time_text
from dhtnode import InfoHash, Magnet, TorrentDetails
from dhtnode.escaping import escaped
from dhtnode.user_keys import hide_keys

WIDTH = 14  # of the names before the values

Record = dict[str, Any]


def describe(said: TorrentDetails | Magnet, *, lists_files: bool) -> tuple[Record, list[str]]:
    """Return what a torrent says as a record for `--json`, and in lines."""
    record = _details_record(said) if isinstance(said, TorrentDetails) else _magnet_record(said)
    lines = [escaped(record["name"]) or "(without a name)"]
    for name, value in record.items():
        if name not in {"name", "files"} and value not in (None, "", [], 0):
            lines += _lines(name, value)
    if isinstance(said, TorrentDetails):
        lines += _file_lines(said, lists_files=lists_files)
        if not lists_files:
            record["files"] = record["files"][:MOST_FILES]
    return record, lines


def known_lines(said: TorrentDetails | Magnet, db: Path) -> tuple[list[Record], list[str]]:
    """Return what a database knows of the torrent of each info-hash."""
    records: list[Record] = []
    for info_hash in _hashes_of(said):
        known = crawler.known_torrent(info_hash, db=db)
        if known is not None:
            records.append({"info_hash": info_hash.hex(), **_known_record(known)})
    lines = [line for record in records for line in _lines("known", _known_text(record))]
    return records, lines or _lines("known", "nothing: `dhtcrawl metadata` asks peers for name and size")


def _details_record(details: TorrentDetails) -> Record:
    metainfo = details.metainfo
    return {
        "name": metainfo.name,
        "version": details.version,
        "info_hash_v1": metainfo.info_hash_v1 and metainfo.info_hash_v1.hex(),
        "info_hash_v2": metainfo.info_hash_v2 and metainfo.info_hash_v2.hex(),
        "is_private": metainfo.is_private,
        "size": details.size,
        "file_count": sum(not file.is_padding for file in details.files),
        "pieces": details.pieces,
        "piece_length": details.piece_length,
        "trackers": [[hide_keys(url) for url in tier] for tier in metainfo.trackers],
        "web_seeds": [hide_keys(url) for url in metainfo.web_seeds],
        "http_seeds": [hide_keys(url) for url in metainfo.http_seeds],
        "nodes": list(metainfo.nodes),
        "comment": details.comment,
        "created_by": details.created_by,
        "created_at": None if details.created_at is None else time_text(details.created_at),
        "publisher": details.publisher,
        "source": details.source,
        "update_url": details.update_url and hide_keys(details.update_url),
        "similar": [info_hash.hex() for info_hash in details.similar],
        "collections": list(details.collections),
        "unknown_keys": details.unknown_keys,
        "marks": list(details.marks),
        "files": [
            {"path": "/".join(file.path) or metainfo.name, "size": file.size}
            for file in details.files
            if not file.is_padding
        ],
    }


def _magnet_record(magnet: Magnet) -> Record:
    return {
        "name": magnet.name,
        "info_hashes": [info_hash.hex() for info_hash in magnet.info_hashes],
        "size": magnet.size,
        "trackers": [hide_keys(url) for url in magnet.trackers],
        "web_seeds": [hide_keys(url) for url in magnet.web_seeds],
        "peers": list(magnet.peers),
        "selected": magnet.selected,
    }


def _lines(name: str, value: Any) -> list[str]:
    """Return a value with its name before it, each part of a list in a line of its own."""
    match value:
        case True:
            texts = ["yes"]
        case False:
            texts = ["no"]
        case int():
            texts = [f"{value:,}"]
        case list():
            texts = [", ".join(part) if isinstance(part, list) else str(part) for part in value]
        case _:
            texts = [str(value)]
    names = [name.replace("_", " ").removeprefix("is "), *[""] * (len(texts) - 1)]
    return [f"  {start:<{WIDTH}}{escaped(text)}" for start, text in zip(names, texts, strict=True)]


def _file_lines(details: TorrentDetails, *, lists_files: bool) -> list[str]:
    files = [file for file in details.files if not file.is_padding and file.path]
    shown = files if lists_files else files[:MOST_FILES]
    lines = [f"  {file.size:>15,}  {escaped('/'.join(file.path))}" for file in shown]
    if len(files) > len(shown):
        lines.append(f"  {'':15}  and {len(files) - len(shown):,} more (--files lists all)")
    return lines


def _known_record(known: crawler.KnownTorrent) -> Record:
    return {"is_private": known.is_private, "name": known.name, "size": known.size, "files": known.files}


def _known_text(record: Record) -> str:
    if record["is_private"]:
        return f"{record['info_hash']} is a private torrent"
    name = record["name"] or "without a name"
    return f"{record['info_hash']} {name}, {record['size']:,} bytes in {record['files']:,} files"


def _hashes_of(said: TorrentDetails | Magnet) -> tuple[InfoHash, ...]:
    return said.metainfo.info_hashes if isinstance(said, TorrentDetails) else said.info_hashes
