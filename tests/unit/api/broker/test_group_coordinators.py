"""Coordinators on a whole node: who is told of what is committed, and how many groups there are."""

import asyncio
from dataclasses import replace

import pytest

from api.broker.group_state import GroupState
from api.sim.disk import SimDisk
from cluster.state_partition.layout import partition_of
from model.errors import ErrorCode, RequestError
from model.ids import GroupId
from model.limits import GROUPS_MAX
from tests.broker_node import broker_node
from tests.group_state import commit, committed

GROUPS = ("billing", "orders-projection", "bücher", "a")


async def test_groups_of_all_coordinators_count_towards_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """P54: also after a start; a group that goes makes room for another one."""
    assert len({partition_of(group) for group in GROUPS}) > 2
    monkeypatch.setattr("consumer_groups.groups.GROUPS_MAX", replace(GROUPS_MAX, value=3))
    disk = SimDisk()
    for _ in range(2):
        async with broker_node(disk) as node:
            state = node.broker.groups_state
            for group in GROUPS[:3]:
                await commit(state, group, 1)
            with pytest.raises(RequestError, match="there are 3 groups, at most 3") as refused:
                await commit(state, GROUPS[3], 1)
            assert refused.value.code is ErrorCode.LIMIT_EXCEEDED
        disk.kill()
    async with broker_node(disk) as node:
        await deleted(node.broker.groups_state, GROUPS[0])
        await commit(node.broker.groups_state, GROUPS[3], 1)


async def test_listeners_hear_of_what_is_committed_and_of_nothing_else() -> None:
    async with broker_node() as node:
        state = node.broker.groups_state
        heard: list[str] = []
        state.subscribe(heard.append)
        await commit(state, "a", 1)
        assert heard == ["a"]
        await committed(state, "a")
        first = asyncio.ensure_future(deleted(state, "a"))
        second = asyncio.ensure_future(commit(state, "billing", 2))
        await asyncio.sleep(0)
        assert heard == ["a"]
        await asyncio.gather(first, second)
        assert sorted(heard) == ["a", "a", "billing"]


async def test_listeners_hear_nothing_of_offsets_of_a_group_that_is_there() -> None:
    """Thousands a second: who follows members would look each time, and find them as they were."""
    async with broker_node() as node:
        state = node.broker.groups_state
        await commit(state, "a", 1)
        heard: list[str] = []
        state.subscribe(heard.append)
        await commit(state, "a", 2)
        assert heard == []
        await deleted(state, "a")
        assert heard == ["a"]


async def test_a_node_on_its_own_asks_nobody_whether_it_coordinates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with broker_node() as node:
        state, asked = node.broker.groups_state, 0

        async def ask() -> None:
            nonlocal asked
            asked += 1

        monkeypatch.setattr(node.broker.context.quorum, "read_barrier", ask)
        for _ in range(2):  # before there is a topic, and then
            with pytest.raises(RequestError):
                await deleted(state, "nobody")
            await state.read("a", lambda machine: machine.list())
            await state.read_every(lambda machine: machine.list())
            await commit(state, "a", 1)
        assert asked == 0


async def deleted(state: GroupState, group: str) -> None:
    await state.call(group, lambda machine, _: machine.delete_group(GroupId(group)))
