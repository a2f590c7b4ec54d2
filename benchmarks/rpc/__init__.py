"""CPU time per query of our client side."""
