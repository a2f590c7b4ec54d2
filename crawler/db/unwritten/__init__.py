"""Rows that cannot be written yet: how long they wait, and the file that takes them then."""
