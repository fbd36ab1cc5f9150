"""What this node's partitions ask of the controller: who is in sync, and whom they answer for.

It is `cluster.shell.replica_port.ReplicaController`. Proposals gather while others are on their
way, and one frame at a time is on its way. A proposal is asked again until it has its answer, or
until the row that it rests on is another one: then it has it by the metadata, whatever became of
the frames that were lost. A row that was changed meanwhile is no refusal either: the metadata bring
the change. So a refusal is told only where the row is still the one that was proposed on, which no
copy of the proposal can have been taken for, nor can an earlier one that is still on its way: it is
ahead on the same link, or that link has ended, or its reader leads no more.

A member that stays in sync and has not spoken to this leader goes under its registration in this
node's metadata. Where that is out of date, the row may be, too: the controller refuses it, and once
the metadata have come it is named anew.

What the replicas want said that they answer for is said once; they say it again.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from cluster.controller.isr import (
    AlterIsr,
    AnswerForUnclean,
    IsrAnswer,
    IsrProposal,
    IsrVerdict,
    RowVersion,
)
from cluster.shell.controller_calls import AGAIN_MS, ControllerCalls
from cluster.shell.controller_client import ANSWER_MS, ControllerClient
from cluster.shell.controller_doors import Bell, ControllerDoors, pause
from model.errors import RequestError
from model.ids import PartitionId

RowT = TypeVar("RowT")
ROWS_MAX: Final = 10_000
"""Of one frame."""


class IsrController:
    """See the module. Loop only."""

    def __init__(
        self,
        doors: ControllerDoors,
        calls: ControllerCalls,
        client: ControllerClient,
        *,
        refused: Callable[[PartitionId, int], None],
    ) -> None:
        """`refused`: `ReplicaStreams.isr_refused`."""
        self._doors = doors
        self._calls = calls
        self._client = client
        self._refused = refused
        self._proposals: dict[PartitionId, IsrProposal] = {}
        self._answers: dict[PartitionId, RowVersion] = {}
        self._bell = Bell()

    def start(self) -> None:
        """Begin to ask; the node is registered."""
        self._doors.spawn.start(self._run(), "in-sync replicas")

    # cluster.shell.replica_port.ReplicaController

    def alter_isr(self, rows: Sequence[IsrProposal]) -> None:
        """Propose, once what was proposed before is answered."""
        for row in rows:
            self._proposals[_partition(row.version)] = row
        self._bell.ring()

    def answer_for(self, rows: Sequence[RowVersion]) -> None:
        """Say that all that is committed is flushed here."""
        for row in rows:
            self._answers[_partition(row)] = row
        self._bell.ring()

    def session_held(self) -> bool:
        """Tell whether the controller counts this node among the living."""
        return self._client.session_held()

    async def _run(self) -> None:
        while True:
            await self._bell.rung()
            while self._proposals or self._answers:
                if self._answers:
                    await self._answer()
                if self._proposals:
                    await self._propose()

    async def _propose(self) -> None:
        """Ask once about what has gathered; what got no answer stays."""
        asked = [row for row in _first(self._proposals) if self._stands(row.version)]
        for where in _leading(self._proposals):
            del self._proposals[where]
        if not asked:
            return
        request = AlterIsr(
            leader=self._doors.me.node,
            registration_epoch=self._client.registration_epoch,
            rows=tuple(row.naming(self._doors.quorum.image.brokers) for row in asked),
        )
        try:
            answers = await self._calls.once(request, timeout_ms=ANSWER_MS)
        except RequestError:
            for row in asked:
                self._proposals.setdefault(_partition(row.version), row)
            await pause(self._doors.clock, AGAIN_MS)
            return
        assert type(answers) is tuple, "CONTROLLER_ANSWERS_ITS_TYPES"
        for row, answer in zip(asked, answers, strict=True):
            assert isinstance(answer, IsrAnswer), "CONTROLLER_ANSWERS_ITS_TYPES"
            self._told(row.version, answer)

    def _told(self, version: RowVersion, answer: IsrAnswer) -> None:
        row = answer.row
        if row is None or answer.verdict is IsrVerdict.TAKEN:
            return
        if row.partition_epoch == version.partition_epoch:
            self._refused(_partition(version), version.partition_epoch)

    async def _answer(self) -> None:
        rows = tuple(_first(self._answers))
        for where in _leading(self._answers):
            del self._answers[where]
        request = AnswerForUnclean(
            leader=self._doors.me.node,
            registration_epoch=self._client.registration_epoch,
            rows=rows,
        )
        try:
            await self._calls.once(request, timeout_ms=ANSWER_MS)
        except RequestError:
            await pause(self._doors.clock, AGAIN_MS)

    def _stands(self, version: RowVersion) -> bool:
        """Tell whether a row is still the one that was proposed on, and this node's to lead."""
        topic = self._doors.quorum.image.topics_by_id.get(version.topic_id)
        if topic is None or version.number >= len(topic.partitions):
            return False
        row = topic.partitions[version.number]
        return (
            row.leader == self._doors.me.node
            and row.leader_epoch == version.leader_epoch
            and row.partition_epoch == version.partition_epoch
        )


def _partition(version: RowVersion) -> PartitionId:
    return PartitionId(version.topic_id, version.number)


def _leading(rows: dict[PartitionId, RowT]) -> list[PartitionId]:
    return list(rows)[:ROWS_MAX]


def _first(rows: dict[PartitionId, RowT]) -> list[RowT]:
    return [rows[where] for where in _leading(rows)]
