"""Five ways in which replicated logs were lost before, told to the replication world step by step.

Each ends healed, with equal replicas, and says what must have happened on the way: a scenario that
never gets where it goes proves nothing. Node 1 leads at first.
"""

from collections.abc import Callable
from typing import Final

from model.ids import NodeId
from tests.sim.replication_world import World

ONE, TWO, THREE = NodeId(1), NodeId(2), NodeId(3)
NOTICED_MS: Final = 4_000
"""Silence is noticed, somebody else elected, and has begun."""


def begun(seed: int) -> World:
    """Return three replicas in sync that hold three records."""
    world = World(seed)
    world.skew = dict.fromkeys(world.nodes, 0)
    world.run_for(600)
    append(world, ONE, 3)
    return world


def append(world: World, at: NodeId, many: int) -> None:
    """Append at a node, and see all of it acknowledged."""
    for _ in range(many):
        assert world.produce(at)
    acked = world.acked
    world.run_for(300)
    assert world.acked >= acked + many


def isolate(world: World, me: NodeId) -> None:
    """Cut a node off from everybody, in silence."""
    for other in world.others(me):
        isolate_pair(world, me, other)
    world.controller.cut_off.add(me)


def isolate_pair(world: World, one: NodeId, other: NodeId) -> None:
    """Carry nothing between two nodes, in silence."""
    world.cut(one, other)
    world.cut(other, one)


def leader(world: World) -> NodeId:
    """Return who leads, and has begun to."""
    led = world.controller.row.leader
    assert led is not None
    assert world.processes[led].leader is not None
    return led


def pause_kill(seed: int) -> World:
    """S1: the leader stands still, a new one begins, the old one goes on and appends."""
    world = begun(seed)
    world.pause(ONE, NOTICED_MS + 1_000)
    world.run_for(NOTICED_MS)
    if seed % 2:
        append(world, leader(world), 3)
    world.controller.cut_off.add(ONE)  # it hears of no election when it goes on
    world.run_for(world.paused[ONE] - world.now - 1)
    world.paused[ONE] = world.now  # nothing else has reached it yet
    acked = world.acked
    assert world.produce(ONE)
    world.run_for(100)
    assert world.acked == acked
    append(world, leader(world), 2)
    if seed % 3 == 0:
        world.kill(ONE)
    world.heal()
    assert world.happened["truncated"] == 1
    return world


def part_kill(seed: int) -> World:
    """S2: the leader is cut off with records of its own, dies, and comes back to a longer log."""
    world = begun(seed)
    isolate(world, ONE)
    for _ in range(2 + seed % 4):
        assert world.produce(ONE)
    world.run_for(NOTICED_MS)
    append(world, leader(world), 4)
    world.kill(ONE)
    world.run_for(500)
    world.heal()
    assert world.happened["truncated"] == 1
    return world


def last_replica_standing(seed: int) -> World:
    """S3: the ISR shrinks to one that has not synced; it loses power, then the others return."""
    world = begun(seed)
    world.slow_sync[ONE] = 9_000
    append(world, ONE, 1)
    world.kill(TWO)
    world.run_for(1_000)
    world.power_cut(THREE)
    world.run_for(1_000)
    assert world.controller.row.isr == (ONE,)
    world.power_cut(ONE)
    world.slow_sync.clear()
    for node in (ONE, THREE, TWO):
        world.start(node)
        world.run_for(700)
    world.heal()
    assert world.happened["elected from recovery"] == 1
    return world


def double_failover(seed: int) -> World:
    """S4 (KIP-101): who has not been told that a record is committed follows, then leads."""
    world = begun(seed)
    assert world.produce(ONE)
    while world.acked < 4:
        world.run_for(1)
    world.kill(ONE)
    isolate_pair(world, TWO, THREE)
    world.run_for(700)
    assert leader(world) == TWO
    world.kill(TWO)
    world.run_for(700)
    assert leader(world) == THREE
    world.heal()
    assert world.happened["elected from ISR"] == 2
    return world


def empty_epochs(seed: int) -> World:
    """S5 (KIP-279): of an epoch that only its own leader has, there is nothing on the next one.

    Node 2 lacks the end of epoch 1, which 3 has, and has records of epoch 2, which nobody else has.
    What 3 has of epoch 1 ends above where 2 has to cut.
    """
    world = begun(seed)
    world.cut(ONE, TWO)
    for _ in range(3):
        assert world.produce(ONE)
    world.run_for(100)
    world.kill(ONE)
    isolate_pair(world, TWO, THREE)
    world.run_for(600)
    assert leader(world) == TWO
    for _ in range(4 + seed % 3):
        assert world.produce(TWO)
    world.run_for(60)
    world.kill(TWO)
    world.run_for(600)
    assert leader(world) == THREE
    world.heal_links()
    world.start(ONE)
    world.run_for(1_000)
    append(world, THREE, 2)
    world.heal()
    assert world.happened["truncated"] == 1
    assert [record.epoch for record in world.committed_log][:8] == [1] * 6 + [3] * 2
    return world


def closed_time(seed: int) -> World:
    """A leader whose clock is ahead is replaced unheard, and goes on telling what is closed.

    With an even seed it is cut off from everybody, else from the controller alone: the others hear
    its clock, and follow somebody else.
    """
    world = begun(seed)
    world.skew[ONE] = 20_000
    world.run_for(1_200)
    append(world, ONE, 1)
    if seed % 2:
        world.controller.cut_off.add(ONE)
    else:
        isolate(world, ONE)
    world.run_for(NOTICED_MS)
    append(world, leader(world), 3)
    world.run_for(1_200)
    assert world.processes[ONE].leader is not None
    world.heal()
    assert world.happened["closed"] >= 5
    return world


SCENARIOS: Final[dict[str, Callable[[int], World]]] = {
    "pause-kill": pause_kill,
    "part-kill": part_kill,
    "last replica standing": last_replica_standing,
    "double fail-over": double_failover,
    "empty epochs": empty_epochs,
}
