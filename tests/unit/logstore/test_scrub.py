"""The scrub finds what rots in a closed segment, says where, and stumbles over nothing."""

import struct
from dataclasses import replace

import pytest

from api.sim.disk import SimDisk
from api.sim.faults import Fault, Operation
from logstore.log_directory import LogDirectory
from logstore.partition_log import PartitionLog
from logstore.paths import LOG, TIMES, by_offset
from logstore.recovery_report import Finding
from logstore.scrub import CHUNK_BYTES, SegmentScrub, may_scrub, pause_ms
from logstore.settings import KIB, MIB, LogSettings, PartitionSettings
from model.errors import ErrorCode, RequestError
from model.ids import Offset, Position
from tests.unit.logstore.test_log_directory import (
    QUORUM,
    SMALL,
    TIME,
    append,
    checkpoint,
    opened,
    pid,
    read,
    settle,
)

DIRECTORY = f"partitions/{bytes(16).hex()}-0"
RECORDS = 4


def name(ending: str) -> str:
    return f"{DIRECTORY}/{by_offset(Offset(0), ending)}"


def closed(disk: SimDisk, *, size: int = 100) -> tuple[LogDirectory, PartitionLog]:
    """Return a log whose first segment is closed and in its files; each record in its own tick."""
    directory = opened(disk, replace(SMALL, journal_file_bytes=256 * KIB)).directory
    log = directory.create(pid(0), PartitionSettings(segment_bytes=4 * MIB))
    for number in range(RECORDS):
        append(log, size, TIME + 10 * number)
    log.roll()
    settle(directory)
    checkpoint(directory)
    return directory, log


def scrubbed(disk: SimDisk, log: PartitionLog) -> list[Finding]:
    """Scrub the first segment; return what was found."""
    segment = log.segment_list[0]
    assert may_scrub(segment)
    scrub = SegmentScrub(
        disk, segment, interval_bytes=log.index_interval_bytes, epochs=log.leader_epochs
    )
    findings: list[Finding] = []
    for _ in range(100):
        found = scrub.step()
        scrub.settle(found)
        findings += found.findings
        if found.ended:
            assert segment.damage[: len(findings)] == tuple(findings)
            return findings
    raise AssertionError("it never ends")


@pytest.mark.parametrize("size", [100, CHUNK_BYTES // 2, CHUNK_BYTES + 1])
def test_a_sound_segment_has_no_finding(size: int) -> None:
    disk = SimDisk()
    _, log = closed(disk, size=size)
    assert scrubbed(disk, log) == []


def test_only_what_is_closed_and_in_its_files_is_scrubbed() -> None:
    directory = opened(SimDisk()).directory
    log = directory.create(pid(0), QUORUM)
    append(log)
    active = log.segment_list[0]
    assert not may_scrub(active)
    settle(directory)
    log.roll()
    assert active.sealed
    assert not may_scrub(active), "its append times are in the journal alone"
    checkpoint(directory)
    assert may_scrub(active)
    assert not may_scrub(log.segment_list[1]), "the new active one"


@pytest.mark.parametrize("byte", [17, 21, 80])
def test_rot_in_a_batch_is_found_and_its_readers_are_told_though_they_had_read_it(
    byte: int,
) -> None:
    disk = SimDisk()
    directory, log = closed(disk)
    size = log.segment_list[0].size_bytes // RECORDS
    assert read(log, 1).next_offset == RECORDS  # verified, and trusted from here on
    disk.flip_bit(name(LOG), Position(size + byte), 3)
    assert scrubbed(disk, log) == [Finding(name(LOG), size, size, "checksum")]
    assert log.tail.start == RECORDS, "nothing is served from memory"
    with pytest.raises(RequestError) as refused:
        read(log, 1)
    assert refused.value.code is ErrorCode.CORRUPT_LOG
    assert read(log, 0, 1).next_offset == 1
    assert read(log, 2).next_offset == RECORDS
    assert directory.offline is None


@pytest.mark.parametrize(
    ("byte", "why"),
    [
        (7, "offset 129 where 1 belongs"),
        (15, "leader epoch 131 where 3 belongs"),
    ],
)
def test_rot_that_no_checksum_covers_is_found(byte: int, why: str) -> None:
    disk = SimDisk()
    _, log = closed(disk)
    size = log.segment_list[0].size_bytes // RECORDS
    disk.flip_bit(name(LOG), Position(size + byte), 7)
    assert scrubbed(disk, log) == [Finding(name(LOG), size, size, why)]


@pytest.mark.parametrize("byte", [8, 16])
def test_behind_a_batch_without_a_readable_head_everything_counts_as_damaged(byte: int) -> None:
    disk = SimDisk()
    _, log = closed(disk)
    segment = log.segment_list[0]
    size = segment.size_bytes // RECORDS
    disk.flip_bit(name(LOG), Position(size + byte), 6)
    (found,) = scrubbed(disk, log)
    assert (found.position, found.size_bytes) == (size, segment.size_bytes - size)
    assert found.why.startswith("no record batch")


@pytest.mark.parametrize("row", [1, 2])
def test_a_damaged_row_of_append_times_is_found(row: int) -> None:
    disk = SimDisk()
    _, log = closed(disk)
    disk.flip_bit(name(TIMES), Position(24 * (1 + row) + 20), 1)
    (found,) = scrubbed(disk, log)
    assert found.file == name(TIMES)
    assert f"from offset {row} to {row} have a guessed append time" in found.why


def test_a_file_that_lost_its_end_is_found() -> None:
    disk = SimDisk()
    _, log = closed(disk)
    whole = log.segment_list[0].size_bytes
    disk.open(name(LOG)).truncate(whole - 5)
    (found,) = scrubbed(disk, log)
    assert (found.why, found.position) == ("the file ends", whole // RECORDS * (RECORDS - 1))


def test_a_missing_file_and_a_disk_that_refuses_are_findings_not_failures() -> None:
    disk = SimDisk()
    directory, log = closed(disk)
    disk.faults.add(Fault(Operation.READ, name(LOG), times=None))
    (found,) = scrubbed(disk, log)
    assert "the disk refused the read" in found.why
    assert directory.offline is None
    disk.faults.clear()
    log.segment_list[0].damage = ()
    disk.unlink(name(LOG))
    (found,) = scrubbed(disk, log)
    assert (found.why, found.size_bytes) == ("the file is missing", log.segment_list[0].size_bytes)


@pytest.mark.parametrize("begun", [0, 1])
def test_a_segment_that_goes_meanwhile_is_no_damage(begun: int) -> None:
    disk = SimDisk()
    directory, log = closed(disk)
    segment = log.segment_list[0]
    scrub = SegmentScrub(
        disk, segment, interval_bytes=log.index_interval_bytes, epochs=log.leader_epochs
    )
    for _ in range(begun):
        assert not scrub.step().ended
    log.trim(Offset(RECORDS))
    checkpoint(directory)
    found = scrub.step()
    assert (found.findings, found.ended) == ((), True)


def test_the_pause_keeps_the_rate_gives_way_and_keeps_the_interval() -> None:
    settings = LogSettings(scrub_bytes_per_second=MIB, scrub_interval_ms=1_000_000)
    assert pause_ms(MIB, settings, all_bytes=0, busy=False) == 1_000
    assert pause_ms(MIB, settings, all_bytes=0, busy=True) == 4_000
    assert pause_ms(MIB, settings, all_bytes=2_000 * MIB, busy=False) == 500
    assert pause_ms(1, settings, all_bytes=0, busy=False) == 1


def test_the_head_of_a_batch_is_read_as_the_format_says() -> None:
    """The bytes that the cases above flip are the ones that they mean."""
    disk = SimDisk()
    closed(disk)
    head = disk.open(name(LOG)).pread(23, Position(0))
    base, _, epoch, magic = struct.unpack_from(">qiib", head)
    assert (base, epoch, magic) == (0, 3, 2)
