"""The tutorial, followed from its first line to its last: it prints what the page says."""

from pathlib import Path

from tests.fenced import ROOT, blocks, commands, matches, reader

PAGE = (ROOT / "docs/tutorial.md").read_text()
NODE = "tidelog dev\n"
"""The command that stays running in a terminal of its own."""


def test_what_a_page_says_is_held_against_what_is_printed() -> None:
    assert matches("a…c\n…\nz\n", "abbc\n1\n2\nz\n")
    assert matches("a\n…\nz\n", "a\nz\n")
    assert not matches("1…3\n", "124\n")
    assert not matches("a\n", "a\nb\n")


def test_a_reader_sees_what_the_tutorial_says(tmp_path: Path) -> None:
    ran = kept = 0
    with reader(tmp_path) as me:
        for language, text in blocks(PAGE):
            if language == "python":
                me.keep(text)
                kept += 1
                continue
            assert language == "console", f"a block of {language} is run by nobody"
            for command in commands(text):
                ran += 1
                if command.line == NODE:
                    assert matches(command.printed, me.banner.read_text()), me.banner.read_text()
                    continue
                done = me.run(command.line)
                assert matches(command.printed, done.stdout), f"$ {command.line}{done.stdout}"
                assert done.returncode == 0, f"$ {command.line}"
    assert (ran > 15, kept) == (True, 3)
