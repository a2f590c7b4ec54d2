"""Trackers on loopback for the swarms of a network: with the manners of real ones, and the lies of others.

`styles` says what a tracker does, `tracked_swarms` which peers announced where, `tracker` puts both together,
`udp_answers` and `http_answers` write what it says.  `server` puts trackers on sockets.
"""
