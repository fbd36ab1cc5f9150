"""What members of a group of the SDK were handed, and a group of one that reads along."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import tidelog
from tests.cluster.judge import Acknowledged, Numbers
from tests.cluster.waiting import holds


@dataclass(slots=True)
class Book:
    """What clients were told of one topic."""

    seen: Numbers = field(default_factory=lambda: defaultdict(dict))
    committed: dict[int, int] = field(default_factory=dict)
    """By partition: the highest offset whose commit was acknowledged."""
    again: int = 0
    """Records that were handed out twice: those that were finished and not committed."""
    odd: list[str] = field(default_factory=list)
    """Records that were another one when they were handed out before."""

    def took(self, record: "tidelog.Record[bytes, bytes]") -> None:
        """Note a record that a member was handed."""
        seen, number = self.seen[record.partition], int(record.value or b"")
        self.again += record.offset in seen
        before = seen.setdefault(record.offset, number)
        if before != number:
            where = f"partition {record.partition} at {record.offset}"
            self.odd.append(f"{where}: {number} was handed out, and {before} before")

    def missing(self, acknowledged: Acknowledged) -> int:
        """Return how many records were acknowledged and not handed out."""
        return sum(
            offset not in self.seen[partition]
            for partition, rows in acknowledged.items()
            for offset, _ in rows
        )


class Bookkeeper:
    """A group of one member."""

    def __init__(self, url: str, topic: str, group: str) -> None:
        """Begin with nothing."""
        self.book = Book()
        """What it commits, it has noted."""
        self._url, self._topic, self._group = url, topic, group

    async def read_up(self, acknowledged: Acknowledged) -> None:
        """Wait until it was handed whatever was acknowledged.

        Raises:
            NotInTime: some of it does not come.
        """
        await holds(
            lambda: not self.book.missing(acknowledged),
            lambda: f"the group reads on; {self.book.missing(acknowledged)} records are missing",
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Read, from the beginning of this context to its end."""
        reading = asyncio.create_task(self._run())
        try:
            yield
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading

    async def _run(self) -> None:
        async with (
            tidelog.connect(self._url) as client,
            client.consumer(self._topic, group=self._group, start="earliest") as records,
        ):
            async for record in records:
                self.book.took(record)
