"""Writing: records gather in batches, batches go out, and one await gives the place in the log."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from types import TracebackType
from typing import Final, Generic, NoReturn

from tidelog.batch import Row
from tidelog.codecs import Codec
from tidelog.connection import Connection
from tidelog.errors import RecordTooLarge, TidelogError, error_of, not_built
from tidelog.headers import headers_of
from tidelog.lane import Settled
from tidelog.outgoing import Batch, Settlement, Ticket, size_of
from tidelog.partitioner import Sticky, partition_of_key
from tidelog.places import exact_ms, floor_ms
from tidelog.producer_settings import ACKS, ProducerSettings
from tidelog.sender import Key, Sender
from tidelog.topic_sizes import TopicSizes
from tidelog.types import Ack, HeadersIn, K, V

UNSEEN_MAX: Final = 1_000
"""Batches that failed unseen and are remembered until `flush` or the end of the block."""
GATHER_S: Final = 1.0
"""A batch whose linger is over goes on gathering for at most so long while others go before it."""


class Producer(AbstractAsyncContextManager["Producer[K, V]"], Generic[K, V]):
    """Writes records; made by `Client.producer`, used in `async with`.

    By default a record is in the log exactly once however often it had to be sent, and on disk
    when `send` returns. Leaving the block sends what is left, and raises the first failure of a
    record whose ack nobody awaited.
    """

    def __init__(
        self,
        connection: Connection,
        sizes: TopicSizes,
        settings: ProducerSettings,
        *,
        key: Codec[K],
        value: Codec[V],
    ) -> None:
        """Take what the client has checked."""
        self._connection = connection
        self._sizes = sizes
        self._settings = settings
        self._key = key
        self._value = value
        idempotent = settings.idempotent
        self._sender = Sender(
            connection,
            acks=ACKS[settings.acks],
            idempotent=settings.acks == "all" if idempotent is None else idempotent,
            compression=settings.compression,
            settled=self._settled,
            too_large=self._too_large,
        )
        self._time_ms = exact_ms if settings.timestamps == "strict" else floor_ms
        self._open: dict[Key, Batch] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._due: set[Key] = set()
        """Whose linger is over, and which gather while what goes before them is on its way."""
        self._sticky: dict[str, Sticky] = {}
        self._batch_bytes: dict[Key, int] = {}
        """Of partitions that take less than the setting."""
        self._free_bytes = settings.buffer_bytes
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._unsettled: set[Settlement] = set()
        self._failed: dict[Settlement, None] = {}
        """Whose failure nobody had seen when it was settled; at most `UNSEEN_MAX`."""
        self._running: asyncio.Task[None] | None = None
        self._began = False

    async def __aenter__(self) -> "Producer[K, V]":
        """Begin."""
        if self._began:
            raise RuntimeError("a producer begins once; ask the client for another one")
        self._connection.check_loop()
        self._began = True
        self._running = asyncio.get_running_loop().create_task(self._sender.run())
        self._running.add_done_callback(self._sender_ended)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        """Send what is left, unless the block was interrupted; then it is given up."""
        running = self._running
        if running is None:
            return
        try:
            if exc is None or isinstance(exc, Exception):
                await self._drain()
                self._sender.close()
                await running
        finally:
            self._running = None
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
            self._seal_all()
            self._sender.fail(_closed())
        if exc is None:
            self._raise_unseen()

    async def send(
        self,
        topic: str,
        value: V | None,
        *,
        key: K | None = None,
        headers: HeadersIn = (),
        partition: int | None = None,
        timestamp: datetime | None = None,
    ) -> Ack:
        """Write one record and return where it is.

        `value` None: a tombstone. `partition` None: by the key, as Kafka does, or any without one.
        `timestamp`: the event time; None = now.

        Raises:
            OutcomeUnknown: it may be in the log.
            TidelogError: it is not in the log.
            ValueError: a naive datetime; with timestamps="strict" one finer than a millisecond.
        """
        row = self._row(value, key=key, headers=headers, timestamp=timestamp)
        return await await_ticket(await self._enqueue(topic, row, partition))

    async def enqueue(
        self,
        topic: str,
        value: V | None,
        *,
        key: K | None = None,
        headers: HeadersIn = (),
        partition: int | None = None,
        timestamp: datetime | None = None,
    ) -> Awaitable[Ack]:
        """Hand over one record; the result gives its ack: ask it now, later, or never.

        This itself waits only while the buffer is full. A failure that nobody awaits is raised by
        `flush` or at the end of the block.
        """
        return await self._enqueue(
            topic, self._row(value, key=key, headers=headers, timestamp=timestamp), partition
        )

    async def send_many(
        self,
        topic: str,
        values: Iterable[V],
        *,
        key: Callable[[V], K | None] | None = None,
        timestamp: Callable[[V], datetime] | None = None,
    ) -> Sequence[Ack]:
        """Write many records and return where they are, in their order.

        Raises:
            TidelogError: the first failure, once the fate of every record is known; a note on it
                says how many failed.
        """
        tickets = []
        for each in values:
            row = self._row(
                each,
                key=None if key is None else key(each),
                headers=(),
                timestamp=None if timestamp is None else timestamp(each),
            )
            tickets.append(await self._enqueue(topic, row, None))
        self._seal_all()
        acks: list[Ack] = []
        failures: list[Exception] = []
        for ticket in tickets:
            try:
                acks.append(await ticket)
            except Exception as failure:  # noqa: BLE001 - raised below, after the others
                failures.append(failure)
        if failures:
            failures[0].add_note(f"{len(failures)} of {len(tickets)} records failed")
            raise failures[0]
        return acks

    async def flush(self) -> None:
        """Send what has gathered; return when every record so far is in the log.

        Raises:
            TidelogError: the first failure of a record whose ack nobody awaited.
        """
        await self._drain()
        self._raise_unseen()

    def transaction(self) -> NoReturn:
        """Not built yet."""
        raise not_built("a transaction")

    def _settled(self, key: Key, one: Settled) -> None:
        """Take what became of a batch: give its room back, tell its records."""
        batch, result = one
        self._free_bytes += batch.size_bytes
        batch.settle(result)
        settlement = batch.settlement
        if isinstance(result, TidelogError):
            self._sizes.forget(key[0])  # perhaps it is another topic now
        if settlement.failure is not None and not settlement.observed:
            self._remember(settlement)
        if settlement.is_settled:
            self._unsettled.discard(settlement)
        if key in self._due and self._sender.has_room(key):
            self._seal(key)
        self._let_in()

    def _remember(self, settlement: Settlement) -> None:
        """Keep a failure until somebody sees it; a producer that lives long keeps few."""
        if len(self._failed) >= UNSEEN_MAX:
            self._failed = {one: None for one in self._failed if not one.observed}
        if len(self._failed) < UNSEEN_MAX:  # the first ones are told, the latest are not
            self._failed[settlement] = None

    def _too_large(self, key: Key, batch: Batch) -> None:
        """Fill smaller batches from now on."""
        self._batch_bytes[key] = max(1, batch.size_bytes // 2)

    async def _drain(self) -> None:
        """Wait until the fate of every record so far is known."""
        self._seal_all()
        for settlement in list(self._unsettled):
            await settlement.wait()

    async def _enqueue(self, topic: str, row: Row, partition: int | None) -> Ticket:
        self._check_open()
        if partition is not None and partition < 0:
            raise ValueError(f"partition {partition} is negative")
        size_bytes = size_of(row)
        if size_bytes > self._settings.buffer_bytes:
            raise RecordTooLarge(
                f"the record has {size_bytes} bytes, more than the producer's whole buffer of "
                f"{self._settings.buffer_bytes}",
                reason="RECORD_TOO_LARGE",
                metadata={"size_bytes": str(size_bytes)},
            )
        count = self._sizes.known(topic)
        if count is None and partition is None:
            count = await self._sizes.fetch(topic)
        if self._waiting or self._free_bytes < size_bytes:
            await self._wait_for_room(size_bytes)
        try:
            self._check_open()  # it may have been closed while this waited
        except RuntimeError:
            self._let_in()  # whoever waits behind this one learns it too
            raise
        self._free_bytes -= size_bytes
        if partition is None:
            partition = self._choose(topic, row, count or 1)
        return self._put((topic, partition), row, size_bytes)

    def _check_open(self) -> None:
        if self._running is None or self._running.done():
            raise RuntimeError("the producer is not open; use it inside `async with`")

    def _choose(self, topic: str, row: Row, count: int) -> int:
        """Return the partition of a record: by its key, or the one whose turn it is."""
        if row.key is not None:
            return partition_of_key(row.key, count)
        sticky = self._sticky.get(topic)
        if sticky is None:
            sticky = self._sticky[topic] = Sticky(self._connection.chance)
        return sticky.choose(count)

    def _put(self, key: Key, row: Row, size_bytes: int) -> Ticket:
        """Put a record into the batch that gathers for its partition."""
        limit = self._batch_bytes.get(key, self._settings.batch_bytes)
        batch = self._open.get(key)
        if batch is not None and batch.size_bytes + size_bytes > limit:
            self._seal(key)
            batch = None
        if batch is None:
            settlement = Settlement(*key)
            self._unsettled.add(settlement)
            batch = self._open[key] = Batch(settlement)
            linger_s = self._settings.linger.total_seconds()
            loop = asyncio.get_running_loop()
            self._timers[key] = loop.call_later(linger_s, self._linger_over, key)
        ticket = batch.add(row)
        if batch.size_bytes >= limit:
            self._seal(key)
        return ticket

    def _linger_over(self, key: Key) -> None:
        """Send the batch of a partition, or let it gather while it would only wait behind others.

        So a slow log is written to in large batches, and not in ever more small ones.
        """
        if self._sender.has_room(key):
            self._seal(key)
        else:
            self._due.add(key)
            self._move_on(key[0])  # records without a key need not gather behind one partition
            self._timers[key] = asyncio.get_running_loop().call_later(GATHER_S, self._seal, key)

    def _seal(self, key: Key) -> None:
        """Close the batch of a partition and send it."""
        batch = self._open.pop(key, None)
        if batch is None:
            return
        self._timers.pop(key).cancel()
        self._due.discard(key)
        batch.sealed_s = self._connection.clock.monotonic()
        batch.deadline_s = batch.sealed_s + self._connection.retry.total.total_seconds()
        self._move_on(key[0])
        self._sender.add(key, batch)

    def _move_on(self, topic: str) -> None:
        """Let records without a key go to the partition whose turn it is next."""
        count = self._sizes.known(topic)
        if topic in self._sticky and count is not None:
            self._sticky[topic].move_on(count)

    def _seal_all(self) -> None:
        for key in list(self._open):
            self._seal(key)

    def _row(
        self, value: V | None, *, key: K | None, headers: HeadersIn, timestamp: datetime | None
    ) -> Row:
        """Return a record as bytes."""
        time_ms = self._connection.clock.now_ms() if timestamp is None else self._time_ms(timestamp)
        return Row(
            time_ms,
            None if key is None else self._key.encode(key),
            None if value is None else self._value.encode(value),
            headers_of(headers) if headers else (),
        )

    async def _wait_for_room(self, size_bytes: int) -> None:
        """Wait in line until the buffer has room."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place = (size_bytes, turn)
        self._seal_all()  # what gathers is what fills the buffer
        self._waiting.append(place)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._free_bytes += size_bytes  # it was let in, and does not come
            else:
                self._waiting.remove(place)
            self._let_in()
            raise
        self._free_bytes += size_bytes  # reserved for it; the caller takes it now

    def _let_in(self) -> None:
        """Give room to those who wait longest."""
        while self._waiting and self._free_bytes >= self._waiting[0][0]:
            size_bytes, turn = self._waiting.popleft()
            if not turn.done():
                self._free_bytes -= size_bytes
                turn.set_result(None)

    def _raise_unseen(self) -> None:
        """Raise the first failure that nobody has seen, once."""
        unseen = [one for one in self._failed if not one.observed]
        self._failed.clear()
        for one in unseen:
            one.observed = True
        if unseen and (failure := unseen[0].failure) is not None:
            raise failure

    def _sender_ended(self, task: "asyncio.Task[None]") -> None:
        """Tell everybody who waits if the sender ended by a fault of ours."""
        if task.cancelled() or task.exception() is None:
            return
        fault = error_of("INTERNAL", f"the producer stopped: {task.exception()!r}")
        fault.__cause__ = task.exception()
        self._seal_all()
        self._sender.fail(fault)


async def await_ticket(ticket: Awaitable[Ack]) -> Ack:
    """Return the ack of a ticket."""
    return await ticket


def _closed() -> TidelogError:
    return TidelogError("the producer was closed before an answer came", reason="CLOSED")
