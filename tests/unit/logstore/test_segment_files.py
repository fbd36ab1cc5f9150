"""The files of a partition: the vectors of docs/formats/segment.md, and that they are enough."""

import random
from pathlib import Path

from api.sim.disk import SimDisk
from logstore.batch import encode_batch
from logstore.identity import Identity
from logstore.log_directory import LogDirectory
from logstore.partition_log import PartitionLog, ReadPlan
from logstore.paths import partition_directory
from logstore.settings import KIB, LogSettings, PartitionSettings
from model.ids import (
    AppendTimeMs,
    LeaderEpoch,
    MonotonicMs,
    NodeId,
    Offset,
    PartitionId,
    Position,
    ProducerEpoch,
    ProducerId,
    RegistrationEpoch,
    Sequence,
    TopicId,
    WallMs,
)
from model.record import NewRecord, iter_batches
from tests.datadriven import Command, run_script
from tests.directory_model import time_at

PLACE = PartitionId(TopicId(bytes(range(16))), 3)
DIRECTORY = partition_directory(PLACE)
NOW = MonotonicMs(0)
SETTINGS = LogSettings(journal_file_bytes=16 * KIB, tail_bytes=0, reserve_bytes=0)
OWNER = Identity(b"directory uuid 1", "cluster", NodeId(0), RegistrationEpoch(1))


class Bench:
    """One partition on a disk; runs script commands."""

    def __init__(self) -> None:
        self.disk = SimDisk()
        self.accepted: list[bytes] = []
        """The batches that the log holds, as they were accepted."""
        self.directory = self.opened()
        self.directory.create(PLACE, PartitionSettings(segment_bytes=160))

    @property
    def log(self) -> PartitionLog:
        """The partition's log."""
        return self.directory.partitions[PLACE]

    def opened(self) -> LogDirectory:
        """Open what the disk holds."""
        return LogDirectory.open(
            self.disk, SETTINGS, rand=random.Random(1), now_wall=WallMs(0), identity=OWNER
        ).directory

    def execute(self, command: Command) -> str:
        """Run one command and say what came of it."""
        match command.name:
            case "append":
                return self.append(command)
            case "truncate":
                offset = Offset(command.integer("offset"))
                self.log.truncate(offset)
                del self.accepted[offset:]  # each batch has one record
                self.save()
                return "\n".join(self.sizes())
            case "stop":
                self.save()
                return "\n".join(self.sizes())
            case "log":
                content = self.content(command.text("name"))
                batches = iter_batches(memoryview(content))
                return "\n".join(batch.hex(" ", -4) for batch in batches)
            case unknown:
                raise AssertionError(unknown)

    def append(self, command: Command) -> str:
        """Append one record; say which offset it got."""
        time = command.integer("time")
        producer = command.integer("producer", -1)
        batch = encode_batch(
            [NewRecord(time, None, command.text("value").encode())],
            producer_id=ProducerId(producer),
            producer_epoch=ProducerEpoch(min(producer, 0)),
            base_sequence=Sequence(command.integer("sequence", -1)),
        )
        epoch = LeaderEpoch(command.integer("epoch"))
        base = self.log.append([batch], leader_epoch=epoch, append_time=AppendTimeMs(time))
        self.accepted.append(bytes(batch))
        return f"offset={base}"

    def save(self) -> None:
        """Do rounds and checkpoints, as a stop does, until all is in the files."""
        while True:
            while (work := self.directory.take_round(NOW)) is not None:
                self.directory.finish_round(self.directory.run_round(work))
            pending = self.directory.has_pending()
            job = self.directory.take_checkpoint(NOW, all=True)
            if job is not None:
                self.directory.finish_checkpoint(self.directory.run_checkpoint(job))
            if not pending:
                return

    def content(self, name: str) -> bytes:
        """Return a file of the partition."""
        file = self.disk.open(f"{DIRECTORY}/{name}")
        return file.pread(file.size(), Position(0))

    def sizes(self) -> list[str]:
        """Return the names of the partition's files, with their sizes in bytes."""
        names = sorted(self.disk.list(DIRECTORY))
        return [f"{name} {len(self.content(name))}" for name in names]

    def served(self) -> list[bytes]:
        """Return every batch that readers get."""
        batches: list[bytes] = []
        offset = self.log.log_start
        while offset < self.log.log_end:
            found = self.log.read(offset, KIB, end=self.log.log_end)
            if isinstance(found, ReadPlan):
                found = found.blocking()
            for buffer in found.buffers:
                batches += map(bytes, iter_batches(memoryview(buffer)))
            offset = found.next_offset
        return batches


def test_script(scripts: Path, rewrite: bool) -> None:
    bench = Bench()
    run_script(scripts / "segment/files.txt", bench.execute, rewrite=rewrite)
    logs = [name for name in bench.disk.list(DIRECTORY) if name.endswith(".log")]
    assert b"".join(bench.content(name) for name in sorted(logs)) == b"".join(bench.accepted)


def test_the_files_that_are_caches_are_not_missed(scripts: Path) -> None:
    bench = Bench()
    run_script(scripts / "segment/files.txt", bench.execute, rewrite=False)
    bench.disk.kill()
    for name in bench.disk.list(DIRECTORY):
        if name.endswith(".index") or name == "epochs":
            bench.disk.unlink(f"{DIRECTORY}/{name}")
    bench.directory = bench.opened()
    assert bench.served() == bench.accepted
    times = [time_at(bench.log, Offset(offset)) for offset in range(4)]
    assert times == [1000, 1000, 1010, 1030]
