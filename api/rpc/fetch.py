"""Fetch: one long-poll read on from cursors, with a row for each."""

from collections.abc import Sequence
from contextlib import aclosing
from typing import Final, NamedTuple

from api.broker.answer_room import AnswerRoom
from api.broker.broker import Broker
from api.broker.read_on import Diverged, Gap, Read, ReadFrom, Step
from api.broker.readable import reads_files
from api.rpc.call import Call
from api.rpc.convert import (
    check_consistency,
    check_isolation,
    duration_ms,
    not_built,
    refuse,
    wants_records,
)
from api.rpc.details import ErrorRows, record_error
from api.rpc.fetch_elsewhere import SpreadFetch, leaders_of
from api.rpc.guard import Guard
from api.rpc.selection import check_items, hosted
from api.rpc.step_messages import MESSAGE_BYTES_MAX, Filling, record_parts, stored_parts
from model.errors import ErrorCode, RequestError
from model.ids import LeaderEpoch, Offset
from model.limits import FETCH_BYTES_MAX, FETCH_PARTITION_BYTES_DEFAULT
from tidelog.v1 import common_pb2, log_service_pb2

WAIT_MS_DEFAULT: Final = 500
"""Of a fetch that wants a number of bytes and does not say for how long."""
ROW_BYTES: Final = 128
"""A row's own fields: numbers, times and a cursor, beside the topic's name."""


class _Terms(NamedTuple):
    """What a request asks for beside its cursors."""

    partition_max_bytes: int
    max_bytes: int
    min_bytes: int
    max_wait_ms: int
    decode: bool


class FetchCall:
    """The call. Loop only."""

    def __init__(self, broker: Broker, guard: Guard) -> None:
        """Read through a node's use cases."""
        self._broker = broker
        self._guard = guard

    async def __call__(
        self, request: log_service_pb2.FetchRequest, call: Call
    ) -> log_service_pb2.FetchResponse:
        """Answer.

        Raises:
            RequestError: INVALID_REQUEST, NOT_IMPLEMENTED, OVERLOADED, SHUTTING_DOWN.
        """
        check_items("cursors", len(request.cursors))
        terms = _terms(request, call)
        groups = leaders_of(self._broker, request.cursors, call)
        if groups:
            spread = SpreadFetch(self._broker, request, call, local=self._here)
            work = spread.answer(groups, terms.max_wait_ms if terms.min_bytes else 0)
            return await self._guard.interruptible(work)
        return await self._here(request, call)

    async def _here(
        self, request: log_service_pb2.FetchRequest, call: Call
    ) -> log_service_pb2.FetchResponse:
        """Answer what is this node's own."""
        terms = _terms(request, call)
        places, turns = [], self._broker.turns()
        for one in request.cursors:
            places.append(self._place(one, terms))
            await turns.give_way()
        shares = self._broker.context.shares
        is_whole = call.brought_by is None and not call.is_part
        room = AnswerRoom(shares.clients if is_whole else shares.parts)
        wait_s = None if is_whole else call.wait_ms(None) / 2 / 1_000
        try:
            if any(map(_reads_files, places)):
                size_bytes = 2 * min(terms.max_bytes, MESSAGE_BYTES_MAX)
                await room.take(size_bytes, wait_s=wait_s)
            read = await self._guard.interruptible(
                self._broker.read_on(
                    call.principal,
                    places,
                    min_bytes=terms.min_bytes,
                    max_bytes=terms.max_bytes,
                    max_wait_ms=terms.max_wait_ms,
                    room=room,
                )
            )
            await room.settle(_held_bytes(read), wait_s=wait_s)
            answer = await self._answer(request.cursors, read, terms)
        except BaseException:
            room.clear()
            raise
        if room.held_bytes:  # else only rows, which are counted as any other answer is
            call.when_sent(room.clear)
        return answer

    def _place(self, asked: common_pb2.Cursor, terms: _Terms) -> ReadFrom | RequestError:
        try:
            partition = hosted(self._broker, asked.topic, asked.partition)
            if asked.offset < 0:
                refuse("cursors.offset", f"{asked.offset} is negative")
        except RequestError as refusal:
            return refusal
        return ReadFrom(partition, Offset(asked.offset), terms.partition_max_bytes, epoch_of(asked))

    async def _answer(
        self,
        cursors: Sequence[common_pb2.Cursor],
        read: Sequence[Read],
        terms: _Terms,
    ) -> log_service_pb2.FetchResponse:
        """Fill the rows; what does not fit into one message is left for the next fetch."""
        response = log_service_pb2.FetchResponse()
        errors = ErrorRows()
        for found in read:
            row = response.results.add()
            match found:
                case Gap():
                    row.gap.CopyFrom(gap_message(found))
                case Diverged():
                    row.diverged.CopyFrom(diverged_message(found))
                case RequestError():
                    row.error.CopyFrom(errors.row(found))
                case Step():
                    pass  # below
        # Every row has its place before the first is filled: the last may not be too much.
        room = MESSAGE_BYTES_MAX - response.ByteSize()
        room -= sum(ROW_BYTES + len(one.topic) for one in cursors)
        filled = 0
        turns = self._broker.turns()
        for row, asked, found in zip(response.results, cursors, read, strict=True):
            await turns.give_way()
            if isinstance(found, Step):
                filled += await self._fill(
                    row, asked, found, terms=terms, room=Room(room - filled, is_first=not filled)
                )
        return response

    async def _fill(
        self,
        row: log_service_pb2.FetchResult,
        asked: common_pb2.Cursor,
        step: Step,
        *,
        terms: _Terms,
        room: "Room",
    ) -> int:
        """Write the first part of a step into its row, if it has room; return its size."""
        filling = Filling(lambda: row.records)
        epoch = epoch_of(asked)
        max_bytes = min(terms.partition_max_bytes, terms.max_bytes)
        if terms.decode:
            turns = self._broker.turns()
            parts = record_parts(step, epoch, filling, times=None, turns=turns, max_bytes=max_bytes)
            async with aclosing(parts):
                part = await anext(parts)
        else:
            part = next(stored_parts(step, epoch, filling, max_bytes=max_bytes))
        if filling.size_bytes > room.left_bytes:
            row.ClearField("records")
            if room.is_first:  # nor will it the next time
                row.error.CopyFrom(record_error(_no_room(step, filling.size_bytes)))
                return 0
            nothing = step._replace(batches=(), next_offset=step.start_offset)
            next(stored_parts(nothing, epoch, Filling(lambda: row.records), max_bytes=0))
            return 0
        if part.error is not None and part.message.next.offset == asked.offset:
            row.error.CopyFrom(record_error(part.error))
        return filling.size_bytes


class Room(NamedTuple):
    """What is left of a message for the records of one row."""

    left_bytes: int
    is_first: bool
    """No other row has records."""


def _no_room(step: Step, size_bytes: int) -> RequestError:
    place = f"{step.partition.topic.name}/{step.partition.number}"
    return RequestError(
        ErrorCode.RECORD_TOO_LARGE,
        f"{place}: what begins at offset {step.start_offset} has {size_bytes} bytes and does not "
        "fit into one answer beside the rows of the other cursors; ask for this partition alone",
        topic=step.partition.topic.name,
        partition=str(step.partition.number),
        offset=str(step.start_offset),
        size_bytes=str(size_bytes),
    )


def _reads_files(place: ReadFrom | RequestError) -> bool:
    if isinstance(place, RequestError):
        return False
    return reads_files(place.partition, place.offset, place.partition.high_watermark)


def _held_bytes(read: Sequence[Read]) -> int:
    """Return what an answer takes: the batches that were read, and the message made of them."""
    size = sum(found.size_bytes for found in read if isinstance(found, Step))
    return 2 * min(size, MESSAGE_BYTES_MAX)


def epoch_of(asked: common_pb2.Cursor) -> LeaderEpoch | None:
    """Return the epoch of the record before a cursor, if it is told."""
    return LeaderEpoch(asked.leader_epoch) if asked.HasField("leader_epoch") else None


def gap_message(gap: Gap) -> common_pb2.Gap:
    """Return what was removed before it was read."""
    return common_pb2.Gap(
        partition=common_pb2.TopicPartition(
            topic=gap.partition.topic.name, partition=gap.partition.number
        ),
        expected_offset=gap.expected_offset,
        next_offset=gap.next_offset,
    )


def diverged_message(diverged: Diverged) -> common_pb2.Diverged:
    """Return where a reader and the log part."""
    return common_pb2.Diverged(
        partition=common_pb2.TopicPartition(
            topic=diverged.partition.topic.name, partition=diverged.partition.number
        ),
        offset=diverged.offset,
        leader_epoch=diverged.leader_epoch,
    )


def _terms(request: log_service_pb2.FetchRequest, call: Call) -> _Terms:
    check_isolation(request.isolation_level)
    check_consistency(request.consistency)
    if request.HasField("filter"):
        not_built("filter", "set", 4)
    limit = FETCH_BYTES_MAX.value
    for field in ("partition_max_bytes", "max_bytes", "min_bytes"):
        value: int = getattr(request, field)
        if not 0 <= value <= limit:
            refuse(field, f"{value} is outside 0 to {limit}")
    asked = WAIT_MS_DEFAULT if request.min_bytes else 0
    if request.HasField("max_wait"):
        asked = duration_ms("max_wait", request.max_wait)
    wait_ms = call.wait_ms(asked)
    if call.brought_by is not None:  # its client's hanging up is not heard of here
        wait_ms = min(wait_ms, call.wait_ms(None))
    return _Terms(
        request.partition_max_bytes or FETCH_PARTITION_BYTES_DEFAULT.value,
        request.max_bytes or limit,
        request.min_bytes,
        wait_ms,
        wants_records(request.encoding),
    )
