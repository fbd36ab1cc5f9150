"""Stream records from a place, to a place, or over an exact range of time; bounded reads end.

A subscription reads its partitions in turn, whole batches at a time, and waits when there is
nothing: it holds one answer in memory, however far behind its reader is (P58), and has room for it
before it is read from files. What its reader is told: where each partition begins and ends
(`Opened`), the batches (`Step`), the switch from history to live (`CaughtUp`) and back
(`FellBehind`), what retention removed before it was read (`Gap`) and what was cut off after it was
read (`Diverged`), neither ever passed over.

Invariants:
    SUBSCRIPTION_MOVES_FORWARD    a partition's place only rises.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from api.broker.answer_room import AnswerRoom
from api.broker.context import BrokerContext
from api.broker.read_on import Diverged, Gap, ReadFrom, ReadOn, Step, replica_here
from api.broker.readable import Readable, reads_files
from api.broker.search import Searches
from cluster.shell.hosted_partition import HostedPartition
from logstore.event_bounds import INT64_MIN
from logstore.event_search import NEVER, next_possible
from logstore.searchable import SegmentGone, Visible
from logstore.time_search import range_bounds
from model.errors import ErrorCode, RequestError
from model.ids import LeaderEpoch, MonotonicMs, Offset
from model.limits import FETCH_BYTES_MAX, STREAM_SILENCE_MS_MAX, SUBSCRIBE_BYTES_DEFAULT
from model.principal import Principal
from model.record import ClockKind, TimeRange

HEARTBEAT_MS: Final = STREAM_SILENCE_MS_MAX.value * 4 // 5
"""A stream is never silent for longer than the limit: an answer takes a moment to arrive."""
BOUND_POLL_MS: Final = 100
"""How often the end of a range that lies in the future is looked for; ms."""


@dataclass(slots=True, eq=False)
class Bounds:
    """What is read of one partition; one such object is one reader's place in it."""

    partition: Readable
    start: Offset
    stop: Offset | None = None
    """Exclusive; None: never, or not known yet."""
    truncated: bool = False
    last_epoch: LeaderEpoch | None = None
    """Of the record before `start`, as the reader knows it; None = not told."""

    @property
    def end(self) -> Offset:
        """What can be read now ends here."""
        mark = self.partition.high_watermark
        return mark if self.stop is None else min(mark, self.stop)

    def move(self, found: Step | Gap) -> None:
        """Note where the partition stands once its reader has been told."""
        assert found.next_offset >= self.start, "SUBSCRIPTION_MOVES_FORWARD"
        self.start = found.next_offset
        if isinstance(found, Gap):
            self.last_epoch = None
        elif found.last_epoch is not None:
            self.last_epoch = found.last_epoch


class Opened(NamedTuple):
    """What was asked for, made absolute; again, with new bounds only, when a topic has grown."""

    bounds: Sequence[Bounds]
    times: TimeRange | None


class CaughtUp(NamedTuple):
    """Everything that was committed has been delivered, up to these places."""

    reached: Sequence[Bounds]


class FellBehind(NamedTuple):
    """The reader is in history again: what comes next is no longer in memory."""


Event: TypeAlias = Opened | Sequence[Step] | CaughtUp | FellBehind | Gap | Diverged


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """What to read: bounds, or bounds within a range of time."""

    bounds: Sequence[Bounds]
    times: TimeRange | None = None
    """Records outside the range may be among the batches on the event clock: the door filters."""
    max_bytes: int = SUBSCRIBE_BYTES_DEFAULT.value
    follow: Sequence[str] = ()
    """Topics whose new partitions are read too, from their beginning: for endless reads."""


@dataclass(slots=True)
class _State:
    """Where one subscription stands."""

    wanted: Subscription
    places: list[Bounds]
    told_at: MonotonicMs
    """When the reader was last told something."""
    room: AnswerRoom
    """For what is read, until the reader has been told."""
    caught_up: bool = False
    turn: int = 0
    known: set[HostedPartition] = field(default_factory=set)
    """Partitions that have a place."""
    open_ended: set[Bounds] = field(default_factory=set)
    """Places whose stop is an append time that is not closed yet."""


class Subscribe:
    """The use case; one for each node."""

    def __init__(self, context: BrokerContext, read_on: ReadOn, searches: Searches) -> None:
        """Read through the node's own fetch."""
        self._node = context
        self._read_on = read_on
        self._searches = searches

    async def resolve_range(self, partition: HostedPartition, times: TimeRange) -> Bounds:
        """Return the least bounds that hold every record of a range in one partition.

        On the append clock an end that is not closed yet leaves `stop` open: records may still
        come. Event time looks at the log as it is now.
        """
        partition.check_serves()
        closed = partition.closed_time(self._node.closed_time())
        found = await self._searches.run(
            partition.log, range_bounds(partition.log, times, end=partition.high_watermark)
        )
        future = (
            times.clock is ClockKind.APPEND and times.end_ms is not None and times.end_ms > closed
        )
        stop = None if future else found.stop
        return Bounds(partition, found.start, stop, found.truncated)

    async def __call__(
        self, principal: Principal, wanted: Subscription, room: AnswerRoom
    ) -> AsyncGenerator[Event, None]:
        """Yield events until every partition has reached its stop; for ever if one has none.

        `room` holds what an event takes until the next is asked for; who ends before clears it.

        Raises:
            RequestError: what cannot be read, its metadata name the partition; OVERLOADED.
        """
        places = [
            Bounds(one.partition, one.start, one.stop, one.truncated, one.last_epoch)
            for one in wanted.bounds
        ]
        state = _State(wanted, places, self._node.clock.monotonic_ms(), room)
        state.known = {replica_here(one.partition) for one in places}
        if wanted.times is not None and wanted.times.clock is ClockKind.APPEND:
            state.open_ended = {one for one in places if one.stop is None}
        yield Opened(wanted.bounds, wanted.times)
        while True:
            grown = self._grown(state)
            if grown:
                yield Opened(grown, None)
            await self._close_ends(state)
            if wanted.times is not None and wanted.times.clock is ClockKind.EVENT:
                await self._pass_by(state.places, wanted.times)
            reading = [one for one in state.places if one.stop is None or one.start < one.stop]
            if not reading:
                return
            switched = _switched(state, reading)
            if switched is not None:
                yield switched
            for event in await self._turn(principal, state, reading):
                yield event
                state.told_at = self._node.clock.monotonic_ms()
            room.clear()

    async def _turn(
        self, principal: Principal, state: _State, reading: list[Bounds]
    ) -> list[Event]:
        """Read once, beginning with another partition each time; wait when there is nothing."""
        state.turn += 1
        first = state.turn % len(reading)
        order = [*reading[first:], *reading[:first]]
        behind = any(one.start < one.end for one in order)
        max_bytes = state.wanted.max_bytes
        silent = self._node.clock.monotonic_ms() - state.told_at
        wait_ms = max(HEARTBEAT_MS - silent, 1)
        if state.open_ended:
            wait_ms = min(wait_ms, BOUND_POLL_MS)
        if any(reads_files(one.partition, one.start, one.end) for one in order):
            await state.room.take(2 * max_bytes)
        read = await self._read_on(
            principal,
            [ReadFrom(one.partition, one.start, max_bytes, one.last_epoch) for one in order],
            min_bytes=0 if behind else 1,
            max_bytes=max_bytes,
            max_wait_ms=0 if behind else wait_ms,
        )
        due = self._node.clock.monotonic_ms() - state.told_at >= HEARTBEAT_MS
        events: list[Event] = []
        steps: list[Step] = []
        for place, one in zip(order, read, strict=True):
            if isinstance(one, RequestError):
                raise one
            found: Step | Gap | Diverged = one
            if isinstance(one, Step):
                self._close_end(state, place, one)
                found = _within(place, one)
                if found.batches or found.next_offset > place.start or due:
                    steps.append(found)
            else:
                events.append(one)
            self._move(state, place, found)
        # What was read, and the message made of it.
        await state.room.settle(2 * sum(step.size_bytes for step in steps))
        return [*events, steps] if steps else events

    async def _pass_by(self, places: Sequence[Bounds], times: TimeRange) -> None:
        """Go on to the next block that may hold a record of the range: others are not read."""
        earliest = INT64_MIN if times.start_ms is None else times.start_ms
        below = NEVER if times.end_ms is None else times.end_ms
        for place in places:
            partition, start = replica_here(place.partition), place.start
            visible = Visible(start, place.end)
            try:
                search = next_possible(partition.log, visible, earliest=earliest, below=below)
                found = await self._searches.run(partition.log, search)
            except SegmentGone:  # cut or removed meanwhile: the read tells what there is to tell
                continue
            if partition.log_start <= start < found:  # else the reader is to hear of a gap
                place.start, place.last_epoch = found, None

    def _move(self, state: _State, place: Bounds, found: Step | Gap | Diverged) -> None:
        """Note where a partition stands once its reader has been told."""
        if isinstance(found, Diverged):
            # It delivers nothing more: what to undo, and where to go on, is the reader's choice.
            place.stop, place.last_epoch = place.start, None
            state.open_ended.discard(place)
            return
        place.move(found)

    def _close_end(self, state: _State, place: Bounds, step: Step) -> None:
        """Set the stop of an open range before the first batch that was appended beyond it."""
        times = state.wanted.times
        if place not in state.open_ended or times is None or times.end_ms is None:
            return
        end_ms = times.end_ms
        beyond = next((one for one in step.batches if one.append_time >= end_ms), None)
        if beyond is not None:
            place.stop = max(beyond.base_offset, place.start)
            state.open_ended.discard(place)

    def _grown(self, state: _State) -> list[Bounds]:
        """Take in the partitions that followed topics have got since."""
        grown: list[Bounds] = []
        for topic in state.wanted.follow:
            fresh = [one for one in self._node.partitions.of_topic(topic) if one not in state.known]
            if fresh and not fresh[0].number:  # the first is known from the beginning
                raise _namesake(topic)
            grown += [Bounds(one, one.log_start) for one in fresh]
        state.places += [Bounds(one.partition, one.start) for one in grown]
        state.known.update(replica_here(one.partition) for one in grown)
        return grown

    async def _close_ends(self, state: _State) -> None:
        """Set the stop of partitions whose range has been closed meanwhile."""
        times = state.wanted.times
        if not state.open_ended or times is None or times.end_ms is None:
            return
        for place in [one for one in state.places if one in state.open_ended]:
            partition = replica_here(place.partition)
            if partition.closed_time(self._node.closed_time()) < times.end_ms:
                continue  # a search could not tell more
            bounds = await self.resolve_range(partition, times)
            if bounds.stop is not None:
                place.stop = max(bounds.stop, place.start)
                state.open_ended.discard(place)


def _namesake(topic: str) -> RequestError:
    """Return what ends a read whose topic was deleted: places in it mean nothing in another."""
    return RequestError(
        ErrorCode.UNKNOWN_TOPIC,
        f'topic "{topic}" was deleted; the one that has its name now is another',
        topic=topic,
    )


def _switched(state: _State, reading: list[Bounds]) -> CaughtUp | FellBehind | None:
    """Tell whether a reader has come from history to the end, or back."""
    before, state.caught_up = state.caught_up, is_live(reading, before=state.caught_up)
    if state.caught_up == before:
        return None
    if before:
        return FellBehind()
    return CaughtUp([Bounds(one.partition, one.start) for one in state.places])


def is_live(reading: Sequence[Bounds], *, before: bool) -> bool:
    """Tell whether a reader has reached the end; or, if it had, is not in history again."""
    if before:
        return not any(reads_files(one.partition, one.start, one.end) for one in reading)
    return all(one.start >= one.end for one in reading)


def _within(place: Bounds, step: Step) -> Step:
    """Leave out what lies at or beyond the stop."""
    if place.stop is None or step.next_offset < place.stop:
        return step
    stop = place.stop
    batches = [batch for batch in step.batches if batch.base_offset < stop]
    return step._replace(batches=batches, next_offset=max(stop, place.start))


def check_step_bytes(asked: int) -> int:
    """Return the size of a step; 0 = the default.

    Raises:
        RequestError: INVALID_REQUEST, outside 0 to 3 MiB.
    """
    if not 0 <= asked <= FETCH_BYTES_MAX.value:
        raise RequestError(
            ErrorCode.INVALID_REQUEST,
            f"max_bytes is {asked}, it goes from 0 to {FETCH_BYTES_MAX.value}",
            field="max_bytes",
        )
    return asked or SUBSCRIBE_BYTES_DEFAULT.value
