"""The topic that groups are sent through, and the list of all that is in it.

A record's value says which partition and offset it is meant for: one producer, one batch after the
other. Event times go back and forth, and some occur many times; append times are what answers say.
"""

from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from tests.blind.oracle import Oracle, Row
from tidelog.types import Clock
from tidelog.v1 import common_pb2, log_service_pb2

TOPIC: Final = "departures"
PARTITIONS: Final = 6
BATCH_RECORDS_MAX: Final = 8
EPOCH_MS: Final = 1_700_000_000_000
SPREAD_MS: Final = 2_000
"""Event times lie within it: about as many as there are records, so that many occur twice."""


class NotStored(Exception):  # noqa: N818 - says what happened
    """A batch was refused, or is not where it belongs."""


@dataclass(slots=True)
class History:
    """Everything that was acknowledged."""

    logs: Any
    """Stubs of LogService."""
    rand: Random
    rows: list[Row] = field(default_factory=list)
    ends: list[int] = field(default_factory=lambda: [0] * PARTITIONS)

    async def grow(self, requests: int) -> None:
        """Append batches of random sizes, one to each partition in each request.

        Raises:
            NotStored: one is not.
        """
        for _ in range(requests):
            batches = [self._batch(number) for number in range(PARTITIONS)]
            rows = [[record.timestamp_ms for record in batch.records] for batch in batches]
            request = log_service_pb2.ProduceRequest(batches=batches, acks=log_service_pb2.ACKS_ALL)
            answer = await self.logs.Produce(request)
            for number, (times, result) in enumerate(zip(rows, answer.results, strict=True)):
                self._note(number, times, result)

    def expected(self, time: int, clock: Clock) -> list[int]:
        """Return where each partition goes: its first record at or after a time, else its end."""
        oracle = Oracle(self.rows, PARTITIONS)
        found = [oracle.first(number, time, clock) for number in range(PARTITIONS)]
        return [
            self.ends[number] if row is None else row.offset for number, row in enumerate(found)
        ]

    def times(self, clock: Clock) -> list[int]:
        """Return every time that occurs, in order."""
        return Oracle(self.rows, PARTITIONS).times(clock)

    def _batch(self, number: int) -> log_service_pb2.ProduceBatch:
        first = self.ends[number]
        records = [
            common_pb2.Record(
                timestamp_ms=EPOCH_MS + self.rand.randrange(SPREAD_MS), value=value_of(number, at)
            )
            for at in range(first, first + self.rand.randint(1, BATCH_RECORDS_MAX))
        ]
        return log_service_pb2.ProduceBatch(topic=TOPIC, partition=number, records=records)

    def _note(self, number: int, times: list[int], result: Any) -> None:
        first = self.ends[number]
        if result.HasField("error") or result.base_offset != first:
            raise NotStored(f"{TOPIC}/{number}@{first}: the answer is {result}")
        append_ms = result.append_time.ToMilliseconds()
        for at, time in enumerate(times, first):
            self.rows.append(Row(number, at, time, append_ms, None, value_of(number, at)))
        self.ends[number] += len(times)


def value_of(number: int, offset: int) -> bytes:
    """Return the value of a partition's record."""
    return b"%d/%d" % (number, offset)
