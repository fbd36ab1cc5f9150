"""One member of the crowd: it consumes, commits, and ends in whatever way it is told.

Over the generated stubs and not over the SDK: the judge has to see every message as it came, and a
member must be able to go silent, to be cut, and to speak again when its time is over. The SDK hides
the first and forbids the second; its own behaviour has tests of its own.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration
from grpc import aio

from tests.chaos.journal import (
    AnyEvent,
    AskedBack,
    Assigned,
    Broke,
    Committed,
    Committing,
    Cut,
    Delivered,
    Ended,
    GaveBack,
    Joined,
    Joining,
    Late,
    Leaving,
    Resumed,
    Resuming,
    Silent,
    Wrong,
    now_ms,
)
from tests.chaos.plan import BEAT_S, GROUP, TOPIC, value_of
from tests.group_stream import CLIENT_ID, GroupStream, StreamEnded, cost_of, reason_of
from tidelog.v1 import common_pb2, group_service_pb2, group_service_pb2_grpc

UNANSWERED_MAX: Final = 4
HEARTBEAT_BEATS: Final = 5
"""A beat in so many says that the member lives, whatever else it says."""
Action: Any = group_service_pb2.ConsumeRequest


@dataclass(slots=True)
class Member:
    """One membership, over one stream or several. Belongs to its worker's loop."""

    target: str
    who: str
    session_ms: int
    note: Callable[[AnyEvent], None]
    over: bool = False
    """The node has ended it, or it has left."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while something is done to it: one thing after the other."""
    _membership: common_pb2.Membership | None = None
    _stands: dict[int, int] = field(default_factory=dict)
    _committed: dict[int, int] = field(default_factory=dict)
    _giving: dict[int, None] = field(default_factory=dict)
    _acked: dict[int, int] = field(default_factory=dict)
    _unanswered: dict[int, dict[int, int]] = field(default_factory=dict)
    """What is in each commit that is on its way."""
    _commits: int = 0
    _said_at: float = 0.0
    _task: asyncio.Task[None] | None = None
    _stream: GroupStream | None = None
    _resumes: bool = False
    _pausing: bool = False

    def join(self) -> None:
        """Become a member."""
        self.note(Joining(now_ms(), self.who, self.session_ms))
        self._begin()

    async def leave(self) -> None:
        """Leave in order, and wait for the node's word."""
        if self._stream is not None and not self.over:
            self.note(Leaving(now_ms(), self.who))
            try:
                await self._stream.say(leave=Action.Leave())
            except StreamEnded as ended:
                self._ended(ended)
        await self._finished()

    async def cut(self) -> None:
        """Have the connection closed without a word."""
        self.note(Cut(now_ms(), self.who))
        await self._close()

    async def pause(self) -> None:
        """Read nothing and say nothing from now on; the connection stays."""
        self._pausing = True
        await self._finished()
        self.note(Silent(now_ms(), self.who, self._said_at))

    async def break_off(self) -> None:
        """Have the stream broken; `resume` follows."""
        self.note(Broke(now_ms(), self.who))
        await self._close()

    def resume(self) -> None:
        """Go on over another stream, unless it is over."""
        if self._membership is None:
            return
        self.note(Resuming(now_ms(), self.who))
        self._resumes = True
        self._committed, self._acked, self._giving, self._unanswered = {}, {}, {}, {}
        self._begin()

    async def speak_late(self) -> None:
        """Say over the old stream and beside it what a member would whose time is over."""
        if self._stream is not None and self._stands:
            try:
                await self._stream.commit(self._commits + 1, self._cursors())
            except StreamEnded as ended:
                self.note(Late(now_ms(), self.who, ended.reason))
        await self._close()
        if self._membership is not None and self._stands:
            await self._commit_beside()

    async def close(self) -> None:
        """Let the connection go, whatever state it is in."""
        await self._close()

    def _begin(self) -> None:
        join: dict[str, Any] = {"topics": [TOPIC]}
        join["session_timeout"] = Duration(seconds=self.session_ms // 1_000)
        if self._resumes:
            join |= {"member": self._membership, "cursors": self._cursors()}
        self._stream = GroupStream(self.target, GROUP, client_id=self.who, **join)
        self._task = asyncio.create_task(self._serve(self._stream))

    async def _serve(self, stream: GroupStream) -> None:
        """Hear and beat until the stream ends or the member is to be silent."""
        try:
            await stream.begin()
            self._said_at = now_ms()
            async with asyncio.TaskGroup() as tasks:
                beating = tasks.create_task(self._beat(stream))
                try:
                    while not self._pausing:
                        await self._hear(stream, await stream.next())
                finally:
                    if not self._pausing:  # else it ends by itself: a writer that is cancelled
                        beating.cancel()  # would take the stream with it
        except* StreamEnded as ends:
            for ended in ends.exceptions:
                if isinstance(ended, StreamEnded):
                    self._ended(ended)

    def _ended(self, ended: StreamEnded) -> None:
        if not (self.over or self._pausing):  # else it was broken on purpose
            self.over = True
            self.note(Ended(now_ms(), self.who, ended.reason))

    async def _beat(self, stream: GroupStream) -> None:
        beats = 0
        while not self._pausing:
            beats += 1
            await self._commit(stream)
            await self._hand_over(stream)
            if beats % HEARTBEAT_BEATS == 0:
                await self._say(stream, heartbeat=Action.Heartbeat())
            await asyncio.sleep(BEAT_S)

    async def _say(self, stream: GroupStream, **action: Any) -> None:
        if not self._pausing:
            self._said_at = now_ms()
            await stream.say(**action)

    async def _commit(self, stream: GroupStream) -> None:
        news = {at: to for at, to in self._stands.items() if self._committed.get(at) != to}
        if not news or len(self._unanswered) >= UNANSWERED_MAX:
            return
        self._commits += 1
        self._unanswered[self._commits] = news
        self._committed |= news
        self.note(Committing(now_ms(), self.who, self._commits, list(news.items())))
        cursors = [_cursor(at, to) for at, to in news.items()]
        commit = Action.Commit(correlation_id=self._commits, cursors=cursors)
        await self._say(stream, commit=commit)

    async def _hand_over(self, stream: GroupStream) -> None:
        """Give back what was asked for behind its last commit."""
        settled = all(self._acked.get(at) == self._stands.get(at) for at in self._giving)
        if not self._giving or not settled:
            return
        given, self._giving = list(self._giving), {}
        for partition in given:
            self._stands.pop(partition, None)
            self._committed.pop(partition, None)
            self._acked.pop(partition, None)
        self.note(GaveBack(now_ms(), self.who, given))
        await self._say(stream, revoked=Action.Revoked(partitions=[_named(at) for at in given]))

    async def _hear(self, stream: GroupStream, message: Any) -> None:
        match message.WhichOneof("event"):
            case "joined":
                self._membership = message.joined.member
                if self._resumes:
                    self._resumes = False
                    self.note(Resumed(now_ms(), self.who))
                member = message.joined.member
                self.note(Joined(now_ms(), self.who, member.member_id, member.member_epoch))
            case "assigned":
                places = [(one.partition, one.offset) for one in message.assigned.cursors]
                self.note(Assigned(now_ms(), self.who, places))
                # After a resume it goes on where it stood, which may not be committed yet.
                new = {at: to for at, to in places if at not in self._stands}
                self._stands |= dict(places)
                self._committed |= new
                self._acked |= new
            case "revoke":
                await self._asked_back(stream, message.revoke)
            case "records":
                for step in message.records.partitions:
                    self._take(step)
                if not self._pausing:
                    self._said_at = now_ms()
                    await stream.taken(*cost_of(message.records))
            case "committed":
                self._answered(message.committed)
                await self._hand_over(stream)
            case "gap" | "diverged" | None:
                self.note(Wrong(now_ms(), self.who, f"was told {message}"))
            case _:
                pass

    async def _asked_back(self, stream: GroupStream, revoke: Any) -> None:
        partitions = [one.partition for one in revoke.partitions]
        left_ms = revoke.time_left.ToMilliseconds()
        self.note(AskedBack(now_ms(), self.who, partitions, left_ms))
        if left_ms == 0:
            for at in partitions:
                self._stands.pop(at, None)
                self._committed.pop(at, None)
                self._acked.pop(at, None)
            return
        self._giving |= dict.fromkeys(partitions)
        await self._commit(stream)
        await self._hand_over(stream)

    def _take(self, step: Any) -> None:
        partition = step.next.partition
        for batch in step.batches:
            offsets = [record.offset for record in batch.records]
            first, end = offsets[0], offsets[-1] + 1
            self.note(Delivered(now_ms(), self.who, partition, first, end))
            if offsets != list(range(first, end)):
                self.note(Wrong(now_ms(), self.who, f"{partition}@{first}: {offsets} has a hole"))
            for record in batch.records:
                if record.value != value_of(partition, record.offset):
                    text = f"{partition}@{record.offset} holds {record.value[:40]!r}"
                    self.note(Wrong(now_ms(), self.who, text))
            self._stands[partition] = end

    def _answered(self, committed: Any) -> None:
        self._acked |= self._unanswered.pop(committed.correlation_id, {})
        refused = [
            (row.partition.partition, row.error.reason)
            for row in committed.results
            if row.HasField("error")
        ]
        self.note(Committed(now_ms(), self.who, committed.correlation_id, refused))

    async def _commit_beside(self) -> None:
        request: Any = group_service_pb2.CommitOffsetsRequest
        reason = ""
        async with aio.insecure_channel(self.target) as channel:
            groups: Any = group_service_pb2_grpc.ConsumerGroupServiceStub(channel)
            try:
                answer = await groups.CommitOffsets(
                    request(group=GROUP, member=self._membership, cursors=self._cursors()),
                    metadata=((CLIENT_ID, self.who),),
                )
                reasons = {row.error.reason for row in answer.results if row.HasField("error")}
                reason = ", ".join(sorted(reasons))
            except aio.AioRpcError as refused:
                reason = reason_of(refused)
        self.note(Late(now_ms(), self.who, reason))

    async def _finished(self) -> None:
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _close(self) -> None:
        if self._stream is not None:
            self._pausing = True
            await self._stream.close()
            await self._finished()
            self._pausing = False

    def _cursors(self) -> Sequence[common_pb2.Cursor]:
        return [_cursor(at, to) for at, to in self._stands.items()]


def _cursor(partition: int, offset: int) -> common_pb2.Cursor:
    return common_pb2.Cursor(topic=TOPIC, partition=partition, offset=offset)


def _named(partition: int) -> common_pb2.TopicPartition:
    return common_pb2.TopicPartition(topic=TOPIC, partition=partition)
