"""ConsumerGroupService: membership, committed offsets, and moving a group through time."""

from collections.abc import Sequence

from api.broker.broker import Broker
from api.broker.group_lag import GroupOffset
from api.broker.group_seek import (
    Change,
    SeekGroup,
    ShiftBy,
    Target,
    ToCursors,
    ToGroup,
    ToPlace,
)
from api.broker.readable import Readable
from api.rpc.call import Call
from api.rpc.consume import ConsumeCall
from api.rpc.convert import not_built, refuse
from api.rpc.details import record_error
from api.rpc.durations import duration
from api.rpc.group_messages import (
    claim,
    group_message,
    member_message,
    named_cursors,
    names,
    results,
    topic_partition,
)
from api.rpc.groups_elsewhere import groups_elsewhere, merged
from api.rpc.guard import Guard
from api.rpc.handlers import Bidirectional, Handler, Unary
from api.rpc.places import place_of
from api.rpc.selection import check_items, check_many, select_every
from consumer_groups.requests import Actor, ByEpoch, FromOutside
from model.limits import PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX
from model.names import check_group_name, check_topic_name
from tidelog.v1 import common_pb2, group_service_pb2

_Change = group_service_pb2.SeekOffsetsResponse.Change


class GroupService:
    """The service. Loop only."""

    def __init__(self, broker: Broker, guard: Guard) -> None:
        """Serve a node's use cases."""
        self._broker = broker
        self._consume = ConsumeCall(broker, guard)

    def handlers(self) -> dict[str, Handler]:
        """Return what serves each call."""
        return {
            "ConsumerGroupService/Consume": Bidirectional(self._consume),
            "ConsumerGroupService/CommitOffsets": Unary(self.commit_offsets),
            "ConsumerGroupService/ListGroupOffsets": Unary(self.list_group_offsets, can_wait=True),
            "ConsumerGroupService/SeekOffsets": Unary(self.seek_offsets),
            "ConsumerGroupService/DeleteOffsets": Unary(self.delete_offsets),
            "ConsumerGroupService/GetConsumerGroup": Unary(self.get_consumer_group, can_wait=True),
            "ConsumerGroupService/ListConsumerGroups": Unary(
                self.list_consumer_groups, can_wait=True
            ),
            "ConsumerGroupService/DeleteConsumerGroup": Unary(self.delete_consumer_group),
        }

    async def commit_offsets(
        self, request: group_service_pb2.CommitOffsetsRequest, call: Call
    ) -> group_service_pb2.CommitOffsetsResponse:
        """Commit: in a member's name, or from outside a group without members."""
        group = check_group_name(request.group)
        check_items("cursors", len(request.cursors))
        actor: Actor = FromOutside(call.principal.name)
        if request.HasField("member"):
            actor = ByEpoch(*claim(request.member))
        cursors = named_cursors(request.cursors)
        await self._broker.group_commits.ask_ends(call.principal, group, cursors)
        errors = await self._broker.group_commits(group, actor, cursors)
        named = [(one.topic, one.number) for one in cursors]
        return group_service_pb2.CommitOffsetsResponse(results=results(named, errors))

    async def list_group_offsets(
        self, request: group_service_pb2.ListGroupOffsetsRequest, call: Call
    ) -> group_service_pb2.ListGroupOffsetsResponse:
        """Tell where a group stands, and how far behind that is."""
        group = check_group_name(request.group)
        check_many("topics", len(request.topics))
        topics = [check_topic_name(name) for name in request.topics]
        rows = await self._broker.group_lag(call.principal, group, topics)
        return group_service_pb2.ListGroupOffsetsResponse(offsets=map(_offset, rows))

    async def seek_offsets(
        self, request: group_service_pb2.SeekOffsetsRequest, call: Call
    ) -> group_service_pb2.SeekOffsetsResponse:
        """Send a group elsewhere, or tell what that would mean."""
        partitions = self._chosen(request)
        one_by_one = {(named.topic, named.partition) for named in request.partitions}
        asked = SeekGroup(
            group=check_group_name(request.group),
            target=self._target(request),
            partitions=partitions,
            of_topics=frozenset(
                one.id for one in partitions or () if (one.topic.name, one.number) not in one_by_one
            ),
            force=request.force,
            validate_only=request.validate_only,
        )
        sought = await self._broker.group_seek(call.principal, asked)
        return group_service_pb2.SeekOffsetsResponse(
            changes=map(_change, sought.changes),
            group_epoch=sought.group_epoch,
            member_count=sought.member_count,
        )

    async def delete_offsets(
        self, request: group_service_pb2.DeleteOffsetsRequest, call: Call
    ) -> group_service_pb2.DeleteOffsetsResponse:
        """Forget offsets of partitions that no member consumes."""
        group = check_group_name(request.group)
        check_items("partitions", len(request.partitions))
        named = names(request.partitions)
        errors = await self._broker.groups.delete_offsets(
            call.principal, group, named, validate_only=request.validate_only
        )
        return group_service_pb2.DeleteOffsetsResponse(results=results(named, errors))

    async def get_consumer_group(
        self, request: group_service_pb2.GetConsumerGroupRequest, call: Call
    ) -> group_service_pb2.GetConsumerGroupResponse:
        """Describe a group with its members."""
        found = await self._broker.groups.get(call.principal, check_group_name(request.name))
        message = group_message(found.summary, self._broker.node_id)
        message.members.extend(member_message(self._broker, one) for one in found.members)
        return group_service_pb2.GetConsumerGroupResponse(group=message)

    async def list_consumer_groups(
        self, request: group_service_pb2.ListConsumerGroupsRequest, call: Call
    ) -> group_service_pb2.ListConsumerGroupsResponse:
        """List groups by name, page by page; a page begins behind the name that its token is."""
        if not 0 <= request.page_size <= PAGE_ITEMS_MAX.value:
            refuse("page_size", f"{request.page_size} is outside 0 to {PAGE_ITEMS_MAX.value}")
        if request.page_token:
            check_group_name(request.page_token)
        limit = request.page_size or PAGE_ITEMS_DEFAULT.value
        page = await self._broker.groups.page(
            call.principal,
            prefix=request.name_prefix,
            after=request.page_token,
            limit=limit,
        )
        here = group_service_pb2.ListConsumerGroupsResponse(
            groups=[group_message(one, self._broker.node_id) for one in page.groups],
            next_page_token=page.groups[-1].group if page.more else "",
        )
        return merged([here, *await groups_elsewhere(self._broker, request, call)], limit)

    async def delete_consumer_group(
        self, request: group_service_pb2.DeleteConsumerGroupRequest, call: Call
    ) -> group_service_pb2.DeleteConsumerGroupResponse:
        """Delete a group without members, and its offsets."""
        group = check_group_name(request.name)
        await self._broker.groups.delete(call.principal, group, validate_only=request.validate_only)
        return group_service_pb2.DeleteConsumerGroupResponse()

    def _target(self, request: group_service_pb2.SeekOffsetsRequest) -> Target:
        """Return where a group is to go.

        Raises:
            RequestError: INVALID_REQUEST, NOT_IMPLEMENTED.
        """
        match request.WhichOneof("target"):
            case "seek":
                if request.seek.edge == common_pb2.EDGE_COMMITTED:
                    refuse("seek.edge", "the group is at its committed offsets already")
                return ToPlace(place_of(self._broker, "seek", request.seek))
            case "other_group":
                return ToGroup(check_group_name(request.other_group))
            case "shift_by":
                return ShiftBy(request.shift_by)
            case "cursors":
                cursors = request.cursors.cursors
                check_items("cursors.cursors", len(cursors))
                return ToCursors(named_cursors(cursors))
            case "committed_at":
                not_built("committed_at", request.committed_at.ToJsonString(), 4)
            case None:
                refuse("target", "it is missing: say where the group is to go")

    def _chosen(self, request: group_service_pb2.SeekOffsetsRequest) -> Sequence[Readable] | None:
        """Return the partitions that a request names; None: it names none.

        Raises:
            RequestError: INVALID_REQUEST, INVALID_TOPIC_NAME, UNKNOWN_TOPIC, UNKNOWN_PARTITION.
        """
        if not request.topics and not request.partitions:
            return None
        if request.HasField("cursors"):
            refuse("cursors", "they name their partitions: leave topics and partitions out")
        return select_every(self._broker, request.topics, request.partitions)


def _offset(row: GroupOffset) -> group_service_pb2.GroupOffset:
    committed = None
    if row.committed is not None:
        committed = common_pb2.Cursor(
            topic=row.partition.topic.name,
            partition=row.partition.number,
            offset=row.committed.offset,
            leader_epoch=row.committed.leader_epoch,
            metadata=row.committed.metadata,
        )
    return group_service_pb2.GroupOffset(
        partition=topic_partition(row.partition),
        committed=committed,
        log_start_offset=row.log_start,
        high_watermark=row.high_watermark,
        lag=row.lag,
        lag_time=None if row.lag_time_ms is None else duration(row.lag_time_ms),
        truncated=row.truncated,
        member_id=row.owner or "",
        error=None if row.error is None else record_error(row.error),
    )


def _change(change: Change) -> group_service_pb2.SeekOffsetsResponse.Change:
    named = topic_partition(change.partition)
    if change.row is None:
        error = None if change.error is None else record_error(change.error)
        return _Change(partition=named, error=error)
    row = change.row
    return _Change(
        partition=named,
        before=row.before,
        after=row.after,
        redelivered=row.redelivered,
        skipped=row.skipped,
        truncated=row.truncated,
    )
