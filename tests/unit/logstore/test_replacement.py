"""A damaged segment is replaced by what another replica has: all of it, checked, and durable."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import count

import pytest

from api.sim.disk import SimDisk
from api.sim.faults import Operation
from api.sim.power_cut import Pending
from logstore.leader_epochs import LeaderEpochs
from logstore.log_directory import LogDirectory
from logstore.partition_log import PartitionLog, ReadPlan
from logstore.paths import DAMAGED, INDEX, LOG, TEMPORARY, TIMES
from logstore.replacement import Replacement
from logstore.times import ROW_BYTES, decode
from model.errors import ErrorCode, MalformedError, RequestError
from model.ids import AppendTimeMs, Offset, Position
from model.record import iter_batches
from tests.unit.logstore.test_log_directory import SMALL, TIME, opened
from tests.unit.logstore.test_scrub import DIRECTORY, RECORDS, closed, name, scrubbed

Sent = tuple[Offset, AppendTimeMs, bytes]


def sent(log: PartitionLog) -> list[Sent]:
    """Return what another replica would send of the first segment: batches and append times."""
    found = []
    for number in range(RECORDS):
        read = log.read(Offset(number), 1, end=Offset(number + 1))
        result = read.blocking() if isinstance(read, ReadPlan) else read
        (batch,) = (b for buffer in result.buffers for b in iter_batches(memoryview(buffer)))
        found.append((Offset(number), AppendTimeMs(TIME + 10 * number), bytes(batch)))
    return found


def content(disk: SimDisk, ending: str) -> bytes:
    file = disk.open(name(ending))
    return file.pread(file.size(), Position(0))


def damaged() -> tuple[SimDisk, LogDirectory, PartitionLog, list[Sent], bytes]:
    """Return a log whose first segment has rotted, what others have of it, and what it was."""
    disk = SimDisk()
    directory, log = closed(disk)
    whole, right = sent(log), content(disk, LOG)
    disk.flip_bit(name(LOG), Position(len(right) // 2), 3)
    assert scrubbed(disk, log)
    return disk, directory, log, whole, right


def replacement(disk: SimDisk, log: PartitionLog) -> Replacement:
    return Replacement(disk, log.segment_list[0], log.leader_epochs)


def swap(new: Replacement) -> None:
    """Put a whole replacement in place, job after job, as a repair does."""
    new.write_times(new.encoded_times())
    new.swap()


def test_the_new_one_is_read_as_the_old_one_was() -> None:
    disk, _, log, whole, right = damaged()
    times = content(disk, TIMES)
    new = replacement(disk, log)
    for one in whole:
        new.add([one])()
    assert new.is_whole and new.fits
    swap(new)
    new.settle(log.log_end)
    assert content(disk, LOG) == right
    assert content(disk, TIMES) == times
    assert sent(log) == whole
    assert scrubbed(disk, log) == []
    assert [log.append_time_at(Offset(at)) or TIME + 10 * at for at in range(RECORDS)] == [
        time for _, time, _ in whole
    ]


def test_the_old_files_are_kept_aside() -> None:
    disk, _, log, whole, right = damaged()
    new = replacement(disk, log)
    new.add(whole)()
    swap(new)
    aside = disk.open(name(LOG) + DAMAGED)
    kept = aside.pread(aside.size(), Position(0))
    assert len(kept) == len(right) and kept != right
    assert name(LOG).rpartition("/")[2] + TEMPORARY not in disk.list(DIRECTORY)
    assert name(INDEX).rpartition("/")[2] not in disk.list(DIRECTORY)


@pytest.mark.parametrize("at", range(0, 90))
def test_no_byte_of_what_comes_may_be_wrong(at: int) -> None:
    """Checksums cover the most; what they do not, this log's own table and the offsets do."""
    disk, _, log, whole, right = damaged()
    base, time, raw = whole[0]
    wrong = bytearray(raw)
    wrong[at] ^= 0x40
    new = replacement(disk, log)
    with pytest.raises(MalformedError):
        new.add([(base, time, bytes(wrong))])
    new.add(whole)()
    swap(new)
    assert content(disk, LOG) == right


def late(whole: list[Sent]) -> Iterator[Sent]:
    return iter(whole[1:])


def other_epoch(whole: list[Sent]) -> Iterator[Sent]:
    for base, time, raw in whole:
        yield base, time, raw[:12] + b"\0\0\0\x63" + raw[16:]


def falling(whole: list[Sent]) -> Iterator[Sent]:
    return ((base, AppendTimeMs(TIME - 10 * base), raw) for base, _, raw in whole)


def no_tick(whole: list[Sent]) -> Iterator[Sent]:
    return ((base, AppendTimeMs(time + 1), raw) for base, time, raw in whole)


def twice(whole: list[Sent]) -> Iterator[Sent]:
    return iter([whole[0], *whole])


def nothing(_: list[Sent]) -> Iterator[Sent]:
    return iter(())


@pytest.mark.parametrize("made", [late, other_epoch, falling, no_tick, twice, nothing])
def test_what_does_not_belong_there_is_not_taken(
    made: Callable[[list[Sent]], Iterator[Sent]],
) -> None:
    disk, _, log, whole, _ = damaged()
    new = replacement(disk, log)
    with pytest.raises(MalformedError):
        new.add(made(whole))
    assert new.at == 0


def test_what_reaches_beyond_the_segment_is_not_taken() -> None:
    disk, _, log, whole, _ = damaged()
    new = replacement(disk, log)
    _, time, raw = whole[-1]
    more = bytearray(raw)
    more[:8] = (RECORDS).to_bytes(8, "big")
    with pytest.raises(MalformedError, match="ends at"):
        new.add([*whole, (Offset(RECORDS), time, bytes(more))])


def test_half_of_it_is_no_replacement() -> None:
    disk, _, log, whole, _ = damaged()
    new = replacement(disk, log)
    new.add(whole[:2])()
    with pytest.raises(AssertionError, match="REPLACEMENT_IS_WHOLE"):
        new.encoded_times()
    with pytest.raises(AssertionError, match="REPLACEMENT_IS_WHOLE"):
        new.swap()
    new.add(whole[2:])()
    with pytest.raises(AssertionError, match="REPLACEMENT_IS_WHOLE"):
        new.swap()  # its append times are not there


class PowerCut(Exception):  # noqa: N818 - no error of anything
    """The power goes before the operation that was announced."""


def left_by_a_cut(disk: SimDisk, act: Callable[[], None], step: int) -> list[SimDisk] | None:
    """Cut the power before an action's operation of that number.

    Returns what may be left: nothing of what is pending, all of it, or the names without the
    bytes; None if the action is over before.
    """
    operations = count()

    def before(operation: Operation, name: str, size: int) -> None:
        del operation, name, size
        if next(operations) == step:
            raise PowerCut

    disk.before = before
    try:
        act()
    except PowerCut:
        pending = Pending(disk.platter)
        every = pending.everything
        choices = (pending.nothing, every, replace(every, units=0))
        return [SimDisk(pending.image(choice)) for choice in choices]
    finally:
        disk.before = None
    return None


def test_a_power_cut_at_any_moment_leaves_the_old_one_refused_or_the_new_one_whole() -> None:
    """P45, P7, P8: never a segment of which a part is the new one's."""
    refused = read_whole = 0
    for step in count():
        disk, _, log, whole, right = damaged()
        new = replacement(disk, log)
        new.add(whole)()
        left = left_by_a_cut(disk, partial(swap, new), step)
        if left is None:
            break
        for again in left:
            found = opened(again, SMALL).directory.partitions[log.id]
            try:
                assert sent(found) == whole
            except RequestError as refusal:
                assert refusal.code is ErrorCode.CORRUPT_LOG
                refused += 1
            else:
                assert content(again, LOG) == right
                read_whole += 1
    assert step > 8 and refused and read_whole


def test_what_was_replaced_is_there_after_a_power_cut() -> None:
    disk, _, log, whole, right = damaged()
    times = content(disk, TIMES)
    new = replacement(disk, log)
    new.add(whole)()
    swap(new)
    disk.power_cut(lambda pending: pending.nothing)
    assert content(disk, TIMES) == times
    assert sent(opened(disk, SMALL).directory.partitions[log.id]) == whole
    assert content(disk, LOG) == right


def test_rows_are_repeated_to_the_length_that_the_checkpoint_knows() -> None:
    disk, _, log, whole, _ = damaged()
    segment = log.segment_list[0]
    same = [(base, AppendTimeMs(TIME), raw) for base, _, raw in whole]
    new = replacement(disk, log)
    new.add(same)()
    assert new.fits
    swap(new)
    file = content(disk, TIMES)
    assert len(file) == segment.times_bytes == ROW_BYTES * (1 + RECORDS)
    found = decode(file, Offset(0))
    assert (len(found.times), found.damaged) == (1, ())


def test_other_sizes_than_the_segment_says_do_not_fit_before_a_checkpoint_says_them() -> None:
    disk, _, log, whole, _ = damaged()
    segment = log.segment_list[0]
    segment.cut(
        segment.end_offset,
        segment.size_bytes - 7,
        segment.times_bytes - ROW_BYTES,
        last_append_time=None,
    )
    new = replacement(disk, log)
    new.add(whole)()
    assert not new.fits
    new.resize()
    assert not new.fits, "the checkpoint"
    segment.durable_bytes, segment.durable_times_bytes = new.sizes
    assert new.fits
    swap(new)
    new.settle(log.log_end)
    assert sent(log) == whole


def test_the_table_of_epochs_counts_only_as_far_as_it_reaches() -> None:
    disk, _, log, whole, _ = damaged()
    new = Replacement(disk, log.segment_list[0], LeaderEpochs())
    new.add(whole)()
    assert new.is_whole


def test_a_read_that_has_opened_the_old_file_leaves_it_to_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk, _, log, whole, _ = damaged()
    segment = log.segment_list[0]
    segment.reader = None
    plan = log.read(Offset(0), 1, end=Offset(1))
    assert isinstance(plan, ReadPlan)
    old = disk.open(name(LOG))
    new = replacement(disk, log)
    new.add(whole)()
    swap(new)
    new.settle(log.log_end)
    with monkeypatch.context() as patched:
        patched.setattr(SimDisk, "open", lambda *_, **__: old)
        plan.blocking()
    assert segment.reader is None
    assert sent(log) == whole
