"""History by time on both clocks, exactly: every answer equals a look at each record."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest

import tidelog
from tests.contract.place import SECOND, T0, Place
from tidelog.types import Start

MINUTES = [(7 * number) % 60 for number in range(60)]
"""Event times in minutes after T0, in the order of appending."""
MINUTE = timedelta(minutes=1)


async def hour(place: Place, partitions: int = 2) -> str:
    """Return a topic with a record for each minute, out of order, in many batches."""
    topic = await place.topic(partitions)
    async with place.client.producer(linger=timedelta(0), batch_bytes=200) as producer:
        for number, minute in enumerate(MINUTES):
            _ = await producer.enqueue(
                topic, b"%d" % minute, partition=number % partitions, timestamp=T0 + minute * MINUTE
            )
    return topic


@pytest.mark.parametrize(
    ("start", "end"),
    [(0, 60), (20, 40), (20, 21), (20, 20), (-9, 1), (59, 99), (60, 99), (-9, 0), (None, 30),
     (30, None), (None, None)],
)  # fmt: skip
async def test_a_range_of_event_time_is_exact(
    place: Place, start: int | None, end: int | None
) -> None:
    topic = await hour(place)
    during = tidelog.TimeRange(
        None if start is None else T0 + start * MINUTE, None if end is None else T0 + end * MINUTE
    )
    low, high = -99 if start is None else start, 99 if end is None else end
    found = sorted(int(value or b"-1") for value in await place.values(topic, during=during))
    assert found == [minute for minute in range(60) if low <= minute < high]


@pytest.mark.parametrize("seed", range(4))
async def test_ranges_by_lot_equal_a_scan(place: Place, seed: int) -> None:
    """Down to the millisecond, with many records at the same time."""
    dice, topic = Random(seed), await place.topic()
    times = [T0 + timedelta(milliseconds=dice.randrange(20)) for _ in range(100)]
    async with place.client.producer(linger=timedelta(0), batch_bytes=300) as producer:
        for number, moment in enumerate(times):
            _ = await producer.enqueue(topic, b"%d" % number, timestamp=moment)
    for _ in range(5):
        low, high = sorted(dice.choices(times, k=2))
        found = await place.values(topic, during=tidelog.TimeRange(low, high))
        wanted = [number for number, moment in enumerate(times) if low <= moment < high]
        assert [int(value or b"-1") for value in found] == wanted


@pytest.mark.parametrize(("low", "high"), [(0, 1), (1, 2), (0, 2), (1, 3), (0, 3), (1, 1), (3, 3)])
async def test_a_range_of_append_time_is_exact(place: Place, low: int, high: int) -> None:
    topic = await place.topic()
    moments = [T0 - timedelta(days=1)]
    for number in range(3):
        await place.write(topic, b"%d" % number)
        moments.append(await place.later())
    during = tidelog.TimeRange(moments[low], moments[high], clock="append")
    assert await place.values(topic, during=during) == [b"%d" % n for n in range(low, high)]


async def test_a_range_may_count_back_from_now(place: Place) -> None:
    topic = await place.topic()
    await place.write(topic, b"a")
    await place.later()
    hour_ago = tidelog.TimeRange(start=timedelta(hours=1), clock="append")
    assert await place.values(topic, during=hour_ago) == [b"a"]
    before = tidelog.TimeRange(end=timedelta(hours=1), clock="append")
    assert await place.values(topic, during=before) == []


async def test_a_range_of_one_partition(place: Place) -> None:
    topic = await hour(place)
    records = await place.read(topic, during=tidelog.TimeRange(T0, None), partitions=[1])
    assert {record.partition for record in records} == {1}
    assert len(records) == 30


async def test_a_range_over_several_topics(place: Place) -> None:
    first, second = await place.topic(), await place.topic()
    await place.write(first, b"a", b"b")
    await place.write(second, b"c", b"d")
    async with place.client.replay(
        first, second, during=tidelog.TimeRange(T0 + SECOND, T0 + 9 * SECOND)
    ) as history:
        assert {record.value async for record in history} == {b"b", b"d"}


async def test_a_naive_time_is_refused(place: Place) -> None:
    topic = await place.topic()
    with pytest.raises(ValueError, match="no time zone"):
        await place.values(topic, during=tidelog.TimeRange(datetime(2026, 1, 1)))  # noqa: DTZ001


async def test_a_range_that_ends_before_it_begins_is_refused(place: Place) -> None:
    topic = await hour(place)
    with pytest.raises((ValueError, tidelog.InvalidRequest)):
        await place.values(topic, during=tidelog.TimeRange(T0 + MINUTE, T0))


@pytest.mark.parametrize(
    ("at", "offsets"),
    [
        ("earliest", [0, 0]),
        ("latest", [3, 1]),
        (1, [1, 1]),
        (T0 - SECOND, [0, 0]),
        (T0, [0, 0]),
        (T0 + SECOND, [1, "end"]),
        (T0 + timedelta(milliseconds=1_001), [2, "end"]),
        (T0 + 3 * SECOND, ["end", "end"]),
        (datetime(1970, 1, 1, tzinfo=UTC), [0, 0]),
        (tidelog.FromEdge("latest", 1), [2, 0]),
        (tidelog.FromEdge("earliest", 1), [1, 1]),
    ],
)  # fmt: skip
async def test_where_a_place_lies(place: Place, at: Start, offsets: list[int | str]) -> None:
    topic = await place.topic(2)
    await place.write(topic, b"a", b"b", b"c")
    await place.write(topic, b"d", partition=1)
    assert await place.offsets(topic, at) == offsets


async def test_where_an_append_time_lies(place: Place) -> None:
    topic = await place.topic()
    await place.write(topic, b"a", b"b")
    moment = await place.later()
    assert await place.offsets(topic, moment, clock="append") == ["end"]
    await place.write(topic, b"c")
    assert await place.offsets(topic, moment, clock="append") == [2]
    assert await place.offsets(topic, timedelta(hours=1), clock="append") == [0]


async def test_time_that_is_closed_stays_so(place: Place) -> None:
    topic = await place.topic()
    (row,) = await place.client.topics.resolve(topic, "latest")
    await place.write(topic, b"a")
    (record,) = await place.read(topic)
    assert record.append_time >= row.closed_time


async def test_history_ends_where_the_log_ended(place: Place) -> None:
    topic = await place.topic()
    await place.write(topic, b"a")
    async with place.client.replay(topic, stop="latest") as history:
        await place.write(topic, b"b")
        assert [record.value async for record in history] == [b"a"]


async def test_without_an_end_what_comes_is_read(place: Place) -> None:
    topic = await place.topic()
    async with place.client.replay(topic) as history:
        for value in (b"a", b"b"):
            await place.write(topic, value)
            assert (await anext(history)).value == value


async def test_from_the_latest_only_what_comes(place: Place) -> None:
    topic = await place.topic()
    await place.write(topic, b"old")
    async with place.client.replay(topic, start="latest") as history:
        await place.write(topic, b"new")
        assert (await anext(history)).value == b"new"


async def test_bounds_are_known_before_the_first_record(place: Place) -> None:
    topic = await place.topic(2)
    await place.write(topic, b"a", b"b", b"c")
    await place.write(topic, b"d", partition=1)
    async with place.client.replay(topic, start=1, stop="latest") as history:
        assert [(one.start, one.stop, one.truncated) for one in history.bounds] == [
            (1, 3, False), (1, 1, False),
        ]  # fmt: skip
