"""A node under a flood."""
