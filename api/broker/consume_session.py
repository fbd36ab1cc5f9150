"""One member's stream: what it is told and sent, in one order, and what it says.

The stream is one generator: answers and news first, then records as far as the credit goes, one
partition after the other. Each turn looks at the newest committed view of the member, never at what
is only decided. What the client says (`consume_actions`) changes what the next turn sees.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from dataclasses import replace
from typing import Final

from api.broker.answer_room import AnswerRoom
from api.broker.consume_actions import Said, SessionDoors
from api.broker.consume_assignment import Assignment
from api.broker.consume_events import (
    Action,
    Assigned,
    Committed,
    Event,
    Heartbeat,
    Opening,
)
from api.broker.consume_places import Held, Spent, told, within_credit
from api.broker.coordinator_moved import MOVED, coordinator_moved
from api.broker.place import Earliest
from api.broker.read_on import ReadFrom, Step
from api.broker.subscribe import HEARTBEAT_MS as SILENCE_MS
from api.broker.subscribe import Bounds, CaughtUp, FellBehind, is_live
from consumer_groups.native.credits import Credits
from consumer_groups.records import MemberId, Owned, StreamNumber
from consumer_groups.views import MemberView
from model.errors import ErrorCode, RequestError, StorageFailed
from model.ids import GroupId, MonotonicMs
from model.limits import SUBSCRIBE_BYTES_DEFAULT
from model.principal import Principal

HEARTBEAT_MS: Final = SILENCE_MS
"""The member is told something at least so often, as every reader is."""
STEP_BYTES: Final = SUBSCRIBE_BYTES_DEFAULT.value


class ConsumeSession:
    """The stream. Loop only."""

    def __init__(
        self,
        doors: SessionDoors,
        principal: Principal,
        *,
        opening: Opening,
        member: MemberView,
    ) -> None:
        """Serve a member that has joined or resumed over this stream."""
        self._doors = doors
        self._principal = principal
        self._group = opening.group
        self._start = opening.start
        self._member = member
        self._assignment = Assignment(
            doors.partitions,
            doors.starts,
            self._time_left_ms,
            members=doors.members,
            principal=principal,
            opening=opening,
        )
        self._assignment.resumed(member)
        self._places = self._assignment.places
        self._credit = Credits(records=opening.records, size_bytes=opening.size_bytes)
        self._said = Said(
            doors,
            principal,
            group=opening.group,
            assignment=self._assignment,
            credit=self._credit,
            member=member,
        )
        self._decoded = opening.decoded
        self._kept: list[tuple[Held, Step]] = []
        """Read, and not yet delivered: one step's size at most."""
        shares = doors.node.shares
        self._room = AnswerRoom(shares.relayed if opening.brought else shares.clients)
        """For what was read, until it is delivered, and the message made of it."""
        self._starved = False
        """There was no room to read; it rings when there is."""
        self._spent: Spent | None = None
        """What the records that are told cost as they are stored."""
        self._sent: Spent | None = None
        """What they cost as they are sent."""
        self._live = False
        self._why: RequestError | None = None
        self._over: Callable[[], None] = lambda: None
        self._bell = asyncio.Event()
        self._told_at = doors.node.clock.monotonic_ms()
        self._reminder: Callable[[], None] | None = None
        """Ends what will ring when it owes a sign of life; None: nothing will."""
        self._finding: asyncio.Task[None] | None = None
        """Finds where it begins in what it is given; signs of life go out meanwhile."""
        self._owes_sign = False
        """It was told nothing for as long as a stream may be silent."""

    # What the table of members sees.

    @property
    def group(self) -> GroupId:
        """Whose member it is."""
        return self._group

    @property
    def member_id(self) -> MemberId:
        """Which member."""
        return self._member.member_id

    @property
    def stream(self) -> StreamNumber:
        """This stream's number; the member may have a newer one by now."""
        return self._member.stream

    @property
    def starts_late(self) -> bool:
        """Whether it begins elsewhere than at the beginning where nothing is committed."""
        return not isinstance(self._start, Earliest)

    def update(self, member: MemberView) -> None:
        """Take over what is committed about the member by now."""
        if member != self._member:
            self._member = member
            self._ring()

    def end(self, why: RequestError) -> None:
        """End the stream with an error, once what was said before is delivered."""
        if self._why is None:
            self._why = coordinator_moved(self._group) if why.code in MOVED else why
            self._over()
        self._ring()

    def when_over(self, tell: Callable[[], None]) -> None:
        """Have it told when `end` is called: a client that reads nothing would not notice."""
        self._over = tell

    @property
    def why(self) -> RequestError | None:
        """What the stream ends with; None: it goes on, or the member leaves."""
        return self._why

    def close(self) -> None:
        """The stream is over: a member that has not left may resume."""
        self._doors.members.detach(self)

    # What it is told.

    async def events(self) -> AsyncGenerator[Event, None]:
        """Yield events until the member has left.

        Raises:
            RequestError: the membership is lost, goes on elsewhere, or cannot be served on.
        """
        try:
            while True:
                self._bell.clear()
                events = await self._turn()
                if not events and self._said.left and not self._said.answers:
                    return
                for event in events:
                    yield event
                    self._heard_something()
                    if isinstance(event, Committed):
                        self._said.room.release()
                self._settle()
                if not events:
                    await self._rest()
        finally:
            self._heard_something()
            self._room.clear()
            self._room.forget()
            if self._finding is not None:
                self._finding.cancel()

    def sent(self, cost: Spent) -> None:
        """Note what a message took of the credit; what nobody counts costs what it is stored as."""
        before = self._sent or Spent(0, 0)
        self._sent = Spent(before.records + cost.records, before.size_bytes + cost.size_bytes)

    async def _turn(self) -> list[Event]:
        """Return what comes next; nothing when there is nothing to tell."""
        answers = self._said.take_answers()
        if answers:
            return answers
        if self._why is not None and not self._said.left:
            raise self._why
        if self._said.leaving:
            return []
        assignment, member = self._assignment, self._member
        events = assignment.changed(member)
        if not events:
            events = assignment.given(member)
            if events:  # there is something to catch up with
                self._live = False
            self._find(member)
        if not events:
            events = self._arrived() or self._switched() or await self._records()
        if not events:  # a first read that found nothing has made it live
            events = self._switched()
        if not events and self._owes_sign:
            events = [Heartbeat()]
        return events

    def _find(self, member: MemberView) -> None:
        """See to it that places are found which are wanted."""
        if self._finding is not None and self._finding.done():
            self._finding.result()
            self._finding = None
        if self._finding is None and self._assignment.seeks and self._why is None:
            finding = self._assignment.find(member, self._ring)
            self._finding = asyncio.create_task(self._found(finding))  # noqa: TID251 - ended with `events`

    async def _found(self, finding: Coroutine[object, object, None]) -> None:
        try:
            await finding
        except RequestError as refusal:
            self.end(refusal)
        except StorageFailed as failed:
            self.end(RequestError(ErrorCode.STORAGE_ERROR, str(failed)))
        finally:
            self._ring()

    def _arrived(self) -> list[Event]:
        """Tell of the places where the member goes on as it asked."""
        moved = self._said.take_moved()
        if not moved:
            return []
        self._live = False
        return [Assigned([replace(held.bounds) for held in moved])]

    def _switched(self) -> list[Event]:
        delivered = [held for held in self._places.every() if held.delivers]
        if self._assignment.seeks or not (delivered or self._is_idle()):
            return []
        if not self._live and any(held.may_have_more for held in delivered):
            return []
        bounds = [held.bounds for held in delivered]
        before, self._live = self._live, is_live(bounds, before=self._live)
        if before == self._live:
            return []
        return [FellBehind()] if before else [CaughtUp([replace(place) for place in bounds])]

    def _is_idle(self) -> bool:
        """Tell whether it is given nothing, and will be given nothing before others change."""
        member = self._member
        return not (member.owned or member.revoking or member.pending)

    async def _records(self) -> list[Event]:
        """Deliver as far as the credit goes: what was read before, else what is read now."""
        self._starved = False
        if not self._credit.may_send():
            self._kept = []
            self._room.forget()
            return []
        events: list[Event] = []
        steps = [(held, step) for held, step in self._kept if self._wanted(held, step)]
        if not steps:
            self._kept = []  # paused since, sent elsewhere or gone: nobody waits with its room
            events, steps = await self._read()
        if steps:
            owners = {step.partition: held for held, step in steps}
            cut = within_credit([step for _, step in steps], self._credit, decoded=self._decoded)
            for step in cut.now:
                owners[step.partition].bounds.move(step)
            self._kept = [(owners[step.partition], step) for step in cut.later]
            self._spent = cut.spent
            events.append(cut.now)
        return events

    async def _read(self) -> tuple[list[Event], list[tuple[Held, Step]]]:
        """Read on in every partition that has news, once."""
        reading = [held for held in self._places.in_turn() if held.has_news]
        if not reading:
            self._room.forget()
            return [], []
        size = min(STEP_BYTES, self._credit.size_bytes)
        self._room.clear()
        self._starved = not self._room.try_take(2 * size, self._ring)
        if self._starved:
            return [], []
        epochs = [held.serving_epoch for held in reading]
        read = await self._doors.read_on(
            self._principal,
            [_from(held.bounds, size) for held in reading],
            min_bytes=0,
            max_bytes=size,
            max_wait_ms=0,
        )
        events: list[Event] = []
        steps: list[tuple[Held, Step]] = []
        for held, epoch, found in zip(reading, epochs, read, strict=True):
            if not (self._places.has(held) and held.delivers):
                continue  # given back, paused or sent elsewhere while it was read
            held.read_in = epoch
            if isinstance(found, Step):
                held.saw(found)
                if found.batches or found.next_offset > held.bounds.start:
                    steps.append((held, found))
            else:
                held.fresh = False
                events += told(held, found)
        self._room.hold(2 * sum(step.size_bytes for _, step in steps))
        if not events and not steps:
            await self._doors.turn()
        return events, steps

    def _wanted(self, held: Held, step: Step) -> bool:
        """Tell whether what was read is still what comes next."""
        current = self._places.has(held) and held.delivers
        return current and held.bounds.start == step.start_offset

    def _settle(self) -> None:
        """Take what was sent off the credit, and let its room go."""
        if not self._kept:
            self._room.clear()
        cost = self._sent or self._spent
        if cost is not None and any(cost):
            self._credit.spend(records=cost.records, size_bytes=cost.size_bytes)
        self._spent = self._sent = None

    async def _rest(self) -> None:
        """Wait until something has changed, or it is time for a sign of life."""
        watched: list[Bounds] = []
        if self._reminder is None and not self._owes_sign:  # also for who asks on and on in vain
            due = MonotonicMs(self._told_at + HEARTBEAT_MS)
            self._reminder = self._doors.remind(due, self._sign_is_due)
        if self._credit.may_send() and not (self._said.leaving or self._starved):
            held = [one for one in self._places.every() if one.delivers]
            if any(one.has_news for one in held):
                return
            watched = [one.bounds for one in held]
        for place in watched:
            place.partition.watch(place.start, self._wake)
        try:
            await self._bell.wait()
        finally:
            for place in watched:
                place.partition.unwatch(self._wake)

    def _heard_something(self) -> None:
        """The client has been told something: the next sign of life is due so much later."""
        self._told_at = self._doors.node.clock.monotonic_ms()
        self._owes_sign = False
        if self._reminder is not None:
            self._reminder()
            self._reminder = None

    def _sign_is_due(self) -> None:
        self._reminder = None
        self._owes_sign = True
        self._ring()

    def _wake(self) -> None:
        """Records were committed: look when this tick has gathered all there are."""
        self._doors.node.tick.at_end(self._ring)

    def _ring(self) -> None:
        self._bell.set()

    # What it says.

    def heard(self) -> None:
        """Note that the client lives: something of it has arrived."""
        self._doors.members.heard(self)

    async def room(self) -> None:
        """Wait until one more commit may be under way: until its client has read answers."""
        await self._said.room.acquire()

    async def act(self, action: Action) -> None:
        """Carry out what the client says; to be started in the order in which it came.

        What is refused ends the stream.
        """
        try:
            await self._said.carry_out(action)
        except RequestError as refusal:
            self.end(refusal)
        except StorageFailed as failed:
            self.end(RequestError(ErrorCode.STORAGE_ERROR, str(failed)))
        self._ring()

    def _time_left_ms(self, owned: Owned) -> int:
        return self._doors.members.time_left_ms(self, owned)


def _from(place: Bounds, max_bytes: int) -> ReadFrom:
    return ReadFrom(place.partition, place.start, max_bytes, place.last_epoch)
