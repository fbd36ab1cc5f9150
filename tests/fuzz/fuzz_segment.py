"""Any bytes as the files of a segment: its index and append times loaded, its tail scanned, shown.

The `.log` comes first, then 240 bytes of `.times`, then the `.index`.
"""

from contextlib import suppress
from typing import Final

from api.sim.image import Image
from logstore.batch import encode_batch
from logstore.dump import index_rows, segment_rows, times_rows
from logstore.index_builder import IndexBuilder
from logstore.leader_epochs import UNBOUNDED
from logstore.offset_index import OffsetIndex
from logstore.paths import INDEX, LOG, PARTITIONS, TIMES, by_offset, partition_directory
from logstore.recovering import Recovering, RecoveringSegment
from logstore.recovery_report import RecoveryReport
from logstore.segment_loader import Source, load
from logstore.times import Times
from model.errors import MalformedError
from model.ids import AppendTimeMs, LeaderEpoch, Offset, PartitionId, TopicId
from model.ports import Disk
from model.record import BatchHeader, NewRecord
from tests.fuzz.memory_disk import MemoryDisk
from tests.fuzz.sealing import sealed_at

PARTITION: Final = PartitionId(TopicId(bytes(16)), 0)
DIRECTORY: Final = partition_directory(PARTITION)
START: Final = AppendTimeMs(1_700_000_000_000)
TIMES_BYTES: Final = 240
BATCHES: Final = 6
INTERVAL_BYTES: Final = 128
READS: Final = 6
"""Loaded, scanned twice, shown, and each time walked before it is read."""


def samples() -> list[bytes]:
    """Return a whole segment, and one with only its first batches."""
    log, times, index = _whole()
    return [log + times + index, log[: len(log) // 2] + times + index]


def _whole() -> tuple[bytes, bytes, bytes]:
    log, times = bytearray(), Times(Offset(0))
    index = OffsetIndex(Offset(0))
    builder = IndexBuilder(index, INTERVAL_BYTES)
    for number in range(BATCHES):
        records = [NewRecord(START + 7 * n, b"key", b"v" * 9 * n) for n in range(3)]
        batch = encode_batch(records, base_offset=3 * number)
        builder.add(BatchHeader(memoryview(batch)))
        log += batch
        times.append(Offset(3 * number), LeaderEpoch(0), AppendTimeMs(START + 10 * number))
    builder.close()
    rows = (times.encode_head() + times.encode_rows()).ljust(TIMES_BYTES, b"\0")
    return bytes(log), rows, index.encode()


LOG_BYTES: Final = len(_whole()[0])


def fuzz(data: bytes) -> None:
    """Read the segment in every way in which it is read."""
    log = data[:LOG_BYTES]
    rest = data[LOG_BYTES:]
    times, index = rest[:TIMES_BYTES], rest[TIMES_BYTES:]
    index = sealed_at(index, 40, index[:40], index[44:])
    name = {end: f"{DIRECTORY}/{by_offset(Offset(0), end)}" for end in (LOG, TIMES, INDEX)}
    files = {name[LOG]: log, name[TIMES]: times, name[INDEX]: index}
    disk = MemoryDisk(Image(files, (PARTITIONS, DIRECTORY)))
    _load(disk, name, len(log))
    _scan(disk)
    with suppress(MalformedError):
        list(segment_rows(disk.open(name[LOG]), records=True))
    with suppress(MalformedError):
        list(index_rows(index, Offset(0)))
    with suppress(MalformedError):
        list(times_rows(times, Offset(0)))


def _load(disk: Disk, name: dict[str, str], size: int) -> None:
    source = Source(
        name[LOG], name[TIMES], name[INDEX], Offset(0), Offset(3 * BATCHES), size,
        24 * (BATCHES + 1), START, AppendTimeMs(START + 10 * BATCHES), INTERVAL_BYTES, UNBOUNDED,
    )  # fmt: skip
    loaded = load(disk, source, with_index=True)
    assert loaded.index is not None
    assert loaded.index.end == size, "the index does not describe all"


def _scan(disk: Disk) -> None:
    state = Recovering(disk, PARTITION, None, segments=[RecoveringSegment(Offset(0))])
    report = RecoveryReport()
    state.scan(report)
    state.finish(report)
    again = Recovering(disk, PARTITION, None, segments=[RecoveringSegment(Offset(0))])
    again.scan(RecoveryReport())
    assert again.end == state.end, "recovered twice, it has another end"
