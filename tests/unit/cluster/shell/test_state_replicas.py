"""Coordinators on three nodes: what fails over, what is lost with a leadership, what is kept."""

import asyncio

import pytest

from cluster.state_partition.snapshot import read_part
from consumer_groups.machine import GroupMachine
from model.errors import ErrorCode, Outcome, RequestError
from model.ids import GroupId, Offset
from tests.group_state import ORDERS
from tests.replica_cluster import ONE, THREE, TWO
from tests.replica_process import PLACE
from tests.state_cluster import EVERY, GROUPS, NODES, StateCluster


async def test_a_commit_survives_its_coordinator_and_none_goes_back() -> None:
    """P28."""
    world = StateCluster()
    await world.commits(ONE, count=7)
    world.kill(ONE)
    world.elect(TWO, TWO, THREE)
    assert await world.committed(TWO) == 6
    await world.commits(TWO, count=3, begin=7)
    back = await world.restart(ONE)
    await world.settle(1_000)
    assert world.isr == {ONE, TWO, THREE}
    assert back.replica.led is None
    world.kill(TWO)
    world.elect(ONE, ONE, THREE)
    assert await world.committed(ONE) == 9


async def test_who_asks_another_node_is_told_the_coordinator() -> None:
    world = StateCluster()
    await world.commits(ONE, count=1)
    with pytest.raises(RequestError) as refused:
        await world.committed(THREE)
    assert refused.value.code is ErrorCode.NOT_COORDINATOR
    assert refused.value.metadata["leader"] == "1"
    assert refused.value.metadata["leader_epoch"] == "1"
    world.elect(None, ONE, TWO, THREE)
    with pytest.raises(RequestError) as refused:
        await world.committed(ONE)
    assert refused.value.code is ErrorCode.COORDINATOR_LOADING
    assert refused.value.code.retryable
    assert refused.value.code.outcome is Outcome.NOT_DONE


async def test_what_was_not_committed_is_told_as_unknown_and_vanishes_with_the_machine() -> None:
    world = StateCluster()
    await world.commits(ONE, count=5)
    world.cut(ONE, TWO)
    world.cut(ONE, THREE)
    lost = world.commit(ONE, 99)
    seen = asyncio.ensure_future(world.homes[ONE].state.read(GROUPS[0], offset_of))
    await world.settle()
    assert not lost.done() and not seen.done()
    world.elect(TWO, TWO, THREE)
    await world.settle()
    for waited in (lost, seen):
        assert waited.done()
        with pytest.raises(RequestError) as refused:
            await waited
        assert refused.value.code is ErrorCode.LEADERSHIP_LOST
        assert refused.value.code.outcome is Outcome.UNKNOWN
    assert await world.committed(TWO) == 4
    await world.commits(TWO, count=1, begin=50)
    world.link(ONE, TWO)
    await world.settle(1_000)
    assert world.isr == {ONE, TWO, THREE}
    world.elect(ONE, ONE, TWO, THREE)
    assert await world.committed(ONE) == 50
    assert world.nodes[ONE].stored() == world.nodes[TWO].stored()


async def test_what_is_committed_when_the_leadership_ends_is_answered_as_done() -> None:
    world = StateCluster()
    world.cut(ONE, THREE)
    world.change(world.row._replace(isr=(ONE, TWO)))
    world.nodes[ONE].slow = True
    done = world.commit(ONE, 3)
    await asyncio.sleep(0)
    world.nodes[ONE].slow = False
    await world.settle()
    assert done.done()
    world.elect(TWO, ONE, TWO)
    await done
    assert await world.committed(TWO) == 3


async def test_a_leader_elected_again_on_its_node_does_not_keep_what_it_had_made_up() -> None:
    world = StateCluster()
    await world.commits(ONE, count=2)
    first = world.homes[ONE].machines[-1]
    world.cut(ONE, TWO)
    world.cut(ONE, THREE)
    lost = world.commit(ONE, 77)
    await asyncio.sleep(0)
    assert offset_in(first) == 77
    world.elect(ONE, ONE, TWO, THREE)
    assert world.homes[ONE].replica.led is None
    with pytest.raises(RequestError, match="LEADERSHIP_LOST"):
        await lost
    await world.settle()
    # The record is still in its log, and may be committed yet: it is seen, and told only then.
    again = asyncio.ensure_future(world.homes[ONE].state.read(GROUPS[0], offset_of))
    await world.settle()
    assert not again.done()
    world.link(ONE, TWO)
    world.link(ONE, THREE)
    await world.settle()
    assert await again == 77
    assert world.homes[ONE].machines[-1] is not first


async def test_a_standby_takes_over_with_the_tail_alone() -> None:
    world = StateCluster()
    await world.commits(ONE, count=EVERY * 3 + 7)
    standby = world.homes[TWO].replica
    await world.settle(500)
    read = standby.replayed
    assert read >= EVERY * 3
    machines = len(world.homes[TWO].machines)
    world.homes[TWO].slow = True
    before = standby.replayed
    await world.commits(ONE, count=2, begin=1_000)
    world.kill(ONE)
    world.elect(TWO, TWO, THREE)
    with pytest.raises(RequestError, match="COORDINATOR_LOADING"):
        await world.committed(TWO)
    world.homes[TWO].slow = False
    await world.settle()
    assert await world.committed(TWO) == 1_001
    assert standby.replayed - before == 2
    assert len(world.homes[TWO].machines) == machines


async def test_a_standby_replays_what_is_committed_and_nothing_else() -> None:
    world = StateCluster()
    await world.commits(ONE, count=3)
    await world.settle(500)
    done, lost = await one_of_two(world, 3, 99)
    await world.settle(500)
    log = world.nodes[TWO].log
    assert world.nodes[TWO].one.high_watermark < log.log_end
    assert [offset_in(world.homes[node].machines[-1]) for node in (TWO, THREE)] == [3, 3]
    world.nodes[THREE].slow = False
    await world.settle(500)
    await asyncio.gather(done, lost)
    assert [offset_in(world.homes[node].machines[-1]) for node in (TWO, THREE)] == [99, 99]


async def one_of_two(
    world: StateCluster, first: int, *others: int
) -> tuple["asyncio.Task[None]", "asyncio.Future[list[None]]"]:
    """Have the first of some commits written by node 3, the others appended there and no more."""
    world.nodes[THREE].slow = True
    done = world.commit(ONE, first)
    await world.settle()
    more = asyncio.gather(*[world.commit(ONE, offset) for offset in others])
    await world.settle()
    assert not done.done()
    for _ in ("written", "synced"):
        world.nodes[THREE].jobs.popleft()()
    await world.settle()
    assert done.done() and not more.done()
    return done, more


async def test_a_leadership_that_was_lost_before_the_log_was_read_leaves_nothing() -> None:
    world = StateCluster()
    await world.commits(ONE, count=3)
    await world.settle(200)
    end = world.nodes[TWO].log.log_end
    world.cut(ONE, THREE)
    lost = world.commit(ONE, 99)
    await world.settle()
    assert world.nodes[TWO].log.log_end > end
    world.kill(ONE)
    world.homes[TWO].slow = True
    world.elect(TWO, TWO, THREE)
    assert world.nodes[TWO].one.leads and world.homes[TWO].jobs
    world.cut(TWO, THREE)
    world.elect(THREE, THREE, TWO)
    world.homes[TWO].slow = False
    await world.settle()
    assert world.nodes[TWO].log.log_end > end  # nobody has told it to cut that yet
    assert offset_in(world.homes[TWO].machines[-1]) == 2
    world.link(TWO, THREE)
    await world.settle(500)
    assert await world.committed(THREE) == 2
    assert world.nodes[TWO].log.log_end == end
    assert offset_in(world.homes[TWO].machines[-1]) == 2
    lost.cancel()


async def test_every_replica_makes_its_own_snapshots_and_trims_by_them() -> None:
    world = StateCluster()
    await world.commits(ONE, count=EVERY * 5 + 3)
    await world.settle(300)
    for node in NODES:
        kept, log = world.homes[node].snapshots, world.nodes[node].log
        assert len(kept) == 2, node
        assert 0 < log.log_start <= kept[0]
        assert kept[1] <= world.nodes[node].one.high_watermark
    leader = world.nodes[ONE].log.log_start
    assert all(world.nodes[node].log.log_start <= leader for node in (TWO, THREE))


async def test_no_snapshot_holds_what_is_not_committed() -> None:
    world = StateCluster()
    await world.commits(ONE, count=EVERY - 5)
    await world.settle(300)
    _, lost = await one_of_two(world, 400, *range(500, 500 + EVERY))
    one = world.nodes[ONE]
    assert one.one.high_watermark < EVERY < one.log.flushed_end
    assert [world.homes[node].snapshots for node in NODES] == [[], [], []]
    world.cut(ONE, TWO)
    world.cut(ONE, THREE)
    world.elect(TWO, TWO, THREE)
    await world.settle()
    assert lost.done()
    with pytest.raises(RequestError, match="LEADERSHIP_LOST"):
        await lost
    assert world.homes[ONE].snapshots == []
    world.nodes[THREE].slow = False
    await world.settle(500)
    assert await world.committed(TWO) == 500 + EVERY - 1
    assert world.homes[ONE].snapshots == []


async def test_a_follower_keeps_a_prefix_that_its_own_snapshots_do_not_stand_for() -> None:
    world = StateCluster()
    await world.commits(ONE, count=EVERY + 5)
    follower = world.homes[TWO].replica
    follower._snapshots._plan._every_min = 10_000  # it will make none any more
    await world.commits(ONE, count=EVERY * 4, begin=1_000)
    await world.settle(500)
    assert world.nodes[ONE].log.log_start > EVERY
    kept = world.homes[TWO].snapshots
    assert world.nodes[TWO].log.log_start <= (kept[0] if len(kept) == 2 else 0)
    for node in (ONE, THREE):
        world.kill(node)
    world.kill(TWO)
    await world.restart(TWO)
    await world.restart(THREE)
    world.elect(TWO, TWO, THREE)
    assert await world.committed(TWO) == 1_000 + EVERY * 4 - 1


@pytest.mark.parametrize("wiped", [True, False])
async def test_a_replica_that_begins_anew_has_the_leaders_snapshot_before_it_is_counted(
    wiped: bool,
) -> None:
    world = StateCluster()
    await world.commits(ONE, count=2)
    world.kill(THREE)
    if wiped:
        world.disks[THREE] = type(world.disks[THREE])()
    await world.settle(5_000)
    assert world.isr == {ONE, TWO}
    await world.commits(ONE, count=EVERY * 5, begin=2)
    await world.settle(500)
    assert world.nodes[ONE].log.log_start > 2
    world.no_snapshots = True
    back = await world.restart(THREE)
    await world.settle(2_000)
    assert world.asked
    assert back.replica.held
    assert world.isr == {ONE, TWO}
    world.no_snapshots = False
    await world.settle(2_000)
    assert not back.replica.held
    assert world.isr == {ONE, TWO, THREE}
    assert back.replica.replayed <= EVERY * 2
    for node in (ONE, TWO):
        world.kill(node)
    world.elect(THREE, THREE)
    world.change(world.row._replace(isr=(THREE,)))
    await world.restart(TWO)
    await world.settle(1_000)
    assert await world.committed(THREE) == EVERY * 5 + 1


async def test_a_snapshot_that_came_damaged_is_asked_for_again() -> None:
    world = StateCluster()
    world.kill(THREE)
    await world.settle(5_000)
    await world.commits(ONE, count=EVERY * 5)
    await world.settle(500)
    world.tamper_part = lambda frame: frame[:-1] + bytes([frame[-1] ^ 1])
    back = await world.restart(THREE)
    await world.settle(1_000)
    assert back.replica.held
    assert len(world.asked) > 2
    assert back.snapshots == []
    world.tamper_part = bytes
    await world.settle(2_000)
    assert not back.replica.held
    assert world.isr == {ONE, TWO, THREE}


async def test_all_nodes_start_again_and_whoever_leads_has_all() -> None:
    for leader in NODES:
        world = StateCluster()
        await world.commits(ONE, count=EVERY * 3 + 4)
        await world.settle(300)
        for node in NODES:
            world.kill(node)
        for node in NODES:
            await world.restart(node)
        world.elect(leader, *NODES)
        assert await world.committed(leader) == EVERY * 3 + 3
        assert all(task.done() for task in world.restoring)


@pytest.mark.parametrize("count", [EVERY + 5, EVERY * 2 + 5])
async def test_a_snapshot_of_what_an_unclean_election_took_goes_with_it(count: int) -> None:
    """With the second one the log was trimmed as well, and begins anew."""
    world = StateCluster()
    await world.commits(ONE, count=3)
    world.kill(THREE)
    await world.settle(5_000)
    await world.commits(ONE, count=count, begin=3)
    await world.settle(300)
    assert world.homes[TWO].snapshots
    for node in (ONE, TWO):
        world.kill(node)
    await world.restart(THREE)
    world.change(world.row._replace(isr=(THREE,)))
    world.elect(THREE, THREE, lossy=True)
    world.change(world.row._replace(isr=(THREE,)))
    await world.settle()
    two = await world.restart(TWO)
    await world.settle(1_000)
    assert world.isr == {TWO, THREE}
    assert two.snapshots == []
    await world.commits(THREE, count=1, begin=50)
    world.elect(TWO, TWO, THREE)
    assert await world.committed(TWO) == 50


async def test_a_replica_that_serves_a_part_serves_what_is_on_its_disk() -> None:
    world = StateCluster()
    await world.commits(ONE, count=EVERY * 3)
    await world.settle(300)
    newest = world.homes[ONE].snapshots[-1]
    found = read_part(world.disks[ONE], PLACE, newest, position=3, bytes_max=10)
    assert found is not None
    whole = read_part(world.disks[ONE], PLACE, newest, position=0, bytes_max=1 << 20)
    assert whole is not None and whole[1][3:13] == found[1] and whole[0] == len(whole[1])
    assert read_part(world.disks[ONE], PLACE, Offset(1), position=0, bytes_max=1) is None


def offset_of(machine: GroupMachine) -> int | None:
    return offset_in(machine)


def offset_in(machine: GroupMachine) -> int | None:
    """Return what is committed for the first group, as a machine has it."""
    found = machine.committed(GroupId(GROUPS[0]), ORDERS)
    return None if found is None else found.offset
