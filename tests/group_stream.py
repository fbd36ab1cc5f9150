"""A member of a group over stubs alone, with a connection of its own: for runs against a real node.

Nothing is smoothed over as the SDK does: each message is seen as it comes, a stream can be broken
or go silent at any moment, and what was said over an older one can be said again.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from grpc import StatusCode, aio

from tidelog.v1 import common_pb2, group_service_pb2, group_service_pb2_grpc
from tidelog.wire_errors import failure_of_status

# Constructors take dictionaries for messages; their stubs do not say so.
Request: Any = group_service_pb2.ConsumeRequest
Response = group_service_pb2.ConsumeResponse
CREDIT_RECORDS: Final = 5_000
CREDIT_BYTES: Final = 4 << 20
CHANNEL: Final = (
    ("grpc.use_local_subchannel_pool", 1),  # a connection of its own
    ("grpc.enable_retries", 0),
)
CLIENT_ID: Final = "tidelog-client-id"
BROKEN: Final = "BROKEN"
"""Why a stream ended without a word of the node: the connection went."""
LEFT: Final = "LEFT"


class StreamEnded(Exception):  # noqa: N818 - says what happened
    """The stream is over; `reason` is the node's, or `BROKEN`, or `LEFT`."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(f"{reason}: {text}")
        self.reason = reason


class GroupStream:
    """One Consume call; credit is given back as records are taken."""

    def __init__(self, target: str, group: str, *, client_id: str, **join: Any) -> None:
        """Connect; nothing is said before `begin`."""
        self._group = group
        join.setdefault("credit", common_pb2.Credit(records=CREDIT_RECORDS, bytes=CREDIT_BYTES))
        self._join = join
        self._channel = aio.insecure_channel(target, options=CHANNEL)
        self._writing = asyncio.Lock()  # a call takes one message at a time
        self.groups: Any = group_service_pb2_grpc.ConsumerGroupServiceStub(self._channel)
        self._call = self.groups.Consume(metadata=((CLIENT_ID, client_id),))

    async def begin(self) -> None:
        """Say Join."""
        await self.say(join=Request.Join(group=self._group, **self._join))

    async def say(self, **action: Any) -> None:
        """Write one message.

        Raises:
            StreamEnded: the stream is over.
        """
        try:
            async with self._writing:
                await self._call.write(Request(**action))
        except aio.AioRpcError as error:
            raise ended(error) from error
        except (asyncio.InvalidStateError, asyncio.CancelledError) as over:
            if not self._call.done() or _cancelling():
                raise
            raise StreamEnded(BROKEN, "the call is over") from over

    async def next(self) -> Response:
        """Return the next message.

        Raises:
            StreamEnded: the stream is over.
        """
        try:
            message = await self._call.read()
        except aio.AioRpcError as error:
            raise ended(error) from error
        except asyncio.CancelledError as over:
            if not self._call.cancelled() or _cancelling():
                raise
            raise StreamEnded(BROKEN, "the call was broken off") from over
        if message is aio.EOF:
            raise await self._end()
        assert isinstance(message, Response)
        return message

    async def taken(self, records: int, size_bytes: int) -> None:
        """Give credit back."""
        await self.say(credit=common_pb2.Credit(records=records, bytes=size_bytes))

    async def commit(self, number: int, cursors: Sequence[common_pb2.Cursor]) -> None:
        """Say Commit; its answer comes with `number`."""
        await self.say(commit=Request.Commit(correlation_id=number, cursors=cursors))

    def break_off(self) -> None:
        """Break the stream without a Leave."""
        self._call.cancel()

    async def close(self) -> None:
        """Let the connection go."""
        self._call.cancel()
        await self._channel.close()

    async def _end(self) -> StreamEnded:
        if await self._call.code() is StatusCode.OK:
            return StreamEnded(LEFT, "the node says so")
        return StreamEnded(BROKEN, str(await self._call.details()))


def _cancelling() -> bool:
    """Tell whether it is this task that is told to end, and not only its call."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def ended(error: aio.AioRpcError) -> StreamEnded:
    """Return what a status says of a stream."""
    return StreamEnded(reason_of(error), str(error.details()))


def reason_of(error: aio.AioRpcError) -> str:
    """Return the node's reason; `BROKEN` where it said nothing."""
    reason = failure_of_status(error, "the node").error.reason
    return BROKEN if reason == "CONNECTION_LOST" else reason


def cost_of(records: common_pb2.Records) -> tuple[int, int]:
    """Return what records cost of a credit: how many, and bytes."""
    batches = [batch for step in records.partitions for batch in step.batches]
    return sum(len(batch.records) for batch in batches), sum(batch.ByteSize() for batch in batches)
