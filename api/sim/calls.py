"""How clients reach nodes: at the handlers behind the gRPC door, with a delay each way.

Who calls where no node serves is told so at once; whose node ends meanwhile hears that nobody
answers, as from a connection that breaks. A node that stands still leaves its callers waiting.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

from google.protobuf.message import Message

from api.sim.clients import WITHIN_MS, Ask, Told
from api.sim.loop import Lane, SimLoop
from api.sim.process import Process
from api.sim.refused import NO_ANSWER, NOT_SENT, Refused, refusal_of
from model.errors import RequestError
from model.ports import Rand

WAY_US: Final = 500
"""One way between a client and a node, about."""


class Calls:
    """All calls that are under way."""

    def __init__(
        self,
        loop: SimLoop,
        rand: Rand,
        process_of: Callable[[int], Process | None],
        *,
        note: Callable[[str], None],
    ) -> None:
        """`process_of` a machine; `note` is told of each answer."""
        self._loop, self._rand, self._process_of, self._note = loop, rand, process_of, note
        self._waiting: dict[Process, dict[int, Told]] = {}
        self._count = 0

    def of(self, lane: Lane) -> "Way":
        """Return the way of a client."""
        return Way(self, lane)

    def send(self, lane: Lane, machine: int, ask: Ask) -> None:
        """Take a call to a node, and what comes of it back."""
        answered = partial(self._answered, lane, ask)
        self._loop.post_at(
            self._loop.outside, self._later(), partial(self._arrives, machine, ask, answered)
        )

    def ended(self, process: Process) -> None:
        """A process is no more: nobody answers whom it served."""
        for told in self._waiting.pop(process, {}).values():
            told(Refused(NO_ANSWER, f"node {process.number} is gone"))

    def _arrives(self, machine: int, ask: Ask, answered: Told) -> None:
        process = self._process_of(machine)
        if process is None or process.node is None:
            answered(Refused(NOT_SENT, f"node {machine} is not there"))
            return
        self._count += 1
        number, waiting = self._count, self._waiting.setdefault(process, {})
        waiting[number] = answered

        def told(outcome: Message | RequestError) -> None:
            if waiting.pop(number, None) is not None:
                answered(refusal_of(outcome) if isinstance(outcome, RequestError) else outcome)

        request = type(ask.request).FromString(ask.request.SerializeToString())
        serve = partial(process.serve, ask.name, request, within_ms=WITHIN_MS, told=told)
        self._loop.post(process.lane, serve)

    def _answered(self, lane: Lane, ask: Ask, outcome: Message | Refused) -> None:
        said = outcome.reason if isinstance(outcome, Refused) else "ok"
        self._note(f"{lane.name} {ask.name} {said}")
        self._loop.post_at(lane, self._later(), ask.told, outcome)

    def _later(self) -> int:
        return self._loop.now_us + WAY_US // 2 + self._rand.randrange(WAY_US)


class Way:
    """How one client reaches nodes: `api.sim.clients.Network`."""

    def __init__(self, calls: Calls, lane: Lane) -> None:
        """Answers come in the client's lane."""
        self._calls, self._lane = calls, lane

    def send(self, machine: int, ask: Ask) -> None:
        """Take a call to a node."""
        self._calls.send(self._lane, machine, ask)
