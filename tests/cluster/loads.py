"""A program that writes all the time while something happens to nodes, and what it is told.

It is librdkafka's producer, idempotent and with acks=all, whose records are numbers that count up;
each partition gets them in turn.
"""

from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from time import monotonic, time
from typing import Final

from confluent_kafka import Message, Producer

from tests.cluster.judge import Acknowledged
from tests.cluster.topics import TOPIC, client
from tests.cluster.waiting import NotInTime, until

FRESH: Final = 50
"""Records that a partition must acknowledge before it counts as back."""
TIMEOUT_MS: Final = 120_000
"""For one record: longer than anything here may last."""
REQUEST_MS: Final = 3_000
"""How long the client believes in a node that holds its connection and says nothing. Its own 30 s
would be what a row measures where a node stands still."""
LINGER_MS: Final = 5
EVERY_S: Final = 0.002
"""A record so often."""
LOOK_S: Final = 0.01


@dataclass(slots=True)
class Place:
    """What was acknowledged of one partition. Moments are of the monotonic clock, in seconds."""

    acks: list[tuple[int, int]] = field(default_factory=list)
    """Offset and number of each record."""
    gap: float = 0.0
    """The longest time without an ack, since the mark."""
    gap_over: float = 0.0
    """When it was over: seconds since 1970."""
    fresh: int = 0
    """Acks of records that were sent after somebody asked whether all is back."""
    _last: float = 0.0
    _mark: float = 0.0
    _asked: float = 0.0

    def mark(self, now: float) -> None:
        """Measure from now on."""
        self._mark, self.gap, self.gap_over = now, 0.0, time()

    def ask(self, now: float) -> None:
        """Count what is sent from now on."""
        self._asked, self.fresh = now, 0

    def take(self, offset: int, number: int, *, sent: float, now: float) -> None:
        """Note that a record is acknowledged."""
        self.acks.append((offset, number))
        gap = now - max(self._last, self._mark)
        if gap > self.gap:
            self.gap, self.gap_over = gap, time()
        self.fresh += sent > self._asked
        self._last = now


class Load:
    """The writer of one topic; it never stops by itself."""

    def __init__(
        self, servers: str, *, partitions: int, topic: str = TOPIC, every_s: float = EVERY_S
    ) -> None:
        """Begin with `start`. `servers`: where Kafka clients begin; `every_s`: between records."""
        self.refused: list[str] = []
        """What became of records that were not acknowledged."""
        self._servers, self._topic, self._every_s = servers, topic, every_s
        self._places = {number: Place() for number in range(partitions)}
        self._sent: dict[int, float] = {}
        self._next = 0
        self._lock = Lock()
        self._stop, self._abandon = Event(), Event()
        self._thread: Thread | None = None

    def start(self) -> None:
        """Begin, or go on."""
        self._stop.clear()
        self.mark()
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send no more, and wait until each record has been answered."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def give_up(self) -> None:
        """Send no more, and wait for nothing: the nodes will not answer any more."""
        self._abandon.set()
        self.stop()

    def forgive(self) -> None:
        """Forget what was refused: it has been told."""
        self.refused.clear()

    @property
    def running(self) -> bool:
        """Tell whether it sends."""
        return self._thread is not None

    @property
    def count(self) -> int:
        """Return how many were acknowledged."""
        return sum(len(place.acks) for place in self._places.values())

    @property
    def acknowledged(self) -> Acknowledged:
        """Return what was acknowledged so far."""
        with self._lock:
            return {number: list(place.acks) for number, place in self._places.items()}

    def mark(self) -> None:
        """Measure the time without acks from here on."""
        with self._lock:
            for place in self._places.values():
                place.mark(monotonic())

    def back(self, where: str, *, records: int = FRESH) -> float:
        """Wait until each partition has acknowledged so many that were sent from now on.

        Returns:
            Seconds: the longest time in which one of them acknowledged nothing, since the mark.

        Raises:
            NotInTime: one does not.
        """
        with self._lock:
            for place in self._places.values():
                place.ask(monotonic())

        def look() -> float | None:
            places = self._places.values()
            if all(place.fresh >= records for place in places):
                return max(place.gap for place in places)
            return None

        try:
            return until(look, f"acks in each partition {where}", every_s=LOOK_S)
        except NotInTime as late:
            have = {number: place.fresh for number, place in self._places.items()}
            raise NotInTime(f"{late}; there are, by partition: {have}") from None

    def more(self, records: int, where: str) -> float:
        """Wait and return as `back` does, and measure from here on."""
        gap = self.back(where, records=records)
        self.mark()
        return gap

    def back_at(self) -> float:
        """Return when the last of the longest gaps was over: seconds since 1970."""
        return max(place.gap_over for place in self._places.values())

    def _run(self) -> None:
        producer = Producer(
            {
                **client(self._servers),
                "enable.idempotence": True,
                "linger.ms": LINGER_MS,
                "request.timeout.ms": REQUEST_MS,
                "message.timeout.ms": TIMEOUT_MS,
            }
        )
        while not self._stop.is_set():
            number = self._next
            partition = number % len(self._places)
            value = b"%d" % number
            self._sent[number] = monotonic()
            try:
                producer.produce(
                    self._topic, value=value, partition=partition, on_delivery=self._told
                )
            except BufferError:  # nobody has answered for long
                producer.poll(0.1)
                continue
            self._next += 1
            producer.poll(self._every_s)
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
            self._places[partition].take(offset, number, sent=sent, now=now)
