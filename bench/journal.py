"""One commit round: our journal against syncing each partition's own file.

    python -m bench.journal [--rounds 30] [--json FILE]

A round makes one batch of each dirty partition durable. Ours is the store's own code
(`LogDirectory.take_round`, `run_round`, `finish_round`); beside it, on the same disk and in turn,
the same bytes are written to as many files, which a pool of eight threads then syncs, and one
thread one by one. The bound (docs/decisions/0003-commit-journal.md): over 1,000 partitions ours
takes at most 1/15 of the pool's time.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from api.node.system_rand import SystemRand
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

POOL_THREADS = 8
SMALL_BYTES = 1 << 10
LARGE_BYTES = 256 << 10
ROUND_PARTITIONS = 1_000
ROUND_RATIO_MAX = 1 / 15


@dataclass(frozen=True, slots=True)
class Row:
    """Medians of one case, ms per round; None: too slow to be worth the wait."""

    partitions: int
    batch_bytes: int
    journal_ms: float
    journaled_whole_ms: float | None
    """With the bytes in the journal whatever their size; None where that is the same."""
    pool_ms: float
    one_by_one_ms: float | None


class Store:
    """Our log directory with so many partitions, all of them dirty in each round."""

    def __init__(self, root: str, partitions: int, *, direct_bytes: int) -> None:
        """Open an empty directory and write one round, so that every file exists."""
        settings = LogSettings(direct_append_bytes_min=direct_bytes)
        opened = LogDirectory.open(
            PosixDisk(root),
            settings,
            rand=SystemRand(),
            now_wall=WallMs(0),
            identity=Identity(bytes(16), "bench", NodeId(0), RegistrationEpoch(0)),
        )
        self.directory = opened.directory
        topic = TopicId(b"commit-rounds-01")
        self.logs = [
            self.directory.create(PartitionId(topic, number), PartitionSettings())
            for number in range(partitions)
        ]
        self.now = 0

    def round(self, batch: bytes) -> float:
        """Commit one batch of every partition; return ms from the first append to the last sync."""
        copies = [bytearray(batch) for _ in self.logs]
        self.now += 10
        began = time.perf_counter()
        for log, copy in zip(self.logs, copies, strict=True):
            log.append([copy], leader_epoch=LeaderEpoch(1), append_time=AppendTimeMs(self.now))
        while (work := self.directory.take_round(MonotonicMs(self.now))) is not None:
            self.directory.finish_round(self.directory.run_round(work))
        took = (time.perf_counter() - began) * 1e3
        while self.directory.checkpoint_due(MonotonicMs(self.now)):
            job = self.directory.take_checkpoint(MonotonicMs(self.now))
            if job is None:
                break
            self.directory.finish_checkpoint(self.directory.run_checkpoint(job))
        return took


class Files:
    """As many files, one for each partition."""

    def __init__(self, root: str, partitions: int) -> None:
        """Make them."""
        self.descriptors = [
            os.open(Path(root, f"{number}.log"), os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
            for number in range(partitions)
        ]

    def round(self, batch: bytes, sync_all: Callable[[list[int]], object]) -> float:
        """Write one batch to each file and have all of them synced; return ms."""
        began = time.perf_counter()
        for descriptor in self.descriptors:
            os.write(descriptor, batch)
        sync_all(self.descriptors)
        return (time.perf_counter() - began) * 1e3


def sync_one_by_one(descriptors: list[int]) -> None:
    """Sync each file after the one before."""
    for descriptor in descriptors:
        os.fdatasync(descriptor)


def measure(partitions: int, batch_bytes: int, rounds: int) -> Row:
    """Run the ways in turn, round by round, and return their medians."""
    batch = bytes(encode_batch([NewRecord(0, None, os.urandom(batch_bytes - 80))]))
    took: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(dir=".") as root, ThreadPoolExecutor(POOL_THREADS) as pool:
        places = [Path(root, name) for name in ("ours", "whole", "pool", "one")]
        for place in places:
            place.mkdir()
        ours = Store(str(places[0]), partitions, direct_bytes=256 << 10)
        whole = Store(str(places[1]), partitions, direct_bytes=16 << 20)
        pooled, single = Files(str(places[2]), partitions), Files(str(places[3]), partitions)

        def sync_pooled(descriptors: list[int]) -> None:
            list(pool.map(os.fdatasync, descriptors))

        ways: dict[str, Callable[[], float]] = {"ours": lambda: ours.round(batch)}
        if batch_bytes >= LARGE_BYTES:
            ways["whole"] = lambda: whole.round(batch)
        ways["pool"] = lambda: pooled.round(batch, sync_pooled)
        if partitions <= 200:
            ways["one"] = lambda: single.round(batch, sync_one_by_one)
        for number in range(rounds + 2):
            for name, way in ways.items():
                ms = way()
                if number >= 2:  # the first rounds make files and directories
                    took.setdefault(name, []).append(ms)
    medians = {name: statistics.median(values) for name, values in took.items()}
    return Row(
        partitions,
        batch_bytes,
        medians["ours"],
        medians.get("whole"),
        medians["pool"],
        medians.get("one"),
    )


def rows(rounds: int) -> Iterator[Row]:
    """Measure every case."""
    for partitions in (1, 24, 200, ROUND_PARTITIONS):
        yield measure(partitions, SMALL_BYTES, rounds if partitions < 200 else max(5, rounds // 3))
    for partitions in (1, 24):
        yield measure(partitions, LARGE_BYTES, max(5, rounds // 3))


def main() -> int:
    """Print the table; fail if the bound is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    sys.stdout.write("partitions  batch bytes  ours ms  all in the journal  pool of 8  one by one  ours/pool\n")
    measured = []
    for row in rows(arguments.rounds):
        measured.append(row)
        cells = [
            f"{row.partitions:10}  {row.batch_bytes:11}  {row.journal_ms:7.2f}",
            f"{row.journaled_whole_ms:18.2f}" if row.journaled_whole_ms else " " * 17 + "-",
            f"{row.pool_ms:9.2f}",
            f"{row.one_by_one_ms:10.2f}" if row.one_by_one_ms else " " * 9 + "-",
            f"{row.journal_ms / row.pool_ms:9.3f}",
        ]
        sys.stdout.write("  ".join(cells) + "\n")
        sys.stdout.flush()
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in measured], indent=1) + "\n")
    (many,) = [row for row in measured if row.partitions == ROUND_PARTITIONS]
    reached = many.journal_ms / many.pool_ms
    sys.stdout.write(
        f"1,000 partitions: {reached:.3f} of the pool's time, at most {ROUND_RATIO_MAX:.3f}\n"
    )
    return 0 if reached <= ROUND_RATIO_MAX else 1


if __name__ == "__main__":
    raise SystemExit(main())
