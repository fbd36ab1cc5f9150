"""Replicas on three nodes: what is sent, taken, committed, cut, and told."""

from typing import Final

import pytest

from cluster.controller.configs import TopicSettings
from cluster.controller.image import Unclean
from cluster.controller.isr import IsrProposal, RowVersion
from cluster.peer.table import FrameType
from cluster.shell.partition_turns import LOOK_BEATS
from cluster.shell.replica_beats import BEAT_MS
from logstore.settings import Flush
from model.errors import ErrorCode, RequestError
from model.ids import LeaderEpoch, NodeId, Offset
from tests.replica_cluster import ONE, THREE, TWO, Cluster
from tests.replica_process import PLACE

TOLD_MS: Final = LOOK_BEATS * BEAT_MS
"""By then every follower knows the mark, though nothing follows it."""


def test_followers_hold_what_the_leader_took_with_its_times() -> None:
    world = Cluster()
    told = world.nodes[ONE].append(b"a", b"b")
    assert told.answers == []
    world.run()
    assert told.answers == [None]
    stored = world.nodes[ONE].stored()
    assert len(stored) == 2
    for node in (TWO, THREE):
        assert world.nodes[node].stored() == stored
        assert world.nodes[node].times() == world.nodes[ONE].times()
    assert world.nodes[ONE].one.high_watermark == 2
    world.pass_time(TOLD_MS)
    assert [one.one.high_watermark for one in world.nodes.values()] == [2, 2, 2]
    assert [one.memory for one in world.nodes.values()] == [0, 0, 0]


def test_an_ack_waits_for_every_replica_in_sync() -> None:
    world = Cluster()
    world.cut(ONE, THREE)
    told = world.nodes[ONE].append(b"a")
    world.run()
    assert told.answers == []
    assert world.nodes[TWO].log.flushed_end == 1
    world.link(ONE, THREE)
    world.run()
    assert told.answers == [None]
    assert {frame.type for _, _, frame in world.seen} >= {FrameType.OPEN, FrameType.BATCHES}


def test_a_follower_that_was_killed_catches_up_from_files() -> None:
    world = Cluster()
    world.nodes[ONE].append(b"early")
    world.run()
    world.kill(THREE)
    for number in range(300):
        world.nodes[ONE].append(b"%06d" % number * 200)
        world.run()
    world.pass_time(5_000)
    assert world.isr == {ONE, TWO}
    assert world.nodes[ONE].log.tail.start > 250
    back = world.start(THREE)
    assert back.log.log_end == 1
    world.pass_time(1_000)
    assert back.stored() == world.nodes[ONE].stored()
    assert back.times() == [back.log.append_time_at(Offset(at)) for at in range(301)]
    assert back.one.high_watermark == 301
    assert world.isr == {ONE, TWO, THREE}


def test_a_log_read_anew_from_disk_is_sent_with_its_times() -> None:
    world = Cluster()
    world.kill(THREE)
    for number in range(50):
        world.nodes[ONE].append(b"%d" % number)
        world.pass_time(100)
    world.pass_time(5_000)
    times = world.nodes[ONE].times()
    assert len(set(times)) == 50
    world.kill(ONE)
    world.start(ONE)
    world.elect(ONE, ONE, TWO)
    world.run()
    assert world.nodes[ONE].log.append_time_at(Offset(0)) is None
    back = world.start(THREE)
    world.pass_time(1_000)
    assert back.times() == times
    assert back.stored() == world.nodes[TWO].stored()


def test_what_only_a_former_leader_had_is_cut_off() -> None:
    world = Cluster()
    one, two = world.nodes[ONE], world.nodes[TWO]
    one.append(b"common")
    world.run()
    world.cut(ONE, TWO)
    world.cut(ONE, THREE)
    told = one.append(b"lost", b"lost too")
    world.run()
    assert one.log.flushed_end == 3
    world.elect(TWO, TWO, THREE)
    assert [str(answer.code.name) for answer in told.answers if answer] == ["LEADERSHIP_LOST"]
    world.run()
    kept = two.append(b"kept")
    world.run()
    assert kept.answers == [None]
    world.link(ONE, TWO)
    world.pass_time(500)
    assert one.stored() == two.stored()
    assert len(one.stored()) == 2
    assert one.log.leader_epochs.rows == two.log.leader_epochs.rows
    assert one.halts == []
    assert one.memory == 0


def test_what_a_follower_has_of_a_deleted_history_is_begun_anew() -> None:
    world = Cluster()
    world.nodes[ONE].append(b"old")
    world.run()
    world.kill(THREE)
    for number in range(20):
        world.nodes[ONE].append(b"%d" % number)
        world.run()
    world.pass_time(5_000)
    leader = world.nodes[ONE]
    leader.log.roll()
    leader.append(b"new")
    world.run()
    leader.log.trim(Offset(21))
    back = world.start(THREE)
    world.pass_time(1_000)
    assert (back.log.log_start, back.log.log_end) == (21, 22)
    assert back.stored() == leader.stored()
    assert back.one.high_watermark == 22
    assert world.isr == {ONE, TWO, THREE}
    world.kill(THREE)
    again = world.start(THREE)
    world.pass_time(1_000)
    assert (again.log.log_start, again.log.log_end) == (21, 22)
    leader.append(b"more")
    world.run()
    assert again.stored() == leader.stored()


def test_leadership_goes_there_and_back() -> None:
    world = Cluster()
    one, two = world.nodes[ONE], world.nodes[TWO]
    one.append(b"a")
    world.run()
    world.elect(TWO, ONE, TWO, THREE)
    world.run()
    assert (one.roles, two.roles) == ([False], [True])
    two.append(b"b")
    world.run()
    world.elect(ONE, ONE, TWO, THREE)
    world.run()
    told = one.append(b"c")
    world.run()
    assert told.answers == [None]
    assert one.stored() == two.stored() == world.nodes[THREE].stored()
    assert [row.epoch for row in one.log.leader_epochs.rows] == [1, 2, 3]
    assert (one.roles, two.roles) == ([False, True], [True, False])


def test_a_new_leader_serves_once_it_knows_what_was_committed() -> None:
    world = Cluster()
    one, two = world.nodes[ONE], world.nodes[TWO]
    one.append(b"a")
    world.run()
    for node in (ONE, TWO):
        world.cut(node, THREE)
    one.append(b"not committed, but here")
    world.run()
    world.kill(ONE)
    world.elect(TWO, TWO, THREE)
    world.run()
    assert two.one.leads
    assert two.one.not_serving().code is ErrorCode.OFFSET_NOT_AVAILABLE
    with pytest.raises(RequestError, match="OFFSET_NOT_AVAILABLE"):
        two.one.check_serves()
    two.one.check_leads()
    world.link(TWO, THREE)
    world.run()
    two.one.check_serves()
    assert two.one.high_watermark == 2


def test_a_client_is_told_who_leads() -> None:
    world = Cluster()
    world.elect(TWO, ONE, TWO, THREE)
    world.run()
    for node in (ONE, THREE):
        refusal = world.nodes[node].one.not_serving()
        assert refusal.code is ErrorCode.NOT_LEADER
        assert (refusal.metadata["leader"], refusal.metadata["leader_epoch"]) == ("2", "2")
        with pytest.raises(RequestError, match="NOT_LEADER"):
            world.nodes[node].append(b"refused")
    world.elect(None)
    for node in (ONE, TWO, THREE):
        refusal = world.nodes[node].one.not_serving()
        assert refusal.code is ErrorCode.LEADER_NOT_AVAILABLE


def test_a_reader_that_waits_is_woken_when_the_leadership_ends() -> None:
    world = Cluster()
    woken: list[str] = []
    world.nodes[ONE].one.watch(Offset(0), lambda: woken.append("woken"))
    world.elect(TWO, ONE, TWO, THREE)
    assert woken == ["woken"]


def test_a_leader_that_is_cut_off_knows_that_it_is_alone() -> None:
    world = Cluster()
    world.cut(ONE, TWO)
    world.cut(ONE, THREE)
    world.refuse_proposals = True
    assert not world.nodes[ONE].one.alone
    world.pass_time(5_000)
    assert world.nodes[ONE].one.alone
    world.link(ONE, TWO)
    world.pass_time(1_000)
    assert not world.nodes[ONE].one.alone
    world.without_session.add(ONE)
    world.pass_time(1_000)
    assert world.nodes[ONE].one.alone


def test_a_partition_that_goes_to_other_nodes_is_dropped() -> None:
    world = Cluster()
    world.nodes[ONE].append(b"a")
    world.run()
    world.change(world.row._replace(replicas=(ONE, TWO), isr=(ONE, TWO)))
    world.run()
    three = world.nodes[THREE]
    assert len(three.partitions) == 0
    with pytest.raises(RequestError, match="NOT_LEADER") as refused:
        three.partitions.get("orders", 0)
    assert refused.value.metadata["leader"] == "1"
    told = world.nodes[ONE].append(b"b")
    world.run()
    assert told.answers == [None]


def test_a_leader_whose_log_only_files_carry_begins_once_a_checkpoint_has_synced_it() -> None:
    loose = TopicSettings(min_insync_replicas=2, flush=Flush.ASYNC, flush_ms=60_000)
    world = Cluster(settings=loose)
    two = world.nodes[TWO]
    world.pass_time(2_000)
    told = world.nodes[ONE].append(b"a")
    world.run()
    assert told.answers == [None]
    assert two.log.flushed_end == 0
    world.elect(TWO, ONE, TWO, THREE)
    assert not two.one.leads
    assert two.one.not_serving().code is ErrorCode.LEADER_NOT_AVAILABLE
    world.run()
    assert two.one.leads
    assert two.log.flushed_end == 1


def test_proposals_are_made_again_only_after_they_were_refused() -> None:
    world = Cluster()
    world.kill(THREE)
    world.pass_time(4_000)
    assert world.isr == {ONE, TWO}
    world.refuse_proposals = True
    proposals: list[object] = []
    decide = world.decide

    def counted(leader: NodeId, proposal: IsrProposal) -> None:
        proposals.append(proposal)
        decide(leader, proposal)

    world.decide = counted  # type: ignore[method-assign]
    world.start(THREE)
    world.pass_time(3_000)
    assert 2 <= len(proposals) <= 8
    assert {one.followers for one in proposals} == {((TWO, 1), (THREE, 2))}  # type: ignore[attr-defined]
    world.refuse_proposals = False
    world.pass_time(1_000)
    assert world.isr == {ONE, TWO, THREE}


def test_a_leader_answers_for_what_is_committed_when_it_is_asked_to() -> None:
    world = Cluster()
    world.nodes[ONE].append(b"a")
    world.run()
    world.refuse_proposals = True
    world.change(world.row._replace(isr=(ONE, TWO), elr=(THREE,), unclean=(Unclean(THREE),)))
    assert world.answered == []
    world.pass_time(1_000)
    assert set(world.answered) == {RowVersion(*PLACE, LeaderEpoch(1), 2)}


def test_what_comes_in_while_a_follower_is_read_for_follows_in_order() -> None:
    world = Cluster()
    world.kill(THREE)
    one = world.nodes[ONE]
    for number in range(200):
        one.append(b"%06d" % number * 200)
        world.run()
    back = world.start(THREE)
    more = 0
    while world.step():
        if back.log.log_end < 200 and one.later and more < 500:
            one.append(b"%d" % more)
            more += 1
    assert more > 10
    assert back.stored() == one.stored()


def test_what_is_appended_in_the_tick_in_which_a_read_ends_is_sent_with_it() -> None:
    world = Cluster()
    world.kill(THREE)
    one = world.nodes[ONE]
    for number in range(300):
        one.append(b"%06d" % number * 200)
        world.run()
    world.pass_time(5_000)
    assert one.log.tail.start > 250
    one.slow = True
    back = world.start(THREE)
    world.run()
    (read,) = one.jobs
    one.append(b"there before the read ends")
    world.run()
    one.append(b"in the very tick")
    one.jobs.remove(read)
    read()
    one.slow = False
    world.run()
    assert back.stored() == one.stored()


def test_a_log_start_is_told_exactly_and_without_an_append() -> None:
    world = Cluster()
    one, two = world.nodes[ONE], world.nodes[TWO]
    for number in range(20):
        one.append(b"%d" % number)
    world.run()
    one.log.trim(Offset(5))
    one.append(b"goes with a frame")
    world.run()
    assert two.log.log_start == 5
    one.log.roll()
    one.append(b"in another segment")
    world.run()
    one.log.trim(Offset(21))
    world.pass_time(1_000)
    assert two.log.log_start == 21


def test_what_a_log_that_begins_anew_had_not_written_is_let_go() -> None:
    world = Cluster()
    three = world.nodes[THREE]
    world.nodes[ONE].append(bytes(1_000))
    while not three.log.pending:
        world.step()
    held = three.memory
    assert held > 1_000
    three.streams.begin_anew(PLACE, Offset(5))
    assert three.memory == 0
