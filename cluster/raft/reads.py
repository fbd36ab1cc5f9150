"""Reads that must not be stale: from which index on each may be answered.

The leader notes what is committed when a read comes, then asks a majority whether it still leads;
the read may be answered once that index is applied (Raft dissertation, 6.4). It notes nothing
before it has committed an entry of its own term: until then it does not know what is committed.
Reads that come while a round of heartbeats is under way share the next one.

Invariants:
    RAFT_READ_AFTER_OWN_COMMIT   no index is noted before an own-term commit.
"""

from collections import deque
from typing import NamedTuple

from cluster.raft.voters import Voter
from model.ids import Index


class Read(NamedTuple):
    """One read that waits: whose, and its number there."""

    origin: Voter
    number: int


class Confirmed(NamedTuple):
    """A read that may be answered once the entry that it needs is applied."""

    read: Read
    needs: Index


class LeaderReads:
    """The reads of one leadership."""

    __slots__ = ("_asked", "_early", "_own_commit", "round")

    def __init__(self) -> None:
        """Begin with none, before the own-term commit."""
        self._early: list[Read] = []
        self._asked: deque[tuple[int, Confirmed]] = deque()
        self._own_commit = False
        self.round = 0
        """The newest round that has begun."""

    def add(self, read: Read, *, committed: Index) -> None:
        """Take a read; `committed` counts once there was an own-term commit."""
        if not self._own_commit:
            self._early.append(read)
        else:
            self._ask(read, committed)

    def own_term_committed(self, committed: Index) -> None:
        """Let those begin that came before."""
        self._own_commit = True
        for read in self._early:
            self._ask(read, committed)
        self._early.clear()

    def begin_round(self) -> bool:
        """Begin another round if a read waits for one; tell whether its heartbeats must leave."""
        if not self._asked or self._asked[-1][0] <= self.round:
            return False
        self.round += 1
        return True

    def confirm(self, round_: int) -> list[Confirmed]:
        """Return the reads of the rounds up to one that a majority has answered."""
        found: list[Confirmed] = []
        while self._asked and self._asked[0][0] <= round_:
            found.append(self._asked.popleft()[1])
        return found

    def _ask(self, read: Read, committed: Index) -> None:
        """Have the next round of heartbeats prove that this member led when the read had come."""
        assert self._own_commit, "RAFT_READ_AFTER_OWN_COMMIT"
        self._asked.append((self.round + 1, Confirmed(read, committed)))

    @property
    def waiting(self) -> list[Read]:
        """Every read that has no answer yet."""
        return [*self._early, *(confirmed.read for _, confirmed in self._asked)]


class ForwardedReads:
    """Reads that a follower has sent to its leader."""

    __slots__ = ("_since",)

    def __init__(self) -> None:
        """Begin with none."""
        self._since: dict[int, int] = {}

    def add(self, number: int) -> None:
        """Note one that left."""
        self._since[number] = 0

    def answered(self, number: int) -> bool:
        """Tell whether this one still waits; it does no longer."""
        return self._since.pop(number, None) is not None

    def tick(self, patience: int) -> list[int]:
        """Let time pass; return those that have waited for so many ticks: they are lost."""
        lost = [number for number, ticks in self._since.items() if ticks + 1 >= patience]
        self._since = {
            number: ticks + 1 for number, ticks in self._since.items() if ticks + 1 < patience
        }
        return lost

    def lose(self) -> list[int]:
        """Return all of them: the leader is gone."""
        lost = list(self._since)
        self._since.clear()
        return lost
