"""What a member says over its stream, and what it is told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from api.broker.group_commits import NamedCursor
from api.broker.place import Earliest, Place
from api.broker.read_on import Diverged, Gap, Step
from api.broker.readable import Readable
from api.broker.subscribe import Bounds, CaughtUp, FellBehind
from consumer_groups.records import GroupEpoch, MemberId
from model.errors import RequestError
from model.ids import GroupId, LeaderEpoch, Offset, PartitionId, TopicName

Named: TypeAlias = tuple[str, int]
"""A partition as its reader names it."""


class Stand(NamedTuple):
    """Where a reader stands in one partition: what it reads next."""

    offset: Offset
    last_epoch: LeaderEpoch | None = None
    """Of the record before it, as it was read; None = not told."""


class Rejoin(NamedTuple):
    """A member's claim on its place, when it resumes."""

    member_id: MemberId
    member_epoch: GroupEpoch
    """What it was told last."""
    stands: Mapping[PartitionId, Stand]
    """Where to go on in partitions that it still owns; else at the committed offset."""
    said: Mapping[Named, PartitionId | None]
    """What it says that it has, by the names that it knows; None: there is no such partition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """The first thing that a member says."""

    group: GroupId
    topics: tuple[TopicName, ...]
    rejoin: Rejoin | None = None
    """None: a new member."""
    instance_id: str | None = None
    session_timeout_ms: int | None = None
    """None, here and below: what the group's settings say."""
    rebalance_timeout_ms: int | None = None
    resume_timeout_ms: int | None = None
    start: Place = field(default_factory=Earliest)
    """Where nothing is committed."""
    at_join: Mapping[PartitionId, Offset] = field(default_factory=dict)
    """Where that lay when it joined, if it is counted from the end; also of one that resumes."""
    records: int = 0
    """First credit."""
    size_bytes: int = 0
    brought: bool = False
    """Another node takes what the member is told, for its client."""
    decoded: bool = False
    """Records are sent one by one: they cost what they are then, not what is stored."""


# What it says then.


class Grant(NamedTuple):
    """So many more records and bytes may be sent."""

    records: int
    size_bytes: int


class CommitTo(NamedTuple):
    """Remember these places."""

    correlation_id: int
    cursors: Sequence[NamedCursor]


class HandOver(NamedTuple):
    """These partitions are given back; their last commits came before."""

    partitions: Sequence[Named]


class Pause(NamedTuple):
    """Deliver nothing more of these, or again."""

    partitions: Sequence[Named]
    paused: bool


class GoTo(NamedTuple):
    """Go on elsewhere; nothing is committed by it."""

    partitions: Sequence[Named]
    """Empty: all that are assigned."""
    to: Place | None
    """None: the group's committed offset."""


class Alive(NamedTuple):
    """The member lives."""


class LeaveGroup(NamedTuple):
    """The member goes; everything is given back."""


Action: TypeAlias = Grant | CommitTo | HandOver | Pause | GoTo | Alive | LeaveGroup
ALIVE: Final = Alive()


# What it is told.


class Joined(NamedTuple):
    """It is a member, in this epoch of its group."""

    member_id: MemberId
    member_epoch: GroupEpoch
    session_timeout_ms: int


class Assigned(NamedTuple):
    """It is given these partitions; or goes on there in partitions that it has (`GoTo`)."""

    places: Sequence[Bounds]


class Revoke(NamedTuple):
    """It is to hand these over; nothing more of them is delivered."""

    names: Sequence[Named]
    """As the member knows them: another topic may have the name by now."""
    time_left_ms: int
    """0: they have been taken, or their topic is gone."""
    delivered: Sequence[Readable] = ()
    """Those of them that this stream delivered."""


class Committed(NamedTuple):
    """What became of a commit, in the order of its cursors; None: committed."""

    correlation_id: int
    cursors: Sequence[NamedCursor]
    results: Sequence[RequestError | None]


class Heartbeat(NamedTuple):
    """The node lives."""


Event: TypeAlias = (
    Joined
    | Assigned
    | Revoke
    | Committed
    | Sequence[Step]
    | CaughtUp
    | FellBehind
    | Gap
    | Diverged
    | Heartbeat
)
