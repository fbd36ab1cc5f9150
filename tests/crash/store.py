"""The log store as a subject of the crash enumeration: recorded, recovered, judged."""

import random
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from api.sim.device import CAPACITY_BYTES
from api.sim.disk import SimDisk
from api.sim.image import EMPTY, Image
from logstore.log_directory import LogDirectory, Opened
from logstore.partition_log import PartitionLog
from logstore.paths import LOG
from logstore.read_plan import ReadPlan
from model.errors import DirectoryRefused, MalformedError, RequestError, StorageFailed
from model.ids import AppendTimeMs, Offset, PartitionId
from model.ports import Disk
from model.record import BatchHeader, iter_batches
from tests.crash.driver import IDENTITY, SMALL, START, Driver, producers_of
from tests.crash.explore import Outcome, Recording
from tests.crash.history import Batch, Found, History
from tests.crash.workloads import WORKLOADS, A, B, first_start, prepare

READ_BYTES: Final = 1 << 20
REFUSALS: Final = (
    AssertionError,
    DirectoryRefused,
    LookupError,
    MalformedError,
    OSError,
    RequestError,
    StorageFailed,
    TypeError,
    ValueError,
)
"""What recovery could end with; after a power cut it must end with none of them."""


class Recovered(NamedTuple):
    """What a recovered directory holds, as its readers see it."""

    partitions: dict[PartitionId, Found]
    clock_floor: AppendTimeMs


class Start(NamedTuple):
    """Where a recording begins."""

    image: Image
    said: list[object]


class Run(NamedTuple):
    """One recording, and how many bytes the disk held at most."""

    recording: Recording
    used_bytes_max: int


@lru_cache(maxsize=64)
def record(name: str, seed: int) -> Recording:
    """Run a workload on a simulated disk and return all that it did and said.

    The name may end with "disk full": then the disk has room for a part of the run.
    """
    script, _, full = name.partition(", ")
    start = Start(EMPTY, []) if WORKLOADS[script] is first_start else _prepared(seed)
    whole = _record(script, seed, start, capacity_bytes=CAPACITY_BYTES)
    if not full:
        return whole.recording
    least = sum(map(len, start.image.files.values()))
    room = random.Random(f"{name} {seed}").randrange(max(1, whole.used_bytes_max - least))
    return _record(script, seed, start, capacity_bytes=least + room).recording


def _record(script: str, seed: int, start: Start, *, capacity_bytes: int) -> Run:
    disk = SimDisk(start.image, capacity_bytes=capacity_bytes)
    disk.trace = []
    for mark in start.said:
        disk.mark(mark)
    used = [0]
    disk.before = lambda *_: used.append(max(used.pop(), disk.used_bytes))
    try:
        before = {
            partition: each.operations for partition, each in History(start.said).partitions.items()
        }
        rand = random.Random(f"{script} {seed}")
        WORKLOADS[script](Driver(disk, disk.mark, rand, before=before))
    except StorageFailed:
        if capacity_bytes == CAPACITY_BYTES:
            raise
    return Run(Recording(disk.trace, start.image), used[0])


@lru_cache(maxsize=64)
def _prepared(seed: int) -> Start:
    """Return a directory that was left cleanly, and what was said of it."""
    disk, said = SimDisk(), list[object]()
    prepare(Driver(disk, said.append, random.Random(seed)))
    return Start(disk.platter.image(durable=True), said)


def run_on(disk: Disk) -> None:
    """Do some of everything in one process on a disk of any kind."""
    log = Driver(disk, lambda _: None, random.Random(1))
    log.create(A, B)
    for script in ("commit_rounds", "roll", "direct_runs", "retention", "delete"):
        WORKLOADS[script](log)


class Store:
    """The log store as the explorer sees it."""

    def __init__(self) -> None:
        """Judge many cuts of one run; what was said grows with the cut."""
        self._history: tuple[int, History] = (-1, History([]))
        self._read: dict[object, Recovered] = {}

    def recover(self, image: Image) -> Outcome:
        """Open the directory, read everything in it."""
        disk = SimDisk(image)
        disk.trace = []
        try:
            opened = LogDirectory.open(
                disk, SMALL, rand=random.Random(0), now_wall=START, identity=IDENTITY
            )
            steps, after = list(disk.trace), disk.platter.image()
            return Outcome(
                self._state(opened, after),
                after.digest(),
                steps,
                unreported_bytes=cut_bytes(image, after) - opened.report.dropped_bytes,
            )
        except REFUSALS as error:
            return Outcome(None, disk.platter.image().digest(), disk.trace, repr(error))

    def _state(self, opened: Opened, after: Image) -> Recovered:
        """Read the directory, unless one with the same files and ends was read before."""
        logs = opened.directory.partitions.values()
        key = (after.digest(), *((log.id, log.log_start, log.log_end) for log in logs))
        state = self._read.get(key)
        if state is None:
            state = self._read[key] = read_directory(opened)
        return state

    def check(self, outcome: Outcome, said: Sequence[object]) -> Iterator[str]:
        """Hold what was recovered against what was said."""
        state = outcome.state
        assert isinstance(state, Recovered)
        if self._history[0] != len(said):
            self._history = (len(said), History(said))
        history = self._history[1]
        yield from history.violations(state.partitions, state.clock_floor)
        if outcome.unreported_bytes > 0 and not history.cuts:
            yield f"{outcome.unreported_bytes} bytes were dropped without a word"


def cut_bytes(before: Image, after: Image) -> int:
    """Return how many bytes of segments recovery took away."""
    return sum(
        max(0, len(content) - len(after.files.get(name, b"")))
        for name, content in before.files.items()
        if name.endswith(LOG)
    )


def open_store(disk: Disk) -> Recovered:
    """Recover a directory on any disk and return what it holds."""
    opened = LogDirectory.open(
        disk, SMALL, rand=random.Random(0), now_wall=START, identity=IDENTITY
    )
    return read_directory(opened)


def read_directory(opened: Opened) -> Recovered:
    """Return all that readers would see."""
    partitions = opened.directory.partitions
    return Recovered({name: read_all(log) for name, log in partitions.items()}, opened.clock_floor)


def read_all(log: PartitionLog) -> Found:
    """Return everything between the log's ends, with its append times."""
    batches: list[Batch] = []
    offset = log.log_start
    while offset < log.log_end:
        result = log.read(offset, READ_BYTES, end=log.log_end)
        if isinstance(result, ReadPlan):
            result = result.blocking()
        for buffer in result.buffers:
            for view in iter_batches(memoryview(buffer)):
                header = BatchHeader(view)
                batches.append(
                    Batch(header.base_offset, header.end_offset, bytes(view), AppendTimeMs(0))
                )
        assert result.next_offset > offset
        offset = Offset(result.next_offset)
    return Found(
        log.log_start,
        log.log_end,
        tuple(_timed(log, batches)),
        producers_of(log),
        log.leader_epochs.rows,
    )


def _timed(log: PartitionLog, batches: list[Batch]) -> Iterator[Batch]:
    """Give each batch the append time that its segment knows."""
    for view in log.segments():
        if not view.size_bytes:
            continue
        times = view.times()
        if times is None:
            view.load_times()
            times = view.times()
        assert times is not None
        for batch in batches:
            if view.base_offset <= batch.base < view.end_offset:
                yield batch._replace(append_time=times.at(batch.base).append_time)
