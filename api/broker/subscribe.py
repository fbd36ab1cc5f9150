"""Stream records from a place, to a place, or over an exact range of time; bounded reads end.

A subscription reads its partitions in turn, whole batches at a time, and waits when there is
nothing: it holds one answer in memory, however far behind its reader is (P58). What its reader is
told: where each partition begins and ends (`Opened`), the batches (`Step`), the switch from history
to live (`CaughtUp`), and what retention removed before it was read (`Gap`), never passed over.

Invariants:
    SUBSCRIPTION_MOVES_FORWARD    a partition's place only rises.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from api.broker.append_runs import StoredBatch, append_runs
from api.broker.context import BrokerContext
from api.broker.fetch import Fetch, Fetched, Want
from api.broker.search import Searches
from cluster.shell.hosted_partition import HostedPartition
from logstore.time_search import range_bounds
from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, Offset
from model.principal import Principal
from model.record import ClockKind, TimeRange

HEARTBEAT_MS: Final = 5_000
"""A stream is never silent for longer."""
BOUND_POLL_MS: Final = 100
"""How often the end of a range that lies in the future is looked for; ms."""
STEP_BYTES_DEFAULT: Final = 512 << 10
STEP_BYTES_MAX: Final = 3 << 20


@dataclass(slots=True)
class Bounds:
    """What is read of one partition."""

    partition: HostedPartition
    start: Offset
    stop: Offset | None = None
    """Exclusive; None: never, or not known yet."""
    truncated: bool = False
    leader_epoch: int = -1
    """Of the record before `start`, as the reader knows it; -1 = not told."""


class Opened(NamedTuple):
    """What was asked for, made absolute."""

    bounds: Sequence[Bounds]
    times: TimeRange | None


class Step(NamedTuple):
    """One partition moved on to `next_offset`; without batches it is a sign of life."""

    partition: HostedPartition
    batches: Sequence[StoredBatch]
    next_offset: Offset
    log_start: Offset
    high_watermark: Offset
    last_stable_offset: Offset
    closed_time: AppendTimeMs


class CaughtUp(NamedTuple):
    """Everything that was committed has been delivered, up to these offsets."""

    reached: Sequence[tuple[HostedPartition, Offset]]


class FellBehind(NamedTuple):
    """The reader is in history again; a `CaughtUp` follows."""


class Gap(NamedTuple):
    """Records were removed before they were read."""

    partition: HostedPartition
    expected_offset: Offset
    next_offset: Offset


Event: TypeAlias = Opened | Sequence[Step] | CaughtUp | FellBehind | Gap


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """What to read: bounds, or bounds within a range of time."""

    bounds: Sequence[Bounds]
    times: TimeRange | None = None
    """Records outside the range may be among the batches on the event clock: the door filters."""
    max_bytes: int = STEP_BYTES_DEFAULT


@dataclass(slots=True)
class _State:
    """Where one subscription stands."""

    wanted: Subscription
    places: list[Bounds]
    caught_up: bool = False
    told_behind: bool = False
    turn: int = 0
    open_ended: set[int] = field(default_factory=set)
    """Slots whose stop is an append time that is not closed yet."""


class Subscribe:
    """The use case; one for each node."""

    def __init__(self, context: BrokerContext, fetch: Fetch, searches: Searches) -> None:
        """Read through the node's own fetch."""
        self._node = context
        self._fetch = fetch
        self._searches = searches

    async def resolve_range(self, partition: HostedPartition, times: TimeRange) -> Bounds:
        """Return the least bounds that hold every record of a range in one partition.

        On the append clock an end that is not closed yet leaves `stop` open: records may still
        come. Event time looks at the log as it is now.
        """
        closed = partition.closed_time(self._node.closed_time())
        found = await self._searches.run(
            partition.log, range_bounds(partition.log, times, end=partition.high_watermark)
        )
        future = (
            times.clock is ClockKind.APPEND and times.end_ms is not None and times.end_ms > closed
        )
        stop = None if future else found.stop
        return Bounds(partition, found.start, stop, found.truncated)

    async def __call__(self, principal: Principal, wanted: Subscription) -> AsyncIterator[Event]:
        """Yield events until every partition has reached its stop; for ever if one has none.

        Raises:
            RequestError: what cannot be read; its metadata name the partition.
        """
        places = [
            Bounds(one.partition, one.start, one.stop, one.truncated, one.leader_epoch)
            for one in wanted.bounds
        ]
        state = _State(wanted, places)
        if wanted.times is not None and wanted.times.clock is ClockKind.APPEND:
            state.open_ended = {slot for slot, one in enumerate(places) if one.stop is None}
        yield Opened(wanted.bounds, wanted.times)
        while True:
            await self._close_ends(state)
            reading = [one for one in state.places if one.stop is None or one.start < one.stop]
            if not reading:
                return
            async for event in self._turn(principal, state, reading):
                yield event

    async def _turn(
        self, principal: Principal, state: _State, reading: list[Bounds]
    ) -> AsyncIterator[Event]:
        """Read once, beginning with another partition each time; wait when there is nothing."""
        state.turn += 1
        first = state.turn % len(reading)
        order = [*reading[first:], *reading[:first]]
        behind = any(one.start < _end_for(one) for one in order)
        if not behind and not state.caught_up:
            state.caught_up = True
            yield CaughtUp([(one.partition, one.start) for one in state.places])
        wait_ms = 0 if behind else (BOUND_POLL_MS if state.open_ended else HEARTBEAT_MS)
        fetched = await self._read(principal, state.wanted, order, wait_ms=wait_ms)
        steps: list[Step] = []
        for place, found in zip(order, fetched, strict=True):
            gap = _gap(place, found)
            if gap is not None:
                yield gap
                place.start = gap.next_offset
                continue
            if found.error is not None:
                raise found.error
            step = await self._step(place, found)
            if step.batches or not behind:
                steps.append(step)
            assert step.next_offset >= place.start, "SUBSCRIPTION_MOVES_FORWARD"
            place.start = step.next_offset
        if steps and (wait_ms != BOUND_POLL_MS or any(step.batches for step in steps)):
            yield steps

    async def _read(
        self, principal: Principal, wanted: Subscription, order: list[Bounds], *, wait_ms: int
    ) -> Sequence[Fetched]:
        wants = [
            Want(one.partition, one.start, wanted.max_bytes, one.leader_epoch) for one in order
        ]
        return await self._fetch.wait(
            principal,
            wants,
            min_bytes=1 if wait_ms else 0,
            max_bytes=wanted.max_bytes,
            max_wait_ms=wait_ms,
        )

    async def _step(self, place: Bounds, found: Fetched) -> Step:
        """Give each batch its append time; leave out what lies at or beyond the stop."""
        next_offset = found.next_offset
        batches: Sequence[StoredBatch] = ()
        if found.size_bytes:
            search = append_runs(
                place.partition.log, found.buffers, start=place.start, end=next_offset
            )
            batches = await self._searches.run(place.partition.log, search)
        if place.stop is not None and next_offset >= place.stop:
            stop = place.stop
            batches = [batch for batch in batches if batch.base_offset < stop]
            next_offset = max(stop, place.start)
        return Step(
            place.partition,
            batches,
            next_offset,
            found.log_start,
            found.high_watermark,
            found.last_stable_offset,
            place.partition.closed_time(self._node.closed_time()),
        )

    async def _close_ends(self, state: _State) -> None:
        """Set the stop of partitions whose range has been closed meanwhile."""
        times = state.wanted.times
        if not state.open_ended or times is None:
            return
        for slot in sorted(state.open_ended):
            place = state.places[slot]
            bounds = await self.resolve_range(place.partition, times)
            if bounds.stop is not None:
                place.stop = max(bounds.stop, place.start)
                state.open_ended.discard(slot)


def _end_for(place: Bounds) -> Offset:
    mark = place.partition.high_watermark
    return mark if place.stop is None else min(mark, place.stop)


def _gap(place: Bounds, found: Fetched) -> Gap | None:
    """Tell what was removed before it was read; None if nothing was."""
    error = found.error
    if error is None or error.code is not ErrorCode.OFFSET_OUT_OF_RANGE:
        return None
    if place.start >= found.log_start:
        return None
    return Gap(place.partition, place.start, found.log_start)


def check_step_bytes(asked: int) -> int:
    """Return the size of a step; 0 = the default.

    Raises:
        RequestError: INVALID_REQUEST, outside 0 to 3 MiB.
    """
    if not 0 <= asked <= STEP_BYTES_MAX:
        raise RequestError(
            ErrorCode.INVALID_REQUEST,
            f"max_bytes is {asked}, it goes from 0 to {STEP_BYTES_MAX}",
            field="max_bytes",
        )
    return asked or STEP_BYTES_DEFAULT
