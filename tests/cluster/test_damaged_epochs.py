"""A node that has lost batches and their append times does not know of which epochs they were.

Nor does its table of epochs tell, which is a cache: it may be lost, or older.
"""

from collections.abc import AsyncIterator, Callable

import pytest

from logstore.paths import EPOCHS, LOG, TIMES
from tests.cluster.test_damage import SCRUBBED_MS, healed, pass_by_reading
from tests.damage_nodes import TOPIC, DamageNodes


@pytest.fixture
async def nodes() -> AsyncIterator[DamageNodes]:
    made = DamageNodes()
    try:
        await made.start()
        yield made
    finally:
        await made.close()


async def in_many_epochs(nodes: DamageNodes) -> None:
    """Have a log of small segments, with a new epoch in the midst of some of them."""
    await nodes.fill(records=5)
    for _ in range(4):
        leader = await nodes.leader(TOPIC)
        await nodes.lead(leader.number % 3 + 1)
        leader = await nodes.leader(TOPIC)
        for _ in range(5):
            await nodes.add(leader)
            await nodes.pass_by(20)
    await nodes.settled()


Pick = Callable[[list[str]], list[str]]


def the_first(names: list[str]) -> list[str]:
    return names[:1]


def all_of_them(names: list[str]) -> list[str]:
    return names


def but_the_first(names: list[str]) -> list[str]:
    return names[1:]


def empty(nodes: DamageNodes, victim: int, names: list[str]) -> None:
    """Give files back as they were when they were made: a disk that has lied does."""
    for name in names:
        file = nodes.disks[victim].open(name)
        file.truncate(0)
        file.fdatasync()


def unlink(nodes: DamageNodes, victim: int, names: list[str]) -> None:
    """Lose files."""
    for name in names:
        nodes.disks[victim].unlink(name)
    nodes.disks[victim].sync_directory(nodes.directory)


@pytest.mark.parametrize("pick", [the_first, all_of_them, but_the_first])
@pytest.mark.parametrize("harm", [empty, unlink])
@pytest.mark.parametrize("whose", ["leader", "follower"])
async def test_it_takes_them_from_the_others(
    nodes: DamageNodes,
    pick: Pick,
    harm: Callable[[DamageNodes, int, list[str]], None],
    whose: str,
) -> None:
    await in_many_epochs(nodes)
    leader = await nodes.leader(TOPIC)
    victim = leader.number if whose == "leader" else leader.number % 3 + 1
    epochs = leader.hosted(TOPIC).log.leader_epochs.rows
    assert len(epochs) >= 5
    await nodes.kill(victim)
    lost = pick(nodes.files(victim, LOG)) + pick(nodes.files(victim, TIMES))
    harm(nodes, victim, [*lost, f"{nodes.directory}/{EPOCHS}"])
    await nodes.leader(TOPIC)
    await nodes.start(victim)
    await nodes.in_sync(TOPIC)
    await nodes.add(await nodes.leader(TOPIC))
    await nodes.lead(victim)  # others must not get from it what it lacks
    await pass_by_reading(nodes, SCRUBBED_MS)
    await healed(nodes)
    assert not nodes.life(victim).told("repair_impossible")
    known = nodes.life(victim).hosted(TOPIC).log.leader_epochs.rows
    assert known[: len(epochs)] == epochs
