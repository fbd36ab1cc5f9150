"""Where everything by chance in a run comes from: a name, which holds the seed."""

from random import Random


def chance(*name: object) -> Random:
    """Return a generator that is the same for the same name, on every machine."""
    return Random(" ".join(map(str, name)))  # noqa: S311 - it is to be guessed: runs repeat
