"""The SDK's clients, with what they are asked and what they answer written down.

Arguments, results and exceptions are the SDK's own; only values are the recorder's, and a producer
is told the partition. A member commits by hand: `client.consumer(..., commit="manual")`.
"""

from collections.abc import AsyncIterator, Awaitable, Sequence
from datetime import datetime, timedelta
from itertools import count

from tests.chaos.history import (
    Ack,
    Assigned,
    Begin,
    Closed,
    Commit,
    Committed,
    Diverged,
    Fail,
    Find,
    Found,
    Gap,
    Gave,
    History,
    Look,
    Looked,
    Producer,
    Unknown,
)
from tests.chaos.recorder import Numbering, Seen, note_records
from tidelog import types
from tidelog.client import Client
from tidelog.consumer import Consumer
from tidelog.errors import LogDiverged, LogGap, TidelogError
from tidelog.producer import Producer as SdkProducer


def _at(topic: str, partition: int) -> str:
    return f"{topic}/{partition}"


def _ms(time: datetime | None) -> int | None:
    """Return ms since 1970, rounded down as the SDK does."""
    return None if time is None else (time - types.EPOCH) // timedelta(milliseconds=1)


class RecordedProducer:
    """A producer of the SDK that is open."""

    def __init__(
        self, producer: SdkProducer[bytes, bytes], history: History, *, acks: str, idempotent: bool
    ) -> None:
        """Write down what it is."""
        self._producer = producer
        self._history = history
        self._numbers = Numbering(history)
        history.note(Producer(history.clock(), acks=acks, idempotent=idempotent))

    async def send(
        self, topic: str, partition: int, *, size_bytes: int = 0, time: datetime | None = None
    ) -> types.Ack:
        """Send one value and return where it is; raises what `Producer.send` does."""
        return await (await self.enqueue(topic, partition, size_bytes=size_bytes, time=time))

    async def enqueue(
        self, topic: str, partition: int, *, size_bytes: int = 0, time: datetime | None = None
    ) -> Awaitable[types.Ack]:
        """Hand over one value; the result is to be awaited, for then its outcome is written down.

        Handed over one after another, values of a partition are sent in the order of their numbers.
        """
        at = _at(topic, partition)
        n, value = self._numbers.take(at, size_bytes, _ms(time))
        try:
            ticket = await self._producer.enqueue(topic, value, partition=partition, timestamp=time)
        except BaseException as failure:
            self._failed(at, n, failure)
            raise
        return self._outcome(at, n, ticket)

    async def _outcome(self, at: str, n: int, ticket: Awaitable[types.Ack]) -> types.Ack:
        try:
            ack = await ticket
        except BaseException as failure:
            self._failed(at, n, failure)
            raise
        self._history.note(Ack(self._history.clock(), at=at, n=n, offset=ack.offset))
        return ack

    def _failed(self, at: str, n: int, failure: BaseException) -> None:
        """Take the SDK's word for what was not done; what it did not say is unknown."""
        t = self._history.clock()
        if isinstance(failure, TidelogError) and failure.outcome == "not_done":
            self._history.note(Fail(t, at=at, n=n, why=failure.reason))
        else:
            why = failure.reason if isinstance(failure, TidelogError) else type(failure).__name__
            self._history.note(Unknown(t, at=at, n=n, why=why))

    def close(self) -> None:
        """Write down that it has ended in order; call it behind the producer's block."""
        self._history.note(Closed(self._history.clock()))


def _seen(records: Sequence[types.Record[bytes, bytes]]) -> list[Seen]:
    return [
        Seen(
            _at(one.topic, one.partition),
            one.offset,
            one.value,
            one.leader_epoch,
            one.append_time_ms,
        )
        for one in records
    ]


async def recorded(
    records: AsyncIterator[types.Record[bytes, bytes]], history: History
) -> AsyncIterator[types.Record[bytes, bytes]]:
    """Yield the records of a replay, or of a member, and write down what came.

    What is raised is written down if it says where to go on, and raised.
    """
    while True:
        try:
            record = await anext(records)
        except StopAsyncIteration:
            return
        except LogGap as gap:
            where = _at(gap.partition.topic, gap.partition.partition)
            history.note(Gap(history.clock(), at=where, start=gap.next_offset))
            raise
        except LogDiverged as diverged:
            where = _at(diverged.partition.topic, diverged.partition.partition)
            history.note(Diverged(history.clock(), at=where, offset=diverged.offset))
            raise
        note_records(history, _seen([record]))
        yield record


def note_begin(history: History, at: types.TopicPartition, offset: int | None) -> None:
    """Write down that a replay is about to begin; None: at its first record."""
    history.note(Begin(history.clock(), at=_at(at.topic, at.partition), offset=offset))


class RecordedMember:
    """A group's member: `on_assigned` and `on_revoked` go to `client.consumer`."""

    def __init__(self, history: History, group: str) -> None:
        """Begin before the consumer is made, which needs the two callbacks."""
        self._history = history
        self._group = group
        self._numbers = count(1)

    async def on_assigned(
        self, consumer: Consumer[bytes, bytes], partitions: Sequence[types.TopicPartition]
    ) -> None:
        """Write down what it has; it begins at the first record of each."""
        places: dict[str, int | None] = {_at(one.topic, one.partition): None for one in partitions}
        self._history.note(Assigned(self._history.clock(), group=self._group, places=places))

    async def on_revoked(
        self, consumer: Consumer[bytes, bytes], partitions: Sequence[types.TopicPartition]
    ) -> None:
        """Write down what it has no longer."""
        places = [_at(one.topic, one.partition) for one in partitions]
        self._history.note(Gave(self._history.clock(), group=self._group, places=places))

    async def commit(
        self, consumer: Consumer[bytes, bytes], *records: types.Record[bytes, bytes]
    ) -> None:
        """Commit behind records; raises what `Consumer.commit` does."""
        places: dict[str, int] = {}
        for one in records:
            at = _at(one.topic, one.partition)
            places[at] = max(places.get(at, 0), one.offset + 1)
        number = next(self._numbers)
        history = self._history
        history.note(Commit(history.clock(), id=number, group=self._group, places=places))
        try:
            await consumer.commit(*records)
        except TidelogError as failure:
            # Also if some may be committed: nothing is claimed of what was refused.
            refused = dict.fromkeys(places, failure.reason)
            history.note(Committed(history.clock(), id=number, refused=refused))
            raise
        history.note(Committed(history.clock(), id=number))


class RecordedQuestions:
    """Asks for a group's offsets, and for times."""

    def __init__(self, client: Client, history: History) -> None:
        """Take an open client."""
        self._client = client
        self._history = history
        self._numbers = count(1)

    async def offsets(self, group: str, topic: str, partitions: int) -> None:
        """Ask for the committed offsets of a topic's partitions."""
        number, history = next(self._numbers), self._history
        asked = [_at(topic, partition) for partition in range(partitions)]
        history.note(Look(history.clock(), id=number, group=group, places=asked))
        rows = await self._client.groups.offsets(group, topics=[topic])
        places = {
            _at(row.partition.topic, row.partition.partition): row.committed.offset
            for row in rows
            if row.committed is not None
        }
        history.note(Looked(history.clock(), id=number, places=dict(places)))

    async def first_at(
        self, topic: str, partition: int, time: datetime, *, clock: types.Clock = "event"
    ) -> None:
        """Ask one partition for the first record at or after a time."""
        number, history, at = next(self._numbers), self._history, _at(topic, partition)
        history.note(Find(history.clock(), id=number, at=at, time=_ms(time) or 0, clock=clock))
        rows = await self._client.topics.resolve(topic, time, clock=clock)
        row = next(row for row in rows if row.partition.partition == partition)
        found = Found(
            history.clock(),
            id=number,
            offset=None if row.offset == "end" else row.offset,
            time=_ms(row.time),
            hw=row.high_watermark,
            start=row.log_start_offset,
        )
        history.note(found)
