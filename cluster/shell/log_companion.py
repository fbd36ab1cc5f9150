"""What else a node keeps of a partition beside its log, and what of the log may go for its sake."""

from typing import Protocol

from model.ids import Offset


class LogCompanion(Protocol):
    """The state of a partition of an internal topic. Loop only."""

    @property
    def held(self) -> bool:
        """The replica is not to open its leader's log until `Replica.go_on`; it may lead."""
        ...

    @property
    def lacks(self) -> str | None:
        """Why what was read here last does not tell the state; None: it did, or is being read."""
        ...

    def leader_begins(self, log_start: Offset) -> None:
        """Trim the log to where the leader's begins, or to less."""
        ...

    def flushed(self) -> None:
        """A round or a checkpoint has ended: more of the log may be on the disk here."""
        ...

    def cut(self) -> None:
        """The log ends earlier than it did; or another one takes its place, or now exists."""
        ...
