"""As much of the protocol between peers as it takes for who they are and the name of a torrent.

We introduce ourselves (BEP 3, BEP 10), say that we have nothing (BEP 6), and may ask for the info
dictionary (BEP 9).  There is no way to send anything else from here: not that we are interested, and
no request for a piece of content.

Nothing in this package does I/O: bytes go in, bytes come out.  What a peer sends is bounded on every
path, and `BadPeer` is all that a reader of bytes can raise.
"""
