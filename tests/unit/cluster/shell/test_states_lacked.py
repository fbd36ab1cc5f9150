"""Replicas of state partitions whose disks do not tell the state: others have it (P45)."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from cluster.shell import state_replica
from cluster.shell.restore_state import replay
from cluster.shell.state_replica import HAND_OVER_AGAIN_MS
from cluster.state_partition.standby import refused
from model.errors import DirectoryRefused, ErrorCode, RequestError
from model.ids import NodeId, Offset, Position, RegistrationEpoch
from tests.replica_cluster import ONE, THREE, TWO
from tests.replica_process import PLACE
from tests.state_cluster import EVERY, NODES, Coordinator, StateCluster

DIRECTORY = f"partitions/{PLACE.topic.hex()}-0"


def damage_snapshots(world: StateCluster, node: NodeId) -> None:
    disk = world.disks[node]
    for name in [name for name in disk.list(DIRECTORY) if name.endswith(".state")]:
        file = disk.open(f"{DIRECTORY}/{name}")
        file.pwrite([b"\xff"], Position(20))
        file.close()


async def test_damaged_snapshots_are_had_from_the_leader() -> None:
    world = StateCluster()
    await world.commits(ONE, count=EVERY * 5)
    await world.settle(300)
    world.kill(TWO)
    damage_snapshots(world, TWO)
    back = await world.restart(TWO)
    assert back.replica.damaged == ()
    await world.settle(1_000)
    assert world.asked and world.asked[0][0] == TWO
    world.kill(ONE)
    world.elect(TWO, TWO, THREE)
    assert await world.committed(TWO) == EVERY * 5 - 1


async def lacking(world: StateCluster, *, count: int = EVERY * 5) -> Coordinator:
    """Kill all nodes; start node 2 again, without the snapshots on which its log rests."""
    await world.commits(ONE, count=count)
    await world.settle(300)
    for node in NODES:
        world.kill(node)
    damage_snapshots(world, TWO)
    return await world.restart(TWO)


async def test_who_is_chosen_to_lead_without_its_state_lets_another_one_lead() -> None:
    """It is counted in sync until it has been away for long; and nobody has to do anything."""
    world = StateCluster()
    back = await lacking(world)
    world.elect(TWO, *NODES)
    await world.settle(1_000)
    assert back.replica.held and back.replica.failure is None
    for node in (ONE, THREE):
        await world.restart(node)
    await world.settle(2_000)
    assert not back.replica.held and back.replica.lacks is None
    leader = world.row.leader
    assert leader is not None and leader != TWO
    assert await world.committed(leader) == EVERY * 5 - 1
    world.elect(TWO, *NODES)
    assert await world.committed(TWO) == EVERY * 5 - 1


async def test_who_is_chosen_again_leads_for_a_while_before_it_lets_another_one() -> None:
    """Else two that lack it hand over to each other without an end."""
    world = StateCluster()
    await world.commits(ONE, count=EVERY * 5)
    await world.settle(300)
    world.no_snapshots = True
    world.kill(TWO)
    damage_snapshots(world, TWO)
    back = await world.restart(TWO)
    for _ in range(2):
        world.elect(TWO, *NODES)
        await world.settle(1_000)
        assert world.row.leader not in {None, TWO}
        world.elect(TWO, *NODES)
        await world.settle(HAND_OVER_AGAIN_MS // 2)
        assert world.row.leader == TWO
        with pytest.raises(RequestError) as refusal:
            await world.committed(TWO)
        assert refusal.value.code is ErrorCode.COORDINATOR_LOADING
        await world.settle(HAND_OVER_AGAIN_MS // 2)
        assert world.row.leader not in {None, TWO}
        await world.settle(HAND_OVER_AGAIN_MS)
    assert back.replica.held and back.replica.failure is None
    world.no_snapshots = False
    await world.settle(1_000)
    world.elect(TWO, *NODES)
    assert await world.committed(TWO) == EVERY * 5 - 1


async def test_the_last_one_in_sync_leads_the_log_until_others_have_come_by_it() -> None:
    """What is committed is in its log, perhaps in no other; the state is on the others' disks."""
    world = StateCluster()
    back = await lacking(world)
    world.elect(TWO, TWO)
    world.change(world.row._replace(isr=(TWO,)))
    await world.settle(1_000)
    assert back.replica.hosted.leads and back.replica.led is None
    assert back.lacked == [back.replica.lacks]
    with pytest.raises(RequestError) as refusal:
        await world.committed(TWO)
    assert refusal.value.code is ErrorCode.COORDINATOR_LOADING
    for node in (ONE, THREE):
        await world.restart(node)
    await world.settle(5_000)
    leader = world.row.leader
    assert leader in {ONE, THREE}
    assert await world.committed(leader) == EVERY * 5 - 1
    assert world.isr == set(NODES) and not back.replica.held


async def test_nobody_takes_it_for_a_log_that_needs_no_snapshot() -> None:
    """A replica that begins anew would begin at offset 0, where nothing is any more."""
    world = StateCluster()
    back = await lacking(world)
    assert back.process.log.log_start > 0
    world.elect(TWO, TWO)
    world.change(world.row._replace(isr=(TWO,)))
    world.disks[THREE] = type(world.disks[THREE])()
    anew = await world.restart(THREE)
    await world.settle(2_000)
    assert anew.replica.held
    assert anew.process.log.log_start >= back.process.log.log_start
    await world.restart(ONE)
    await world.settle(5_000)
    assert world.isr == set(NODES)
    for node in NODES:
        world.elect(node, *NODES)
        assert await world.committed(node) == EVERY * 5 - 1


async def test_what_is_to_be_fetched_is_looked_for_anew_once_the_leadership_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The damage lay in a tail that is cut then: no snapshot would ever reach as far."""
    world = StateCluster()
    await world.commits(ONE, count=EVERY)
    await world.settle(300)
    former, committed = world.homes[ONE], world.nodes[ONE].log.log_end
    for other in (TWO, THREE):
        world.cut(ONE, other)
    tail = [world.commit(ONE, offset) for offset in range(EVERY, EVERY + 6)]
    await world.settle()
    assert former.process.log.log_end > committed

    def damaged(standby: Any, found: Any, end: Offset) -> Any:
        if end > committed:
            raise refused("damaged behind what is committed")
        return replay(standby, found, end)

    monkeypatch.setattr(state_replica, "replay", damaged)
    world.elect(ONE, *NODES)
    await world.settle()
    assert world.row.leader != ONE and former.lacked
    for other in (TWO, THREE):
        world.link(ONE, other)
    await world.settle(2_000)
    assert former.process.log.log_end == committed
    assert not former.replica.held and world.isr == set(NODES)
    assert world.asked == []
    world.elect(ONE, *NODES)
    assert await world.committed(ONE) == EVERY - 1
    await asyncio.gather(*tail, return_exceptions=True)


async def test_a_state_that_is_only_here_and_not_whole_ends_the_node() -> None:
    world = StateCluster()
    await world.commits(ONE, count=EVERY * 5)
    await world.settle(300)
    for node in NODES:
        world.kill(node)
    damage_snapshots(world, TWO)
    world.change(world.row._replace(replicas=(TWO,), isr=(TWO,), leader=TWO))
    with pytest.raises(AssertionError, match="DirectoryRefused"):
        await world.restart(TWO)
        await world.settle(1_000)
    assert isinstance(world.homes[TWO].replica.failure, DirectoryRefused)


def rot(world: StateCluster, node: NodeId) -> None:
    """Let the newest snapshot rot, and a byte of the log behind the older one."""
    disk = world.disks[node]
    names = sorted(disk.list(DIRECTORY))
    log = next(name for name in names if name.endswith(".log"))
    newest = [name for name in names if name.endswith(".state")][-1]
    for name, at in ((newest, 20), (log, disk.open(f"{DIRECTORY}/{log}").size() // 2)):
        file = disk.open(f"{DIRECTORY}/{name}")
        file.fdatasync()
        disk.flip_bit(f"{DIRECTORY}/{name}", Position(at), 3)


@pytest.mark.parametrize("damage", [damage_snapshots, rot])
async def test_of_two_that_lack_it_neither_keeps_the_third_from_leading(
    damage: Callable[[StateCluster, NodeId], None],
) -> None:
    """They are in sync as it is, and each of them lets another one lead."""
    world = StateCluster()
    await world.commits(ONE, count=EVERY * 5 + 5)
    await world.settle(500)
    for node in NODES:
        world.kill(node)
    for node in (ONE, TWO):
        damage(world, node)
    world.elect(None, *NODES)
    for node in NODES:
        await world.restart(node)
    await world.settle(500)
    world.elect(ONE, *NODES)
    await world.settle(1_000)
    assert world.row.leader == THREE
    await world.settle(HAND_OVER_AGAIN_MS * 2)
    assert world.row.leader == THREE and world.isr == set(NODES)
    for node in NODES:
        world.elect(node, *NODES)
        assert await world.committed(node) == EVERY * 5 + 4


async def test_who_was_held_while_it_followed_is_counted_under_its_new_registration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = StateCluster()
    await world.commits(ONE, count=EVERY + 5)
    await world.settle(500)
    two, damaged = world.homes[TWO], True

    def read(standby: Any, found: Any, end: Offset) -> Any:
        if damaged and standby is two.replica._standby:
            raise refused("damaged")
        return replay(standby, found, end)

    monkeypatch.setattr(state_replica, "replay", read)
    world.no_snapshots = True
    await world.commits(ONE, count=1, begin=100)
    await world.settle(500)
    assert two.replica.held and TWO in world.isr
    world.registered[TWO] += 1
    two.process.streams.registered(RegistrationEpoch(world.registered[TWO]))
    await world.settle()
    task = world.commit(ONE, 200)
    await world.settle(4_000)
    assert task.done() and TWO not in world.isr
    world.no_snapshots = damaged = False
    await world.settle(2_000)
    assert not two.replica.held and world.isr == set(NODES)
