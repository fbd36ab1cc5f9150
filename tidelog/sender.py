"""Sends batches over one stream, and sends again what stayed without an answer.

One stream at a time, to any node, carries the batches of all partitions; answers come back in the
order of the requests within a partition. What is in flight when a stream breaks goes out again on
the next one, unchanged, on another node if there is one: `Lane` says what and in which order.

A node may answer, and yet reach no leader: cut off from the others, it refuses for as long as that
lasts. So a partition that is only refused makes the stream go to another node after a while.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration

from tidelog.batch import NOBODY, encode_body, seal
from tidelog.calls import INIT_PRODUCER, PRODUCE_STREAM
from tidelog.connection import Connection, Node
from tidelog.errors import CONNECTION_LOST, TIMED_OUT, OutcomeUnknown, TidelogError, error_of
from tidelog.lane import TOO_LARGE, Identity, Lane, Settled
from tidelog.outgoing import Batch, Stored
from tidelog.places import time_ms_of
from tidelog.producer_settings import BATCH_BYTES_MAX
from tidelog.types import Compression
from tidelog.v1 import common_pb2 as common
from tidelog.v1 import log_service_pb2 as log
from tidelog.wire_errors import Failure, failure_of_row, failure_of_status

if TYPE_CHECKING:
    from grpc.aio import StreamStreamCall

    ProduceCall = StreamStreamCall[log.ProduceStreamRequest, log.ProduceStreamResponse]

REQUEST_BYTES: Final = 1 << 20
"""Batches of several partitions share a request up to this size; a node takes 8 MiB."""
MESSAGE_BYTES_MAX: Final = 6 << 20
"""Of one batch: with the others of its request it still fits what a node takes."""
SERVER_WAIT_S: Final = 30
"""How long a node waits for acks before it answers REQUEST_TIMED_OUT."""
STAMPED_WAIT_S: Final = 6
"""The same for batches that bear a stamp, which may be sent again whatever became of them."""
GRACE_S: Final = 10.0
"""A node that answers nothing for so much longer is left."""
STAMPED_GRACE_S: Final = 1.5
"""The same for batches that bear a stamp, if there is another node: it may stand still, and in 10 s
writes are to be back (P51)."""
STUCK_S: Final = 3.0
"""A partition that is only refused for so long is tried through another node (P51).

Most leaders that die are replaced sooner; until then every node refuses.
"""
LEAVE_S: Final = 1.0
"""A node that is left for another one may take so long for each answer that it owes."""
IDLE_S: Final = 10.0
"""A stream with nothing to send is ended; the next batch begins another one."""

Key = tuple[str, int]
"""Topic and partition."""


class Stalled(Exception):  # noqa: N818 - says what happened
    """The node answers nothing."""


class Sender:
    """The stream of one producer and the lanes that feed it."""

    def __init__(
        self,
        connection: Connection,
        *,
        acks: log.Acks.ValueType,
        idempotent: bool,
        compression: Compression | None,
        settled: Callable[[Key, Settled], None],
        too_large: Callable[[Key, Batch], None],
    ) -> None:
        """Take how to send, and whom to tell what became of a batch, or that it was too large.

        `compression` None: plain records, which the node encodes.
        """
        self._connection = connection
        self._acks = acks
        self._idempotent = idempotent
        self._server_wait_s = STAMPED_WAIT_S if idempotent else SERVER_WAIT_S
        goes_on = idempotent and len(connection.addresses) > 1
        self._patience_s = self._server_wait_s + (STAMPED_GRACE_S if goes_on else GRACE_S)
        self._compression = compression
        self._settled = settled
        self._too_large = too_large
        self._lanes: dict[Key, Lane] = {}
        self._identity: Identity | None = None
        self._unanswered: dict[int, list[tuple[Key, Batch]]] = {}
        self._wake = asyncio.Event()
        self._closing = False
        self._over = False
        """The stream has ended; whoever writes must stop."""
        self._ended_here = False
        """It was ended from this side: then no answer is missing, and no node has failed."""
        self._progress = False
        self._refused_since: dict[Key, float] = {}
        """Partitions that this stream's node has only refused since then."""
        self._stuck: TidelogError | None = None
        """Why another node is to be tried."""
        self._next_id = 0
        self._deadline: asyncio.Timeout | None = None

    def add(self, key: Key, batch: Batch) -> None:
        """Send a batch behind the others of its partition."""
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(idempotent=self._idempotent)
        lane.add(batch)
        self._wake.set()

    def has_room(self, key: Key) -> bool:
        """Tell whether a batch of a partition would leave at once, or nearly so."""
        lane = self._lanes.get(key)
        return lane is None or lane.has_room

    def close(self) -> None:
        """End `run` once everything is settled."""
        self._closing = True
        self._wake.set()

    def fail(self, error: TidelogError) -> None:
        """Give up everything."""
        self._unanswered.clear()
        for key, lane in list(self._lanes.items()):
            self._tell(key, lane.fail(error))

    async def run(self) -> None:
        """Send until closed."""
        tries = 0
        while await self._work():
            node = await self._connection.reach()
            if node is None:
                failure: Failure | None = Failure(self._connection.unreachable())
            else:
                failure = await self._serve(node)
            if failure is None:
                tries = 0
                continue
            tries = 1 if self._progress else tries + 1
            self._progress = False
            await self._recover(failure, node, tries)

    async def _work(self) -> bool:
        """Wait for something to send; False: there will be nothing more."""
        while not any(self._lanes.values()):
            if self._closing:
                return False
            self._wake.clear()
            await self._wake.wait()
        return True

    async def _recover(self, failure: Failure, node: Node | None, tries: int) -> None:
        """Make ready to send again what a failed try left behind."""
        error = failure.error
        sent = node is not None
        self._unanswered.clear()
        self._refused_since.clear()
        self._stuck = None
        if not error.retryable:
            self.fail(error)
            return
        now_s = self._connection.clock.monotonic()
        for key, lane in list(self._lanes.items()):
            if sent:
                self._tell(key, lane.broken(error))
            self._tell(key, lane.expire(now_s, None if sent else error))
            lane.resume()  # the pause before the next stream is one for all
        if node is not None and failure.other_node:
            self._connection.leave(node)
        wait_s = self._connection.retry.wait_s(tries, self._connection.chance)
        await self._connection.clock.sleep(max(wait_s, failure.retry_after_s or 0.0))

    async def _serve(self, node: Node) -> Failure | None:
        """Send over one stream to its end; return what broke it, None if nothing did."""
        call = self._connection.pipe(node, PRODUCE_STREAM)
        self._over = self._ended_here = False
        failure: Failure | None = None
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._write(call))
                both.create_task(self._read(call))
        except* grpc.aio.AioRpcError as broken:
            status = broken.exceptions[0]
            assert isinstance(status, grpc.aio.AioRpcError)
            failure = failure_of_status(status, node.address)
        except* Stalled:
            why = self._stuck.text if self._stuck else "answers nothing"
            failure = Failure(_lost(f"{node.address}: {why}"), other_node=True)
        except* TidelogError as refused:
            error = refused.exceptions[0]
            assert isinstance(error, TidelogError)
            failure = Failure(error)
        finally:
            call.cancel()
        if failure is None and (self._unanswered or not self._ended_here):
            failure = Failure(_lost(f"{node.address} ended the stream"), other_node=True)
        if failure is None and self._stuck is not None:
            failure = Failure(self._stuck, other_node=True)
        return failure

    async def _write(self, call: "ProduceCall") -> None:
        """Send what is ready, until there is nothing for a while."""
        while not self._over and self._stuck is None:
            self._wake.clear()
            await self._identify()
            request = self._request()
            if request is not None:
                self._watch()  # also over the write: it waits while the node takes nothing
                try:
                    await call.write(request)
                except asyncio.InvalidStateError:
                    return  # it has ended; whoever reads is told why
                if len(self._unanswered) == 1:
                    self._watch(anew=True)
                continue
            if self._closing and not any(self._lanes.values()):
                break
            try:
                async with asyncio.timeout(IDLE_S):
                    await self._wake.wait()
            except TimeoutError:
                if not any(self._lanes.values()):
                    break
        self._ended_here = not self._over
        self._watch()
        await call.done_writing()

    async def _read(self, call: "ProduceCall") -> None:
        """Take answers to the end of the stream."""
        try:
            while True:
                try:
                    async with asyncio.timeout(None) as self._deadline:
                        self._watch()
                        response = await call.read()
                except TimeoutError:
                    raise Stalled from None
                if not isinstance(response, log.ProduceStreamResponse):
                    return
                self._answered(response)
        finally:
            self._over = True
            self._deadline = None  # a write that ends just now finds nothing to watch
            self._wake.set()

    def _watch(self, *, anew: bool = False) -> None:
        """Allow the node so long for the answer or the end that it owes; `anew`: from now on."""
        deadline = self._deadline
        owes = bool(self._unanswered) or self._ended_here
        if deadline is not None and owes and (anew or deadline.when() is None):
            leaves = not self._unanswered or (self._stuck is not None and self._idempotent)
            patience_s = LEAVE_S if leaves else self._patience_s
            deadline.reschedule(asyncio.get_running_loop().time() + patience_s)

    async def _identify(self) -> None:
        """Get a producer id if a batch needs one."""
        if any(lane.lacks(self._identity) for lane in self._lanes.values()):
            response = await self._connection.call(INIT_PRODUCER, log.InitProducerRequest())
            self._identity = Identity(response.producer.id, response.producer.epoch)

    def _request(self) -> log.ProduceStreamRequest | None:
        """Return the next request: a batch of each partition that may send one, up to 1 MiB.

        One that no node takes is refused here: gRPC would end the stream, and whatever else is on
        its way would have no answer.
        """
        taken: list[tuple[Key, Batch]] = []
        messages: list[log.ProduceBatch] = []
        size_bytes = 0
        for key in list(self._lanes):
            if size_bytes >= REQUEST_BYTES:
                break
            batch = self._lanes[key].take(self._identity)
            if batch is None:
                continue
            message = self._message(key, batch)
            self._lanes[key] = self._lanes.pop(key)  # behind the others next time
            if (message_bytes := message.ByteSize()) > MESSAGE_BYTES_MAX:
                self._refuse(key, batch, message_bytes)
                continue
            taken.append((key, batch))
            messages.append(message)
            size_bytes += batch.size_bytes
        if not taken:
            return None
        self._next_id += 1
        self._unanswered[self._next_id] = taken
        produce = log.ProduceRequest(
            batches=messages,
            acks=self._acks,
            timeout=Duration(seconds=self._server_wait_s),
        )
        return log.ProduceStreamRequest(correlation_id=self._next_id, produce=produce)

    def _refuse(self, key: Key, batch: Batch, message_bytes: int) -> None:
        """Answer a batch in the place of a node; what is left of it is sent in halves."""
        self._too_large(key, batch)
        error = error_of(
            TOO_LARGE,
            f"the record batch has {message_bytes} bytes, and no topic takes more than "
            f"{BATCH_BYTES_MAX}",
            metadata={"size_bytes": str(message_bytes)},
        )
        self._tell(key, self._lanes[key].answered(batch, error))
        self._wake.set()

    def _message(self, key: Key, batch: Batch) -> log.ProduceBatch:
        """Return a batch as the wire has it."""
        topic, partition = key
        if self._compression is not None:
            if batch.body is None:
                batch.body = encode_body(batch.rows, self._compression)
            encoded = seal(batch.body, batch.stamp or NOBODY)
            return log.ProduceBatch(topic=topic, partition=partition, encoded=encoded)
        message = log.ProduceBatch(topic=topic, partition=partition)
        if batch.stamp is not None:
            message.producer.producer.id = batch.stamp.producer_id
            message.producer.producer.epoch = batch.stamp.producer_epoch
            message.producer.base_sequence = batch.stamp.base_sequence
        for time_ms, record_key, value, headers in batch.rows:
            message.records.add(
                timestamp_ms=time_ms,
                key=record_key,
                value=value,
                headers=[common.Header(key=name.decode(), value=item) for name, item in headers],
            )
        return message

    def _answered(self, response: log.ProduceStreamResponse) -> None:
        """Take the answer to one request."""
        sent = self._unanswered.pop(response.correlation_id, None)
        if sent is None or len(sent) != len(response.produce.results):
            raise Stalled  # not our protocol: nothing that it says can be trusted
        self._progress = True
        for (key, batch), row in zip(sent, response.produce.results, strict=True):
            lane = self._lanes[key]
            result, retry_after_s = _result_of(row)
            if isinstance(result, TidelogError) and result.reason == TOO_LARGE:
                self._too_large(key, batch)
            self._tell(key, lane.answered(batch, result))
            if lane.paused and not lane.in_flight:
                self._pause(key, lane, retry_after_s)
            self._look_whether_stuck(key, lane, result)
        self._wake.set()

    def _look_whether_stuck(self, key: Key, lane: Lane, result: Stored | TidelogError) -> None:
        """Note whether the node gets anything stored in a partition; if not, why it is left.

        Nothing more is written to it then, and what it owes is waited for: most of that is refused
        at once, and so known not to be stored. Batches that bear a stamp are not waited for long.
        """
        if isinstance(result, Stored) or not lane:
            self._refused_since.pop(key, None)
        elif lane.paused and len(self._connection.addresses) > 1:
            now_s = self._connection.clock.monotonic()
            since_s = self._refused_since.setdefault(key, now_s)
            if now_s - since_s >= STUCK_S or result.reason == TIMED_OUT:
                self._stuck = result

    def _pause(self, key: Key, lane: Lane, retry_after_s: float | None) -> None:
        """Let a partition rest before it sends again."""
        self._tell(key, lane.expire(self._connection.clock.monotonic()))
        wait_s = self._connection.retry.wait_s(lane.tries, self._connection.chance)

        def resume() -> None:
            lane.resume()
            self._wake.set()

        asyncio.get_running_loop().call_later(max(wait_s, retry_after_s or 0.0), resume)

    def _tell(self, key: Key, settled: list[Settled]) -> None:
        for one in settled:
            self._settled(key, one)


def _result_of(row: log.ProduceResult) -> tuple[Stored | TidelogError, float | None]:
    """Return what became of a batch, and how long the node wants to be left alone."""
    if row.HasField("error"):
        failure = failure_of_row(row.error)
        return failure.error, failure.retry_after_s
    return (
        Stored(
            row.base_offset if row.HasField("base_offset") else None,
            time_ms_of(row.append_time) if row.HasField("append_time") else None,
            row.duplicate,
        ),
        None,
    )


def _lost(why: str) -> TidelogError:
    return OutcomeUnknown(why, reason=CONNECTION_LOST, outcome="unknown", retryable=True)
