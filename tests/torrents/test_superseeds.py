"""Seeds that hide their pieces are told from beginners, by when each says what (BEP 16)."""

from random import Random

import pytest
import trio

from crawler.db.records.torrents import SwarmContact
from crawler.torrents import handshakes_of
from crawler.torrents.peerwire.conversation import Conversation
from crawler.torrents.peerwire.frames import FrameKind, encode_frame
from crawler.torrents.peerwire.handshake import Handshake, encode_handshake
from dhtnode import Address
from tests.fake_peers import NONE, Peer, Swarm, extended
from tests.torrents.test_named_peers import INFO, INFO_HASH, ask

CHOKE, UNCHOKE = encode_frame(0), encode_frame(FrameKind.UNCHOKE)
HELLO = encode_handshake(Handshake(INFO_HASH, b"-LT2110-" + b"p" * 12))
META = extended(0, {b"m": {b"ut_metadata": 3}, b"metadata_size": 1343})
OUR_ID = b"-DN0001-" + b"o" * 12
PIECES = 2000
LINGER = 1.0

# Seconds at which beginners of libtorrent 2.1.1 named their first pieces, after they had connected to their
# first seed: one row each, at 20 kB/s to 2 MB/s, with pieces of 16 KiB, 256 KiB and 1 MiB.
BEGINNERS = (
    (3.191, 3.234, 3.234, 5.692, 5.693, 5.693),
    (2.217, 2.258, 2.258, 5.719, 5.719, 5.719),
    (1.744, 1.787, 1.787, 3.745, 3.745, 3.745),
    (1.771, 1.814, 1.814, 1.814, 2.271, 2.271),
    (1.799, 1.841, 1.841, 1.841, 2.298, 2.298),
    (1.325, 1.365, 1.365, 1.365, 1.825, 1.825),
    (1.354, 1.397, 1.397, 1.397, 1.854, 1.854),
    (1.382, 1.425, 1.425, 1.425, 1.425, 1.425),
    (1.411, 1.453, 1.453, 1.453, 1.453),
    (1.436, 1.477, 1.477, 1.477, 1.477, 24.698),
    (1.463, 1.505, 1.505, 1.505, 1.505),
    (1.488, 1.529, 1.529, 1.529, 1.53),
    (15.303,),
    (8.937, 18.935),
    (6.088, 12.089, 18.092, 24.096),
    (4.255, 9.257, 13.259, 15.76, 19.761, 23.775),
    (3.338, 6.338, 12.343, 12.343, 16.344, 22.727),
    (2.875, 4.874, 5.874, 8.375, 10.375),
    (2.904, 3.404, 4.904, 4.904, 8.906, 8.906),
    (1.919, 2.92, 3.419, 4.42, 4.42, 8.936),
    (1.935, 2.435, 2.934, 2.934, 3.934),
    (1.456, 1.955, 2.455, 2.957, 2.957, 3.455),
    (1.472, 1.514, 1.972, 1.972, 2.471, 2.972),
    (1.496, 1.538, 1.538, 1.997, 1.998, 1.998),
    (23.821,),
    (15.867,),
    (8.386, 15.383, 20.884),
    (5.898, 12.397, 14.896, 19.401, 23.4),
    (4.418, 8.931, 9.426, 12.934, 15.921, 22.923),
    (3.439, 4.95, 7.442, 9.957, 11.946),
    (2.961, 3.965, 4.96, 7.481, 7.482, 9.463),
    (1.974, 2.977, 4.484, 4.484, 4.976, 8.512),
    (1.99, 2.993, 2.993, 3.991, 3.991),
)


def piece(index):
    return encode_frame(FrameKind.HAVE, index.to_bytes(4, "big"))


def observe(events, *, hello=HELLO):
    """Return the report of a peer that says to have nothing, and then more at some times after that."""
    conversation = Conversation(INFO_HASH, OUR_ID)
    conversation.receive_untrusted(hello + META + NONE, 0.0)
    for at, frame in events:
        if at > 2 * LINGER or (at > LINGER and not conversation.may_show_pieces(LINGER)):
            break
        conversation.receive_untrusted(frame, at)
    return conversation.report(PIECES)


def superseed(random):
    """Return what a superseed says: libtorrent 2 unchokes and chokes, older ones show two pieces at once."""
    delay = random.uniform(0, 0.05)
    if random.random() < 0.7:
        return [(delay, UNCHOKE), (delay + random.random(), CHOKE)]
    first = random.uniform(0, 2) if random.random() < 0.3 else delay
    return [(first, piece(random.randrange(PIECES))), (first, piece(random.randrange(PIECES)))]


def beginner(random):
    """Return what a beginner says that we meet at any time before its first piece."""
    named = random.choice(BEGINNERS)
    met = random.uniform(0, named[0])
    return [(at - met, piece(number)) for number, at in enumerate(named)]


@pytest.mark.parametrize("seed", [1, 2])
def test_100_superseeds_are_suspected_and_few_of_1000_beginners(seed):
    random = Random(seed)
    found = sum(observe(superseed(random)).is_superseed_suspected for _ in range(100))
    wrong = sum(observe(beginner(random)).is_superseed_suspected for _ in range(1000))
    assert found >= 95
    assert wrong <= 20


@pytest.mark.parametrize(
    ("events", "score"),
    [
        ([], 0),
        ([(0.0, UNCHOKE)], 2),
        ([(0.05, piece(1))], 1),
        ([(0.05, piece(1)), (0.05, piece(2)), (0.05, piece(3))], 1),
        ([(0.0, UNCHOKE), (0.05, piece(1))], 3),
        # Later a single one is what a beginner has got, and so are more of them.
        ([(0.5, piece(1))], 0),
        ([(0.5, piece(1)), (0.5, piece(2))], 1),
        ([(0.5, piece(1)), (0.54, piece(2))], 0),
        ([(0.5, piece(1)), (0.5, piece(2)), (0.9, piece(3))], 0),
        ([(0.05, piece(1)), (0.05, piece(2)), (0.9, piece(3))], 0),
        ([(0.05, piece(number)) for number in range(4)], 0),
        # It can have something to give by then.
        ([(0.5, piece(1)), (0.6, UNCHOKE)], 0),
    ],
)
def test_score_says_how_much_speaks_for_it(events, score):
    report = observe(events)
    assert report.superseed_score == score
    assert report.is_superseed_suspected is (score >= 1)
    assert report.holding.kind == "leecher"


def test_only_libtorrent_unchokes_with_nothing():
    utorrent = encode_handshake(Handshake(INFO_HASH, b"-UT3550-" + b"p" * 12))
    assert observe([(0.0, UNCHOKE)], hello=utorrent).superseed_score == 0
    assert observe([(0.0, piece(1))], hello=utorrent).superseed_score == 1


def test_suspected_ones_are_in_the_upper_end_of_the_seeds_only():
    reports = tuple(observe(events) for events in ([(0.0, UNCHOKE)], [(0.05, piece(1))], []))
    counts = handshakes_of(SwarmContact(INFO_HASH, None, 3, 3, reports), "2024-01-01T00:00:00.000Z")
    assert (counts.seeds, counts.seeds_high, counts.superseeds, counts.leechers) == (0, 2, 2, 3)
    assert counts.superseed_score == 1.5


class Late(Peer):
    """A superseed that shows two pieces a while after its handshake."""

    async def __call__(self, stream):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._show, stream)
            await super().__call__(stream)
            nursery.cancel_scope.cancel()

    async def _show(self, stream):
        await trio.sleep(1.7)
        await stream.send_all(piece(0) + piece(0))


async def test_two_seconds_are_waited_for_pieces_to_be_shown(autojump_clock):
    async with trio.open_nursery() as nursery:
        swarm = Swarm(nursery)
        address = Address("45.0.0.1", 6881)
        swarm.peers[address] = Late(INFO_HASH, NONE, INFO)
        contact = await ask(swarm, [address])
        nursery.cancel_scope.cancel()
    assert [report.is_superseed_suspected for report in contact.reports] == [True]
