"""The log store as a subject of the crash enumeration: recorded, recovered, judged."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from api.sim.device import CAPACITY_BYTES
from api.sim.disk import SimDisk
from api.sim.image import EMPTY, Image
from api.sim.power_cut import Pending
from logstore.log_directory import LogDirectory, Opened
from logstore.partition_log import PartitionLog
from logstore.paths import LOG, PARTITIONS, partition_directory
from logstore.scrub import SegmentScrub
from model.errors import DirectoryRefused, MalformedError, RequestError, StorageFailed
from model.ids import PartitionId
from model.ports import Disk
from tests.crash.driver import IDENTITY, SMALL, START, Driver
from tests.crash.explore import Outcome, Recording
from tests.crash.history import Directory, Found, History
from tests.crash.partitions import A, B
from tests.crash.reading import read_all
from tests.crash.workloads import FROM_NOTHING, WORKLOADS, prepare, unsettle
from tests.small_reads import small_reads

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
    directory: Directory


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
    start = Start(EMPTY, []) if script in FROM_NOTHING else _prepared(seed)
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
    """Return a directory that a node left, and what was said of it.

    Every other one was left cleanly; the rest lost their power at some moment after that.
    """
    disk, said, rand = SimDisk(), list[object](), random.Random(seed)
    prepare(Driver(disk, said.append, rand))
    if seed % 2:
        return Start(disk.platter.image(durable=True), said)
    disk.kill()
    before = {partition: each.operations for partition, each in History(said).partitions.items()}
    unsettle(Driver(disk, said.append, rand, before=before))
    pending = Pending(disk.platter)
    choices = (pending.nothing, pending.everything, pending.some(rand))
    return Start(pending.image(choices[rand.randrange(3)]), said)


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
        self._histories: dict[bool, tuple[int, History]] = {}
        self._read: dict[object, Recovered] = {}

    @small_reads()
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
                self._state(opened, disk, after),
                after.digest(),
                steps,
                unreported=unreported(image, after, opened),
            )
        except REFUSALS as error:
            return Outcome(None, disk.platter.image().digest(), disk.trace, repr(error))

    def _state(self, opened: Opened, disk: Disk, after: Image) -> Recovered:
        """Read the directory, unless one with the same files and ends was read before."""
        logs = opened.directory.partitions.values()
        key = (after.digest(), *((log.id, log.log_start, log.log_end) for log in logs))
        state = self._read.get(key)
        if state is None:
            state = read_directory(opened)
            for log in logs:
                found = _with_tails(state.partitions[log.id], log, after)
                state.partitions[log.id] = _scrubbed(found, log, disk)
            self._read[key] = state
        return state

    def check(self, outcome: Outcome, said: Sequence[object], *, killed: bool) -> Iterator[str]:
        """Hold what was recovered against what was said."""
        state = outcome.state
        assert isinstance(state, Recovered)
        marks, history = self._histories.get(killed, (-1, None))
        if history is None or marks != len(said):
            history = History(said, killed=killed)
            self._histories[killed] = (len(said), history)
        yield from history.violations(*state)
        for name, size in outcome.unreported:
            if not any(
                expected.shortened and partition_directory(partition) in name
                for partition, expected in history.partitions.items()
            ):
                yield f"{size} bytes of {name} were dropped without a word"


def unreported(before: Image, after: Image, opened: Opened) -> tuple[tuple[str, int], ...]:
    """Return how many bytes of each segment recovery took away without saying so."""
    told = Counter[str]()
    for finding in opened.report.dropped:
        told[finding.file] += finding.size_bytes
    cut = {
        name: len(content) - len(after.files.get(name, b""))
        for name, content in before.files.items()
        if name.endswith(LOG)
    }
    return tuple((name, size - told[name]) for name, size in cut.items() if size > told[name])


def open_store(disk: Disk) -> Recovered:
    """Recover a directory on any disk and return what it holds."""
    opened = LogDirectory.open(
        disk, SMALL, rand=random.Random(0), now_wall=START, identity=IDENTITY
    )
    return read_directory(opened)


def read_directory(opened: Opened) -> Recovered:
    """Return all that readers would see."""
    partitions = opened.directory.partitions
    return Recovered(
        {name: read_all(log) for name, log in partitions.items()},
        Directory(
            opened.clock_floor,
            frozenset(opened.stray),
            opened.identity.registration_epoch,
            # Journal entries that nothing needs any more may be torn: they were never committed.
            tuple(
                str(finding)
                for finding in opened.report.repaired
                if finding.file.startswith(PARTITIONS)
            ),
        ),
    )


def _with_tails(found: Found, log: PartitionLog, after: Image) -> Found:
    """Note what the files hold behind what the log knows of: nothing may lie there."""
    behind = []
    for segment in log.segment_list:
        for name, size in (
            (segment.log_name, segment.size_bytes),
            (segment.times_name, segment.times_bytes),
        ):
            have = len(after.files.get(name, b""))
            if have != size:
                behind.append(f"{name} is {have} bytes long, not {size}")
    return found._replace(damage=(*found.damage, *behind))


def _scrubbed(found: Found, log: PartitionLog, disk: Disk) -> Found:
    """Read every segment once more, whole, also what no reader is given."""
    damage = list(found.damage)
    for segment in log.segment_list:
        scrub = SegmentScrub(
            disk,
            segment,
            interval_bytes=SMALL.index_interval_bytes,
            epochs=log.leader_epochs,
        )
        ended = not segment.size_bytes
        while not ended:
            step = scrub.step()
            damage += map(str, step.findings)
            ended = step.ended
    return found._replace(damage=tuple(damage))
