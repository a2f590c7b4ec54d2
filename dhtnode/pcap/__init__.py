"""Capture of our own packets: blocks of pcapng, headers around payloads, and sockets that record."""
