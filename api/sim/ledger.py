"""What clients were told of a group's commits in one partition, and what it may show after that.

The commits come one after the other, from outside a session. One that was acknowledged counts from
then on. One of unknown outcome may lie on a link that broke, and arrive behind newer ones that came
by another node: nothing tells it from one that was sent last. So it may still come, whatever was
acknowledged meanwhile, and only once. What was refused as not done never comes.
"""

from collections import Counter

from api.sim.breach import Breach


class Commits:
    """Judges what is shown. The offsets are those of one group in one partition."""

    def __init__(self) -> None:
        """Begin with a group that has committed nothing here."""
        self._counts: int | None = None
        self._open: Counter[int] = Counter()
        """Offsets of the commits that may still come; how many of each."""

    def acknowledged(self, offset: int) -> None:
        """A commit was answered as done."""
        self._counts = offset

    def unanswered(self, offset: int) -> None:
        """Nobody knows whether a commit was done, or will be."""
        self._open[offset] += 1

    def shown(self, offset: int | None, *, to: str) -> None:
        """Somebody was shown what is committed; None: nothing is.

        Raises:
            Breach: it is not what counts, and no commit that may still come.
        """
        if offset == self._counts:
            return
        if offset is None or not self._open[offset]:
            raise Breach("COMMITS_NEVER_FALL", f"{to}: {offset}, {self._counts} before")
        self._open[offset] -= 1
        self._counts = offset
