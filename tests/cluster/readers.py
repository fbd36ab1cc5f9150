"""Programs that read what a load has written: all of it afterwards, or along with it."""

from collections import defaultdict
from collections.abc import Iterable
from threading import Event, Thread
from typing import Final

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from tests.cluster.judge import Acknowledged, Numbers
from tests.cluster.topics import ASK_S, TOPIC, client, moved
from tests.cluster.waiting import until

TAKE: Final = 10_000
"""Records that are taken from the client at once, at most."""
TAKE_S: Final = 0.2


def consumer(servers: str) -> Consumer:
    """Return a consumer that is in no group."""
    return Consumer({**client(servers), "group.id": "unused", "enable.auto.commit": False})


def bounds(reader: Consumer, topic: str, partition: int) -> tuple[int, int]:
    """Return where a partition begins and ends; who has just moved is looked for again.

    Raises:
        NotInTime: nobody leads it.
    """
    place = TopicPartition(topic, partition)

    def look() -> tuple[int, int] | None:
        try:
            found: tuple[int, int] = reader.get_watermark_offsets(place, timeout=ASK_S)
        except KafkaException as refused:
            if not moved(refused):
                raise
            _look_around(reader, topic)
            return None
        return found

    return until(look, f"the bounds of {topic}/{partition}")


def _look_around(reader: Consumer, topic: str) -> None:
    """Have a consumer ask who leads: by itself it does so only now and then."""
    try:
        reader.list_topics(topic, timeout=ASK_S)
    except KafkaException as refused:
        if not moved(refused):
            raise


def read_back(servers: str, partitions: Iterable[int], topic: str = TOPIC) -> Numbers:
    """Return everything that is readable of some partitions.

    Raises:
        NotInTime: it does not all come.
    """
    reader = consumer(servers)
    found: Numbers = {}
    try:
        for partition in partitions:
            found[partition] = _all_of(reader, topic, partition)
    finally:
        reader.close()
    return found


def _all_of(reader: Consumer, topic: str, partition: int) -> dict[int, int]:
    first, end = bounds(reader, topic, partition)
    reader.assign([TopicPartition(topic, partition, first)])
    rows: dict[int, int] = {}

    def look() -> bool:
        rows.update((at, number) for _, at, number in _taken(reader))
        return len(rows) >= end - first

    until(look, f"{end - first} records of {topic}/{partition}", every_s=0.0)
    return rows


def _taken(reader: Consumer) -> Iterable[tuple[int, int, int]]:
    """Yield partition, offset and number of what has come by now."""
    for message in reader.consume(TAKE, timeout=TAKE_S):
        row = _row(message)
        if row is not None:
            yield row


def _row(message: Message) -> tuple[int, int, int] | None:
    partition, offset, value = message.partition(), message.offset(), message.value()
    if message.error() is not None or partition is None or offset is None or value is None:
        return None
    return partition, offset, int(value)


class Follower:
    """A consumer without a group that reads along; nothing that it saw may change."""

    def __init__(self, servers: str, *, partitions: int, topic: str = TOPIC) -> None:
        """Begin at once."""
        self.odd: list[str] = []
        """Offsets that did not follow the one before."""
        self._servers, self._topic, self._partitions = servers, topic, partitions
        self._rows: Numbers = defaultdict(dict)
        self._stop = Event()
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def seen(self) -> Numbers:
        """Return what was read so far."""
        return {number: dict(self._rows[number]) for number in range(self._partitions)}

    def stop(self) -> None:
        """Read no more."""
        self._stop.set()
        self._thread.join()

    def has(self, acknowledged: Acknowledged) -> None:
        """Wait until it has read whatever was acknowledged.

        Raises:
            NotInTime: it does not come by it.
        """
        last = {number: max(offset for offset, _ in rows) for number, rows in acknowledged.items()}

        def look() -> bool:
            return all(offset in self._rows[number] for number, offset in last.items())

        until(look, "a consumer that was there before reads on")

    def _run(self) -> None:
        reader = consumer(self._servers)
        numbers = range(self._partitions)
        reader.assign([TopicPartition(self._topic, number, 0) for number in numbers])
        next_offset = dict.fromkeys(numbers, 0)
        while not self._stop.is_set():
            for partition, offset, number in _taken(reader):
                if offset != next_offset[partition]:
                    self.odd.append(
                        f"partition {partition}: {offset} behind {next_offset[partition]}"
                    )
                next_offset[partition] = offset + 1
                self._rows[partition][offset] = number
        reader.close()
