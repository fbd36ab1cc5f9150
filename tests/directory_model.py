"""What a partition of a log directory may hold, kept plainly: a list of batches, and its past."""

import random
from dataclasses import dataclass, field

from api.sim.power_cut import Pending, Survivors
from logstore.batch import encode_batch
from logstore.identity import Identity
from logstore.partition_log import PartitionLog, ReadPlan
from logstore.settings import KIB, LogSettings
from model.ids import (
    AppendTimeMs,
    NodeId,
    Offset,
    PartitionId,
    ProducerId,
    RegistrationEpoch,
    TopicId,
    WallMs,
)
from model.record import BatchHeader, NewRecord, iter_batches
from tests.crash.derived import epochs_wrong, producers_wrong

START = WallMs(1_700_000_000_000)
IDENTITY = Identity(b"directory uuid 1", "cluster", NodeId(0), RegistrationEpoch(1))
SMALL = LogSettings(
    journal_file_bytes=16 * KIB,
    journal_files_max=3,
    direct_append_bytes_min=4 * KIB,
    checkpoint_bytes=6 * KIB,
    checkpoint_ms=200,
    index_interval_bytes=256,
    tail_bytes=512,
    open_files_max=2,
    loaded_segments_max=1,
    reserve_bytes=0,
)
PRODUCER = ProducerId(7)
PARTITIONS = [PartitionId(TopicId(bytes(15) + b"\1"), number) for number in range(3)]


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch as it was accepted."""

    base: Offset
    end: Offset
    data: bytes
    time: AppendTimeMs


State = tuple[Batch, ...]


@dataclass(slots=True)
class Life:
    """One partition, from its creation to its end: how it looked after each operation."""

    states: list[State] = field(default_factory=lambda: [()])
    ends: list[Offset | None] = field(default_factory=lambda: [Offset(0)])
    """Where each append ended; None: a truncation."""
    starts: set[Offset] = field(default_factory=lambda: {Offset(0)})
    must_exist: bool = False

    @property
    def now(self) -> State:
        return self.states[-1]

    def reached(self, log: PartitionLog, position: Offset) -> int:
        """Return the last operation that a position shows to be done."""
        cuts = [number for number, end in enumerate(self.ends) if end is None]
        if log.cut is not None:
            cuts.pop()  # the last one is still under way
        done = cuts[-1] if cuts else 0
        for end in self.ends[done + 1 :]:
            if end is None or end > position:
                break
            done += 1
        return done

    def allows(self, found: State, start: Offset, least: int) -> bool:
        """Tell whether a crash may leave this above a log start.

        Operation `least` was acknowledged: what is found is how the partition looked after it or
        after a later one.
        """
        seen = [tuple(batch for batch in state if batch.end > start) for state in self.states]
        return start in self.starts and found in seen[least:]


def encoded(
    log: PartitionLog, size: int, records: int, *, epoch: int, from_producer: bool
) -> bytearray:
    """Return a batch of about so many bytes; of the producer of this epoch, it is the next one."""
    value = bytes([epoch % 256]) * (size // records + 1)
    content = [NewRecord(START + 7 * number, None, value) for number in range(records)]
    if not from_producer:
        return encode_batch(content)
    known = dict(log.producers.items()).get(PRODUCER)
    again = known is not None and known.epoch == epoch
    sequence = known.next_sequence if known is not None and again else 0
    return encode_batch(content, producer_id=PRODUCER, producer_epoch=epoch, base_sequence=sequence)


def read_all(log: PartitionLog) -> State:
    """Return everything that readers see, with its append times."""
    batches: list[Batch] = []
    offset = log.log_start
    while offset < log.log_end:
        result = log.read(offset, 400, end=log.log_end)
        if isinstance(result, ReadPlan):
            result = result.now() or result.blocking()
        assert result.first_offset <= offset < result.next_offset
        assert result.size_bytes == sum(map(len, result.buffers))
        for buffer in result.buffers:
            for view in iter_batches(memoryview(buffer)):
                header = BatchHeader(view)
                time = time_at(log, header.base_offset)
                batches.append(Batch(header.base_offset, header.end_offset, bytes(view), time))
        assert batches[-1].end == result.next_offset
        offset = result.next_offset
    return tuple(batches)


def time_at(log: PartitionLog, offset: Offset) -> AppendTimeMs:
    """Return an append time, loading it if need be."""
    known = log.append_time_at(offset)
    if known is not None:
        return known
    (view,) = [v for v in log.segments() if v.base_offset <= offset < v.end_offset]
    view.load_times()
    times = view.times()
    assert times is not None
    return times.at(offset).append_time


def check_memory(log: PartitionLog, state: State, *, rolled_back: bool) -> None:
    """Check what is known of producers and epochs against all batches that there ever were.

    `rolled_back`: a truncation may have made the log forget the epoch of its last record.
    """
    batches = [(batch.data, batch.time) for batch in state]
    known = [(name, each.next_sequence, *each.window) for name, each in log.producers.items()]
    assert producers_wrong(batches, known) is None
    epochs = log.leader_epochs.rows
    assert epochs_wrong(batches, epochs, log.log_start, may_lack=rolled_back) is None


def survivors(pending: Pending, seed: int) -> Survivors:
    """Choose what a power cut leaves: nothing, everything, every other time a part by chance."""
    whole = {0: pending.nothing, 1: pending.everything}
    return whole.get(seed % 4) or pending.some(random.Random(seed))


def described(found: State, life: Life, acknowledged: int) -> str:
    """Say what was found, and what might have been."""
    states = [[(b.base, b.end, b.time) for b in state] for state in (found, *life.states)]
    return f"found {states[0]}, acknowledged {acknowledged} of {states[1:]}"
