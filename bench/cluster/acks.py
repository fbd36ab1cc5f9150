"""A producer that notes when each record was acknowledged, and reads all of them back."""

import time
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Final

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from bench.cluster.nodes import once_known
from bench.cluster.strikes import Ack, Kept, kept

PER_SECOND: Final = 500
DELIVERED_S_MAX: Final = 90
ANSWER_S_MAX: Final = 30
POLL_S_MAX: Final = 0.002


@dataclass(slots=True)
class Acks:
    """A librdkafka producer, idempotent as such, with acks=all and nothing else of its own."""

    brokers: str
    topic: str
    partitions: int
    acks: list[Ack] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    _stop: Event = field(default_factory=Event)
    _thread: Thread | None = None

    def start(self) -> None:
        """Send `PER_SECOND` records, to each partition in turn, until told to stop."""
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send no more, and wait for the answers that are missing."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def wait_all(self, since_s: float) -> None:
        """Return once each partition has taken a record that was sent after a moment.

        Raises:
            TimeoutError: one does not.
        """

        def look() -> bool | None:
            late = self.acks[-5 * PER_SECOND :]
            return (
                len({one.partition for one in late if one.sent_s > since_s}) == (self.partitions)
                or None
            )

        once_known(look, f"records of every partition of {self.topic} acknowledged", every_s=0.02)

    def kept(self) -> Kept:
        """Read everything back."""
        read = [(p, number) for p in range(self.partitions) for number in self._read(p)]
        return kept(self.acks, read)

    def _run(self) -> None:
        producer = Producer(
            {
                "bootstrap.servers": self.brokers,
                "enable.idempotence": True,
                "linger.ms": 0,
                "log_level": 0,
            }
        )
        began, number = time.monotonic(), 0
        while not self._stop.is_set():
            producer.poll(POLL_S_MAX)
            now = time.monotonic()
            while began + number / PER_SECOND <= now:
                self._send(producer, number)
                number += 1
        producer.flush(DELIVERED_S_MAX)

    def _send(self, producer: Producer, number: int) -> None:
        partition, sent_s = number % self.partitions, time.monotonic()

        def told(error: object, message: Message) -> None:
            del message
            if error is not None:
                self.failed.append(str(error))
            else:
                self.acks.append(Ack(time.monotonic(), partition, number, sent_s))

        value = b"%d" % number
        producer.produce(self.topic, value=value, partition=partition, on_delivery=told)

    def _read(self, partition: int) -> list[int]:
        """Return the numbers of a partition's records, in order.

        Raises:
            TimeoutError: some do not come.
        """
        settings = {"bootstrap.servers": self.brokers, "group.id": "nobody", "log_level": 0}
        consumer = Consumer({**settings, "enable.auto.commit": False})
        where = TopicPartition(self.topic, partition, 0)
        numbers: list[int] = []
        try:
            _, end = consumer.get_watermark_offsets(where, timeout=ANSWER_S_MAX)
            consumer.assign([where])
            seen = [0]

            def look() -> bool | None:
                for message in consumer.consume(1_000, timeout=0.1):
                    value, offset = message.value(), message.offset()
                    if message.error() is None and value is not None and offset is not None:
                        numbers.append(int(value))
                        seen[0] = offset + 1
                return seen[0] >= end or None

            once_known(look, f"the end of {self.topic}/{partition}", every_s=0)
        finally:
            consumer.close()
        return numbers
