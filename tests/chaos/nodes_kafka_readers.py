"""A process of readers by librdkafka, each of its own partitions from their beginning on.

See `nodes_client.py`. They go on for ever; high watermarks that they are told are written down.
"""

import sys
from functools import partial
from threading import Event
from typing import Any, Final

from confluent_kafka import Consumer, TopicPartition

from tests.chaos.history import Begin, Closed, History, Shown
from tests.chaos.nodes_client import Orders, orders, tell, together, until_told
from tests.chaos.nodes_plan import PARTITIONS, READERS, TOPIC
from tests.chaos.recorder import Seen, note_records

POLL_S: Final = 0.2
MOST: Final = 500
SETTINGS: Final[dict[str, Any]] = {
    "group.id": "in-no-group",
    "enable.auto.commit": False,
    "auto.offset.reset": "error",
    "check.crcs": True,
    "topic.metadata.refresh.interval.ms": 1_000,
    "reconnect.backoff.max.ms": 500,
    "fetch.wait.max.ms": 50,
    "log_level": 0,
}


class Reader:
    """One of them."""

    def __init__(self, told: Orders, history: History, partitions: range) -> None:
        """Begin to read."""
        self._history = history
        self._places = [TopicPartition(TOPIC, number, 0) for number in partitions]
        for number in partitions:
            history.note(Begin(history.clock(), at=f"{TOPIC}/{number}", offset=0))
        self._consumer: Any = Consumer({**SETTINGS, "bootstrap.servers": told.address})
        self._consumer.assign(self._places)

    def run(self, over: Event) -> None:
        """Read until it is over."""
        while not over.is_set():
            seen: list[Seen] = []
            for message in self._consumer.consume(MOST, POLL_S):
                error = message.error()
                if error is None:
                    seen.append(_seen(message))
                elif not error.retriable():
                    tell(f"{self._history.client}: {error}")
            note_records(self._history, seen)
            self._note_marks({record.at for record in seen})
        self._consumer.close()
        self._history.note(Closed(self._history.clock()))

    def _note_marks(self, places: set[str]) -> None:
        """Write down the high watermarks that came with records."""
        for place in self._places:
            at = f"{TOPIC}/{place.partition}"
            if at in places:
                _, high = self._consumer.get_watermark_offsets(place, cached=True)
                if high >= 0:
                    self._history.note(Shown(self._history.clock(), at=at, hw=high))


def _seen(message: Any) -> Seen:
    at = f"{TOPIC}/{message.partition()}"
    return Seen(at, message.offset(), message.value(), message.leader_epoch(), None)


def main(told: Orders) -> None:
    """Run all readers, each in a thread of its own."""
    over = until_told()
    jobs = []
    for number in range(READERS):
        history = History(told.folder, f"r-kafka-{number + 1}")
        reader = Reader(told, history, range(number, PARTITIONS, READERS))
        jobs.append(partial(reader.run, over))
    together(jobs, over)


if __name__ == "__main__":
    main(orders(sys.argv[1:]))
