"""Every key and version that is served, against a whole node."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from api.kafka.frame import UUID_ZERO
from api.kafka.k00_produce import SERVED_FROM
from logstore.batch import encode_batch
from model.ids import ProducerEpoch, ProducerId, Sequence
from model.record import NewRecord
from tests.kafka_node import ADVERTISED, APIS, Client, Serving, kafka_node

PRODUCE, FETCH, LIST_OFFSETS, METADATA = 0, 1, 2, 3
TIMES = (1_000, 3_000, 2_000)


@pytest.fixture
async def serving(tmp_path: Path) -> AsyncIterator[Serving]:
    async with kafka_node(tmp_path) as serving:
        yield serving


def versions(key: int, *, first: int = 0) -> range:
    return range(max(APIS[key].version_min, first), APIS[key].version_max + 1)


def batch(*values: bytes, times: tuple[int, ...] = ()) -> bytes:
    at = times or (1_000,) * len(values)
    return bytes(encode_batch([NewRecord(t, None, v) for t, v in zip(at, values, strict=True)]))


async def topic_id(client: Client, name: str) -> bytes:
    answer = await metadata(client, 12, [name])
    return bytes(answer["topics"][0]["topic_id"])


async def metadata(client: Client, version: int, names: list[str] | None, **more: Any) -> Any:
    topics = [{"name": name, "topic_id": UUID_ZERO} for name in names or ()]
    fields = {
        "topics": topics if names is not None else None,
        "allow_auto_topic_creation": True,
        "include_cluster_authorized_operations": False,
        "include_topic_authorized_operations": False,
    }
    return await client.ask(METADATA, version, **{**fields, **more})


async def produce(client: Client, version: int, records: bytes | None, **more: Any) -> Any:
    """Produce one batch to orders/1; return the partition's part of the answer."""
    part = {"index": more.get("number", 1), "records": records}
    topic = {
        "name": more.get("name", "orders"),
        "topic_id": more.get("topic_id", UUID_ZERO),
        "partition_data": [part],
    }
    answer = await client.ask(
        PRODUCE,
        version,
        transactional_id=more.get("transactional_id"),
        acks=more.get("acks", -1),
        timeout=1_000,
        topic_data=[topic],
    )
    return answer["responses"][0]["partition_responses"][0]


def fetch_fields(**more: Any) -> dict[str, Any]:
    part = {
        "partition": more.get("number", 1),
        "current_leader_epoch": more.get("leader_epoch", -1),
        "fetch_offset": more.get("offset", 0),
        "partition_max_bytes": 1 << 20,
    }
    topic = {
        "topic": more.get("name", "orders"),
        "topic_id": more.get("topic_id", UUID_ZERO),
        "partitions": [part],
    }
    return {
        "replica_id": more.get("replica_id", -1),
        "max_wait": more.get("max_wait", 0),
        "min_bytes": 1,
        "max_bytes": 1 << 20,
        "isolation_level": more.get("isolation_level", 0),
        "session_id": more.get("session_id", 0),
        "session_epoch": more.get("session_epoch", -1),
        "topics": [topic],
        "forgotten_topics_data": [],
    }


async def fetch(client: Client, version: int, **more: Any) -> Any:
    answer = await client.ask(FETCH, version, **fetch_fields(**more))
    return answer["responses"][0]["partitions"][0]


@pytest.mark.parametrize("version", versions(METADATA))
async def test_metadata_shows_this_node_and_makes_topics_on_first_use(
    serving: Serving, version: int
) -> None:
    client = await serving.client()
    answer = await metadata(client, version, ["orders", "not legal!"])
    (broker,) = answer["brokers"]
    assert (broker["node_id"], broker["host"], broker["port"]) == (0, *ADVERTISED)
    orders, illegal = answer["topics"]
    assert (orders["error_code"], orders["name"]) == (0, "orders")
    assert [part["partition_index"] for part in orders["partitions"]] == [0, 1, 2, 3]
    for part in orders["partitions"]:
        assert (part["error_code"], part["leader_id"]) == (0, 0)
        assert part["replica_nodes"] == part["isr_nodes"] == [0]
    assert (illegal["error_code"], illegal["partitions"]) == (17, [])
    everything = await metadata(client, version, [] if version == 0 else None)
    assert [topic["name"] for topic in everything["topics"]] == ["orders"]
    if version >= 1:
        assert (await metadata(client, version, []))["topics"] == []
        assert everything["controller_id"] == 0
    if version >= 4:
        absent = await metadata(client, version, ["absent"], allow_auto_topic_creation=False)
        assert absent["topics"][0]["error_code"] == 3


@pytest.mark.parametrize("version", [10, 11, 12, 13])
async def test_metadata_by_id(serving: Serving, version: int) -> None:
    client = await serving.client()
    known = await topic_id(client, "orders")
    ask = {"topics": [{"name": None, "topic_id": i} for i in (known, b"x" * 16, UUID_ZERO)]}
    first, second, third = (await metadata(client, version, None, **ask))["topics"]
    if version < 12:
        assert [first["error_code"], second["error_code"]] == [42, 42]
    else:
        assert (first["error_code"], first["name"], first["topic_id"]) == (0, "orders", known)
        assert (second["error_code"], second["name"]) == (100, None)
        assert third["error_code"] == 42


async def test_without_auto_creation_absent_topics_stay_absent(tmp_path: Path) -> None:
    async with kafka_node(tmp_path, auto_create=False) as serving:
        client = await serving.client()
        assert (await metadata(client, 9, ["orders"]))["topics"][0]["error_code"] == 3
        assert (await metadata(client, 9, None))["topics"] == []


@pytest.mark.parametrize("version", versions(PRODUCE, first=SERVED_FROM))
async def test_what_is_produced_is_fetched(serving: Serving, version: int) -> None:
    client = await serving.client()
    known = await topic_id(client, "orders")
    sent = [batch(b"one", b"two"), batch(b"three"), batch(b"four")]
    for records, base in zip(sent, (0, 2, 3), strict=True):
        row = await produce(client, version, records, topic_id=known)
        assert (row["index"], row["error_code"], row["base_offset"]) == (1, 0, base)
        assert row.get("log_append_time") == -1
        assert row.get("log_start_offset", 0) == 0
    for fetch_version in versions(FETCH):
        part = await fetch(client, fetch_version, topic_id=known, offset=2)
        assert (part["error_code"], part["high_watermark"]) == (0, 4)
        assert [stored[16:] for stored in batches(part["records"])] == [s[16:] for s in sent[1:]]


def batches(records: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(records):
        size = 12 + int.from_bytes(records[at + 8 : at + 12], "big")
        found.append(records[at : at + size])
        at += size
    return found


@pytest.mark.parametrize(
    ("version", "fields", "code"),
    [
        (9, {"number": 9}, 3),
        (9, {"name": "absent"}, 3),
        (13, {"topic_id": b"x" * 16}, 100),
        (9, {"acks": 2}, 21),
        (9, {"transactional_id": "t"}, 35),
        (9, {"records": batch(b"a")[:22] + b"\x10" + batch(b"a")[23:]}, 35),
        (9, {"records": None}, 42),
        (9, {"records": b""}, 42),
        (9, {"records": b"\0" * 80}, 87),
        (9, {"records": batch(b"a") + batch(b"b")}, 87),
        (9, {"records": batch(b"a")[:-1]}, 87),
        (9, {"records": batch(b"a")[:40]}, 87),
        (9, {"records": batch(b"a")[:-1] + b"!"}, 2),  # the one that is worth another try
        (6, {"records": batch(b"a")[:22] + b"\x04" + batch(b"a")[23:]}, 76),
    ],
)
async def test_refused_batches(
    serving: Serving, version: int, fields: dict[str, Any], *, code: int
) -> None:
    client = await serving.client()
    await topic_id(client, "orders")
    records = fields.pop("records", batch(b"x"))
    row = await produce(client, version, records, **fields)
    assert (row["error_code"], row["base_offset"], row["log_start_offset"]) == (code, -1, -1)
    assert version < 8 or row["error_message"]


@pytest.mark.parametrize("version", versions(PRODUCE, first=SERVED_FROM))
async def test_a_fenced_producer_is_told_so_by_the_number_that_produce_has_for_it(
    serving: Serving, version: int
) -> None:
    client = await serving.client()
    ids = {"topic_id": await topic_id(client, "orders")}
    answers = []
    for epoch in (1, 0):
        records = encode_batch(
            [NewRecord(1_000, None, b"v")],
            producer_id=ProducerId(7),
            producer_epoch=ProducerEpoch(epoch),
            base_sequence=Sequence(0),
        )
        answers.append(await produce(client, version, bytes(records), **ids))
    assert [row["error_code"] for row in answers] == [0, 47]


@pytest.mark.parametrize("version", versions(PRODUCE, first=5))
async def test_a_forgotten_producer_is_told_where_the_log_starts(
    serving: Serving, version: int
) -> None:
    """By which Java's begins anew; of -1 it makes that it must ask again, until its time is up."""
    client = await serving.client()
    ids = {"topic_id": await topic_id(client, "orders")}
    records = encode_batch(
        [NewRecord(1_000, None, b"v")],
        producer_id=ProducerId(7),
        producer_epoch=ProducerEpoch(0),
        base_sequence=Sequence(5),
    )
    for _ in range(3):  # read as a new request, then recognised
        row = await produce(client, version, bytes(records), **ids)
        assert (row["error_code"], row["base_offset"], row["log_start_offset"]) == (59, -1, 0)


async def test_old_produce_requests_are_told_that_they_are_old(serving: Serving) -> None:
    client = await serving.client()
    await topic_id(client, "orders")
    body = b"\x00\x01" + bytes(4) + b"\0\0\0\x01\x00\x06orders\0\0\0\x01" + bytes(4) + bytes(4)
    for version, more in ((0, b""), (1, bytes(4)), (2, b"\xff" * 8 + bytes(4))):
        client.send_raw(PRODUCE, version, body)
        raw = await client.answer_raw()
        row = b"\0\0\0\0" + b"\0\x23" + b"\xff" * 8
        assert raw == b"\0\0\0\x01\x00\x06orders\0\0\0\x01" + row + more


async def test_acks_0_is_never_answered_and_a_refusal_ends_the_connection(
    serving: Serving,
) -> None:
    client = await serving.client()
    await topic_id(client, "orders")
    row = {"index": 1, "records": batch(b"x")}
    for name in ("orders", "absent"):
        topic = {"name": name, "partition_data": [row]}
        fields = {"transactional_id": None, "acks": 0, "timeout": 100, "topic_data": [topic]}
        client.send(PRODUCE, 9, **fields)
        if name == "orders":
            part = await fetch(client, 11, max_wait=5_000)
            assert len(batches(part["records"])) == 1
    assert await client.ended()


@pytest.mark.parametrize("version", versions(FETCH))
async def test_fetch_waits_for_what_is_not_there_yet(serving: Serving, version: int) -> None:
    reader, writer = await serving.client(), await serving.client()
    known = await topic_id(writer, "orders")
    reader.send(FETCH, version, **fetch_fields(topic_id=known, max_wait=30_000))
    row = await produce(writer, 9, batch(b"late"))
    assert row["error_code"] == 0
    answer = await reader.answer(FETCH, version)
    (part,) = answer["responses"][0]["partitions"]
    assert len(batches(part["records"])) == 1
    assert answer.get("session_id", 0) == 0


@pytest.mark.parametrize(
    ("version", "fields", "code"),
    [
        (4, {"offset": 7}, 1),
        (12, {"offset": -1}, 1),
        (11, {"number": 9}, 3),
        (12, {"name": "absent"}, 3),
        (13, {"topic_id": b"x" * 16}, 100),
        (12, {"leader_epoch": 1_000}, 75),
        (14, {"replica_id": 1}, 29),
        (15, {"replica_state": {"replica_id": 1, "replica_epoch": 1}}, 29),
    ],
)
async def test_refused_fetches(
    serving: Serving, version: int, fields: dict[str, Any], *, code: int
) -> None:
    client = await serving.client()
    known = await topic_id(client, "orders")
    asked = fetch_fields(**{"topic_id": known, "max_wait": 30_000, **fields})
    if "replica_state" in fields:
        asked["replica_state"] = fields["replica_state"]
    answer = await client.ask(FETCH, version, **asked)
    (part,) = answer["responses"][0]["partitions"]
    assert (part["error_code"], part["records"]) == (code, b"")


@pytest.mark.parametrize(("session_id", "epoch", "code"), [(7, 3, 70), (7, 0, 0), (0, 0, 0)])
async def test_no_fetch_session_is_kept(
    serving: Serving, session_id: int, epoch: int, *, code: int
) -> None:
    client = await serving.client()
    await topic_id(client, "orders")
    fields = fetch_fields(session_id=session_id, session_epoch=epoch)
    answer = await client.ask(FETCH, 11, **fields)
    assert (answer["error_code"], answer["session_id"]) == (code, 0)
    assert len(answer["responses"]) == (0 if code else 1)


@pytest.mark.parametrize("version", versions(LIST_OFFSETS))
async def test_offsets_of_places(serving: Serving, version: int) -> None:
    client = await serving.client()
    await topic_id(client, "orders")
    await produce(client, 9, batch(b"a", b"b", b"c", times=TIMES))
    rows = {
        -1: (0, 3, -1),
        -2: (0, 0, -1),
        -3: (0, 1, 3_000) if version >= 7 else (35, -1, -1),
        -4: (0, 0, -1) if version >= 8 else (35, -1, -1),
        -5: (0, -1, -1) if version >= 9 else (35, -1, -1),
        -6: (0, -1, -1) if version >= 11 else (35, -1, -1),
        -7: (35, -1, -1),
        0: (0, 0, 1_000),
        1_001: (0, 1, 3_000),
        3_000: (0, 1, 3_000),
        3_001: (0, -1, -1),
    }
    for isolation_level in (0, 1):
        for time, expected in rows.items():
            assert await listed(client, version, time, isolation_level=isolation_level) == expected


async def listed(
    client: Client, version: int, time: int, *, number: int = 1, **more: int
) -> tuple[int, int, int]:
    part = {
        "partition_index": number,
        "timestamp": time,
        "current_leader_epoch": more.get("leader_epoch", -1),
    }
    answer = await client.ask(
        LIST_OFFSETS,
        version,
        replica_id=-1,
        isolation_level=more.get("isolation_level", 0),
        topics=[{"name": "orders", "partitions": [part]}],
        timeout=1_000,
    )
    (row,) = answer["topics"][0]["partitions"]
    return row["error_code"], row["offset"], row["timestamp"]


async def test_offsets_of_what_is_not_there(serving: Serving) -> None:
    client = await serving.client()
    assert (await listed(client, 7, -1))[0] == 3
    await topic_id(client, "orders")
    assert (await listed(client, 7, -1, number=9))[0] == 3
    assert (await listed(client, 7, -1, leader_epoch=1_000))[0] == 75
    assert await listed(client, 7, -3) == (0, -1, -1)
