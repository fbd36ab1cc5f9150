"""Who waits for a partition, and who is told when."""

import pytest

from cluster.replication.waiting import Waiting
from model.ids import MonotonicMs, Offset


def parked(*acks: tuple[int, int, str]) -> Waiting[str, str]:
    waiting = Waiting[str, str]()
    for end, deadline, token in acks:
        waiting.park(Offset(end), MonotonicMs(deadline), token)
    return waiting


def test_acks_leave_in_offset_order_once_their_records_are_committed() -> None:
    waiting = parked((3, 99, "a"), (3, 99, "b"), (5, 99, "c"), (9, 99, "d"))
    assert waiting.release(Offset(2)) == []
    assert waiting.release(Offset(5)) == ["a", "b", "c"]
    assert waiting.release(Offset(5)) == []
    assert len(waiting) == 1


def test_a_deadline_takes_only_those_that_are_due() -> None:
    waiting = parked((3, 50, "a"), (4, 20, "b"), (5, 20, "c"), (6, 80, "d"))
    assert waiting.next_deadline() == 20
    assert waiting.expire(MonotonicMs(19)) == []
    assert waiting.expire(MonotonicMs(20)) == ["b", "c"]
    assert waiting.next_deadline() == 50
    assert waiting.expire(MonotonicMs(79)) == ["a"]
    assert waiting.release(Offset(6)) == ["d"]
    assert waiting.next_deadline() is None


def test_what_was_released_does_not_expire() -> None:
    waiting = parked((3, 20, "a"), (4, 30, "b"))
    assert waiting.release(Offset(3)) == ["a"]
    assert waiting.expire(MonotonicMs(25)) == []
    assert waiting.expire(MonotonicMs(30)) == ["b"]


def test_an_ack_parked_out_of_order_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="WAITING_IN_OFFSET_ORDER"):
        parked((4, 9, "a"), (3, 9, "b"))


def test_long_polls_wake_when_their_offset_is_below_the_mark() -> None:
    waiting = parked()
    waiting.park_read(Offset(4), "at the end")
    waiting.park_read(Offset(6), "ahead")
    waiting.park_read(Offset(4), "gone")
    waiting.cancel_read("gone")
    waiting.cancel_read("gone")
    assert waiting.release_reads(Offset(4)) == []
    assert waiting.release_reads(Offset(5)) == ["at the end"]
    assert waiting.release_reads(Offset(7)) == ["ahead"]
    assert len(waiting) == 0


def test_a_long_poll_waits_once() -> None:
    waiting = parked()
    waiting.park_read(Offset(4), "r")
    with pytest.raises(AssertionError, match="WAITING_READ_ONCE"):
        waiting.park_read(Offset(4), "r")
    assert waiting.release_reads(Offset(5)) == ["r"]
    waiting.park_read(Offset(5), "r")


def test_when_all_fails_everybody_is_told_once() -> None:
    waiting = parked((3, 20, "a"), (4, 30, "b"))
    waiting.park_read(Offset(4), "r")
    assert waiting.fail_all() == (["a", "b"], ["r"])
    assert waiting.fail_all() == ([], [])
    assert waiting.next_deadline() is None
