"""Telling how far recovered logs go, where an election waits for it.

The image says for which partitions: they have no leader, and this node's copy is marked unclean
with no end known. Nothing makes such a log longer or shorter until somebody leads. What was told
shows in the image; until it does it is told again.
"""

from collections.abc import Callable, Iterable
from typing import Final

from cluster.controller.image import (
    LogEnd,
    MetadataDelta,
    MetadataImage,
    PartitionImage,
    TopicImage,
)
from cluster.controller.leadership import RecoveredLog, TellRecovered
from cluster.shell.controller_calls import AGAIN_MS, ControllerCalls
from cluster.shell.controller_client import ANSWER_MS, ControllerClient
from cluster.shell.controller_doors import Bell, ControllerDoors, pause
from model.errors import RequestError
from model.ids import NodeId, PartitionId

ROWS_MAX: Final = 10_000
"""Of one frame."""


class RecoveredLogs:
    """See the module. Loop only."""

    def __init__(
        self,
        doors: ControllerDoors,
        calls: ControllerCalls,
        client: ControllerClient,
        *,
        end_of: Callable[[PartitionId], LogEnd],
    ) -> None:
        """`end_of`: where this node's log of a partition ends; an empty one for none."""
        self._doors = doors
        self._calls = calls
        self._client = client
        self._end_of = end_of
        self._wanted: dict[PartitionId, None] = {}
        self._bell = Bell()

    def start(self) -> None:
        """Begin to tell; the node is registered, and its logs are hosted."""
        quorum = self._doors.quorum
        quorum.subscribe(self._applied)
        self._look(quorum.image.topics.values())
        self._doors.spawn.start(self._run(), "recovered logs")

    def _applied(self, image: MetadataImage, delta: MetadataDelta) -> None:
        del image
        self._look((*delta.created, *delta.changed))

    def _look(self, topics: Iterable[TopicImage]) -> None:
        for topic in topics:
            for row in topic.partitions:
                if is_waited_for(row, self._doors.me.node):
                    self._wanted[PartitionId(topic.topic_id, row.number)] = None
        if self._wanted:
            self._bell.ring()

    async def _run(self) -> None:
        while True:
            await self._bell.rung()
            while logs := self._logs():
                asked = TellRecovered(
                    node=self._doors.me.node,
                    registration_epoch=self._client.registration_epoch,
                    logs=tuple(logs[:ROWS_MAX]),
                )
                try:
                    await self._calls.once(asked, timeout_ms=ANSWER_MS)
                except RequestError as refused:
                    self._doors.note("controller_not_taken", error=str(refused))
                await pause(self._doors.clock, AGAIN_MS)  # the image shows it by then

    def _logs(self) -> list[RecoveredLog]:
        """Return what is still waited for, by the newest image."""
        found = []
        for where in list(self._wanted):
            topic = self._doors.quorum.image.topics_by_id.get(where.topic)
            row = None
            if topic is not None and where.number < len(topic.partitions):
                row = topic.partitions[where.number]
            if row is None or not is_waited_for(row, self._doors.me.node):
                del self._wanted[where]
                continue
            end = self._end_of(where)
            found.append(RecoveredLog(where.topic, where.number, row.leader_epoch, end))
        return found


def is_waited_for(row: PartitionImage, node: NodeId) -> bool:
    """Tell whether an election waits to hear where this node's log ends."""
    return row.leader is None and any(
        mark.node == node and mark.recovered is None for mark in row.unclean
    )
