"""A stream of answers that another node takes, part by part: both ends of it.

    LogService/Subscribe#open   the request         -> a number for the stream
    LogService/Subscribe#next   that number         -> a byte, then the message if it says so
    LogService/Subscribe#close  that number         -> nothing

Who serves it holds one message beyond what was taken, so it goes no faster than its reader. Where
requests go on, they are said beside it (`spoken`). A stream of which nothing is heard for a while,
or whose reader's node is not connected any more, is given up.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from itertools import count
from struct import Struct
from typing import Any, Final, Generic, NamedTuple, TypeVar

from google.protobuf.message import Message

from api.broker.answer_room import AnswerRoom
from api.broker.forward import Forwarding
from api.broker.memory import MemoryBudget
from api.rpc.answers import read_answer
from api.rpc.call import Call
from api.rpc.mailbox import Mailbox
from api.rpc.spoken import ALIVE, LAST, NOT_YET, REQUEST, SAY, TAKEN, Spoken, kind_of
from model.errors import ErrorCode, RequestError
from model.ids import MonotonicMs, NodeId
from model.ports import Clock, Spawn

OPEN: Final = "#open"
NEXT: Final = "#next"
CLOSE: Final = "#close"
TAKE_MS: Final = 1_000
"""How long a reader waits for a part; an empty one says that the stream goes on."""
UNTAKEN_MS: Final = 15_000
STREAMS_MAX: Final = 10_000
_ID: Final = Struct(">Q")
_NOTHING: Final = b"\0"
"""Has come so far; the stream goes on."""
_LAST: Final = b"\1"
_MESSAGE: Final = b"\2"

MessageT = TypeVar("MessageT", bound=Message)


class _End(NamedTuple):
    """The last of a stream."""

    error: RequestError | None


class _Served:
    """One stream at the node that serves it."""

    def __init__(self, clock: Clock, spoken: Spoken | None, answers: MemoryBudget) -> None:
        self.waiting = Mailbox[bytes | _End](clock)
        self.room = AnswerRoom(answers)
        self.spoken = spoken
        self.task: asyncio.Task[None] | None = None
        self.closed = False
        self.cancel_timer: Callable[[], None] = lambda: None

    async def send(self, message: Message) -> None:
        """Hold a message until it is taken; whoever sends it has waited for room."""
        payload = message.SerializeToString(deterministic=True)
        await self.waiting.put(payload)
        self.room.count(len(payload))

    async def part(self) -> bytes:
        """Return what comes next, or that nothing has come in a while.

        Raises:
            RequestError: the stream has ended with it.
        """
        found = await self.waiting.take(TAKE_MS)
        if found is None:
            return _NOTHING
        if isinstance(found, bytes):
            self.room.clear()
            return _MESSAGE + found
        if found.error is not None:
            raise found.error
        return _LAST


class PulledStreams:
    """The streams that other nodes take from this one. Loop only."""

    def __init__(self, spawn: Spawn, clock: Clock, answers: MemoryBudget) -> None:
        """None yet; what waits for a reader is counted in `answers`."""
        self._spawn, self._clock, self._answers = spawn, clock, answers
        self._numbers = count(1)
        self._served: dict[tuple[NodeId, int], _Served] = {}

    def open(self, serve: Callable[[Any, Any, Call], Any], request: Any, call: Call) -> bytes:
        """Begin a stream for the node that has brought the call; return its number.

        Raises:
            RequestError: OVERLOADED.
        """
        return self._open(serve, request, call, spoken=None)

    def open_both(self, serve: Callable[[Any, Any, Call], Any], first: Any, call: Call) -> bytes:
        """Begin a stream whose requests go on; raises as `open`."""
        spoken = Spoken(self._clock, first)
        return self._open(serve, spoken, call, spoken=spoken)

    def _open(
        self,
        serve: Callable[[Any, Any, Call], Any],
        request: Any,
        call: Call,
        *,
        spoken: Spoken | None,
    ) -> bytes:
        assert call.brought_by is not None, "FORWARD_IS_FORWARDED"
        if len(self._served) >= STREAMS_MAX:
            raise RequestError(ErrorCode.OVERLOADED, f"{STREAMS_MAX} streams are read by others")
        key = (call.brought_by, next(self._numbers))
        served = self._served[key] = _Served(self._clock, spoken, self._answers)
        self._touch(key, served)
        self._spawn.start(self._run(key, served, serve(request, served.send, call)), "pulled")
        return _ID.pack(key[1])

    async def next(self, node: NodeId, payload: bytes) -> bytes:
        """Return the next part.

        Raises:
            RequestError: the stream has ended with it, or was given up.
        """
        key = (node, _number(payload))
        served = self._found(key)
        try:
            part = await served.part()
        except RequestError:
            self._drop(key)
            raise
        if part == _LAST:
            self._drop(key)
        else:
            self._touch(key, served)
        return part

    async def say(self, node: NodeId, payload: bytes, read: Callable[[bytes], Any]) -> bytes:
        """Take what is said over a stream; tell whether it was taken.

        Raises:
            RequestError: INVALID_REQUEST; the stream was given up.
        """
        said = payload[_ID.size :]
        served = self._found((node, _number(payload[: _ID.size])))
        kind, spoken = kind_of(said), served.spoken
        if spoken is None:
            raise RequestError(ErrorCode.INVALID_REQUEST, "nothing is said there", field="stream")
        if kind == REQUEST and not await spoken.take(read(said[1:]), wait_ms=TAKE_MS):
            return NOT_YET
        if kind == LAST:
            spoken.end()
        return TAKEN

    def lost(self, node: NodeId) -> None:
        """End every stream of a node that is not connected any more."""
        for key in [key for key in self._served if key[0] == node]:
            self._drop(key)

    def close(self, node: NodeId, payload: bytes) -> bytes:
        """End a stream."""
        self._drop((node, _number(payload)))
        return b""

    async def _run(self, key: tuple[NodeId, int], served: _Served, work: Any) -> None:
        if served.closed:
            work.close()
            return
        served.task = asyncio.current_task()
        try:
            await work
        except RequestError as refusal:
            await served.waiting.put(_End(refusal))
        except asyncio.CancelledError:
            if not served.closed:
                raise
        else:
            await served.waiting.put(_End(None))
        finally:
            served.task = None

    def _found(self, key: tuple[NodeId, int]) -> _Served:
        served = self._served.get(key)
        if served is None:
            raise RequestError(ErrorCode.NODE_UNREACHABLE, "the stream was given up: open it again")
        self._touch(key, served)
        return served

    def _touch(self, key: tuple[NodeId, int], served: _Served) -> None:
        served.cancel_timer()
        until = MonotonicMs(self._clock.monotonic_ms() + UNTAKEN_MS)
        served.cancel_timer = self._clock.call_at(until, lambda: self._drop(key))

    def _drop(self, key: tuple[NodeId, int]) -> None:
        served = self._served.pop(key, None)
        if served is not None:
            served.closed = True
            served.room.clear()
            served.cancel_timer()
            if served.task is not None:
                served.task.cancel()


class Pulling(Generic[MessageT]):
    """One stream of another node's answers, at its reader."""

    def __init__(
        self,
        forwarding: Forwarding,
        node: NodeId,
        *,
        name: str,
        answer: type[MessageT],
        call: Call,
    ) -> None:
        """Nothing is asked before `messages`."""
        self._forwarding, self._node, self._name = forwarding, node, name
        self._answer, self._call = answer, call
        self._number = b""

    async def messages(self, request: Message, spawn: Spawn) -> AsyncGenerator[MessageT, None]:
        """Yield its messages; closing this closes the stream there.

        Raises:
            RequestError: the stream has ended with it.
        """
        number = self._number = await self._called(OPEN, request.SerializeToString())
        ended = False
        try:
            while not ended:
                part = await self._called(NEXT, number)
                ended = part == _LAST
                if part[:1] == _MESSAGE:
                    yield read_answer(self._node, self._answer, part[1:])
        finally:
            if not ended:  # after an error of the way it goes on there
                spawn.start(self._close(number), "close a pulled stream")

    async def say(self, request: Message) -> None:
        """Say more over the stream, once what was said before was taken; one at a time.

        While its messages are read.

        Raises:
            RequestError: the stream has ended with it, or nobody knows whether it was taken.
        """
        said = b"".join((self._number, REQUEST, request.SerializeToString()))
        while await self._called(SAY, said) == NOT_YET:
            pass

    async def be_heard(self) -> None:
        """Say that this reader is there, though it says and takes nothing; raises as `say`."""
        await self._called(SAY, self._number + ALIVE)

    async def finish(self) -> None:
        """Say that nothing more is said; raises as `say`."""
        await self._called(SAY, self._number + LAST)

    async def _called(self, what: str, payload: bytes) -> bytes:
        return await self._forwarding.call(
            self._node,
            self._name + what,
            self._call.principal,
            payload=payload,
            left_ms=TAKE_MS,
        )

    async def _close(self, number: bytes) -> None:
        try:
            await self._called(CLOSE, number)
        except RequestError:
            return  # it is given up there in a while


def _number(payload: bytes) -> int:
    if len(payload) != _ID.size:
        raise RequestError(ErrorCode.INVALID_REQUEST, "no number of a stream", field="stream")
    number: int
    (number,) = _ID.unpack(payload)
    return number
