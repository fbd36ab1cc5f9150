"""The story of three processes: `python -m tests.cluster.story [--rounds 3] [--keep]`.

A producer of librdkafka, idempotent and with acks=all, goes on while nodes are killed (SIGKILL),
stopped in order (SIGTERM), and killed all at once. At the end everything is read back: whatever was
acknowledged is there, once, in the producer's order, and all three nodes hold the same bytes.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.cluster.processes import Processes

TOPIC: Final = "orders"
PARTITIONS: Final = 3
MOVED: Final = (KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE)
PATIENCE_S: Final = 60.0
"""For what must come by itself."""
RECORDS: Final = 300
"""Acknowledged before and after each blow."""
LINGER_MS: Final = 5


@dataclass(slots=True)
class Load:
    """A producer that never stops by itself, and what it was told."""

    servers: str
    acknowledged: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    """By partition: offset and number of each record."""
    refused: list[str] = field(default_factory=list)
    pause_s: float = 0.0
    """The longest time without an answer since it was asked last."""
    _last: float = 0.0
    _stop: Event = field(default_factory=Event)
    _thread: Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._last = monotonic()
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send no more, and wait for what was sent."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    @property
    def count(self) -> int:
        """Return how many were acknowledged."""
        return sum(map(len, self.acknowledged.values()))

    def more(self, records: int, where: str) -> float:
        """Wait until so many more are acknowledged; return the longest pause meanwhile.

        Raises:
            TimeoutError: they are not.
        """
        wanted, until = self.count + records, monotonic() + PATIENCE_S
        while self.count < wanted:
            if monotonic() > until:
                raise TimeoutError(f"{where}: {self.count} of {wanted} are acknowledged")
            Event().wait(0.01)
        pause, self.pause_s = self.pause_s, 0.0
        return pause

    def _run(self) -> None:
        producer = Producer(
            {
                "bootstrap.servers": self.servers,
                "enable.idempotence": True,
                "linger.ms": LINGER_MS,
                "message.timeout.ms": int(PATIENCE_S * 1_000),
                "topic.metadata.refresh.interval.ms": 1_000,
                "reconnect.backoff.max.ms": 500,
                "log_level": 0,
            }
        )
        number = 0
        while not self._stop.is_set():
            producer.produce(
                TOPIC,
                value=b"%d" % number,
                partition=number % PARTITIONS,
                on_delivery=self._told,
            )
            number += 1
            producer.poll(0.002)
        producer.flush(PATIENCE_S)

    def _told(self, error: object, message: Message) -> None:
        now = monotonic()
        self.pause_s, self._last = max(self.pause_s, now - self._last), now
        if error is not None:
            self.refused.append(str(error))
            return
        partition, offset, value = message.partition(), message.offset(), message.value()
        assert partition is not None and offset is not None and value is not None
        self.acknowledged.setdefault(partition, []).append((offset, int(value)))


class Story:
    """See the module."""

    def __init__(
        self, folder: Path, say: Callable[[str], None], *, settings: tuple[str, ...] = ()
    ) -> None:
        """Begin in a folder that is empty. `settings`: of each node, as `section.key=value`."""
        self.nodes = Processes(folder, settings=settings)
        self.problems: list[str] = []
        self._say = say

    def tell(self, rounds: int) -> list[str]:
        """Tell all of it; return what went wrong."""
        began = monotonic()
        self.nodes.start()
        self._say(f"three nodes serve after {monotonic() - began:.1f} s")
        try:
            self._create()
            load = Load(self.nodes.kafka())
            load.start()
            try:
                load.more(RECORDS, "at first")
                for number in range(rounds):
                    self._round(load, number)
            finally:
                load.stop()
            self._judge(load)
        except (TimeoutError, KafkaException) as broken:
            self.problems.append(f"{type(broken).__name__}: {broken}")
        finally:
            self.nodes.close()
        return self.problems

    def _client(self) -> dict[str, str | int | float | bool]:
        """Return what every client of the story is told."""
        return {"bootstrap.servers": self.nodes.kafka(), "log_level": 0}

    def _create(self) -> None:
        admin = AdminClient(self._client())
        created = admin.create_topics([NewTopic(TOPIC, PARTITIONS, 3)])
        created[TOPIC].result(PATIENCE_S)

    def _round(self, load: Load, number: int) -> None:
        """Strike three times."""
        victim = self._leader(number % PARTITIONS)
        self.nodes.nodes[victim].kill()
        self._say(f"killed {victim}: no answer for {load.more(RECORDS, 'after a kill'):.1f} s")
        self.nodes.start([victim])
        self._in_sync("after a kill")
        victim = self._leader((number + 1) % PARTITIONS)
        code = self.nodes.nodes[victim].terminate()
        if code != 0:
            self.problems.append(f"node {victim} stopped with exit code {code}")
        self._say(f"stopped {victim}: no answer for {load.more(RECORDS, 'after a stop'):.1f} s")
        self.nodes.start([victim])
        self._in_sync("after a stop")
        for node in self.nodes.nodes.values():
            node.kill()
        self.nodes.start()
        self._say(f"killed all: no answer for {load.more(RECORDS, 'after the end of all'):.1f} s")
        self._in_sync("after the end of all")

    def _leader(self, partition: int) -> int:
        """Return who leads, waiting until somebody does."""
        until = monotonic() + PATIENCE_S
        while monotonic() < until:
            found = self._metadata().get(partition)
            if found is not None and found[0] > 0:
                return found[0]
            Event().wait(0.1)
        raise TimeoutError(f"partition {partition} has no leader")

    def _in_sync(self, where: str) -> None:
        until = monotonic() + PATIENCE_S
        while monotonic() < until:
            rows = self._metadata()
            if len(rows) == PARTITIONS and all(in_sync == 3 for _, in_sync in rows.values()):
                return
            Event().wait(0.1)
        raise TimeoutError(f"{where}: not all replicas are in sync: {self._metadata()}")

    def _metadata(self) -> dict[int, tuple[int, int]]:
        """Return leader and number of replicas in sync, by partition."""
        admin = AdminClient(self._client())
        found = admin.list_topics(TOPIC, timeout=PATIENCE_S).topics[TOPIC]
        return {number: (row.leader, len(row.isrs)) for number, row in found.partitions.items()}

    def _judge(self, load: Load) -> None:
        """Read everything back."""
        self.problems += [f"refused: {why}" for why in load.refused[:5]]
        read = self._read_back()
        for partition, rows in load.acknowledged.items():
            found = read[partition]
            lost = [row for row in rows if found.get(row[0]) != row[1]]
            if lost:
                self.problems.append(f"partition {partition}: {len(lost)} lost, first {lost[0]}")
            values = list(found.values())
            if len(set(values)) != len(values):
                self.problems.append(f"partition {partition}: records are there twice")
            if values != sorted(values):
                self.problems.append(f"partition {partition}: not in the producer's order")
        self._say(f"{load.count} acknowledged, {sum(map(len, read.values()))} read back")

    def _read_back(self) -> dict[int, dict[int, int]]:
        """Return number by offset, of each partition."""
        consumer = Consumer({**self._client(), "group.id": "unused"})
        found: dict[int, dict[int, int]] = {}
        try:
            for partition in range(PARTITIONS):
                place = TopicPartition(TOPIC, partition)
                first, end = _ends(consumer, place)
                consumer.assign([TopicPartition(TOPIC, partition, first)])
                rows = found[partition] = {}
                until = monotonic() + PATIENCE_S
                while len(rows) < end - first and monotonic() < until:
                    for message in consumer.consume(1_000, timeout=1.0):
                        offset, value = message.offset(), message.value()
                        if message.error() is None and offset is not None and value is not None:
                            rows[offset] = int(value)
        finally:
            consumer.close()
        return found


def _ends(consumer: Consumer, place: TopicPartition) -> tuple[int, int]:
    """Return where a partition begins and ends; who has just moved is looked for again."""
    until = monotonic() + PATIENCE_S
    while True:
        try:
            first, end = consumer.get_watermark_offsets(place, timeout=PATIENCE_S)
        except KafkaException as refused:
            error = refused.args[0]
            if error.code() not in MOVED or monotonic() > until:
                raise
            consumer.list_topics(TOPIC, timeout=PATIENCE_S)
            continue
        return first, end


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Tell the story; 0 if it ends well."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", action="store_true", help="keep the folder")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tidelog-story-"))
    problems = Story(folder, _say).tell(options.rounds)
    for problem in problems:
        _say(f"PROBLEM: {problem}")
    if problems or options.keep:
        _say(f"see {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
