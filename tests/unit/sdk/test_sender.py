"""The stream of a producer at its edges: calls that are scripted, and nobody behind them."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from tests.sdk_clock import FastClock
from tidelog.batch import Row
from tidelog.connection import Connection, Node, parse_url
from tidelog.errors import TidelogError
from tidelog.lane import Settled
from tidelog.outgoing import Batch, Settlement, Stored
from tidelog.retry import Retry
from tidelog.sender import Key, Sender
from tidelog.v1 import common_pb2 as common
from tidelog.v1 import log_service_pb2 as log

BUSY = common.RecordError(
    reason="NOT_ENOUGH_REPLICAS", outcome=common.OUTCOME_NOT_DONE, retryable=True
)
END = None


class Call:
    """A stream that does to one request after the other what its script says.

    "store" and "busy" answer; "end" ends the stream, as if all were well, while the request is
    still being written; "end at once" does so without waiting for one.
    """

    def __init__(self, script: Sequence[str]) -> None:
        self._script = list(script)
        self._over = asyncio.Event()
        self._answers: asyncio.Queue[Any] = asyncio.Queue()

    async def write(self, request: log.ProduceStreamRequest) -> None:
        what = self._script.pop(0)
        if what == "end":
            self._answers.put_nowait(END)
            await self._over.wait()  # whoever reads knows first
            return
        answer = log.ProduceStreamResponse(correlation_id=request.correlation_id)
        for each in request.produce.batches:
            row = answer.produce.results.add(topic=each.topic, partition=each.partition)
            if what == "busy":
                row.error.CopyFrom(BUSY)
            else:
                row.base_offset = 7
        self._answers.put_nowait(answer)
        if self._script[:1] == ["end at once"]:
            self._answers.put_nowait(END)

    async def read(self) -> Any:
        answer = await self._answers.get()
        if answer is END:
            asyncio.get_running_loop().call_soon(self._over.set)
        return answer

    async def done_writing(self) -> None:
        self._answers.put_nowait(END)

    def cancel(self) -> None:
        self._over.set()


class Sending:
    """A sender whose streams are scripted."""

    def __init__(self, scripts: Sequence[Sequence[str]], patch: pytest.MonkeyPatch) -> None:
        self.clock = FastClock()
        self.told: dict[str, Stored | TidelogError] = {}
        self.calls: Iterator[Call] = map(Call, scripts)
        connection = Connection(
            parse_url("nowhere"), auth=None, client_id="", clock=self.clock, chance=Random(0),
            retry=Retry(initial=timedelta(milliseconds=200)),
        )  # fmt: skip
        node = Node("nowhere:9095", None)

        async def reach() -> Node:
            return node

        patch.setattr(connection, "reach", reach)
        patch.setattr(connection, "pipe", lambda node, call: next(self.calls))
        self.sender = Sender(
            connection, acks=log.ACKS_ALL, idempotent=False, compression=None,
            settled=self._settled, too_large=lambda key, batch: None,
        )  # fmt: skip
        self._running = asyncio.create_task(self.sender.run())

    def add(self, topic: str) -> None:
        batch = Batch(Settlement(topic, 0))
        _ = batch.add(Row(0, None, b"v"))
        batch.deadline_s = 100.0
        self.sender.add((topic, 0), batch)

    async def until(self, topic: str) -> None:
        while topic not in self.told:
            assert not self._running.done(), self._running
            await asyncio.sleep(0)

    async def end(self) -> None:
        self.sender.close()
        await self._running

    def _settled(self, key: Key, one: Settled) -> None:
        self.told[key[0]] = one.result


async def test_a_stream_that_ends_while_a_request_is_written_is_followed_by_another_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sending = Sending([["store", "end"], ["store"]], monkeypatch)
    for topic in ("first", "lost", "third"):
        sending.add(topic)
        await sending.until(topic)
    await sending.end()
    assert sending.told["first"] == sending.told["third"] == Stored(7, None)
    assert isinstance(sending.told["lost"], TidelogError), "without a stamp a lost answer is told"


async def test_a_node_that_ends_streams_while_a_partition_rests_is_not_asked_again_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sending = Sending([["busy", "end at once"], ["store"]], monkeypatch)
    sending.add("orders")
    await sending.until("orders")
    await sending.end()
    assert sending.told["orders"] == Stored(7, None)
    assert len(sending.clock.waits) == 1
