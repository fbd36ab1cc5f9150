"""Send a group to another place, at rest or while it runs: where each partition goes, then all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from api.broker.context import BrokerContext
from api.broker.group_commits import NamedCursor
from api.broker.group_state import GroupState
from api.broker.group_topics import ImageTopics
from api.broker.members import Members
from api.broker.place import AtOffset, Place
from api.broker.resolve import Resolve
from cluster.shell.hosted_partition import HostedPartition
from consumer_groups.records import GroupEpoch
from consumer_groups.requests import Move, Seek
from consumer_groups.views import SeekRow
from model.errors import ErrorCode, RequestError
from model.ids import GroupId, LeaderEpoch, Offset, PartitionId
from model.names import check_topic_name
from model.principal import Principal


class ToPlace(NamedTuple):
    """To the same place in every partition."""

    place: Place


class ToGroup(NamedTuple):
    """To where another group is."""

    group: GroupId


class ShiftBy(NamedTuple):
    """So many offsets on, or back, from where the group is; held within the log."""

    offsets: int


class ToCursors(NamedTuple):
    """To a place for each partition."""

    cursors: Sequence[NamedCursor]


Target: TypeAlias = ToPlace | ToGroup | ShiftBy | ToCursors


@dataclass(frozen=True, slots=True, kw_only=True)
class SeekGroup:
    """What is asked for."""

    group: GroupId
    target: Target
    partitions: Sequence[HostedPartition] | None = None
    """None: every partition with a commit, of this group or of the one to go to."""
    force: bool = False
    validate_only: bool = False


class Change(NamedTuple):
    """One partition's move; `error` where it cannot be done, in a plan only."""

    partition: HostedPartition
    row: SeekRow | None
    error: RequestError | None = None


class Sought(NamedTuple):
    """The plan, or what was done."""

    changes: Sequence[Change]
    group_epoch: GroupEpoch
    member_count: int
    """Live members that are fenced by it."""


Standing: TypeAlias = Mapping[PartitionId, tuple[Offset, LeaderEpoch | None]]


@dataclass(frozen=True, slots=True)
class GroupSeek:
    """The use case; one for each node. Loop only."""

    node: BrokerContext
    state: GroupState
    members: Members
    resolve: Resolve

    async def __call__(self, principal: Principal, asked: SeekGroup) -> Sought:
        """Move a group in all partitions or in none; with `validate_only` only tell the plan.

        Raises:
            RequestError: GROUP_NOT_EMPTY, UNKNOWN_GROUP, OFFSET_OUT_OF_RANGE, INVALID_REQUEST and
                whatever makes one partition's move impossible, unless it is a plan.
        """
        standing = await self._standing(asked)
        partitions = asked.partitions
        if partitions is None:
            partitions = self._named_by(asked.target, standing)
        moves: list[Move] = []
        errors: dict[PartitionId, RequestError] = {}
        for partition in partitions:
            try:
                moves.append(await self._move(principal, partition, asked, standing=standing))
            except RequestError as refusal:
                if not asked.validate_only:
                    raise
                errors[partition.log.id] = refusal
        if not moves and errors:
            return await self._only_errors(asked, partitions, errors)
        return await self._sought(principal, asked, partitions, moves=moves, errors=errors)

    async def _sought(
        self,
        principal: Principal,
        asked: SeekGroup,
        partitions: Sequence[HostedPartition],
        *,
        moves: Sequence[Move],
        errors: Mapping[PartitionId, RequestError],
    ) -> Sought:
        request = Seek(
            group=asked.group,
            principal=principal.name,
            moves=tuple(moves),
            force=asked.force,
            validate_only=asked.validate_only,
        )
        plan = await self.state.call(
            asked.group,
            lambda machine, now: machine.seek(
                request, now=now, topics=ImageTopics(self.node.quorum.image)
            ),
        )
        if not asked.validate_only:
            self.members.fenced(asked.group, plan.fenced, _sent_elsewhere(asked.group))
        rows = {row.partition: row for row in plan.rows}
        changes = [Change(one, rows.get(one.log.id), errors.get(one.log.id)) for one in partitions]
        return Sought(changes, plan.group_epoch, len(plan.fenced))

    async def _only_errors(
        self,
        asked: SeekGroup,
        partitions: Sequence[HostedPartition],
        errors: Mapping[PartitionId, RequestError],
    ) -> Sought:
        """Return a plan in which nothing can be moved."""
        group = asked.group
        found = await self.state.read(
            group,
            lambda machine: None if machine.revision(group) is None else machine.group(group),
        )
        changes = [Change(one, None, errors[one.log.id]) for one in partitions]
        if found is None:
            return Sought(changes, GroupEpoch(0), 0)
        return Sought(changes, found.summary.epoch, found.summary.member_count)

    async def _standing(self, asked: SeekGroup) -> Standing:
        """Return the commits that the target is measured by, or that name the partitions."""
        match asked.target:
            case ToGroup(other):
                return await self._committed(other)
            case ToCursors(cursors):
                return {
                    self._named(one).log.id: (
                        one.offset,
                        one.leader_epoch,
                    )
                    for one in cursors
                }
            case _ if asked.partitions is None:
                return await self._committed(asked.group)
            case ShiftBy():
                try:
                    return await self._committed(asked.group)
                except RequestError as unknown:
                    if unknown.code is not ErrorCode.UNKNOWN_GROUP:
                        raise
                    return {}
            case _:
                return {}

    async def _committed(self, group: GroupId) -> Standing:
        rows = await self.state.read(group, lambda machine: machine.offsets(group))
        return {
            row.partition: (row.committed.offset, row.committed.leader_epoch)
            for row in rows
            if row.committed is not None
        }

    def _named_by(self, target: Target, standing: Standing) -> list[HostedPartition]:
        """Return the partitions of a request that names none.

        Raises:
            RequestError: UNKNOWN_TOPIC, UNKNOWN_PARTITION.
        """
        if isinstance(target, ToCursors):
            return [self._named(one) for one in target.cursors]
        found: list[HostedPartition] = []
        for partition in standing:
            hosted = self.node.partitions.of_topic_id(partition.topic)
            if partition.number < len(hosted):  # else its topic was just deleted
                found.append(hosted[partition.number])
        return sorted(found, key=lambda one: (one.topic.name, one.number))

    def _named(self, cursor: NamedCursor) -> HostedPartition:
        return self.node.partitions.get(check_topic_name(cursor.topic), cursor.number)

    async def _move(
        self,
        principal: Principal,
        partition: HostedPartition,
        asked: SeekGroup,
        *,
        standing: Standing,
    ) -> Move:
        """Return where one partition goes.

        Raises:
            RequestError: OFFSET_OUT_OF_RANGE, INVALID_REQUEST, CORRUPT_LOG.
        """
        start, end = partition.log_start, partition.high_watermark
        match asked.target:
            case ToPlace(place):
                found = await self.resolve(principal, partition, place)
                after = found.high_watermark if found.offset is None else found.offset
                return _to(partition, after, truncated=found.truncated)
            case ShiftBy(offsets):
                stands, _ = standing.get(partition.log.id, (start, None))
                wanted = stands + offsets
                after = Offset(min(max(wanted, start), end))
                return _to(partition, after, truncated=0 <= wanted < start)
            case ToGroup(other) if partition.log.id not in standing:
                raise _nothing_committed(other, partition)
            case _:
                wanted, epoch = standing[partition.log.id]
        found = await self.resolve(principal, partition, AtOffset(wanted))
        after = wanted if found.offset is None else found.offset
        same = after == wanted
        return _to(
            partition, after, truncated=found.truncated, leader_epoch=epoch if same else None
        )


def _to(
    partition: HostedPartition,
    after: Offset,
    *,
    truncated: bool,
    leader_epoch: LeaderEpoch | None = None,
) -> Move:
    return Move(
        partition=partition.log.id,
        after=after,
        log_start=partition.log_start,
        truncated=truncated,
        leader_epoch=leader_epoch,
    )


def _nothing_committed(group: GroupId, partition: HostedPartition) -> RequestError:
    name = f"{partition.topic.name}/{partition.number}"
    return RequestError(
        ErrorCode.INVALID_REQUEST,
        f'group "{group}" has committed nothing in {name}; leave that partition out',
        field="other_group",
        topic=partition.topic.name,
        partition=str(partition.number),
    )


def _sent_elsewhere(group: GroupId) -> RequestError:
    return RequestError(
        ErrorCode.STALE_MEMBER_EPOCH,
        f'group "{group}" was sent to another place: join anew and go on from there',
        group=group,
    )
