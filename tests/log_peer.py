"""A peer for the SDK's tests: a log in lists behind the real gRPC surface, which fails on demand.

It is another program to the SDK, as a node is: it loses answers after it has stored what was sent,
cuts streams in the middle, and refuses. A node cannot be told to do that at a chosen moment. Where
it does answer, it answers as tidelog/v1 says; batches are read with the node's own codec.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import NoReturn
from uuid import UUID

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from api.errors import error_info_metadata, grpc_status
from logstore.batch import decode_batch, encode_batch
from model.errors import ErrorCode, RequestError
from model.record import BatchHeader, NewRecord, Record, iter_batches
from tidelog.v1 import common_pb2 as common

WINDOW = 5
EPOCH = 3
"""Leader epoch of every batch."""


@dataclass
class Stored:
    """A batch in the log."""

    records: list[Record]
    append_time_ms: int
    encoded: bytes

    @property
    def end(self) -> int:
        return int(self.records[-1].offset) + 1


@dataclass
class PeerPartition:
    """One partition: batches, and what producers have sent."""

    batches: list[Stored] = field(default_factory=list)
    log_start: int = 0
    producers: dict[tuple[int, int], deque[tuple[int, int, Stored]]] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def end(self) -> int:
        return self.batches[-1].end if self.batches else 0

    @property
    def records(self) -> list[Record]:
        return [record for batch in self.batches for record in batch.records]

    def append(
        self, rows: Sequence[NewRecord], now_ms: int, *, stamp: tuple[int, int, int], codec: int = 0
    ) -> tuple[Stored, bool]:
        """Store a batch; return it, and whether it was there already."""
        producer, sequence = stamp[:2], stamp[2]
        known = self.producers.setdefault(producer, deque(maxlen=WINDOW)) if stamp[0] >= 0 else None
        if known is not None:
            for first, count, stored in known:
                if (first, count) == (sequence, len(rows)):
                    return stored, True
            expected = known[-1][0] + known[-1][1] if known else 0
            if sequence != expected:
                raise RequestError(
                    ErrorCode.OUT_OF_ORDER_SEQUENCE, f"sequence {sequence}, expected {expected}"
                )
        encoded = bytes(
            encode_batch(
                rows, compression=codec, producer_id=stamp[0], producer_epoch=stamp[1],
                base_sequence=stamp[2], base_offset=self.end, leader_epoch=EPOCH,
            )
        )  # fmt: skip
        stored = Stored(decode_batch(memoryview(encoded)), now_ms, encoded)
        if known is not None:
            known.append((sequence, len(rows), stored))
        self.batches.append(stored)
        self.changed.set()
        self.changed = asyncio.Event()
        return stored, False


@dataclass
class Faults:
    """What goes wrong next; counted down."""

    lose_answers: int = 0
    """Produce requests that are stored and then not answered: the stream breaks."""
    answer_first: int = 0
    """Requests that are answered before the losses begin."""
    cut_after: list[int] = field(default_factory=list)
    """Each read stream is cut after so many messages of records; none: it is not."""
    refuse_reads: deque[RequestError] = field(default_factory=deque)
    """Told to the next streams that are cut, in place of a broken connection."""
    refuse_batches: deque[RequestError] = field(default_factory=deque)
    """Given to the next batches instead of storing them."""
    unanswered_refusals: deque[RequestError] = field(default_factory=deque)
    """Given to the next batches although they were stored."""
    refuse_calls: deque[RequestError] = field(default_factory=deque)
    """Given to the next calls that are no streams."""
    lose_calls: int = 0
    """Calls that take effect and then break."""


class LogPeer:
    """The state of the peer."""

    def __init__(self) -> None:
        self.topics: dict[str, list[PeerPartition]] = {}
        self.configs: dict[str, dict[str, str]] = {}
        self.ids: dict[str, UUID] = {}
        self.faults = Faults()
        self.now_ms = 1_767_225_600_000
        self.next_producer = 100
        self.batches_seen = 0
        self.max_message_bytes = 1 << 20
        self.metadata_seen: list[dict[str, str | bytes]] = []
        self.encodings_seen: list[int] = []
        self.port = 0

    def create(self, name: str, partitions: int = 1) -> list[PeerPartition]:
        self.topics[name] = [PeerPartition() for _ in range(partitions)]
        self.ids[name] = UUID(int=len(self.ids) + 1)
        self.configs[name] = {}
        return self.topics[name]

    def partition(self, topic: str, number: int) -> PeerPartition:
        if topic not in self.topics:
            raise unknown_topic(topic)
        if not 0 <= number < len(self.topics[topic]):
            raise RequestError(
                ErrorCode.UNKNOWN_PARTITION, f"{topic}/{number} does not exist", topic=topic
            )
        return self.topics[topic][number]

    def records(self, topic: str) -> list[Record]:
        return [record for partition in self.topics[topic] for record in partition.records]

    def store(
        self, topic: str, number: int, rows: Sequence[NewRecord], *, codec: int = 0
    ) -> Stored:
        """Put a batch into the log without a client."""
        return self.partition(topic, number).append(
            rows, self.now_ms, stamp=(-1, -1, -1), codec=codec
        )[0]


def unknown_topic(name: str) -> RequestError:
    return RequestError(ErrorCode.UNKNOWN_TOPIC, f'topic "{name}" does not exist', topic=name)


def rows_of_encoded(encoded: bytes) -> tuple[list[NewRecord], tuple[int, int, int], int]:
    """Return records, stamp and codec of one batch, as the node's codec reads it."""
    (batch,) = iter_batches(memoryview(encoded))
    header = BatchHeader(batch)
    rows = [NewRecord(*record[1:]) for record in decode_batch(batch)]
    stamp = (header.producer_id, header.producer_epoch, header.base_sequence)
    return rows, stamp, header.compression


def row_error(error: RequestError) -> common.RecordError:
    return common.RecordError(
        reason=error.code.name,
        message=error.detail,
        outcome=common.Outcome.Value(f"OUTCOME_{error.code.outcome.name}"),
        retryable=error.code.retryable,
        metadata=error.metadata,
    )


async def abort(
    context: "grpc.aio.ServicerContext[object, object]", error: RequestError
) -> NoReturn:
    """End a call as a node does: with a google.rpc.Status and one ErrorInfo."""
    status = Status(code=grpc_status(error.code).value[0], message=error.detail)
    detail = AnyMessage()
    detail.Pack(
        ErrorInfo(reason=error.code.name, domain="tidelog", metadata=error_info_metadata(error))
    )
    status.details.append(detail)
    await context.abort(
        grpc_status(error.code),
        error.detail,
        (("grpc-status-details-bin", status.SerializeToString()),),
    )


@asynccontextmanager
async def serving(peer: LogPeer, port: int = 0) -> AsyncIterator[str]:
    """Serve the peer on loopback; give its address."""
    from tests.log_peer_service import add_services  # noqa: PLC0415 - it needs this module

    server = grpc.aio.server()
    add_services(server, peer)
    peer.port = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield f"127.0.0.1:{peer.port}"
    finally:
        await server.stop(None)


async def any_of(events: Iterable[asyncio.Event]) -> None:
    """Wait until one is set."""
    tasks = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
