"""Refusals carry what every surface needs, and the table of hints is total."""

from errno import EIO
from pathlib import Path

import pytest

from model import errors
from model.errors import (
    DirectoryExit,
    DirectoryRefused,
    ErrorCode,
    MalformedError,
    Outcome,
    RequestError,
    Retry,
    StorageFailed,
)


def test_a_reason_without_a_hint_stops_the_import() -> None:
    source = Path(errors.__file__).read_text()
    longer = source.replace(
        "    # Doors.\n", '    DOOR_STUCK = Refusal("The door does not open.")\n'
    )
    assert longer != source
    with pytest.raises(AssertionError, match="ERROR_HINT_TOTAL"):
        exec(compile(longer, "errors.py", "exec"), {"__name__": "model.errors"})


@pytest.mark.parametrize("code", ErrorCode, ids=lambda code: code.name)
def test_meaning_and_hint_are_sentences_that_a_table_cell_can_hold(code: ErrorCode) -> None:
    for text in (code.meaning, code.hint):
        assert text[0].isupper() or text.startswith("docs/")
        assert text.endswith(".")
        assert "|" not in text and "\n" not in text
        assert len(text) < 160


def test_only_what_helps_unchanged_is_retryable() -> None:
    assert {code.retryable for code in ErrorCode if code.retry is Retry.YES} == {True}
    assert {code.retryable for code in ErrorCode if code.retry is not Retry.YES} == {False}


def test_unknown_is_left_to_what_happens_after_an_append_and_to_bugs() -> None:
    assert {code.name for code in ErrorCode if code.outcome is Outcome.UNKNOWN} == {
        "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
        "LEADERSHIP_LOST",
        "UPSTREAM_LOST",
        "REQUEST_TIMED_OUT",
        "STORAGE_ERROR",
        "INTERNAL",
    }


def test_a_refusal_keeps_code_text_metadata_and_delay() -> None:
    error = RequestError(
        ErrorCode.UNKNOWN_TOPIC, 'topic "ordrs" does not exist', topic="ordrs", retry_delay_ms=40
    )
    assert str(error) == 'UNKNOWN_TOPIC: topic "ordrs" does not exist'
    assert (error.code, error.detail) == (
        ErrorCode.UNKNOWN_TOPIC,
        'topic "ordrs" does not exist',
    )
    assert (error.metadata, error.retry_delay_ms) == ({"topic": "ordrs"}, 40)
    assert RequestError(ErrorCode.OVERLOADED, "busy").retry_delay_ms is None


@pytest.mark.parametrize("name", ["outcome", "retryable"])
def test_the_verdicts_follow_from_the_code_alone(name: str) -> None:
    with pytest.raises(AssertionError, match="ERROR_METADATA_RESERVED"):
        RequestError(ErrorCode.OVERLOADED, "busy", retry_delay_ms=None, **{name: "x"})


def test_malformed_bytes_are_named_by_place_and_field() -> None:
    error = MalformedError("batch", 61, "length -1")
    assert str(error) == "batch at byte 61: length -1"
    assert (error.what, error.at, error.why) == ("batch", 61, "length -1")


def test_a_failed_directory_is_one_line_with_file_and_error_number() -> None:
    error = StorageFailed("journal/00000001.wal", EIO, "fdatasync")
    assert str(error) == "fdatasync journal/00000001.wal: EIO (5)"
    assert (error.file, error.errno, error.operation) == ("journal/00000001.wal", 5, "fdatasync")
    assert str(StorageFailed("a", 99_999, "write")) == "write a: errno (99999)"


def test_a_refused_directory_ends_the_server_with_one_of_three_codes() -> None:
    error = DirectoryRefused(13, "journal/00000001.wal has format 9; this program reads up to 1")
    assert error.exit_code is DirectoryExit.NEWER_FORMAT
    assert str(error) == error.detail
    with pytest.raises(ValueError, match="3 is not a valid DirectoryExit"):
        DirectoryRefused(3, "x")
