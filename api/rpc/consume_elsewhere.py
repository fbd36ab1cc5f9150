"""A member's stream that another node serves: the one that coordinates its group.

What the client says is brought there one by one, and what it is told comes back, each as fast as
whoever takes it: one message is on its way in each direction, and nothing overtakes. Credits are
counted there. When that node is lost, or does not coordinate the group any more, the stream ends
and its client resumes; as long as it has been told nothing, another coordinator is looked for.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Final, TypeAlias

from api.broker.answer_room import room_for
from api.broker.broker import Broker
from api.broker.coordinator_moved import MOVED, coordinator_moved
from api.broker.forward import Forwarding
from api.rpc.call import Call
from api.rpc.mailbox import Mailbox
from api.rpc.pulled import UNTAKEN_MS, Pulling
from model.errors import ErrorCode, RequestError
from model.ids import GroupId, NodeId
from tidelog.v1 import group_service_pb2

CONSUME: Final = "ConsumerGroupService/Consume"
ALIVE_MS: Final = UNTAKEN_MS // 3
"""How often the other node hears that a client is there which says nothing and reads nothing."""
_WAY: Final = frozenset(
    {ErrorCode.NODE_UNREACHABLE, ErrorCode.SHUTTING_DOWN, ErrorCode.UPSTREAM_LOST}
)
"""The other node is lost, or about to be; a stream has no outcome beyond what it has told."""
WAITED_FOR: Final = MOVED | _WAY
"""Before anything was told: somebody else will coordinate the group, or this node again."""

_Request = group_service_pb2.ConsumeRequest
_Response: TypeAlias = group_service_pb2.ConsumeResponse
Requests: TypeAlias = AsyncIterator[_Request]
Send: TypeAlias = Callable[[_Response], Awaitable[None]]


class ConsumeElsewhere:
    """One client's stream. Loop only."""

    def __init__(self, broker: Broker, forwarding: Forwarding, call: Call, *, send: Send) -> None:
        """Bring nothing yet."""
        self._broker, self._forwarding, self._call = broker, forwarding, call
        self._send = send

    async def run(self, node: NodeId, first: _Request, requests: Requests) -> RequestError | None:
        """Serve the client through a node until the member has left; None: it has.

        Returns why that node would not begin, if it is worth while to ask again or another one:
        nothing was told, and nothing but `first` was taken of the client.

        Raises:
            RequestError: its refusal; COORDINATOR_NOT_AVAILABLE, the member is to resume.
        """
        stream = Pulling(self._forwarding, node, name=CONSUME, answer=_Response, call=self._call)
        begun = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            telling = tasks.create_task(self._tell(stream, first, begun))
            saying = tasks.create_task(self._say(stream, requests, begun))
            await asyncio.wait({telling, saying}, return_when=asyncio.FIRST_COMPLETED)
            failed = telling.result() if telling.done() else saying.result()
            for task in (telling, saying):
                task.cancel()
        if failed is None:
            return None
        if not begun.is_set() and failed.code in WAITED_FOR:
            return failed
        if failed.code in WAITED_FOR or failed.code is ErrorCode.REQUEST_TIMED_OUT:
            raise coordinator_moved(GroupId(first.join.group)) from failed
        raise failed

    async def _tell(
        self, stream: Pulling[_Response], first: _Request, begun: asyncio.Event
    ) -> RequestError | None:
        """Pass on what the member is told; return what ends it, None if the member has left."""
        answers = self._broker.context.answers
        try:
            async with aclosing(stream.messages(first, self._broker.context.spawn)) as messages:
                async for message in messages:
                    begun.set()
                    if message.HasField("records"):
                        async with room_for(answers, message.ByteSize()):
                            await self._send(message)
                    else:  # is small, and told in time: it keeps the membership
                        with answers.counted(message.ByteSize()):
                            await self._send(message)
        except RequestError as refusal:
            return refusal
        return None

    async def _say(
        self, stream: Pulling[_Response], requests: Requests, begun: asyncio.Event
    ) -> RequestError:
        """Bring what the client says, once it is a member there; return what ends that."""
        await begun.wait()
        heard = Mailbox[_Request | _Over](self._broker.context.clock)
        async with asyncio.TaskGroup() as tasks:
            hearing = tasks.create_task(_hear(requests, heard))
            try:
                while True:
                    said = await heard.take(ALIVE_MS)
                    if isinstance(said, _Request):
                        await stream.say(said)
                    elif said is None:
                        await stream.be_heard()
                    else:
                        await stream.finish()
            except RequestError as refusal:
                hearing.cancel()
                return refusal


class _Over:
    """The client says nothing more."""


async def _hear(requests: Requests, heard: "Mailbox[_Request | _Over]") -> None:
    async for request in requests:
        await heard.put(request)
    await heard.put(_Over())
