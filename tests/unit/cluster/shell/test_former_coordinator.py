"""A coordinator that was replaced without having heard of it: what it still tells, and whom."""

import pytest

from consumer_groups.machine import GroupMachine
from consumer_groups.records import GroupRecord
from model.errors import ErrorCode, Outcome, RequestError
from model.ids import AppendTimeMs, GroupId
from model.result import Result
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
