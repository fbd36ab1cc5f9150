"""What each member was told, in its order: every delivery goes on where the one before ended.

A new hold begins at the group's committed offset, and nothing is skipped behind it. What a member
keeps is neither told again nor sent again, whoever comes or goes beside it.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from tests.chaos.journal import (
    AnyEvent,
    AskedBack,
    Assigned,
    Broke,
    Committed,
    Committing,
    Cut,
    Delivered,
    Ended,
    GaveBack,
    Joined,
    Joining,
    Killed,
    Late,
    Leaving,
    Resumed,
    Resuming,
    Silent,
    Wrong,
)
from tests.chaos.plan import KILLED_MS, SILENT_EXTRA_MS
from tests.chaos.story import Hold

LOST: Final = frozenset({"UNKNOWN_MEMBER", "STALE_MEMBER_EPOCH"})
"""How a commit of an ended membership is refused."""
STAMP_MS: Final = 5.0
"""Append times are whole ms, and two clocks are read one after the other."""


class Strike(NamedTuple):
    """How a member stopped without a word."""

    at: float
    until: float
    """Until then what it held must be served again."""
    how: str


@dataclass(slots=True)
class Membership:
    """One membership as its own journal tells it."""

    who: str
    member_id: str = ""
    session_ms: int = 0
    joining: float = 0.0
    stands: dict[int, int] = field(default_factory=dict)
    asked_back: set[int] = field(default_factory=set)
    again: set[int] = field(default_factory=set)
    """After a resume: partitions that are told once more."""
    deliveries: dict[int, list[Delivered]] = field(default_factory=lambda: defaultdict(list))
    kept_from: dict[int, float] = field(default_factory=dict)
    """Since when it has each partition."""
    kept: list[tuple[int, float, float]] = field(default_factory=list)
    """Partition, from, to: it had it and was not asked to give it back."""
    breaks: list[tuple[float, float]] = field(default_factory=list)
    """From, to: its stream was broken and resumed."""
    strikes: list[Strike] = field(default_factory=list)
    sent: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    acked: list[tuple[float, int, int]] = field(default_factory=list)
    """When each row of a commit was answered; partition and offset."""
    left: bool = False

    @property
    def stopped_at(self) -> float | None:
        """When it stopped without a word for good."""
        return min((one.at for one in self.strikes), default=None)


class Streams:
    """All memberships."""

    def __init__(self, holds: dict[int, list[Hold]]) -> None:
        """Compare with what the log says."""
        self.members: dict[str, Membership] = {}
        self.problems: list[str] = []
        self.late_refused = 0
        self.resumed = 0
        self.rows_refused = 0
        self._holds = holds

    def read(self, events: Iterable[AnyEvent]) -> None:
        """Walk through all journals."""
        for event in events:
            if event.who:
                self._one(self._member(event.who), event)
            elif isinstance(event, Wrong):
                self.problems.append(event.text)
        for member in self.members.values():
            for number in list(member.kept_from):
                self._let_go(member, number, float("inf"))

    def _member(self, who: str) -> Membership:
        if who not in self.members:
            self.members[who] = Membership(who)
        return self.members[who]

    def _one(self, member: Membership, event: AnyEvent) -> None:
        match event:
            case Joining(at=at, session_ms=session_ms):
                member.joining, member.session_ms = at, session_ms
            case Joined(member_id=member_id):
                member.member_id = member_id
            case Assigned():
                self._assigned(member, event)
            case AskedBack() | GaveBack():
                self._gives(member, event)
            case Delivered():
                self._delivered(member, event)
            case Committing() | Committed():
                self._commits(member, event)
            case Ended():
                self._ended(member, event)
            case Late(reason=reason):
                self.late_refused += reason in LOST
            case Wrong(text=text):
                self.problems.append(f"{member.who}: {text}")
            case _:
                self._struck(member, event)

    def _struck(self, member: Membership, event: AnyEvent) -> None:
        """Note that a member stops, or breaks its stream, or goes on."""
        match event:
            case Cut(at=at):
                self._stops(member, Strike(at, at + KILLED_MS, "cut"))
            case Killed(at=at):
                self._stops(member, Strike(at, at + KILLED_MS, "killed"))
            case Silent(said_at=said_at):
                until = said_at + member.session_ms + SILENT_EXTRA_MS
                self._stops(member, Strike(said_at, until, "silent"))
            case Broke(at=at):
                member.breaks.append((at, float("inf")))
                member.asked_back.clear()
                for number in list(member.kept_from):
                    self._let_go(member, number, at)
            case Resuming():
                member.again = set(member.stands)
            case Resumed(at=at):
                self.resumed += 1
                member.breaks[-1] = (member.breaks[-1][0], at)
            case Leaving():
                member.left = True
                self._all_go(member, event.at)
            case _:
                pass

    def _stops(self, member: Membership, strike: Strike) -> None:
        if not member.left:
            member.strikes.append(strike)
        self._all_go(member, strike.at)

    def _all_go(self, member: Membership, at: float) -> None:
        for number in list(member.kept_from):
            self._let_go(member, number, at)

    def _let_go(self, member: Membership, number: int, at: float) -> None:
        since = member.kept_from.pop(number, None)
        if since is not None and at > since:
            member.kept.append((number, since, at))

    def _assigned(self, member: Membership, event: Assigned) -> None:
        for number, offset in event.places:
            stood = member.stands.get(number)
            if stood is None:
                self._begins(member, number, offset, at=event.at)
            elif number not in member.again:
                self.problems.append(f"{member.who} keeps {number} and was given it again")
            elif offset != stood:
                self.problems.append(f"{member.who} resumed {number} at {offset}, stood at {stood}")
            member.again.discard(number)
            member.asked_back.discard(number)
            member.stands[number] = offset
            if member.stopped_at is None:
                member.kept_from.setdefault(number, event.at)

    def _begins(self, member: Membership, number: int, offset: int, *, at: float) -> None:
        mine = [
            hold
            for hold in self._holds.get(number, ())
            if hold.who == member.who and hold.begun <= at + STAMP_MS
        ]
        if not mine:
            self.problems.append(f"{member.who} was given {number}; the log knows nothing of it")
        elif mine[-1].committed != offset:
            stood = mine[-1].committed
            self.problems.append(
                f"{member.who} began {number} at {offset}, {stood} was committed: "
                f"{'a gap' if offset > stood else 'a repeat'}"
            )

    def _gives(self, member: Membership, event: AskedBack | GaveBack) -> None:
        gone = isinstance(event, GaveBack) or event.left_ms == 0
        for number in event.partitions:
            self._let_go(member, number, event.at)
            member.asked_back.add(number)
            if gone:
                member.stands.pop(number, None)
                member.asked_back.discard(number)

    def _delivered(self, member: Membership, event: Delivered) -> None:
        number = event.partition
        due = member.stands.get(number)
        if due != event.first or number in member.asked_back:
            asked = ", and was asked for it back" if number in member.asked_back else ""
            self.problems.append(
                f"{member.who} stood at {due} in {number}{asked}; it was sent {event.first}"
            )
        member.stands[number] = event.end
        member.deliveries[number].append(event)

    def _commits(self, member: Membership, event: Committing | Committed) -> None:
        if isinstance(event, Committing):
            member.sent[event.number] = event.cursors
            return
        refused = dict(event.refused)
        self.rows_refused += len(refused)
        for number, offset in member.sent.pop(event.number, ()):
            if number not in refused:
                member.acked.append((event.at, number, offset))
        for number, reason in refused.items():
            if member.stopped_at is None and number in member.stands:
                text = f"{member.who} holds {number}, and its commit was refused: {reason}"
                self.problems.append(text)

    def _ended(self, member: Membership, event: Ended) -> None:
        """A stream may end only for one that left or has been struck."""
        self._all_go(member, event.at)
        if member.left or member.stopped_at is not None:
            return
        if member.breaks:  # it came back too late: as if it had been cut
            at = member.breaks[-1][0]
            self._stops(member, Strike(at, at + KILLED_MS, "cut"))
        else:
            self.problems.append(f"{member.who} did nothing, and its stream ended: {event.reason}")
