"""Names and seed shares, asked from peers (BEP 9 and 10)."""
