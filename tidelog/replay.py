"""Reading: from a place to a place, on for ever, or exactly the records of a range of time."""

import logging
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Final, Generic, Literal, TypeAlias

from tidelog.checkpoint import Checkpoint, Key, Place
from tidelog.clock import Clock as SystemTime
from tidelog.codecs import Codec
from tidelog.decode_record import decode_record
from tidelog.errors import DataCorrupt, LogGap
from tidelog.steps import Advance, Live, Raw, Step, Trouble
from tidelog.subscription import Subscription, behind
from tidelog.types import Clock, K, Position, ReadBounds, Record, TopicPartition, V

LOGGER: Final = logging.getLogger("tidelog.client")
Gaps: TypeAlias = Literal["warn", "raise"]


class Pace:
    """Holds records back to the speed at which they once came, or a multiple of it."""

    def __init__(self, rate: float, clock: Clock, time: SystemTime) -> None:
        """Take how many times as fast, and the clock that tells how fast it was."""
        self._rate = rate
        self._clock = clock
        self._time = time
        self._first_ms: int | None = None
        self._began_s = 0.0

    async def wait(self, record: Raw) -> None:
        """Wait until the record's turn; one without a time comes at once."""
        time_ms = record.append_time_ms if self._clock == "append" else record.timestamp_ms
        if time_ms is None:
            return
        if self._first_ms is None:
            self._first_ms, self._began_s = time_ms, self._time.monotonic()
        due_s = self._began_s + (time_ms - self._first_ms) / 1000 / self._rate
        wait_s = due_s - self._time.monotonic()
        if wait_s > 0:
            await self._time.sleep(wait_s)


class Replay(
    AbstractAsyncContextManager["Replay[K, V]"], AsyncIterator[Record[K, V]], Generic[K, V]
):
    """Reads records; made by `Client.replay`, used in `async with` and `async for`.

    Within a partition records come in offset order, each once; a broken connection does not show.
    """

    def __init__(
        self,
        subscription: Subscription,
        *,
        key: Codec[K],
        value: Codec[V],
        gaps: Gaps,
        pace: Pace | None,
        replay_id: str,
    ) -> None:
        """Take what the client has checked."""
        self._subscription = subscription
        self._key = key
        self._value = value
        self._gaps = gaps
        self._pace = pace
        self._id = replay_id
        self._steps: deque[Step] = deque()
        self._records_ready = 0
        self._handed: dict[Key, Place] = {}
        """Behind the record handed out last, in each partition."""
        self._caught_up = False
        self._ended = False

    async def __aenter__(self) -> "Replay[K, V]":
        """Ask, and wait until a node has said what is read.

        Raises:
            TidelogError: it cannot be read.
        """
        if self._subscription.opened:
            raise RuntimeError("a replay is read once; ask the client for another one")
        self._take(await self._subscription.open())
        self._handed = behind(self._subscription.places)
        by_offset = self._subscription.start_offset is not None  # a gap, told in its turn
        for (topic, partition), place in sorted(self._handed.items()):
            if place.truncated and not by_offset:
                LOGGER.warning(
                    "%s/%d: records before offset %d were removed, by retention or a trim",
                    topic, partition, place.offset,
                )  # fmt: skip
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None:
        """End the stream."""
        self._ended = True
        self._steps.clear()
        self._subscription.close()

    async def __anext__(self) -> Record[K, V]:
        """Return the next record.

        Raises:
            LogGap: with gaps="raise"; reading on goes on behind the gap.
            LogDiverged: what was read is no longer in the log.
            DataCorrupt: batches cannot be read; reading on goes on behind them, at `next_offset`.
                Where that is None, it has ended.
            Exception: whatever the codec raises; reading on goes on with the next record.
        """
        if not self._subscription.opened:
            raise RuntimeError("the replay is not open; use it inside `async with`")
        while True:
            record = self._take_buffered()
            if record is not None:
                return record
            if self._steps and self._pace is not None:
                held_back = self._steps[0]
                assert isinstance(held_back, Raw)
                await self._pace.wait(held_back)  # interrupted, it is still to come
                if self._steps:  # not closed meanwhile
                    self._steps.popleft()
                    return self._hand_out(held_back)
            if self._ended:
                raise StopAsyncIteration
            try:
                steps = await self._subscription.next()
            except DataCorrupt:  # nobody knows where to go on: asked again, it is refused again
                self._ended = True
                raise
            if steps is None:
                self._ended = True
            else:
                self._take(steps)

    @property
    def caught_up(self) -> bool:
        """Whether the records handed out now are live: all that was there has been read."""
        return self._caught_up

    @property
    def buffered(self) -> int:
        """Records that are here already: the next so many come without waiting."""
        return self._records_ready

    @property
    def bounds(self) -> Sequence[ReadBounds]:
        """What is left to read of each partition; before the first record that is all of it."""
        return [
            ReadBounds(TopicPartition(*key), place.offset, place.stop, place.truncated)
            for key, place in sorted(self._handed.items())
        ]

    @property
    def positions(self) -> Mapping[TopicPartition, Position]:
        """How far each partition's log reached when it was last heard of."""
        return self._subscription.positions

    def checkpoint(self) -> Checkpoint:
        """Return where to go on after the record handed out last: `replay(..., resume=...)`."""
        while self._steps and isinstance(self._steps[0], Advance | Live):
            self._apply(self._steps.popleft())
        for at, place in self._handed.items():
            place.stop = self._subscription.places[at].stop  # it may be known only now
        return Checkpoint(self._handed, self._subscription.times)

    def _take_buffered(self) -> Record[K, V] | None:
        """Return the next record if it is here and due; None: it has to be waited for.

        `tidelog.sync` takes records here without waking the loop's thread for each of them.
        """
        while self._steps:
            if isinstance(self._steps[0], Raw) and self._pace is not None:
                return None
            step = self._steps.popleft()
            if isinstance(step, Raw):
                return self._hand_out(step)
            self._apply(step)
        return None

    def _take(self, steps: Sequence[Step]) -> None:
        self._steps.extend(steps)
        self._records_ready += sum(isinstance(step, Raw) for step in steps)

    def _apply(self, step: Step) -> None:
        """Take a sign that lies between records."""
        match step:
            case Advance(at, offset, epoch):
                place = self._place(at)
                place.offset, place.leader_epoch = offset, epoch
            case Live(caught_up):
                self._caught_up = caught_up
            case Trouble(error):
                if isinstance(error, LogGap) and self._gaps == "warn":
                    LOGGER.warning("%s", error)
                else:
                    raise error
            case Raw():
                raise AssertionError(step)

    def _hand_out(self, raw: Raw) -> Record[K, V]:
        self._records_ready -= 1
        place = self._place(raw.at)
        place.offset, place.leader_epoch = raw.offset + 1, raw.leader_epoch
        return decode_record(raw, key=self._key, value=self._value, replay=self._id)

    def _place(self, at: Key) -> Place:
        place = self._handed.get(at)
        if place is None:  # a partition that the topic has grown meanwhile
            known = self._subscription.places[at]
            place = self._handed[at] = Place(0, None, known.stop, known.truncated)
        return place
