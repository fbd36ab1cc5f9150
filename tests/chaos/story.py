"""What the group's own log says: who held what from when to when, and every commit, in its order.

Read from the coordinator's partition while the run lasts. Here are the rules that need no member's
word: one owner for a partition and epoch; only the owner commits; no commit goes back; and when a
member stops, no other loses anything.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final, NamedTuple

from consumer_groups.records import (
    AssignmentChanged,
    GroupChanged,
    GroupRecord,
    LeaveReason,
    MemberJoined,
    MemberLeft,
    MemberResumed,
    OffsetCommitted,
)

HANDED_OVER: Final = "handed over"


class Decision(NamedTuple):
    """One batch of the log: whole or not at all."""

    at: float
    """When the node appended it, in ms of the monotonic clock; its append time is in whole ms."""
    records: Sequence[GroupRecord]


@dataclass(slots=True)
class Hold:
    """A partition in one member's hands."""

    who: str
    partition: int
    since_epoch: int
    begun: float
    committed: int
    """Where the group stood when it began."""
    ended: float | None = None
    how: str = ""
    """A name of `LeaveReason`, or handed over."""


class Commit(NamedTuple):
    """A row of a commit."""

    at: float
    who: str
    partition: int
    offset: int


@dataclass(slots=True)
class Story:
    """The log, replayed."""

    holds: dict[int, list[Hold]] = field(default_factory=lambda: defaultdict(list))
    """Of each partition, in order."""
    commits: list[Commit] = field(default_factory=list)
    committed: dict[int, int] = field(default_factory=dict)
    """Where the group stands."""
    who_is: dict[str, str] = field(default_factory=dict)
    """Client id of each member id."""
    streams: dict[str, float] = field(default_factory=dict)
    """When the node took each membership's newest stream for its own: by client id."""
    left: Counter[str] = field(default_factory=Counter)
    """How memberships ended."""
    epoch: int = 0
    problems: list[str] = field(default_factory=list)
    _open: dict[str, dict[int, Hold]] = field(default_factory=dict)
    """By member id and partition."""
    _owned: dict[str, frozenset[int]] = field(default_factory=dict)
    """What each member has and need not give back."""
    _epochs: dict[tuple[int, int], str] = field(default_factory=dict)
    """Who got a partition in an epoch."""

    @property
    def members(self) -> int:
        """How many there are."""
        return len(self._open)

    def every_hold(self) -> Iterator[Hold]:
        """Return every hold of every partition."""
        return chain.from_iterable(self.holds.values())

    def tell(self, decision: Decision) -> None:
        """Replay one decision; what it takes is taken before what it gives is given."""
        at, records = decision
        for record in records:
            self._note(at, record)
        stopped = [record for record in records if isinstance(record, MemberLeft)]
        changes = [record for record in records if isinstance(record, AssignmentChanged)]
        for one in stopped:
            self._leave(at, one)
        if stopped:
            self._disturbs(stopped, changes)
        for change in changes:
            self._take(at, change)
        for change in changes:
            self._give(at, change)

    def _note(self, at: float, record: GroupRecord) -> None:
        """Note what a record says apart from who has what."""
        match record:
            case GroupChanged(epoch=epoch):
                if epoch < self.epoch:
                    self.problems.append(f"the epoch went back from {self.epoch} to {epoch}")
                self.epoch = epoch
            case MemberJoined(member_id=member, client_id=who):
                self.who_is[member] = who
                self.streams[who] = at
                self._open[member], self._owned[member] = {}, frozenset()
            case MemberResumed(member_id=member):
                self.streams[self.who_is[member]] = at
            case OffsetCommitted():
                self._commit(at, record)
            case _:
                pass

    def _leave(self, at: float, left: MemberLeft) -> None:
        self.left[left.reason.name] += 1
        del self._owned[left.member_id]
        for hold in self._open.pop(left.member_id).values():
            hold.ended, hold.how = at, left.reason.name

    def _disturbs(
        self, stopped: Iterable[MemberLeft], changes: Iterable[AssignmentChanged]
    ) -> None:
        """When somebody stops, whoever stays may only gain."""
        for change in changes:
            keeps = {owned.partition.number for owned in change.owned}
            lost = self._owned.get(change.member_id, frozenset()) - keeps
            if lost:
                names = ", ".join(self.who_is[one.member_id] for one in stopped)
                who = self.who_is[change.member_id]
                self.problems.append(f"{names} stopped, and {who} lost {sorted(lost)}")

    def _take(self, at: float, change: AssignmentChanged) -> None:
        mine = self._open[change.member_id]
        held = {hold.partition.number: hold for hold in (*change.owned, *change.revoking)}
        for number, hold in list(mine.items()):
            if number not in held or held[number].since_epoch != hold.since_epoch:
                hold.ended, hold.how = at, HANDED_OVER
                del mine[number]

    def _give(self, at: float, change: AssignmentChanged) -> None:
        member, who = change.member_id, self.who_is[change.member_id]
        mine = self._open[member]
        self._owned[member] = frozenset(one.partition.number for one in change.owned)
        for owned in (*change.owned, *change.revoking):
            number, epoch = owned.partition.number, int(owned.since_epoch)
            if number in mine:
                continue
            others = [self.who_is[one] for one, theirs in self._open.items() if number in theirs]
            if others:
                self.problems.append(f"{who} was given {number}, which {others[0]} holds")
            first = self._epochs.setdefault((number, epoch), who)
            if first != who:
                self.problems.append(f"{who} and {first} both got {number} in epoch {epoch}")
            hold = Hold(who, number, epoch, at, self.committed.get(number, 0))
            mine[number] = hold
            self.holds[number].append(hold)

    def _commit(self, at: float, commit: OffsetCommitted) -> None:
        number, offset = commit.partition.number, int(commit.offset)
        who = self.who_is.get(commit.actor, "")
        before = self.committed.get(number, 0)
        if offset < before:
            self.problems.append(f"{number}: {who} committed {offset}, {before} was committed")
        if commit.actor and number not in self._open.get(commit.actor, {}):
            self.problems.append(f"{number}: {who or commit.actor} committed and does not hold it")
        self.committed[number] = offset
        self.commits.append(Commit(at, who, number, offset))


STRUCK: Final = frozenset({LeaveReason.SESSION_ENDED.name, LeaveReason.RESUME_ENDED.name})
"""How a hold ends whose member has stopped without a word."""
