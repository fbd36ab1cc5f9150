"""What rots on one node is never served, and comes back whole from the others (P1, P6, P45)."""

from collections.abc import Awaitable, Callable

import pytest

from api.broker.damage import Mending
from logstore.paths import DAMAGED, INDEX, LOG, TIMES
from model.errors import ErrorCode
from model.ids import NodeId, Position
from tests.cluster_nodes import Life
from tests.damage_nodes import TOPIC, DamageNodes

SCRUBBED_MS = 130_000
"""Every segment was read again by then, whatever the lot has drawn; and repaired."""


async def healed(nodes: DamageNodes) -> None:
    """See that readers get what was acknowledged, and that all three hold the same."""
    await nodes.settled()
    await nodes.until(lambda: not any(one.context.damage.places for one in nodes.lives.values()))
    assert await nodes.read() == nodes.values
    logs = nodes.logs()
    assert len(set(logs.values())) == 1
    times = list(nodes.times().values())
    assert times[0] == times[1] == times[2]
    assert None not in times[0]


async def pass_by_reading(nodes: DamageNodes, ms: int) -> None:
    """Let time pass, and have somebody read all the while: nothing but what was acknowledged."""
    for _ in range(ms // 10_000):
        await nodes.pass_by(10_000)
        assert await nodes.read() == nodes.values


@pytest.mark.parametrize("whose", ["leader", "follower"])
async def test_one_byte_in_every_file_of_a_node_that_runs(nodes: DamageNodes, whose: str) -> None:
    leader = await nodes.fill()
    victim = leader.number if whose == "leader" else leader.number % 3 + 1
    closed = nodes.files(victim, LOG)[:-1]
    assert len(closed) >= 3
    for name in nodes.files(victim, LOG, TIMES, INDEX):
        nodes.flip(victim, name)
    for _ in range(8):  # what was active is closed by and by, and looked at then
        await nodes.add(await nodes.leader(TOPIC))
    await pass_by_reading(nodes, 2 * SCRUBBED_MS)
    await healed(nodes)
    mended = len(nodes.life(victim).told("segment_mended"))
    assert mended == nodes.life(victim).context.damage.healed >= len(closed) - 1
    assert not nodes.life(victim).told("repair_impossible")
    asides = [name for name in nodes.files(victim, DAMAGED) if LOG in name]
    assert asides, "kept for people"


async def test_a_leader_whose_log_is_damaged_gives_its_leadership_up(nodes: DamageNodes) -> None:
    leader = await nodes.fill()
    victim, epoch = leader.number, leader.hosted(TOPIC).leader_epoch
    await nodes.kill(victim)
    await nodes.leader(TOPIC)
    await nodes.start(victim)
    await nodes.in_sync(TOPIC)
    await nodes.lead(victim)
    nodes.flip(victim, nodes.files(victim, LOG)[0], at=70)
    assert await nodes.read() == nodes.values
    await nodes.until(lambda: nodes.row(TOPIC).leader not in {None, victim})
    assert nodes.row(TOPIC).leader_epoch > epoch
    await healed(nodes)


def mending_of(life: Life) -> Mending:
    others = life.node._membership.others
    assert others is not None
    return others.mending


async def test_who_lacks_the_state_of_what_it_leads_has_another_one_lead(
    nodes: DamageNodes,
) -> None:
    leader = await nodes.fill()
    first, second = (NodeId(number) for number in nodes.lives if number != leader.number)
    mending = mending_of(leader)
    for _ in range(3):  # as whoever waits for it does
        mending.let_lead(leader.hosted(TOPIC), [first, second])
    await nodes.until(lambda: nodes.row(TOPIC).leader == first)
    await nodes.until(lambda: len(nodes.life(leader.number).told("state_handed_over")) == 1)


async def test_and_the_next_one_where_the_first_is_away(nodes: DamageNodes) -> None:
    leader = await nodes.fill()
    first, second = (NodeId(number) for number in nodes.lives if number != leader.number)
    await nodes.kill(first)
    await nodes.until(lambda: first not in nodes.row(TOPIC).isr)
    mending_of(leader).let_lead(leader.hosted(TOPIC), [first, second])
    await nodes.until(lambda: nodes.row(TOPIC).leader == second)


Harm = Callable[[DamageNodes, int], None]


def flip_every(nodes: DamageNodes, victim: int) -> None:
    for name in nodes.files(victim, LOG, TIMES, INDEX):
        nodes.flip(victim, name)


def cut_a_closed_one(nodes: DamageNodes, victim: int) -> None:
    file = nodes.disks[victim].open(nodes.files(victim, LOG)[1])
    file.truncate(file.size() // 2)
    file.fdatasync()


def cut_the_last(nodes: DamageNodes, victim: int) -> None:
    names = [name for name in nodes.files(victim, LOG) if nodes.disks[victim].open(name).size()]
    file = nodes.disks[victim].open(names[-1])
    file.truncate(file.size() - 30)
    file.fdatasync()


def lose_one(nodes: DamageNodes, victim: int) -> None:
    nodes.disks[victim].unlink(nodes.files(victim, LOG)[1])
    nodes.disks[victim].sync_directory(nodes.directory)


def lose_all(nodes: DamageNodes, victim: int) -> None:
    for name in nodes.files(victim, ""):
        nodes.disks[victim].unlink(name)
    nodes.disks[victim].remove_directory(nodes.directory)
    nodes.disks[victim].sync_directory("partitions")


def lose_times(nodes: DamageNodes, victim: int) -> None:
    for name in nodes.files(victim, TIMES):
        nodes.disks[victim].unlink(name)
    nodes.disks[victim].sync_directory(nodes.directory)


async def stopped(nodes: DamageNodes, victim: int) -> None:
    await nodes.stop(victim)


async def killed(nodes: DamageNodes, victim: int) -> None:
    await nodes.kill(victim)


@pytest.mark.parametrize("end", [stopped, killed])
@pytest.mark.parametrize(
    "harm", [flip_every, cut_a_closed_one, cut_the_last, lose_one, lose_all, lose_times]
)
async def test_a_node_that_starts_on_a_damaged_directory(
    nodes: DamageNodes, harm: Harm, end: Callable[[DamageNodes, int], Awaitable[None]]
) -> None:
    leader = await nodes.fill()
    victim = leader.number
    await end(nodes, victim)
    harm(nodes, victim)
    await nodes.leader(TOPIC)
    await nodes.start(victim)
    await nodes.in_sync(TOPIC)
    leader = await nodes.leader(TOPIC)
    await nodes.add(leader)
    await nodes.lead(victim)  # others must not get from it what it lacks
    await pass_by_reading(nodes, SCRUBBED_MS)
    await healed(nodes)


@pytest.mark.parametrize("end", [stopped, killed])
async def test_what_a_start_misses_counts_as_lost_in_an_election(
    nodes: DamageNodes, end: Callable[[DamageNodes, int], Awaitable[None]]
) -> None:
    """P3: all ended alike; the one that lacks a segment does not lead before the others."""
    await nodes.fill()
    victim = int(nodes.row(TOPIC).replicas[0])
    await nodes.lead(victim)
    (lost, *_), directory = nodes.files(victim, LOG), nodes.directory
    for number in (*(one for one in nodes.numbers if one != victim), victim):
        await end(nodes, number)
    nodes.disks[victim].unlink(lost)
    nodes.disks[victim].sync_directory(directory)
    await nodes.start()
    first = await nodes.leader(TOPIC)
    assert first.number != victim
    await nodes.in_sync(TOPIC)
    await pass_by_reading(nodes, SCRUBBED_MS)
    await healed(nodes)


async def test_two_copies_damaged_in_different_places_make_a_whole_one(
    nodes: DamageNodes,
) -> None:
    leader = await nodes.fill(size=3_000, segment=16 << 10)  # several blocks of the index
    others = [number for number in nodes.numbers if number != leader.number]
    first = nodes.files(others[0], LOG)[0]
    nodes.flip(others[0], first, at=100)
    size = nodes.disks[others[1]].open(first).size()
    nodes.flip(others[1], first, at=size - 20)
    await nodes.kill(leader.number)
    await pass_by_reading_two(nodes, SCRUBBED_MS)
    await nodes.start(leader.number)
    await nodes.in_sync(TOPIC)
    await healed(nodes)


async def pass_by_reading_two(nodes: DamageNodes, ms: int) -> None:
    """Let time pass while two of three run: what nobody can serve yet is refused, and asked for."""
    await nodes.leader(TOPIC)
    await nodes.rest(ms)
    assert await nodes.read() == nodes.values


async def test_nothing_is_served_that_no_replica_has_whole(nodes: DamageNodes) -> None:
    """Every copy is damaged in one place: that is refused, *not done*; all else is served."""
    await nodes.fill()
    name = nodes.files(1, LOG)[0]
    for number in nodes.numbers:
        nodes.disks[number].flip_bit(name, Position(100), 1)
    await nodes.rest(SCRUBBED_MS)
    assert any(nodes.life(number).told("repair_impossible") for number in nodes.numbers)
    refused, values = await nodes.read_around()
    assert refused <= {ErrorCode.CORRUPT_LOG, ErrorCode.OFFSET_NOT_AVAILABLE}
    assert set(values) < set(nodes.values)
    assert len(values) >= len(nodes.values) - 8


async def test_a_full_disk_has_no_room_for_a_repair_and_ends_nothing(nodes: DamageNodes) -> None:
    """P48: what is damaged waits, refused; everything else goes on, and it heals with the room."""
    leader = await nodes.fill()
    victim = leader.number % 3 + 1
    disk = nodes.disks[victim]
    disk.capacity_bytes = disk.used_bytes * 21 // 20
    directory = nodes.life(victim).node.directory
    directory.poll_free(directory.mark_space())  # as each checkpoint does
    nodes.flip(victim, nodes.files(victim, LOG)[0], at=70)
    await nodes.rest(SCRUBBED_MS)
    assert nodes.life(victim).told("log_corrupt")
    assert not nodes.life(victim).told("segment_mended")
    assert "in reserve" in str(nodes.life(victim).told("repair_refused")[-1]["why"])
    assert await nodes.read() == nodes.values
    disk.capacity_bytes *= 20
    await nodes.rest(SCRUBBED_MS)
    assert nodes.life(victim).told("segment_mended")
    await healed(nodes)


async def test_who_was_not_heard_may_have_it_and_readers_may_ask_again(nodes: DamageNodes) -> None:
    """Two copies are damaged in one place, the third is away with its node: nothing is final."""
    leader = await nodes.fill()
    away, other = (number for number in nodes.numbers if number != leader.number)
    name = nodes.files(1, LOG)[0]
    await nodes.kill(away)
    nodes.flip(leader.number, name, at=70)
    nodes.flip(other, name, at=70)
    await nodes.rest(20_000)
    refused, _ = await nodes.read_around()
    assert refused == {ErrorCode.OFFSET_NOT_AVAILABLE}
    assert not nodes.life(leader.number).told("repair_impossible")
    await nodes.start(away)
    await nodes.in_sync(TOPIC)
    assert await nodes.read() == nodes.values
    await nodes.rest(SCRUBBED_MS)
    await healed(nodes)
