"""A decision that remembers whether it changed anything: what did not has nobody's acknowledgement.

A change is answered once it is committed, and only the coordinator of now gets that. An answer
without records proves nothing about who gives it, and a refusal neither.
"""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from cluster.state_partition.machine import Machine
from model.errors import RequestError
from model.ids import AppendTimeMs
from model.result import Result

RecordT = TypeVar("RecordT")
MachineT = TypeVar("MachineT", bound=Machine[Any])
ResponseT = TypeVar("ResponseT")


class WatchedDecision(Generic[MachineT, RecordT, ResponseT]):
    """See the module. Decides as what it is made of does, each time that it is called."""

    __slots__ = ("_decide", "has_records", "refusal")

    def __init__(
        self, decide: Callable[[MachineT, AppendTimeMs], Result[RecordT, ResponseT]]
    ) -> None:
        """Nothing is decided yet."""
        self._decide = decide
        self.has_records = False
        """The last call has returned records."""
        self.refusal: RequestError | None = None
        """What the last call has raised."""

    def __call__(self, machine: MachineT, now: AppendTimeMs) -> Result[RecordT, ResponseT]:
        """Decide.

        Raises:
            RequestError: the decision's own refusal.
        """
        self.has_records, self.refusal = False, None
        try:
            result = self._decide(machine, now)
        except RequestError as refusal:
            self.refusal = refusal
            raise
        self.has_records = bool(result.records)
        return result
