"""Read on from offsets in many partitions; wait a while when there is too little.

Nothing at or above the high watermark is ever shown. Bytes come from the in-memory tail, from the
page cache without waiting, or from the read pool: the loop never waits for a disk.

While answers that clients have not taken fill their share of the memory, a door that counts them
gets rows without records, at once or when there is room again, as it would at the log's end (P53).

Invariants:
    FETCH_BELOW_MARK    nothing at or above the high watermark leaves.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from itertools import zip_longest
from typing import Final, NamedTuple, TypeAlias

from api.broker.answer_room import AnswerRoom
from api.broker.context import BrokerContext
from api.broker.fetch_refusals import check_epoch, deleted, out_of_range
from api.broker.fetch_room import FetchRoom
from api.broker.reach import reach_of
from cluster.shell.hosted_partition import HostedPartition
from logstore.partition_log import ReadPlan, ReadResult
from model.errors import RequestError
from model.ids import MonotonicMs, Offset
from model.principal import Principal

NOT_TOLD: Final = -1
"""In place of an asker's leader epoch: it did not say."""


class Want(NamedTuple):
    """What is asked of one partition; an error that the door met already is passed through."""

    partition: HostedPartition | RequestError
    offset: Offset
    max_bytes: int
    leader_epoch: int = NOT_TOLD
    """The asker's leader epoch."""


class Fetched(NamedTuple):
    """One partition's part of the answer."""

    error: RequestError | None
    buffers: Sequence[bytes | bytearray | memoryview]
    """Whole batches, as stored; the first may begin below the offset asked for."""
    size_bytes: int
    next_offset: Offset
    """Where to go on; the offset asked for when there is nothing yet."""
    high_watermark: Offset
    """`UNKNOWN` where it is refused, as the next two."""
    last_stable_offset: Offset
    log_start: Offset


Done: TypeAlias = Callable[[Sequence[Fetched]], None]
UNKNOWN: Final = Offset(-1)
"""Librdkafka takes the marks of a refusal for what is committed, unless they are this."""


class Fetch:
    """The use case; one for each node."""

    def __init__(self, context: BrokerContext) -> None:
        """Read this node's partitions."""
        self._node = context

    def __call__(
        self,
        principal: Principal,
        wants: Sequence[Want],
        *,
        min_bytes: int,
        max_bytes: int,
        max_wait_ms: int,
        done: Done,
    ) -> Callable[[], None]:
        """Answer through `done`, at once or within `max_wait_ms`; return what cancels it.

        One batch is returned even if it is larger than `max_bytes`, so that every reader gets on.
        Errors stand in the rows: OFFSET_OUT_OF_RANGE (log_start_offset and high_watermark
        are in its metadata), FENCED_EPOCH, UNKNOWN_EPOCH, NOT_LEADER, LEADER_NOT_AVAILABLE,
        OFFSET_NOT_AVAILABLE, CORRUPT_LOG, UNKNOWN_TOPIC (deleted meanwhile), STORAGE_ERROR, and
        those that `wants` brought along.
        """
        del principal  # every principal may read until there are access rules
        running = _Running(self._node, wants, min_bytes=min_bytes, max_bytes=max_bytes, done=done)
        running.room = FetchRoom(answers=self._node.answers)
        running.begin(max_wait_ms)
        return running.cancel

    async def wait(
        self,
        principal: Principal,
        wants: Sequence[Want],
        *,
        min_bytes: int,
        max_bytes: int,
        max_wait_ms: int,
        room: AnswerRoom | None = None,
    ) -> Sequence[Fetched]:
        """Do the same for a task, which sees to room for its answer; cancelling it cancels this.

        `room`: what it holds for that, lent while this waits; without it rows have no records.
        """
        del principal
        answer: asyncio.Future[Sequence[Fetched]] = asyncio.get_running_loop().create_future()

        def done(fetched: Sequence[Fetched]) -> None:
            if not answer.done():  # its task was cancelled, and has not run since
                answer.set_result(fetched)

        running = _Running(self._node, wants, min_bytes=min_bytes, max_bytes=max_bytes, done=done)
        running.room = FetchRoom(door=room)
        running.begin(max_wait_ms)
        try:
            return await answer
        finally:
            running.cancel()


class _Asked(NamedTuple):
    """What the read pool was asked for, and where in the answer it belongs."""

    slot: int
    partition: HostedPartition
    offset: Offset
    max_bytes: int


class _Running:
    """One fetch that is under way."""

    __slots__ = (
        "_cancel_timer", "_done", "_ended", "_marks", "_max_bytes", "_min_bytes", "_node",
        "_pending", "_results", "_waiting", "_wants", "_woken", "room",
    )  # fmt: skip

    def __init__(
        self,
        node: BrokerContext,
        wants: Sequence[Want],
        *,
        min_bytes: int,
        max_bytes: int,
        done: Done,
    ) -> None:
        self._node = node
        self._wants = wants
        self._min_bytes = min_bytes
        self._max_bytes = max_bytes
        self._done = done
        self._results: list[Fetched | None] = []
        self._marks: list[Offset | None] = []
        """High watermarks when the read pool was asked, None for what is not there; else empty."""
        self._pending = 0
        self.room = FetchRoom()
        self._ended = False
        self._woken = False
        self._waiting = False
        self._cancel_timer: Callable[[], None] | None = None

    def begin(self, max_wait_ms: int) -> None:
        """Read once; wait if that was too little and there is time."""
        if max_wait_ms > 0 and self._min_bytes > 0:
            deadline = MonotonicMs(self._node.clock.monotonic_ms() + max_wait_ms)
            self._read(lambda: self._wait_until(deadline))
        else:
            self._read(self._finish)

    def cancel(self) -> None:
        """Forget the fetch: nobody is there to hear."""
        self._ended = True
        self._stop_waiting()

    def _enough(self) -> bool:
        """Tell whether to answer now. Whoever takes no more of what is there waits for nothing."""
        size, is_full = 0, False
        for result, mark in zip_longest(self._results, self._marks):
            if result is not None:
                if result.error is not None:
                    return True
                size += result.size_bytes
                is_full |= result.next_offset < (result.high_watermark if mark is None else mark)
        return size >= self._min_bytes or (is_full and size > 0)

    def _wait_until(self, deadline: MonotonicMs) -> None:
        if self._ended:
            return
        if self._enough():
            self._finish()
            return
        self._cancel_timer = self._node.clock.call_at(deadline, self._time_is_up)
        self._watch()

    def _watch(self) -> None:
        self._waiting = True
        if any(result is not None and result.size_bytes for result in self._results):
            self._results = []  # a wait may be long, and nobody counts them: read again at its end
        if self.room.wait(self._wake):
            return
        for want in self._wants:
            if isinstance(want.partition, HostedPartition):
                want.partition.unwatch(self._wake)
                want.partition.watch(want.offset, self._wake)
        if self._marks and self._marks != [_mark(want) for want in self._wants]:
            self._wake()  # it was committed, or deleted, while the read pool was at work

    def _wake(self) -> None:
        """Something was committed, or there is room: read once when this tick has gathered all."""
        if not self._woken and not self._ended:
            self._woken = True
            self._node.tick.at_end(self._read_again)

    def _read_again(self) -> None:
        self._woken = False
        if not self._ended and not self._pending:
            self._read(self._finish_if_enough)

    def _finish_if_enough(self) -> None:
        if self._ended:
            return
        if self._enough():
            self._finish()
        else:
            self._watch()

    def _time_is_up(self) -> None:
        self._cancel_timer = None
        if self._ended:
            return
        self._min_bytes = 0
        if self._pending:
            return
        if self._results:
            self._finish()
        else:
            self._read(self._finish)

    def _finish(self) -> None:
        if self._ended:
            return
        self._ended = True
        self._stop_waiting()
        results = [result for result in self._results if result is not None]
        for result in results:
            self._node.served_bytes += result.size_bytes
        self._done(results)

    def _stop_waiting(self) -> None:
        if self._waiting:
            self._waiting = False
            self.room.forget()
            for want in self._wants:
                if isinstance(want.partition, HostedPartition):
                    want.partition.unwatch(self._wake)
        if self._cancel_timer is not None:
            self._cancel_timer()
            self._cancel_timer = None

    def _read(self, then: Callable[[], None]) -> None:
        """Read every partition; go on with `then` when the last has its part."""
        self._results = [None] * len(self._wants)
        room = self.room.bytes_now(self._max_bytes, self._wake)
        first = not self.room.is_starved  # it is served even if it is larger than there is room
        self._pending = 1
        self._marks = []
        for slot, want in enumerate(self._wants):
            partition = want.partition
            if isinstance(partition, RequestError):
                self._results[slot] = _refused(partition, want.offset)
                continue
            try:
                size_max = min(want.max_bytes, room)
                found = self._read_one(partition, want, size_max, first=first)
            except RequestError as met:
                refusal = self._node.refusal_of_read(met, partition)
                self._results[slot] = _refused(refusal, want.offset)
                continue
            if isinstance(found, ReadPlan):
                self._pending += 1
                self.room.pooled(size_max)
                self._marks = self._marks or [_mark(one) for one in self._wants]
                asked = _Asked(slot, partition, want.offset, size_max)
                self._node.read_pool.submit(
                    found.blocking,
                    partial(self._arrived, asked, then),
                    partial(self._failed, asked, then),
                )
                room, first = max(0, room - want.max_bytes), False
            else:
                self._results[slot] = found
                room, first = max(0, room - found.size_bytes), first and not found.size_bytes
        self._one_less(then)

    def _read_one(
        self, partition: HostedPartition, want: Want, max_bytes: int, *, first: bool
    ) -> Fetched | ReadPlan:
        if partition.log.deleted:
            raise deleted(partition)
        check_epoch(partition, want.leader_epoch)
        partition.check_serves()
        mark = partition.high_watermark
        # A leader of a later epoch may have told of more: there is nothing to give, nothing wrong.
        if not partition.log_start <= want.offset <= reach_of(partition):
            raise out_of_range(partition, want.offset)
        if want.offset >= mark or (max_bytes <= 0 and not first):
            return _fetched(partition, want.offset, None)
        found = partition.log.read(want.offset, max_bytes, end=mark)
        if isinstance(found, ReadPlan):
            now = found.now()
            if now is None:
                return found
            found = partition.log.tail.joined(now, max_bytes, end=mark)
        return _fetched(partition, want.offset, found)

    def _arrived(self, asked: _Asked, then: Callable[[], None], result: ReadResult) -> None:
        if not self._ended:
            self._results[asked.slot] = _joined(asked, result)
        self._one_less(then)

    def _failed(self, asked: _Asked, then: Callable[[], None], error: Exception) -> None:
        error = self._node.refusal_of_read(error, asked.partition)
        if not asked.partition.serves:  # what was to be read may be cut off, and be elsewhere
            error = asked.partition.not_serving()
        if not self._ended:
            self._results[asked.slot] = _refused(error, asked.offset)
        self._one_less(then)

    def _one_less(self, then: Callable[[], None]) -> None:
        self._pending -= 1
        if self._pending == 0:
            self.room.arrived()
            if not self._ended:
                then()


def _mark(want: Want) -> Offset | None:
    """Return how far a reader may see now; None: not at all."""
    partition = want.partition
    if isinstance(partition, RequestError) or partition.log.deleted or not partition.serves:
        return None
    return partition.high_watermark


def _joined(asked: _Asked, result: ReadResult) -> Fetched:
    """Return what the read pool has brought, and what lies behind it in memory."""
    partition = asked.partition
    if not partition.serves:  # it was read on a leader, and what it says may be cut off by now
        return _refused(partition.not_serving(), asked.offset)
    mark = partition.high_watermark
    result = partition.log.tail.joined(result, asked.max_bytes, end=mark)
    return _fetched(partition, asked.offset, result)


def _fetched(partition: HostedPartition, offset: Offset, result: ReadResult | None) -> Fetched:
    mark = partition.high_watermark
    buffers: Sequence[bytes | bytearray | memoryview] = ()
    size, next_offset = 0, offset
    if result is not None:
        assert result.next_offset <= mark, "FETCH_BELOW_MARK"
        buffers, size, next_offset = result.buffers, result.size_bytes, result.next_offset
    return Fetched(
        None, buffers, size, next_offset, mark, partition.last_stable_offset, partition.log_start
    )


def _refused(error: RequestError, offset: Offset) -> Fetched:
    """Return a row without marks: who is refused may have been told of more by another leader."""
    return Fetched(error, (), 0, offset, UNKNOWN, UNKNOWN, UNKNOWN)
