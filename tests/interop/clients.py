"""The clients: each writes the sample to one partition, and reads one partition to its end.

Imported only by a run that has them all: a client that is missing is an error, not a gap.
"""

import asyncio
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import confluent_kafka

import tidelog
from tests.interop.sample import RECORDS, WITHOUT_NULL_HEADERS, Told
from tests.kill.node_process import Doors

aiokafka: Any = import_module("aiokafka")  # both ship no types
kafka: Any = import_module("kafka")

WAIT_S: Final = 60
"""A client that has said nothing for so long has failed."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class ClientFailedError(Exception):
    """A client did not do what it was asked."""


class Target(NamedTuple):
    """Where a client writes, and how it compresses."""

    topic: str
    codec: str


Write = Callable[[Doors, Target, Sequence[Told]], Awaitable[None]]
Read = Callable[[Doors, str, int], Awaitable[list[Told]]]
"""Doors, topic, how many records there are."""


@dataclass(frozen=True, slots=True)
class Client:
    """One way in and out."""

    write: Write
    read: Read
    dates: bool = True
    """It can say when its records happened; else they are dated as they are written."""
    sample: Sequence[Told] = RECORDS
    """What it can write."""
    plain: Mapping[str, str] = field(default_factory=dict)
    """Codecs for which it sends plain batches by its own decision, and why: n/a as a writer."""


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


async def write_kcat(doors: Doors, target: Target, records: Sequence[Told]) -> None:
    """Write with kcat, one record a call: a file's content is the value."""
    topic, codec = target
    with TemporaryDirectory() as folder:
        content = Path(folder) / "value"
        for record in records:
            content.write_bytes(record.value or b"")
            arguments = ["-P", "-t", topic, "-p", "0", "-X", f"compression.type={codec}"]
            if record.value is None:
                arguments.append("-Z")
            for name, value in record.headers:
                text = name if value is None else f"{name}={value.decode()}"
                arguments += ["-H", text]
            if record.value:
                key = [] if record.key is None else ["-k", record.key.decode()]
                await _kcat(doors, *arguments, *key, str(content))
            else:  # an empty file is passed over, a line with nothing behind its key is not
                await _kcat(doors, *arguments, "-K", ":", said=(record.key or b"") + b":\n")


async def read_kcat(doors: Doors, topic: str, count: int) -> list[Told]:
    """Read with kcat: lengths first, so that every byte can be in a value."""
    del count
    form = "%T %K %S %k%s%h\n"
    out = await _kcat(doors, "-C", "-t", topic, "-p", "0", "-o", "beginning", "-e", "-f", form)
    found: list[Told] = []
    at = 0
    while at < len(out):
        time_ms, key_size, value_size, _ = out[at:].split(b" ", 3)
        at += sum(map(len, (time_ms, key_size, value_size))) + 3
        key, at = _taken(out, at, int(key_size))
        value, at = _taken(out, at, int(value_size))
        end = out.index(b"\n", at)
        found.append(Told(key, value, _kcat_headers(out[at:end]), int(time_ms)))
        at = end + 1
    return found


def _taken(out: bytes, at: int, size: int) -> tuple[bytes | None, int]:
    return (None, at) if size < 0 else (out[at : at + size], at + size)


def _kcat_headers(line: bytes) -> tuple[tuple[str, bytes | None], ...]:
    """Return the headers of `a=1,n=NULL`; the sample has no text that this would mistake."""
    pairs = (pair.partition(b"=") for pair in line.split(b",") if pair)
    return tuple((name.decode(), None if text == b"NULL" else text) for name, _, text in pairs)


async def _kcat(doors: Doors, *arguments: str, said: bytes = b"") -> bytes:
    command = ["kcat", "-q", "-b", doors.kafka, *arguments]
    run = await asyncio.to_thread(
        subprocess.run, command, input=said, capture_output=True, check=False, timeout=WAIT_S
    )
    if run.returncode:
        raise ClientFailedError(f"kcat ended with {run.returncode}: {run.stderr.decode()[-300:]}")
    return bytes(run.stdout)


LZ4_NEEDS_GROUPS: Final = {
    "lz4": "librdkafka takes a broker without FindCoordinator (API 10) for one that cannot read it"
}
CLIENTS: Final = {
    "grpc": Client(write_grpc, read_grpc),
    "librdkafka": Client(write_confluent, read_confluent, plain=LZ4_NEEDS_GROUPS),
    "kafka-python": Client(write_kafka_python, read_kafka_python, sample=WITHOUT_NULL_HEADERS),
    "aiokafka": Client(write_aiokafka, read_aiokafka),
    "kcat": Client(write_kcat, read_kcat, dates=False, plain=LZ4_NEEDS_GROUPS),
}
