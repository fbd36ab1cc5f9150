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
from tidelog.sender import IDLE_S, LEAVE_S, Key, Sender
from tidelog.v1 import common_pb2 as common
from tidelog.v1 import log_service_pb2 as log

BUSY = common.RecordError(
    reason="NOT_ENOUGH_REPLICAS", outcome=common.OUTCOME_NOT_DONE, retryable=True
)
LATE = common.RecordError(
    reason="REQUEST_TIMED_OUT", outcome=common.OUTCOME_UNKNOWN, retryable=True
)
REFUSALS = {"busy": BUSY, "later": BUSY, "late": LATE}
END = None
HANGS_S = 5.0
"""What takes no time has not come for so long: it never will."""


class Call:
    """A stream that does to one request after the other what its script says.

    "store", "busy", "later" (after 2 s) and "late" answer, "keep" does not, until the other side
    writes no more, "lose" never does; "mute" answers, and says nothing more; "end" ends
    the stream, as if all were well, while the request is still being written; "end at once" does so
    without waiting for one.
    """

    def __init__(self, script: Sequence[str], clock: FastClock) -> None:
        self._script = list(script)
        self._clock = clock
        self._kept: list[log.ProduceStreamResponse] = []
        self._owes = False
        self.sent: list[str] = []
        """The topics of what was written."""
        self._over = asyncio.Event()
        self._answers: asyncio.Queue[Any] = asyncio.Queue()

    async def write(self, request: log.ProduceStreamRequest) -> None:
        what = self._script.pop(0)
        self.sent.extend(batch.topic for batch in request.produce.batches)
        if what == "end":
            self._answers.put_nowait(END)
            await self._over.wait()  # whoever reads knows first
            return
        answer = log.ProduceStreamResponse(correlation_id=request.correlation_id)
        for each in request.produce.batches:
            row = answer.produce.results.add(topic=each.topic, partition=each.partition)
            if what in REFUSALS:
                row.error.CopyFrom(REFUSALS[what])
            else:
                row.base_offset = 7
        self._clock.passed_s += 2.0 * (what == "later")
        if what in {"keep", "lose"}:
            self._owes |= what == "lose"
            self._kept += [answer] * (what == "keep")
            return
        self._owes |= what == "mute"
        self._answers.put_nowait(answer)
        if self._script[:1] == ["end at once"]:
            self._answers.put_nowait(END)

    async def read(self) -> Any:
        answer = await self._answers.get()
        if answer is END:
            asyncio.get_running_loop().call_soon(self._over.set)
        return answer

    async def done_writing(self) -> None:
        for answer in self._kept:
            self._answers.put_nowait(answer)
        if not self._owes:
            self._answers.put_nowait(END)

    def cancel(self) -> None:
        self._over.set()


async def _at_once(node: Node, within_s: float = 0.0) -> bool:
    return True


class Sending:
    """A sender whose streams are scripted."""

    def __init__(
        self,
        scripts: Sequence[Sequence[str]],
        patch: pytest.MonkeyPatch,
        *,
        hosts: str = "nowhere",
        idempotent: bool = False,
    ) -> None:
        self.clock = FastClock()
        self.told: dict[str, Stored | TidelogError] = {}
        self.calls = [Call(script, self.clock) for script in scripts]
        self.asked: list[str] = []
        """The addresses of the nodes to which there was a stream."""
        waiting: Iterator[Call] = iter(self.calls)
        connection = Connection(
            parse_url(hosts), auth=None, client_id="", clock=self.clock, chance=Random(0),
            retry=Retry(initial=timedelta(milliseconds=200 if hosts == "nowhere" else 1)),
        )  # fmt: skip

        def pipe(node: Node, call: object) -> Call:
            self.asked.append(node.address)
            return next(waiting)

        async def call(init: object, request: object) -> log.InitProducerResponse:
            return log.InitProducerResponse(producer=common.ProducerId(id=1, epoch=0))

        patch.setattr(Node, "connect", _at_once)
        patch.setattr(connection, "pipe", pipe)
        patch.setattr(connection, "call", call)
        self.sender = Sender(
            connection, acks=log.ACKS_ALL, idempotent=idempotent, compression=None,
            settled=self._settled, too_large=lambda key, batch: None,
        )  # fmt: skip
        self._running = asyncio.create_task(self.sender.run())

    def add(self, topic: str) -> None:
        batch = Batch(Settlement(topic, 0))
        _ = batch.add(Row(0, None, b"v"))
        batch.deadline_s = 100.0
        self.sender.add((topic, 0), batch)

    async def until(self, topic: str) -> None:
        async with asyncio.timeout(HANGS_S):
            while topic not in self.told:
                assert not self._running.done(), self._running
                await asyncio.sleep(0)

    async def until_sent(self, topic: str) -> None:
        while topic not in self.calls[0].sent:
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


@pytest.mark.parametrize("refusals", [["busy", "later", "later"], ["late"]])
async def test_a_node_that_only_refuses_is_left_and_what_it_owes_goes_elsewhere(
    refusals: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sending = Sending(
        [["lose", *refusals], ["store", "store"]], monkeypatch, hosts="one,two", idempotent=True
    )
    sending.add("parked")
    await sending.until_sent("parked")
    sending.add("orders")
    for topic in ("parked", "orders"):
        await sending.until(topic)
        assert sending.told[topic] == Stored(7, None)
    assert len(set(sending.asked)) == len(sending.asked) == 2
    assert sending.calls[0].sent == ["parked"] + ["orders"] * len(refusals)
    await sending.end()


@pytest.mark.parametrize("idempotent", [False, True])
async def test_a_node_that_is_left_is_heard_as_long_as_it_answers(
    idempotent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it says is worth more than a doubt: "parked" is not sent a second time."""
    script = ["keep", "busy", "later", "later"]
    hosts = "one,two"
    sending = Sending([script, ["store"]], monkeypatch, hosts=hosts, idempotent=idempotent)
    sending.add("parked")
    await sending.until_sent("parked")
    sending.add("orders")
    await sending.until("orders")
    assert sending.told == dict.fromkeys(("parked", "orders"), Stored(7, None))
    assert sending.calls[1].sent == ["orders"]
    assert len(set(sending.asked)) == len(sending.asked) == 2
    await sending.end()


async def test_a_node_that_refuses_for_a_moment_or_is_the_only_one_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moment = ["busy", "later", "store", "busy", "later", "store"]
    for hosts, script in (("one,two", moment), ("one", ["busy", "later", "later", "store"])):
        sending = Sending([script], monkeypatch, hosts=hosts, idempotent=True)
        for _ in range(script.count("store")):
            sending.told.clear()
            sending.add("orders")
            await sending.until("orders")
            assert sending.told["orders"] == Stored(7, None)
        await sending.end()
        assert len(sending.asked) == 1


@pytest.mark.parametrize(
    ("hosts", "idempotent", "patience_s"),
    [("one,two", True, 7.5), ("one", True, 16.0), ("one,two", False, 40.0)],
)
async def test_a_node_that_stands_still_is_left_in_time(
    monkeypatch: pytest.MonkeyPatch, *, hosts: str, idempotent: bool, patience_s: float
) -> None:
    """P51: in well under 10 s, where another can be asked and a repetition does no harm."""
    loop = asyncio.get_running_loop()
    passed_s, own = 0.0, loop.time
    monkeypatch.setattr(loop, "time", lambda: own() + passed_s)
    sending = Sending([["lose"], ["store"]], monkeypatch, hosts=hosts, idempotent=idempotent)
    sending.add("orders")
    await sending.until_sent("orders")
    for seconds, asked in ((patience_s - 1.0, 1), (2.0, 2 if idempotent else 1)):
        passed_s += seconds
        for _ in range(20):  # everybody has had several turns
            await asyncio.sleep(0)
        assert len(sending.asked) == asked
    await sending.until("orders")
    told = sending.told["orders"]
    assert told == Stored(7, None) if idempotent else isinstance(told, TidelogError)
    await sending.end()


async def test_a_node_that_does_not_end_a_stream_which_is_over_holds_nothing_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It stands still, or is cut off, while there was nothing to write for a while (P51)."""
    loop = asyncio.get_running_loop()
    passed_s, own = 0.0, loop.time
    monkeypatch.setattr(loop, "time", lambda: own() + passed_s)
    sending = Sending([["mute"], ["store"]], monkeypatch, hosts="one,two", idempotent=True)
    sending.add("before")
    await sending.until("before")
    for seconds in (0.0, IDLE_S, LEAVE_S):  # until it waits, has waited, has left
        passed_s += seconds
        for _ in range(20):  # everybody has had several turns
            await asyncio.sleep(0)
    sending.add("after")
    await sending.until("after")
    assert sending.told["after"] == Stored(7, None)
    assert len(set(sending.asked)) == 2
    await sending.end()
