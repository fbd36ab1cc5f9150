"""Append times: rows and lookups as a script; spoilt and torn files; repair of lost rows (P37)."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.leader_epochs import UNBOUNDED, EpochBounds
from logstore.times import ROW_BYTES, DecodedTimes, Times, TimesRow, decode
from logstore.times_repair import repair
from model.errors import MalformedError
from model.ids import AppendTimeMs, LeaderEpoch, Offset
from model.record import BatchHeader
from tests.datadriven import Command, run_script
from tests.searchable_log import Sent, encoded

BASE = Offset(50)


class Bench:
    """Runs script commands against the append times of one segment."""

    def __init__(self) -> None:
        self.times = Times(BASE)

    def execute(self, command: Command) -> str:
        """Run one command and say what came of it."""
        number = command.integer
        match command.name:
            case "append":
                batch = (number("offset"), number("epoch"), number("time"))
                try:
                    said = f"row={self.times.append(*row(*batch))}"
                except AssertionError as invariant:
                    said = f"refused: {invariant}"
            case "at":
                said = "offset={} epoch={} time={}".format(*self.times.at(Offset(number("offset"))))
            case "reaching":
                said = f"offset={self.times.first_at_or_after(number('time'))}"
            case "truncate":
                self.times.truncate(Offset(number("offset")))
                said = f"rows={len(self.times)} newest={self.times.newest}"
            case "bytes":
                parts = [self.times.encode_head()]
                parts += [
                    self.times.encode_rows(start)[:ROW_BYTES] for start in range(len(self.times))
                ]
                said = "\n".join(part.hex(" ", 4) for part in parts)
            case unknown:
                raise AssertionError(unknown)
        return said


def row(offset: int, epoch: int, time: int) -> TimesRow:
    return TimesRow(Offset(offset), LeaderEpoch(epoch), AppendTimeMs(time))


def test_script(scripts: Path, rewrite: bool) -> None:
    run_script(scripts / "times/rows.txt", Bench().execute, rewrite=rewrite)


def timed(*rows: tuple[int, int, int]) -> Times:
    times = Times(BASE)
    for each in rows:
        times.append(*row(*each))
    return times


ROWS = timed((50, 1, 100), (53, 1, 110), (60, 2, 110), (64, 2, 500))
FILE = ROWS.encode_head() + ROWS.encode_rows()


def test_what_is_written_is_read() -> None:
    decoded = decode(FILE, BASE)
    assert list(decoded.times.rows()) == list(ROWS.rows())
    assert decoded[1:] == ((), 0)
    assert len(FILE) == ROWS.file_bytes
    assert FILE.endswith(ROWS.encode_rows(2))
    assert len(ROWS.encode_rows(2)) == 2 * ROW_BYTES


def test_any_spoilt_byte_costs_its_row_and_no_other() -> None:
    for at in range(len(FILE)):
        spoilt = bytes([*FILE[:at], FILE[at] ^ 1, *FILE[at + 1 :]])
        number = at // ROW_BYTES - 1
        if number < 0:
            with pytest.raises(MalformedError):
                decode(spoilt, BASE)
            continue
        decoded = decode(spoilt, BASE)
        assert decoded.damaged == (number,)
        assert list(decoded.times.rows()) == [r for n, r in enumerate(ROWS.rows()) if n != number]


def test_a_torn_row_is_no_row() -> None:
    for cut in range(ROW_BYTES, len(FILE)):
        decoded = decode(FILE[:cut], BASE)
        assert len(decoded.times) == cut // ROW_BYTES - 1
        assert decoded[1:] == ((), cut % ROW_BYTES)
    for cut in range(ROW_BYTES):
        with pytest.raises(MalformedError):
            decode(FILE[:cut], BASE)


@pytest.mark.parametrize("filler", [b"\x00", b"\xff"])
def test_unwritten_space_is_neither_head_nor_row(filler: bytes) -> None:
    with pytest.raises(MalformedError, match="head"):
        decode(filler * 4096, BASE)
    decoded = decode(FILE + filler * ROW_BYTES, BASE)
    assert decoded.damaged == (4,)


def test_another_segments_file_is_refused() -> None:
    with pytest.raises(MalformedError, match="segment at 50"):
        decode(FILE, Offset(51))


@pytest.mark.parametrize(
    "stray",
    [(64, 2, 500), (63, 2, 600), (70, 1, 600), (70, 2, 490), (70, 2, 505)],
    ids=["repeated", "offset falls", "epoch falls", "time falls", "no tick"],
)
def test_a_whole_row_out_of_order_is_damage(stray: tuple[int, int, int]) -> None:
    """Such as a sector of another time that the disk put there."""
    strange = Times(Offset(0))
    if stray[2] % 10:
        strange._offsets.append(stray[0])
        strange._epochs.append(stray[1])
        strange._append_times.append(stray[2])
    else:
        strange.append(*row(*stray))
    assert decode(FILE + strange.encode_rows(), BASE).damaged == (4,)


@st.composite
def segments(draw: st.DrawFn) -> list[tuple[int, int, int, int]]:
    """Draw batches: offset, epoch, append time, event time claimed."""
    batches: list[tuple[int, int, int, int]] = []
    offset, epoch, time = int(BASE), 0, 100
    for _ in range(draw(st.integers(1, 9))):
        epoch += draw(st.sampled_from([0, 0, 1]))
        time += draw(st.sampled_from([0, 0, 10, 200]))
        claimed = draw(st.sampled_from([-1, 0, 95, 115, time, 10**9]))
        batches.append((offset, epoch, time, claimed))
        offset += draw(st.integers(1, 3))
    return batches


def headers(batches: list[tuple[int, int, int, int]]) -> list[BatchHeader]:
    return [
        BatchHeader(
            memoryview(encoded(Sent(times=[claimed], leader_epoch=epoch), base_offset=offset))
        )
        for offset, epoch, _, claimed in batches
    ]


@given(segments(), st.data())
def test_lookups_equal_a_scan(
    batches: list[tuple[int, int, int, int]], data: st.DataObject
) -> None:
    times = timed(*(batch[:3] for batch in batches))
    asked = data.draw(st.integers(90, 1100))
    late = [offset for offset, _, time, _ in batches if time >= asked]
    assert times.first_at_or_after(asked) == (late[0] if late else None)
    offset = data.draw(st.integers(BASE, batches[-1][0] + 2))
    covering = [batch for batch in batches if batch[0] <= offset][-1]
    assert times.at(Offset(offset))[1:] == covering[1:3]


def range_of(offsets: list[int]) -> range:
    return range(offsets[0], offsets[-1] + 1)


@given(segments(), st.data())
def test_a_lost_row_is_guessed_within_what_is_known(
    batches: list[tuple[int, int, int, int]], data: st.DataObject
) -> None:
    times = timed(*(batch[:3] for batch in batches))
    lost = data.draw(st.sets(st.integers(0, len(times) - 1)))
    file = bytearray(times.encode_head() + times.encode_rows())
    for number in lost:
        file[ROW_BYTES * (number + 1) + 20] ^= 1
    decoded = decode(bytes(file), BASE)
    assert decoded.damaged == tuple(sorted(lost))
    ceiling, end = AppendTimeMs(batches[-1][2]), Offset(batches[-1][0] + 1)
    floor = AppendTimeMs(100)
    repaired = repair(decoded, headers(batches), floor=floor, ceiling=ceiling, end=end)

    whole = [(n, each) for n, each in enumerate(times.rows()) if n not in lost]
    newest, guessed = 100, []
    for offset, epoch, time, claimed in batches:
        got = repaired.times.at(Offset(offset))
        assert got.leader_epoch == epoch
        before = [(n, each.offset) for n, each in whole if each.offset <= offset]
        if before and (before[-1][1] == offset or before[-1][0] + 1 not in lost):
            assert got.append_time == time
        else:
            guessed.append(offset)
            later = [each.append_time for _, each in whole if each.offset > offset]
            limit = min(later, default=ceiling)
            is_last = offset == batches[-1][0]
            expected = max(newest, min(claimed // 10 * 10, limit))
            assert got.append_time == (time if is_last else expected)
        newest = got.append_time
    assert repaired.times.first_at_or_after(ceiling) is not None
    first, last = repaired.guessed or (end, end)
    told = [offset for offset, *_ in batches if first <= offset <= last]
    assert told == [offset for offset, *_ in batches if guessed and offset in range_of(guessed)]


@given(segments(), st.data())
def test_what_may_be_wrong_behind_other_damage_counts_as_guessed(
    batches: list[tuple[int, int, int, int]], data: st.DataObject
) -> None:
    """Batches cannot be told apart, or say wrong offsets; an index may know them all the same."""
    times = timed(*(batch[:3] for batch in batches))
    lost = data.draw(st.sets(st.integers(0, len(times) - 1)))
    read = data.draw(st.sets(st.sampled_from(batches)))
    file = bytearray(times.encode_head() + times.encode_rows())
    for number in lost:
        file[ROW_BYTES * (number + 1) + 20] ^= 1
    decoded = decode(bytes(file), BASE)
    ceiling, end = AppendTimeMs(batches[-1][2]), Offset(batches[-1][0] + 1)
    floor, told = AppendTimeMs(100), headers(sorted(read))
    repaired = repair(decoded, told, floor=floor, ceiling=ceiling, end=end)
    first, last = repaired.guessed or (end, end)
    for offset, _, time, _ in batches:
        found = repaired.times.at(Offset(offset)).append_time
        if not first <= offset <= last:
            assert found == time
        assert floor <= found <= ceiling
    if not lost:
        assert repaired.guessed is None


def test_a_lost_head_loses_all_and_is_guessed_from_the_batches() -> None:
    batches = [(50, 1, 100, 115), (51, 1, 100, -1), (52, 3, 400, 77_777)]
    nothing = DecodedTimes(Times(BASE), (0,), 0)
    floor, ceiling = AppendTimeMs(90), AppendTimeMs(500)
    repaired = repair(nothing, headers(batches), floor=floor, ceiling=ceiling, end=Offset(53))
    assert list(repaired.times.rows()) == [row(50, 1, 110), row(52, 3, 500)]
    assert repaired.guessed == (50, 52)


@pytest.mark.parametrize(
    ("said", "known", "told"),
    [
        ((1, 65, 1, 3), UNBOUNDED, (1, 1, 1, 3)),
        ((65, 1, 1, 3), UNBOUNDED, (0, 1, 1, 3)),  # or 1: nobody can tell
        ((3, 3, 1, 3), UNBOUNDED, (3, 3, 3, 3)),
        ((3, 1, 3, 3), UNBOUNDED, (0, 1, 3, 3)),  # who is behind is believed
        ((1, 1, 3, 67), EpochBounds(LeaderEpoch(1), LeaderEpoch(3)), (1, 1, 3, 3)),
        ((2, -5, 3, 3), EpochBounds(LeaderEpoch(2), LeaderEpoch(3)), (2, 2, 3, 3)),
        ((64, 65, 66, 67), EpochBounds(LeaderEpoch(2), LeaderEpoch(2)), (2, 2, 2, 2)),
    ],
)
def test_an_epoch_that_cannot_stand_between_its_neighbours_is_not_believed(
    said: tuple[int, ...], known: EpochBounds, told: tuple[int, ...]
) -> None:
    """No checksum covers it, and one that is too high would be that of all that follows."""
    batches = [(50 + at, epoch, 100, 115) for at, epoch in enumerate(said)]
    nothing = DecodedTimes(Times(BASE), (0,), 0)
    floor, ceiling = AppendTimeMs(90), AppendTimeMs(500)
    repaired = repair(
        nothing, headers(batches), floor=floor, ceiling=ceiling, end=Offset(54), epochs=known
    )
    assert tuple(repaired.times.at(Offset(at)).leader_epoch for at in range(50, 54)) == told


def test_a_whole_row_behind_it_bounds_an_epoch() -> None:
    rows = timed((50, 1, 100), (51, 1, 110), (52, 2, 120))
    file = bytearray(rows.encode_head() + rows.encode_rows())
    file[ROW_BYTES * 2 + 20] ^= 1
    batches = [(50, 1, 100, 95), (51, 9, 110, 95), (52, 9, 120, 95)]
    repaired = repair(
        decode(bytes(file), BASE),
        headers(batches),
        floor=AppendTimeMs(90),
        ceiling=AppendTimeMs(120),
        end=Offset(53),
    )
    assert [one.leader_epoch for one in repaired.times.rows()] == [1, 2]


@pytest.mark.parametrize(("end", "times"), [(51, [500]), (53, [100, 500])])
def test_a_segment_of_which_nothing_can_be_read_has_its_two_times(
    end: int, times: list[int]
) -> None:
    nothing = DecodedTimes(Times(BASE), (0,), 0)
    floor, ceiling = AppendTimeMs(100), AppendTimeMs(500)
    repaired = repair(nothing, iter(()), floor=floor, ceiling=ceiling, end=Offset(end))
    assert [one.append_time for one in repaired.times.rows()] == times
    assert repaired.times.at(BASE).append_time == times[0]
    assert repaired.times.first_at_or_after(500) == end - 1


@pytest.mark.parametrize("lost", [(), (1,), (3,), (1, 3), (0, 1, 2, 3)])
def test_rows_reach_the_last_append_time_where_batches_end_in_damage(lost: tuple[int, ...]) -> None:
    batches = [(50, 1, 100, 95), (53, 1, 110, 95)]  # what lies behind them cannot be read
    file = bytearray(FILE)
    for number in lost:
        file[ROW_BYTES * (number + 1) + 20] ^= 1
    floor, ceiling = AppendTimeMs(100), AppendTimeMs(500)
    decoded = decode(bytes(file), BASE)
    repaired = repair(decoded, headers(batches), floor=floor, ceiling=ceiling, end=Offset(70))
    assert repaired.times.first_at_or_after(500) == (69 if 3 in lost else 64)
    kept = [each for number, each in enumerate(ROWS.rows()) if number not in lost]
    assert set(kept) <= set(repaired.times.rows())
