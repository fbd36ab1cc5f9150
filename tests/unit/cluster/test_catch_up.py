"""Whose turn it is on a stream, and how much room its node has."""

import pytest

from cluster.peer.replica import Credit
from cluster.replication.catch_up import Grant, Intake, Sender, Source
from model.ids import Offset

TAIL, FILES = Source.TAIL, Source.FILES


def sender(*ready: tuple[str, Source]) -> Sender[str]:
    one: Sender[str] = Sender(room_bytes=300, frame_bytes_max=100)
    for partition, source in ready:
        one.ready(partition, source)
    return one


def turn(one: Sender[str], size_bytes: int) -> str | None:
    """Let whose turn it is send so many bytes."""
    grant = one.grant()
    if grant is None:
        return None
    one.done(grant, size_bytes)
    return grant.partition


def test_each_in_turn_and_no_frame_too_large() -> None:
    one = sender(("a", TAIL), ("b", TAIL), ("a", TAIL))
    assert one.grant() == Grant("a", TAIL, 100)
    assert [turn(one, 10), turn(one, 10)] == ["b", None]


def test_without_room_nothing_is_read() -> None:
    one = sender(("a", TAIL))
    assert turn(one, 280) == "a"
    one.ready("a", TAIL)
    assert one.grant() == Grant("a", TAIL, 20)
    one.ready("b", TAIL)
    assert turn(one, 50) == "b"  # one batch, larger than the room
    one.ready("b", TAIL)
    assert (one.room_bytes, one.grant()) == (-30, None)
    one.credited(Credit(60))
    assert one.grant() == Grant("b", TAIL, 30)


def test_the_tail_goes_first_but_leaves_room_for_files() -> None:
    one = sender(("far", FILES), ("a", TAIL))
    assert turn(one, 225) == "a"
    one.ready("a", TAIL)
    assert turn(one, 60) == "far"
    one.ready("far", FILES)
    assert turn(one, 15) == "far"
    assert one.grant() is None
    one.ready("far", FILES)
    one.credited(Credit(230))
    assert one.grant() == Grant("a", TAIL, 100)


def test_what_files_may_not_use_the_tail_may() -> None:
    one = sender(("far", FILES))
    assert turn(one, 75) == "far"
    for partition, source in (("a", TAIL), ("far", FILES)):
        one.ready(partition, source)
    assert turn(one, 200) == "a"
    one.ready("a", TAIL)
    assert one.grant() == Grant("a", TAIL, 25)


def test_one_read_from_files_at_a_time() -> None:
    one = sender(("far", FILES), ("further", FILES))
    grant = one.grant()
    assert grant == Grant("far", FILES, 75)
    assert one.grant() is None
    one.ready("a", TAIL)
    assert turn(one, 10) == "a"
    one.done(grant, 60)
    assert one.grant() == Grant("further", FILES, 15)


def test_of_files_a_part_of_the_room_is_on_its_way() -> None:
    """What is sent from the tail meanwhile has no more than that before it."""
    one = sender(("a", TAIL), ("far", FILES))
    assert turn(one, 30) == "a"
    assert turn(one, 75) == "far"
    for partition, source in (("a", TAIL), ("far", FILES)):
        one.ready(partition, source)
    assert turn(one, 20) == "a"
    assert one.grant() is None
    one.credited(Credit(30))
    assert one.grant() is None, "room for what was sent first comes back first"
    one.credited(Credit(25))
    assert one.grant() == Grant("far", FILES, 25)


def test_a_batch_that_is_longer_than_the_part_is_sent_and_worked_off() -> None:
    one = sender(("far", FILES))
    assert turn(one, 200) == "far"
    one.ready("far", FILES)
    one.credited(Credit(120))
    assert one.grant() is None
    one.credited(Credit(10))
    assert one.grant() == Grant("far", FILES, 5)


def test_a_grant_ends_once() -> None:
    one = sender(("far", FILES))
    grant = one.grant()
    assert grant is not None
    one.done(grant, 10)
    with pytest.raises(AssertionError, match="GRANT_ENDS_ONCE"):
        one.done(grant, 10)


def test_who_is_gone_has_no_turn() -> None:
    one = sender(("a", TAIL), ("b", TAIL), ("far", FILES))
    for partition in ("a", "far", "nobody"):
        one.forget(partition)
    assert [turn(one, 1), turn(one, 1)] == ["b", None]
    one.ready("a", FILES)
    assert turn(one, 1) == "a"


@pytest.mark.parametrize("size", [0, -5, 101])
def test_more_room_than_was_taken_is_refused(size: int) -> None:
    one = sender(("a", TAIL))
    turn(one, 100)
    assert one.may_be_credited(Credit(100))
    assert not one.may_be_credited(Credit(size))
    if size > 100:
        with pytest.raises(AssertionError, match="CREDIT_WITHIN_ROOM"):
            one.credited(Credit(size))


def test_room_is_given_back_for_what_is_written() -> None:
    intake: Intake[str] = Intake(room_bytes=1_600)
    intake.appended("a", Offset(5), 60)
    intake.appended("a", Offset(9), 30)
    intake.appended("b", Offset(7), 200)
    assert intake.give_back() is None
    intake.settled("a", Offset(8))
    intake.settled("nobody", Offset(8))
    assert intake.give_back() == Credit(60)
    intake.settled("a", Offset(9))
    assert intake.give_back() is None  # too little, and b holds more
    intake.refused(25)
    assert intake.give_back() == Credit(55)
    intake.dropped("b")
    assert intake.give_back() == Credit(200)


def test_the_last_of_it_is_given_back_however_little() -> None:
    intake: Intake[str] = Intake(room_bytes=400)
    intake.appended("a", Offset(5), 3)
    intake.settled("a", Offset(5))
    assert intake.give_back() == Credit(3)
    assert intake.give_back() is None
