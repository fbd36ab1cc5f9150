"""One log directory, driven by a script: what the node's loop and its two threads do, in a line.

Everything the script does is said aloud (`tests/crash/history.py`) at the moment at which a client
could know it: accepted when the append returns, durable when the round has ended.
"""

import errno
import random
from collections.abc import Callable, Mapping
from typing import Final

from api.sim.disk import SimDisk
from logstore.batch import encode_batch
from logstore.identity import Identity
from logstore.log_directory import LogDirectory
from logstore.partition_log import PartitionLog
from logstore.settings import KIB, Flush, LogSettings, PartitionSettings
from model.errors import StorageFailed
from model.ids import (
    AppendTimeMs,
    LeaderEpoch,
    MonotonicMs,
    NodeId,
    Offset,
    PartitionId,
    ProducerId,
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
    ClockStopped,
    Created,
    Deleted,
    Durable,
    Registered,
    Removed,
    Reopened,
    TrimDurable,
    Trimmed,
    Truncated,
    Written,
)
from tests.crash.reading import read_all

SMALL: Final = LogSettings(
    journal_file_bytes=16 * KIB,
    journal_files_max=2,
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
PRODUCERS: Final = 3
"""Producer ids that write to a partition in turn; more than a window holds comes from each."""
START: Final = WallMs(1_700_000_000_000)
IDENTITY: Final = Identity(b"directory uuid 1", "cluster", NodeId(0), RegistrationEpoch(0))


def partition(number: int, topic: int = 1) -> PartitionId:
    """Return the id of a partition of one of the script's topics."""
    return PartitionId(TopicId(topic.to_bytes(16, "big")), number)


class Driver:
    """A log directory that is open on a disk."""

    def __init__(
        self,
        disk: Disk,
        say: Callable[[object], None],
        rand: random.Random,
        *,
        before: Mapping[PartitionId, int] | None = None,
    ) -> None:
        """Open it; `say` gets what the outside may know.

        `before`: how many operations each partition has seen in an earlier life.
        """
        self._disk = disk
        self._say = say
        self.rand = rand
        self._idle = random.Random(START)
        """Whether the disk has time to file what was committed: now, or later with more of it."""
        self.now = AppendTimeMs(START)
        self.epoch = LeaderEpoch(0)
        self._operations: dict[PartitionId, int] = dict(before or {})
        self._settings: dict[PartitionId, PartitionSettings] = {}
        self.turns = 0
        """How often the journal took a file into use."""
        self._open()

    def _open(self) -> None:
        opened = LogDirectory.open(
            self._disk,
            SMALL,
            rand=random.Random(self.rand.randrange(1 << 60)),
            now_wall=START,
            identity=IDENTITY,
        )
        self.directory = opened.directory
        self.identity = opened.identity
        self.clean = opened.clean
        self.now = max(self.now, opened.clock_floor)
        self._undurable: dict[PartitionId, list[tuple[int, Offset]]] = {}
        """Operations that no round has made durable: their number, and where the log ended."""
        self._reserved: AppendTimeMs | None = None
        for log in self._logs():
            log.configure(self._settings.get(log.id, TOPIC))
            # Nobody knows what an unclean stop has lost: what comes next is of another epoch.
            latest = log.leader_epochs.latest or 0
            self.epoch = max(self.epoch, LeaderEpoch(latest + (not opened.clean)))
        self._say(Reopened({log.id: read_all(log) for log in self._logs()}))

    def restart(self) -> None:
        """Kill the process, and start it again on what the disk shows."""
        assert isinstance(self._disk, SimDisk)
        self._disk.kill()
        self._open()

    def register(self) -> None:
        """Remember another registration epoch."""
        epoch = RegistrationEpoch(self.identity.registration_epoch + 1)
        self.identity = self.identity._replace(registration_epoch=epoch)
        self.directory.store_identity(self.identity)
        self._say(Registered(epoch))

    def create(self, *partitions: PartitionId, settings: PartitionSettings = TOPIC) -> None:
        """Make partitions; they are durable with the next round."""
        for each in partitions:
            self.directory.create(each, settings)
            self._operations[each] = 0
            self._settings[each] = settings
            self._say(Created(each))

    def append(self, to: PartitionId, *sizes: int, records: int = 1) -> None:
        """Append one batch for each size, of about so many bytes, in one call."""
        log = self.log(to)
        base = log.log_end
        producer = 1000 + self._operations[to] % PRODUCERS
        known = dict(log.producers.items()).get(ProducerId(producer))
        sequence = known.next_sequence if known else 0
        batches = [
            encode_batch(
                [
                    NewRecord(self.now + self.rand.randrange(-500, 500), b"k", content)
                    for content in (self.rand.randbytes(size) for _ in range(records))
                ],
                producer_id=producer,
                producer_epoch=0,
                base_sequence=sequence + number * records,
            )
            for number, size in enumerate(sizes)
        ]
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

    def committed(self, of: PartitionId) -> None:
        """Have all that is durable of a partition committed, as its leader tells."""
        its = self.log(of)
        its.high_watermark = its.flushed_end

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
        """Commit everything that was accepted, in as many rounds and checkpoints as it takes.

        What was committed may be in its files then, or not yet.

        Raises:
            StorageFailed: the journal is full, and the disk has no room for another file of it. A
                node would wait for room; here it is the end of the run.
        """
        while True:
            while self._one_round(lambda: None):
                pass
            if not any(log.pending or log.cut is not None for log in self._logs()):
                return
            if not self.checkpoint(every=False):
                raise StorageFailed("journal", errno.ENOSPC, "write")

    def commit(self) -> None:
        """Commit, and leave what the journal has to a later round."""
        while self._one_round(lambda: None, filing_may_wait=True):
            pass

    def file(self) -> None:
        """Commit, and let all of it reach its files."""
        self.round()
        while self._one_round(lambda: None, filing_may_wait=False):
            pass

    def round_with(self, meanwhile: Callable[[], None]) -> None:
        """Commit; what `meanwhile` does happens after the round was taken, before it is written."""
        self._one_round(meanwhile)

    def _one_round(
        self, meanwhile: Callable[[], None], *, filing_may_wait: bool | None = None
    ) -> bool:
        taken, reserved = dict(self._operations), self._reserved
        wait = bool(self._idle.randrange(2)) if filing_may_wait is None else filing_may_wait
        planned = self.directory.take_round(self.monotonic, filing_may_wait=wait)
        if planned is None:
            return False
        self.turns += planned.slot is not None and bool(planned.slot.header)
        meanwhile()
        self.directory.finish_round(self.directory.run_round(planned))
        for part in planned.parts:
            self._say_durable(part.partition, at_most=taken[part.partition], gone=part.delete)
        if planned.clock is not None:
            self._say(ClockDurable(planned.clock))
            self._reserved = None if self._reserved == reserved else self._reserved
        return True

    def checkpoint(self, *, every: bool = True) -> bool:
        """Make files durable and free the journal; tell whether there was anything to do."""
        return self.checkpoint_with(lambda: None, every=every)

    def checkpoint_with(self, meanwhile: Callable[[], None], *, every: bool = True) -> bool:
        """Do the same; rounds that `meanwhile` does fall between its planning and its writing."""
        starts = {each: log.log_start for each, log in self.directory.partitions.items()}
        clean = {each.id: self._operations[each.id] for each in self._logs() if not each.pending}
        job = self.directory.take_checkpoint(self.monotonic, all=every)
        meanwhile()
        if job is None:
            return False
        self.directory.finish_checkpoint(self.directory.run_checkpoint(job))
        for partition, _ in job.deletions:
            self._say(Removed(partition))
        if every:
            for each, start in starts.items():
                self._say(TrimDurable(each, start))
                if each in clean:
                    self._say(Durable(each, clean[each]))
        return True

    def stop(self) -> None:
        """Stop cleanly."""
        self.file()
        while self.directory.has_pending():
            self.checkpoint(every=False)
            self.file()
        self.checkpoint()
        self._say(ClockStopped(self.now))
        self.directory.mark_clean(self.now)

    @property
    def monotonic(self) -> MonotonicMs:
        """Return the clock that deadlines are measured on."""
        return MonotonicMs(self.now - START)

    def log(self, to: PartitionId) -> PartitionLog:
        """Return a partition."""
        return self.directory.partitions[to]

    def _logs(self) -> list[PartitionLog]:
        return list(self.directory.partitions.values())

    def _did(self, to: PartitionId, what: object) -> None:
        number = self._operations[to] = self._operations[to] + 1
        self._undurable.setdefault(to, []).append((number, self.log(to).log_end))
        self._say(what)

    def _say_durable(self, of: PartitionId, *, at_most: int, gone: bool) -> None:
        """Say how many operations of a partition a round has made durable.

        An append is durable once the flushed end has passed it, all before the newest such with
        it; a truncation once the log may be appended to again. Of flush=async: written.
        """
        if gone:
            self._say(Durable(of, at_most))
            return
        log = self.directory.partitions.get(of)
        if log is None or log.cut is not None:
            return
        asynchronous = log.settings.flush is Flush.ASYNC
        reached = log.written_end if asynchronous else log.flushed_end
        waiting = self._undurable.pop(of, [])
        done = [n for n, end in waiting if n <= at_most and end <= reached]
        self._undurable[of] = [each for each in waiting if not done or each[0] > done[-1]]
        if done:
            self._say(Written(of, done[-1]) if asynchronous else Durable(of, done[-1]))
