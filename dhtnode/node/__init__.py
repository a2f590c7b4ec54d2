"""One node on one socket: joining, refreshing, its id, and its state file."""
