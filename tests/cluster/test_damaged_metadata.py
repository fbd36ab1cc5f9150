"""What rots among a node's own files: made anew, or refused by name with what to do; not believed.

The node is stopped, one byte of one file flips, it starts again. Either it serves what it did; or
it ends with exit code 11, naming the file and the way back, and an empty directory is that way.
"""

import pytest

from api.sim.disk import SimDisk
from model.errors import DirectoryExit, DirectoryRefused
from tests.damage_nodes import TOPIC, DamageNodes, refused_at_start

STARTS = {"clean", "epochs", ".producers", ".index", ".wal", ".state", ".times", ".log"}
"""Caches, copies, and what other replicas have."""
REFUSED = {"identity", "checkpoint", "quorum_state", ".raft", ".snapshot"}
"""Nobody else can tell what stood there."""


def kind_of(name: str) -> str:
    last = name.rpartition("/")[2]
    return f".{last.rpartition('.')[2]}" if "." in last else last


async def filled(nodes: DamageNodes) -> int:
    """Have something in every kind of file; return a node that does not lead."""
    leader = await nodes.fill()
    victim = leader.number % 3 + 1
    await nodes.stop(victim)
    await nodes.add(leader)
    return victim


async def test_every_kind_of_file_of_a_node_that_is_stopped(nodes: DamageNodes) -> None:
    victim = await filled(nodes)
    kinds = {kind_of(name) for name in nodes.every_file(victim)}
    assert kinds - (STARTS | REFUSED) == set(), "a new kind of file: say what becomes of it"
    for kind in sorted(kinds & REFUSED):
        (name, *_) = [name for name in nodes.every_file(victim) if kind_of(name) == kind]
        restore = nodes.flip(victim, name, at=12)
        refused = await refused_at_start(nodes, victim)
        assert refused is not None, name
        check_refusal(refused, kind, name)
        restore()
    for kind in sorted(kinds & STARTS):
        for name in nodes.every_file(victim):
            if kind_of(name) == kind:
                nodes.flip(victim, name)
        assert await refused_at_start(nodes, victim) is None, kind
        await nodes.in_sync(TOPIC)
        assert await nodes.read() == nodes.values
        await nodes.stop(victim)
    await nodes.start(victim)
    await nodes.in_sync(TOPIC)
    await nodes.rest(130_000)
    await nodes.settled()
    assert len(set(nodes.logs().values())) == 1


async def test_a_member_whose_last_entry_is_damaged_does_not_go_on(nodes: DamageNodes) -> None:
    """It looks like a write that a crash cut short; but the leader was told that it is there."""
    victim = await filled(nodes)
    (name,) = [name for name in nodes.every_file(victim) if name.endswith(".raft")]
    nodes.flip(victim, name, at=nodes.disks[victim].open(name).size() - 3)
    refused = await refused_at_start(nodes, victim)
    assert refused is not None
    check_refusal(refused, ".raft", name)
    nodes.disks[victim] = SimDisk()
    await nodes.start(victim)
    await nodes.in_sync(TOPIC)
    assert await nodes.read() == nodes.values


def check_refusal(refused: DirectoryRefused, kind: str, name: str) -> None:
    """See that it names the file, and what to do."""
    assert refused.exit_code is DirectoryExit.FAILED
    assert kind.removeprefix(".") in refused.detail or name in refused.detail, refused.detail
    assert "empty" in refused.detail, refused.detail


@pytest.mark.parametrize("seed", range(6))
async def test_rot_in_the_journal_of_a_node_that_was_killed(nodes: DamageNodes, seed: int) -> None:
    """It is refused, or what rotted is what nobody need have been told of: it ends before that."""
    nodes.chance.seed(seed)
    leader = await nodes.fill()
    victim = leader.number % 3 + 1
    for _ in range(6):
        await nodes.add(leader)
    await nodes.kill(victim)
    journal, used = nodes.journal(victim)
    restore = nodes.flip(victim, journal, at=nodes.chance.randrange(used))
    refused = await refused_at_start(nodes, victim)
    if refused is not None:
        check_refusal(refused, "journal", journal)
        restore()
        await nodes.start(victim)
    await nodes.in_sync(TOPIC)
    await nodes.settled()
    assert await nodes.read() == nodes.values
    assert len(set(nodes.logs().values())) == 1


@pytest.mark.parametrize("what", ["metadata", "metadata/quorum_state"])
async def test_a_member_that_has_lost_its_vote_does_not_vote_again(
    nodes: DamageNodes, what: str
) -> None:
    """P15: it is refused until its directory is empty; then it joins as another member."""
    victim = await filled(nodes)
    nodes.remove(victim, what)
    refused = await refused_at_start(nodes, victim)
    assert refused is not None
    assert refused.exit_code is DirectoryExit.FAILED
    assert "quorum_state" in refused.detail
    assert "empty the whole data directory" in refused.detail


async def test_the_way_back_is_an_empty_directory(nodes: DamageNodes) -> None:
    victim = await filled(nodes)
    nodes.flip(victim, "metadata/quorum_state", at=20)
    assert await refused_at_start(nodes, victim) is not None
    nodes.disks[victim] = SimDisk()
    await nodes.start(victim)
    await nodes.in_sync(TOPIC)
    await nodes.settled()
    assert await nodes.read() == nodes.values
    assert len(set(nodes.logs().values())) == 1
