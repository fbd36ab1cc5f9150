"""Ids for idempotent producers: handed out from blocks that the controller gives this node.

Invariants:
    PRODUCER_ID_FROM_BLOCK    no id leaves that the controller did not give this node.
"""

import asyncio

from api.broker.context import BrokerContext
from cluster.controller.producer_ids import AllocateProducerIds, ProducerIds
from model.errors import ErrorCode, RequestError
from model.ids import ProducerEpoch, ProducerId
from model.principal import Principal

EPOCH_MAX = (1 << 15) - 1
"""Epochs are an i16 on Kafka's wire; a producer that reaches the last one gets a new id."""


class InitProducer:
    """The use case; one for each node."""

    def __init__(self, context: BrokerContext) -> None:
        """Hold no ids yet."""
        self._node = context
        self._block = ProducerIds(ProducerId(0), 0)
        self._used = 0
        self._allocating = asyncio.Lock()

    async def __call__(
        self, principal: Principal, current: tuple[ProducerId, ProducerEpoch] | None = None
    ) -> tuple[ProducerId, ProducerEpoch]:
        """Return a new id with epoch 0, or, for a producer that has one, the next epoch of it.

        Raises:
            RequestError: INVALID_REQUEST; UNAVAILABLE reasons of the controller quorum.
        """
        del principal
        if current is not None:
            producer, epoch = current
            if producer < 0 or epoch < 0:
                raise RequestError(
                    ErrorCode.INVALID_REQUEST,
                    f"producer {producer} with epoch {epoch}: both are 0 or more, or both absent",
                    field="current",
                )
            if epoch < EPOCH_MAX:
                return producer, ProducerEpoch(epoch + 1)
        return await self._next(), ProducerEpoch(0)

    async def _next(self) -> ProducerId:
        async with self._allocating:
            if self._used == self._block.count:
                request = AllocateProducerIds(node=self._node.node)
                self._block = await self._node.quorum.propose(request)
                self._used = 0
            assert self._used < self._block.count, "PRODUCER_ID_FROM_BLOCK"
            self._used += 1
            return ProducerId(self._block.first + self._used - 1)
