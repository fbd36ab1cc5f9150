"""Append plain records: encoded once, by the node that takes the call, then as any batch."""

from collections.abc import Iterator

from api.broker.acks import Acks, Done
from api.broker.context import BrokerContext
from api.broker.encode_records import encode
from api.broker.produce import Produce
from api.broker.search import Searches
from api.broker.turns import Turns
from cluster.shell.hosted_partition import HostedPartition
from logstore.batch import Stamp
from model.errors import RequestError
from model.principal import Principal
from model.record import NewRecord


class ProduceRecords:
    """The use case; one for each node."""

    def __init__(self, context: BrokerContext, produce: Produce, searches: Searches) -> None:
        """Append through the node's own produce."""
        self._node = context
        self._produce = produce
        self._searches = searches

    async def __call__(
        self,
        principal: Principal,
        partition: HostedPartition,
        records: tuple[Iterator[NewRecord], Stamp],
        *,
        acks: Acks,
        timeout_ms: int,
        done: Done,
    ) -> None:
        """Encode and offer; returns when the batch has its turn, `done` is called once.

        A caller that cares for order awaits this before it offers the next. `done` gets what
        `Produce` says, and what the records' iterator raises.
        """
        new, stamp = records
        turns = Turns(self._node.clock, self._searches.turn)
        limit = partition.log.settings.max_message_bytes
        try:
            encoded = await encode(new, turns, stamp=stamp, limit_bytes=limit)
        except RequestError as refusal:
            done(refusal)
            return
        self._produce(principal, partition, encoded, acks=acks, timeout_ms=timeout_ms, done=done)
