"""After a cut a partition knows of its producers what a log that ends there says (P20).

Whatever came before: several producers and epochs, batches in the journal alone or in files, other
segments, trims, checkpoints, starts. The judge reads nothing but the batches that are left, and a
start on the same files must find the same.
"""

import random
from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.sim.disk import SimDisk
from logstore import flush, partition_checkpoint, producer_state
from logstore.batch import encode_batch
from logstore.log_directory import LogDirectory
from logstore.partition_log import PartitionLog
from logstore.producer_state import WINDOW_BATCHES
from logstore.settings import KIB, Flush, LogSettings, PartitionSettings
from model.ids import AppendTimeMs, LeaderEpoch, MonotonicMs, Offset, PartitionId, TopicId
from model.record import NewRecord
from tests.directory_model import IDENTITY, START

PLACE = PartitionId(TopicId(bytes(16)), 0)
PRODUCERS = 4
SETTINGS = LogSettings(
    journal_file_bytes=16 * KIB,
    journal_files_max=3,
    direct_append_bytes_min=4 * KIB,
    checkpoint_bytes=6 * KIB,
    index_interval_bytes=256,
    tail_bytes=0,
    reserve_bytes=0,
)
Known = tuple[tuple[object, ...], ...]


class Sent(NamedTuple):
    """One batch that was appended."""

    producer: int
    epoch: int
    sequence: int
    records: int
    base: int
    end: int
    time: int


def of_batches(batches: list[Sent]) -> Known:
    """Return what batches say of their producers, least recently used first."""
    last: dict[int, list[Sent]] = {}
    for one in batches:
        before = last.pop(one.producer, [])
        same = [each for each in before if each.epoch == one.epoch]
        last[one.producer] = [*same, one][-WINDOW_BATCHES:]
    return tuple(
        (
            name,
            sent[-1].epoch,
            sent[-1].sequence + sent[-1].records,
            sent[-1].time,
            *((each.sequence, each.records, each.base, each.time) for each in sent),
        )
        for name, sent in last.items()
    )


def known(log: PartitionLog) -> Known:
    """Return what a log knows of its producers, in the same form."""
    return tuple(
        (name, each.epoch, each.next_sequence, each.last_append_time, *map(tuple, each.window))
        for name, each in log.producers.items()
    )


class World:
    """A partition, and what it should know."""

    def __init__(self, seed: int, *, forgets: bool) -> None:
        self.chance = random.Random(seed)
        self.disk = SimDisk()
        self.batches: list[Sent] = []
        self.now, self.epoch, self.starts = int(START), 1, 0
        self.forgets = forgets
        """Memory has not all that is uncommitted."""
        self.open()
        settings = PartitionSettings(
            segment_bytes=self.chance.choice([900, 64 * KIB]),
            flush=self.chance.choice(list(Flush)),
            flush_ms=100,
        )
        self.directory.create(PLACE, settings)
        self.settle()
        self.checkpoint()  # it is durable

    def open(self) -> None:
        self.starts += 1
        self.directory = LogDirectory.open(
            self.disk,
            SETTINGS,
            rand=random.Random(self.starts),
            now_wall=START,
            identity=IDENTITY,
        ).directory

    @property
    def log(self) -> PartitionLog:
        return self.directory.partitions[PLACE]

    def append(self) -> None:
        for _ in range(self.chance.randrange(1, 12)):
            self.send(self.chance.randrange(self.chance.randrange(1, PRODUCERS + 1)))

    def send(self, producer: int) -> None:
        """Append a producer's next batch, sometimes the first one of its next epoch."""
        before = [one for one in self.batches if one.producer == producer]
        epoch = before[-1].epoch if before else 0
        sequence = before[-1].sequence + before[-1].records if before else 0
        if before and self.chance.random() < 0.05:
            epoch, sequence = epoch + 1, 0
        records = self.chance.randrange(1, 4)
        self.now += 10 * self.chance.randrange(3)
        batch = encode_batch(
            [NewRecord(START, None, bytes(self.chance.choice([1, 80])))] * records,
            producer_id=producer,
            producer_epoch=epoch,
            base_sequence=sequence,
        )
        base = self.log.append(
            [batch], leader_epoch=LeaderEpoch(self.epoch), append_time=AppendTimeMs(self.now)
        )
        self.batches.append(
            Sent(producer, epoch, sequence, records, base, self.log.log_end, self.now)
        )

    def commit(self, *, wait: bool = True) -> bool:
        work = self.directory.take_round(MonotonicMs(0), filing_may_wait=wait)
        if work is not None:
            self.directory.finish_round(self.directory.run_round(work))
        return work is not None

    def checkpoint(self) -> None:
        job = self.directory.take_checkpoint(MonotonicMs(0), all=True)
        if job is not None:
            self.directory.finish_checkpoint(self.directory.run_checkpoint(job))

    def settle(self) -> None:
        while self.directory.has_pending():
            if not self.commit(wait=False):
                self.checkpoint()

    def advance(self) -> None:
        """Let the high watermark rise, never above what a later cut keeps."""
        marks = [one.end for one in self.batches if one.end <= self.log.written_end]
        if marks:
            mark = Offset(self.chance.choice(marks))
            self.log.high_watermark = max(self.log.high_watermark, mark)

    def trim(self) -> None:
        self.log.trim(Offset(min(self.log.high_watermark, self.log.written_end)))

    def roll(self) -> None:
        self.log.roll()

    def restart(self) -> None:
        self.settle()
        self.disk.kill()
        self.forgets = True
        settings = self.log.settings
        self.open()
        self.log.configure(settings)
        self.check()

    def cut(self, *, lossy: bool) -> None:
        """Cut at any batch above what is committed; or at any, if none of them is gone yet.

        Of what is gone only memory knows how it was between two snapshots.
        """
        if self.log.segment_list[0].base_offset and (lossy or self.forgets):
            return
        least = self.log.log_start if lossy else max(self.log.log_start, self.log.high_watermark)
        ends = [one.base for one in self.batches if one.base >= least]
        if not ends:
            return
        end = self.chance.choice(ends)
        self.log.truncate(Offset(end))
        self.batches = [one for one in self.batches if one.end <= end]
        self.epoch += 1
        while self.log.cut is not None:
            if not self.commit():
                self.checkpoint()
        self.check()

    def check(self) -> None:
        assert known(self.log) == of_batches(self.batches)


@given(seed=st.integers(0, 1 << 30), remembered=st.sampled_from([0, 5, 1 << 14]))
def test_after_a_cut_the_state_is_that_of_the_log_that_is_left(seed: int, remembered: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(partition_checkpoint, "SNAPSHOT_BYTES", 1_000)
        patched.setattr(flush, "SNAPSHOT_BYTES", 1_000)
        patched.setattr(producer_state, "REMEMBERED_MAX", remembered)
        world = World(seed, forgets=remembered < 1 << 14)
        acts: list[tuple[int, Callable[[], object]]] = [
            (8, world.append),
            (4, world.commit),
            (2, world.settle),
            (3, world.checkpoint),
            (2, world.advance),
            (1, world.trim),
            (1, world.roll),
            (3, lambda: world.cut(lossy=False)),
            (1, lambda: world.cut(lossy=True)),
            (1, world.restart),
        ]
        for _ in range(40):
            ((_, act),) = world.chance.choices(acts, [weight for weight, _ in acts])
            act()
        world.restart()
