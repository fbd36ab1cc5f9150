"""What counts of a replica whose disk syncs slowly: what it has written, as soon as it has."""

import errno

import pytest

from api.sim.faults import Fault, Operation
from cluster.controller.configs import TopicSettings
from cluster.peer.replica import Progress
from cluster.peer.replica_frames import OfPartition, decode
from cluster.peer.table import FrameType
from cluster.shell.long_sync import LONG_MS
from cluster.shell.replica_stream import ROOM_BYTES
from logstore.settings import Flush
from model.ids import NodeId, Offset
from tests.replica_cluster import ONE, THREE, TWO, Cluster
from tests.replica_process import Told
from tests.state_cluster import EVERY, NODES, StateCluster


def held(world: Cluster, *nodes: NodeId) -> None:
    """Let the disks of these do nothing but what `half` lets them."""
    for node in nodes:
        world.nodes[node].slow = True


def half(world: Cluster, node: NodeId) -> None:
    """Let the writer of a held disk do what is next: the write of a round, or its sync."""
    world.nodes[node].jobs.popleft()()
    world.run()


def appended(world: Cluster) -> Told:
    told = world.nodes[ONE].append(b"a")
    world.run()
    return told


def ends(world: Cluster, node: NodeId) -> tuple[int, int]:
    log = world.nodes[node].log
    return log.written_end, log.flushed_end


def reports(world: Cluster, node: NodeId) -> list[tuple[int, int, int]]:
    """Return what positions the leader was told by a follower, each once."""
    frames = [frame for by, _, frame in world.seen if by == node]
    said = [decode(frame) for frame in frames if frame.type == FrameType.PROGRESS]
    messages = [one.message for one in said if isinstance(one, OfPartition)]
    told = [one for one in messages if isinstance(one, Progress)]
    return list(dict.fromkeys((one.log_end, one.written_end, one.flushed_end) for one in told))


def test_an_ack_does_not_wait_for_the_slowest_sync() -> None:
    world = Cluster()
    held(world, THREE)
    told = appended(world)
    world.clock.advance(LONG_MS)
    world.run()
    assert told.answers == []  # the third has not even written it
    half(world, THREE)
    world.clock.advance(LONG_MS)
    world.run()
    assert told.answers == [None]
    assert ends(world, THREE) == (1, 0)
    half(world, THREE)
    assert ends(world, THREE) == (1, 1)
    assert reports(world, THREE)[-2:] == [(1, 1, 0), (1, 1, 1)]


def test_what_is_not_even_written_is_told_with_a_beat() -> None:
    """A disk that stands still makes nobody a follower that is behind."""
    world = Cluster()
    held(world, THREE)
    for _ in range(2 * world.replica_lag_ms_max // 500):
        appended(world)
        world.pass_time(500)
        assert ends(world, THREE) == (0, 0)
    assert world.isr == {ONE, TWO, THREE}
    assert len(reports(world, THREE)) > 3
    assert {one[1:] for one in reports(world, THREE)} == {(0, 0)}


def test_the_first_answer_on_a_stream_waits_for_no_round() -> None:
    """Till then its leader knows nothing of it, and would not serve, or not count it in sync."""
    world = Cluster()
    world.pass_time(1_000)
    world.cut(ONE, THREE)
    appended(world)
    held(world, THREE)
    world.seen.clear()
    world.link(ONE, THREE)
    world.run()
    assert reports(world, THREE) == [(1, 0, 0)]


def test_but_a_round_that_ends_before_is_all_that_is_told() -> None:
    world = Cluster()
    world.pass_time(1_000)
    world.seen.clear()
    appended(world)
    world.pass_time(1_000)
    frames = [frame for by, _, frame in world.seen if by == THREE]
    assert [frame.type for frame in frames].count(FrameType.PROGRESS) == 1
    assert reports(world, THREE) == [(1, 1, 1)]


def test_a_short_sync_is_told_once() -> None:
    world = Cluster()
    told = appended(world)
    assert told.answers == [None]
    assert (1, 1, 0) not in reports(world, THREE)


def test_nor_for_the_leaders_own() -> None:
    world = Cluster()
    held(world, ONE)
    told = appended(world)
    half(world, ONE)
    assert told.answers == []
    world.clock.advance(LONG_MS)
    world.run()
    assert told.answers == [None]
    leader = world.nodes[ONE]
    assert (leader.one.high_watermark, leader.log.flushed_end) == (1, 0)


def test_what_is_written_is_not_flushed() -> None:
    world = Cluster()
    held(world, TWO, THREE)
    told = appended(world)
    for node in (TWO, THREE):
        half(world, node)
    world.clock.advance(LONG_MS)
    world.run()
    assert [ends(world, node) for node in (ONE, TWO, THREE)] == [(1, 1), (1, 0), (1, 0)]
    assert told.answers == []
    half(world, TWO)
    assert told.answers == [None]


def test_what_a_power_cut_takes_is_not_counted_when_the_replica_comes_back() -> None:
    world = Cluster()
    held(world, THREE)
    told = appended(world)
    half(world, THREE)
    world.clock.advance(LONG_MS)
    world.run()
    assert told.answers == [None]
    world.kill(THREE)
    world.disks[THREE].power_cut(lambda pending: pending.nothing)
    back = world.start(THREE)
    assert back.log.log_end == 0
    held(world, THREE)
    more = appended(world)
    assert (back.log.log_end, more.answers) == (2, [])  # it has it in memory, and has told so
    leader = world.nodes[ONE].one.replica.leader
    assert leader is not None and leader._ends[THREE].written == 0
    back.slow = False
    world.run()
    assert more.answers == [None]
    assert back.stored() == world.nodes[ONE].stored()


def test_a_leader_that_loses_what_others_have_committed_gets_it_from_them() -> None:
    world = Cluster()
    held(world, ONE)
    told = appended(world)
    half(world, ONE)
    world.clock.advance(LONG_MS)
    world.run()
    assert told.answers == [None]
    world.kill(ONE)
    world.disks[ONE].power_cut(lambda pending: pending.nothing)
    world.elect(TWO, TWO, THREE)
    world.run()
    assert world.nodes[TWO].one.high_watermark == 1
    back = world.start(ONE)
    assert back.log.log_end == 0
    world.pass_time(1_000)
    assert back.stored() == world.nodes[TWO].stored()
    assert back.halts == []
    assert world.isr == {ONE, TWO, THREE}


def test_a_sync_that_fails_once_it_was_told_costs_one_replica() -> None:
    world = Cluster()
    held(world, THREE)
    told = appended(world)
    half(world, THREE)
    world.clock.advance(LONG_MS)
    world.run()
    assert told.answers == [None]
    world.disks[THREE].faults.add(Fault(Operation.SYNC, "journal", errno.EIO))
    half(world, THREE)
    third = world.nodes[THREE]
    assert len(third.failures) == 1 and third.writer.offline
    assert ends(world, THREE) == (1, 0)
    assert reports(world, THREE)[-1] == (1, 1, 0)  # and nothing is told any more
    world.kill(THREE)
    world.pass_time(5_000)
    assert world.isr == {ONE, TWO}
    world.elect(TWO, ONE, TWO)
    world.run()
    assert world.nodes[TWO].one.high_watermark == 1
    world.disks[THREE].power_cut(lambda pending: pending.nothing)
    back = world.start(THREE)
    world.pass_time(1_000)
    assert back.stored() == world.nodes[TWO].stored()
    assert world.isr == {ONE, TWO, THREE}


def test_a_cut_that_is_asked_for_during_a_long_sync_is_reported_when_it_is_durable() -> None:
    world = Cluster()
    appended(world)
    for other in (TWO, THREE):
        world.cut(ONE, other)
    held(world, ONE)
    world.nodes[ONE].append(b"lost")
    world.run()
    half(world, ONE)  # its round is being synced, and longer than it leads
    world.elect(TWO, TWO, THREE)
    world.run()
    world.nodes[TWO].append(b"kept")
    world.run()
    world.link(ONE, TWO)
    world.run()
    one = world.nodes[ONE]
    assert one.log.cut == 1
    world.clock.advance(LONG_MS)
    world.run()
    assert reports(world, ONE) == []
    one.slow = False
    world.run()
    assert one.stored() == world.nodes[TWO].stored()
    assert reports(world, ONE)[-1] == (2, 2, 2)


def test_a_replica_trims_nothing_that_a_power_cut_may_take() -> None:
    world = Cluster()
    held(world, THREE)
    for _ in range(2):
        appended(world)
    half(world, THREE)
    world.clock.advance(LONG_MS)
    world.run()
    assert ends(world, THREE) == (1, 0)
    assert world.nodes[ONE].one.high_watermark == 1
    world.nodes[ONE].log.trim(Offset(1))
    appended(world)  # and with it the followers hear of it
    assert world.nodes[TWO].log.log_start == 1
    assert world.nodes[THREE].log.log_start == 0
    half(world, THREE)
    assert world.nodes[THREE].log.log_start == 1


def test_what_only_the_files_have_is_trimmed_at_once() -> None:
    """flush=async: no checkpoint is due for an hour, and the leader may change before."""
    settings = TopicSettings(min_insync_replicas=2, flush=Flush.ASYNC, flush_ms=3_600_000)
    world = Cluster(settings=settings)
    for _ in range(4):
        appended(world)
    world.nodes[ONE].log.trim(Offset(3))
    appended(world)  # and with it the followers hear of it
    logs = [world.nodes[node].log for node in (ONE, TWO, THREE)]
    assert [log.log_start for log in logs] == [3, 3, 3]
    world.kill(ONE)
    world.elect(TWO, TWO, THREE)
    world.run()
    assert world.nodes[TWO].one.log_start == 3


def test_what_is_being_synced_takes_room_on_the_stream_until_it_is() -> None:
    """Its bytes are held so long: a slow disk is sent no more than fits."""
    world = Cluster()
    held(world, THREE)
    told = world.nodes[ONE].append(bytes(700_000))
    world.run()
    while ends(world, THREE) == (0, 0):  # so much has a file of its own, after a checkpoint
        half(world, THREE)
        world.clock.advance(LONG_MS)
        world.run()
    assert (told.answers, ends(world, THREE)) == ([None], (1, 0))
    stream = world.nodes[ONE].streams._streams[THREE]
    assert stream.sender.room_bytes < ROOM_BYTES
    world.nodes[THREE].slow = False
    world.run()
    assert ends(world, THREE) == (1, 1)
    assert stream.sender.room_bytes == ROOM_BYTES


@pytest.mark.parametrize("at", [ONE, THREE])
def test_one_slow_disk_delays_nobody_for_more_than_a_moment(at: NodeId) -> None:
    """Acks of ten records come while one sync of that disk goes on and on."""
    world = Cluster()
    held(world, at)
    told = [world.nodes[ONE].append(b"%d" % number) for number in range(10)]
    world.run()
    half(world, at)
    world.clock.advance(LONG_MS)
    world.run()
    assert [one.answers for one in told] == [[None]] * 10


@pytest.mark.parametrize("at", [ONE, THREE])
async def test_a_snapshot_that_waits_for_its_nodes_own_sync_is_written_after_it(at: NodeId) -> None:
    """Others have committed what makes it due while one node's sync goes on; then all is quiet."""
    world = StateCluster()
    await world.commits(ONE, count=EVERY - 2)  # the first is two records, with the group's
    await world.settle(300)
    slow = world.nodes[at]
    slow.slow = True
    done = world.commit(ONE, 99)
    await world.settle()
    slow.jobs.popleft()()
    world.clock.advance(LONG_MS)
    await world.settle(300)
    assert done.done()
    assert (slow.one.high_watermark, slow.log.flushed_end) == (EVERY, EVERY - 1)
    assert world.homes[at].snapshots == []
    slow.slow = False
    await world.settle()
    assert slow.log.flushed_end == EVERY
    assert [world.homes[node].snapshots for node in NODES] == [[EVERY]] * 3
