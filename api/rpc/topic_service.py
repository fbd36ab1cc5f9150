"""TopicService: create, describe, list, grow, trim and delete topics."""

from bisect import bisect_right
from typing import Final

from api.broker.broker import Broker
from api.broker.topics import Trimmed
from api.rpc.call import Call
from api.rpc.convert import not_built, refuse, timestamp, topic_id, uuid_text
from api.rpc.details import ErrorRows
from api.rpc.handlers import Handler, Unary
from api.rpc.places import place_of
from api.rpc.selection import all_of, check_items, hosted
from api.rpc.topic_elsewhere import partitions_elsewhere, trimmed_elsewhere
from cluster.controller.configs import TopicKind
from cluster.controller.image import PartitionImage, TopicImage
from cluster.controller.partitions import AddPartitions
from cluster.controller.topics import NO_TOPIC_ID, CreateTopic, DeleteTopic
from cluster.shell.hosted_partition import HostedPartition
from model.errors import RequestError
from model.limits import GRPC_ANSWER_BYTES_MAX, PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX
from model.names import check_topic_name
from tidelog.v1 import topic_service_pb2

_Row = topic_service_pb2.TrimTopicResponse.Trimmed

ROW_OVERHEAD_BYTES: Final = 10
"""Tag and length of a topic in a page, at most."""
_KINDS_OUT: Final = {
    TopicKind.LOG: topic_service_pb2.Topic.KIND_LOG,
    TopicKind.EVENTSTORE: topic_service_pb2.Topic.KIND_EVENTSTORE,
    TopicKind.TABLE: topic_service_pb2.Topic.KIND_TABLE,
}


class TopicService:
    """The service. Loop only."""

    def __init__(self, broker: Broker) -> None:
        """Serve a node's use cases."""
        self._broker = broker

    def handlers(self) -> dict[str, Handler]:
        """Return what serves each call."""
        return {
            "TopicService/CreateTopic": Unary(self.create_topic),
            "TopicService/GetTopic": Unary(self.get_topic, can_wait=True),
            "TopicService/ListTopics": Unary(self.list_topics, can_wait=True),
            "TopicService/AddPartitions": Unary(self.add_partitions),
            "TopicService/TrimTopic": Unary(self.trim_topic),
            "TopicService/DeleteTopic": Unary(self.delete_topic),
        }

    async def create_topic(
        self, request: topic_service_pb2.CreateTopicRequest, call: Call
    ) -> topic_service_pb2.CreateTopicResponse:
        """Create a topic; it can be written when this answers."""
        if not request.HasField("topic"):
            refuse("topic", "it is missing")
        asked = request.topic
        wanted = CreateTopic(
            name=asked.name,
            partitions=asked.partition_count or None,
            replication_factor=asked.replication_factor or None,
            config=dict(asked.config),
            kind=_kind(asked.kind),
            validate_only=request.validate_only,
        )
        (created,) = await self._broker.topics.create(call.principal, [wanted])
        if isinstance(created, RequestError):
            raise created
        return topic_service_pb2.CreateTopicResponse(topic=topic_message(created))

    async def get_topic(
        self, request: topic_service_pb2.GetTopicRequest, call: Call
    ) -> topic_service_pb2.GetTopicResponse:
        """Describe a topic with its partitions."""
        topic = self._broker.topics.get(call.principal, check_topic_name(request.name))
        message = topic_message(topic)
        here = {
            one.number: one
            for one in all_of(self._broker, topic.name)
            if not isinstance(one, RequestError)
        }
        elsewhere = await partitions_elsewhere(self._broker, topic, request, call=call)
        for row in topic.partitions:
            found, mine = elsewhere.get(row.number), here.get(row.number)
            if found is None and mine is not None and (mine.serves or row.leader is None):
                found = partition_message(mine)
            message.partitions.append(found or row_message(row))
        return topic_service_pb2.GetTopicResponse(topic=message)

    async def list_topics(
        self, request: topic_service_pb2.ListTopicsRequest, call: Call
    ) -> topic_service_pb2.ListTopicsResponse:
        """List topics by name, page by page; a page begins behind the name that its token is."""
        if not 0 <= request.page_size <= PAGE_ITEMS_MAX.value:
            refuse("page_size", f"{request.page_size} is outside 0 to {PAGE_ITEMS_MAX.value}")
        if request.page_token:
            check_topic_name(request.page_token)
        topics = [
            topic
            for topic in self._broker.topics.every(call.principal)
            if topic.name.startswith(request.name_prefix)
            and (request.include_internal or not topic.internal)
        ]
        first = bisect_right(topics, request.page_token, key=lambda topic: topic.name)
        stop = first + (request.page_size or PAGE_ITEMS_DEFAULT.value)
        page = topic_service_pb2.ListTopicsResponse()
        size_bytes = 0
        for place, topic in enumerate(topics[first:stop], start=first + 1):
            row = topic_message(topic)
            size_bytes += row.ByteSize() + ROW_OVERHEAD_BYTES
            if size_bytes > GRPC_ANSWER_BYTES_MAX.value:  # their settings may be long texts
                break
            page.topics.append(row)
            page.next_page_token = topic.name if place < len(topics) else ""
        return page

    async def add_partitions(
        self, request: topic_service_pb2.AddPartitionsRequest, call: Call
    ) -> topic_service_pb2.AddPartitionsResponse:
        """Grow a topic."""
        wanted = AddPartitions(
            name=check_topic_name(request.name),
            partitions=request.partition_count,
            validate_only=request.validate_only,
        )
        topic = await self._broker.topics.add_partitions(call.principal, wanted)
        return topic_service_pb2.AddPartitionsResponse(topic=topic_message(topic))

    async def trim_topic(
        self, request: topic_service_pb2.TrimTopicRequest, call: Call
    ) -> topic_service_pb2.TrimTopicResponse:
        """Move log starts forward; what lies below is gone when this answers."""
        if not request.HasField("before"):
            refuse("before", "it is missing: name the new log start")
        before = place_of(self._broker, "before", request.before)
        topic = self._broker.topics.get(call.principal, check_topic_name(request.name))
        numbers = dict.fromkeys(request.partitions or range(len(topic.partitions)))
        check_items("partitions", len(numbers))
        rows = await trimmed_elsewhere(self._broker, request, before, call=call, numbers=numbers)
        errors = ErrorRows()
        chosen: list[HostedPartition] = []
        for number in numbers:
            if number in rows:
                continue
            try:
                chosen.append(hosted(self._broker, request.name, number))
            except RequestError as refusal:
                rows[number] = _Row(partition=number, error=errors.row(refusal))
        trimmed = await self._broker.topics.trim(
            call.principal, chosen, before, validate_only=request.validate_only
        )
        rows |= {one.partition.number: _trimmed(one, errors) for one in trimmed}
        return topic_service_pb2.TrimTopicResponse(trimmed=[rows[number] for number in numbers])

    async def delete_topic(
        self, request: topic_service_pb2.DeleteTopicRequest, call: Call
    ) -> topic_service_pb2.DeleteTopicResponse:
        """Delete a topic and its records."""
        wanted = DeleteTopic(
            name=check_topic_name(request.name),
            topic_id=topic_id(request.topic_id) if request.topic_id else None,
            validate_only=request.validate_only,
        )
        (deleted,) = await self._broker.topics.delete(call.principal, [wanted])
        if isinstance(deleted, RequestError):
            raise deleted
        return topic_service_pb2.DeleteTopicResponse()


def topic_message(topic: TopicImage) -> topic_service_pb2.Topic:
    """Return a topic without its partitions."""
    return topic_service_pb2.Topic(
        name=topic.name,
        topic_id="" if topic.topic_id == NO_TOPIC_ID else uuid_text(topic.topic_id),
        kind=_KINDS_OUT[topic.kind],
        partition_count=len(topic.partitions),
        replication_factor=topic.replication_factor,
        config=dict(topic.config),
        create_time=timestamp(topic.created_at),
        internal=topic.internal,
    )


def partition_message(partition: HostedPartition) -> topic_service_pb2.Partition:
    """Return a partition as its leader sees it, or as a replica remembers it that has none."""
    message = row_message(partition.topic.partitions[partition.number])
    message.log_start_offset = partition.log_start
    message.high_watermark = partition.high_watermark
    message.last_stable_offset = partition.last_stable_offset
    message.size_bytes = partition.log.size_bytes
    leader = partition.replica.leader
    if leader is not None:
        message.replica_logs.extend(
            topic_service_pb2.ReplicaLog(node_id=node, log_end_offset=end)
            for node, end in leader.replica_log_ends.items()
        )
    return message


def row_message(row: PartitionImage) -> topic_service_pb2.Partition:
    """Return what the metadata say of a partition; of its log nothing is known here."""
    return topic_service_pb2.Partition(
        id=row.number,
        leader_id=row.leader,
        leader_epoch=row.leader_epoch,
        replica_ids=row.replicas,
        in_sync_replica_ids=row.isr,
        eligible_leader_ids=row.elr,
    )


def _trimmed(one: Trimmed, errors: ErrorRows) -> _Row:
    return _Row(
        partition=one.partition.number,
        before=one.before,
        after=one.after,
        error=None if one.error is None else errors.row(one.error),
    )


def _kind(kind: int) -> TopicKind | None:
    match kind:
        case topic_service_pb2.Topic.KIND_UNSPECIFIED:
            return None
        case topic_service_pb2.Topic.KIND_LOG:
            return TopicKind.LOG
        case topic_service_pb2.Topic.KIND_EVENTSTORE:
            not_built("topic.kind", "KIND_EVENTSTORE", 4)
        case topic_service_pb2.Topic.KIND_TABLE:
            not_built("topic.kind", "KIND_TABLE", 6)
        case _:
            refuse("topic.kind", f"{kind} is no kind")
