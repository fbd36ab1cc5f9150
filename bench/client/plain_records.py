"""Records of 100 B, one by one through a client library, and one line of JSON.

    python -m bench.client.plain_records tidelog|aiokafka produce|consume ADDRESS TOPIC RECORDS

`tidelog`: the SDK with none of the packages of its extra `speed`. They are made impossible to
import, and the program refuses to run if the SDK could still build a record batch: so it sends
plain records and asks for plain records. `aiokafka` speaks to the Kafka listener, with the codec
in C that it is installed with. Both send 500 records a batch, wait for acks of all, and run on
the standard library's event loop. Clock and CPU run from the first record to the last
acknowledgement, or from asking for records to the last of them; the topic exists by then.
"""

import asyncio
import json
import sys
import time
from datetime import timedelta
from importlib import import_module
from typing import Any, Final

import tidelog
from tidelog.batch import can_build

SPEED: Final = ("fastcrc", "lz4", "uvloop", "xxhash", "zstandard")
VALUE: Final = b"v" * 100
BATCH_RECORDS: Final = 500
SDK_RECORD_BYTES: Final = len(VALUE) + 24
"""What the SDK reckons for a record without key and headers."""
KAFKA_BATCH_BYTES: Final = 61 + BATCH_RECORDS * 110
"""A batch of aiokafka that is full with 500 of these records: a header, and 110 bytes of each."""
LINGER: Final = timedelta(seconds=1)
"""Long enough that every batch fills up."""
KAFKA_LINGER_MS: Final = 5
"""Long enough too: batches of aiokafka fill up while the one before them is under way."""


class Watch:
    """Seconds, and those of CPU, since it was made."""

    def __init__(self) -> None:
        """Begin."""
        self._began, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        """Return both."""
        cpu = time.process_time() - self._cpu
        return {"seconds": time.perf_counter() - self._began, "cpu_s": cpu}


def leave_out_speed() -> None:
    """Make the extra `speed` absent.

    Raises:
        RuntimeError: it did not help.
    """
    for name in SPEED:
        sys.modules[name] = None  # type: ignore[assignment] # as the import system has it: absent
    if can_build():
        raise RuntimeError("the SDK can build record batches; it was to have no `speed`")


def aiokafka() -> Any:
    """Return the library, which ships no types; where the SDK is measured it is not loaded."""
    return import_module("aiokafka")


async def tidelog_produce(address: str, topic: str, records: int) -> dict[str, float]:
    """Send through the SDK."""
    async with tidelog.connect(f"tidelog://{address}") as client:
        await client.topics.create(topic, partitions=1)
        batch_bytes = BATCH_RECORDS * SDK_RECORD_BYTES
        async with client.producer(batch_bytes=batch_bytes, linger=LINGER) as producer:
            await producer.send_many(topic, [VALUE])
            watch = Watch()
            for _ in range(records):
                _ = await producer.enqueue(topic, VALUE)  # flush tells of a failure
            await producer.flush()
            return watch.read()


async def tidelog_consume(address: str, topic: str, records: int) -> dict[str, float]:
    """Read through the SDK."""
    async with tidelog.connect(f"tidelog://{address}") as client:
        await client.ready(timedelta(seconds=10))
        watch = Watch()
        async with client.replay(topic) as replay:
            async for _ in replay:
                records -= 1
                if not records:
                    return watch.read()
    raise RuntimeError(f"{records} records are missing")


async def aiokafka_produce(address: str, topic: str, records: int) -> dict[str, float]:
    """Send through aiokafka."""
    made = aiokafka().AIOKafkaProducer(
        bootstrap_servers=address,
        acks="all",
        max_batch_size=KAFKA_BATCH_BYTES,
        linger_ms=KAFKA_LINGER_MS,
    )
    async with made as producer:
        first = await producer.send(topic, VALUE)
        await producer.flush()
        await first
        watch = Watch()
        for _ in range(records):
            await producer.send(topic, VALUE)
        await producer.flush()
        return watch.read()


async def aiokafka_consume(address: str, topic: str, records: int) -> dict[str, float]:
    """Read through aiokafka."""
    library = aiokafka()
    made = library.AIOKafkaConsumer(bootstrap_servers=address, auto_offset_reset="earliest")
    async with made as consumer:
        watch = Watch()
        consumer.assign([library.TopicPartition(topic, 0)])
        async for _ in consumer:
            records -= 1
            if not records:
                return watch.read()
    raise RuntimeError(f"{records} records are missing")


WAYS: Final = {
    ("tidelog", "produce"): tidelog_produce,
    ("tidelog", "consume"): tidelog_consume,
    ("aiokafka", "produce"): aiokafka_produce,
    ("aiokafka", "consume"): aiokafka_consume,
}


def main() -> None:
    """Do what the command line says."""
    library, verb, address, topic, records = sys.argv[1:6]
    if library == "tidelog":
        leave_out_speed()
    print(json.dumps(asyncio.run(WAYS[library, verb](address, topic, int(records)))))


if __name__ == "__main__":
    main()
