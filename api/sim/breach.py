"""The end of a run in which something did not hold."""


class Breach(AssertionError):  # noqa: N818 - says what happened
    """An invariant does not hold: `name`, and what was seen."""

    def __init__(self, name: str, seen: str) -> None:
        """Name the invariant."""
        super().__init__(f"{name}: {seen}")
        self.name = name
