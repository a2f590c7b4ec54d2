"""CPU time per answered query, beside other nodes."""
