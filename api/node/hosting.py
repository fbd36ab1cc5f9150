"""What the committed metadata do to a node: topics come and go, and their files with them."""

from collections import Counter
from collections.abc import Collection
from functools import partial

from api.broker.damage import Note
from cluster.controller.image import MetadataDelta, MetadataImage
from cluster.controller.port import QuorumPort
from cluster.controller.topics import TopicRemoved
from cluster.shell.disk_writer import DiskWriter
from cluster.shell.partitions import Partitions
from logstore.log_directory import LogDirectory, Opened
from model.errors import Outcome, RequestError
from model.ids import PartitionId, TopicId
from model.ports import Spawn


class Hosting:
    """Keeps the hosted partitions as the metadata say. Loop only."""

    def __init__(
        self,
        quorum: QuorumPort,
        partitions: Partitions,
        *,
        opened: Opened,
        writer: DiskWriter,
        spawn: Spawn,
        note: Note,
    ) -> None:
        """Follow the metadata from the first image on; nothing is hosted before `begin`."""
        self._quorum = quorum
        self._partitions = partitions
        self._me = opened.identity.node
        self._directory: LogDirectory = opened.directory
        self._on_disk = opened.stray
        self._writer = writer
        self._spawn = spawn
        self._note = note
        self._watches_removals = False
        quorum.subscribe(self._apply)

    def begin(self) -> tuple[PartitionId, ...]:
        """Host what the first image says; at once when it is there.

        What was deleted while this node was down is removed: the image names it until this node has
        said that nothing of it is left, however the node has caught up. That is a committed
        decision, and an image that is behind knows of fewer of them: nothing goes that should stay.
        What no image speaks of is left alone (P46).

        Returns the partitions that have a directory and are not in the metadata.
        """
        image, directory = self._quorum.image, self._directory
        self._partitions.load(image.topics_by_id.values())
        for partition in list(directory.partitions):
            if partition.topic in image.deleted:
                directory.delete(partition)
        # A crash soon after its topic was made leaves a partition nothing but a directory.
        for partition in self._on_disk:
            if partition.topic in image.deleted:
                directory.delete_stray(partition)
        found = (*self._on_disk, *directory.partitions)
        known = image.topics_by_id.keys() | image.deleted.keys()
        self._watch_removals()
        return tuple(partition for partition in found if partition.topic not in known)

    def _apply(self, image: MetadataImage, delta: MetadataDelta) -> None:
        self._partitions.apply(image, delta)
        note = self._note
        for topic in delta.created:
            note("topic_created", topic=topic.name, partitions=len(topic.partitions))
        for topic in delta.changed:
            note("topic_changed", topic=topic.name, partitions=len(topic.partitions))
        for topic_id in delta.deleted:
            note("topic_deleted", topic_id=topic_id.hex())
        for node, topics in sorted(Counter(node for node, _ in delta.given_up).items()):
            note("removals_given_up", broker=node, topics=topics)
        # Also of a topic that came and went while this node was away, and was never in a delta.
        self._watch_removals()

    def _watch_removals(self) -> None:
        """See to it that the controller hears when no file of a deleted topic is left here."""
        if not self._watches_removals and self._awaited():
            self._watches_removals = True
            self._spawn.start(self._tell_removals(), "topics removed")

    def _awaited(self) -> list[TopicId]:
        """Return the deleted topics of which the controller waits for this node's word."""
        return list(self._quorum.image.deleted.of(self._me))

    async def _tell_removals(self) -> None:
        """Tell of each topic, not before a checkpoint has removed the last of its files.

        What cannot be told now, or may have been told, is told after the next change of the
        metadata, or the next start.
        """
        quorum = self._quorum
        try:
            while deleted := self._awaited():
                await self._writer.until(partial(self._are_removed, deleted))
                for topic_id in deleted:
                    await quorum.propose(TopicRemoved(topic_id=topic_id, node=self._me))
        except RequestError as refusal:
            if not refusal.code.retryable and refusal.code.outcome is Outcome.NOT_DONE:
                raise
        finally:
            self._watches_removals = False

    def _are_removed(self, topics: Collection[TopicId]) -> bool:
        return not any(partition.topic in topics for partition in self._directory.removing)
