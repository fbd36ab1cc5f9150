"""What is known of a partition as one group sees it; shared by the rules of holds and of commits."""

from tests.chaos.checks.intervals import Intervals
from tests.chaos.history import Reset


class Share:
    """One partition of one group."""

    __slots__ = (
        "acked", "acked_by", "at", "began", "epoch", "epoch_of", "given", "group", "most", "owner",
        "resets", "resetting", "turn",
    )  # fmt: skip

    def __init__(self, group: str, at: str) -> None:
        """Begin with nothing committed."""
        self.group = group
        self.at = at
        self.resets = 0
        """Rises when the group is sent elsewhere: when it is ordered, and when it is over."""
        self.resetting = False
        self.turn = 0
        """Rises with each member that is given it."""
        self.owner = ""
        """The last that was given it, until it begins to give it back."""
        self.epoch = -1
        self.epoch_of = ""
        """Who was given it in the highest epoch that is known."""
        self.forget()

    def forget(self) -> None:
        """Begin anew: the group was sent elsewhere."""
        self.acked: int | None = None
        """The highest commit that was acknowledged, or told of."""
        self.acked_by = ""
        self.most = -1
        """The highest commit that anybody began."""
        self.began: int | None = None
        """The lowest place at which a member began."""
        self.given = Intervals()

    def reached(self) -> int | None:
        """Return up to where the group was given everything; None: it has not begun."""
        return None if self.began is None else self.given.reach(self.began)

    def raise_acked(self, offset: int, client: str) -> None:
        """Note that an offset is committed for certain."""
        if self.acked is None or offset > self.acked:
            self.acked, self.acked_by = offset, client

    def __str__(self) -> str:
        """Return how it is called in a report."""
        return f"{self.group}/{self.at}"


class Shares:
    """All partitions of all groups."""

    def __init__(self) -> None:
        """Begin with none."""
        self.shares: dict[tuple[str, str], Share] = {}
        self.handlers = {Reset: self._reset}

    def share(self, group: str, at: str) -> Share:
        """Return what is known of a group's partition."""
        found = self.shares.get((group, at))
        if found is None:
            found = self.shares[group, at] = Share(group, at)
        return found

    def _reset(self, client: str, event: Reset) -> None:
        for at in event.places:
            share = self.share(event.group, at)
            share.resets += 1
            share.resetting = not event.over
            share.forget()
