"""What a test wants to go wrong, by call; and the three places where it then does.

A failure is used up by the first call, or for `produce` by the first batch, that meets it.
"""

import re
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from api.broker.acks import Acks, Done, Produced
from api.broker.broker import Broker
from api.broker.context import BrokerContext
from api.broker.encode_records import Encoded
from api.broker.produce import Produce
from api.broker.produce_records import ProduceRecords
from api.rpc.call import Call
from api.rpc.guard import AnswerT, Context, Guard, Note
from api.rpc_surface import SERVED
from cluster.shell.hosted_partition import HostedPartition
from model.errors import ErrorCode, Outcome, RequestError
from model.ports import Rand
from model.principal import Principal
from model.suggest import did_you_mean

PRODUCE: Final = "produce"
"""By batch: a gRPC stream or a Kafka request may carry many, and each has its own answer."""
_WORD: Final = re.compile(r"(?<!^)(?=[A-Z])")
CALLS: Final = {_WORD.sub("_", name.partition("/")[2]).lower(): name for name in sorted(SERVED)}
"""`create_topic` and so on, to `TopicService/CreateTopic`: what can be made to fail."""
_GUARDED: Final = {name: call for call, name in CALLS.items() if call != PRODUCE}
STREAMS: Final = frozenset({"subscribe", "consume", "produce_stream"})
"""They end only when somebody ends them: there is no answer to lose."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What one call is answered."""

    code: ErrorCode
    happens: bool
    """What was asked for is done all the same; only the answer is lost."""

    def refusal(self) -> RequestError:
        """Return it as the node would say it."""
        return RequestError(self.code, "the test wants this to fail")


class Failures:
    """Failures that are still to come. Loop only."""

    def __init__(self) -> None:
        """Begin with none."""
        self._next: defaultdict[str, deque[Failure]] = defaultdict(deque)

    def add(self, call: str, reason: str, *, times: int, happens: bool) -> None:
        """Let the next calls of a name fail.

        Raises:
            ValueError: there is no such call or reason, or the two do not go together.
        """
        if call not in CALLS:
            near = did_you_mean(call, CALLS)
            hint = f"did you mean {near!r}?" if near else f"there are {', '.join(CALLS)}"
            raise ValueError(f"there is no call {call!r}; {hint}")
        if reason not in ErrorCode.__members__:
            raise ValueError(f"there is no reason {reason!r}; see: tidelog errors")
        code = ErrorCode[reason]
        if happens and code.outcome is not Outcome.UNKNOWN:
            raise ValueError(
                f"{reason} says what became of the call; where the answer is lost nobody knows: "
                "take REQUEST_TIMED_OUT, or LEADERSHIP_LOST"
            )
        if happens and call in STREAMS:
            raise ValueError(f"{call} is a stream, it has no answer to lose; see Broker.drop")
        self._next[call].extend([Failure(code, happens)] * times)

    def take(self, call: str) -> Failure | None:
        """Return the failure that comes next, and use it up."""
        waiting = self._next.get(call)
        return waiting.popleft() if waiting else None

    def get_between(self, broker: Broker) -> None:
        """Stand between a node's doors and its produce."""
        broker.produce = FailingProduce(broker.context, self)
        broker.produce_records = ProduceRecords(broker.context, broker.produce, broker.searches)


class FailingGuard(Guard):
    """The guard of a gRPC door, with failures in front of the calls."""

    def __init__(self, failures: Failures, broker: Broker, *, rand: Rand, note: Note) -> None:
        """Ask `failures` before each call to the broker."""
        super().__init__(broker, rand=rand, note=note)
        self._failures = failures

    async def run(
        self, name: str, context: Context, act: Callable[[Call], Awaitable[AnswerT]]
    ) -> AnswerT | None:
        """Carry a call out, or end it as the test wants it."""
        failure = self._failures.take(_GUARDED[name]) if name in _GUARDED else None
        if failure is None:
            return await super().run(name, context, act)

        async def fail(call: Call) -> AnswerT:
            if failure.happens:
                await act(call)
            raise failure.refusal()

        return await super().run(name, context, fail)


class FailingProduce(Produce):
    """The use case, with failures in front of it."""

    def __init__(self, context: BrokerContext, failures: Failures) -> None:
        """Ask `failures` before each batch."""
        super().__init__(context)
        self._failures = failures

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
        failure = self._failures.take(PRODUCE)
        if failure is not None and not failure.happens:
            done(failure.refusal())
            return
        told = done if failure is None else _silenced(failure, done)
        super().__call__(principal, partition, records, acks=acks, timeout_ms=timeout_ms, done=told)


def _silenced(failure: Failure, done: Done) -> Done:
    """Return what is told of an append whose answer is lost; a refusal stays one."""

    def told(answer: Produced | RequestError) -> None:
        done(failure.refusal() if isinstance(answer, Produced) else answer)

    return told
