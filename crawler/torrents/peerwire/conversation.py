"""One connection to one peer, from our first byte on: what came in, what goes out, what is known."""

from crawler.db.records.torrents import PeerKind, PeerReport, PiecesHeld
from crawler.torrents.peerwire.assembly import (
    AT_ONCE,
    MAX_METADATA_BYTES,
    MOST_AT_ONCE,
    PATIENCE,
    Assembly,
)
from crawler.torrents.peerwire.extension import (
    PART_BYTES,
    ExtendedHandshake,
    MetadataKind,
    OurNumber,
    encode_extended_handshake,
    encode_metadata_request,
    read_extended_handshake_untrusted,
    read_metadata_message_untrusted,
)
from crawler.torrents.peerwire.frames import BadPeer, Frame, FrameKind, FrameReader, encode_frame
from crawler.torrents.peerwire.handshake import (
    HANDSHAKE_BYTES,
    Handshake,
    client_letters,
    encode_handshake,
    read_handshake_untrusted,
)
from crawler.torrents.peerwire.others import ToldOfOthers
from crawler.torrents.peerwire.pieces import PieceMap
from crawler.torrents.peerwire.superseed import SuperseedEvidence
from dhtnode import InfoHash

TALK_BYTES = 256 * 1024
"""What a peer may send besides metadata: a long bitfield and its messages to all peers."""

_HEADER_BYTES = 256  # of a part of metadata beside its content


class Conversation:
    """The state of one connection: what the peer has said, and what we send next.

    Holds one unfinished message (128 KiB), the bits of its pieces (125 kB), and once metadata is
    asked for, that (8 MiB).  What a peer sends altogether is bounded by `TALK_BYTES` and the metadata.
    """

    def __init__(
        self, info_hash: InfoHash, peer_id: bytes, *, pieces: int | None = None, wants_pex: bool = False
    ) -> None:
        """Begin one in a swarm under a peer id; with `wants_pex`, to hear of other peers, too (BEP 11).

        `pieces` is how many the torrent has, if known: no other piece can be named then.
        """
        self.bytes_received = 0
        self.others = ToldOfOthers()
        self._wants_pex = wants_pex
        self._info_hash = info_hash
        self._peer_id = peer_id
        self._start = bytearray()
        self._handshake: Handshake | None = None
        self._extended: ExtendedHandshake | None = None
        self._frames = FrameReader()
        self._pieces = PieceMap(pieces)
        self._allowance = TALK_BYTES
        self._assembly: Assembly | None = None
        self._is_rejected = False
        self._is_discredited = False
        self._has_begun = False
        self._evidence = SuperseedEvidence()
        self._now = 0.0

    def opening(self) -> bytes:
        """Return what to send first."""
        return encode_handshake(Handshake(self._info_hash, self._peer_id))

    @property
    def peer_id(self) -> bytes | None:
        """Return what the peer calls itself, in all its connections of this swarm; None before it did."""
        return None if self._handshake is None else self._handshake.peer_id

    @property
    def is_introduced(self) -> bool:
        """Return whether the peer said who it is, in this swarm."""
        return self._handshake is not None

    @property
    def is_introduction_complete(self) -> bool:
        """Return whether all is there that a peer says of itself unrequested, as far as that can be known."""
        if self._handshake is None:
            return False
        if self._handshake.has_extensions and self._extended is None:
            return False
        is_settled = self._is_discredited or self._pieces.is_told
        return is_settled or self._has_no_metadata or self._has_begun_without

    @property
    def knows_pex(self) -> bool:
        """Return whether it may name the peers that it is connected to."""
        return self._extended is not None and "ut_pex" in self._extended.extensions

    @property
    def may_tell_of_others(self) -> bool:
        """Return whether there is something about others that it may tell yet."""
        if self._extended is None:
            return False
        known, told = self._extended.extensions, self.others
        may_name_peers = self._wants_pex and self.knows_pex and not told.has_named_peers
        return may_name_peers or ("lt_tex" in known and not told.has_named_trackers)

    @property
    def is_seed(self) -> bool:
        """Return whether it is a seed already, whatever else it will say."""
        return self._pieces.holding(None).kind is PeerKind.SEED

    def may_show_pieces(self, now: float) -> bool:
        """Return whether it may be a hidden seed, and may name in the next moments what shows it."""
        return self._may_hide() and self._evidence.may_change(self._client, now)

    @property
    def offers_metadata(self) -> bool:
        """Return whether there is metadata to be asked for, of a size that we take."""
        known = self._extended
        if known is None or not known.ut_metadata or known.metadata_size is None:
            return False
        return known.metadata_size <= MAX_METADATA_BYTES and self._assembly is None

    @property
    def is_fetching(self) -> bool:
        """Return whether parts of the metadata are still to come."""
        return self._assembly is not None and not self._assembly.is_complete and not self._is_rejected

    def begin_fetch(self) -> bytes:
        """Return the first requests for the metadata that the peer offers."""
        known = self._extended
        if known is None or known.metadata_size is None:
            raise RuntimeError("no metadata is offered")
        size = known.metadata_size
        self._allowance += size + _HEADER_BYTES * (size // PART_BYTES + 1)
        # rTorrent answers one request and never another, once two are under way, whatever `reqq` it gives.
        has_fast = self._handshake is not None and self._handshake.has_fast
        most = min(MOST_AT_ONCE if has_fast else 1, known.reqq or MOST_AT_ONCE)
        self._assembly = Assembly(self._info_hash, size, min(AT_ONCE, most), most)
        return self._requests()

    @property
    def patience(self) -> float:
        """Return for how many seconds to wait for a part until it is requested again."""
        return PATIENCE if self._assembly is None else self._assembly.patience

    @property
    def parts_received(self) -> int:
        """Return how many parts of the metadata have come."""
        return 0 if self._assembly is None else self._assembly.parts

    def fetch_again(self) -> bytes:
        """Return a request for one part that was requested and has not come, and request the others later.

        Some clients forget requests that come while they send.
        """
        if self._assembly is None:
            return b""
        self._allowance += PART_BYTES + _HEADER_BYTES
        self._assembly.put_back()
        return self._requests()

    def metadata(self) -> bytes | None:
        """Return the info dictionary if it is whole and right; raises `BadPeer` when it is wrong."""
        if self._assembly is None or not self._assembly.is_complete:
            return None
        return self._assembly.verified()

    def receive_untrusted(self, data: bytes, now: float = 0.0) -> bytes:
        """Handle what came and return what to send; raises `BadPeer` when the conversation is over."""
        self._now = now
        self.bytes_received += len(data)
        self._allowance -= len(data)
        if self._allowance < 0:
            raise BadPeer("says too much")
        if self._handshake is None:
            return self._begin(data)
        return self._read_frames(data)

    def end(self) -> None:
        """Forget all that is not needed for `report`."""
        self._frames = FrameReader()
        self._assembly = None
        self._start.clear()

    def discredit(self) -> None:
        """Record that the peer broke the protocol: what it said of its pieces does not count."""
        self._is_discredited = True

    def report(self, pieces: int | None) -> PeerReport:
        """Return what the peer said of itself; `pieces` is how many the torrent has, if known."""
        known = self._extended or ExtendedHandshake()
        holding = self._pieces.holding(pieces)
        if self._is_discredited:
            holding = PiecesHeld(PeerKind.UNKNOWN, None, pieces)
        elif not self._pieces.is_told and (self._has_no_metadata or self._has_begun_without):
            holding = PiecesHeld(PeerKind.LEECHER, 0, pieces)
        handshake = self._handshake
        return PeerReport(
            holding,
            known.upload_only,
            self._client,
            superseed_score=self._evidence.score(self._client) if self._may_hide() else 0.0,
            has_version_2=handshake is not None and handshake.has_version_2,
            extensions=known.extensions,
            trackers_hash=known.trackers_hash,
        )

    @property
    def _client(self) -> str:
        """Return two letters for the program that it is."""
        peer_id = b"" if self._handshake is None else self._handshake.peer_id
        return client_letters(peer_id, None if self._extended is None else self._extended.client)

    def _may_hide(self) -> bool:
        """Return whether it has the metadata, wants what is missing, and said to have nothing."""
        known = self._extended
        if self._is_discredited or known is None or known.upload_only or known.metadata_size is None:
            return False
        return self._pieces.haves_of_none is not None

    @property
    def _has_no_metadata(self) -> bool:
        """Return whether it knows BEP 9 and offers no metadata: it has nothing yet but a magnet link."""
        known = self._extended
        return known is not None and known.ut_metadata > 0 and known.metadata_size is None

    @property
    def _has_begun_without(self) -> bool:
        """Return whether it sends other messages than those that would say what it has, so it has nothing.

        A bitfield may only come first, and who has nothing may leave it out (BEP 3); with BEP 6, who has
        nothing says so.
        """
        handshake = self._handshake
        return self._has_begun and handshake is not None and not handshake.has_fast

    def _begin(self, data: bytes) -> bytes:
        self._start += data
        handshake = read_handshake_untrusted(bytes(self._start[:HANDSHAKE_BYTES]))
        if handshake is None:
            return b""
        if handshake.info_hash != self._info_hash:
            raise BadPeer("speaks of another swarm")
        if handshake.peer_id == self._peer_id:
            raise BadPeer("sends back what we say")
        self._handshake = handshake
        self._evidence.record_begin(self._now)
        # BEP 6 wants one word about pieces, first of all.
        answer = encode_frame(FrameKind.HAVE_NONE) if handshake.has_fast else b""
        if handshake.has_extensions:
            answer += encode_extended_handshake(wants_pex=self._wants_pex)
        rest = bytes(self._start[HANDSHAKE_BYTES:])
        self._start.clear()
        return answer + self._read_frames(rest)

    def _read_frames(self, data: bytes) -> bytes:
        answer = b""
        self._frames.feed(data)
        while (frame := self._frames.next_untrusted()) is not None:
            answer += self._handle(frame)
        return answer

    def _handle(self, frame: Frame) -> bytes:
        match frame.kind:
            case FrameKind.BITFIELD | FrameKind.HAVE_ALL | FrameKind.HAVE_NONE:
                self._record_pieces(frame.kind, frame.payload)
            case FrameKind.HAVE:
                self._pieces.record_have_untrusted(frame.payload)
                self._evidence.record_have(self._now)
            case FrameKind.EXTENDED:
                return self._handle_extended(frame.payload)
            case FrameKind.PIECE:
                raise BadPeer("sends content that was not requested")
            case _:
                # A keep-alive, or whether it is choked: the time for a bitfield is over.
                self._has_begun = True
                if frame.kind == FrameKind.UNCHOKE:
                    self._evidence.record_unchoke()
        return b""

    def _record_pieces(self, kind: int, payload: bytes) -> None:
        """Record what the peer says it has; when that comes late or twice, it is borne and does not count.

        The metadata is no worse for that: its hash tells.
        """
        try:
            match kind:
                case FrameKind.BITFIELD:
                    self._pieces.record_bitfield_untrusted(payload)
                case FrameKind.HAVE_ALL:
                    self._pieces.record_all_untrusted(payload)
                case _:
                    self._pieces.record_none_untrusted(payload)
                    self._evidence.record_begin(self._now)
        except BadPeer:
            self._is_discredited = True

    def _handle_extended(self, payload: bytes) -> bytes:
        number, content = payload[0] if payload else None, payload[1:]
        match number:
            case OurNumber.HANDSHAKE:
                known = self._extended or ExtendedHandshake()
                self._extended = read_extended_handshake_untrusted(content, known)
            case OurNumber.UT_METADATA:
                return self._handle_metadata(content)
            case OurNumber.UT_PEX if self._wants_pex:
                self.others.record_peers_untrusted(content)
            case OurNumber.LT_TEX:
                self.others.record_trackers_untrusted(content)
            case OurNumber.LT_DONTHAVE:
                self._pieces.record_loss_untrusted(content)
        # Another extension, which we did not offer, is skipped.
        return b""

    def _handle_metadata(self, content: bytes) -> bytes:
        # A request, perhaps: we have nothing.
        if self._assembly is None or not self.is_fetching:
            return b""
        message = read_metadata_message_untrusted(content)
        if message.kind == MetadataKind.DATA and message.data:
            self._assembly.record(message)
            return self._requests()
        # rTorrent sends an empty last part in place of one of 16 KiB, and never that.
        self._is_rejected = message.kind in (MetadataKind.DATA, MetadataKind.REJECT)
        return b""

    def _requests(self) -> bytes:
        if self._assembly is None or self._extended is None:
            return b""
        number = self._extended.ut_metadata
        return b"".join(encode_metadata_request(number, part) for part in self._assembly.next_requests())
