"""Producing the departures through every door at once, so that their batches lie mixed.

    sdk encoded     batches made by the SDK, each compression in turn
    sdk plain       what the SDK sends without the extra `speed`: records, for the node to encode
    grpc plain      the same call without the SDK, in batches of any size down to one record
    kafka CODEC     librdkafka, idempotent or not, each compression
    says-too-...    librdkafka, with the batch's greatest timestamp written over by the relay

What the answers say is kept: partition and offset, and the append time where a door tells it. A
departure's key decides its partition at each door in the same way, or nothing does.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from random import Random
from time import time
from typing import Any, Final, NamedTuple
from unittest.mock import patch

from api.cli.flights import Flight
from tests.blind.lying_relay import TOO_HIGH, TOO_LOW
from tests.blind.node_doors import NodeDoors
from tidelog.codecs import Codec
from tidelog.partitioner import partition_of_key
from tidelog.producer import Producer
from tidelog.types import Compression, datetime_of
from tidelog.v1 import common_pb2, log_service_pb2

TOPIC: Final = "departures"
PARTITIONS: Final = 6
BATCH_RECORDS: Final = {1: 0.03, 7: 0.12, 60: 0.4, 400: 0.45}
"""Most records of one batch of librdkafka's, and of the plain call's: which share is sent so."""
LIARS_FIRST: Final = 4
"""The log begins with this part of the batches that claim too low a time: a search that believed
them would pass over the first blocks, where nearly every answer of shuffled records lies."""
SDK_ROUND: Final = 1_500
"""Departures that are handed to the SDK at once: then their acks are awaited."""
FLUSH_S: Final = 120.0
SHARES: Final[dict[str, int]] = {
    "sdk none": 6, "sdk gzip": 6, "sdk lz4": 6, "sdk zstd": 6,
    "sdk plain": 12, "grpc plain": 6,
    "kafka none": 6, "kafka gzip": 6, "kafka snappy": 6, "kafka lz4": 6, "kafka zstd": 6,
    TOO_LOW: 14, TOO_HIGH: 14,
}  # fmt: skip
"""What each door gets of a hundred departures."""
SDK_CODECS: Final[dict[str, Compression]] = {
    "none": "none", "gzip": "gzip", "lz4": "lz4", "zstd": "zstd",
}  # fmt: skip


class Stored(NamedTuple):
    """What an answer said of one departure."""

    flight: Flight
    door: str
    partition: int
    offset: int
    append_ms: int | None
    """None: this door does not say."""
    between: tuple[int, int] | None = None
    """Where the door does not say: when it was handed to the client, and when the client heard that
    it is stored. Wall clock, ms."""


class NotStoredError(Exception):
    """A departure was refused, or its answer says nothing of where it is."""


@dataclass(frozen=True, slots=True)
class FlightLine:
    """A departure's line as the record's value."""

    def encode(self, value: Flight, /) -> bytes:
        return value.value

    def decode(self, data: bytes, /) -> Flight:
        return Flight(0, None, data)


def dealt(flights: Sequence[Flight], rand: Random) -> dict[str, list[Flight]]:
    """Return which door each departure goes through; each door gets some."""
    hands: dict[str, list[Flight]] = {door: [] for door in SHARES}
    doors = rand.choices(list(SHARES), list(SHARES.values()), k=len(flights))
    doors[: len(SHARES)] = SHARES
    for flight, door in zip(flights, doors, strict=True):
        hands[door].append(flight)
    return hands


async def produce_all(doors: NodeDoors, flights: Sequence[Flight], rand: Random) -> list[Stored]:
    """Produce every departure once: some batches that lie, then all doors at the same time."""
    hands = dealt(flights, rand)
    first = hands[TOO_LOW][: len(hands[TOO_LOW]) // LIARS_FIRST]
    hands[TOO_LOW] = hands[TOO_LOW][len(first) :]
    begun = await _through(TOO_LOW, doors, first, rand=rand)
    producing = [
        asyncio.create_task(_through(door, doors, own, rand=Random(rand.getrandbits(32))))
        for door, own in hands.items()
    ]
    try:
        return begun + [stored for each in await asyncio.gather(*producing) for stored in each]
    finally:
        for task in producing:
            task.cancel()


async def _through(
    door: str, doors: NodeDoors, flights: Sequence[Flight], *, rand: Random
) -> list[Stored]:
    kind, _, codec = door.partition(" ")
    if kind == "sdk":
        compression = None if codec == "plain" else SDK_CODECS[codec]
        return await _sdk(door, doors, flights, compression=compression)
    if kind == "grpc":
        return [one async for one in _grpc(door, doors, flights, rand=rand)]
    loader = _Kafka(door, doors.kafka, codec or rand.choice(("none", "zstd", "lz4")))
    return await asyncio.to_thread(loader.run, flights)


async def _sdk(
    door: str, doors: NodeDoors, flights: Sequence[Flight], *, compression: Compression | None
) -> list[Stored]:
    stored: list[Stored] = []
    async with _producer(doors, compression) as producer:
        for at in range(0, len(flights), SDK_ROUND):
            some = flights[at : at + SDK_ROUND]
            acks = await producer.send_many(
                TOPIC, some, key=lambda flight: flight.key, timestamp=_time
            )
            for flight, ack in zip(some, acks, strict=True):
                if ack.offset is None or ack.append_time is None:
                    raise NotStoredError(f"{door}: {ack}")
                append_ms = round(ack.append_time.timestamp() * 1_000)
                stored.append(Stored(flight, door, ack.partition, ack.offset, append_ms))
    return stored


def _producer(
    doors: NodeDoors, compression: Compression | None
) -> AbstractAsyncContextManager[Producer[bytes, Flight]]:
    value: Codec[Flight] = FlightLine()
    if compression is not None:
        return doors.client.producer(value=value, compression=compression, batch_bytes=16 << 10)
    with patch("tidelog.client.can_build", return_value=False):  # as without the extra `speed`
        return doors.client.producer(value=value, batch_bytes=16 << 10)


def _time(flight: Flight) -> datetime:
    return datetime_of(flight.time_ms)


async def _grpc(
    door: str, doors: NodeDoors, flights: Sequence[Flight], *, rand: Random
) -> AsyncIterator[Stored]:
    waiting: list[list[Flight]] = [[] for _ in range(PARTITIONS)]
    for flight in flights:
        key = flight.key
        number = rand.randrange(PARTITIONS) if key is None else partition_of_key(key, PARTITIONS)
        waiting[number].append(flight)
    for number, own in enumerate(waiting):
        at = 0
        while at < len(own):
            some = own[at : at + rand.choice(tuple(BATCH_RECORDS))]
            at += len(some)
            batch = log_service_pb2.ProduceBatch(
                topic=TOPIC,
                partition=number,
                records=[
                    common_pb2.Record(timestamp_ms=one.time_ms, key=one.key, value=one.value)
                    for one in some
                ],
            )
            request = log_service_pb2.ProduceRequest(batches=[batch])
            (result,) = (await doors.logs.Produce(request)).results
            if result.HasField("error") or not result.HasField("base_offset"):
                raise NotStoredError(f"{door}: {result}")
            append_ms = result.append_time.ToMilliseconds()
            for place, flight in enumerate(some):
                yield Stored(flight, door, number, result.base_offset + place, append_ms)


class _Kafka:
    """One librdkafka producer, in a thread of its own."""

    def __init__(self, door: str, bootstrap: str, codec: str) -> None:
        self._door = door
        self._bootstrap = bootstrap
        self._codec = codec
        self._stored: list[Stored] = []
        self._failed: list[str] = []

    def run(self, flights: Sequence[Flight]) -> list[Stored]:
        """Produce departures, in batches of one size after the other."""
        at = 0
        for batch_records, share in BATCH_RECORDS.items():
            end = at + round(len(flights) * share)
            if batch_records == max(BATCH_RECORDS):
                end = len(flights)
            self._round(flights[at:end], batch_records)
            at = end
        if self._failed or len(self._stored) < len(flights):
            raise NotStoredError(
                f"{self._door}: {len(self._stored)} of {len(flights)} stored; {self._failed[:3]}"
            )
        return self._stored

    def _round(self, flights: Sequence[Flight], batch_records: int) -> None:
        from confluent_kafka import Producer as KafkaProducer  # noqa: PLC0415 - optional

        producer = KafkaProducer(
            {
                "bootstrap.servers": self._bootstrap,
                "client.id": self._door.replace(" ", "-"),
                "acks": "all",
                "enable.idempotence": batch_records != 1,
                "partitioner": "murmur2_random",
                "compression.type": self._codec,
                "batch.num.messages": batch_records,
                "linger.ms": 5,
                "log_level": 2,
            }
        )
        for flight in flights:
            producer.produce(
                TOPIC, flight.value, flight.key, timestamp=flight.time_ms,
                on_delivery=partial(self._delivered, (flight, _now_ms())),
            )  # fmt: skip
            producer.poll(0)
        if producer.flush(FLUSH_S):
            self._failed.append(f"no answer within {FLUSH_S} s")

    def _delivered(self, handed: tuple[Flight, int], error: Any, message: Any) -> None:
        flight, handed_ms = handed
        if error is not None:
            self._failed.append(str(error))
            return
        place = message.partition(), message.offset()
        self._stored.append(Stored(flight, self._door, *place, None, (handed_ms, _now_ms())))


def _now_ms() -> int:
    return int(time() * 1_000)
