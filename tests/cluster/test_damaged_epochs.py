"""A node that has lost batches and their append times does not know of which epochs they were.

Nor does its table of epochs tell, which is a cache: it may be lost, or older.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

import pytest

from api.node.mending import Mending
from logstore.paths import EPOCHS, LOG, TIMES
from logstore.times import ROW_BYTES
from model.ids import Offset, Position
from tests.cluster.test_damage import SCRUBBED_MS, healed, killed, pass_by_reading, stopped
from tests.damage_nodes import TOPIC, DamageNodes


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


def the_second(names: list[str]) -> list[str]:
    """An epoch begins in the midst of it."""
    return names[1:2]


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
    nodes.disks[victim].sync_directory(names[0].rpartition("/")[0])


def spoil(nodes: DamageNodes, victim: int, names: list[str]) -> None:
    """Let the first batch of files say a length that it has not; lose what is no log."""
    for name in names:
        if name.endswith(LOG):
            nodes.disks[victim].flip_bit(name, Position(9), 6)
    unlink(nodes, victim, [name for name in names if not name.endswith(LOG)])


Harm = Callable[[DamageNodes, int, list[str]], None]
End = Callable[[DamageNodes, int], Awaitable[None]]


def tell_tales(nodes: DamageNodes, victim: int, pick: Pick) -> list[str]:
    """Return the files of a node's log without which nothing tells of which epochs it is."""
    lost = pick(nodes.files(victim, LOG)) + pick(nodes.files(victim, TIMES))
    return [*lost, f"{nodes.directory}/{EPOCHS}"]


@pytest.mark.parametrize(
    "how",
    [
        (pick, harm)
        for pick in (the_first, the_second, all_of_them, but_the_first)
        for harm in (empty, unlink, spoil)
    ],
    ids=lambda how: " ".join(part.__name__ for part in how),
)
@pytest.mark.parametrize("end", [stopped, killed])
async def test_it_takes_them_from_the_others(
    nodes: DamageNodes, how: tuple[Pick, Harm], end: End
) -> None:
    pick, harm = how
    await in_many_epochs(nodes)
    leader = await nodes.leader(TOPIC)
    victim = leader.number
    epochs = leader.hosted(TOPIC).log.leader_epochs.rows
    assert len(epochs) >= 5
    lost = tell_tales(nodes, victim, pick)
    await end(nodes, victim)
    harm(nodes, victim, lost)
    await nodes.leader(TOPIC)
    await nodes.start(victim)
    await nodes.in_sync(TOPIC)
    await nodes.add(await nodes.leader(TOPIC))
    await nodes.lead(victim)  # others must not get from it what it lacks
    await pass_by_reading(nodes, SCRUBBED_MS)
    await healed(nodes)
    assert not nodes.life(victim).told("repair_impossible")
    known = nodes.life(victim).hosted(TOPIC).log.leader_epochs
    assert known.rows[: len(epochs)] == epochs
    assert known.lost_from is None
    others = nodes.life(victim).node._membership.others
    assert others is not None and isinstance(others.mending, Mending)
    log = nodes.life(victim).hosted(TOPIC).log
    assert others.mending.end_of(log.id).log_end == log.log_end, "what elections are told"


class Files(NamedTuple):
    """Of one segment."""

    log: str
    times: str


def lose_file(nodes: DamageNodes, victim: int, of: Files) -> None:
    """Lose the batches, and no append time."""
    unlink(nodes, victim, [of.log])


def lose_half(nodes: DamageNodes, victim: int, of: Files) -> None:
    """Lose some of the batches, and no append time."""
    file = nodes.disks[victim].open(of.log)
    file.truncate(file.size() // 2)
    file.fdatasync()


def lose_rows(nodes: DamageNodes, victim: int, of: Files) -> None:
    """Lose some of the append times, and half of the batches: they have got further."""
    lose_half(nodes, victim, of)
    file = nodes.disks[victim].open(of.times)
    file.truncate(2 * ROW_BYTES)  # the head, and one row
    file.fdatasync()


@pytest.mark.parametrize("part", [lose_file, lose_half, lose_rows])
@pytest.mark.parametrize("end", [stopped, killed])
async def test_what_is_half_lost_before_a_lost_end_is_not_forgotten(
    nodes: DamageNodes, part: Callable[[DamageNodes, int, Files], None], end: End
) -> None:
    await in_many_epochs(nodes)
    victim = (await nodes.leader(TOPIC)).number
    logs, times = nodes.files(victim, LOG), nodes.files(victim, TIMES)
    rest = [*logs[5:], *times[5:], f"{nodes.directory}/{EPOCHS}"]
    await end(nodes, victim)
    part(nodes, victim, Files(logs[4], times[4]))
    unlink(nodes, victim, rest)
    await nodes.leader(TOPIC)
    await nodes.start(victim)
    await nodes.in_sync(TOPIC)
    await pass_by_reading(nodes, SCRUBBED_MS)
    await healed(nodes)


async def test_a_log_that_was_matched_and_repaired_is_one_like_any_other(
    nodes: DamageNodes,
) -> None:
    """P1: the epoch of what was lost goes on at the leader, so nothing is dropped; nor is later."""
    leader = await nodes.fill()
    victim = leader.number % 3 + 1
    lost = [*nodes.files(victim, LOG)[-1:], *nodes.files(victim, TIMES)[-1:]]
    lost.append(f"{nodes.directory}/{EPOCHS}")
    await nodes.kill(victim)
    unlink(nodes, victim, lost)
    await nodes.start(victim)
    await nodes.in_sync(TOPIC)
    table = nodes.life(victim).hosted(TOPIC).log.leader_epochs
    assert table.rows and table.lost_from is None
    for _ in range(10):
        await nodes.add(leader)
    await pass_by_reading(nodes, SCRUBBED_MS)
    await healed(nodes)


async def test_who_has_led_since_drops_nothing(nodes: DamageNodes) -> None:
    leader = await nodes.fill()
    victim = leader.number % 3 + 1
    table = nodes.life(victim).hosted(TOPIC).log.leader_epochs
    table.lost_from = Offset(0)
    await nodes.lead(victim)
    assert table.lost_from is None


@pytest.mark.parametrize("end", [stopped, killed])
async def test_an_end_that_is_lost_counts_in_no_election(nodes: DamageNodes, end: End) -> None:
    """P3: though its files are as long as they should be, and it was stopped in order."""
    await in_many_epochs(nodes)
    victim = int(nodes.row(TOPIC).replicas[0])
    await nodes.lead(victim)
    lost = tell_tales(nodes, victim, all_of_them)
    for number in (*(one for one in nodes.numbers if one != victim), victim):
        await end(nodes, number)
    spoil(nodes, victim, lost)
    await nodes.start()
    assert (await nodes.leader(TOPIC)).number != victim
    await nodes.in_sync(TOPIC)
    await pass_by_reading(nodes, SCRUBBED_MS)
    await healed(nodes)
