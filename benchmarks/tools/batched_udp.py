"""Many datagrams per system call on one UDP socket, each from a source address of its own.

Linux only: sendmmsg, recvmmsg and IP_PKTINFO through ctypes.  The socket is bound to the wildcard
address; `ipi_spec_dst` names the source of each packet, and all answers arrive in one place.  Headers
and buffers are laid out once, so that sending a packet costs no Python at all.
"""

import ctypes
import errno
import os
import socket
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Self

IP_PKTINFO = 8  # linux/in.h; the socket module of Python 3.11 does not name it
BATCH = 64  # packets per system call, at most
_SLOT = 4096  # bytes kept of each received packet
_SOCKET_BUFFER = 4 << 20


class BenchmarkFailed(Exception):
    """There is no measurement; the message is one line."""


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    """A `struct msghdr`."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("iovec", ctypes.c_void_p),
        ("iovec_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    """A `struct mmsghdr`: a message, and the bytes of it that were received or sent."""

    _fields_ = (("header", _Header), ("length", ctypes.c_uint32))


class _SourceInfo(ctypes.Structure):
    """A control message with a `struct in_pktinfo`: the source address of a packet."""

    _fields_ = (
        ("size", ctypes.c_size_t),
        ("level", ctypes.c_int),
        ("type", ctypes.c_int),
        ("interface", ctypes.c_int),
        ("source", ctypes.c_ubyte * 4),
        ("destination", ctypes.c_ubyte * 4),
    )


class PacketRing:
    """Packets for one destination, ready to be sent any number of times.

    They lie in `buffer`, one every `stride` bytes, where the caller may change bytes between sends.
    """

    def __init__(
        self, packets: Sequence[bytes], sources: Sequence[str], destination: tuple[str, int]
    ) -> None:
        """Lay out the packets; the one at `i` leaves from `sources[i % len(sources)]`."""
        if not all(host.startswith("127.") for host in [*sources, destination[0]]):
            raise ValueError("benchmarks send on loopback only")
        self.stride = max(map(len, packets))
        self._bytes = ctypes.create_string_buffer(self.stride * len(packets))
        self.buffer = memoryview(self._bytes).cast("B")
        for number, packet in enumerate(packets):
            self.buffer[number * self.stride :][: len(packet)] = packet
        self._name = ctypes.create_string_buffer(_socket_address(destination), 16)
        self._sources = (_SourceInfo * len(sources))(*map(_source_info, sources))
        self._iovecs = (_Iovec * len(packets))(
            *(
                _Iovec(ctypes.addressof(self._bytes) + number * self.stride, len(packet))
                for number, packet in enumerate(packets)
            )
        )
        self._messages = (_Message * len(packets))(*map(self._message, range(len(packets))))
        self._start = ctypes.addressof(self._messages)

    def __len__(self) -> int:
        """Return the number of packets."""
        return len(self._messages)

    def messages_from(self, first: int) -> int:
        """Return the memory address of the headers from the packet `first` on."""
        return self._start + first * ctypes.sizeof(_Message)

    def _message(self, number: int) -> _Message:
        source = number % len(self._sources) * ctypes.sizeof(_SourceInfo)
        return _Message(
            _Header(
                name=ctypes.addressof(self._name),
                name_length=16,
                iovec=ctypes.addressof(self._iovecs) + number * ctypes.sizeof(_Iovec),
                iovec_count=1,
                control=ctypes.addressof(self._sources) + source,
                control_length=ctypes.sizeof(_SourceInfo),
            )
        )


class BatchSocket:
    """A UDP socket on the wildcard address that sends and receives in batches."""

    def __init__(self) -> None:
        if sys.platform != "linux":
            raise BenchmarkFailed("this benchmark needs Linux: sendmmsg, recvmmsg and IP_PKTINFO")
        self._socket = open_wildcard_socket()
        self._descriptor = self._socket.fileno()
        self._sendmmsg, self._recvmmsg = _system_calls()
        self._room = _Slots()
        first, size = ctypes.addressof(self._room.iovecs), ctypes.sizeof(_Iovec)
        self._messages = (_Message * BATCH)(
            *(_Message(_Header(iovec=first + size * number, iovec_count=1)) for number in range(BATCH))
        )
        self._start = ctypes.addressof(self._messages)
        self._lengths = _every_length(self._messages)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, ring: PacketRing, first: int, count: int) -> int:
        """Send `count` neighbouring packets of a ring; return how many the kernel took."""
        sent: int = self._sendmmsg(self._descriptor, ring.messages_from(first), count, 0)
        if sent < 0:
            number = ctypes.get_errno()
            if number in (errno.EAGAIN, errno.ENOBUFS, errno.EINTR):
                return 0
            raise BenchmarkFailed(f"cannot send: {os.strerror(number)}")
        return sent

    def receive(self) -> list[bytes]:
        """Return the packets that are there, at most 64, without waiting."""
        count: int = self._recvmmsg(self._descriptor, self._start, BATCH, socket.MSG_DONTWAIT, None)
        if count <= 0:
            return []
        lengths = self._lengths[:count].tolist()
        return [bytes(slot[:length]) for slot, length in zip(self._room.slots, lengths, strict=False)]


class ReplySocket:
    """A UDP socket on the wildcard address that replies in batches, from the addresses that were queried.

    The kernel writes down who asked and at which address; the same bytes then tell where replies go.
    """

    def __init__(self) -> None:
        if sys.platform != "linux":
            raise BenchmarkFailed("this benchmark needs Linux: sendmmsg, recvmmsg and IP_PKTINFO")
        self._socket = open_wildcard_socket()
        self._socket.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        self.port: int = self._socket.getsockname()[1]
        self._descriptor = self._socket.fileno()
        self._sendmmsg, self._recvmmsg = _system_calls()
        self._names = ctypes.create_string_buffer(16 * BATCH)
        self._infos = (_SourceInfo * BATCH)()
        self._incoming, self._outgoing = _Slots(), _Slots()
        self._received = self._headers(self._incoming)
        self._replies = self._headers(self._outgoing)
        self._lengths = _every_length(self._received)
        size, at = ctypes.sizeof(_SourceInfo), _SourceInfo.source.offset
        infos = memoryview(self._infos).cast("B")
        self._asked = [infos[number * size + at :][:4] for number in range(BATCH)]

    def receive(self) -> list[tuple[bytes, bytes]]:
        """Return packets, at most 64, each with the packed address that it was sent to; never wait."""
        start = ctypes.addressof(self._received)
        count: int = self._recvmmsg(self._descriptor, start, BATCH, socket.MSG_DONTWAIT, None)
        if count <= 0:
            return []
        lengths = self._lengths[:count].tolist()
        slots = zip(self._incoming.slots, lengths, self._asked, strict=False)
        return [(bytes(slot[:length]), bytes(asked)) for slot, length, asked in slots]

    def reply(self, replies: Sequence[bytes]) -> None:
        """Send one reply to each packet of the last `receive`, in order."""
        slots, lengths = self._outgoing.slots, self._outgoing.lengths
        for number, reply in enumerate(replies):
            slots[number][: len(reply)] = reply
            lengths[number] = len(reply)
        self._sendmmsg(self._descriptor, ctypes.addressof(self._replies), len(replies), 0)

    def _headers(self, slots: "_Slots") -> "ctypes.Array[_Message]":
        info, name = ctypes.addressof(self._infos), ctypes.addressof(self._names)
        return (_Message * BATCH)(
            *(
                _Message(
                    _Header(
                        name=name + 16 * number,
                        name_length=16,
                        iovec=ctypes.addressof(slots.iovecs) + ctypes.sizeof(_Iovec) * number,
                        iovec_count=1,
                        control=info + ctypes.sizeof(_SourceInfo) * number,
                        control_length=ctypes.sizeof(_SourceInfo),
                    )
                )
                for number in range(BATCH)
            )
        )


class _Slots:
    """Buffers for the bytes of a batch, and the iovecs that point there."""

    def __init__(self) -> None:
        self.bytes = ctypes.create_string_buffer(_SLOT * BATCH)
        self.slots = [memoryview(self.bytes).cast("B")[number * _SLOT :][:_SLOT] for number in range(BATCH)]
        start = ctypes.addressof(self.bytes)
        self.iovecs = (_Iovec * BATCH)(*(_Iovec(start + _SLOT * number, _SLOT) for number in range(BATCH)))
        words = memoryview(self.iovecs).cast("B").cast("L")  # size_t, on Linux
        self.lengths = words[1::2]


def _every_length(messages: "ctypes.Array[_Message]") -> memoryview:
    # The lengths alone, as one strided view: reading 64 ctypes fields would cost 20 us.
    words = memoryview(messages).cast("B").cast("I")
    return words[_Message.length.offset // 4 :: ctypes.sizeof(_Message) // 4]


def open_wildcard_socket(port: int = 0) -> socket.socket:
    """Return a UDP socket that takes what is sent to any address of this machine."""
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BUFFER)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER)
    opened.bind(("0.0.0.0", port))  # noqa: S104  all of 127.0.0.0/8, for which there is no narrower address
    return opened


def _system_calls() -> tuple["ctypes._NamedFuncPointer", "ctypes._NamedFuncPointer"]:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)
    libc.recvmmsg.argtypes = (*libc.sendmmsg.argtypes, ctypes.c_void_p)
    return libc.sendmmsg, libc.recvmmsg


def _source_info(host: str) -> _SourceInfo:
    address = (ctypes.c_ubyte * 4)(*socket.inet_aton(host))
    return _SourceInfo(ctypes.sizeof(_SourceInfo) - 4, socket.IPPROTO_IP, IP_PKTINFO, source=address)


def _socket_address(address: tuple[str, int]) -> bytes:
    host, port = address
    family = socket.AF_INET.to_bytes(2, sys.byteorder)
    return family + port.to_bytes(2, "big") + socket.inet_aton(host)
