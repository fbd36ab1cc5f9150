"""A producer that notes when each record was acknowledged, and reads all of them back."""

import time
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Final

from confluent_kafka import Message, Producer

from bench.cluster.nodes import once_known
from bench.cluster.strikes import Ack, Kept, kept
from tests.cluster.readers import read_back

PER_SECOND: Final = 500
DELIVERED_S_MAX: Final = 90
POLL_S_MAX: Final = 0.002


@dataclass(slots=True)
class Acks:
    """A librdkafka producer, idempotent as such, with acks=all and nothing else of its own.

    `tests.cluster.loads` has settings by which a story sees a node sooner; what is measured here is
    what a client sees with its own, at one pace.
    """

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
            NotInTime: one does not.
        """

        def look() -> bool:
            late = self.acks[-5 * PER_SECOND :]
            return len({one.partition for one in late if one.sent_s > since_s}) == self.partitions

        once_known(look, f"records of every partition of {self.topic} acknowledged", every_s=0.02)

    def kept(self) -> Kept:
        """Read everything back.

        Raises:
            NotInTime: some of it does not come.
        """
        read = read_back(self.brokers, range(self.partitions), self.topic)
        rows = [(number, value) for number, found in read.items() for value in found.values()]
        return kept(self.acks, rows)

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
