"""Any bytes as one file of a log directory: opened, read to its end, or refused by name.

The first byte chooses the file. This is no parser but all of them together, behind a recovery: it
reads a tenth of the inputs that the others do.
"""

import random
from functools import lru_cache
from typing import Final

from api.sim.disk import SimDisk
from api.sim.image import Image
from logstore.batch import encode_batch
from logstore.identity import Identity
from logstore.log_directory import LogDirectory
from logstore.partition_log import PartitionLog, ReadPlan
from logstore.settings import KIB, Flush, LogSettings, PartitionSettings
from model.errors import DirectoryRefused, RequestError
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

START: Final = WallMs(1_700_000_000_000)
IDENTITY: Final = Identity(b"directory uuid 1", "cluster", NodeId(0), RegistrationEpoch(1))
SETTINGS: Final = LogSettings(
    journal_file_bytes=16 * KIB,
    journal_files_max=3,
    checkpoint_bytes=6 * KIB,
    index_interval_bytes=256,
    tail_bytes=512,
    reserve_bytes=0,
)
PARTITIONS: Final = tuple(PartitionId(TopicId(bytes(15) + b"\1"), number) for number in range(2))


def open_directory(disk: SimDisk) -> LogDirectory:
    """Open what a disk holds."""
    return LogDirectory.open(
        disk, SETTINGS, rand=random.Random(1), now_wall=START, identity=IDENTITY
    ).directory


@lru_cache(maxsize=1)
def image() -> Image:
    """Return a directory: two partitions, several segments, a checkpoint and entries above it."""
    disk = SimDisk()
    directory = open_directory(disk)
    logs = [
        directory.create(one, PartitionSettings(flush=flush, segment_bytes=900, flush_ms=100))
        for one, flush in zip(PARTITIONS, Flush, strict=True)
    ]
    for number in range(9):
        for log in logs:
            batch = encode_batch(
                [NewRecord(START + number, b"key", b"v" * 50)] * 2,
                producer_id=7, producer_epoch=0, base_sequence=2 * number,
            )  # fmt: skip
            time = AppendTimeMs(START + 10 * number)
            log.append([batch], leader_epoch=LeaderEpoch(number // 4), append_time=time)
        done = directory.take_round(MonotonicMs(number))
        assert done is not None
        directory.finish_round(directory.run_round(done))
        if number == 6 and (job := directory.take_checkpoint(MonotonicMs(10), all=True)):
            directory.finish_checkpoint(directory.run_checkpoint(job))
    disk.kill()
    return disk.platter.image()


def names() -> list[str]:
    """Return the files of that directory."""
    return sorted(image().files)


def samples() -> list[bytes]:
    """Return every file as it is, behind its number."""
    return [bytes([number]) + image().files[name] for number, name in enumerate(names())]


def fuzz(data: bytes) -> None:
    """Open the directory with one file replaced; refused, or open and readable, twice the same."""
    if not data:
        return
    whole = image()
    name = names()[data[0] % len(names())]
    disk = SimDisk(Image({**whole.files, name: data[1:]}, whole.directories), crashable=False)
    try:
        directory = open_directory(disk)
    except DirectoryRefused:
        return
    found = [_read(log) for log in directory.partitions.values()]
    disk.kill()
    again = [_read(log) for log in open_directory(disk).partitions.values()]
    assert found == again, "opened twice, it reads otherwise"


def _read(log: PartitionLog) -> list[bytes | str]:
    """Return what readers of a partition see, up to an error that they are told."""
    seen: list[bytes | str] = []
    offset = log.log_start
    while offset < log.log_end:
        try:
            result = log.read(offset, 4 * KIB, end=log.log_end)
            if isinstance(result, ReadPlan):
                result = result.now() or result.blocking()
        except RequestError as refusal:
            return [*seen, refusal.code.name]
        seen += [bytes(buffer) for buffer in result.buffers]
        assert result.next_offset > offset, "no step forward"
        offset = result.next_offset
    return seen
