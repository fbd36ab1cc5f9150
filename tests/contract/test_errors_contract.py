"""Refusals: each with its reason, what became of the request, and whether to try again."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

import tidelog
from tests.contract.place import Place
from tidelog.calls import Call
from tidelog.v1 import (
    cluster_service_pb2,
    log_service_pb2,
    stream_service_pb2,
    transaction_service_pb2,
)


@dataclass(frozen=True)
class Case:
    """What is done to a topic with one record, and how that is refused."""

    act: Callable[[Place, str], Awaitable[object]]
    raised: type[tidelog.TidelogError]
    retryable: bool = False


async def _send(place: Place, topic: str, value: bytes = b"v", **options: Any) -> None:
    async with place.client.producer(compression="none") as producer:
        await producer.send(topic, value, **options)


async def _read(place: Place, topic: str, **options: Any) -> None:
    await place.values(topic, **options)


CASES = {
    "UNKNOWN_TOPIC sending": Case(lambda p, t: _send(p, f"{t}-none"), tidelog.NotFound),
    "UNKNOWN_TOPIC reading": Case(lambda p, t: _read(p, f"{t}-none"), tidelog.NotFound),
    "UNKNOWN_TOPIC trimming": Case(
        lambda p, t: p.client.topics.trim(f"{t}-none", "latest"), tidelog.NotFound
    ),
    "UNKNOWN_TOPIC resolving": Case(
        lambda p, t: p.client.topics.resolve(f"{t}-none", "latest"), tidelog.NotFound
    ),
    "UNKNOWN_TOPIC growing": Case(
        lambda p, t: p.client.topics.add_partitions(f"{t}-none", 3), tidelog.NotFound
    ),
    "UNKNOWN_PARTITION sending": Case(lambda p, t: _send(p, t, partition=1), tidelog.NotFound),
    "UNKNOWN_PARTITION reading": Case(lambda p, t: _read(p, t, partitions=[1]), tidelog.NotFound),
    "UNKNOWN_PARTITION trimming": Case(
        lambda p, t: p.client.topics.trim(t, 0, partitions=[1]), tidelog.NotFound
    ),
    "INVALID_TOPIC_NAME sending": Case(lambda p, _: _send(p, "a b"), tidelog.InvalidRequest),
    "INVALID_TOPIC_NAME reading": Case(lambda p, _: _read(p, "a b"), tidelog.InvalidRequest),
    "RECORD_TOO_LARGE sending": Case(
        lambda p, t: _send(p, t, b"v" * 2_000), tidelog.RecordTooLarge
    ),
    "OFFSET_OUT_OF_RANGE reading": Case(
        lambda p, t: _read(p, t, start=9), tidelog.OffsetOutOfRange
    ),
    "TOPIC_ALREADY_EXISTS creating": Case(
        lambda p, t: p.client.topics.create(t), tidelog.AlreadyExists
    ),
    "INVALID_CONFIG creating": Case(
        lambda p, t: p.client.topics.create(f"{t}-x", config={"no": "1"}), tidelog.InvalidRequest
    ),
}


@pytest.mark.parametrize("name", CASES)
async def test_a_refusal_says_what_became_of_it(place: Place, name: str) -> None:
    topic, case = await place.topic(max__message__bytes="1000"), CASES[name]
    await place.write(topic, b"v")
    with pytest.raises(case.raised) as refused:
        await case.act(place, topic)
    error = refused.value
    assert error.reason == name.partition(" ")[0]
    assert (error.outcome, error.retryable) == ("not_done", case.retryable)
    assert str(error).endswith(f"({error.reason})")
    assert len(error.text) > 10
    assert await place.values(topic) == [b"v"]


NOT_BUILT: dict[str, tuple[type[Any], type[Any]]] = {
    "StreamService/GetStream": (
        stream_service_pb2.GetStreamRequest, stream_service_pb2.GetStreamResponse,
    ),
    "TransactionService/EndTransaction": (
        transaction_service_pb2.EndTransactionRequest,
        transaction_service_pb2.EndTransactionResponse,
    ),
    "ClusterService/DrainBroker": (
        cluster_service_pb2.DrainBrokerRequest, cluster_service_pb2.DrainBrokerResponse,
    ),
    "LogService/NoSuchCall": (
        log_service_pb2.ProduceRequest, log_service_pb2.ProduceResponse,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_BUILT)
async def test_a_call_that_is_not_built_says_so(place: Place, name: str) -> None:
    request, response = NOT_BUILT[name]
    with pytest.raises(tidelog.InvalidRequest) as refused:
        await place.client.connection.call(
            Call(f"/tidelog.v1.{name}", request, response), request()
        )
    assert (refused.value.reason, refused.value.outcome) == ("NOT_IMPLEMENTED", "not_done")


async def test_an_offset_out_of_range_tells_the_range(place: Place) -> None:
    topic = await place.topic()
    await place.write(topic, b"0", b"1")
    await place.client.topics.trim(topic, 1)
    with pytest.raises(tidelog.OffsetOutOfRange) as refused:
        await place.values(topic, start=9)
    error = refused.value
    assert error.partition == tidelog.TopicPartition(topic, 0)
    assert (error.requested, error.log_start_offset, error.high_watermark) == (9, 1, 2)
