"""Every byte of each file of a log directory, flipped: told, made good, or without meaning.

After a clean stop and after a crash the directory is opened with one byte changed. It is refused by
name; or readers are told CORRUPT_LOG; or everything reads as it did, leader epochs and producers
too, which is what has to come of a cache and of a copy. Three things are given up, each only where
the formats say so, and reported:

* after a crash, batches with flush=async of which no checkpoint speaks: the log ends before them;
* after a crash, the last entry of the journal: no later one proves that it had been durable;
* the append times of the batches that a damaged row of `.times` covered: they are guessed.

Other data never. What a batch's checksum does not cover, its offset and its leader epoch, readers
compare with the index and with the table of epochs.

Of the zeros that a journal file was made of, twelve thousand bytes that are all alike, a share is
flipped that moves with SEED; the slow test flips each. What a byte is changed by moves too.
"""

import os
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

import pytest

from api.sim.image import Image
from logstore.append_clock import TICK_MS
from logstore.checkpoint import decode as decode_checkpoint
from logstore.journal import HEADER_BYTES, decode_header
from logstore.journal_entry import decode as decode_entry
from logstore.leader_epochs import EpochStart
from logstore.log_directory import LogDirectory, Opened
from logstore.partition_log import PartitionLog, ReadPlan
from logstore.paths import (
    CHECKPOINT,
    CLEAN,
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
from logstore.paths import IDENTITY as IDENTITY_FILE
from logstore.producer_snapshot import encode as encode_producers
from logstore.recovery_report import Finding
from logstore.searchable import Slice
from logstore.settings import KIB, Flush
from logstore.time_search import offset_for_time
from logstore.times import ROW_BYTES
from model.errors import DirectoryRefused, MalformedError, RequestError
from model.ids import AppendTimeMs, Offset, PartitionId, Position
from model.ports import Disk
from model.record import BatchHeader, ClockKind, iter_batches
from tests.fuzz.fuzz_log_directory import (
    IDENTITY,
    PARTITIONS,
    SETTINGS,
    START,
    image,
    stopped,
)
from tests.fuzz.memory_disk import MemoryDisk

SEED: Final = int(os.environ.get("SEED", "1"))
ZEROS_SHARE: Final = 64
"""Of the zeros of a journal that nothing was written to, one in so many is flipped."""
OFFSETS: Final = 6
"""In each full segment of the image."""
ASYNC: Final = PARTITIONS[list(Flush).index(Flush.ASYNC)]
"""The partition of the image with flush=async."""
EPOCH: Final = slice(12, 16)
"""Of a batch: its leader epoch. Where its row of append times is lost too, both may be guessed."""


class Batch(NamedTuple):
    """A batch as readers get it, but for its leader epoch."""

    base_offset: int
    content: tuple[bytes, bytes]
    append_time: int


class Derived(NamedTuple):
    """What the caches hold: a function of the batches and their append times."""

    epochs: tuple[EpochStart, ...]
    producers: bytes


class Seen(NamedTuple):
    """What readers see of a partition, and what the store reports of it."""

    log_start: int
    log_end: int
    batches: tuple[Batch, ...]
    derived: Derived
    dropped: tuple[Finding, ...]
    guessed: tuple[Finding, ...]


Directory = Mapping[PartitionId, Seen]


def crashed() -> Image:
    """Return a directory of three segments in each partition, with a checkpoint in the middle."""
    return image(rounds=7, checkpoint_after=3, segment_bytes=620)


def open_reported(disk: Disk) -> Opened:
    return LogDirectory.open(
        disk, SETTINGS, rand=random.Random(1), now_wall=START, identity=IDENTITY
    )


def seen(whole: Image, changed: Mapping[str, bytes] | None = None) -> Directory | str:
    """Return what readers see of a directory, or how they are told that they cannot."""
    try:
        found = open_reported(MemoryDisk(whole, changed))
        return {one: seen_of(found, found.directory.partitions[one]) for one in PARTITIONS}
    except DirectoryRefused as refused:
        return f"refused, exit {refused.exit_code}"
    except RequestError as refused:
        return refused.code.name


def seen_of(found: Opened, log: PartitionLog) -> Seen:
    read = tuple(batches(log))
    check_lookups(log, read)
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
        Derived(tuple(log.leader_epochs.rows), encode_producers(log.producers, log.log_end)),
        tuple(one for one in report.dropped if one.file.startswith((ours, f"{JOURNAL}/"))),
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


def check_lookups(log: PartitionLog, read: Sequence[Batch]) -> None:
    """Look every tick up to the last append time: a batch of that time or later answers each."""
    for view in log.segments():
        view.load_times()
    last = max((batch.append_time for batch in read), default=START - 1)
    for time in range(START, last + 1, TICK_MS):
        search = offset_for_time(log, time, ClockKind.APPEND, end=log.log_end)
        with pytest.raises(StopIteration) as answered:
            while isinstance(step := next(search), Slice):
                pass
            raise AssertionError(step)
        late = [batch for batch in read if batch.append_time >= time]
        assert answered.value.value.offset == late[0].base_offset


def kind_of(name: str) -> str:
    """Return what a file is."""
    folder, _, last = name.rpartition("/")
    _, dot, ending = last.rpartition(".")
    return JOURNAL if folder == JOURNAL else dot + ending


def places(content: bytes, *, every_zero: bool) -> Iterator[int]:
    """Yield the bytes to flip: all, but for the zeros of a journal behind its last entry."""
    unwritten = range(len(content[:-HEADER_BYTES].rstrip(b"\0")), len(content) - HEADER_BYTES)
    for at in range(len(content)):
        if every_zero or at not in unwritten or (at + SEED) % ZEROS_SHARE == 0:
            yield at


def flipped(content: bytes, at: int, chance: random.Random) -> bytes:
    """Return a file with one byte changed."""
    damaged = bytearray(content)
    damaged[at] ^= chance.randrange(1, 256)
    return bytes(damaged)


def outcome(whole: Image, name: str, at: int, *, right: Directory, found: Directory) -> str:
    """Say what became of a flip that no reader was told of; WRONG what must never be."""
    outcomes = {
        outcome_of(whole, name, at, partition=one, right=right[one], found=found[one])
        for one in PARTITIONS
        if (found[one][:4]) != right[one][:4]
    }
    return outcomes.pop() if len(outcomes) == 1 else "WRONG" if outcomes else "same"


def outcome_of(
    whole: Image, name: str, at: int, *, partition: PartitionId, right: Seen, found: Seen
) -> str:
    journal = kind_of(name) == JOURNAL
    ours = name.startswith(f"{partition_directory(partition)}/")
    if found.log_start != right.log_start or not (ours or journal):
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
        may = at >= last_entry(whole.files[name]) if journal else above
        return "dropped" if kept and ends and may and found.dropped else "WRONG"
    pairs = list(zip(right.batches, found.batches, strict=True))
    if kind_of(name) != TIMES or any(a[:2] != b[:2] for a, b in pairs):
        return "WRONG"
    times = [batch.append_time for batch in found.batches]
    others = {a.base_offset for a, b in pairs if a != b} - covered(whole.files[name], name, at)
    told = any(finding.file == name for finding in found.guessed)
    return "guessed" if told and not others and times == sorted(times) else "WRONG"


def last_entry(content: bytes) -> Position:
    """Return where the last entry of a journal file begins."""
    salt = decode_header(content[:HEADER_BYTES]).salt
    last = at = Position(HEADER_BYTES)
    with suppress(MalformedError):
        while True:
            size = decode_entry(content, at, salt=salt).size_bytes
            last, at = at, Position(at + size)
    return last


def covered(content: bytes, name: str, at: int) -> set[int]:
    """Return the offsets whose append time rests on a byte of `.times`: of its row; head: all."""
    base = parse_offset(name.rpartition("/")[2], TIMES)
    assert base is not None
    rows = range(ROW_BYTES, len(content), ROW_BYTES)
    starts = [int.from_bytes(content[row : row + 8], "big") for row in rows]
    number = at // ROW_BYTES - 1
    if number < 0:
        return set(range(base, base + OFFSETS))
    end = starts[number + 1] if number + 1 < len(starts) else base + OFFSETS
    # A closing row begins where the next does: either may be the one that tells.
    first = min(starts[number], starts[number - 1] + 1) if number else base
    return set(range(first, end))


@pytest.mark.parametrize("how", ["after a crash", "after a clean stop"])
@pytest.mark.parametrize(
    "every_zero", [False, pytest.param(True, marks=[pytest.mark.slow, pytest.mark.timeout(1_200)])]
)
def test_no_flipped_byte_is_served_as_data(how: str, *, every_zero: bool) -> None:
    whole = crashed() if how == "after a crash" else stopped(crashed())
    right = seen(whole)
    assert not isinstance(right, str)
    assert not any(one.dropped or one.guessed for one in right.values())
    chance = random.Random(SEED)
    found: Counter[tuple[str, str]] = Counter()
    wrong = []
    for name, content in whole.files.items():
        zeros = every_zero or kind_of(name) != JOURNAL
        for at in places(content, every_zero=zeros):
            damaged = flipped(content, at, chance)
            now = seen(whole, {name: damaged})
            what = (
                "told" if isinstance(now, str) else outcome(whole, name, at, right=right, found=now)
            )
            found[kind_of(name), what] += 1
            if what == "WRONG":
                wrong.append((name, at, damaged[at]))
    assert not wrong, f"{len(wrong)} of {found}, SEED={SEED}: {wrong[:20]}"
    check_outcomes(found, how)


def check_outcomes(found: Counter[tuple[str, str]], how: str) -> None:
    """Tell what must have come of each kind of file, and that none was passed over."""
    outcomes: dict[str, set[str]] = {}
    for kind, what in found:
        outcomes.setdefault(kind, set()).add(what)
    clean = {CLEAN} if how == "after a clean stop" else set()
    kinds = {LOG, TIMES, INDEX, PRODUCERS, EPOCHS, JOURNAL, CHECKPOINT, IDENTITY_FILE, *clean}
    assert outcomes.keys() == kinds
    assert found[LOG, "told"], "damage of data"
    assert outcomes[CHECKPOINT] == outcomes[IDENTITY_FILE] == {"told"}, "100 %"
    for cache in (INDEX, PRODUCERS, EPOCHS, *clean):
        assert outcomes[cache] == {"same"}, f"{cache}: what cannot be used is made anew"
    assert "guessed" in outcomes[TIMES]
    assert "told" not in outcomes[TIMES], "a row of times is made up and reported"
    dropped = {kind for kind, what in found if what == "dropped"}
    assert dropped == ({LOG, TIMES, JOURNAL} if how == "after a crash" else set())


def test_each_byte_of_a_batch_is_covered() -> None:
    """After a clean stop every batch is below its row: nothing of it may be dropped."""
    whole = stopped(crashed())
    right = seen(whole)
    chance = random.Random(SEED)
    directory = partition_directory(PARTITIONS[0])
    name = f"{directory}/{by_offset(Offset(0), LOG)}"
    content = whole.files[name]
    size = 12 + int.from_bytes(content[8:12], "big")
    untold = set()
    for at in range(size):
        now = seen(whole, {name: flipped(content, at, chance)})
        if not isinstance(now, str):
            untold.add(at)
            assert now == right, "nothing else of the batch, and no append time, comes of it"
    assert not untold
