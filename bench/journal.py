"""One commit round: our journal against syncing each partition's own file.

A round makes one batch of each dirty partition durable; then its producers get their answer. Ours
is the store's own code, and the figure that is judged is what the writer thread does until then:
one write and one sync of the journal. Beside it, on the same disk and in turn, the same bytes are
written to as many files, which a pool of eight threads then syncs, or one thread one by one. Over
1,000 partitions ours takes at most 1/15 of the pool's time.

The pool has the bytes in their files by then, ours has not: so a second row, without a target, has
the time until ours are there too (in the page cache; a crash replays the journal), and the history
has a round's time where the next one always waits, all filing included (`sustained_ms`). What the
event loop does for a round (append, take, finish) is `loop_cpu_ms`: it runs while the writer syncs.

Runs of 256 KiB are measured both ways: straight to their files, with a checksum
in the journal (APPEND_DIRECT), and whole in the journal. docs/decisions/0003-commit-journal.md.
"""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Final

from api.node.system_limits import descriptors_max
from api.node.system_rand import SystemRand
from bench.machine import scratch
from bench.rows import Row, paired
from logstore.batch import encode_batch
from logstore.disk_posix import PosixDisk
from logstore.identity import Identity
from logstore.log_directory import LogDirectory
from logstore.settings import LogSettings, PartitionSettings
from model.ids import (
    AppendTimeMs,
    LeaderEpoch,
    MonotonicMs,
    NodeId,
    PartitionId,
    RegistrationEpoch,
    TopicId,
    WallMs,
)
from model.record import NewRecord

POOL_THREADS: Final = 8
SMALL_BYTES: Final = 1 << 10
LARGE_BYTES: Final = 256 << 10
JUDGED_PARTITIONS: Final = 1_000
ONE_BY_ONE_PARTITIONS_MAX: Final = 200
RATIO_MAX: Final = 1 / 15
ROUNDS: Final = 30
ROUNDS_OF_MANY: Final = 15
QUICK_ROUNDS: Final = 5
WARM_ROUNDS: Final = 2
"""They make files and directories."""
DIRECT_BYTES_MIN: Final = 256 << 10
NEVER_DIRECT: Final = 16 << 20


class Store:
    """Our log directory with so many partitions, all of them dirty in each round."""

    def __init__(self, root: Path, partitions: int, *, direct_bytes: int) -> None:
        """Open an empty directory."""
        root.mkdir()
        opened = LogDirectory.open(
            PosixDisk(str(root)),
            LogSettings(direct_append_bytes_min=direct_bytes),
            rand=SystemRand(),
            now_wall=WallMs(0),
            identity=Identity(bytes(16), "bench", NodeId(0), RegistrationEpoch(0)),
        )
        self._directory = opened.directory
        topic = TopicId(b"commit-rounds-01")
        self._logs = [
            self._directory.create(PartitionId(topic, number), PartitionSettings())
            for number in range(partitions)
        ]
        self._now = 0
        self.filed_ms: list[float] = []
        """Of each round, until its files had it."""
        self.cpu_ms: dict[str, list[float]] = {}
        """What was work in each round, waiting not counted."""

    def round(self, batch: bytes) -> float:
        """Commit one batch of every partition and file it; return what its commit took, ms.

        What the loop did for it is what neither of the two was.
        """
        began = time.thread_time()
        self._accept(batch)
        acknowledged, commit_cpu = self._run_rounds(filing_may_wait=True)
        filed, filing_cpu = self._run_rounds(filing_may_wait=False)
        loop_cpu = (time.thread_time() - began) * 1e3 - commit_cpu - filing_cpu
        self.filed_ms.append(acknowledged + filed)
        for name, value in (
            ("commit_cpu_ms", commit_cpu),
            ("filing_cpu_ms", filing_cpu),
            ("loop_cpu_ms", loop_cpu),
        ):
            self.cpu_ms.setdefault(name, []).append(value)
        self._checkpoint(MonotonicMs(self._now))
        return acknowledged

    def sustained(self, batch: bytes, rounds: int) -> float:
        """Commit so many rounds, the next one always waiting, and file them all; return ms each."""
        total = 0.0
        for _ in range(rounds):
            self._accept(batch)
            total += self._run_rounds(filing_may_wait=True)[0]
            self._checkpoint(MonotonicMs(self._now))
        return (total + self._run_rounds(filing_may_wait=False)[0]) / rounds

    def _accept(self, batch: bytes) -> None:
        self._now += 10
        for log in self._logs:
            log.append(
                [bytearray(batch)],
                leader_epoch=LeaderEpoch(1),
                append_time=AppendTimeMs(self._now),
            )

    def _run_rounds(self, *, filing_may_wait: bool) -> tuple[float, float]:
        """Do what the writer thread does until nothing is left, or no commit; ms, and ms of CPU."""
        directory, now = self._directory, MonotonicMs(self._now)
        wall = cpu = 0.0
        while (work := directory.take_round(now, filing_may_wait=filing_may_wait)) is not None:
            at, cpu_at = time.perf_counter(), time.thread_time()
            result = directory.run_round(work)
            wall += time.perf_counter() - at
            cpu += time.thread_time() - cpu_at
            directory.finish_round(result)
            if filing_may_wait and all(log.flushed_end == log.log_end for log in self._logs):
                break
        return wall * 1e3, cpu * 1e3

    def _checkpoint(self, now: MonotonicMs) -> None:
        """Let journal files be used again; not part of a round: another thread does it."""
        while self._directory.checkpoint_due(now):
            job = self._directory.take_checkpoint(now)
            if job is None:
                return
            self._directory.finish_checkpoint(self._directory.run_checkpoint(job))


class Files:
    """As many files, one for each partition."""

    def __init__(self, root: Path, partitions: int) -> None:
        """Make them."""
        root.mkdir()
        flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND
        self._descriptors = [
            os.open(Path(root, f"{number}.log"), flags, 0o600) for number in range(partitions)
        ]

    def round(self, batch: bytes, sync_all: Callable[[list[int]], object]) -> float:
        """Write one batch to each file and have all of them synced; return ms."""
        began = time.perf_counter()
        for descriptor in self._descriptors:
            os.write(descriptor, batch)
        sync_all(self._descriptors)
        return (time.perf_counter() - began) * 1e3

    def close(self) -> None:
        """Let go of them."""
        for descriptor in self._descriptors:
            os.close(descriptor)


def sync_one_by_one(descriptors: list[int]) -> None:
    """Sync each file after the one before."""
    for descriptor in descriptors:
        os.fdatasync(descriptor)


def measure(*, quick: bool) -> Iterator[Row]:
    """Yield a row for each number of partitions and each size of a run."""
    descriptors_max()
    cases = [(count, SMALL_BYTES) for count in (1, 24, 200, JUDGED_PARTITIONS)]
    for partitions, size_bytes in [*cases, (1, LARGE_BYTES), (24, LARGE_BYTES)]:
        many = partitions > ONE_BY_ONE_PARTITIONS_MAX or size_bytes == LARGE_BYTES
        rounds = QUICK_ROUNDS if quick else ROUNDS_OF_MANY if many else ROUNDS
        yield from _rows(partitions, size_bytes, rounds)


def _rows(partitions: int, size_bytes: int, rounds: int) -> Iterator[Row]:
    """Yield how long a round takes until it is durable, and until its files have it."""
    took, more = _in_turn(partitions, size_bytes, rounds)
    more |= {f"{name}_ms": median(values) for name, values in took.items()}
    size = f"{size_bytes >> 10} KiB"
    for name, until in (("ours", "durable"), ("ours_filed", "filed")):
        ratio, spread = paired(took[name], took["pool"])
        judged = partitions == JUDGED_PARTITIONS and name == "ours"
        yield Row(
            question=f"round, {partitions} x {size}, until {until}",
            unit="ms",
            ours=more[f"{name}_ms"],
            peer=more["pool_ms"],
            ratio=ratio,
            spread=spread,
            at_most=RATIO_MAX if judged else None,
            gated=judged,
            more=more,
        )


def _in_turn(
    partitions: int, size_bytes: int, rounds: int
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Run the ways in turn, round by round; return what each took, ms, and what else there was."""
    batch = bytes(encode_batch([NewRecord(0, None, os.urandom(size_bytes - 80))]))
    took: dict[str, list[float]] = {}
    with scratch() as name, ThreadPoolExecutor(POOL_THREADS) as pool:
        root = Path(name)
        ours = Store(root / "ours", partitions, direct_bytes=DIRECT_BYTES_MIN)
        pooled, single = Files(root / "pool", partitions), Files(root / "one", partitions)

        def sync_pooled(descriptors: list[int]) -> None:
            list(pool.map(os.fdatasync, descriptors))

        ways: dict[str, Callable[[], float]] = {
            "ours": lambda: ours.round(batch),
            "pool": lambda: pooled.round(batch, sync_pooled),
        }
        if size_bytes >= LARGE_BYTES:
            whole = Store(root / "whole", partitions, direct_bytes=NEVER_DIRECT)
            ways["whole"] = lambda: whole.round(batch)
        if partitions <= ONE_BY_ONE_PARTITIONS_MAX:
            ways["one"] = lambda: single.round(batch, sync_one_by_one)
        for number in range(rounds + WARM_ROUNDS):
            for way, run in ways.items():
                ms = run()
                if number >= WARM_ROUNDS:
                    took.setdefault(way, []).append(ms)
        pooled.close()
        single.close()
        sustained_ms = ours.sustained(batch, rounds)
    took["ours_filed"] = ours.filed_ms[WARM_ROUNDS : WARM_ROUNDS + rounds]
    more = {name: median(values[WARM_ROUNDS:]) for name, values in ours.cpu_ms.items()}
    return took, more | {"sustained_ms": sustained_ms}
