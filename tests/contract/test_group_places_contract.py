"""Where groups stand: commits from outside, lag, sending them elsewhere, and forgetting them."""

from datetime import timedelta
from typing import Any

import pytest

import tidelog
from tests.contract.place import SECOND, T0, Place
from tidelog.groups import Groups
from tidelog.types import Start

EMPTY = timedelta(0)


async def standing(place: Place, *offsets: int, count: int = 6) -> tuple[str, str]:
    """Return a topic with so many records in each partition, and a group that stands in it."""
    topic, group = await place.topic(len(offsets)), f"{place.prefix}-g"
    for number in range(len(offsets)):
        await place.write(topic, *(b"%d" % which for which in range(count)), partition=number)
    cursors = [tidelog.Cursor(topic, number, offset) for number, offset in enumerate(offsets)]
    await place.client.groups.commit(group, *cursors)
    return topic, group


async def places(place: Place, group: str) -> list[int | None]:
    rows = await place.client.groups.offsets(group)
    return [None if row.committed is None else row.committed.offset for row in rows]


async def test_a_commit_from_outside_makes_the_group(place: Place) -> None:
    topic, group = await standing(place, 4)
    cursor = tidelog.Cursor(topic, 0, 2, metadata="by hand")
    await place.client.groups.commit(group, cursor)  # back, by its own will
    (row,) = await place.client.groups.offsets(group)
    assert row.committed is not None
    assert (row.committed.offset, row.committed.metadata) == (2, "by hand")
    info = await place.client.groups.get(group)
    assert (info.state, info.kind, info.members) == ("empty", "native", ())


async def test_members_begin_where_it_was_committed(place: Place) -> None:
    topic, group = await standing(place, 4)
    async with place.client.consumer(topic, group=group) as consumer:
        assert [one.value async for one in consumer.until_caught_up()] == [b"4", b"5"]


@pytest.mark.parametrize(
    ("cursor", "reason"),
    [
        ((7, ""), "OFFSET_OUT_OF_RANGE"),
        ((1, "m" * 4_097), "OFFSET_METADATA_TOO_LARGE"),
    ],
)
async def test_a_commit_that_is_refused(place: Place, cursor: tuple[int, str], reason: str) -> None:
    offset, metadata = cursor
    topic, group = await standing(place, 4)
    with pytest.raises(tidelog.TidelogError) as refused:
        await place.client.groups.commit(group, tidelog.Cursor(topic, 0, offset, metadata=metadata))
    assert (refused.value.reason, refused.value.outcome) == (reason, "not_done")
    assert await places(place, group) == [4]


async def test_from_outside_only_while_nobody_is_there(place: Place) -> None:
    topic, group = await standing(place, 4)
    async with place.client.consumer(topic, group=group, commit="manual"):
        with pytest.raises(tidelog.Conflict) as refused:
            await place.client.groups.commit(group, tidelog.Cursor(topic, 0, 1))
        assert refused.value.reason == "GROUP_NOT_EMPTY"
        with pytest.raises(tidelog.Conflict):
            await place.client.groups.delete(group)
    await place.client.groups.commit(group, tidelog.Cursor(topic, 0, 1))
    assert await places(place, group) == [1]


async def test_the_lag(place: Place) -> None:
    topic, group = await standing(place, 4, 6, 0)
    await place.later()
    rows = await place.client.groups.offsets(group)
    assert [row.lag for row in rows] == [2, 0, 6]
    assert [row.lag_time == EMPTY for row in rows] == [False, True, False]
    assert [(row.log_start_offset, row.high_watermark) for row in rows] == [(0, 6)] * 3
    assert {row.partition.topic for row in rows} == {topic}


async def test_the_lag_table_says_who_reads(place: Place) -> None:
    topic, group = await standing(place, 6)
    async with place.client.consumer(topic, group=group):
        (row,) = await place.client.groups.offsets(group)
        (member,) = (await place.client.groups.get(group)).members
        assert row.member_id == member.member_id
        assert member.assignment == (tidelog.TopicPartition(topic, 0),)
    (row,) = await place.client.groups.offsets(group)
    assert row.member_id is None


async def test_what_retention_has_passed_is_told(place: Place) -> None:
    topic, group = await standing(place, 2)
    await place.client.topics.trim(topic, 4)
    (row,) = await place.client.groups.offsets(group)
    assert (row.truncated, row.lag) == (True, 2)


@pytest.mark.parametrize(
    ("to", "move"),
    [
        ("earliest", (0, 3, 0)),
        ("latest", (6, 0, 3)),
        (5, (5, 0, 2)),
        (T0 + 2 * SECOND, (2, 1, 0)),
        (T0 + timedelta(seconds=2.5), (3, 0, 0)),
        (T0 - SECOND, (0, 3, 0)),
        (T0 + timedelta(days=1), (6, 0, 3)),
        (tidelog.FromEdge("latest", 2), (4, 0, 1)),
    ],
)
async def test_a_group_is_sent_elsewhere(place: Place, to: Any, move: tuple[int, int, int]) -> None:
    """`move`: where it stands then, how many come again, how many it will never get."""
    _, group = await standing(place, 3, 3)
    plan = await place.client.groups.seek(group, to, dry_run=True)
    assert (plan.applied, await places(place, group)) == (False, [3, 3])
    done = await place.client.groups.seek(group, to)
    assert (done.applied, done.changes, done.member_count) == (True, plan.changes, 0)
    for change in done.changes:
        assert change.before == 3
        assert (change.after, change.redelivered, change.skipped) == move
    assert await places(place, group) == [move[0]] * 2


async def test_by_append_time(place: Place) -> None:
    topic, group = await standing(place, 6)
    moment = await place.later()
    await place.write(topic, b"new")
    await place.client.groups.seek(group, moment, clock="append")
    async with place.client.consumer(topic, group=group) as consumer:
        assert [one.value async for one in consumer.until_caught_up()] == [b"new"]


@pytest.mark.parametrize(("by", "after"), [(-1, 3), (1, 5), (-100, 0), (100, 6), (0, 4)])
async def test_by_a_shift_within_the_log(place: Place, by: int, after: int) -> None:
    _, group = await standing(place, 4)
    await place.client.groups.shift(group, by)
    assert await places(place, group) == [after]


async def test_to_where_another_group_is(place: Place) -> None:
    topic, group = await standing(place, 4, 1)
    other = f"{place.prefix}-other"
    await place.client.groups.commit(other, tidelog.Cursor(topic, 1, 5))
    plan = await place.client.groups.seek(group, tidelog.SameAs(other))
    assert [(one.partition.partition, one.after) for one in plan.changes] == [(1, 5)]
    assert await places(place, group) == [4, 5]


async def test_a_place_for_each_partition_all_or_none(place: Place) -> None:
    topic, group = await standing(place, 4, 1)
    at = [tidelog.TopicPartition(topic, number) for number in range(2)]
    with pytest.raises(tidelog.TidelogError):
        await place.client.groups.seek(group, {at[0]: 2, at[1]: 99})
    assert await places(place, group) == [4, 1]
    await place.client.groups.seek(group, {at[0]: 2, at[1]: 3})
    assert await places(place, group) == [2, 3]


async def test_of_a_topic_what_another_group_has_not_begun_stays(place: Place) -> None:
    topic, group = await standing(place, 2, 3)
    other = f"{group}-other"
    await place.client.groups.commit(other, tidelog.Cursor(topic, 1, 5))
    at = [tidelog.TopicPartition(topic, number) for number in range(2)]
    for dry in (True, False):
        to = tidelog.SameAs(other)
        plan = await place.client.groups.seek(group, to, topics=[topic], dry_run=dry)
        assert [(one.partition, one.after) for one in plan.changes] == [(at[1], 5)]
        assert plan.left == (at[0],)
    assert await places(place, group) == [2, 5]


async def test_a_live_group_refuses_and_force_moves_it(place: Place) -> None:
    topic, group = await standing(place, 6)
    async with place.client.consumer(topic, group=group, commit="manual") as consumer:
        assert [one.value async for one in consumer.until_caught_up()] == []
        with pytest.raises(tidelog.Conflict) as refused:
            await place.client.groups.seek(group, T0 + 4 * SECOND)
        assert refused.value.reason == "GROUP_NOT_EMPTY"
        plan = await place.client.groups.seek(group, T0 + 4 * SECOND, force=True)
        assert (plan.member_count, [one.redelivered for one in plan.changes]) == (1, [2])
        assert [(await anext(consumer)).value for _ in range(2)] == [b"4", b"5"]


async def test_what_retention_took_is_said_in_the_plan(place: Place) -> None:
    topic, group = await standing(place, 6)
    await place.client.topics.trim(topic, 3)
    plan = await place.client.groups.seek(group, T0, dry_run=True)
    assert [(one.after, one.truncated) for one in plan.changes] == [(3, True)]


async def cut(place: Place, group: str, to: Start | None = None, **more: Any) -> bool:
    """Tell whether a plan for a group in one partition says that history was removed."""
    groups = place.client.groups
    plan = await (groups.seek(group, to, dry_run=True) if to else groups.shift(group, **more))
    (change,) = plan.changes
    return change.truncated


async def test_a_way_back_beyond_what_is_left_is_said_however_far(place: Place) -> None:
    topic, group = await standing(place, 6)
    assert not await cut(place, group, by=-9, dry_run=True), "all there ever was is there"
    assert not await cut(place, group, tidelog.FromEdge("latest", 9))
    await place.client.topics.trim(topic, 3)
    for back in (4, 6, 7, 100):
        assert await cut(place, group, by=-back, dry_run=True)
        assert await cut(place, group, tidelog.FromEdge("latest", back))
    assert not await cut(place, group, by=-3, dry_run=True)
    assert not await cut(place, group, tidelog.FromEdge("latest", 3))


@pytest.mark.parametrize(
    ("seconds", "to"),
    [((5, 5, 5, 5), 0), ((5, 5, 5, 5), 5), ((5, 5, 2, 6), 1), ((5, 5, 2, 6), 3)],
    ids=["of-one-moment", "of-that-moment", "later-than-the-answer", "before-the-answer"],
)
async def test_a_record_that_was_to_come_again_and_is_gone_is_said(
    place: Place, seconds: tuple[int, ...], to: int
) -> None:
    topic, group = await place.topic(), f"{place.prefix}-g"
    async with place.client.producer() as producer:
        for at in seconds:
            await producer.send(topic, b"", timestamp=T0 + at * SECOND)
    await place.client.groups.commit(group, tidelog.Cursor(topic, 0, 4))
    assert not await cut(place, group, T0 + to * SECOND)
    await place.client.topics.trim(topic, 2)
    assert await cut(place, group, T0 + to * SECOND)
    assert not await cut(place, group, T0 + 6 * SECOND)


async def test_groups_are_listed_in_order(place: Place) -> None:
    topic = await place.topic()
    for name in ("b", "a", "c"):
        await place.client.groups.commit(f"{place.prefix}-{name}", tidelog.Cursor(topic, 0, 0))
    found = [one.name async for one in place.client.groups.list(prefix=f"{place.prefix}-")]
    assert found == [f"{place.prefix}-{name}" for name in "abc"]


async def test_a_deleted_group_is_gone_with_its_offsets(place: Place) -> None:
    topic, group = await standing(place, 4)
    await place.client.groups.delete(group, dry_run=True)
    assert await places(place, group) == [4]
    await place.client.groups.delete(group)
    for call in (Groups.get, Groups.offsets, Groups.delete):
        with pytest.raises(tidelog.NotFound) as refused:
            await call(place.client.groups, group)
        assert refused.value.reason == "UNKNOWN_GROUP"
    await place.client.groups.delete(group, missing_ok=True)
    async with place.client.consumer(topic, group=group) as consumer:
        assert len([one async for one in consumer.until_caught_up()]) == 6


async def test_offsets_of_one_partition_are_forgotten(place: Place) -> None:
    topic, group = await standing(place, 4, 2)
    at = tidelog.TopicPartition(topic, 0)
    await place.client.groups.delete_offsets(group, at, dry_run=True)
    assert await places(place, group) == [4, 2]
    await place.client.groups.delete_offsets(group, at)
    rows = await place.client.groups.offsets(group)
    assert {
        row.partition.partition: row.committed.offset for row in rows if row.committed is not None
    } == {1: 2}


async def test_a_deleted_topic_takes_its_offsets_along(place: Place) -> None:
    topic, group = await standing(place, 4)
    other = await place.topic()
    await place.client.groups.commit(group, tidelog.Cursor(other, 0, 0))
    await place.client.topics.delete(topic)
    await place.client.topics.create(topic)  # the name again, another topic
    rows = await place.client.groups.offsets(group)
    assert {row.partition.topic for row in rows if row.committed is not None} == {other}
    async with place.client.consumer(topic, group=group) as consumer:
        await place.write(topic, b"first")
        assert (await anext(consumer)).value == b"first"


async def test_settings_of_a_group(place: Place) -> None:
    topic, group = await standing(place, 4)
    before = await place.client.groups.config(group)
    assert before["session.timeout.ms"].value == "8000"
    changed = await place.client.groups.configure(group, set={"session.timeout.ms": "30000"})
    assert changed["session.timeout.ms"].source == "resource"
    with pytest.raises(tidelog.InvalidRequest):
        await place.client.groups.configure(group, set={"session.timeout.ms": "1"})
    async with place.client.consumer(topic, group=group):
        pass
    back = await place.client.groups.configure(group, unset=["session.timeout.ms"])
    assert back["session.timeout.ms"].value == "8000"
