"""Loads and readers of the stories, by themselves: what they measure, and what they put up with."""

from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from tests.cluster.acks import Place
from tests.cluster.judge import UNPLACED
from tests.cluster.processes import Processes

confluent_kafka = pytest.importorskip("confluent_kafka", reason="it makes the load")


class Moving:
    """A consumer whose partition moves so often, before somebody answers for it."""

    def __init__(self, *codes: int) -> None:
        self.asked_around = 0
        self._codes = list(codes)

    def get_watermark_offsets(self, place: Any, timeout: float) -> tuple[int, int]:
        if self._codes:
            raise confluent_kafka.KafkaException(confluent_kafka.KafkaError(self._codes.pop()))
        return 3, 7

    def list_topics(self, topic: str, timeout: float) -> None:
        self.asked_around += 1


def test_bounds_are_asked_of_whoever_leads_now() -> None:
    from tests.cluster.readers import bounds  # noqa: PLC0415 - needs confluent-kafka

    error = confluent_kafka.KafkaError
    moving: Any = Moving(error.NOT_LEADER_FOR_PARTITION, error._TRANSPORT, error._TIMED_OUT)
    assert bounds(moving, "orders", 0) == (3, 7)
    assert moving.asked_around == 3


def test_what_nobody_will_answer_otherwise_is_not_asked_again() -> None:
    from tests.cluster.readers import bounds  # noqa: PLC0415

    moving: Any = Moving(confluent_kafka.KafkaError.TOPIC_AUTHORIZATION_FAILED)
    with pytest.raises(confluent_kafka.KafkaException, match="AUTHORIZATION"):
        bounds(moving, "orders", 0)
    assert moving.asked_around == 0


class Delivered:
    """A record of which librdkafka knows that it is there, and not where."""

    def __init__(self, partition: int, value: bytes) -> None:
        self.partition = lambda: partition
        self.value = lambda: value
        self.offset = lambda: None


class Answered:
    """A producer whose first answers are lost."""

    def __init__(self, settings: object) -> None:
        del settings

    def produce(self, topic: str, *, value: bytes, partition: int, on_delivery: Any) -> None:
        del topic
        on_delivery(None, Delivered(partition, value))

    def poll(self, seconds: float) -> None:
        Event().wait(seconds)

    def flush(self, seconds: float) -> None:
        del seconds


def test_a_load_counts_what_is_acknowledged_without_an_offset(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tests.cluster import loads  # noqa: PLC0415

    monkeypatch.setattr(loads, "Producer", Answered)
    load = loads.Load("nowhere:9092", partitions=2)
    load.start()
    load.more(1, "of a producer that is told no offset")
    load.stop()
    assert load.acknowledged[0][0] == (UNPLACED, 0)
    assert load.acknowledged[1][0] == (UNPLACED, 1)
    assert load.refused == []


def test_a_node_that_has_not_joined_does_not_say_what_topics_there_are(tmp_path: Path) -> None:
    from tests.cluster.topics import known  # noqa: PLC0415

    with closing(Processes(tmp_path)) as nodes:
        nodes.open([1])  # of three
        assert known(nodes.nodes[1].doors.kafka) is None
        assert known(nodes.nodes[1].doors.kafka, "orders") is None


def test_only_what_was_sent_afterwards_shows_that_a_partition_is_back() -> None:
    place = Place()
    place.mark(10.0)
    place.ask(12.0)
    place.take(0, 0, sent=11.0, now=12.5)
    assert (place.fresh, place.gap) == (0, 2.5)
    place.take(1, 3, sent=12.1, now=13.0)
    assert (place.fresh, place.gap) == (1, 2.5)
    assert place.acks == [(0, 0), (1, 3)]
    place.mark(13.5)
    place.take(2, 6, sent=13.1, now=14.0)
    assert (place.fresh, place.gap) == (2, 0.5), "the time before a mark does not count"
