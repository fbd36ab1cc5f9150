"""The two threads of a log directory: one writes rounds, one makes checkpoints.

The loop never waits for the disk. It takes a round at the end of a tick and hands it to the writer
thread, which writes and syncs it; while that runs, the next round gathers. A light round, which
syncs nothing and only copies a few bytes into the page cache, the loop writes itself: waking a
thread and being woken by it takes longer. Once the kernel makes it wait there, as it does when too
much of the cache is not on the disk yet, the thread writes for a while (decision 0007 has the
figures). The checkpointer makes partition files durable behind the journal, removes what retention
and deletion freed, and looks after the free space. What to write is decided in `logstore`, which
knows no thread.

Where other nodes wait for what is written here, a round whose sync takes long is told of twice: the
written ends move while it is being synced, the flushed ends once it is.

A failed write or sync takes the directory offline at once (P44), for good; the owner is told once.

Invariants:
    ONE_ROUND_AT_A_TIME        positions come back in the order in which rounds were taken.
    ONE_CHECKPOINT_AT_A_TIME   so do checkpoints.
"""

import asyncio
import errno
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple, TypeAlias

from cluster.shell.long_sync import LongSync, RoundUnderWay
from cluster.shell.tick import Tick
from cluster.shell.worker import Worker
from logstore.log_directory import LogDirectory
from logstore.partition_log import PartitionLog
from logstore.paths import JOURNAL
from logstore.round import CheckpointResult, Round, RoundResult
from model.errors import ErrorCode, RequestError, StorageFailed
from model.ids import AppendTimeMs, MonotonicMs
from model.ports import Clock

Ended: TypeAlias = Callable[[RoundResult | None, Sequence[PartitionLog]], None]
"""What a finished round did, or None for a checkpoint, and for a round that is written while its
sync takes long; and whose positions it has moved."""

DETAIN_MS: Final = 3
"""A light round that took longer has waited for something: ms, by a clock of whole ones."""
AWAY_MS: Final = 1_000
"""For so long the thread writes light rounds too: the loop loses little, however slow the disk."""
CHECK_MS: Final = MonotonicMs(1_000)
"""How often a checkpoint that falls due by time, and the free space, are looked at; ms."""
ROOM_MS_MAX: Final = 10_000
"""A node that ends waits no longer for a disk without room: less than a whole stop may take; ms."""


class _Lone(NamedTuple):
    """A job for `DiskWriter.alone`."""

    job: Callable[[], None]
    still: Callable[[], bool]
    came: "asyncio.Future[bool]"


class DiskWriter:
    """Rounds and checkpoints of one log directory. Loop only; the work is done in its threads."""

    def __init__(
        self,
        directory: LogDirectory,
        *,
        clock: Clock,
        tick: Tick,
        worker: Callable[[str], Worker],
        ended: Ended,
        failed: Callable[[Exception], None],
    ) -> None:
        """Own the directory's disk from now on.

        `worker` makes one for each of its two threads, by name. `ended` is told, on the loop, of
        each round and checkpoint; `failed` once, of the error that took the directory offline.
        """
        self._directory = directory
        self._clock = clock
        self._tick = tick
        self._ended = ended
        self._failed = failed
        self._writer = worker("writer")
        self._checkpointer = worker("checkpointer")
        self._long_sync: LongSync | None = None
        self._asked = False
        self._writing = False
        self._checkpointing = False
        self._checkpoint_asked = False
        self._watching = False
        self._looking = False
        self._offline = False
        self._ending = False
        self._room_until: MonotonicMs | None = None
        self._filing_due = False
        self._away_until = MonotonicMs(0)
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._lone: deque[_Lone] = deque()
        """The first may be under way."""
        self._checkpoints_taken = 0
        self._checkpoints_done = 0

    @property
    def offline(self) -> bool:
        """A write or sync has failed: nothing is taken any more."""
        return self._offline

    def tell_written(self) -> None:
        """Tell of rounds whose sync takes long once they are written: other nodes wait for that."""
        self._long_sync = LongSync(self._clock, self._round_written)

    def ask(self) -> None:
        """Something was accepted: write it at the end of this tick, or when the disk is free."""
        if not self._asked:
            self._asked = True
            self._tick.at_end(self._end_of_tick)

    def look_at_space(self) -> None:
        """See how much space there is, and whether some was freed if it was wanted (P48)."""
        if not self._looking and not self._offline:
            self._looking = True
            look = partial(self._directory.poll_free, self._directory.mark_space())
            self._checkpointer.submit(look, self._looked, self._fail)

    def fail(self, error: Exception) -> None:
        """Take the directory offline for an error that was met outside: a read the disk refused."""
        self._fail(error)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return once `holds()`, which is asked after each round and each checkpoint.

        Raises:
            RequestError: STORAGE_ERROR, the directory went offline: it never will.
        """
        if holds():
            return
        self._check_online()
        came: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((holds, came))
        self.ask()
        await came

    async def alone(self, job: Callable[[], None], *, still: Callable[[], bool]) -> bool:
        """Run a job that changes files, while neither a round nor a checkpoint does.

        Others wait for it: it is to be short. What it raises takes the directory offline. It is not
        run, and false returned, if `still()` does not hold when its turn comes.

        Raises:
            RequestError: STORAGE_ERROR, the directory is offline; SHUTTING_DOWN, the node ends. The
                job was not run, or not to its end.
        """
        self._check_online()
        if self._ending:
            raise RequestError(
                ErrorCode.SHUTTING_DOWN, "the node ends: no file is changed any more"
            )
        came: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._lone.append(_Lone(job, still, came))
        self.ask()
        return await came

    def end_soon(self) -> None:
        """The node is about to end: what has no room on the disk is waited for no longer than that.

        If there is none by then, the directory goes offline as if it were full: what was accepted
        and not acknowledged is not written, and its callers are told so.
        """
        self._room_until = MonotonicMs(self._clock.monotonic_ms() + ROOM_MS_MAX)

    async def flushed(self) -> None:
        """Return once nothing that was accepted is left to write, or `offline` says it never is."""
        await self._until_or_offline(lambda: not self._directory.has_pending())

    async def checkpointed(self) -> None:
        """Return once a checkpoint that was taken after this call is durable.

        Raises:
            RequestError: STORAGE_ERROR, the directory went offline; SHUTTING_DOWN, the node ends:
                it takes none any more.
        """
        taken = self._checkpoints_taken
        self._checkpoint_asked = True
        await self.until(lambda: self._checkpoints_done > taken or self._takes_none)
        if self._checkpoints_done <= taken:
            raise RequestError(ErrorCode.SHUTTING_DOWN, "the node ends: no checkpoint is taken")

    async def at_rest(self) -> None:
        """Begin no checkpoint any more; return once nothing is under way. For the end of a node.

        What has ended in its thread is under way until the loop has heard of it: a checkpoint, and
        the round behind it that closes what went. Returns too when the directory goes offline.
        """
        self._ending = True
        await self._until_or_offline(
            lambda: not self._checkpointing and not self._writing and not self._lone
        )

    @property
    def _takes_none(self) -> bool:
        return self._ending and not self._checkpointing

    async def checkpoint_ended(self) -> None:
        """Return once no checkpoint is under way, or the directory is offline."""
        await self._until_or_offline(lambda: not self._checkpointing)

    async def _until_or_offline(self, holds: Callable[[], bool]) -> None:
        try:
            await self.until(holds)
        except RequestError:
            if not self._offline:
                raise

    def close(self, clock_floor: AppendTimeMs | None) -> None:
        """End the threads; blocks. With a floor, mark the directory as stopped cleanly first.

        The caller has waited for `flushed` and `at_rest`. Without a floor the next start recovers.
        """
        self._ending = True  # a look may still be on its way back
        self._writer.close()
        self._checkpointer.close()
        if clock_floor is None or self._offline:
            return
        job = self._directory.take_checkpoint(self._clock.monotonic_ms(), all=True)
        if job is not None:
            self._directory.finish_checkpoint(self._directory.run_checkpoint(job))
        self._directory.mark_clean(clock_floor)

    def _end_of_tick(self) -> None:
        self._asked = False
        self._begin_round()

    def _begin_round(self) -> None:
        if self._writing or self._offline:
            return
        if self._lone and not self._checkpointing:
            self._run_alone(self._lone[0])
            return
        now = self._clock.monotonic_ms()
        file_now = self._filing_due or self._checkpoint_asked or bool(self._waiting)
        work = self._directory.take_round(now, filing_may_wait=not file_now)
        if work is None:
            self._filing_due = False
            if self._directory.has_pending():
                self._watch()
            self._begin_checkpoint()
            self._tell()
            return
        self._writing = True
        if work.is_light and now >= self._away_until and not self._checkpointing:
            self._write_here(work, now)
        elif self._long_sync is not None and work.slot is not None and work.parts:
            write = partial(self._write, work, self._long_sync.begin(now))
            self._writer.submit_two(
                write, self._directory.sync_round, done=self._end_round, failed=self._fail
            )
        else:
            run = partial(self._directory.run_round, work)
            self._writer.submit(run, self._end_round, self._fail)

    def _write(self, work: Round, under_way: RoundUnderWay) -> RoundResult:
        """Do the half of a round before its sync. WRITER THREAD."""
        result = self._directory.write_round(work)
        under_way.written = True
        return result

    def _round_written(self) -> None:
        """Tell of what is written by now of a round whose sync takes long."""
        if moved := self._directory.round_written():
            self._ended(None, moved)

    def _write_here(self, work: Round, now: MonotonicMs) -> None:
        """Write a light round; the thread is idle."""
        try:
            result = self._directory.run_round(work)
        except Exception as error:  # noqa: BLE001 - ends the directory, as from the thread
            self._fail(error)
            return
        written = self._clock.monotonic_ms()
        if written - now > DETAIN_MS:
            self._away_until = MonotonicMs(written + AWAY_MS)
        self._end_round(result)

    def _end_round(self, result: RoundResult) -> None:
        assert self._writing, "ONE_ROUND_AT_A_TIME"
        self._writing = False
        if self._long_sync is not None:
            self._long_sync.end()
        moved = self._directory.finish_round(result)
        self._ended(result, moved)
        self._watch()
        self._begin_round()
        self._tell()

    def _run_alone(self, lone: "_Lone") -> None:
        self._writing = True
        if lone.still():
            self._writer.submit(lone.job, lambda _: self._end_alone(lone, ran=True), self._fail)
        else:
            self._end_alone(lone, ran=False)

    def _end_alone(self, lone: "_Lone", *, ran: bool) -> None:
        self._writing = False
        if self._offline:  # it has been told
            return
        self._lone.popleft()
        if not lone.came.done():  # its task was cancelled
            lone.came.set_result(ran)
        self._begin_round()
        self._tell()

    def _begin_checkpoint(self) -> None:
        now = self._clock.monotonic_ms()
        if self._checkpointing or self._offline or self._ending or self._lone:
            return
        if not self._checkpoint_asked and not self._directory.checkpoint_due(now):
            return
        job = self._directory.take_checkpoint(now)
        self._checkpoint_asked = False
        self._checkpoints_taken += 1
        if job is None:
            self._checkpoints_done = self._checkpoints_taken
        else:
            self._checkpointing = True
            run = partial(self._directory.run_checkpoint, job)
            self._checkpointer.submit(run, self._end_checkpoint, self._fail)

    def _end_checkpoint(self, result: CheckpointResult) -> None:
        assert self._checkpointing, "ONE_CHECKPOINT_AT_A_TIME"
        self._checkpointing = False
        self._ended(None, self._directory.finish_checkpoint(result))
        self._checkpoints_done = self._checkpoints_taken
        if not self._ending:
            self.look_at_space()
        self._begin_round()
        self._tell()

    def _watch(self) -> None:
        """Look again in a while, as long as something waits for a checkpoint, or for room."""
        if self._watching or self._offline:
            return
        self._watching = True
        self._clock.call_at(MonotonicMs(self._clock.monotonic_ms() + CHECK_MS), self._look)

    def _look(self) -> None:
        self._watching = False
        self._filing_due = True
        self._begin_round()
        self._begin_checkpoint()
        if self._directory.has_unsynced():
            self._watch()
        if self._directory.waits_for_room and not self._checkpointing:
            self._wait_for_room()

    def _wait_for_room(self) -> None:
        """Look whether somebody made some; at the end of a node, not for ever."""
        until = self._room_until
        if until is not None and self._clock.monotonic_ms() >= until:
            self._fail(StorageFailed(JOURNAL, errno.ENOSPC, "find room for"))
            return
        self.look_at_space()

    def _looked(self, _: None) -> None:
        self._looking = False
        if not self._ending:
            self._begin_round()

    def _tell(self) -> None:
        """Wake those whose condition holds by now."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        for holds, came in waiting:
            if came.done():  # its task was cancelled
                continue
            if holds():
                came.set_result(None)
            else:
                self._waiting.append((holds, came))

    def _check_online(self) -> None:
        if self._offline:
            raise RequestError(ErrorCode.STORAGE_ERROR, "the log directory is offline")

    def _fail(self, error: Exception) -> None:
        if not self._offline:
            self._offline = True
            if self._long_sync is not None:
                self._long_sync.end()
            for _, came in self._waiting:
                if not came.done():
                    came.set_exception(RequestError(ErrorCode.STORAGE_ERROR, str(error)))
            self._waiting.clear()
            for lone in self._lone:
                if not lone.came.done():
                    lone.came.set_exception(RequestError(ErrorCode.STORAGE_ERROR, str(error)))
            self._lone.clear()
            self._failed(error)
