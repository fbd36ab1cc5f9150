"""Programs with the SDK as it comes, with its default retry, and what they are told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from threading import Event, Thread
from time import monotonic
from typing import Final

import tidelog
from tests.cluster.acks import Counted
from tests.cluster.waiting import PATIENCE_S, NotInTime, holds
from tidelog.sync import connect

SEND_S: Final = 0.005
"""Between two records."""
UNDER_WAY_MAX: Final = 100
"""Records without an answer: a busy machine slows the load down, and no backlog grows."""
KEYS: Final = 97


class SdkLoad(Counted):
    """A producer whose records are numbers and have keys; many may be under way at any time."""

    def __init__(self, url: str, topic: str, *, partitions: int) -> None:
        """Begin with `running`."""
        super().__init__(partitions)
        self.errors: list[str] = []
        """What became of records that were not acknowledged."""
        self._url, self._topic = url, topic
        self._next = 0
        self._stopping = False
        self._sending: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send, from the beginning of this context to its end; raises as `finish`."""
        self._stopping = False
        self._acks.mark()
        self._sending = asyncio.create_task(self._run())
        try:
            yield
        finally:
            await self.finish()

    async def finish(self) -> None:
        """Send no more, and wait until every record has been answered; once: then there is nothing.

        Raises:
            NotInTime: some are not.
        """
        sending, self._sending = self._sending, None
        if sending is None:
            return
        self._stopping = True
        try:
            async with asyncio.timeout(PATIENCE_S):
                await sending
        except TimeoutError:
            owed = self._next - self.count - len(self.errors)
            raise NotInTime(f"the SDK's producer ends; {owed} answers are missing") from None

    async def more(self, records: int, where: str) -> float:
        """Wait until each partition has acknowledged so many that were sent from now on.

        Returns:
            Seconds: the longest time in which one of them acknowledged nothing, since the last call
            or since it began.

        Raises:
            NotInTime: one does not.
        """
        acks = self._acks
        acks.ask()
        await holds(
            lambda: acks.gap(records=records) is not None,
            lambda: f"acks in each partition {where}; there are, by partition: {acks.fresh()}",
        )
        gap = acks.gap(records=records)
        assert gap is not None
        acks.mark()
        return gap

    async def _run(self) -> None:
        async with tidelog.connect(self._url) as client, client.producer() as producer:
            room = asyncio.Semaphore(UNDER_WAY_MAX)
            async with asyncio.TaskGroup() as under_way:
                while not self._stopping:
                    await room.acquire()
                    number = self._next
                    self._next += 1
                    self._acks.sent(number)
                    value, key = b"%d" % number, b"%d" % (number % KEYS)
                    try:
                        answer = await producer.enqueue(self._topic, value, key=key)
                    except tidelog.TidelogError as error:
                        self._refused(error)
                        room.release()
                    else:
                        one = under_way.create_task(self._answered(number, answer))
                        one.add_done_callback(lambda _: room.release())
                    await asyncio.sleep(SEND_S)

    async def _answered(self, number: int, answer: "Awaitable[tidelog.Ack]") -> None:
        try:
            ack = await answer
        except tidelog.TidelogError as error:
            self._refused(error)
            return
        assert ack.offset is not None, ack
        self._acks.take(ack.partition, ack.offset, number)

    def _refused(self, error: tidelog.TidelogError) -> None:
        self.errors.append(f"produce: {type(error).__name__}: {error}")


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
