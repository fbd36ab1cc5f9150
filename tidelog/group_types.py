"""What is told about consumer groups, and where one can be sent: frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from tidelog.types import Cursor, Start, TopicPartition

CommitMode: TypeAlias = Literal["after", "auto", "manual"]
"""after: a record counts when the program comes back for the next one (at least once). auto: when
it is handed out. manual: when the program says so."""


@dataclass(frozen=True, slots=True)
class Member:
    """One consumer of a group."""

    member_id: str
    client_id: str
    host: str
    """The client's address."""
    assignment: tuple[TopicPartition, ...]
    pending: tuple[TopicPartition, ...] = ()
    """Assigned, but still held by another member."""
    instance_id: str | None = None


@dataclass(frozen=True, slots=True)
class GroupInfo:
    """A group."""

    name: str
    kind: Literal["classic", "native"]
    state: Literal["unknown", "empty", "assigning", "reconciling", "stable", "dead"]
    epoch: int
    members: tuple[Member, ...]
    """Empty in a list of groups."""
    assignor: str = ""
    coordinator: int | None = None


@dataclass(frozen=True, slots=True)
class GroupOffset:
    """Where a group stands in one partition."""

    partition: TopicPartition
    committed: Cursor | None
    """None: nothing is committed."""
    log_start_offset: int | None
    """None, likewise the three below: the partition's leader did not answer."""
    high_watermark: int | None
    lag: int | None
    """Offsets between the committed one (or the log start) and the end of what can be read."""
    lag_time: timedelta | None
    """How long the first record that was not read has been there; zero: nothing to read."""
    truncated: bool
    """Retention has passed the committed offset."""
    member_id: str | None
    """Who reads it now."""


@dataclass(frozen=True, slots=True)
class OffsetChange:
    """One entry of a group's history."""

    after: Cursor
    before: int | None
    time: datetime
    cause: Literal["unknown", "commit", "transaction", "seek"]
    actor: str
    """The member that committed, or who sought."""


@dataclass(frozen=True, slots=True)
class CommittedAt:
    """Where a group was at that moment."""

    time: datetime


@dataclass(frozen=True, slots=True)
class SameAs:
    """Where another group is."""

    group: str


SeekTarget: TypeAlias = Start | CommittedAt | SameAs | Mapping[TopicPartition, int]
"""Where a whole group can be sent."""


@dataclass(frozen=True, slots=True)
class SeekChange:
    """One partition's move."""

    partition: TopicPartition
    before: int | None
    """None: nothing was committed."""
    after: int
    redelivered: int
    """Offsets that come again."""
    skipped: int
    """Offsets that this group will never get."""
    truncated: bool
    """What the group was sent back to was removed, or may have been: history between the place
    asked for and `after`; of a time, a record of that time or of any later one."""


@dataclass(frozen=True, slots=True)
class SeekPlan:
    """A seek as it was done, or as it would be done."""

    changes: tuple[SeekChange, ...]
    member_count: int
    """Live members that are (or would be) fenced."""
    applied: bool
    """False: a dry run."""
    left: tuple[TopicPartition, ...] = ()
    """What stays as it is: of topics that were named, what `SameAs` says nothing of."""
