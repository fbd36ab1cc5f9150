"""Administering topics, and finding places in them."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Final, Literal
from uuid import UUID

from tidelog.arguments import settings_of
from tidelog.calls import (
    ADD_PARTITIONS,
    CREATE_TOPIC,
    DELETE_TOPIC,
    ENSURE_NO_TOPIC,
    ENSURE_TOPIC,
    GET_CONFIG,
    GET_TOPIC,
    LIST_TOPICS,
    RESOLVE_OFFSETS,
    TRIM_TOPIC,
    UPDATE_CONFIG,
)
from tidelog.connection import Connection
from tidelog.errors import AlreadyExists, NotFound
from tidelog.places import datetime_of_timestamp, isolation_of, seek_of
from tidelog.types import (
    Clock,
    ConfigValue,
    Isolation,
    Partition,
    Resolved,
    Start,
    TopicInfo,
    TopicKind,
    TopicPartition,
)
from tidelog.v1 import config_service_pb2 as configs
from tidelog.v1 import log_service_pb2 as log
from tidelog.v1 import topic_service_pb2 as wire
from tidelog.wire_errors import failure_of_row

KINDS: Final[dict[TopicKind, wire.Topic.Kind.ValueType]] = {
    "log": wire.Topic.KIND_LOG,
    "eventstore": wire.Topic.KIND_EVENTSTORE,
    "table": wire.Topic.KIND_TABLE,
}
KIND_NAMES: Final[dict[int, TopicKind]] = {number: name for name, number in KINDS.items()}
SOURCES: Final[dict[int, Literal["default", "static", "cluster", "resource"]]] = {
    configs.ConfigEntry.SOURCE_DEFAULT: "default",
    configs.ConfigEntry.SOURCE_STATIC: "static",
    configs.ConfigEntry.SOURCE_CLUSTER: "cluster",
    configs.ConfigEntry.SOURCE_RESOURCE: "resource",
}
PAGE: Final = 1_000
"""Topics that are asked for at once: as many as a node gives."""


class Topics:
    """The topics of a cluster; `Client.topics`."""

    def __init__(self, connection: Connection) -> None:
        """Take the way to the cluster."""
        self._connection = connection

    async def create(  # noqa: PLR0913 - options, each by its name
        self,
        name: str,
        *,
        kind: TopicKind = "log",
        partitions: int = 0,
        replicas: int = 0,
        config: Mapping[str, str] | None = None,
        exist_ok: bool = False,
        dry_run: bool = False,
    ) -> TopicInfo:
        """Create a topic and return it as it is; 0 partitions or replicas: the cluster's default.

        `exist_ok`: return the topic that is there, whatever it is like. `dry_run`: only check.

        Raises:
            AlreadyExists: it is there.
            InvalidRequest: a name, a number or a setting that is not possible.
        """
        if kind not in KINDS:
            raise ValueError(f"kind is {kind!r}; there are {', '.join(KINDS)}")
        topic = wire.Topic(
            name=name,
            kind=KINDS[kind],
            partition_count=partitions,
            replication_factor=replicas,
            config=settings_of(config),
        )
        request = wire.CreateTopicRequest(topic=topic, validate_only=dry_run)
        call = ENSURE_TOPIC if exist_ok else CREATE_TOPIC
        try:
            response = await self._connection.call(call, request)
        except AlreadyExists:
            if not exist_ok:
                raise
            return await self.get(name)
        return topic_of(response.topic)

    async def get(self, name: str) -> TopicInfo:
        """Return a topic with its partitions.

        Raises:
            NotFound: it does not exist.
        """
        response = await self._connection.call(GET_TOPIC, wire.GetTopicRequest(name=name))
        return topic_of(response.topic)

    async def list(
        self, *, prefix: str = "", include_internal: bool = False
    ) -> AsyncIterator[TopicInfo]:
        """Yield the topics in the order of their names, without their partitions."""
        page_token = ""
        while True:
            request = wire.ListTopicsRequest(
                page_size=PAGE,
                page_token=page_token,
                name_prefix=prefix,
                include_internal=include_internal,
            )
            response = await self._connection.call(LIST_TOPICS, request)
            for topic in response.topics:
                yield topic_of(topic)
            page_token = response.next_page_token
            if not page_token:
                return

    async def delete(self, name: str, *, missing_ok: bool = False, dry_run: bool = False) -> None:
        """Delete a topic and its records.

        Raises:
            NotFound: it does not exist.
        """
        request = wire.DeleteTopicRequest(name=name, validate_only=dry_run)
        call = ENSURE_NO_TOPIC if missing_ok else DELETE_TOPIC
        try:
            await self._connection.call(call, request)
        except NotFound:
            if not missing_ok:
                raise

    async def add_partitions(self, name: str, total: int, *, dry_run: bool = False) -> TopicInfo:
        """Grow a topic to so many partitions; keys go to other partitions from then on."""
        request = wire.AddPartitionsRequest(name=name, partition_count=total, validate_only=dry_run)
        response = await self._connection.call(ADD_PARTITIONS, request)
        return topic_of(response.topic)

    async def trim(
        self,
        name: str,
        before: Start,
        *,
        clock: Clock = "event",
        partitions: Sequence[int] = (),
        dry_run: bool = False,
    ) -> Mapping[TopicPartition, int]:
        """Delete the records below a place; return the new log starts.

        `partitions` empty: all of them.

        Raises:
            TidelogError: the first partition's failure; others may have moved.
        """
        request = wire.TrimTopicRequest(
            name=name,
            partitions=partitions,
            before=seek_of(before, clock),
            validate_only=dry_run,
        )
        response = await self._connection.call(TRIM_TOPIC, request)
        for row in response.trimmed:
            if row.HasField("error"):
                raise failure_of_row(row.error).error
        return {TopicPartition(name, row.partition): row.after for row in response.trimmed}

    async def resolve(
        self,
        name: str,
        at: Start,
        *,
        clock: Clock = "event",
        isolation: Isolation = "read_committed",
    ) -> Sequence[Resolved]:
        """Return where a place lies in each partition.

        Raises:
            TidelogError: the first partition's failure.
        """
        request = log.ResolveOffsetsRequest(
            topics=[name], seek=seek_of(at, clock), isolation_level=isolation_of(isolation)
        )
        response = await self._connection.call(RESOLVE_OFFSETS, request)
        return [resolved_of(row) for row in response.resolved]

    async def config(self, name: str) -> Mapping[str, ConfigValue]:
        """Return every setting of a topic by its name."""
        return await read_config(self._connection, _resource(name))

    async def configure(
        self,
        name: str,
        *,
        set: Mapping[str, str] | None = None,
        unset: Sequence[str] = (),
        dry_run: bool = False,
    ) -> Mapping[str, ConfigValue]:
        """Change settings of a topic, all or none; return those that were named, as they are.

        Raises:
            InvalidRequest: an unknown name, or a value out of bounds.
        """
        request = configs.UpdateConfigRequest(
            resource=_resource(name), set=settings_of(set), unset=unset, validate_only=dry_run
        )
        return await change_config(self._connection, request)


async def read_config(
    connection: Connection, resource: configs.ConfigResource
) -> Mapping[str, ConfigValue]:
    """Return every setting of a topic or a group by its name."""
    response = await connection.call(GET_CONFIG, configs.GetConfigRequest(resource=resource))
    return config_of(response.entries)


async def change_config(
    connection: Connection, request: configs.UpdateConfigRequest
) -> Mapping[str, ConfigValue]:
    """Change settings; return those that were named, as they are.

    Raises:
        InvalidRequest: an unknown name, or a value out of bounds.
    """
    return config_of((await connection.call(UPDATE_CONFIG, request)).entries)


def topic_of(topic: wire.Topic) -> TopicInfo:
    """Return a topic as a value."""
    return TopicInfo(
        name=topic.name,
        topic_id=UUID(topic.topic_id or str(UUID(int=0))),
        kind=KIND_NAMES.get(topic.kind, "log"),
        partition_count=topic.partition_count,
        replication_factor=topic.replication_factor,
        config=dict(topic.config),
        create_time=datetime_of_timestamp(topic.create_time),
        partitions=tuple(_partition(one) for one in topic.partitions),
        internal=topic.internal,
    )


def config_of(entries: Iterable[configs.ConfigEntry]) -> Mapping[str, ConfigValue]:
    """Return settings by their names."""
    return {
        entry.name: ConfigValue(
            name=entry.name,
            value=entry.value if entry.HasField("value") else None,
            source=SOURCES.get(entry.source, "default"),
            default=entry.default_value,
            documentation=entry.documentation,
            restart_required=entry.restart_required,
        )
        for entry in entries
    }


def _partition(one: wire.Partition) -> Partition:
    return Partition(
        id=one.id,
        leader=one.leader_id if one.HasField("leader_id") else None,
        leader_epoch=one.leader_epoch,
        replicas=tuple(one.replica_ids),
        in_sync_replicas=tuple(one.in_sync_replica_ids),
        log_start_offset=one.log_start_offset if one.HasField("log_start_offset") else None,
        high_watermark=one.high_watermark if one.HasField("high_watermark") else None,
        size_bytes=one.size_bytes if one.HasField("size_bytes") else None,
        eligible_leaders=tuple(one.eligible_leader_ids),
        replica_log_ends={each.node_id: each.log_end_offset for each in one.replica_logs},
    )


def resolved_of(row: log.Resolved) -> Resolved:
    """Return a place as a value; raises the TidelogError that stands in its stead."""
    if row.HasField("error"):
        raise failure_of_row(row.error).error
    return Resolved(
        partition=TopicPartition(row.partition.topic, row.partition.partition),
        offset=row.offset if row.WhichOneof("at") == "offset" else "end",
        time=datetime_of_timestamp(row.time) if row.HasField("time") else None,
        truncated=row.truncated,
        log_start_offset=row.log_start_offset,
        high_watermark=row.high_watermark,
        last_stable_offset=row.last_stable_offset,
        closed_time=datetime_of_timestamp(row.closed_time),
    )


def _resource(topic: str) -> configs.ConfigResource:
    return configs.ConfigResource(type=configs.ConfigResource.TYPE_TOPIC, name=topic)
