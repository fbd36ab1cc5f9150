"""Any bytes as the metadata records of a log entry or snapshot."""

from types import MappingProxyType

from cluster.controller.codec import decode, encode
from cluster.controller.configs import TopicKind
from cluster.controller.image import Endpoint, PartitionImage
from cluster.controller.records import (
    BrokerRegistered,
    ClusterFormed,
    MetadataRecord,
    PartitionsAdded,
    PartitionsChanged,
    ProducerIdsAllocated,
    TopicConfigured,
    TopicCreated,
    TopicDeleted,
    TopicFilesRemoved,
)
from model.errors import DirectoryRefused, MalformedError
from model.ids import (
    LeaderEpoch,
    NodeId,
    ProducerId,
    RegistrationEpoch,
    TopicId,
    TopicName,
    WallMs,
)


def samples() -> list[bytes]:
    """Return each kind of record alone, and all in a row."""
    topic = TopicId(bytes(range(16)))
    node = NodeId(0)
    rows = (PartitionImage(0, node, LeaderEpoch(1), (node,), (node,), ()),
            PartitionImage(1, None, LeaderEpoch(2), (node, NodeId(1)), (), (node,)))  # fmt: skip
    config = MappingProxyType({"retention.ms": "1000", "segment.bytes": "2048"})
    records: list[MetadataRecord] = [
        ClusterFormed(cluster_id="cluster", formed_at=WallMs(1)),
        BrokerRegistered(
            node=node, directory=bytes(16), registration_epoch=RegistrationEpoch(2), clean=True,
            endpoints=(Endpoint("kafka", "127.0.0.1", 9092),), rack="r1", version="0.1",
        ),
        TopicCreated(
            topic_id=topic, name=TopicName("orders"), kind=TopicKind.LOG, internal=False,
            created_at=WallMs(5), config_version=1, config=config, partitions=rows,
        ),
        PartitionsAdded(topic_id=topic, partitions=rows),
        PartitionsChanged(topic_id=topic, partitions=rows),
        TopicConfigured(topic_id=topic, config_version=2, config=config),
        TopicDeleted(topic_id=topic, nodes=(node,)),
        TopicFilesRemoved(topic_id=topic, node=node),
        ProducerIdsAllocated(node=node, first=ProducerId(0), count=1_000),
    ]  # fmt: skip
    return [*(encode([record]) for record in records), encode(records)]


def fuzz(data: bytes) -> None:
    """Read the records; what was read is what is written, as the same bytes if this release did."""
    try:
        records = list(decode(data))
    except (MalformedError, DirectoryRefused):
        return
    again = encode(records)
    assert list(decode(again)) == records, "not what was read"
    if len(again) == len(data):  # no record is of an older version, which is shorter
        assert again == data, "not the bytes that were read"
