"""Committed offsets through the coordinators of a running node, without doors."""

import asyncio
from collections.abc import Callable, Iterable

from api.broker.group_state import GroupState
from api.sim.disk import SimDisk
from api.sim.power_cut import Pending
from consumer_groups.machine import GroupMachine
from consumer_groups.records import GroupRecord, OffsetCommitted
from consumer_groups.requests import Commit, Cursor, FromOutside
from consumer_groups.views import PartitionRow
from model.ids import AppendTimeMs, GroupId, Offset, PartitionId
from model.result import Result
from tests.group_bench import Topics

TOPICS = Topics()
TOPICS.create("orders", 1_000)
ORDERS = TOPICS.partition("orders/0")


def commit_of(
    machine: GroupMachine,
    now: AppendTimeMs,
    *,
    group: str,
    offset: int,
    metadata: str = "",
    partitions: Iterable[int] = (0,),
) -> Result[GroupRecord, tuple[PartitionRow, ...]]:
    """Decide a commit from outside, of one offset in some partitions of `orders`."""
    cursors = tuple(
        Cursor(
            partition=PartitionId(ORDERS.topic, number), offset=Offset(offset), metadata=metadata
        )
        for number in partitions
    )
    request = Commit(group=GroupId(group), actor=FromOutside("test"), cursors=cursors)
    return machine.commit(request, now=now, topics=TOPICS)


async def commit(
    state: GroupState, group: str, offset: int, *, metadata: str = "", partitions: int = 1
) -> None:
    """Commit, and wait for the answer."""
    rows = await state.call(
        group,
        lambda machine, now: commit_of(
            machine,
            now,
            group=group,
            offset=offset,
            metadata=metadata,
            partitions=range(partitions),
        ),
    )
    refused = [row.error for row in rows if row.error is not None]
    if refused:
        raise refused[0]


async def committed(state: GroupState, group: str, number: int = 0) -> int | None:
    """Ask for an offset."""
    place = PartitionId(ORDERS.topic, number)
    found: OffsetCommitted | None = await state.read(
        group, lambda machine: machine.committed(GroupId(group), place)
    )
    return None if found is None else found.offset


async def states(state: GroupState) -> list[tuple[GroupRecord, ...]]:
    """Return what each partition's machine holds."""
    return await state.read_each(lambda machine: machine.snapshot())


def left_by_power_cut(disk: SimDisk) -> SimDisk:
    """Return the disk as a power cut now would leave it, if it took all that was not synced."""
    with disk.guard:
        pending = Pending(disk.platter)
        return SimDisk(pending.image(pending.nothing))


async def until(holds: Callable[[], bool]) -> None:
    """Let the node go on until something holds."""
    while not holds():  # noqa: ASYNC110 - what it waits for has no event
        await asyncio.sleep(0)
