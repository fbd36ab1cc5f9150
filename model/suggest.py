"""The name that was probably meant: for errors that say what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """Return the nearest known name, or None if none is near (difflib's ratio of 0.6)."""
    matches = get_close_matches(name, list(known), n=1)
    return matches[0] if matches else None
