"""What gathers in a producer while its node is slow to answer: large batches, not small ones."""

import asyncio
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from tests.sdk_clock import FastClock
from tidelog.codecs import BYTES
from tidelog.connection import Connection, Node, parse_url
from tidelog.lane import IN_FLIGHT_MAX
from tidelog.producer import Producer
from tidelog.producer_settings import ProducerSettings
from tidelog.retry import Retry
from tidelog.topic_sizes import TopicSizes
from tidelog.v1 import common_pb2 as common
from tidelog.v1 import log_service_pb2 as log

RECORDS = 100


class Slow:
    """A stream that answers once it is told to."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        """Records of each that came."""
        self._answers: list[log.ProduceStreamResponse] = []
        self._answered: asyncio.Queue[Any] = asyncio.Queue()
        self._slow = True

    async def write(self, request: log.ProduceStreamRequest) -> None:
        (batch,) = request.produce.batches
        self.batches.append(len(batch.records))
        answer = log.ProduceStreamResponse(correlation_id=request.correlation_id)
        answer.produce.results.add(topic=batch.topic, base_offset=0)
        if self._slow:
            self._answers.append(answer)
        else:
            self._answered.put_nowait(answer)

    def answer(self) -> None:
        self._slow = False
        for answer in self._answers:
            self._answered.put_nowait(answer)

    async def read(self) -> Any:
        return await self._answered.get()

    async def done_writing(self) -> None:
        self._answered.put_nowait(None)

    def cancel(self) -> None:
        """Nothing is held."""


async def _at_once(node: Node, within_s: float = 0.0) -> bool:
    return True


async def test_what_would_only_wait_gathers_in_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Slow()
    connection = Connection(
        parse_url("nowhere"), auth=None, client_id="", clock=FastClock(), chance=Random(0),
        retry=Retry(),
    )  # fmt: skip

    async def call(init: object, request: object) -> log.InitProducerResponse:
        return log.InitProducerResponse(producer=common.ProducerId(id=1, epoch=0))

    monkeypatch.setattr(Node, "connect", _at_once)
    monkeypatch.setattr(connection, "pipe", lambda node, what: slow)
    monkeypatch.setattr(connection, "call", call)
    settings = ProducerSettings(linger=timedelta(0))
    sizes = TopicSizes(connection)
    async with Producer(connection, sizes, settings, key=BYTES, value=BYTES) as producer:
        for sent in range(1, IN_FLIGHT_MAX + 1):
            _ = await producer.enqueue("orders", b"v", partition=0)
            while len(slow.batches) < sent:  # noqa: ASYNC110 - the linger, which is none, is over
                await asyncio.sleep(0)
        for _ in range(RECORDS):
            _ = await producer.enqueue("orders", b"v", partition=0)
            for _ in range(3):  # as above
                await asyncio.sleep(0)
        assert slow.batches == [1] * IN_FLIGHT_MAX, "no more are on their way at a time"
        slow.answer()
        await producer.flush()
    assert slow.batches == [*[1] * IN_FLIGHT_MAX, RECORDS]
