"""Look at groups, delete them, delete offsets of theirs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from api.broker.context import BrokerContext
from api.broker.every_partition import EveryPartition
from api.broker.group_state import GroupState
from api.broker.group_topics import ImageTopics
from consumer_groups.machine import GroupMachine
from consumer_groups.records import GroupRecord
from consumer_groups.requests import DeleteOffsets
from consumer_groups.views import GroupSummary, GroupView, PartitionRow
from model.errors import RequestError
from model.ids import AppendTimeMs, GroupId, PartitionId
from model.names import check_topic_name
from model.principal import Principal
from model.result import Result


class GroupPage(NamedTuple):
    """Groups by name, and whether there are more behind the last one."""

    groups: Sequence[GroupSummary]
    more: bool


@dataclass(frozen=True, slots=True)
class Groups:
    """The use case; one for each node. Loop only."""

    node: BrokerContext
    partitions: EveryPartition
    state: GroupState

    async def get(self, principal: Principal, group: GroupId) -> GroupView:
        """Return a group with its members.

        Raises:
            RequestError: UNKNOWN_GROUP.
        """
        del principal
        return await self.state.read(group, lambda machine: machine.group(group))

    async def page(self, principal: Principal, *, prefix: str, after: str, limit: int) -> GroupPage:
        """Return the first groups behind a name that this node coordinates, without their members.

        Raises:
            RequestError: COORDINATOR_LOADING, it does not know all of them yet, or nobody confirms
                which they are.
        """
        del principal
        parts = await self.state.read_every(
            lambda machine: machine.list(prefix=prefix, after=after, limit=limit + 1)
        )
        found = sorted((row for part in parts for row in part), key=lambda row: row.group)
        return GroupPage(found[:limit], len(found) > limit)

    async def delete(
        self, principal: Principal, group: GroupId, *, validate_only: bool = False
    ) -> None:
        """Delete a group without members and its offsets; its settings stay.

        Raises:
            RequestError: UNKNOWN_GROUP, GROUP_NOT_EMPTY.
        """
        del principal

        def decide(machine: GroupMachine, _: AppendTimeMs) -> Result[GroupRecord, None]:
            decided = machine.delete_group(group)
            return Result((), None) if validate_only else decided

        await self.state.call(group, decide)

    async def delete_offsets(
        self,
        principal: Principal,
        group: GroupId,
        named: Sequence[tuple[str, int]],
        *,
        validate_only: bool = False,
    ) -> list[RequestError | None]:
        """Forget offsets; return what became of each partition, in order: None = forgotten.

        A row is refused with GROUP_NOT_EMPTY (a member wants the topic), UNKNOWN_TOPIC,
        UNKNOWN_PARTITION.

        Raises:
            RequestError: UNKNOWN_GROUP.
        """
        del principal
        rows: list[RequestError | None] = []
        partitions: list[PartitionId] = []
        for topic, number in named:
            try:
                partitions.append(self.partitions.get(check_topic_name(topic), number).id)
                rows.append(None)
            except RequestError as refusal:
                rows.append(refusal)
        request = DeleteOffsets(group=group, partitions=tuple(partitions))

        def decide(
            machine: GroupMachine, _: AppendTimeMs
        ) -> Result[GroupRecord, tuple[PartitionRow, ...]]:
            topics = ImageTopics(self.node.quorum.image)
            decided = machine.delete_offsets(request, topics=topics)
            return Result((), decided.response) if validate_only else decided

        decided = await self.state.call(group, decide)
        answers = iter(decided)
        return [row if row is not None else next(answers).error for row in rows]
