"""The error table is total, and says so before anything is served."""

import re
from pathlib import Path

import pytest

from api import errors
from api.errors import ExitCode, KafkaContext
from model.errors import ErrorCode, Outcome, RequestError, Retry

ROOT = Path(__file__).parents[3]
TABLE = ROOT / "tests/data/errors/reasons.txt"
PAGE = ROOT / "docs/reference/errors.md"
SDK_EXCEPTIONS = {
    "TidelogError", "ConnectError", "Unavailable", "OutcomeUnknown", "InvalidRequest",
    "RecordTooLarge", "AccessDenied", "QuotaExceeded", "NotFound", "AlreadyExists", "Conflict",
    "WrongExpectedVersion", "Fenced", "OffsetOutOfRange", "LogDiverged", "LogGap", "DataCorrupt",
}  # fmt: skip


def promised() -> dict[str, list[str]]:
    """Return reason to its columns, as the table in tests/data has them."""
    rows = [line for line in TABLE.read_text().splitlines() if line and not line.startswith("#")]
    cells = [[cell.strip() for cell in row.split("|")] for row in rows]
    assert len({row[0] for row in cells}) == len(cells)
    return {row[0]: row[1:] for row in cells}


def kafka_cell(code: ErrorCode) -> str:
    wire = errors.WIRE[code]
    main = "none" if wire.kafka is None else str(wire.kafka)
    return ", ".join([main, *(f"{where.name} {number}" for where, number in wire.elsewhere)])


def test_the_promised_table_and_the_code_have_the_same_reasons() -> None:
    assert promised().keys() == ErrorCode.__members__.keys()


@pytest.mark.parametrize("code", ErrorCode, ids=lambda code: code.name)
def test_every_row_is_as_promised(code: ErrorCode) -> None:
    assert promised()[code.name] == [
        errors.grpc_status(code).name,
        kafka_cell(code),
        code.outcome.name,
        code.retry.value,
    ]


def test_a_missing_row_stops_the_import() -> None:
    rows = Path(errors.__file__).read_text().splitlines(keepends=True)
    short = "".join(row for row in rows if "ErrorCode.NOT_LEADER:" not in row)
    assert len(short.splitlines()) == len(rows) - 1
    with pytest.raises(AssertionError, match="ERROR_MAPPING_TOTAL"):
        exec(compile(short, "errors.py", "exec"), {"__name__": "short"})


def test_the_page_has_every_row_of_the_code() -> None:
    rows = re.findall(r"^\| \[`(\w+)`\]\(#(\w+)\) \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    on_page = {reason: cells.split(" | ") for reason, _, cells in rows}
    assert all(anchor == reason.lower() for reason, anchor, _ in rows)
    assert on_page.keys() == ErrorCode.__members__.keys()
    for code in ErrorCode:
        wire = errors.WIRE[code]
        outcome, retry, status, kafka, exit_code, sdk, meaning = on_page[code.name]
        assert (outcome, retry, status) == (
            code.outcome.name,
            code.retry.value,
            wire.grpc_status.name,
        )
        assert kafka.split(";")[0] == ("none" if wire.kafka is None else str(wire.kafka))
        assert (int(exit_code), sdk, meaning) == (wire.exit_code, f"`{wire.sdk}`", code.meaning)


def test_the_page_has_a_section_with_a_hint_for_every_reason() -> None:
    text = PAGE.read_text()
    for code in ErrorCode:
        section = text.split(f"\n### {code.name}\n")[1].split("\n### ")[0]
        assert code.hint in section


def test_unknown_outcomes_are_told_alike_everywhere() -> None:
    for code, wire in errors.WIRE.items():
        unknown = code.outcome is Outcome.UNKNOWN
        assert unknown == (wire.sdk == "OutcomeUnknown"), code
        assert not unknown or wire.exit_code is ExitCode.NOT_NOW, code


def test_exit_codes_follow_the_contract() -> None:
    by_exit = {code.name: wire.exit_code for code, wire in errors.WIRE.items()}
    assert [name for name, exit_code in by_exit.items() if exit_code == 2] == ["NOT_IMPLEMENTED"]
    for code, wire in errors.WIRE.items():
        if wire.sdk == "Unavailable":
            assert wire.exit_code is ExitCode.NOT_NOW, code
            assert code.retry is not Retry.NO, code
        if wire.exit_code is ExitCode.FAILED:
            assert code.retry is not Retry.YES or code is ErrorCode.CORRUPT_BATCH, code


def test_every_exception_is_one_of_the_sdk() -> None:
    assert {wire.sdk for wire in errors.WIRE.values()} <= SDK_EXCEPTIONS


def test_kafka_numbers_depend_on_the_context() -> None:
    assert errors.kafka_number(ErrorCode.UNKNOWN_TOPIC) == 3
    assert errors.kafka_number(ErrorCode.UNKNOWN_TOPIC, KafkaContext.TOPIC_ID) == 100
    assert errors.kafka_number(ErrorCode.ACCESS_DENIED, KafkaContext.GROUP) == 30
    assert errors.kafka_number(ErrorCode.DISK_FULL, KafkaContext.GROUP) == 56
    assert errors.kafka_number(ErrorCode.ETAG_MISMATCH) == errors.UNKNOWN_SERVER_ERROR


def test_metadata_always_carries_both_verdicts() -> None:
    full = RequestError(ErrorCode.DISK_FULL, "node 1 has 1 MiB left", free="1 MiB")
    assert errors.error_info_metadata(full) == {
        "free": "1 MiB",
        "outcome": "NOT_DONE",
        "retryable": "true",
    }
    moved = RequestError(ErrorCode.NOT_LEADER, "node 2 leads")
    assert errors.error_info_metadata(moved)["retryable"] == "false"
