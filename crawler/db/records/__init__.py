"""The rows of the database as dataclasses."""
