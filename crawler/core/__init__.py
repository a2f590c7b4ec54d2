"""What all crawls share: pace, exclusion, frontier, session."""
