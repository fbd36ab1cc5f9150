"""confluent-kafka's clients, with what they are asked and what they answer written down.

Everything is called from one thread. librdkafka tells little of a failure: whatever it may have
sent is taken as unknown; not done is only what never left it, or what a node refuses unread.
"""

from itertools import count
from typing import Any, Final

from tests.chaos.history import (
    Ack,
    Assigned,
    Closed,
    Commit,
    Committed,
    Fail,
    Gave,
    History,
    Look,
    Looked,
    Producer,
    Shown,
    Unknown,
)
from tests.chaos.recorder import Numbering, Seen, note_records

NEVER_SENT: Final = frozenset({"_PURGE_QUEUE", "_QUEUE_FULL", "_INVALID_ARG", "MSG_SIZE_TOO_LARGE"})
ACKS: Final = {"all": "all", "-1": "all", "1": "leader", "0": "none"}


def _at(topic: str, partition: int) -> str:
    return f"{topic}/{partition}"


class RecordedKafkaProducer:
    """A `confluent_kafka.Producer`, made with `settings`."""

    def __init__(self, producer: Any, settings: dict[str, Any], history: History) -> None:
        """Write down what it is."""
        self._producer = producer
        self._history = history
        self._numbers = Numbering(history)
        self._open: dict[tuple[str, int], None] = {}
        """What has had no answer."""
        acks = str(settings.get("acks", settings.get("request.required.acks", "all")))
        idempotent = str(settings.get("enable.idempotence", False)).lower() == "true"
        history.note(Producer(history.clock(), acks=ACKS[acks], idempotent=idempotent))

    def produce(
        self, topic: str, partition: int, *, size_bytes: int = 0, time_ms: int | None = None
    ) -> None:
        """Hand over one value; raises what `Producer.produce` does."""
        at = _at(topic, partition)
        n, value = self._numbers.take(at, size_bytes, time_ms)

        def delivered(error: Any, message: Any) -> None:
            self._delivered((at, n), error, message)

        options = {} if time_ms is None else {"timestamp": time_ms}
        try:
            self._producer.produce(
                topic, value=value, partition=partition, on_delivery=delivered, **options
            )
        except Exception as failure:
            why = type(failure).__name__  # it was not taken: nothing can have been sent
            self._history.note(Fail(self._history.clock(), at=at, n=n, why=why))
            raise
        self._open[at, n] = None

    def abandon(self, why: str) -> None:
        """Write down that nobody will learn what became of whatever has had no answer.

        Also of what librdkafka calls unsent: it may have been sent before, and be waiting to be
        sent again.
        """
        for at, n in self._open:
            self._history.note(Unknown(self._history.clock(), at=at, n=n, why=why))
        self._open.clear()

    def _delivered(self, sent: tuple[str, int], error: Any, message: Any) -> None:
        if sent not in self._open:
            return  # it was given up
        del self._open[sent]
        at, n = sent
        t = self._history.clock()
        if error is None:
            # None: librdkafka takes it for written, as a later batch of the same producer was.
            self._history.note(Ack(t, at=at, n=n, offset=message.offset()))
        elif error.name() in NEVER_SENT:
            self._history.note(Fail(t, at=at, n=n, why=error.name()))
        else:
            self._history.note(Unknown(t, at=at, n=n, why=error.name()))

    def close(self) -> None:
        """Write down that it has ended in order, once it was flushed."""
        self._history.note(Closed(self._history.clock()))


class RecordedKafkaMember:
    """A `confluent_kafka.Consumer` that subscribes; it commits by hand."""

    def __init__(self, consumer: Any, group: str, history: History) -> None:
        """Take a consumer whose `enable.auto.commit` is off."""
        self._consumer = consumer
        self._group = group
        self._history = history
        self._numbers = count(1)

    def subscribe(self, topics: list[str]) -> None:
        """Join the group."""
        self._consumer.subscribe(
            topics, on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked
        )

    def _assigned(self, consumer: Any, partitions: list[Any]) -> None:
        places: dict[str, int | None] = {_at(one.topic, one.partition): None for one in partitions}
        self._history.note(Assigned(self._history.clock(), group=self._group, places=places))

    def _revoked(self, consumer: Any, partitions: list[Any]) -> None:
        places = [_at(one.topic, one.partition) for one in partitions]
        self._history.note(Gave(self._history.clock(), group=self._group, places=places))

    def consume(self, most: int, timeout_s: float) -> list[Any]:
        """Return messages, errors among them, as `Consumer.consume` does."""
        messages: list[Any] = self._consumer.consume(most, timeout_s)
        seen = [
            Seen(
                _at(one.topic(), one.partition()),
                one.offset(),
                one.value(),
                one.leader_epoch(),
                None,
            )
            for one in messages
            if one.error() is None
        ]
        note_records(self._history, seen)
        self._note_edges({(record.at) for record in seen})
        return messages

    def _note_edges(self, places: set[str]) -> None:
        """Write down the high watermarks that came with the records."""
        for partition in self._consumer.assignment():
            at = _at(partition.topic, partition.partition)
            if at in places:
                _, high = self._consumer.get_watermark_offsets(partition, cached=True)
                if high >= 0:
                    self._history.note(Shown(self._history.clock(), at=at, hw=high))

    def commit(self, offsets: list[Any]) -> list[Any]:
        """Commit and wait for the answer; raises what `Consumer.commit` does.

        An error for all of them is written down as refused: nothing is claimed of those.
        """
        places = {_at(one.topic, one.partition): one.offset for one in offsets}
        number, history = next(self._numbers), self._history
        history.note(Commit(history.clock(), id=number, group=self._group, places=places))
        try:
            rows: list[Any] = self._consumer.commit(offsets=offsets, asynchronous=False)
        except Exception as failure:
            why = dict.fromkeys(places, str(failure))
            history.note(Committed(history.clock(), id=number, refused=why))
            raise
        refused = {
            _at(row.topic, row.partition): row.error.name() for row in rows if row.error is not None
        }
        history.note(Committed(history.clock(), id=number, refused=refused))
        return rows

    def committed(self, partitions: list[Any], timeout_s: float) -> list[Any]:
        """Ask for committed offsets; raises what `Consumer.committed` does."""
        number, history = next(self._numbers), self._history
        asked = [_at(one.topic, one.partition) for one in partitions]
        history.note(Look(history.clock(), id=number, group=self._group, places=asked))
        rows: list[Any] = self._consumer.committed(partitions, timeout=timeout_s)
        if all(row.error is None for row in rows):
            places = {
                _at(row.topic, row.partition): row.offset if row.offset >= 0 else None
                for row in rows
            }
            history.note(Looked(history.clock(), id=number, places=dict(places)))
        return rows

    def close(self) -> None:
        """Leave the group, and write it down."""
        self._consumer.close()
        self._history.note(Closed(self._history.clock()))
