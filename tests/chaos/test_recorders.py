"""What the recorders write down of a run against a node is a history in which all is well."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import tidelog
from tests.chaos.check import check
from tests.chaos.history import Ack, AnyEvent, Fail, Garbled, History, Read, Unknown
from tests.chaos.history_reading import read_in_order
from tests.chaos.recorder import Numbering, Seen, note_records
from tests.chaos.recorder_kafka import RecordedKafkaProducer
from tests.chaos.recorder_sdk import (
    RecordedMember,
    RecordedProducer,
    RecordedQuestions,
    note_begin,
    recorded,
)
from tests.chaos.stamps import Stamp, stamp_of, value_of
from tests.grpc_node import grpc_node
from tidelog.client import Client


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with (
        grpc_node(tmp_path / "node") as node,
        tidelog.connect(f"tidelog://{node.target}", client_id="c") as client,
    ):
        await client.topics.create("orders", partitions=2)
        yield client


async def test_the_sdk_recorded(client: Client, tmp_path: Path) -> None:
    sent = History(tmp_path, "producer")
    async with client.producer() as producer:
        writer = RecordedProducer(producer, sent, acks="all", idempotent=True)
        tickets = [await writer.enqueue("orders", n % 2, size_bytes=60) for n in range(20)]
        await asyncio.gather(*tickets)
        with pytest.raises(tidelog.TidelogError):
            await writer.send("orders", 7)
    writer.close()
    read = History(tmp_path, "reader")
    for partition in (0, 1):
        note_begin(read, tidelog.TopicPartition("orders", partition), 0)
        async with client.replay("orders", partitions=[partition], stop="latest") as replay:
            assert len([record async for record in recorded(replay, read)]) == 10
    group = History(tmp_path, "member")
    member = RecordedMember(group, "crowd")
    consumer = client.consumer(
        "orders",
        group="crowd",
        commit="manual",
        on_assigned=member.on_assigned,
        on_revoked=member.on_revoked,
    )
    async with asyncio.timeout(20), consumer:
        records = recorded(consumer, group)
        await member.commit(consumer, *[await anext(records) for _ in range(20)])
    questions = RecordedQuestions(client, History(tmp_path, "questions"))
    await questions.offsets("crowd", "orders", 2)
    await questions.first_at("orders", 0, tidelog.types.EPOCH)
    report = check(read_in_order(tmp_path))
    assert report.anomalies == []
    wanted = {
        "values acknowledged": 20,
        "values refused": 1,
        "records read": 40,
        "commits acknowledged": 2,
        "offsets of groups told": 2,
        "time queries answered": 1,
    }
    assert {what: report.counts[what] for what in wanted} == wanted


class _Librdkafka:
    """Keeps what was produced, and delivers when it is told to."""

    def __init__(self) -> None:
        self.callbacks: list[Any] = []

    def produce(self, topic: str, *, value: bytes, partition: int, on_delivery: Any) -> None:
        if len(self.callbacks) == 3:
            raise BufferError("full")
        self.callbacks.append(on_delivery)


class _Error:
    def __init__(self, name: str) -> None:
        self._name = name

    def name(self) -> str:
        return self._name


class _Message:
    def __init__(self, offset: int | None = 5) -> None:
        self._offset = offset

    def offset(self) -> int | None:
        return self._offset


def _events(folder: Path) -> list[AnyEvent]:
    return [event for _, event in read_in_order(folder)]


def test_what_librdkafka_may_have_sent_is_unknown(tmp_path: Path) -> None:
    kafka, history = _Librdkafka(), History(tmp_path, "k")
    producer = RecordedKafkaProducer(kafka, {"acks": "all", "enable.idempotence": True}, history)
    for _ in range(3):
        producer.produce("orders", 0)
    with pytest.raises(BufferError):
        producer.produce("orders", 0)
    kafka.callbacks[0](None, _Message())
    kafka.callbacks[1](_Error("_MSG_TIMED_OUT"), None)
    kafka.callbacks[2](_Error("_PURGE_QUEUE"), None)
    told = [event for event in _events(tmp_path) if isinstance(event, Ack | Fail | Unknown)]
    assert [(type(event), event.n) for event in told] == [
        (Fail, 3),
        (Ack, 0),
        (Unknown, 1),
        (Fail, 2),
    ]


def test_an_ack_of_librdkafka_may_come_without_an_offset(tmp_path: Path) -> None:
    """It infers some from that of a later batch."""
    kafka, history = _Librdkafka(), History(tmp_path, "k")
    producer = RecordedKafkaProducer(kafka, {"acks": "all", "enable.idempotence": True}, history)
    for offset in (5, None):
        producer.produce("orders", 0)
        kafka.callbacks[-1](None, _Message(offset))
    acks = [event for event in _events(tmp_path) if isinstance(event, Ack)]
    assert [ack.offset for ack in acks] == [5, None]


def test_records_become_runs_and_what_nobody_sent_stands_out(tmp_path: Path) -> None:
    history = History(tmp_path, "p")
    numbers = Numbering(history)
    values = [numbers.take("orders/0", size, None)[1] for size in (0, 40, 41)]
    elsewhere = value_of(Stamp("p", "orders/1", 0))
    seen = [Seen("orders/0", 4 + n, value, 1, 10) for n, value in enumerate(values)]
    note_records(history, [*seen, Seen("orders/0", 7, elsewhere, 1, 10)])
    read, garbled = _events(tmp_path)[3:]
    assert isinstance(read, Read)
    assert (read.runs, read.epochs, read.appended) == ([(4, "p", 0, 3)], [1], [10])
    assert isinstance(garbled, Garbled)
    assert garbled.offset == 7


@pytest.mark.parametrize("size", [0, 30, 100, 1_000])
def test_every_byte_of_a_value_counts(size: int) -> None:
    stamp = Stamp("p-1", "orders/0", 12)
    value = value_of(stamp, size)
    assert stamp_of(value) == stamp
    assert size <= 30 or len(value) <= size
    for place in range(len(value)):
        flipped = bytearray(value)
        flipped[place] ^= 1
        assert stamp_of(bytes(flipped)) != stamp
    assert stamp_of(value[:-1]) is None
    assert stamp_of(value + b"x") is None
    assert stamp_of(None) is None


def test_a_last_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    history = History(tmp_path, "p")
    numbers = Numbering(history)
    numbers.take("orders/0", 0, None)
    numbers.take("orders/0", 0, None)
    history.close()
    path = tmp_path / "p.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    assert len(_events(tmp_path)) == 1
