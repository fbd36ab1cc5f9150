"""A reader that follows some partitions all the time, and remembers what it was shown."""

from collections.abc import Sequence
from threading import Event, Thread
from typing import Any, Final

from confluent_kafka import Consumer, TopicPartition

from tests.kill.ledger import Ledger
from tests.kill.payload import Place, identity

POLL_S: Final = 0.05
MESSAGES_MAX: Final = 2_000
CONFIG: Final[dict[str, Any]] = {
    "group.id": "follower",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "reconnect.backoff.ms": 20,
    "reconnect.backoff.max.ms": 200,
    "fetch.wait.max.ms": 50,
    "log_level": 2,
}


class Follower:
    """One consumer in one thread; after a restart of the node it reads on where it was."""

    def __init__(self, bootstrap: str, places: Sequence[Place], ledger: Ledger) -> None:
        """Begin to read from the beginning."""
        self._ledger = ledger
        self._places = [TopicPartition(*place, 0) for place in places]
        self._next = dict.fromkeys(places, 0)
        self._consumer: Any = Consumer({**CONFIG, "bootstrap.servers": bootstrap})
        self._consumer.assign(self._places)
        self._ended = Event()
        self._thread = Thread(target=self._run, name="follower", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop reading."""
        self._ended.set()
        self._thread.join()
        self._consumer.close()

    def _run(self) -> None:
        while not self._ended.is_set():
            for message in self._consumer.consume(MESSAGES_MAX, POLL_S):
                error = message.error()
                if error is None:
                    self._see(message)
                elif not error.retriable() and error.code() not in TRANSIENT:
                    self._ledger.problem(f"the follower was told: {error}")
            for place in self._places:
                _, high = self._consumer.get_watermark_offsets(place, cached=True)
                if high > 0:
                    self._ledger.mark(Place(place.topic, place.partition), high, reader="follower")

    def _see(self, message: Any) -> None:
        place = Place(message.topic(), message.partition())
        offset = message.offset()
        expected = self._next[place]
        if offset != expected:  # P12
            self._ledger.problem(f"the follower of {place} expected {expected}, got {offset}")
        self._next[place] = offset + 1
        self._ledger.see(place, offset, identity(message.value() or b""))


TRANSIENT: Final = frozenset({-195, -187, -185, -181, -168})
"""Transport, all brokers down, timed out, resolve, and the like: the node is not there just now."""
