"""A program that writes all the time while something happens to nodes, and what it is told.

It is librdkafka's producer, idempotent and with acks=all, whose records are numbers that count up;
each partition gets them in turn.
"""

from threading import Event, Thread
from time import monotonic
from typing import Final

from confluent_kafka import Message, Producer

from tests.cluster.acks import FRESH, Counted
from tests.cluster.judge import UNPLACED
from tests.cluster.topics import TOPIC, client
from tests.cluster.waiting import NotInTime, until

TIMEOUT_MS: Final = 120_000
"""For one record: longer than anything here may last."""
REQUEST_MS: Final = 3_000
"""How long the client believes in a node that holds its connection and says nothing. Its own 30 s
would be what a row measures where a node stands still."""
LINGER_MS: Final = 5
EVERY_S: Final = 0.002
"""A record so often."""
LOOK_S: Final = 0.01


class Load(Counted):
    """The writer of one topic; it never stops by itself."""

    def __init__(
        self, servers: str, *, partitions: int, topic: str = TOPIC, every_s: float = EVERY_S
    ) -> None:
        """Begin with `start`. `servers`: where Kafka clients begin; `every_s`: between records."""
        super().__init__(partitions)
        self.refused: list[str] = []
        """What became of records that were not acknowledged."""
        self._servers, self._topic, self._every_s = servers, topic, every_s
        self._partitions = partitions
        self._next = 0
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

    def mark(self) -> None:
        """Measure the time without acks from here on."""
        self._acks.mark()

    def back(self, where: str, *, records: int = FRESH) -> float:
        """Wait until each partition has acknowledged so many that were sent from now on.

        Returns:
            Seconds: the longest time in which one of them acknowledged nothing, since the mark.

        Raises:
            NotInTime: one does not.
        """
        self._acks.ask()
        try:
            return until(
                lambda: self._acks.gap(records=records),
                f"acks in each partition {where}",
                every_s=LOOK_S,
            )
        except NotInTime as late:
            raise NotInTime(f"{late}; there are, by partition: {self._acks.fresh()}") from None

    def more(self, records: int, where: str) -> float:
        """Wait and return as `back` does, and measure from here on."""
        gap = self.back(where, records=records)
        self.mark()
        return gap

    def back_at(self) -> float:
        """Return when the last of the longest gaps was over: seconds since 1970."""
        return self._acks.back_at()

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
            partition = number % self._partitions
            value = b"%d" % number
            self._acks.sent(number)
            try:
                producer.produce(
                    self._topic, value=value, partition=partition, on_delivery=self._told
                )
            except BufferError:  # nobody has answered for long
                producer.poll(0.1)
                continue
            self._next += 1
            due = monotonic() + self._every_s
            while (left := due - monotonic()) > 0:
                producer.poll(left)  # it returns for each answer
        if self._abandon.is_set():
            producer.purge()
        producer.flush(TIMEOUT_MS / 1_000)

    def _told(self, error: object, message: Message) -> None:
        if error is not None:
            self.refused.append(str(error))
            return
        partition, offset, value = message.partition(), message.offset(), message.value()
        assert partition is not None and value is not None
        self._acks.take(partition, UNPLACED if offset is None else offset, int(value))
