"""The clients: each writes the sample to one partition, and reads one partition to its end.

Imported only by a run that has them all: a client that is missing is an error, not a gap.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any, Final

import confluent_kafka

import tidelog
from tests.interop.client import WAIT_S, Client, ClientFailedError, Target
from tests.interop.java_client import APACHE_JAVA
from tests.interop.kafkajs_client import KAFKAJS
from tests.interop.kcat_client import KCAT
from tests.interop.sample import WITHOUT_NULL_HEADERS, Told
from tests.kill.node_process import Doors

aiokafka: Any = import_module("aiokafka")  # both ship no types
kafka: Any = import_module("kafka")

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


async def write_grpc(doors: Doors, target: Target, records: Sequence[Told]) -> None:
    """Write with our own SDK."""
    topic, codec = target
    wanted: Any = codec
    linger = timedelta(milliseconds=50)
    async with (
        tidelog.connect(f"tidelog://{doors.grpc}", client_id="interop") as client,
        client.producer(compression=wanted, linger=linger) as producer,
    ):
        sent = [
            await producer.enqueue(
                topic,
                value,
                key=key,
                headers=headers,
                timestamp=EPOCH + timedelta(milliseconds=time_ms),
            )
            for key, value, headers, time_ms in records
        ]
        await asyncio.gather(*sent)


async def read_grpc(doors: Doors, topic: str, count: int) -> list[Told]:
    """Read with our own SDK, from the start to where the log ends now."""
    del count
    found: list[Told] = []
    async with (
        tidelog.connect(f"tidelog://{doors.grpc}", client_id="interop") as client,
        client.replay(topic, stop="latest") as history,
    ):
        async for record in history:
            time_ms = -1 if record.timestamp_ms is None else record.timestamp_ms
            found.append(Told(record.key, record.value, record.headers, time_ms))
    return found


async def write_confluent(doors: Doors, target: Target, records: Sequence[Told]) -> None:
    """Write with librdkafka."""
    topic, codec = target

    def write() -> None:
        failed: list[str] = []
        producer = confluent_kafka.Producer(
            {
                "bootstrap.servers": doors.kafka,
                "compression.type": codec,
                "linger.ms": 50,
                "enable.idempotence": True,
            }
        )
        for key, value, headers, time_ms in records:
            producer.produce(
                topic,
                value=value,
                key=key,
                headers=list(headers),
                timestamp=time_ms,
                partition=0,
                on_delivery=lambda error, _: failed.append(str(error)) if error else None,
            )
        left = producer.flush(WAIT_S)
        if left or failed:
            raise ClientFailedError(f"{left} records were not sent; {failed}")

    await asyncio.to_thread(write)


async def read_confluent(doors: Doors, topic: str, count: int) -> list[Told]:
    """Read with librdkafka."""

    def read() -> list[Told]:
        consumer = confluent_kafka.Consumer(
            {
                "bootstrap.servers": doors.kafka,
                "group.id": "none",
                "enable.auto.commit": False,
                "check.crcs": True,
            }
        )
        try:
            consumer.assign([confluent_kafka.TopicPartition(topic, 0, 0)])
            return [_confluent_told(m) for m in consumer.consume(count, WAIT_S)]
        finally:
            consumer.close()

    return await asyncio.to_thread(read)


def _confluent_told(message: Any) -> Told:
    if message.error() is not None:
        raise ClientFailedError(str(message.error()))
    headers = tuple(message.headers() or ())
    return Told(message.key(), message.value(), headers, message.timestamp()[1])


async def write_kafka_python(doors: Doors, target: Target, records: Sequence[Told]) -> None:
    """Write with kafka-python."""
    topic, codec = target

    def write() -> None:
        producer = kafka.KafkaProducer(
            bootstrap_servers=doors.kafka,
            compression_type=None if codec == "none" else codec,
            linger_ms=50,
        )
        try:
            sent = [
                producer.send(
                    topic,
                    value=value,
                    key=key,
                    headers=list(headers),
                    partition=0,
                    timestamp_ms=time_ms,
                )
                for key, value, headers, time_ms in records
            ]
            producer.flush(WAIT_S)
            for future in sent:
                future.get(WAIT_S)
        finally:
            producer.close(WAIT_S)

    await asyncio.to_thread(write)


async def read_kafka_python(doors: Doors, topic: str, count: int) -> list[Told]:
    """Read with kafka-python."""

    def read() -> list[Told]:
        consumer = kafka.KafkaConsumer(
            bootstrap_servers=doors.kafka, consumer_timeout_ms=WAIT_S * 1_000
        )
        try:
            partition = kafka.TopicPartition(topic, 0)
            consumer.assign([partition])
            consumer.seek(partition, 0)
            found: list[Told] = []
            for one in consumer:
                found.append(Told(one.key, one.value, tuple(one.headers), one.timestamp))
                if len(found) == count:
                    break
            return found
        finally:
            consumer.close()

    return await asyncio.to_thread(read)


async def write_aiokafka(doors: Doors, target: Target, records: Sequence[Told]) -> None:
    """Write with aiokafka."""
    topic, codec = target
    producer = aiokafka.AIOKafkaProducer(
        bootstrap_servers=doors.kafka,
        compression_type=None if codec == "none" else codec,
        linger_ms=50,
    )
    await producer.start()
    try:
        sent = [
            await producer.send(
                topic,
                value=value,
                key=key,
                headers=list(headers),
                partition=0,
                timestamp_ms=time_ms,
            )
            for key, value, headers, time_ms in records
        ]
        await asyncio.wait_for(asyncio.gather(*sent), WAIT_S)
    finally:
        await producer.stop()


async def read_aiokafka(doors: Doors, topic: str, count: int) -> list[Told]:
    """Read with aiokafka."""
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=doors.kafka, group_id=None, enable_auto_commit=False
    )
    await consumer.start()
    try:
        partition = aiokafka.TopicPartition(topic, 0)
        consumer.assign([partition])
        consumer.seek(partition, 0)
        found: list[Told] = []
        while len(found) < count:
            one = await asyncio.wait_for(consumer.getone(), WAIT_S)
            found.append(Told(one.key, one.value, tuple(one.headers), one.timestamp))
        return found
    finally:
        await consumer.stop()


CLIENTS: Final = {
    "grpc": Client(write_grpc, read_grpc),
    "librdkafka": Client(write_confluent, read_confluent),
    "java": APACHE_JAVA,
    "kafka-python": Client(write_kafka_python, read_kafka_python, sample=WITHOUT_NULL_HEADERS),
    "aiokafka": Client(write_aiokafka, read_aiokafka),
    "kafkajs": KAFKAJS,
    "kcat": KCAT,
}
