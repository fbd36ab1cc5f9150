"""Appending that fails when a test says so, before anything is appended."""

from collections import deque

from api.broker.context import BrokerContext
from api.broker.encode_records import Encoded
from api.broker.produce import Acks, Done, Produce
from cluster.shell.hosted_partition import HostedPartition
from model.errors import ErrorCode, RequestError
from model.principal import Principal


class FailingProduce(Produce):
    """The use case, with refusals in front of it."""

    def __init__(self, context: BrokerContext) -> None:
        """Begin with none."""
        super().__init__(context)
        self.refusals: deque[ErrorCode] = deque()
        """Given to the next batches, one each."""

    def __call__(
        self,
        principal: Principal,
        partition: HostedPartition,
        records: memoryview | Encoded,
        *,
        acks: Acks,
        timeout_ms: int,
        done: Done,
    ) -> None:
        """Refuse the batch if that is what comes next; else append it."""
        if self.refusals:
            done(RequestError(self.refusals.popleft(), "the test wants this batch to fail"))
            return
        super().__call__(principal, partition, records, acks=acks, timeout_ms=timeout_ms, done=done)
