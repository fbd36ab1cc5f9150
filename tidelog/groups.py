"""Administering consumer groups: where they stand, and sending them elsewhere."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

from tidelog.arguments import settings_of, topics_of
from tidelog.connection import Connection
from tidelog.errors import NotFound
from tidelog.group_calls import (
    COMMIT_OFFSETS,
    DELETE_GROUP,
    DELETE_OFFSETS,
    ENSURE_NO_GROUP,
    GET_GROUP,
    LIST_GROUP_OFFSETS,
    LIST_GROUPS,
    LIST_OFFSET_HISTORY,
    PLAN_SEEK,
    SEEK_OFFSETS,
)
from tidelog.group_types import (
    CommittedAt,
    GroupInfo,
    GroupOffset,
    Member,
    OffsetChange,
    SameAs,
    SeekChange,
    SeekPlan,
    SeekTarget,
)
from tidelog.places import OFFSET_MAX, datetime_of_timestamp, seek_of, timestamp_of
from tidelog.topics import change_config, read_config
from tidelog.types import Clock, ConfigValue, Cursor, TopicPartition
from tidelog.v1 import common_pb2 as common
from tidelog.v1 import config_service_pb2 as configs
from tidelog.v1 import group_service_pb2 as wire
from tidelog.wire_errors import failure_of_row

State: TypeAlias = Literal["unknown", "empty", "assigning", "reconciling", "stable", "dead"]
STATES: Final[dict[int, State]] = {
    wire.ConsumerGroup.STATE_EMPTY: "empty",
    wire.ConsumerGroup.STATE_ASSIGNING: "assigning",
    wire.ConsumerGroup.STATE_RECONCILING: "reconciling",
    wire.ConsumerGroup.STATE_STABLE: "stable",
    wire.ConsumerGroup.STATE_DEAD: "dead",
}
CAUSES: Final[dict[int, Literal["unknown", "commit", "transaction", "seek"]]] = {
    wire.OffsetChange.CAUSE_COMMIT: "commit",
    wire.OffsetChange.CAUSE_TRANSACTION: "transaction",
    wire.OffsetChange.CAUSE_SEEK: "seek",
}
PAGE: Final = 1_000
"""Items that are asked for at once: as many as a node gives."""


class Groups:
    """The consumer groups of a cluster; `Client.groups`."""

    def __init__(self, connection: Connection) -> None:
        """Take the way to the cluster."""
        self._connection = connection

    async def get(self, group: str) -> GroupInfo:
        """Return a group with its members.

        Raises:
            NotFound: it does not exist.
        """
        request = wire.GetConsumerGroupRequest(name=group)
        return _group((await self._connection.call(GET_GROUP, request)).group)

    async def list(self, *, prefix: str = "") -> AsyncIterator[GroupInfo]:
        """Yield the groups in the order of their names, without their members."""
        page_token = ""
        while True:
            request = wire.ListConsumerGroupsRequest(
                page_size=PAGE, page_token=page_token, name_prefix=prefix
            )
            response = await self._connection.call(LIST_GROUPS, request)
            for each in response.groups:
                yield _group(each)
            page_token = response.next_page_token
            if not page_token:
                return

    async def offsets(self, group: str, *, topics: Sequence[str] = ()) -> Sequence[GroupOffset]:
        """Return where a group stands in each partition, and how far behind it is.

        `topics` empty: every topic with a commit or a reader.

        Raises:
            NotFound: it does not exist.
        """
        request = wire.ListGroupOffsetsRequest(group=group, topics=topics_of(topics))
        response = await self._connection.call(LIST_GROUP_OFFSETS, request)
        return [_offset(row) for row in response.offsets]

    async def history(
        self,
        group: str,
        *,
        topics: Sequence[str] = (),
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> AsyncIterator[OffsetChange]:
        """Yield earlier commits and seeks, newest first."""
        request = wire.ListOffsetHistoryRequest(
            group=group, topics=topics_of(topics), page_size=PAGE
        )
        if start is not None:
            request.start_time.CopyFrom(timestamp_of(start))
        if end is not None:
            request.end_time.CopyFrom(timestamp_of(end))
        while True:
            response = await self._connection.call(LIST_OFFSET_HISTORY, request)
            for change in response.changes:
                yield _change(change)
            request.page_token = response.next_page_token
            if not request.page_token:
                return

    async def seek(
        self,
        group: str,
        to: SeekTarget,
        *,
        clock: Clock = "event",
        topics: Sequence[str] = (),
        dry_run: bool = False,
        force: bool = False,
    ) -> SeekPlan:
        """Send a group elsewhere, in all partitions or in none; return what comes again.

        `topics`: every partition of these; empty: every partition with a commit. With `SameAs`
        those stay as they are in which the other group has committed nothing. `dry_run`: only the
        plan. `force`: also with live members; they go on from there by themselves.

        Raises:
            Conflict: it has members, and force was not said.
            TidelogError: a partition in which the place cannot be found.
        """
        request = wire.SeekOffsetsRequest(group=group, topics=topics_of(topics))
        match to:
            case CommittedAt(time):
                request.committed_at.CopyFrom(timestamp_of(time))
            case SameAs(other):
                request.other_group = other
            case Mapping():
                request.cursors.SetInParent()
                for at, offset in to.items():
                    request.cursors.cursors.add(
                        topic=at.topic, partition=at.partition, offset=offset
                    )
            case _:
                request.seek.CopyFrom(seek_of(to, clock))
        return await self._seek(request, dry_run=dry_run, force=force)

    async def shift(
        self,
        group: str,
        by: int,
        *,
        topics: Sequence[str] = (),
        dry_run: bool = False,
        force: bool = False,
    ) -> SeekPlan:
        """Send a group so many offsets on, or back if negative, within the log; as `seek`."""
        by = max(-OFFSET_MAX, min(by, OFFSET_MAX))  # no log is longer
        request = wire.SeekOffsetsRequest(group=group, topics=topics_of(topics), shift_by=by)
        return await self._seek(request, dry_run=dry_run, force=force)

    async def commit(self, group: str, *cursors: Cursor) -> None:
        """Commit for a group without members.

        Raises:
            Conflict: it has members.
            TidelogError: the first partition's failure; others may have been committed.
        """
        request = wire.CommitOffsetsRequest(group=group, cursors=[_wire(one) for one in cursors])
        response = await self._connection.call(COMMIT_OFFSETS, request)
        _raise_first(response.results)

    async def delete_offsets(
        self, group: str, *partitions: TopicPartition, dry_run: bool = False
    ) -> None:
        """Forget what is committed in partitions that no member reads.

        Raises:
            TidelogError: the first partition's failure; others may be done.
        """
        request = wire.DeleteOffsetsRequest(
            group=group,
            partitions=[
                common.TopicPartition(topic=at.topic, partition=at.partition) for at in partitions
            ],
            validate_only=dry_run,
        )
        response = await self._connection.call(DELETE_OFFSETS, request)
        _raise_first(response.results)

    async def config(self, group: str) -> Mapping[str, ConfigValue]:
        """Return every setting of a group by its name."""
        return await read_config(self._connection, _resource(group))

    async def configure(
        self,
        group: str,
        *,
        set: Mapping[str, str] | None = None,
        unset: Sequence[str] = (),
        dry_run: bool = False,
    ) -> Mapping[str, ConfigValue]:
        """Change settings of a group, all or none; return those that were named, as they are.

        Raises:
            InvalidRequest: an unknown name, or a value out of bounds.
        """
        request = configs.UpdateConfigRequest(
            resource=_resource(group), set=settings_of(set), unset=unset, validate_only=dry_run
        )
        return await change_config(self._connection, request)

    async def delete(self, group: str, *, missing_ok: bool = False, dry_run: bool = False) -> None:
        """Delete a group without members, and what it has committed.

        Raises:
            NotFound: it does not exist.
            Conflict: it has members.
        """
        request = wire.DeleteConsumerGroupRequest(name=group, validate_only=dry_run)
        call = ENSURE_NO_GROUP if missing_ok else DELETE_GROUP
        try:
            await self._connection.call(call, request)
        except NotFound:
            if not missing_ok:
                raise

    async def _seek(
        self, request: wire.SeekOffsetsRequest, *, dry_run: bool, force: bool
    ) -> SeekPlan:
        request.validate_only, request.force = dry_run, force
        call = PLAN_SEEK if dry_run else SEEK_OFFSETS
        response = await self._connection.call(call, request)
        changes = []
        left = []
        for row in response.changes:
            if row.HasField("error"):
                raise failure_of_row(row.error).error
            if not row.HasField("after"):
                left.append(_partition(row.partition))
                continue
            changes.append(
                SeekChange(
                    partition=_partition(row.partition),
                    before=row.before if row.HasField("before") else None,
                    after=row.after,
                    redelivered=row.redelivered,
                    skipped=row.skipped,
                    truncated=row.truncated,
                )
            )
        count = response.member_count
        return SeekPlan(tuple(changes), count, applied=not dry_run, left=tuple(left))


def _group(group: wire.ConsumerGroup) -> GroupInfo:
    return GroupInfo(
        name=group.name,
        kind="classic" if group.kind == wire.ConsumerGroup.KIND_CLASSIC else "native",
        state=STATES.get(group.state, "unknown"),
        epoch=group.epoch,
        members=tuple(
            Member(
                member_id=one.membership.member_id,
                client_id=one.client_id,
                host=one.host,
                assignment=tuple(_partition(at) for at in one.assignment),
                pending=tuple(_partition(at) for at in one.pending),
                instance_id=one.instance_id or None,
            )
            for one in group.members
        ),
        assignor=group.assignor,
        coordinator=group.coordinator_id if group.HasField("coordinator_id") else None,
    )


def _offset(row: wire.GroupOffset) -> GroupOffset:
    lag_time = None
    if row.HasField("lag_time"):
        lag_time = timedelta(seconds=row.lag_time.seconds, microseconds=row.lag_time.nanos / 1000)
    return GroupOffset(
        partition=_partition(row.partition),
        committed=_cursor(row.committed) if row.HasField("committed") else None,
        log_start_offset=row.log_start_offset if row.HasField("log_start_offset") else None,
        high_watermark=row.high_watermark if row.HasField("high_watermark") else None,
        lag=row.lag if row.HasField("lag") else None,
        lag_time=lag_time,
        truncated=row.truncated,
        member_id=row.member_id or None,
    )


def _change(change: wire.OffsetChange) -> OffsetChange:
    return OffsetChange(
        after=_cursor(change.after),
        before=change.before_offset if change.HasField("before_offset") else None,
        time=datetime_of_timestamp(change.time),
        cause=CAUSES.get(change.cause, "unknown"),
        actor=change.actor,
    )


def _cursor(cursor: common.Cursor) -> Cursor:
    epoch = cursor.leader_epoch if cursor.HasField("leader_epoch") else None
    return Cursor(cursor.topic, cursor.partition, cursor.offset, epoch, cursor.metadata)


def _wire(cursor: Cursor) -> common.Cursor:
    sent = common.Cursor(
        topic=cursor.topic,
        partition=cursor.partition,
        offset=cursor.offset,
        metadata=cursor.metadata,
    )
    if cursor.leader_epoch is not None:
        sent.leader_epoch = cursor.leader_epoch
    return sent


def _partition(at: common.TopicPartition) -> TopicPartition:
    return TopicPartition(at.topic, at.partition)


def _raise_first(rows: Sequence[common.PartitionResult]) -> None:
    for row in rows:
        if row.HasField("error"):
            raise failure_of_row(row.error).error


def _resource(group: str) -> configs.ConfigResource:
    return configs.ConfigResource(type=configs.ConfigResource.TYPE_GROUP, name=group)
