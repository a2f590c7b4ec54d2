"""Blocks and headers byte by byte and by their sums; TCP as the other side would take it."""

from hypothesis import given
from hypothesis import strategies as st

from dhtnode.pcap import blocks
from dhtnode.pcap.connection import LONGEST_DATA, TcpConnection
from dhtnode.pcap.packets import ACK, FIN, PSH, RST, SYN, udp_packet
from tests.pcap.reading import PACKET, blocks_of, read_packet

HERE, THERE = ("192.0.2.1", 6881), ("198.51.100.7", 51413)
HERE_6, THERE_6 = ("2001:db8::1", 6881), ("fe80::2%eth0", 51413)


def test_datagram_byte_by_byte():
    """Ports, lengths and sums were computed by hand."""
    assert udp_packet(("10.0.0.1", 1), ("10.0.0.2", 2), b"abc").hex(" ", -4) == (
        "4500001f 00004000 401126cc 0a000001 0a000002 00010002 000b2770 616263"
    )


def test_block_of_a_packet():
    assert blocks.packet(b"abcde", 0x1_0000_0002, outbound=False).hex(" ", -4) == (
        "06000000 34000000 00000000 01000000 02000000 05000000 05000000"
        " 61626364 65000000 02000400 01000000 00000000 34000000"
    )


@given(st.binary(max_size=300), st.integers(0, (1 << 63) - 1), st.booleans())
def test_any_packet_is_a_whole_block(data, at, outbound):
    [(kind, body)] = blocks_of(blocks.packet(data, at, outbound=outbound))
    assert (kind, body[20 : 20 + len(data)]) == (PACKET, data)


@given(st.binary(max_size=300), st.integers(1, 65535), st.integers(1, 65535))
def test_any_datagram_has_right_lengths_and_sums(data, here, there):
    for source, destination in (
        ((HERE[0], here), (THERE[0], there)),
        ((HERE_6[0], here), ("fe80::2", there)),
    ):
        read = read_packet(udp_packet(source, destination, data))
        assert (read.source, read.destination, read.payload) == (source, destination, data)


def test_sum_of_zero_is_written_as_all_ones():
    """With these two bytes the words add up to 65535, and a sum of zero would say that there is none."""
    sums = {udp_packet(HERE, THERE, number.to_bytes(2, "big"))[26:28] for number in range(65536)}
    assert b"\xff\xff" in sums
    assert b"\0\0" not in sums


def test_longest_datagrams_fit():
    for hosts, most in ((("192.0.2.1", "192.0.2.2"), 65_507), (("2001:db8::1", "2001:db8::2"), 65_527)):
        packet = udp_packet((hosts[0], 1), (hosts[1], 2), bytes(most))
        assert len(packet) <= blocks.LONGEST_PACKET
        assert len(read_packet(packet).payload) == most


def test_zone_of_a_link_local_address_is_left_out():
    assert read_packet(udp_packet(HERE_6, THERE_6, b"x")).destination == ("fe80::2", 51413)


class Host:
    """One end of a connection, which takes what comes in order only."""

    def __init__(self):
        self.next = None
        self.data = b""
        self.has_ended = False

    def take(self, packet):
        if packet.flags & SYN:
            assert self.next is None
            self.next = packet.number
        assert packet.number == self.next
        assert not self.has_ended or not (packet.payload or packet.flags & FIN)
        self.data += packet.payload
        self.next = (self.next + len(packet.payload) + bool(packet.flags & (SYN | FIN))) % (1 << 32)
        self.has_ended |= bool(packet.flags & FIN)


def play(segments):
    """Return both ends, ours first, after all segments have come."""
    ends = {False: Host(), True: Host()}  # who takes what is inbound, and who what is outbound
    for data, outbound in segments:
        packet = read_packet(data)
        assert (packet.source, packet.destination) == ((HERE, THERE) if outbound else (THERE, HERE))
        if packet.flags & ACK:
            assert packet.acknowledged == (ends[not outbound].next or 0)
        ends[outbound].take(packet)
    return ends[False], ends[True]


said = st.lists(st.tuples(st.binary(min_size=1, max_size=40), st.booleans()), max_size=20)


@given(said, st.booleans())
def test_any_conversation_is_put_together_again(parts, we_end_first):
    connection = TcpConnection(HERE, THERE)
    segments = [*connection.ask(), *connection.accept()]
    for data, outbound in parts:
        segments += connection.carry(data, outbound=outbound)
    segments += connection.end(outbound=we_end_first) + connection.end(outbound=not we_end_first)
    segments += connection.end(outbound=True) + connection.reset(outbound=True)
    ours, theirs = play(segments)
    assert ours.data == b"".join(data for data, outbound in parts if not outbound)
    assert theirs.data == b"".join(data for data, outbound in parts if outbound)
    assert ours.has_ended
    assert theirs.has_ended


def test_what_is_too_long_for_a_packet_is_cut():
    connection = TcpConnection(HERE, THERE)
    opened = [*connection.ask(), *connection.accept()]
    segments = list(connection.carry(bytes(3 * LONGEST_DATA + 1), outbound=True))
    assert [len(read_packet(data).payload) for data, _ in segments] == [LONGEST_DATA] * 3 + [1]
    assert play(opened + segments)[1].data == bytes(3 * LONGEST_DATA + 1)


def test_flags():
    connection = TcpConnection(HERE, THERE)
    segments = [*connection.ask(), *connection.accept(), *connection.carry(b"x", outbound=False)]
    segments += connection.reset(outbound=False) + connection.reset(outbound=True)
    assert [(read_packet(data).flags, outbound) for data, outbound in segments] == [
        (SYN, True),
        (SYN | ACK, False),
        (ACK, True),
        (PSH | ACK, False),
        (RST | ACK, False),
    ]


def test_refused_connection():
    connection = TcpConnection(HERE, THERE)
    first, last = (read_packet(data) for data, _ in [*connection.ask(), *connection.reset(outbound=False)])
    assert (first.flags, first.number, last.flags, last.acknowledged) == (SYN, 0, RST | ACK, 1)
