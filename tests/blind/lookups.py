"""Looking a time up through each door: where it lies in each partition.

grpc            ResolveOffsets
sdk             Client.topics.resolve
kafka           ListOffsets by librdkafka's offsets_for_times; the event clock only
cli             `tidelog topic offsets -o @t -F json`
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from tests.blind.node_doors import NodeDoors
from tests.blind.readers import CLOCKS, NoAnswerError
from tests.blind.workload import PARTITIONS, TOPIC
from tidelog.types import Clock, datetime_of
from tidelog.v1 import common_pb2, log_service_pb2

KAFKA_END: Final = -1
"""What offsets_for_times gives when no record is that late."""
TIMEOUT_S: Final = 60.0


class Place(NamedTuple):
    """Where a time lies in one partition."""

    offset: int | None
    """None: the end."""
    time: int | None
    truncated: bool | None
    """None: this door does not say; nor does it the found record's time."""


class Lookups:
    """Looks times up through the doors of one running node."""

    def __init__(self, doors: NodeDoors) -> None:
        """Connect Kafka's client."""
        from confluent_kafka import Consumer  # noqa: PLC0415 - optional

        self._doors = doors
        self._consumer = Consumer(
            {"bootstrap.servers": doors.kafka, "group.id": "blind", "log_level": 2}
        )

    def close(self) -> None:
        """Leave."""
        self._consumer.close()

    async def find(self, door: str, time: int, clock: Clock) -> Mapping[int, Place]:
        """Return where a time lies, by partition.

        Raises:
            NoAnswerError: the door did not answer as it must.
        """
        match door:
            case "grpc":
                return await self._resolved(time, clock)
            case "sdk":
                found = await self._doors.client.topics.resolve(
                    TOPIC, datetime_of(time), clock=clock
                )
                return {
                    one.partition.partition: Place(
                        None if one.offset == "end" else one.offset, _ms(one.time), one.truncated
                    )
                    for one in found
                }
            case "kafka":
                return await asyncio.to_thread(self._listed, time)
            case _:
                return await self._told(time, clock)

    async def _resolved(self, time: int, clock: Clock) -> Mapping[int, Place]:
        seek = common_pb2.Seek(clock=CLOCKS[clock])
        seek.time.FromMilliseconds(time)
        request = log_service_pb2.ResolveOffsetsRequest(topics=[TOPIC], seek=seek)
        found: dict[int, Place] = {}
        for one in (await self._doors.logs.ResolveOffsets(request)).resolved:
            if one.HasField("error"):
                raise NoAnswerError(f"ResolveOffsets at {time}: {one.error}")
            found[one.partition.partition] = Place(
                one.offset if one.WhichOneof("at") == "offset" else None,
                one.time.ToMilliseconds() if one.HasField("time") else None,
                one.truncated,
            )
        return found

    def _listed(self, time: int) -> Mapping[int, Place]:
        from confluent_kafka import KafkaException, TopicPartition  # noqa: PLC0415 - optional

        asked = [TopicPartition(TOPIC, number, time) for number in range(PARTITIONS)]
        found: dict[int, Place] = {}
        try:
            answers = self._consumer.offsets_for_times(asked, timeout=TIMEOUT_S)
        except KafkaException as refused:
            raise NoAnswerError(f"ListOffsets at {time}: {refused}") from refused
        for one in answers:
            if one.error is not None:
                raise NoAnswerError(f"ListOffsets at {time}: {one.error}")
            found[one.partition] = Place(
                None if one.offset == KAFKA_END else one.offset, None, None
            )
        return found

    async def _told(self, time: int, clock: Clock) -> Mapping[int, Place]:
        said = await self._doors.command(
            "-F", "json", "topic", "offsets", TOPIC, "-o", f"@{time}ms", "--clock", clock
        )
        if said.code:
            raise NoAnswerError(f"topic offsets -o @{time}ms ended with {said.code}: {said.told}")
        items: Sequence[dict[str, Any]] = msgspec.json.decode(said.out)["items"]
        return {
            one["partition"]: Place(
                one["offset"],
                None if one["time"] is None else _ms(datetime.fromisoformat(one["time"])),
                one["truncated"],
            )
            for one in items
        }


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else round(moment.timestamp() * 1_000)
