"""Idempotent producers: what is fresh, repeated or refused; snapshots and cuts."""

from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore import producer_state
from logstore.producer_snapshot import decode, encode
from logstore.producer_state import (
    FRESH,
    SEQUENCES,
    WINDOW_BATCHES,
    Duplicate,
    ProducerState,
    Remembered,
)
from model.errors import ErrorCode, MalformedError, RequestError
from model.ids import AppendTimeMs, Offset, ProducerEpoch, ProducerId, Sequence
from tests.datadriven import Command, run_script

P = ProducerId(7)
E = ProducerEpoch(0)


def state(limit: int = 10, expiration_ms: int = 1_000) -> ProducerState:
    return ProducerState(limit=limit, expiration_ms=expiration_ms)


def batch(sequence: int, records: int, offset: int, *, time: int = 0) -> Remembered:
    return Remembered(Sequence(sequence), records, Offset(offset), AppendTimeMs(time))


class Bench:
    """Runs script commands against one partition's producers."""

    def __init__(self) -> None:
        self.state = state()
        self.end = 0

    def execute(self, command: Command) -> str:
        number = command.integer
        match command.name:
            case "send":
                producer = ProducerId(number("id")), ProducerEpoch(number("epoch"))
                sequence, records = Sequence(number("sequence")), number("records")
                try:
                    verdict = self.state.check(*producer, sequence, records=records)
                except RequestError as refusal:
                    return refusal.code.name
                if isinstance(verdict, Duplicate):
                    return f"duplicate of {verdict.base_offset}-{verdict.end_offset - 1}"
                time = int(command.arguments.get("time", "0"))
                self.state.appended(*producer, batch(sequence, records, self.end, time=time))
                self.end += records
                return f"offset {self.end - records}"
            case "cut":
                self.end = number("offset")
                self.state.roll_back(Offset(self.end))
            case "expire":
                self.state.expire(AppendTimeMs(number("now")))
            case "bytes":
                return encode(self.state, Offset(self.end)).hex(" ", 4)
            case unknown:
                raise AssertionError(unknown)
        return f"{len(self.state)} known"


def test_script(scripts: Path, rewrite: bool) -> None:
    run_script(scripts / "producers/snapshot.txt", Bench().execute, rewrite=rewrite)


def test_sequences_wrap() -> None:
    known = state()
    last = SEQUENCES - 2
    known.appended(P, E, batch(last, 3, 0))
    assert known.check(P, E, Sequence(1), records=1) == FRESH
    known.appended(P, E, batch(1, 1, 3))
    assert known.check(P, E, Sequence(last), records=3) == Duplicate(
        Offset(0), Offset(3), AppendTimeMs(0)
    )
    with pytest.raises(RequestError) as refused:
        known.check(P, E, Sequence(3), records=1)
    assert refused.value.code is ErrorCode.OUT_OF_ORDER_SEQUENCE


def test_what_does_not_continue_the_sequence_is_a_bug() -> None:
    known = state()
    known.appended(P, E, batch(0, 2, 0))
    with pytest.raises(AssertionError, match="PRODUCER_SEQUENCE_CONTIGUOUS"):
        known.appended(P, E, batch(3, 1, 2))
    with pytest.raises(AssertionError, match="PRODUCER_SNAPSHOT_IS_PAST"):
        encode(known, Offset(1))


def test_the_oldest_of_five_batches_is_recognised_and_the_one_before_is_not() -> None:
    known = state()
    for sequence in range(WINDOW_BATCHES + 1):
        known.appended(P, E, batch(sequence, 1, sequence))
    assert known.check(P, E, Sequence(1), records=1) == Duplicate(
        Offset(1), Offset(2), AppendTimeMs(0)
    )
    with pytest.raises(RequestError) as refused:
        known.check(P, E, Sequence(0), records=1)
    assert refused.value.code is ErrorCode.DUPLICATE_SEQUENCE


def test_the_least_recently_used_goes_first() -> None:
    known = state(limit=2)
    for producer in (1, 2, 1, 3):
        sequence = 1 if (producer == 1 and len(known) == 2) else 0
        known.appended(ProducerId(producer), E, batch(sequence, 1, 0))
    assert [producer for producer, _ in known.items()] == [1, 3]


class Send(NamedTuple):
    """A batch as its producer numbers it, and how often it is sent."""

    records: int
    times: int


@given(st.lists(st.builds(Send, st.integers(1, 4), st.integers(1, 3)), max_size=12), st.data())
def test_each_send_is_stored_once_across_restarts(sends: list[Send], data: st.DataObject) -> None:
    """P20: repeats within the window, restarts from a snapshot; against a plain list."""
    known = state()
    stored: list[Remembered] = []
    sequence = end = 0
    for send in sends:
        for _ in range(send.times):
            verdict = known.check(P, E, Sequence(sequence), records=send.records)
            if verdict == FRESH:
                stored.append(batch(sequence, send.records, end))
                known.appended(P, E, stored[-1])
                end += send.records
            else:
                assert verdict == Duplicate(
                    stored[-1].base_offset, stored[-1].end_offset, AppendTimeMs(0)
                )
            if data.draw(st.booleans()):
                offset, producers = decode(encode(known, Offset(end)))
                assert offset == end
                known = state()
                known.restore(iter(producers))
        sequence += send.records
    assert [one.base_sequence for one in stored] == [
        sum(send.records for send in sends[:at]) for at in range(len(sends))
    ]
    for age, one in enumerate(reversed(stored)):
        if age < WINDOW_BATCHES:
            again = known.check(P, E, one.base_sequence, records=one.records)
            assert again == Duplicate(one.base_offset, one.end_offset, AppendTimeMs(0))
        else:
            with pytest.raises(RequestError) as refused:
                known.check(P, E, one.base_sequence, records=one.records)
            assert refused.value.code is ErrorCode.DUPLICATE_SEQUENCE


@given(st.lists(st.integers(1, 3), min_size=1, max_size=10), st.integers(0, 10))
def test_after_a_cut_the_producer_goes_on_where_the_log_ends(batches: list[int], kept: int) -> None:
    known = state()
    end = 0
    starts = []
    for records in batches:
        starts.append(end)
        known.appended(P, E, batch(end, records, end))
        end += records
    kept = min(kept, len(batches) - 1)
    as_it_was = state()
    for number in range(kept):
        as_it_was.appended(P, E, batch(starts[number], batches[number], starts[number]))
    known.roll_back(Offset(starts[kept]))
    assert list(known.items()) == list(as_it_was.items())
    assert known.check(P, E, Sequence(starts[kept]), records=1) == FRESH
    with pytest.raises(RequestError):
        known.check(P, E, Sequence(starts[kept] + 1), records=1)


def test_a_cut_brings_back_who_had_to_make_room() -> None:
    known = state(limit=2)
    for number in range(3):
        known.appended(ProducerId(number), E, batch(0, 1, number))
    assert [name for name, _ in known.items()] == [1, 2]
    known.roll_back(Offset(2))
    assert [name for name, _ in known.items()] == [0, 1]


def test_a_cut_brings_back_who_made_way_for_a_batch_that_does_not_follow() -> None:
    known = state()
    known.appended(P, E, batch(0, 1, 0))
    before = list(known.items())
    known.found(P, E, batch(5, 1, 1))
    assert known.check(P, E, Sequence(6), records=1) == FRESH
    assert known.reaches(Offset(1))
    known.roll_back(Offset(1))
    assert list(known.items()) == before


def test_nothing_is_put_in_order_where_nothing_is_taken_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of 100,000 producers that costs more than the loop has."""
    known = state()
    for number in range(3):
        known.appended(ProducerId(number), E, batch(0, 1, number))

    def never(_: object) -> int:
        raise AssertionError("SORTED")

    monkeypatch.setattr(producer_state, "_newest", never)
    assert list(known.as_of(Offset(3)).items()) == list(known.items())
    assert len(known.as_of(Offset(2))) == 2, "who was not known before goes, the others stay"
    known.appended(ProducerId(0), E, batch(1, 1, 3))
    with pytest.raises(AssertionError, match="SORTED"):
        known.as_of(Offset(3))


def test_a_copy_of_the_past_changes_nothing_of_now() -> None:
    known = state()
    for number in range(4):
        known.appended(P, E, batch(number, 1, number))
    now = list(known.items())
    past = known.as_of(Offset(2))
    past.appended(P, E, batch(2, 1, 2))
    known.roll_back(Offset(4))
    assert list(known.items()) == now
    assert [len(one.window) for _, one in past.items()] == [3]


def test_it_tells_how_far_back_it_remembers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producer_state, "REMEMBERED_MAX", 3)
    known = state()
    for number in range(10):
        known.appended(P, E, batch(number, 1, number))
    known.settle(Offset(6), Offset(2))  # four more are remembered than are to be, and filed
    assert known.reaches(Offset(6))
    assert not known.reaches(Offset(5))
    known.settle(Offset(8), Offset(10))
    assert known.reaches(Offset(8))
    assert not known.reaches(Offset(7))
    known.roll_back(Offset(8))
    assert [each.base_sequence for _, one in known.items() for each in one.window] == [
        3, 4, 5, 6, 7,
    ]  # fmt: skip


def test_any_spoilt_byte_is_noticed() -> None:
    known = state()
    known.appended(P, E, batch(0, 2, 0))
    file = encode(known, Offset(2))
    for at in range(len(file)):
        with pytest.raises(MalformedError):
            decode(bytes([*file[:at], file[at] ^ 0x10, *file[at + 1 :]]))
        with pytest.raises(MalformedError):
            decode(file[:at])
