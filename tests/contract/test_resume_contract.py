"""Going on where a reader stood: in this process or another one, over ranges, growth and gaps."""

import logging
from datetime import timedelta

import pytest

import tidelog
from tests.contract.place import SECOND, T0, Place


async def first(place: Place, topic: str, count: int, **options: object) -> tidelog.Checkpoint:
    """Read so many records; return where the reader stands."""
    async with place.client.replay(topic, **options) as history:  # type: ignore[arg-type]
        for _ in range(count):
            await anext(history)
        return history.checkpoint()


async def written(place: Place, *values: bytes) -> str:
    topic = await place.topic()
    await place.write(topic, *values)
    return topic


@pytest.mark.parametrize("count", [0, 1, 2, 3])
async def test_it_goes_on_behind_the_last_record(place: Place, count: int) -> None:
    topic = await written(place, b"0", b"1", b"2")
    saved = await first(place, topic, count, stop="latest")
    assert await place.values(topic, resume=saved) == [b"0", b"1", b"2"][count:]


async def test_a_checkpoint_is_text(place: Place) -> None:
    topic = await written(place, b"0", b"1")
    saved = await first(place, topic, 1, stop="latest")
    again = tidelog.Checkpoint.from_json(saved.to_json())
    assert again == saved
    assert await place.values(topic, resume=again) == [b"1"]


async def test_another_client_goes_on(place: Place) -> None:
    topic = await written(place, b"0", b"1")
    saved = await first(place, topic, 1, stop="latest")
    async with (
        tidelog.connect(place.url) as another,
        another.replay(topic, stop="latest", resume=saved) as history,
    ):
        assert [record.value async for record in history] == [b"1"]


async def test_a_range_goes_on_as_it_was(place: Place) -> None:
    topic = await written(place, b"0", b"1", b"2", b"3")
    during = tidelog.TimeRange(T0 + SECOND, T0 + 3 * SECOND)
    saved = await first(place, topic, 1, during=during)
    assert await place.values(topic, during=during, resume=saved) == [b"2"]


async def test_a_range_that_counted_back_keeps_its_beginning(place: Place) -> None:
    topic = await written(place, b"0", b"1")
    during = tidelog.TimeRange(start=timedelta(hours=1), clock="append")
    saved = await first(place, topic, 1, during=during)
    await place.later()
    await place.write(topic, b"after")
    assert await place.values(topic, during=during, resume=saved) == [b"1"]


async def test_what_came_since_is_read(place: Place) -> None:
    topic = await written(place, b"0")
    saved = await first(place, topic, 1, stop="latest")
    assert await place.values(topic, resume=saved) == []
    await place.write(topic, b"1")
    assert await place.values(topic, resume=saved) == [b"1"]


async def test_a_partition_that_grew_is_read_from_its_beginning(place: Place) -> None:
    topic = await written(place, b"0")
    saved = await first(place, topic, 1, stop="latest")
    await place.client.topics.add_partitions(topic, 2)
    await place.write(topic, b"new", partition=1)
    assert await place.values(topic, resume=saved) == [b"new"]


async def test_cursors_say_what_is_next(place: Place) -> None:
    topic = await written(place, b"0", b"1", b"2")
    saved = await first(place, topic, 2, stop="latest")
    assert [(one.topic, one.partition, one.offset) for one in saved.cursors] == [(topic, 0, 2)]


async def test_a_gap_can_be_raised(place: Place) -> None:
    topic = await written(place, *(b"%d" % number for number in range(10)))
    saved = await first(place, topic, 1, stop="latest")
    await place.client.topics.trim(topic, 4)
    async with place.client.replay(topic, stop="latest", resume=saved, gaps="raise") as history:
        with pytest.raises(tidelog.LogGap) as gap:
            await anext(history)
        assert (gap.value.expected_offset, gap.value.next_offset) == (1, 4)
        assert [record.offset async for record in history] == [4, 5, 6, 7, 8, 9]


async def test_a_gap_is_warned_of(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    topic = await written(place, b"0", b"1", b"2")
    saved = await first(place, topic, 1, stop="latest")
    await place.client.topics.trim(topic, 2)
    with caplog.at_level(logging.WARNING, logger="tidelog.client"):
        assert await place.values(topic, resume=saved) == [b"2"]
    assert f"{topic}/0" in caplog.text


async def test_what_is_read_alone_stays_alone(place: Place) -> None:
    topic = await place.topic(2)
    for partition in range(2):
        await place.write(topic, b"a", b"b", partition=partition)
    saved = await first(place, topic, 1, stop="latest", partitions=[1])
    assert await place.values(topic, resume=saved, partitions=[1]) == [b"b"]


async def test_a_checkpoint_of_other_topics_is_refused(place: Place) -> None:
    topic, other = await written(place, b"0"), await written(place, b"0")
    saved = await first(place, topic, 1, stop="latest")
    with pytest.raises(ValueError, match="checkpoint"):
        place.client.replay(other, resume=saved)
