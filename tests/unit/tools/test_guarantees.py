"""docs/GUARANTEES.md leaves no promise out."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/GUARANTEES.md").read_text()
ROW = re.compile(r"^\| P(\d+) \|([^|]*)\|([^|]*)\|([^|]*)\|$", flags=re.MULTILINE)


def test_every_promise_stands_there_once_and_in_order() -> None:
    assert [int(number) for number, *_ in ROW.findall(PAGE)] == list(range(1, 68))


def test_a_promise_names_its_test_or_says_not_yet() -> None:
    for number, statement, _, tested in ROW.findall(PAGE):
        assert statement.strip(), f"P{number}"
        if "*Not promised:*" not in statement:
            assert "not yet" in tested or "`tests/" in tested, f"P{number}"


def test_what_a_promise_names_is_there() -> None:
    """A row that names a test names the function, and a file that is renamed is noticed here."""
    for number, _, asserted, tested in ROW.findall(PAGE):
        for path in re.findall(r"`([a-z_]+/[^`]+)`", asserted):
            assert (ROOT / path).is_file(), f"P{number}: {path}"
        for path in re.findall(r"`(tests/[^`]+)`", tested):
            file, _, name = path.partition("::")
            assert name, f"P{number}: which test of {file}?"
            text = (ROOT / file).read_text()
            defined = re.search(rf"^(?:async )?def {name}\(|^{name} = ", text, re.MULTILINE)
            assert defined, f"P{number}: {file} has no {name}"
