"""What clients were promised: which record was acknowledged with which offset, and seen by whom.

Every producer's rows are written by one thread; reading is for when all are quiet.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

from tests.kill.payload import Author, Place

PROBLEMS_MAX: Final = 50
"""More say nothing new."""

Identity = tuple[int, int]
"""Producer and sequence."""


@dataclass(slots=True)
class Account:
    """One producer's records."""

    author: Author
    sent: int = 0
    """Sequences below it were handed to the client."""
    answered: int = 0
    refused: int = 0

    @property
    def unanswered(self) -> int:
        """Return how many were sent and have no answer."""
        return self.sent - self.answered


@dataclass(slots=True)
class Ledger:
    """All promises of one era of topics."""

    accounts: dict[int, Account] = field(default_factory=dict)
    acked: dict[Place, dict[int, Identity]] = field(default_factory=lambda: defaultdict(dict))
    """By offset."""
    append_times: dict[Place, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    """By offset, ms, where an answer or a reading told."""
    seen: dict[Place, dict[int, Identity]] = field(default_factory=lambda: defaultdict(dict))
    """What a reader was shown before the kill."""
    marks: dict[Place, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    """The highest high watermark that each reader was shown."""
    problems: list[str] = field(default_factory=list)
    lost: int = 0
    """Acknowledged records that are not where they were said to be."""

    def account(self, author: Author) -> Account:
        """Open the account of a producer."""
        account = self.accounts[author.number] = Account(author)
        return account

    def ack(
        self, account: Account, sequence: int, *, offset: int | None, append_time: int | None = None
    ) -> None:
        """Note an acknowledgement."""
        account.answered += 1
        who = (account.author.number, sequence)
        place = account.author.place_of(sequence)
        if offset is None or offset < 0:
            self.problem(f"{name(who)} was acknowledged at offset {offset}")
            return
        other = self.acked[place].setdefault(offset, who)
        if other != who:
            self.lose(
                f"{name(who)} and {name(other)} were both acknowledged at {at(place, offset)}"
            )
        if append_time is None:
            return
        told = self.append_times[place].setdefault(offset, append_time)
        if told != append_time:
            self.problem(f"{at(place, offset)} was appended at {told}, then at {append_time}")

    def refuse(self, account: Account, sequence: int, why: str) -> None:
        """Note that a client gave a record up: nothing in a run may make it."""
        account.answered += 1
        account.refused += 1
        self.problem(f"{name((account.author.number, sequence))} was refused: {why}")

    def see(self, place: Place, offset: int, who: Identity) -> None:
        """Note what a reader was shown; the same offset is the same record for ever."""
        other = self.seen[place].setdefault(offset, who)
        if other != who:
            self.problem(f"a reader saw {name(other)}, then {name(who)} at {at(place, offset)}")

    def mark(self, place: Place, high_watermark: int, *, reader: str) -> None:
        """Note a high watermark that a reader was shown; for each of them it never goes back."""
        shown = self.marks[place]
        held = shown.get(reader, 0)
        if high_watermark < held:
            self.problem(
                f"{reader}: high watermark {at(place, held)} went back to {high_watermark}"
            )
        shown[reader] = max(held, high_watermark)

    def answered(self) -> int:
        """Return how many records have their answer."""
        return sum(account.answered for account in self.accounts.values())

    def unanswered(self) -> int:
        """Return how many records were sent and have no answer."""
        return sum(account.unanswered for account in self.accounts.values())

    def lose(self, text: str, count: int = 1) -> None:
        """Note acknowledged records that are lost."""
        self.lost += count
        self.problem(f"lost: {text}")

    def problem(self, text: str) -> None:
        """Note a broken promise."""
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(text)


def name(who: Identity) -> str:
    """Return a record's name for people."""
    return f"record {who[1]} of producer {who[0]}"


def at(place: Place, offset: int) -> str:
    """Return an offset's name for people."""
    return f"{place.topic}/{place.partition}@{offset}"
