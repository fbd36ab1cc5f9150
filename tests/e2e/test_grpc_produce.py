"""Producing over gRPC: offsets are true, repeats are not doubled, refusals say what and why."""

from typing import Any

import pytest

from logstore.batch import decode_batch, encode_batch
from logstore.compression import Codec
from model.limits import CALL_ITEMS_MAX, HEADERS_PER_RECORD_MAX
from model.murmur2 import murmur2, partition_of
from model.record import TRANSACTIONAL, NewRecord
from tests.grpc_node import GrpcNode, encoded, plain, record, refusal
from tidelog.v1 import common_pb2, log_service_pb2

Batch = log_service_pb2.ProduceBatch
Stamp = log_service_pb2.ProducerStamp


def stamp(producer: common_pb2.ProducerId, sequence: int) -> Stamp:
    return Stamp(producer=producer, base_sequence=sequence)


async def stored(served: GrpcNode, topic: str, partition: int = 0) -> list[Any]:
    """Return every record of a partition."""
    request = log_service_pb2.SubscribeRequest(
        partitions=[common_pb2.TopicPartition(topic=topic, partition=partition)],
        start=common_pb2.Seek(edge=common_pb2.EDGE_EARLIEST),
        stop=common_pb2.Seek(edge=common_pb2.EDGE_LATEST),
    )
    return [
        one
        async for event in served.logs.Subscribe(request)
        for part in event.records.partitions
        for batch in part.batches
        for one in batch.records
    ]


async def test_plain_records_come_back_as_they_were_sent(served: GrpcNode) -> None:
    await served.create("orders")
    sent = [
        record(b"one", b"k", 1_000, h=b"x"),
        record(None, None, 0),
        record(b"", b"", 5),
        common_pb2.Record(
            value=b"v",
            timestamp_ms=7,
            headers=[common_pb2.Header(key="\u00e4"), common_pb2.Header(key="\u00e4", value=b"")],
        ),
    ]
    (result,) = await served.produce("orders", Batch(partition=0, records=sent))
    assert (result.base_offset, result.partition, result.duplicate) == (0, 0, False)
    assert result.append_time.ToMilliseconds() % 10 == 0
    (later,) = await served.produce("orders", plain(b"next"))
    assert later.base_offset == 4
    found = await stored(served, "orders")
    assert [one.offset for one in found] == [0, 1, 2, 3, 4]
    for one in found:
        one.offset = 0
    assert found[:4] == sent


async def test_a_record_without_time_gets_the_nodes(served: GrpcNode) -> None:
    await served.create("orders")
    before = served.node.broker.context.clock.wall_ms()
    await served.produce("orders", plain(b"a", b"b"))
    after = served.node.broker.context.clock.wall_ms()
    first, second = await stored(served, "orders")
    assert before <= first.timestamp_ms == second.timestamp_ms <= after


async def test_encoded_batches_are_kept_byte_for_byte(served: GrpcNode) -> None:
    await served.create("orders")
    batch = encode_batch([NewRecord(5, b"k", b"v" * 100)] * 3, compression=Codec.ZSTD)
    (first, second) = await served.produce("orders", encoded(batch), encoded(batch))
    assert (first.base_offset, second.base_offset) == (0, 3)
    request = log_service_pb2.FetchRequest(
        cursors=[common_pb2.Cursor(topic="orders", offset=4)], encoding=common_pb2.ENCODING_BATCH
    )
    (row,) = (await served.logs.Fetch(request)).results
    (run,) = row.records.batches
    assert run.encoded[16:] == batch[16:]
    assert [one.offset for one in decode_batch(memoryview(run.encoded))] == [3, 4, 5]
    assert row.records.next.offset == 6


async def test_exact_event_times_of_plain_records_are_known_at_once(served: GrpcNode) -> None:
    await served.create("orders")
    await served.produce("orders", plain(b"a", b"b", time=5_000), plain(b"c", time=3_000))
    (segment,) = served.node.broker.partition("orders", 0).log.segments()
    assert segment.event_bounds == (3_000, 5_001)


@pytest.mark.parametrize("partitions", [1, 7])
async def test_the_key_chooses_the_partition_as_kafka_does(
    served: GrpcNode, partitions: int
) -> None:
    await served.create("orders", partitions)
    for key in (b"alice", b"bob", b"", b"k" * 9_000):
        wanted = partition_of(murmur2(key), partitions)
        batches = [
            Batch(records=[record(b"x", key), record(b"y", key)]),
            Batch(encoded=bytes(encode_batch([NewRecord(0, key, b"z")] * 2))),
        ]
        for result in await served.produce("orders", *batches):
            assert not result.HasField("error")
            assert result.partition == wanted
    several = Batch(records=[record(b"x", b"a"), record(b"y", b"b")])
    mixed = Batch(encoded=bytes(encode_batch([NewRecord(0, b"a", None), NewRecord(0, None, None)])))
    for result in await served.produce("orders", several, mixed):
        assert result.error.reason == "INVALID_REQUEST"
        assert result.error.metadata["field"] == "partition"


async def test_records_without_key_fill_one_partition_after_the_other(served: GrpcNode) -> None:
    await served.create("orders", 3)
    big = Batch(records=[record(b"x" * 300_000)])
    chosen = [(await served.produce("orders", big))[0].partition for _ in range(10)]
    assert chosen == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]


async def test_a_stamped_batch_is_in_the_log_once(served: GrpcNode) -> None:
    await served.create("orders")
    producer = (await served.logs.InitProducer(log_service_pb2.InitProducerRequest())).producer
    assert producer.epoch == 0
    batch = plain(b"a", b"b", time=1)
    batch.producer.CopyFrom(stamp(producer, 0))
    (first,) = await served.produce("orders", batch)
    (again,) = await served.produce("orders", batch)
    assert (again.base_offset, again.duplicate) == (first.base_offset, True)
    assert again.append_time == first.append_time
    batch.producer.CopyFrom(stamp(producer, 5))
    (gap,) = await served.produce("orders", batch)
    assert (gap.error.reason, gap.error.outcome) == (
        "OUT_OF_ORDER_SEQUENCE",
        common_pb2.OUTCOME_NOT_DONE,
    )
    raised = await served.logs.InitProducer(log_service_pb2.InitProducerRequest(current=producer))
    assert (raised.producer.id, raised.producer.epoch) == (producer.id, 1)
    batch.producer.CopyFrom(stamp(raised.producer, 0))
    (newer,) = await served.produce("orders", batch)
    assert newer.base_offset == 2
    batch.producer.CopyFrom(stamp(producer, 2))
    (fenced,) = await served.produce("orders", batch)
    assert fenced.error.reason == "PRODUCER_FENCED"
    assert len(await stored(served, "orders")) == 4


async def test_unacknowledged_batches_have_no_offset(served: GrpcNode) -> None:
    await served.create("orders")
    acks = log_service_pb2
    (none,) = await served.produce("orders", plain(b"a"), acks=acks.ACKS_NONE)
    (leader,) = await served.produce("orders", plain(b"b"), acks=acks.ACKS_LEADER)
    assert none == log_service_pb2.ProduceResult(topic="orders", partition=0)
    assert leader.base_offset == 1


def bad_batches() -> dict[str, tuple[Batch, str, str]]:
    good = encode_batch([NewRecord(0, None, b"v")])
    flipped = bytearray(good)
    flipped[-1] ^= 1
    producer = common_pb2.ProducerId(id=1)
    one, numbers = [NewRecord(0, None, None)], {"producer_epoch": 0, "base_sequence": 0}
    numbered = encode_batch(one, producer_id=1, **numbers)
    headed = common_pb2.Record(headers=[common_pb2.Header()] * (HEADERS_PER_RECORD_MAX.value + 1))
    transactional = encode_batch(one, producer_id=1, attributes=TRANSACTIONAL, **numbers)
    return {
        "nothing": (Batch(partition=0), "INVALID_REQUEST", "batches"),
        "both": (
            Batch(partition=0, records=[record(b"")], encoded=bytes(good)),
            "INVALID_REQUEST",
            "batches",
        ),
        "checksum": (encoded(flipped), "CORRUPT_BATCH", ""),
        "cut short": (encoded(good[:40]), "CORRUPT_BATCH", ""),
        "two at once": (encoded(good + good), "CORRUPT_BATCH", ""),
        "zeros": (encoded(bytes(70)), "CORRUPT_BATCH", ""),
        "time -1": (plain(b"a", time=-1), "TIMESTAMP_OUT_OF_RANGE", "timestamp_ms"),
        "unknown partition": (plain(b"a", partition=9), "UNKNOWN_PARTITION", ""),
        "negative partition": (plain(b"a", partition=-1), "UNKNOWN_PARTITION", ""),
        "too large": (plain(b"x" * (1 << 20)), "RECORD_TOO_LARGE", ""),
        "many too large": (plain(*[b"x" * 1_000] * 1_200), "RECORD_TOO_LARGE", ""),
        "headers": (Batch(partition=0, records=[headed]), "INVALID_REQUEST", "headers"),
        "stamp and no partition": (
            Batch(records=[record(b"")], producer=stamp(producer, 0)),
            "INVALID_REQUEST",
            "partition",
        ),
        "numbered and no partition": (
            Batch(encoded=bytes(numbered)),
            "INVALID_REQUEST",
            "partition",
        ),
        "stamped twice": (
            Batch(partition=0, encoded=bytes(numbered), producer=stamp(producer, 0)),
            "INVALID_REQUEST",
            "producer",
        ),
        "negative sequence": (
            Batch(partition=0, records=[record(b"")], producer=stamp(producer, -1)),
            "INVALID_REQUEST",
            "producer",
        ),
        "transaction": (encoded(transactional), "NOT_IMPLEMENTED", "encoded"),
        "later sequence": (
            Batch(
                partition=0, records=[record(b"")], producer=stamp(common_pb2.ProducerId(id=77), 4)
            ),
            "UNKNOWN_PRODUCER_ID",
            "",
        ),
    }


async def test_a_bad_batch_has_its_own_error_and_harms_no_other(served: GrpcNode) -> None:
    await served.create("orders")
    named = bad_batches()
    batches = [plain(b"good", time=1)]
    for bad, _, _ in named.values():
        batches += [bad, plain(b"good", time=1)]
    results = await served.produce("orders", *batches)
    assert all(not results[at].HasField("error") for at in range(0, len(results), 2))
    for (what, (_, reason, field)), result in zip(named.items(), results[1::2], strict=True):
        found = result.error.reason, result.error.metadata.get("field", "")
        assert found == (reason, field), what
        assert result.error.outcome == common_pb2.OUTCOME_NOT_DONE, what
        assert not result.HasField("base_offset"), what
    values = {one.value for one in await stored(served, "orders")}
    assert values == {b"good"}, "not done means not done (P4)"


async def test_names_that_are_illegal_or_unknown(served: GrpcNode) -> None:
    await served.create("orders")
    (near,) = await served.produce("ordres", plain(b"a"))
    assert (near.error.reason, near.error.metadata["did_you_mean"]) == ("UNKNOWN_TOPIC", "orders")
    (long,) = await served.produce("x" * 100_000, plain(b"a"))
    assert long.error.reason == "INVALID_TOPIC_NAME"
    assert long.error.ByteSize() < 4_000


@pytest.mark.parametrize(
    ("fields", "reason", "field"),
    [
        ({}, "INVALID_REQUEST", "batches"),
        ({"batches": [plain(b"a")] * (CALL_ITEMS_MAX.value + 1)}, "INVALID_REQUEST", "batches"),
        ({"batches": [plain(b"a")], "acks": 17}, "INVALID_REQUEST", "acks"),
        (
            {"batches": [plain(b"a")], "transactional_id": "t"},
            "NOT_IMPLEMENTED",
            "transactional_id",
        ),
        ({"batches": [plain(b"a")], "timeout": {"seconds": -1}}, "INVALID_REQUEST", "timeout"),
    ],
)
async def test_requests_that_are_refused_whole(
    served: GrpcNode, *, fields: dict[str, Any], reason: str, field: str
) -> None:
    await served.create("orders")
    found = await refusal(served.logs.Produce(log_service_pb2.ProduceRequest(**fields)))
    assert (found.reason, found.info.metadata["field"]) == (reason, field)
    if reason == "INVALID_REQUEST":
        assert found.bad is not None
        assert found.bad.field_violations[0].field == field


async def test_a_stamp_needs_acks_of_all(served: GrpcNode) -> None:
    await served.create("orders")
    batch = plain(b"a")
    batch.producer.CopyFrom(stamp(common_pb2.ProducerId(id=1), 0))
    (result,) = await served.produce("orders", batch, acks=log_service_pb2.ACKS_LEADER)
    assert (result.error.reason, result.error.metadata["field"]) == ("INVALID_REQUEST", "acks")


async def test_event_times_beyond_the_topics_bounds(served: GrpcNode) -> None:
    await served.create("strict", tidelog__timestamp__past__max__ms="1000")
    (old,) = await served.produce("strict", plain(b"a", time=1_000))
    assert old.error.reason == "TIMESTAMP_OUT_OF_RANGE"
    assert old.error.metadata["timestamp"] == "1000"
    (new,) = await served.produce("strict", plain(b"a"))
    assert not new.HasField("error")


async def test_topics_that_stamp_append_time(served: GrpcNode) -> None:
    await served.create("stamped", message__timestamp__type="LogAppendTime")
    (result,) = await served.produce("stamped", plain(b"a", time=5))
    (one,) = await stored(served, "stamped")
    assert one.timestamp_ms == result.append_time.ToMilliseconds()


async def test_producer_ids_are_checked(served: GrpcNode) -> None:
    for current in (common_pb2.ProducerId(id=-1), common_pb2.ProducerId(epoch=1 << 15)):
        request = log_service_pb2.InitProducerRequest(current=current)
        found = await refusal(served.logs.InitProducer(request))
        assert (found.reason, found.info.metadata["field"]) == ("INVALID_REQUEST", "current")
    request = log_service_pb2.InitProducerRequest(transactional_id="t")
    assert (await refusal(served.logs.InitProducer(request))).reason == "NOT_IMPLEMENTED"


async def test_no_room_is_told_and_nothing_is_done(served: GrpcNode) -> None:
    await served.create("orders")
    memory = served.node.memory
    memory.take(1 << 30)
    request = log_service_pb2.ProduceRequest(batches=[plain(b"a")])
    found = await refusal(served.logs.Produce(request))
    memory.give_back(1 << 30)
    assert (found.reason, found.info.metadata["outcome"]) == ("OVERLOADED", "NOT_DONE")
    assert found.retry is not None
    assert await stored(served, "orders") == []
    assert memory.taken_bytes == 0
