"""Each rule of tools/tidy.py, broken once in a small tree."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tools.tidy import findings, missing

GUARANTEES = """# Guarantees

| name | statement | asserted in | a breach is noticed by |
| --- | --- | --- | --- |
| `END_RISES` | The end only rises. | `logstore/tail.py` | `tests/test_tail.py` |
"""
ARCHITECTURE = """# Architecture

| file | holds |
| --- | --- |
| `logstore/tail.py` | The end of a partition. |
"""
TAIL = '"""The end of a partition."""\n\nassert 1 < 2, "END_RISES"\n'

Write = Callable[[str, str], None]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write files into a tree that begins without a finding."""

    def write(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    write("docs/GUARANTEES.md", GUARANTEES)
    write("docs/ARCHITECTURE.md", ARCHITECTURE)
    write("logstore/tail.py", TAIL)
    write("tests/test_tail.py", "NAME = 'END_RISES'\n")
    assert list(findings(tmp_path)) == []
    return write


FAULTS = {
    "a long file": ("tidelog/long.py", "x = 1\n" * 401, "tidelog/long.py: 401 lines, at most 400"),
    "a long function": (
        "tools/long.py",
        "def f():\n" + "    x = 1\n" * 60,
        "tools/long.py:1: 61 lines, at most 60",
    ),
    "a vague name": ("tools/utils.py", "", "tools/utils.py: name the file after the concept"),
    "a package among the tests": ("tests/unit/__init__.py", "", "tests/unit/__init__.py: delete"),
    "an unnamed assertion": (
        "logstore/tail.py",
        TAIL + "assert 2 < 3\n",
        "logstore/tail.py:4: name the invariant",
    ),
    "a sentence for a name": (
        "logstore/tail.py",
        TAIL + "assert 2 < 3, 'it rises'\n",
        "logstore/tail.py:4: name the invariant",
    ),
    "a file opened beside the port": (
        "logstore/tail.py",
        TAIL + "open('x')\n",
        "logstore/tail.py:4: take a model.ports.Disk",
    ),
    "an invariant that no row explains": (
        "logstore/tail.py",
        TAIL + "assert 2 < 3, 'NEXT_RISES'\n",
        "docs/GUARANTEES.md: add NEXT_RISES",
    ),
    "an invariant that no test names": (
        "tests/test_tail.py",
        "NAME = 'THE_END_RISES'\n",
        "tests: break END_RISES on purpose",
    ),
    "an invariant that nobody asserts": (
        "docs/GUARANTEES.md",
        GUARANTEES + "| `NEXT_RISES` | It rises. | `logstore/tail.py` | x |\n",
        "docs/GUARANTEES.md: NEXT_RISES is asserted nowhere",
    ),
    "an invariant asserted elsewhere": (
        "docs/GUARANTEES.md",
        GUARANTEES.replace("`logstore/tail.py`", "`tests/test_tail.py`"),
        "docs/GUARANTEES.md: END_RISES is asserted in logstore/tail.py",
    ),
    "a statement left out": (
        "docs/GUARANTEES.md",
        GUARANTEES.replace("The end only rises.", "…"),
        "docs/GUARANTEES.md: say what END_RISES means",
    ),
    "a test said to be missing that is there": (
        "docs/GUARANTEES.md",
        GUARANTEES.replace("`tests/test_tail.py`", "*not yet*"),
        "docs/GUARANTEES.md: a breach of END_RISES is noticed by tests/test_tail.py",
    ),
    "a test that never names the invariant": (
        "docs/GUARANTEES.md",
        GUARANTEES.replace("`tests/test_tail.py`", "`tests/test_other.py`"),
        "docs/GUARANTEES.md: a breach of END_RISES is noticed by tests/test_tail.py",
    ),
    "a module that no list names": (
        "logstore/segment.py",
        "",
        "docs/ARCHITECTURE.md: add logstore/segment.py",
    ),
    "a listed module that is gone": (
        "docs/ARCHITECTURE.md",
        ARCHITECTURE + "| `logstore/segment.py` | One file. |\n",
        "docs/ARCHITECTURE.md: names logstore/segment.py, which does not exist",
    ),
    "two titles": ("README.md", "# One\n\n# Two\n", "README.md: give it exactly one '# Title'"),
    "a dead link": ("README.md", "# A\n\n[b](docs/b.md#c)\n", "README.md: link to docs/b.md"),
    "a format without vectors": (
        "docs/formats/tail.md",
        "# Tail\n",
        "docs/formats/tail.md: link to its byte vectors",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_rule_is_named(fault: str, write: Write, tmp_path: Path) -> None:
    name, text, finding = FAULTS[fault]
    write(name, text)
    assert [found for found in findings(tmp_path) if found.startswith(finding)]


def test_an_error_code_must_stand_in_the_reference(write: Write, tmp_path: Path) -> None:
    write("docs/ARCHITECTURE.md", ARCHITECTURE + "| `model/errors.py` | Errors. |\n")
    write("model/errors.py", "class ErrorCode:\n    NOT_LEADER = 1\n    TIMED_OUT = 2\n")
    assert list(findings(tmp_path)) == []  # no reference yet
    write("docs/reference/errors.md", "# Errors\n\n`NOT_LEADER`\n")
    assert list(findings(tmp_path)) == [
        "docs/reference/errors.md: TIMED_OUT is missing; run make docs"
    ]


def test_a_fenced_block_holds_no_title_and_no_link(write: Write, tmp_path: Path) -> None:
    write("README.md", "# A\n\n```\n# a comment\n[b](gone.md)\n```\n")
    assert list(findings(tmp_path)) == []


def test_generated_code_is_as_long_as_it_must_be(write: Write, tmp_path: Path) -> None:
    write("tidelog/v1/log_pb2.py", "x = 1\n" * 1_000)
    assert list(findings(tmp_path)) == []


def test_missing_prints_the_rows_that_the_documents_lack(write: Write, tmp_path: Path) -> None:
    write("logstore/segment.py", '"""One file.\n\nMore.\n"""\nassert 1 < 2, "ONE_FILE"\n')
    write("tests/test_segment.py", "'ONE_FILE'\n")
    assert list(missing(tmp_path)) == [
        "| `logstore/segment.py` | One file. |",
        "| `ONE_FILE` | … | `logstore/segment.py` | `tests/test_segment.py` |",
    ]


def test_missing_prints_a_wrong_row_anew(write: Write, tmp_path: Path) -> None:
    write("docs/GUARANTEES.md", GUARANTEES.replace("`tests/test_tail.py`", "*not yet*"))
    assert list(missing(tmp_path)) == [GUARANTEES.splitlines()[-1]]
