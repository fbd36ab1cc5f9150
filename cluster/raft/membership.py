"""Changing who belongs to the quorum: one member at a time, and never blindly.

A configuration counts from the moment its entry is appended, not when it is committed (Raft
dissertation, 4.1). With one voter more or less, any majority of the old one and any of the new
share a voter: that is all that makes a change safe. A leader therefore changes nothing while a
change is not committed, nor before an entry of its own term is (the flaw that was found in 2015:
https://groups.google.com/g/raft-dev/c/t4xj6dJTP6E).

A node that lost its directory is another member: first its old identity is removed, then the new
one is added as a learner, then it becomes a voter.

Invariants:
    RAFT_CHANGES_ONE_VOTER          a configuration differs by one voter from the one before it.
    RAFT_CONFIGURATIONS_IN_ORDER    configurations are noted in the order of their entries.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from cluster.raft.voters import VOTERS_MAX, Configuration, Voter
from model.ids import Index


class Refusal(Enum):
    """Why a leader, or who is none, does not do what it is asked for. Nothing has happened."""

    NOT_LEADER = "this member does not lead the quorum"
    NO_LEADER = "the quorum has no leader that this member knows"
    TRANSFERRING = "the leadership is being handed over"
    CHANGE_PENDING = "an earlier change of the quorum is not committed yet"
    TERM_NOT_COMMITTED = "the leader has committed nothing in its own term yet"
    NODE_TAKEN = "a member of the quorum has this node id already; remove it first"
    NOT_A_MEMBER = "no member of the quorum has this node id and directory"
    NOT_A_LEARNER = "only a learner becomes a voter"
    NOT_A_VOTER = "only a voter can lead"
    NOT_CAUGHT_UP = "the learner lacks too much of the log"
    LAST_VOTER = "the quorum needs a voter"
    TOO_MANY = "the quorum has as many members as it may"


class RefusedError(Exception):
    """A request to the core that it refuses: see `refusal`."""

    def __init__(self, refusal: Refusal) -> None:
        """Say why."""
        super().__init__(refusal.value)
        self.refusal = refusal


@dataclass(frozen=True, slots=True)
class AddLearner:
    """Send the log to one who does not count yet."""

    member: Voter


@dataclass(frozen=True, slots=True)
class Promote:
    """Let a learner count."""

    member: Voter


@dataclass(frozen=True, slots=True)
class Remove:
    """Let a voter or a learner go."""

    member: Voter


Change = AddLearner | Promote | Remove


def changed(configuration: Configuration, change: Change) -> Configuration:
    """Return the configuration after a change.

    Raises:
        RefusedError: NODE_TAKEN, NOT_A_LEARNER, NOT_A_MEMBER, LAST_VOTER, TOO_MANY.
    """
    voters, learners = configuration
    match change:
        case AddLearner(member):
            if any(member.node == other.node for other in configuration.members):
                raise RefusedError(Refusal.NODE_TAKEN)
            if len(configuration.members) >= VOTERS_MAX:
                raise RefusedError(Refusal.TOO_MANY)
            return Configuration(voters, (*learners, member))
        case Promote(member):
            if member not in learners:
                raise RefusedError(Refusal.NOT_A_LEARNER)
            return Configuration((*voters, member), _without(learners, member))
        case Remove(member):
            if member not in configuration.members:
                raise RefusedError(Refusal.NOT_A_MEMBER)
            if voters == (member,):
                raise RefusedError(Refusal.LAST_VOTER)
            return Configuration(_without(voters, member), _without(learners, member))


def check_step(old: Configuration, new: Configuration) -> None:
    """Assert that any majority of one shares a voter with any of the other."""
    assert len(set(old.voters) ^ set(new.voters)) <= 1, "RAFT_CHANGES_ONE_VOTER"


def _without(members: tuple[Voter, ...], member: Voter) -> tuple[Voter, ...]:
    return tuple(other for other in members if other != member)


class Configurations:
    """The configuration as of every index that the log still has: as truncation needs it."""

    __slots__ = ("_indexes", "_rows")

    def __init__(self, base: Configuration, *, index: Index) -> None:
        """Begin with the one that a snapshot, or the file of the vote, names."""
        self._indexes = [index]
        self._rows = [base]

    @property
    def newest(self) -> Configuration:
        """The one that counts."""
        return self._rows[-1]

    @property
    def newest_index(self) -> Index:
        """Where it stands in the log; the base's own if no entry names one."""
        return self._indexes[-1]

    def at(self, index: Index) -> Configuration:
        """Return the one as of an entry: what a snapshot of that index must hold."""
        return self._rows[max(0, bisect_right(self._indexes, index) - 1)]

    def since(self, index: Index) -> Sequence[Configuration]:
        """Return the one as of an entry, and all that were appended behind it."""
        return self._rows[max(0, bisect_right(self._indexes, index) - 1) :]

    def append(self, index: Index, configuration: Configuration) -> None:
        """Note the one that an entry names."""
        assert index > self._indexes[-1], "RAFT_CONFIGURATIONS_IN_ORDER"
        self._indexes.append(index)
        self._rows.append(configuration)

    def truncate(self, start: Index) -> None:
        """Forget those of entries from `start` on; the base stays."""
        while len(self._indexes) > 1 and self._indexes[-1] >= start:
            self._indexes.pop()
            self._rows.pop()

    def compact(self, through: Index) -> None:
        """Make the one as of `through` the base."""
        below = max(0, bisect_right(self._indexes, through) - 1)
        del self._indexes[:below], self._rows[:below]
