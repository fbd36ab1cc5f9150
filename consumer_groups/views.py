"""What is told about groups: immutable values, true when they were made."""

from dataclasses import dataclass
from enum import Enum

from consumer_groups.records import (
    GroupEpoch,
    GroupKind,
    MemberId,
    OffsetCommitted,
    Owned,
    StreamNumber,
)
from model.errors import RequestError
from model.ids import AppendTimeMs, GroupId, Offset, PartitionId, TopicName


class GroupState(Enum):
    """How a group stands."""

    EMPTY = "empty"
    """No members."""
    RECONCILING = "reconciling"
    """A partition is still held by a member that shall not have it."""
    STABLE = "stable"
    """Every member has what it shall have, and nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberView:
    """One member. Partitions stand in rising order of topic id and number."""

    member_id: MemberId
    epoch: GroupEpoch
    stream: StreamNumber
    instance_id: str | None
    client_id: str
    host: str
    topics: tuple[TopicName, ...]
    session_timeout_ms: int
    rebalance_timeout_ms: int
    resume_timeout_ms: int
    owned: tuple[Owned, ...]
    """To be delivered. A member that resumes is sent on from its own cursor only where
    `since_epoch` is not above the epoch that it named."""
    revoking: tuple[Owned, ...]
    """To be handed over: nothing more of them is delivered; commits are still accepted."""
    pending: tuple[PartitionId, ...]
    """Assigned, and still held: by another member, or by this one until it has handed it over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """Answer to a join and to a resume."""

    member: MemberView
    replaced: MemberId | None = None
    """The member that was fenced because it has the same instance id: end its stream with
    FENCED_INSTANCE."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSummary:
    """A group without its members."""

    group: GroupId
    kind: GroupKind
    state: GroupState
    epoch: GroupEpoch
    assignor: str
    member_count: int
    state_since: AppendTimeMs


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupView:
    """A group with its members, in the order of their ids."""

    summary: GroupSummary
    members: tuple[MemberView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetRow:
    """One partition of a group: what was committed, and who holds it."""

    partition: PartitionId
    committed: OffsetCommitted | None
    owner: MemberId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionRow:
    """What became of one partition of a request."""

    partition: PartitionId
    error: RequestError | None = None
    """None: done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeekRow:
    """One partition's move."""

    partition: PartitionId
    before: Offset | None
    """None: nothing was committed."""
    after: Offset
    redelivered: int
    """Offsets that will be delivered again."""
    skipped: int
    """Offsets that will never be delivered to this group."""
    truncated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SeekPlan:
    """A seek as it was done, or as it would be done."""

    rows: tuple[SeekRow, ...]
    """In the order of the request."""
    group_epoch: GroupEpoch
    """Afterwards; of a dry run: as it is."""
    fenced: tuple[MemberId, ...]
    """Members that are fenced by it: end their streams with STALE_MEMBER_EPOCH."""
