"""One lookup as data: candidates, retries, and subtrees of the target. Pure."""
