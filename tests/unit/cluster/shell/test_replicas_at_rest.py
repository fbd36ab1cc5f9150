"""Partitions to which nothing happens cost nothing, and are judged as if they did."""

import pytest

from api.broker.place import AtOffset
from api.sim.clock import SimClock
from cluster.controller.image import MetadataDelta, MetadataImage
from cluster.shell.followed_leaders import FollowedLeaders
from cluster.shell.no_replicas import NoReplicas
from cluster.shell.partition_turns import LOOK_BEATS, REST_LOOKS
from cluster.shell.refused_replicas import RefusedReplicas
from cluster.shell.replica import Replica
from cluster.shell.replica_beats import BEAT_MS, ReplicaBeats
from logstore.settings import HOUR_MS
from model.errors import ErrorCode, RequestError
from model.ids import NodeId, Offset, PartitionId
from model.principal import ANONYMOUS
from tests.broker_node import batch_of, broker_node
from tests.replica_cluster import ONE, THREE, TWO, Cluster
from tests.replica_process import PLACE, TOPIC
from tests.unit.api.broker.test_upkeep import until

LOOK_MS = BEAT_MS * LOOK_BEATS
REST_MS = LOOK_MS * REST_LOOKS


def looks(world: Cluster, ms: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """Let time pass; return how often a leader was told what to judge by."""
    seen: list[Replica] = []

    def told(replica: Replica, *given: object) -> None:
        seen.append(replica)
        tell(replica, *given)  # type: ignore[arg-type]

    tell = Replica.told
    with monkeypatch.context() as patched:
        patched.setattr(Replica, "told", told)
        world.pass_time(ms)
    return len(seen)


def rested() -> Cluster:
    """Return nodes of whose one record everybody knows, since a while."""
    world = Cluster()
    world.nodes[ONE].append(b"a")
    world.pass_time(4 * LOOK_MS)
    return world


def test_who_is_at_rest_is_looked_at_now_and_then_only(monkeypatch: pytest.MonkeyPatch) -> None:
    world = rested()
    assert 2 <= looks(world, 2 * REST_MS, monkeypatch) <= 4, "240 while it is awake"
    world.nodes[ONE].append(b"b")
    assert looks(world, LOOK_MS, monkeypatch) == 1
    assert looks(world, 4 * LOOK_MS, monkeypatch) <= 1


def test_while_one_is_behind_the_leader_is_looked_at_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = rested()
    world.kill(THREE)
    world.pass_time(5_000)
    assert world.isr == {ONE, TWO}
    assert looks(world, 10 * LOOK_MS, monkeypatch) == 10


def test_after_a_long_rest_nobody_is_behind_by_it() -> None:
    world = rested()
    world.pass_time(REST_MS - LOOK_MS)
    proposals = len(world.proposed)
    world.cut(ONE, THREE)
    world.pass_time(2_000)
    assert world.isr == {ONE, TWO, THREE}
    world.link(ONE, THREE)
    world.pass_time(LOOK_MS)
    world.nodes[THREE].alive = False  # it stands still: what is sent to it waits
    world.nodes[ONE].append(b"b")
    world.pass_time(2_000)
    assert (world.isr, len(world.proposed)) == ({ONE, TWO, THREE}, proposals)


def test_who_falls_silent_leaves_though_its_stream_is_there_and_nothing_happens() -> None:
    world = rested()
    heard = world.heard[ONE]
    last = heard[THREE]
    for _ in range(6_000 // BEAT_MS):
        heard[THREE] = last
        world.pass_time(BEAT_MS)
    assert world.isr == {ONE, TWO}
    assert (ONE, THREE) in world.linked


def woken(monkeypatch: pytest.MonkeyPatch) -> list[ReplicaBeats]:
    """Return who wakes up for a beat from here on."""
    beats: list[ReplicaBeats] = []
    beat = ReplicaBeats._beat

    def counted(one: ReplicaBeats) -> None:
        beats.append(one)
        beat(one)

    monkeypatch.setattr(ReplicaBeats, "_beat", counted)
    return beats


def test_nodes_at_rest_sleep_until_there_is_something_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = rested()
    beats = woken(monkeypatch)
    one, two = (world.nodes[node].streams for node in (ONE, TWO))
    world.pass_time(10_000)
    assert 18 <= beats.count(one._beats) <= 22, "100 while somebody asks"
    beats.clear()
    one.promised()
    world.pass_time(1_000)
    assert beats.count(one._beats) >= 9
    two._beats.refused(world.nodes[TWO].one)
    beats.clear()
    world.pass_time(BEAT_MS)
    assert two._beats in beats, "who was refused asks again"


def test_while_somebody_was_refused_each_beat_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    world = rested()
    beats = woken(monkeypatch)
    one = world.nodes[ONE].streams._beats
    monkeypatch.setattr(RefusedReplicas, "any_waits", True)
    one._sleep_no_more()
    world.pass_time(1_000)
    assert beats.count(one) >= 9


def test_who_is_woken_keeps_its_beats_and_its_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    world = rested()
    beats = woken(monkeypatch)
    one = world.nodes[ONE].streams._beats
    while one not in beats:
        world.pass_time(1)
    before = one._turns._beats
    world.pass_time(LOOK_MS - BEAT_MS // 2)
    one.refused(world.nodes[ONE].one)
    world.pass_time(BEAT_MS // 2)
    assert one._turns._beats >= before + LOOK_BEATS, "what it slept through counts"


def test_who_is_asked_in_a_beat_beats_once(monkeypatch: pytest.MonkeyPatch) -> None:
    world = rested()
    one = world.nodes[ONE].streams._beats
    with monkeypatch.context() as patched:
        patched.setattr(ReplicaBeats, "_look_after", lambda beats, _: beats.asked())
        world.pass_time(LOOK_MS)
    world.pass_time(10_000)
    beats = woken(monkeypatch)
    world.pass_time(10_000)
    assert beats.count(one) <= 22


def test_who_has_stopped_beats_no_more_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    world = rested()
    beats = woken(monkeypatch)
    one = world.nodes[ONE].streams
    one.stop()
    one.promised()
    world.pass_time(1_000)
    assert one._beats not in beats


@pytest.mark.parametrize(("active", "within_ms"), [(True, BEAT_MS), (False, LOOK_MS)])
def test_a_leader_learns_soon_that_its_session_is_over(active: bool, within_ms: int) -> None:
    world = rested()
    world.pass_time(2_000 + BEAT_MS)
    if active:
        world.nodes[ONE].append(b"a")
    world.without_session.add(ONE)
    world.pass_time(within_ms)
    assert world.nodes[ONE].one.alone
    world.without_session.clear()
    world.pass_time(2 * LOOK_MS)
    assert not world.nodes[ONE].one.alone


def test_a_log_start_that_moves_is_told_at_once() -> None:
    world = rested()
    one = world.nodes[ONE]
    one.log.roll()
    one.append(b"b")
    world.pass_time(2 * LOOK_MS)
    one.log.trim(Offset(1))
    one.one.begins_later()
    world.run()
    assert world.nodes[TWO].log.log_start == world.nodes[THREE].log.log_start == 1


def test_what_comes_late_for_a_topic_that_is_gone_keeps_nothing_awake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = Cluster()
    one = world.nodes[ONE]
    world.cut(ONE, TWO)
    one.append(b"a")
    world.pass_time(4 * LOOK_MS)
    one.slow = True
    world.link(ONE, TWO)
    world.run()
    (read,) = one.jobs  # what the follower has missed has left the memory
    one.partitions.apply(MetadataImage(), MetadataDelta(deleted=(TOPIC,)))
    read()
    one.jobs.remove(read)
    for node in (TWO, THREE):
        world.cut(ONE, node)
    world.pass_time(2 * LOOK_MS)
    asked: list[PartitionId] = []
    monkeypatch.setattr(one.partitions, "by_id", asked.append)
    world.pass_time(2 * LOOK_MS)
    assert not asked


def test_who_leads_after_its_disk_was_full_comes_to_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = rested()
    with monkeypatch.context() as patched:
        patched.setattr(world.nodes[TWO].directory, "accepts", no_room)
        world.nodes[ONE].append(b"b")
        world.run()
        world.elect(TWO, ONE, TWO, THREE)
    world.pass_time(4 * LOOK_MS)
    assert world.nodes[TWO].one.replica.at_rest
    assert looks(world, 4 * LOOK_MS, monkeypatch) == 0


def no_room(size_bytes: int, *, into_reserve: bool) -> None:
    raise RequestError(ErrorCode.DISK_FULL, f"{size_bytes} bytes, {into_reserve=}")


def announced(monkeypatch: pytest.MonkeyPatch) -> list[PartitionId]:
    """Return partitions of which something is to be told, as they come."""
    found: list[PartitionId] = []
    monkeypatch.setattr(NoReplicas, "touched", lambda _, where: found.append(where))
    return found


async def test_what_retention_removes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async with broker_node() as node:
        orders = await node.create("orders", retention_ms=str(HOUR_MS))
        await node.produce(orders, batch_of([b"v"]))
        told = announced(monkeypatch)
        node.clock.advance(2 * HOUR_MS)
        await until(node, lambda: orders.log_start == 1, step_ms=10_000)
        assert told == [orders.id]


async def test_what_is_trimmed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async with broker_node() as node:
        orders = await node.create("orders")
        await node.produce(orders, batch_of([b"v"]))
        told = announced(monkeypatch)
        await node.broker.topics.trim(ANONYMOUS, [orders], AtOffset(1))
        assert told == [orders.id]


def test_a_leader_is_followed_as_long_as_one_partition_follows_it() -> None:
    leaders, other = FollowedLeaders(), PartitionId(TOPIC, 1)
    leaders.follow(PLACE, TWO)
    leaders.follow(other, TWO)
    leaders.follow(PLACE, THREE)
    assert [node in leaders for node in (ONE, TWO, THREE)] == [False, True, True]
    leaders.follow(other, None)
    leaders.follow(other, None)
    leaders.follow(PLACE, THREE)
    assert [node in leaders for node in (ONE, TWO, THREE)] == [False, False, True]


@pytest.mark.parametrize("next_leader", [ONE, THREE])
def test_of_whom_nothing_is_followed_the_clock_is_not(next_leader: NodeId) -> None:
    """P39: it leads nothing here, and may be wrong."""
    world = rested()
    world.elect(next_leader, ONE, TWO, THREE)
    world.pass_time(500)
    two, three = world.nodes[TWO].append_clock, world.nodes[THREE].append_clock
    three.not_below(three.read(world.clock.monotonic_ms(), world.clock.wall_ms()) + 60_000)  # type: ignore[arg-type]
    world.pass_time(500)
    ahead = two.read(world.clock.monotonic_ms(), world.clock.wall_ms()) > _wall(world.clock) + 1_000
    assert ahead is (next_leader == THREE)


def _wall(clock: SimClock) -> int:
    return clock.wall_ms()
