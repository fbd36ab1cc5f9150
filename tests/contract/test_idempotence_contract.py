"""Batches that are sent again: once in the log, whoever sends them and however often."""

from tests.contract.place import Batch, Place, plain
from tidelog.calls import INIT_PRODUCER
from tidelog.v1 import common_pb2, log_service_pb2

REMEMBERED = 5
"""Batches of a producer whose offsets a partition still knows."""


async def producer_id(place: Place) -> common_pb2.ProducerId:
    request = log_service_pb2.InitProducerRequest()
    response = await place.client.connection.call(INIT_PRODUCER, request)
    return response.producer


def stamped(
    topic: str,
    producer: common_pb2.ProducerId,
    sequence: int,
    *values: bytes,
    partition: int = 0,
) -> Batch:
    stamp = log_service_pb2.ProducerStamp(producer=producer, base_sequence=sequence)
    return plain(topic, *values, partition=partition, producer=stamp)


async def test_a_batch_that_comes_again_is_told_where_it_is(place: Place) -> None:
    topic, producer = await place.topic(), await producer_id(place)
    batch = stamped(topic, producer, 0, b"a", b"b")
    (first,) = await place.produce(batch)
    (again,) = await place.produce(batch)
    assert (first.duplicate, again.duplicate) == (False, True)
    assert first.base_offset == again.base_offset == 0
    assert await place.values(topic) == [b"a", b"b"]


async def test_two_of_one_call_are_one(place: Place) -> None:
    topic, producer = await place.topic(), await producer_id(place)
    batch = stamped(topic, producer, 0, b"a")
    answers = await place.produce(batch, batch)
    assert [answer.duplicate for answer in answers] == [False, True]
    assert await place.values(topic) == [b"a"]


async def test_the_last_batches_are_remembered(place: Place) -> None:
    topic, producer = await place.topic(), await producer_id(place)
    batches = [stamped(topic, producer, number, b"%d" % number) for number in range(6)]
    await place.produce(*batches)
    answers = await place.produce(*batches[-REMEMBERED:])
    assert [answer.base_offset for answer in answers] == [1, 2, 3, 4, 5]
    (old,) = await place.produce(batches[0])
    assert (old.error.reason, old.error.outcome) == ("DUPLICATE_SEQUENCE", common_pb2.OUTCOME_DONE)
    assert len(await place.values(topic)) == 6


async def test_a_gap_is_refused(place: Place) -> None:
    topic, producer = await place.topic(), await producer_id(place)
    await place.produce(stamped(topic, producer, 0, b"a"))
    (gap,) = await place.produce(stamped(topic, producer, 2, b"c"))
    assert gap.error.reason == "OUT_OF_ORDER_SEQUENCE"
    assert await place.values(topic) == [b"a"]


async def test_each_partition_counts_for_itself(place: Place) -> None:
    topic, producer = await place.topic(2), await producer_id(place)
    batches = [stamped(topic, producer, 0, b"v", partition=number) for number in range(2)]
    answers = await place.produce(*batches)
    assert [answer.duplicate for answer in answers] == [False, False]


async def test_a_newer_epoch_fences_the_older(place: Place) -> None:
    topic, older = await place.topic(), await producer_id(place)
    newer = common_pb2.ProducerId(id=older.id, epoch=older.epoch + 1)
    await place.produce(stamped(topic, older, 0, b"a"))
    await place.produce(stamped(topic, newer, 0, b"b"))
    (fenced,) = await place.produce(stamped(topic, older, 1, b"c"))
    assert fenced.error.reason == "PRODUCER_FENCED"
    assert await place.values(topic) == [b"a", b"b"]


async def test_a_producer_that_begins_again_gets_the_next_epoch(place: Place) -> None:
    producer = await producer_id(place)
    request = log_service_pb2.InitProducerRequest(current=producer)
    again = (await place.client.connection.call(INIT_PRODUCER, request)).producer
    assert (again.id, again.epoch) == (producer.id, producer.epoch + 1)


async def test_no_two_producers_share_an_id(place: Place) -> None:
    ids = [(await producer_id(place)).id for _ in range(20)]
    assert len(set(ids)) == 20


async def test_a_stamp_needs_acks_of_all(place: Place) -> None:
    topic, producer = await place.topic(), await producer_id(place)
    batch = stamped(topic, producer, 0, b"a")
    (answer,) = await place.produce(batch, acks=log_service_pb2.ACKS_LEADER)
    assert answer.error.reason == "INVALID_REQUEST"
    assert await place.values(topic) == []


async def test_the_sdk_stamps_its_batches(place: Place) -> None:
    topic = await place.topic()
    for idempotent in (True, False):
        async with place.client.producer(idempotent=idempotent) as producer:
            await producer.send(topic, b"v")
    ids = [record.batch.producer_id for record in await place.read(topic) if record.batch]
    assert ids[0] >= 0
    assert ids[1] == -1
