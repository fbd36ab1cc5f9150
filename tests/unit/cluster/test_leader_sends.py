"""What a leader has its followers sent: batches before any disk has them, marks, log starts."""

import pytest

from cluster.peer.replica import Batches
from cluster.replication.events import Appended, Persisted, Ready, StreamLost, TickEnded, Trimmed
from model.ids import LeaderEpoch, Offset
from tests.replica import THREE, TWO, open_, progress
from tests.unit.cluster.test_leader import CLOCK, EARLY, judged, leader, taken


def test_followers_are_sent_what_no_disk_has_yet() -> None:
    one = leader(12, 10)
    for node in (TWO, THREE):
        one.step(EARLY, taken(node, 12))
    one.step(EARLY, Appended(Offset(15)))
    assert one.step(EARLY, TickEnded()) == [Ready(TWO), Ready(THREE)]
    assert one.step(EARLY, TickEnded()) == []
    assert one.next_to_send(TWO) == 12
    more = one.step(EARLY, taken(TWO, 14))
    epoch, mark, start = LeaderEpoch(0), Offset(0), Offset(0)
    assert more == [Batches(TWO, epoch, Offset(12), Offset(14), mark, start, CLOCK), Ready(TWO)]
    rest = one.step(EARLY, taken(TWO, 15))
    assert rest == [Batches(TWO, epoch, Offset(14), Offset(15), mark, start, CLOCK)]


def test_a_mark_alone_goes_with_what_comes_next_or_when_followers_are_judged() -> None:
    """Nobody's ack waits for it, and each time it would cost a frame of each follower."""
    one = leader()
    for node in (TWO, THREE):
        one.step(EARLY, taken(node, 10))
        one.step(EARLY, progress(node, 10))
    assert one.high_watermark == 10
    assert one.step(EARLY, TickEnded()) == []
    start, epoch = Offset(0), LeaderEpoch(0)
    one.step(EARLY, Appended(Offset(11)))
    assert one.step(EARLY, TickEnded()) == [Ready(TWO), Ready(THREE)]
    batch = Batches(TWO, epoch, Offset(10), Offset(11), Offset(10), start, CLOCK)
    assert one.step(EARLY, taken(TWO, 11)) == [batch]
    one.step(EARLY, taken(THREE, 11))
    one.step(EARLY, progress(TWO, 11))
    one.step(EARLY, progress(THREE, 11))
    one.step(EARLY, Persisted(Offset(11), Offset(11), Offset(11)))
    assert one.high_watermark == 11
    assert one.step(EARLY, TickEnded()) == []
    due = one.step(EARLY, judged(TWO, THREE, at=EARLY))
    assert [effect for effect in due if isinstance(effect, Ready)] == [Ready(TWO), Ready(THREE)]
    mark = Batches(TWO, epoch, Offset(11), Offset(11), Offset(11), start, CLOCK)
    assert one.step(EARLY, taken(TWO, 11)) == [mark]
    assert Ready(TWO) not in one.step(EARLY, judged(TWO, THREE, at=EARLY))


def test_marks_are_told_once_they_move_without_a_batch() -> None:
    one = leader()
    for node in (TWO, THREE):
        one.step(EARLY, taken(node, 10))
    assert one.step(EARLY, TickEnded()) == []
    one.step(EARLY, progress(TWO, 10))
    one.step(EARLY, Trimmed(Offset(4)))
    assert one.step(EARLY, TickEnded()) == [Ready(TWO), Ready(THREE)]
    assert one.step(EARLY, taken(TWO, 10)) == [
        Batches(TWO, LeaderEpoch(0), Offset(10), Offset(10), Offset(10), Offset(4), CLOCK)
    ]


@pytest.mark.parametrize("end", [9, 11])
def test_what_was_read_lies_between_what_was_sent_and_the_end(end: int) -> None:
    with pytest.raises(AssertionError, match="SENT_IS_HELD"):
        leader().step(EARLY, taken(TWO, end))


def test_a_stream_that_ends_is_sent_nothing_until_it_opens_again() -> None:
    one = leader()
    one.step(EARLY, StreamLost(TWO))
    assert one.step(EARLY, taken(TWO, 10)) == []
    one.step(EARLY, taken(THREE, 10))
    assert one.step(EARLY, TickEnded()) == []
    assert one.step(EARLY, progress(TWO, 10)) == []
    assert one.step(EARLY, open_(TWO, 8)) == [Ready(TWO)]
    assert one.next_to_send(TWO) == 8
