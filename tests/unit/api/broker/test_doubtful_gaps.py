"""When a producer is told that a batch of it is missing, by a leader that may be none any more."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from api.broker.acks import Acks, Produced
from api.broker.doubtful_gaps import OVERTAKEN_MS, YOUNG_MS
from cluster.controller.image import MetadataDelta, MetadataImage
from cluster.replication.high_watermark import CommitRule
from cluster.shell.hosted_partition import HostedPartition
from logstore.settings import Flush
from model.errors import ErrorCode, Outcome, RequestError
from model.ids import LeaderEpoch, NodeId
from tests.broker_node import BrokerNode, batch_of, broker_node

PRODUCER = (7, 0)
OTHER = NodeId(7)


class Controllers:
    """What the quorum of a node says when it is asked: when the test lets it."""

    def __init__(self, node: BrokerNode, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = 0
        self.answer = asyncio.Event()
        self.says: Callable[[], None] = lambda: None
        """What has come to pass by the time of the answer."""

        async def read_barrier(_: Any) -> None:
            self.asked += 1
            await self.answer.wait()
            self.says()

        quorum = type(node.broker.context.quorum)
        monkeypatch.setattr(quorum, "read_barrier", read_barrier)


def nobody() -> None:
    """Refuse, as controllers do that have no leader."""
    raise RequestError(ErrorCode.NO_QUORUM, "nobody leads the controllers")


def elect(node: BrokerNode, partition: HostedPartition, leader: NodeId, *, epochs: int = 1) -> None:
    """Let a node lead a partition that has a replica elsewhere too, from here on."""
    row = partition.topic.partitions[0]
    here = row.replicas[0]
    changed = row._replace(
        leader=leader,
        leader_epoch=LeaderEpoch(row.leader_epoch + epochs),
        replicas=(here, OTHER),
        isr=(here, OTHER),
        partition_epoch=row.partition_epoch + 1,
    )
    delta = MetadataDelta(changed=(replace(partition.topic, partitions=(changed,)),))
    node.node.partitions.apply(MetadataImage(), delta)


async def moved_here(node: BrokerNode) -> HostedPartition:
    """Return a partition of two replicas, with a batch of the producer, led here from now on."""
    orders = await node.create("orders")
    await node.produce(orders, batch_of([b"a"], producer=(*PRODUCER, 0)))
    elect(node, orders, NodeId(orders.topic.partitions[0].replicas[0]))
    assert orders.leads
    return orders


async def led_here(node: BrokerNode) -> HostedPartition:
    """Return the same with a batch of this leadership too."""
    orders = await moved_here(node)
    answer = node.begin(orders, batch_of([b"b"], producer=(*PRODUCER, 1)))
    assert not answer.done()  # it waits for the other replica
    return orders


def send(
    node: BrokerNode, orders: HostedPartition, sequence: int, *, at_once: bool = True
) -> "asyncio.Future[Produced | RequestError]":
    """Send a batch of the producer: in a tick of its own, or of what comes next."""
    return node.begin(orders, batch_of([b"c"], producer=(*PRODUCER, sequence)), at_once=at_once)


def gap(
    node: BrokerNode, orders: HostedPartition, acks: Acks = Acks.ALL
) -> "asyncio.Future[Produced | RequestError]":
    """Send a batch before which others are missing."""
    return node.begin(orders, batch_of([b"d"], producer=(*PRODUCER, 3)), acks=acks)


async def refusal(answer: "asyncio.Future[Produced | RequestError]") -> RequestError:
    refused = await asyncio.wait_for(answer, 30)
    assert isinstance(refused, RequestError)
    assert refused.code.outcome is Outcome.NOT_DONE
    return refused


async def test_a_gap_is_told_once_the_controllers_confirm_who_leads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with broker_node() as node:
        orders = await led_here(node)
        controllers = Controllers(node, monkeypatch)
        unknown = node.begin(orders, batch_of([b"d"], producer=(8, 0, 3)))
        assert (await refusal(unknown)).code is ErrorCode.LEADER_NOT_AVAILABLE
        node.clock.advance(OVERTAKEN_MS)
        unknown = node.begin(orders, batch_of([b"d"], producer=(8, 0, 3)))
        gone = gap(node, orders)
        await asyncio.sleep(0)
        assert not gone.done() and not unknown.done()
        late = gap(node, orders)  # asked for later than that question: it needs one of its own
        controllers.answer.set()
        assert (await refusal(gone)).code is ErrorCode.OUT_OF_ORDER_SEQUENCE
        assert (await refusal(unknown)).code is ErrorCode.UNKNOWN_PRODUCER_ID
        assert (await refusal(late)).code is ErrorCode.OUT_OF_ORDER_SEQUENCE
        assert controllers.asked == 2
        assert (await refusal(gap(node, orders))).code is ErrorCode.OUT_OF_ORDER_SEQUENCE
        assert controllers.asked == 3


async def test_who_leads_no_more_tells_of_no_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """P20: the SDK and librdkafka would take it for proof that what they sent is in no log."""
    async with broker_node() as node:
        orders = await led_here(node)
        controllers = Controllers(node, monkeypatch)
        controllers.says = lambda: elect(node, orders, OTHER)
        controllers.answer.set()
        refused = await refusal(gap(node, orders))
        assert (refused.code, refused.metadata["leader"]) == (ErrorCode.NOT_LEADER, "7")


async def test_nor_who_lost_and_regained_the_leadership(monkeypatch: pytest.MonkeyPatch) -> None:
    async with broker_node() as node:
        orders = await led_here(node)
        me = NodeId(orders.topic.partitions[0].replicas[0])
        controllers = Controllers(node, monkeypatch)
        controllers.says = lambda: elect(node, orders, me)
        controllers.answer.set()
        assert (await refusal(gap(node, orders))).code is ErrorCode.LEADER_NOT_AVAILABLE


async def test_nor_anybody_while_the_controllers_do_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with broker_node() as node:
        orders = await led_here(node)
        controllers = Controllers(node, monkeypatch)
        controllers.says = nobody
        controllers.answer.set()
        refused = await refusal(gap(node, orders))
        assert refused.code is ErrorCode.LEADER_NOT_AVAILABLE
        assert "nobody leads the controllers" in refused.detail


async def test_who_has_the_only_replica_or_waits_for_nothing_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with broker_node() as node:
        orders = await node.create("orders")
        await node.produce(orders, batch_of([b"a"], producer=(*PRODUCER, 0)))
        controllers = Controllers(node, monkeypatch)
        assert gap(node, orders).done()
        elect(node, orders, NodeId(orders.topic.partitions[0].replicas[0]))
        assert gap(node, orders, Acks.NONE).done()  # the connection ends with it
        assert controllers.asked == 0


@pytest.mark.parametrize("together", [False, True])
async def test_what_overtook_another_batch_is_refused_for_the_moment(
    together: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P20: librdkafka sends the second of two first where a leadership has moved, now and then.

    What it has sent behind them before it hears of that is no gap either.
    """
    async with broker_node() as node:
        orders = await moved_here(node)
        controllers = Controllers(node, monkeypatch)
        answers = {}
        for sequence in (2, 1, 3, 4):
            answers[sequence] = send(node, orders, sequence, at_once=not together)
        node.broker.produce.accept()
        assert not answers.pop(1).done()  # it waits for the other replica
        for answer in answers.values():
            assert answer.done()
            assert (await refusal(answer)).code is ErrorCode.LEADER_NOT_AVAILABLE
        for sequence in (2, 3, 4):
            assert not send(node, orders, sequence).done()
        assert (orders.log.log_end, controllers.asked) == (5, 0)


async def test_what_waits_for_the_controllers_is_remembered_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with broker_node() as node:
        orders = await led_here(node)
        controllers = Controllers(node, monkeypatch)
        controllers.says = nobody
        controllers.answer.set()
        assert (await refusal(gap(node, orders))).code is ErrorCode.LEADER_NOT_AVAILABLE
        assert not send(node, orders, 2).done()
        assert (await refusal(send(node, orders, 4))).code is ErrorCode.LEADER_NOT_AVAILABLE
        assert controllers.asked == 1


async def test_a_gap_that_stays_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async with broker_node() as node:
        orders = await moved_here(node)
        controllers = Controllers(node, monkeypatch)
        controllers.answer.set()
        assert (await refusal(gap(node, orders))).code is ErrorCode.LEADER_NOT_AVAILABLE
        node.clock.advance(OVERTAKEN_MS - 1)
        assert (await refusal(gap(node, orders))).code is ErrorCode.LEADER_NOT_AVAILABLE
        node.clock.advance(1)
        assert (await refusal(gap(node, orders))).code is ErrorCode.OUT_OF_ORDER_SEQUENCE
        elect(node, orders, NodeId(orders.topic.partitions[0].replicas[0]))
        assert (await refusal(gap(node, orders))).code is ErrorCode.LEADER_NOT_AVAILABLE


async def test_a_leadership_that_is_old_or_the_first_tells_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody has a batch on its way that an older leader had not taken."""
    async with broker_node() as node:
        orders = await moved_here(node)
        Controllers(node, monkeypatch).answer.set()
        assert (await refusal(gap(node, orders))).code is ErrorCode.LEADER_NOT_AVAILABLE
        node.clock.advance(YOUNG_MS)
        expired = node.begin(orders, batch_of([b"d"], producer=(8, 0, 3)))
        assert (await refusal(expired)).code is ErrorCode.UNKNOWN_PRODUCER_ID
    async with broker_node() as node:
        orders = await node.create("orders")
        elect(node, orders, NodeId(orders.topic.partitions[0].replicas[0]), epochs=0)
        assert not orders.only_here
        Controllers(node, monkeypatch).answer.set()
        assert (await refusal(gap(node, orders))).code is ErrorCode.UNKNOWN_PRODUCER_ID


async def test_so_many_gaps_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def send(producer: int) -> "asyncio.Future[Produced | RequestError]":
        return node.begin(orders, batch_of([b"d"], producer=(producer, 0, 3)))

    monkeypatch.setattr("api.broker.doubtful_gaps.OVERTAKEN_MAX", 2)
    async with broker_node() as node:
        orders = await moved_here(node)
        Controllers(node, monkeypatch).answer.set()
        for producer in (11, 12, 11):
            assert (await refusal(send(producer))).code is ErrorCode.LEADER_NOT_AVAILABLE
        assert (await refusal(send(13))).code is ErrorCode.UNKNOWN_PRODUCER_ID
        node.clock.advance(2 * OVERTAKEN_MS + 1)
        assert (await refusal(send(13))).code is ErrorCode.LEADER_NOT_AVAILABLE


async def test_other_refusals_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    async with broker_node() as node:
        orders = await led_here(node)
        want_three = CommitRule(flush=Flush.QUORUM, min_insync_replicas=3, replica_lag_ms_max=1)
        orders.changed(orders.topic, want_three, node.clock.monotonic_ms())
        Controllers(node, monkeypatch)
        answer = node.begin(orders, batch_of([b"c"], producer=(*PRODUCER, 2)))
        assert answer.done()
        assert (await refusal(answer)).code is ErrorCode.NOT_ENOUGH_REPLICAS
