"""Any bytes as one file of a log directory: opened, read to its end, or refused by name.

The first byte chooses the file. This is no parser but all of them together, behind a recovery and a
start, after a crash and after a clean stop.
"""

import random
from functools import lru_cache, partial
from typing import Final

from api.sim.disk import SimDisk
from api.sim.image import Image
from logstore.batch import encode_batch
from logstore.identity import Identity
from logstore.log_directory import LogDirectory
from logstore.partition_log import PartitionLog, ReadPlan
from logstore.paths import JOURNAL
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
from model.ports import Disk
from model.record import NewRecord
from tests.fuzz.memory_disk import MemoryDisk

AGAIN: Final = 4
"""One directory of so many is opened and read a second time: it must be the same."""
BASE_NS: Final = 60_000_000
"""The rest of the directory is opened and read too, whatever the input is."""
READS: Final = 6
"""By recovery, loader and readers, of two starts."""
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


def open_directory(disk: Disk) -> LogDirectory:
    """Open what a disk holds."""
    return LogDirectory.open(
        disk, SETTINGS, rand=random.Random(1), now_wall=START, identity=IDENTITY
    ).directory


@lru_cache(maxsize=8)
def image(*, rounds: int = 9, checkpoint_after: int = 6, segment_bytes: int = 900) -> Image:
    """Return a directory: two partitions, several segments, a checkpoint and entries above it."""
    disk = SimDisk()
    directory = open_directory(disk)
    settings = partial(PartitionSettings, segment_bytes=segment_bytes, flush_ms=100)
    logs = [
        directory.create(one, settings(flush=flush))
        for one, flush in zip(PARTITIONS, Flush, strict=True)
    ]
    for number in range(rounds):
        for log in logs:
            batch = encode_batch(
                [NewRecord(START + number, b"key", b"v" * 50)] * 2,
                producer_id=7, producer_epoch=0, base_sequence=2 * number,
            )  # fmt: skip
            time = AppendTimeMs(START + 10 * number)
            log.append([batch], leader_epoch=LeaderEpoch(number // 4), append_time=time)
        while (work := directory.take_round(MonotonicMs(number))) is not None:
            directory.finish_round(directory.run_round(work))
        if number == checkpoint_after and (
            job := directory.take_checkpoint(MonotonicMs(10), all=True)
        ):
            directory.finish_checkpoint(directory.run_checkpoint(job))
    disk.kill()
    return disk.platter.image()


def stopped(whole: Image) -> Image:
    """Return a directory after it was opened and stopped cleanly."""
    disk = SimDisk(whole)
    directory = open_directory(disk)
    job = directory.take_checkpoint(MonotonicMs(1), all=True)
    assert job is not None
    directory.finish_checkpoint(directory.run_checkpoint(job))
    directory.mark_clean(AppendTimeMs(START + 1_000))
    disk.kill()
    return disk.platter.image()


@lru_cache(maxsize=1)
def files() -> list[tuple[Image, str]]:
    """Return each file of a small directory, and of the same after a clean stop."""
    small = image(rounds=5, checkpoint_after=2, segment_bytes=500)
    return [(whole, name) for whole in (small, stopped(small)) for name in sorted(whole.files)]


def samples() -> list[bytes]:
    """Return every file as it is, behind its number; of a journal what is not zeros at its end."""
    return [
        bytes([number]) + (content.rstrip(b"\0") if name.startswith(JOURNAL) else content)
        for number, (whole, name) in enumerate(files())
        for content in [whole.files[name]]
    ]


def fuzz(data: bytes) -> None:
    """Open the directory with one file replaced: refused, or open and readable."""
    if not data:
        return
    whole, name = files()[data[0] % len(files())]
    content = data[1:]
    if name.startswith(JOURNAL):
        content = content.ljust(SETTINGS.journal_file_bytes, b"\0")
    disk = MemoryDisk(whole, {name: content})
    try:
        directory = open_directory(disk)
    except DirectoryRefused:
        return
    found = [_read(log) for log in directory.partitions.values()]
    if len(data) % AGAIN == 0:
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
