"""Programs with the SDK as it comes, with its default retry, and what they are told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from time import monotonic
from typing import Final

import tidelog
from tests.cluster.waiting import PATIENCE_S, NotInTime
from tidelog.sync import connect

SEND_S: Final = 0.005
"""Between two records."""
UNDER_WAY_MAX: Final = 100
"""Records without an answer: a busy machine slows the load down, and no backlog grows."""
KEYS: Final = 97
LOOK_S: Final = 0.01


@dataclass(slots=True)
class SdkLoad:
    """A producer whose records have keys; many may be under way at any time."""

    url: str
    topic: str
    acknowledged: list[tuple[int, int]] = field(default_factory=list)
    """Partition and offset of each record, in the order of the answers."""
    errors: list[str] = field(default_factory=list)
    pause_s: float = 0.0
    """The longest time without an acknowledgement since it was asked last."""
    _sent: int = 0
    _stopping: bool = False
    _last: float = 0.0
    _sending: "asyncio.Task[None] | None" = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send, from the beginning of this context to its end; raises as `finish`."""
        self._sending = asyncio.create_task(self._run())
        try:
            yield
        finally:
            await self.finish()

    async def finish(self) -> None:
        """Send no more, and wait until every record has been answered.

        Raises:
            NotInTime: some are not.
        """
        assert self._sending is not None
        self._stopping = True
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._sending
        except TimeoutError:
            owed = self._sent - len(self.acknowledged) - len(self.errors)
            raise NotInTime(f"the SDK's producer ends; {owed} answers are missing") from None

    async def more(self, records: int, where: str) -> float:
        """Wait for so many more acknowledgements; return the longest pause meanwhile, s.

        Raises:
            NotInTime: they do not come.
        """
        wanted = len(self.acknowledged) + records
        try:
            async with asyncio.timeout(PATIENCE_S):
                while len(self.acknowledged) < wanted:  # noqa: ASYNC110 - answers come elsewhere
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            raise NotInTime(f"{where}: {len(self.acknowledged)} of {wanted}") from None
        pause, self.pause_s = self.pause_s, 0.0
        return pause

    async def _run(self) -> None:
        async with tidelog.connect(self.url) as client, client.producer() as producer:
            self._last = monotonic()
            room = asyncio.Semaphore(UNDER_WAY_MAX)
            async with asyncio.TaskGroup() as under_way:
                while not self._stopping:
                    await room.acquire()
                    one = under_way.create_task(self._send(producer, self._sent))
                    one.add_done_callback(lambda _: room.release())
                    self._sent += 1
                    await asyncio.sleep(SEND_S)

    async def _send(self, producer: "tidelog.Producer[bytes, bytes]", number: int) -> None:
        try:
            ack = await producer.send(self.topic, b"%d" % number, key=b"%d" % (number % KEYS))
        except tidelog.TidelogError as error:
            self.errors.append(f"produce: {type(error).__name__}: {error}")
            return
        assert ack.offset is not None, ack
        now = monotonic()
        self.pause_s, self._last = max(self.pause_s, now - self._last), now
        self.acknowledged.append((ack.partition, ack.offset))


class Caller:
    """A producer without asyncio: one record after the other, each acknowledged."""

    def __init__(self, url: str, topic: str) -> None:
        """Begin at once."""
        self.sent = 0
        self.slowest_s = 0.0
        self.errors: list[str] = []
        self._url, self._topic = url, topic
        self._stop = Event()
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send no more."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with connect(self._url) as client, client.producer() as producer:
            while not self._stop.is_set():
                began = monotonic()
                try:
                    producer.send(self._topic, b"%d" % self.sent, key=b"%d" % self.sent)
                except tidelog.TidelogError as error:
                    self.errors.append(f"{type(error).__name__}: {error}")
                self.sent += 1
                self.slowest_s = max(self.slowest_s, monotonic() - began)
                self._stop.wait(SEND_S)
