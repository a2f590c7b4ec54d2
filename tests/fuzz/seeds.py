"""Where fuzzing starts: the vectors of the tests, messages of our own, and the committed corpus."""

import json
from collections.abc import Iterable
from pathlib import Path
from random import Random

from dhtnode.addresses import Address, Family
from dhtnode.bencode import Value
from dhtnode.bencode import encode as encode_value
from dhtnode.ids import InfoHash, NodeId
from dhtnode.krpc.codec import encode
from dhtnode.krpc.messages import (
    AnnouncePeer,
    Error,
    FindNode,
    GetPeers,
    Message,
    Method,
    Ping,
    Query,
    Response,
)
from tests.fuzz.steps import TOKEN_MARK, TRANSACTION_MARK, Step, join

VECTORS = Path(__file__).resolve().parent.parent / "vectors"
CORPUS = Path(__file__).resolve().parent / "corpus"

SWARM = InfoHash(b"mnopqrstuvwxyz123456")  # that of the vectors
ASKER_ID = NodeId(b"abcdefghij0123456789")
ANSWERER_ID = NodeId(b"0123456789abcdefghij")


def packets() -> list[bytes]:
    """Return the datagrams of all vectors and some messages that these lack, each once."""
    found = [
        bytes.fromhex(entry["hex"])
        for name in ("bep05_krpc", "bep32_krpc", "bep44_items", "krpc_malformed")
        for entry in _entries(name)
    ]
    return list(dict.fromkeys([*found, *map(encode, _messages())]))


def values() -> list[bytes]:
    """Return the inputs for a reader of bencode that is no reader of messages, and the datagrams."""
    return [*(bytes.fromhex(entry["hex"]) for entry in _entries("bencode")), *packets()]


def torrents() -> list[bytes]:
    """Return small torrent files of every version, public and private, one file or many."""
    v1: dict[bytes, Value] = {b"length": 5, b"name": b"a", b"piece length": 16384, b"pieces": b"p" * 20}
    file: Value = {b"": {b"length": 5, b"pieces root": b"r" * 32}}
    v2: dict[bytes, Value] = {
        b"file tree": {b"a": file},
        b"meta version": 2,
        b"name": b"a",
        b"piece length": 16384,
    }
    several: Value = [{b"length": 2, b"path": [b"d", b"f"]}, {b"length": 3, b"path": [b"g"]}]
    nodes: Value = [[b"127.0.0.1", 6881], [b"dht.example", 1], [b"::1", 65535]]
    infos = [v1, v2, v1 | v2, v1 | {b"private": 1}, {**v1, b"files": several, b"private": 0}]
    infos.append({b"name": b"a", b"piece length": 1, b"root hash": b"r" * 20})
    plain: list[dict[bytes, Value]] = [{b"info": info} for info in infos]
    with_nodes: list[dict[bytes, Value]] = [{b"nodes": nodes, **each} for each in plain]
    return list(map(encode_value, plain + with_nodes))


def talks() -> list[bytes]:
    """Return what peers send after their handshake: pieces, extended handshakes, metadata, other peers."""
    numbers: dict[bytes, Value] = {b"lt_donthave": 7, b"lt_tex": 5, b"ut_holepunch": 4}
    numbers |= {b"ut_metadata": 3, b"ut_pex": 1}
    offer: dict[bytes, Value] = {
        b"m": numbers,
        b"metadata_size": 5,
        b"reqq": 9,
        b"tr": b"t" * 20,
        b"upload_only": 1,
        b"v": b"LT",
    }
    part: dict[bytes, Value] = {b"msg_type": 1, b"piece": 0, b"total_size": 5}
    others: dict[bytes, Value] = {
        b"added": b"\x2d\0\0\x01\x1a\xe1",
        b"added.f": b"\x12",
        b"added6": bytes(17) + b"\x01",
    }
    urls: Value = [b"udp://a.example:6969/announce", b"HTTP://b.example/a?passkey=x", b"wss://c.example", 1]
    trackers: dict[bytes, Value] = {b"added": urls}
    extended = [
        frame(20, b"\0" + encode_value(offer)),
        frame(20, b"\x01" + encode_value(part) + b"12345"),
        frame(20, b"\x02" + encode_value(others)),
        frame(20, b"\x03" + encode_value(trackers)),
        frame(20, b"\x07\0\0\0\x02"),
    ]
    words = [frame(14), frame(15), frame(5, b"\xff\xe0"), frame(4, b"\0\0\0\x02"), frame(1), bytes(4)]
    return [*words, *extended, *(word + b"".join(extended) for word in words)]


def frame(kind: int, payload: bytes = b"") -> bytes:
    """Return a message between peers."""
    return (1 + len(payload)).to_bytes(4) + bytes((kind,)) + payload


def stories() -> list[bytes]:
    """Return inputs of one step each, with our transaction ids and tokens in place of their own."""
    return [join([Step(number & 1, 0, 0, _marked(packet))]) for number, packet in enumerate(packets())]


def scrapes() -> list[bytes]:
    """Return inputs of several steps each: what nodes near one swarm may answer to a scrape."""
    random = Random(3)
    thin = bytes(byte & random.getrandbits(8) for byte in random.randbytes(256))
    found = []
    for packed in (bytes(256), bytes(255) + b"\1", thin, random.randbytes(256), b"\xff" * 256):
        named = [tuple(random.randbytes(6) for _ in range(4 * number)) for number in range(4)]
        replies = [Response(b"aa", ASKER_ID, values=values or None, seeds_filter=packed) for values in named]
        replies += [Response(b"aa", ASKER_ID, values=named[2]), Response(b"aa", ASKER_ID, peers_filter=thin)]
        found.append(join(Step(0, number, 9, encode(reply)) for number, reply in enumerate(replies)))
    return found + stories()


def moves() -> list[bytes]:
    """Return inputs of a few moves each, see `targets.meaning`: every kind of them, in any order."""
    random = Random(7)
    return [random.randbytes(8 * length) for length in (1, 2, 4, 8, 16) for _ in range(8)]


def tracker_packets() -> list[bytes]:
    """Return packets of UDP trackers, each behind the byte that says what was asked."""
    content = json.loads((VECTORS / "bep15_udp_tracker.json").read_text(encoding="utf-8"))
    found = [bytes.fromhex(entry["hex"]) for entry in content["packets"]]
    rows = b"".join(number.to_bytes(4, "big") for number in range(9))
    found += [bytes((0, 0, 0, 2)) + b"trid" + rows, bytes((0, 0, 0, 1)) + b"trid" + rows, b"\0\0\0\1trid"]
    found += [
        bytes((0, 0, 0, 3)) + b"trid" + text for text in (b"no\0x", b"Connection ID", b"\x1b[31m\n" * 60)
    ]
    return [bytes((number,)) + packet for packet in found for number in (0, 1, 2, 3, 9, 69)]


def tracker_answers() -> list[bytes]:
    """Return answers of HTTP trackers: those of the vectors, and scrapes."""
    content = json.loads((VECTORS / "tracker_http.json").read_text(encoding="utf-8"))
    found = [bytes.fromhex(entry["hex"]) for entry in content["responses"]]
    row: Value = {b"complete": 1, b"downloaded": 3, b"incomplete": 2, b"downloaders": 1}
    files: Value = {bytes((number,)) * 20: row for number in range(3)} | {"\xe9".encode() * 20: row}
    found += [
        encode_value({b"files": files}),
        encode_value({b"host": files, b"flags": {b"min_request_interval": 9}}),
    ]
    failure: dict[bytes, Value] = {b"failure reason": b"no", b"retry in": b"never", b"interval": 60}
    return [*found, encode_value(failure), encode_value(failure | {b"retry in": 5})]


def full_scrapes() -> list[bytes]:
    """Return answers of HTTP trackers with all that they have, each behind the length of its parts."""
    return [bytes((size,)) + answer for answer in tracker_answers() for size in (0, 6, 255)]


def tracker_texts() -> list[bytes]:
    """Return records, URLs, names and links, each behind the byte of its kind."""
    kinds = (
        (
            b"BITTORRENT UDP:1337 TCP:80",
            b"v=spf1\nBITTORRENT DENY ALL\nBITTORRENT UDP:1\0TCP:2",
            b'"BITTORRENT"',
        ),
        (
            b"udp://a.example:6969/announce",
            b"https://[2001:db8::1]:443/a/0123456789abcdef0123456789abcdef/announce?passkey=abc",
            "http://u:p@bücher.example/%zz ö".encode(),
            b"wss://x.i2p/announce",
        ),
        (b"adsl-69-107-0-14.dsl.pltn13.pacbell.net", b"a.b.co.uk", b"a.fr."),
        (
            b"xt=urn:btih:" + b"ab" * 20 + b"&dn=x&tr=http%3A%2F%2Fa%2Fannounce&x.pe=1.2.3.4:5&ws=http://w/",
            b"xt.1=urn:btmh:1220" + b"cd" * 32 + b"&amp;tr.1=udp://b:1",
        ),
    )
    return [bytes((number,)) + text for number, texts in enumerate(kinds) for text in texts]


def read_corpus(directory: Path, target: str) -> list[bytes]:
    """Return the inputs kept for a target, one line of hex digits each; none when there is no file."""
    path = directory / f"{target}.txt"
    if not path.is_file():
        return []
    return [bytes.fromhex(line) for line in path.read_text(encoding="ascii").splitlines()]


def write_corpus(directory: Path, target: str, inputs: Iterable[bytes]) -> None:
    """Keep inputs for a target, the shortest first, so that a change shows as few lines."""
    directory.mkdir(parents=True, exist_ok=True)
    lines = sorted((data.hex() for data in inputs), key=lambda line: (len(line), line))
    (directory / f"{target}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="ascii")


def _entries(name: str) -> list[dict[str, str]]:
    content = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    entries: list[dict[str, str]] = content.get("vectors") or content.get("messages") or content["cases"]
    return entries


def _marked(packet: bytes) -> bytes:
    if b"1:y1:r" in packet or b"1:y1:e" in packet:
        packet = packet.replace(b"1:t2:aa", b"1:t4:" + TRANSACTION_MARK)
    return packet.replace(b"8:aoeusnth", b"8:" + TOKEN_MARK)


def _messages() -> list[Message]:
    """Return what the vectors lack: scrapes, both families at once, everything in one response."""
    both = frozenset(Family)
    methods: list[Method] = [
        Ping(),
        FindNode(NodeId(SWARM), both),
        GetPeers(SWARM),
        GetPeers(SWARM, both, noseed=True, scrape=True),
        GetPeers(SWARM, frozenset({Family.IPV6}), noseed=True),
        AnnouncePeer(SWARM, 6881, b"aoeusnth", seed=True),
        AnnouncePeer(SWARM, 0, b"aoeusnth", implied_port=True),
    ]
    queries = [Query(b"aa", ASKER_ID, method) for method in methods]
    nodes = b"".join(bytes([number]) * 20 + bytes((21, number, 7, 1, 26, 225)) for number in range(1, 17))
    nodes6 = b"".join(
        bytes([number]) * 20 + bytes((42, 0, number)) + bytes(12) + b"\x01\x1a\xe1" for number in range(1, 9)
    )
    return [
        *queries,
        Query(b"t" * 64, ASKER_ID, GetPeers(SWARM, scrape=True), version=b"v" * 32, read_only=True),
        Response(b"aa", ASKER_ID, nodes, nodes6, (nodes[20:26], nodes[46:52]), b"aoeusnth"),
        Response(b"aa", ASKER_ID, nodes[:26], seeds_filter=b"\x11" * 256, peers_filter=bytes(256)),
        Response(b"aa", ASKER_ID, external_address=Address("21.1.1.1", 6881), version=b"LT\x02\x00"),
        Response(b"aa", ASKER_ID, nodes6=nodes6, values=(nodes6[20:38],)),
        Error(b"aa", 203, "Bad token", Address("2a00::7", 6881), b"UT"),
    ]
