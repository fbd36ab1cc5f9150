"""What groups were promised: which commit was acknowledged, and which were ever sent.

Each commit of a partition carries a number in its metadata, which rises: so every commit can be
told from every other, also where the offset is the same.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from tests.kill.ledger import PROBLEMS_MAX
from tests.kill.payload import Place

NOTHING: Final = 0
"""Number of no commit."""


class Seat(NamedTuple):
    """A partition as a group reads it."""

    group: str
    place: Place


@dataclass(slots=True)
class Record:
    """The commits of one seat."""

    sent: list[int] = field(default_factory=lambda: [0])
    """Offset of each commit, by number; that of no commit is the beginning."""
    acked: int = NOTHING
    """The highest number that was acknowledged."""
    shown: int = NOTHING
    """The highest number that was read back."""


@dataclass(slots=True)
class GroupLedger:
    """All commits of one era. Written by the load's thread; read when it is quiet."""

    records: dict[Seat, Record] = field(default_factory=lambda: defaultdict(Record))
    acked: int = 0
    """Rows of commits that were acknowledged."""
    standalone: int = 0
    """Of them, those that no member made."""
    in_flight: int = 0
    """Rows that had no answer when the node was killed."""
    resumed: int = 0
    """Members that went on over another stream."""
    joined: int = 0
    delivered: int = 0
    lost: int = 0
    checked: int = 0
    """Rows that were read back and compared."""
    problems: list[str] = field(default_factory=list)

    def send(self, seat: Seat, offset: int) -> int:
        """Note a commit that is about to be sent; return its number."""
        sent = self.records[seat].sent
        sent.append(offset)
        return len(sent) - 1

    def ack(self, seat: Seat, number: int, *, by_member: bool) -> None:
        """Note that a commit was acknowledged."""
        record = self.records[seat]
        record.acked = max(record.acked, number)
        self.acked += 1
        self.standalone += not by_member

    def begin(self, seat: Seat, offset: int) -> None:
        """Note where a member was told to begin: where the group stands."""
        record = self.records[seat]
        if offset not in record.sent[record.acked :]:
            acked = record.sent[record.acked]
            self.problem(f"{named(seat)} begins at {offset}, acknowledged is {acked}")

    def read(self, seat: Seat, offset: int | None, metadata: str) -> None:
        """Compare what a node tells of a seat after a kill."""
        record = self.records[seat]
        self.checked += 1
        number = int(metadata) if metadata.isdecimal() else NOTHING
        told = 0 if offset is None else offset
        if number >= len(record.sent) or record.sent[number] != told:
            self.problem(f"{named(seat)} stands at {offset} ({metadata!r}): nobody committed that")
            return
        if number < record.acked:
            self.lost += 1
            self.problem(f"lost: {named(seat)} stands at {number}, {record.acked} was acknowledged")
        if number < record.shown:
            self.problem(f"{named(seat)} went back from {record.shown} to {number}")
        record.shown = max(record.shown, number)

    def problem(self, text: str) -> None:
        """Note a broken promise."""
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(text)


def named(seat: Seat) -> str:
    """Return a seat's name for people."""
    return f"group {seat.group} in {seat.place.topic}/{seat.place.partition}"
