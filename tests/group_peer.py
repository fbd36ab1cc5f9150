"""A coordinator for the SDK's tests: the real group machine behind `Consume`, failing on demand.

Beside `tests.log_peer`, whose log it reads. What a coordinator decides is decided by the machine
that a node uses; what a node cannot be told to do at a chosen moment is here: streams are cut,
answers to commits that took effect are lost, rows are refused, time runs out when a test says so.
"""

# ruff: noqa: N802 - the names of the calls are the proto's
import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import grpc
import grpc.aio

from consumer_groups.machine import GroupMachine
from consumer_groups.records import (
    GroupRecord,
    LeaveReason,
    StreamNumber,
)
from consumer_groups.requests import (
    Leave,
    Move,
    Seek,
)
from consumer_groups.settings import GroupSettings
from consumer_groups.topics import TopicPartitions
from consumer_groups.views import MemberView
from model.errors import ErrorCode, RequestError
from model.ids import GroupId, Offset, PartitionId, TopicId, TopicName
from model.result import ResponseT, Result
from tests.group_peer_session import NOW, Cut, Session
from tests.log_peer import LogPeer, abort
from tests.log_peer_admin import Context, enter
from tidelog.v1 import common_pb2 as common
from tidelog.v1 import group_service_pb2 as wire
from tidelog.v1 import group_service_pb2_grpc as rpc


@dataclass
class GroupFaults:
    """What goes wrong next; counted down."""

    cut_after: list[int] = field(default_factory=list)
    """Each stream is cut after so many messages of records; none: it is not."""
    lose_commits: int = 0
    """Commits that take effect, and then the stream breaks."""
    refuse_commits: deque[RequestError] = field(default_factory=deque)
    """Given to the rows of the next commits instead of doing them."""
    refuse_joins: deque[RequestError] = field(default_factory=deque)
    hold_joins: asyncio.Event | None = None
    """Joins take effect, and are answered and what is said behind them heard once this is set."""
    hold_commits: asyncio.Event | None = None
    """Commits are looked at once this is set."""


class GroupPeer(rpc.ConsumerGroupServiceServicer):
    """Groups over the logs of a peer. Nothing happens by time."""

    def __init__(self, peer: LogPeer) -> None:
        self.peer = peer
        self.machine = GroupMachine(GroupSettings())
        self.faults = GroupFaults()
        self.changed = asyncio.Event()
        self.joins: list[wire.ConsumeRequest.Join] = []
        self.heartbeats = 0
        self.left: list[str] = []
        self.handed_over: list[tuple[str, int]] = []
        self.open_streams: set[str] = set()
        self.sent_records = 0
        self._next = 0

    # The machine's view of topics.

    def find(self, name: TopicName) -> TopicPartitions | None:
        if name not in self.peer.topics:
            return None
        return TopicPartitions(TopicId(self.peer.ids[name].bytes), len(self.peer.topics[name]))

    def name_of(self, topic: TopicId) -> TopicName | None:
        names = [name for name, one in self.peer.ids.items() if one.bytes == topic]
        return TopicName(names[0]) if names else None

    def partition(self, topic: str, number: int) -> PartitionId:
        return PartitionId(TopicId(self.peer.ids[topic].bytes), number)

    def key(self, partition: PartitionId) -> tuple[str, int]:
        return str(self.name_of(partition.topic)), partition.number

    # What tests look at, and do.

    def done(self, result: Result[GroupRecord, ResponseT]) -> ResponseT:
        for record in result.records:
            self.machine.replay(record)
        event, self.changed = self.changed, asyncio.Event()
        event.set()
        return result.response

    def committed(self, group: str, topic: str, number: int = 0) -> int | None:
        found = self.machine.committed(GroupId(group), self.partition(topic, number))
        return None if found is None else int(found.offset)

    def members(self, group: str) -> tuple[MemberView, ...]:
        return self.machine.group(GroupId(group)).members

    def expire(self, group: str, member: MemberView) -> None:
        """Let a member's time run out."""
        self.done(
            self.machine.leave(
                Leave(
                    group=GroupId(group), member_id=member.member_id, stream=member.stream,
                    reason=LeaveReason.SESSION_ENDED,
                ),
                now=NOW, topics=self,
            )
        )  # fmt: skip

    def overdue(self, group: str, member: MemberView) -> None:
        """Take from a member what it was to hand over."""
        late = self.machine.member(GroupId(group), member.member_id).revoking
        self.done(self.machine.revoke_overdue(GroupId(group), member.member_id, late))

    def seek(self, group: str, topic: str, offset: int) -> None:
        """Send a group elsewhere in every partition of a topic, fencing its members."""
        count = len(self.peer.topics[topic])
        moves = tuple(
            Move(partition=self.partition(topic, one), after=Offset(offset), log_start=Offset(0))
            for one in range(count)
        )
        asked = Seek(group=GroupId(group), principal="test", moves=moves, force=True)
        self.done(self.machine.seek(asked, now=NOW, topics=self))

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until a callable says yes; it is asked after each change."""
        async with asyncio.timeout(10):
            while not true():
                await self.changed.wait()

    def stream(self) -> StreamNumber:
        self._next += 1
        return StreamNumber(self._next)

    async def Consume(
        self, requests: AsyncIterator[wire.ConsumeRequest], context: Context
    ) -> AsyncIterator[wire.ConsumeResponse]:
        asked = aiter(requests)
        join = (await anext(asked)).join
        self.joins.append(join)
        session = None
        try:
            if self.faults.refuse_joins:
                raise self.faults.refuse_joins.popleft()
            session = Session(self, join)
            if self.faults.hold_joins is not None:
                await self.faults.hold_joins.wait()
            self.open_streams.add(session.member_id)
            hearing = asyncio.create_task(session.hear(asked))
            try:
                async for event in session.events():
                    yield event
            finally:
                hearing.cancel()
                self.open_streams.discard(session.member_id)
        except RequestError as refused:
            await abort(context, refused)
        except Cut:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")

    async def ListGroupOffsets(
        self, request: wire.ListGroupOffsetsRequest, context: Context
    ) -> wire.ListGroupOffsetsResponse:
        await enter(self.peer, context)
        response = wire.ListGroupOffsetsResponse()
        for row in self.machine.offsets(GroupId(request.group)):
            topic, number = self.key(row.partition)
            one = response.offsets.add(
                partition=common.TopicPartition(topic=topic, partition=number),
                log_start_offset=self.peer.topics[topic][number].log_start,
            )
            if row.committed is not None:
                one.committed.CopyFrom(
                    common.Cursor(topic=topic, partition=number, offset=row.committed.offset)
                )
        return response


def busy(code: ErrorCode = ErrorCode.DISK_FULL) -> RequestError:
    """Return a refusal that may be otherwise later."""
    return RequestError(code, "not now")
