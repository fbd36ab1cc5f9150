"""Who leads, by command: a leadership is handed to another replica, or forced on one that lacks.

What may be handed over, and to whom, is decided by the controller (`cluster.controller.leadership`)
and is committed when this answers. Nothing is lost by handing over. By force the records that the
chosen replica does not have are lost (P14), so what it has is told, before and after.
"""

from typing import NamedTuple

from api.broker.context import BrokerContext
from cluster.controller.image import PartitionImage
from cluster.controller.leadership import ElectUnclean, TransferLeader
from cluster.controller.unknown_topic import unknown_name
from model.errors import ErrorCode, RequestError
from model.ids import NodeId, Offset, TopicName
from model.principal import Principal


class Held(NamedTuple):
    """What a replica has of its partition."""

    log_end: Offset
    high_watermark: Offset | None
    """The last one that it remembers: below it records were acknowledged; None: of none."""


class Leaderships:
    """The use case; one for each node. Loop only."""

    def __init__(self, context: BrokerContext) -> None:
        """Ask the controller, wherever it is."""
        self._node = context

    async def transfer(
        self,
        principal: Principal,
        topic: str,
        number: int,
        *,
        to: NodeId | None,
        validate_only: bool = False,
    ) -> PartitionImage:
        """Let another in-sync replica lead; None: the preferred one. Return the row as it is then.

        `validate_only`: it is decided, and nothing changes.

        Raises:
            RequestError: UNKNOWN_TOPIC, UNKNOWN_PARTITION; NO_ELIGIBLE_LEADER, it is not in sync or
                not running; NO_QUORUM.
        """
        del principal
        if to is None:
            to = self._row(topic, number).replicas[0]
        asked = TransferLeader(topic=topic, number=number, to=to, validate_only=validate_only)
        return await self._node.quorum.propose(asked)

    async def check_unclean(
        self, principal: Principal, topic: str, number: int, *, replica: NodeId
    ) -> PartitionImage:
        """Return the row as a forced election would make it; nothing changes.

        Raises:
            RequestError: UNKNOWN_TOPIC, UNKNOWN_PARTITION; POLICY_VIOLATION, it has a leader;
                NO_ELIGIBLE_LEADER, no replica that runs; NO_QUORUM.
        """
        del principal
        asked = ElectUnclean(topic=topic, number=number, replica=replica, validate_only=True)
        return await self._node.quorum.propose(asked)

    async def elect_unclean(
        self, principal: Principal, topic: str, number: int, *, replica: NodeId
    ) -> PartitionImage:
        """Let a replica lead, whatever it lacks; return the row. Raises as `check_unclean`.

        Who has asked is logged before: also where nobody hears what became of it.
        """
        self._node.note(
            "unclean_election_asked",
            topic=topic,
            partition=number,
            leader=replica,
            client=principal.client_id or principal.name,
            host=principal.host,
        )
        asked = ElectUnclean(topic=topic, number=number, replica=replica)
        try:
            return await self._node.quorum.propose(asked)
        except RequestError as refusal:
            self._node.note(
                "unclean_election_failed",
                topic=topic,
                partition=number,
                outcome=refusal.code.outcome.value,
                why=refusal.detail,
            )
            raise

    def held(self, topic: str, number: int) -> Held:
        """Return what this node's replica has.

        Raises:
            RequestError: UNKNOWN_TOPIC, UNKNOWN_PARTITION, NOT_LEADER: none of it is here.
        """
        partition = self._node.partitions.get(topic, number)
        mark = partition.high_watermark
        known = mark > partition.log_start  # a restart may have forgotten it, and begins there
        return Held(partition.log.log_end, mark if known else None)

    def _row(self, topic: str, number: int) -> PartitionImage:
        topics = self._node.quorum.image.topics
        known = topics.get(TopicName(topic))
        if known is None:
            raise unknown_name(topic, topics)
        if not 0 <= number < len(known.partitions):
            raise RequestError(
                ErrorCode.UNKNOWN_PARTITION,
                f'topic "{topic}" has partitions 0 to {len(known.partitions) - 1}, not {number}',
                topic=topic,
                partition=str(number),
                partitions=str(len(known.partitions)),
            )
        return known.partitions[number]
