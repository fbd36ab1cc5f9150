"""A snapshot of the metadata: the records that bring an empty machine to an image."""

from collections.abc import Iterator
from typing import Final

from cluster.controller.image import MetadataImage
from cluster.controller.records import (
    BrokerRegistered,
    ClusterFormed,
    FeatureLevelRaised,
    GroupConfigured,
    MetadataRecord,
    ProducerIdsAllocated,
    TopicCreated,
    TopicDeleted,
    VoteWithheld,
)
from model.ids import NodeId, ProducerId

NOBODY: Final = NodeId(-1)
FIRST_LEVEL: Final = 1


def snapshot(image: MetadataImage) -> Iterator[MetadataRecord]:
    """Yield records that bring an empty machine to an image. Safe in any thread."""
    if image.cluster_id:
        yield ClusterFormed(cluster_id=image.cluster_id, formed_at=image.formed_at)
    if image.feature_level != FIRST_LEVEL:
        yield FeatureLevelRaised(level=image.feature_level)
    for broker in image.brokers.values():
        yield BrokerRegistered(
            node=broker.node,
            directory=broker.directory,
            registration_epoch=broker.registration_epoch,
            clean=True,  # what an unclean start meant stands in the rows
            endpoints=broker.endpoints,
            rack=broker.rack,
            version=broker.version,
            remembered=broker.remembered,
            incarnation=broker.incarnation,
            levels=broker.levels,
            standing=broker.standing,
        )
    for node, directory in sorted(image.votes_withheld.items()):
        yield VoteWithheld(node=node, directory=directory, withheld=True)
    for topic in image.topics.values():
        yield TopicCreated(
            topic_id=topic.topic_id,
            name=topic.name,
            kind=topic.kind,
            internal=topic.internal,
            created_at=topic.created_at,
            config_version=topic.config_version,
            config=topic.config,
            partitions=topic.partitions,
        )
    for topic_id, nodes in image.deleted.items():  # in their order: the oldest are given up
        yield TopicDeleted(topic_id=topic_id, nodes=tuple(sorted(nodes)))
    for group, config in image.group_configs.items():
        yield GroupConfigured(group=group, config=config)
    if image.next_producer_id:
        yield ProducerIdsAllocated(node=NOBODY, first=ProducerId(0), count=image.next_producer_id)
