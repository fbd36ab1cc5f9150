"""Runs one machine on the leader of its internal partition.

A decision must see what was decided before it, committed or not: two requests for the same thing
must not both be granted. So records are replayed when they are appended, into a state that is
ahead of the high watermark; and nobody hears of that state until the watermark has passed it. A
read and a refusal wait too: they may rest on records that are lost with the leadership.

Losing leadership throws the state away. Nothing is rolled back: the next leader replays its log to
the end, and needs no other barrier, since its answers wait for the watermark as well.

Invariants:
    STATE_HW_NEVER_FALLS       the partition below promises it.
    STATE_APPEND_IS_NEXT       records land behind everything that the state has seen.
    STATE_LEADS_ONCE           a state is dropped before the next one is built.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from cluster.state_partition.machine import Machine
from model.errors import ErrorCode, RequestError
from model.ids import Offset
from model.result import Result

RecordT = TypeVar("RecordT")
RecordT_contra = TypeVar("RecordT_contra", contravariant=True)
MachineT = TypeVar("MachineT", bound=Machine[Any])
ResponseT = TypeVar("ResponseT")
TokenT = TypeVar("TokenT")


class StateLog(Protocol[RecordT_contra]):
    """The internal partition, as far as the host needs it."""

    def append(self, records: tuple[RecordT_contra, ...]) -> Offset:
        """Take the records as one batch into the in-memory tail; return the new log end.

        Raises:
            RequestError: not taken, none of them.
        """
        ...


class Reply(NamedTuple, Generic[TokenT]):
    """Effect: answer the request that carried this token; a `RequestError` refuses it."""

    token: TokenT
    answer: object


class Frozen(NamedTuple, Generic[RecordT]):
    """A machine's state as records, and the first offset of the log that it has not seen."""

    offset: Offset
    records: tuple[RecordT, ...]


class _Parked(NamedTuple, Generic[TokenT]):
    saw: Offset
    reply: Reply[TokenT]


class StateHost(Generic[MachineT, RecordT, TokenT]):
    """One machine, its log, and the responses that wait."""

    __slots__ = ("_end", "_high_watermark", "_log", "_machine", "_parked")

    def __init__(self, log: StateLog[RecordT]) -> None:
        """Start as a follower: no state, no answers."""
        self._log = log
        self._machine: MachineT | None = None
        self._end = Offset(0)
        self._high_watermark = Offset(0)
        self._parked: deque[_Parked[TokenT]] = deque()

    @property
    def end(self) -> Offset:
        """First offset that the state has not seen."""
        return self._end

    @property
    def waits(self) -> bool:
        """Whether an answer waits for the high watermark."""
        return bool(self._parked)

    def lead(self, machine: MachineT, *, end: Offset) -> None:
        """Take over with a machine that has seen everything up to the log's end, committed or not.

        It is the host's alone from now on.
        """
        assert self._machine is None, "STATE_LEADS_ONCE"
        self._machine = machine
        self._end = end

    def handle(
        self, token: TokenT, decide: Callable[[MachineT], Result[RecordT, ResponseT]]
    ) -> list[Reply[TokenT]]:
        """Decide one request, append what it changes; return the replies that are due now."""
        if self._machine is None:
            loading = "this node does not lead the partition, or reads its log yet"
            return [Reply(token, RequestError(ErrorCode.COORDINATOR_LOADING, loading))]
        answer: object
        try:
            result = decide(self._machine)
            self._append(self._machine, result.records)
            answer = result.response
        except RequestError as refusal:
            answer = refusal
        self._parked.append(_Parked(self._end, Reply(token, answer)))
        return self._due()

    def advance(self, high_watermark: Offset) -> list[Reply[TokenT]]:
        """Note what is committed; return the replies that were waiting for it."""
        assert high_watermark >= self._high_watermark, "STATE_HW_NEVER_FALLS"
        self._high_watermark = high_watermark
        return self._due()

    def freeze(self) -> Frozen[RecordT] | None:
        """Return the state as it is now, ahead of the high watermark or not; None: not leading."""
        return None if self._machine is None else Frozen(self._end, self._machine.snapshot())

    def resign(self, why: RequestError | None = None) -> list[Reply[TokenT]]:
        """Stop leading: forget the state; whatever waits has an unknown outcome.

        `why`: what those are told who wait; else LEADERSHIP_LOST.
        """
        self._machine = None
        code, detail = ErrorCode.LEADERSHIP_LOST, "leadership moved before the commit"
        if why is not None:
            code, detail = why.code, why.detail
        replies = [Reply(parked.reply.token, RequestError(code, detail)) for parked in self._parked]
        self._parked.clear()
        return replies

    def _append(self, machine: MachineT, records: tuple[RecordT, ...]) -> None:
        if not records:
            return
        end = self._log.append(records)
        self._machine = None  # a bug below must not leave a state that no log tells
        assert end == self._end + len(records), "STATE_APPEND_IS_NEXT"
        for record in records:
            machine.replay(record)
        self._machine, self._end = machine, end

    def _due(self) -> list[Reply[TokenT]]:
        replies: list[Reply[TokenT]] = []
        while self._parked and self._parked[0].saw <= self._high_watermark:
            replies.append(self._parked.popleft().reply)
        return replies
