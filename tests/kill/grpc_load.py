"""Load over gRPC: ProduceStream with batches stamped by their producer, sent again after a restart.

Each request holds one batch; a partition has at most five of a producer on the way, as the
protocol asks. When the stream breaks, everything that has no answer is sent again, in order.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import grpc

from tests.kill.grpc_loop import start
from tests.kill.ledger import Account, Ledger
from tests.kill.payload import STICKY, Author, Place
from tidelog.v1 import common_pb2, log_service_pb2, log_service_pb2_grpc

PER_PARTITION_MAX: Final = 5
REQUESTS_MAX: Final = 24
"""Requests of one stream on the way."""
PAUSE_S: Final = 0.02
SEQUENCES: Final = 1 << 31
OUT_OF_ORDER: Final = "OUT_OF_ORDER_SEQUENCE"
Response = log_service_pb2.ProduceStreamResponse


@dataclass(slots=True)
class _Batch:
    """One request, until it is answered."""

    number: int
    first: int
    """Sequence of its first record among all of its author's."""
    place: Place
    request: log_service_pb2.ProduceStreamRequest


@dataclass(slots=True)
class _Client:
    """One producer. Belongs to the load's loop."""

    account: Account
    producer: common_pb2.ProducerId | None = None
    unanswered: deque[_Batch] = field(default_factory=deque)
    next_sequence: Counter[Place] = field(default_factory=Counter)
    at_place: Counter[Place] = field(default_factory=Counter)
    stream: int = 0
    """Number of the stream that is open; none of an earlier one may take a batch."""
    written: int = 0
    """Requests of the stream that is open now."""
    answers: int = 0
    """Of them, those answered."""
    numbers: int = 0
    behind_refusal: set[Place] = field(default_factory=set)
    """A batch there was refused for now: those behind it cannot be taken either."""


class Resend(Exception):  # noqa: N818 - says what to do
    """The node asks to try again."""


class GrpcLoad:
    """All gRPC producers of an era."""

    def __init__(self, target: str, authors: Sequence[Author], ledger: Ledger) -> None:
        """Begin; nothing is sent before `go`."""
        self._target = target
        self._ledger = ledger
        self._clients = [_Client(ledger.account(author)) for author in authors]
        self._sending = False
        self._ended = False
        self._running = start(self._all())

    def go(self) -> None:
        """Send, as fast as answers come."""
        self._sending = True

    def pause(self) -> None:
        """Send nothing new; what was sent is still sent again."""
        self._sending = False

    def on_the_way(self) -> int:
        """Return how many records are in requests that were written and have no answer."""
        return sum(client.written - client.answers for client in self._clients) * STICKY

    def close(self) -> None:
        """End all streams."""
        self._sending, self._ended = False, True
        self._running.result()

    async def _all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for client in self._clients:
                group.create_task(self._serve(client))

    async def _serve(self, client: _Client) -> None:
        """Open one stream after the other."""
        while not self._ended:
            async with grpc.aio.insecure_channel(self._target) as channel:
                stub: Any = log_service_pb2_grpc.LogServiceStub(channel)
                try:
                    if client.producer is None and client.account.author.idempotent:
                        asked = log_service_pb2.InitProducerRequest()
                        client.producer = (await stub.InitProducer(asked)).producer
                    await self._stream(client, stub)
                except grpc.aio.AioRpcError as error:
                    if error.code() not in TRANSIENT and error.details() != BROKEN_OFF:
                        self._ledger.problem(f"a stream ended: {error.code()} {error.details()}")
                        return
                except Resend:
                    pass
            await asyncio.sleep(PAUSE_S)

    async def _stream(self, client: _Client, stub: Any) -> None:
        """Send what has no answer, then go on, until the stream breaks or the load ends."""
        client.behind_refusal.clear()
        client.written = client.answers = 0
        client.stream += 1
        call = stub.ProduceStream(self._requests(client, client.stream))
        try:
            async for response in call:
                self._answered(client, response)
        finally:
            client.stream += 1
            call.cancel()

    async def _requests(
        self, client: _Client, stream: int
    ) -> AsyncIterator[log_service_pb2.ProduceStreamRequest]:
        for batch in list(client.unanswered):
            client.written += 1
            yield batch.request
        while client.stream == stream and not self._ended:
            following = self._next(client) if self._sending else None
            if following is None:
                await asyncio.sleep(IDLE_S)
            else:
                client.written += 1
                yield following.request

    def _next(self, client: _Client) -> _Batch | None:
        """Return the next batch; None while there is enough on the way."""
        account = client.account
        place = account.author.place_of(account.sent)
        if len(client.unanswered) >= REQUESTS_MAX or client.at_place[place] >= PER_PARTITION_MAX:
            return None
        client.numbers += 1
        batch = _Batch(client.numbers, account.sent, place, self._request(client, place))
        client.unanswered.append(batch)
        client.at_place[place] += 1
        account.sent += STICKY
        return batch

    def _request(self, client: _Client, place: Place) -> log_service_pb2.ProduceStreamRequest:
        author, first = client.account.author, client.account.sent
        records = [
            common_pb2.Record(
                timestamp_ms=author.time_of(sequence),
                key=author.key_of(sequence),
                value=author.value_of(sequence),
            )
            for sequence in range(first, first + STICKY)
        ]
        batch = log_service_pb2.ProduceBatch(
            topic=place.topic, partition=place.partition, records=records
        )
        if client.producer is not None:
            base = client.next_sequence[place]
            batch.producer.producer.CopyFrom(client.producer)
            batch.producer.base_sequence = base
            client.next_sequence[place] = (base + STICKY) % SEQUENCES
        request = log_service_pb2.ProduceRequest(batches=[batch], acks=log_service_pb2.ACKS_ALL)
        return log_service_pb2.ProduceStreamRequest(correlation_id=client.numbers, produce=request)

    def _answered(self, client: _Client, response: Response) -> None:
        client.answers += 1
        batch = next(one for one in client.unanswered if one.number == response.correlation_id)
        (result,) = response.produce.results
        if result.HasField("error"):
            self._refused(client, batch, result.error)
        account = client.account
        time = result.append_time.ToMilliseconds() if result.HasField("append_time") else None
        for at in range(STICKY):
            offset = result.base_offset + at if result.HasField("base_offset") else None
            self._ledger.ack(account, batch.first + at, offset=offset, append_time=time)
        client.unanswered.remove(batch)
        client.at_place[batch.place] -= 1

    def _refused(self, client: _Client, batch: _Batch, error: common_pb2.RecordError) -> None:
        """Send again what the node could not take now; anything else breaks a promise."""
        follows = error.reason == OUT_OF_ORDER and batch.place in client.behind_refusal
        if not (error.retryable or follows):
            who = f"producer {client.account.author.number}"
            self._ledger.problem(f"{who} was refused: {error.reason} {error.message}")
            self._ended = True
        client.behind_refusal.add(batch.place)
        raise Resend


IDLE_S: Final = 0.001
BROKEN_OFF: Final = "Internal error from Core"
"""What grpc.aio itself says when the connection goes in the middle of a write."""
TRANSIENT: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})
"""The node is not there just now."""
