"""docs/GUARANTEES.md leaves no promise out."""

import re
from pathlib import Path

PAGE = (Path(__file__).parents[3] / "docs/GUARANTEES.md").read_text()
ROW = re.compile(r"^\| P(\d+) \|([^|]*)\|([^|]*)\|([^|]*)\|$", flags=re.MULTILINE)


def test_every_promise_stands_there_once_and_in_order() -> None:
    assert [int(number) for number, *_ in ROW.findall(PAGE)] == list(range(1, 68))


def test_a_promise_names_its_test_or_says_not_yet() -> None:
    for number, statement, _, tested in ROW.findall(PAGE):
        assert statement.strip(), f"P{number}"
        if "*Not promised:*" not in statement:
            assert "not yet" in tested or "`tests/" in tested, f"P{number}"
