"""Consume: one member's life over one stream; what it says is heard while it is told.

A call that ends without Leave is a broken stream, whatever ended it: the member may resume. Where
another node coordinates the group, the stream is taken there; while nobody does, it waits a moment.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from dataclasses import replace
from typing import Final, TypeAlias

from api.broker.broker import Broker
from api.broker.consume_events import (
    ALIVE,
    Action,
    Assigned,
    Committed,
    CommitTo,
    Event,
    GoTo,
    Grant,
    HandOver,
    Heartbeat,
    Joined,
    LeaveGroup,
    Named,
    Opening,
    Pause,
    Rejoin,
    Revoke,
    Stand,
)
from api.broker.consume_session import HEARTBEAT_MS, STEP_BYTES, ConsumeSession
from api.broker.coordinator_moved import coordinator_moved
from api.broker.place import Earliest, Place
from api.rpc.call import Call
from api.rpc.consume_elsewhere import WAITED_FOR, ConsumeElsewhere
from api.rpc.convert import check_isolation, not_built, refuse, wants_records
from api.rpc.coordinated import coordinator_of, note_coordinator
from api.rpc.credit_cost import cost_of
from api.rpc.durations import duration, optional_ms
from api.rpc.fetch import epoch_of
from api.rpc.group_messages import (
    claim,
    membership,
    named_cursors,
    names,
    results,
)
from api.rpc.guard import Guard
from api.rpc.places import place_of
from api.rpc.selection import check_items, check_many
from api.rpc.sending import Sending
from cluster.shell.controller_doors import pause
from model.errors import ErrorCode, RequestError, StorageFailed
from model.ids import Offset, PartitionId
from model.names import check_group_name, check_instance_id, check_topic_name
from tidelog.v1 import common_pb2, group_service_pb2

_Request: TypeAlias = group_service_pb2.ConsumeRequest
_Response: TypeAlias = group_service_pb2.ConsumeResponse
WAIT_MS: Final = HEARTBEAT_MS
"""For a group to have a coordinator: so long a stream may be silent."""
AGAIN_MS: Final = 100
"""Until it is looked again who that is."""
LAST_WORD_S: Final = 5
"""How long a client may take to read what lies before the end of its membership."""

Requests: TypeAlias = AsyncIterator[_Request]
Send: TypeAlias = Callable[[_Response], Awaitable[None]]


class ConsumeCall:
    """The call. Loop only."""

    def __init__(self, broker: Broker, guard: Guard) -> None:
        """Serve through a node's use cases."""
        self._broker = broker
        self._guard = guard

    async def __call__(self, requests: Requests, send: Send, call: Call) -> None:
        """Serve a member until it leaves.

        Raises:
            RequestError: what was asked for is wrong or not built; the membership is lost
                (UNKNOWN_MEMBER, STALE_MEMBER_EPOCH, FENCED_INSTANCE); SHUTTING_DOWN.
        """
        await self._guard.interruptible(self._run(requests, send, call))

    async def _run(self, requests: Requests, send: Send, call: Call) -> None:
        first = await anext(requests, None)
        if first is None or not first.HasField("join"):
            refuse("action", "the first message is Join")
        decode = wants_records(first.join.encoding)
        session = await self._begun(first, requests, call, send=send, decode=decode)
        if session is not None:
            await self._serve(session, requests, send, decode=decode)

    async def _begun(
        self, first: _Request, requests: Requests, call: Call, *, send: Send, decode: bool
    ) -> ConsumeSession | None:
        """Return the session of a member here; None: another node has served it to its end.

        Raises:
            RequestError: as the call; COORDINATOR_NOT_AVAILABLE, nobody coordinates the group for
                as long as a stream may be silent.
        """
        broker, clock = self._broker, self._broker.context.clock
        forwarding = broker.context.forwarding if call.goes_on else None
        until = clock.monotonic_ms() + WAIT_MS
        while True:
            opening = _Joining(broker, first.join, decode=decode).opening()
            opening = replace(opening, brought=call.brought_by is not None)
            lost: RequestError | None
            try:
                return await broker.consume(call.principal, opening)
            except RequestError as refusal:
                if forwarding is None or refusal.code not in WAITED_FOR:
                    raise
                lost = refusal
            if (node := coordinator_of(lost)) is not None:
                note_coordinator(call, lost, node)
                elsewhere = ConsumeElsewhere(broker, forwarding, call, send=send)
                lost = await elsewhere.run(node, first, requests)
                if lost is None:
                    return None
            if clock.monotonic_ms() >= until:
                raise coordinator_moved(opening.group) from lost
            await pause(clock, AGAIN_MS)

    async def _serve(
        self, session: ConsumeSession, requests: Requests, send: Send, *, decode: bool
    ) -> None:
        """Serve a member here."""
        try:
            async with asyncio.TaskGroup() as tasks:
                hearing = _Hearing(self._broker, session, tasks)
                hearing.start(hearing.run(requests))
                telling = _Telling(self._broker, session, send, decode=decode)
                failed = await _until_over(session, telling.run())
                hearing.stop()
        finally:
            session.close()
        if failed is not None:
            raise failed


class _Joining:
    """Reads the first message."""

    def __init__(self, broker: Broker, join: _Request.Join, *, decode: bool) -> None:
        self._broker = broker
        self._decode = decode
        self._join = join

    def opening(self) -> Opening:
        """Return what it says.

        Raises:
            RequestError: INVALID_REQUEST, INVALID_TOPIC_NAME, NOT_IMPLEMENTED.
        """
        join = self._join
        check_isolation(join.isolation_level)
        if join.HasField("filter"):
            not_built("join.filter", "set", 4)
        check_many("join.topics", len(join.topics))
        credit = _grant("join.credit", join.credit)
        return Opening(
            group=check_group_name(join.group),
            topics=tuple(check_topic_name(name) for name in join.topics),
            rejoin=self._rejoin() if join.HasField("member") else None,
            instance_id=check_instance_id(join.instance_id) if join.instance_id else None,
            session_timeout_ms=optional_ms(join, "session_timeout"),
            rebalance_timeout_ms=optional_ms(join, "rebalance_timeout"),
            resume_timeout_ms=optional_ms(join, "resume_timeout"),
            start=self._start(),
            records=credit.records,
            size_bytes=credit.size_bytes,
            decoded=self._decode,
        )

    def _rejoin(self) -> Rejoin:
        join = self._join
        member_id, epoch = claim(join.member)
        check_many("join.cursors", len(join.cursors))
        stands: dict[PartitionId, Stand] = {}
        said: dict[Named, PartitionId | None] = {}
        for one in join.cursors:
            if one.offset < 0:
                refuse("join.cursors.offset", f"{one.offset} is negative")
            try:
                partition = self._broker.every.get(check_topic_name(one.topic), one.partition)
            except RequestError as gone:
                if gone.code not in {ErrorCode.UNKNOWN_TOPIC, ErrorCode.UNKNOWN_PARTITION}:
                    raise
                said[one.topic, one.partition] = None
                continue
            said[one.topic, one.partition] = partition.id
            stands[partition.id] = Stand(Offset(one.offset), epoch_of(one))
        return Rejoin(member_id, epoch, stands, said)

    def _start(self) -> Place:
        join = self._join
        if not join.HasField("start"):
            return Earliest()
        if _means_committed(join.start):
            refuse("join.start.edge", "it says where to begin where nothing is committed")
        return place_of(self._broker, "join.start", join.start)


class _Hearing:
    """Takes what the client says; each action is a task of its own, begun in this order."""

    def __init__(self, broker: Broker, session: ConsumeSession, tasks: asyncio.TaskGroup) -> None:
        self._broker = broker
        self._session = session
        self._tasks = tasks
        self._running: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[object, object, None]) -> None:
        """Begin a piece of work."""
        task = self._tasks.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def stop(self) -> None:
        """Break off what is still under way: its client hears no more of it."""
        for task in self._running:
            task.cancel()

    async def run(self, requests: Requests) -> None:
        """Hear the client until it leaves, or says what is refused."""
        session = self._session
        try:
            while (request := await anext(requests, None)) is not None:
                session.heard()
                action = self._action(request)
                if isinstance(action, CommitTo):
                    await session.room()
                self.start(session.act(action))
                if isinstance(action, LeaveGroup):
                    return
            refuse("action", "the requests ended without Leave; the membership can be resumed")
        except RequestError as refusal:
            session.end(refusal)

    def _action(self, request: _Request) -> Action:
        """Return what a message says.

        Raises:
            RequestError: INVALID_REQUEST.
        """
        action: Action
        match request.WhichOneof("action"):
            case "heartbeat":
                action = ALIVE
            case "credit":
                action = _grant("credit", request.credit)
            case "commit":
                action = _commit(request.commit)
            case "revoked":
                check_items("revoked.partitions", len(request.revoked.partitions))
                action = HandOver(names(request.revoked.partitions))
            case "pause":
                check_items("pause.partitions", len(request.pause.partitions))
                action = Pause(names(request.pause.partitions), request.pause.paused)
            case "reposition":
                action = self._go_to(request.reposition)
            case "leave":
                action = LeaveGroup()
            case "join":
                refuse("action", "Join is the first message, and no other")
            case None:
                refuse("action", "it is missing: the message says nothing")
        return action

    def _go_to(self, asked: _Request.Reposition) -> GoTo:
        check_many("reposition.partitions", len(asked.partitions))
        if not asked.HasField("seek"):
            refuse("reposition.seek", "it is missing: name a place")
        place = None
        if not _means_committed(asked.seek):
            place = place_of(self._broker, "reposition.seek", asked.seek)
        return GoTo(names(asked.partitions), place)


class _Telling:
    """Turns events into messages and sends them; awaits the client's reading."""

    def __init__(
        self, broker: Broker, session: ConsumeSession, send: Send, *, decode: bool
    ) -> None:
        """`decode`: records go out one by one."""
        self._session = session
        self._send = send
        self._sending = Sending(
            broker, self._send_counted, _Response, decode=decode, max_bytes=STEP_BYTES
        )

    async def run(self) -> RequestError | StorageFailed | None:
        """Tell until the member has left; return what ended it otherwise."""
        try:
            async with aclosing(self._session.events()) as events:
                async for event in events:
                    await self._tell(event)
        except (RequestError, StorageFailed) as failed:
            return failed
        return None

    async def _tell(self, event: Event) -> None:
        match event:
            case Joined(member_id, epoch, session_timeout_ms):
                joined = _Response.Joined(
                    member=membership(member_id, epoch),
                    session_timeout=duration(session_timeout_ms),
                )
                await self._send(_Response(joined=joined))
            case Assigned(places):
                cursors = [self._sending.stands(place) for place in places]
                await self._send(_Response(assigned=_Response.Assigned(cursors=cursors)))
            case Revoke(names, time_left_ms, delivered):
                for partition in delivered:
                    self._sending.forget(partition)
                revoke = _Response.Revoke(
                    partitions=[
                        common_pb2.TopicPartition(topic=topic, partition=number)
                        for topic, number in names
                    ],
                    time_left=duration(time_left_ms),
                )
                await self._send(_Response(revoke=revoke))
            case Committed(correlation_id, cursors, errors):
                named = [(one.topic, one.number) for one in cursors]
                committed = _Response.Committed(
                    correlation_id=correlation_id, results=results(named, errors)
                )
                await self._send(_Response(committed=committed))
            case Heartbeat():
                await self._send(_Response(heartbeat=_Response.Heartbeat()))
            case _:
                await self._sending.tell(event)

    async def _send_counted(self, response: _Response) -> None:
        """Send records, and take them off the credit."""
        if response.HasField("records"):
            self._session.sent(cost_of(response.records))
        await self._send(response)


def _commit(commit: _Request.Commit) -> CommitTo:
    check_many("commit.cursors", len(commit.cursors))
    return CommitTo(commit.correlation_id, named_cursors(commit.cursors))


async def _until_over(
    session: ConsumeSession, telling: Awaitable[RequestError | StorageFailed | None]
) -> RequestError | StorageFailed | None:
    """Await the end of a stream; a client that reads nothing cannot put it off for ever."""
    scope = asyncio.timeout(None)
    now = asyncio.get_running_loop().time
    try:
        async with scope:
            session.when_over(lambda: scope.reschedule(now() + LAST_WORD_S))
            if session.why is not None:
                scope.reschedule(now() + LAST_WORD_S)
            return await telling
    except TimeoutError:
        if not scope.expired():
            raise
        return session.why
    finally:  # the table may hold the session a while longer, and end it then
        session.when_over(lambda: None)


def _grant(field: str, credit: common_pb2.Credit) -> Grant:
    if min(credit.records, credit.bytes) < 0:
        refuse(field, f"{credit.records} records and {credit.bytes} bytes: count from 0")
    return Grant(credit.records, credit.bytes)


def _means_committed(seek: common_pb2.Seek) -> bool:
    return seek.WhichOneof("to") == "edge" and seek.edge == common_pb2.EDGE_COMMITTED
