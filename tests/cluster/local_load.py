"""Load on a cluster, and what came of it: librdkafka all the time, the SDK where a row asks for it.

What was acknowledged is held against everything that is read back afterwards: nothing may be
missing, nothing may be there twice, and all is in the producer's order.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from threading import Event, Lock, Thread
from time import monotonic, time
from typing import Final

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.cluster.local_cluster import PATIENCE_S, Broken, LocalCluster, until
from tidelog.errors import TidelogError
from tidelog.sync import connect

TOPIC: Final = "orders"
PARTITIONS: Final = 6
FRESH: Final = 20
"""Records that must be acknowledged in each partition before it counts as back."""
TIMEOUT_MS: Final = 120_000
REQUEST_MS: Final = 3_000
"""How long the client believes in a node that holds its connection and says nothing. Its own 30 s
would be what a row measures where a node stands still."""
IDLE_S: Final = 0.004


def create(cluster: LocalCluster, topic: str, *, partitions: int, replicas: int = 3) -> None:
    """Create a topic."""
    admin = AdminClient({"bootstrap.servers": cluster.addresses("kafka"), "log_level": 0})
    admin.create_topics([NewTopic(topic, partitions, replicas)])[topic].result(PATIENCE_S)


@dataclass(slots=True)
class Place:
    """What was acknowledged of one partition."""

    acks: list[tuple[int, int]] = field(default_factory=list)
    """Offset and number of each record."""
    last: float = 0.0
    gap: float = 0.0
    """The longest time between two acks, since the mark, s."""
    gap_over: float = 0.0
    """When it was over: seconds since 1970."""
    fresh: int = 0
    """Acks of records that were sent after somebody asked whether all is back."""


class Load:
    """An idempotent producer with acks=all that never stops by itself."""

    def __init__(self, cluster: LocalCluster) -> None:
        """Begin at once."""
        self._servers = cluster.addresses("kafka")
        self.refused: list[str] = []
        self._places = {number: Place(last=monotonic()) for number in range(PARTITIONS)}
        self._sent: dict[int, float] = {}
        self._mark = self._asked = 0.0
        self._lock = Lock()
        self._stop, self._abandon = Event(), Event()
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send no more, and wait for what was sent."""
        self._stop.set()
        self._thread.join()

    def give_up(self) -> None:
        """Send no more, and wait for nothing: the cluster will not answer any more."""
        self._abandon.set()
        self.stop()

    @property
    def count(self) -> int:
        """Return how many were acknowledged."""
        return sum(len(place.acks) for place in self._places.values())

    def acknowledged(self) -> dict[int, list[tuple[int, int]]]:
        """Return offset and number of what was acknowledged so far, by partition."""
        with self._lock:
            return {number: list(place.acks) for number, place in self._places.items()}

    def mark(self) -> None:
        """Measure the time without acks from here on."""
        with self._lock:
            self._mark = monotonic()
            for place in self._places.values():
                place.gap, place.gap_over = 0.0, time()

    def back(self, where: str, *, patience_s: float = PATIENCE_S) -> float:
        """Wait until every partition takes records again.

        Returns the longest time without an ack in any partition, since the mark.

        Raises:
            Broken: one does not.
        """
        with self._lock:
            self._asked = monotonic()
            for place in self._places.values():
                place.fresh = 0

        def look() -> float | None:
            places = self._places.values()
            if all(place.fresh >= FRESH for place in places):
                return max(place.gap for place in places)
            return None

        try:
            return until(look, f"acks in every partition {where}", patience_s=patience_s)
        except Broken as broken:
            silent = [number for number, one in self._places.items() if one.fresh < FRESH]
            raise Broken(f"{broken}; none in {', '.join(map(str, silent))}") from None

    def back_at(self) -> float:
        """Return when the last of the longest gaps was over: seconds since 1970."""
        return max(place.gap_over for place in self._places.values())

    def _run(self) -> None:
        producer = Producer(
            {
                "bootstrap.servers": self._servers,
                "enable.idempotence": True,
                "linger.ms": 5,
                "message.timeout.ms": TIMEOUT_MS,
                "request.timeout.ms": REQUEST_MS,
                "topic.metadata.refresh.interval.ms": 1_000,
                "reconnect.backoff.max.ms": 500,
                "log_level": 0,
            }
        )
        number = 0
        while not self._stop.is_set():
            self._sent[number] = monotonic()
            producer.produce(
                TOPIC, value=b"%d" % number, partition=number % PARTITIONS, on_delivery=self._told
            )
            number += 1
            producer.poll(IDLE_S)
        if self._abandon.is_set():
            producer.purge()
        producer.flush(TIMEOUT_MS / 1_000)

    def _told(self, error: object, message: Message) -> None:
        if error is not None:
            self.refused.append(str(error))
            return
        partition, offset, value = message.partition(), message.offset(), message.value()
        assert partition is not None and offset is not None and value is not None
        now, number = monotonic(), int(value)
        sent = self._sent.pop(number)
        with self._lock:
            place = self._places[partition]
            place.acks.append((offset, number))
            gap = now - max(place.last, self._mark)
            if gap > place.gap:
                place.gap, place.gap_over = gap, time()
            place.fresh += sent > self._asked
            place.last = now


class Caller:
    """A program with the SDK as it comes: one record after the other, each acknowledged."""

    def __init__(self, cluster: LocalCluster, topic: str) -> None:
        """Begin at once."""
        self.sent = 0
        self.slowest_s = 0.0
        self.errors: list[str] = []
        self._url = f"tidelog://{cluster.addresses('grpc')}"
        self._topic = topic
        self._stop = Event()
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send no more."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with connect(self._url) as client, client.producer() as producer:
            while not self._stop.is_set():
                began = monotonic()
                try:
                    producer.send(self._topic, b"%d" % self.sent, key=b"%d" % self.sent)
                except TidelogError as error:
                    self.errors.append(f"{type(error).__name__}: {error}")
                self.sent += 1
                self.slowest_s = max(self.slowest_s, monotonic() - began)
                self._stop.wait(IDLE_S)


class Reader:
    """A consumer without a group that follows every partition; nothing that it saw may change."""

    def __init__(self, cluster: LocalCluster) -> None:
        """Begin at once."""
        self._servers = cluster.addresses("kafka")
        self.rows: dict[int, dict[int, int]] = defaultdict(dict)
        """Number by offset, of each partition."""
        self.odd: list[str] = []
        self._stop = Event()
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def seen(self) -> dict[int, dict[int, int]]:
        """Return what was read so far."""
        return {number: dict(self.rows[number]) for number in range(PARTITIONS)}

    def stop(self) -> None:
        """Read no more."""
        self._stop.set()
        self._thread.join()

    def has(self, acknowledged: dict[int, list[tuple[int, int]]]) -> None:
        """Wait until it has read whatever was acknowledged.

        Raises:
            Broken: it does not come by it.
        """
        last = {number: max(offset for offset, _ in rows) for number, rows in acknowledged.items()}

        def look() -> bool:
            return all(offset in self.rows[number] for number, offset in last.items())

        until(lambda: look() or None, "a consumer that was there before reads on")

    def _run(self) -> None:
        consumer = Consumer(
            {"bootstrap.servers": self._servers, "group.id": "unused", "log_level": 0}
        )
        consumer.assign([TopicPartition(TOPIC, number, 0) for number in range(PARTITIONS)])
        next_offset = dict.fromkeys(range(PARTITIONS), 0)
        while not self._stop.is_set():
            for message in consumer.consume(500, timeout=0.2):
                offset, value, number = message.offset(), message.value(), message.partition()
                if message.error() or offset is None or value is None or number is None:
                    continue
                if offset != next_offset[number]:
                    self.odd.append(f"partition {number}: {offset} behind {next_offset[number]}")
                next_offset[number] = offset + 1
                self.rows[number][offset] = int(value)
        consumer.close()


def read_back(cluster: LocalCluster) -> dict[int, dict[int, int]]:
    """Return number by offset, of each partition, by a consumer of its own."""
    consumer = Consumer(
        {"bootstrap.servers": cluster.addresses("kafka"), "group.id": "unused", "log_level": 0}
    )
    found: dict[int, dict[int, int]] = {}
    try:
        for partition in range(PARTITIONS):
            place = TopicPartition(TOPIC, partition)
            first, end = until(partial(_bounds, consumer, place), f"the bounds of {partition}")
            consumer.assign([TopicPartition(TOPIC, partition, first)])
            rows = found[partition] = {}
            give_up = monotonic() + PATIENCE_S
            while len(rows) < end - first:
                for message in consumer.consume(10_000, timeout=0.5):
                    offset, value = message.offset(), message.value()
                    if message.error() is None and offset is not None and value is not None:
                        rows[offset] = int(value)
                if monotonic() > give_up:
                    raise Broken(f"partition {partition}: {len(rows)} of {end - first} are read")
    finally:
        consumer.close()
    return found


def _bounds(consumer: Consumer, place: TopicPartition) -> tuple[int, int] | None:
    """Return where a partition begins and ends; None: its leadership moves just now."""
    try:
        return consumer.get_watermark_offsets(place, timeout=PATIENCE_S)
    except KafkaException:
        return None


def judged(
    acknowledged: dict[int, list[tuple[int, int]]],
    read: dict[int, dict[int, int]],
    seen: dict[int, dict[int, int]],
) -> str:
    """Return the figures of a row, all of them good.

    `seen`: what a consumer that went on all the time had read before.

    Raises:
        Broken: something is lost, doubled, out of order, or was shown and is another thing now.
    """
    problems = []
    for number, rows in acknowledged.items():
        found = read[number]
        lost = [row for row in rows if found.get(row[0]) != row[1]]
        values = list(found.values())
        changed = [at for at, value in seen[number].items() if found.get(at) != value]
        if lost:
            problems.append(f"partition {number}: {len(lost)} lost, first {lost[0]}")
        if len(set(values)) != len(values):
            problems.append(f"partition {number}: {len(values) - len(set(values))} doubled")
        if values != sorted(values):
            problems.append(f"partition {number}: not in the producer's order")
        if changed:
            problems.append(f"partition {number}: {len(changed)} are not what was shown")
    if problems:
        raise Broken("; ".join(problems))
    return f"{sum(map(len, acknowledged.values())):,} acknowledged so far, lost 0, doubled 0"
