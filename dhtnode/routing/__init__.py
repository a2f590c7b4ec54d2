"""The routing table: buckets of contacts around our own id. Pure."""
