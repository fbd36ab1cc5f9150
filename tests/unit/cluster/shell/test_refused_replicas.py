"""Followers that are refused ask again: soon at first, then less and less often."""

from cluster.peer.table import FrameType
from cluster.shell.refused_replicas import LONGEST_PAUSE_MS, SECOND_PAUSE_MS, RefusedReplicas
from logstore.replacement import refresh
from model.ids import LeaderEpoch, MonotonicMs, Offset, PartitionId
from tests.replica_cluster import ONE, THREE, TWO, Cluster
from tests.replica_process import PLACE, TOPIC
from tests.unit.cluster.shell.test_damaged_times import LOST, SPOILT, with_a_lost_row
from tests.unit.logstore.test_scrub import RECORDS

ONE_MORE = PartitionId(TOPIC, 1)
EPOCH, NEXT = LeaderEpoch(4), LeaderEpoch(5)


def ms(value: int) -> MonotonicMs:
    return MonotonicMs(value)


def pauses(refused: RefusedReplicas, *, now: int, times: int) -> list[int]:
    """Refuse a replica again as soon as it asks; return how long it waited each time."""
    found = []
    for _ in range(times):
        refused.refused(PLACE, EPOCH, ms(now))
        began = now
        while not refused.due(ms(now)):
            now += 1
        found.append(now - began)
    return found


def opens(world: Cluster, pause_ms: int) -> int:
    """Let time pass; return how often node 2 has asked node 1."""
    del world.seen[:]
    world.pass_time(pause_ms)
    return sum(
        frame.type is FrameType.OPEN for one, to, frame in world.seen if (one, to) == (TWO, ONE)
    )


def test_the_pause_doubles_up_to_its_bound() -> None:
    assert pauses(RefusedReplicas(), now=7, times=9) == [
        0, SECOND_PAUSE_MS, 200, 400, 800, 1_600, LONGEST_PAUSE_MS, LONGEST_PAUSE_MS,
        LONGEST_PAUSE_MS,
    ]  # fmt: skip


def test_each_asks_once_and_a_second_refusal_in_a_pause_makes_it_no_longer() -> None:
    refused = RefusedReplicas()
    assert pauses(refused, now=0, times=3)[-1] == 200
    refused.refused(ONE_MORE, EPOCH, ms(1_000))
    refused.refused(PLACE, EPOCH, ms(1_000))
    refused.refused(PLACE, EPOCH, ms(1_100))
    assert refused.waits(PLACE, EPOCH) and not refused.waits(PLACE, NEXT)
    assert refused.due(ms(1_000)) == {ONE_MORE: EPOCH}
    assert refused.due(ms(1_399)) == {}
    assert refused.due(ms(1_400)) == {PLACE: EPOCH}
    assert refused.due(ms(9_000)) == {}
    assert not refused.waits(PLACE, EPOCH)


def test_it_begins_anew_with_another_epoch_and_with_what_is_sent() -> None:
    refused = RefusedReplicas()
    assert pauses(refused, now=0, times=6)[-1] == 1_600
    refused.refused(PLACE, NEXT, ms(5_000))
    assert refused.due(ms(5_000)) == {PLACE: NEXT}
    assert pauses(refused, now=6_000, times=6)[-1] == 1_600
    refused.forget(PLACE)
    assert pauses(refused, now=9_000, times=2) == [0, SECOND_PAUSE_MS]


def test_a_leader_with_lasting_damage_is_asked_less_and_less_often() -> None:
    world = with_a_lost_row(ONE, TWO, THREE)
    assert opens(world, 20_000) <= 7
    assert world.isr == {ONE, THREE}
    assert world.nodes[TWO].log.log_end == LOST


def test_what_is_mended_meanwhile_is_sent_within_the_longest_pause() -> None:
    world = with_a_lost_row(ONE, TWO, THREE)
    world.pass_time(10_000)
    one = world.nodes[ONE]
    segment = one.log.segment_list[0]
    world.disks[ONE].flip_bit(segment.times_name, SPOILT, 1)  # as it was
    refresh(segment)
    world.pass_time(LONGEST_PAUSE_MS + 200)
    assert world.nodes[TWO].stored() == one.stored()
    assert world.isr == {ONE, TWO, THREE}
    assert opens(world, 5_000) == 0


def test_the_next_leadership_is_asked_without_a_pause() -> None:
    world = with_a_lost_row(ONE, TWO, THREE)
    world.pass_time(10_000)
    world.elect(ONE, ONE, THREE)
    assert opens(world, 400) >= 3
    world.elect(THREE, ONE, THREE)
    world.pass_time(200)
    assert world.nodes[TWO].log.log_end == RECORDS
    assert world.isr == {ONE, TWO, THREE}


def test_a_fresh_stream_ends_the_pause() -> None:
    world = with_a_lost_row(ONE, TWO, THREE)
    world.pass_time(10_000)
    world.cut(ONE, TWO)
    del world.seen[:]
    world.link(ONE, TWO)
    assert opens(world, 400) >= 3
    assert world.nodes[TWO].log.log_end == Offset(LOST)
