"""Majorities: which index is committed, which vote is decided. Sets and numbers, nothing of Raft.

Invariants:
    RAFT_QUORUM_HAS_VOTERS   nobody decides for a quorum of nobody.
"""

from collections.abc import Collection, Hashable, Iterable, Mapping
from enum import Enum
from typing import TypeVar

VoterT = TypeVar("VoterT", bound=Hashable)


class Tally(Enum):
    """What the votes that are there say."""

    OPEN = "open"
    """Those that are missing decide."""
    WON = "won"
    LOST = "lost"


def majority(count: int) -> int:
    """Return how many of so many voters are a majority: any two majorities share a voter."""
    return count // 2 + 1


def majority_commit(acknowledged: Iterable[int]) -> int:
    """Return the greatest index that a majority of the voters has; one index a voter."""
    ordered = sorted(acknowledged)
    assert ordered, "RAFT_QUORUM_HAS_VOTERS"
    return ordered[len(ordered) - majority(len(ordered))]


def majority_vote(voters: Collection[VoterT], votes: Mapping[VoterT, bool]) -> Tally:
    """Return how an election stands; votes of others than these voters do not count."""
    assert voters, "RAFT_QUORUM_HAS_VOTERS"
    needed = majority(len(voters))
    granted = sum(votes.get(voter, False) for voter in voters)
    refused = sum(not votes.get(voter, True) for voter in voters)
    if granted >= needed:
        return Tally.WON
    return Tally.LOST if len(voters) - refused < needed else Tally.OPEN
