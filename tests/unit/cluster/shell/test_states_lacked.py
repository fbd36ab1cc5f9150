"""Replicas of state partitions whose disks do not tell the state: others have it (P45)."""

import pytest

from model.errors import DirectoryRefused
from model.ids import NodeId, Position
from tests.replica_cluster import ONE, THREE, TWO
from tests.replica_process import PLACE
from tests.state_cluster import EVERY, NODES, StateCluster

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


async def test_who_is_chosen_to_lead_without_its_state_lets_another_one_lead() -> None:
    """It is counted in sync until it has been away for long; and nobody has to do anything."""
    world = StateCluster()
    await world.commits(ONE, count=EVERY * 5)
    await world.settle(300)
    for node in NODES:
        world.kill(node)
    damage_snapshots(world, TWO)
    back = await world.restart(TWO)
    world.elect(TWO, *NODES)
    await world.settle(1_000)
    assert back.replica.held and back.replica.failure is None
    for node in (ONE, THREE):
        await world.restart(node)
    await world.settle(2_000)
    assert not back.replica.held
    leader = world.row.leader
    assert leader is not None and leader != TWO
    assert await world.committed(leader) == EVERY * 5 - 1
    world.elect(TWO, *NODES)
    assert await world.committed(TWO) == EVERY * 5 - 1


async def test_who_is_chosen_again_ends() -> None:
    """Else two that lack it hand over to each other for ever, and whoever has it never leads."""
    world = StateCluster()
    await world.commits(ONE, count=EVERY * 5)
    await world.settle(300)
    world.no_snapshots = True
    world.kill(TWO)
    damage_snapshots(world, TWO)
    back = await world.restart(TWO)
    world.elect(TWO, *NODES)
    await world.settle(1_000)
    assert world.row.leader not in {None, TWO}
    assert back.replica.held and back.replica.failure is None
    with pytest.raises(AssertionError, match="no leader to fetch a snapshot from"):
        world.elect(TWO, *NODES)
        await world.settle()


async def test_but_the_last_one_in_sync_says_that_nobody_has_it() -> None:
    world = StateCluster()
    await world.commits(ONE, count=EVERY * 5)
    await world.settle(300)
    for node in NODES:
        world.kill(node)
    damage_snapshots(world, TWO)
    back = await world.restart(TWO)
    with pytest.raises(AssertionError, match="no leader to fetch a snapshot from"):
        world.elect(TWO, TWO)
        await world.settle()
    assert isinstance(back.replica.failure, DirectoryRefused)
