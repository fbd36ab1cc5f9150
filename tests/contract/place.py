"""Where the contract is tried: a node in this process, or one in a process of its own."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import tidelog
from tidelog import testing
from tidelog.calls import Call
from tidelog.client import Client
from tidelog.types import Start
from tidelog.v1 import common_pb2, log_service_pb2

T0 = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
Batch: TypeAlias = log_service_pb2.ProduceBatch
PRODUCE = Call(
    "/tidelog.v1.LogService/Produce",
    log_service_pb2.ProduceRequest,
    log_service_pb2.ProduceResponse,
)


@dataclass
class Place:
    """A client, a name for topics that nobody else has, and a way to let time pass."""

    client: Client
    url: str
    prefix: str
    broker: testing.Broker | None
    """None: time is the machine's."""
    _made: int = field(default=0)

    async def topic(self, partitions: int = 1, **config: str) -> str:
        """Create a topic; setting names have two underscores for a dot."""
        self._made += 1
        name = f"{self.prefix}-{self._made}"
        given = {key.replace("__", "."): value for key, value in config.items()}
        await self.client.topics.create(name, partitions=partitions, config=given)
        return name

    async def later(self) -> datetime:
        """Let time pass; what was appended so far lies before the result, what follows does not."""
        if self.broker is not None:
            await self.broker.advance(seconds=10)
            return self.broker.now
        topic = await self.topic()
        async with self.client.producer(linger=timedelta(0)) as producer:
            first = await producer.send(topic, b"tick")
            last = first
            while last.append_time == first.append_time:  # in steps of 10 ms
                last = await producer.send(topic, b"tick")
        assert last.append_time is not None
        return last.append_time

    async def write(self, topic: str, *values: bytes, partition: int = 0) -> None:
        """Append records, a second of event time apart from T0."""
        async with self.client.producer(linger=timedelta(0)) as producer:
            for number, value in enumerate(values):
                _ = await producer.enqueue(
                    topic, value, partition=partition, timestamp=T0 + number * SECOND
                )

    async def read(self, topic: str, **options: Any) -> list[tidelog.Record[bytes, bytes]]:
        """Read what there is now."""
        if "during" not in options:
            options.setdefault("stop", "latest")
        async with self.client.replay(topic, **options) as history:
            return [record async for record in history]

    async def values(self, topic: str, **options: Any) -> list[bytes | None]:
        """Read what there is now, as values."""
        return [record.value for record in await self.read(topic, **options)]

    async def offsets(self, topic: str, at: Start, **options: Any) -> list[int | str]:
        """Return where a place lies in each partition."""
        return [row.offset for row in await self.client.topics.resolve(topic, at, **options)]

    async def produce(self, *batches: Batch, **fields: Any) -> list[log_service_pb2.ProduceResult]:
        """Make the call itself: an answer for each batch."""
        request = log_service_pb2.ProduceRequest(batches=batches, **fields)
        response = await self.client.connection.call(PRODUCE, request)
        return list(response.results)


def plain(topic: str, *values: bytes, partition: int = 0, **fields: Any) -> Batch:
    """Return a batch that the node encodes."""
    records = [common_pb2.Record(value=value) for value in values]
    return Batch(topic=topic, partition=partition, records=records, **fields)
