"""What an assignor is asked, and what it answers."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

from consumer_groups.records import MemberId
from model.ids import PartitionId, TopicId


class Candidate(NamedTuple):
    """A member as assignors see it."""

    topics: frozenset[TopicId]
    """What it may be given."""
    target: tuple[PartitionId, ...]
    """What it was to have before, as far as it still may."""
    instance_id: str | None


Candidates: TypeAlias = Mapping[MemberId, Candidate]
Targets: TypeAlias = dict[MemberId, tuple[PartitionId, ...]]
"""For each candidate its partitions, in rising order."""

Assignor: TypeAlias = Callable[[Candidates, Mapping[TopicId, int]], Targets]
"""From candidates, and how many partitions each topic has, to targets.

Every partition of a topic that a candidate wants goes to exactly one that wants it. The same
question has the same answer.
"""
