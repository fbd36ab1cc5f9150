"""Writing through the SDK to a peer that loses answers, refuses, and breaks: once, or said so."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

import tidelog
from model.errors import ErrorCode, RequestError
from tests.log_peer import LogPeer, serving
from tests.sdk_clock import FastClock, client_of
from tidelog import batch as client_batch
from tidelog.client import Client

BUSY = RequestError(ErrorCode.NOT_ENOUGH_REPLICAS, "one replica is missing")
UNSURE = RequestError(ErrorCode.LEADERSHIP_LOST, "the leader changed")
WRONG = RequestError(ErrorCode.TIMESTAMP_OUT_OF_RANGE, "too far in the future")


@pytest.fixture
def peer() -> LogPeer:
    return LogPeer()


@pytest.fixture
async def client(peer: LogPeer) -> AsyncIterator[Client]:
    async with serving(peer) as address, client_of(address) as client:
        yield client


@pytest.fixture(params=["encoded", "plain"])
def encoding(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With the extra `speed`, and as the base install sends."""
    if request.param == "plain":
        monkeypatch.setattr("tidelog.client.can_build", lambda: False)
    assert client_batch.can_build()
    return str(request.param)


async def test_a_record_as_it_was_sent(peer: LogPeer, client: Client, encoding: str) -> None:
    peer.create("orders")
    when = datetime(2026, 1, 1, 12, tzinfo=UTC)
    headers = [("a", "1"), ("b", None), ("a", b"\xff"), ("empty", b"")]
    async with client.producer(key=tidelog.UTF8) as p:
        ack = await p.send("orders", b"\x00v", key="k", headers=headers, timestamp=when)
        await p.send("orders", None, key="")
        await p.send("orders", b"")
    first, second, third = peer.records("orders")
    assert first.key == b"k"
    assert first.value == b"\x00v"
    assert first.timestamp_ms == 1_767_268_800_000
    assert [tuple(h) for h in first.headers] == [
        (b"a", b"1"), (b"b", None), (b"a", b"\xff"), (b"empty", b""),
    ]  # fmt: skip
    assert (second.key, second.value) == (b"", None)
    assert (third.key, third.value) == (None, b"")
    assert ack == tidelog.Ack("orders", 0, 0, datetime(2026, 1, 1, tzinfo=UTC), duplicate=False)


async def test_lost_answers_store_nothing_twice(
    peer: LogPeer, client: Client, encoding: str
) -> None:
    peer.create("orders", 3)
    async with client.producer(key=tidelog.UTF8, batch_bytes=200) as p:
        acks = []
        for n in range(300):
            if n % 20 == 0:
                peer.faults.lose_answers += 1
            acks.append(await p.enqueue("orders", b"%d" % n, key=f"k{n % 7}"))
        places = [await ack for ack in acks]
    stored = {
        (p, int(r.offset)): r.value for p in range(3) for r in peer.topics["orders"][p].records
    }
    assert len(stored) == 300, "stored twice, or not at all"
    for n, ack in enumerate(places):
        assert ack.offset is not None
        assert stored[ack.partition, ack.offset] == b"%d" % n
    for number in range(3):
        values = [int(r.value or b"") for r in peer.topics["orders"][number].records]
        assert values == sorted(values), "out of order"


async def test_refusals_and_doubts_are_retried_unchanged(
    peer: LogPeer, client: Client, encoding: str
) -> None:
    peer.create("orders")
    peer.faults.refuse_batches.extend([BUSY, BUSY])
    peer.faults.unanswered_refusals.extend([UNSURE])
    async with client.producer() as p:
        ack = await p.send("orders", b"once")
    assert ack.duplicate, "the third try had stored it, the fourth was told so"
    assert [r.value for r in peer.records("orders")] == [b"once"]
    assert peer.batches_seen == 4


async def test_a_break_while_a_partition_rests(peer: LogPeer, client: Client) -> None:
    """The first batch is refused for now, the answer to the second is lost with the stream."""
    peer.create("orders")
    peer.faults.refuse_batches.append(BUSY)
    peer.faults.answer_first, peer.faults.lose_answers = 1, 1
    async with client.producer(batch_bytes=30) as p:
        acks = [await p.enqueue("orders", b"%d" % n) for n in range(3)]
        assert [(await ack).offset for ack in acks] == [0, 1, 2]
    assert [r.value for r in peer.records("orders")] == [b"0", b"1", b"2"]


async def test_without_idempotence_a_lost_answer_is_told_at_once(
    peer: LogPeer, client: Client
) -> None:
    peer.create("orders")
    peer.faults.lose_answers = 1
    async with client.producer(idempotent=False) as p:
        with pytest.raises(tidelog.OutcomeUnknown) as unsure:
            await p.send("orders", b"perhaps")
        await p.send("orders", b"surely")
    assert unsure.value.reason == "CONNECTION_LOST"
    assert unsure.value.outcome == "unknown"
    assert [r.value for r in peer.records("orders")] == [b"perhaps", b"surely"]


async def test_without_idempotence_a_doubtful_row_is_told_at_once(
    peer: LogPeer, client: Client
) -> None:
    peer.create("orders")
    peer.faults.unanswered_refusals.append(UNSURE)
    async with client.producer(idempotent=False) as p:
        with pytest.raises(tidelog.OutcomeUnknown, match="LEADERSHIP_LOST"):
            await p.send("orders", b"perhaps")
    assert peer.batches_seen == 1


async def test_what_will_not_be_fails_and_the_rest_goes_on(peer: LogPeer, client: Client) -> None:
    peer.create("orders")
    async with client.producer(batch_bytes=30) as p:
        peer.faults.refuse_batches.append(WRONG)
        acks = [await p.enqueue("orders", b"%d" % n) for n in range(4)]
        with pytest.raises(tidelog.InvalidRequest, match="TIMESTAMP_OUT_OF_RANGE"):
            await acks[0]
        assert [(await ack).offset for ack in acks[1:]] == [0, 1, 2]
    assert [r.value for r in peer.records("orders")] == [b"1", b"2", b"3"]


async def test_a_batch_above_the_limit_is_sent_in_parts(
    peer: LogPeer, client: Client, encoding: str
) -> None:
    peer.create("orders")
    peer.max_message_bytes = 1000
    async with client.producer(compression=None if encoding == "plain" else "none") as p:
        acks = [await p.enqueue("orders", b"x" * 99 + b"%d" % n) for n in range(10)]
        places = [(await ack).offset for ack in acks]
        with pytest.raises(tidelog.RecordTooLarge):
            await p.send("orders", b"x" * 1001)
    assert places == list(range(10))
    assert [(r.value or b"")[-1:] for r in peer.records("orders")] == [b"%d" % n for n in range(10)]


async def test_the_next_node_is_asked_when_one_is_gone(peer: LogPeer) -> None:
    peer.create("orders")
    async with serving(LogPeer()) as gone:
        pass  # its port is free again: nobody answers there
    async with serving(peer) as address, client_of(gone, address, seed=4) as client:
        async with client.producer() as p:
            assert (await p.send("orders", b"v")).offset == 0
        assert [t.name async for t in client.topics.list()] == ["orders"]


async def test_nobody_there_says_how_long_and_how_often() -> None:
    async with serving(LogPeer()) as gone:
        pass
    clock = FastClock()
    async with client_of(gone, clock=clock) as client:
        with pytest.raises(tidelog.ConnectError) as nobody:
            await client.topics.get("orders")
        async with client.producer() as p:
            with pytest.raises(tidelog.ConnectError, match="gave up after"):
                await p.send("orders", b"v", partition=0)
    assert nobody.value.reason == "UNREACHABLE"
    assert nobody.value.outcome == "not_done"
    assert "gave up after 1" in str(nobody.value)
    assert clock.passed_s <= 250


async def test_a_full_buffer_makes_the_writer_wait(peer: LogPeer, client: Client) -> None:
    peer.create("orders")
    async with client.producer(
        max_in_flight_bytes=1000, batch_bytes=500, linger=timedelta(hours=1)
    ) as p:
        peer.faults.refuse_batches.append(BUSY)
        tickets = []
        for n in range(50):
            tickets.append(await p.enqueue("orders", b"x" * 90 + b"%02d" % n))
            assert sum(b.size_bytes for b in p._open.values()) <= 1000
            assert p._free_bytes >= 0
        await p.flush()
        assert [(await t).offset for t in tickets] == list(range(50))
        assert p._free_bytes == 1000
        with pytest.raises(tidelog.RecordTooLarge, match="whole buffer"):
            await p.send("orders", b"x" * 2000)


async def test_a_writer_that_gives_up_waiting_takes_no_room(peer: LogPeer, client: Client) -> None:
    peer.create("orders")
    async with client.producer(max_in_flight_bytes=200, batch_bytes=200) as p:
        peer.faults.refuse_batches.extend([BUSY] * 3)
        first = await p.enqueue("orders", b"x" * 150)
        waiting = asyncio.ensure_future(p.enqueue("orders", b"y" * 150))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            _ = await waiting
        await first
        assert (await p.send("orders", b"z" * 150)).offset == 1
        assert p._free_bytes == 200


async def test_a_writer_that_is_let_in_and_gives_up_takes_no_room(
    peer: LogPeer, client: Client
) -> None:
    peer.create("orders")
    async with client.producer(max_in_flight_bytes=200, batch_bytes=200) as p:
        p._free_bytes = 0  # as if others had taken all of it
        waiting = asyncio.ensure_future(p.enqueue("orders", b"y" * 100, partition=0))
        await asyncio.sleep(0)
        assert len(p._waiting) == 1
        p._free_bytes = 200
        p._let_in()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            _ = await waiting
        assert p._free_bytes == 200


async def test_acks_none_has_no_offset(peer: LogPeer, client: Client) -> None:
    peer.create("orders")
    async with client.producer(acks="none") as p:
        ack = await p.send("orders", b"v")
    assert (ack.offset, ack.append_time) == (None, None)
    assert len(peer.records("orders")) == 1


async def test_leaving_raises_the_failure_that_nobody_saw(peer: LogPeer, client: Client) -> None:
    peer.create("orders")
    peer.faults.refuse_batches.append(WRONG)
    with pytest.raises(tidelog.InvalidRequest, match="TIMESTAMP_OUT_OF_RANGE"):
        async with client.producer() as p:
            _ = await p.enqueue("orders", b"nobody waits for this one")


async def test_leaving_hides_no_other_error(peer: LogPeer, client: Client) -> None:
    peer.create("orders")
    peer.faults.refuse_batches.append(WRONG)
    with pytest.raises(KeyError, match="mine"):
        async with client.producer() as p:
            _ = await p.enqueue("orders", b"v")
            raise KeyError("mine")


async def test_an_interrupted_block_gives_up(peer: LogPeer) -> None:
    peer.create("orders")
    async with serving(peer) as address, client_of(address) as client:
        tickets = []

        async def work() -> None:
            async with client.producer(linger=timedelta(hours=1)) as p:
                tickets.append(await p.enqueue("orders", b"v", partition=0))
                await asyncio.Event().wait()

        task = asyncio.ensure_future(work())
        while not tickets:  # noqa: ASYNC110 - until the block is entered
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(tidelog.TidelogError, match="closed"):
            await tickets[0]
    assert peer.records("orders") == []


async def test_unknown_topics_and_partitions_fail(peer: LogPeer, client: Client) -> None:
    peer.create("orders")
    async with client.producer() as p:
        with pytest.raises(tidelog.NotFound, match='topic "ordrs" does not exist'):
            await p.send("ordrs", b"v")
        with pytest.raises(tidelog.NotFound, match="UNKNOWN_PARTITION"):
            await p.send("orders", b"v", partition=9)
        assert (await p.send("orders", b"v")).offset == 0


async def test_times_are_checked(client: Client, peer: LogPeer) -> None:
    peer.create("orders")
    fine = datetime(2026, 1, 1, 0, 0, 0, 1500, tzinfo=UTC)
    async with client.producer() as p, client.producer(timestamps="strict") as strict:
        await p.send("orders", b"floored", timestamp=fine)
        with pytest.raises(ValueError, match="no time zone"):
            await p.send("orders", b"v", timestamp=datetime(2026, 1, 1))  # noqa: DTZ001
        with pytest.raises(ValueError, match="finer than a millisecond"):
            await strict.send("orders", b"v", timestamp=fine)
    assert [r.timestamp_ms for r in peer.records("orders")] == [1_767_225_600_001]


async def test_send_many_keeps_order_and_names_failures(peer: LogPeer, client: Client) -> None:
    peer.create("orders", 2)
    async with client.producer(value=tidelog.UTF8, key=tidelog.UTF8, batch_bytes=300) as p:
        acks = await p.send_many("orders", (f"v{n}" for n in range(100)), key=lambda v: v)
        for n, ack in enumerate(acks):
            assert ack.offset is not None
            found = peer.topics["orders"][ack.partition].records[ack.offset]
            assert found.value == f"v{n}".encode()
        peer.faults.refuse_batches.append(WRONG)
        with pytest.raises(tidelog.InvalidRequest) as failed:
            await p.send_many("orders", ["a", "b"])
        assert failed.value.__notes__ == ["2 of 2 records failed"]


async def test_records_with_one_key_go_where_kafka_puts_them(peer: LogPeer, client: Client) -> None:
    peer.create("orders", 6)
    async with client.producer(key=tidelog.UTF8) as p:
        ack = await p.send("orders", b"v", key="foobar")
    assert ack.partition == (-790332482 & 0x7FFFFFFF) % 6


@pytest.mark.parametrize(
    "options",
    [
        {"acks": "most"},
        {"acks": "leader", "idempotent": True},
        {"linger": timedelta(seconds=-1)},
        {"batch_bytes": 0},
        {"batch_bytes": 4 << 20},
        {"max_in_flight_bytes": 10},
        {"timestamps": "round"},
        {"compression": "brotli"},
    ],
)
async def test_settings_that_cannot_be_are_refused(
    client: Client, options: dict[str, object]
) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        client.producer(**options)  # type: ignore[arg-type]


async def test_the_base_install_sends_no_batches(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidelog.client.can_build", lambda: False)
    with pytest.raises(ValueError, match=r"pip install 'tidelog\[speed\]'"):
        client.producer(compression="zstd")
    assert client.producer()._settings.compression is None


async def test_use_outside_the_block_is_refused(client: Client) -> None:
    with pytest.raises(RuntimeError, match="async with"):
        await client.producer().send("orders", b"v")


async def test_a_writer_that_waits_while_the_producer_is_closed_is_told(
    peer: LogPeer, client: Client
) -> None:
    peer.create("orders")
    peer.faults.refuse_batches.extend([BUSY] * 1_000)
    producer = client.producer(max_in_flight_bytes=1_000, batch_bytes=1_000)
    with pytest.raises(asyncio.CancelledError):
        async with producer as p:
            _ = await p.enqueue("orders", bytes(900))
            waiting = [asyncio.create_task(p.send("orders", bytes(900))) for _ in range(3)]
            await asyncio.sleep(0)
            raise asyncio.CancelledError
    async with asyncio.timeout(10):
        ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(end) for end in ends] == [RuntimeError] * 3


async def test_failures_that_somebody_saw_are_not_kept(peer: LogPeer, client: Client) -> None:
    peer.create("orders")
    async with client.producer() as p:
        for _ in range(20):
            peer.faults.refuse_batches.append(WRONG)
            with pytest.raises(tidelog.TidelogError):
                await p.send("orders", b"v")
        assert not p._failed


async def test_failures_that_nobody_sees_are_bounded(
    peer: LogPeer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidelog.producer.UNSEEN_MAX", 3)
    peer.create("orders")
    peer.faults.refuse_batches.extend([WRONG] * 10)
    producer = client.producer(batch_bytes=1)
    with pytest.raises(tidelog.TidelogError, match="too far in the future"):
        async with producer as p:
            tickets = [await p.enqueue("orders", b"%d" % n) for n in range(10)]
            with pytest.raises(tidelog.TidelogError):
                await tickets[9]
            assert len(p._failed) == 3
