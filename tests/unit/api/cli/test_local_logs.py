"""The end of a log, and what is added to it: whole lines only, each once."""

from pathlib import Path

import pytest

from api.cli.local_logs import CHUNK_BYTES, Followed, put_aside, tail


@pytest.mark.parametrize(
    ("content", "lines", "expected", "end"),
    [
        (b"", 5, [], 0),
        (b"a\nb\nc\n", 2, ["b", "c"], 6),
        (b"a\nb\nc\n", 9, ["a", "b", "c"], 6),
        (b"a\nb\nc\n", 0, [], 6),
        (b"a\nbegun", 5, ["a"], 2),
        (b"begun", 5, [], 0),
        (b"\xff\n", 5, ["\ufffd"], 2),
    ],
)
def test_the_end_of_a_log(
    tmp_path: Path, content: bytes, lines: int, *, expected: list[str], end: int
) -> None:
    log = tmp_path / "log"
    log.write_bytes(content)
    assert tail(log, lines) == (expected, end)


def test_a_log_that_is_longer_than_what_is_read_at_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    line = "x" * (CHUNK_BYTES - 10)
    log.write_text("".join(f"{number}{line}\n" for number in range(5)))
    assert tail(log, 3)[0] == [f"{number}{line}" for number in (2, 3, 4)]


def test_a_log_that_is_not_there_has_no_lines(tmp_path: Path) -> None:
    assert tail(tmp_path / "none", 5) == ([], 0)
    assert list(Followed(1, tmp_path / "none", 0).more()) == []


def test_what_is_added_is_shown_once_and_a_new_log_from_its_beginning(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("old\n")
    followed = Followed(2, log, tail(log, 1)[1])
    assert list(followed.more()) == []
    with log.open("a") as file:
        file.write("one\ntw")
    assert list(followed.more()) == [(2, "one")]
    with log.open("a") as file:
        file.write("o\n")
    assert list(followed.more()) == [(2, "two")]
    log.rename(tmp_path / "log.1")
    log.write_text("anew\n")
    assert list(followed.more()) == [(2, "anew")]


def test_what_was_said_before_a_log_was_put_aside_is_shown_too(tmp_path: Path) -> None:
    log = tmp_path / "node-1.log"
    log.write_text("old\n")
    followed = Followed(1, log, tail(log, 1)[1])
    assert list(followed.more()) == []
    with log.open("a") as file:
        file.write("last words\n")
    log.rename(put_aside(log))
    log.write_text("new\n")
    assert list(followed.more()) == [(1, "last words"), (1, "new")]
    assert list(followed.more()) == []
