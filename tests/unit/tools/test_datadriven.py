"""Scripts: what they hold, how they fail, how they are rewritten."""

from pathlib import Path

import pytest

from tests.datadriven import Command, run_script

SCRIPT = """# two numbers
add a=1 b=2
----
3

say
one
two
----
one/two

nothing
----
"""


def execute(command: Command) -> str:
    match command.name:
        case "add":
            return str(command.integer("a") + command.integer("b"))
        case "say":
            return "/".join(command.lines)
        case _:
            return ""


def test_a_script_that_says_what_the_code_says_passes(tmp_path: Path) -> None:
    path = tmp_path / "script.txt"
    path.write_text(SCRIPT)
    run_script(path, execute, rewrite=False)


@pytest.mark.parametrize(("old", "new"), [("3", "4"), ("one/two", "one"), ("----\n\n", "----\n")])
def test_a_script_that_says_something_else_fails(old: str, new: str, tmp_path: Path) -> None:
    path = tmp_path / "script.txt"
    path.write_text(SCRIPT.replace(old, new, 1) + ("x\n" if old.startswith("-") else ""))
    with pytest.raises(AssertionError):
        run_script(path, execute, rewrite=False)


def test_rewriting_gives_the_script_that_passes(tmp_path: Path) -> None:
    path = tmp_path / "script.txt"
    path.write_text(SCRIPT.replace("3", "4").replace("one/two", "x\ny"))
    run_script(path, execute, rewrite=True)
    assert path.read_text() == SCRIPT


@pytest.mark.parametrize(
    ("script", "complaint"),
    [("add a\n----\n", "key=value instead of a"), ("# only\n----\n", "needs a command line")],
)
def test_a_stanza_that_cannot_be_read_is_named(script: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "script.txt"
    path.write_text(script)
    with pytest.raises(ValueError, match=rf"script\.txt, stanza 1: .*{complaint}"):
        run_script(path, execute, rewrite=False)


def test_an_output_with_a_blank_line_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "script.txt"
    path.write_text("say\n----\n")
    with pytest.raises(ValueError, match="blank line"):
        run_script(path, lambda _: "a\n\nb", rewrite=True)
