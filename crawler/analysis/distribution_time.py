"""How long it takes at least until all peers have a file: from a server alone, and with the peers' help.

Both are lower bounds of a fluid model (Kurose and Ross, Computer Networking, section 2.5): F bits go to N
peers from a server that uploads u_s bits per second; a peer uploads u on average, and downloads
at d_min or more.

    client-server    max(N F / u_s, F / d_min)
    peer-to-peer     max(F / u_s, F / d_min, N F / (u_s + N u))

The slides write the sum of what all peers upload for N u: how it is spread over them does not matter.
Neither falls as peers come, nor rises as the server gets faster: an interval of N, or of the seeds that are
the server, becomes one of the time by its ends.
"""

from math import inf


def client_server_time(peers: float, size: float, server: float, slowest_download: float = inf) -> float:
    """Return the seconds until the last of the peers has the file, if the server sends each of them all.

    `size` is in bits, rates are in bits per second.  `inf` stands for peers without number, and for a time
    that never ends: that of a server which uploads nothing.
    """
    if not peers:
        return 0.0
    return max(_seconds(size, server / peers), _seconds(size, slowest_download))


def peer_to_peer_time(
    peers: float, size: float, server: float, peer: float, slowest_download: float = inf
) -> float:
    """Return the seconds until the last of the peers has the file, if they pass on what they have.

    As `client_server_time`; `peer` is the mean rate at which peers upload.  However many come, it stays below
    the time in which one of them uploads the file, or the server does.
    """
    if not peers:
        return 0.0
    shared = _seconds(size, server / peers + peer)
    return max(_seconds(size, server), _seconds(size, slowest_download), shared)


def _seconds(size: float, rate: float) -> float:
    if not size:
        return 0.0
    return size / rate if rate else inf
