"""The offset index: rows, lookups and bytes as a script; spoilt files; bounds against a scan."""

from array import array
from collections.abc import Callable
from operator import ge, lt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.event_bounds import INT64_MAX, INT64_MIN, NO_EVENT_TIME, UNKNOWN, Bounds, Extremes
from logstore.index_builder import IndexBuilder
from logstore.offset_index import OffsetIndex, Witness
from model.errors import MalformedError
from model.ids import LeaderEpoch, Offset, Position
from model.record import BatchHeader
from tests.datadriven import Command, run_script
from tests.searchable_log import Sent, encoded

BASE = Offset(50)
WITNESS = Witness(Position(8200), LeaderEpoch(3), 0xE3069283)


class Bench:
    """Runs script commands against one index."""

    def __init__(self) -> None:
        self.index = OffsetIndex(BASE)

    def execute(self, command: Command) -> str:
        """Run one command and say what came of it."""
        number = command.integer
        match command.name:
            case "append":
                said = self._append(command)
            case "floor":
                said = f"position={self.index.floor(Offset(number('offset')))}"
            case "reaching":
                said = f"row={self.index.next_reaching(number('row'), number('time'))}"
            case "below":
                said = f"row={self.index.last_below(number('row'), number('time'))}"
            case "learn":
                bounds = Bounds(number("earliest"), number("latest"))
                said = refused(lambda: self.index.set_bounds(number("row"), bounds))
            case "truncate":
                self.index.truncate(Offset(number("offset")))
                said = f"rows={len(self.index)} end={self.index.end}"
            case "bytes":
                said = self.index.encode().hex(" ", 4)
            case unknown:
                raise AssertionError(unknown)
        return said

    def _append(self, command: Command) -> str:
        number = command.integer
        known = "earliest" in command.arguments
        return refused(
            lambda: self.index.append_block(
                Offset(number("offset")),
                Position(number("position")),
                Position(number("end")),
                bounds=Bounds(number("earliest"), number("latest")) if known else UNKNOWN,
                witness=WITNESS,
            )
        )


def refused(action: Callable[[], None]) -> str:
    """Run an action and say which invariant stopped it."""
    try:
        action()
    except AssertionError as invariant:
        return f"refused: {invariant}"
    return "ok"


def test_script(scripts: Path, rewrite: bool) -> None:
    run_script(scripts / "offset_index/lookup.txt", Bench().execute, rewrite=rewrite)


def indexed(blocks: int) -> OffsetIndex:
    index = OffsetIndex(BASE)
    for number in range(blocks):
        index.append_block(
            Offset(BASE + 3 * number),
            Position(100 * number),
            Position(100 * number + 100),
            bounds=Bounds(number, 2 * number) if number % 3 else UNKNOWN,
            witness=WITNESS,
        )
    return index


@pytest.mark.parametrize("blocks", [0, 1, 5, 200])
def test_what_is_written_is_read(blocks: int) -> None:
    index = indexed(blocks)
    again = OffsetIndex.decode(index.encode(), BASE)
    assert list(again.rows()) == list(index.rows())
    assert (again.end, again.witness, again.bounds) == (index.end, index.witness, index.bounds)
    assert again.next_reaching(0, 7) == index.next_reaching(0, 7)
    assert again.encode() == index.encode()


def test_any_spoilt_byte_means_rebuild() -> None:
    file = indexed(3).encode()
    for at in range(len(file)):
        with pytest.raises(MalformedError):
            OffsetIndex.decode(bytes([*file[:at], file[at] ^ 1, *file[at + 1 :]]), BASE)
        with pytest.raises(MalformedError):
            OffsetIndex.decode(file[:at], BASE)


@pytest.mark.parametrize("filler", [b"\x00", b"\xff"])
def test_unwritten_space_is_no_index(filler: bytes) -> None:
    with pytest.raises(MalformedError, match="magic"):
        OffsetIndex.decode(filler * 4096, BASE)


def test_another_segments_file_is_refused() -> None:
    with pytest.raises(MalformedError, match="segment at 50"):
        OffsetIndex.decode(indexed(3).encode(), Offset(51))


def test_an_index_that_lost_its_witness_is_not_written() -> None:
    index = indexed(3)
    index.truncate(Offset(BASE + 4))
    assert not index.writable
    with pytest.raises(AssertionError, match="INDEX_HAS_WITNESS"):
        index.encode()
    index.truncate(BASE)
    assert index.writable
    assert OffsetIndex.decode(index.encode(), BASE).end == 0


def test_offsets_that_do_not_fit_are_refused() -> None:
    index = OffsetIndex(BASE)
    with pytest.raises(AssertionError, match="INDEX_OFFSET_FITS"):
        index.append_block(Offset(BASE + (1 << 32)), Position(0), Position(1))


def test_a_row_takes_at_most_32_bytes() -> None:
    """Counted in the columns of 65,536 rows: a segment of 256 MiB in blocks of 4 KiB."""
    rows = 1 << 16
    index = OffsetIndex(BASE)
    for number in range(rows):
        index.append_block(
            Offset(BASE + number), Position(4096 * number), Position(4096 * (number + 1))
        )
    columns: list[array[int]] = [index._offsets, index._positions]
    for extremes in (index._bounds._earliest, index._bounds._latest):
        columns += extremes._levels
    assert rows * 24 <= sum(len(column) * column.itemsize for column in columns) <= rows * 32


# The builder


def header(sent: Sent, offset: int) -> BatchHeader:
    return BatchHeader(memoryview(encoded(sent, offset)))


def test_a_block_closes_at_the_interval() -> None:
    batches = [header(Sent(times=[time]), 50 + time) for time in range(5)]
    size = batches[0].size_bytes
    builder = IndexBuilder(OffsetIndex(BASE), 2 * size)
    for batch in batches:
        builder.add(batch)
    assert [row[:3] for row in builder.index.rows()] == [
        (50, 0, 2 * size),
        (52, 2 * size, 4 * size),
    ]
    assert (builder.index.end, builder.end) == (4 * size, 5 * size)
    assert builder.index.floor(Offset(54)) == 2 * size  # the open block has no row yet
    assert builder.index.witness == Witness.of(batches[3], Position(3 * size))
    builder.close()
    assert builder.index.floor(Offset(54)) == 4 * size
    builder.close()
    assert len(builder.index) == 3


def test_a_block_is_known_only_if_all_of_it_is() -> None:
    builder = IndexBuilder(OffsetIndex(BASE), 1 << 20)
    builder.add(header(Sent(times=[5]), 50), Bounds(5, 5))
    builder.add(header(Sent(times=[9]), 51), Bounds(9, 9))
    builder.close()
    builder.add(header(Sent(times=[5]), 52), Bounds(5, 5))
    builder.add(header(Sent(times=[9], claimed_max=9), 53))
    builder.close()
    builder.add(header(Sent(times=[7], append_time=70, log_append_time=True), 54))
    builder.add(header(Sent(times=[99], control=True), 55))
    builder.close()
    bounds = [row.bounds for row in builder.index.rows()]
    assert bounds == [Bounds(5, 9), UNKNOWN, Bounds(70, 70)]


def test_truncating_the_open_block_keeps_the_rows() -> None:
    batches = [header(Sent(times=[time]), 50 + time) for time in range(5)]
    size = batches[0].size_bytes
    builder = IndexBuilder(OffsetIndex(BASE), 2 * size)
    for batch in batches:
        builder.add(batch)
    builder.truncate(Offset(54))
    assert (len(builder.index), builder.end, builder.index.generation) == (2, 4 * size, 0)
    builder.add(batches[4])
    builder.truncate(Offset(53))
    assert (len(builder.index), builder.end, builder.index.generation) == (1, 2 * size, 1)


# Bounds against a scan: enough rows for every level of the summaries

VALUES = st.lists(st.integers(-3, 3), max_size=300)


@given(VALUES, st.data())
def test_the_next_row_equals_a_scan(values: list[int], data: st.DataObject) -> None:
    highs, lows = Extremes(max, ge), Extremes(min, lt)
    highs.extend(array("q", values))
    for value in values:
        lows.append(value)
    for _ in range(data.draw(st.integers(0, 3)) if values else 0):
        row = data.draw(st.integers(0, len(values) - 1))
        values[row] = data.draw(st.sampled_from([INT64_MIN, -9, 0, 9, INT64_MAX]))
        highs.replace(row, values[row])
        lows.replace(row, values[row])
        assert_equals_a_scan(values, highs, lows, data=data)
    keep = data.draw(st.integers(0, len(values)))
    del values[keep:]
    highs.truncate(keep)
    lows.truncate(keep)
    assert_equals_a_scan(values, highs, lows, data=data)


def assert_equals_a_scan(
    values: list[int], highs: Extremes, lows: Extremes, *, data: st.DataObject
) -> None:
    row = data.draw(st.integers(0, 300))
    time = data.draw(st.sampled_from([INT64_MIN, -8, -3, 0, 3, 9, INT64_MAX]))
    after = [at for at, value in enumerate(values) if at >= row and value >= time]
    before = [at for at, value in enumerate(values) if at <= row and value < time]
    assert highs.next(row, time) == (after[0] if after else None)
    if row < len(values):
        assert lows.last(row, time) == (before[-1] if before else None)
    assert highs.whole(7) == max(values, default=7)
    assert lows.whole(7) == min(values, default=7)


def test_what_is_learned_reaches_every_level() -> None:
    """The only row that mattered stops mattering: no search may be led to it again."""
    highs = Extremes(max, ge)
    highs.extend(array("q", [0] * 10_000))
    highs.replace(5_000, 9)
    assert highs.next(0, 9) == 5_000
    highs.replace(5_000, 1)
    assert highs.next(0, 9) is None
    assert highs.next(0, 1) == 5_000
    assert highs.whole(0) == 1


def test_what_is_cut_off_is_forgotten_on_every_level() -> None:
    """The last row that is left does not stand in the first block."""
    highs = Extremes(max, ge)
    highs.extend(array("q", [0] * 100 + [9]))
    highs.truncate(100)
    assert highs.whole(7) == 0
    assert highs.next(0, 9) is None


@pytest.mark.parametrize("wanted", [0, 63, 64, 4095, 4096, 70_000, 262_143])
def test_the_next_row_is_found_in_few_comparisons(wanted: int) -> None:
    """Rows of 1 GiB in blocks of 4 KiB; one matters. Comparisons are counted, not time."""
    compared = 0

    def counted(value: int, time: int) -> bool:
        nonlocal compared
        compared += 1
        return value >= time

    extremes = Extremes(max, counted)
    values = array("q", [0]) * 262_144
    values[wanted] = 1
    extremes.extend(values)
    assert extremes.next(0, 1) == wanted
    assert extremes.last(262_143, 1) == wanted
    assert compared <= 2 * 5 * 64


def test_bounds_say_what_is_known() -> None:
    assert not UNKNOWN.known
    assert NO_EVENT_TIME.known
    assert NO_EVENT_TIME.empty
    assert Bounds(3, 3).known
    assert not Bounds(3, 3).empty
    assert NO_EVENT_TIME.joined(Bounds(3, 5)) == Bounds(3, 5)
    assert UNKNOWN.joined(Bounds(3, 5)) == UNKNOWN
    assert OffsetIndex(BASE).bounds == NO_EVENT_TIME
