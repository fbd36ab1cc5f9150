"""The rows of one request to append, and those of its batches that other nodes are to take.

Batches for one node go there together, in their order, once all of a request have their places; so
requests that are offered one after the other keep their order there too.
"""

import asyncio
from typing import Final

from api.broker.acks import Produced
from api.broker.broker import Broker
from api.broker.forward import passing
from api.rpc.answers import check_rows, passed, read_answer
from api.rpc.call import Call
from api.rpc.convert import timestamp
from api.rpc.details import ErrorRows
from model.errors import RequestError
from model.ids import NodeId
from tidelog.v1 import log_service_pb2

PRODUCE: Final = "LogService/Produce"


class Offered:
    """A request whose batches are on their way; `answer` comes when each has its row."""

    __slots__ = ("_answer", "_errors", "_missing", "_rows", "answer")

    def __init__(
        self, request: log_service_pb2.ProduceRequest, answer: log_service_pb2.ProduceResponse
    ) -> None:
        """Expect a row for each batch; they are written into `answer`."""
        for batch in request.batches:
            row = answer.results.add()
            row.topic = batch.topic
            if batch.HasField("partition"):
                row.partition = batch.partition
        self._answer = answer
        self._rows = answer.results
        self._missing = len(self._rows)
        self._errors = ErrorRows()
        self.answer: asyncio.Future[log_service_pb2.ProduceResponse] = (
            asyncio.get_running_loop().create_future()
        )

    @property
    def places(self) -> set[tuple[str, int | None]]:
        """Return the partitions it touches; None where none was chosen."""
        return {
            (row.topic, row.partition if row.HasField("partition") else None) for row in self._rows
        }

    def chosen(self, slot: int, partition: int) -> None:
        """Note which partition the node chose for a batch."""
        self._rows[slot].partition = partition

    def done(self, slot: int, outcome: Produced | RequestError) -> None:
        """Note what became of a batch."""
        row = self._rows[slot]
        if isinstance(outcome, RequestError):
            row.error.CopyFrom(self._errors.row(outcome))
        else:
            row.duplicate = outcome.duplicate
            if outcome.base_offset is not None:
                row.base_offset = outcome.base_offset
            if outcome.append_time is not None:
                row.append_time.CopyFrom(timestamp(outcome.append_time))
        self._one_less()

    def told(self, slot: int, row: log_service_pb2.ProduceResult) -> None:
        """Take over the row that another node has made of a batch."""
        mine = self._rows[slot]
        partition = mine.partition
        mine.CopyFrom(row)
        mine.partition = partition
        self._one_less()

    def _one_less(self) -> None:
        self._missing -= 1
        if not self._missing and not self.answer.done():  # its asker may have gone
            self.answer.set_result(self._answer)

    def refuse(self, refusal: RequestError) -> None:
        """Give every batch that has no outcome the same one: the request was refused whole."""
        for slot in range(len(self._rows)):
            self.done(slot, refusal)
        if not self._rows and not self.answer.done():
            self.answer.set_result(self._answer)


class ProduceElsewhere:
    """The batches of one request that other nodes lead the partitions of."""

    __slots__ = ("_broker", "_call", "_forwarding", "_groups", "_offered", "_request")

    def __init__(
        self,
        broker: Broker,
        request: log_service_pb2.ProduceRequest,
        call: Call,
        *,
        offered: Offered,
    ) -> None:
        """Take none yet; what a node has brought goes no further."""
        self._broker, self._request, self._call = broker, request, call
        self._offered = offered
        self._forwarding = broker.context.forwarding if call.goes_on else None
        self._groups: dict[NodeId, list[tuple[int, int]]] = {}

    def takes(self, slot: int, number: int) -> bool:
        """Take a batch, with its partition, if another node leads that."""
        if self._forwarding is None:
            return False
        topic = self._request.batches[slot].topic
        leader = self._forwarding.leader_elsewhere(self._broker.image, topic, number)
        if leader is None:
            return False
        self._call.leaders.note(topic, number, leader)
        self._groups.setdefault(leader, []).append((slot, number))
        return True

    def told(self, refusal: RequestError) -> RequestError:
        """Return what the client is told of a refusal."""
        return refusal if self._forwarding is None else passing(refusal)

    def done(self, slot: int, outcome: Produced | RequestError) -> None:
        """Take the outcome of a batch that was offered here, also one that comes later."""
        told = self.told(outcome) if isinstance(outcome, RequestError) else outcome
        self._offered.done(slot, told)

    def send(self, timeout_ms: int) -> None:
        """Send what was taken."""
        for node, slots in self._groups.items():
            request = log_service_pb2.ProduceRequest(acks=self._request.acks)
            request.timeout.FromMilliseconds(timeout_ms)
            for slot, number in slots:
                batch = request.batches.add()
                batch.CopyFrom(self._request.batches[slot])
                batch.partition = number
            payload = request.SerializeToString()
            work = self._forward(node, payload, slots, timeout_ms=timeout_ms)
            self._broker.context.spawn.start(work, "produce elsewhere")

    async def _forward(
        self,
        node: NodeId,
        payload: bytes,
        slots: list[tuple[int, int]],
        *,
        timeout_ms: int,
    ) -> None:
        """Bring one request to its leader; its bytes are held until that has answered."""
        assert self._forwarding is not None, "FORWARD_IS_FORWARDED"
        try:
            with self._broker.context.memory.held(len(payload)):
                answer = await self._forwarding.call(
                    node, PRODUCE, self._call.principal, payload=payload, left_ms=timeout_ms
                )
            told = read_answer(node, log_service_pb2.ProduceResponse, answer)
            rows = check_rows(node, told.results, len(slots))
        except RequestError as refusal:
            for slot, _ in slots:
                self._offered.done(slot, self._forwarding.not_taken(refusal))
            return
        for (slot, _), row in zip(slots, rows, strict=True):
            if row.HasField("error"):
                row.error.CopyFrom(passed(row.error))
            self._offered.told(slot, row)
