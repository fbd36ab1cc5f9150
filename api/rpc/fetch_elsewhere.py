"""Fetch over partitions that several nodes lead: each is asked for its own, and all wait together.

First everybody is looked at without waiting. Only if nobody has anything do all wait, until the
first has something; what the others said before stands in their rows then.

Nothing tells another node that its answer is not wanted any more. So a wait there is a short one,
made again and again: what was given up, by the client or here, does not pile up at other leaders.
A leader that does not answer in time costs its own rows, and not those of the others.

Whoever holds a part of his answer does not wait for room for the rest: all might do so, each with
what the others need. Who holds nothing waits once; what there is no room for then is left for the
next fetch, as if it were not there yet.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from api.broker.answer_room import AnswerRoom
from api.broker.broker import Broker
from api.broker.forward import Forwarding, passing, passing_elsewhere
from api.rpc.answers import check_rows, passed, read_answer, storage_error
from api.rpc.call import Begun, Call
from api.rpc.details import record_error
from api.rpc.step_messages import MESSAGE_BYTES_MAX
from model.errors import RequestError, StorageFailed
from model.ids import NodeId
from tidelog.v1 import common_pb2, log_service_pb2

FETCH: Final = "LogService/Fetch"
WAIT_MS: Final = 1_000
"""The longest single wait at another node."""
PART_MS: Final = 2_000
"""For what a leader has at hand, the way included."""

_Request: TypeAlias = log_service_pb2.FetchRequest
_Response: TypeAlias = log_service_pb2.FetchResponse
Local: TypeAlias = Callable[[_Request, Call], Awaitable[_Response]]
_Groups: TypeAlias = Mapping[NodeId | None, Sequence[int]]


def leaders_of(
    broker: Broker, cursors: Sequence[common_pb2.Cursor], call: Call
) -> Mapping[NodeId | None, list[int]]:
    """Return which cursors each node is to be asked for; None: this one.

    Empty if all are this node's own to answer.
    """
    forwarding = broker.context.forwarding
    if forwarding is None or not call.goes_on:
        return {}
    groups: dict[NodeId | None, list[int]] = {}
    for slot, cursor in enumerate(cursors):
        leader = forwarding.leader_elsewhere(broker.image, cursor.topic, cursor.partition)
        groups.setdefault(leader, []).append(slot)
        if leader is not None:
            call.leaders.note(cursor.topic, cursor.partition, leader)
    return {} if groups.keys() == {None} else groups


class SpreadFetch:
    """One fetch that several nodes answer. Loop only."""

    def __init__(self, broker: Broker, request: _Request, call: Call, *, local: Local) -> None:
        """`local` answers what is this node's own."""
        assert broker.context.forwarding is not None, "FORWARD_IS_FORWARDED"
        self._forwarding: Forwarding = broker.context.forwarding
        self._clock = broker.context.clock
        self._room = AnswerRoom(broker.context.answers)
        self._request, self._call, self._local = request, call, local
        self._has_waited = False
        """For room: it does so once, for whichever part comes first."""

    async def answer(self, groups: _Groups, max_wait_ms: int) -> _Response:
        """Return the rows of all, in the order of the request.

        `max_wait_ms`: 0 where the request wants no bytes, which nobody waits for.
        """
        try:
            answer = await self._answer(groups, max_wait_ms)
        except BaseException:
            self._room.clear()
            raise
        if self._room.held_bytes:
            self._call.when_sent(self._room.clear)
        return answer

    async def _answer(self, groups: _Groups, max_wait_ms: int) -> _Response:
        rows: dict[int, log_service_pb2.FetchResult] = {}
        async with asyncio.TaskGroup() as tasks:
            for node, slots in groups.items():
                tasks.create_task(self._ask(node, slots, rows, wait_ms=0))
        until = self._clock.monotonic_ms() + max_wait_ms
        while not any(map(_tells_something, rows.values())):
            left_ms = until - self._clock.monotonic_ms()
            if left_ms <= 0:
                break
            await self._wait(groups, rows, min(left_ms, WAIT_MS))
        return self._merged(rows)

    async def _wait(
        self, groups: _Groups, rows: dict[int, log_service_pb2.FetchResult], wait_ms: int
    ) -> None:
        """Wait for the first who has something, or for the time to pass."""
        async with asyncio.TaskGroup() as tasks:
            waiting: list[asyncio.Task[None]] = []

            def ended(task: "asyncio.Task[None]") -> None:
                if not task.cancelled() and any(map(_tells_something, rows.values())):
                    for other in waiting:
                        other.cancel()

            for node, slots in groups.items():
                task = tasks.create_task(self._ask(node, slots, rows, wait_ms=wait_ms))
                waiting.append(task)
                task.add_done_callback(ended)

    async def _ask(
        self,
        node: NodeId | None,
        slots: Sequence[int],
        rows: dict[int, log_service_pb2.FetchResult],
        *,
        wait_ms: int,
    ) -> None:
        """Write what one node says into its rows."""
        request = _Request()
        request.CopyFrom(self._request)
        request.ClearField("cursors")
        for slot in slots:
            request.cursors.add().CopyFrom(self._request.cursors[slot])
        request.max_wait.FromMilliseconds(wait_ms)
        part_ms = wait_ms + self._call.part_ms(PART_MS)
        try:
            if node is None:
                answer = await self._local(request, self._own_part(part_ms))
            else:
                answer = await self._elsewhere(node, request, left_ms=part_ms)
            if any(map(_has_records, answer.results)) and not await self._has_room(answer):
                for slot, row in zip(slots, answer.results, strict=True):
                    _leave_for_later(row, self._request.cursors[slot])
        except (RequestError, StorageFailed) as failed:
            refusal = failed if isinstance(failed, RequestError) else storage_error(failed)
            refusal = passing(refusal) if node is None else passing_elsewhere(refusal)
            told = log_service_pb2.FetchResult(error=record_error(refusal))
            rows.update(dict.fromkeys(slots, told))
            return
        for row in answer.results:
            if row.HasField("error"):
                row.error.CopyFrom(passed(row.error))
        rows.update(zip(slots, answer.results, strict=True))

    def _own_part(self, left_ms: int) -> Call:
        """Return the call by which this node answers for itself, as another one would."""
        begun = Begun.now(self._clock)
        return replace(self._call, remaining_ms=left_ms, begun=begun, until_sent=None, is_part=True)

    async def _has_room(self, answer: _Response) -> bool:
        """Hold room for a part, and the message made of all; tell whether there is some.

        Raises:
            RequestError: OVERLOADED, there is none for anything after a wait.
        """
        size_bytes = 2 * answer.ByteSize()
        if self._room.try_now(size_bytes):
            return True
        if self._has_waited or self._room.held_bytes:
            return False
        self._has_waited = True
        await self._room.take(size_bytes)
        return True

    async def _elsewhere(self, node: NodeId, request: _Request, *, left_ms: int) -> _Response:
        principal, payload = self._call.principal, request.SerializeToString()
        told = await self._forwarding.call(
            node, FETCH, principal, payload=payload, left_ms=left_ms, grace_ms=0
        )
        answer = read_answer(node, _Response, told)
        check_rows(node, answer.results, len(request.cursors))
        return answer

    def _merged(self, rows: Mapping[int, log_service_pb2.FetchResult]) -> _Response:
        """Return all rows; records that do not fit into one message are left for the next fetch."""
        response, size_bytes = _Response(), 0
        for slot, cursor in enumerate(self._request.cursors):
            row = rows[slot]
            size_bytes += row.ByteSize()
            if size_bytes > MESSAGE_BYTES_MAX and row.HasField("records") and slot:
                size_bytes -= row.ByteSize()
                _leave_for_later(row, cursor)
            response.results.add().CopyFrom(row)
        return response


def _leave_for_later(row: log_service_pb2.FetchResult, cursor: common_pb2.Cursor) -> None:
    """Take the records out of a row, if it has some."""
    if row.HasField("records"):
        row.records.ClearField("batches")
        row.records.next.CopyFrom(cursor)


def _tells_something(row: log_service_pb2.FetchResult) -> bool:
    return not row.HasField("records") or _has_records(row)


def _has_records(row: log_service_pb2.FetchResult) -> bool:
    return bool(row.records.batches)
