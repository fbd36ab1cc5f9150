"""Which partition takes records whose producer leaves that to the node."""

from collections import OrderedDict
from typing import Final

from api.broker.turns import Turns
from cluster.controller.image import TopicImage
from model.ids import TopicId
from model.limits import MIB, TOPICS_MAX
from model.murmur2 import murmur2_steps, partition_of

STICKY_BYTES: Final = MIB
"""Records without a key go on to the next partition after so much, so that batches stay large."""


class ChoosePartition:
    """The use case; one for each node."""

    def __init__(self) -> None:
        """Begin with the first partition of every topic."""
        self._sticky: OrderedDict[TopicId, tuple[int, int]] = OrderedDict()

    async def __call__(
        self, topic: TopicImage, key: bytes | None, turns: Turns, *, size_bytes: int
    ) -> int:
        """Return a partition's number: by murmur2 of the key as Kafka does, or in turn for none."""
        if key is None:
            return self._next(topic, size_bytes)
        steps = murmur2_steps(key)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                return partition_of(done.value, len(topic.partitions))
            await turns.give_way()

    def _next(self, topic: TopicImage, size_bytes: int) -> int:
        number, sent = self._sticky.pop(topic.topic_id, (0, 0))
        if sent >= STICKY_BYTES:
            number, sent = (number + 1) % len(topic.partitions), 0
        self._sticky[topic.topic_id] = (number, sent + size_bytes)
        if len(self._sticky) > TOPICS_MAX.value:  # topics that are gone
            self._sticky.popitem(last=False)
        return number
