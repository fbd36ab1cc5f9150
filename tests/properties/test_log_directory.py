"""A log directory against a plain model: whatever is done, and whenever the power goes.

The model is a list of batches for each partition, and after which operation it looked how. What
was acknowledged is there again after a crash, byte by byte and with its append times; what was
not may be there up to some operation, never with a gap, never changed.
"""

import random
from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from api.sim.disk import SimDisk
from logstore.log_directory import LogDirectory
from logstore.partition_log import PartitionLog
from logstore.paths import partition_directory
from logstore.round import CheckpointJob, CheckpointResult, Round, RoundResult
from logstore.settings import KIB, Flush, PartitionSettings
from model.ids import (
    AppendTimeMs,
    LeaderEpoch,
    MonotonicMs,
    Offset,
    PartitionId,
)
from tests.directory_model import (
    IDENTITY,
    PARTITIONS,
    SMALL,
    START,
    Batch,
    Life,
    check_memory,
    described,
    encoded,
    read_all,
    survivors,
)

FLUSHES = st.sampled_from(list(Flush))


class DirectoryMachine(RuleBasedStateMachine):
    """The log directory, its two threads played by rules, and its disk."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = SimDisk()
        self.lives: dict[PartitionId, list[Life]] = {}
        self.now = AppendTimeMs(START)
        self.ms = MonotonicMs(0)
        self.epoch = LeaderEpoch(0)
        self.opens = 0
        self.rolled_back: set[PartitionId] = set()
        """Of an emptied log the epoch of its last record may be forgotten with what was cut off."""
        self.open()

    # --- opening -----------------------------------------------------------------------------

    def open(self) -> None:
        self.opens += 1
        self.taken: Round | None = None
        self.ran: RoundResult | None = None
        self.job: CheckpointJob | None = None
        self.saved: CheckpointResult | None = None
        before = self.disk.platter.image()
        opened = LogDirectory.open(
            self.disk, SMALL, rand=random.Random(self.opens), now_wall=START, identity=IDENTITY
        )
        after = self.disk.platter.image()
        # Replaying a truncation cuts what nobody wants.
        cut = sum(
            max(0, len(content) - len(after.files.get(name, b"")))
            for name, content in before.files.items()
            if name.endswith(".log")
            and name in after.files
            and not any(partition_directory(each) in name for each in self.rolled_back)
        )
        assert cut <= opened.report.dropped_bytes, "every byte that is dropped is reported"
        self.clean = opened.clean
        self.directory = opened.directory
        self.now = max(self.now, opened.clock_floor)

    def logs(self) -> list[PartitionLog]:
        return list(self.directory.partitions.values())

    def life(self, log: PartitionLog) -> Life:
        return self.lives[log.id][-1]

    def pick(self, number: int) -> PartitionLog | None:
        logs = self.logs()
        return logs[number % len(logs)] if logs else None

    # --- what clients do ---------------------------------------------------------------------

    @initialize(flush=FLUSHES)
    def first(self, flush: Flush) -> None:
        self.create(0, flush)

    @rule(number=st.integers(0, 2), flush=FLUSHES)
    def create(self, number: int, flush: Flush) -> None:
        partition = PARTITIONS[number]
        if partition in self.directory.partitions:
            return
        segment_bytes = 900 if number else 4 * KIB
        self.directory.create(
            partition, PartitionSettings(flush=flush, segment_bytes=segment_bytes, flush_ms=100)
        )
        self.lives.setdefault(partition, []).append(Life())

    @rule(
        number=st.integers(0, 2),
        sizes=st.lists(st.sampled_from([1, 60, 300, 1500, 5000]), min_size=1, max_size=3),
        records=st.integers(1, 3),
        producer=st.booleans(),
    )
    def append(self, number: int, sizes: list[int], *, records: int, producer: bool) -> None:
        log = self.pick(number)
        if log is None or log.cut is not None:
            return
        self.now = max(self.now, AppendTimeMs(START))
        for size in sizes:
            self._append(log, size, records, producer=producer)

    def _append(self, log: PartitionLog, size: int, records: int, *, producer: bool) -> None:
        batch = encoded(log, size, records, epoch=self.opens, from_producer=producer)
        base = log.append([batch], leader_epoch=self.epoch, append_time=self.now)
        end = log.log_end
        assert end == base + records == log.log_end
        life = self.life(log)
        life.states.append((*life.now, Batch(base, end, bytes(batch), self.now)))
        life.ends.append(end)

    @rule(ms=st.sampled_from([10, 10, 50, 300]))
    def tick(self, ms: int) -> None:
        self.now = AppendTimeMs(self.now + ms)
        self.ms = MonotonicMs(self.ms + ms)

    @rule()
    def new_epoch(self) -> None:
        self.epoch = LeaderEpoch(self.epoch + 1)

    @rule(number=st.integers(0, 2))
    def roll(self, number: int) -> None:
        if (log := self.pick(number)) is not None:
            log.roll()

    @rule(number=st.integers(0, 2), flush=FLUSHES)
    def configure(self, number: int, flush: Flush) -> None:
        if (log := self.pick(number)) is not None:
            size = log.settings.segment_bytes
            log.configure(PartitionSettings(flush=flush, segment_bytes=size, flush_ms=100))

    @rule(number=st.integers(0, 2), back=st.integers(1, 4))
    def truncate(self, number: int, back: int) -> None:
        log = self.pick(number)
        if log is None or log.cut is not None:
            return
        kept = [b for b in self.life(log).now if b.end > log.log_start][:-back]
        offset = kept[-1].end if kept else log.log_start
        if self.life(log).now and offset < log.log_end and self.is_boundary(log, offset):
            log.truncate(offset)
            life = self.life(log)
            life.states.append(tuple(b for b in life.now if b.end <= offset))
            life.ends.append(None)
            self.epoch = LeaderEpoch(self.epoch + 1)
            self.rolled_back.add(log.id)

    def is_boundary(self, log: PartitionLog, offset: Offset) -> bool:
        return any(offset in (b.base, b.end) for b in self.life(log).now)

    @rule(number=st.integers(0, 2), part=st.integers(0, 4))
    def trim(self, number: int, part: int) -> None:
        log = self.pick(number)
        if log is None or log.cut is not None:
            return
        offset = Offset(log.log_start + (log.written_end - log.log_start) * part // 4)
        log.trim(offset)
        self.life(log).starts.add(log.log_start)

    @rule(number=st.integers(0, 2))
    def delete(self, number: int) -> None:
        if (log := self.pick(number)) is not None:
            self.directory.delete(log.id)

    @rule(ms=st.integers(1, 300))
    def reserve_clock(self, ms: int) -> None:
        self.directory.reserve_clock(AppendTimeMs((self.now + ms) // 10 * 10))

    # --- what the two threads do ---------------------------------------------------------------

    @precondition(lambda self: self.taken is None)
    @rule(wait=st.booleans())
    def take_round(self, *, wait: bool = False) -> None:
        self.taken = self.directory.take_round(self.ms, filing_may_wait=wait)

    @precondition(lambda self: self.taken is not None and self.ran is None)
    @rule()
    def run_round(self) -> None:
        assert self.taken is not None
        self.ran = self.directory.run_round(self.taken)

    @precondition(lambda self: self.ran is not None)
    @rule()
    def finish_round(self) -> None:
        assert self.ran is not None
        for part in self.ran.round.parts:
            if part.delete:
                (*_, last) = lives = self.lives[part.partition]
                alive = part.partition in self.directory.partitions
                self.lives[part.partition] = [last] if alive and len(lives) > 1 else []
        self.directory.finish_round(self.ran)
        self.taken = self.ran = None

    def commit_round(self) -> None:
        """Do a round, and leave its batches to the journal."""
        if self.taken is None:
            self.take_round(wait=True)
        self.whole_round()

    @rule()
    def whole_round(self) -> None:
        self.take_round() if self.taken is None else None
        if self.taken is not None and self.ran is None:
            self.run_round()
        if self.ran is not None:
            self.finish_round()

    @precondition(lambda self: self.job is None)
    @rule(everything=st.booleans())
    def take_checkpoint(self, everything: bool) -> None:
        if everything or self.directory.checkpoint_due(self.ms):
            self.job = self.directory.take_checkpoint(self.ms, all=everything)

    @precondition(lambda self: self.job is not None and self.saved is None)
    @rule()
    def run_checkpoint(self) -> None:
        assert self.job is not None
        self.saved = self.directory.run_checkpoint(self.job)

    @precondition(lambda self: self.saved is not None)
    @rule()
    def finish_checkpoint(self) -> None:
        assert self.saved is not None
        self.directory.finish_checkpoint(self.saved)
        self.job = self.saved = None

    @rule()
    def settle(self) -> None:
        """Do all that is pending, as a node without load does: it always comes to an end."""
        for _ in range(40):
            self.whole_round()
            if self.job is None:
                self.take_checkpoint(everything=False)
            if self.job is not None and self.saved is None:
                self.run_checkpoint()
            if self.saved is not None:
                self.finish_checkpoint()
            if not self.directory.has_pending() and self.taken is None:
                return
        raise AssertionError("it never comes to rest")

    @rule(number=st.integers(0, 2), flush=FLUSHES, seed=st.integers(0, 1 << 30))
    def go_on_otherwise(self, number: int, flush: Flush, seed: int) -> None:
        """Cut a partition at one end, or let it be carried otherwise, and go on at once."""
        for _ in range(2):
            self.append(number, [60], records=1, producer=True)
            self.whole_round()
            self.commit_round()
            match seed % 3:
                case 0:
                    self.truncate(number, 1)
                case 1:
                    self.trim(number, 2)
                    self.settle()
                case _:
                    self.configure(number, flush)
            self.commit_round()
        self.append(number, [60], records=1, producer=True)
        self.commit_round()
        self.power_cut(seed // 3)

    @rule(seed=st.integers(0, 1 << 30))
    def busy(self, seed: int) -> None:
        """Many of these by chance: what single rules seldom come to in a row."""
        chance = random.Random(seed)
        acts: list[tuple[int, Callable[[int], None]]] = [
            (8, lambda number: self.append_some(number, chance)),
            (3, lambda _: self.tick(10)),
            (6, lambda _: self.whole_round()),
            (6, lambda _: self.commit_round()),
            (3, lambda _: self.play_checkpoint()),
            (4, lambda _: self.start_checkpoint()),
            (1, lambda _: self.new_epoch()),
            (2, lambda number: self.truncate(number, chance.randrange(1, 4))),
            (1, lambda number: self.trim(number, chance.randrange(5))),
            (1, lambda number: self.configure(number, chance.choice(list(Flush)))),
            (1, lambda number: self.create(number, chance.choice(list(Flush)))),
        ]
        weights = [weight for weight, _ in acts]
        for _ in range(40):
            ((_, act),) = chance.choices(acts, weights)
            act(chance.randrange(3))

    def append_some(self, number: int, chance: random.Random) -> None:
        sizes = [chance.choice([1, 60, 300, 1500, 5000])] * chance.randrange(1, 3)
        self.append(number, sizes, records=2, producer=bool(chance.randrange(2)))

    def start_checkpoint(self) -> None:
        if self.job is None:
            self.take_checkpoint(everything=False)

    def play_checkpoint(self) -> None:
        """Do the next step of a checkpoint."""
        if self.job is None:
            self.take_checkpoint(everything=True)
        elif self.saved is None:
            self.run_checkpoint()
        else:
            self.finish_checkpoint()

    # --- what happens to it --------------------------------------------------------------------

    @rule()
    def kill(self) -> None:
        least = {log.id: self.life(log).reached(log, log.written_end) for log in self.logs()}
        self.disk.kill()
        self.reopen(least)

    @rule(seed=st.integers(0, 1 << 30))
    def power_cut(self, seed: int) -> None:
        least = {log.id: self.life(log).reached(log, log.flushed_end) for log in self.logs()}
        self.disk.power_cut(lambda pending: survivors(pending, seed))
        self.reopen(least)

    @rule()
    def stop(self) -> None:
        self.settle()
        if self.job is not None:
            self.run_checkpoint() if self.saved is None else None
            self.finish_checkpoint()
        job = self.directory.take_checkpoint(self.ms, all=True)
        if job is not None:
            self.directory.finish_checkpoint(self.directory.run_checkpoint(job))
        self.directory.mark_clean(self.now)
        least = {log.id: len(self.life(log).ends) - 1 for log in self.logs()}
        states = {log.id: read_all(log) for log in self.logs()}
        self.disk.kill()
        self.reopen(least)
        assert self.clean
        assert {log.id: read_all(log) for log in self.logs()} == states

    def reopen(self, least: dict[PartitionId, int]) -> None:
        """Open again, and hold what is found against the model."""
        self.open()
        for partition, log in self.directory.partitions.items():
            found = read_all(log)
            assert log.log_end == (found[-1].end if found else log.log_end)
            assert log.log_end == log.written_end == log.flushed_end
            lives = self.lives[partition]
            assert lives, f"{partition.number} was deleted and is back"
            born = [
                life
                for life in lives
                if life.allows(
                    found, log.log_start, least.get(partition, 0) if life is lives[-1] else 0
                )
            ]
            assert born, described(found, lives[-1], least.get(partition, 0))
            whole = tuple(b for b in born[0].now if b.end <= log.log_start)
            check_memory(log, whole + found, rolled_back=partition in self.rolled_back)
            self.lives[partition] = [
                Life([whole + found], [log.log_end], {log.log_start}, must_exist=True)
            ]
            log.configure(PartitionSettings(segment_bytes=900, flush_ms=100))
        for partition in list(self.lives):
            if partition not in self.directory.partitions:
                assert not least.get(partition), "it is gone"
                self.lives[partition] = []

    # --- what always holds ----------------------------------------------------------------------

    @invariant()
    def positions_are_in_order(self) -> None:
        for log in self.logs():
            assert log.flushed_end <= log.written_end <= log.log_end
            assert log.log_start <= log.written_end

    @rule(number=st.integers(0, 2))
    def read(self, number: int) -> None:
        log = self.pick(number)
        if log is not None and log.cut is None:
            wanted = tuple(b for b in self.life(log).now if b.end > log.log_start)
            assert read_all(log) == wanted


TestLogDirectory = DirectoryMachine.TestCase
TestLogDirectory.settings = settings(stateful_step_count=30, deadline=None)
