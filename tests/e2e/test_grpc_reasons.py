"""Every reason that this release can give, given through a real channel.

The catalogue is closed. A reason is provoked here, or stands in `NOT_HERE` with why it cannot be,
or nothing in the server gives it: then it belongs to a later step.
"""

import errno
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any, Final, NamedTuple

import pytest
from grpc import StatusCode

from api.errors import grpc_status
from api.sim.disk import SimDisk
from api.sim.faults import Fault, Operation
from cluster.controller import topics as controller_topics
from cluster.replication.high_watermark import CommitRule
from logstore.batch import Stamp, seal
from logstore.log_directory import LogDirectory
from logstore.round import Round, RoundResult
from logstore.settings import Flush
from model.errors import ErrorCode
from model.limits import TOPICS_MAX
from tests.broker_node import batch_of
from tests.group_client import commit, cursor, joined
from tests.grpc_node import GrpcNode, Refused, encoded, grpc_node, plain, refusal
from tests.grpc_reading import Fetch, garbage
from tidelog.v1 import (
    cluster_service_pb2,
    common_pb2,
    config_service_pb2,
    group_service_pb2,
    log_service_pb2,
    topic_service_pb2,
)

ROOT: Final = Path(__file__).parents[2]
GetCluster = cluster_service_pb2.GetClusterRequest
GetConsumerGroup = group_service_pb2.GetConsumerGroupRequest

NOT_HERE: Final = {
    ErrorCode.FENCED_EPOCH: "only Kafka's fetch tells the asker's leader epoch",
    ErrorCode.UNKNOWN_EPOCH: "only Kafka's fetch tells the asker's leader epoch",
    ErrorCode.ACCESS_DENIED: "only Kafka's fetch can come from a follower, which is turned away",
    ErrorCode.LEADER_NOT_AVAILABLE: "only Kafka's metadata speak of partitions without a leader",
    ErrorCode.QUOTA_EXCEEDED: "nobody has a quota; its back-off is set already",
    ErrorCode.COORDINATOR_LOADING: "coordinators have read their log before a door opens",
    ErrorCode.OFFSET_NOT_AVAILABLE: "retention would have to outrun the lag table three times",
    ErrorCode.NOT_LEADER: "only among several nodes does another one lead",
    ErrorCode.NOT_COORDINATOR: "only among several nodes does another one coordinate",
    ErrorCode.COORDINATOR_NOT_AVAILABLE: "only among several nodes does a coordinator move",
    ErrorCode.NODE_UNREACHABLE: "only among several nodes is there another one to reach",
    ErrorCode.UPSTREAM_LOST: "only among several nodes is a call forwarded",
    ErrorCode.NO_QUORUM: "of one voter there is always a majority",
    ErrorCode.QUORUM_CHANGE_IN_PROGRESS: "a change of one voter is refused, or done at once",
    ErrorCode.BROKER_NOT_EMPTY: "no call removes a broker yet",
    ErrorCode.LEADERSHIP_LOST: "of one voter only a crash of its task takes the lead away",
}


class Told(NamedTuple):
    """What a client learns, from a status or from a row."""

    reason: str
    outcome: str
    retryable: bool
    metadata: dict[str, str]
    code: StatusCode | None = None
    """None: it stood in a row of a call that did not fail."""
    field: str | None = None
    retry_ms: int | None = None


async def status(call: Any) -> Told:
    return told(await refusal(call))


def told(found: Refused) -> Told:
    metadata = dict(found.info.metadata)
    return Told(
        found.reason,
        metadata["outcome"],
        metadata["retryable"] == "true",
        metadata,
        found.code,
        None if found.bad is None else found.bad.field_violations[0].field,
        None if found.retry is None else found.retry.retry_delay.ToMilliseconds(),
    )


def row(error: common_pb2.RecordError) -> Told:
    assert error.message
    assert error.metadata["outcome"] == common_pb2.Outcome.Name(error.outcome)[8:]
    retry_ms = error.retry_delay.ToMilliseconds() if error.HasField("retry_delay") else None
    return Told(
        error.reason,
        error.metadata["outcome"],
        error.retryable,
        dict(error.metadata),
        retry_ms=retry_ms,
    )


def creating(name: str, **fields: Any) -> topic_service_pb2.CreateTopicRequest:
    return topic_service_pb2.CreateTopicRequest(topic=topic_service_pb2.Topic(name=name, **fields))


class Asked:
    """A node on a simulated disk, a topic on it, and what can be broken."""

    def __init__(self, served: GrpcNode, disk: SimDisk, patch: pytest.MonkeyPatch) -> None:
        self.served = served
        self.disk = disk
        self.patch = patch

    async def produced(self, batch: log_service_pb2.ProduceBatch, **fields: Any) -> Told:
        (result,) = await self.served.produce("orders", batch, **fields)
        return row(result.error)

    async def stamped(self, *sequences: tuple[int, int]) -> Told:
        """Append batches of one record of one producer, by epoch and sequence; tell of the last."""
        results = [
            await self.served.produce(
                "orders", encoded(batch_of([b"v"], producer=(7, epoch, sequence)))
            )
            for epoch, sequence in sequences
        ]
        return row(results[-1][0].error)

    async def created(self, name: str, **fields: Any) -> Told:
        return await status(self.served.topics.CreateTopic(creating(name, **fields)))

    async def fetched(self, topic: str, offset: int = 0, partition: int = 0) -> Told:
        cursor = common_pb2.Cursor(topic=topic, partition=partition, offset=offset)
        (found,) = (await self.served.logs.Fetch(Fetch(cursors=[cursor]))).results
        return row(found.error)


async def invalid_request(asked: Asked) -> Told:
    return await status(asked.served.logs.Produce(log_service_pb2.ProduceRequest()))


async def corrupt_log(asked: Asked) -> Told:
    await asked.served.produce("orders", encoded(garbage()))
    return await asked.fetched("orders")


async def unsupported_compression(asked: Asked) -> Told:
    return await asked.produced(
        encoded(seal([b"body"], Stamp(), records=1, times=(0, 0), attributes=5))
    )


async def not_enough_replicas(asked: Asked) -> Told:
    partition = asked.served.node.broker.partition("orders", 0)
    rule = CommitRule(flush=Flush.QUORUM, min_insync_replicas=2, replica_lag_ms_max=1)
    now = asked.served.node.broker.context.clock.monotonic_ms()
    partition.changed(partition.topic, rule, now)
    return await asked.produced(plain(b"a"))


async def request_timed_out(asked: Asked) -> Told:
    may_write = Event()
    run_round = LogDirectory.run_round

    def held(directory: LogDirectory, work: Round) -> RoundResult:
        may_write.wait()
        return run_round(directory, work)

    asked.patch.setattr(LogDirectory, "run_round", held)
    try:
        return await asked.produced(plain(b"a"), timeout={"nanos": 5_000_000})
    finally:
        may_write.set()


async def storage_error(asked: Asked) -> Told:
    asked.disk.faults.add(Fault(Operation.SYNC, "journal", errno.EIO))
    told = await asked.produced(plain(b"a"))
    asked.served.failures.clear()
    return told


async def disk_full(asked: Asked) -> Told:
    before, asked.disk.capacity_bytes = asked.disk.capacity_bytes, 1
    directory = asked.served.node.directory
    directory.poll_free(directory.mark_space())
    told = await asked.produced(plain(b"a"))
    asked.disk.capacity_bytes = before
    return told


async def overloaded(asked: Asked) -> Told:
    with asked.served.node.memory.held(1 << 40):
        return await status(
            asked.served.logs.Produce(log_service_pb2.ProduceRequest(batches=[plain(b"a")]))
        )


async def limit_exceeded(asked: Asked) -> Told:
    few = replace(TOPICS_MAX, value=1)
    asked.patch.setattr(controller_topics, "TOPICS_MAX", few)
    return await asked.created("another")


async def etag_mismatch(asked: Asked) -> Told:
    resource = config_service_pb2.ConfigResource(
        type=config_service_pb2.ConfigResource.TYPE_TOPIC, name="orders"
    )
    change = config_service_pb2.UpdateConfigRequest(
        resource=resource, set={"retention.ms": "1"}, etag="another"
    )
    return await status(asked.served.configs.UpdateConfig(change))


async def wrong_cluster(asked: Asked) -> Told:
    elsewhere = (("tidelog-cluster-id", "elsewhere"),)
    return await status(asked.served.clusters.GetCluster(GetCluster(), metadata=elsewhere))


async def shutting_down(asked: Asked) -> Told:
    await asked.served.door.drain()
    return await status(asked.served.clusters.GetCluster(GetCluster()))


async def internal(asked: Asked) -> Told:
    def broken(*_: object) -> object:
        raise ZeroDivisionError

    asked.patch.setattr(asked.served.node.broker, "cluster", broken)
    return await status(asked.served.clusters.GetCluster(GetCluster()))


async def group_not_empty(asked: Asked) -> Told:
    await joined(asked.served, "g", "orders")
    delete = group_service_pb2.DeleteConsumerGroupRequest(name="g")
    return await status(asked.served.groups.DeleteConsumerGroup(delete))


async def unknown_member(asked: Asked) -> Told:
    member = await joined(asked.served, "g", "orders")
    await member.leave()
    resumed = member.resumed()
    await resumed.say(join=resumed.join)
    return told(await resumed.refused())


async def stale_member_epoch(asked: Asked) -> Told:
    older = await joined(asked.served, "g", "orders")
    await older.resumed().begin()
    return told(await older.refused())


async def fenced_instance(asked: Asked) -> Told:
    older = await joined(asked.served, "g", "orders", instance_id="one")
    await joined(asked.served, "g", "orders", instance_id="one")
    return told(await older.refused())


async def offset_metadata_too_large(asked: Asked) -> Told:
    (result,) = await commit(asked.served, "g", cursor("orders", 0, 0, metadata="m" * 4_097))
    return row(result.error)


async def no_eligible_leader(asked: Asked) -> Told:
    request = cluster_service_pb2.TransferLeadershipRequest(target_id=7)
    request.partitions.add(topic="orders")
    (result,) = (await asked.served.clusters.TransferLeadership(request)).results
    return row(result.error)


def added_voter(node: int) -> Callable[[Asked], Awaitable[Told]]:
    request = cluster_service_pb2.AddVoterRequest(node_id=node)
    return lambda asked: status(asked.served.clusters.AddVoter(request))


def removed_voter(node: int) -> Callable[[Asked], Awaitable[Told]]:
    request = cluster_service_pb2.RemoveVoterRequest(node_id=node)
    return lambda asked: status(asked.served.clusters.RemoveVoter(request))


Provoke = Callable[[Asked], Awaitable[Told]]
PROVOKED: Final[dict[ErrorCode, Provoke]] = {
    ErrorCode.INVALID_REQUEST: invalid_request,
    ErrorCode.INVALID_TOPIC_NAME: lambda asked: asked.created("a/b"),
    ErrorCode.INVALID_PARTITION_COUNT: lambda asked: asked.created("new", partition_count=1_001),
    ErrorCode.INVALID_REPLICATION_FACTOR: lambda asked: asked.created("new", replication_factor=2),
    ErrorCode.INVALID_CONFIG: lambda asked: asked.created("new", config={"retention": "1"}),
    ErrorCode.RECORD_TOO_LARGE: lambda asked: asked.produced(plain(bytes(1 << 20))),
    ErrorCode.TIMESTAMP_OUT_OF_RANGE: lambda asked: asked.produced(plain(b"a", time=-2)),
    ErrorCode.UNSUPPORTED_COMPRESSION: unsupported_compression,
    ErrorCode.CORRUPT_BATCH: lambda asked: asked.produced(encoded(batch_of([b"a"])[:-1])),
    ErrorCode.CORRUPT_LOG: corrupt_log,
    ErrorCode.UNKNOWN_TOPIC: lambda asked: asked.fetched("ordres"),
    ErrorCode.UNKNOWN_PARTITION: lambda asked: asked.fetched("orders", partition=9),
    ErrorCode.TOPIC_ALREADY_EXISTS: lambda asked: asked.created("orders"),
    ErrorCode.POLICY_VIOLATION: lambda asked: asked.created("__ours"),
    ErrorCode.OFFSET_OUT_OF_RANGE: lambda asked: asked.fetched("orders", 99),
    ErrorCode.NOT_ENOUGH_REPLICAS: not_enough_replicas,
    ErrorCode.REQUEST_TIMED_OUT: request_timed_out,
    ErrorCode.STORAGE_ERROR: storage_error,
    ErrorCode.DISK_FULL: disk_full,
    ErrorCode.OVERLOADED: overloaded,
    ErrorCode.LIMIT_EXCEEDED: limit_exceeded,
    ErrorCode.DUPLICATE_SEQUENCE: lambda asked: asked.stamped(
        *((0, number) for number in range(7)), (0, 0)
    ),
    ErrorCode.OUT_OF_ORDER_SEQUENCE: lambda asked: asked.stamped((0, 0), (0, 2)),
    ErrorCode.UNKNOWN_PRODUCER_ID: lambda asked: asked.stamped((0, 5)),
    ErrorCode.PRODUCER_FENCED: lambda asked: asked.stamped((3, 0), (2, 0)),
    ErrorCode.ETAG_MISMATCH: etag_mismatch,
    ErrorCode.WRONG_CLUSTER: wrong_cluster,
    ErrorCode.NOT_IMPLEMENTED: lambda asked: asked.created(
        "new", kind=topic_service_pb2.Topic.KIND_EVENTSTORE
    ),
    ErrorCode.UNKNOWN_GROUP: lambda asked: status(
        asked.served.groups.GetConsumerGroup(GetConsumerGroup(name="ordres"))
    ),
    ErrorCode.GROUP_NOT_EMPTY: group_not_empty,
    ErrorCode.UNKNOWN_MEMBER: unknown_member,
    ErrorCode.STALE_MEMBER_EPOCH: stale_member_epoch,
    ErrorCode.FENCED_INSTANCE: fenced_instance,
    ErrorCode.OFFSET_METADATA_TOO_LARGE: offset_metadata_too_large,
    ErrorCode.NO_ELIGIBLE_LEADER: no_eligible_leader,
    ErrorCode.UNKNOWN_BROKER: added_voter(7),
    ErrorCode.DUPLICATE_VOTER: added_voter(0),
    ErrorCode.UNKNOWN_VOTER: removed_voter(7),
    ErrorCode.SHUTTING_DOWN: shutting_down,
    ErrorCode.INTERNAL: internal,
}

SAID: Final = {
    ErrorCode.UNKNOWN_TOPIC: {"topic": "ordres", "did_you_mean": "orders"},
    ErrorCode.UNKNOWN_PARTITION: {"topic": "orders", "partition": "9", "partitions": "1"},
    ErrorCode.OFFSET_OUT_OF_RANGE: {"log_start_offset": "0", "high_watermark": "0", "offset": "99"},
    ErrorCode.WRONG_CLUSTER: {"wanted": "elsewhere"},
    ErrorCode.NOT_IMPLEMENTED: {"field": "topic.kind", "step": "4"},
    ErrorCode.NOT_ENOUGH_REPLICAS: {"in_sync": "1", "min_insync_replicas": "2"},
    ErrorCode.CORRUPT_LOG: {"offset": "0", "next_offset": "1"},
}
"""Metadata that clients act on, beside the two verdicts."""

WAIT_MS: Final = {ErrorCode.OVERLOADED: 100, ErrorCode.SHUTTING_DOWN: 0}


@pytest.mark.parametrize("code", PROVOKED, ids=lambda code: code.name)
async def test_a_reason_comes_with_its_outcome_and_details(
    code: ErrorCode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SimDisk()
    async with grpc_node(tmp_path, disk=disk) as served:
        await served.create("orders")
        with monkeypatch.context() as patch:
            told = await PROVOKED[code](Asked(served, disk, patch))
    assert told.reason == code.name
    assert told.outcome == code.outcome.name
    assert told.retryable is code.retryable
    assert told.code in {None, grpc_status(code)}
    assert told.metadata.items() >= SAID.get(code, {}).items()
    assert told.retry_ms == WAIT_MS.get(code)
    if told.code is StatusCode.INVALID_ARGUMENT and code is ErrorCode.INVALID_REQUEST:
        assert told.field == "batches"


def test_no_other_reason_is_given_by_this_release() -> None:
    """Whoever makes the server give another one has to provoke it here."""
    assert not PROVOKED.keys() & NOT_HERE.keys()
    named: set[str] = set()
    for package in ("logstore", "cluster", "api"):
        for path in (ROOT / package).rglob("*.py"):
            if path not in {ROOT / "api" / "errors.py"}:
                named |= set(re.findall(r"ErrorCode\.([A-Z_]+)", path.read_text()))
    unprovoked = {code.name for code in ErrorCode} - {code.name for code in (*PROVOKED, *NOT_HERE)}
    assert not named & unprovoked
