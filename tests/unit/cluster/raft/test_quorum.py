"""Majorities, from their definition: any two of them share a voter."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.raft.quorum import Tally, majority, majority_commit, majority_vote

YES, NO = True, False


@pytest.mark.parametrize(
    ("voters", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4)]
)
def test_majority(voters: int, needed: int) -> None:
    assert majority(voters) == needed
    for first in combinations(range(voters), needed):
        for second in combinations(range(voters), needed):
            assert set(first) & set(second)


@pytest.mark.parametrize(
    ("acknowledged", "committed"),
    [
        ([4], 4),
        ([4, 9], 4),
        ([0, 0, 9], 0),
        ([3, 9, 5], 5),
        ([5, 5, 0], 5),
        ([7, 1, 1], 1),
        ([1, 2, 3, 4], 2),
        ([9, 9, 2, 0], 2),
        ([5, 1, 4, 2, 3], 3),
        ([8, 8, 8, 0, 0], 8),
        ([8, 8, 0, 0, 0], 0),
        ([6, 5, 4, 3, 2, 1], 3),
    ],
)
def test_majority_commit(acknowledged: list[int], committed: int) -> None:
    assert majority_commit(acknowledged) == committed


@pytest.mark.parametrize(
    ("voters", "votes", "tally"),
    [
        ("a", {}, Tally.OPEN),
        ("a", {"a": YES}, Tally.WON),
        ("a", {"a": NO}, Tally.LOST),
        ("ab", {"a": YES}, Tally.OPEN),
        ("ab", {"a": YES, "b": NO}, Tally.LOST),
        ("ab", {"a": YES, "b": YES}, Tally.WON),
        ("abc", {"a": YES}, Tally.OPEN),
        ("abc", {"a": YES, "b": NO}, Tally.OPEN),
        ("abc", {"a": YES, "c": YES}, Tally.WON),
        ("abc", {"a": NO, "b": NO, "c": YES}, Tally.LOST),
        ("abc", {"a": YES, "x": YES, "y": YES}, Tally.OPEN),
        ("abcd", {"a": YES, "b": YES}, Tally.OPEN),
        ("abcd", {"a": YES, "b": YES, "c": NO, "d": NO}, Tally.LOST),
        ("abcd", {"a": YES, "b": YES, "c": YES}, Tally.WON),
        ("abcde", {"a": YES, "b": YES, "c": NO, "d": NO}, Tally.OPEN),
        ("abcde", {"a": NO, "b": NO, "c": NO}, Tally.LOST),
    ],
)
def test_majority_vote(voters: str, votes: dict[str, bool], tally: Tally) -> None:
    assert majority_vote(voters, votes) is tally


@given(st.lists(st.integers(0, 20), min_size=1, max_size=9))
def test_an_index_is_committed_if_and_only_if_a_majority_has_it(acknowledged: list[int]) -> None:
    committed = majority_commit(acknowledged)
    more_than_half = len(acknowledged) / 2
    assert sum(index >= committed for index in acknowledged) > more_than_half
    assert sum(index >= committed + 1 for index in acknowledged) <= more_than_half


@given(st.dictionaries(st.integers(0, 6), st.sampled_from([True, False, None]), min_size=1))
def test_a_vote_is_decided_when_the_missing_ones_cannot_change_it(
    said: dict[int, bool | None],
) -> None:
    votes = {voter: vote for voter, vote in said.items() if vote is not None}
    half = len(said) / 2
    best = sum(vote is not False for vote in said.values())
    worst = sum(vote is True for vote in said.values())
    expected = Tally.WON if worst > half else Tally.LOST if best <= half else Tally.OPEN
    assert majority_vote(said, votes) is expected


@given(st.lists(st.booleans(), min_size=1, max_size=9))
def test_votes_and_commits_count_the_same(granted: list[bool]) -> None:
    """A candidate wins exactly if its ballot would be committed."""
    votes = dict(enumerate(granted))
    won = majority_vote(votes, votes) is Tally.WON
    assert won == (majority_commit(map(int, granted)) == 1)


def test_a_quorum_of_nobody_decides_nothing() -> None:
    with pytest.raises(AssertionError, match="RAFT_QUORUM_HAS_VOTERS"):
        majority_commit([])
    with pytest.raises(AssertionError, match="RAFT_QUORUM_HAS_VOTERS"):
        majority_vote([], {})
