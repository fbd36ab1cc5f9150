"""A process of idempotent producers of librdkafka; see `nodes_client.py`.

A producer that librdkafka has given up, however it says so, is followed by another one.
"""

import sys
from collections.abc import Callable
from functools import partial
from threading import Event
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import Producer as KafkaProducer

from tests.chaos.history import History
from tests.chaos.nodes_client import Orders, Pace, histories, orders, tell, together, until_told
from tests.chaos.nodes_plan import TOPIC, VALUE_BYTES, WRITER, WRITERS
from tests.chaos.recorder_kafka import RecordedKafkaProducer

TICK_S: Final = 0.01
FLUSH_S: Final = 120.0
SILENT_MS: Final = 5_000
"""Who has had no answer for so long asks elsewhere. By default librdkafka waits a minute for a node
that stands still, and sends nothing else of those partitions meanwhile, whoever leads them now."""
SETTINGS: Final[dict[str, Any]] = {
    "acks": "all",
    "enable.idempotence": True,
    "linger.ms": 5,
    "message.timeout.ms": int(FLUSH_S * 1_000),
    "socket.timeout.ms": SILENT_MS,
    "topic.metadata.refresh.interval.ms": 1_000,
    "reconnect.backoff.max.ms": 500,
    "log_level": 0,
}


class Writer:
    """One producer."""

    def __init__(self, told: Orders, history: History) -> None:
        """Begin."""
        self._rate = told.rate
        self.fatal = ""
        """Why it cannot go on."""
        settings = {**SETTINGS, "bootstrap.servers": told.address, "error_cb": self._failed}
        self._kafka = KafkaProducer({**settings, "client.id": history.client})
        self._recorded = RecordedKafkaProducer(self._kafka, settings, history)

    def run(self, over: Event) -> bool:
        """Send until it is over; tell whether it could go on until then.

        What has had no answer when it could not is unknown.
        """
        pace = Pace(self._rate)
        while not over.is_set() and not self.fatal:
            for partition in pace.due():
                self._send(partition)
            self._ask(lambda: self._kafka.poll(TICK_S))
        if not self.fatal:
            left = self._ask(lambda: self._kafka.flush(FLUSH_S))
            if left:
                tell(f"{left} values have had no answer in {FLUSH_S:.0f} s")
        if self.fatal:
            self._recorded.abandon(self.fatal)
            self._ask(self._kafka.purge)
        self._recorded.close()
        return not self.fatal

    def _send(self, partition: int) -> None:
        try:
            self._recorded.produce(TOPIC, partition, size_bytes=VALUE_BYTES)
        except BufferError as error:
            tell(f"not taken: {error}")
        except KafkaException as error:
            self._refused(error)

    def _ask(self, call: Callable[[], Any]) -> Any:
        """Call librdkafka, which may give the whole producer up instead of an answer."""
        try:
            return call()
        except KafkaException as error:
            self._refused(error)
            return None

    def _refused(self, error: KafkaException) -> None:
        what = error.args[0]
        if isinstance(what, KafkaError) and what.fatal():
            self._failed(what)
        else:
            tell(f"told: {error}")

    def _failed(self, error: Any) -> None:
        if error.fatal():
            self.fatal = self.fatal or str(error)


def keep_writing(told: Orders, name: str, over: Event) -> None:
    """Write, whatever happens."""
    for history in histories(told.folder, name):
        writer = Writer(told, history)
        if writer.run(over):
            return
        tell(f"{history.client} begins anew: {writer.fatal}")


def main(told: Orders) -> None:
    """Run all producers, each in a thread of its own; with one that fails all end."""
    over = until_told()
    names = [f"{WRITER}kafka-{number}" for number in range(1, WRITERS + 1)]
    together([partial(keep_writing, told, name, over) for name in names], over)


if __name__ == "__main__":
    main(orders(sys.argv[1:]))
