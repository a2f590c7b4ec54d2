"""`capture`: record what this program sends and receives, for the length of a block."""

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import trio

from dhtnode.arguments import check_type, check_whole
from dhtnode.net.udp import MAKE_SOCKET
from dhtnode.pcap.file import CaptureFile
from dhtnode.pcap.sockets import CapturedUdpSocket, CapturingFactory
from dhtnode.settings import CAPTURE_LIMIT

LEAST_BYTES = 1000


@contextmanager
def capture(path: Path | str, *, limit: int = CAPTURE_LIMIT) -> Iterator[None]:
    """Record the packets of all sockets that are opened within the block in a new file, as pcapng.

    These are the datagrams of nodes, the packets to and from UDP trackers, and the connections to peers,
    HTTP trackers and web seeds, these as on the wire, with TLS.  The file has at most `limit` bytes; packets
    beyond it are counted at its end.  A disk that is full ends the capture, with one line in the log, and
    nothing else.  It holds addresses of nodes and peers, and only its owner can read it.

    To be opened within Trio.  Raises `CaptureError` where there is a file already, or none can be made,
    `InvalidArgument`, and `RuntimeError` outside of Trio.
    """
    check_type("path", path, Path, str)
    check_whole("limit", limit, LEAST_BYTES, sys.maxsize)
    if not trio.lowlevel.in_trio_run():
        raise RuntimeError("a capture begins within Trio: use it inside of trio.run(main)")
    with closing(CaptureFile(Path(path), limit)) as file:
        before = trio.socket.set_custom_socket_factory(CapturingFactory(file))
        made = MAKE_SOCKET.set(partial(CapturedUdpSocket, file))
        try:
            yield
        finally:
            MAKE_SOCKET.reset(made)
            trio.socket.set_custom_socket_factory(before)
