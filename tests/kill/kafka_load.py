"""Load from librdkafka: several producers, each with its window of records without an answer."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import Event, Thread
from typing import Any, Final

from confluent_kafka import KafkaException, Message, Producer

from tests.kill.ledger import Account, Ledger
from tests.kill.payload import Author, identity

IN_FLIGHT_MAX: Final = 5
"""Requests of one connection, as an idempotent producer may have."""
BATCH_RECORDS: Final = 64
WINDOW: Final = IN_FLIGHT_MAX * BATCH_RECORDS * 2
"""Records without an answer: more than fit on the way, so that it is always full."""
STATISTICS_MS: Final = 50
FILL_MAX: Final = 200
"""Records produced for one producer before the others have their turn."""
PAUSE_S: Final = 0.001
NEVER_MS: Final = 2_000_000_000

CONFIG: Final[dict[str, Any]] = {
    "acks": "all",
    "max.in.flight.requests.per.connection": IN_FLIGHT_MAX,
    "batch.num.messages": BATCH_RECORDS,
    "linger.ms": 2,
    "retry.backoff.ms": 20,
    "retry.backoff.max.ms": 200,
    "reconnect.backoff.ms": 20,
    "reconnect.backoff.max.ms": 200,
    "message.timeout.ms": NEVER_MS // 1_000,
    "message.send.max.retries": NEVER_MS,
    "topic.metadata.refresh.interval.ms": 1_000,
    "statistics.interval.ms": STATISTICS_MS,
    "log_level": 2,
    "socket.keepalive.enable": False,
}


@dataclass(frozen=True, slots=True)
class Sender:
    """A producer to be: who it is, and how its client is set up."""

    author: Author
    config: Mapping[str, Any]


@dataclass(slots=True)
class _Client:
    """One librdkafka producer. Used by the load's thread alone."""

    account: Account
    producer: Any = None
    on_the_way: int = 0
    """Records in requests that were written to a socket and have no answer, by librdkafka."""
    reports: int = 0
    fatal: list[str] = field(default_factory=list)


class KafkaLoad:
    """All librdkafka producers of a run, in one thread."""

    def __init__(self, bootstrap: str, senders: Sequence[Sender], ledger: Ledger) -> None:
        """Connect; nothing is sent before `go`."""
        self._ledger = ledger
        self._clients = [_Client(ledger.account(sender.author)) for sender in senders]
        for client, sender in zip(self._clients, senders, strict=True):
            client.producer = Producer(
                {
                    **CONFIG,
                    **sender.config,
                    "bootstrap.servers": bootstrap,
                    "enable.idempotence": sender.author.idempotent,
                    "stats_cb": partial(self._statistics, client),
                    "error_cb": partial(self._failed, client),
                    "on_delivery": partial(self._delivered, client.account),
                }
            )
        self._sending = Event()
        self._ended = Event()
        self._thread = Thread(target=self._run, name="kafka load", daemon=True)
        self._thread.start()

    def go(self) -> None:
        """Send, as fast as answers come."""
        self._sending.set()

    def pause(self) -> None:
        """Send nothing new; what was sent is still retried."""
        self._sending.clear()

    def unanswered(self) -> int:
        """Return how many records wait for their answer."""
        return sum(client.account.unanswered for client in self._clients)

    def on_the_way(self) -> int:
        """Return how many records were on the way when librdkafka last said so."""
        return sum(client.on_the_way for client in self._clients)

    def reports(self) -> list[int]:
        """Return how often each client has said so."""
        return [client.reports for client in self._clients]

    def close(self) -> None:
        """End the thread and drop the clients; what is unanswered stays so."""
        self._sending.clear()
        self._ended.set()
        self._thread.join()
        for client in self._clients:
            client.producer.purge()
            client.producer = None

    def _run(self) -> None:
        pause = Event()
        while not self._ended.is_set():
            moved = False
            for client in self._clients:
                moved |= self._poll(client)
                moved |= self._sending.is_set() and self._fill(client)
            if not moved:
                pause.wait(PAUSE_S)

    def _poll(self, client: _Client) -> bool:
        """Hear what librdkafka has to say; tell whether it was anything."""
        try:
            return bool(client.producer.poll(0))
        except KafkaException as error:  # it cannot go on: a retry was refused
            self._ledger.problem(f"producer {client.account.author.number}: {error}")
            return False

    def _fill(self, client: _Client) -> bool:
        """Send until the window is full; tell whether anything was sent."""
        account, author = client.account, client.account.author
        room = min(WINDOW - account.unanswered, FILL_MAX)
        for _ in range(room):
            sequence = account.sent
            topic, partition = author.place_of(sequence)
            try:
                client.producer.produce(
                    topic,
                    author.value_of(sequence),
                    author.key_of(sequence),
                    partition=partition,
                    timestamp=author.time_of(sequence),
                )
            except (KafkaException, BufferError) as error:
                self._ledger.problem(f"producer {author.number} cannot send: {error}")
                self._sending.clear()
                return False
            account.sent = sequence + 1
        return room > 0

    def _delivered(self, account: Account, error: object, message: Message) -> None:
        sequence = identity(message.value() or b"")[1]
        if error is not None:
            self._ledger.refuse(account, sequence, str(error))
            return
        kind, time = message.timestamp()
        self._ledger.ack(
            account,
            sequence,
            offset=message.offset(),
            append_time=time if kind == STAMPED else None,
        )

    def _failed(self, client: _Client, error: Any) -> None:
        if error.fatal():
            self._ledger.problem(f"producer {client.account.author.number} cannot go on: {error}")

    @staticmethod
    def _statistics(client: _Client, text: str) -> None:
        brokers = json.loads(text)["brokers"].values()
        client.on_the_way = sum(broker["waitresp_msg_cnt"] for broker in brokers)
        client.reports += 1


STAMPED: Final = 2
"""confluent_kafka.TIMESTAMP_LOG_APPEND_TIME."""
