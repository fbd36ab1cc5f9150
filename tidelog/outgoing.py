"""A batch on its way into the log, and the tickets of the records in it.

A batch keeps what was said about it: how often it was sent, and whether one of those tries may have
stored it. Nothing in it changes once it is stamped, so that it can be sent again as it was.
"""

import asyncio
from collections.abc import Generator, Sequence
from typing import Final, NamedTuple

from tidelog.batch import Body, Row, Stamp
from tidelog.errors import TidelogError
from tidelog.types import Ack, datetime_of

RECORD_OVERHEAD_BYTES: Final = 24
"""What a record takes beside key, value and headers, at most: lengths, deltas, attributes."""


class Stored(NamedTuple):
    """A batch that is in the log; None where the node does not say."""

    base_offset: int | None
    append_time_ms: int | None
    duplicate: bool = False


class Part(NamedTuple):
    """What became of the records from one place in a settlement on."""

    first: int
    end: int
    result: Stored | TidelogError


class Settlement:
    """What becomes of the records that were sealed together; they may be sent in parts."""

    __slots__ = ("_left", "_parts", "_settled", "observed", "partition", "topic")

    def __init__(self, topic: str, partition: int) -> None:
        """Begin with nothing settled."""
        self.topic = topic
        self.partition = partition
        self.observed = False
        """Somebody has seen how it ended."""
        self._settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._parts: list[Part] = []
        self._left = 0

    def grow(self) -> int:
        """Count one more record; return its place."""
        self._left += 1
        return self._left - 1

    def settle(self, part: Part) -> None:
        """Take what became of a part; the last one ends it."""
        self._parts.append(part)
        self._left -= part.end - part.first
        if not self._left and not self._settled.done():
            self._settled.set_result(None)

    @property
    def is_settled(self) -> bool:
        """Whether the fate of every record is known."""
        return self._settled.done()

    @property
    def failure(self) -> TidelogError | None:
        """The first failure in it; None: there is none yet."""
        return next((p.result for p in self._parts if isinstance(p.result, TidelogError)), None)

    async def wait(self) -> None:
        """Return when every record of it is settled, well or not."""
        await asyncio.shield(self._settled)

    def ack(self, place: int) -> Ack:
        """Return the acknowledgement of a record that is settled.

        Raises:
            TidelogError: what it failed with.
        """
        self.observed = True
        part = next(part for part in self._parts if part.first <= place < part.end)
        if isinstance(part.result, TidelogError):
            raise part.result
        base, time_ms, duplicate = part.result
        offset = None if base is None else base + place - part.first
        time = None if time_ms is None else datetime_of(time_ms)
        return Ack(self.topic, self.partition, offset, time, duplicate)


class Ticket:
    """Awaited, it gives the record's `Ack`, as often as it is awaited."""

    __slots__ = ("_place", "_settlement")

    def __init__(self, settlement: Settlement, place: int) -> None:
        """Remember which record it stands for."""
        self._settlement = settlement
        self._place = place

    def __await__(self) -> Generator[None, None, Ack]:
        """Wait until the record is settled."""
        self._settlement.observed = True
        yield from self._settlement.wait().__await__()
        return self._settlement.ack(self._place)


class Batch:
    """Records of one partition that travel together."""

    __slots__ = (
        "body", "deadline_s", "doubt", "error", "first", "rows", "sealed_s", "settlement",
        "size_bytes", "stamp", "tries",
    )  # fmt: skip

    def __init__(self, settlement: Settlement, first: int = 0) -> None:
        """Begin empty; `first`: place of its first record in the settlement."""
        self.settlement = settlement
        self.first = first
        self.rows: list[Row] = []
        self.size_bytes = 0
        self.stamp: Stamp | None = None
        self.tries = 0
        self.doubt = False
        """A try of it may have stored it."""
        self.error: TidelogError | None = None
        """What the last try ended with."""
        self.sealed_s = 0.0
        """When nothing more joined it, on the client's monotonic clock."""
        self.deadline_s = 0.0
        """When its budget is over, on that clock."""
        self.body: Body | None = None
        """Its records, encoded and compressed; kept for the next try."""

    def add(self, row: Row) -> Ticket:
        """Put a record behind the others."""
        self.rows.append(row)
        self.size_bytes += size_of(row)
        return Ticket(self.settlement, self.settlement.grow())

    def settle(self, result: Stored | TidelogError) -> None:
        """Tell every record what became of it."""
        self.settlement.settle(Part(self.first, self.first + len(self.rows), result))

    def halves(self) -> Sequence["Batch"]:
        """Return the same records as two batches, neither stamped yet."""
        middle = len(self.rows) // 2
        parts = []
        for begin, rows in ((0, self.rows[:middle]), (middle, self.rows[middle:])):
            part = Batch(self.settlement, self.first + begin)
            part.rows = rows
            part.size_bytes = sum(size_of(row) for row in rows)
            part.sealed_s, part.deadline_s = self.sealed_s, self.deadline_s
            part.tries = self.tries
            parts.append(part)
        return parts


def size_of(row: Row) -> int:
    """Return what a record takes in a batch before compression, at most."""
    size = RECORD_OVERHEAD_BYTES + len(row.key or b"") + len(row.value or b"")
    if row.headers:
        size += sum(10 + len(key) + len(value or b"") for key, value in row.headers)
    return size
