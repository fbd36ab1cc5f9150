"""What one gRPC client can take up: connections, the size of an answer, memory for answers."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from threading import Event
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from grpc import StatusCode

from api.broker import answer_room
from api.door import Address
from api.node.system_rand import SystemRand
from api.rpc import produce_stream, server, topic_service
from api.rpc.call import Call
from api.rpc.produce import _terms
from api.rpc.server import GrpcDoor
from logstore.batch import Stamp, encode_batch, seal
from logstore.compression import Codec, compress
from logstore.log_directory import LogDirectory
from logstore.round import Round, RoundResult
from model.limits import (
    CALL_ITEMS_MAX,
    CONNECTION_IDLE_MS_MAX,
    GRPC_ANSWER_BYTES_MAX,
    HANDSHAKE_MS_MAX,
    MIB,
)
from model.principal import ANONYMOUS
from model.record import NewRecord
from tests.broker_node import batch_of
from tests.grpc_node import GrpcNode, encoded, plain, refusal
from tests.grpc_reading import END, START, Fetch, Request, Seek, records_of
from tests.narrow_peer import GREETING, narrow_peer
from tests.world import Log
from tidelog.v1 import cluster_service_pb2, common_pb2, log_service_pb2, topic_service_pb2

LONG = "a" * 249
HANDSHAKE, IDLE = "grpc.server_handshake_timeout_ms", "grpc.max_connection_idle_ms"
GetCluster = cluster_service_pb2.GetClusterRequest


async def test_beyond_its_connections_the_door_hangs_up(served: GrpcNode) -> None:
    """P54; those that stand go on."""
    door = GrpcDoor(
        served.node.broker,
        Address("127.0.0.1", 0),
        reflection=False,
        rand=SystemRand(),
        note=Log(),
        connections_max=2,
    )
    address = await door.start()
    streams = []
    for _ in range(3):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(GREETING)
        streams.append((reader, writer, await reader.read(9)))
    assert [bool(answer) for _, _, answer in streams] == [True, True, False]
    for _, writer, _ in streams:
        writer.close()
    await door.drain()
    await door.stop()


@pytest.mark.parametrize("option", [HANDSHAKE, IDLE])
async def test_a_connection_without_a_call_does_not_stay(
    served: GrpcNode, monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    """P57: one that says nothing at all, and one that asks for nothing."""
    assert dict(server.OPTIONS)[option] in {HANDSHAKE_MS_MAX.value, CONNECTION_IDLE_MS_MAX.value}
    soon = tuple({**dict(server.OPTIONS), option: 200}.items())
    monkeypatch.setattr(server, "OPTIONS", soon)
    bind = Address("127.0.0.1", 0)
    broker = served.node.broker
    door = GrpcDoor(broker, bind, reflection=False, rand=SystemRand(), note=Log())
    reader, writer = await asyncio.open_connection(*await door.start())
    if option == IDLE:
        writer.write(GREETING)
    await reader.read()  # to the end
    writer.close()
    await door.drain()
    await door.stop()


async def test_rows_that_failed_never_make_an_answer_too_large(served: GrpcNode) -> None:
    """Else the transport would refuse the answer, and nobody knew what became of the batches."""
    batches = [
        log_service_pb2.ProduceBatch(records=[common_pb2.Record()])
        for _ in range(CALL_ITEMS_MAX.value)
    ]
    rows = await served.produce(LONG, *batches)
    assert len(rows) == CALL_ITEMS_MAX.value
    for row in rows:
        assert row.error.reason == "UNKNOWN_TOPIC"
        assert row.error.outcome == common_pb2.OUTCOME_NOT_DONE
        assert not row.error.retryable
    assert rows[0].error.metadata["topic"] == LONG
    assert not rows[-1].error.metadata
    partitions = [common_pb2.TopicPartition(topic=LONG, partition=at) for at in range(len(rows))]
    asked = log_service_pb2.ResolveOffsetsRequest(partitions=partitions, seek=END)
    resolved = (await served.logs.ResolveOffsets(asked)).resolved
    assert {row.error.reason for row in resolved} == {"UNKNOWN_TOPIC"}
    cursors = [common_pb2.Cursor(topic=LONG, partition=at) for at in range(len(rows))]
    fetched = (await served.logs.Fetch(Fetch(cursors=cursors))).results
    assert {row.error.reason for row in fetched} == {"UNKNOWN_TOPIC"}


@pytest.mark.parametrize(
    ("cursors", "fits"), [(5_000, True), (CALL_ITEMS_MAX.value, False)], ids=["fits", "does not"]
)
async def test_records_and_rows_of_an_answer_fit_together(
    served: GrpcNode, cursors: int, fits: bool
) -> None:
    await served.create(LONG, max__message__bytes=str(3 * MIB))
    await served.produce(LONG, encoded(batch_of([b"x" * MIB])))
    asked = [common_pb2.Cursor(topic=LONG, offset=1)] * (cursors - 1)
    first = common_pb2.Cursor(topic=LONG, offset=0)
    for encoding in (common_pb2.ENCODING_RECORDS, common_pb2.ENCODING_BATCH):
        rows = (await served.logs.Fetch(Fetch(cursors=[first, *asked], encoding=encoding))).results
        assert len(rows) == cursors
        if fits:
            assert rows[0].records.next.offset == 1
        else:  # alone it would: that is said, for the next answer would be the same
            assert rows[0].error.reason == "RECORD_TOO_LARGE"
            assert rows[0].error.metadata["offset"] == "0"


async def test_a_record_that_no_answer_holds_is_told_and_not_withheld(served: GrpcNode) -> None:
    """Some bytes below the limit of a record there is one of an answer that holds it."""
    await served.create("orders", max__message__bytes=str(3 * MIB))
    size = 4 * MIB - (64 << 10) - 60  # alone it would pass; a row about it does not fit beside
    large = encode_batch([NewRecord(0, None, bytes(size))])
    assert len(large) > 3 * MIB
    body = compress(Codec.ZSTD, bytes(large[61:]))
    await served.produce(
        "orders",
        encoded(seal([body], Stamp(), records=1, times=(0, 0), attributes=Codec.ZSTD)),
    )
    cursor = common_pb2.Cursor(topic="orders")
    (row,) = (await served.logs.Fetch(Fetch(cursors=[cursor]))).results
    assert row.error.reason == "RECORD_TOO_LARGE"
    stored = Fetch(cursors=[cursor], encoding=common_pb2.ENCODING_BATCH)
    (row,) = (await served.logs.Fetch(stored)).results
    assert row.records.next.offset == 1


async def test_a_page_of_topics_is_one_message(served: GrpcNode) -> None:
    text = {name: "1" * 1_024 for name in ("flush.ms", "flush.messages", "segment.jitter.ms")}
    many = 30
    for at in range(many):
        topic = topic_service_pb2.Topic(name=f"t{at:03}", config=text)
        await served.topics.CreateTopic(topic_service_pb2.CreateTopicRequest(topic=topic))
    listed: list[str] = []
    token = ""
    pages = 0
    limit = replace(GRPC_ANSWER_BYTES_MAX, value=20 << 10)
    with pytest.MonkeyPatch.context() as small:
        small.setattr(topic_service, "GRPC_ANSWER_BYTES_MAX", limit)
        while True:
            page = await served.topics.ListTopics(
                topic_service_pb2.ListTopicsRequest(page_token=token)
            )
            assert page.ByteSize() <= limit.value
            listed += [one.name for one in page.topics]
            pages += 1
            token = page.next_page_token
            if not token:
                break
    assert listed == [f"t{at:03}" for at in range(many)]
    assert pages > 3


async def test_many_quiet_partitions_do_not_swell_a_message(served: GrpcNode) -> None:
    """A sign of life of each stands in the message beside the records of others."""
    partitions = 100
    await served.create(LONG, partitions)
    await served.produce(LONG, *[plain(b"x" * 100, partition=at) for at in range(partitions)])
    request = Request(topics=[LONG], start=START, stop=END, max_bytes=10_000)
    messages = [one async for one in served.logs.Subscribe(request)]
    sizes = [one.records.ByteSize() for one in messages]
    assert max(sizes) < 11_000
    assert len(records_of(messages)) == partitions


async def test_answers_that_nobody_takes_are_shed_beyond_their_share(
    served: GrpcNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_room, "WAIT_S_MAX", 0.05)
    await served.create("orders")
    await served.produce("orders", plain(b"a"))
    answers = served.node.answers
    fetch = Fetch(cursors=[common_pb2.Cursor(topic="orders")])
    with answers.held(1 << 40):
        for call in (
            served.logs.Fetch(fetch),
            served.logs.Subscribe(Request(topics=["orders"], start=START)),
        ):
            found = await refusal(call)
            assert (found.code, found.reason) == (StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
            assert found.info.metadata["outcome"] == "NOT_DONE"
            assert found.retry is not None
        await served.produce("orders", plain(b"b"))  # writers have a share of their own
    assert answers.taken_bytes == 0
    (row,) = (await served.logs.Fetch(fetch)).results
    assert row.records.next.offset == 2


async def test_a_read_waits_a_while_for_others_to_take_theirs(served: GrpcNode) -> None:
    await served.create("orders")
    await served.produce("orders", plain(b"a"))
    answers = served.node.answers
    answers.take(1 << 40)
    reading = asyncio.ensure_future(
        served.logs.Fetch(Fetch(cursors=[common_pb2.Cursor(topic="orders")]))
    )
    while not answers.row:
        await served.turn()
    assert not reading.done()
    answers.give_back(1 << 40)
    (row,) = (await reading).results
    assert row.records.next.offset == 1
    while answers.taken_bytes:
        await served.turn()


async def test_a_reader_that_stands_still_holds_one_step_and_lets_it_go(served: GrpcNode) -> None:
    await served.create("orders")
    for _ in range(40):
        await served.produce("orders", encoded(batch_of([b"x" * 500_000])))
    stream = served.logs.Subscribe(Request(topics=["orders"], start=Seek(offset=0)))
    await stream.read()
    answers = served.node.answers
    while not answers.taken_bytes:
        await served.turn()
    held = answers.taken_bytes
    assert held <= 2 * (512 << 10) + 2 * 500_200
    stream.cancel()
    while answers.taken_bytes:
        await served.turn()
    while served.door.counters.running > 0:
        await served.turn()


async def test_a_message_is_counted_until_the_peer_has_room_for_all_of_it(
    served: GrpcNode,
) -> None:
    """A client of gRPC takes one in ahead of its reader; this one has room for 64 KiB, as HTTP/2
    begins, and takes the rest when it says so: gRPC hands on no message of which it keeps a part.
    """
    await served.create("orders")
    await served.produce("orders", encoded(batch_of([b"x" * 500_000])))
    answers = served.node.answers
    async with narrow_peer(served.address) as peer:
        peer.call("LogService/Subscribe", Request(topics=["orders"], start=START, stop=END))
        while not answers.taken_bytes:
            await served.turn()
        for _ in range(50):
            await served.turn()
            assert answers.taken_bytes > 2 * 500_000
        peer.widen(1_000_000)
        while answers.taken_bytes:
            await served.turn()
        assert await peer.reader.readexactly(500_000)


def many(correlation_id: int, rows: int) -> log_service_pb2.ProduceStreamRequest:
    """Return a request of many small batches."""
    batches = [
        log_service_pb2.ProduceBatch(topic="orders", partition=0, records=[common_pb2.Record()])
        for _ in range(rows)
    ]
    return log_service_pb2.ProduceStreamRequest(
        correlation_id=correlation_id, produce=log_service_pb2.ProduceRequest(batches=batches)
    )


async def test_answers_of_a_stream_count_until_they_are_taken(
    served: GrpcNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(produce_stream, "ROWS_IN_FLIGHT_MAX", 100)
    await served.create("orders")
    memory = served.node.memory
    seen: list[int] = []
    take = type(memory).take

    def watched(budget: Any, size_bytes: int) -> None:
        take(budget, size_bytes)
        seen.append(budget.taken_bytes)

    monkeypatch.setattr(type(memory), "take", watched)

    async def requests() -> AsyncIterator[log_service_pb2.ProduceStreamRequest]:
        for number in range(20):
            yield many(number, 101)

    answers = [answer async for answer in served.logs.ProduceStream(requests())]
    assert len(answers) == 20
    assert max(seen) >= 101 * 256
    while served.door.counters.running > 0:
        await served.turn()
    assert memory.taken_bytes == 0


async def test_a_client_that_leaves_without_its_answers_takes_nothing_along(
    served: GrpcNode,
) -> None:
    await served.create("orders")
    stream = served.logs.ProduceStream()
    await stream.write(many(1, 1_000))
    memory = served.node.memory
    while not memory.taken_bytes:
        await served.turn()
    stream.cancel()
    while served.door.counters.running > 0:
        await served.turn()
    await served.node.settle()
    assert memory.taken_bytes == 0


async def test_a_stamp_needs_every_replica_in_whatever_form_it_comes(served: GrpcNode) -> None:
    await served.create("orders")
    batch = encoded(batch_of([b"a"], producer=(7, 0, 0)))
    (row,) = await served.produce("orders", batch, acks=log_service_pb2.ACKS_LEADER)
    assert (row.error.reason, row.error.metadata["field"]) == ("INVALID_REQUEST", "acks")
    (row,) = await served.produce(
        "orders", encoded(batch_of([b"a"])), acks=log_service_pb2.ACKS_LEADER
    )
    assert row.base_offset == 0


async def test_an_append_whose_client_has_gone_keeps_nothing(
    served: GrpcNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk stands still meanwhile: the call does not wait for it."""
    may_write = Event()
    run_round = LogDirectory.run_round

    def held(directory: LogDirectory, work: Round) -> RoundResult:
        may_write.wait()
        return run_round(directory, work)

    await served.create("orders")
    partition = served.node.broker.partition("orders", 0)
    monkeypatch.setattr(LogDirectory, "run_round", held)
    batch = plain(b"a")
    batch.topic = "orders"
    call = served.logs.Produce(log_service_pb2.ProduceRequest(batches=[batch]))
    try:
        while not partition.committed_acks:
            await served.turn()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        while served.door.counters.running > 0:
            await served.turn()
    finally:
        may_write.set()
    await served.node.settle()
    assert len(partition.committed_acks) == 0
    assert served.node.memory.taken_bytes == 0
    assert partition.high_watermark == 1


def test_an_ack_waits_no_longer_than_its_client() -> None:
    asked = log_service_pb2.ProduceRequest(timeout=Duration(seconds=30))
    for remaining_ms, wait_ms in ((50, 50), (None, 30_000), (90_000, 30_000)):
        call = Call("LogService/Produce", ANONYMOUS, remaining_ms)
        assert _terms(asked, call).timeout_ms == wait_ms
