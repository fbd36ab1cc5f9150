"""Members of groups that this node coordinates: their streams, and when their time runs out.

Sessions, streams and timers are this process's alone; whatever has to survive is a record. A member
that the log knows and that has no stream here is given time to come back: after a restart, and when
this node takes a group over, counted from the moment when it can answer. Where it loses a group,
its streams end at once, since who coordinates next may give their partitions to others. What
falls due is decided by the machine, which may know better: the member may have come back meanwhile.

Invariants:
    MEMBER_HAS_ONE_SESSION    of several streams of a member, the newest alone is served.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Final, NamedTuple, Protocol, TypeAlias

from api.broker.context import BrokerContext
from api.broker.coordinator_moved import coordinator_moved
from api.broker.group_state import GroupState
from api.broker.group_topics import ImageTopics
from api.broker.starts_at_join import StartsAtJoin
from cluster.state_partition.layout import partition_of
from consumer_groups.deadlines import Deadlines, Due, ResumeEnded, RevokeOverdue, SessionEnded
from consumer_groups.machine import GroupMachine
from consumer_groups.records import LeaveReason, MemberId, Owned, StreamNumber
from consumer_groups.requests import Leave
from consumer_groups.views import MemberView
from model.errors import ErrorCode, RequestError
from model.ids import GroupId, MonotonicMs

LATE_MS: Final = 1_000
"""A timer that comes so late tells of a node that stood still: its members were not silent. They
are given as long again to be heard."""

Key: TypeAlias = tuple[GroupId, MemberId]


class Session(Protocol):
    """One member's stream, as far as the table needs it."""

    @property
    def group(self) -> GroupId:
        """Whose member it is."""
        ...

    @property
    def member_id(self) -> MemberId:
        """Which member."""
        ...

    @property
    def stream(self) -> StreamNumber:
        """Its own number."""
        ...

    @property
    def starts_late(self) -> bool:
        """Whether it begins elsewhere than at the beginning where nothing is committed."""
        ...

    def update(self, member: MemberView) -> None:
        """Take over what is committed about the member by now."""
        ...

    def end(self, why: RequestError) -> None:
        """Tell its client that the membership does not go on over this stream."""
        ...


class _Seen(NamedTuple):
    """A group as it was looked at."""

    revision: int | None
    members: tuple[MemberView, ...]
    ended: tuple[tuple[Session, RequestError], ...]
    """Sessions of members that are none any more, or go on elsewhere."""


class _Timer(NamedTuple):
    when: MonotonicMs
    cancel: Callable[[], None]


class Members:
    """The table; one for each node. Loop only."""

    def __init__(self, context: BrokerContext, state: GroupState) -> None:
        """Look at groups whenever something about them was committed."""
        self._node = context
        self._state = state
        self._deadlines = Deadlines()
        self.at_join: Final = StartsAtJoin()
        self._sessions: dict[Key, Session] = {}
        self._known: dict[GroupId, dict[MemberId, StreamNumber]] = {}
        """Every member that is watched over, with its newest stream."""
        self._revisions: dict[GroupId, int] = {}
        self._to_look: set[GroupId] = set()
        self._ending: set[Key] = set()
        self._timer: _Timer | None = None
        self._not_before = MonotonicMs(0)
        """Nothing is due before: the node has stood still."""
        self._stopped = False
        state.subscribe(self._committed)
        state.follow_roles(began=self._began, ended=self._ended)

    def start(self) -> None:
        """Watch over the members that the log knows; their time counts from here.

        Also after `stop`, when the doors of a node that did not end are open again.
        """
        self._stopped = False
        self._deadlines = Deadlines()
        self._known.clear()
        self.at_join.clear()
        self._revisions.clear()
        for number in self._state.led:
            self._began(number)

    def stop(self) -> None:
        """End no membership any more: the node stops, its members resume when it is back."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def attach(self, session: Session, member: MemberView) -> None:
        """Note that a member joined or resumed over the stream of a session."""
        key = (session.group, session.member_id)
        before = self._sessions.get(key)
        if before is not None:
            assert before is not session, "MEMBER_HAS_ONE_SESSION"
            before.end(_elsewhere(*key))
        self._sessions[key] = session
        self._known.setdefault(session.group, {})[session.member_id] = member.stream
        self._deadlines.attach(session.group, member, now=self._node.clock.monotonic_ms())
        self._arm()
        # What was committed since the member was decided upon may have been looked at already.
        self._revisions.pop(session.group, None)
        self._committed(session.group)

    def heard(self, session: Session) -> None:
        """Note that a member has said something."""
        self._deadlines.heard(
            session.group,
            session.member_id,
            session.stream,
            now=self._node.clock.monotonic_ms(),
        )

    def serves(self, group: GroupId, member_id: MemberId) -> bool:
        """Tell whether a member has a stream here."""
        return (group, member_id) in self._sessions

    def starting_late(self, group: GroupId) -> frozenset[MemberId]:
        """Return the members with a stream here whose start is not the beginning."""
        sessions = self._sessions_of(group)
        return frozenset(session.member_id for session in sessions if session.starts_late)

    def heard_of(self, group: GroupId, member_id: MemberId) -> None:
        """Note that a member lives, if it has a stream here: its client was seen otherwise."""
        session = self._sessions.get((group, member_id))
        if session is not None:
            self.heard(session)

    def detach(self, session: Session) -> None:
        """Note that a session's stream has ended, in whatever way."""
        key = (session.group, session.member_id)
        if self._sessions.get(key) is session:
            del self._sessions[key]
        self._deadlines.detach(*key, session.stream, now=self._node.clock.monotonic_ms())
        self._arm()

    def time_left_ms(self, session: Session, owned: Owned) -> int:
        """Return how long a member may take to hand a partition over; 0: it is taken."""
        now = self._node.clock.monotonic_ms()
        left = self._deadlines.time_left_ms(session.group, session.member_id, owned, now=now)
        return left or 0

    def fenced(self, group: GroupId, member_ids: Collection[MemberId], why: RequestError) -> None:
        """Tell members that a decision has fenced them; else they only hear that they are none."""
        for member_id in member_ids:
            session = self._sessions.pop((group, member_id), None)
            if session is not None:
                session.end(why)

    def abandon(self, group: GroupId, member_id: MemberId, stream: StreamNumber) -> None:
        """End a membership whose client went before it heard of it."""
        leave = Leave(group=group, member_id=member_id, stream=stream)
        if not self._stopped:
            self._node.spawn.start(self._left_alone(leave), "member abandoned")

    def lost(self, group: GroupId, member_id: MemberId, stream: StreamNumber) -> None:
        """Give a member time to come back whose client went before it heard that it had resumed."""
        if not self._stopped:
            self._node.spawn.start(self._cut_off(group, member_id, stream), "resume lost")

    async def leave(self, request: Leave) -> bool:
        """End a membership; false when it had ended already or goes on over another stream.

        Raises:
            RequestError: it could not be written.
        """
        return await self._state.call(
            request.group,
            lambda machine, now: machine.leave(
                request, now=now, topics=ImageTopics(self._node.quorum.image)
            ),
        )

    # Whom this node coordinates.

    def _began(self, number: int) -> None:
        if not self._stopped:
            self._node.spawn.start(self._take_over(number), "members of a partition")

    def _ended(self, number: int) -> None:
        """End the streams of a partition's groups; watch over their members no longer."""
        for group in [one for one in self._known if partition_of(one) == number]:
            for session in self._sessions_of(group):
                session.end(coordinator_moved(group))
            for member_id in self._known.pop(group):
                self._sessions.pop((group, member_id), None)
                self.at_join.forget(group, member_id)
                self._deadlines.forget(group, member_id)
            self._revisions.pop(group, None)

    async def _take_over(self, number: int) -> None:
        """Give every member of a partition's groups time to come back, counted from now."""
        try:
            members = await self._state.read_in(number, lambda machine: list(machine.members()))
        except RequestError:
            return  # lost again before it could answer
        self._restore(members, self._node.clock.monotonic_ms())
        self._arm()

    def _restore(self, members: Sequence[tuple[GroupId, MemberView]], now: MonotonicMs) -> None:
        for group, member in members:
            known = self._known.setdefault(group, {})
            if known.get(member.member_id) != member.stream:  # else it has come already
                known[member.member_id] = member.stream
                self._deadlines.restore(group, member, now=now)

    # What was committed.

    def _committed(self, name: str) -> None:
        group = GroupId(name)
        if group not in self._to_look and not self._stopped:
            self._to_look.add(group)
            self._node.spawn.start(self._look(group), "members of a group")

    async def _look(self, group: GroupId) -> None:
        """Follow what is committed of a group."""
        self._to_look.discard(group)
        try:
            seen = await self._state.look(group, lambda machine: self._seen(machine, group))
        except RequestError as lost:  # this node does not coordinate the group any more
            for session in self._sessions_of(group):
                session.end(lost)
            return
        if seen is not None:
            self._follow(group, seen)

    def _seen(self, machine: GroupMachine, group: GroupId) -> _Seen | None:
        """Look at a group; None when its members are as they were."""
        revision = machine.revision(group)
        if revision is not None and revision == self._revisions.get(group):
            return None
        members = () if revision is None else machine.group(group).members
        ended: list[tuple[Session, RequestError]] = []
        for session in self._sessions_of(group):
            try:
                machine.check_stream(group, session.member_id, session.stream)
            except RequestError as why:
                ended.append((session, why))
        return _Seen(revision, members, tuple(ended))

    def _follow(self, group: GroupId, seen: _Seen) -> None:
        known = self._known.setdefault(group, {})
        now = self._node.clock.monotonic_ms()
        for session, why in seen.ended:
            session.end(why)
        for gone in known.keys() - {member.member_id for member in seen.members}:
            del known[gone]
            self._sessions.pop((group, gone), None)
            self.at_join.forget(group, gone)
            self._deadlines.forget(group, gone)
        for member in seen.members:
            if known.get(member.member_id) != member.stream:
                known[member.member_id] = member.stream
                self._deadlines.restore(group, member, now=now)
            self._deadlines.follow(group, member, now=now)
            holding = self._sessions.get((group, member.member_id))
            if holding is not None and holding.stream == member.stream:
                holding.update(member)
        if seen.revision is None:
            self._revisions.pop(group, None)
            del self._known[group]
        else:
            self._revisions[group] = seen.revision
        self._arm()

    def _sessions_of(self, group: GroupId) -> list[Session]:
        keys = ((group, member_id) for member_id in self._known.get(group, ()))
        return [self._sessions[key] for key in keys if key in self._sessions]

    # What falls due.

    def _arm(self) -> None:
        """Have the clock call when something falls due next."""
        due = self._deadlines.next()
        if due is None or self._stopped:
            return
        when = max(due, self._not_before)
        if self._timer is not None:
            if self._timer.when <= when:
                return
            self._timer.cancel()
        self._timer = _Timer(when, self._node.clock.call_at(when, self._look_at_clock))

    def _look_at_clock(self) -> None:
        now = self._node.clock.monotonic_ms()
        planned = now if self._timer is None else self._timer.when
        self._timer = None
        if now - planned > LATE_MS:
            self._not_before = MonotonicMs(now + LATE_MS)
            self._arm()
            return
        for due in self._deadlines.due(now):
            key = (due.group, due.member_id)
            if key not in self._ending:
                self._ending.add(key)
                self._node.spawn.start(self._end(due), "membership ends")
        self._arm()

    async def _end(self, due: Due) -> None:
        """Carry out what has fallen due."""
        try:
            match due:
                case SessionEnded(group, member_id, stream):
                    session = self._sessions.get((group, member_id))
                    reason = LeaveReason.SESSION_ENDED
                    leave = Leave(group=group, member_id=member_id, stream=stream, reason=reason)
                    if await self.leave(leave) and session is not None:
                        session.end(_silent(group, member_id))
                case ResumeEnded(group, member_id, stream):
                    reason = LeaveReason.RESUME_ENDED
                    await self.leave(
                        Leave(group=group, member_id=member_id, stream=stream, reason=reason)
                    )
                case RevokeOverdue(group, member_id, overdue):
                    await self._state.tend(
                        group,
                        lambda machine, _: machine.revoke_overdue(group, member_id, overdue),
                    )
        except RequestError:
            return  # not written, or nobody knows: it is due again in a second
        finally:
            self._ending.discard((due.group, due.member_id))

    async def _left_alone(self, leave: Leave) -> None:
        try:
            await self.leave(leave)
        except RequestError:
            return  # it is watched over like any member, and its time runs out

    async def _cut_off(self, group: GroupId, member_id: MemberId, stream: StreamNumber) -> None:
        try:
            member = await self._state.look(
                group, lambda machine: machine.check_stream(group, member_id, stream)
            )
        except RequestError:
            return  # it did not resume, or has come back since
        self._known.setdefault(group, {})[member_id] = stream
        now = self._node.clock.monotonic_ms()
        self._deadlines.attach(group, member, now=now)
        self._deadlines.detach(group, member_id, stream, now=now)
        self._arm()


def _elsewhere(group: GroupId, member_id: MemberId) -> RequestError:
    return RequestError(
        ErrorCode.STALE_MEMBER_EPOCH,
        f'member "{member_id}" goes on over a newer stream',
        group=group,
        member_id=member_id,
    )


def _silent(group: GroupId, member_id: MemberId) -> RequestError:
    return RequestError(
        ErrorCode.UNKNOWN_MEMBER,
        f'member "{member_id}" was silent for its session timeout and was removed; join anew',
        group=group,
        member_id=member_id,
    )
