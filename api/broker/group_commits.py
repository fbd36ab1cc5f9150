"""Commit offsets of a group: by a member over its stream, in a member's name, or from outside."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

from api.broker.context import BrokerContext
from api.broker.every_partition import EveryPartition
from api.broker.group_state import GroupState
from api.broker.group_topics import ImageTopics
from api.broker.place import Latest
from api.broker.reach import reach_of
from api.broker.readable import Readable
from api.broker.resolve import Resolve
from consumer_groups.records import GroupEpoch, Owned
from consumer_groups.requests import Actor, Commit, Cursor
from model.errors import ErrorCode, RequestError
from model.ids import GroupId, LeaderEpoch, Offset, PartitionId
from model.names import check_topic_name
from model.principal import Principal

NEVER: Final = GroupEpoch(-1)
"""Epoch of a hold that a member was not told of: it has none of so early."""
NOTHING: Final[Mapping[PartitionId, Offset]] = MappingProxyType({})


class NamedCursor(NamedTuple):
    """How far a partition was read, as its reader names it."""

    topic: str
    number: int
    offset: Offset
    leader_epoch: LeaderEpoch | None = None
    """Of the record before the offset; None = not told."""
    metadata: str = ""


@dataclass(frozen=True, slots=True)
class GroupCommits:
    """The use case; one for each node. Loop only."""

    node: BrokerContext
    partitions: EveryPartition
    state: GroupState
    resolve: Resolve

    async def __call__(
        self,
        group: GroupId,
        actor: Actor,
        cursors: Sequence[NamedCursor],
        *,
        meant: Callable[[NamedCursor], Owned | None] | None = None,
        claimed: Mapping[PartitionId, Offset] = NOTHING,
    ) -> list[RequestError | None]:
        """Remember offsets; return what became of each, in order: None = committed.

        `meant`: the hold that a member means by the name of a partition; None where it was told of
        none. Without it a name is that of the topic which has it now. `claimed`: how far the member
        has read where other nodes lead, by its own word; this node may have heard of less.

        A row is refused with INVALID_TOPIC_NAME, UNKNOWN_TOPIC, UNKNOWN_PARTITION,
        OFFSET_OUT_OF_RANGE (beyond the end), INVALID_REQUEST (below zero),
        OFFSET_METADATA_TOO_LARGE, STALE_MEMBER_EPOCH.

        Raises:
            RequestError: UNKNOWN_MEMBER, FENCED_INSTANCE, STALE_MEMBER_EPOCH, GROUP_NOT_EMPTY (from
                outside), INVALID_REQUEST (a partition named twice), LIMIT_EXCEEDED; DISK_FULL and
                its like.
        """
        rows: list[RequestError | None] = []
        found: list[Cursor] = []
        for cursor in cursors:
            try:
                found.append(self._found(cursor, meant, claimed))
                rows.append(None)
            except RequestError as refusal:
                rows.append(refusal)
        request = Commit(group=group, actor=actor, cursors=tuple(found))
        decided = await self.state.call(
            group,
            lambda machine, now: machine.commit(
                request, now=now, topics=ImageTopics(self.node.quorum.image)
            ),
        )
        answers = iter(decided)
        return [row if row is not None else next(answers).error for row in rows]

    async def ask_ends(
        self, principal: Principal, group: GroupId, cursors: Sequence[NamedCursor]
    ) -> None:
        """Let leaders tell how far those partitions go of which less is known here.

        For commits from outside: a member's are decided in their order, so nothing is awaited
        before, and what it has read was told here. Whatever cannot be learned stays unknown.

        Raises:
            RequestError: NOT_COORDINATOR, COORDINATOR_LOADING: nobody was asked.
        """
        self.state.check_led(group)
        unknown: list[Readable] = []
        for cursor in cursors:
            try:
                partition = self.partitions.get(cursor.topic, cursor.number)
            except RequestError:
                continue  # its row is refused for that
            if not partition.serves and cursor.offset > self.partitions.end_of(partition):
                unknown.append(partition)
        await self.resolve.each(principal, unknown, Latest())

    def _found(
        self,
        cursor: NamedCursor,
        meant: Callable[[NamedCursor], Owned | None] | None,
        claimed: Mapping[PartitionId, Offset],
    ) -> Cursor:
        """Return the cursor of the partition that is meant.

        Raises:
            RequestError: INVALID_TOPIC_NAME, UNKNOWN_TOPIC, UNKNOWN_PARTITION, OFFSET_OUT_OF_RANGE.
        """
        hold = None if meant is None else meant(cursor)
        if hold is None:
            partition = self.partitions.get(check_topic_name(cursor.topic), cursor.number)
        else:
            partition = self.partitions.get_by_id(hold.partition.topic, cursor.number)
        since_epoch = None if meant is None else NEVER
        if hold is not None:
            since_epoch = hold.since_epoch
        end = max(self.partitions.end_of(partition), reach_of(partition))
        if not partition.serves:
            end = max(end, claimed.get(partition.id, end))
        if cursor.offset > end:
            raise RequestError(
                ErrorCode.OFFSET_OUT_OF_RANGE,
                f"{cursor.topic}/{cursor.number}: offset {cursor.offset} lies beyond the end, "
                f"{end}: nothing there can have been read",
                topic=cursor.topic,
                partition=str(cursor.number),
                offset=str(cursor.offset),
                log_start_offset=str(partition.log_start),
                high_watermark=str(end),
            )
        return Cursor(
            partition=PartitionId(partition.topic.topic_id, cursor.number),
            offset=cursor.offset,
            leader_epoch=cursor.leader_epoch,
            metadata=cursor.metadata,
            since_epoch=since_epoch,
        )
