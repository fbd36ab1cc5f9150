"""Consuming in a group: records come, and what the program has finished is committed."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from datetime import timedelta
from types import TracebackType
from typing import Final, Generic, Literal, TypeAlias

from tidelog.arguments import span_of
from tidelog.checkpoint import Place
from tidelog.codecs import Codec
from tidelog.connection import Connection
from tidelog.consumer_places import committed_offsets, find_offsets
from tidelog.consumer_settings import BATCH_RECORDS, BATCH_WAIT, ConsumerSettings
from tidelog.errors import LogGap
from tidelog.held import Held
from tidelog.membership import Membership
from tidelog.replay import Gaps
from tidelog.settlement import Settlement
from tidelog.steps import Advance, Live, Raw, Step, Trouble
from tidelog.turns import Turns
from tidelog.types import Clock, K, Record, Start, TopicPartition, V

LOGGER: Final = logging.getLogger("tidelog.client")

Told: TypeAlias = "Callable[[Consumer[K, V], Sequence[TopicPartition]], Awaitable[None]]"
"""A program's coroutine that is told of partitions."""


class Consumer(
    AbstractAsyncContextManager["Consumer[K, V]"], AsyncIterator[Record[K, V]], Generic[K, V]
):
    """A member of a group; made by `Client.consumer`, used in `async with` and `async for`.

    A record counts as finished when the program comes back for the next one. What is finished is
    committed every second, before a partition goes to another member, and at the end.
    """

    def __init__(  # noqa: PLR0913 - options, each by its name
        self,
        connection: Connection,
        settings: ConsumerSettings,
        *,
        key: Codec[K],
        value: Codec[V],
        gaps: Gaps,
        on_assigned: "Told[K, V] | None",
        on_revoked: "Told[K, V] | None",
    ) -> None:
        """Take what the client has checked."""
        self._connection = connection
        self._settings = settings
        self._key = key
        self._value = value
        self._gaps = gaps
        self._on_assigned = on_assigned
        self._on_revoked = on_revoked
        self._membership = Membership(connection, settings, announce=on_assigned is not None)
        self._holdings = self._membership.holdings
        self._in_hand: set[Held] = set()
        """The program works on records of these."""
        self._settlement = Settlement(connection, self._membership, self._in_hand)
        self._membership.on_revoke = self._give_back_idle
        self._opened = False
        self._closed = False
        self._turns = Turns(connection.clock)

    async def __aenter__(self) -> "Consumer[K, V]":
        """Join the group, and wait until a node has confirmed it.

        Raises:
            TidelogError: it cannot be joined.
        """
        if self._opened:
            raise RuntimeError("a consumer joins once; ask the client for another one")
        self._connection.check_loop()
        self._opened = True
        try:
            await self._membership.open()
        except BaseException:
            await self._membership.close()
            raise
        if self._settings.commit != "manual":
            self._membership.start(self._settlement.run())
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        """Commit what is finished, and leave the group.

        The record in hand is not finished, unless `commit="auto"` and the block ends in order.

        Raises:
            TidelogError: the last commit was refused, or got no answer.
        """
        try:
            if exc_type is None and self._settings.commit == "auto":
                self._finish()
            if self._on_revoked is not None and self._holdings.by_key:
                await self._on_revoked(self, [TopicPartition(*at) for at in self._holdings.by_key])
            self._closed = True
            await self._settlement.close(failed=exc is not None)
        finally:
            self._closed = True
            await self._membership.close()
            self._membership.changed.set()

    async def __anext__(self) -> Record[K, V]:
        """Return the next record; the one before it is finished.

        Raises:
            LogGap: with gaps="raise"; reading on goes on behind the gap.
            LogDiverged: what was read is no longer in the log; `seek` says where to go on.
            DataCorrupt: a batch cannot be read; reading on goes on behind it.
            TidelogError: the group cannot be consumed any longer.
            Exception: whatever the codec raises; reading on goes on with the next record.
        """
        if not self._opened:
            raise RuntimeError("the consumer is not open; use it inside `async with`")
        self._finish()
        while (record := await self._next()) is None:
            pass
        return record

    @property
    def assignment(self) -> Sequence[TopicPartition]:
        """The partitions that this consumer has and keeps."""
        return [
            TopicPartition(*at)
            for at, held in sorted(self._holdings.by_key.items())
            if held.revoke_by_s is None
        ]

    @property
    def buffered(self) -> int:
        """Records that are here and not paused: the next so many come without waiting."""
        return self._holdings.buffered

    @property
    def caught_up(self) -> bool:
        """Whether everything that there was has been handed out, but what is paused.

        A node says so a moment after the last record: to end there, use `until_caught_up`.
        """
        return self._membership.caught_up and not self._holdings.buffered

    async def until_caught_up(self) -> AsyncIterator[Record[K, V]]:
        """Yield records, and end once everything that there was has been handed out."""
        if not self._opened:
            raise RuntimeError("the consumer is not open; use it inside `async with`")
        while True:
            self._finish()
            try:
                record = await self._next(to_end=True)
            except StopAsyncIteration:  # it is closed
                return
            if record is None:
                return
            yield record

    async def batches(
        self,
        *,
        max_records: int = BATCH_RECORDS,
        max_wait: timedelta = BATCH_WAIT,
        until_caught_up: bool = False,
    ) -> AsyncIterator[Sequence[Record[K, V]]]:
        """Yield records in lists: full ones, or what came within `max_wait` of the first.

        A list counts as finished when the program comes back for the next one. `until_caught_up`:
        end once everything that there was has been handed out.
        """
        wait_s = span_of("max_wait", max_wait).total_seconds()
        if max_records < 1:
            raise ValueError(f"max_records is {max_records}; it is at least 1")
        while not self._closed:
            self._finish()
            first = None
            with suppress(StopAsyncIteration):  # it is closed
                first = await self._next(to_end=until_caught_up)
            if first is None:
                return
            batch = [first]
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._fill(batch, max_records, to_end=until_caught_up)
            yield batch

    async def commit(self, *records: Record[K, V]) -> None:
        """Commit behind these records, or behind everything that was handed out.

        Raises:
            Fenced: a record was not handed out since its partition came to this consumer, or since
                its last seek: it is another member's by now, or was, or the group was sent
                elsewhere. What was handed out before comes again where the group is now.
            TidelogError: the commit was refused.
        """
        self._check_open()
        await self._settlement.commit(self._settlement.spots_of(records))

    async def seek(
        self,
        to: Start | Literal["committed"],
        *partitions: TopicPartition,
        clock: Clock = "event",
    ) -> None:
        """Go on elsewhere, in these partitions or in all that are assigned; nothing is committed.

        Raises:
            ValueError: a partition that is not assigned to this consumer, a naive datetime.
            TidelogError: the place cannot be found.
        """
        self._check_open()
        chosen = self._holdings.chosen(partitions)
        if not chosen:
            return
        keys = [held.at for held in chosen]
        if to == "committed":
            found = await committed_offsets(self._connection, self._settings.group, keys)
        else:
            found = await find_offsets(
                self._connection, to, keys, clock=clock, isolation=self._settings.isolation
            )
        for held in chosen:
            self._holdings.forget(held)
            self._in_hand.discard(held)
            held.place = Place(found[held.at])
            held.began = held.next = (found[held.at], None)
            held.done = held.asked = held.committed = None
        await self._membership.restart()

    async def pause(self, *partitions: TopicPartition) -> None:
        """Hold these partitions back, or all that are assigned; they stay assigned.

        Raises:
            ValueError: a partition that is not assigned to this consumer.
        """
        self._check_open()
        self._membership.pause(self._holdings.chosen(partitions), paused=True)

    async def resume(self, *partitions: TopicPartition) -> None:
        """Let paused partitions, or all of them, go on.

        Raises:
            ValueError: a partition that is not assigned to this consumer.
        """
        self._check_open()
        self._membership.pause(self._holdings.chosen(partitions), paused=False)

    async def lag(self) -> Mapping[TopicPartition, int]:
        """Return how many offsets each assigned partition has that were not handed out yet."""
        self._check_open()
        held = self._holdings.chosen(())
        if not held:
            return {}
        keys = [one.at for one in held]
        ends = await find_offsets(
            self._connection, "latest", keys, clock="event", isolation=self._settings.isolation
        )
        return {TopicPartition(*one.at): max(0, ends[one.at] - one.next[0]) for one in held}

    async def _next(self, *, to_end: bool = False) -> Record[K, V] | None:
        """Wait for the next record; None: `to_end`, and there is none now."""
        changed = self._membership.changed
        while True:
            await self._turns.give()
            if changed.is_set():
                changed.clear()
                await self._turn()
            record = self._take()
            if record is not None:
                return record
            if to_end and self.caught_up:
                return None
            self._membership.give_credit()
            if not changed.is_set():
                await changed.wait()
                self._turns.waited()

    async def _fill(
        self, batch: list[Record[K, V]], max_records: int, *, to_end: bool = False
    ) -> None:
        """Add what comes. What is wrong with a record is raised in the next turn."""
        while len(batch) < max_records:
            await self._turns.give()
            found = self._holdings.next()
            if found is not None:
                held, step = found
                before = held.next
                try:
                    record = self._apply(held, step)
                except Exception:  # noqa: BLE001 - it comes again, and is raised then
                    held.next = before
                    self._holdings.put_back(held, step)
                    return
                batch += [] if record is None else [record]
                continue
            if to_end and self.caught_up:
                return
            self._membership.give_credit()
            changed = self._membership.changed
            changed.clear()
            try:
                await changed.wait()
            finally:
                changed.set()  # the next turn looks at it
            if self._membership.failure is not None or self._closed:
                return

    async def _turn(self) -> None:
        """Look at what has changed: failures, partitions that came and went."""
        membership = self._membership
        if self._closed:
            raise StopAsyncIteration
        if membership.failure is not None:
            raise membership.told()
        if self._on_revoked is not None:
            going = self._settlement.idle()
            partitions = [TopicPartition(*held.at) for held in (*membership.lost, *going)]
            if partitions:
                await self._on_revoked(self, partitions)
            self._settlement.give_back(going)
        self._in_hand.difference_update(membership.lost)
        membership.lost.clear()
        self._give_back_idle()
        arrived = [one for one in membership.arrived if self._holdings.by_key.get(one.at) is one]
        if arrived and self._on_assigned is not None:
            await self._on_assigned(self, [TopicPartition(*held.at) for held in arrived])
        for held in arrived:
            held.announced = True
            self._holdings.wake(held)
        membership.arrived = [one for one in membership.arrived if not one.announced]

    def _give_back_idle(self) -> None:
        """Give back what nobody works on; with a callback, the program is told of it first."""
        if self._on_revoked is None:
            self._settlement.give_back(self._settlement.idle())

    def _take(self) -> Record[K, V] | None:
        """Return the next record that is here."""
        while (found := self._holdings.next()) is not None:
            record = self._apply(*found)
            if record is not None:
                return record
        return None

    def _apply(self, held: Held, step: Step) -> Record[K, V] | None:
        """Hand out a record, or take the sign that lies between records."""
        match step:
            case Raw():
                return self._hand_out(held, step)
            case Advance(_, offset, epoch):
                held.next = (offset, epoch)
                if held not in self._in_hand and self._settings.commit != "manual":
                    self._settlement.finished(held)
            case Trouble(error):
                if isinstance(error, LogGap) and self._gaps == "warn":
                    LOGGER.warning("%s", error)
                else:
                    raise error
            case Live():
                raise AssertionError(step)
        return None

    def _hand_out(self, held: Held, raw: Raw) -> Record[K, V]:
        held.next = (raw.offset + 1, raw.leader_epoch)
        self._in_hand.add(held)
        topic, partition = raw.at
        try:
            key = None if raw.key is None else self._key.decode(raw.key)
            value = None if raw.value is None else self._value.decode(raw.value)
        except Exception as undecodable:
            undecodable.add_note(f"in {topic}/{partition} at offset {raw.offset}")
            raise
        return Record(
            topic, partition, raw.offset, raw.timestamp_ms, raw.append_time_ms, key, value,
            raw.headers, raw.leader_epoch, None, raw.batch,
        )  # fmt: skip

    def _finish(self) -> None:
        """Take note that the program is done with what it has in hand."""
        for held in self._in_hand:
            if self._settings.commit != "manual":
                self._settlement.finished(held)
            if held.revoke_by_s is not None:
                self._membership.changed.set()  # it can be given back now
        self._in_hand.clear()

    def _check_open(self) -> None:
        if not self._opened or self._closed:
            raise RuntimeError("the consumer is not open; use it inside `async with`")
        if self._membership.failure is not None:
            raise self._membership.told()
