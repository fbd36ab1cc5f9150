"""Invariants of the worlds of cores that no other test breaks: each is broken, and seen to be."""

from typing import Final

import pytest

from cluster.controller.image import MetadataDelta, MetadataImage
from cluster.shell.raft_member import QuorumLeader
from consumer_groups.records import Cause, GroupChanged, GroupEpoch, GroupKind, OffsetCommitted
from model.ids import (
    AppendTimeMs,
    GroupId,
    Index,
    NodeId,
    Offset,
    PartitionId,
    Term,
    TopicId,
)
from tests.sim import quorum
from tests.sim.core_faults import FAULTS, Planted
from tests.sim.groups_books import Asked, Books
from tests.sim.replication_world import World

TRIES: Final = 300
"""Seeds in which a fault has to show."""
CASES: Final = [
    pytest.param(one, id=f"{one.run.__module__.rpartition('.')[2]}-{one.invariant}")
    for one in FAULTS
]


@pytest.mark.parametrize("planted", CASES)
def test_a_planted_fault_is_seen_by(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planted.where, planted.name, planted.fault)
    seen = dict[str, int]()
    for seed in range(planted.seed, planted.seed + TRIES):
        try:
            planted.run(seed)
        except AssertionError as broken:
            seen.setdefault(str(broken).partition(":")[0], seed)
        if planted.invariant in seen:
            return
    raise AssertionError(f"{planted.invariant} is not among {seen}")


# Those that the cores' own assertions would come before: the judge alone.


def test_one_leader_a_term() -> None:
    books = quorum.Books()
    books.led(QuorumLeader(Term(3), NodeId(1), leads=True))
    books.led(QuorumLeader(Term(3), NodeId(2), leads=False))
    books.led(QuorumLeader(Term(4), NodeId(2), leads=True))
    with pytest.raises(AssertionError, match="ONE_LEADER_A_TERM"):
        books.led(QuorumLeader(Term(4), NodeId(1), leads=True))


def test_one_history() -> None:
    books, news = quorum.Books(), MetadataDelta()
    books.shown(MetadataImage(applied=Index(5)), news)
    with pytest.raises(AssertionError, match="ONE_HISTORY"):
        books.shown(MetadataImage(applied=Index(5), topics={"t": None}), news)  # type: ignore[dict-item]


def test_offsets_never_back() -> None:
    group, place = GroupId("g"), PartitionId(TopicId(bytes(16)), 0)
    books = Books()
    begun = GroupChanged(
        group=group, epoch=GroupEpoch(0), kind=GroupKind.NATIVE, state_since=AppendTimeMs(0),
        assignor="",
    )  # fmt: skip
    books.append(0, 1, [begun])

    def commit(end: int, offset: int) -> None:
        books.asked[f"c{end}"] = Asked(group, place, offset, None, None, None)
        record = OffsetCommitted(
            group=group, partition=place, offset=Offset(offset), leader_epoch=None,
            metadata=f"c{end}", committed_at=AppendTimeMs(0), actor="o", cause=Cause.COMMIT,
        )  # fmt: skip
        books.append(0, end, [record])

    commit(2, 5)
    with pytest.raises(AssertionError, match="OFFSETS_NEVER_BACK"):
        commit(3, 4)


def test_committed_is_forever() -> None:
    """All three have another record where one was committed."""
    world = World(7)
    world.run()
    for node in world.nodes:
        for log in (world.processes[node].log, world.disk_of(node)):
            log[-1] = log[-1]._replace(number=-1)
    leader = next(one for one in world.processes.values() if one.leader is not None)
    with pytest.raises(AssertionError, match="COMMITTED_IS_FOREVER"):
        world.committed(leader, leader.mark)


def test_acked_is_committed() -> None:
    world = World(7)
    world.run()
    with pytest.raises(AssertionError, match="ACKED_IS_COMMITTED"):
        world.acknowledged(-1)


@pytest.mark.parametrize("spoil", ["another record", "one too few", "one too many"])
def test_replicas_are_equal(spoil: str) -> None:
    world = World(7)
    world.run()
    world.compare()
    disk = world.disk_of(world.nodes[1])
    last = disk[-1]
    if spoil == "one too many":
        disk.append(last)
    elif spoil == "one too few":
        del disk[-1]
    else:
        disk[-1] = last._replace(number=-1)
    with pytest.raises(AssertionError, match="REPLICAS_ARE_EQUAL"):
        world.compare()
