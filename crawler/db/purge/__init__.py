"""Deleting from the database: what is old, and what a request asks for."""
