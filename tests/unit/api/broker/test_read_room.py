"""Room for requests that are being read: turns, and who is cut off (P53, P57)."""

import pytest

from api.broker.read_room import PACE_BYTES, PACE_MS, ReadRoom, read_room_bytes
from model.ids import MonotonicMs

MIB = 1 << 20


class Reader:
    """A connection as the room sees it."""

    def __init__(self, room: ReadRoom, size: int, *, idle: bool = False) -> None:
        self.room, self.size, self.idle = room, size, idle
        self.moved_bytes = 0
        self.is_whole = False
        self.cut_off = False
        self.has_room = room.reserve(self, size)

    def granted(self, size_bytes: int) -> None:
        assert size_bytes == self.size and not self.has_room
        self.has_room = True

    def give_way(self) -> None:
        if self.idle:
            self.done()

    def too_slow(self) -> None:
        self.cut_off = True
        self.done()

    def done(self) -> None:
        self.has_room = False
        self.room.vacate(self, self.size)


def look(room: ReadRoom, ms: int) -> None:
    room.look(MonotonicMs(ms))


def test_turns_are_given_in_their_order_and_nothing_small_overtakes() -> None:
    room = ReadRoom(100)
    first, second, large, small = (Reader(room, size) for size in (50, 40, 90, 5))
    assert [one.has_room for one in (first, second, large, small)] == [True, True, False, False]
    assert room.contended and room.waiting == 2
    first.done()
    assert not large.has_room and not small.has_room, "there is room for the small one only"
    second.done()
    assert large.has_room and small.has_room
    assert room.taken_bytes == 95 and not room.contended


def test_what_is_larger_than_all_of_it_is_read_alone() -> None:
    room = ReadRoom(100)
    first = Reader(room, 10)
    large, last = Reader(room, 1_000), Reader(room, 10)
    assert not large.has_room
    first.done()
    assert large.has_room and not last.has_room
    large.done()
    assert last.has_room


def test_who_leaves_the_row_lets_the_next_have_its_turn() -> None:
    room = ReadRoom(100)
    Reader(room, 60)
    large, small = Reader(room, 50), Reader(room, 40)
    room.leave(large)
    assert small.has_room and not large.has_room


def test_room_that_is_kept_for_nothing_is_asked_for_and_no_more_than_is_needed() -> None:
    room = ReadRoom(100)
    busy, one, other = Reader(room, 40), Reader(room, 30, idle=True), Reader(room, 30, idle=True)
    assert Reader(room, 30).has_room
    assert [busy.has_room, one.has_room, other.has_room] == [True, False, True]


def test_nobody_is_cut_off_because_the_node_itself_stood_still() -> None:
    room = ReadRoom(100)
    first, _ = Reader(room, 100), Reader(room, 100)
    for now in (1_000, 1_000 + PACE_MS + 1, 1_000 + 2 * PACE_MS):
        look(room, now)
    assert not first.cut_off, "there may be much of it that we have not read"
    look(room, 1_001 + 2 * PACE_MS)
    assert first.cut_off


def test_who_stands_still_is_cut_off_only_while_others_wait() -> None:
    room = ReadRoom(100)
    still = Reader(room, 80)
    for now in range(0, 100_000, 1_000):
        look(room, now)
    assert not still.cut_off, "nobody waits"
    waiting = Reader(room, 80)
    look(room, 100_000)
    look(room, 100_000 + PACE_MS - 1)
    assert [still.cut_off, waiting.has_room] == [False, False]
    look(room, 100_000 + PACE_MS)
    assert still.cut_off and waiting.has_room
    look(room, 300_000)
    assert not waiting.cut_off


def test_a_time_without_anybody_waiting_does_not_count() -> None:
    room = ReadRoom(100)
    still = Reader(room, 80)
    waiting = Reader(room, 80)
    look(room, 0)
    room.leave(waiting)
    look(room, PACE_MS)
    Reader(room, 80)
    look(room, PACE_MS + 1)
    assert not still.cut_off


@pytest.mark.parametrize(("step", "is_slow"), [(PACE_BYTES, False), (PACE_BYTES - 1, True)])
def test_the_pace_that_is_asked_for(step: int, *, is_slow: bool) -> None:
    room = ReadRoom(MIB)
    sending, _ = Reader(room, MIB), Reader(room, MIB)
    for now in range(0, 10 * PACE_MS, PACE_MS):
        look(room, now)
        if not sending.cut_off:
            sending.moved_bytes += step
    assert sending.cut_off is is_slow


def test_whose_request_is_here_waits_for_us_and_stays() -> None:
    room = ReadRoom(100)
    held, _ = Reader(room, 80), Reader(room, 80)
    held.is_whole = True
    for now in range(0, 10 * PACE_MS, 500):
        look(room, now)
    assert not held.cut_off


def test_nobody_has_room_twice_or_gives_back_what_he_has_not() -> None:
    room = ReadRoom(100)
    reader = Reader(room, 10)
    with pytest.raises(AssertionError, match="ROOM_ONCE"):
        room.reserve(reader, 10)
    with pytest.raises(AssertionError, match="ROOM_ONCE"):
        room.vacate(reader, 11)


@pytest.mark.parametrize(
    ("budget", "request_max", "room"),
    [
        (1 << 30, 16 * MIB, 256 * MIB),
        (64 * MIB, 16 * MIB, 16 * MIB),
        (40 * MIB, 16 * MIB, 16 * MIB),  # a quarter would not hold one
        (31 * MIB, 16 * MIB, 31 * MIB // 4),  # half would go: the longest are read alone
        (MIB, 16 * MIB, MIB // 4),
    ],
)
def test_a_quarter_is_for_reading_and_the_longest_request_fits(
    budget: int, request_max: int, room: int
) -> None:
    assert read_room_bytes(budget, request_max) == room
