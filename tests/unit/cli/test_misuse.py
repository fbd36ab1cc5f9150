"""Misuse of the command line: one line that names the word, and where to look."""

import io

import pytest

from tidelog.cli.program import main
from tidelog.cli.run import Run

HUGE = 99999999999999999999


def run(*words: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    code = main(words, Run(environment={"HOME": "/nowhere"}, stdout=out, stderr=err))
    return code, out.getvalue(), err.getvalue()


@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        ("topic create", "NAME is missing", "see: tidelog topic create --help"),
        ("topic create x -p 0", "--partitions: 0 is not between 1 and 2147483647", "see: "),
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
        ("get x 2147483648 0", "PARTITION: 2147483648 is not between 0 and 2147483647", "see: "),
        (f"get x 0 {HUGE}", f"OFFSET: {HUGE} is not between 0 and 9223372036854775807", "see: "),
        (
            "topic create x -p 2147483648",
            "--partitions: 2147483648 is not between 1 and 2",
            "see: ",
        ),
        (f"topic create x -r {HUGE} -y", f"--replicas: {HUGE} is not between 1 and 2", "see: "),
        ("topic add-partitions x 2147483648 -y", "TOTAL: 2147483648 is not between 1", "see: "),
        (f"consume x --tail {HUGE}", f"--tail: {HUGE} is not between 1 and 922", "see: "),
        (f"tail x -l {HUGE}", f"--lines: {HUGE} is not between 1 and 922", "see: "),
        (f"consume x -o {HUGE}", f"{HUGE} is larger than any offset", "offsets end at"),
        (f"produce x -p {HUGE} -v a", f"--partition: {HUGE} is not between 0 and 2", "see: "),
        ("partition transfer-leader x/0 --to 2147483648", "--to: 2147483648 is not betw", "see: "),
        ("partition transfer-leader x/2147483648", '"x/2147483648" is no partition', "write "),
        ("group delete-offsets g x/2147483648 -y", '"x/2147483648" is no partition', "write "),
        ("broker describe 2147483648", "N: 2147483648 is not between 0 and 2147483647", "see: "),
        ("produce x -k \udcff -v a", '"\\xff" is not UTF-8', "keys and values of any bytes"),
        ("produce x -v a\udc80b", '"a\\x80b" is not UTF-8', "keys and values of any bytes"),
        ("topic create \udcff", '"\\xff" is not UTF-8', "keys and values of any bytes"),
        ("topic create \ud800", '"\\ud800" is not UTF-8', "keys and values of any bytes"),
        ("-X client.name=\udcff topic list", '"client.name=\\xff" is not UTF-8', "keys"),
        ("topic list -X client.name=\udcff", '"client.name=\\xff" is not UTF-8', "keys"),
        ("group seek g\udcff --to start", '"g\\xff" is not UTF-8', "keys and values of any"),
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
