"""What is said between peers: frames, handshakes, pieces, metadata, and a whole conversation of bytes."""

from functools import partial
from hashlib import sha1 as _sha1
from hashlib import sha256
from itertools import cycle
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.db.records.torrents import PeerKind, PeerReport, PiecesHeld
from crawler.torrents.peerwire.assembly import (
    AT_ONCE,
    MAX_METADATA_BYTES,
    MOST_AT_ONCE,
    MOST_PATIENCE,
    PATIENCE,
    Assembly,
)
from crawler.torrents.peerwire.conversation import TALK_BYTES, Conversation
from crawler.torrents.peerwire.extension import (
    PART_BYTES,
    ExtendedHandshake,
    MetadataKind,
    MetadataMessage,
    encode_extended_handshake,
    encode_metadata_request,
    read_extended_handshake_untrusted,
    read_metadata_message_untrusted,
)
from crawler.torrents.peerwire.frames import (
    MAX_FRAME_BYTES,
    BadPeer,
    Frame,
    FrameKind,
    FrameReader,
    encode_frame,
)
from crawler.torrents.peerwire.handshake import (
    HANDSHAKE_BYTES,
    Handshake,
    client_letters,
    encode_handshake,
    new_peer_id,
    read_handshake_untrusted,
)
from crawler.torrents.peerwire.pieces import MAX_PIECES, PieceMap
from dhtnode import InfoHash
from dhtnode.bencode import decode_untrusted, encode

sha1 = partial(_sha1, usedforsecurity=False)

INFO_HASH = InfoHash(b"h" * 20)
PEER_ID = b"-LT2110-" + b"p" * 12
OUR_ID = new_peer_id(Random(1))
SEED, LEECHER, UNKNOWN = PeerKind

frames = st.lists(
    st.just(Frame(None))
    | st.builds(Frame, st.integers(0, 255), st.binary(max_size=40) | st.just(b"x" * 5000)),
    max_size=8,
)


def on_wire(frame):
    return bytes(4) if frame.kind is None else encode_frame(frame.kind, frame.payload)


def read_all(reader):
    return list(iter(reader.next_untrusted, None))


@given(frames, st.lists(st.integers(1, 700), min_size=1, max_size=5))
def test_frames_come_out_as_they_went_in_however_they_are_cut(sent, sizes):
    stream = b"".join(map(on_wire, sent))
    reader = FrameReader()
    read = []
    for size in cycle(sizes):
        reader.feed(stream[:size])
        read += read_all(reader)
        stream = stream[size:]
        if not stream:
            break
    assert read == sent


@given(st.binary(max_size=400))
def test_any_bytes_are_frames_or_refused(data):
    reader = FrameReader()
    reader.feed(data)
    try:
        read = read_all(reader)
    except BadPeer:
        return
    assert data.startswith(b"".join(map(on_wire, read)))


def test_length_beyond_the_limit_is_refused_at_once():
    longest, longer = FrameReader(), FrameReader()
    longest.feed(MAX_FRAME_BYTES.to_bytes(4))
    longer.feed((MAX_FRAME_BYTES + 1).to_bytes(4))
    assert longest.next_untrusted() is None
    with pytest.raises(BadPeer, match="too long"):
        longer.next_untrusted()


@given(st.booleans(), st.booleans(), st.binary(min_size=20, max_size=20), st.binary(max_size=9))
def test_handshake_comes_back(has_extensions, has_fast, peer_id, rest):
    handshake = Handshake(INFO_HASH, peer_id, has_extensions, has_fast)
    data = encode_handshake(handshake)
    assert len(data) == HANDSHAKE_BYTES
    assert read_handshake_untrusted(data + rest) == handshake
    assert read_handshake_untrusted(data[:-1]) is None


def test_handshake_has_the_bits_of_the_beps():
    """BEP 10: byte 5 has 0x10; BEP 6: byte 7 has 0x04."""
    data = encode_handshake(Handshake(INFO_HASH, PEER_ID))
    assert data == b"\x13BitTorrent protocol" + bytes.fromhex("0000000000100004") + INFO_HASH + PEER_ID


@pytest.mark.parametrize("data", [b"HTTP/1.1 400", b"\x13BitTorrent proXocol", b"\0", b"SSH-2.0"])
def test_other_protocols_are_left_at_the_first_wrong_byte(data):
    with pytest.raises(BadPeer):
        read_handshake_untrusted(data)


@pytest.mark.parametrize(
    ("peer_id", "name", "letters"),
    [
        (PEER_ID, None, "LT"),
        (b"-qB4500-" + bytes(12), "libtorrent", "qB"),
        (b"M7-9-2--" + bytes(12), "Mainline", "Ma"),
        (b"A2-1-36-0-" + bytes(10), None, "A2"),
        (bytes(20), "aria2/1.36.0", "A2"),
        (b"-UT355S1" + bytes(12), "\N{MICRO SIGN}Torrent 3.5.5", "UT"),
        (bytes(20), "LTorrent 0.1", "unknown"),
        (bytes(20), None, "unknown"),
        (b"", "", "unknown"),
        (b"-\xb5T3550-" + bytes(12), "\N{MICRO SIGN}T 3.5.5", "unknown"),
        (b"-L\n2110-" + bytes(12), "x", "unknown"),
        (b"-LT2110+" + bytes(12), "a\nb", "unknown"),
    ],
)
def test_client_is_two_letters_or_unknown(peer_id, name, letters):
    """What is forged or broken is no third kind of text."""
    assert client_letters(peer_id, name) == letters


def pieces_of(*words):
    told = PieceMap()
    for take, payload in words:
        getattr(told, f"record_{take}_untrusted")(payload)
    return told


def have(index):
    return "have", index.to_bytes(4)


@pytest.mark.parametrize(
    ("words", "pieces", "holding"),
    [
        ([], 10, (UNKNOWN, None, 10)),
        ([], None, (UNKNOWN, None, None)),
        ([("all", b"")], 10, (SEED, 10, 10)),
        ([("all", b"")], None, (SEED, None, None)),
        ([("none", b"")], 10, (LEECHER, 0, 10)),
        ([("none", b"")], None, (LEECHER, 0, None)),
        ([("bitfield", b"\xff\xc0")], 10, (SEED, 10, 10)),
        ([("bitfield", b"\xff\x80")], 10, (LEECHER, 9, 10)),
        ([("bitfield", b"\xff\x80"), have(9)], 10, (SEED, 10, 10)),
        ([("bitfield", b"\0\0")], 10, (LEECHER, 0, 10)),
        ([("bitfield", b"\xff\xe0")], 10, (UNKNOWN, None, 10)),  # a spare bit is set
        ([("bitfield", b"\xff\xff")], 20, (UNKNOWN, None, 20)),  # too short
        ([("bitfield", b"\xff\xff\xff")], 10, (UNKNOWN, None, 10)),  # too long
        ([("bitfield", b"\xff\xff")], None, (SEED, 16, None)),  # no spare bits, so no doubt
        ([("bitfield", b"\xff\x80")], None, (UNKNOWN, 9, None)),  # 9 pieces, or up to 16
        ([("bitfield", b"\xff\x00")], None, (LEECHER, 8, None)),  # there are 9 at least
        ([("bitfield", b"\xfe\xff")], None, (LEECHER, 15, None)),
        ([("none", b""), have(0), have(1)], 2, (SEED, 2, 2)),
        ([("none", b""), have(0), have(1)], None, (UNKNOWN, 2, None)),
        ([("none", b""), have(1)], None, (LEECHER, 1, None)),
        ([have(7)], 9, (LEECHER, 1, 9)),
        ([have(9)], 9, (UNKNOWN, None, 9)),  # there is no such piece
        ([("all", b""), have(3)], 10, (SEED, 10, 10)),
    ],
)
def test_seeds_are_told_from_leechers(words, pieces, holding):
    assert pieces_of(*words).holding(pieces) == PiecesHeld(*holding)


@given(st.integers(1, 70).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1)))), st.data())
def test_bitfield_with_haves_counts_what_a_set_counts(torrent, data):
    pieces, owned = torrent
    early = {index for index in owned if data.draw(st.booleans())}
    bits = "".join("1" if index in early else "0" for index in range(pieces)).ljust(-(-pieces // 8) * 8, "0")
    bitfield = int(bits, 2).to_bytes(len(bits) // 8)
    told = pieces_of(("bitfield", bitfield), *map(have, owned - early))
    assert told.holding(pieces) == (SEED if len(owned) == pieces else LEECHER, len(owned), pieces)
    if told.holding(None).kind is not UNKNOWN:
        assert told.holding(None).kind is told.holding(pieces).kind


@pytest.mark.parametrize(
    "words",
    [
        [("bitfield", b"")],
        [("bitfield", bytes(MAX_PIECES // 8 + 1))],
        [("bitfield", b"\xff"), ("bitfield", b"\xff")],
        [("all", b""), ("none", b"")],
        [have(1), ("bitfield", b"\xff")],
        [("all", b"x")],
        [("none", b"x")],
        [("have", b"123")],
        [("bitfield", b"\xff"), have(8)],
        [have(MAX_PIECES)],
    ],
)
def test_impossible_words_about_pieces_are_refused(words):
    with pytest.raises(BadPeer):
        pieces_of(*words)


def test_pieces_named_one_by_one_are_bounded():
    told = pieces_of(have(MAX_PIECES - 1))
    assert len(told._bits) == MAX_PIECES // 8


def test_extended_handshake_is_read():
    payload = encode(
        {b"m": {b"ut_metadata": 3, b"ut_pex": 1}, b"metadata_size": 31235, b"upload_only": 1}
        | {b"v": b"libtorrent/2.1.1", b"reqq": 500, b"p": 6881}
    )
    assert read_extended_handshake_untrusted(payload, ExtendedHandshake()) == ExtendedHandshake(
        3, 31235, True, "libtorrent/2.1.1", 500, frozenset({"ut_pex"})
    )


def test_extended_handshakes_add_up():
    """A later one changes what it names only (BEP 10)."""
    first = ExtendedHandshake(3, 100, True, "x", 5)
    assert read_extended_handshake_untrusted(b"d1:mdee", first) == first
    assert read_extended_handshake_untrusted(
        encode({b"m": {b"ut_metadata": 0}, b"upload_only": 0}), first
    ) == ExtendedHandshake(0, 100, False, "x", 5)


@pytest.mark.parametrize(
    "entries",
    [
        {b"m": 3, b"metadata_size": b"1", b"v": 7, b"reqq": -1, b"upload_only": b"1"},
        {b"m": {b"ut_metadata": 256}, b"metadata_size": -5},
        {b"m": {b"ut_metadata": -1}, b"metadata_size": 0},
        {b"m": {b"ut_metadata": b"3"}},
    ],
)
def test_wrong_types_in_an_extended_handshake_say_nothing(entries):
    assert read_extended_handshake_untrusted(encode(entries), ExtendedHandshake()) == ExtendedHandshake()


def test_name_of_a_client_is_cut():
    known = read_extended_handshake_untrusted(encode({b"v": b"\xff" * 5000}), ExtendedHandshake())
    assert known.client == "\N{REPLACEMENT CHARACTER}" * 64


@pytest.mark.parametrize("payload", [b"", b"i1e", b"le", b"d", b"d1:a", b"x" * 20_000, b"l" * 9000])
def test_extended_message_that_is_no_dictionary_is_refused(payload):
    for read in (
        lambda: read_extended_handshake_untrusted(payload, ExtendedHandshake()),
        lambda: read_metadata_message_untrusted(payload),
    ):
        with pytest.raises(BadPeer):
            read()


def test_metadata_messages_are_those_of_bep_9():
    """The examples of the BEP."""
    assert encode_metadata_request(3, 0) == b"\x00\x00\x00\x1b\x14\x03d8:msg_typei0e5:piecei0ee"
    assert read_metadata_message_untrusted(
        b"d8:msg_typei1e5:piecei0e10:total_sizei34256eexxxxxxxx"
    ) == MetadataMessage(MetadataKind.DATA, 0, 34256, b"xxxxxxxx")
    assert read_metadata_message_untrusted(b"d8:msg_typei2e5:piecei0ee") == MetadataMessage(2, 0)


@pytest.mark.parametrize(
    "payload", [b"de", b"d8:msg_typei1ee", b"d5:piecei0ee", b"d8:msg_typei1e5:piecei-1ee"]
)
def test_metadata_message_without_a_type_or_piece_is_refused(payload):
    with pytest.raises(BadPeer):
        read_metadata_message_untrusted(payload)


def parts_of(metadata):
    return [metadata[at : at + PART_BYTES] for at in range(0, len(metadata), PART_BYTES)]


@pytest.mark.parametrize("size", [1, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 10 * PART_BYTES + 7])
@pytest.mark.parametrize("version", [1, 2])
def test_metadata_is_put_together_and_checked(size, version):
    metadata = Random(size).randbytes(size)
    hashed = sha1(metadata) if version == 1 else sha256(metadata)
    assembly = Assembly(InfoHash(hashed.digest()[:20]), size)
    while requests := assembly.next_requests():
        assert len(requests) <= AT_ONCE
        assert assembly.next_requests() == []
        for part in reversed(requests):
            assembly.record(MetadataMessage(MetadataKind.DATA, part, size, parts_of(metadata)[part]))
    assert assembly.is_complete
    assert assembly.verified() == metadata


def test_metadata_with_another_hash_is_refused():
    assembly = Assembly(INFO_HASH, 5)
    assembly.next_requests()
    assembly.record(MetadataMessage(MetadataKind.DATA, 0, None, b"12345"))
    with pytest.raises(BadPeer, match="another hash"):
        assembly.verified()


@pytest.mark.parametrize(
    "message",
    [
        MetadataMessage(MetadataKind.DATA, 0, 5, b"1234"),
        MetadataMessage(MetadataKind.DATA, 0, 5, b"123456"),
        MetadataMessage(MetadataKind.DATA, 0, 5, b""),
    ],
)
def test_wrong_part_is_refused(message):
    assembly = Assembly(INFO_HASH, 5)
    assembly.next_requests()
    with pytest.raises(BadPeer):
        assembly.record(message)


@pytest.mark.parametrize("total", [None, 0, 4, 6, 10**19])
def test_sins_that_the_hash_makes_good_are_borne(total):
    """A part that was not asked for, or that there is not, and a size that is another one."""
    assembly = Assembly(InfoHash(sha1(b"12345").digest()), 5)
    assembly.record(MetadataMessage(MetadataKind.DATA, 0, 5, b"early"))
    assembly.next_requests()
    assembly.record(MetadataMessage(MetadataKind.DATA, 1, 5, b"12345"))
    assembly.record(MetadataMessage(MetadataKind.DATA, 0, total, b"12345"))
    assembly.record(MetadataMessage(MetadataKind.DATA, 0, total, b"again"))
    assert assembly.verified() == b"12345"


def introduced(*frames, has_extensions=True, has_fast=True):
    """Return a conversation in which the peer has said hello and these messages, and our answer."""
    conversation = Conversation(INFO_HASH, OUR_ID)
    hello = encode_handshake(Handshake(INFO_HASH, PEER_ID, has_extensions, has_fast))
    answer = conversation.receive_untrusted(hello + b"".join(frames))
    return conversation, answer


def extended(number, entries, rest=b""):
    return encode_frame(FrameKind.EXTENDED, bytes((number,)) + encode(entries) + rest)


def offer(size):
    return extended(0, {b"m": {b"ut_metadata": 7}, b"metadata_size": size})


ALL, NONE = encode_frame(FrameKind.HAVE_ALL), encode_frame(FrameKind.HAVE_NONE)


@pytest.mark.parametrize(
    ("has_extensions", "has_fast", "answer"),
    [
        (True, True, NONE + encode_extended_handshake()),
        (True, False, encode_extended_handshake()),
        (False, True, NONE),
        (False, False, b""),
    ],
)
def test_answer_to_a_handshake_has_what_the_peer_understands(has_extensions, has_fast, answer):
    """That we have nothing (BEP 6), and that we know BEP 9 (BEP 10)."""
    assert introduced(has_extensions=has_extensions, has_fast=has_fast)[1] == answer


def test_conversation_settles_when_pieces_and_extensions_are_told():
    settled = [
        introduced(*frames, has_extensions=has_extensions)[0].is_introduction_complete
        for frames, has_extensions in [
            ((), True),
            ((ALL,), True),
            ((offer(5),), True),
            ((ALL, offer(5)), True),
            ((ALL,), False),
            ((), False),
            ((extended(0, {b"m": {b"ut_metadata": 7}}),), True),  # has nothing but a magnet link
        ]
    ]

    assert settled == [False, False, False, True, True, False, True]


def test_report_says_what_the_peer_said():
    seed, _ = introduced(ALL, extended(0, {b"upload_only": 1}))
    leecher, _ = introduced(encode_frame(FrameKind.BITFIELD, b"\xa0"), extended(0, {}))
    starting, _ = introduced(extended(0, {b"m": {b"ut_metadata": 7}}))
    silent, _ = introduced()
    assert seed.report(3) == PeerReport(PiecesHeld(SEED, 3, 3), True, "LT")
    assert leecher.report(3) == PeerReport(PiecesHeld(LEECHER, 2, 3), False, "LT")
    assert starting.report(3) == PeerReport(PiecesHeld(LEECHER, 0, 3), False, "LT")
    assert silent.report(3) == PeerReport(PiecesHeld(UNKNOWN, None, 3), False, "LT")


def piece(index):
    return encode_frame(FrameKind.HAVE, index.to_bytes(4))


UNCHOKE = encode_frame(FrameKind.UNCHOKE)
LOSS = encode_frame(FrameKind.EXTENDED, b"\x07" + (2).to_bytes(4, "big"))


def test_our_handshakes_name_no_port():
    """A peer that is told of one hands us out as a peer (BEP 10, BEP 11)."""
    entries = decode_untrusted(encode_extended_handshake()[6:]).value
    assert entries == {b"m": {b"lt_donthave": 7, b"lt_tex": 3, b"ut_metadata": 1}}


def test_pieces_that_a_peer_has_no_more_are_taken_off():
    seed, _ = introduced(ALL, LOSS)
    again, _ = introduced(ALL, LOSS, piece(2))
    leecher, _ = introduced(encode_frame(FrameKind.BITFIELD, b"\xe0"), LOSS)
    assert seed.report(3).holding == PiecesHeld(LEECHER, 2, 3)
    assert not seed.is_seed
    assert again.report(3).holding == PiecesHeld(SEED, 3, 3)
    assert leecher.report(3).holding == PiecesHeld(LEECHER, 2, 3)
    for wrong in (b"\x07abc", b"\x07" + b"\xff" * 4):
        with pytest.raises(BadPeer):
            introduced(encode_frame(FrameKind.BITFIELD, b"\xe0"), encode_frame(FrameKind.EXTENDED, wrong))


@pytest.mark.parametrize("frame", [LOSS, piece(2)])
def test_piece_beyond_those_of_the_torrent_is_refused_where_their_number_is_known(frame):
    """And where it becomes known later, what the peer said does not count."""
    conversation = Conversation(INFO_HASH, OUR_ID, pieces=2)
    with pytest.raises(BadPeer, match="cannot be"):
        conversation.receive_untrusted(encode_handshake(Handshake(INFO_HASH, PEER_ID)) + NONE + frame)
    for said in (ALL, NONE):
        told, _ = introduced(said, frame)
        assert told.report(2).holding == PiecesHeld(UNKNOWN, None, 2)
        assert told.report(3).holding.kind is LEECHER or (said, frame) == (ALL, piece(2))


META = {b"m": {b"ut_metadata": 7, b"lt_donthave": 7, b"ut_holepunch": 4}, b"metadata_size": 5}


@pytest.mark.parametrize(
    ("frames", "suspected"),
    [
        ((NONE, piece(5), piece(7)), True),
        ((NONE, piece(5)), True),
        ((piece(5),), True),
        ((NONE,), False),
        ((NONE, piece(1), piece(2), piece(3), piece(4)), False),
        ((encode_frame(FrameKind.BITFIELD, b"\x80"), piece(5)), False),
        ((encode_frame(FrameKind.BITFIELD, b"\x80"), UNCHOKE), False),
        ((NONE, UNCHOKE), True),
        ((UNCHOKE,), False),
        ((ALL, UNCHOKE), False),
        ((ALL,), False),
    ],
)
def test_superseed_is_suspected_where_a_few_pieces_are_named_after_none(frames, suspected):
    """BEP 16: a seed that hides what it has names one or two pieces to each peer."""
    conversation, _ = introduced(*frames, extended(0, META))
    report = conversation.report(8)
    assert report.is_superseed_suspected is suspected
    assert report.holding.kind is not SEED or ALL in frames
    assert report.extensions == {"lt_donthave", "ut_holepunch"}


@pytest.mark.parametrize(
    "entries",
    [
        {b"m": {b"ut_metadata": 7}},  # no metadata: a beginner with a magnet link
        META | {b"upload_only": 1},
    ],
)
def test_beginner_is_no_superseed(entries):
    conversation, _ = introduced(NONE, piece(5), extended(0, entries))
    assert not conversation.report(100).is_superseed_suspected


def test_client_that_cannot_superseed_is_none():
    conversation = Conversation(INFO_HASH, OUR_ID)
    hello = encode_handshake(Handshake(INFO_HASH, b"-TR4060-" + b"x" * 12))
    conversation.receive_untrusted(hello + NONE + UNCHOKE + piece(5) + extended(0, META))
    assert not conversation.report(100).is_superseed_suspected


def test_version_2_is_told_by_a_reserved_bit():
    """BEP 52."""
    hello = bytearray(encode_handshake(Handshake(INFO_HASH, PEER_ID)))
    for bits, has_version_2 in ((0x04, False), (0x14, True)):
        conversation = Conversation(INFO_HASH, OUR_ID)
        hello[27] = bits
        conversation.receive_untrusted(bytes(hello) + NONE)
        assert conversation.report(3).has_version_2 is has_version_2


@pytest.mark.parametrize(
    ("held", "upload_only", "is_partial", "share"),
    [
        (PiecesHeld(SEED, 4, 4), True, False, 1.0),
        (PiecesHeld(LEECHER, 1, 4), True, True, 0.25),
        (PiecesHeld(LEECHER, 1, 4), False, False, 0.25),
        (PiecesHeld(LEECHER, 0, 4), True, False, 0.0),
        (PiecesHeld(LEECHER, 1, None), True, True, None),
        (PiecesHeld(UNKNOWN, None, 4), True, False, None),
    ],
)
def test_partial_seed_has_a_part_and_wants_no_more(held, upload_only, is_partial, share):
    report = PeerReport(held, upload_only, "LT")
    assert (report.is_partial_seed, report.share) == (is_partial, share)


def test_metadata_is_asked_for_under_the_number_of_the_peer():
    metadata = Random(5).randbytes((AT_ONCE + 1) * PART_BYTES)
    conversation = Conversation(InfoHash(sha1(metadata).digest()), OUR_ID)
    conversation.receive_untrusted(
        encode_handshake(Handshake(InfoHash(sha1(metadata).digest()), PEER_ID)) + ALL + offer(len(metadata))
    )
    assert conversation.offers_metadata
    sent = conversation.begin_fetch()
    assert sent == b"".join(encode_metadata_request(7, part) for part in range(AT_ONCE))
    for part, data in enumerate(parts_of(metadata)):
        assert conversation.metadata() is None
        message = extended(1, {b"msg_type": 1, b"piece": part, b"total_size": len(metadata)}, data)
        sent = conversation.receive_untrusted(message)
        assert sent == (encode_metadata_request(7, AT_ONCE) if not part else b"")

    assert not conversation.is_fetching
    assert conversation.metadata() == metadata


def test_refused_request_ends_the_fetch():
    """And an unknown kind of message does not (BEP 9)."""
    conversation, _ = introduced(ALL, offer(5))
    conversation.begin_fetch()
    assert conversation.receive_untrusted(extended(1, {b"msg_type": 9, b"piece": 0})) == b""
    assert conversation.is_fetching
    conversation.receive_untrusted(extended(1, {b"msg_type": 2, b"piece": 0}))
    assert not conversation.is_fetching
    assert conversation.metadata() is None


@pytest.mark.parametrize("size", [0, -1, MAX_METADATA_BYTES + 1, 10**19])
def test_metadata_of_a_strange_size_is_not_asked_for(size):
    assert not introduced(ALL, offer(size))[0].offers_metadata


def test_number_of_requests_follows_what_the_peer_takes():
    conversation, _ = introduced(
        ALL, extended(0, {b"m": {b"ut_metadata": 7}, b"metadata_size": 10 * PART_BYTES, b"reqq": 1})
    )
    assert conversation.begin_fetch() == encode_metadata_request(7, 0)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (encode_handshake(Handshake(InfoHash(b"x" * 20), PEER_ID)), "another swarm"),
        (encode_handshake(Handshake(INFO_HASH, OUR_ID)), "sends back"),
        (b"GET / HTTP/1.1", "protocol"),
        (
            encode_handshake(Handshake(INFO_HASH, PEER_ID)) + encode_frame(FrameKind.PIECE, bytes(9)),
            "content",
        ),
        (encode_handshake(Handshake(INFO_HASH, PEER_ID)) + b"\xff" * 4, "too long"),
        (encode_handshake(Handshake(INFO_HASH, PEER_ID)) + bytes(TALK_BYTES), "too much"),
        (
            encode_handshake(Handshake(INFO_HASH, PEER_ID)) + encode_frame(FrameKind.EXTENDED, b"\0x"),
            "dictionary",
        ),
    ],
)
def test_peer_that_breaks_the_protocol_is_left(data, reason):
    with pytest.raises(BadPeer, match=reason):
        Conversation(INFO_HASH, OUR_ID).receive_untrusted(data)


def test_other_messages_are_skipped():
    others = [encode_frame(kind, b"1234") for kind in (0, 1, 2, 3, 6, 8, 9, 13, 16, 17, 21, 99)]
    conversation, answer = introduced(
        *others, bytes(4), extended(9, {}), encode_frame(FrameKind.EXTENDED), ALL
    )
    assert answer == NONE + encode_extended_handshake()
    assert conversation.is_seed


OURS = frozenset({FrameKind.HAVE_NONE, FrameKind.EXTENDED})


@given(
    st.lists(
        st.binary(max_size=60)
        | st.builds(encode_frame, st.integers(0, 21), st.binary(max_size=30))
        | st.sampled_from(
            [ALL, NONE, offer(5), offer(40_000), extended(1, {b"msg_type": 1, b"piece": 0}, b"12345")]
        ),
        max_size=6,
    ),
    st.booleans(),
)
def test_nothing_but_handshakes_and_requests_for_metadata_is_ever_sent(chunks, is_introduced):
    conversation = Conversation(INFO_HASH, OUR_ID)
    sent = b""
    try:
        if is_introduced:
            sent += conversation.receive_untrusted(encode_handshake(Handshake(INFO_HASH, PEER_ID)))
        for chunk in chunks:
            sent += conversation.receive_untrusted(chunk)
            if conversation.offers_metadata:
                sent += conversation.begin_fetch()
            conversation.metadata()
    except BadPeer:
        pass
    reader = FrameReader()
    reader.feed(sent)

    assert {frame.kind for frame in read_all(reader)} <= OURS
    assert conversation.report(3).holding.kind in PeerKind


def test_parts_that_are_put_back_are_requested_one_at_a_time_and_may_come_twice():
    data = bytes(3 * PART_BYTES)
    assembly = Assembly(InfoHash(sha1(data).digest()), len(data))
    parts = [MetadataMessage(MetadataKind.DATA, part, len(data), bytes(PART_BYTES)) for part in range(3)]
    assert assembly.next_requests() == [0, 1, 2]
    assembly.record(parts[1])
    assembly.put_back()
    assert assembly.next_requests() == [0]
    assert assembly.next_requests() == []
    assembly.record(parts[2])
    assembly.record(parts[0])
    assembly.record(parts[0])
    assert (assembly.next_requests(), assembly.is_complete, assembly.verified()) == ([], True, data)


def test_more_is_requested_at_once_of_a_peer_that_is_late_and_forgets_nothing():
    """Transmission answers every three seconds, and then all."""
    assembly = Assembly(INFO_HASH, 40 * PART_BYTES)
    assert assembly.next_requests() == [0, 1, 2, 3]
    assembly.put_back()
    assert (assembly.next_requests(), assembly.patience) == ([0], PATIENCE)
    assembly.record(MetadataMessage(MetadataKind.DATA, 0, None, bytes(PART_BYTES)))
    assert (assembly.next_requests(), assembly.patience) == ([1], PATIENCE)
    assembly.record(MetadataMessage(MetadataKind.DATA, 2, None, bytes(PART_BYTES)))
    assert (len(assembly.next_requests()), assembly.patience) == (MOST_AT_ONCE - 1, MOST_PATIENCE)


@pytest.mark.parametrize(("has_fast", "reqq", "at_once"), [(False, 2048, 1), (True, 2048, 4), (True, 2, 2)])
def test_peer_without_bep_6_is_asked_for_one_part_at_a_time(has_fast, reqq, at_once):
    """RTorrent has not got it, and answers no more once two requests are under way."""
    size = 10 * PART_BYTES
    words = extended(0, {b"m": {b"ut_metadata": 7}, b"metadata_size": size, b"reqq": reqq})
    conversation, _ = introduced(words, has_fast=has_fast)
    requests = [encode_metadata_request(7, part) for part in range(at_once)]
    assert conversation.begin_fetch() == b"".join(requests)
    for part in (0, 1):
        conversation.receive_untrusted(extended(1, {b"msg_type": 1, b"piece": part}, bytes(PART_BYTES)))
    # However late it is.
    assert len(conversation.fetch_again()) == len(requests[0])


def test_empty_part_refuses_the_metadata_and_leaves_the_pieces_as_they_were_told():
    conversation, _ = introduced(ALL, offer(PART_BYTES))
    conversation.begin_fetch()
    conversation.receive_untrusted(extended(1, {b"msg_type": 1, b"piece": 0}))
    assert not conversation.is_fetching
    assert conversation.report(3).holding.kind is SEED


BITS = encode_frame(FrameKind.BITFIELD, b"\xff")


@pytest.mark.parametrize(
    "sins",
    [
        (ALL, ALL),
        (BITS, encode_frame(FrameKind.BITFIELD, b"\xfe\x80")),
        (encode_frame(FrameKind.HAVE, bytes(4)), BITS),
        (encode_frame(FrameKind.BITFIELD),),
        (encode_frame(FrameKind.HAVE_NONE, b"x"),),
    ],
)
def test_sins_about_pieces_are_borne_and_make_the_kind_unknown(sins):
    """The metadata comes all the same."""
    conversation, _ = introduced(*sins, offer(5))
    assert conversation.is_introduction_complete
    assert conversation.begin_fetch() == encode_metadata_request(7, 0)
    assert conversation.report(8).holding.kind is UNKNOWN
