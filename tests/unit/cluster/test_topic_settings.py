"""Settings of topics: what holds, where it comes from, and the node's own defaults."""

import pytest

from cluster.controller.configs import (
    SERVED,
    WITHOUT_EFFECT,
    TopicSettings,
    check_default,
    parse,
)
from cluster.controller.describe_config import Source, describe
from logstore.settings import Flush, PartitionSettings
from model.errors import ErrorCode, RequestError

NODE = {"retention.ms": "3600000", "min.insync.replicas": "2"}


def test_every_setting_has_a_name_of_its_own() -> None:
    assert len(SERVED) == len({declared.name for declared in SERVED.values()}) == 14
    assert not set(SERVED) & set(WITHOUT_EFFECT)


def test_the_store_is_told_its_own_defaults() -> None:
    settings = parse({}, defaults={}, replication_factor=1)
    assert settings == TopicSettings()
    assert settings.partition_settings() == PartitionSettings()


def test_own_before_the_nodes_before_the_built_in() -> None:
    own = {"retention.ms": "1", "message.timestamp.type": "LogAppendTime", "tidelog.flush": "async"}
    settings = parse(own, defaults=NODE, replication_factor=3)
    assert (settings.retention_ms, settings.min_insync_replicas) == (1, 2)
    partition = settings.partition_settings()
    assert partition.log_append_time
    assert partition.flush is Flush.ASYNC
    assert parse({}, defaults=NODE, replication_factor=3).retention_ms == 3_600_000


@pytest.mark.parametrize(("replicas", "least"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3)])
def test_more_than_half_must_be_in_sync(replicas: int, least: int) -> None:
    assert parse({}, defaults={}, replication_factor=replicas).min_insync_replicas == least


def test_a_nodes_default_never_asks_for_more_replicas_than_a_topic_has() -> None:
    assert parse({}, defaults=NODE, replication_factor=1).min_insync_replicas == 1
    with pytest.raises(RequestError, match="more than its replication factor 1"):
        parse({"min.insync.replicas": "2"}, defaults=NODE, replication_factor=1)


def test_kafkas_no_bound_is_ours() -> None:
    forever = {"message.timestamp.before.max.ms": "9223372036854775807"}
    assert parse(forever, defaults={}, replication_factor=1).timestamp_past_max_ms == -1
    year = {"message.timestamp.before.max.ms": "31536000000"}
    assert parse(year, defaults={}, replication_factor=1).timestamp_past_max_ms == 31_536_000_000


def test_a_person_sees_value_origin_and_default() -> None:
    own = {"segment.bytes": "2048", "flush.messages": "7", "message.timestamp.after.max.ms": "5"}
    rows = {row.name: row for row in describe(own, defaults=NODE, replication_factor=3)}
    assert list(rows) == sorted({*SERVED, *WITHOUT_EFFECT})
    assert rows["segment.bytes"][1:4] == ("2048", Source.RESOURCE, "268435456")
    assert rows["retention.ms"][1:4] == ("3600000", Source.STATIC, "3600000")
    assert rows["segment.ms"][1:4] == ("604800000", Source.DEFAULT, "604800000")
    assert rows["flush.messages"][1:4] == ("7", Source.RESOURCE, "9223372036854775807")
    assert rows["preallocate"][1:4] == ("false", Source.DEFAULT, "false")
    assert rows["tidelog.timestamp.future.max.ms"][1:4] == ("5", Source.RESOURCE, "-1")
    assert rows["cleanup.policy"].value_type == "string"
    assert (rows["segment.bytes"].value_type, rows["segment.ms"].value_type) == (
        "bytes",
        "duration",
    )
    assert [name for name, row in rows.items() if row.read_only] == ["tidelog.kind"]
    assert all(row.doc for row in rows.values())


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("retention.msec", "5", ErrorCode.INVALID_CONFIG),
        ("segment.bytes", "1", ErrorCode.INVALID_CONFIG),
        ("cleanup.policy", "compact", ErrorCode.NOT_IMPLEMENTED),
        ("tidelog.kind", "table", ErrorCode.NOT_IMPLEMENTED),
    ],
)
def test_a_nodes_default_is_checked_when_it_starts(name: str, value: str, code: ErrorCode) -> None:
    with pytest.raises(RequestError) as refused:
        check_default(name, value)
    assert refused.value.code is code


def test_a_nodes_default_may_ask_for_more_replicas_than_a_topic_has() -> None:
    check_default("min.insync.replicas", "3")


@pytest.mark.parametrize(
    "config",
    [
        {"retention.ms": "1" * 2_000},
        {"flush.ms": "1" * 2_000},
        {"x" * 5_000 + "\n": "1"},
        {"retention.ms": ""},
        {"retention.ms": "1.5"},
        {"retention.ms": "٣"},
        {"tidelog.flush": "Quorum"},
    ],
)
def test_no_value_is_too_odd_for_a_clear_answer(config: dict[str, str]) -> None:
    with pytest.raises(RequestError) as refused:
        parse(config, defaults={}, replication_factor=1)
    assert refused.value.code is ErrorCode.INVALID_CONFIG
    assert len(refused.value.detail) < 400
    assert "\n" not in refused.value.detail
