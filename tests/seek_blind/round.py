"""What holds of a group between two seeks, and everything that was seen to break it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

PROBLEMS_MAX: Final = 20


@dataclass(slots=True)
class Account:
    """What all rounds have seen."""

    problems: list[str] = field(default_factory=list)
    delivered: int = 0
    commits_acked: int = 0
    commits_late: int = 0
    """Of an older epoch, refused."""
    commits_cut: int = 0
    """On their way on a stream that a seek ended, without an answer."""
    fenced: int = 0
    """Streams that a seek has ended."""

    def problem(self, text: str) -> None:
        """Note a broken promise."""
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(text)


@dataclass(slots=True)
class Round:
    """From one seek to the next. A member belongs to the round that began before it joined."""

    number: int
    expected: Sequence[int]
    """Where the seek has sent each partition, by a linear scan."""
    account: Account
    committed: list[int] = field(init=False)
    """Where the group stands as far as its members have been told."""
    sent: list[int] = field(init=False)
    """The highest offset that was put into a commit."""
    reached: list[int] = field(init=False)
    """Offsets below it, and from the seek's place on, were delivered."""

    def __post_init__(self) -> None:
        """Stand where the seek has sent it."""
        self.committed, self.sent = list(self.expected), list(self.expected)
        self.reached = list(self.expected)

    def begins(self, who: str, number: int, offset: int) -> None:
        """Note where a member is to begin in a partition that it was given."""
        if offset != self.committed[number]:
            self.problem(
                f"{who} begins in partition {number} at {offset}, committed is "
                f"{self.committed[number]} (sought {self.expected[number]})"
            )

    def delivered(self, who: str, number: int, *, first: int, end: int, due: int) -> None:
        """Note a run of records; `due` is where the member stood."""
        if first != due:
            self.problem(f"{who} stood at {due} in partition {number} and was sent {first}")
        if first > self.reached[number]:
            at = self.reached[number]
            self.problem(f"partition {number}: {first} was delivered, {at} never was")
        self.reached[number] = max(self.reached[number], end)
        self.account.delivered += end - first

    def problem(self, text: str) -> None:
        """Note a broken promise."""
        self.account.problem(f"round {self.number}: {text}")
