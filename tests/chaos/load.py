"""What runs beside the crowd: producers, a reader of the group's log, and one of its offsets."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic_ns, time_ns
from typing import Any, Final, NamedTuple

from grpc import aio

from cluster.state_partition.layout import CONSUMER_OFFSETS, partition_of
from consumer_groups.codec import decode
from logstore.batch import decode_batch
from model.record import iter_batches
from tests.chaos.journal import AnyEvent, Produced, Wrong, now_ms
from tests.chaos.plan import GROUP, PARTITIONS, TOPIC, value_of
from tests.chaos.story import Decision
from tests.group_stream import reason_of
from tidelog.v1 import (
    common_pb2,
    group_service_pb2,
    group_service_pb2_grpc,
    log_service_pb2,
    log_service_pb2_grpc,
)

PRODUCERS: Final = 4
ROUND_S: Final = 0.25
"""Every partition gets something so often, if the node keeps up."""
LOOK_S: Final = 0.5
NS_PER_MS: Final = 1_000_000
Subscribe: Any = log_service_pb2.SubscribeRequest


class Looked(NamedTuple):
    """The group's offsets as the node told them."""

    asked: float
    answered: float
    offsets: dict[int, int]


def monotonic_behind_ms() -> float:
    """Return how many ms the monotonic clock is behind the wall clock, which nodes stamp with."""
    return (time_ns() - monotonic_ns()) / NS_PER_MS


@dataclass(slots=True)
class Load:
    """All of it, over one connection."""

    channel: aio.Channel
    note: Callable[[AnyEvent], None]
    ends: list[int] = field(default_factory=lambda: [0] * PARTITIONS)
    decisions: list[Decision] = field(default_factory=list)
    looks: list[Looked] = field(default_factory=list)
    _over: bool = False

    def stop_producing(self) -> None:
        """Send nothing more."""
        self._over = True

    async def produce(self, part: int) -> None:
        """Produce to a part of the partitions until it is over."""
        logs: Any = log_service_pb2_grpc.LogServiceStub(self.channel)
        mine = range(part, PARTITIONS, PRODUCERS)
        turn = part
        while not self._over:
            began = now_ms()
            batches = [self._batch(number, 1 + (turn + number) % 3) for number in mine]
            turn += 1
            request = log_service_pb2.ProduceRequest(batches=batches, acks=log_service_pb2.ACKS_ALL)
            answer = await logs.Produce(request)
            for number, batch, result in zip(mine, batches, answer.results, strict=True):
                if result.HasField("error") or result.base_offset != self.ends[number]:
                    self.note(Wrong(now_ms(), "", f"produced to {number}: {result}"))
                self.ends[number] += len(batch.records)
                self.note(Produced(now_ms(), "", number, self.ends[number]))
            await asyncio.sleep(max(0.0, ROUND_S - (now_ms() - began) / 1_000))

    async def read_log(self) -> None:
        """Follow the log of the group's coordinator, for ever."""
        logs: Any = log_service_pb2_grpc.LogServiceStub(self.channel)
        behind_ms = monotonic_behind_ms()
        partition = common_pb2.TopicPartition(topic=CONSUMER_OFFSETS, partition=partition_of(GROUP))
        request = Subscribe(
            partitions=[partition],
            start=common_pb2.Seek(edge=common_pb2.EDGE_EARLIEST),
            encoding=common_pb2.ENCODING_BATCH,
        )
        async for message in logs.Subscribe(request):
            if message.HasField("gap") or message.HasField("diverged"):
                self.note(Wrong(now_ms(), "", f"the group's log was told with {message}"))
            for step in message.records.partitions:
                for run in step.batches:  # several decisions, if they came in one millisecond
                    at = run.append_time.ToMilliseconds() - behind_ms
                    for batch in iter_batches(memoryview(run.encoded)):
                        records = [decode(one.key, one.value) for one in decode_batch(batch)]
                        mine = [one for one in records if one.group == GROUP]
                        self.decisions.append(Decision(at, mine))

    async def look(self) -> None:
        """Ask for the group's offsets again and again, for ever."""
        while True:
            await self.look_once()
            await asyncio.sleep(LOOK_S)

    async def look_once(self) -> Looked:
        """Ask for the group's offsets."""
        groups: Any = group_service_pb2_grpc.ConsumerGroupServiceStub(self.channel)
        request = group_service_pb2.ListGroupOffsetsRequest(group=GROUP)
        asked = now_ms()
        try:
            answer = await groups.ListGroupOffsets(request)
        except aio.AioRpcError as refused:
            if reason_of(refused) != "UNKNOWN_GROUP" or self.looks:
                raise
            return Looked(asked, now_ms(), {})  # nobody has joined yet
        offsets = {
            row.partition.partition: row.committed.offset
            for row in answer.offsets
            if row.HasField("committed")
        }
        self.looks.append(Looked(asked, now_ms(), offsets))
        return self.looks[-1]

    def _batch(self, number: int, count: int) -> log_service_pb2.ProduceBatch:
        first = self.ends[number]
        records = [
            common_pb2.Record(value=value_of(number, at)) for at in range(first, first + count)
        ]
        return log_service_pb2.ProduceBatch(topic=TOPIC, partition=number, records=records)
