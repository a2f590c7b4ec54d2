"""A whole DHT played by one process, with the truth about it: for everybody who develops a crawler.

`network.Network` is the model: hand it a datagram, it says what comes back.  Below it, `population`
says who is there, `tables` whom each knows, `swarms` who stores what, `sampling` who shows what,
`replies` and `hostile` what is written.  Above it, `server.open_server` puts a network on loopback,
`memory.SyntheticMemoryNetwork` into a test in virtual time; `truth` writes down what is true.
"""
