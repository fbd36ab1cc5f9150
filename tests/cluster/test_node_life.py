"""A node's life among others: its doors before a quorum, a fourth one, going and coming back."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest

from api.broker.acks import Produced
from api.rpc.call import Call
from api.rpc.guard import Guard
from api.rpc.handlers import Unary
from api.rpc.server import handlers_of
from cluster.controller.image import Standing
from cluster.controller.leadership import TransferLeader
from cluster.controller.topics import CreateTopic
from model.errors import ErrorCode, Outcome, RequestError
from model.ids import NodeId, TopicId
from model.principal import ANONYMOUS
from tests.cluster_nodes import Life, Nodes, ids
from tidelog.v1 import common_pb2, log_service_pb2

TOPIC = "orders"


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    made = Nodes(3)
    try:
        await made.start()
        yield made
    finally:
        await made.close()


def said(life: Life, event: str) -> list[dict[str, str | int]]:
    return [fields for name, fields in life.lines if name == event]


async def no_quorum(nodes: Nodes, asked: Any) -> None:
    with pytest.raises(RequestError) as refused:
        await nodes.done(asked)
    assert refused.value.code is ErrorCode.NO_QUORUM
    assert refused.value.code.outcome is Outcome.NOT_DONE


async def called(nodes: Nodes, life: Life, name: str, *, request: Any) -> Any:
    """Return a node's answer to a client."""
    guard = Guard(life.node.broker, rand=life.context.rand, note=life.context.note)
    handler = handlers_of(life.node.broker, guard)[name]
    assert isinstance(handler, Unary)
    return await nodes.done(handler.serve(request, Call(name, ANONYMOUS, 10_000)))


def fetch(numbers: Iterable[int]) -> log_service_pb2.FetchRequest:
    request = log_service_pb2.FetchRequest(encoding=common_pb2.ENCODING_RECORDS)
    for number in numbers:
        request.cursors.add(topic=TOPIC, partition=number, offset=0)
    return request


def produce(numbers: Iterable[int]) -> log_service_pb2.ProduceRequest:
    request = log_service_pb2.ProduceRequest()
    for number in numbers:
        request.batches.add(topic=TOPIC, partition=number).records.add(value=b"more")
    return request


def values(row: log_service_pb2.FetchResult) -> list[bytes]:
    return [one.value for batch in row.records.batches for one in batch.records]


# Doors before there is a quorum.


async def test_a_node_without_a_quorum_waits_and_then_serves(nodes: Nodes) -> None:
    await nodes.create(1, TOPIC)
    leader = await nodes.leader(TOPIC)
    await nodes.produce(leader, TOPIC, b"a")
    for number in list(nodes.lives):
        await nodes.kill(number)
    (alone,) = await nodes.begin(1)
    await nodes.pass_by(30_000)
    assert not alone.failures and not alone.node.has_joined
    assert alone.image.cluster_id == "" and not alone.image.topics
    context = alone.context
    await no_quorum(nodes, context.joining.over(None))
    await no_quorum(nodes, context.quorum.read_barrier())
    for look in (
        lambda: alone.hosted(TOPIC),
        lambda: context.partitions.of_topic(TOPIC),
        lambda: context.partitions.get_by_id(TopicId(bytes(16)), 0),
    ):
        with pytest.raises(RequestError, match="knows no topics yet") as early:
            look()
        assert early.value.code is ErrorCode.NO_QUORUM
    await nodes.begin(2)
    await nodes.until(lambda: alone.node.has_joined)
    await nodes.done(context.joining.over(None))
    assert TOPIC in alone.image.topics
    with pytest.raises(RequestError, match="UNKNOWN_TOPIC"):
        alone.hosted("absent")
    await nodes.start(3)  # all were killed: an election waits for every replica
    leader = await nodes.leader(TOPIC)
    assert (await nodes.produce(leader, TOPIC, b"b")).base_offset == 1


async def test_a_call_that_comes_early_waits_a_moment(nodes: Nodes) -> None:
    await nodes.stop(3)
    (early,) = await nodes.begin(3)
    waiting = asyncio.ensure_future(early.context.joining.over(None))
    assert not early.node.has_joined
    await nodes.done(waiting)
    assert early.node.has_joined


async def test_a_node_that_waits_can_be_stopped_and_stays_as_it_was(nodes: Nodes) -> None:
    """What was killed before it could tell the controller is unclean, also after a clean stop."""
    await nodes.create(1, TOPIC)
    for number in list(nodes.lives):
        await nodes.kill(number)
    (killed,) = await nodes.begin(1)
    await nodes.pass_by(5_000)
    await nodes.stop(1)
    assert said(killed, "node_stopping") == [{"clean": "false"}]
    await nodes.start()
    assert nodes.lives[1].node.report.clean is False
    await nodes.leader(TOPIC)
    for number in (2, 3):
        await nodes.kill(number)
    await nodes.stop(1)
    (stopped,) = await nodes.begin(1)
    await nodes.pass_by(1_000)
    await nodes.stop(1)
    assert said(stopped, "node_stopping") == [{"clean": str(stopped.node.report.clean).lower()}]


async def test_one_of_three_goes_on_reading_and_refuses_the_rest(nodes: Nodes) -> None:
    """What is below its high watermark is committed, whoever is gone; nothing else is done."""
    partitions = 6
    await nodes.create(1, TOPIC, partitions=partitions)
    for number in range(partitions):
        leader = await nodes.leader(TOPIC, number)
        await nodes.produce(leader, TOPIC, b"%d" % number, number=number)
    alone = nodes.lives[3]
    led = [number for number in range(partitions) if nodes.row(TOPIC, number).leader == 3]
    await nodes.kill(1)
    await nodes.kill(2)
    await nodes.pass_by(10_000)
    assert led
    read = await called(nodes, alone, "LogService/Fetch", request=fetch(led))
    assert [values(row) for row in read.results] == [[b"%d" % number] for number in led]
    told = await called(nodes, alone, "LogService/Produce", request=produce(range(partitions)))
    for number, row in enumerate(told.results):
        code = ErrorCode[row.error.reason]
        assert code.retryable and code.outcome is Outcome.NOT_DONE
        assert (code is ErrorCode.NOT_ENOUGH_REPLICAS) == (number in led), row
    await no_quorum(nodes, alone.context.quorum.propose(CreateTopic(name="new", partitions=1)))


# A fourth node.


async def test_a_fourth_node_gets_new_partitions_and_serves(nodes: Nodes) -> None:
    await nodes.create(1, TOPIC)
    leader = await nodes.leader(TOPIC)
    epoch = leader.hosted(TOPIC).leader_epoch
    await nodes.start(4)
    fourth = nodes.lives[4]
    await nodes.until(lambda: len(leader.context.quorum.status.members) == 4)
    assert {one.node for one in leader.context.quorum.status.voters} == {1, 2, 3}
    assert (await nodes.produce(leader, TOPIC, b"a")).base_offset == 0
    assert leader.hosted(TOPIC).leader_epoch == epoch
    topic = await nodes.create(4, "new", partitions=8, replicas=3)
    held = [row for row in topic.partitions if NodeId(4) in row.replicas]
    led = [row.number for row in topic.partitions if row.replicas[0] == NodeId(4)]
    assert len(held) == 6 and len(led) == 2
    for number in led:
        assert await nodes.leader("new", number) is fourth
        assert (await nodes.produce(fourth, "new", b"b", number=number)).base_offset == 0


# Going, and coming back.


async def test_a_leader_that_stops_is_followed_before_it_refuses(nodes: Nodes) -> None:
    await nodes.create(1, TOPIC, partitions=6)
    for number in range(6):
        await nodes.leader(TOPIC, number)
    leader = await nodes.leader(TOPIC)
    leaving = asyncio.ensure_future(leader.node.leave())
    await nodes.done(leaving)
    assert leader.number not in {nodes.row(TOPIC, number).leader for number in range(6)}
    for number in range(6):
        heir = await nodes.leader(TOPIC, number)
        assert heir is not leader
        assert set(nodes.row(TOPIC, number).isr) == set(ids(1, 2, 3))
        answer = await nodes.done(nodes.send(heir, TOPIC, [b"a"], number=number))
        assert isinstance(answer, Produced)
    assert leader.context.quorum.status.leader not in {None, leader.number}


async def test_whoever_returns_gets_back_what_is_its_own(nodes: Nodes) -> None:
    await nodes.create(1, TOPIC, partitions=6)
    own = {number: nodes.row(TOPIC, number).replicas[0] for number in range(6)}
    for number in range(6):
        await nodes.leader(TOPIC, number)
    await nodes.kill(2)
    for number in range(6):
        assert (await nodes.leader(TOPIC, number)).number != 2
    before = nodes.net.clock.monotonic_ms()
    await nodes.start(2)
    await nodes.until(
        lambda: all(nodes.row(TOPIC, number).leader == own[number] for number in range(6))
    )
    assert nodes.net.clock.monotonic_ms() - before >= 2_000  # calm comes first

    def balanced() -> list[dict[str, str | int]]:
        return [row for life in nodes.lives.values() for row in said(life, "leaders_balanced")]

    await nodes.until(lambda: bool(balanced()))
    assert balanced() == [{"partitions": sum(node == 2 for node in own.values())}]


async def test_who_would_be_missed_waits_for_one_that_catches_up(nodes: Nodes) -> None:
    """Two restarts close together leave no partition with one replica in sync."""
    await nodes.create(1, TOPIC)
    await nodes.leader(TOPIC)
    first, second = (number for number in nodes.numbers if number != nodes.row(TOPIC).leader)
    least: list[int] = []

    def seen(image: Any, delta: Any) -> None:
        del image, delta
        least.append(len(nodes.row(TOPIC).isr))

    nodes.lives[second].context.quorum.subscribe(seen)
    await nodes.stop(first)
    await nodes.begin(first)
    await nodes.until(
        lambda: nodes.lives[second].image.brokers[NodeId(first)].standing is Standing.RUNNING
    )
    await nodes.stop(second)
    assert min(least) == 2


async def test_what_a_person_has_moved_stays_while_nobody_returns(nodes: Nodes) -> None:
    await nodes.create(1, TOPIC)
    leader = await nodes.leader(TOPIC)
    busy = {leader.number, leader.context.quorum.status.leader}
    other = next(number for number in nodes.numbers if number not in busy)
    (heir,) = set(nodes.numbers) - {leader.number, other}
    await nodes.in_sync(TOPIC)
    moved = TransferLeader(topic=TOPIC, number=0, to=NodeId(heir))
    await nodes.done(leader.context.quorum.propose(moved))
    await nodes.pass_by(10_000)
    assert nodes.row(TOPIC).leader == heir
    await nodes.stop(other)
    await nodes.start(other)
    await nodes.pass_by(10_000)
    assert nodes.row(TOPIC).leader == heir
    await nodes.stop(leader.number)
    await nodes.start(leader.number)
    await nodes.until(lambda: nodes.row(TOPIC).leader == leader.number)
