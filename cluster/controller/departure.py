"""Whether a node that is asked to stop would be missed: a pure look at the metadata.

Leaderships are handed over in any case. But a node may be one of the last that keep a partition
writable, while another one, just started, is about to catch up: whoever restarts nodes one after
the other goes on as soon as the last one is ready, which says nothing of the others. So the node
waits a little for those who come.
"""

from collections.abc import Iterator

from cluster.controller.image import MetadataImage, PartitionImage, Standing
from model.ids import NodeId


def would_be_missed(image: MetadataImage, node: NodeId) -> bool:
    """Tell whether some partition takes no records without this node, and soon would again.

    A replica that is down is waited for by nobody.
    """
    coming = {
        broker.node
        for broker in image.brokers.values()
        if broker.node != node and broker.standing is Standing.RUNNING
    }
    return any(
        not coming.isdisjoint(set(row.replicas) - set(row.isr)) for row in _resting_on(image, node)
    )


def _resting_on(image: MetadataImage, node: NodeId) -> Iterator[PartitionImage]:
    """Yield the partitions that have just as many replicas in sync as they need, this one among."""
    for topic in image.topics.values():
        least = topic.settings.min_insync_replicas
        for row in topic.partitions:
            if node in row.isr and len(row.isr) == least:
                yield row
