"""Which partitions a call names: all of some topics, and some besides."""

from collections.abc import Sequence

from api.broker.broker import Broker
from api.broker.readable import Readable
from api.rpc.convert import refuse
from cluster.controller.image import TopicImage
from cluster.controller.unknown_topic import unknown_name
from cluster.shell.hosted_partition import HostedPartition
from model.errors import RequestError
from model.ids import PartitionId, TopicId
from model.limits import CALL_ITEMS_MAX
from model.names import check_topic_name
from tidelog.v1 import common_pb2


def check_items(field: str, count: int) -> None:
    """Accept what a call names so many of.

    Raises:
        RequestError: INVALID_REQUEST, none or too many.
    """
    if not 1 <= count <= CALL_ITEMS_MAX.value:
        refuse(field, f"{count} of them; a call names 1 to {CALL_ITEMS_MAX.value}")


def check_many(field: str, count: int) -> None:
    """Accept what a call names so many of, or none.

    Raises:
        RequestError: INVALID_REQUEST, too many.
    """
    if count:
        check_items(field, count)


def hosted(broker: Broker, topic: str, number: int) -> HostedPartition:
    """Return one partition.

    Raises:
        RequestError: INVALID_TOPIC_NAME, UNKNOWN_TOPIC, UNKNOWN_PARTITION.
    """
    return broker.partition(check_topic_name(topic), number)


def topic_of(broker: Broker, topic: str) -> TopicImage:
    """Return a topic, wherever its partitions are.

    Raises:
        RequestError: INVALID_TOPIC_NAME, UNKNOWN_TOPIC.
    """
    topics = broker.image.topics
    found = topics.get(check_topic_name(topic))
    if found is None:
        raise unknown_name(topic, topics)
    return found


def all_of(broker: Broker, topic: str) -> list[HostedPartition | RequestError]:
    """Return every partition of a topic, in order: what is here, or where it is.

    Raises:
        RequestError: INVALID_TOPIC_NAME, UNKNOWN_TOPIC.
    """
    found: list[HostedPartition | RequestError] = []
    for row in topic_of(broker, topic).partitions:
        try:
            found.append(broker.partition(topic, row.number))
        except RequestError as elsewhere:
            found.append(elsewhere)
    return found


async def select(
    broker: Broker, topics: Sequence[str], partitions: Sequence[common_pb2.TopicPartition]
) -> list[HostedPartition | tuple[common_pb2.TopicPartition, RequestError]]:
    """Return every partition that is named, once, in the order of the call.

    A partition that cannot be had comes with its error; a topic that cannot fails the call, for
    there is no row to put that into. Raises:
        RequestError: INVALID_REQUEST, INVALID_TOPIC_NAME, UNKNOWN_TOPIC.
    """
    check_items("topics", len(topics) + len(partitions))
    found: dict[tuple[TopicId, int], HostedPartition] = {}
    rows: list[HostedPartition | tuple[common_pb2.TopicPartition, RequestError]] = []

    def add(partition: HostedPartition) -> None:
        key = (partition.topic.topic_id, partition.number)
        if key not in found:
            found[key] = partition
            rows.append(partition)

    for topic in topics:
        for number, one in enumerate(all_of(broker, topic)):
            if isinstance(one, RequestError):
                rows.append((common_pb2.TopicPartition(topic=topic, partition=number), one))
            else:
                add(one)
    turns = broker.turns()
    for named in partitions:
        try:
            add(hosted(broker, named.topic, named.partition))
        except RequestError as refusal:
            rows.append((named, refusal))
        await turns.give_way()
    check_items("topics", len(rows))
    return rows


def select_every(
    broker: Broker, topics: Sequence[str], partitions: Sequence[common_pb2.TopicPartition]
) -> list[Readable]:
    """Return every partition that is named, once, wherever it is, in the order of the call.

    Raises:
        RequestError: INVALID_REQUEST, INVALID_TOPIC_NAME, UNKNOWN_TOPIC, UNKNOWN_PARTITION.
    """
    check_items("topics", len(topics) + len(partitions))
    found: dict[PartitionId, Readable] = {}
    for topic in topics:
        for one in broker.every.of_topic_id(topic_of(broker, topic).topic_id):
            found.setdefault(one.id, one)
    for named in partitions:
        one = broker.every.get(check_topic_name(named.topic), named.partition)
        found.setdefault(one.id, one)
    check_items("topics", len(found))
    return list(found.values())


async def select_all(
    broker: Broker, topics: Sequence[str], partitions: Sequence[common_pb2.TopicPartition]
) -> list[HostedPartition]:
    """Return the same where any error fails the call."""
    every: list[HostedPartition] = []
    for row in await select(broker, topics, partitions):
        if isinstance(row, tuple):
            raise row[1]
        every.append(row)
    return every
