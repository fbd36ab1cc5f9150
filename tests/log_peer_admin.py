"""The administrative half of `tests.log_peer`: topics, their settings, the cluster's map."""

# ruff: noqa: N802 - the names of the calls are the proto's
from typing import Any

import grpc.aio
from google.protobuf.timestamp_pb2 import Timestamp

from model.errors import ErrorCode, RequestError
from tests.log_peer import EPOCH, LogPeer, PeerPartition, abort, unknown_topic
from tidelog.v1 import cluster_service_pb2 as cluster
from tidelog.v1 import cluster_service_pb2_grpc as cluster_rpc
from tidelog.v1 import common_pb2 as common
from tidelog.v1 import config_service_pb2 as config
from tidelog.v1 import config_service_pb2_grpc as config_rpc
from tidelog.v1 import topic_service_pb2 as topics
from tidelog.v1 import topic_service_pb2_grpc as topics_rpc

Context = grpc.aio.ServicerContext[Any, Any]


def stamp_of(time_ms: int) -> Timestamp:
    return Timestamp(seconds=time_ms // 1000, nanos=time_ms % 1000 * 1_000_000)


async def enter(peer: LogPeer, context: Context) -> None:
    """Begin a call that is no stream: fail it if that is what comes next."""
    peer.metadata_seen.append(dict(context.invocation_metadata() or ()))
    if peer.faults.refuse_calls:
        await abort(context, peer.faults.refuse_calls.popleft())


async def leave(peer: LogPeer, context: Context) -> None:
    """End a call that took effect: break it if that is what comes next."""
    if peer.faults.lose_calls:
        peer.faults.lose_calls -= 1
        await context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")


def place_of(partition: PeerPartition, seek: common.Seek, now_ms: int) -> int | None:
    """Return the offset that a seek means; None: the end."""
    kind = seek.WhichOneof("to")
    places = {
        None: None,
        "edge": partition.log_start if seek.edge == common.EDGE_EARLIEST else None,
        "offset": seek.offset,
        "after_earliest": min(partition.log_start + seek.after_earliest, partition.end),
        "before_latest": max(partition.end - seek.before_latest, partition.log_start),
    }
    if kind in places:
        return places[kind]
    wanted_ms = now_ms - seek.ago.seconds * 1000 if kind == "ago" else seek.time.ToMilliseconds()
    for batch in partition.batches:
        for record in batch.records:
            time_ms = (
                batch.append_time_ms if seek.clock == common.CLOCK_APPEND else record.timestamp_ms
            )
            if time_ms >= wanted_ms and record.offset >= partition.log_start:
                return int(record.offset)
    return None


class PeerTopics(topics_rpc.TopicServiceServicer):
    def __init__(self, peer: LogPeer) -> None:
        self.peer = peer

    def topic(self, name: str, *, partitions: bool = False) -> topics.Topic:
        rows = self.peer.topics[name]
        topic = topics.Topic(
            name=name,
            topic_id=str(self.peer.ids[name]),
            kind=topics.Topic.KIND_LOG,
            partition_count=len(rows),
            replication_factor=1,
            config=self.peer.configs[name],
            create_time=stamp_of(self.peer.now_ms),
        )
        for number, row in enumerate(rows if partitions else ()):
            topic.partitions.add(
                id=number, leader_id=0, leader_epoch=EPOCH, replica_ids=[0],
                in_sync_replica_ids=[0], log_start_offset=row.log_start, high_watermark=row.end,
                last_stable_offset=row.end, size_bytes=sum(len(b.encoded) for b in row.batches),
            )  # fmt: skip
        return topic

    async def _known(self, name: str, context: Context) -> None:
        if name not in self.peer.topics:
            await abort(context, unknown_topic(name))

    async def CreateTopic(
        self, request: topics.CreateTopicRequest, context: Context
    ) -> topics.CreateTopicResponse:
        await enter(self.peer, context)
        name = request.topic.name
        if name in self.peer.topics:
            there = RequestError(ErrorCode.TOPIC_ALREADY_EXISTS, f'topic "{name}" exists')
            await abort(context, there)
        if request.validate_only:
            return topics.CreateTopicResponse(topic=request.topic)
        self.peer.create(name, request.topic.partition_count or 1)
        self.peer.configs[name] = dict(request.topic.config)
        await leave(self.peer, context)
        return topics.CreateTopicResponse(topic=self.topic(name, partitions=True))

    async def GetTopic(
        self, request: topics.GetTopicRequest, context: Context
    ) -> topics.GetTopicResponse:
        await enter(self.peer, context)
        await self._known(request.name, context)
        return topics.GetTopicResponse(topic=self.topic(request.name, partitions=True))

    async def ListTopics(
        self, request: topics.ListTopicsRequest, context: Context
    ) -> topics.ListTopicsResponse:
        await enter(self.peer, context)
        names = sorted(name for name in self.peer.topics if name.startswith(request.name_prefix))
        names = [name for name in names if name > request.page_token]
        page, rest = names[:2], names[2:]  # small pages: the client has to turn them
        token = page[-1] if rest else ""
        return topics.ListTopicsResponse(
            topics=[self.topic(name) for name in page], next_page_token=token
        )

    async def AddPartitions(
        self, request: topics.AddPartitionsRequest, context: Context
    ) -> topics.AddPartitionsResponse:
        await enter(self.peer, context)
        await self._known(request.name, context)
        rows = self.peer.topics[request.name]
        if not request.validate_only:
            rows += [PeerPartition() for _ in range(request.partition_count - len(rows))]
        return topics.AddPartitionsResponse(topic=self.topic(request.name, partitions=True))

    async def TrimTopic(
        self, request: topics.TrimTopicRequest, context: Context
    ) -> topics.TrimTopicResponse:
        await enter(self.peer, context)
        await self._known(request.name, context)
        response = topics.TrimTopicResponse()
        for number, row in enumerate(self.peer.topics[request.name]):
            if request.partitions and number not in request.partitions:
                continue
            found = place_of(row, request.before, self.peer.now_ms)
            after = max(row.log_start, row.end if found is None else found)
            response.trimmed.add(partition=number, before=row.log_start, after=after)
            if not request.validate_only:
                row.log_start = after
        return response

    async def DeleteTopic(
        self, request: topics.DeleteTopicRequest, context: Context
    ) -> topics.DeleteTopicResponse:
        await enter(self.peer, context)
        await self._known(request.name, context)
        if not request.validate_only:
            del self.peer.topics[request.name]
        await leave(self.peer, context)
        return topics.DeleteTopicResponse()


class PeerConfig(config_rpc.ConfigServiceServicer):
    def __init__(self, peer: LogPeer) -> None:
        self.peer = peer

    def entry(self, topic: str, name: str) -> config.ConfigEntry:
        own = self.peer.configs[topic]
        return config.ConfigEntry(
            name=name,
            value=own.get(name, "604800000"),
            source=config.ConfigEntry.SOURCE_RESOURCE
            if name in own
            else config.ConfigEntry.SOURCE_DEFAULT,
            default_value="604800000",
            documentation="How long records are kept.",
        )

    async def GetConfig(
        self, request: config.GetConfigRequest, context: Context
    ) -> config.GetConfigResponse:
        await enter(self.peer, context)
        topic = request.resource.name
        if topic not in self.peer.topics:
            await abort(context, unknown_topic(topic))
        names = {"retention.ms", *self.peer.configs[topic]}
        return config.GetConfigResponse(entries=[self.entry(topic, n) for n in sorted(names)])

    async def UpdateConfig(
        self, request: config.UpdateConfigRequest, context: Context
    ) -> config.UpdateConfigResponse:
        await enter(self.peer, context)
        topic = request.resource.name
        if topic not in self.peer.topics:
            await abort(context, unknown_topic(topic))
        before = dict(self.peer.configs[topic])
        self.peer.configs[topic].update(request.set)
        for name in request.unset:
            self.peer.configs[topic].pop(name, None)
        entries = [self.entry(topic, name) for name in [*request.set, *request.unset]]
        if request.validate_only:
            self.peer.configs[topic] = before
        return config.UpdateConfigResponse(entries=entries)


class PeerCluster(cluster_rpc.ClusterServiceServicer):
    def __init__(self, peer: LogPeer) -> None:
        self.peer = peer

    async def GetCluster(
        self, request: cluster.GetClusterRequest, context: Context
    ) -> cluster.GetClusterResponse:
        await enter(self.peer, context)
        broker = cluster.Broker(
            id=0, version="0.1.0", state=cluster.Broker.STATE_RUNNING,
            endpoints={"grpc": f"127.0.0.1:{self.peer.port}"},
        )  # fmt: skip
        return cluster.GetClusterResponse(
            cluster=cluster.Cluster(
                cluster_id="peer",
                controller_id=0,
                brokers=[broker],
                health=cluster.Health(status=cluster.Health.STATUS_HEALTHY),
                feature_level=1,
            )
        )
