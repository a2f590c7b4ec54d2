"""Which process owns a run, and whether it is still there."""
