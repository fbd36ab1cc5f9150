"""A test that a page names is there; docs/GUARANTEES.md has checks of its own."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("decisions", "formats", "reference")
    for path in (ROOT / "docs" / folder).glob("*.md")
)
MUSEUM = "docs/reference/time-museum.md"
NAME = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`|`(test_\w+)`")


def named(text: str) -> Iterator[tuple[str, str]]:
    """Yield file and test; a test without a file stands in the one that was named before it."""
    file = ""
    for path, test, alone in NAME.findall(text):
        file = path or file
        if test or alone:
            yield file, test or alone


def missing(text: str) -> list[str]:
    """Return the tests that a text names and that are not there."""
    gone = []
    for file, test in named(text):
        path = ROOT / file
        there = path.is_file() and re.search(
            rf"^ *(?:async )?(?:def|class) {test}\b", path.read_text(), re.MULTILINE
        )
        if not there:
            gone.append(f"{file}::{test}")
    return gone


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_is_there(page: str) -> None:
    assert missing((ROOT / page).read_text()) == []


def test_the_museum_names_a_test_for_each_bug_or_says_not_yet() -> None:
    text = (ROOT / MUSEUM).read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ") and "---" not in line]
    assert len(rows) > 20
    for row in rows:
        assert "`test_" in row or "not yet" in row or row in {rows[0], "| what | tests |"}, row
    assert len(list(named(text))) >= len(rows)


def test_one_that_is_not_there_is_named() -> None:
    here = "tests/unit/tools/test_named_tests.py"
    assert missing(f"`{here}`, `test_one_that_is_not_there_is_named`, `test_another`") == [
        f"{here}::test_another"
    ]
    assert missing("`tests/unit/tools/test_nowhere.py::test_a`") == [
        "tests/unit/tools/test_nowhere.py::test_a"
    ]
