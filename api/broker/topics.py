"""Create, describe, grow, trim and delete topics.

Changes go through the controller quorum and are answered when this node has applied them: a topic
that was just created can be written at once.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from api.broker.context import BrokerContext
from api.broker.last_look import LastLook
from api.broker.place import Place
from api.broker.reach import check_committed
from api.broker.resolve import Resolve
from api.settings import TopicsSection
from cluster.controller.image import TopicImage
from cluster.controller.partitions import AddPartitions
from cluster.controller.topics import CreateTopic, DeleteTopic, check_not_internal
from cluster.controller.unknown_topic import unknown_id, unknown_name
from cluster.shell.hosted_partition import HostedPartition
from logstore.settled import settled_end
from model.errors import ErrorCode, RequestError
from model.ids import Offset, TopicId, TopicName
from model.principal import Principal

TRIM_LOOK_MS_MAX: Final = 10_000
"""A trim reads event times for so long, ms, over all its partitions; the rest goes unread."""


class Trimmed(NamedTuple):
    """One partition's move; `after` is None when `error` says why it did not move."""

    partition: HostedPartition
    before: Offset
    after: Offset | None
    error: RequestError | None = None


@dataclass(frozen=True, slots=True)
class Topics:
    """The use case; one for each node."""

    node: BrokerContext
    resolve: Resolve
    settings: TopicsSection
    last_look: LastLook

    def get(self, principal: Principal, name: str) -> TopicImage:
        """Return a topic.

        Raises:
            RequestError: UNKNOWN_TOPIC, with the nearest name.
        """
        del principal
        topics = self.node.quorum.image.topics
        found = topics.get(TopicName(name))
        if found is None:
            raise unknown_name(name, topics)
        return found

    def get_by_id(self, principal: Principal, topic_id: TopicId) -> TopicImage:
        """Return a topic by its id.

        Raises:
            RequestError: UNKNOWN_TOPIC.
        """
        del principal
        found = self.node.quorum.image.topics_by_id.get(topic_id)
        if found is None:
            raise unknown_id(topic_id)
        return found

    def every(self, principal: Principal) -> Sequence[TopicImage]:
        """Return every topic, by name."""
        del principal
        return sorted(self.node.quorum.image.topics.values(), key=lambda topic: topic.name)

    async def create(
        self, principal: Principal, requests: Sequence[CreateTopic]
    ) -> list[TopicImage | RequestError]:
        """Create topics; each has its own outcome, in the order of the requests."""
        del principal
        proposals = [self._created(request) for request in requests]
        return list(await asyncio.gather(*proposals))

    async def delete(
        self, principal: Principal, requests: Sequence[DeleteTopic]
    ) -> list[TopicImage | RequestError]:
        """Delete topics and their records; each has its own outcome."""
        del principal

        async def one(request: DeleteTopic) -> TopicImage | RequestError:
            try:
                return await self.node.quorum.propose(request)
            except RequestError as refusal:
                return refusal

        return list(await asyncio.gather(*(one(request) for request in requests)))

    async def ensure(
        self, principal: Principal, names: Sequence[str]
    ) -> list[TopicImage | RequestError]:
        """Return topics by name, and create those that do not exist where that is switched on.

        A topic that cannot be had has its own refusal: an illegal name, or UNKNOWN_TOPIC.
        """
        topics = self.node.quorum.image.topics
        missing = [name for name in dict.fromkeys(names) if name not in topics]
        refused: dict[str, RequestError] = {}
        if self.settings.auto_create and missing:
            wanted = [
                CreateTopic(name=name, partitions=self.settings.auto_create_partitions)
                for name in missing
            ]
            for name, outcome in zip(missing, await self.create(principal, wanted), strict=True):
                if isinstance(outcome, RequestError):
                    refused[name] = outcome
        return [self._found(principal, name, refused.get(name)) for name in names]

    def _found(
        self, principal: Principal, name: str, refusal: RequestError | None
    ) -> TopicImage | RequestError:
        """Return a topic; another client may have created it while ours was refused."""
        try:
            return self.get(principal, name)
        except RequestError as unknown:
            return refusal or unknown

    async def add_partitions(self, principal: Principal, request: AddPartitions) -> TopicImage:
        """Grow a topic.

        Raises:
            RequestError: UNKNOWN_TOPIC, INVALID_PARTITION_COUNT, LIMIT_EXCEEDED.
        """
        del principal
        topic = await self.node.quorum.propose(request)
        if not request.validate_only:
            await self._ready(topic)
        return topic

    async def trim(
        self,
        principal: Principal,
        partitions: Sequence[HostedPartition],
        before: Place,
        *,
        validate_only: bool = False,
    ) -> list[Trimmed]:
        """Move log starts forward to a place: records below it are gone when this answers.

        A place at the end means the high watermark; never beyond it (OFFSET_NOT_AVAILABLE, of what
        is there; OFFSET_OUT_OF_RANGE). Segments that go are read for their event times before
        (`LastLook`), if there is time and room. A row that did not move, or of which nobody knows
        whether it stays so (STORAGE_ERROR, SHUTTING_DOWN), says why; it refuses no other one.
        One of Tidelog's own topics is refused: POLICY_VIOLATION.
        """
        rows: list[Trimmed] = []
        for partition in partitions:
            start = partition.log_start
            try:
                check_not_internal(partition.topic, "is trimmed by the node alone")
                found = await self.resolve(principal, partition, before)
                end = found.high_watermark if found.offset is None else found.offset
                check_committed(partition, end, mark=found.high_watermark)
            except RequestError as refusal:
                rows.append(Trimmed(partition, start, None, refusal))
                continue
            rows.append(Trimmed(partition, start, max(start, end)))
        if validate_only:
            return [_unless_deleted(row) for row in rows]
        until = self.node.clock.monotonic_ms() + TRIM_LOOK_MS_MAX
        rows = [await self._moved(row, until) for row in rows]
        if not any(_moves(row) for row in rows):
            return rows
        try:
            await self.node.writer.checkpointed()
        except RequestError as lost:
            return [_refused(row, lost) if _moves(row) else row for row in rows]
        return rows

    async def _moved(self, row: Trimmed, until_ms: int) -> Trimmed:
        """Move one log start, having looked until then; the topic may be deleted meanwhile."""
        log, clock = row.partition.log, self.node.clock
        if row.after is not None and _moves(row) and self.last_look.affordable:
            await self.last_look.take(log, row.after, lambda: clock.monotonic_ms() < until_ms)
        row = await self._settled(row)
        if row.after is not None and not row.partition.leads:
            row = _refused(row, row.partition.not_serving())
        if row.after is not None:
            log.trim(row.after)
            row.partition.begins_later()
        return row

    async def _settled(self, row: Trimmed) -> Trimmed:
        """Wait until no sync under way can lose what is to go: others may have committed it."""
        log, after = row.partition.log, row.after
        if after is not None:
            try:
                await self.node.writer.until(
                    lambda: log.deleted or not row.partition.leads or settled_end(log) >= after
                )
            except RequestError as lost:
                return _refused(row, lost)
        return _unless_deleted(row)

    async def _created(self, request: CreateTopic) -> TopicImage | RequestError:
        wanted = self.node.replicas_wanted
        if request.replication_factor is None and request.assignments is None and wanted:
            request = replace(request, replication_factor=wanted)
        try:
            topic = await self.node.quorum.propose(request)
            if not request.validate_only:
                await self._ready(topic)
        except RequestError as refusal:
            return refusal
        return topic

    async def _ready(self, topic: TopicImage) -> None:
        """Wait until every partition has its directory: it can be written from now on."""

        def made() -> bool:
            hosted = self.node.partitions.of_topic_id(topic.topic_id)
            return all(one.log.upkeep.exists for one in hosted)

        await self.node.writer.until(made)


def _moves(row: Trimmed) -> bool:
    return row.after is not None and row.after > row.before


def _refused(row: Trimmed, why: RequestError) -> Trimmed:
    return Trimmed(row.partition, row.before, None, why)


def _unless_deleted(row: Trimmed) -> Trimmed:
    """Return a row, or the refusal of one whose topic is gone: nothing of it may be kept."""
    if row.error is not None or not row.partition.log.deleted:
        return row
    name = row.partition.topic.name
    gone = RequestError(
        ErrorCode.UNKNOWN_TOPIC, f'topic "{name}" was deleted while it was trimmed', topic=name
    )
    return _refused(row, gone)
