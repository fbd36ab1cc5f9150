"""Bounds: what fits is taken, one more is refused by the name of the bound."""

import pytest

import tidelog
from tests.contract.place import Batch, Place, plain
from tidelog.calls import FETCH, LIST_TOPICS
from tidelog.v1 import common_pb2, log_service_pb2, topic_service_pb2

HEADERS_MAX = 1_000
CALL_ITEMS_MAX = 10_000
PARTITIONS_MAX = 1_000
NAME_MAX = 249
OVERHEAD = 100
"""More than what a batch of one record takes beside its value."""


@pytest.mark.parametrize("limit", [1_000, 3 << 20])
async def test_a_batch_may_be_as_large_as_its_topic_says(place: Place, limit: int) -> None:
    topic = await place.topic(max__message__bytes=str(limit))
    async with place.client.producer(compression="none", batch_bytes=3 << 20) as producer:
        assert (await producer.send(topic, b"v" * (limit - OVERHEAD))).offset == 0
        with pytest.raises(tidelog.RecordTooLarge) as refused:
            await producer.send(topic, b"v" * limit)
    assert refused.value.reason == "RECORD_TOO_LARGE"
    assert len(await place.values(topic)) == 1


async def test_a_batch_that_is_too_large_goes_in_parts(place: Place) -> None:
    """The SDK's default batch is larger than this topic's."""
    topic = await place.topic(max__message__bytes="1000")
    async with place.client.producer(compression="none") as producer:
        acks = await producer.send_many(topic, [b"v" * 300] * 20)
    assert [ack.offset for ack in acks] == list(range(20))


@pytest.mark.parametrize(("count", "reason"), [(HEADERS_MAX, ""), (HEADERS_MAX + 1, "INVALID")])
async def test_headers_of_a_record(place: Place, count: int, reason: str) -> None:
    topic = await place.topic()
    header = common_pb2.Header(key="k", value=b"v")
    record = common_pb2.Record(value=b"v", headers=[header] * count)
    (answer,) = await place.produce(Batch(topic=topic, partition=0, records=[record]))
    assert answer.error.reason.startswith(reason)
    assert bool(answer.error.reason) == bool(reason)


async def test_items_of_a_call(place: Place) -> None:
    topic = await place.topic()
    cursors = [common_pb2.Cursor(topic=topic)] * (CALL_ITEMS_MAX + 1)
    with pytest.raises(tidelog.InvalidRequest, match=r"10,?000"):
        await place.client.connection.call(FETCH, log_service_pb2.FetchRequest(cursors=cursors))


async def test_partitions_of_a_topic(place: Place) -> None:
    planned = await place.client.topics.create(
        f"{place.prefix}-x", partitions=PARTITIONS_MAX, dry_run=True
    )
    assert planned.partition_count == PARTITIONS_MAX


async def test_characters_of_a_name(place: Place) -> None:
    name = place.prefix.ljust(NAME_MAX, "x")
    assert (await place.client.topics.create(name)).name == name
    await place.write(name, b"v")
    assert await place.values(name) == [b"v"]


async def test_characters_of_a_clients_name(place: Place) -> None:
    async with tidelog.connect(place.url, client_id="x" * (NAME_MAX + 1)) as client:
        with pytest.raises(tidelog.InvalidRequest):
            await client.cluster.get()
    async with tidelog.connect(place.url, client_id="x" * NAME_MAX) as client:
        assert (await client.cluster.get()).brokers


@pytest.mark.parametrize("size", [1, 2, 3])
async def test_pages_of_a_list(place: Place, size: int) -> None:
    for tail in "abc":
        await place.client.topics.create(f"{place.prefix}-{tail}")
    names: list[str] = []
    request = topic_service_pb2.ListTopicsRequest(page_size=size, name_prefix=f"{place.prefix}-")
    while True:
        page = await place.client.connection.call(LIST_TOPICS, request)
        assert len(page.topics) <= size
        names += [topic.name for topic in page.topics]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert names == [f"{place.prefix}-{tail}" for tail in "abc"]


async def test_a_request_without_anything_in_it(place: Place) -> None:
    with pytest.raises(tidelog.InvalidRequest):
        await place.produce()


async def test_a_wait_of_a_producer_is_bounded_by_its_buffer(place: Place) -> None:
    topic = await place.topic()
    async with place.client.producer(batch_bytes=1_000, max_in_flight_bytes=1_000) as producer:
        with pytest.raises(tidelog.RecordTooLarge):
            await producer.send(topic, b"v" * 1_001)
        acks = await producer.send_many(topic, [b"v" * 400] * 10)
    assert [ack.offset for ack in acks] == list(range(10))


async def test_a_large_answer_comes_in_parts(place: Place) -> None:
    """Seven megabytes of records, where no message is larger than four."""
    topic = await place.topic()
    await place.produce(*(plain(topic, b"v" * 900_000) for _ in range(4)))
    await place.produce(*(plain(topic, b"w" * 900_000) for _ in range(4)))
    values = await place.values(topic)
    assert [(value or b"")[:1] for value in values] == [b"v"] * 4 + [b"w"] * 4
