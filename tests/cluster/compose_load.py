"""A Kafka client on the host: what is acknowledged to it, how long nothing is, what it can read.

The producer is librdkafka's, idempotent and with acks=all, with timeouts short enough that it soon
gives up on a node that is there and does not answer.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from threading import Event, Thread
from time import monotonic
from typing import Final

from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

TOPIC: Final = "orders"
PARTITIONS: Final = 3
PATIENCE_S: Final = 60.0
"""For what must come by itself."""
EVERY_S: Final = 0.002
"""A record so often."""

Numbers = dict[int, dict[int, int]]
"""By partition and offset: the number that a record holds."""
Client = dict[str, str | int | float | bool]


def client(servers: str) -> Client:
    """Return what every client is told."""
    return {
        "bootstrap.servers": servers,
        "log_level": 0,
        "socket.timeout.ms": 3_000,
        "reconnect.backoff.max.ms": 500,
        "topic.metadata.refresh.interval.ms": 500,
    }


class NotInTime(Exception):  # noqa: N818 - says what happened
    """What had to come by itself did not come."""


@dataclass(slots=True)
class Load:
    """A producer that goes on until it is stopped, and what it was told."""

    servers: str
    acknowledged: Numbers = field(
        default_factory=lambda: {partition: {} for partition in range(PARTITIONS)}
    )
    refused: list[str] = field(default_factory=list)
    """What became of records that were not acknowledged."""
    _number: int = 0
    _heard: list[float] = field(default_factory=lambda: [0.0] * PARTITIONS)
    _silent_s: list[float] = field(default_factory=lambda: [0.0] * PARTITIONS)
    _stop: Event = field(default_factory=Event)
    _thread: Thread | None = None

    def start(self) -> None:
        """Begin, or go on."""
        self._stop.clear()
        self._heard = [monotonic()] * PARTITIONS
        self._silent_s = [0.0] * PARTITIONS
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send no more, and wait until every record has been answered."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def forgive(self) -> None:
        """Forget what was refused: it has been told."""
        self.refused.clear()

    @property
    def count(self) -> int:
        """Return how many were acknowledged."""
        return sum(map(len, self.acknowledged.values()))

    @property
    def running(self) -> bool:
        """Tell whether it sends."""
        return self._thread is not None

    def more(self, records: int, where: str) -> float:
        """Wait until each partition has acknowledged so many more.

        Returns:
            Seconds: the longest time in which one of the partitions acknowledged nothing, since
            this was called last, or since the start.

        Raises:
            NotInTime: they do not.
        """
        told = list(self.acknowledged.values())
        wanted = [len(rows) + records for rows in told]
        until = monotonic() + PATIENCE_S
        while any(len(rows) < one for rows, one in zip(told, wanted, strict=True)):
            if monotonic() > until:
                have = [len(rows) for rows in told]
                raise NotInTime(f"{where}: acknowledged are {have}, not {wanted}")
            Event().wait(0.01)
        longest, self._silent_s = max(self._silent_s), [0.0] * PARTITIONS
        return longest

    def _run(self) -> None:
        producer = Producer(
            {
                **client(self.servers),
                "enable.idempotence": True,
                "linger.ms": 5,
                "request.timeout.ms": 3_000,
                "message.timeout.ms": int(PATIENCE_S * 1_000),
            }
        )
        while not self._stop.is_set():
            try:
                producer.produce(
                    TOPIC,
                    value=b"%d" % self._number,
                    partition=self._number % PARTITIONS,
                    on_delivery=self._told,
                )
            except BufferError:
                producer.poll(0.1)
                continue
            self._number += 1
            producer.poll(EVERY_S)
        producer.flush(PATIENCE_S)

    def _told(self, error: object, message: Message) -> None:
        now, partition = monotonic(), message.partition()
        if error is not None:
            self.refused.append(str(error))
            return
        offset, value = message.offset(), message.value()
        assert partition is not None and offset is not None and value is not None
        silent_s = now - self._heard[partition]
        self._silent_s[partition] = max(self._silent_s[partition], silent_s)
        self._heard[partition] = now
        self.acknowledged[partition][offset] = int(value)


def partitions(servers: str) -> dict[int, tuple[int, int]]:
    """Return leader and number of replicas in sync of each partition, as clients are told."""
    found = AdminClient(client(servers)).list_topics(TOPIC, timeout=PATIENCE_S).topics[TOPIC]
    return {number: (row.leader, len(row.isrs)) for number, row in found.partitions.items()}


def led(servers: str, partition: int) -> int:
    """Return who leads a partition, waiting until somebody does.

    Raises:
        NotInTime: nobody does.
    """
    until = monotonic() + PATIENCE_S
    while monotonic() < until:
        leader = partitions(servers).get(partition, (-1, 0))[0]
        if leader > 0:
            return leader
        Event().wait(0.1)
    raise NotInTime(f"partition {partition} has no leader")


def in_sync(servers: str, where: str) -> float:
    """Wait until every partition has all its replicas in sync; return the seconds it took.

    Raises:
        NotInTime: one has not.
    """
    began = monotonic()
    while monotonic() < began + PATIENCE_S:
        rows = partitions(servers)
        if len(rows) == PARTITIONS and all(count == 3 for _, count in rows.values()):
            return monotonic() - began
        Event().wait(0.1)
    raise NotInTime(f"{where}: replicas in sync are {partitions(servers)}")


def read_back(servers: str, numbers: Iterable[int] = range(PARTITIONS)) -> Numbers:
    """Return everything that is readable of some partitions.

    Raises:
        NotInTime: it does not all come.
    """
    consumer = Consumer({**client(servers), "group.id": "unused", "enable.auto.commit": False})
    found: Numbers = {}
    try:
        for partition in numbers:
            place = TopicPartition(TOPIC, partition)
            first, end = consumer.get_watermark_offsets(place, timeout=PATIENCE_S)
            consumer.assign([TopicPartition(TOPIC, partition, first)])
            rows = found[partition] = {}
            until = monotonic() + PATIENCE_S
            while len(rows) < end - first:
                if monotonic() > until:
                    raise NotInTime(f"partition {partition}: {len(rows)} of {end - first} are read")
                for message in consumer.consume(1_000, timeout=1.0):
                    offset, value = message.offset(), message.value()
                    if message.error() is None and offset is not None and value is not None:
                        rows[offset] = int(value)
    finally:
        consumer.close()
    return found


def faults(acknowledged: Numbers, read: Numbers) -> list[str]:
    """Return in what way the records that were acknowledged are not those that are read.

    Only the partitions that were read are looked at.

    More may be read than was acknowledged: what became of a record may have been unknown.
    """
    wrong = []
    for partition, found in read.items():
        told = acknowledged[partition]
        lost = [offset for offset, number in told.items() if found.get(offset) != number]
        if lost:
            wrong.append(f"partition {partition}: {len(lost)} lost, the first at {min(lost)}")
        if len(set(found.values())) < len(found):
            wrong.append(f"partition {partition}: records are there twice")
        in_order = [told[offset] for offset in sorted(told)]
        if in_order != sorted(in_order):
            wrong.append(f"partition {partition}: not in the order of their producer")
    return wrong
