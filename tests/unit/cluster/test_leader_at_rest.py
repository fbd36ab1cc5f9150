"""A leader whose followers hold and know all is not looked at, and they are not behind by that."""

from cluster.peer.replica import Leave
from cluster.replication.events import Appended, IsrDecided, Judged, StreamLost, Trimmed
from cluster.replication.leader import PartitionLeader
from cluster.replication.leader_events import Event
from model.ids import LeaderEpoch, MonotonicMs, Offset
from tests.replica import ONE, THREE, TWO, open_, progress
from tests.unit.cluster.test_leader import EARLY, LATE, judged, leader, proposed, taken


def even() -> PartitionLeader:
    """Return a leader whose followers hold, and know, all ten records."""
    one = leader(isr=(1, 2, 3))
    for node in (TWO, THREE):
        one.step(EARLY, taken(node, 10))
        one.step(EARLY, progress(node, 10))
    for node in (TWO, THREE):
        one.step(EARLY, taken(node, 10))
    return one


def test_a_leader_is_at_rest_while_everybody_holds_and_knows_all() -> None:
    assert not leader(isr=(1, 2, 3)).at_rest
    assert even().at_rest
    disturbed: dict[str, Event] = {
        "an append": Appended(Offset(11)),
        "a lost stream": StreamLost(TWO),
        "a follower that goes": Leave(THREE, LeaderEpoch(0)),
        "one that opens anew": open_(THREE, 10),
        "a log start to tell": Trimmed(Offset(3)),
        "a smaller ISR": IsrDecided(frozenset({ONE, TWO}), 1),
        "an answer that is wanted": IsrDecided(frozenset({ONE, TWO, THREE}), 1, answer_wanted=True),
        "a session that is over": Judged({TWO: LATE, THREE: LATE}, session_held=False),
    }
    for what, event in disturbed.items():
        one = even()
        one.step(LATE, event)
        assert not one.at_rest, what


def test_a_rest_counts_for_nobody_as_time_behind() -> None:
    """Nobody judges it meanwhile; what ends it does not find its followers an hour behind."""
    later, soon, too_late = MonotonicMs(3_600_000), MonotonicMs(3_602_500), MonotonicMs(3_602_501)
    for ending in (Appended(Offset(11)), StreamLost(TWO), Leave(TWO, LeaderEpoch(0))):
        one = even()
        one.step(later, ending)
        one.step(later, taken(THREE, one.ends.log))
        one.step(later, progress(THREE, one.ends.log))
        assert proposed(one.step(soon, judged(TWO, THREE, at=soon))) == [], ending
        assert proposed(one.step(too_late, judged(TWO, THREE, at=too_late))) == [THREE], ending
