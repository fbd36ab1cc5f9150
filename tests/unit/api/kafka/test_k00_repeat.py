"""Requests that say the same again: recognised, answered byte for byte as by the long way."""

import gc
import uuid
import weakref
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from api.broker.acks import Acks, Produced
from api.kafka.apis import served_apis
from api.kafka.broker_port import BrokerPort
from api.kafka.connection import KafkaConnection
from api.kafka.k00_produce import VERSION_MAX, ZSTD_FROM
from api.kafka.k00_repeat import MOVES_MAX, REMEMBERED_MAX
from api.kafka_settings import KafkaSettings
from model.errors import ErrorCode, RequestError
from model.ids import AppendTimeMs, Offset
from tests.kafka_door import Script
from tests.kafka_messages import foreign_class

APIS = served_apis(KafkaSettings())
TOPIC_ID = b"0123456789abcdef"
UUID = uuid.UUID(bytes=TOPIC_ID)
VERSIONS = range(ZSTD_FROM, VERSION_MAX + 1)
IN_LOG = Produced(Offset(41), AppendTimeMs(1_000), Offset(3), duplicate=False, log_append_time=True)
REFUSED = RequestError(ErrorCode.RECORD_TOO_LARGE, "too large")


@dataclass
class Named:
    """A partition, as far as the listener looks at it."""

    topic: Any
    number: int
    gone: bool = False


@dataclass
class Partitions:
    """A broker of partitions that are only named; it answers at once with `outcome`."""

    outcome: Produced | RequestError = IN_LOG
    known: bool = True
    given: list[Named] = field(default_factory=list)
    produced: list[tuple[Any, ...]] = field(default_factory=list)
    not_found: list[tuple[Any, ...]] = field(default_factory=list)

    def partition(self, topic: Any, number: int) -> Any:
        if not self.known:
            raise RequestError(ErrorCode.UNKNOWN_TOPIC, "gone")
        self.given.append(Named(topic, number))
        return self.given[-1]

    partition_by_id = partition

    def batch_not_found(self, topic: Any, number: int, records: memoryview, **_: Any) -> None:
        self.not_found.append((topic, number, bytes(records)))

    def produce(self, principal: Any, partition: Any, records: memoryview, **more: Any) -> None:
        place = (partition.topic, partition.number)
        acks, timeout_ms = more["acks"], more["timeout_ms"]
        self.produced.append((principal.client_id, place, bytes(records), acks, timeout_ms))
        more["done"](self.outcome)


def produce(version: int, records: bytes | None, **more: Any) -> bytes:
    """Return a framed request of one batch, as kafka-python writes it."""
    cls = foreign_class(0, "Request")
    topic, part = cls.TopicProduceData, cls.TopicProduceData.PartitionProduceData
    parts = [part(index=more.get("number", 2), records=records)] * more.get("parts", 1)
    message = cls(
        transactional_id=more.get("transactional_id"),
        acks=more.get("acks", -1),
        timeout_ms=more.get("timeout_ms", 500),
        topic_data=[topic(name=more.get("topic", "orders"), topic_id=UUID, partition_data=parts)],
    )
    message.API_VERSION = version
    message.with_header(more.get("correlation_id", 1), more.get("client_id", "app"))
    return bytes(message.encode(version=version, header=True, framed=True))


def script(broker: Partitions) -> Script:
    return Script(apis=APIS, broker=cast(BrokerPort, broker))


@pytest.fixture
def recognised(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Tell of every Produce request whether it was recognised."""
    seen: list[bool] = []

    def watch(name: str, *, again: bool) -> None:
        method = getattr(KafkaConnection, name)

        def watched(self: KafkaConnection, *given: Any) -> Any:
            seen.append(again)
            return method(self, *given)

        monkeypatch.setattr(KafkaConnection, name, watched)

    watch("_produce_again", again=True)
    watch("_read", again=False)
    return seen


@pytest.mark.parametrize("outcome", [IN_LOG, IN_LOG._replace(log_append_time=False), REFUSED])
@pytest.mark.parametrize("version", VERSIONS)
def test_the_second_answer_is_the_first_ones_twin(
    version: int, outcome: Produced | RequestError, recognised: list[bool]
) -> None:
    broker = Partitions(outcome)
    client = script(broker)
    client.send(produce(version, b"first", correlation_id=1))
    client.send(produce(version, b"second, longer" * 30, correlation_id=2))
    client.send(produce(version, b"3", correlation_id=3))
    # A longer length in a compact version may take another byte; the bytes before it are the same.
    assert recognised == [False, True, True]
    answers = [answer for _, answer in client.answered]
    assert [correlation_id for correlation_id, _ in client.answered] == [1, 2, 3]
    assert answers[0] == answers[1] == answers[2]
    place = TOPIC_ID if version >= 13 else "orders"
    assert broker.produced == [
        ("app", (place, 2), b"first", Acks.ALL, 500),
        ("app", (place, 2), b"second, longer" * 30, Acks.ALL, 500),
        ("app", (place, 2), b"3", Acks.ALL, 500),
    ]


@pytest.mark.parametrize(
    "other",
    [
        {"topic": "orderz"},
        {"number": 3},
        {"acks": 1},
        {"timeout_ms": 501},
        {"client_id": "apq"},
        {"client_id": "application"},
        {"topic": "o"},
        {"parts": 2},
        {"transactional_id": "t"},
    ],
)
@pytest.mark.parametrize("version", [8, 12])
def test_what_differs_in_any_byte_is_read_anew(
    version: int, other: dict[str, Any], recognised: list[bool]
) -> None:
    broker, fresh = Partitions(), Partitions()
    client, alone = script(broker), script(fresh)
    client.send(produce(version, b"records"), produce(version, b"records", **other))
    alone.send(produce(version, b"records", **other))
    assert recognised == [False, False, False]
    assert broker.produced[1:] == fresh.produced
    assert client.answered[1:] == alone.answered


@pytest.mark.parametrize(
    ("version", "more"),
    [
        (6, {}),
        (12, {"acks": 0}),
        (12, {"parts": 2}),
        (12, {"transactional_id": "t"}),
        (12, {"acks": 7}),
    ],
)
def test_what_needs_a_closer_look_is_never_recognised(
    version: int, more: dict[str, Any], recognised: list[bool]
) -> None:
    client = script(Partitions())
    client.send(*[produce(version, b"records", **more)] * 3)
    assert recognised == [False] * 3


def test_another_version_of_the_same_bytes_is_another_request(recognised: list[bool]) -> None:
    client = script(Partitions())
    client.send(produce(11, b"records"), produce(12, b"records"), produce(12, b"records"))
    assert recognised == [False, False, True]


@pytest.mark.parametrize("version", [8, 12])
@pytest.mark.parametrize("tail", [b"", b"\0", b"\1\0\0", b"\0\0\0\0"])
def test_a_repeated_request_with_another_end_takes_the_long_way(
    version: int, tail: bytes, recognised: list[bool]
) -> None:
    client = script(Partitions())
    good = produce(version, b"records")
    size = int.from_bytes(good[:4], "big")
    if version == 12 and tail in {b"\0\0\0\0"}:
        tail = b"\0"  # bytes behind a request are of no matter, as in Kafka
    broken = good[: 4 + size - (3 if version == 12 else 0)] + tail
    client.send(good)
    client.send((len(broken) - 4).to_bytes(4, "big") + broken[4:])
    assert recognised[1] is (broken == good)


@pytest.mark.parametrize("version", [8, 12])
def test_a_repeated_request_that_is_cut_short_is_malformed(version: int) -> None:
    good = produce(version, b"records")
    for size in range(40, len(good) - 4):
        client = script(Partitions())
        client.send(good, size.to_bytes(4, "big") + good[4 : 4 + size])
        assert (client.parts.counters.malformed, len(client.answered)) == (1, 1)


def test_a_topic_that_has_gone_is_said_to_be_unknown() -> None:
    broker = Partitions()
    client = script(broker)
    client.send(produce(12, b"records", correlation_id=1))
    broker.known = False
    for partition in broker.given:
        partition.gone = True
    client.send(produce(12, b"records", correlation_id=2))
    alone = script(broker)
    alone.send(produce(12, b"records", correlation_id=2))
    assert client.answered[1:] == alone.answered
    assert broker.not_found == [("orders", 2, b"records")] * 2


@pytest.mark.parametrize("version", [8, 13])
def test_a_partition_is_looked_up_once_and_again_when_it_has_gone(version: int) -> None:
    broker = Partitions()
    client = script(broker)
    client.send(*[produce(version, b"records")] * 4)
    assert len(broker.given) == 2  # by the long way, and by the first that was recognised
    broker.given[-1].gone = True
    client.send(*[produce(version, b"records")] * 2)
    assert len(broker.given) == 3


def test_what_has_gone_is_held_by_nobody() -> None:
    broker = Partitions()
    client = script(broker)
    client.send(*[produce(12, b"records")] * 2)
    (template,) = client.connection._repeats._by_bytes.values()
    assert template._partition is broker.given[-1]  # type: ignore[comparison-overlap]
    broker.given[-1].gone, broker.known = True, False
    client.send(produce(12, b"records"))
    assert template._partition is None


def test_what_is_remembered_is_bounded(recognised: list[bool]) -> None:
    client = script(Partitions())
    for number in range(REMEMBERED_MAX + 1):
        client.send(produce(12, b"records", number=number))
    assert len(client.connection._repeats._by_bytes) == 1
    lengths = [produce(12, b"records", topic="t" * (1 + n % 2)) for n in range(4 * MOVES_MAX)]
    client.send(*lengths)
    client.send(lengths[0], lengths[1])
    assert recognised[-2:].count(True) == 1, "it keeps to one length in the end"


def test_a_client_that_has_gone_leaves_nothing_to_the_collector(recognised: list[bool]) -> None:
    client = script(Partitions())
    client.send(produce(VERSION_MAX, b"first"))
    client.send(produce(VERSION_MAX, b"second"))
    assert recognised == [False, True]
    transport, kept = client.transport, weakref.ref(client.connection)
    gc.disable()
    try:
        transport.lose()
        del client, transport.protocol  # as the event loop's own transports let go of it
        assert kept() is None
    finally:
        gc.enable()
