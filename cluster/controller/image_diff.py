"""What lies between two images of which nobody saw the steps: after a snapshot from the leader.

A listener is told of it as of one batch that changed all of it at once. A topic that was deleted
and made again under its name has another id: it is deleted and created.
"""

from cluster.controller.image import MetadataDelta, MetadataImage


def image_diff(before: MetadataImage, after: MetadataImage) -> MetadataDelta:
    """Return what to tell those who know `before`, so that they know `after`."""
    created, changed = [], []
    for topic_id, topic in after.topics_by_id.items():
        was = before.topics_by_id.get(topic_id)
        if was is None:
            created.append(topic)
        elif was != topic:
            changed.append(topic)
    brokers = (b for node, b in after.brokers.items() if before.brokers.get(node) != b)
    return MetadataDelta(
        created=tuple(created),
        changed=tuple(changed),
        deleted=tuple(t for t in before.topics_by_id if t not in after.topics_by_id),
        brokers=tuple(brokers),
        brokers_removed=tuple(node for node in before.brokers if node not in after.brokers),
    )
