"""The cost and the results of a census."""
