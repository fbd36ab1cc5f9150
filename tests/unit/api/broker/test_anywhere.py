"""What a group's coordinator believes of partitions that other nodes lead, and whom it names."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from api.broker.anywhere import AGAIN_MS
from api.broker.broker import Broker
from api.broker.consume_events import Assigned, Committed, CommitTo, Joined, Rejoin, Stand
from api.broker.group_commits import NamedCursor
from api.broker.place import Earliest, Latest, Place
from api.broker.read_on import Gap, Read, ReadFrom, Step
from api.broker.readable import Readable
from api.broker.resolve import Resolved
from api.broker.subscribe import CaughtUp
from cluster.controller.topics import CreateTopic
from cluster.shell.hosted_partition import HostedPartition
from consumer_groups.records import GroupEpoch
from consumer_groups.requests import FromOutside
from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, GroupId, LeaderEpoch, Offset, TopicName
from model.principal import ANONYMOUS, Principal
from tests.broker_node import BrokerNode, broker_node
from tests.elsewhere import OTHER, led_by
from tests.group_state import until
from tests.unit.api.broker.test_consume_sessions import BILLING, listening

BEGIN, END = Offset(3), Offset(5)
CLAIMED = Offset(10**15)
MOVED = RequestError(ErrorCode.NOT_LEADER, "node 8 leads it", leader="8")


class Remote:
    """Other leaders: `END` records in every partition, or a refusal."""

    def __init__(self, refusal: RequestError | None = None) -> None:
        self.refusal = refusal

    async def resolve(self, _: Principal, __: Readable, place: Place) -> Resolved:
        if self.refusal is not None:
            raise self.refusal
        offset = Offset(0) if isinstance(place, Earliest) else END
        return Resolved(
            offset, None, truncated=False, log_start=Offset(0), high_watermark=END,
            last_stable_offset=END, leader_epoch=LeaderEpoch(0), closed_time=AppendTimeMs(0),
        )  # fmt: skip

    async def resolve_all(
        self, principal: Principal, partitions: Sequence[Readable], place: Place
    ) -> list[Resolved | RequestError]:
        return [await self.resolve(principal, one, place) for one in partitions]

    async def ends(self, partitions: Sequence[Readable]) -> list[Resolved | RequestError]:
        return await self.resolve_all(ANONYMOUS, partitions, Latest())


def reads_by(broker: Broker, remote: Any) -> None:
    broker.read_elsewhere_by(remote)


class Trimmed(Remote):
    """Leaders whose logs begin at `BEGIN`, each with one batch less than a reader expects."""

    async def read(self, _: Principal, places: Sequence[ReadFrom], *, max_bytes: int) -> list[Read]:
        del max_bytes
        return [
            Gap(one.partition, one.offset, BEGIN)
            if one.offset < BEGIN
            else Step(one.partition, one.offset, (), END, BEGIN, END, END, AppendTimeMs(0))
            for one in places
        ]


@pytest.fixture
async def node() -> AsyncIterator[BrokerNode]:
    """A node that coordinates every group; others lead `orders` and `others`."""
    async with broker_node() as node:
        await node.create("here")
        # The groups' own topic is made while there is nobody else to lead it.
        (row,) = await outside(node, "first", "here", offset=Offset(0))
        assert row is None
        await led_by(node, "orders", OTHER)
        await led_by(node, "others", OTHER)
        yield node


async def outside(
    node: BrokerNode, group: str, topic: str, *, offset: Offset
) -> list[RequestError | None]:
    """Commit from outside; return the rows."""
    cursors = [NamedCursor(topic, 0, offset)]
    return await node.broker.group_commits(GroupId(group), FromOutside("test"), cursors)


async def test_nobody_is_told_to_ask_a_leader_who_never_asked_to_stay(node: BrokerNode) -> None:
    """What moves is found again by this node, not by its client."""
    reads_by(node.broker, Remote(MOVED))
    partition = node.broker.every.get("orders", 0)
    resolve = node.broker.group_commits.resolve
    with pytest.raises(RequestError, match="ask again") as refusal:
        await resolve(ANONYMOUS, partition, Latest())
    assert refusal.value.code is ErrorCode.LEADER_NOT_AVAILABLE


async def test_what_a_member_claims_when_it_resumes_holds_for_its_own_commits_alone(
    node: BrokerNode,
) -> None:
    reads_by(node.broker, Remote())
    every = node.broker.every
    async with listening(node) as stream:
        joined = await stream.first(Joined)
        await stream.first(Assigned)
    stands = {every.get(name, 0).id: Stand(CLAIMED) for name in ("orders", "others")}
    rejoin = Rejoin(joined.member_id, GroupEpoch(joined.member_epoch), stands, {})
    async with listening(node, rejoin=rejoin) as stream:
        await stream.first(Assigned)
        cursors = [NamedCursor(name, 0, CLAIMED) for name in ("orders", "others")]
        await stream.session.act(CommitTo(1, cursors))
        mine, not_mine = (await stream.first(Committed)).results
        assert mine is None
        assert not_mine is not None and not_mine.code is ErrorCode.OFFSET_OUT_OF_RANGE
        for name in ("orders", "others"):
            (row,) = await outside(node, "second", name, offset=Offset(CLAIMED - 1))
            assert row is not None and row.code is ErrorCode.OFFSET_OUT_OF_RANGE
        assert await outside(node, "second", "orders", offset=END) == [None]


async def test_what_lies_behind_a_gap_elsewhere_is_read_before_its_reader_is_caught_up(
    node: BrokerNode,
) -> None:
    """No replica here knows of more than the leader has told, and a gap tells of no end."""
    reads_by(node.broker, Trimmed())
    node.broker.every.told(node.broker.every.get("orders", 0), END)
    assert await outside(node, BILLING, "orders", offset=Offset(1)) == [None]
    async with listening(node, records=100) as stream, asyncio.timeout(20):
        await until(lambda: any(isinstance(one, CaughtUp) for one in stream.events))
        read = [one for one in stream.events if isinstance(one, Gap | CaughtUp | list)]
        gap, steps, caught_up = read
        assert isinstance(gap, Gap) and (gap.expected_offset, gap.next_offset) == (1, BEGIN)
        assert isinstance(steps, list) and steps[0].next_offset == END
        assert isinstance(caught_up, CaughtUp)


class Slow(Remote):
    """Leaders of which the first read finds none; the second gives a part of what there is."""

    def __init__(self, *, refusals: int = 0) -> None:
        super().__init__()
        self.refusals = refusals

    async def read(self, _: Principal, places: Sequence[ReadFrom], *, max_bytes: int) -> list[Read]:
        del max_bytes
        self.refusals -= 1
        if self.refusals >= 0:
            return [RequestError(ErrorCode.NODE_UNREACHABLE, "not connected")] * len(places)
        start, end = Offset(0), END
        return [
            Step(
                one.partition, one.offset, (), BEGIN if one.offset < BEGIN else end,
                start, end, end, AppendTimeMs(0),
            )
            for one in places
        ]  # fmt: skip


@pytest.mark.parametrize("refusals", [0, 1, 2])
@pytest.mark.parametrize("replica_here", [False, True])
async def test_who_has_not_read_all_that_a_leader_has_is_not_caught_up(
    node: BrokerNode, refusals: int, *, replica_here: bool
) -> None:
    """Neither where nobody could be asked yet, nor where a replica here knows of less."""
    name = "replicated" if replica_here else "orders"
    if replica_here:
        await node.broker.context.quorum.propose(
            CreateTopic(name=name, assignments=((OTHER, node.broker.node_id),))
        )
    reads_by(node.broker, Slow(refusals=refusals))
    assert isinstance(node.broker.every.get(name, 0), HostedPartition) == replica_here
    async with listening(node, records=100, topic=TopicName(name)) as stream, asyncio.timeout(20):
        while not any(isinstance(one, CaughtUp) for one in stream.events):
            node.clock.advance(AGAIN_MS)
            await asyncio.sleep(0)
        read = [one for one in stream.events if isinstance(one, CaughtUp | list)]
        assert [type(one) for one in read] == [list, list, CaughtUp]
