"""Handing the leadership over: bring one voter up to date, then let it campaign at once.

While it lasts nothing is proposed, so that the target can catch up. It ends with the leader's
resignation to a newer term, or after an election timeout, and then the leader goes on (Raft
dissertation, 3.10).
"""

from cluster.raft.voters import Voter


class Transfer:
    """One attempt."""

    __slots__ = ("_ticks_left", "to")

    def __init__(self, to: Voter, *, patience_ticks: int) -> None:
        """Try for so many ticks."""
        self.to = to
        self._ticks_left = patience_ticks

    def tick(self) -> bool:
        """Let time pass; tell whether the attempt has failed."""
        self._ticks_left -= 1
        return self._ticks_left <= 0
