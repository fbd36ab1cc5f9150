"""Any node takes any client's call: what another one leads is answered by that one."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from api.rpc.call import Call
from api.rpc.guard import Guard
from api.rpc.handlers import ServerStream, Unary
from api.rpc.server import handlers_of
from model.errors import Outcome, RequestError
from model.principal import ANONYMOUS
from tests.cluster_nodes import Life, Nodes
from tidelog.v1 import common_pb2, group_service_pb2, log_service_pb2, topic_service_pb2

TOPIC = "orders"
PARTITIONS = 6
"""So many that each node leads some."""


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    made = Nodes(3)
    try:
        await made.start()
        await made.create(1, TOPIC, partitions=PARTITIONS)
        for number in range(PARTITIONS):
            await made.leader(TOPIC, number)
        yield made
    finally:
        await made.close()


async def called(nodes: Nodes, life: Life, name: str, *request: Any) -> Any:
    """Return a node's answer to a client."""
    guard = Guard(life.node.broker, rand=life.context.rand, note=life.context.note)
    handler = handlers_of(life.node.broker, guard)[name]
    assert isinstance(handler, Unary)
    return await nodes.done(handler.serve(request[0], Call(name, ANONYMOUS, 10_000)))


def batches(*rows: tuple[int | None, bytes]) -> log_service_pb2.ProduceRequest:
    request = log_service_pb2.ProduceRequest()
    for number, value in rows:
        batch = request.batches.add(topic=TOPIC)
        batch.records.add(key=b"k", value=value)
        if number is not None:
            batch.partition = number
    return request


def cursors(*offsets: int, wait_ms: int = 0) -> log_service_pb2.FetchRequest:
    request = log_service_pb2.FetchRequest(encoding=common_pb2.ENCODING_RECORDS)
    for number, offset in enumerate(offsets):
        request.cursors.add(topic=TOPIC, partition=number, offset=offset)
    if wait_ms:
        request.max_wait.FromMilliseconds(wait_ms)
        request.min_bytes = 1
    return request


def values(row: log_service_pb2.FetchResult) -> list[bytes]:
    return [one.value for batch in row.records.batches for one in batch.records]


async def test_every_node_leads_some(nodes: Nodes) -> None:
    """Else these tests show nothing."""
    leaders = {nodes.row(TOPIC, number).leader for number in range(PARTITIONS)}
    assert leaders == {1, 2, 3}


@pytest.mark.parametrize("at", [1, 2, 3])
async def test_what_is_produced_anywhere_is_read_anywhere(nodes: Nodes, at: int) -> None:
    wanted = [(number, b"%d" % number) for number in range(PARTITIONS)]
    answer = await called(nodes, nodes.lives[at], "LogService/Produce", batches(*wanted))
    assert [row.partition for row in answer.results] == list(range(PARTITIONS))
    assert all(not row.HasField("error") and row.base_offset == 0 for row in answer.results)
    for life in nodes.lives.values():
        read = await called(nodes, life, "LogService/Fetch", cursors(*[0] * PARTITIONS))
        assert [values(row) for row in read.results] == [[value] for _, value in wanted]


async def test_a_batch_that_names_no_partition_goes_where_its_key_belongs(nodes: Nodes) -> None:
    chosen = set()
    for life in nodes.lives.values():
        answer = await called(nodes, life, "LogService/Produce", batches((None, b"x")))
        (row,) = answer.results
        assert not row.HasField("error"), row
        chosen.add(row.partition)
    assert len(chosen) == 1


async def test_a_fetch_waits_at_all_nodes_for_the_first_to_have_something(nodes: Nodes) -> None:
    life = nodes.lives[1]
    guard = Guard(life.node.broker, rand=life.context.rand, note=life.context.note)
    handler = handlers_of(life.node.broker, guard)["LogService/Fetch"]
    assert isinstance(handler, Unary)
    remote = next(n for n in range(PARTITIONS) if nodes.row(TOPIC, n).leader == 2)
    began = nodes.net.clock.monotonic_ms()

    async def both() -> Any:
        return await handler.serve(
            cursors(*[0] * PARTITIONS, wait_ms=20_000), Call("Fetch", ANONYMOUS, 30_000)
        )

    fetch = asyncio.ensure_future(both())
    await nodes.pass_by(500)
    assert not fetch.done()
    await called(nodes, nodes.lives[3], "LogService/Produce", batches((remote, b"late")))
    read = await nodes.done(fetch)
    assert nodes.net.clock.monotonic_ms() - began < 5_000
    assert [values(row) for row in read.results] == [
        [b"late"] if number == remote else [] for number in range(PARTITIONS)
    ]


async def test_places_are_found_by_their_leaders(nodes: Nodes) -> None:
    await called(
        nodes,
        nodes.lives[1],
        "LogService/Produce",
        batches(*((number, b"v") for number in range(PARTITIONS))),
    )
    seek = common_pb2.Seek(edge=common_pb2.EDGE_LATEST)
    for life in nodes.lives.values():
        request = log_service_pb2.ResolveOffsetsRequest(topics=[TOPIC], seek=seek)
        answer = await called(nodes, life, "LogService/ResolveOffsets", request)
        assert [row.partition.partition for row in answer.resolved] == list(range(PARTITIONS))
        assert [row.high_watermark for row in answer.resolved] == [1] * PARTITIONS
        assert not any(row.HasField("error") for row in answer.resolved)


async def test_a_topic_is_described_and_trimmed_through_any_node(nodes: Nodes) -> None:
    await called(
        nodes,
        nodes.lives[1],
        "LogService/Produce",
        batches(*((number, b"v") for number in range(PARTITIONS))),
    )
    trim = topic_service_pb2.TrimTopicRequest(
        name=TOPIC, before=common_pb2.Seek(edge=common_pb2.EDGE_LATEST)
    )
    trimmed = await called(nodes, nodes.lives[2], "TopicService/TrimTopic", trim)
    assert [(row.partition, row.before, row.after) for row in trimmed.trimmed] == [
        (number, 0, 1) for number in range(PARTITIONS)
    ]
    for life in nodes.lives.values():
        request = topic_service_pb2.GetTopicRequest(name=TOPIC)
        answer = await called(nodes, life, "TopicService/GetTopic", request)
        rows = answer.topic.partitions
        assert [row.id for row in rows] == list(range(PARTITIONS))
        assert [(row.log_start_offset, row.high_watermark) for row in rows] == [(1, 1)] * PARTITIONS


async def test_a_leader_that_dies_leaves_the_outcome_open_or_nothing_done(nodes: Nodes) -> None:
    """P4: once bytes have left nobody knows; before, it is not done, and may be asked again."""
    life = nodes.lives[1]
    remote = next(n for n in range(PARTITIONS) if nodes.row(TOPIC, n).leader == 2)
    guard = Guard(life.node.broker, rand=life.context.rand, note=life.context.note)
    handler = handlers_of(life.node.broker, guard)["LogService/Produce"]
    assert isinstance(handler, Unary)
    call = Call("Produce", ANONYMOUS, 10_000)
    first: asyncio.Future[Any] = asyncio.ensure_future(handler.serve(batches((remote, b"a")), call))
    nodes.net.run()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    nodes.net.run()
    await nodes.kill(2)
    (row,) = (await nodes.done(first)).results
    assert row.error.reason == "UPSTREAM_LOST"
    assert row.error.outcome == common_pb2.OUTCOME_UNKNOWN
    (row,) = (await called(nodes, life, "LogService/Produce", batches((remote, b"b")))).results
    assert row.error.outcome == common_pb2.OUTCOME_NOT_DONE
    assert row.error.retryable
    await nodes.until(lambda: nodes.row(TOPIC, remote, at=1).leader not in {2, None})
    await nodes.leader(TOPIC, remote)
    (row,) = (await called(nodes, life, "LogService/Produce", batches((remote, b"c")))).results
    assert not row.HasField("error")


async def test_a_node_takes_nothing_further_that_was_brought(nodes: Nodes) -> None:
    """Two nodes that take each other for the leader must not pass a call to and back."""
    remote = next(n for n in range(PARTITIONS) if nodes.row(TOPIC, n).leader == 2)
    forwarding = nodes.lives[3].context.forwarding
    assert forwarding is not None
    answer = await nodes.done(
        forwarding.call(
            nodes.lives[1].node.node_id,
            "LogService/Produce",
            ANONYMOUS,
            payload=batches((remote, b"x")).SerializeToString(),
            left_ms=1_000,
        )
    )
    (row,) = log_service_pb2.ProduceResponse.FromString(answer).results
    assert row.error.reason == "NOT_LEADER"


async def test_no_other_call_may_be_brought(nodes: Nodes) -> None:
    forwarding = nodes.lives[3].context.forwarding
    assert forwarding is not None
    for name in ("LogService/Subscribe", "nothing"):
        with pytest.raises(RequestError) as refused:
            await nodes.done(
                forwarding.call(
                    nodes.lives[1].node.node_id, name, ANONYMOUS, payload=b"", left_ms=1_000
                )
            )
        assert refused.value.code.outcome is Outcome.NOT_DONE


class Reader:
    """A client that reads a stream; what it was told."""

    def __init__(self, nodes: Nodes, life: Life, request: log_service_pb2.SubscribeRequest) -> None:
        guard = Guard(life.node.broker, rand=life.context.rand, note=life.context.note)
        handler = handlers_of(life.node.broker, guard)["LogService/Subscribe"]
        assert isinstance(handler, ServerStream)
        self.told: list[log_service_pb2.SubscribeResponse] = []
        call = Call("LogService/Subscribe", ANONYMOUS, None)
        self.task = asyncio.ensure_future(handler.serve(request, self._send, call))

    async def _send(self, message: log_service_pb2.SubscribeResponse) -> None:
        self.told.append(log_service_pb2.SubscribeResponse.FromString(message.SerializeToString()))

    @property
    def values(self) -> list[bytes]:
        return sorted(
            record.value
            for message in self.told
            for part in message.records.partitions
            for batch in part.batches
            for record in batch.records
        )

    @property
    def kinds(self) -> list[str]:
        return [str(message.WhichOneof("event")) for message in self.told]


def reading(**given: Any) -> log_service_pb2.SubscribeRequest:
    return log_service_pb2.SubscribeRequest(
        topics=[TOPIC], encoding=common_pb2.ENCODING_RECORDS, **given
    )


EARLIEST = common_pb2.Seek(edge=common_pb2.EDGE_EARLIEST)
LATEST = common_pb2.Seek(edge=common_pb2.EDGE_LATEST)


@pytest.mark.parametrize("at", [1, 2, 3])
async def test_a_bounded_read_over_all_leaders_ends_with_everything(nodes: Nodes, at: int) -> None:
    sent = [(number, b"%d" % number) for number in range(PARTITIONS)]
    await called(nodes, nodes.lives[1], "LogService/Produce", batches(*sent))
    reader = Reader(nodes, nodes.lives[at], reading(start=EARLIEST, stop=LATEST))
    await nodes.done(reader.task)
    assert reader.values == [value for _, value in sent]
    assert reader.kinds[0] == "opened"
    assert reader.kinds.count("opened") == 1
    opened = reader.told[0].opened.bounds
    assert [(one.start.partition, one.start.offset, one.stop_offset) for one in opened] == [
        (number, 0, 1) for number in range(PARTITIONS)
    ]


async def test_an_endless_read_goes_on_when_a_leader_dies(nodes: Nodes) -> None:
    """Its client does not notice: nothing is told twice, nothing is left out."""
    reader = Reader(nodes, nodes.lives[1], reading(start=EARLIEST))
    every = range(PARTITIONS)
    await called(
        nodes, nodes.lives[1], "LogService/Produce", batches(*((n, b"a%d" % n) for n in every))
    )
    await nodes.until(lambda: len(reader.values) == PARTITIONS)
    await nodes.until(lambda: "caught_up" in reader.kinds)
    await nodes.kill(3)
    for number in every:
        await nodes.leader(TOPIC, number)
    sent = await called(
        nodes, nodes.lives[2], "LogService/Produce", batches(*((n, b"b%d" % n) for n in every))
    )
    assert not any(row.HasField("error") for row in sent.results)
    await nodes.until(lambda: len(reader.values) == 2 * PARTITIONS)
    assert len(set(reader.values)) == 2 * PARTITIONS
    assert reader.kinds.count("opened") == 1
    assert not reader.task.done()
    reader.task.cancel()


async def test_an_endless_read_takes_in_what_a_topic_grows_by(nodes: Nodes) -> None:
    reader = Reader(nodes, nodes.lives[1], reading(start=LATEST))
    await nodes.until(lambda: "caught_up" in reader.kinds)
    grow = topic_service_pb2.AddPartitionsRequest(name=TOPIC, partition_count=PARTITIONS + 3)
    await called(nodes, nodes.lives[2], "TopicService/AddPartitions", grow)
    fresh = range(PARTITIONS, PARTITIONS + 3)
    for number in fresh:
        await nodes.leader(TOPIC, number)
    await called(
        nodes, nodes.lives[3], "LogService/Produce", batches(*((n, b"%d" % n) for n in fresh))
    )
    await nodes.until(lambda: len(reader.values) == len(fresh))
    reader.task.cancel()


async def test_a_reader_that_has_gone_leaves_nothing_at_other_nodes(nodes: Nodes) -> None:
    before = {number: len(life.spawned) for number, life in nodes.lives.items()}
    reader = Reader(nodes, nodes.lives[1], reading(start=LATEST))
    await nodes.until(lambda: "caught_up" in reader.kinds)
    reader.task.cancel()
    await nodes.pass_by(5_000)
    assert all(len(nodes.lives[number].spawned) <= was + 2 for number, was in before.items())


def commit(group: str, offset: int) -> group_service_pb2.CommitOffsetsRequest:
    request = group_service_pb2.CommitOffsetsRequest(group=group)
    request.cursors.add(topic=TOPIC, partition=0, offset=offset)
    return request


async def committed(nodes: Nodes, life: Life, group: str) -> int:
    request = group_service_pb2.ListGroupOffsetsRequest(group=group)
    name = "ConsumerGroupService/ListGroupOffsets"
    answer = await called(nodes, life, name, request)
    (row,) = answer.offsets
    offset: int = row.committed.offset
    return offset


async def ready(nodes: Nodes, life: Life, name: str, *request: Any) -> Any:
    """Return an answer, asked again for as long as that is what a client is told to do."""
    while True:
        try:
            return await called(nodes, life, name, *request)
        except RequestError as refusal:
            assert refusal.code.retryable, refusal
            await nodes.pass_by(50)


async def test_a_group_is_the_same_at_every_node_and_survives_its_coordinator(
    nodes: Nodes,
) -> None:
    """P20: what was acknowledged of a commit is there after its coordinator has died."""
    groups = [f"g{number}" for number in range(6)]
    sent = [(0, b"%d" % offset) for offset in range(3)]
    await called(nodes, nodes.lives[1], "LogService/Produce", batches(*sent))
    name = "ConsumerGroupService/CommitOffsets"
    for at, group in enumerate(groups):
        life = nodes.lives[1 + at % 3]
        answer = await ready(nodes, life, name, commit(group, 1 + at % 3))
        assert not any(row.HasField("error") for row in answer.results)
    for group in groups:
        wanted = 1 + groups.index(group) % 3
        assert [await committed(nodes, life, group) for life in nodes.lives.values()] == [
            wanted
        ] * 3
    assert len({nodes.row("__consumer_offsets", number).leader for number in range(8)}) > 1
    await nodes.kill(2)
    for number in range(8):
        await nodes.leader("__consumer_offsets", number)
    for at, group in enumerate(groups):
        for life in nodes.lives.values():
            request = group_service_pb2.ListGroupOffsetsRequest(group=group)
            answer = await ready(nodes, life, "ConsumerGroupService/ListGroupOffsets", request)
            assert [row.committed.offset for row in answer.offsets] == [1 + at % 3]
