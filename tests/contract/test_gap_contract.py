"""What was removed where reading was to begin: a gap at an offset, and none at a time."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

import tidelog
import tidelog.sync
from tests.contract.place import SECOND, T0, Place
from tidelog.consumer import Consumer

LEFT = [4, 5, 6]


@pytest.fixture
async def topic(place: Place) -> str:
    """Seven records, of which the first four were removed."""
    topic = await place.topic()
    await place.write(topic, *(b"%d" % number for number in range(7)))
    await place.client.topics.trim(topic, 4)
    return topic


def told(gap: pytest.ExceptionInfo[tidelog.LogGap], topic: str) -> tuple[int, int]:
    """Return what is missing, from and up to."""
    assert gap.value.partition == tidelog.TopicPartition(topic, 0)
    first, behind = gap.value.expected_offset, gap.value.next_offset
    assert str(gap.value) == (
        f"{topic}/0: offsets {first} to {behind - 1} were removed, by retention or a trim, before "
        "they were read (LOG_GAP)"
    )
    return first, behind


@pytest.mark.parametrize("start", [0, 2, 3])
async def test_a_start_at_an_offset_is_raised_and_reading_goes_on(
    place: Place, topic: str, start: int
) -> None:
    async with place.client.replay(topic, start=start, stop="latest", gaps="raise") as history:
        with pytest.raises(tidelog.LogGap) as gap:
            await anext(history)
        assert told(gap, topic) == (start, 4)
        assert [record.offset async for record in history] == LEFT


async def test_so_it_is_without_await(place: Place, topic: str) -> None:
    def read() -> None:
        with (
            tidelog.sync.connect(place.url) as client,
            client.replay(topic, start=2, stop="latest", gaps="raise") as history,
        ):
            with pytest.raises(tidelog.LogGap) as gap:
                next(history)
            assert told(gap, topic) == (2, 4)
            assert [record.offset for record in history] == LEFT

    await asyncio.to_thread(read)


async def test_it_is_warned_of_once(
    place: Place, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="tidelog.client"):
        assert [one.offset for one in await place.read(topic, start=2)] == LEFT
    (line,) = caplog.messages
    assert line.startswith(f"{topic}/0: offsets 2 to 3 were removed, by retention or a trim")


@pytest.mark.parametrize("start", [T0 + SECOND, "earliest", 4, tidelog.FromEdge("latest", 5)])
async def test_nothing_is_raised_where_no_offset_that_is_gone_was_named(
    place: Place, topic: str, start: tidelog.types.Start
) -> None:
    """Nobody knows whether a record of that time is among those that are gone."""
    assert [one.offset for one in await place.read(topic, start=start, gaps="raise")] == LEFT


@pytest.fixture
async def consumer(place: Place, topic: str) -> AsyncIterator[Consumer[bytes, bytes]]:
    """A member of a new group that is to begin among what was removed."""
    async with place.client.consumer(
        topic, group=f"{topic}-g", start=2, gaps="raise", commit="manual"
    ) as consumer:
        yield consumer


async def test_a_group_that_begins_at_an_offset_is_told(
    topic: str, consumer: Consumer[bytes, bytes]
) -> None:
    with pytest.raises(tidelog.LogGap) as gap:
        await anext(consumer)
    assert told(gap, topic) == (2, 4)
    assert [one.offset async for one in consumer.until_caught_up()] == LEFT


async def test_so_is_one_whose_consumer_seeks_an_offset(
    topic: str, consumer: Consumer[bytes, bytes]
) -> None:
    with pytest.raises(tidelog.LogGap):
        await anext(consumer)
    for sought in (1, 0):
        await consumer.seek(sought)
        with pytest.raises(tidelog.LogGap) as gap:
            await anext(consumer)
        assert told(gap, topic) == (sought, 4)
        assert [one.offset async for one in consumer.until_caught_up()] == LEFT
    await consumer.seek(5)
    assert [one.offset async for one in consumer.until_caught_up()] == [5, 6]
