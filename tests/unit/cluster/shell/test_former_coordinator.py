"""A coordinator that was replaced without having heard of it: what it still tells, and whom."""

from asyncio import ensure_future
from collections.abc import Callable, Sequence

import pytest

from consumer_groups.machine import GroupMachine
from consumer_groups.records import GroupRecord
from consumer_groups.views import GroupSummary
from model.errors import ErrorCode, Outcome, RequestError
from model.ids import AppendTimeMs, GroupId
from model.result import Result
from tests.group_state import commit_of
from tests.replica_cluster import ONE, THREE, TWO
from tests.state_cluster import GROUPS, StateCluster


async def deposed_unheard() -> StateCluster:
    """Return a world in which node 1 coordinates no more, without having heard of it."""
    world = StateCluster()
    await world.commits(ONE, count=5)
    await world.settle(200)
    world.cut(ONE, TWO)
    world.cut(ONE, THREE)
    world.unheard.add(ONE)
    world.elect(TWO, TWO, THREE)
    await world.settle()
    await world.commits(TWO, count=1, begin=50)
    assert world.homes[ONE].replica.led is not None
    return world


async def test_a_former_coordinator_that_has_heard_nothing_tells_no_commit_of_before() -> None:
    """P28: a commit that was acknowledged elsewhere would seem to have been taken back."""
    world = await deposed_unheard()
    with pytest.raises(RequestError) as refused:
        await world.committed(ONE)
    assert refused.value.code is ErrorCode.NOT_COORDINATOR
    assert refused.value.metadata["leader"] == "2"
    assert await world.committed(TWO) == 50


async def test_while_nobody_confirms_who_coordinates_nothing_is_told() -> None:
    world = await deposed_unheard()
    world.no_quorum = True
    with pytest.raises(RequestError) as refused:
        await world.committed(ONE)
    assert refused.value.code is ErrorCode.COORDINATOR_LOADING
    assert refused.value.code.retryable
    assert refused.value.code.outcome is Outcome.NOT_DONE


async def test_a_refusal_that_rests_on_the_state_is_no_former_coordinators_either() -> None:
    world = await deposed_unheard()

    def decide(machine: GroupMachine, _: AppendTimeMs) -> Result[GroupRecord, None]:
        return machine.delete_group(GroupId("made since"))

    with pytest.raises(RequestError) as refused:
        await world.homes[ONE].state.call(GROUPS[0], decide)
    assert refused.value.code is ErrorCode.NOT_COORDINATOR
    with pytest.raises(RequestError) as refused:
        await world.homes[TWO].state.call(GROUPS[0], decide)
    assert refused.value.code is ErrorCode.UNKNOWN_GROUP


def planned(machine: GroupMachine, now: AppendTimeMs) -> Result[GroupRecord, object]:
    """What a plan is: a change that is decided, and left."""
    return Result((), commit_of(machine, now, group=GROUPS[0], offset=9).response)


def refused_in_rows(machine: GroupMachine, now: AppendTimeMs) -> Result[GroupRecord, object]:
    decided = commit_of(machine, now, group=GROUPS[0], offset=-1)
    return Result(decided.records, decided.response)


def not_empty(_: GroupMachine, __: AppendTimeMs) -> Result[GroupRecord, object]:
    raise RequestError(ErrorCode.GROUP_NOT_EMPTY, "it has a member")


def changed(machine: GroupMachine, now: AppendTimeMs) -> Result[GroupRecord, object]:
    decided = commit_of(machine, now, group=GROUPS[0], offset=9)
    return Result(decided.records, decided.response)


@pytest.mark.parametrize("decide", [planned, refused_in_rows, not_empty])
async def test_nothing_that_changes_nothing_is_answered_by_a_former_coordinator(
    decide: Callable[[GroupMachine, AppendTimeMs], Result[GroupRecord, object]],
) -> None:
    """P28: a plan, rows that are all refused, and every refusal, whatever its code."""
    world = await deposed_unheard()
    with pytest.raises(RequestError) as refused:
        await world.homes[ONE].state.call(GROUPS[0], decide)
    assert refused.value.code is ErrorCode.NOT_COORDINATOR


async def test_its_list_of_groups_is_not_told_either() -> None:
    world = await deposed_unheard()
    home = world.homes[ONE]
    assert [row.group for part in await home.state.read_each(listed) for row in part] == ["billing"]
    assert await home.state.read_every(listed) == []
    (found,) = await world.homes[TWO].state.read_every(listed)
    assert [row.group for row in found] == ["billing"]
    world.no_quorum = True
    with pytest.raises(RequestError) as refused:
        await world.homes[TWO].state.read_every(listed)
    assert refused.value.code is ErrorCode.COORDINATOR_LOADING


def listed(machine: GroupMachine) -> Sequence[GroupSummary]:
    return machine.list()


def absent(machine: GroupMachine) -> object:
    return machine.group(GroupId("nobody"))


async def test_the_controllers_are_asked_once_at_most() -> None:
    """And not at all for what is committed, or what the node does by itself."""
    world = await deposed_unheard()
    state, quorum = world.homes[TWO].state, world.homes[TWO].quorum
    before = quorum.barriers
    writing = ensure_future(state.call(GROUPS[0], changed))
    await world.settle(200)
    await writing
    await state.look(GROUPS[0], listed)
    await state.tend(GROUPS[0], planned)
    for own in (state.look(GROUPS[0], absent), state.tend(GROUPS[0], not_empty)):
        with pytest.raises(RequestError):
            await own
    assert quorum.barriers == before
    with pytest.raises(RequestError) as refused:
        await state.read(GROUPS[0], absent)
    assert refused.value.code is ErrorCode.UNKNOWN_GROUP
    assert quorum.barriers == before + 1
    with pytest.raises(RequestError):
        await state.call(GROUPS[0], not_empty)
    await state.call(GROUPS[0], planned)
    assert quorum.barriers == before + 3


async def test_of_what_has_one_replica_nobody_is_asked() -> None:
    world = StateCluster()
    await world.commits(ONE, count=1)
    (row,) = world.topic.partitions
    epoch = row.partition_epoch + 1
    alone = row._replace(replicas=(ONE,), isr=(ONE,), partition_epoch=epoch)
    world.change(alone)
    home = world.homes[ONE]
    await home.state.call(GROUPS[0], planned)
    await home.state.read(GROUPS[0], listed)
    await home.state.read_every(listed)
    with pytest.raises(RequestError):
        await home.state.call(GROUPS[0], not_empty)
    assert home.quorum.barriers == 0
