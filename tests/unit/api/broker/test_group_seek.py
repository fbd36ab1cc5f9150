"""A group is sent elsewhere while it goes on: what it commits meanwhile is not left behind."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from api.broker.group_commits import NamedCursor
from api.broker.group_seek import TRIES_MAX, GroupSeek, SeekGroup, ShiftBy, ToPlace
from api.broker.place import Earliest, Latest, Place
from api.broker.readable import Readable
from api.broker.resolve import Resolve, Resolved
from consumer_groups.machine import GroupMachine
from consumer_groups.requests import FromOutside
from model.errors import ErrorCode, RequestError
from model.ids import GroupId, Offset
from model.principal import ANONYMOUS, Principal
from model.result import Result
from tests.broker_node import BrokerNode, batch_of, broker_node

BILLING = GroupId("billing")
PARTITIONS = TRIES_MAX + 3


@asynccontextmanager
async def node_with_orders() -> AsyncIterator[BrokerNode]:
    """Run a node with a topic of several partitions, three records in each."""
    async with broker_node() as node:
        await node.create("orders", PARTITIONS)
        for number in range(PARTITIONS):
            partition = node.broker.partition("orders", number)
            await node.produce(partition, batch_of([b"a", b"b", b"c"]))
        yield node


async def commit(node: BrokerNode, number: int, offset: int) -> None:
    cursor = NamedCursor("orders", number, Offset(offset))
    rows = await node.broker.group_commits(BILLING, FromOutside("test"), [cursor])
    assert rows == [None]


async def places(node: BrokerNode) -> dict[int, int]:
    found = await node.broker.group_lag(ANONYMOUS, BILLING, [])
    return {
        row.partition.number: row.committed.offset for row in found if row.committed is not None
    }


class Busy(Resolve):
    """Looks places up; each time the group begins in a further partition, as long as told."""

    def __init__(self, node: BrokerNode, further: Sequence[int]) -> None:
        super().__init__(node.broker.context, node.broker.searches)
        self._resolve = node.broker.resolve
        self._busy = node
        self._further = list(further)

    async def __call__(self, principal: Principal, partition: Readable, place: Place) -> Resolved:
        found = await self._resolve(principal, partition, place)
        if self._further:
            await commit(self._busy, self._further.pop(0), 1)
        return found


def sought_by(node: BrokerNode, further: Sequence[int]) -> GroupSeek:
    return replace(node.broker.group_seek, resolve=Busy(node, further))


@pytest.mark.parametrize("dry", [False, True])
async def test_a_partition_that_a_group_begins_in_meanwhile_goes_along(dry: bool) -> None:
    async with node_with_orders() as node:
        await commit(node, 0, 2)
        asked = SeekGroup(group=BILLING, target=ToPlace(Latest()), validate_only=dry)
        sought = await sought_by(node, [1, 2])(ANONYMOUS, asked)
        moves = [(one.row.before, one.row.after) for one in sought.changes if one.row is not None]
        assert moves == [(2, 3), (1, 3), (1, 3)]
        assert await places(node) == ({0: 2, 1: 1, 2: 1} if dry else {0: 3, 1: 3, 2: 3})


async def test_partitions_that_were_named_are_moved_alone() -> None:
    async with node_with_orders() as node:
        await commit(node, 0, 2)
        asked = SeekGroup(
            group=BILLING,
            target=ToPlace(Earliest()),
            partitions=[node.broker.partition("orders", 0)],
        )
        await sought_by(node, [1])(ANONYMOUS, asked)
        assert await places(node) == {0: 0, 1: 1}


async def test_a_group_that_begins_somewhere_each_time_is_told_so_and_not_moved() -> None:
    async with node_with_orders() as node:
        await commit(node, 0, 2)
        asked = SeekGroup(group=BILLING, target=ToPlace(Earliest()))

        class Endless(Busy):
            async def __call__(
                self, principal: Principal, partition: Readable, place: Place
            ) -> Resolved:
                if partition.number == 0:  # once each time that places are looked up
                    return await super().__call__(principal, partition, place)
                return await self._resolve(principal, partition, place)

        endless = Endless(node, range(1, PARTITIONS))
        with pytest.raises(RequestError) as refused:
            await replace(node.broker.group_seek, resolve=endless)(ANONYMOUS, asked)
        assert refused.value.code is ErrorCode.OVERLOADED
        assert await places(node) == {0: 2} | dict.fromkeys(range(1, TRIES_MAX + 1), 1)


async def test_a_shift_is_counted_from_where_the_group_stands_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A commit that lands after the request came, and before it is decided, counts."""
    async with node_with_orders() as node:
        await commit(node, 0, 1)
        state = node.broker.groups_state
        honest, late = state.read, [3]

        async def read(name: str, view: Any) -> Any:
            found = await honest(name, view)
            if late:
                await commit(node, 0, late.pop())
            return found

        monkeypatch.setattr(state, "read", read)
        asked = SeekGroup(group=BILLING, target=ShiftBy(-1))
        sought = await node.broker.group_seek(ANONYMOUS, asked)
        (row,) = [one.row for one in sought.changes]
        assert row is not None
        assert row.before is not None
        assert row.after == row.before - 1
        assert row.redelivered == 1


async def test_a_shift_that_the_coordinator_would_have_made_anew_is_a_bug(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with node_with_orders() as node:
        await commit(node, 0, 1)
        monkeypatch.setattr(GroupMachine, "seek", lambda *_, **__: Result((), None))
        with pytest.raises(AssertionError, match="SEEK_IS_OF_NOW"):
            await node.broker.group_seek(ANONYMOUS, SeekGroup(group=BILLING, target=ShiftBy(-1)))
