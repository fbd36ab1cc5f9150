"""Reading through the SDK from a peer that cuts its streams: every record once, in order."""

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

import tidelog
from model.errors import ErrorCode, RequestError
from model.record import NewRecord
from tests.log_peer import LogPeer, serving
from tests.sdk_clock import FastClock, client_of
from tidelog.client import Client
from tidelog.v1 import common_pb2 as common

DAY_MS = 86_400_000
T0 = datetime(2026, 1, 1, tzinfo=UTC)
T0_MS = 1_767_225_600_000


@pytest.fixture
def peer() -> LogPeer:
    return LogPeer()


@pytest.fixture
async def client(peer: LogPeer) -> AsyncIterator[Client]:
    async with serving(peer) as address, client_of(address) as client:
        yield client


@pytest.fixture(params=["encoded", "plain"])
def encoding(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With the extra `speed`, and as the base install reads."""
    if request.param == "plain":
        monkeypatch.setattr("tidelog.client.can_build", lambda: False)
        monkeypatch.setattr("tidelog.replay_request.can_build", lambda: False)
    return str(request.param)


def fill(peer: LogPeer, topic: str, *, batches: int, records: int, partitions: int = 1) -> None:
    """Store batches; event time is T0 plus the value in seconds, append time one step a batch."""
    if topic not in peer.topics:
        peer.create(topic, partitions)
    for number in range(partitions):
        for first in range(0, batches * records, records):
            peer.now_ms = T0_MS + first * 1000
            rows = [
                NewRecord(T0_MS + n * 1000, None, b"%d" % n) for n in range(first, first + records)
            ]
            peer.store(topic, number, rows, codec=4)


async def values(replay: tidelog.Replay[bytes, bytes]) -> list[int]:
    return [int(record.value or b"") async for record in replay]


async def test_cut_streams_show_nothing_twice_and_skip_nothing(
    peer: LogPeer, client: Client, encoding: str
) -> None:
    fill(peer, "orders", batches=20, records=5, partitions=3)
    peer.faults.cut_after = [0, 3, 1, 7, 0, 0, 2, 11]
    seen: dict[int, list[int]] = {0: [], 1: [], 2: []}
    async with client.replay("orders", stop="latest") as history:
        async for record in history:
            seen[record.partition].append(record.offset)
    assert seen == {number: list(range(100)) for number in range(3)}
    assert len(peer.encodings_seen) == 9


async def test_a_record_as_it_is_stored(peer: LogPeer, client: Client, encoding: str) -> None:
    peer.create("orders")
    rows = [
        NewRecord(T0_MS, b"k", b"v", ((b"a", b"1"), (b"b", None), (b"a", b"2"))),
        NewRecord(-1, None, None),
        NewRecord(T0_MS + 1, b"", b""),
    ]
    peer.store("orders", 0, rows)
    async with client.replay("orders", stop="latest", key=tidelog.UTF8) as history:
        first, second, third = [record async for record in history]
    assert (first.key, first.value, first.timestamp) == ("k", b"v", T0)
    assert first.headers == (("a", b"1"), ("b", None), ("a", b"2"))
    assert first.header("a") == b"2"
    assert first.append_time == T0
    assert (first.leader_epoch, first.is_replay) == (3, True)
    assert first.cursor == tidelog.Cursor("orders", 0, 1, 3)
    assert (second.key, second.value, second.timestamp) == (None, None, None)
    assert (third.key, third.value) == ("", b"")
    assert (first.batch is None) == (encoding == "plain")


@pytest.mark.parametrize("start", [0, 3, 7])
async def test_from_within_a_batch_to_within_a_batch(
    peer: LogPeer, client: Client, *, encoding: str, start: int
) -> None:
    fill(peer, "orders", batches=4, records=5)
    async with client.replay("orders", start=start, stop=13) as history:
        assert await values(history) == list(range(start, 13))


async def test_an_exact_range_of_event_time(peer: LogPeer, client: Client, encoding: str) -> None:
    peer.create("orders")
    order = [5, 1, 9, 3, 7, 2, 8, 0, 6, 4]
    for at in range(0, 10, 5):
        rows = [NewRecord(T0_MS + n * 1000, None, b"%d" % n) for n in order[at : at + 5]]
        peer.store("orders", 0, [*rows, NewRecord(-1, None, b"99")])
    during = tidelog.TimeRange(T0 + timedelta(seconds=2), T0 + timedelta(seconds=7))
    async with client.replay("orders", during=during) as history:
        assert await values(history) == [5, 3, 2, 6, 4]


async def test_an_exact_range_of_append_time(peer: LogPeer, client: Client, encoding: str) -> None:
    fill(peer, "orders", batches=4, records=5)
    during = tidelog.TimeRange(T0 + timedelta(seconds=5), T0 + timedelta(seconds=15), "append")
    async with client.replay("orders", during=during) as history:
        assert await values(history) == list(range(5, 15))


async def test_a_range_finer_than_a_millisecond(peer: LogPeer, client: Client) -> None:
    fill(peer, "orders", batches=1, records=3)
    during = tidelog.TimeRange(
        T0 + timedelta(microseconds=1), T0 + timedelta(seconds=1, microseconds=1)
    )
    async with client.replay("orders", during=during) as history:
        assert await values(history) == [1]


async def test_a_checkpoint_goes_on_at_the_next_record(
    peer: LogPeer, client: Client, encoding: str
) -> None:
    """After every record: stop, save as text, and go on in another replay."""
    fill(peer, "orders", batches=4, records=3, partitions=2)
    saved, seen = None, list[tuple[int, int]]()
    for _ in range(24):
        async with client.replay("orders", stop="latest", resume=saved) as history:
            record = await anext(history)
            seen.append((record.partition, record.offset))
            saved = tidelog.Checkpoint.from_json(history.checkpoint().to_json())
    async with client.replay("orders", stop="latest", resume=saved) as history:
        assert [record async for record in history] == []
    assert sorted(seen) == [(p, o) for p in range(2) for o in range(12)]


async def test_a_checkpoint_keeps_what_was_relative(peer: LogPeer, client: Client) -> None:
    """A resumed range is the one of before, though the server's clock and the log have moved on."""
    fill(peer, "orders", batches=2, records=5)
    peer.now_ms = T0_MS + 10_000
    during = tidelog.TimeRange(start=timedelta(seconds=7))
    async with client.replay("orders", during=during) as history:
        assert (await anext(history)).value == b"3"
        saved = history.checkpoint()
    peer.now_ms += DAY_MS
    peer.store("orders", 0, [NewRecord(peer.now_ms, None, b"77")])
    async with client.replay("orders", during=during, resume=saved) as history:
        assert await values(history) == [4, 5, 6, 7, 8, 9]


async def test_history_then_live(peer: LogPeer, client: Client, encoding: str) -> None:
    fill(peer, "orders", batches=1, records=2)
    async with client.replay("orders") as events:
        assert [(await anext(events)).offset, events.caught_up] == [0, False]
        assert [(await anext(events)).offset, events.caught_up] == [1, False]
        following = asyncio.ensure_future(anext(events))
        while not events.caught_up:  # noqa: ASYNC110 - the SDK has no event for it
            await asyncio.sleep(0)
        peer.store("orders", 0, [NewRecord(T0_MS, None, b"live")])
        assert (await following).value == b"live"
        assert events.caught_up
        at = tidelog.TopicPartition("orders", 0)
        assert events.positions[at].high_watermark == 3


async def test_an_interrupted_wait_loses_nothing(peer: LogPeer, client: Client) -> None:
    fill(peer, "orders", batches=1, records=1)
    async with client.replay("orders") as events:
        await anext(events)
        for n in range(3):
            waiting = asyncio.ensure_future(anext(events))
            for _ in range(20):
                await asyncio.sleep(0.001)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            peer.store("orders", 0, [NewRecord(T0_MS, None, b"%d" % n)])
            assert (await anext(events)).value == b"%d" % n


async def test_a_gap_is_told_and_reading_goes_on(
    peer: LogPeer, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    fill(peer, "orders", batches=4, records=5)
    peer.topics["orders"][0].log_start = 7
    async with client.replay("orders", start=2, stop="latest", gaps="raise") as history:
        with pytest.raises(tidelog.LogGap) as gap:
            await anext(history)
        assert (gap.value.expected_offset, gap.value.next_offset) == (2, 7)
        assert gap.value.partition == tidelog.TopicPartition("orders", 0)
        assert history.checkpoint().cursors[0].offset == 7
        assert await values(history) == list(range(7, 20))
    with caplog.at_level(logging.WARNING, logger="tidelog.client"):
        async with client.replay("orders", start=2, stop="latest") as history:
            assert await values(history) == list(range(7, 20))
    assert "offsets 2 to 6 were removed" in caplog.text


async def test_one_codec_that_is_not_installed_is_left_to_the_node(
    peer: LogPeer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer.create("orders")
    for n, codec in enumerate((0, 1, 2, 3, 4)):
        rows = [NewRecord(T0_MS, None, b"%d" % (2 * n + at)) for at in range(2)]
        peer.store("orders", 0, rows, codec=codec)
    monkeypatch.setattr("tidelog.compression.find_spec", lambda name: None)
    async with client.replay("orders", stop="latest") as history:
        assert await values(history) == list(range(10))
    assert peer.encodings_seen == [common.ENCODING_BATCH, common.ENCODING_RECORDS]


async def test_what_was_read_before_such_a_codec_is_not_read_twice(
    peer: LogPeer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One message: a batch that is read here, and behind it one that is not."""
    peer.create("orders")
    for n, codec in enumerate((0, 2)):
        rows = [NewRecord(T0_MS, None, b"%d" % (2 * n + at)) for at in range(2)]
        peer.store("orders", 0, rows, codec=codec)
    first, second = peer.topics["orders"][0].batches
    first.records += second.records
    first.encoded += second.encoded
    del peer.topics["orders"][0].batches[1]
    monkeypatch.setattr("tidelog.compression.find_spec", lambda name: None)
    async with client.replay("orders", stop="latest") as history:
        assert await values(history) == [0, 1, 2, 3]


async def test_a_corrupt_batch_is_told_and_reading_goes_on(peer: LogPeer, client: Client) -> None:
    fill(peer, "orders", batches=3, records=2)
    stored = peer.topics["orders"][0].batches[1]
    stored.encoded = stored.encoded[:-1] + bytes([stored.encoded[-1] ^ 1])
    async with client.replay("orders", stop="latest") as history:
        assert [(await anext(history)).offset for _ in range(2)] == [0, 1]
        with pytest.raises(tidelog.DataCorrupt, match="offset 2: the batch fails its checksum"):
            await anext(history)
        assert await values(history) == [4, 5]


@pytest.mark.parametrize("named", [{}, {"next_offset": "2"}, {"next_offset": "no number"}])
async def test_damage_whose_end_no_node_can_tell_ends_the_read(
    peer: LogPeer, client: Client, named: dict[str, str]
) -> None:
    """Whoever reads on after an error would ask for the same again, without end or pause."""
    fill(peer, "orders", batches=3, records=2)
    peer.faults.cut_after = [1, 0, 0]
    for _ in range(3):
        refusal = RequestError(ErrorCode.CORRUPT_LOG, "rotten", topic="orders", partition="0")
        refusal.metadata |= named
        peer.faults.refuse_reads.append(refusal)
    async with client.replay("orders", stop="latest") as history:
        assert [(await anext(history)).offset for _ in range(2)] == [0, 1]
        with pytest.raises(tidelog.DataCorrupt, match="rotten") as over:
            await anext(history)
        assert over.value.next_offset is None
        with pytest.raises(StopAsyncIteration):
            await anext(history)
    assert len(peer.faults.refuse_reads) == 2


async def test_damage_is_passed_by_where_its_end_is_told(peer: LogPeer, client: Client) -> None:
    fill(peer, "orders", batches=3, records=2)
    peer.faults.cut_after = [1]
    peer.faults.refuse_reads.append(
        RequestError(
            ErrorCode.CORRUPT_LOG,
            "rotten",
            topic="orders",
            partition="0",
            offset="2",
            next_offset="4",
        )
    )
    async with client.replay("orders", stop="latest") as history:
        assert [(await anext(history)).offset for _ in range(2)] == [0, 1]
        with pytest.raises(tidelog.DataCorrupt, match="rotten") as corrupt:
            await anext(history)
        assert (corrupt.value.offset, corrupt.value.next_offset) == (2, 4)
        assert history.checkpoint().places["orders", 0].offset == 4
        assert await values(history) == [4, 5]


async def test_a_value_that_does_not_decode_names_its_place(peer: LogPeer, client: Client) -> None:
    peer.create("orders")
    peer.store("orders", 0, [NewRecord(T0_MS, None, b"{}"), NewRecord(T0_MS, None, b"1")])
    async with client.replay("orders", stop="latest", value=tidelog.json(int)) as history:
        with pytest.raises(ValueError, match="Expected `int`") as wrong:
            await anext(history)
        assert wrong.value.__notes__ == ["in orders/0 at offset 0"]
        assert (await anext(history)).value == 1


async def test_a_time_that_no_datetime_can_hold(peer: LogPeer, client: Client) -> None:
    peer.create("orders")
    peer.store("orders", 0, [NewRecord(T0_MS * 1_000_000, None, b"nanoseconds")])
    async with client.replay("orders", stop="latest") as history:
        record = await anext(history)
    assert record.timestamp_ms == T0_MS * 1_000_000
    with pytest.raises(ValueError, match="beyond what datetime can hold"):
        _ = record.timestamp


async def test_the_pace_of_history(peer: LogPeer) -> None:
    peer.create("orders")
    for seconds in (0, 10, 30, 30):
        peer.store("orders", 0, [NewRecord(T0_MS + seconds * 1000, None, b"v")])
    clock = FastClock()
    async with serving(peer) as address, client_of(address, clock=clock) as client:
        async with client.replay("orders", stop="latest", rate=2.0) as history:
            due = [clock.passed_s async for _ in history]
    assert due == [0.0, 5.0, 15.0, 15.0]


async def test_refusals_reach_the_reader(peer: LogPeer, client: Client) -> None:
    with pytest.raises(tidelog.NotFound, match='"ordrs" does not exist'):
        async with client.replay("ordrs"):
            pass
    peer.create("orders")
    with pytest.raises(tidelog.InvalidRequest, match="NOT_IMPLEMENTED"):
        client.replay("orders", order="event")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"start": datetime(2026, 1, 1)}, "no time zone"),  # noqa: DTZ001
        ({"start": -1}, "offset is -1"),
        ({"start": timedelta(seconds=-1)}, "lies in the future"),
        ({"start": "committed"}, '"earliest" and "latest"'),
        ({"clock": "wall"}, "clock is 'wall'"),
        ({"during": tidelog.TimeRange(), "stop": "latest"}, "either during"),
        ({"during": tidelog.TimeRange(T0, T0 - timedelta(1))}, "before it begins"),
        ({"rate": 0.0}, "rate is 0.0"),
        ({"gaps": "ignore"}, "gaps is 'ignore'"),
        ({"isolation": "dirty"}, "isolation is 'dirty'"),
        ({"resume": tidelog.Checkpoint.from_json(
            '{"version":1,"partitions":[{"topic":"x","partition":0,"offset":0,"leader_epoch":null,'
            '"stop":null,"truncated":false}]}')}, "the checkpoint is of x"),
    ],
)  # fmt: skip
async def test_arguments_that_cannot_be_are_refused(
    client: Client, options: dict[str, object], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        client.replay("orders", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"version":2}', '{"version":1}', '{"version":1,"partitions":[{}]}']
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="checkpoint"):
        tidelog.Checkpoint.from_json(text)


async def test_reads_are_repeated_and_writes_only_where_that_is_harmless(
    peer: LogPeer, client: Client
) -> None:
    busy = RequestError(ErrorCode.NO_QUORUM, "no majority")
    peer.faults.refuse_calls.extend([busy, busy])
    assert [topic.name async for topic in client.topics.list()] == []
    peer.faults.lose_calls = 1
    with pytest.raises(tidelog.OutcomeUnknown):
        await client.topics.create("orders")
    with pytest.raises(tidelog.AlreadyExists):
        await client.topics.create("orders")
    peer.faults.lose_calls = 1
    assert (await client.topics.create("more", partitions=2, exist_ok=True)).partition_count == 2
    peer.faults.lose_calls = 1
    await client.topics.delete("more", missing_ok=True)
    with pytest.raises(tidelog.NotFound):
        await client.topics.delete("more")
    peer.faults.lose_calls = 1
    with pytest.raises(tidelog.OutcomeUnknown):
        await client.topics.delete("orders")


async def test_every_call_says_who_asks(peer: LogPeer, client: Client) -> None:
    await client.cluster.get()
    assert peer.metadata_seen[-1]["tidelog-client-id"] == "test"
