"""The tables and views of a crawl database: their SQL, what each column holds, and how they are made."""

from importlib.resources import files

__all__ = ["read_sql"]


def read_sql(name: str) -> str:
    """Return the text of schema.sql or views.sql."""
    return files(__name__).joinpath(name).read_text(encoding="utf-8")
