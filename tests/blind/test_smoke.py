"""A short run of the whole test, and its parts: what may find no difference must be able to."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from logstore.batch import decode_batch, encode_batch
from logstore.validate import check_produced
from model.record import BatchHeader, NewRecord
from tests.blind.campaign import Campaign
from tests.blind.comparing import difference
from tests.blind.departures import departures, find_archive
from tests.blind.lying_relay import FAR_MS, batches_in, lie
from tests.blind.oracle import Oracle, Row, Span
from tests.blind.ranges import TICK_MS, Dice
from tests.blind.readers import place_text
from tidelog.cli.time_range import parse_range
from tidelog.time_input import At
from tidelog.types import Clock

RECORDS = 3_000
RANGES = 20
CLOCKS: Sequence[Clock] = ("event", "append")


def test_blind_ranges_on_a_sample(tmp_path: Path) -> None:
    pytest.importorskip("confluent_kafka", reason="a part of the records comes from librdkafka")
    flights = departures(find_archive(), Random(5), at_most=RECORDS)
    said: list[str] = []
    campaign = Campaign(tmp_path, flights, Random(7), say=said.append, by_size=False)
    outcome = asyncio.run(campaign.run(RANGES))
    assert outcome.differences == [], "\n".join(said)
    assert [tally.ranges.total() for tally in outcome.tallies] == [2 * (RANGES + 1)] * 4
    assert all(tally.records for tally in outcome.tallies)
    assert [bool(tally.truncated) for tally in outcome.tallies] == [False, False, False, True]


def _rows(times: Sequence[tuple[int, int]]) -> list[Row]:
    return [Row(0, at, event, append, None, b"%d" % at) for at, (event, append) in enumerate(times)]


ROWS = _rows([(500, 10), (300, 10), (900, 20), (300, 40), (700, 40)])


def test_the_oracle_filters_and_scans() -> None:
    oracle = Oracle(ROWS, 1)
    assert Span("event", 300, 700).within(oracle.kept(0)) == [ROWS[0], ROWS[1], ROWS[3]]
    assert Span("append", 20, None).within(oracle.kept(0)) == ROWS[2:]
    assert oracle.first(0, 501, "event") == ROWS[2]
    assert oracle.edges("event") == [300, 500, 700, 900]
    assert oracle.edges("append") == [10, 20, 40]
    assert oracle.first(0, 901, "event") is None
    assert oracle.first(0, 21, "append") == ROWS[3]
    assert oracle.truncated(0, 0, "event") == {False}


def test_the_oracle_knows_what_was_cut() -> None:
    oracle = Oracle(ROWS, 1)
    oracle.cut(0, 2)
    assert oracle.kept(0) == ROWS[2:]
    assert oracle.removed(0) == ROWS[:2]
    assert oracle.truncated(0, 100, "event", stop=900) == {True}
    assert oracle.truncated(0, 100, "event", stop=300) == {False}
    assert oracle.truncated(0, 300, "event", stop=301) == {True}
    assert oracle.truncated(0, 501, "event") == {False}, "nothing that late was removed"
    assert oracle.truncated(0, 10, "append") == {True}
    assert oracle.truncated(0, 11, "append") == {False}, "the last that went was appended at 10"
    assert oracle.truncated(0, 310, "event", stop=400) == {True, False}, "between 300 and 500"
    assert oracle.truncated(0, 501, "event", stop=None) == {False}
    assert oracle.truncated(0, 11, "append") == {False}
    assert oracle.truncated(0, None, "append") == {True}


def test_the_oracle_refuses_a_log_with_a_hole() -> None:
    with pytest.raises(ValueError, match="partition 0: 4 where 3 is due"):
        Oracle(ROWS[:3] + ROWS[4:], 1)


@pytest.mark.parametrize(
    ("got", "says"),
    [
        (ROWS[:4], "1 x missing: "),
        ([*ROWS, ROWS[2]], "1 x not expected: "),
        (ROWS[::-1], "another order"),
        ([*ROWS[:4], ROWS[4]._replace(append_ms=41)], "append_ms=41"),
    ],
)
def test_every_difference_is_told(got: list[Row], says: str) -> None:
    assert difference(ROWS, list(ROWS)) is None
    assert says in (difference(ROWS, got) or "")


@pytest.mark.parametrize("clock", CLOCKS)
def test_ranges_lie_where_mistakes_do(clock: Clock) -> None:
    rand, tick = Random(3), TICK_MS[clock]
    occurring = sorted(rand.sample(range(0, 36_000_000, 10), 2_000))
    dice = Dice(clock, occurring, occurring[:9], rand)
    spans = list(dice.spans(2_000))
    assert dice.near >= dice.ends // 2
    closed = [(one.start_ms, one.end_ms) for one in spans if None not in one[1:]]
    lengths = sorted(end - start for start, end in closed if start is not None and end is not None)
    assert lengths[0] >= tick
    assert lengths[len(lengths) // 10] < 1_000 * tick < lengths[len(lengths) // 2]
    assert lengths[-1] > (occurring[-1] - occurring[0]) // 2
    assert len(closed) < len(spans)


@pytest.mark.parametrize(
    "span", [Span("event", 1_357_034_400_001, 1_357_038_000_000), Span("append", 1, 1_003)]
)
def test_ranges_are_written_as_the_command_line_reads_them(span: Span) -> None:
    read = parse_range(place_text(span))
    assert (read.start, read.stop) == (At(span.start_ms or 0), At(span.end_ms or 0))


@pytest.mark.parametrize("high", [True, False])
def test_a_lie_is_a_batch_like_any_other(high: bool) -> None:
    records = [NewRecord(FAR_MS * 2 + time, b"k", b"v" * 40) for time in (70, 10, 90)]
    batch = encode_batch(records)
    frame = bytearray(b"\0\0\0\x09\0\0\0\0\0\0\0\x01rest of the head" + batch + batch + b"\0" * 9)
    found = list(batches_in(frame))
    assert [end - at for at, end in found] == [len(batch)] * 2
    at, end = found[1]
    lie(memoryview(frame)[at:end], high=high)
    told = memoryview(frame)[at:end]
    check_produced(told, max_message_bytes=1 << 20)
    truth = BatchHeader(memoryview(batch)).event_time_max
    assert BatchHeader(told).event_time_max == truth + (FAR_MS if high else -FAR_MS)
    assert [one.timestamp_ms for one in decode_batch(told)] == [one[0] for one in records]
    assert frame[found[0][0] : found[0][1]] == batch
