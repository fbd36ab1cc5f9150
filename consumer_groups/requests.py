"""What can be asked of a group's coordinator. Names and texts were checked at the door."""

from dataclasses import dataclass
from typing import TypeAlias

from consumer_groups.records import GroupEpoch, LeaveReason, MemberId, Owned, StreamNumber
from model.ids import GroupId, LeaderEpoch, Offset, PartitionId, TopicId, TopicName


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """A new member comes, over a stream of its own."""

    group: GroupId
    new_member_id: MemberId
    """Never used before: the asker draws it."""
    stream: StreamNumber
    topics: tuple[TopicName, ...]
    instance_id: str | None = None
    client_id: str = ""
    host: str = ""
    session_timeout_ms: int | None = None
    """None, here and below: the node's setting."""
    rebalance_timeout_ms: int | None = None
    resume_timeout_ms: int | None = None
    assignor: str | None = None
    """What the group's configuration says; takes effect with this join."""
    starts: "tuple[Cursor, ...]" = ()
    """Where the group begins with this join, in topics where it has not: see `Begin`."""
    alike: frozenset[MemberId] = frozenset()
    """Members that are there and begin so too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """A member whose stream broke goes on over another one."""

    group: GroupId
    member_id: MemberId
    member_epoch: GroupEpoch
    """What it was told last."""
    stream: StreamNumber
    instance_id: str | None = None
    """As it joined; who took its place has the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    """A member hands partitions over: its last commit of them came before."""

    group: GroupId
    member_id: MemberId
    stream: StreamNumber
    holds: tuple[Owned, ...]
    """Each as it was when the member was asked for it: a later hold of the same is not meant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """A member goes: it says so itself, or its time has run out.

    Whoever ends a membership names the stream that it knows: a member that has come back over
    another one meanwhile is not meant.
    """

    group: GroupId
    member_id: MemberId
    stream: StreamNumber
    reason: LeaveReason = LeaveReason.LEFT


@dataclass(frozen=True, slots=True)
class ByStream:
    """A commit that came over a member's stream."""

    member_id: MemberId
    stream: StreamNumber


@dataclass(frozen=True, slots=True)
class ByEpoch:
    """A commit beside the stream, in a member's name."""

    member_id: MemberId
    member_epoch: GroupEpoch


@dataclass(frozen=True, slots=True)
class FromOutside:
    """A commit by somebody who is no member."""

    principal: str


Actor: TypeAlias = ByStream | ByEpoch | FromOutside


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """How far one partition was read: the next offset to read."""

    partition: PartitionId
    offset: Offset
    leader_epoch: LeaderEpoch | None = None
    metadata: str = ""
    since_epoch: GroupEpoch | None = None
    """Of the hold that a member means, over its stream; None: whichever it has by now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """Remember how far the group has read."""

    group: GroupId
    actor: Actor
    cursors: tuple[Cursor, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """A member begins in a topic for its group: where, in each partition, also in others' ones."""

    group: GroupId
    by: ByStream
    topic: TopicId
    cursors: tuple[Cursor, ...]
    """All of this topic."""
    alike: frozenset[MemberId]
    """Members that begin so too. What others hold is theirs: they may have begun to read it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Where one partition of a group goes, resolved in its log."""

    partition: PartitionId
    after: Offset
    log_start: Offset
    truncated: bool = False
    """Retention has removed history between the place asked for and `after`."""
    leader_epoch: LeaderEpoch | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seek:
    """Send a group to another place, in all these partitions or in none."""

    group: GroupId
    principal: str
    moves: tuple[Move, ...]
    every: frozenset[PartitionId] | None = None
    """What was meant by every partition with an offset; None: the partitions were named."""
    force: bool = False
    """Also a group with members: they are fenced."""
    validate_only: bool = False
    """Answer with the plan; change nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteOffsets:
    """Forget offsets of partitions that no member consumes."""

    group: GroupId
    partitions: tuple[PartitionId, ...]
