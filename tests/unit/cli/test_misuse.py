"""Misuse of the command line: one line that names the word, and where to look."""

import io

import pytest

from tidelog.cli.program import main
from tidelog.cli.run import Run


def run(*words: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    code = main(words, Run(environment={"HOME": "/nowhere"}, stdout=out, stderr=err))
    return code, out.getvalue(), err.getvalue()


@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        ("topic create", "NAME is missing", "see: tidelog topic create --help"),
        ("topic create x -p 0", "--partitions: 0 is below 1", "see: tidelog topic create --help"),
        ("topic create x -p six", '--partitions: "six" is not a whole number', "see: "),
        ("get orders a 0", 'PARTITION: "a" is not a whole number', "see: tidelog get --help"),
        ("consume x -n 0", "--max: 0 is below 1", "see: tidelog consume --help"),
        ("consume x --clock wall", "--clock: 'wall' is not one of 'event', 'append'", "see: "),
        ("completion", "SHELL is missing", "see: tidelog completion --help"),
        ("completion tcsh", "SHELL: 'tcsh' is not one of 'bash', 'zsh', 'fish'", "see: "),
        ("topic list -F", "option '-F' requires an argument", "see: "),
        ("topik", 'there is no command "topik"', "did you mean: tidelog topic"),
        ("topic lst", 'there is no command "topic lst"', "did you mean: tidelog topic list"),
        ("topic xyzzy", 'there is no command "topic xyzzy"', "see: tidelog topic --help"),
        ("group reset x", 'there is no command "group reset"', "did you mean: tidelog group seek"),
        ("group lag x", 'there is no command "group lag"', "did you mean: tidelog group describe"),
        ("publish x", 'there is no command "publish"', "did you mean: tidelog produce"),
        ("topic rm x", 'there is no command "topic rm"', "did you mean: tidelog topic delete"),
        ("group delete-offsets g", "TOPIC[/PARTITION] is missing", "see: tidelog group delete-off"),
        ("group seek g --to", "option '--to' requires an argument", "see: tidelog group seek --h"),
        (
            "group seek g --to 1:2",
            '"1:2" is not a place in a log',
            "write start, end, 42, -10, +10, @",
        ),
        ("consume x --group=", "-g is empty", "name the group: -g billing"),
        ("xyzzy", 'there is no command "xyzzy"', "see: tidelog --help"),
        ("errors xyzzy", 'there is no reason "xyzzy"', "see: tidelog errors"),
        ("dev --kafka-port 99999", "--kafka-port: 99999 is not between 0 and 65535", "see: "),
        ("topic trim x --before @-1h:1h", '"@-1h:1h" goes on with ":1h" after a time', "write one"),
        ("consume x -o @-1h:1h", '"@-1h:1h" gives a duration', "write @-1h:end"),
        ("consume x -o @-3h:1h", '"@-3h:1h" gives a duration', "write @-3h:-2h"),
        ("consume x -o @-1h:2h", '"@-1h:2h" gives a duration', "write @-1h:end"),
    ],
)
def test_one_line_and_what_to_do(words: str, error: str, hint: str) -> None:
    code, out, err = run(*words.split())
    lines = err.splitlines()
    assert (code, out) == (1 if words.startswith("errors") else 2, "")
    assert len(lines) == 2, err
    assert lines[0].startswith(f"error: {error}")
    assert lines[1].startswith(f"hint: {hint}")


@pytest.mark.parametrize("words", [(), ("topic",), ("config",), ("check",)])
def test_a_word_that_lacks_the_next_shows_its_page_and_calls_it_no_error(
    words: tuple[str, ...],
) -> None:
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert "error" not in err.splitlines()[0]
    assert err.splitlines()[0].startswith(" ".join(("Usage: tidelog", *words)))
    assert "EXAMPLES" in err
