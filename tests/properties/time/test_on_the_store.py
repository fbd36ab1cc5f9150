"""Searches on the log store itself, with its rounds, checkpoints, restarts and lost indexes.

The list of the model log is the oracle (`tests.searchable_log`); every batch goes into both.
"""

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.sim.disk import SimDisk
from logstore import stretches
from logstore.event_bounds import Bounds
from logstore.identity import Identity
from logstore.log_directory import LogDirectory
from logstore.partition_log import PartitionLog
from logstore.searchable import (
    NeedBlock,
    NeedIndex,
    NeedPart,
    NeedTimes,
    Reply,
    Search,
    SegmentGone,
    Step,
)
from logstore.segment_view import SegmentView
from logstore.settings import KIB, Flush, LogSettings, PartitionSettings
from logstore.time_search import (
    End,
    Found,
    max_timestamp,
    offset_for_time,
    range_bounds,
    sweep_events,
)
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
from model.record import ClockKind, TimeRange
from tests.searchable_log import MemoryLog, Sent, encoded, exact_bounds

AnswerT = TypeVar("AnswerT")
START = 1_700_000_000_000
PARTITION = PartitionId(TopicId(bytes(15) + b"\1"), 0)
IDENTITY = Identity(b"directory uuid 1", "cluster", NodeId(0), RegistrationEpoch(1))
SMALL = LogSettings(
    journal_file_bytes=16 * KIB,
    journal_files_max=3,
    direct_append_bytes_min=4 * KIB,
    checkpoint_bytes=2 * KIB,
    checkpoint_ms=200,
    index_interval_bytes=150,
    tail_bytes=0,
    open_files_max=2,
    loaded_segments_max=1,
    reserve_bytes=0,
)


@pytest.fixture(scope="module", autouse=True)
def short_stretches() -> Iterator[None]:
    """Let a stretch be one record, so that a batch of a few has several."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(stretches, "STRETCH_RECORDS_MAX", 1)
        yield


class Store:
    """One partition of a real log directory on a simulated disk, beside the model log."""

    def __init__(self, flush: Flush) -> None:
        self.disk = SimDisk()
        self.model = MemoryLog([])
        self.settings = PartitionSettings(flush=flush, segment_bytes=500, flush_ms=1)
        self.epoch = 0
        self.time = START
        self.ms = 0
        self.open()

    def open(self) -> None:
        opened = LogDirectory.open(
            self.disk,
            SMALL,
            rand=random.Random(self.epoch),
            now_wall=WallMs(START),
            identity=IDENTITY,
        )
        self.directory = opened.directory
        self.epoch += 1
        self.time = max(self.time, opened.clock_floor)
        if PARTITION not in self.directory.partitions:
            self.directory.create(PARTITION, self.settings)
        self.log.configure(self.settings)

    @property
    def log(self) -> PartitionLog:
        return self.directory.partitions[PARTITION]

    def append(self, sent: Sent, *, exact: bool) -> None:
        bounds: Bounds | None = exact_bounds(sent) if exact else None
        self.log.append(
            [bytearray(encoded(sent, 0))],
            leader_epoch=LeaderEpoch(self.epoch),
            append_time=AppendTimeMs(sent.append_time),
            bounds=bounds,
        )
        self.model.append(sent)

    def write(self) -> None:
        """Let rounds and checkpoints bring everything to the files."""
        for _ in range(4):  # a new partition waits for a checkpoint before its first round
            while (work := self.directory.take_round(MonotonicMs(self.ms))) is not None:
                self.directory.finish_round(self.directory.run_round(work))
            self.checkpoint()
        assert self.log.filed_end == self.log.log_end

    def checkpoint(self) -> None:
        self.ms += 1_000
        job = self.directory.take_checkpoint(MonotonicMs(self.ms), all=True)
        if job is not None:
            self.directory.finish_checkpoint(self.directory.run_checkpoint(job))

    def trim(self, offset: int) -> None:
        """Move the log start of both; the model lets go of the segments that the store let go."""
        self.log.trim(Offset(offset))
        self.model.log_start = self.log.log_start

    def restart(self) -> None:
        """Kill the process: what was written stays."""
        self.write()
        self.disk = SimDisk(self.disk.platter.image())
        self.open()

    def lose_indexes(self) -> None:
        self.write()
        directory = self.log.directory_name
        for name in self.disk.list(directory):
            if name.endswith(".index"):
                self.disk.unlink(f"{directory}/{name}")

    def search(self, search: Search[AnswerT]) -> AnswerT:
        """Drive a search as the node does."""
        try:
            step = next(search)
            while True:
                try:
                    reply = self._reply(step)
                except SegmentGone as gone:
                    step = search.throw(gone)
                else:
                    step = search.send(reply)
        except StopIteration as done:
            answer: AnswerT = done.value
            return answer

    def _reply(self, step: Step) -> Reply:
        match step:
            case NeedBlock(SegmentView() as view, position, end, cut):
                if not view.is_current:
                    raise SegmentGone
                return view.block(position, end, cut=cut)
            case NeedPart(SegmentView() as view, position, end, batch):
                if not view.is_current:
                    raise SegmentGone
                part = view.part(position, end)
                return memoryview(part) if view.trusts(*batch) else None
            case NeedIndex(SegmentView() as view):
                return view.index_file()
            case NeedTimes(SegmentView() as view):
                view.load_times()
                return view.times()
            case _:
                return None


SENT = st.builds(
    Sent,
    times=st.lists(st.integers(-1, 30), min_size=1, max_size=4),
    claimed_max=st.sampled_from([None, None, -1, 0, 31, 1 << 62]),
    compression=st.sampled_from([0, 0, 4]),
    padding_bytes=st.sampled_from([0, 0, 200]),
    log_append_time=st.integers(0, 9).map(lambda n: n == 0),
    control=st.integers(0, 19).map(lambda n: n == 0),
    unreadable=st.integers(0, 19).map(lambda n: n == 0),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), SENT),
        st.tuples(st.just("append"), SENT),
        st.tuples(st.sampled_from(["write", "restart", "lose", "sweep", "roll"]), st.none()),
        st.tuples(st.just("trim"), st.integers(0, 3)),
        st.tuples(st.just("ask"), st.integers(-2, 32)),
    ),
    min_size=1,
    max_size=25,
)


def equals_a_scan(store: Store, time: int) -> None:
    """Ask everything about one time, on both clocks, and compare with the list."""
    model, end = store.model, store.log.filed_end
    for clock in ClockKind:
        asked = time if clock is ClockKind.EVENT else START + 10 * time
        found = store.search(offset_for_time(store.log, asked, clock, end=end))
        kept = model.first_at(asked, clock, end)
        assert (found.offset if isinstance(found, Found) else None) == (kept and kept.offset)
        assert isinstance(found, End) or found.time == (kept and kept.time(clock))
        times = TimeRange(clock, asked - 8, asked + 7)
        bounds = store.search(range_bounds(store.log, times, end=end))
        inside = [k for k in model.visible(end) if bounds.start <= k.offset < bounds.stop]
        wanted = [k for k in model.visible(end) if times.contains(k.time(clock))]
        assert [k for k in inside if times.contains(k.time(clock))] == wanted
    greatest = store.search(max_timestamp(store.log, end=end))
    timed = [k for k in model.visible(end) if k.has(ClockKind.EVENT)]
    latest = max((k.event_time for k in timed), default=None)
    assert (greatest.time if isinstance(greatest, Found) else None) == latest


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    flush=st.sampled_from(list(Flush)),
    steps=STEPS,
    exact=st.booleans(),
    time=st.integers(-2, 32),
)
def test_every_answer_equals_a_scan(
    *, flush: Flush, steps: "list[tuple[str, object]]", exact: bool, time: int
) -> None:
    store = Store(flush)
    for name, what in [*steps, ("write", None), ("ask", time), ("restart", None), ("ask", time)]:
        match name, what:
            case "append", Sent() as sent:
                store.time += 10 * (len(sent.times) - 1)  # some batches share a tick
                placed = replace(sent, append_time=store.time, leader_epoch=store.epoch)
                store.append(placed, exact=exact)
            case "trim", int() as parts:
                log = store.log
                store.trim(log.log_start + (log.filed_end - log.log_start) * parts // 4)
            case "ask", int() as asked:
                equals_a_scan(store, asked)
            case "sweep", _:
                store.search(sweep_events(store.log))
            case "roll", _:
                store.log.roll()
            case "lose", _:
                store.lose_indexes()
            case "restart", _:
                store.restart()
            case _:
                store.write()
