"""Readers that have been told of more elsewhere than is known to be committed here: they wait.

They stand above the mark of their leader, within its log, and go on as soon as the mark has passed.
"""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any, cast

import pytest

from api.broker.answer_room import AnswerRoom
from api.broker.anywhere import AGAIN_MS
from api.broker.consume_events import (
    Assigned,
    Committed,
    CommitTo,
    Heartbeat,
    Joined,
    Rejoin,
    Stand,
)
from api.broker.consume_places import Held
from api.broker.consume_session import HEARTBEAT_MS
from api.broker.fetch import Fetch, Fetched, Want
from api.broker.group_commits import NamedCursor
from api.broker.group_seek import SeekGroup, ToCursors, ToPlace
from api.broker.place import AtOffset
from api.broker.reach import reach_of
from api.broker.read_on import Read, ReadFrom, Step
from api.broker.subscribe import Bounds, CaughtUp, Opened, Subscription
from api.node.system_rand import SystemRand
from api.rpc.call import Call
from api.rpc.guard import Guard
from api.rpc.subscribe import SubscribeCall
from cluster.shell.hosted_partition import HostedPartition
from consumer_groups.records import GroupEpoch
from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, LeaderEpoch, Offset
from model.principal import ANONYMOUS, Principal
from tests.broker_node import BrokerNode, batch_of, broker_node
from tests.elsewhere import OTHER, led_by
from tests.group_state import until
from tests.unit.api.broker.test_anywhere import END, Remote, outside, reads_by
from tests.unit.api.broker.test_consume_sessions import BILLING, Stream, listening
from tests.world import Log
from tidelog.v1 import common_pb2, log_service_pb2

MARK, PLACE, BEYOND = Offset(2), Offset(3), Offset(4)


async def behind(node: BrokerNode) -> HostedPartition:
    """Return a partition of three records of which this node knows two to be committed."""
    orders = await node.create("orders")
    await node.produce(orders, batch_of([b"a", b"b", b"c"]))
    orders._mark = MARK
    return orders


async def quiet() -> None:
    for _ in range(200):
        await asyncio.sleep(0)


def offsets(events: Sequence[object]) -> list[int]:
    """Return where the batches begin that were told."""
    steps = [one for event in events if isinstance(event, list) for one in event]
    return [batch.base_offset for step in steps for batch in step.batches]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the reads of tasks: where each began."""
    counted: list[int] = []
    real = Fetch.wait

    async def wait(fetch: Fetch, who: Principal, wants: Sequence[Want], **most: Any) -> Any:
        counted.extend(want.offset for want in wants)
        return await real(fetch, who, wants, **most)

    monkeypatch.setattr(Fetch, "wait", wait)
    return counted


async def test_a_member_waits_without_reading_on_and_on(reads: list[int]) -> None:
    async with broker_node() as node, asyncio.timeout(20):
        orders = await node.create("orders")
        async with listening(node) as stream:
            joined = await stream.first(Joined)
            await stream.first(Assigned)
        await node.produce(orders, batch_of([b"a", b"b", b"c"]))
        orders._mark = MARK
        claim = Rejoin(
            joined.member_id,
            GroupEpoch(joined.member_epoch),
            {orders.id: Stand(PLACE)},
            {("orders", 0): orders.id},
        )
        reads.clear()
        async with listening(node, records=100, rejoin=claim) as stream:
            await stream.first(CaughtUp)
            await quiet()
            assert reads == [PLACE]
            await node.produce(orders, batch_of([b"d"]))
            await until(lambda: offsets(stream.events) == [PLACE])


async def test_a_subscription_does_too(reads: list[int]) -> None:
    async with broker_node() as node, asyncio.timeout(20):
        orders = await behind(node)
        wanted = Subscription(bounds=[Bounds(orders, PLACE)])
        room = AnswerRoom(node.broker.context.answers)
        async with aclosing(node.broker.subscribe(ANONYMOUS, wanted, room)) as events:
            assert isinstance(await anext(events), Opened)
            assert isinstance(await anext(events), CaughtUp)
            coming = asyncio.ensure_future(anext(events))
            await quiet()
            assert reads == [PLACE]
            await node.produce(orders, batch_of([b"d"]))
            while not offsets([await coming]):
                coming = asyncio.ensure_future(anext(events))


async def test_a_long_poll_does_too() -> None:
    async with broker_node() as node, asyncio.timeout(20):
        orders = await behind(node)
        answer: asyncio.Future[Sequence[Fetched]] = asyncio.Future()
        node.broker.fetch(
            ANONYMOUS,
            [Want(orders, PLACE, 1 << 20)],
            min_bytes=1,
            max_bytes=1 << 20,
            max_wait_ms=60_000,
            done=answer.set_result,
        )
        await quiet()
        assert not answer.done()
        await node.produce(orders, batch_of([b"d"]))
        (found,) = await answer
        assert (found.error, found.next_offset) == (None, 4)


@pytest.mark.parametrize(
    ("serves", "epoch", "read_in", "news"),
    [(True, 3, 3, False), (True, 4, 3, True), (True, 3, None, True), (False, 3, None, True)],
)
def test_it_is_read_again_once_another_leadership_may_have_cut_it(
    *, serves: bool, epoch: int, read_in: int | None, news: bool
) -> None:
    """Whoever does not serve has others to ask."""

    class Partition:
        high_watermark = MARK
        leader_epoch = LeaderEpoch(epoch)

    partition = Partition()
    partition.serves = serves  # type: ignore[attr-defined]
    nothing: Any = None
    held = Held(nothing, Bounds(cast(Any, partition), PLACE), fresh=False)
    held.read_in = None if read_in is None else LeaderEpoch(read_in)
    assert held.has_news is news
    assert held.serving_epoch == (epoch if serves else None)


class Deposed(Remote):
    """A leader that knows of one record less than the reader."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.mark = Offset(END - 1)

    async def read(self, _: Principal, places: Sequence[ReadFrom], *, max_bytes: int) -> list[Read]:
        del max_bytes
        self.reads += 1
        zero = Offset(0)
        return [
            Step(one.partition, one.offset, (), max(one.offset, self.mark), zero, self.mark,
                 self.mark, AppendTimeMs(0))
            for one in places
        ]  # fmt: skip


async def test_a_leader_elsewhere_is_asked_now_and_then_and_its_reader_hears_signs_of_life() -> (
    None
):
    async with broker_node() as node, asyncio.timeout(20):
        await node.create("here")
        assert await outside(node, "first", "here", offset=Offset(0)) == [None]
        topic = await led_by(node, "orders", OTHER)
        remote = Deposed()
        reads_by(node.broker, remote)
        node.broker.every.told(node.broker.every.get("orders", 0), END)
        assert await outside(node, BILLING, topic.name, offset=END) == [None]
        async with listening(node, records=100) as stream:
            await stream.first(Joined)
            await passes(node, 3_000)
            stream.session.heard()
            await passes(node, HEARTBEAT_MS - 3_000 + 5 * AGAIN_MS)
            assert any(isinstance(one, Heartbeat) for one in stream.events)
            assert HEARTBEAT_MS / AGAIN_MS / 2 < remote.reads < HEARTBEAT_MS / AGAIN_MS * 2
            remote.mark = Offset(END + 2)
            await passes(node, 2 * AGAIN_MS)
            assert moved_to(stream) == END + 2


async def passes(node: BrokerNode, ms: int) -> None:
    """Let time pass, and everybody act upon it."""
    for _ in range(0, ms, 10):
        node.clock.advance(10)
        for _ in range(10):
            await asyncio.sleep(0)


def moved_to(stream: Stream) -> int:
    steps = [one for event in stream.events if isinstance(event, list) for one in event]
    return max(int(step.next_offset) for step in steps if isinstance(step, Step))


async def test_what_was_read_above_the_mark_may_be_committed() -> None:
    """By a member, and in a group's name from outside; but nothing beyond the log."""
    async with broker_node() as node, asyncio.timeout(20):
        orders = await node.create("orders")
        async with listening(node) as stream:
            await stream.first(Assigned)
            await node.produce(orders, batch_of([b"a", b"b", b"c"]))
            orders._mark = MARK
            await stream.session.act(CommitTo(1, [NamedCursor("orders", 0, PLACE)]))
            assert (await stream.first(Committed)).results == [None]
            await stream.session.act(CommitTo(2, [NamedCursor("orders", 0, BEYOND)]))
            (beyond,) = (await stream.first(Committed)).results
            assert beyond is not None and beyond.code is ErrorCode.OFFSET_OUT_OF_RANGE
        assert await outside(node, "other", "orders", offset=PLACE) == [None]
        (row,) = await outside(node, "other", "orders", offset=BEYOND)
        assert row is not None and row.code is ErrorCode.OFFSET_OUT_OF_RANGE


async def test_it_is_a_place_for_readers_too() -> None:
    async with broker_node() as node:
        orders = await behind(node)
        found = await node.broker.resolve(ANONYMOUS, orders, AtOffset(PLACE))
        assert (found.offset, found.high_watermark, found.truncated) == (PLACE, MARK, False)
        with pytest.raises(RequestError, match=f"beyond the end, {PLACE}") as refusal:
            await node.broker.resolve(ANONYMOUS, orders, AtOffset(BEYOND))
        assert refusal.value.code is ErrorCode.OFFSET_OUT_OF_RANGE
        assert refusal.value.metadata["high_watermark"] == str(MARK)


@pytest.mark.parametrize("by_cursor", [False, True])
async def test_a_group_is_not_sent_where_nobody_has_been_but_may_be_soon(
    *, by_cursor: bool
) -> None:
    """It may have been told elsewhere, or may be cut off: it is to be asked for again."""
    async with broker_node() as node:
        orders = await behind(node)
        cursors = [NamedCursor("orders", 0, PLACE)]
        target = ToCursors(cursors) if by_cursor else ToPlace(AtOffset(PLACE))
        named = None if by_cursor else [orders]
        with pytest.raises(RequestError) as refusal:
            await node.broker.group_seek(
                ANONYMOUS, SeekGroup(group=BILLING, target=target, partitions=named)
            )
        assert refusal.value.code is ErrorCode.OFFSET_NOT_AVAILABLE
        assert refusal.value.code.retryable
        assert refusal.value.metadata["high_watermark"] == str(MARK)
        orders._mark = PLACE
        sought = await node.broker.group_seek(
            ANONYMOUS, SeekGroup(group=BILLING, target=target, partitions=named)
        )
        ((_, row, error),) = sought.changes
        assert error is None
        assert row is not None and row.after == PLACE


async def test_nor_is_it_where_a_read_ends() -> None:
    """If it is cut off that read would wait without end."""
    async with broker_node() as node, asyncio.timeout(10):
        orders = await behind(node)
        guard = Guard(node.broker, rand=SystemRand(), note=Log())
        at_mark = common_pb2.Seek(offset=MARK)
        asked = log_service_pb2.SubscribeRequest(
            topics=["orders"], start=at_mark, stop=common_pb2.Seek(offset=PLACE)
        )
        call = Call("LogService/Subscribe", ANONYMOUS, None)
        told: list[log_service_pb2.SubscribeResponse] = []

        async def send(message: log_service_pb2.SubscribeResponse) -> None:
            told.append(message)

        reading = asyncio.ensure_future(SubscribeCall(node.broker, guard)(asked, send, call))
        await quiet()
        assert reading.cancel() is False, "it is still reading"
        with pytest.raises(RequestError) as refusal:
            await reading
        assert refusal.value.code is ErrorCode.OFFSET_NOT_AVAILABLE
        orders._mark = PLACE
        await SubscribeCall(node.broker, guard)(asked, send, call)
        assert any(one.HasField("records") for one in told)


async def test_nor_where_a_log_is_trimmed() -> None:
    """Else what is not committed would be gone, and the mark beyond it (P38)."""
    async with broker_node() as node:
        orders = await behind(node)
        (row,) = await node.broker.topics.trim(ANONYMOUS, [orders], AtOffset(PLACE))
        assert row.error is not None and row.error.code is ErrorCode.OFFSET_NOT_AVAILABLE
        assert (orders.log_start, orders.log.high_watermark) == (0, 3)
        (row,) = await node.broker.topics.trim(ANONYMOUS, [orders], AtOffset(MARK))
        assert (row.error, row.after, orders.log_start) == (None, MARK, MARK)


async def test_who_only_follows_does_not_vouch_for_its_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it holds above the mark may be cut off; its leader knows more."""
    async with broker_node() as node:
        orders = await behind(node)
        assert reach_of(orders) == PLACE
        with monkeypatch.context() as known:
            known.setattr(HostedPartition, "leads", False)
            assert reach_of(orders) == MARK
