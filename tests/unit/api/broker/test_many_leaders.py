"""A coordinator asks each leader once, and waits for none where others have something to tell."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from api.broker.consume_events import Assigned
from api.broker.group_commits import NamedCursor
from api.broker.group_seek import SeekGroup, ShiftBy, Target, ToCursors, ToGroup, ToPlace
from api.broker.place import Earliest, Latest
from api.broker.read_on import Read, ReadFrom, Step
from api.rpc.fetch_elsewhere import FETCH
from api.rpc.remote_reads import READ_MS, RemoteReads
from api.rpc.resolve_elsewhere import RESOLVE
from cluster.controller.topics import CreateTopic
from cluster.state_partition.layout import CONFIG, CONSUMER_OFFSETS, PARTITIONS
from consumer_groups.requests import FromOutside
from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, GroupId, NodeId, Offset
from model.principal import ANONYMOUS, Principal
from tests.broker_node import BrokerNode, broker_node
from tests.elsewhere import OTHER, THIRD, Elsewhere, led_by
from tests.quorum import turns
from tests.unit.api.broker.test_consume_sessions import listening
from tidelog.v1 import common_pb2, log_service_pb2

END = 5
EACH = 6
"""Partitions of each of the two other leaders."""
GROUP = GroupId("billing")


class Leaders:
    """Other nodes: `END` records in every partition."""

    def __init__(self, node: BrokerNode) -> None:
        self.elsewhere = Elsewhere(node, self)
        node.broker.read_elsewhere_by(RemoteReads(node.broker, self.elsewhere))

    async def __call__(self, _: NodeId, name: str, payload: bytes) -> bytes:
        assert name == RESOLVE
        request = log_service_pb2.ResolveOffsetsRequest.FromString(payload)
        answer = log_service_pb2.ResolveOffsetsResponse()
        at = 0 if request.seek.edge == common_pb2.EDGE_EARLIEST else END
        for place in request.partitions:
            answer.resolved.add(
                partition=place, offset=at, log_start_offset=1, high_watermark=END,
                last_stable_offset=END,
            )  # fmt: skip
        return answer.SerializeToString()

    def asked(self) -> int:
        """Return how many calls were made since this was called last."""
        count = len(self.elsewhere.asked)
        self.elsewhere.asked.clear()
        return count


@pytest.fixture
async def node() -> AsyncIterator[BrokerNode]:
    """A node that coordinates every group; two others lead `orders`."""
    async with broker_node() as node:
        await node.create("here")
        await committed(node, GROUP, [NamedCursor("here", 0, Offset(0))])
        await led_by(node, "orders", *[OTHER, THIRD] * EACH)
        yield node


async def committed(
    node: BrokerNode, group: GroupId, cursors: Sequence[NamedCursor]
) -> list[RequestError | None]:
    await node.broker.group_commits.ask_ends(ANONYMOUS, group, cursors)
    return await node.broker.group_commits(group, FromOutside("test"), cursors)


def cursors(offset: int) -> list[NamedCursor]:
    return [NamedCursor("orders", number, Offset(offset)) for number in range(2 * EACH)]


async def test_a_commit_from_outside_asks_each_leader_once(node: BrokerNode) -> None:
    leaders = Leaders(node)
    assert await committed(node, GROUP, cursors(END)) == [None] * 2 * EACH
    assert leaders.asked() == 2
    beyond = await committed(node, GROUP, cursors(END + 1))
    assert {row.code for row in beyond if row is not None} == {ErrorCode.OFFSET_OUT_OF_RANGE}


@pytest.mark.parametrize(
    ("target", "after"),
    [
        (ToPlace(Latest()), END),
        (ToCursors(cursors(3)), 3),
        (ToCursors(cursors(0)), 1),
        (ToGroup(GroupId("others")), 4),
        (ShiftBy(-1), 1),
    ],
)
async def test_a_group_is_moved_with_one_question_to_each_leader(
    node: BrokerNode, target: Target, after: int
) -> None:
    leaders = Leaders(node)
    for group, offset in ((GROUP, 2), (GroupId("others"), 4)):
        assert await committed(node, group, cursors(offset)) == [None] * 2 * EACH
    leaders.asked()
    orders = [node.broker.every.get("orders", number) for number in range(2 * EACH)]
    named = None if isinstance(target, ToCursors) else orders
    asked = SeekGroup(group=GROUP, target=target, partitions=named)
    sought = await node.broker.group_seek(ANONYMOUS, asked)
    assert {one.row.after for one in sought.changes if one.row is not None} == {after}
    assert leaders.asked() == 2


async def test_a_place_beyond_the_end_that_a_leader_tells_is_refused(node: BrokerNode) -> None:
    Leaders(node)
    asked = SeekGroup(group=GROUP, target=ToCursors(cursors(END + 1)))
    with pytest.raises(RequestError, match="beyond the end") as refusal:
        await node.broker.group_seek(ANONYMOUS, asked)
    assert refusal.value.code is ErrorCode.OFFSET_OUT_OF_RANGE


@pytest.mark.parametrize("start", [Latest(), Earliest()])
async def test_a_member_that_begins_asks_each_leader_once(node: BrokerNode, start: Any) -> None:
    leaders = Leaders(node)
    async with listening(node, start=start) as stream:
        assigned = await stream.first(Assigned)
    assert len(assigned.places) == 2 * EACH
    at = 0 if isinstance(start, Earliest) else END
    assert {bounds.start for bounds in assigned.places} == {at}
    resolved = [name for name in leaders.elsewhere.names if name == RESOLVE]
    assert len(resolved) <= 2 + 1, "once each, and once more for news"


async def test_no_leader_is_asked_for_a_group_of_another_node() -> None:
    """It will be asked there, where the commit is decided."""
    async with broker_node() as node:
        await led_by(node, "orders", OTHER)
        leaders = Leaders(node)
        topic = CreateTopic(
            name=CONSUMER_OFFSETS, assignments=((OTHER,),) * PARTITIONS, config=CONFIG,
            internal=True,
        )  # fmt: skip
        await node.broker.context.quorum.propose(topic)
        with pytest.raises(RequestError) as refusal:
            await committed(node, GROUP, [NamedCursor("orders", 0, Offset(END))])
        assert refusal.value.code is ErrorCode.NOT_COORDINATOR
        assert leaders.asked() == 0


class Told:
    """Leaders, of which each place is told by what the test says."""

    def __init__(self, told: Callable[[ReadFrom], Read]) -> None:
        self.told = told

    async def read(self, _: Principal, places: Sequence[ReadFrom], *, max_bytes: int) -> list[Read]:
        del max_bytes
        return list(map(self.told, places))

    async def ends(self, _: Any) -> list[Any]:
        return []


def step(place: ReadFrom, *, records: int) -> Step:
    end = Offset(place.offset + records)
    return Step(place.partition, place.offset, (), end, Offset(0), end, end, AppendTimeMs(0))


@pytest.mark.parametrize(("records", "waits"), [(3, False), (0, True)])
async def test_a_partition_without_a_leader_holds_up_nobody_who_reads_others(
    node: BrokerNode, records: int, *, waits: bool
) -> None:
    """It has a backlog for as long as the fault lasts: every read would pause for it."""
    nobody = RequestError(ErrorCode.LEADER_NOT_AVAILABLE, "it has none")

    def told(place: ReadFrom) -> Read:
        return step(place, records=records) if place.partition.number else nobody

    remote: Any = Told(told)
    node.broker.read_elsewhere_by(remote)
    places = [
        ReadFrom(node.broker.every.get("orders", number), Offset(0), 1 << 20) for number in (0, 1)
    ]
    reading = asyncio.ensure_future(
        node.broker._read_anywhere(ANONYMOUS, places, min_bytes=0, max_bytes=1 << 20, max_wait_ms=0)
    )
    await turns()
    assert reading.done() is not waits
    node.clock.advance(1_000)
    without, others = await reading
    assert isinstance(without, Step) and without.next_offset == 0
    assert isinstance(others, Step) and others.next_offset == records


async def test_no_member_waits_for_a_leader_longer_than_it_may_hear_nothing(
    node: BrokerNode,
) -> None:
    """It is told something every 5 s, and it was told the last thing up to 4 s ago."""
    leaders = Leaders(node)
    elsewhere = leaders.elsewhere

    async def stands_still(_: NodeId, name: str, __: bytes) -> bytes:
        raise RequestError(ErrorCode.REQUEST_TIMED_OUT, name)

    elsewhere.answer = stands_still
    remote = RemoteReads(node.broker, elsewhere)
    place: Any = node.broker.every.get("orders", 0)
    await remote.read(ANONYMOUS, [ReadFrom(place, Offset(0), 1)], max_bytes=1)
    await remote.ends([place])
    assert elsewhere.names == [FETCH, RESOLVE]
    assert elsewhere.waits == [READ_MS, READ_MS]
    assert READ_MS <= 1_000
