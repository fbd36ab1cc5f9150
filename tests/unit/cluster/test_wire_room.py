"""Frames that are longer than a quiet connection's buffer have room first (P53, P57)."""

import pytest

from api.broker.read_room import PACE_MS, ReadRoom
from model.ids import MonotonicMs
from tests.unit.cluster.test_wire import BUDGET_BYTES, LIMITS, Peer, framed

SMALL = LIMITS.read_buffer_bytes
LONG = framed(b"x" * 1000)
NEEDED = 1000


def test_a_frame_has_room_for_all_of_it_before_the_buffer_grows() -> None:
    peer = Peer()
    peer.transport.feed(LONG[: SMALL - 1])
    assert peer.room.taken_bytes == 0
    peer.transport.feed(LONG[SMALL - 1 : SMALL])
    assert peer.room.taken_bytes == NEEDED
    assert peer.echo.capacity_bytes == 4 * SMALL, "it still grows with what came"
    assert peer.memory.taken_bytes == 0, "halves hold up nobody whose request is whole"


def test_who_has_no_room_reads_no_further_until_it_is_his_turn() -> None:
    room = ReadRoom(NEEDED)
    first, second, third = (Peer(room=room) for _ in range(3))
    first.transport.feed(LONG[:500])
    fed = [peer.transport.feed(LONG) for peer in (second, third)]
    assert fed == [SMALL, SMALL]
    assert [peer.echo.waits_for_us for peer in (first, second, third)] == [False, True, True]
    third.transport.feed(b"")
    first.transport.feed(LONG[500:])
    assert [len(peer.echo.frames) for peer in (first, second, third)] == [1, 0, 0]
    assert second.transport.reading and not third.transport.reading
    second.transport.feed(LONG[SMALL:])
    assert third.transport.reading
    third.transport.feed(LONG[SMALL:])
    assert [len(peer.echo.frames) for peer in (first, second, third)] == [1, 1, 1]
    assert room.taken_bytes == 0 and not room.contended


def test_small_frames_wait_for_nobody() -> None:
    room = ReadRoom(NEEDED)
    half, small = Peer(room=room), Peer(room=room)
    half.transport.feed(LONG[:500])
    small.transport.feed(framed(b"x" * (SMALL - 4)) * 3)
    assert len(small.echo.frames) == 3


def test_one_that_sends_without_a_pause_lets_others_have_their_turn() -> None:
    data = framed(b"x" * 200)
    room = ReadRoom(200)
    busy, other = Peer(room=room), Peer(room=room)
    assert busy.transport.feed(data * 10 + data[:100]) == 10 * len(data) + 100
    assert busy.echo.capacity_bytes > len(data), "it keeps its buffer while nobody waits"
    assert other.transport.feed(data) == SMALL
    fed = 100 + busy.transport.feed((data * 3)[100:])
    assert len(busy.echo.frames) == 11
    assert other.transport.reading and not busy.transport.reading
    other.transport.feed(data[SMALL:])
    assert len(other.echo.frames) == 1
    busy.transport.feed((data * 3)[fed:])
    assert len(busy.echo.frames) == 13


def test_a_buffer_that_is_kept_is_given_to_whoever_needs_it() -> None:
    room = ReadRoom(NEEDED)
    keeping, other = Peer(room=room), Peer(room=room)
    data = framed(b"y" * 200)
    keeping.transport.feed(data + data[:50])
    assert keeping.echo.capacity_bytes > len(data)
    assert other.transport.feed(LONG) == len(LONG)
    assert keeping.echo.capacity_bytes == SMALL
    keeping.transport.feed(data[50:])
    assert keeping.echo.frames == [data[4:]] * 2


def test_behind_a_long_frame_no_more_is_read_than_a_small_buffer_holds() -> None:
    peer = Peer()
    short = framed(b"z" * 30)
    peer.transport.feed(framed(b"y" * 200))
    peer.echo.hold()
    peer.echo.released = False
    assert peer.transport.feed(short * 10) == len(short) + SMALL
    assert not peer.transport.reading
    peer.echo.release()
    assert peer.transport.reading


def test_a_frame_that_is_longer_than_the_kept_buffer_waits_without_it() -> None:
    room = ReadRoom(1000)
    keeping, half = Peer(room=room), Peer(room=room)
    keeping.transport.feed(framed(b"y" * 200))
    half.transport.feed(framed(b"h" * 800)[:500])
    assert room.taken_bytes == 200 + 800
    assert keeping.transport.feed(LONG) == SMALL
    assert room.taken_bytes == 800, "nobody has a part while he waits for the rest"
    half.transport.lose()
    keeping.transport.feed(LONG[SMALL:])
    assert len(keeping.echo.frames) == 2


def test_a_frame_that_has_room_is_read_to_its_end_while_the_node_is_congested() -> None:
    peer = Peer()
    peer.transport.feed(LONG[:500])
    peer.memory.take(BUDGET_BYTES)
    assert 500 + peer.transport.feed(LONG[500:]) == len(LONG)
    assert peer.echo.frames == [] and peer.echo.is_whole and peer.echo.waits_for_us
    peer.memory.give_back(BUDGET_BYTES)
    assert len(peer.echo.frames) == 1


def test_who_is_cut_off_for_his_pace_makes_room() -> None:
    room = ReadRoom(NEEDED)
    still, waiting = Peer(room=room), Peer(room=room)
    still.transport.feed(LONG[:-1])
    waiting.transport.feed(LONG)
    for now in (0, PACE_MS):
        assert not still.transport.aborted
        room.look(MonotonicMs(now))
    assert still.transport.aborted and not waiting.transport.aborted
    still.transport.lose()
    assert waiting.transport.reading


def test_a_buffer_with_more_in_it_than_a_small_one_holds_is_not_given_up() -> None:
    peer = Peer()
    peer.transport.feed(LONG[:500])
    with pytest.raises(AssertionError, match="READ_AHEAD_SMALL"):
        peer.echo._go_small()


def test_a_frame_under_way_behind_a_short_one_keeps_its_room_when_others_come() -> None:
    room = ReadRoom(NEEDED)
    peer, other = Peer(room=room), Peer(room=room)
    kept, short, middle = framed(b"k" * 190), framed(b"s" * 20), framed(b"m" * 120)
    peer.transport.feed(kept)
    part = SMALL + 20
    peer.transport.feed(short + middle[: SMALL - 4])
    peer.transport.feed(middle[SMALL - 4 : part])
    assert peer.echo.buffered_bytes == part > SMALL
    assert other.transport.feed(LONG) == SMALL
    for at in range(part, len(middle), 10):
        peer.transport.feed(middle[at : at + 10])
    assert peer.echo.frames == [kept[4:], short[4:], middle[4:]]
    assert other.transport.reading


@pytest.mark.parametrize("behind", [SMALL + 10, 1])
def test_who_ends_keeps_no_room_and_is_not_cut_off_before_he_has_his_answers(behind: int) -> None:
    room = ReadRoom(NEEDED)
    ending, other = Peer(room=room), Peer(room=room)
    ending.transport.feed(LONG)
    ending.transport.feed(LONG[:behind])
    other.transport.feed(LONG)
    ending.echo.end()
    assert other.transport.reading
    for now in range(0, 3 * PACE_MS, 1_000):
        room.look(MonotonicMs(now))
    assert not ending.transport.aborted


def test_a_frame_that_is_held_because_its_peer_reads_nothing_keeps_no_room_from_others() -> None:
    room = ReadRoom(NEEDED)
    deaf, other = Peer(room=room), Peer(room=room)
    deaf.transport.feed(LONG[:500])
    deaf.echo.pause_writing()
    deaf.transport.feed(LONG[500:])
    other.transport.feed(LONG)
    assert not deaf.echo.is_whole
    for now in range(0, PACE_MS + 1_000, 1_000):
        room.look(MonotonicMs(now))
    assert deaf.transport.aborted and not other.transport.aborted


def test_who_goes_or_ends_while_he_waits_is_not_kept_in_the_row() -> None:
    room = ReadRoom(NEEDED)
    half, gone, ended, last = (Peer(room=room) for _ in range(4))
    half.transport.feed(LONG[:500])
    for peer in (gone, ended, last):
        peer.transport.feed(LONG)
    gone.transport.lose()
    ended.echo.end()
    assert room.waiting == 1
    half.transport.lose()
    assert last.transport.reading
