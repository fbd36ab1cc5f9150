"""Groups on a clock that is turned: who lives stays, who is gone is missed, and offsets expire."""

import asyncio
from contextlib import suppress
from datetime import timedelta

import pytest

import tidelog
from tests.contract.place import T0, Place
from tests.contract.test_group_places_contract import places, standing
from tests.contract.test_groups_contract import filled, rest, take, until
from tidelog import testing
from tidelog.testing.fixtures import tidelog_broker
from tidelog.testing.sync_fixtures import tidelog_sync_broker

__all__ = ["tidelog_broker", "tidelog_sync_broker"]


@pytest.fixture
def place(tidelog_broker: testing.Broker) -> Place:
    return Place(tidelog_broker.client, tidelog_broker.url, "t", tidelog_broker)


async def members(place: Place, group: str = "t-g") -> list[str]:
    return [one.member_id for one in (await place.client.groups.get(group)).members]


async def turn(place: Place, **by: float) -> None:
    assert place.broker is not None
    await place.broker.advance(**by)  # type: ignore[arg-type]


@pytest.mark.parametrize("steps", [1, 60])
async def test_who_lives_stays_a_member(place: Place, steps: int) -> None:
    """At once, or minute by minute."""
    topic = await filled(place)
    async with place.client.consumer(topic, group="t-g") as consumer:
        assert len(await rest(consumer)) == 8
        before = await members(place)
        for _ in range(steps):
            await turn(place, minutes=60 / steps)
        assert (await members(place), (await place.client.groups.get("t-g")).epoch) == (before, 1)
        await place.write(topic, b"later")
        assert await take(consumer, 1) == [b"later"]


async def test_who_has_the_shortest_of_sessions_stays_too(place: Place) -> None:
    topic, second = await filled(place), timedelta(seconds=1)
    async with place.client.consumer(topic, group="t-g", session_timeout=second) as consumer:
        await turn(place, minutes=5)
        assert len(await rest(consumer)) == 8
        assert (await place.client.groups.get("t-g")).epoch == 1


async def test_what_is_finished_is_committed_when_a_second_has_passed(place: Place) -> None:
    topic = await filled(place, 1)
    async with place.client.consumer(topic, group="t-g") as consumer:
        await take(consumer, 3)
        await turn(place, milliseconds=900)
        assert await places(place, "t-g") == [None]
        await turn(place, milliseconds=200)
        assert await places(place, "t-g") == [2]  # the third is in hand


async def test_a_commit_is_dated_when_it_fell_due_however_far_time_is_turned(place: Place) -> None:
    topic = await filled(place, 1)
    async with place.client.consumer(topic, group="t-g") as consumer:
        await take(consumer, 3)
        await turn(place, hours=1)
        kept = await place.read("__consumer_offsets")
        dates = {record.append_time for record in kept} - {T0}
    assert dates == {T0 + timedelta(seconds=1)}


async def test_who_is_killed_may_come_back_for_two_seconds(place: Place) -> None:
    assert place.broker is not None
    topic = await filled(place, 2)
    async with place.client.consumer(topic, group="t-g") as survivor:
        async with place.broker.connect(client_id="killed") as client:
            killed = client.consumer(topic, group="t-g")
            await killed.__aenter__()
            await until(lambda: len(survivor.assignment) == len(killed.assignment) == 1)
        await turn(place, milliseconds=1_900)
        assert len(await members(place)) == 2
        await turn(place, milliseconds=200)
        assert len(await members(place)) == 1
        assert len(await rest(survivor)) == 8
        with pytest.raises(tidelog.ConnectError):
            await killed.__aexit__(None, None, None)


async def test_who_is_silent_is_removed_after_its_session(place: Place) -> None:
    """A client that has the machine's time says nothing for as long as the clock is turned."""
    topic = await filled(place, 2)
    async with (
        place.client.consumer(topic, group="t-g") as survivor,
        tidelog.connect(place.url, client_id="silent") as client,
        client.consumer(topic, group="t-g") as silent,
    ):
        await until(lambda: len(survivor.assignment) == len(silent.assignment) == 1)
        (known,) = [one for one in await members(place) if one.startswith("silent")]
        await turn(place, milliseconds=7_900)
        assert known in await members(place)
        await turn(place, milliseconds=200)
        assert known not in await members(place)
        await until(lambda: len(survivor.assignment) == len(silent.assignment) == 1)  # it rejoins


async def test_connections_that_are_cut_do_not_end_a_membership(place: Place) -> None:
    assert place.broker is not None
    topic = await filled(place, 1)
    async with place.client.consumer(topic, group="t-g") as consumer:
        assert len(await rest(consumer)) == 4
        before = await members(place)
        await place.broker.drop(abruptly=True)
        await place.write(topic, b"later")
        assert await take(consumer, 1) == [b"later"]
        assert await members(place) == before


async def test_work_that_takes_too_long_is_another_members(place: Place) -> None:
    topic = await filled(place, 2, 1)
    async with place.client.consumer(topic, group="t-g") as slow:
        lists = slow.batches(max_records=2)
        assert len(await anext(lists)) == 2  # one of each partition, and it comes for no other
        async with place.client.consumer(topic, group="t-g") as other:
            await turn(place, seconds=59)
            assert (len(slow.assignment), len(other.assignment)) == (1, 0)
            await turn(place, seconds=2)
            await until(lambda: len(other.assignment) == 1)
            assert len(await take(other, 1)) == 1  # what was not finished comes again


async def test_offsets_expire_a_week_after_the_last_member(place: Place) -> None:
    topic, group = await standing(place, 4)
    await turn(place, days=6, hours=23)
    assert await places(place, group) == [4]
    await turn(place, hours=2)
    with pytest.raises(tidelog.NotFound):
        await place.client.groups.offsets(group)
    assert (await place.client.topics.get(topic)).name == topic


async def test_offsets_stay_while_somebody_is_there(place: Place) -> None:
    topic, group = await standing(place, 4)
    await place.client.groups.configure(group, set={"offsets.retention.ms": "60000"})
    async with place.client.consumer(topic, group=group, commit="manual"):
        await turn(place, minutes=10)
        assert await places(place, group) == [4]
    await turn(place, minutes=3)
    with pytest.raises(tidelog.NotFound):
        await place.client.groups.offsets(group)


async def test_lag_is_as_old_as_what_waits(place: Place) -> None:
    topic, group = await standing(place, 6)
    await place.write(topic, b"waits")
    await turn(place, minutes=5)
    (row,) = await place.client.groups.offsets(group)
    assert (row.lag, row.lag_time) == (1, timedelta(minutes=5))


async def test_a_group_is_sent_to_a_moment_of_the_turned_clock(place: Place) -> None:
    topic, group = await standing(place, 6)
    await turn(place, hours=1)
    await place.write(topic, b"in the second hour")
    await place.client.groups.seek(group, T0 + timedelta(minutes=30), clock="append")
    async with place.client.consumer(topic, group=group) as consumer:
        assert await rest(consumer) == [b"in the second hour"]


async def test_two_turns_at_once_are_one_after_the_other(place: Place) -> None:
    assert place.broker is not None
    topic = await filled(place)
    async with place.client.consumer(topic, group="t-g"):
        await asyncio.gather(turn(place, minutes=10), turn(place, minutes=10))
        assert place.broker.now == T0 + timedelta(minutes=20)
        assert (await place.client.groups.get("t-g")).epoch == 1


async def test_without_a_manual_clock_time_is_real(place: Place) -> None:
    async with testing.broker() as broker:
        real = Place(broker.client, broker.url, "r", broker)
        topic = await filled(real, 2)
        await broker.client.groups.configure("r-g", set={"resume.timeout.ms": "0"})
        async with broker.client.consumer(topic, group="r-g") as survivor:
            async with broker.connect() as client:
                killed = client.consumer(topic, group="r-g")
                await killed.__aenter__()
                await until(lambda: len(survivor.assignment) == len(killed.assignment) == 1)
            assert len(set(await take(survivor, 8))) == 8  # comes once the other one is missed
            with suppress(tidelog.ConnectError):  # if it knows by now
                await killed.__aexit__(None, None, None)


def test_the_same_without_an_event_loop(tidelog_sync_broker: testing.SyncBroker) -> None:
    broker = tidelog_sync_broker
    broker.client.topics.create("orders")
    with broker.client.producer() as producer:
        producer.send("orders", b"a")
    with broker.client.consumer("orders", group="g", commit="auto") as consumer:
        assert next(consumer).value == b"a"
        broker.advance(hours=1)
        assert len(broker.client.groups.get("g").members) == 1
    (row,) = broker.client.groups.offsets("g")
    assert row.lag == 0
