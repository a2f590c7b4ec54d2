"""Counts and intervals in words: a lower bound is never written as a size."""


def count_text(count: float | None, high: float | None) -> str:
    """Return a count for people; without an upper end it is a lower bound."""
    if count is None:
        return "unknown"
    return f"at least {count:.0f}" if high is None else f"{count:.0f}"


def between(low: float, high: float | None) -> str:
    """Return an interval for people."""
    return f"{low:.0f} or more" if high is None else f"{low:.0f} to {high:.0f}"
