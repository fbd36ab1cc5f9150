"""Each byte of each file of a log directory, flipped: told, made good, or without meaning.

After a clean stop and after a crash the directory is opened with one byte changed. It is refused by
name; or readers are told CORRUPT_LOG; or everything reads as it did, times included, which is what
has to come of a cache, of a copy, and of bytes that are dropped or rebuilt. Other data never.
"""

import random
from collections import Counter
from collections.abc import Iterator
from typing import Final

import pytest

from api.sim.disk import SimDisk
from api.sim.image import Image
from logstore.log_directory import LogDirectory
from logstore.partition_log import PartitionLog, ReadPlan
from logstore.paths import INDEX, JOURNAL, LOG, TIMES
from logstore.settings import KIB
from model.errors import DirectoryRefused, RequestError
from model.ids import AppendTimeMs, MonotonicMs, PartitionId
from model.record import BatchHeader, iter_batches
from tests.fuzz.fuzz_log_directory import IDENTITY, PARTITIONS, SETTINGS, START, image

SAMPLED: Final = 150
"""Bytes of a file that is larger; its first ones and its last are always among them."""
ENDS: Final = 130
EPOCH_BYTES: Final = range(12, 16)
"""Of a batch: its leader epoch. Neither the batch's checksum nor its place covers these."""

Seen = tuple[tuple[PartitionId, tuple[object, ...]], ...]


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
    return LogDirectory.open(
        disk, SETTINGS, rand=random.Random(1), now_wall=START, identity=IDENTITY
    ).directory


def seen(whole: Image) -> Seen | str:
    """Return what readers see of a directory, or how they are told that they cannot."""
    try:
        directory = opened(SimDisk(whole, crashable=False))
        return tuple((one, tuple(batches(directory.partitions[one]))) for one in PARTITIONS)
    except DirectoryRefused as refused:
        return f"refused, exit {refused.exit_code}"
    except RequestError as refused:
        return refused.code.name


def batches(log: PartitionLog) -> Iterator[object]:
    """Yield each batch but for its leader epoch, and its append time."""
    yield log.log_start, log.log_end
    offset = log.log_start
    while offset < log.log_end:
        result = log.read(offset, KIB, end=log.log_end)
        if isinstance(result, ReadPlan):
            result = result.now() or result.blocking()
        for buffer in result.buffers:
            for batch in iter_batches(memoryview(buffer)):
                header = BatchHeader(batch)
                yield header.base_offset, bytes(batch[16:]), time_of(log, header)
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


@pytest.mark.parametrize("how", ["after a crash", "after a clean stop"])
def test_no_flipped_byte_is_served_as_data(how: str) -> None:
    whole = image() if how == "after a crash" else stopped()
    right = seen(whole)
    assert not isinstance(right, str)
    flipped: Counter[str] = Counter()
    told: Counter[str] = Counter()
    wrong = []
    for name, content in whole.files.items():
        kind = kind_of(name)
        for at in places(content):
            damaged = bytearray(content)
            damaged[at] ^= 1 << at % 8
            found = seen(Image({**whole.files, name: bytes(damaged)}, whole.directories))
            flipped[kind] += 1
            if isinstance(found, str):
                told[kind] += 1
            elif found != right:
                wrong.append((name, at))
    assert not wrong, f"{len(wrong)} of {flipped}: {wrong[:20]}"
    must_be_told = {"checkpoint", "identity"} if how == "after a crash" else {"checkpoint", LOG}
    assert {kind for kind in must_be_told if not told[kind]} == set()
    assert told[INDEX] == 0, "a cache that cannot be used is made anew"
    assert told[TIMES] == 0, "a row of times is made up and reported"
    assert told["checkpoint"] == flipped["checkpoint"], "100 %"
    assert told["identity"] == flipped["identity"], "100 %"
