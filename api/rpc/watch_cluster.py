"""WatchCluster: the whole map, then what changes; how a client learns leaders.

Who watches is told the newest, not every step on the way: however slow it is, nothing piles up for
it here. Nodes that come and go, leaders and in-sync replicas are in the metadata, so their changes
are told at once; what else makes up the health is looked at every second.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from api.broker.broker import Broker
from api.broker.news import MetadataNews
from api.rpc.call import Call
from api.rpc.cluster_messages import cluster_message
from api.rpc.guard import Guard
from api.rpc.handlers import Send
from api.rpc.nodes_of_themselves import NodesOfThemselves
from api.rpc.selection import check_many
from api.rpc.topic_service import ROW_OVERHEAD_BYTES, row_message, topic_message
from cluster.controller.image import MetadataImage, TopicImage
from model.ids import TopicName
from model.limits import GRPC_ANSWER_BYTES_MAX
from model.names import check_topic_name
from tidelog.v1 import cluster_service_pb2, topic_service_pb2

LOOK_MS: Final = 1_000
SILENT_MS_MAX: Final = 5_000
"""So often at least a client hears something."""

_Request = cluster_service_pb2.WatchClusterRequest
_Response = cluster_service_pb2.WatchClusterResponse


class WatchCluster:
    """The call. Loop only."""

    def __init__(self, broker: Broker, guard: Guard, nodes: NodesOfThemselves) -> None:
        """Serve a node's view."""
        self._broker, self._guard, self._nodes = broker, guard, nodes
        self._news = MetadataNews(broker.context)

    async def __call__(self, request: _Request, send: Send, call: Call) -> None:
        """Tell until the client has enough, or the node stops.

        Raises:
            RequestError: INVALID_REQUEST, INVALID_TOPIC_NAME; SHUTTING_DOWN.
        """
        check_many("topics", len(request.topics))
        wanted = frozenset(TopicName(check_topic_name(name)) for name in request.topics)
        clock = self._broker.context.clock
        seen: Mapping[TopicName, TopicImage] = {}
        told, told_at = b"", clock.monotonic_ms()
        await self._nodes.ask()
        while True:
            image = self._broker.image
            cluster = self._map(call)
            state = _lasting(cluster)
            topics = _chosen(image, wanted)
            news = list(_changes(seen, topics))
            gone = [name for name in seen if name not in topics]
            if state != told or news or gone or clock.monotonic_ms() - told_at >= SILENT_MS_MAX:
                for message in _messages(news):
                    message.metadata_offset = image.applied
                    if state != told:
                        message.cluster.CopyFrom(cluster)
                        told = state
                    message.deleted_topics.extend(gone)
                    gone = []
                    await self._guard.interruptible(send(message))
                told_at = clock.monotonic_ms()
            seen = topics
            self._nodes.ask_soon()
            await self._guard.interruptible(self._news.come(image, within_ms=LOOK_MS))

    def _map(self, call: Call) -> cluster_service_pb2.Cluster:
        seen = self._broker.cluster(call.principal, self._broker.endpoints, self._nodes.troubles)
        return cluster_message(seen, self._nodes.rows)


def _lasting(cluster: cluster_service_pb2.Cluster) -> bytes:
    """Return the map without what changes all the time and means nothing."""
    kept = cluster_service_pb2.Cluster()
    kept.CopyFrom(cluster)
    kept.ClearField("metadata_offset")
    for broker in kept.brokers:
        broker.ClearField("disk_used_bytes")
        broker.ClearField("disk_total_bytes")
    return kept.SerializeToString(deterministic=True)


def _chosen(image: MetadataImage, wanted: frozenset[TopicName]) -> Mapping[TopicName, TopicImage]:
    if not wanted:
        return image.topics
    return {name: topic for name, topic in image.topics.items() if name in wanted}


def _changes(
    seen: Mapping[TopicName, TopicImage], topics: Mapping[TopicName, TopicImage]
) -> Iterator[topic_service_pb2.Topic]:
    """Yield what is new or another: images share what did not change."""
    if topics is seen:
        return
    for name, topic in topics.items():
        if seen.get(name) is not topic:
            message = topic_message(topic)
            message.partitions.extend(map(row_message, topic.partitions))
            yield message


def _messages(topics: list[topic_service_pb2.Topic]) -> Iterator[_Response]:
    """Yield topics in messages that every client accepts; one message at least."""
    message, size_bytes = _Response(), 0
    for topic in topics:
        size_bytes += topic.ByteSize() + ROW_OVERHEAD_BYTES
        if message.topics and size_bytes > GRPC_ANSWER_BYTES_MAX.value // 2:
            yield message
            message, size_bytes = _Response(), topic.ByteSize() + ROW_OVERHEAD_BYTES
        message.topics.append(topic)
    yield message
