"""What a peer may send over TCP: its messages, read by a conversation, one after the other."""

from collections.abc import Hashable
from random import Random

from crawler.torrents.peerwire.conversation import TALK_BYTES, Conversation
from crawler.torrents.peerwire.frames import BadPeer
from crawler.torrents.peerwire.handshake import Handshake, encode_handshake
from crawler.torrents.peerwire.others import MAX_MESSAGES
from crawler.torrents.peerwire.peer_exchange import MAX_NAMED
from crawler.torrents.peerwire.tracker_exchange import MAX_URL_BYTES, MAX_URLS
from crawler.torrents.tracker_hints import MAX_HINTS, TrackerHints
from dhtnode import InfoHash
from tests.fuzz.findings import require

INFO_HASH = InfoHash(b"h" * 20)
HELLO = encode_handshake(Handshake(INFO_HASH, b"-LT2110-" + b"p" * 12))
PIECES = 11
FIRST = 7  # bytes of the first part


class PeerTarget:
    """The promises of a conversation: one exception type, and a report that adds up, however bytes come."""

    name = "peer"
    life = 10_000

    def run(self, data: bytes) -> Hashable:
        whole, parted = (self._talk(parts) for parts in ([data], [data[:FIRST], data[FIRST:]]))
        require(whole == parted, "it does not matter how the bytes of a stream come")
        return whole

    def end(self) -> None:
        """Have nothing to look at: there is no state."""

    def _talk(self, parts: list[bytes]) -> Hashable:
        conversation = Conversation(INFO_HASH, b"-DN0001-" + b"o" * 12, wants_pex=True)
        require(b"6:ut_pex" in conversation.receive_untrusted(HELLO), "we ask for others")
        sent = 0
        try:
            for part in parts:
                sent += len(conversation.receive_untrusted(part))
                if conversation.offers_metadata:
                    sent += len(conversation.begin_fetch())
        except BadPeer as error:
            conversation.discredit()
            return str(error)[:24]
        require(sent < TALK_BYTES, "we send little")
        told = conversation.others
        require(len(told.peers) <= 2 * MAX_MESSAGES * MAX_NAMED, "few others are taken")
        require(all(peer.address.port for peer in told.peers), "no port is 0")
        require(len(told.trackers) <= MAX_MESSAGES * MAX_URLS, "few trackers are taken")
        require(all(len(url) <= MAX_URL_BYTES for url in told.trackers), "no URL of one is long")
        hints = TrackerHints()
        hints.add(told.trackers)
        taken = hints.taken(Random(1))
        require(taken is None or len(taken.urls) <= MAX_HINTS, "few hints are kept")
        report = conversation.report(PIECES)
        have = report.holding.have
        require(have is None or 0 <= have <= PIECES, "no more pieces than there are")
        require(report.share is None or 0 <= report.share <= 1, "a share is one")
        kinds = report.holding.kind, have, report.upload_only, report.is_superseed_suspected
        return (*kinds, len(report.extensions), len(told.peers).bit_length(), len(told.trackers))
