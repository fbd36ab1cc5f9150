"""Topics: made, shown, grown, deleted; the same in this process and over the network."""

import pytest

import tidelog
from tests.contract.place import Place


async def test_a_topic_is_returned_as_it_is(place: Place) -> None:
    config = {"retention.ms": "1000"}
    made = await place.client.topics.create(f"{place.prefix}-x", partitions=3, config=config)
    assert (made.name, made.partition_count, made.replication_factor) == (f"{place.prefix}-x", 3, 1)
    assert (made.kind, made.config, made.internal) == ("log", {"retention.ms": "1000"}, False)
    got = await place.client.topics.get(made.name)
    assert (got.topic_id, got.create_time, got.config) == (
        made.topic_id, made.create_time, made.config,
    )  # fmt: skip
    assert [(one.id, one.leader, one.log_start_offset) for one in got.partitions] == [
        (0, 0, 0), (1, 0, 0), (2, 0, 0),
    ]  # fmt: skip


async def test_a_partition_tells_how_far_it_reaches(place: Place) -> None:
    topic = await place.topic(2)
    await place.write(topic, b"a", b"b", partition=1)
    got = await place.client.topics.get(topic)
    assert [one.high_watermark for one in got.partitions] == [0, 2]
    assert [bool(one.size_bytes) for one in got.partitions] == [False, True]


async def test_a_dry_run_makes_nothing(place: Place) -> None:
    name = f"{place.prefix}-x"
    planned = await place.client.topics.create(name, partitions=5, dry_run=True)
    assert planned.partition_count == 5
    with pytest.raises(tidelog.NotFound):
        await place.client.topics.get(name)


async def test_without_a_number_there_is_one_partition(place: Place) -> None:
    assert (await place.client.topics.create(f"{place.prefix}-x")).partition_count == 1


async def test_a_second_one_of_the_name_is_refused(place: Place) -> None:
    topic = await place.topic()
    with pytest.raises(tidelog.AlreadyExists) as refused:
        await place.client.topics.create(topic)
    assert (refused.value.reason, refused.value.outcome) == ("TOPIC_ALREADY_EXISTS", "not_done")


async def test_what_may_exist_is_returned_as_it_was(place: Place) -> None:
    topic = await place.topic(2)
    same = await place.client.topics.create(topic, partitions=7, exist_ok=True)
    assert same.partition_count == 2


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "a/b", "ä", "a\n", "x" * 250])
async def test_names_that_are_refused(place: Place, name: str) -> None:
    with pytest.raises(tidelog.InvalidRequest) as refused:
        await place.client.topics.create(name)
    assert refused.value.reason == "INVALID_TOPIC_NAME"


@pytest.mark.parametrize("tail", ["-", ".A_9", "x" * 240])
async def test_names_that_are_accepted(place: Place, tail: str) -> None:
    name = f"{place.prefix}{tail}"
    assert (await place.client.topics.create(name)).name == name


@pytest.mark.parametrize("partitions", [-1, 1_001])
async def test_numbers_of_partitions_that_are_refused(place: Place, partitions: int) -> None:
    with pytest.raises(tidelog.InvalidRequest) as refused:
        await place.client.topics.create(f"{place.prefix}-x", partitions=partitions)
    assert refused.value.reason == "INVALID_PARTITION_COUNT"


async def test_one_node_holds_one_replica(place: Place) -> None:
    with pytest.raises(tidelog.InvalidRequest) as refused:
        await place.client.topics.create(f"{place.prefix}-x", replicas=2)
    assert refused.value.reason == "INVALID_REPLICATION_FACTOR"


async def test_lists_are_sorted_and_without_partitions(place: Place) -> None:
    for tail in ("c", "a", "b"):
        await place.client.topics.create(f"{place.prefix}-{tail}", partitions=2)
    listed = [one async for one in place.client.topics.list(prefix=f"{place.prefix}-")]
    assert [one.name for one in listed] == [f"{place.prefix}-{tail}" for tail in "abc"]
    assert [(one.partition_count, one.partitions) for one in listed] == [(2, ())] * 3


async def test_a_prefix_that_nobody_has_lists_nothing(place: Place) -> None:
    assert [one async for one in place.client.topics.list(prefix=f"{place.prefix}-no")] == []


async def test_a_near_name_is_suggested(place: Place) -> None:
    await place.client.topics.create(f"{place.prefix}-payments")
    with pytest.raises(tidelog.NotFound) as refused:
        await place.client.topics.get(f"{place.prefix}-paymnets")
    assert refused.value.metadata["did_you_mean"] == f"{place.prefix}-payments"


async def test_what_is_deleted_is_gone(place: Place) -> None:
    topic = await place.topic()
    await place.client.topics.delete(topic)
    with pytest.raises(tidelog.NotFound):
        await place.client.topics.get(topic)
    with pytest.raises(tidelog.NotFound) as refused:
        await place.client.topics.delete(topic)
    assert refused.value.reason == "UNKNOWN_TOPIC"
    await place.client.topics.delete(topic, missing_ok=True)


async def test_a_dry_run_deletes_nothing(place: Place) -> None:
    topic = await place.topic()
    await place.client.topics.delete(topic, dry_run=True)
    assert (await place.client.topics.get(topic)).name == topic


async def test_a_name_that_comes_again_begins_empty(place: Place) -> None:
    topic = await place.topic()
    first = await place.client.topics.get(topic)
    await place.write(topic, b"old")
    await place.client.topics.delete(topic)
    again = await place.client.topics.create(topic)
    assert again.topic_id != first.topic_id
    assert await place.values(topic) == []


async def test_a_topic_grows_and_keeps_its_records(place: Place) -> None:
    topic = await place.topic(2)
    await place.write(topic, b"a", partition=1)
    grown = await place.client.topics.add_partitions(topic, 4)
    assert grown.partition_count == 4
    await place.write(topic, b"b", partition=3)
    assert sorted((one.partition, one.value) for one in await place.read(topic)) == [
        (1, b"a"), (3, b"b"),
    ]  # fmt: skip


@pytest.mark.parametrize("total", [0, 1, 1_001])
async def test_a_topic_never_shrinks(place: Place, total: int) -> None:
    topic = await place.topic(2)
    with pytest.raises(tidelog.InvalidRequest) as refused:
        await place.client.topics.add_partitions(topic, total)
    assert refused.value.reason == "INVALID_PARTITION_COUNT"


async def test_growing_to_what_it_has_changes_nothing(place: Place) -> None:
    topic = await place.topic(2)
    assert (await place.client.topics.add_partitions(topic, 2)).partition_count == 2


async def test_a_dry_run_grows_nothing(place: Place) -> None:
    topic = await place.topic()
    assert (await place.client.topics.add_partitions(topic, 3, dry_run=True)).partition_count == 3
    assert (await place.client.topics.get(topic)).partition_count == 1


async def test_the_map_shows_one_running_node(place: Place) -> None:
    info = await place.client.cluster.get()
    assert (info.status, info.controller) == ("healthy", 0)
    assert [(one.id, one.state) for one in info.brokers] == [(0, "running")]
