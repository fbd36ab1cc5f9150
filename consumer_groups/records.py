"""What a coordinator's log says: the only things that ever change a group.

Bytes: docs/formats/group_records.md, written and read by `consumer_groups.codec`.
"""

from dataclasses import dataclass
from enum import IntEnum, unique
from typing import NamedTuple, NewType, TypeAlias

from model.ids import AppendTimeMs, GroupId, LeaderEpoch, Offset, PartitionId, TopicName

MemberId = NewType("MemberId", str)
"""Name of one membership, chosen by the node that took the member in; never used twice."""

GroupEpoch = NewType("GroupEpoch", int)
"""Counts a group's changes of members, topics and places; in KIP-848 the group epoch."""

StreamNumber = NewType("StreamNumber", int)
"""63 random bits that name one stream of one member; the newest alone is heard."""


@unique
class GroupKind(IntEnum):
    """Which protocol the members of a group speak. 1 is kept for Kafka's classic one."""

    UNSET = 0
    """No member yet: offsets only."""
    NATIVE = 2


@unique
class Cause(IntEnum):
    """Why a committed offset changed. 2 is kept for transactions."""

    COMMIT = 1
    SEEK = 3


@unique
class LeaveReason(IntEnum):
    """How a membership ended."""

    LEFT = 1
    """The member said so."""
    SESSION_ENDED = 2
    """Its stream was silent for its session timeout."""
    RESUME_ENDED = 3
    """Its stream broke and no other came within its resume timeout."""
    REPLACED = 4
    """A newer member came with its instance id (KIP-345)."""
    SOUGHT = 5
    """The group was sent to another place."""


class Owned(NamedTuple):
    """A partition that a member holds, and the group's epoch in which it got it.

    No two holds of one partition in one group have the same epoch.
    """

    partition: PartitionId
    since_epoch: GroupEpoch


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupChanged:
    """A group exists, or its epoch rose."""

    group: GroupId
    epoch: GroupEpoch
    kind: GroupKind
    state_since: AppendTimeMs
    """When its first member came or its last one went; for one that had none: its first commit."""
    assignor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberJoined:
    """A member came; in a snapshot, with the stream that it has by then."""

    group: GroupId
    member_id: MemberId
    epoch: GroupEpoch
    """The group's, in which it joined."""
    stream: StreamNumber
    instance_id: str | None
    client_id: str
    host: str
    topics: tuple[TopicName, ...]
    """In rising order, none twice."""
    session_timeout_ms: int
    rebalance_timeout_ms: int
    resume_timeout_ms: int
    replaced: MemberId | None
    """The member with the same instance id whose place it took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberResumed:
    """A member goes on over another stream; what the former one still says is refused."""

    group: GroupId
    member_id: MemberId
    stream: StreamNumber


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberLeft:
    """A membership ended; everything that it held is free."""

    group: GroupId
    member_id: MemberId
    reason: LeaveReason


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignmentChanged:
    """What a member holds, has to hand over and shall have: whole, in rising order."""

    group: GroupId
    member_id: MemberId
    epoch: GroupEpoch
    """The group's, in which it changed."""
    fenced_below: GroupEpoch
    """Who resumes with an older epoch does not know that partitions were taken from it."""
    owned: tuple[Owned, ...]
    revoking: tuple[Owned, ...]
    target: tuple[PartitionId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetCommitted:
    """A group has read a partition up to, not including, `offset`."""

    group: GroupId
    partition: PartitionId
    offset: Offset
    leader_epoch: LeaderEpoch | None
    """Of the record before the offset; None = not told."""
    metadata: str
    committed_at: AppendTimeMs
    actor: str
    """The member that committed, or the principal that did it from outside; empty: the node."""
    cause: Cause


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetsForgotten:
    """The offsets of these partitions are gone."""

    group: GroupId
    partitions: tuple[PartitionId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDeleted:
    """A group without members is gone, and its offsets with it."""

    group: GroupId


GroupRecord: TypeAlias = (
    GroupChanged
    | MemberJoined
    | MemberResumed
    | MemberLeft
    | AssignmentChanged
    | OffsetCommitted
    | OffsetsForgotten
    | GroupDeleted
)


def group_of_members(record: GroupRecord) -> GroupId | None:
    """Return the group of whose members a record tells something; None: it is about offsets."""
    return None if isinstance(record, OffsetCommitted | OffsetsForgotten) else record.group
