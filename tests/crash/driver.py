"""One log directory, driven by a script: what the node's loop and its two threads do, in a line.

Everything the script does is said aloud (`tests/crash/history.py`) at the moment at which a client
could know it: accepted when the append returns, durable when the round has ended.
"""

import random
from collections.abc import Callable
from typing import Final

from logstore.batch import encode_batch
from logstore.identity import Identity
from logstore.log_directory import LogDirectory
from logstore.partition_log import PartitionLog
from logstore.settings import KIB, Flush, LogSettings, PartitionSettings
from model.ids import (
    AppendTimeMs,
    LeaderEpoch,
    MonotonicMs,
    NodeId,
    Offset,
    PartitionId,
    RegistrationEpoch,
    TopicId,
    WallMs,
)
from model.ports import Disk
from model.record import NewRecord
from tests.crash.history import (
    Appended,
    Batch,
    ClockDurable,
    Created,
    Deleted,
    Durable,
    TrimDurable,
    Trimmed,
    Truncated,
)

SMALL: Final = LogSettings(
    journal_file_bytes=16 * KIB,
    journal_files_max=3,
    direct_append_bytes_min=4 * KIB,
    checkpoint_bytes=6 * KIB,
    index_interval_bytes=256,
    tail_bytes=0,
    reserve_bytes=0,
)
"""Everything small, so that what is rare in a node happens in each run."""

TOPIC: Final = PartitionSettings(segment_bytes=KIB)
ASYNC: Final = PartitionSettings(segment_bytes=KIB, flush=Flush.ASYNC)
WIDE: Final = PartitionSettings(segment_bytes=64 * KIB)
START: Final = WallMs(1_700_000_000_000)
IDENTITY: Final = Identity(b"directory uuid 1", "cluster", NodeId(0), RegistrationEpoch(1))


def partition(number: int, topic: int = 1) -> PartitionId:
    """Return the id of a partition of one of the script's topics."""
    return PartitionId(TopicId(topic.to_bytes(16, "big")), number)


class Driver:
    """A log directory that is open on a disk."""

    def __init__(self, disk: Disk, say: Callable[[object], None], rand: random.Random) -> None:
        """Open it; `say` gets what the outside may know."""
        self._say = say
        self.rand = rand
        self.now = AppendTimeMs(START)
        self.epoch = LeaderEpoch(0)
        opened = LogDirectory.open(
            disk,
            SMALL,
            rand=random.Random(rand.randrange(1 << 60)),
            now_wall=START,
            identity=IDENTITY,
        )
        self.directory = opened.directory
        self.clean = opened.clean
        self.now = max(self.now, opened.clock_floor)
        self._operations: dict[PartitionId, int] = {}
        self._reserved: AppendTimeMs | None = None

    def create(self, *partitions: PartitionId, settings: PartitionSettings = TOPIC) -> None:
        """Make partitions; they are durable with the next round."""
        for each in partitions:
            self.directory.create(each, settings)
            self._operations[each] = 0
            self._say(Created(each))

    def append(self, to: PartitionId, *sizes: int, records: int = 1) -> None:
        """Append one batch for each size, of about so many bytes, in one call."""
        times = [self.now + self.rand.randrange(-500, 500) for _ in range(records)]
        batches = [
            encode_batch([NewRecord(time, b"k", self.rand.randbytes(size)) for time in times])
            for size in sizes
        ]
        log = self.log(to)
        base = log.log_end
        log.append(batches, leader_epoch=self.epoch, append_time=self.now)
        placed = []
        for batch in batches:
            end = Offset(base + records)
            placed.append(Batch(base, end, bytes(batch), self.now))
            base = end
        self._did(to, Appended(to, tuple(placed)))

    def tick(self, ms: int = 10) -> None:
        """Let the append clock pass."""
        self.now = AppendTimeMs(self.now + ms)

    def truncate(self, to: PartitionId, offset: int) -> None:
        """Take the end of a log away, as a follower does."""
        self.log(to).truncate(Offset(offset))
        self._did(to, Truncated(to, Offset(offset)))

    def settle(self, to: PartitionId) -> None:
        """Commit until a truncation is done: before that nothing may be appended."""
        while self.log(to).cut is not None:
            self.round()

    def trim(self, to: PartitionId, offset: int) -> None:
        """Move the log start."""
        self.log(to).trim(Offset(offset))
        self._say(Trimmed(to, Offset(offset)))

    def delete(self, to: PartitionId) -> None:
        """Delete a partition."""
        self._did(to, Deleted(to))
        self.directory.delete(to)

    def reserve_clock(self, ms: int) -> None:
        """Reserve append times ahead."""
        self._reserved = AppendTimeMs(self.now + ms)
        self.directory.reserve_clock(self._reserved)

    def round(self) -> None:
        """Commit everything that was accepted, in as many rounds and checkpoints as it takes."""
        taken, reserved = dict(self._operations), self._reserved
        while True:
            while (planned := self.directory.take_round(self.monotonic)) is not None:
                self.directory.finish_round(self.directory.run_round(planned))
            if not any(log.pending or log.cut is not None for log in self._logs()):
                break
            self.checkpoint(every=False)
        self._round_ended(taken, reserved)

    def round_with(self, meanwhile: Callable[[], None]) -> None:
        """Commit; what `meanwhile` does happens after the round was taken, before it is written."""
        taken, reserved = dict(self._operations), self._reserved
        planned = self.directory.take_round(self.monotonic)
        assert planned is not None
        left = [log for log in self._logs() if log.pending]
        meanwhile()
        self.directory.finish_round(self.directory.run_round(planned))
        if left:
            self.round()
        else:
            self._round_ended(taken, reserved)

    def checkpoint(self, *, every: bool = True) -> None:
        """Make files durable and free the journal."""
        self.checkpoint_with(lambda: None, every=every)

    def checkpoint_with(self, meanwhile: Callable[[], None], *, every: bool = True) -> None:
        """Do the same; rounds that `meanwhile` does fall between its planning and its writing."""
        starts = {each: log.log_start for each, log in self.directory.partitions.items()}
        taken = dict(self._operations)
        job = self.directory.take_checkpoint(self.monotonic, all=every)
        meanwhile()
        if job is None:
            return
        self.directory.finish_checkpoint(self.directory.run_checkpoint(job))
        if every:
            for each, start in starts.items():
                self._say(TrimDurable(each, start))
                if self.settings(each).flush is Flush.ASYNC and each in taken:
                    self._say(Durable(each, taken[each]))

    def stop(self) -> None:
        """Stop cleanly."""
        self.round()
        self.checkpoint()
        self.directory.mark_clean(self.now)

    @property
    def monotonic(self) -> MonotonicMs:
        """Return the clock that deadlines are measured on."""
        return MonotonicMs(self.now - START)

    def log(self, to: PartitionId) -> PartitionLog:
        """Return a partition."""
        return self.directory.partitions[to]

    def settings(self, to: PartitionId) -> PartitionSettings:
        """Return a partition's settings; a deleted one has none of interest."""
        log = self.directory.partitions.get(to)
        return TOPIC if log is None else log.settings

    def _logs(self) -> list[PartitionLog]:
        return list(self.directory.partitions.values())

    def _did(self, to: PartitionId, what: object) -> None:
        self._operations[to] = self._operations.get(to, 0) + 1
        self._say(what)

    def _round_ended(self, taken: dict[PartitionId, int], reserved: AppendTimeMs | None) -> None:
        for each, operations in taken.items():
            if self.settings(each).flush is Flush.QUORUM:
                self._say(Durable(each, operations))
        if reserved is not None:
            self._say(ClockDurable(reserved))
            self._reserved = None if self._reserved == reserved else self._reserved
