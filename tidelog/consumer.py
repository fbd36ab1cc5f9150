"""Consuming in a group: records come, and what the program has finished is committed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from datetime import timedelta
from types import TracebackType
from typing import Generic, Literal, TypeAlias

from tidelog.arguments import span_of
from tidelog.codecs import Codec
from tidelog.connection import Connection
from tidelog.consumer_places import find_offsets, sought_offsets
from tidelog.consumer_settings import BATCH_RECORDS, BATCH_WAIT, ConsumerSettings
from tidelog.handing_out import HandingOut
from tidelog.held import Held
from tidelog.membership import Membership
from tidelog.record_list import RecordList
from tidelog.replay import Gaps
from tidelog.settlement import Settlement, shown
from tidelog.turns import Turns
from tidelog.types import Clock, K, Record, Start, TopicPartition, V

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
        self._on_assigned, self._on_revoked = on_assigned, on_revoked
        self._membership = Membership(connection, settings, announce=on_assigned is not None)
        self._holdings = self._membership.holdings
        self._in_hand: set[Held] = set()
        """The program works on records of these."""
        self._settlement = Settlement(connection, self._membership, self._in_hand)
        self._out = HandingOut(
            self._holdings, self._settlement, self._in_hand,
            key=key, value=value, gaps=gaps, commits=settings.commit != "manual",
        )  # fmt: skip
        self._membership.on_revoke = self._give_back_idle
        self._opened = self._closed = False
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

        The record in hand is not finished, unless `commit="auto"` and the block ends in order. What
        is finished is committed also where `on_revoked` raises.

        Raises:
            TidelogError: the last commit was refused, or got no answer.
        """
        failed = True
        try:
            if exc_type is None and self._settings.commit == "auto":
                self._finish()
            if self._membership.failure is None:
                await self._tell_gone([*self._membership.lost, *self._holdings.by_key.values()])
            failed = exc is not None
        finally:
            self._closed = True
            try:
                await self._settlement.close(failed=failed)
            finally:
                await self._membership.close()
                self._membership.changed.set()

    async def __anext__(self) -> Record[K, V]:
        """Return the next record; the one before it is finished.

        Raises:
            LogGap: with gaps="raise"; reading on goes on behind the gap.
            LogDiverged: what was read is no longer in the log; `seek` says where to go on.
            DataCorrupt: batches cannot be read; reading on goes on behind them, at `next_offset`.
                Where that is None, the consumer is over.
            TidelogError: the group cannot be consumed any longer.
            Exception: whatever the codec raises; reading on goes on with the next record.
        """
        if not self._opened:
            raise RuntimeError("the consumer is not open; use it inside `async with`")
        self._finish()
        while (record := await self._next(self._out.next)) is None:
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
                record = await self._next(self._out.next, to_end=True)
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

        A list counts as finished when the program comes back for the next one. One that is given
        up while it fills, by a timeout or a cancelled task, counts as not read: it comes again.
        `until_caught_up`: end once everything that there was has been handed out.
        """
        wait_s = span_of("max_wait", max_wait).total_seconds()
        if max_records < 1:
            raise ValueError(f"max_records is {max_records}; it is at least 1")
        while not self._closed:
            self._finish()
            gathered = RecordList(self._holdings, self._out)
            first = None
            try:
                with suppress(StopAsyncIteration):  # it is closed
                    first = await self._next(gathered.take, to_end=until_caught_up)
                if first is not None:
                    await self._fill(gathered, max_records, wait_s, to_end=until_caught_up)
            except BaseException:
                gathered.put_back()
                raise
            if first is None:
                return
            if batch := gathered.hand_out():
                yield batch

    async def commit(self, *records: Record[K, V]) -> None:
        """Commit behind these records, or behind everything that was handed out.

        Raises:
            Fenced: of these, one was not handed out since its partition came to this consumer, or
                since its last seek, and nothing is committed. Without records, said once: what
                was handed out of a partition went uncommitted, because it is another member's or
                the group was sent elsewhere; it may come again. The rest is committed. So it is
                where a partition went, or was sought elsewhere, while a commit was tried again.
            TidelogError: the commit was refused.
        """
        self._check_open()
        await self._settlement.commit_asked(records)

    async def seek(
        self,
        to: Start | Literal["committed"],
        *partitions: TopicPartition,
        clock: Clock = "event",
    ) -> None:
        """Go on elsewhere, in these partitions or in all that are assigned; nothing is committed.

        Raises:
            ValueError: a partition that is not assigned to this consumer, a naive datetime.
            Fenced: a partition went while its place was looked up, and goes on where it comes
                again, if it does; the others are sought.
            TidelogError: the place cannot be found.
        """
        self._check_open()
        chosen = self._holdings.chosen(partitions)
        if not chosen:
            return
        keys = [held.at for held in chosen]
        found = await sought_offsets(self._connection, self._settings, to, keys=keys, clock=clock)
        by_key = self._holdings.by_key
        still = [held for held in chosen if by_key.get(held.at) is held]
        went = [f"{one.at[0]}/{one.at[1]}" for one in chosen if by_key.get(one.at) is not one]
        for held in still:
            self._holdings.forget(held)
            self._in_hand.discard(held)
            held.restart(found[held.at])
        if still:
            await self._membership.restart()
        if went:
            raise self._membership.gone(f"{shown(went)} went while its place was looked up")

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

    async def _next(
        self, take: Callable[[], Record[K, V] | None], *, to_end: bool = False
    ) -> Record[K, V] | None:
        """Wait for the next record; None: `to_end`, and there is none now."""
        changed = self._membership.changed
        while True:
            await self._turns.give()
            if changed.is_set():
                await self._turn()
            record = take()
            if record is not None:
                return record
            if to_end and self.caught_up:
                return None
            self._membership.give_credit()
            if not changed.is_set():
                await changed.wait()
                self._turns.waited()

    async def _fill(
        self, gathered: RecordList[K, V], max_records: int, wait_s: float, *, to_end: bool
    ) -> None:
        """Add what comes. What ends the consumer is raised when the next list is asked for."""
        changed, clock = self._membership.changed, self._connection.clock
        due_s = clock.monotonic() + wait_s
        bell: asyncio.Task[None] | None = None
        try:
            while len(gathered) < max_records and not gathered.is_cut:
                if await self._turns.give() and clock.monotonic() >= due_s:
                    return
                if self._closed or self._membership.failure is not None:
                    return
                if changed.is_set():
                    await self._turn()
                if gathered.take() is not None or gathered.is_cut:
                    continue
                if (to_end and self.caught_up) or clock.monotonic() >= due_s:
                    return
                self._membership.give_credit()
                if not changed.is_set():
                    bell = bell or asyncio.create_task(self._ring(due_s))  # noqa: TID251 - ends here
                    await changed.wait()
                    self._turns.waited()
        finally:
            if bell is not None:
                bell.cancel()

    async def _ring(self, due_s: float) -> None:
        """Wake the program at a time."""
        clock = self._connection.clock
        while (left_s := due_s - clock.monotonic()) > 0:
            await clock.sleep(left_s)
        self._membership.changed.set()

    async def _turn(self) -> None:
        """Look at what has changed: failures, partitions that came and went."""
        self._membership.changed.clear()
        try:
            await self._look()
        except BaseException:  # of a callback, perhaps: what it was called for is still to be done
            self._membership.changed.set()
            raise

    async def _look(self) -> None:
        membership = self._membership
        if self._closed:
            raise StopAsyncIteration
        if membership.failure is not None:
            raise membership.told()
        await self._let_go()
        while membership.lost:  # meanwhile; it is told before what may have come of it again
            await self._let_go()
        by_key = self._holdings.by_key
        membership.arrived = [one for one in membership.arrived if by_key.get(one.at) is one]
        arrived = [one for one in membership.arrived if one.revoke_by_s is None]
        for held in arrived:
            held.untold = False
        if arrived and self._on_assigned is not None:
            await self._on_assigned(self, [TopicPartition(*held.at) for held in arrived])
        for held in arrived:
            held.announced = True
            self._holdings.wake(held)
        membership.arrived = [one for one in membership.arrived if not one.announced]

    async def _let_go(self) -> None:
        """Let go of what was lost, and give back what is wanted back; the program is told first."""
        membership = self._membership
        lost, membership.lost = membership.lost, []
        going: Sequence[Held] = ()
        if self._on_revoked is not None:
            going = self._settlement.idle()
            try:
                await self._tell_gone([*lost, *going])
            except BaseException:
                membership.lost = [*lost, *membership.lost]
                raise
        self._in_hand.difference_update(lost)
        self._settlement.give_back(going)
        told = set(going)
        membership.lost = [held for held in membership.lost if held not in told]
        self._give_back_idle()

    async def _tell_gone(self, going: Sequence[Held]) -> None:
        """Tell the program of what goes, each partition once; not of what it never heard of."""
        known = dict.fromkeys(TopicPartition(*held.at) for held in going if held.announced)
        if known and self._on_revoked is not None:
            await self._on_revoked(self, list(known))

    def _give_back_idle(self) -> None:
        """Give back what nobody works on; with a callback, at once only what it never heard of."""
        self._settlement.give_back_idle(only_untold=self._on_revoked is not None)

    def _finish(self) -> None:
        """Take note that the program is done with what it has in hand."""
        if any(held.revoke_by_s is not None for held in self._in_hand):
            self._membership.changed.set()  # it can be given back now
        self._out.finish()

    def _check_open(self) -> None:
        if not self._opened or self._closed:
            raise RuntimeError("the consumer is not open; use it inside `async with`")
        if self._membership.failure is not None:
            raise self._membership.told()
