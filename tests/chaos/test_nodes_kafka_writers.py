"""A producer that librdkafka gives up is followed by another one, and nothing is claimed of it."""

from pathlib import Path
from threading import Event
from typing import Any, ClassVar

import pytest

from tests.chaos.check import check
from tests.chaos.history import Ack, Fail, Producer, Send, Unknown
from tests.chaos.history_reading import read_in_order
from tests.chaos.nodes_client import Orders

confluent_kafka = pytest.importorskip("confluent_kafka", reason="it makes the load")
FATAL: Any = confluent_kafka.KafkaException(
    confluent_kafka.KafkaError(confluent_kafka.KafkaError._FATAL, "a sequence is lost", fatal=True)
)
RETRIED = "_PURGE_QUEUE"
"""What is told of records that wait to be sent again, too."""


class Message:
    """What was delivered."""

    def __init__(self, offset: int) -> None:
        self._offset = offset

    def offset(self) -> int:
        return self._offset


class Error:
    """Why something was not."""

    def name(self) -> str:
        return RETRIED


class Librdkafka:
    """Stands for librdkafka: the first one is lost in a call, the second one answers."""

    made: ClassVar[list["Librdkafka"]] = []
    lost_in = "poll"
    over: Event

    def __init__(self, settings: dict[str, Any]) -> None:
        self.made.append(self)
        self.sent: list[Any] = []
        self._error_cb = settings["error_cb"]
        self._breaks = len(self.made) == 1
        self._acked = False

    def produce(self, topic: str, *, value: bytes, partition: int, on_delivery: Any) -> None:
        if self._breaks and self.lost_in == "produce" and len(self.sent) == 2:
            raise FATAL
        self.sent.append(on_delivery)

    def poll(self, timeout: float) -> int:
        if not self._breaks or self.lost_in in {"flush", ""}:
            if self.sent:
                self.over.set()
        elif len(self.sent) == 2:
            if not self._acked:
                self._acked = True
                self.sent[0](None, Message(0))
            if self.lost_in == "callback":
                self._error_cb(FATAL.args[0])
            elif self.lost_in == "poll":
                raise FATAL
        return 0

    def flush(self, timeout: float) -> int:
        if self._breaks and self.lost_in == "flush":
            raise FATAL
        for offset, told in enumerate(self.sent, 1):
            told(None, Message(offset))
        return 0

    def purge(self) -> None:
        for told in self.sent[1:]:
            told(Error(), None)


class OneAtATime:
    """Stands for a pace: one record is due each time, whatever time has passed."""

    def __init__(self, rate: float) -> None:
        pass

    def due(self) -> list[int]:
        return [0]


@pytest.mark.parametrize("lost_in", ["poll", "callback", "produce"])
def test_another_producer_follows(
    lost_in: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = written(lost_in, tmp_path, monkeypatch)
    assert [client for client, event in events if isinstance(event, Producer)] == ["w-1", "w-1-2"]
    first = [event for client, event in events if client == "w-1"]
    acked = [event for event in first if isinstance(event, Ack)]
    unknown = [event for event in first if isinstance(event, Unknown)]
    refused = [event for event in first if isinstance(event, Fail)]
    sent = [event for event in first if isinstance(event, Send)]
    assert len(acked) == 1 and unknown
    assert len(sent) == len(acked) + len(unknown) + len(refused)
    assert [event.why for event in refused] == ["KafkaException"] * (lost_in == "produce")
    assert any(isinstance(event, Ack) for client, event in events if client == "w-1-2")


def test_who_is_lost_at_the_end_leaves_it_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no other producer then that would have something to send."""
    events = written("flush", tmp_path, monkeypatch)
    assert {client for client, event in events if isinstance(event, Unknown)} == {"w-1"}
    told = [event for client, event in events if client == "w-1" if isinstance(event, Ack | Fail)]
    assert not told


def test_an_error_that_is_not_fatal_is_only_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = confluent_kafka.KafkaError(confluent_kafka.KafkaError._TRANSPORT, "gone")
    monkeypatch.setattr(f"{__name__}.FATAL", confluent_kafka.KafkaException(error))

    def poll(self: Librdkafka, timeout: float) -> int:
        if self.sent:
            self.over.set()
        raise FATAL

    monkeypatch.setattr(Librdkafka, "poll", poll)
    events = written("", tmp_path, monkeypatch)
    assert {client for client, _ in events} == {"w-1"}
    assert not any(isinstance(event, Unknown) for _, event in events)


def written(lost_in: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """Let a writer write until the second producer has something to send; return the histories."""
    from tests.chaos import nodes_kafka_writers  # noqa: PLC0415 - needs confluent-kafka

    monkeypatch.setattr(Librdkafka, "made", [])
    monkeypatch.setattr(Librdkafka, "lost_in", lost_in)
    over = Event()
    monkeypatch.setattr(Librdkafka, "over", over, raising=False)
    monkeypatch.setattr(nodes_kafka_writers, "KafkaProducer", Librdkafka)
    monkeypatch.setattr(nodes_kafka_writers, "Pace", OneAtATime)
    nodes_kafka_writers.keep_writing(Orders("nobody:1", folder, 1_000.0), "w-1", over)
    events = list(read_in_order(folder))
    assert check(events).anomalies == []
    return events


def test_one_that_fails_ends_all_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that dies unnoticed leaves a campaign without half of its load."""
    from tests.chaos import nodes_kafka_writers  # noqa: PLC0415 - needs confluent-kafka

    over, went_on = Event(), list[str]()

    def keep_writing(told: Orders, name: str, over: Event) -> None:
        if name.endswith("1"):
            raise SystemError(name)
        assert over.wait(60)
        went_on.append(name)

    monkeypatch.setattr(nodes_kafka_writers, "until_told", lambda: over)
    monkeypatch.setattr(nodes_kafka_writers, "keep_writing", keep_writing)
    with pytest.raises(SystemError, match="kafka-1"):
        nodes_kafka_writers.main(Orders("nobody:1", tmp_path, 1_000.0))
    assert went_on
