"""Who gets which partition: even, sticky, total, and the same each time."""

from collections.abc import Mapping
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer_groups.assignors.candidate import Candidate, Targets
from consumer_groups.assignors.range import by_range
from consumer_groups.assignors.table import ASSIGNORS, check_assignor
from consumer_groups.assignors.uniform import uniform
from consumer_groups.records import MemberId
from consumer_groups.settings import AssignorName
from model.errors import ErrorCode, RequestError
from model.ids import PartitionId, TopicId

A, B, C = (TopicId(bytes([number]) * 16) for number in (1, 2, 3))
NAMES = [MemberId(name) for name in "uvwxyz"]


def candidate(
    *topics: TopicId, target: tuple[PartitionId, ...] = (), instance_id: str | None = None
) -> Candidate:
    return Candidate(frozenset(topics), target, instance_id)


def partitions(topic: TopicId, *numbers: int) -> tuple[PartitionId, ...]:
    return tuple(PartitionId(topic, number) for number in numbers)


@st.composite
def questions(draw: st.DrawFn) -> tuple[dict[MemberId, Candidate], dict[TopicId, int]]:
    """Draw members, some of which had something before, also what is not there any more."""
    counts = {topic: draw(st.integers(1, 4)) for topic in draw(st.sets(st.sampled_from([A, B, C])))}
    everything = [PartitionId(topic, number) for topic in (A, B, C) for number in range(4)]
    had = {row: draw(st.sampled_from([None, *NAMES])) for row in everything}
    members = {}
    for name in draw(st.sets(st.sampled_from(NAMES))):
        topics = draw(st.sets(st.sampled_from([A, B, C]))) & counts.keys()
        target = tuple(row for row, owner in had.items() if owner == name)
        instance_id = draw(st.none() | st.sampled_from("ab"))
        members[name] = Candidate(frozenset(topics), target, instance_id)
    return members, counts


@pytest.mark.parametrize("assignor", ASSIGNORS.values(), ids=ASSIGNORS)
@given(question=questions())
def test_every_partition_that_somebody_wants_goes_to_one_that_wants_it(
    assignor: object, question: tuple[dict[MemberId, Candidate], dict[TopicId, int]]
) -> None:
    members, counts = question
    assert callable(assignor)
    targets: Targets = assignor(members, counts)
    assert targets == assignor(dict(reversed(members.items())), counts)
    assert targets.keys() == members.keys()
    given_out = [row for target in targets.values() for row in target]
    wanted = {topic for member in members.values() for topic in member.topics}
    assert sorted(given_out) == sorted(
        PartitionId(topic, number) for topic in wanted for number in range(counts[topic])
    )
    for name, target in targets.items():
        assert list(target) == sorted(target)
        assert {row.topic for row in target} <= members[name].topics


@given(question=questions())
def test_uniform_leaves_nobody_with_two_more_of_what_another_could_take(
    question: tuple[dict[MemberId, Candidate], dict[TopicId, int]],
) -> None:
    members, counts = question
    targets = uniform(members, counts)
    for giver, taker in product(members, repeat=2):
        could = [row for row in targets[giver] if row.topic in members[taker].topics]
        assert not could or len(targets[giver]) - len(targets[taker]) <= 1


@given(owners=st.lists(st.sampled_from([None, *range(5)]), max_size=14), members=st.integers(1, 5))
def test_uniform_moves_no_more_than_it_must(owners: list[int | None], members: int) -> None:
    """All want the same: what is above a member's share is moved, and nothing else."""
    names = NAMES[:members]
    had = {
        name: partitions(A, *(number for number, owner in enumerate(owners) if owner == place))
        for place, name in enumerate(names)
    }
    question = {name: candidate(A, target=had[name]) for name in names}
    targets = uniform(question, {A: len(owners)})
    kept = sum(len(set(had[name]) & set(targets[name])) for name in names)
    assert kept == most_kept([len(row) for row in had.values()], len(owners))


def most_kept(had: list[int], count: int) -> int:
    """Return how many can stay: the larger shares go to those who had most."""
    least, more = divmod(count, len(had))
    shares = [least + (place < more) for place in range(len(had))]
    return sum(map(min, sorted(had, reverse=True), shares))


@given(question=questions())
def test_uniform_asked_again_moves_nothing(
    question: tuple[dict[MemberId, Candidate], dict[TopicId, int]],
) -> None:
    members, counts = question
    targets = uniform(members, counts)
    assert uniform(having(members, targets), counts) == targets


@given(members=st.integers(2, 6), count=st.integers(0, 20))
def test_when_a_member_goes_uniform_disturbs_no_partition_that_another_keeps(
    members: int, count: int
) -> None:
    question = {name: candidate(A, B) for name in NAMES[:members]}
    before = uniform(question, {A: count, B: 3})
    left = having(question, before)
    del left[NAMES[0]]
    after = uniform(left, {A: count, B: 3})
    for name, target in after.items():
        assert set(before[name]) <= set(target)


def having(members: Mapping[MemberId, Candidate], targets: Targets) -> dict[MemberId, Candidate]:
    return {name: member._replace(target=targets[name]) for name, member in members.items()}


def test_uniform_spreads_each_topic_at_first() -> None:
    targets = uniform({name: candidate(A, B) for name in NAMES[:2]}, {A: 2, B: 2})
    assert all({row.topic for row in target} == {A, B} for target in targets.values())


def test_uniform_gives_scarce_topics_to_those_who_alone_may_have_them() -> None:
    targets = uniform({NAMES[0]: candidate(A), NAMES[1]: candidate(A, B)}, {A: 4, B: 2})
    assert {row.topic for row in targets[NAMES[0]]} == {A}
    assert [len(targets[name]) for name in NAMES[:2]] == [3, 3]


def test_uniform_takes_partitions_that_two_claim_for_one_of_them() -> None:
    """Only a bug makes such targets; one owner all the same."""
    both = partitions(A, 0)
    targets = uniform({name: candidate(A, target=both) for name in NAMES[:2]}, {A: 1})
    assert sorted(map(len, targets.values())) == [0, 1]


def test_range_gives_the_same_numbers_of_each_topic_to_the_same_member() -> None:
    targets = by_range({name: candidate(A, B) for name in NAMES[:2]}, {A: 5, B: 5})
    assert targets == {
        NAMES[0]: (*partitions(A, 0, 1, 2), *partitions(B, 0, 1, 2)),
        NAMES[1]: (*partitions(A, 3, 4), *partitions(B, 3, 4)),
    }


def test_range_cuts_each_topic_for_those_who_want_it() -> None:
    targets = by_range({NAMES[0]: candidate(A), NAMES[1]: candidate(A, B)}, {A: 2, B: 2, C: 1})
    assert targets == {
        NAMES[0]: partitions(A, 0),
        NAMES[1]: (*partitions(A, 1), *partitions(B, 0, 1)),
    }


def test_range_places_members_by_instance_id_first() -> None:
    """A process that comes back under its instance id, with a new member id, gets the same run."""
    question = {
        MemberId("a"): candidate(A),
        MemberId("z"): candidate(A, instance_id="2"),
        MemberId("y"): candidate(A, instance_id="1"),
    }
    targets = by_range(question, {A: 3})
    assert targets == {
        MemberId("y"): partitions(A, 0),
        MemberId("z"): partitions(A, 1),
        MemberId("a"): partitions(A, 2),
    }


def test_every_name_in_the_settings_is_an_assignor() -> None:
    assert {name.value for name in AssignorName} == ASSIGNORS.keys()
    assert check_assignor("range") == "range"
    with pytest.raises(RequestError, match="there are: range, uniform") as refused:
        check_assignor("sticky")
    assert refused.value.code is ErrorCode.INVALID_REQUEST


def test_one_member_more_than_a_thousand_moves_one_share() -> None:
    """At the bound of a group (MEMBERS_PER_GROUP_MAX) what others keep is not touched."""
    names = [MemberId(f"m{number}") for number in range(1_000)]
    question = {name: candidate(A) for name in names}
    before = uniform(question, {A: 4_000})
    assert {len(target) for target in before.values()} == {4}
    grown = having(question, before) | {MemberId("n"): candidate(A)}
    after = uniform(grown, {A: 4_000})
    assert sum(len(set(before[name]) - set(after[name])) for name in names) == 3
