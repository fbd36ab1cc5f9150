"""Bytes of each file of a log directory, flipped: told, made good, or without meaning.

After a clean stop and after a crash the directory is opened with one byte changed. It is refused by
name; or readers are told CORRUPT_LOG; or everything reads as it did, which is what has to come of a
cache and of a copy. Two things are given up, each only where the formats say so, and reported:

* after a crash, batches with flush=async of which no checkpoint speaks: the log ends before them;
* the append times of the batches that a damaged row of `.times` covered: they are guessed.

Other data never. One field has nothing that covers it: the leader epoch that a batch carries.
"""

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import pytest

from api.sim.disk import SimDisk
from api.sim.image import Image
from logstore.checkpoint import decode as decode_checkpoint
from logstore.log_directory import LogDirectory, Opened
from logstore.partition_log import PartitionLog, ReadPlan
from logstore.paths import (
    CHECKPOINT,
    EPOCHS,
    INDEX,
    JOURNAL,
    LOG,
    PRODUCERS,
    TIMES,
    by_offset,
    parse_offset,
    partition_directory,
)
from logstore.recovery_report import Finding
from logstore.settings import KIB, Flush
from logstore.times import ROW_BYTES
from model.errors import DirectoryRefused, RequestError
from model.ids import AppendTimeMs, MonotonicMs, Offset, PartitionId
from model.record import BatchHeader, iter_batches
from tests.fuzz.fuzz_log_directory import IDENTITY, PARTITIONS, SETTINGS, START, image

ENDS: Final = 3
"""Bytes at either end of a file that are always flipped."""
SAMPLED: Final = 8
"""Bytes between the ends."""
ASYNC: Final = PARTITIONS[list(Flush).index(Flush.ASYNC)]
"""The partition of the image with flush=async."""
EPOCH: Final = slice(12, 16)
"""Of a batch: its leader epoch. Neither the batch's checksum nor its place covers these bytes."""


class Batch(NamedTuple):
    """A batch as readers get it, but for its leader epoch."""

    base_offset: int
    content: tuple[bytes, bytes]
    append_time: int


class Seen(NamedTuple):
    """What readers see of a partition, and what the store reports of it."""

    log_start: int
    log_end: int
    batches: tuple[Batch, ...]
    dropped: tuple[Finding, ...]
    guessed: tuple[Finding, ...]


Directory = Mapping[PartitionId, Seen]


def stopped() -> Image:
    """Return the same directory after a clean stop."""
    disk = SimDisk(image())
    directory = opened(disk)
    job = directory.take_checkpoint(MonotonicMs(1), all=True)
    assert job is not None
    directory.finish_checkpoint(directory.run_checkpoint(job))
    directory.mark_clean(AppendTimeMs(START + 1_000))
    disk.kill()
    return disk.platter.image()


def opened(disk: SimDisk) -> LogDirectory:
    return open_reported(disk).directory


def open_reported(disk: SimDisk) -> Opened:
    return LogDirectory.open(
        disk, SETTINGS, rand=random.Random(1), now_wall=START, identity=IDENTITY
    )


def seen(whole: Image) -> Directory | str:
    """Return what readers see of a directory, or how they are told that they cannot."""
    try:
        found = open_reported(SimDisk(whole, crashable=False))
        return {one: seen_of(found, found.directory.partitions[one]) for one in PARTITIONS}
    except DirectoryRefused as refused:
        return f"refused, exit {refused.exit_code}"
    except RequestError as refused:
        return refused.code.name


def seen_of(found: Opened, log: PartitionLog) -> Seen:
    read = tuple(batches(log))
    report = found.report
    damage = [
        *report.repaired,
        *(finding for view in log.segments() for finding in view.live.damage),
    ]
    ours = f"{log.directory_name}/"
    return Seen(
        log.log_start,
        log.log_end,
        read,
        tuple(finding for finding in report.dropped if finding.file.startswith(ours)),
        tuple(finding for finding in damage if finding.file.startswith(ours)),
    )


def batches(log: PartitionLog) -> Iterator[Batch]:
    """Yield each batch, and its append time."""
    offset = log.log_start
    while offset < log.log_end:
        result = log.read(offset, KIB, end=log.log_end)
        if isinstance(result, ReadPlan):
            result = result.now() or result.blocking()
        for buffer in result.buffers:
            for batch in iter_batches(memoryview(buffer)):
                header = BatchHeader(batch)
                content = bytes(batch[: EPOCH.start]), bytes(batch[EPOCH.stop :])
                yield Batch(header.base_offset, content, time_of(log, header))
        assert result.next_offset > offset
        offset = result.next_offset


def time_of(log: PartitionLog, header: BatchHeader) -> AppendTimeMs:
    known = log.append_time_at(header.base_offset)
    if known is not None:
        return known
    (view,) = [v for v in log.segments() if v.base_offset <= header.base_offset < v.end_offset]
    view.load_times()
    times = view.times()
    assert times is not None
    return times.at(header.base_offset).append_time


def kind_of(name: str) -> str:
    """Return what a file is."""
    folder, _, last = name.rpartition("/")
    _, dot, ending = last.rpartition(".")
    return JOURNAL if folder == JOURNAL else dot + ending


def places(content: bytes) -> list[int]:
    """Return the bytes to flip."""
    if len(content) <= 2 * ENDS + SAMPLED:
        return list(range(len(content)))
    between = random.Random(len(content)).sample(range(ENDS, len(content) - ENDS), SAMPLED)
    return [*range(ENDS), *between, *range(len(content) - ENDS, len(content))]


def flipped(whole: Image, name: str, at: int) -> Image:
    """Return the directory with one bit of one byte turned."""
    damaged = bytearray(whole.files[name])
    damaged[at] ^= 1 << at % 8
    return Image({**whole.files, name: bytes(damaged)}, whole.directories)


def outcome(whole: Image, name: str, at: int, *, right: Directory, found: Directory) -> str:
    """Say what became of a flip that no reader was told of; WRONG what must never be."""
    outcomes = {
        outcome_of(whole, name, at, partition=one, right=right[one], found=found[one])
        for one in PARTITIONS
        if (found[one][:3]) != right[one][:3]
    }
    return outcomes.pop() if len(outcomes) == 1 else "WRONG" if outcomes else "same"


def outcome_of(
    whole: Image, name: str, at: int, *, partition: PartitionId, right: Seen, found: Seen
) -> str:
    if (
        not name.startswith(f"{partition_directory(partition)}/")
        or found.log_start != right.log_start
    ):
        return "WRONG"
    if found.log_end != right.log_end:
        (row,) = [
            row
            for row in decode_checkpoint(whole.files[CHECKPOINT]).rows
            if row.partition == partition
        ]
        kept = found.batches == right.batches[: len(found.batches)]
        ends = found.log_end == right.batches[len(found.batches)].base_offset
        above = row.end_offset <= found.log_end and partition == ASYNC
        return "dropped" if kept and ends and above and found.dropped else "WRONG"
    pairs = list(zip(right.batches, found.batches, strict=True))
    if kind_of(name) != TIMES or any(a[:2] != b[:2] for a, b in pairs):
        return "WRONG"
    times = [batch.append_time for batch in found.batches]
    others = {a.base_offset for a, b in pairs if a != b} - covered(whole.files[name], name, at)
    told = any(finding.file == name for finding in found.guessed)
    return "guessed" if told and not others and times == sorted(times) else "WRONG"


def covered(content: bytes, name: str, at: int) -> set[int]:
    """Return the offsets whose append time rests on a byte of `.times`: of its row; head: all."""
    base = parse_offset(name.rpartition("/")[2], TIMES)
    assert base is not None
    rows = range(ROW_BYTES, len(content), ROW_BYTES)
    starts = [int.from_bytes(content[row : row + 8], "big") for row in rows]
    number = at // ROW_BYTES - 1
    if number < 0:
        return set(range(base, base + 8))
    end = starts[number + 1] if number + 1 < len(starts) else base + 8
    # A closing row begins where the next does: either may be the one that tells.
    first = min(starts[number], starts[number - 1] + 1) if number else base
    return set(range(first, end))


@pytest.mark.parametrize("how", ["after a crash", "after a clean stop"])
def test_no_flipped_byte_is_served_as_data(how: str) -> None:
    whole = image() if how == "after a crash" else stopped()
    right = seen(whole)
    assert not isinstance(right, str)
    assert not any(one.dropped or one.guessed for one in right.values())
    found: Counter[tuple[str, str]] = Counter()
    wrong = []
    for name, content in whole.files.items():
        for at in places(content):
            now = seen(flipped(whole, name, at))
            what = (
                "told" if isinstance(now, str) else outcome(whole, name, at, right=right, found=now)
            )
            found[kind_of(name), what] += 1
            if what == "WRONG":
                wrong.append((name, at))
    assert not wrong, f"{len(wrong)} of {found}: {wrong[:20]}"
    assert found[LOG, "told"], "damage of data"
    outcomes: dict[str, set[str]] = {}
    for kind, what in found:
        outcomes.setdefault(kind, set()).add(what)
    assert outcomes["checkpoint"] == outcomes["identity"] == {"told"}, "100 %"
    for cache in (INDEX, PRODUCERS, EPOCHS):
        assert outcomes[cache] == {"same"}, "a cache that cannot be used is made anew"
    assert "guessed" in outcomes[TIMES]
    assert "told" not in outcomes[TIMES], "a row of times is made up and reported"
    dropped = {kind for kind, what in found if what == "dropped"}
    assert dropped == ({LOG, TIMES} if how == "after a crash" else set())


def test_each_byte_of_a_batch_but_for_its_leader_epoch_is_covered() -> None:
    """After a clean stop every batch is below its row: nothing of it may be dropped."""
    whole = stopped()
    right = seen(whole)
    directory = partition_directory(PARTITIONS[0])
    name = f"{directory}/{by_offset(Offset(0), LOG)}"
    size = 12 + int.from_bytes(whole.files[name][8:12], "big")
    untold = {at for at in range(size) if not isinstance(seen(flipped(whole, name, at)), str)}
    assert untold == set(range(EPOCH.start, EPOCH.stop))
    for at in untold:
        now = seen(flipped(whole, name, at))
        assert now == right, "nothing else of the batch, and no append time, comes of it"
