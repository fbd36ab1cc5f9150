"""What groups need when topics change: each by itself, however many there are (P30)."""

from collections.abc import Collection
from itertools import islice
from typing import Any

import pytest

from api.broker.group_topics import ImageTopics
from cluster.controller.partitions import AddPartitions
from cluster.state_partition.layout import CONFIG, partition_of
from consumer_groups.machine import GroupMachine
from consumer_groups.records import MemberId, StreamNumber
from consumer_groups.requests import Commit, Cursor, FromOutside, Join
from model.errors import ErrorCode, RequestError
from model.ids import GroupId, Offset, PartitionId, TopicId, TopicName
from model.principal import ANONYMOUS
from tests.broker_node import BrokerNode, broker_node
from tests.group_state import until

PARTITIONS = 60
BATCH_BYTES = 2_000
"""The largest decision: six groups' worth of offsets of one topic."""


def together(count: int) -> list[GroupId]:
    """Return names of groups whose coordinator is partition 0."""
    names = (f"group-{number}" for number in range(10_000))
    return [GroupId(name) for name in islice((n for n in names if partition_of(n) == 0), count)]


async def commit_all(node: BrokerNode, group: GroupId, topic: TopicId) -> None:
    """Commit the beginning of every partition of a topic, some at a time."""
    for first in range(0, PARTITIONS, 10):
        cursors = tuple(
            Cursor(partition=PartitionId(topic, number), offset=Offset(0))
            for number in range(first, first + 10)
        )
        await commit(node, Commit(group=group, actor=FromOutside("test"), cursors=cursors))


async def commit(node: BrokerNode, request: Commit) -> None:
    await node.broker.groups_state.call(
        request.group,
        lambda machine, now: machine.commit(
            request, now=now, topics=ImageTopics(node.broker.image)
        ),
    )


async def join(node: BrokerNode, group: GroupId) -> None:
    request = Join(
        group=group,
        new_member_id=MemberId(f"member of {group}"),
        stream=StreamNumber(1),
        topics=(TopicName("orders"),),
    )
    await node.broker.groups_state.call(
        group,
        lambda machine, now: machine.join(request, now=now, topics=ImageTopics(node.broker.image)),
    )


async def topic_ids(node: BrokerNode) -> set[TopicId]:
    parts = await node.broker.groups_state.read_each(lambda machine: machine.topic_ids())
    return set().union(*parts)


async def idle(node: BrokerNode) -> None:
    """Let the upkeep that was begun come to its end."""
    await until(lambda: not node.broker.group_upkeep._running)


def refusing(monkeypatch: pytest.MonkeyPatch, handler: str, group: GroupId) -> None:
    """Let a handler refuse one group."""
    honest = getattr(GroupMachine, handler)

    def refuse(machine: GroupMachine, name: GroupId, *args: Any, **more: Any) -> Any:
        if name == group:
            raise RequestError(ErrorCode.LIMIT_EXCEEDED, "too large a change")
        return honest(machine, name, *args, **more)

    monkeypatch.setattr(GroupMachine, handler, refuse)


def refused(node: BrokerNode) -> list[str | int]:
    return [fields["group"] for name, fields in node.events if name == "group_upkeep_refused"]


async def test_no_number_of_groups_makes_a_deletion_too_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = {**CONFIG, "max.message.bytes": str(BATCH_BYTES)}
    monkeypatch.setattr("cluster.shell.state_partitions.CONFIG", small)
    groups = together(12)
    async with broker_node() as node:
        topic = (await node.create("orders", PARTITIONS)).log.id.topic
        for group in groups:
            await commit_all(node, group, topic)
        assert len(groups) * PARTITIONS * 4 > BATCH_BYTES
        assert await topic_ids(node) == {topic}
        await node.broker.delete_topics(ANONYMOUS, [node.delete("orders")])
        await idle(node)
        assert await topic_ids(node) == set()
        assert refused(node) == []


async def test_one_groups_refusal_ends_no_other_ones_upkeep(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, *others = groups = sorted(together(4))
    async with broker_node() as node:
        topic = (await node.create("orders", PARTITIONS)).log.id.topic
        for group in groups:
            await commit_all(node, group, topic)
        with monkeypatch.context() as patch:
            refusing(patch, "forget_topics", first)
            await node.broker.delete_topics(ANONYMOUS, [node.delete("orders")])
            await idle(node)
            left = await node.broker.groups_state.read(
                first, lambda machine: machine.groups_with_topics([topic])
            )
            assert left == (first,)
            assert refused(node) == [first]
        node.broker.group_upkeep.tend()
        await idle(node)
        assert await topic_ids(node) == set()
        assert refused(node) == [first]
    assert others


async def test_a_deletion_that_is_refused_keeps_no_group_from_growth(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And of those that follow a grown topic, the refused one alone is asked again."""
    first, *others = groups = sorted(together(4))
    async with broker_node() as node:
        await node.create("orders")
        gone = (await node.create("gone", PARTITIONS)).log.id.topic
        await commit_all(node, first, gone)
        for group in groups:
            await join(node, group)
        with monkeypatch.context() as patch:
            refusing(patch, "forget_topics", first)
            refusing(patch, "topics_changed", first)
            await node.broker.delete_topics(ANONYMOUS, [node.delete("gone")])
            await node.broker.topics.add_partitions(
                ANONYMOUS, AddPartitions(name="orders", partitions=3)
            )
            await idle(node)
            node.broker.group_upkeep.tend()
            await idle(node)
            assert await owned(node, groups) == {first: 1} | dict.fromkeys(others, 3)
        asked: list[GroupId] = []
        counting(monkeypatch, asked)
        node.broker.group_upkeep.tend()
        await idle(node)
        assert asked == [first]
        assert await owned(node, groups) == dict.fromkeys(groups, 3)


async def owned(node: BrokerNode, groups: Collection[GroupId]) -> dict[GroupId, int]:
    """Return how many partitions the one member of each group has."""
    found: dict[GroupId, int] = {}
    for group in groups:
        view = await node.broker.groups.get(ANONYMOUS, group)
        (member,) = view.members
        found[group] = len(member.owned)
    return found


def counting(monkeypatch: pytest.MonkeyPatch, asked: list[GroupId]) -> None:
    """Note which groups are asked to follow their topics."""
    honest = GroupMachine.topics_changed

    def note(machine: GroupMachine, name: GroupId, **more: Any) -> Any:
        asked.append(name)
        return honest(machine, name, **more)

    monkeypatch.setattr(GroupMachine, "topics_changed", note)
