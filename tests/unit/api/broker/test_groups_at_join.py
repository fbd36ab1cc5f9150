"""A node that joins goes on though it cannot answer for some groups, or not yet."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from api.sim.disk import SimDisk
from cluster.shell.led_state import LedState
from model.errors import ErrorCode, RequestError
from tests.broker_node import BrokerNode, broker_node
from tests.group_state import commit
from tests.quorum import turns

LOST = RequestError(ErrorCode.LEADERSHIP_LOST, "it leads no more")


async def begun_anew(node: BrokerNode) -> None:
    """Do what the end of a join does about groups."""
    node.broker.group_figures.start()
    node.broker.members.start()
    await turns()


@pytest.mark.parametrize("answer", ["lost", "never"])
async def test_a_join_rests_on_no_partition_of_the_groups(
    monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    """Their high watermark may wait for other nodes, or their leadership go meanwhile."""
    async with broker_node(SimDisk()) as node:
        await commit(node.broker.groups_state, "billing", 1)
        asked: list[Callable[..., Any]] = []

        def ask(_: Any, decide: Callable[..., Any]) -> "asyncio.Future[Any]":
            asked.append(decide)
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            if answer == "lost":
                future.set_exception(LOST)
            return future

        with monkeypatch.context() as patched:
            patched.setattr(LedState, "ask", ask)
            await begun_anew(node)
        assert len(asked) >= 2
        assert node.failures == []


async def test_figures_leave_out_what_was_counted_before() -> None:
    async with broker_node(SimDisk()) as node:
        await commit(node.broker.groups_state, "billing", 1)
        await begun_anew(node)
        await commit(node.broker.groups_state, "billing", 2)
        figures = await node.broker.group_figures(every_group=True)
        assert figures.commits == 1
