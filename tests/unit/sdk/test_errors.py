"""The SDK's exceptions and the node's table of reasons are one table."""

import copy
import json
import pickle
from collections.abc import Callable
from importlib.resources import files
from types import MappingProxyType

import pytest

import tidelog
from api.errors import WIRE
from model.errors import ErrorCode, Outcome
from tidelog.errors import CLASSES, OUTCOMES, error_of, known_reasons

OUTCOME_WORDS = {Outcome.DONE: "done", Outcome.NOT_DONE: "not_done", Outcome.UNKNOWN: "unknown"}
CLIENT_ONLY = {"ConnectError", "LogDiverged", "LogGap", "TidelogError"}


def test_every_class_that_the_table_names_exists_and_is_public() -> None:
    named = {row.sdk for row in WIRE.values()}
    assert named | CLIENT_ONLY == CLASSES.keys()
    for name, each in CLASSES.items():
        assert getattr(tidelog, name) is each
        assert issubclass(each, tidelog.TidelogError)


@pytest.mark.parametrize("code", WIRE, ids=lambda code: str(code.name))
def test_every_reason_raises_what_the_table_says(code: ErrorCode) -> None:
    error = error_of(code.name, "what happened")
    assert type(error).__name__ == WIRE[code].sdk
    assert error.retryable is code.retryable
    assert error.outcome == OUTCOME_WORDS[code.outcome]
    assert str(error) == f"what happened ({code.name})"


def test_the_table_that_clients_read_is_whole() -> None:
    rows = json.loads(files("tidelog").joinpath("reasons.json").read_bytes())
    assert known_reasons().keys() == {row["name"] for row in rows} == {code.name for code in WIRE}
    assert OUTCOMES.keys() == Outcome.__members__.keys()


def test_an_unclear_end_is_always_outcome_unknown() -> None:
    for name, known in known_reasons().items():
        assert (known.outcome == "unknown") == (known.error is tidelog.OutcomeUnknown), name


@pytest.mark.parametrize(
    ("outcome", "retryable", "expected"),
    [
        ("unknown", True, tidelog.OutcomeUnknown),
        ("unknown", False, tidelog.OutcomeUnknown),
        ("not_done", True, tidelog.Unavailable),
        ("not_done", False, tidelog.TidelogError),
        (None, None, tidelog.OutcomeUnknown),
    ],
)
def test_a_reason_of_a_newer_node_is_told_by_its_verdicts(
    outcome: tidelog.Outcome | None, retryable: bool | None, expected: type[Exception]
) -> None:
    error = error_of("MOON_PHASE", "wrong moon", outcome=outcome, retryable=retryable)
    assert type(error) is expected
    assert error.reason == "MOON_PHASE"


def test_the_parts_of_an_offset_error() -> None:
    metadata = {
        "topic": "orders", "partition": "3", "offset": "99", "log_start_offset": "10",
        "high_watermark": "42",
    }  # fmt: skip
    error = error_of("OFFSET_OUT_OF_RANGE", "beyond the end", metadata=metadata)
    assert isinstance(error, tidelog.OffsetOutOfRange)
    assert error.partition == tidelog.TopicPartition("orders", 3)
    assert (error.requested, error.log_start_offset, error.high_watermark) == (99, 10, 42)


def test_after_says_what_was_tried_and_stays_the_same_error() -> None:
    before = error_of("DISK_FULL", "node 1 is full", metadata={"node": "1"})
    after = before.after("gave up after 120 s and 31 tries")
    assert type(after) is type(before)
    assert str(after) == "node 1 is full; gave up after 120 s and 31 tries (DISK_FULL)"
    assert after.metadata == {"node": "1"}
    assert after.__cause__ is before


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))])
def test_an_error_reaches_another_process_whole(
    way: Callable[[tidelog.TidelogError], tidelog.TidelogError],
) -> None:
    error = error_of("UNKNOWN_TOPIC", "no topic", metadata=MappingProxyType({"topic": "orders"}))
    error.add_note("3 of 4 records failed")
    there = way(error)
    assert type(there) is tidelog.NotFound
    assert (str(there), there.reason, there.outcome, there.retryable) == (
        str(error), error.reason, error.outcome, error.retryable,
    )  # fmt: skip
    assert (dict(there.metadata), there.__notes__) == ({"topic": "orders"}, error.__notes__)


def test_an_error_without_notes_gets_none_on_the_way() -> None:
    assert not hasattr(copy.copy(error_of("DISK_FULL", "node 1 is full")), "__notes__")
