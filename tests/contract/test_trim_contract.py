"""Trimming: where logs begin."""

from datetime import timedelta
from typing import Any

import pytest

import tidelog
from tests.contract.place import SECOND, T0, Place
from tidelog.types import Start


@pytest.mark.parametrize(
    ("before", "start"),
    [
        (0, 0),
        (2, 2),
        (4, 4),
        ("earliest", 0),
        ("latest", 4),
        (T0 + 2 * SECOND, 2),
        (T0 - SECOND, 0),
        (tidelog.FromEdge("latest", 1), 3),
    ],
)
async def test_where_the_log_begins_then(place: Place, before: Start, start: int) -> None:
    topic = await place.topic()
    await place.write(topic, b"0", b"1", b"2", b"3")
    trimmed = await place.client.topics.trim(topic, before)
    assert trimmed == {tidelog.TopicPartition(topic, 0): start}
    assert await place.values(topic) == [b"0", b"1", b"2", b"3"][start:]
    (partition,) = (await place.client.topics.get(topic)).partitions
    assert (partition.log_start_offset, partition.high_watermark) == (start, 4)


async def test_by_append_time(place: Place) -> None:
    topic = await place.topic()
    await place.write(topic, b"0", b"1")
    moment = await place.later()
    await place.write(topic, b"2")
    await place.client.topics.trim(topic, moment, clock="append")
    assert await place.values(topic) == [b"2"]


async def test_a_dry_run_deletes_nothing(place: Place) -> None:
    topic = await place.topic()
    await place.write(topic, b"0", b"1")
    planned = await place.client.topics.trim(topic, 1, dry_run=True)
    assert planned == {tidelog.TopicPartition(topic, 0): 1}
    assert await place.values(topic) == [b"0", b"1"]


async def test_a_log_never_begins_earlier_again(place: Place) -> None:
    topic = await place.topic()
    await place.write(topic, b"0", b"1", b"2")
    for before in (2, 1):
        trimmed = await place.client.topics.trim(topic, before)
        assert trimmed == {tidelog.TopicPartition(topic, 0): 2}


async def test_only_the_partitions_that_are_named(place: Place) -> None:
    topic = await place.topic(3)
    for partition in range(3):
        await place.write(topic, b"v", partition=partition)
    await place.client.topics.trim(topic, "latest", partitions=[0, 2])
    assert [record.partition for record in await place.read(topic)] == [1]


async def test_beyond_the_end_is_refused(place: Place) -> None:
    topic = await place.topic()
    await place.write(topic, b"0")
    with pytest.raises(tidelog.OffsetOutOfRange) as refused:
        await place.client.topics.trim(topic, 2)
    assert (refused.value.requested, refused.value.high_watermark) == (2, 1)
    assert await place.values(topic) == [b"0"]


async def test_offsets_go_on_where_they_were(place: Place) -> None:
    topic = await place.topic()
    await place.write(topic, b"0", b"1")
    await place.client.topics.trim(topic, "latest")
    async with place.client.producer() as producer:
        assert (await producer.send(topic, b"2")).offset == 2


async def test_reading_from_below_says_so(place: Place) -> None:
    topic = await place.topic()
    await place.write(topic, b"0", b"1", b"2")
    await place.client.topics.trim(topic, 2)
    async with place.client.replay(topic, start=0, stop="latest") as history:
        (bounds,) = history.bounds
        assert (bounds.start, bounds.stop, bounds.truncated) == (2, 3, True)


async def test_a_time_below_says_that_history_is_missing(place: Place) -> None:
    topic = await place.topic()
    await place.write(topic, b"0", b"1", b"2")
    await place.client.topics.trim(topic, 1)
    rows = [(await place.client.topics.resolve(topic, T0 + at * SECOND))[0] for at in (0, 1, 2)]
    assert [row.offset for row in rows] == [1, 1, 2]
    assert rows[0].truncated
    assert (await place.client.topics.resolve(topic, timedelta(days=1), clock="append"))[
        0
    ].log_start_offset == 1


async def test_a_start_by_event_time_is_looked_up_and_a_range_tells_all_of_its_own(
    place: Place,
) -> None:
    """A record of a later time than the first one left went unread: only a range says so."""
    topic = await place.topic()
    async with place.client.producer(linger=timedelta(0)) as producer:
        for seconds in (9, 1, 2):
            await producer.send(topic, b"v", timestamp=T0 + seconds * SECOND)
    await place.client.topics.trim(topic, 1)

    async def told(**asked: Any) -> tuple[int, bool]:
        async with place.client.replay(topic, **asked) as history:
            (bounds,) = history.bounds
            return bounds.start, bounds.truncated

    for end in (None, "latest", T0 + 20 * SECOND):
        assert await told(start=T0, stop=end) == (1, False)
        assert await told(start=T0 + 8 * SECOND, stop=end) == (3, True), "nothing is left there"
    for close in (None, T0 + 20 * SECOND):
        assert await told(during=tidelog.TimeRange(T0, close)) == (1, True)
    assert await told(during=tidelog.TimeRange(T0, T0 + 9 * SECOND)) == (1, False)
    assert await told(start=timedelta(days=1), clock="append") == (1, True)
    assert await told(start=0) == (1, True)
    assert await told(start="earliest") == (1, False)
