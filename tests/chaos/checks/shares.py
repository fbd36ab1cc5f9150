"""What is known of a partition as one group sees it, for the rules of holds and of commits."""

from tests.chaos.checks.intervals import Intervals
from tests.chaos.history import Lossy, Reset


class Hold:
    """A partition in a member's hands."""

    __slots__ = (
        "client", "epoch", "least", "least_of", "most", "position", "share", "start",
        "superseded_by",
    )  # fmt: skip

    def __init__(self, client: str, share: "Share", epoch: int | None) -> None:
        """Begin."""
        self.client = client
        self.share = share
        self.epoch = epoch
        self.position: int | None = None
        """None: it begins at its first record."""
        self.start = 0
        self.least: int | None = None
        """What was committed for certain when it began, and who knew."""
        self.least_of = ""
        self.most = -1
        """The highest commit that anybody had begun by then."""
        self.superseded_by = ""
        """Who had a commit acknowledged after this hold had one."""


class Share:
    """One partition of one group."""

    __slots__ = (
        "acked", "acked_by", "at", "began", "epoch", "epoch_of", "given", "group", "most", "resets",
        "resetting", "valid",
    )  # fmt: skip

    def __init__(self, group: str, at: str) -> None:
        """Begin with nothing committed."""
        self.group = group
        self.at = at
        self.resets = 0
        """Rises when the group is sent elsewhere: when it is ordered, and when it is over."""
        self.resetting = False
        """Nothing is claimed of offsets meanwhile."""
        self.epoch = -1
        self.epoch_of = ""
        """Who was given it in the highest epoch that is known."""
        self.valid: Hold | None = None
        """The last hold that had a commit acknowledged: the coordinator knew it then."""
        self.forget()

    def forget(self) -> None:
        """Begin anew: the group was sent elsewhere."""
        self.acked: int | None = None
        """The highest commit that was acknowledged, or told of."""
        self.acked_by = ""
        self.most = -1
        """The highest commit that anybody began."""
        self.began: int | None = None
        """Where the first hold began that had a commit acknowledged."""
        self.given = Intervals()

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
        self._cut: set[str] = set()
        """Partitions that had a lossy election: readers go back in them, and so do their commits.
        From then on nothing is claimed of offsets there, only of who holds what."""
        self.handlers = {Reset: self._reset, Lossy: self._lossy}

    def share(self, group: str, at: str) -> Share:
        """Return what is known of a group's partition."""
        found = self.shares.get((group, at))
        if found is None:
            found = self.shares[group, at] = Share(group, at)
            found.resetting = at in self._cut
        return found

    def _reset(self, client: str, event: Reset) -> None:
        for at in event.places:
            share = self.share(event.group, at)
            share.resets += 1
            share.resetting = not event.over or at in self._cut
            share.forget()

    def _lossy(self, client: str, event: Lossy) -> None:
        self._cut.add(event.at)
        for share in self.shares.values():
            if share.at == event.at:
                share.resets += 1
                share.resetting = True
                share.forget()
