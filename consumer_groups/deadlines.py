"""When a member's time runs out, as data: no timer, no clock, nothing that must survive.

A member is heard over its stream, or its stream is broken and it may come back; beside that, what
it has to hand over falls due. A node that starts does not know how long a member has been away: it
gives each the longer of its two times, counted from there.

`due` says what has fallen due; the log has to confirm it (`GroupMachine.leave`, `revoke_overdue`),
and until the table is told, it says so again every second.
"""

from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Final, TypeAlias

from consumer_groups.records import MemberId, Owned, StreamNumber
from consumer_groups.views import MemberView
from model.ids import GroupId, MonotonicMs

REPEAT_MS: Final = 1_000
NEVER_TOLD: Final = MonotonicMs(0)
STALE_MAX: Final = 64
"""Places in the heap that are nobody's any more, beyond one for each member."""

Key: TypeAlias = tuple[GroupId, MemberId]


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """A member was silent on an unbroken stream for its session timeout."""

    group: GroupId
    member_id: MemberId
    stream: StreamNumber


@dataclass(frozen=True, slots=True)
class ResumeEnded:
    """A member's stream broke, and no other came within its resume timeout."""

    group: GroupId
    member_id: MemberId
    stream: StreamNumber


@dataclass(frozen=True, slots=True)
class RevokeOverdue:
    """A member did not hand these over within its rebalance timeout."""

    group: GroupId
    member_id: MemberId
    overdue: tuple[Owned, ...]


Due: TypeAlias = SessionEnded | ResumeEnded | RevokeOverdue


@dataclass(slots=True)
class _Watched:
    """One member: its newest stream, and until when it must be heard or be back."""

    stream: StreamNumber
    session_timeout_ms: int
    resume_timeout_ms: int
    rebalance_timeout_ms: int
    ends_at: MonotonicMs
    attached: bool
    revoking: dict[Owned, MonotonicMs] = field(default_factory=dict)
    """What it has to hand over, and when that falls due."""
    told_until: MonotonicMs = NEVER_TOLD
    """What has fallen due was said; not again before."""
    queued_for: MonotonicMs | None = None

    def due_at(self) -> MonotonicMs:
        """Return when something falls due next."""
        return max(self.told_until, min([self.ends_at, *self.revoking.values()]))


class Deadlines:
    """Every member that this node watches over."""

    def __init__(self) -> None:
        """Start with nobody."""
        self._watched: dict[Key, _Watched] = {}
        self._heap: list[tuple[MonotonicMs, Key]] = []

    def attach(self, group: GroupId, member: MemberView, *, now: MonotonicMs) -> None:
        """Note that a member's newest stream is open here: it joined or resumed."""
        ends_at = MonotonicMs(now + member.session_timeout_ms)
        self._watch(group, member, ends_at=ends_at, attached=True, now=now)

    def restore(self, group: GroupId, member: MemberView, *, now: MonotonicMs) -> None:
        """Note a member that the log knows and that has no stream here yet."""
        grace_ms = max(member.session_timeout_ms, member.resume_timeout_ms)
        ends_at = MonotonicMs(now + grace_ms)
        self._watch(group, member, ends_at=ends_at, attached=False, now=now)

    def follow(self, group: GroupId, member: MemberView, *, now: MonotonicMs) -> None:
        """Note what a watched member has to hand over by now; what it had to before, goes on."""
        watched = self._watched.get((group, member.member_id))
        if watched is None:
            return
        falls_due = MonotonicMs(now + watched.rebalance_timeout_ms)
        watched.revoking = {
            owned: watched.revoking.get(owned, falls_due) for owned in member.revoking
        }
        watched.told_until = NEVER_TOLD
        self._queue((group, member.member_id), watched)

    def heard(
        self, group: GroupId, member_id: MemberId, stream: StreamNumber, *, now: MonotonicMs
    ) -> None:
        """Note that a member spoke over its newest stream."""
        watched = self._newest(group, member_id, stream)
        if watched is not None and watched.attached:
            watched.ends_at = MonotonicMs(now + watched.session_timeout_ms)
            watched.told_until = NEVER_TOLD

    def detach(
        self, group: GroupId, member_id: MemberId, stream: StreamNumber, *, now: MonotonicMs
    ) -> None:
        """Note that a member's newest stream broke; an older one's end means nothing."""
        watched = self._newest(group, member_id, stream)
        if watched is not None and watched.attached:
            watched.attached = False
            watched.ends_at = MonotonicMs(now + watched.resume_timeout_ms)
            watched.told_until = NEVER_TOLD
            self._queue((group, member_id), watched)

    def forget(self, group: GroupId, member_id: MemberId) -> None:
        """Watch a member no longer: it is none."""
        self._watched.pop((group, member_id), None)

    def time_left_ms(
        self, group: GroupId, member_id: MemberId, owned: Owned, *, now: MonotonicMs
    ) -> int | None:
        """Return how long a member may still take to hand a partition over; None: need not."""
        watched = self._watched.get((group, member_id))
        falls_due = None if watched is None else watched.revoking.get(owned)
        return None if falls_due is None else max(0, falls_due - now)

    def next(self) -> MonotonicMs | None:
        """Return when to ask `due` again: not later than something falls due; None: never."""
        while self._heap:
            at, key = self._heap[0]
            watched = self._watched.get(key)
            if watched is not None and watched.queued_for == at:
                return at
            heappop(self._heap)
        return None

    def due(self, now: MonotonicMs) -> list[Due]:
        """Return what has fallen due, once a second until it is confirmed."""
        said: list[Due] = []
        while (at := self.next()) is not None and at <= now:
            _, key = heappop(self._heap)
            watched = self._watched[key]
            watched.queued_for = None
            if watched.due_at() <= now:
                said += _fallen_due(key, watched, now)
                watched.told_until = MonotonicMs(now + REPEAT_MS)
            self._queue(key, watched)
        return said

    def _watch(
        self,
        group: GroupId,
        member: MemberView,
        *,
        ends_at: MonotonicMs,
        attached: bool,
        now: MonotonicMs,
    ) -> None:
        key = (group, member.member_id)
        before = self._watched.get(key)
        self._watched[key] = _Watched(
            stream=member.stream,
            session_timeout_ms=member.session_timeout_ms,
            resume_timeout_ms=member.resume_timeout_ms,
            rebalance_timeout_ms=member.rebalance_timeout_ms,
            ends_at=ends_at,
            attached=attached,
            revoking={} if before is None else before.revoking,
            queued_for=None if before is None else before.queued_for,
        )
        self.follow(group, member, now=now)

    def _newest(self, group: GroupId, member_id: MemberId, stream: StreamNumber) -> _Watched | None:
        watched = self._watched.get((group, member_id))
        return watched if watched is not None and watched.stream == stream else None

    def _queue(self, key: Key, watched: _Watched) -> None:
        """Put a member into the heap, unless it stands there early enough."""
        at = watched.due_at()
        if watched.queued_for is None or at < watched.queued_for:
            watched.queued_for = at
            heappush(self._heap, (at, key))
            if len(self._heap) > 2 * len(self._watched) + STALE_MAX:
                self._heap = [
                    (watched.queued_for, key)
                    for key, watched in self._watched.items()
                    if watched.queued_for is not None
                ]
                heapify(self._heap)


def _fallen_due(key: Key, watched: _Watched, now: MonotonicMs) -> list[Due]:
    """Return what has fallen due of one member; whoever is gone need not hand over."""
    group, member_id = key
    if watched.ends_at <= now:
        ended = SessionEnded if watched.attached else ResumeEnded
        return [ended(group, member_id, watched.stream)]
    overdue = tuple(owned for owned, falls_due in watched.revoking.items() if falls_due <= now)
    return [RevokeOverdue(group, member_id, overdue)]
