"""One commit round: our journal against syncing each partition's own file.

A round makes one batch of each dirty partition durable and puts it into its partition's file. Ours
is the store's own code. The figure that is judged is what the writer thread does, `run_round`: one
write and one sync of the journal, then a page-cache write to every partition's file. What the event
loop does for it (append, take, finish) is measured beside it: it runs while the writer syncs.

Beside it, on the same disk and in turn, the same bytes are written to as many files, which a pool
of eight threads then syncs, or one thread one by one. Over 1,000 partitions ours takes at most 1/15
of the pool's time. Runs of 256 KiB are measured both ways: straight to their files, with a checksum
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
        self.loop_ms: list[float] = []
        """What the loop did for each round."""
        self.cpu_ms: list[float] = []
        """What the writer did for each round, waiting not counted."""

    def round(self, batch: bytes) -> float:
        """Commit one batch of every partition; return what the writer took, ms."""
        copies = [bytearray(batch) for _ in self._logs]
        self._now += 10
        now = MonotonicMs(self._now)
        clock, cpu = time.perf_counter, time.thread_time
        writer = writer_cpu = 0.0
        began = cpu()
        for log, copy in zip(self._logs, copies, strict=True):
            log.append([copy], leader_epoch=LeaderEpoch(1), append_time=AppendTimeMs(self._now))
        while (work := self._directory.take_round(now)) is not None:
            at, cpu_at = clock(), cpu()
            result = self._directory.run_round(work)
            writer += clock() - at
            writer_cpu += cpu() - cpu_at
            self._directory.finish_round(result)
        self.loop_ms.append((cpu() - began - writer_cpu) * 1e3)
        self.cpu_ms.append(writer_cpu * 1e3)
        self._checkpoint(now)
        return writer * 1e3

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
        yield _row(partitions, size_bytes, rounds)


def _row(partitions: int, size_bytes: int, rounds: int) -> Row:
    """Run the ways in turn, round by round."""
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
    ratio, spread = paired(took["ours"], took["pool"])
    more = {f"{name}_ms": median(values) for name, values in took.items()}
    more["loop_cpu_ms"] = median(ours.loop_ms[WARM_ROUNDS:])
    more["writer_cpu_ms"] = median(ours.cpu_ms[WARM_ROUNDS:])
    judged = partitions == JUDGED_PARTITIONS
    size = f"{size_bytes >> 10} KiB"
    return Row(
        question=f"commit round, {partitions} x {size}, pool of {POOL_THREADS}",
        unit="ms",
        ours=more["ours_ms"],
        peer=more["pool_ms"],
        ratio=ratio,
        spread=spread,
        at_most=RATIO_MAX if judged else None,
        gated=judged,
        more=more,
    )
