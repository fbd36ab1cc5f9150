"""Topics made and deleted, and producer ids: every version that is served, against a whole node."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from api.kafka.frame import UUID_ZERO
from tests.kafka_node import ADVERTISED, APIS, Client, Serving, kafka_node
from tests.unit.api.kafka.test_handlers import metadata, topic_id, versions

FIND_COORDINATOR, CREATE_TOPICS, DELETE_TOPICS, INIT_PRODUCER_ID = 10, 19, 20, 22
JOIN_GROUP = 11


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncIterator[Serving]:
    async with kafka_node(tmp_path) as serving:
        yield serving


@pytest.mark.parametrize("version", versions(CREATE_TOPICS))
async def test_topics_are_created(serving: Serving, version: int) -> None:
    client = await serving.client()
    topics = [
        creation("plain", num_partitions=3),
        creation("default", num_partitions=-1, replication_factor=-1),
        creation("kept", configs=[{"name": "retention.ms", "value": "-1"}]),
        creation("chosen", num_partitions=-1, replication_factor=-1, assignments=[0, 1]),
        creation("twice"),
        creation("twice"),
        creation("no/slash"),
        creation("none", num_partitions=0),
        creation("many", replication_factor=3),
        creation("odd", configs=[{"name": "retention.msec", "value": "1"}]),
        creation("void", configs=[{"name": "retention.ms", "value": None}]),
        creation("gap", num_partitions=-1, replication_factor=-1, assignments=[0, 2]),
        creation("both", num_partitions=2, assignments=[0, 1]),
        creation("stranger", num_partitions=-1, replication_factor=-1, brokers=[5]),
    ]
    answer = await client.ask(CREATE_TOPICS, version, topics=topics, timeout=1_000)
    rows = {row["name"]: row for row in answer["topics"]}
    assert [row["name"] for row in answer["topics"]] == list(rows)  # each once
    assert list(rows) == list(dict.fromkeys(topic["name"] for topic in topics))
    assert {name: row["error_code"] for name, row in rows.items()} == {
        "plain": 0, "default": 0, "kept": 0, "chosen": 0, "twice": 42, "no/slash": 17,
        "none": 37, "many": 38, "odd": 40, "void": 40, "gap": 39, "both": 42, "stranger": 39,
    }  # fmt: skip
    assert all(row["error_message"] for row in answer["topics"] if row["error_code"])
    shown = (await metadata(client, 12, None))["topics"]
    counts = {topic["name"]: len(topic["partitions"]) for topic in shown}
    assert counts == {"chosen": 2, "default": 1, "kept": 1, "plain": 3}
    if version >= 5:
        configs = {row["name"]: row for row in rows["kept"]["configs"]}
        assert (configs["retention.ms"]["value"], configs["retention.ms"]["config_source"]) == (
            "-1",
            1,
        )
        assert configs["segment.bytes"]["config_source"] == 5
        assert rows["odd"]["configs"] == []
        assert rows["plain"]["num_partitions"] == 3
    if version >= 7:
        assert rows["plain"]["topic_id"] == await topic_id(client, "plain")
    again = await client.ask(CREATE_TOPICS, version, topics=topics[:1], timeout=1_000)
    assert again["topics"][0]["error_code"] == 36


def creation(name: str, **more: Any) -> dict[str, Any]:
    brokers = more.pop("brokers", [])
    numbers = more.get("assignments", range(len(brokers)))
    rows = [{"partition_index": n, "broker_ids": brokers or [0]} for n in numbers]
    fields = {"name": name, "num_partitions": 1, "replication_factor": 1, "configs": []}
    return {**fields, **more, "assignments": rows}


async def test_a_topic_is_only_tried_on(serving: Serving) -> None:
    client = await serving.client()
    topics = [creation("plain")]
    answer = await client.ask(CREATE_TOPICS, 7, topics=topics, timeout=1_000, validate_only=True)
    (row,) = answer["topics"]
    assert (row["error_code"], row["topic_id"]) == (0, UUID_ZERO)
    assert (await metadata(client, 12, None))["topics"] == []


@pytest.mark.parametrize("version", versions(DELETE_TOPICS))
async def test_topics_are_deleted(serving: Serving, version: int) -> None:
    client = await serving.client()
    by_id = await topic_id(client, "by-id")
    await topic_id(client, "by-name")
    answer = await client.ask(
        DELETE_TOPICS,
        version,
        topic_names=["by-name", "absent"],
        topics=[
            {"name": "by-name", "topic_id": UUID_ZERO},
            {"name": "absent", "topic_id": UUID_ZERO},
            {"name": None, "topic_id": by_id},
            {"name": None, "topic_id": b"x" * 16},
            {"name": "by-name", "topic_id": by_id},
            {"name": None, "topic_id": UUID_ZERO},
        ],
        timeout=1_000,
    )
    codes = [row["error_code"] for row in answer["responses"]]
    left = [topic["name"] for topic in (await metadata(client, 12, None))["topics"]]
    if version < 6:
        assert (codes, left) == ([0, 3], ["by-id"])
    else:
        assert (codes, left) == ([0, 3, 0, 100, 42, 42], [])
        assert answer["responses"][2]["name"] == "by-id"


@pytest.mark.parametrize("version", versions(INIT_PRODUCER_ID))
async def test_producer_ids_are_given_out_once(serving: Serving, version: int) -> None:
    client = await serving.client()
    first, second = [await init_producer(client, version) for _ in range(2)]
    assert (first["error_code"], first["producer_epoch"]) == (0, 0)
    assert second["producer_id"] > first["producer_id"] >= 0
    refused = await init_producer(client, version, transactional_id="t")
    assert (refused["error_code"], refused["producer_id"]) == (35, -1)
    if version >= 3:
        same = {"producer_id": first["producer_id"], "producer_epoch": 0}
        bumped = await init_producer(client, version, **same)
        assert (bumped["producer_id"], bumped["producer_epoch"]) == (first["producer_id"], 1)
        half = await init_producer(client, version, producer_id=first["producer_id"])
        assert half["error_code"] == 42


async def init_producer(client: Client, version: int, **more: Any) -> Any:
    fields = {"transactional_id": None, "transaction_timeout": 1_000}
    return await client.ask(INIT_PRODUCER_ID, version, **{**fields, **more})


@pytest.mark.parametrize("timeout_ms", [0, -1])
async def test_topics_that_take_longer_than_the_client_allows_are_answered_all_the_same(
    serving: Serving, timeout_ms: int
) -> None:
    client = await serving.client()
    await topic_id(client, "there")
    topics = [creation("one"), creation("twice"), creation("twice")]
    made = await client.ask(CREATE_TOPICS, 5, topics=topics, timeout=timeout_ms)
    assert [row["error_code"] for row in made["topics"]] == [7, 42]
    assert "may yet happen" in made["topics"][0]["error_message"]
    gone = await client.ask(DELETE_TOPICS, 5, topic_names=["there"], timeout=timeout_ms)
    assert [row["error_code"] for row in gone["responses"]] == [7]


@pytest.mark.parametrize("version", versions(FIND_COORDINATOR))
async def test_the_node_is_named_as_the_coordinator_of_everything(
    serving: Serving, version: int
) -> None:
    client = await serving.client()
    for kind, code in ((0, 0), (1, 0), (2, 42), (-1, 42)):
        if version == 0 and kind:
            continue
        asked = {"key": "g", "key_type": kind, "coordinator_keys": ["g", "h"]}
        answer = await client.ask(FIND_COORDINATOR, version, **asked)
        rows = answer["coordinators"] if version >= 4 else [answer]
        place = (0, *ADVERTISED) if code == 0 else (-1, "", -1)
        for row in rows:
            assert (row["node_id"], row["host"], row["port"]) == place
            assert row["error_code"] == code
            assert version == 0 or bool(row["error_message"]) == bool(code)
        assert version < 4 or [row["key"] for row in rows] == ["g", "h"]


def test_joining_a_group_is_not_advertised_before_there_are_groups() -> None:
    """What clients make an error of, where most would ask a coordinator that refuses for ever."""
    assert FIND_COORDINATOR in APIS
    assert JOIN_GROUP not in APIS


@pytest.mark.parametrize("version", versions(DELETE_TOPICS))
async def test_a_topic_that_is_named_twice_is_not_deleted(serving: Serving, version: int) -> None:
    client = await serving.client()
    await topic_id(client, "there")
    names = ["there", "absent", "there"]
    topics = [{"name": name, "topic_id": UUID_ZERO} for name in names]
    answer = await client.ask(
        DELETE_TOPICS, version, topic_names=names, topics=topics, timeout=60_000
    )
    told = [(row["name"], row["error_code"]) for row in answer["responses"]]
    assert told == [("there", 42), ("absent", 3)]
    assert [topic["name"] for topic in (await metadata(client, 12, None))["topics"]] == ["there"]
