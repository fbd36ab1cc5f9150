"""One request to append: every batch is offered in order, each has its row in the answer.

Offering ends when every batch has its place in the order of its partition, or its refusal; the acks
come later. So whoever offers requests one after the other keeps their order.
"""

from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from api.broker.acks import Acks, Produced
from api.broker.broker import Broker
from api.broker.decode_records import only_key
from api.rpc.call import Call
from api.rpc.convert import duration_ms, not_built, refuse
from api.rpc.plain_records import key_of, new_records
from api.rpc.produce_elsewhere import Offered, ProduceElsewhere
from api.rpc.selection import check_items, hosted, topic_of
from cluster.shell.hosted_partition import HostedPartition
from logstore.batch import Stamp
from model.errors import RequestError
from model.record import TRANSACTIONAL
from tidelog.v1 import log_service_pb2

INT16_MAX: Final = (1 << 15) - 1
ATTRIBUTES_AT: Final = 22
"""Low byte of a batch's attributes (docs/formats/record_batch.md)."""
PRODUCER_AT: Final = 43
ROW_BYTES: Final = 256
"""Memory of one row: 110 bytes with a short name, more where it tells of a refusal."""
NO_PRODUCER: Final = b"\xff" * 8
"""-1: nobody numbered the batch."""

_ACKS: Final = {
    log_service_pb2.ACKS_UNSPECIFIED: Acks.ALL,
    log_service_pb2.ACKS_ALL: Acks.ALL,
    log_service_pb2.ACKS_LEADER: Acks.LEADER,
    log_service_pb2.ACKS_NONE: Acks.NONE,
}


def rows_bytes(rows: int) -> int:
    """Return what the rows of an answer take in memory until it is sent."""
    return rows * ROW_BYTES


class _Terms(NamedTuple):
    """What holds for every batch of a request."""

    call: Call
    acks: Acks
    timeout_ms: int


class Producing:
    """Offers requests to the broker. Loop only."""

    def __init__(self, broker: Broker) -> None:
        """Append through a node's use cases."""
        self._broker = broker

    async def offer(
        self,
        request: log_service_pb2.ProduceRequest,
        answer: log_service_pb2.ProduceResponse,
        call: Call,
    ) -> Offered:
        """Offer every batch; returns when each has its place or its refusal in `answer`.

        Raises:
            RequestError: INVALID_REQUEST, NOT_IMPLEMENTED, OVERLOADED: nothing was appended.
        """
        check_items("batches", len(request.batches))
        terms = _terms(request, call)
        offered = Offered(request, answer)
        turns = self._broker.turns()
        elsewhere = ProduceElsewhere(self._broker, request, call, offered=offered)
        with self._broker.context.memory.held(request.ByteSize()):
            for slot, batch in enumerate(request.batches):
                try:
                    await self._offer(batch, terms, offered, slot=slot, elsewhere=elsewhere)
                except RequestError as refusal:
                    offered.done(slot, elsewhere.told(refusal))
                await turns.give_way()
            elsewhere.send(terms.timeout_ms)
        return offered

    async def _offer(
        self,
        batch: log_service_pb2.ProduceBatch,
        terms: _Terms,
        offered: Offered,
        *,
        slot: int,
        elsewhere: ProduceElsewhere,
    ) -> None:
        # Taken out once: each access copies it.
        payload = batch.encoded if batch.HasField("encoded") else None
        _check_batch(batch, payload, terms.acks)
        number = batch.partition
        if not batch.HasField("partition"):
            number = await self._choose(batch, payload)
        if elsewhere.takes(slot, number):
            if payload is None:
                now = self._broker.context.clock.wall_ms()
                new_records(batch.records, now, one_key=not batch.HasField("partition"))
            offered.chosen(slot, number)
            return
        try:
            partition = hosted(self._broker, batch.topic, number)
        except RequestError as refusal:
            sent = _stamp(batch) if payload is None else memoryview(payload)
            self._broker.batch_not_found(batch.topic, number, sent, refusal=refusal)
            raise
        offered.chosen(slot, number)
        done = partial(elsewhere.done, slot)
        if payload is not None:
            self._broker.produce(
                terms.call.principal,
                partition,
                memoryview(payload),
                acks=terms.acks,
                timeout_ms=terms.timeout_ms,
                done=done,
            )
        else:
            await self._offer_plain(batch, partition, terms, done=done)

    async def _offer_plain(
        self,
        batch: log_service_pb2.ProduceBatch,
        partition: HostedPartition,
        terms: _Terms,
        *,
        done: Callable[[Produced | RequestError], None],
    ) -> None:
        now = self._broker.context.clock.wall_ms()
        records = new_records(batch.records, now, one_key=not batch.HasField("partition"))
        await self._broker.produce_records(
            terms.call.principal,
            partition,
            (records, _stamp(batch)),
            acks=terms.acks,
            timeout_ms=terms.timeout_ms,
            done=done,
        )

    async def _choose(self, batch: log_service_pb2.ProduceBatch, payload: bytes | None) -> int:
        """Return the partition of a batch that leaves it to the node."""
        topic = topic_of(self._broker, batch.topic)
        turns = self._broker.turns()
        if payload is not None:
            key = await only_key(memoryview(payload), turns)
        else:
            key = key_of(batch.records[0])
        return await self._broker.choose_partition(topic, key, turns, size_bytes=batch.ByteSize())


def _terms(request: log_service_pb2.ProduceRequest, call: Call) -> _Terms:
    if request.transactional_id:
        not_built("transactional_id", request.transactional_id, 6)
    acks = _ACKS.get(request.acks)
    if acks is None:
        refuse("acks", f"{request.acks} is no value of Acks")
    asked = duration_ms("timeout", request.timeout) if request.HasField("timeout") else None
    # Whoever asked is gone at its deadline: an ack that waits longer is kept for nobody.
    return _Terms(call, acks, min(call.wait_ms(asked), call.wait_ms(None)))


def _check_batch(batch: log_service_pb2.ProduceBatch, payload: bytes | None, acks: Acks) -> None:
    """Refuse what contradicts itself, before anything is looked up."""
    if (payload is not None) == bool(batch.records):
        refuse("batches", "exactly one of records and encoded is set, and records are not empty")
    stamped = batch.HasField("producer")
    if payload is not None:
        if stamped:
            refuse("producer", "with encoded it stays absent: the batch header carries it")
        header = payload[: PRODUCER_AT + len(NO_PRODUCER)]
        if len(header) > ATTRIBUTES_AT and header[ATTRIBUTES_AT] & TRANSACTIONAL:
            not_built("encoded", "a transactional batch", 6)
        stamped = header[PRODUCER_AT:] not in {b"", NO_PRODUCER}
        if stamped:
            _check_acks(acks)
    elif stamped:
        _check_stamp(batch.producer, acks)
    if stamped and not batch.HasField("partition"):
        refuse(
            "partition",
            "a batch with a producer's stamp names it: sequences count within one partition",
        )


def _check_acks(acks: Acks) -> None:
    if acks is not Acks.ALL:
        refuse("acks", "a batch with a producer's stamp needs ACKS_ALL")


def _check_stamp(stamp: log_service_pb2.ProducerStamp, acks: Acks) -> None:
    _check_acks(acks)
    producer = stamp.producer
    if producer.id < 0 or not 0 <= producer.epoch <= INT16_MAX or stamp.base_sequence < 0:
        refuse(
            "producer",
            f"id {producer.id}, epoch {producer.epoch}, sequence {stamp.base_sequence}: all are 0 "
            f"or more, the epoch at most {INT16_MAX}",
        )


def _stamp(batch: log_service_pb2.ProduceBatch) -> Stamp:
    if not batch.HasField("producer"):
        return Stamp()
    stamp = batch.producer
    return Stamp(stamp.producer.id, stamp.producer.epoch, stamp.base_sequence)
