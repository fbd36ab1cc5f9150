"""What a state machine looks like to its host."""

from typing import Protocol, TypeVar

RecordT = TypeVar("RecordT")


class Machine(Protocol[RecordT]):
    """State that is a function of its log.

    Handlers are the machine's own methods: they read the state and return a `Result`, or raise
    `RequestError`. They are plain calls: no await, no clock, no chance.
    """

    def replay(self, record: RecordT) -> None:
        """Apply one record: the only change of state, shared by leader, standby and restart."""
        ...

    def snapshot(self) -> tuple[RecordT, ...]:
        """Return records that bring an empty machine to this state; they are copied nowhere."""
        ...
